"""What changed between two instants, and why: on every engine, against rows and entries."""

import random
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest

from orderledger import Book
from orderledger.ledger.as_of import AsOf, LogAsOf, Point
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models import models_of
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.reading import Reading
from orderledger.replay.diff import ChangeKind, Diff
from tests.contract.engines import Clock, Engine
from tests.projections.books import day
from tests.projections.market_book import MarketBook
from tests.seeding import ticking

NAMES = [model.name for model in SHIPPED]


def _lived(made: EventStore, clock: Clock) -> EventStore:
    Book(made, clock=clock).execute_many(day())
    MarketBook(made)
    return made


@pytest.fixture
def store(engine: Engine) -> EventStore:
    """Give a day of sales and a marketplace."""
    clock = ticking()
    return _lived(engine.open(clock=clock), clock)


@pytest.fixture(scope="module")
def in_memory() -> EventStore:
    """Give the same in memory, where looking changes nothing."""
    clock = ticking()
    return _lived(MemoryStore("main", clock=clock), clock)


@pytest.fixture
def reading(store: EventStore) -> Iterator[Reading]:
    """Give the reading side of the book."""
    with_models = Reading(store)
    yield with_models
    with_models.close()


def _rows(store: EventStore, name: str, position: int) -> dict[tuple[str, Any], Any]:
    log = LogAsOf(store, Point(position))
    models = ReadModels(log, models_of(log), SHIPPED)
    models.catch_up(name)
    live = models.live(name)
    assert live is not None
    return {
        (table.name, table.key_of(row)): row
        for table in models.model(name).tables
        for row in models.store.page(live, table, None, 100_000)
    }


def _applied(rows: dict[tuple[str, Any], Any], found: Diff, model: Any) -> None:
    """Apply a diff to the rows before it."""
    tables = {table.name: table for table in model.tables}
    for one in found.rows:
        place = (one.table, one.key)
        columns = [column.name for column in tables[one.table].columns]
        fields = {field.name: field for field in one.fields}
        if one.kind is ChangeKind.REMOVED:
            old = rows.pop(place)
            assert {name: field.before for name, field in fields.items()} == dict(
                list(zip(columns, old, strict=True))[len(one.key) :]
            )
            continue
        old = rows.get(place)
        assert (old is None) == (one.kind is ChangeKind.ADDED)
        values = dict(zip(columns, old or [*one.key, *[None] * len(columns)], strict=False))
        for name, field in fields.items():
            assert values.get(name) == field.before
            values[name] = field.after
        rows[place] = tuple(values.values())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "balances"])
def test_a_diff_leads_from_one_instant_to_the_other(in_memory: EventStore, name: str) -> None:
    """Catches a change that is not told, told wrongly, or told without its cause."""
    _check(in_memory, name, 2)


def test_every_engine_tells_what_differs(store: EventStore) -> None:
    """Catches an engine that gives the events of a page otherwise than one by one."""
    _check(store, "orders", 1)


def test_every_event_that_changed_a_field_is_a_cause(in_memory: EventStore) -> None:
    """Catches a cause that is left out because another one came later, or one too many."""
    model = next(one for one in SHIPPED if one.name == "payments")
    first, last = 40, 75
    steps = [_rows(in_memory, model.name, position) for position in range(first, last + 1)]
    found = Reading(in_memory).diff(model.name, AsOf(position=first), AsOf(position=last))
    columns = {table.name: [one.name for one in table.columns] for table in model.tables}
    counts = set()
    for row in found.rows:
        for field in row.fields:
            number = columns[row.table].index(field.name)
            values = [None if one is None else (one[number],) for one in _of(steps, row)]
            expected = [
                first + step for step in range(1, len(values)) if values[step] != values[step - 1]
            ]
            assert list(field.causes) == expected, (row.key, field)
            counts.add(len(expected))
    assert max(counts) > 1, "no field changed twice: choose another window"


def _of(steps: list[dict[tuple[str, Any], Any]], row: Any) -> list[Any]:
    return [rows.get((row.table, row.key)) for rows in steps]


def _check(store: EventStore, name: str, count: int) -> None:
    head, reading = store.head().size, Reading(store)
    chosen = random.Random(name)
    for _ in range(count):
        first, last = sorted(chosen.sample(range(head + 1), 2))
        found = reading.diff(name, AsOf(position=first), AsOf(position=last))
        rows = _rows(store, name, first)
        _applied(rows, found, reading.models.model(name))
        assert rows == _rows(store, name, last)
        for row in found.rows:
            for field in row.fields:
                if field.before == field.after:
                    continue
                assert field.causes, f"{row} has no cause"
                assert all(first < position <= last for position in field.causes)
                _require_cause(store, name, row, field)
        back = reading.diff(name, AsOf(position=last), AsOf(position=first))
        rows = _rows(store, name, last)
        _applied(rows, back, reading.models.model(name))
        assert rows == _rows(store, name, first)


def _require_cause(store: EventStore, name: str, row: Any, field: Any) -> None:
    """Require that the row is another one after the last cause than before it."""
    # Looked up for a few fields only: each is two rebuilds of the model.
    if crc32(f"{row.key} {field.name}".encode()) % 97:
        return

    def at(position: int) -> Any:
        return _rows(store, name, position).get((row.table, row.key))

    assert at(field.causes[-1]) != at(field.causes[-1] - 1)


def test_causes_name_the_event_and_its_command(store: EventStore, reading: Reading) -> None:
    """Catches a cause that is another event than the one at its position."""
    found = reading.diff("orders", AsOf(position=0))
    assert found.rows
    assert found.causes
    for position, cause in found.causes.items():
        (row,) = store.read(position - 1, until=position, limit=1)
        assert (cause.stream, cause.version, cause.topic) == (row.stream, row.version, row.topic)
        assert cause.command_id == str(row.command_id)
        assert (cause.recorded_at, cause.effective_at) == (row.recorded_at, row.occurred_at)


def test_balances_differ_on_both_clocks(store: EventStore, reading: Reading) -> None:
    """Catches an entry that moved a balance and is not told, or the other way round."""
    rows = store.read(0, limit=10_000)
    head = store.head().size
    instants = sorted({row.occurred_at for row in rows if row.postings})
    chosen = random.Random(3)
    for _ in range(10):
        ends = [
            AsOf(position=chosen.randrange(head + 1), effective_to=chosen.choice([*instants, None]))
            for _ in range(2)
        ]
        for layer in Layer:
            found = reading.diff_balances(ends[0], ends[1], layer=layer)
            expected: dict[tuple[str, str], list[int]] = {}
            for row in rows:
                counts = [
                    (row.position or 0) <= (end.position or 0)
                    and (end.effective_to is None or row.occurred_at <= end.effective_to)
                    for end in ends
                ]
                for leg in decode_entry(row.postings).postings:
                    if leg.layer is layer:
                        sums = expected.setdefault((leg.account, leg.currency), [0, 0])
                        for end in (0, 1):
                            sums[end] += leg.minor if counts[end] else 0
            told = {(one.account, one.currency): (one.before, one.after) for one in found}
            for key, (before, after) in expected.items():
                assert told.get(key, (before, before)) == (before, after)
            assert {key for key, sums in expected.items() if sums[0] != sums[1]} <= set(told)


def test_a_prefix_narrows_to_whole_segments(reading: Reading) -> None:
    """Catches liabilities:escrow:o1 that also tells of o10."""
    everything = reading.diff_balances(AsOf(position=0))
    some = reading.diff_balances(AsOf(position=0), prefix="liabilities:escrow:o1")
    assert {one.account for one in some} == {
        one.account for one in everything if one.account == "liabilities:escrow:o1"
    }
    assert some


def test_every_balance_is_explained(store: EventStore, reading: Reading) -> None:
    """Catches an entry that is left out of the explanation of a number, or put into it twice."""
    head = store.head().size
    rows = store.read(0, limit=10_000)
    instants = sorted({row.occurred_at for row in rows})
    for total in reading.balances_below("assets"):
        for as_of in (
            AsOf(),
            AsOf(position=head // 2),
            AsOf(position=head // 2, effective_to=instants[len(instants) // 2]),
        ):
            found = reading.explain(total.account, total.currency, as_of)
            lines = list(found)
            assert sum(line.minor for line in lines) == found.minor
            assert [line.cause.position for line in lines] == [
                row.position
                for row in rows
                if found.point.has(row)
                and any(
                    (leg.account, leg.currency, leg.layer)
                    == (total.account, total.currency, Layer.POSTED)
                    for leg in decode_entry(row.postings).postings
                )
            ]
            if lines:
                assert lines[-1].balance == found.minor


def test_bad_questions_are_told(store: EventStore, reading: Reading) -> None:
    """Catches an empty answer to a question that has none."""
    with pytest.raises(NotFound, match="there is no read model nothing"):
        reading.diff("nothing", AsOf(position=0))
    with pytest.raises(InvalidInput, match="position 99999 is not in the log"):
        reading.diff("orders", AsOf(position=99_999))
    instant = store.read(0, limit=1)[0].occurred_at
    with pytest.raises(InvalidInput, match="and one effective time"):
        reading.diff("orders", AsOf(position=0), AsOf(effective_to=instant))
    assert list(reading.explain("assets:psp:nobody", "USD")) == []
