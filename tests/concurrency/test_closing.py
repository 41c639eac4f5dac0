"""Entries effective just inside a period while it is closed: in its trial balance, or not in it."""

import hashlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import orderledger
from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.commands.requests import Receipt
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import Reason, Rejected, Unavailable
from orderledger.ledger.period_events import PeriodClosed, PeriodReopened
from orderledger.replay.history import recorded

END = datetime(2026, 11, 1, tzinfo=UTC)
INSIDE = END - timedelta(microseconds=1)
ROUNDS = 25
WRITERS = 3
_numbers = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'book.db'}"
    return str(request.getfixturevalue("pg_url"))


class Outcomes:
    """What the writers were told, per entry id; every list append is one operation."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.refused: list[str] = []
        self.observed: list[str] = []
        self.rolled_back: list[str] = []


def _entry(entry_id: str) -> m.PostEntry:
    legs = (
        m.PostingInput("assets:bank:main", "EUR", 7),
        m.PostingInput("equity:opening", "EUR", -7),
    )
    return m.PostEntry(entry_id=entry_id, description="x", postings=legs, occurred_at=INSIDE)


def _write(book: Book, stop: threading.Event, outcomes: Outcomes) -> None:
    """Post and report, all effective at the last instant of the period, until told to stop."""
    while not stop.wait(0.002):
        entry_id = f"e{next(_numbers)}"
        refused = _patiently(book, _entry(entry_id))
        (outcomes.refused if refused else outcomes.posted).append(entry_id)
        entry_id = f"s{next(_numbers)}"
        report = m.RecordSettlement(
            entry_id=entry_id,
            provider="adyen",
            bank="main",
            gross=100,
            fee=3,
            currency="EUR",
            occurred_at=INSIDE,
        )
        assert not _patiently(book, report), "a report was refused"
        outcomes.observed.append(entry_id)


def _patiently(book: Book, command: Command) -> bool:
    """Execute; again with the same key while the database cannot. Tells whether it was refused."""
    key = f"k{next(_numbers)}"
    while True:
        try:
            book.execute(command, key=key)
        except Unavailable:
            continue
        except Rejected as refused:
            return _is_closed(refused)
        return False


def _is_closed(refused: Rejected) -> bool:
    assert refused.reason is Reason.PERIOD_CLOSED
    return True


def _join(book: Book, url: str, stop: threading.Event, outcomes: Outcomes) -> None:
    """Post in a host's transactions that stay open for a while; every third rolls back."""
    while not stop.wait(0.005):
        entry_id = f"j{next(_numbers)}"
        try:
            if url.startswith("sqlite"):
                with closing(sqlite3.connect(book_path(url), isolation_level=None)) as host:
                    host.execute("BEGIN IMMEDIATE")
                    _in_transaction(book, host, entry_id, outcomes)
            else:
                with closing(psycopg.connect(url)) as host_pg:
                    _in_transaction(book, host_pg, entry_id, outcomes)
        except (Unavailable, sqlite3.OperationalError):
            outcomes.rolled_back.append(entry_id)


def book_path(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _in_transaction(
    book: Book,
    host: "sqlite3.Connection | psycopg.Connection[tuple[object, ...]]",
    entry_id: str,
    outcomes: Outcomes,
) -> None:
    try:
        book.execute(_entry(entry_id), connection=host)
    except Rejected as refused:
        _is_closed(refused)
        host.rollback()
        outcomes.refused.append(entry_id)
        return
    time.sleep(0.003)
    if next(_numbers) % 3 == 0:
        host.rollback()
        outcomes.rolled_back.append(entry_id)
    else:
        host.commit()
        outcomes.posted.append(entry_id)


def _books(url: str, count: int) -> Iterator[Book]:
    for _ in range(count):
        yield orderledger.open(url)


def test_every_entry_inside_is_in_the_trial_balance_or_not_in_the_period(url: str) -> None:
    """
    Catches an entry that slips into a period between its summing and its closing.

    Each book is opened apart, as another process would: it learns of a close from the database.
    """
    orderledger.migrate(url)
    stop, outcomes = threading.Event(), Outcomes()
    books = list(_books(url, WRITERS + 2))
    closer, joiner = books[0], books[1]
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        writers = [pool.submit(_write, book, stop, outcomes) for book in books[2:]]
        writers.append(pool.submit(_join, joiner, url, stop, outcomes))
        try:
            for _ in range(ROUNDS):
                assert not _patiently(closer, m.ClosePeriod(period="2026-10", end=END))
                time.sleep(0.02)
                assert not _patiently(closer, m.ReopenPeriod(period="2026-10", reason="again"))
                time.sleep(0.02)
        finally:
            stop.set()
        for writer in writers:
            writer.result(timeout=60)
    assert outcomes.refused, "no writer met a closed period"
    _check(closer, outcomes)
    for book in books:
        book.close()


def _check(book: Book, outcomes: Outcomes) -> None:
    """Walk the log by hand: an independent sum at every close, and no entry inside while closed."""
    while book.store.sequence():
        pass
    sums: dict[str, int] = {}
    is_closed = False
    closes = moved = inside = position = 0
    streams: set[str] = set()
    while page := book.store.read(position):
        for row in page:
            position = row.position or 0
            event = decode_event(row.topic, row.payload)
            if isinstance(event, PeriodClosed):
                lines = "".join(
                    f"{name} {minor}\n" for name, minor in sorted(sums.items()) if minor
                )
                assert event.trial_balance_hash == hashlib.sha256(lines.encode()).hexdigest()
                assert event.position == position - 1
                is_closed, closes = True, closes + 1
            elif isinstance(event, PeriodReopened):
                is_closed = False
            elif row.postings:
                streams.add(row.stream)
                if row.occurred_at >= END:
                    assert is_closed
                    assert row.occurred_at == END
                    assert recorded(row).context.reported_at == INSIDE
                    moved += 1
                    continue
                assert not is_closed, f"position {position} is inside a closed period"
                inside += 1
                for leg in row.postings.split("\n"):
                    layer, account, currency, minor = leg.split(" ")
                    key = f"{account} {currency} {layer}"
                    sums[key] = sums.get(key, 0) + int(minor)
    assert closes == ROUNDS
    assert moved > 0
    assert inside > 0
    accepted = {f"journal-{one}" for one in (*outcomes.posted, *outcomes.observed)}
    assert streams == accepted
    assert list(book.read.verify()) == []


@pytest.mark.parametrize("is_one_key", [True, False])
def test_a_period_is_closed_once(url: str, is_one_key: bool) -> None:
    """Catches two closings of one period, or a duplicate that is refused by its own first try."""
    orderledger.migrate(url)
    books = list(_books(url, 4))
    books[0].execute(_entry("e"))
    barrier = threading.Barrier(len(books))

    def close(number: int) -> object:
        barrier.wait()
        try:
            return books[number].execute(
                m.ClosePeriod(period="2026-10", end=END),
                key="close" if is_one_key else f"close {number}",
            )
        except Rejected as refused:
            return refused.reason

    with ThreadPoolExecutor(len(books)) as pool:
        results = list(pool.map(close, range(len(books))))
    receipts = [one for one in results if isinstance(one, Receipt)]
    assert len(receipts) == (len(books) if is_one_key else 1)
    assert len({one.event_ids for one in receipts}) == 1
    assert sum(not one.replayed for one in receipts) == 1
    assert all(one is Reason.PERIOD_CLOSED for one in results if one not in receipts)
    assert len(books[0].read.periods()) == 1
    for book in books:
        book.close()
