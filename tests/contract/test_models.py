"""The stores of read models keep one contract on every engine."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from orderledger.ledger.errors import IntegrityViolation, InvalidInput
from orderledger.ledger.model_ports import (
    Changes,
    Column,
    Generation,
    GenerationState,
    Kind,
    ModelStore,
    Parked,
    Row,
    Table,
    TableChanges,
)
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores import models_sqlite
from orderledger.ledger.stores.models import models_of
from orderledger.ledger.stores.models_sqlite import UNITED_MAX
from orderledger.ledger.stores.sqlite_files import SqliteFile
from tests.contract.engines import PostgresEngine, SqlEngine, SqliteEngine

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
THINGS = Table(
    "things",
    (
        Column("name", Kind.TEXT),
        Column("number", Kind.INTEGER),
        Column("amount", Kind.AMOUNT),
        Column("at", Kind.INSTANT, is_optional=True),
        Column("is_good", Kind.BOOLEAN, is_optional=True),
        Column("note", Kind.TEXT, is_optional=True),
        Column("change", Kind.AMOUNT, is_optional=True),
    ),
    key_count=2,
    indexes=(("note",), ("amount", "at")),
)
TABLES = (THINGS,)
HUGE = 10**30 - 1
ROWS: list[Row] = [
    ("a", -5, 0, None, None, None, None),
    ("a", 7, HUGE, AT, True, "", -HUGE),
    ("a", 10, -HUGE, AT, False, "x", 0),
    ("aa", 2**63 - 1, 1, AT, None, 'quote " and \\ and \t', 10**10),
    ("é", -(2**63), -(10**10), None, True, "zwölf", -(10**20)),
    ("語", 0, 10**20 - 1, AT, False, "line\nbreak", 10**9),
]


@pytest.fixture
def models(store: EventStore) -> Iterator[ModelStore]:
    """The read models of the book `main`."""
    made = models_of(store)
    yield made
    made.close()


def made(models: ModelStore, rows: list[Row] | None = None) -> Generation:
    """Give a generation with rows, at position 10."""
    generation = models.create("toys", 1, "0123456789ab", TABLES)
    return moved(models, generation, {"things": TableChanges(inserted=rows or ROWS)})


def moved(models: ModelStore, before: Generation, changes: Changes, by: int = 10) -> Generation:
    """Write changes and move the checkpoint."""
    position = before.position + by
    after = replace(before, position=position, leaf_hash=bytes([position % 256]) * 32)
    assert models.advance(before, after, TABLES, changes, ())
    return after


def rows_of(models: ModelStore, generation: Generation) -> list[Row]:
    return list(models.page(generation, THINGS, None, 1000))


def test_rows_come_back_as_they_were(models: ModelStore) -> None:
    """Catches a value that an engine rounds, clips, orders otherwise, or makes another type."""
    generation = made(models, ROWS[::-1])
    assert rows_of(models, generation) == ROWS
    found = rows_of(models, generation)
    assert [[type(value) for value in row] for row in found] == [
        [type(value) for value in row] for row in ROWS
    ]


def test_pages_continue_after_a_key(models: ModelStore) -> None:
    """Catches a page that repeats or skips a row."""
    generation = made(models)
    seen: list[Row] = []
    while page := models.page(generation, THINGS, THINGS.key_of(seen[-1]) if seen else None, 2):
        assert len(page) <= 2
        seen += page
    assert seen == ROWS


def test_fetches_by_key(models: ModelStore) -> None:
    """Catches a key that finds another row, and an absent one that finds any."""
    generation = made(models)
    wanted = [("a", 7), ("語", 0), ("a", 8), ("nobody", 7)]
    assert models.fetch(generation, THINGS, wanted) == {("a", 7): ROWS[1], ("語", 0): ROWS[5]}
    assert models.fetch(generation, THINGS, []) == {}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"note": ""}, [1]),
        ({"note": None}, [0]),
        ({"at": AT, "is_good": False}, [2, 5]),
        ({"amount": -HUGE}, [2]),
        ({"change": None}, [0]),
        ({"change": -(10**20)}, [4]),
        ({"name": "a"}, [0, 1, 2]),
        ({"name": "b"}, []),
    ],
)
def test_finds_by_columns(models: ModelStore, where: dict[str, Any], expected: list[int]) -> None:
    """Catches a condition that an engine reads otherwise: empty, null, amounts beyond 64 bits."""
    generation = made(models)
    found = list(models.find(generation, THINGS, where, None, 100))
    assert found == [ROWS[number] for number in expected]
    if found:
        after = models.find(generation, THINGS, where, THINGS.key_of(found[0]), 100)
        assert list(after) == found[1:]


def test_an_unknown_column_is_refused(models: ModelStore) -> None:
    """Catches a column's name that goes into SQL unseen."""
    generation = made(models)
    with pytest.raises(InvalidInput, match="no column 1=1"):
        models.find(generation, THINGS, {"1=1": "x"}, None, 1)


def test_a_batch_inserts_updates_and_deletes(models: ModelStore) -> None:
    """Catches a change of a row that does not reach the table."""
    generation = made(models)
    changed: Row = ("a", 7, 1, None, False, None, None)
    fresh: Row = ("b", 1, 2, AT, None, "new", None)
    generation = moved(
        models,
        generation,
        {"things": TableChanges(inserted=[fresh], updated=[changed], deleted=[("a", 10)])},
    )
    assert rows_of(models, generation) == [ROWS[0], changed, ROWS[3], fresh, *ROWS[4:]]
    (stored,) = models.generations("toys")
    assert stored == generation


WRONG: list[tuple[str, TableChanges]] = [
    (
        "inserted where a row is",
        TableChanges(inserted=[("new", 1, 1, None, None, None, None), ROWS[0]]),
    ),
    (
        "updated where none is",
        TableChanges(updated=[ROWS[0], ("new", 1, 1, None, None, None, None)]),
    ),
    ("deleted where none is", TableChanges(deleted=[("a", 7), ("new", 1)])),
]


@pytest.mark.parametrize(("_what", "changes"), WRONG, ids=[what for what, _ in WRONG])
def test_rows_that_are_not_those_of_the_checkpoint_are_noticed(
    models: ModelStore, _what: str, changes: TableChanges
) -> None:
    """Catches rows edited by hand, and an event applied twice: nothing of the batch is written."""
    generation = made(models)
    after = replace(generation, position=20, leaf_hash=b"x" * 32)
    with pytest.raises(IntegrityViolation, match="changed past the model"):
        models.advance(generation, after, TABLES, {"things": changes}, ())
    assert rows_of(models, generation) == ROWS
    assert list(models.generations("toys")) == [generation]


def test_a_batch_is_conditional_on_its_checkpoint(models: ModelStore) -> None:
    """Catches two followers that both write the same batch."""
    first = models.create("toys", 1, "0123456789ab", TABLES)
    second = moved(models, first, {"things": TableChanges(inserted=ROWS)})
    for stale in (first, replace(second, digest=b"x" * 32), replace(second, leaf_hash=b"y" * 32)):
        after = replace(stale, position=30)
        assert not models.advance(
            stale, after, TABLES, {"things": TableChanges(deleted=[("a", 7)])}, ()
        )
    assert rows_of(models, second) == ROWS


def test_parked_streams_are_kept_with_the_generation(models: ModelStore) -> None:
    """Catches a parked stream that is forgotten, or shared between generations."""
    before = models.create("toys", 1, "0123456789ab", TABLES)
    parked = [
        Parked(
            model="toys",
            number=1,
            stream=f"order-{n}",
            position=5 - n,
            topic="order.placed.v1",
            error="ValueError: no\nway",
            parked_at=AT,
        )
        for n in (1, 2)
    ]
    after = replace(before, position=7, leaf_hash=b"z" * 32)
    assert models.advance(before, after, TABLES, {}, parked)
    assert list(models.parked(after)) == parked[::-1]
    other = models.create("toys", 1, "0123456789ab", TABLES)
    assert other.number == 2
    assert list(models.parked(other)) == []


def test_a_swap_changes_what_is_live_and_keeps_the_old_one(models: ModelStore) -> None:
    """Catches two live generations, none, or a lost way back."""
    first = made(models)
    assert models.promote(first, TABLES)
    second = made(models, ROWS[:2])
    assert models.promote(second, TABLES)
    assert [one.state for one in models.generations("toys")] == [
        GenerationState.PREVIOUS,
        GenerationState.LIVE,
    ]
    first, second = models.generations("toys")
    assert rows_of(models, first) == ROWS
    assert models.promote(first, TABLES), "the way back"
    assert [one.state for one in models.generations("toys")] == [
        GenerationState.LIVE,
        GenerationState.PREVIOUS,
    ]


def test_a_swap_never_takes_readers_back(models: ModelStore) -> None:
    """Catches a swap to a generation that lacks what the live one has, or that moved meanwhile."""
    live = made(models)
    assert models.promote(live, TABLES)
    (live,) = models.generations("toys")
    late = models.create("toys", 1, "0123456789ab", TABLES)
    assert not models.promote(late, TABLES)
    assert not models.promote(replace(late, position=99), TABLES)
    assert [one for one in models.generations("toys") if one.state is GenerationState.LIVE] == [
        live
    ]


def test_drops_what_is_not_live(models: ModelStore) -> None:
    """Catches a drop of what serves readers, and a table that stays behind."""
    live = made(models)
    assert models.promote(live, TABLES)
    (live,) = models.generations("toys")
    with pytest.raises(InvalidInput, match="is live"):
        models.drop(live)
    models.refuse(live)
    assert list(models.generations("toys")) == [live], "nor refused"
    other = made(models)
    models.refuse(other)
    assert models.generations("toys")[1].state is GenerationState.REFUSED
    models.drop(other)
    models.drop(other)
    assert list(models.generations("toys")) == [live]
    assert models.create("toys", 1, "0123456789ab", TABLES).number == 2


BAD_TABLES = [
    Table("things; --", THINGS.columns),
    Table("Things", THINGS.columns),
    Table("x" * 31, THINGS.columns),
    Table("things", (Column("a b", Kind.TEXT),)),
    Table("things", (Column("book", Kind.TEXT),)),
    Table("things", (Column("a", Kind.TEXT), Column("a", Kind.TEXT))),
    Table("things", (Column("a", Kind.TEXT, is_optional=True),)),
    Table("things", (Column("a", Kind.TEXT),), key_count=0),
    Table("things", (Column("a", Kind.TEXT),), key_count=2),
    Table("things", (Column("a", Kind.TEXT),), indexes=(("b",),)),
]


@pytest.mark.parametrize("table", BAD_TABLES, ids=range(len(BAD_TABLES)))
def test_a_shape_that_no_engine_can_hold_is_refused(models: ModelStore, table: Table) -> None:
    """Catches a name that goes into SQL unseen, and a table without a key."""
    with pytest.raises(InvalidInput):
        models.create("toys", 1, "0123456789ab", (table,))
    assert list(models.generations()) == []


def _select(engine: SqlEngine) -> Callable[[str], list[tuple[Any, ...]]]:
    name = "orderledger_things" if isinstance(engine, SqliteEngine) else "orderledger_read.things"
    return lambda what: engine.execute(f"SELECT {what} FROM {name} ORDER BY book, name, number")


def test_a_view_shows_the_live_rows_of_every_book(sql_engine: SqlEngine) -> None:
    """Catches a view of a generation that no longer serves, of one book, or with wrong amounts."""
    assert isinstance(sql_engine, SqliteEngine | PostgresEngine)
    books = [models_of(sql_engine.open(name)) for name in ("main", "o'ther")]
    select = _select(sql_engine)
    old = made(books[0], ROWS[:1])
    assert books[0].promote(old, TABLES)
    assert [tuple(row) for row in select("book, name, number")] == [("main", "a", -5)]
    new = made(books[0])
    assert books[0].promote(new, TABLES)
    assert books[1].promote(made(books[1], ROWS[1:2]), TABLES)
    shown = select("book, name, number, amount, change")
    assert [(row[0], row[1], row[2]) for row in shown] == [
        *[("main", row[0], row[1]) for row in ROWS],
        ("o'ther", "a", 7),
    ]
    expected = [*ROWS, ROWS[1]]
    assert [int(row[3]) for row in shown] == [row[2] for row in expected]
    assert [None if row[4] is None else int(row[4]) for row in shown] == [
        row[6] for row in expected
    ]
    for one in books:
        one.close()


def test_a_view_shows_more_books_than_one_select_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a file whose 501st book has no read models: SQLite unites 500 selects at most."""
    connect = SqliteFile._connect

    def limited(file: SqliteFile) -> sqlite3.Connection:
        connection = connect(file)
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT) > UNITED_MAX
        connection.setlimit(sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 3)
        return connection

    monkeypatch.setattr(models_sqlite, "UNITED_MAX", 3)
    engine = SqliteEngine(tmp_path / "books.db")
    names = [f"b{number:02}" for number in range(11)]
    engine.open()  # preparing the file unites more than three
    monkeypatch.setattr(SqliteFile, "_connect", limited)
    for name in names:
        models = models_of(engine.open(name))
        assert models.promote(made(models, ROWS[1:2]), TABLES)
        models.close()
    assert _select(engine)("book, number") == [(name, 7) for name in names]
    engine.close()


def test_a_view_gets_the_columns_of_a_new_version(sql_engine: SqlEngine) -> None:
    """Catches a new version that cannot be swapped in while another book has the old one."""
    first, second = (models_of(sql_engine.open(name)) for name in ("main", "other"))
    for one in (first, second):
        assert one.promote(made(one, ROWS[:2]), TABLES)
    wider = Table("things", (*THINGS.columns[:2], Column("colour", Kind.TEXT)), key_count=2)
    generation = first.create("toys", 2, "ba9876543210", (wider,))
    after = replace(generation, position=10, leaf_hash=b"x" * 32)
    assert first.advance(
        generation, after, (wider,), {"things": TableChanges(inserted=[("a", 1, "red")])}, ()
    )
    assert first.promote(after, (wider,))
    assert [tuple(row) for row in _select(sql_engine)("book, name, number, colour")] == [
        ("main", "a", 1, "red"),
        ("other", "a", -5, None),
        ("other", "a", 7, None),
    ]
    for one in (first, second):
        one.close()


def test_one_owner_at_a_time_follows_a_generation(models: ModelStore) -> None:
    """Catches two workers that both do the work, and a lease that is never given back."""
    generation = made(models)
    assert models.claim(generation, "anna", 60_000) == 0
    assert models.claim(generation, "anna", 60_000) == 0, "a renewal"
    assert models.claim(generation, "bruno", 60_000) is None
    models.release(generation, "bruno")
    assert models.claim(generation, "bruno", 60_000) is None, "not his to give back"
    models.release(generation, "anna")
    assert models.claim(generation, "bruno", 60_000) == 0
    other = made(models)
    assert models.claim(other, "anna", 60_000) == 0, "each generation has its own lease"


def test_leases_that_ran_out_at_one_position_are_counted(models: ModelStore) -> None:
    """Catches a crash that is forgotten, and one counted against a position long behind."""
    generation = made(models)
    assert models.claim(generation, "first", 0) == 0
    assert models.claim(generation, "second", 0) == 1
    assert models.claim(generation, "second", 0) == 1, "a renewal is no death"
    assert models.claim(generation, "third", 0) == 2
    further = moved(models, generation, {})
    assert models.claim(further, "third", 0) == 0
    assert models.claim(further, "fourth", 60_000) == 1
    models.release(further, "fourth")
    assert models.claim(further, "fifth", 60_000) == 1, "a release is no death"


def test_what_a_generation_leaves_out_stays_with_it(models: ModelStore) -> None:
    """Catches a skip that another generation gets too, or that a batch or a swap forgets."""
    plain = models.create("toys", 1, "0123456789ab", TABLES)
    skipping = models.create("toys", 1, "0123456789ab", TABLES, (3, 2**62))
    assert (plain.skipped, skipping.skipped) == ((), (3, 2**62))
    assert list(models.generations("toys")) == [plain, skipping]
    further = moved(models, skipping, {"things": TableChanges(inserted=ROWS)})
    assert models.promote(further, TABLES)
    assert [one.skipped for one in models.generations("toys")] == [(), (3, 2**62)]
    stale = replace(further, state=GenerationState.LIVE, position=further.position - 1)
    assert not models.advance(stale, further, TABLES, {}, ())


def test_one_owner_at_a_time_builds_a_model(models: ModelStore) -> None:
    """Catches two that build one model, and a hold that cannot be told, renewed or given back."""
    live = made(models)
    assert models.promote(live, TABLES)
    first = models.create("toys", 1, "0123456789ab", TABLES)
    assert models.claim(first, "a follower of it", 0) == 0, "what runs out is no hold"
    models.release(first, "a follower of it")
    assert models.claim_build(first, "anna", 60_000, 1) == 0
    (hold,) = models.holds()
    assert (hold.model, hold.number) == ("toys", first.number)
    assert hold.until > hold.since
    assert models.claim_build(first, "anna", 120_000, 1) == 0
    assert models.claim(first, "anna", 120_000) == 0
    (renewed,) = models.holds()
    assert renewed.since == hold.since
    assert renewed.until > hold.until
    second = models.create("toys", 1, "0123456789ab", TABLES)
    assert models.claim_build(first, "bruno", 60_000, 9) is None
    assert models.claim_build(second, "bruno", 60_000, 9) is None, "another one of the same model"
    (live,) = [one for one in models.generations("toys") if one.state is GenerationState.LIVE]
    assert models.claim(live, "bruno", 60_000) == 0, "who follows the live one builds nothing"
    models.release(first, "anna")
    assert list(models.holds()) == []
    assert models.claim_build(second, "bruno", 60_000, 1) == 0


def test_so_many_models_are_built_at_once(models: ModelStore) -> None:
    """Catches a cap that lets more in, counts the dead, or never lets another in again."""
    made_of = {
        name: models.create(name, 1, f"0123456789a{at}", TABLES)
        for at, name in enumerate(("one", "two", "three"))
    }
    assert models.claim_build(made_of["one"], "anna", 60_000, 2) == 0
    assert models.claim_build(made_of["two"], "bruno", 60_000, 2) == 0
    assert models.claim_build(made_of["three"], "carla", 60_000, 2) is None
    assert [hold.model for hold in models.holds()] == ["one", "two"]
    assert models.claim_build(made_of["three"], "carla", 60_000, 3) == 0, "by another cap"
    models.release(made_of["three"], "carla")
    # Now only for a moment: its owner is as good as dead.
    assert models.claim(made_of["two"], "bruno", 0) == 0
    assert models.claim_build(made_of["three"], "carla", 60_000, 2) == 0
    assert [hold.model for hold in models.holds()] == ["one", "three"]
    assert models.claim_build(made_of["two"], "dora", 60_000, 2) is None
    assert models.claim_build(made_of["two"], "dora", 60_000, 3) == 1, "one died there"


def test_what_is_live_is_built_no_more(models: ModelStore) -> None:
    """Catches a finished rebuild that keeps its slot."""
    generation = made(models)
    assert models.claim_build(generation, "anna", 60_000, 1) == 0
    assert models.promote(generation, TABLES)
    assert list(models.holds()) == []
    other = models.create("others", 1, "ba9876543210", TABLES)
    assert models.claim_build(other, "bruno", 60_000, 1) == 0
