"""Generations filled side by side, with threads that read ahead and write behind."""

import gc
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orderledger.ledger.errors import DatabaseFull, IntegrityViolation
from orderledger.ledger.ports import LockTimeout, StoredEvent
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections import follow
from orderledger.projections.ahead import ReadAhead
from orderledger.projections.compare import summed
from orderledger.projections.follow import Follower
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.replay import building
from orderledger.replay.building import Build, Slots
from orderledger.replay.filling import fill
from orderledger.replay.rebuild import rebuild_all
from orderledger.testing import memory_book
from tests.projections.books import day_in_memory
from tests.projections.books import fill as post_entries
from tests.projections.toy_models import Entries, Totals

NAMES = [model.name for model in SHIPPED]


def built(models: ReadModels, *names: str) -> list[Build]:
    """Begin a build of each model."""
    slots = Slots(at_once=len(SHIPPED))
    return [Build(models, models.model(name), slots) for name in names]


def silent(position: int, head: int) -> None:
    del position, head


@pytest.mark.parametrize("batch_events", [1, 7, 100, 10_000])
def test_side_by_side_comes_to_what_each_comes_to_alone(
    batch_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a batch projected before the rows it builds on, or events shared wrongly."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", batch_events)
    models = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    alone = ReadModels(models.events, MemoryModels(), SHIPPED)
    head = models.events.head().size
    reached: list[int] = []
    builds = built(models, *NAMES)
    # One that was begun before: it goes on when the others have reached it.
    builds[2].catch_up(11)
    fill(models, builds, lambda position, head: reached.append(position))
    assert reached == sorted(reached)
    assert reached[-1] == head
    for build in builds:
        name = build.generation.model
        alone.catch_up(name)
        expected = alone.live(name)
        assert expected is not None
        assert build.generation.position == expected.position
        assert build.generation.digest == expected.digest
        found = summed(models.store, build.generation, tuple(models.model(name).tables))
        assert found.digest == expected.digest


class CountedReads:
    """An event store that notes who reads what."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.reads: list[tuple[int, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, after: int, **bounds: Any) -> Sequence[StoredEvent]:
        self.reads.append((after, threading.current_thread().name))
        found: Sequence[StoredEvent] = self._store.read(after, **bounds)
        return found


def test_the_log_is_read_once_and_ahead() -> None:
    """Catches a second reading of what a neighbour has read, or one that holds up the projector."""
    store: Any = CountedReads(day_in_memory().store)
    head = store.head().size
    with ReadAhead(store, head) as ahead:
        for position in range(0, head, 10):
            for _ in range(3):
                batch = ahead.read(position, head, 10)
                assert batch[0].position == position + 1
    assert [at for at, _ in store.reads] == list(range(0, head, 10))
    assert store.reads[0][1] == threading.current_thread().name
    assert all(name.startswith("orderledger-read-ahead") for _, name in store.reads[1:])


def test_what_was_not_foreseen_is_read_too() -> None:
    """Catches events of another place, or beyond what was asked for."""
    store: Any = CountedReads(day_in_memory().store)
    head = store.head().size
    with ReadAhead(store, head - 5) as ahead:
        for position, until, limit in [(0, 3, 10), (40, head, 10), (3, 20, 4), (head - 5, head, 9)]:
            batch = ahead.read(position, until, limit)
            wanted = store.read(position, until=min(until, position + limit), limit=limit)
            assert list(batch) == list(wanted)


def test_a_failure_of_the_thread_that_reads_is_raised() -> None:
    """Catches a hole in the log that a thread keeps to itself."""
    book = memory_book()
    post_entries(book.store)

    class Hole(CountedReads):
        def read(self, after: int, **bounds: Any) -> Sequence[StoredEvent]:
            return [row for row in super().read(after, **bounds) if row.position != 30]

    models = ReadModels(Hole(book.store), MemoryModels(), [Totals()])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(building, "BUILD_BATCH_EVENTS", 10)
        with pytest.raises(IntegrityViolation, match="no event at position 30"):
            fill(models, built(models, "totals"), silent)


class Failing(MemoryModels):
    """Read models of which some writes fail: the given ones, counted from 1."""

    def __init__(self, failures: Callable[[int], bool]) -> None:
        super().__init__()
        self._failures = failures
        self._count = 0

    def advance(self, *arguments: Any, **options: Any) -> bool:
        self._count += 1
        if self._failures(self._count):
            raise DatabaseFull("the disk is full")
        return super().advance(*arguments, **options)


@pytest.mark.parametrize("failing", [1, 2, 4, 7, 15, 16])
def test_after_a_failed_write_nothing_is_missing(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a follower that goes on from rows that were never written."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 9)
    book = memory_book()
    post_entries(book.store)
    models = ReadModels(book.store, Failing(lambda count: count == failing), [Totals(), Entries()])
    builds = built(models, *models.names)
    with pytest.raises(DatabaseFull):
        fill(models, builds, silent)
    fill(models, builds, silent)
    for build in builds:
        model = models.model(build.generation.model)
        assert build.generation.position == models.events.head().size
        assert summed(models.store, build.generation, tuple(model.tables)).digest == (
            build.generation.digest
        )
        alone = ReadModels(book.store, MemoryModels(), [model])
        alone.catch_up(model.name)
        live = alone.live(model.name)
        assert live is not None
        assert live.digest == build.generation.digest


class Slow(MemoryModels):
    """Read models that are written long after they were told to be."""

    def advance(self, *arguments: Any, **options: Any) -> bool:
        time.sleep(0.01)
        return super().advance(*arguments, **options)


def test_rows_are_read_after_the_batch_before_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a batch that builds on rows as they were two batches ago."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 6)
    # Nothing is remembered between batches: each row is read again.
    monkeypatch.setattr(follow, "KNOWN_ROWS", 0)
    book = memory_book()
    post_entries(book.store)
    models = ReadModels(book.store, Slow(), [Totals()])
    (build,) = built(models, "totals")
    fill(models, (build,), silent)
    alone = ReadModels(book.store, MemoryModels(), [Totals()])
    alone.catch_up("totals")
    live = alone.live("totals")
    assert live is not None
    assert build.generation.digest == live.digest


class OneAtATime(Slow):
    """Read models of which a claim waits for no write, as a row that is locked has it."""

    def __init__(self) -> None:
        super().__init__()
        self._is_writing = threading.Event()

    def advance(self, *arguments: Any, **options: Any) -> bool:
        self._is_writing.set()
        try:
            return super().advance(*arguments, **options)
        finally:
            self._is_writing.clear()

    def claim(self, *arguments: Any) -> int | None:
        # Long enough for a write that was told to begin to be under way.
        time.sleep(0.003)
        if self._is_writing.is_set():
            raise LockTimeout("canceling statement due to lock timeout")
        return super().claim(*arguments)


def test_a_lease_is_renewed_between_two_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a rebuild that fails at its own write when a third of its lease is over."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 3)
    book = memory_book()
    post_entries(book.store)
    models = ReadModels(book.store, OneAtATime(), [Totals()])
    build = Build(models, models.model("totals"), Slots(lease_s=0.03))
    fill(models, (build,), silent)
    assert build.generation.position == models.events.head().size


def test_others_may_fill_the_same_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an event applied twice, or a batch lost, where two rebuilds meet."""
    book = memory_book()
    post_entries(book.store)
    models = ReadModels(book.store, MemoryModels(), [Totals()])
    model = models.model("totals")
    chance = random.Random(3)
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 5)
    (build,) = built(models, "totals")
    other = Follower(book.store, models.store, model, build.generation)

    def progress(position: int, head: int) -> None:
        if chance.random() < 0.4:
            other.catch_up(min(head, position + chance.randrange(12)), batch_events=3)

    fill(models, (build,), progress)
    assert build.generation.position == models.events.head().size
    models.catch_up("totals")
    live = models.live("totals")
    assert live is not None
    assert build.generation.digest == live.digest
    assert summed(models.store, build.generation, tuple(model.tables)).digest == live.digest


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was(was_enabled: bool) -> None:
    """Catches a process that never collects again after a rebuild that failed."""
    book = memory_book()
    post_entries(book.store)
    models = ReadModels(book.store, Failing(lambda count: True), [Totals()])
    try:
        (gc.enable if was_enabled else gc.disable)()
        with pytest.raises(DatabaseFull):
            fill(models, built(models, "totals"), silent)
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()


def test_models_are_rebuilt_as_many_at_once_as_there_are_slots() -> None:
    """Catches a rebuild of several that reads the log once a model, or waits for itself."""
    store: Any = CountedReads(day_in_memory().store)
    models = ReadModels(store, MemoryModels(), SHIPPED)
    told: list[Sequence[str]] = []

    def progress(names: Sequence[str]) -> Callable[[int, int], None]:
        told.append(names)
        return silent

    wanted = (*NAMES, NAMES[0])
    made = list(rebuild_all(models, wanted, progress, Slots(at_once=4)))
    assert [one.model for one in made] == NAMES
    groups = [len(NAMES[at : at + 4]) for at in range(0, len(NAMES), 4)]
    assert [len(names) for names in told] == groups
    assert len([at for at, _ in store.reads if at == 0]) == len(groups)
    assert {one.position for one in made} == {store.head().size}
    assert models.store.holds() == []


def test_who_finds_other_slots_taken_goes_on_with_one() -> None:
    """Catches two rebuilds that each have one slot and wait for the other's."""
    models = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    (other,) = built(models, "orders")
    told: list[Sequence[str]] = []

    def progress(names: Sequence[str]) -> Callable[[int, int], None]:
        told.append(names)
        return silent

    made = list(rebuild_all(models, ("payments", "refunds", "stock"), progress, Slots(at_once=2)))
    assert [one.model for one in made] == ["payments", "refunds", "stock"]
    assert [len(names) for names in told] == [1, 1, 1]
    other.close()


def test_who_serves_first_is_followed_and_who_waits_is_held() -> None:
    """Catches a model that serves and that no worker may follow, or a build that is not held."""
    models = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    names = ("orders", "payments", "refunds")
    slots = Slots(at_once=3, lease_s=0.05)
    generator = rebuild_all(models, names, lambda _: silent, slots)
    assert next(generator).model == "orders"
    live = models.live("orders")
    assert live is not None
    assert models.store.claim(live, "a worker", 1_000) == 0
    time.sleep(0.1)
    assert [one.model for one in models.store.holds()] == [], "their leases have run out"
    (waiting,) = built(models, "stock")
    payments, refunds = [
        Build(models, models.model(name), Slots(at_once=9, lease_s=0.15)) for name in names[1:]
    ]
    payments.hold_with((refunds, waiting))
    for _ in range(6):
        time.sleep(0.05)
        payments.hold()
    assert {one.model for one in models.store.holds()} == {"payments", "refunds", "stock"}
    refunds.close()
    time.sleep(0.1)
    payments.hold()
    assert {one.model for one in models.store.holds()} == {"payments", "stock"}
    waiting.close()
    payments.close()
