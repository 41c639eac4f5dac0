"""A rebuild proves itself before it serves; planted faults are each caught."""

from collections.abc import Iterator
from typing import Any

import pytest

from orderledger import Book
from orderledger.ledger.errors import (
    CheckpointDiverged,
    InvalidInput,
    NotFound,
    RebuildRefused,
)
from orderledger.ledger.model_ports import Generation, GenerationState, TableChanges
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.compare import RowDifference
from orderledger.projections.follow import Follower
from orderledger.projections.models import Recorded, Rows, fingerprint
from orderledger.projections.orders import OrderRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.replay import building
from orderledger.replay.rebuild import diff, rebuild, rollback, verify
from orderledger.testing import memory_book
from tests.projections.books import day_in_memory, fill, post
from tests.projections.toy_models import TOTALS, TotalRow, Totals


@pytest.fixture
def book() -> Iterator[Book]:
    with memory_book() as made:
        fill(made.store)
        yield made


@pytest.fixture
def models(book: Book) -> ReadModels:
    made = ReadModels(book.store, MemoryModels(), [Totals()])
    made.catch_up("totals", batch_events=7)
    return made


def states(models: ReadModels, name: str = "totals") -> list[GenerationState]:
    return [one.state for one in models.store.generations(name)]


@pytest.mark.parametrize("name", [model.name for model in SHIPPED])
def test_every_shipped_model_comes_to_the_same_rows_twice(name: str) -> None:
    """Catches a model whose rows depend on when, or how often, they are made."""
    models = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    models.catch_up(name, batch_events=13)
    first, second = rebuild(models, name), rebuild(models, name)
    assert first.checksum == second.checksum
    assert first.digest == second.digest
    assert first.compared_at == second.compared_at == models.events.head().size
    assert verify(models, name).problem is None


def test_a_rebuild_serves_what_came_meanwhile(book: Book, models: ReadModels) -> None:
    """Catches a swap to rows that lack what was appended while they were made."""
    before = list(models.select(TotalRow))
    seen: list[int] = []

    def progress(position: int, head: int) -> None:
        seen.append(position)
        book.execute(post(1_000 + len(seen)))
        assert list(models.select(TotalRow)) == before, "the old rows go on serving"

    made = rebuild(models, "totals", progress)
    assert seen
    assert made.position == book.store.head().size
    assert states(models) == [GenerationState.PREVIOUS, GenerationState.LIVE]
    assert verify(models, "totals").problem is None


class Skipping(Totals):
    """The same model, by its declaration, that loses one event."""

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.position != 30:
            super().project(recorded, rows)


class Doubling(Totals):
    """The same model, by its declaration, that applies one event twice."""

    def project(self, recorded: Recorded, rows: Rows) -> None:
        super().project(recorded, rows)
        if recorded.position == 30:
            super().project(recorded, rows)


@pytest.mark.parametrize("planted", [Skipping(), Doubling()])
def test_a_fault_of_the_live_rows_is_refused(book: Book, planted: Totals) -> None:
    """Catches a swap that hides that one of the two is wrong; the difference is written."""
    store = MemoryModels()
    ReadModels(book.store, store, [planted]).catch_up("totals")
    models = ReadModels(book.store, store, [Totals()])
    before = list(models.select(TotalRow))
    with pytest.raises(RebuildRefused, match="differs from the live one at position 69") as caught:
        rebuild(models, "totals")
    (event,) = book.store.read(29, until=30)
    accounts = sorted(line.split(" ")[1] for line in event.postings.split("\n"))
    differences: Any = caught.value.facts["differences"]
    assert [one["key"][0] for one in differences] == accounts
    assert [one.key[0] for one in diff(models, "totals")] == accounts
    assert states(models) == [GenerationState.LIVE, GenerationState.REFUSED]
    assert list(models.select(TotalRow)) == before, "the old rows go on serving"


def test_a_refused_rebuild_can_be_made_again(book: Book) -> None:
    """Catches a refused generation that is gone on with, or kept for ever."""
    store = MemoryModels()
    ReadModels(book.store, store, [Skipping()]).catch_up("totals")
    models = ReadModels(book.store, store, [Totals()])
    for _ in range(2):
        with pytest.raises(RebuildRefused):
            rebuild(models, "totals")
    assert states(models) == [GenerationState.LIVE, GenerationState.REFUSED]


def live(models: ReadModels) -> Generation:
    found = models.live("totals")
    assert found is not None
    return found


def test_a_row_edited_by_hand_is_found_and_healed(models: ReadModels) -> None:
    """Catches a number that somebody changed in the read model."""
    store: Any = models.store
    rows = store._rows[("totals", 1)]["totals"]
    key, row = next(iter(rows.items()))
    rows[key] = (*row[:2], row[2] + 1, *row[3:])
    found = verify(models, "totals")
    assert found.problem is not None
    assert "changed past the model" in found.problem
    rebuild(models, "totals")
    assert verify(models, "totals").problem is None
    assert list(diff(models, "totals")) == [
        RowDifference("totals", key, row, (*row[:2], row[2] + 1, *row[3:]))
    ]


def test_rows_that_were_not_stored_are_not_served(
    models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a database that acknowledged rows and lost them."""
    write = MemoryModels._write

    def lossy(self: Any, generation: Any, table: Any, changes: TableChanges) -> None:
        write(self, generation, table, TableChanges(changes.inserted[1:]))

    monkeypatch.setattr(MemoryModels, "_write", lossy)
    with pytest.raises(RebuildRefused, match="not those that were computed"):
        rebuild(models, "totals")
    assert live(models).number == 1


def test_an_interrupted_rebuild_goes_on(models: ReadModels) -> None:
    """Catches a rebuild that begins again from nothing after each restart."""

    class Killed(Exception):
        pass

    def progress(position: int, head: int) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(building, "BUILD_BATCH_EVENTS", 20)
        with pytest.raises(Killed):
            rebuild(models, "totals", progress)
    positions: list[int] = []
    assert [one.position for one in models.store.generations("totals")] == [69, 20]
    made = rebuild(models, "totals", lambda position, head: positions.append(position))
    assert (made.generation, positions[-1]) == (2, 69)
    assert min(positions) == 20


def test_a_generation_of_other_code_is_not_gone_on_with(models: ReadModels) -> None:
    """Catches rows of two versions in one table after a deployment in the middle of a rebuild."""
    models.store.create("totals", 7, "0123456789ab", (TOTALS,))
    rebuild(models, "totals")
    assert [one.fingerprint for one in models.store.generations("totals")] == [
        fingerprint(Totals())
    ] * 2


def test_rows_of_another_history_are_replaced(models: ReadModels) -> None:
    """Catches a restored book whose read model says to rebuild it, and then refuses to."""
    with memory_book() as other:
        other.execute_many([post(n, "another history") for n in range(100)])
        restored = ReadModels(other.store, models.store, [Totals()])
        with pytest.raises(CheckpointDiverged, match="another history"):
            restored.catch_up("totals")
        assert rebuild(restored, "totals").compared_at is None
        assert restored.catch_up("totals") == 100
        assert verify(restored, "totals").problem is None


def test_rows_beyond_the_head_are_replaced(models: ReadModels) -> None:
    """Catches a rebuild that is offered and cannot swap, where the log lost its end."""
    with memory_book() as other:
        other.execute_many([post(n) for n in range(10)])
        restored = ReadModels(other.store, models.store, [Totals()])
        with pytest.raises(CheckpointDiverged, match="beyond the head"):
            restored.catch_up("totals")
        assert rebuild(restored, "totals").position == live(models).position == 10
        assert verify(restored, "totals").problem is None
        with pytest.raises(CheckpointDiverged, match="beyond the head"):
            rollback(restored, "totals")


def test_the_previous_generation_can_be_brought_back(book: Book, models: ReadModels) -> None:
    """Catches a way back that loses what was recorded since, or that cannot be taken."""
    rebuild(models, "totals")
    book.execute(post(500))
    models.catch_up("totals")
    after = list(models.select(TotalRow))
    back = rollback(models, "totals")
    assert back.number == 1
    assert back.position == book.store.head().size
    assert list(models.select(TotalRow)) == after
    assert rollback(models, "totals").number == 2


def test_there_must_be_something_to_go_back_to(book: Book, models: ReadModels) -> None:
    """Catches a rollback to rows that this code cannot follow."""
    with pytest.raises(NotFound, match="no previous generation"):
        rollback(models, "totals")
    with pytest.raises(NotFound, match="no second generation"):
        list(diff(models, "totals"))

    class Newer(Totals):
        version = 2

    newer = ReadModels(book.store, models.store, [Newer()])
    assert rebuild(newer, "totals").compared_at is None, "another version has other rows"
    with pytest.raises(InvalidInput, match="made by version 1"):
        rollback(newer, "totals")


def test_one_previous_generation_is_kept(models: ReadModels) -> None:
    """Catches tables that pile up with every rebuild."""
    for _ in range(3):
        rebuild(models, "totals")
    assert states(models) == [GenerationState.PREVIOUS, GenerationState.LIVE]


def test_a_live_generation_that_nobody_follows_is_brought_along(
    book: Book, models: ReadModels
) -> None:
    """Catches a comparison at two positions, which tells nothing."""
    for number in range(200, 210):
        book.execute(post(number))
    behind = live(models).position
    made = rebuild(models, "totals")
    assert made.compared_at == book.store.head().size > behind


def test_orders_of_a_day_are_there_after_a_rebuild() -> None:
    """Catches a rebuild of a model from states that shows no rows."""
    models = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    made = rebuild(models, "orders")
    assert made.compared_at is None, "there was nothing to compare with"
    assert len(list(models.select(OrderRow))) == 60
    follower = models.follower("orders")
    assert isinstance(follower, Follower)
    assert follower.catch_up() == made.position


class Mended(Totals):
    """Cannot read the entries of one seller, until it is mended; its version stays."""

    name = "mended"
    cannot_read = "s3"
    loses = 0

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if self.cannot_read and self.cannot_read in recorded.postings:
            raise ValueError("cannot read it")
        if recorded.position != self.loses:
            super().project(recorded, rows)


def test_streams_that_can_be_read_now_come_back(book: Book) -> None:
    """Catches a rebuild that refuses to heal, or that leaves out what it could read."""
    model = Mended()
    models = ReadModels(book.store, MemoryModels(), [model])
    models.catch_up("mended", batch_events=7)
    assert models.parked("mended")
    model.cannot_read = ""
    made = rebuild(models, "mended")
    assert made.compared_at == book.store.head().size
    assert list(models.parked("mended")) == []
    plain = ReadModels(book.store, MemoryModels(), [Totals()])
    plain.catch_up("totals")
    assert list(models.select(TotalRow)) == list(plain.select(TotalRow))
    assert states(models, "mended") == [GenerationState.PREVIOUS, GenerationState.LIVE]


def test_healing_does_not_hide_another_fault(book: Book) -> None:
    """Catches a lost event that passes because streams came back in the same rebuild."""
    model = Mended()
    model.loses = 25
    models = ReadModels(book.store, MemoryModels(), [model])
    models.catch_up("mended")
    model.cannot_read, model.loses = "", 0
    with pytest.raises(RebuildRefused):
        rebuild(models, "mended")
    assert states(models, "mended") == [GenerationState.LIVE, GenerationState.REFUSED]
