"""Redrives and skips give the same rows on every engine, and one model is built by one owner."""

import threading
from collections.abc import Iterator

import pytest

from orderledger import Book
from orderledger.ledger.errors import RebuildUnderWay, Unavailable
from orderledger.ledger.model_ports import GenerationState
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.read_models import ReadModels
from orderledger.replay import building
from orderledger.replay.building import Build, Slots
from orderledger.replay.filling import complete
from orderledger.replay.rebuild import rebuild, redrive, verify
from tests.projections.books import post, reverse
from tests.projections.poisoned import Picky, from_nothing, live_rows, parked_at


@pytest.fixture
def model() -> Picky:
    return Picky()


@pytest.fixture
def book(store: EventStore, model: Picky) -> Iterator[Book]:
    """A book whose stream journal-e1 fails at its second event, and journal-e2 at its first."""
    made = Book(store, models=[model])
    made.execute_many([post(n) for n in range(4)])
    made.execute_many([reverse(n) for n in range(3)])
    model.cannot_read = {3, 6}
    made.read.models.catch_up("picky", batch_events=2)
    yield made
    made.read.close()


def is_as_in_memory(models: ReadModels) -> bool:
    """Tell whether the live rows are those made in memory, in one batch, from nothing."""
    position, found = live_rows(models, "picky")
    return found == from_nothing(models, "picky", MemoryModels(), position)


def test_what_is_skipped_and_mended_is_the_same_everywhere(
    book: Book, model: Picky, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an engine that forgets, shares or reads otherwise what a generation leaves out."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 3)
    models = book.read.models
    assert parked_at(models, "picky") == [("journal-e2", 3), ("journal-e1", 6)]
    assert redrive(models, "picky").rebuilt is None
    book.skip_parked("picky", "journal-e1", reason="broken for good")
    done = redrive(models, "picky")
    assert [(one.stream, one.came_back) for one in done.streams] == [
        ("journal-e2", False),
        ("journal-e1", True),
    ]
    assert is_as_in_memory(models)
    model.cannot_read = {6}
    assert redrive(models, "picky").came_back
    assert is_as_in_memory(models)
    book.execute(post(9))
    models.catch_up("picky")
    assert is_as_in_memory(models)
    again = rebuild(models, "picky")
    assert again.compared_at == book.store.head().size
    assert is_as_in_memory(models)
    assert verify(models, "picky").problem is None
    assert [one.skipped for one in models.store.generations("picky")] == [(6,), (6,)]
    assert list(book.read.verify()) == [], "a skip is an event like others"


def test_a_second_rebuild_of_a_model_is_refused(book: Book) -> None:
    """Catches two that fill one generation, or one that drops what the other fills."""
    models = book.read.models
    model = models.model("picky")
    with Build(models, model, Slots()) as first:
        first.catch_up(2)
        with pytest.raises(RebuildUnderWay) as refused:
            rebuild(models, "picky")
        (hold,) = models.store.holds()
        assert refused.value.facts["generation"] == first.generation.number == hold.number
        assert refused.value.facts["since"] == hold.since.isoformat()
        assert str(hold.since.isoformat(timespec="seconds")) in refused.value.message
        # Whoever follows the live one meanwhile is not refused.
        models.catch_up("picky")
    assert rebuild(models, "picky").generation == first.generation.number


def test_who_did_not_move_for_long_is_told_so(book: Book, model: Picky) -> None:
    """Catches a build that was taken for dead and goes on beside the one that took its place."""
    models = book.read.models
    model.cannot_read = ()
    slow = Build(models, model, Slots(lease_s=0.0))
    slow.catch_up(2)
    with Build(models, model, Slots(lease_s=60.0)) as second:
        assert second.generation.number == slow.generation.number, "gone on with"
        with pytest.raises(RebuildUnderWay, match="taken over"):
            slow.catch_up()
        complete(models, (second,), lambda position, head: None)
    # The other one is through: its generation serves, and is not moved as if it were building.
    assert rebuild(models, "picky").generation == slow.generation.number
    book.execute_many([post(n) for n in range(20, 24)])
    with pytest.raises(RebuildUnderWay, match="taken over"):
        slow.catch_up()
    slow.close()
    assert verify(models, "picky").problem is None


def test_one_more_than_may_be_built_at_once_waits(book: Book) -> None:
    """Catches a cap that is not kept, a wait that is not said, and one without end."""
    models = book.read.models
    for name in ("orders", "refunds"):
        models.catch_up(name)
    said: list[str] = []
    with Build(models, models.model("orders"), Slots()):
        with pytest.raises(Unavailable, match=r"orders \(since .*at most 1 at once; gave up after"):
            rebuild(models, "picky", slots=Slots(at_once=1, wait_s=0.0))
        with Build(models, models.model("refunds"), Slots()):
            with pytest.raises(Unavailable) as refused:
                rebuild(models, "picky", slots=Slots(wait_s=0.1, say=said.append))
            assert refused.value.facts["building"] == ["orders", "refunds"]
            assert not isinstance(refused.value, RebuildUnderWay)
            (waiting,) = said
            assert waiting.startswith("picky waits to be rebuilt: orders (since ")
            building_now = [
                one
                for one in models.store.generations("picky")
                if one.state is GenerationState.BUILDING
            ]
            assert building_now == [], "who waits makes no tables"
        rebuild(models, "picky", slots=Slots(wait_s=0.0))


def test_a_turn_comes_when_another_build_ends(book: Book) -> None:
    """Catches a build that does not notice that its turn has come."""
    models = book.read.models
    models.catch_up("orders")
    first = Build(models, models.model("orders"), Slots(at_once=1))
    timer = threading.Timer(0.3, first.close)
    timer.start()
    try:
        rebuild(models, "picky", slots=Slots(at_once=1, wait_s=60.0))
    finally:
        timer.join()


def test_a_killed_build_gives_its_turn_back_in_time(book: Book) -> None:
    """Catches a slot that is taken for ever."""
    models = book.read.models
    models.catch_up("orders")
    Build(models, models.model("orders"), Slots(at_once=1, lease_s=0.3))
    with pytest.raises(Unavailable):
        rebuild(models, "picky", slots=Slots(at_once=1, wait_s=0.0))
    rebuild(models, "picky", slots=Slots(at_once=1, wait_s=60.0))
    rebuild(models, "orders", slots=Slots(at_once=1, wait_s=0.0))
