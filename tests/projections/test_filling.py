"""Generations filled side by side, with threads that read ahead and write behind."""

import gc
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orderledger.ledger.errors import DatabaseFull, IntegrityViolation
from orderledger.ledger.model_ports import Generation
from orderledger.ledger.ports import StoredEvent
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.ahead import ReadAhead
from orderledger.projections.compare import summed
from orderledger.projections.follow import Follower
from orderledger.projections.models import fingerprint
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.replay import filling
from orderledger.replay.filling import Filling
from orderledger.testing import memory_book
from tests.projections.books import day_in_memory, fill
from tests.projections.toy_models import Entries, Totals

NAMES = [model.name for model in SHIPPED]


def created(models: ReadModels, name: str) -> Generation:
    model = models.model(name)
    return models.store.create(name, model.version, fingerprint(model), tuple(model.tables))


def silent(position: int, head: int) -> None:
    del position, head


@pytest.mark.parametrize("batch_events", [1, 7, 100, 10_000])
def test_side_by_side_comes_to_what_each_comes_to_alone(
    batch_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a batch projected before the rows it builds on, or events shared wrongly."""
    monkeypatch.setattr(filling, "BUILD_BATCH_EVENTS", batch_events)
    models = ReadModels(day_in_memory().store, MemoryModels(), SHIPPED)
    alone = ReadModels(models.events, MemoryModels(), SHIPPED)
    reached: list[int] = []
    with Filling(models) as together:
        followers = [together.follower(models.model(one), created(models, one)) for one in NAMES]
        # One that was begun before: it comes along when the others have reached it.
        followers[2].catch_up(11)
        together.fill(followers, lambda position, head: reached.append(position))
    assert reached == sorted(reached)
    assert reached[-1] == together.head
    for follower in followers:
        name = follower.generation.model
        alone.catch_up(name)
        expected = alone.live(name)
        assert expected is not None
        assert follower.generation.position == expected.position
        assert follower.generation.digest == expected.digest
        found = summed(models.store, follower.generation, tuple(models.model(name).tables))
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
    fill(book.store)

    class Hole(CountedReads):
        def read(self, after: int, **bounds: Any) -> Sequence[StoredEvent]:
            return [row for row in super().read(after, **bounds) if row.position != 30]

    models = ReadModels(Hole(book.store), MemoryModels(), [Totals()])
    with pytest.MonkeyPatch.context() as patched, Filling(models) as filled:
        patched.setattr(filling, "BUILD_BATCH_EVENTS", 10)
        follower = filled.follower(models.model("totals"), created(models, "totals"))
        with pytest.raises(IntegrityViolation, match="no event at position 30"):
            filled.fill((follower,), silent)


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


@pytest.mark.parametrize("failing", [1, 2, 4, 7])
def test_after_a_failed_write_nothing_is_missing(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a follower that goes on from rows that were never written."""
    monkeypatch.setattr(filling, "BUILD_BATCH_EVENTS", 9)
    book = memory_book()
    fill(book.store)
    models = ReadModels(book.store, Failing(lambda count: count == failing), [Totals(), Entries()])
    with Filling(models) as filled:
        followers = [
            filled.follower(models.model(one), created(models, one))
            for one in ("totals", "entries")
        ]
        with pytest.raises(DatabaseFull):
            filled.fill(followers, silent)
        filled.fill(followers, silent)
    for follower in followers:
        model = models.model(follower.generation.model)
        assert follower.generation.position == filled.head
        assert summed(models.store, follower.generation, tuple(model.tables)).digest == (
            follower.generation.digest
        )
        alone = ReadModels(book.store, MemoryModels(), [model])
        alone.catch_up(model.name)
        live = alone.live(model.name)
        assert live is not None
        assert live.digest == follower.generation.digest


def test_others_may_fill_the_same_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an event applied twice, or a batch lost, where two rebuilds meet."""
    book = memory_book()
    fill(book.store)
    models = ReadModels(book.store, MemoryModels(), [Totals()])
    model, made = models.model("totals"), created(models, "totals")
    chance = random.Random(3)
    monkeypatch.setattr(filling, "BUILD_BATCH_EVENTS", 5)
    other = Follower(book.store, models.store, model, made)

    def progress(position: int, head: int) -> None:
        if chance.random() < 0.4:
            other.catch_up(min(head, position + chance.randrange(12)), batch_events=3)

    with Filling(models) as filled:
        follower = filled.follower(model, made)
        filled.fill((follower,), progress)
    assert follower.generation.position == filled.head
    models.catch_up("totals")
    live = models.live("totals")
    assert live is not None
    assert follower.generation.digest == live.digest
    assert summed(models.store, follower.generation, tuple(model.tables)).digest == live.digest


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_as_it_was(was_enabled: bool) -> None:
    """Catches a process that never collects again after a rebuild that failed."""
    book = memory_book()
    fill(book.store)
    models = ReadModels(book.store, Failing(lambda count: True), [Totals()])
    try:
        (gc.enable if was_enabled else gc.disable)()
        with Filling(models) as filled:
            follower = filled.follower(models.model("totals"), created(models, "totals"))
            with pytest.raises(DatabaseFull):
                filled.fill((follower,), silent)
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()
