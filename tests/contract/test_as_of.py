"""A book as it was equals a book in which nothing has happened since, on every engine."""

import random
from datetime import timedelta
from typing import Any

import pytest

from orderledger import Book
from orderledger.ledger.as_of import HIDDEN, AsOf, LogAsOf, Point, locate
from orderledger.ledger.codec import decode_event, key_hash
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.folds import fold_of
from orderledger.ledger.ports import Batch, CutRequest, EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models import models_of
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.reading import Reading
from orderledger.replay.as_of import state_as_of
from orderledger.replay.checkpoints import tree_of
from orderledger.replay.verify import verify
from tests.contract.batches import batch, command, event
from tests.contract.engines import Engine
from tests.projections.books import day
from tests.projections.market_book import MarketBook
from tests.seeding import START, ticking

NAMES = [model.name for model in SHIPPED]


class Prefix(MemoryStore):
    """The first events of another store, and none since: what a book was, made independently."""

    def __init__(self, store: EventStore, position: int) -> None:
        super().__init__(store.book)
        for row in store.read(0, until=position, limit=position) if position else ():
            self._log.append(row)
            self._by_id[row.event_id] = row
            self._streams.setdefault(row.stream, []).append(row)
        self._names.extend(sorted(self._streams))
        self._leaves.extend(store.leaf_hashes(0, position))


@pytest.fixture
def book(engine: Engine) -> EventStore:
    """Give a day of sales and a marketplace, each event recorded at a second of its own."""
    clock = ticking()
    store = engine.open(clock=clock)
    Book(store, clock=clock).execute_many(day())
    MarketBook(store)
    return store


def _rows(store: EventStore, names: list[str]) -> dict[str, list[Any]]:
    models = ReadModels(store, models_of(store), SHIPPED)
    found: dict[str, list[Any]] = {}
    for name in names:
        models.catch_up(name, batch_events=97)
        live = models.live(name)
        assert live is not None
        for table in models.model(name).tables:
            found[table.name] = list(models.store.page(live, table, None, 100_000))
        assert list(models.parked(name)) == []
    return found


def _positions(store: EventStore, count: int) -> list[int]:
    head = store.head().size
    return sorted(random.Random(7).choices(range(1, head), k=count))


def _compare_models(book: EventStore, positions: list[int]) -> None:
    for position in positions:
        then = _rows(LogAsOf(book, Point(position)), NAMES)
        assert then == _rows(Prefix(book, position), NAMES), f"as of position {position}"


def test_every_read_model_as_of_a_position(book: EventStore) -> None:
    """Catches a row that shows something of what came later."""
    _compare_models(book, [1, *_positions(book, 3)])


@pytest.mark.long
def test_every_read_model_as_of_many_positions(book: EventStore) -> None:
    """The same, at 200 positions."""
    _compare_models(book, _positions(book, 200))


def test_every_stream_as_of_200_positions(book: EventStore, engine: Engine) -> None:
    """Catches a state that knows something later, or less than was known."""
    # The databases differ from memory in how they give a stream, not in what is made of it.
    for position in _positions(book, 200 if engine.name == "memory" else 10):
        states: dict[str, tuple[int, Any]] = {}
        for row in book.read(0, until=position, limit=position):
            version, state = states.get(row.stream, (0, fold_of(row.stream).initial))
            event = decode_event(row.topic, row.payload)
            states[row.stream] = (version + 1, fold_of(row.stream).apply(state, event))
        reading = Reading(LogAsOf(book, Point(position)))
        for stream, (version, state) in states.items():
            found = state_as_of(book, stream, Point(position))
            assert (found.version, found.state, found.omitted) == (version, state, 0)
        absent = set(book.streams("", limit=1_000)) - set(states)
        for stream in absent:
            with pytest.raises(NotFound, match=f"no events by position {position}"):
                state_as_of(book, stream, Point(position))
        assert list(reading.history("order-o1")) == [
            one
            for one in Reading(book).history("order-o1")
            if one.position is not None and one.position <= position
        ]


def test_what_had_happened_by_then(book: EventStore) -> None:
    """Catches a balance or a state as of two clocks that the journal's own answer contradicts."""
    now = Reading(book)
    rows = book.read(0, limit=10_000)
    instants = sorted({row.occurred_at for row in rows})
    chosen = random.Random(11).sample(instants, min(12, len(instants)))
    for effective_to in [*chosen, instants[0], instants[-1]]:
        for position in _positions(book, 2):
            recorded_to = rows[position - 1].recorded_at
            assert recorded_to is not None
            then = now.as_of(position, effective_to=effective_to)
            expected = now.trial_balance(effective_to=effective_to, recorded_to=recorded_to)
            assert then.trial_balance().rows == expected.rows
            for stream in ("order-o1", "payment-p1", "dispute-d1"):
                wanted = [
                    row
                    for row in book.stream(stream)
                    if (row.position or 0) <= position and row.occurred_at <= effective_to
                ]
                state = fold_of(stream).initial
                for row in wanted:
                    state = fold_of(stream).apply(state, decode_event(row.topic, row.payload))
                if wanted:
                    found = state_as_of(book, stream, Point(position, effective_to))
                    assert (found.state, found.version) == (state, wanted[-1].version)
            then.close()


def test_every_read_model_can_leave_out_what_had_not_happened(book: EventStore) -> None:
    """Catches a model that stumbles over an event whose stream lacks the one before."""
    rows = book.read(0, limit=10_000)
    instants = sorted({row.occurred_at for row in rows})
    head = book.head().size
    middle = Point(head, instants[len(instants) // 2])
    hidden = [row for row in LogAsOf(book, middle).read(0, limit=10_000) if row.topic == HIDDEN]
    assert 0 < len(hidden) < head
    assert len(_rows(LogAsOf(book, middle), NAMES)["orders"]) > 0
    everything = Point(head, instants[-1])
    assert _rows(LogAsOf(book, everything), NAMES) == _rows(book, NAMES)


def test_a_log_as_it_was_is_a_log(book: EventStore) -> None:
    """Catches a view that is longer than it was, or whose hashes are not those of the log."""
    for position in [0, 1, *_positions(book, 3)]:
        then, prefix = LogAsOf(book, Point(position)), Prefix(book, position)
        assert then.head() == prefix.head()
        assert list(then.read(0, limit=10_000)) == list(prefix.read(0, limit=10_000))
        assert list(then.read(position, limit=10)) == []
        assert list(then.streams("")) == list(prefix.streams(""))
        assert list(then.streams("order-", limit=2)) == list(prefix.streams("order-", limit=2))
        assert list(then.leaf_hashes(0, 10_000)) == prefix.leaf_hashes(0, position)
        assert list(then.leaf_hashes(position, 5)) == []
        ids = [row.event_id for row in book.read(0, limit=10_000)]
        assert then.positions(ids) == prefix.positions(ids)
        for size in (0, position // 2, position):
            assert tree_of(then).root(size) == tree_of(book).root(size)
        assert list(verify(then)) == []


def test_instants_are_located(book: EventStore) -> None:
    """Catches an answer about another instant than the one that was asked for."""
    rows = book.read(0, limit=10_000)
    head = book.head().size
    assert locate(book, AsOf()) == Point(head)
    for position in (1, 7, head):
        at = rows[position - 1].recorded_at
        assert at is not None
        assert locate(book, AsOf(recorded_to=at)) == Point(position)
        assert locate(book, AsOf(position=position, effective_to=at)) == Point(position, at)
    first = rows[0].recorded_at
    assert first is not None
    with pytest.raises(InvalidInput, match="is before the book: the log of main begins at"):
        locate(book, AsOf(recorded_to=first - timedelta(microseconds=1)))
    for position in (-1, head + 1):
        with pytest.raises(InvalidInput, match=f"position {position} is not in the log"):
            locate(book, AsOf(position=position))
    with pytest.raises(InvalidInput, match="not both"):
        locate(book, AsOf(position=1, recorded_to=first))
    with pytest.raises(InvalidInput, match="no time zone"):
        locate(book, AsOf(recorded_to=first.replace(tzinfo=None)))


def test_the_past_cannot_be_written(book: EventStore) -> None:
    """Catches a command that is decided on a book as it was."""
    then = LogAsOf(book, Point(5))
    assert (then.sequence(), then.pending()) == (0, 0)
    for name, arguments in (
        ("append", (Batch((), START),)),
        ("constraints", ()),
        ("constrain", ("assets:bank:main", None)),
        ("change_periods", (CutRequest(), None)),
        ("archive_commands", (START,)),
    ):
        with pytest.raises(InvalidInput, match="as of position 5 can only be read"):
            getattr(then, name)(*arguments)


def test_records_of_commands_are_final(engine: Engine) -> None:
    """Catches a book as it was that cannot tell which command made an event of it."""
    store = engine.open()
    store.append(batch(command("done", event("s/1", 1)), command("refused", refused=True)))
    then = LogAsOf(store, Point(0))
    (refused,) = then.refusals()
    assert refused.key == "refused"
    assert then.command(refused.command_id) == refused
    hashes = [key_hash("main", key) for key in ("done", "refused", "none")]
    assert then.commands(hashes) == store.commands(hashes)


def test_what_has_no_reading_is_told(book: EventStore) -> None:
    """Catches an order that is shown before it was placed."""
    now = Reading(book)
    placed = next(row.position for row in book.stream("order-o2"))
    assert placed is not None
    assert now.as_of(placed).order("o2").order_id == "o2"
    with pytest.raises(NotFound, match="no order o2"):
        now.as_of(placed - 1).order("o2")
