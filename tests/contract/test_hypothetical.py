"""A hypothetical log equals one that was made so, on every engine; the book stays as it is."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from orderledger import Book
from orderledger.commands import model as m
from orderledger.databases import open_fork, open_work
from orderledger.ledger.as_of import HIDDEN, LogAsOf, Point
from orderledger.ledger.errors import InvalidInput, Rejected
from orderledger.ledger.hypothetical import EditedLog, Edits, is_hypothetical
from orderledger.ledger.ports import EventStore, LoadedEvent, StoredEvent
from orderledger.ledger.stores.fork import ForkStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.proving import Proving
from orderledger.reading import Reading
from orderledger.replay.beancount import Beancount
from orderledger.replay.checkpoints import tree_of
from tests.contract.engines import Engine
from tests.dispute_shop import DisputeShop
from tests.export_book import fill
from tests.projections.books import day
from tests.projections.market_book import MarketBook
from tests.seeding import START, ticking

EDITS = 8


@pytest.fixture
def book(engine: Engine) -> EventStore:
    """Give a day of sales and a marketplace, each event recorded at a second of its own."""
    clock = ticking()
    store = engine.open(clock=clock)
    Book(store, clock=clock).execute_many(day())
    MarketBook(store)
    return store


def _injected(chosen: random.Random, rows: list[StoredEvent], number: int) -> StoredEvent:
    """Return a row that belongs somewhere else, or to a stream that there is not."""
    like = chosen.choice(rows)
    stream = f"order-new{number}" if chosen.random() < 0.3 else like.stream
    return msgspec.structs.replace(
        like,
        position=chosen.randrange(len(rows) + 1),
        stream=stream,
        event_id=type(like.event_id)(int=number + 1),
    )


def _edits(chosen: random.Random, rows: list[StoredEvent]) -> Edits:
    omitted = frozenset(chosen.sample(range(1, len(rows) + 1), chosen.randrange(EDITS)))
    free = [one for one in range(1, len(rows) + 1) if one not in omitted]
    replaced = {
        position: msgspec.structs.replace(rows[position - 1], payload='{"other":1}')
        for position in chosen.sample(free, chosen.randrange(EDITS))
    }
    injected = [_injected(chosen, rows, number) for number in range(chosen.randrange(EDITS))]
    return Edits(omitted, replaced, tuple(injected))


def _made_so(rows: list[StoredEvent], edits: Edits) -> list[StoredEvent]:
    """Return the log that the edits describe, row after row."""
    found: list[StoredEvent] = []
    versions: dict[str, int] = {}

    def add(row: StoredEvent, *, is_there: bool = True) -> None:
        place = len(found) + 1
        if not is_there:
            blank: Any = {"stream": HIDDEN, "topic": HIDDEN, "postings": "", "payload": "{}"}
            found.append(msgspec.structs.replace(row, position=place, **blank))
            return
        version = versions[row.stream] = versions.get(row.stream, 0) + 1
        found.append(msgspec.structs.replace(row, position=place, version=version))

    for position in range(len(rows) + 1):
        if position:
            row = edits.replaced.get(position, rows[position - 1])
            add(row, is_there=position not in edits.omitted)
        for one in edits.injected:
            if one.position == position:
                add(one)
    return found


def _pages(log: EventStore, limit: int) -> Iterator[StoredEvent]:
    position = 0
    while page := log.read(position, limit=limit):
        yield from page
        position = page[-1].position or 0


def test_an_edited_log_is_the_log_that_was_made_so(book: EventStore) -> None:
    """Catches an event at another place, of another version, or twice, whatever the edits."""
    everything = list(book.read(0, limit=10_000))
    chosen = random.Random(5)
    for _ in range(12 if isinstance(book, MemoryStore) else 2):
        size = chosen.choice([len(everything), chosen.randrange(1, len(everything))])
        rows = everything[:size]
        edits = _edits(chosen, rows)
        log = EditedLog(LogAsOf(book, Point(size)), edits)
        expected = _made_so(rows, edits)
        for limit in (1, 7, 1000):
            assert list(_pages(log, limit)) == expected
        _check_streams(log, expected)
        assert log.head().size == len(expected) == log.point.position
        assert log.head().recorded_at == expected[-1].recorded_at
        ids = [row.event_id for row in everything]
        assert log.positions(ids) == {
            row.event_id: (row.position, row.recorded_at)
            for row in expected
            if row.event_id in ids and row.topic != HIDDEN
        }
        until = chosen.randrange(len(expected))
        assert list(log.read(0, until=until, limit=10_000)) == expected[:until]
        _check_hashes(log, book, edits)


def _check_streams(log: EventStore, expected: list[StoredEvent]) -> None:
    streams: dict[str, list[StoredEvent]] = {}
    for row in expected:
        if row.topic != HIDDEN:
            streams.setdefault(row.stream, []).append(row)
    assert list(log.streams("", limit=10_000)) == sorted(streams)
    names = [name for name in sorted(streams) if name.startswith("order-")]
    for size in (1, 3):
        found: list[str] = []
        while page := log.streams("order-", after=found[-1] if found else "", limit=size):
            found += page
        assert found == names
    for name, of_stream in streams.items():
        assert list(log.stream(name)) == of_stream
        assert list(log.stream(name, after=1, until=2)) == of_stream[1:2]
    assert list(log.load(dict.fromkeys(names, 1))) == [
        LoadedEvent.of(row) for name in names for row in streams[name][1:]
    ]


def _check_hashes(log: EventStore, book: EventStore, edits: Edits) -> None:
    """Assert that hashes are the log's before the first edit, and others behind it."""
    size = log.head().size
    found, real = list(log.leaf_hashes(0, size)), list(book.leaf_hashes(0, size))
    same = (edits.first or size + 1) - 1
    assert found[:same] == real[:same]
    assert len(found) == len(set(found)) == size
    assert not set(found[same:]) & set(real)
    assert list(log.leaf_hashes(size, 3)) == []
    assert list(log.leaf_hashes(size - 1, 3)) == found[-1:]


def _content(rows: Any) -> list[Any]:
    return [
        (row.stream, row.version, row.topic, row.payload, row.postings, row.occurred_at)
        for row in rows
    ]


def test_a_fork_does_what_the_book_does(engine: Engine) -> None:
    """Catches a command that is decided on a fork otherwise than on the book, or that leaks."""
    clock = ticking()
    shop = DisputeShop(engine.open(clock=clock))
    for step in shop.steps():
        before = shop.store.head()
        fork = open_fork(LogAsOf(shop.store, Point(before.size)), lambda: shop.now)
        beside = Book(fork, clock=lambda: shop.now)
        real, shop.book = shop.book, beside
        step()
        shop.book = real
        assert shop.store.head() == before, "the fork wrote to the book"
        step()
        assert fork.head().size == shop.store.head().size
        added = shop.store.read(before.size, limit=100)
        assert _content(fork.read(before.size, limit=100)) == _content(added)
        assert _content(_pages(fork, 9)) == _content(_pages(shop.store, 9))
        assert list(fork.streams("")) == list(shop.store.streams(""))
        for name in fork.streams(""):
            assert _content(fork.stream(name)) == _content(shop.store.stream(name))
            assert beside._executor.state(name).state == real._executor.state(name).state
        assert beside.read.trial_balance().rows == real.read.trial_balance().rows
        beside.close()


def test_a_fork_keeps_to_what_the_log_says(engine: Engine) -> None:
    """Catches a fork that posts into a closed period, or past the limits of an account."""
    store = engine.open()
    book = fill(store)
    open_until = store.head().size
    frozen = "assets:bank:a-b"
    book.execute(m.FreezeAccount(account=frozen, reason="audit"))
    head = store.head().size
    real, found = store.constraints(), _fork(store, head, book).constraints()
    assert (found.accounts, found.closed_until) == (real.accounts, real.closed_until)
    assert found.closed_until is not None
    assert _fork(store, open_until, book).constraints().accounts == frozenset()
    assert _fork(store, 0, book).constraints().closed_until is None
    legs = (m.PostingInput(frozen, "EUR", 5), m.PostingInput("equity:opening", "EUR", -5))
    into_frozen = m.PostEntry(entry_id="e", description="", postings=legs)
    early: Any = {"occurred_at": found.closed_until - timedelta(days=1)}
    legs = (m.PostingInput("assets:bank:main", "EUR", 5), legs[1])
    into_closed = m.PostEntry(entry_id="f", description="", postings=legs, **early)
    for command in (into_frozen, into_closed):
        with pytest.raises(Rejected) as refused:
            book.execute(command)
        beside = Book(_fork(store, head, book), clock=book._clock)
        with pytest.raises(Rejected) as on_fork:
            beside.execute(command)
        assert on_fork.value.reason is refused.value.reason
        beside.close()
    before = Book(_fork(store, open_until, book), clock=book._clock)
    assert before.execute(into_frozen).book == "main?what-if"
    before.close()


def _fork(store: EventStore, position: int, book: Book) -> EventStore:
    return open_fork(LogAsOf(store, Point(position)), book._clock)


def test_a_hypothesis_is_never_a_proof(book: EventStore) -> None:
    """Catches a checkpoint, an export or work that is made of what never happened."""
    log = LogAsOf(book, Point(book.head().size))
    edited = EditedLog(log, Edits(omitted=frozenset({3})))
    fork = open_fork(log, lambda: START)
    assert isinstance(fork, ForkStore)
    assert not is_hypothetical(log)
    for store in (
        edited,
        fork,
        LogAsOf(fork, Point(4)),
        LogAsOf(LogAsOf(edited, Point(4)), Point(2)),
    ):
        assert is_hypothetical(store)
        with pytest.raises(InvalidInput, match=r"a checkpoint cannot be made of main\?what-if"):
            Proving(store, Book(store).execute_envelope).checkpoint()
        with pytest.raises(InvalidInput, match="a proof cannot be made of"):
            tree_of(store)
        with pytest.raises(InvalidInput, match="an export cannot be made of"):
            Reading(store).export(Beancount())
        with pytest.raises(InvalidInput, match="has no Merkle tree"):
            store.tiles(1)
    with pytest.raises(InvalidInput, match="acts on nothing"):
        open_work(fork)
    with pytest.raises(InvalidInput, match="can only be read"):
        edited.constraints()
