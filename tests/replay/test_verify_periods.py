"""Every check of the periods, proven by a fault planted with the guards out of the way."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.replay.findings import Check, Finding
from orderledger.replay.verify_periods import verify_periods

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 15, tzinfo=UTC)
_TABLES = re.compile(r"\b(events|log|books)\b")
"""The scripts below name our tables without their prefix."""


def _post(book: Book, entry_id: str, minor: int, at: datetime) -> None:
    legs = (
        m.PostingInput("assets:bank:main", "EUR", minor),
        m.PostingInput("equity:opening", "EUR", -minor),
    )
    book.execute(m.PostEntry(entry_id=entry_id, description="x", postings=legs, occurred_at=at))


def _fill(store: EventStore) -> None:
    """Write 14 events: October closed, reopened and closed again, November closed, one moved."""
    book = Book(store, clock=lambda: NOW)
    october = NOVEMBER - timedelta(days=9)
    _post(book, "e1", 100, october)
    _post(book, "e2", 70, NOVEMBER)
    book.execute(m.ClosePeriod(period="2026-10", start=october, end=NOVEMBER))
    book.execute(m.ReopenPeriod(period="2026-10", reason="late invoice"))
    _post(book, "e3", 30, october)
    _post(book, "e4", -130, NOVEMBER - timedelta(days=1))
    book.execute(m.ClosePeriod(period="2026-10", start=october, end=NOVEMBER))
    book.execute(m.ClosePeriod(period="2026-11", start=NOVEMBER, end=DECEMBER))
    book.execute(
        m.RecordSettlement(
            entry_id="s1",
            provider="adyen",
            bank="main",
            gross=100,
            fee=3,
            currency="EUR",
            occurred_at=october,
        )
    )
    _post(book, "e5", 5, DECEMBER)
    book.execute(m.ClosePeriod(period="2026-12a", end=NOW - timedelta(days=1)))
    book.execute(m.ReopenPeriod(period="2026-12a", reason="too early"))
    book.execute(m.ClosePeriod(period="2026-12b", end=NOW - timedelta(days=2)))
    _post(book, "e6", 5, NOW)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "book.db"
    store = SqliteStore(path)
    _fill(store)
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def _findings(path: Path, period: str | None = None) -> list[Finding]:
    store = SqliteStore(path)
    try:
        return list(verify_periods(store, period=period))
    finally:
        store.close()


Damage = Callable[[str], Path]


@pytest.fixture
def damaged(sound: Path, tmp_path: Path) -> Damage:
    """Give a function that changes a copy of the book behind the guards."""

    def damage(script: str) -> Path:
        path = tmp_path / "damaged.db"
        shutil.copy(sound, path)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            for (name,) in names.fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.executescript(_TABLES.sub(r"orderledger_\1", script))
        connection.close()
        return path

    return damage


def test_a_sound_book_has_no_findings(sound: Path) -> None:
    """Catches false alarms, also of a period that was reopened and closed with other bounds."""
    assert _findings(sound) == []
    memory = MemoryStore()
    _fill(memory)
    assert list(verify_periods(memory)) == []
    assert list(verify_periods(MemoryStore())) == []


def test_it_covers_a_log_of_several_pages(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a state that is lost between two pages."""
    monkeypatch.setattr("orderledger.replay.verify_periods.PAGE_EVENTS", 2)
    assert _findings(sound) == []


def row(position: int) -> str:
    return f"(SELECT row_id FROM log WHERE position = {position})"


def _payload(old: str, new: str, position: int) -> str:
    return (
        f"UPDATE events SET payload = replace(payload, '{old}', '{new}') "
        f"WHERE row_id = {row(position)}"
    )


OCTOBER_22 = "2026-10-22T00:00:00.000000+00:00"
FAULTS = {
    "an entry behind the close, effective inside": (
        f"UPDATE events SET occurred_at = '{OCTOBER_22}' WHERE row_id = {row(14)}",
        {Check.PERIOD_ENTRY_INSIDE},
        14,
    ),
    "an amount in the closed period": (
        f"UPDATE events SET postings = replace(postings, '30', '31') WHERE row_id = {row(5)}",
        {Check.PERIOD_TOTALS_WRONG},
        7,
    ),
    "an entry taken out of the closed period": (
        f"UPDATE events SET postings = '' WHERE row_id = {row(1)}",
        {Check.PERIOD_TOTALS_WRONG},
        3,
    ),
    "another hash": (
        (
            f"UPDATE events SET payload = json_set(payload, '$.trial_balance_hash', 'ab') "
            f"WHERE row_id = {row(8)}"
        ),
        {Check.PERIOD_TOTALS_WRONG},
        8,
    ),
    "other totals": (_payload('"debit":70', '"debit":71', 8), {Check.PERIOD_TOTALS_WRONG}, 8),
    "another number of accounts": (
        _payload('"account_count":2,"trial', '"account_count":3,"trial', 8),
        {Check.PERIOD_TOTALS_WRONG},
        8,
    ),
    "another position": (
        _payload('"position":7', '"position":6', 8),
        {Check.PERIOD_TOTALS_WRONG},
        8,
    ),
    "a gap before a period": (
        _payload('"start":"2026-11-01', '"start":"2026-11-02', 8),
        {Check.PERIOD_GAP},
        8,
    ),
    "entries before the first": (
        _payload('"start":"2026-10-23', '"start":"2026-10-24', 3),
        {Check.PERIOD_GAP},
        3,
    ),
    "reopened in the wrong order": (
        _payload('"2026-12a"', '"2026-10"', 12),
        {Check.PERIOD_GAP},
        12,
    ),
    "books open again, past the engine": (
        "UPDATE books SET closed_until = NULL",
        {Check.PERIOD_GUARD_WRONG},
        None,
    ),
    "books closed earlier, past the engine": (
        f"UPDATE books SET closed_until = '{OCTOBER_22}'",
        {Check.PERIOD_GUARD_WRONG},
        None,
    ),
    "a report of another period": (
        (
            f"UPDATE events SET context = replace(context, '2026-10\"', '2026-11\"') "
            f"WHERE row_id = {row(9)}"
        ),
        {Check.PERIOD_MOVE_WRONG},
        9,
    ),
    "a report moved too far": (
        (
            f"UPDATE events SET occurred_at = '2026-12-02T00:00:00.000000+00:00' "
            f"WHERE row_id = {row(9)}"
        ),
        {Check.PERIOD_MOVE_WRONG},
        9,
    ),
    "an entry that was not moved says so": (
        (
            f"UPDATE events SET context = json_set(context, '$.adjusts', '2026-10') "
            f"WHERE row_id = {row(14)}"
        ),
        {Check.PERIOD_MOVE_WRONG},
        14,
    ),
    "a closing that cannot be read": (_payload('"end"', '"edn"', 8), {Check.ROW_UNREADABLE}, None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(damaged: Damage, name: str) -> None:
    """Catches a check that passes whatever it looks at."""
    script, codes, position = FAULTS[name]
    found = _findings(damaged(script))
    assert {one.code for one in found} >= codes, found
    assert found[0].position == position
    assert all(one.text for one in found)


def test_one_period_alone(damaged: Damage) -> None:
    """Catches a fault that is put down to another period, or left out."""
    path = damaged(FAULTS["another hash"][0])
    assert [one.code for one in _findings(path, "2026-11")] == [Check.PERIOD_TOTALS_WRONG]
    assert _findings(path, "2026-10") == []
    path = damaged(FAULTS["an entry behind the close, effective inside"][0])
    assert _findings(path, "2026-11") == []
    assert [one.code for one in _findings(path, "2026-10")] == [Check.PERIOD_ENTRY_INSIDE]


def test_the_events_are_where_the_faults_expect_them(sound: Path) -> None:
    """Catches faults that are planted beside what they are meant for."""
    store = SqliteStore(sound)
    rows = store.read(0)
    closes = [one.position for one in rows if one.topic == "period.closed.v1"]
    assert (len(rows), closes) == (14, [3, 7, 8, 11, 13])
    store.close()
