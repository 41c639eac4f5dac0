"""Parked streams come back, or are left out by acknowledgement, and nothing else changes."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from orderledger import Book
from orderledger.commands.model import SkipProjectedEvent
from orderledger.commands.requests import Actor
from orderledger.ledger.errors import (
    CheckpointDiverged,
    InvalidCommand,
    InvalidInput,
    NotFound,
    RebuildRefused,
    Rejected,
)
from orderledger.ledger.model_ports import GenerationState
from orderledger.ledger.projection_events import ProjectionEventSkipped
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel, Recorded, Rows, fingerprint
from orderledger.projections.read_models import ReadModels
from orderledger.projections.worker import Worker
from orderledger.replay import building
from orderledger.replay.acknowledged import skips
from orderledger.replay.filling import complete
from orderledger.replay.rebuild import rebuild, redrive, rollback, verify
from tests.projections.books import post, reverse
from tests.projections.poisoned import Picky, book_with, from_nothing, live_rows, parked_at
from tests.projections.test_follow import with_unknown_topic
from tests.projections.toy_models import ENTRIES

POST_0, POST_1, BACK_0, POST_2, BACK_1 = range(1, 6)
"""Positions in the log of ``book``."""


@pytest.fixture
def model() -> Picky:
    return Picky()


@pytest.fixture
def book(model: Picky) -> Iterator[Book]:
    with book_with(model) as made:
        made.execute_many([post(0), post(1), reverse(0), post(2), reverse(1)])
        yield made


@pytest.fixture
def models(book: Book) -> ReadModels:
    return book.read.models


def entries(models: ReadModels) -> dict[Any, bool]:
    """Return which entries are shown, and whether as taken back."""
    return {row[0]: bool(row[3]) for row in models.find(ENTRIES, {})}


def states(models: ReadModels) -> list[GenerationState]:
    return [one.state for one in models.store.generations("picky")]


def is_as_from_nothing(models: ReadModels) -> bool:
    position, found = live_rows(models, "picky")
    return found == from_nothing(models, "picky", MemoryModels(), position)


# -- redrive ---------------------------------------------------------------------------------------


def test_a_stream_with_earlier_events_comes_back(models: ReadModels, model: Picky) -> None:
    """Catches a proof that leaves out a stream from its first event on, and refuses to heal."""
    model.cannot_read = {BACK_0}
    models.catch_up("picky")
    assert parked_at(models, "picky") == [("journal-e0", BACK_0)]
    assert entries(models) == {"e0": False, "e1": True, "e2": False}
    model.cannot_read = ()
    done = redrive(models, "picky")
    assert done.came_back
    assert [(one.stream, one.was_at, one.position) for one in done.streams] == [
        ("journal-e0", BACK_0, None)
    ]
    assert done.rebuilt is not None
    assert done.rebuilt.compared_at == BACK_1
    assert entries(models) == {"e0": True, "e1": True, "e2": False}
    assert parked_at(models, "picky") == []
    assert is_as_from_nothing(models)


def test_with_nothing_parked_nothing_is_done(models: ReadModels) -> None:
    """Catches a redrive that rebuilds for nothing."""
    models.catch_up("picky")
    done = redrive(models, "picky")
    assert (done.streams, done.rebuilt, done.came_back) == ((), None, True)
    assert states(models) == [GenerationState.LIVE]
    with pytest.raises(NotFound, match="there is no read model nope"):
        redrive(models, "nope")


def test_what_is_not_parked_cannot_be_asked_for(models: ReadModels, model: Picky) -> None:
    """Catches a mistyped stream that is taken for one that came back."""
    model.cannot_read = {BACK_0}
    models.catch_up("picky")
    with pytest.raises(NotFound, match="does not have journal-e7 parked"):
        redrive(models, "picky", ["journal-e0", "journal-e7"])
    assert states(models) == [GenerationState.LIVE]


def test_where_all_fail_as_before_nothing_is_swapped(models: ReadModels, model: Picky) -> None:
    """Catches a swap that brings nothing, and a generation that stays behind."""
    model.cannot_read = {BACK_0, BACK_1}
    models.catch_up("picky")
    live = models.live("picky")
    done = redrive(models, "picky")
    assert not done.came_back
    assert done.rebuilt is None
    assert [(one.position, one.error) for one in done.streams] == [
        (BACK_0, "ValueError: cannot read position 3"),
        (BACK_1, "ValueError: cannot read position 5"),
    ]
    assert models.live("picky") == live
    assert states(models) == [GenerationState.LIVE]


def test_streams_are_reported_each_for_itself(models: ReadModels, model: Picky) -> None:
    """Catches one stream that still fails and holds up, or hides behind, another."""
    model.cannot_read = {BACK_0, BACK_1}
    models.catch_up("picky")
    model.cannot_read = {BACK_1}
    none = redrive(models, "picky", ["journal-e1"])
    assert none.rebuilt is None, "the one that was asked for fails as before"
    done = redrive(models, "picky")
    assert [(one.stream, one.came_back) for one in done.streams] == [
        ("journal-e0", True),
        ("journal-e1", False),
    ]
    assert done.rebuilt is not None
    assert parked_at(models, "picky") == [("journal-e1", BACK_1)]
    assert is_as_from_nothing(models)


def test_a_stream_parked_further_on_is_progress(models: ReadModels, model: Picky) -> None:
    """Catches a stream whose first fault was mended and that gets no further for the second."""
    model.cannot_read = {POST_0, BACK_0}
    models.catch_up("picky")
    model.cannot_read = {BACK_0}
    done = redrive(models, "picky")
    assert [(one.was_at, one.position) for one in done.streams] == [(POST_0, BACK_0)]
    assert done.rebuilt is not None
    assert not done.came_back
    assert entries(models)["e0"] is False


def test_what_an_interrupted_build_parked_is_read_again(
    models: ReadModels, model: Picky, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a mended projector that is told the error of the one before, from a build of its."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 4)
    model.cannot_read = {BACK_0}
    models.catch_up("picky")

    def interrupted(position: int, head: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redrive(models, "picky", (), interrupted)
    assert [one.position for one in models.store.generations("picky")] == [BACK_1, 4]
    model.cannot_read = ()
    assert redrive(models, "picky").came_back
    assert is_as_from_nothing(models)


def test_a_redrive_does_not_hide_another_fault(models: ReadModels, model: Picky) -> None:
    """Catches rows that were changed past the log and pass because a stream came back."""
    model.cannot_read = {BACK_0}
    models.catch_up("picky")
    store: Any = models.store
    live = models.live("picky")
    assert live is not None
    store._generations[("picky", 1)] = replace(live, digest=b"\x01" * 32)
    model.cannot_read = ()
    with pytest.raises(RebuildRefused):
        redrive(models, "picky")
    assert states(models) == [GenerationState.LIVE, GenerationState.REFUSED]


def test_a_projector_mended_at_one_stream_and_broken_at_another_is_refused(
    models: ReadModels, model: Picky
) -> None:
    """Catches a redrive that brings one stream back and takes another from the readers."""
    model.cannot_read = {BACK_0}
    models.catch_up("picky")
    model.cannot_read = {POST_2}
    with pytest.raises(RebuildRefused):
        redrive(models, "picky")
    assert "e2" in entries(models)


class Idle(Picky):
    """Makes nothing of some events, and raises at others all the same."""

    idle_at = BACK_1

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.position != self.idle_at:
            super().project(recorded, rows)
        elif recorded.position in self.cannot_read:
            raise ValueError("cannot even ignore it")


def test_a_stream_that_would_be_parked_anew_is_no_proof() -> None:
    """Catches a swap that parks a stream whose event changed no row yet: later ones would."""
    model = Idle({BACK_0})
    with book_with(model) as book:
        book.execute_many([post(0), post(1), reverse(0), post(2), reverse(1)])
        models = book.read.models
        models.catch_up("picky", batch_events=1)
        model.cannot_read = {BACK_1}
        with pytest.raises(RebuildRefused):
            redrive(models, "picky")
        assert parked_at(models, "picky") == [("journal-e0", BACK_0)]


def test_rows_of_another_version_are_rebuilt_not_redriven(book: Book, model: Picky) -> None:
    """Catches a redrive that swaps in another version's rows without anything to prove them by."""
    model.cannot_read = {BACK_0}
    book.read.models.catch_up("picky")

    class Newer(Picky):
        version = 2

    newer = ReadModels(book.store, book.read.models.store, [Newer()])
    with pytest.raises(CheckpointDiverged, match="made by version 1"):
        redrive(newer, "picky")


# -- skips -----------------------------------------------------------------------------------------


def test_a_skip_takes_effect_by_a_redrive(book: Book, models: ReadModels, model: Picky) -> None:
    """Catches a skip that loses more than its event, or that changes rows before it is asked to."""
    book.execute(post(3))
    book.execute(reverse(3))
    book.execute(reverse(2))
    model.cannot_read = {POST_2}
    models.catch_up("picky")
    assert entries(models) == {"e0": True, "e1": True, "e3": True}
    receipt = book.skip_parked(
        "picky", "journal-e2", reason="no order of ours", actor=Actor("staff", "ann")
    )
    assert receipt.streams == {"projection-picky": 1}
    models.catch_up("picky")
    assert parked_at(models, "picky") == [("journal-e2", POST_2)]
    assert models.status("picky").skipped == 0
    assert [one.in_effect for one in skips(models, "picky")] == [False]
    done = redrive(models, "picky")
    assert done.came_back
    # The state of the entry has the skipped posting: only what the model makes of it is left out.
    assert entries(models) == {"e0": True, "e1": True, "e2": True, "e3": True}
    assert models.status("picky").skipped == 1
    (found,) = skips(models, "picky")
    assert (found.position, found.stream, found.actor) == (POST_2, "journal-e2", "staff:ann")
    assert (found.reason, found.error) == ("no order of ours", "ValueError: cannot read position 4")
    assert found.in_effect
    assert is_as_from_nothing(models)
    assert verify(models, "picky").problem is None


def test_the_next_event_of_the_stream_may_be_parked_in_its_turn(
    book: Book, models: ReadModels, model: Picky
) -> None:
    """Catches a skip of one event that lets the whole stream through."""
    model.cannot_read = {POST_0, BACK_0}
    models.catch_up("picky")
    book.skip_parked("picky", "journal-e0", reason="first")
    done = redrive(models, "picky")
    assert [(one.was_at, one.position) for one in done.streams] == [(POST_0, BACK_0)]
    book.skip_parked("picky", "journal-e0", reason="second")
    assert redrive(models, "picky").came_back
    assert entries(models) == {"e1": True, "e2": False}
    assert [one.reason for one in skips(models, "picky")] == ["first", "second"]
    assert is_as_from_nothing(models)


def test_only_what_is_parked_now_can_be_skipped(
    book: Book, models: ReadModels, model: Picky
) -> None:
    """Catches a skip of an event that the model could read, or of one that came back."""
    with pytest.raises(NotFound, match="there is no read model nope"):
        book.skip_parked("nope", "journal-e0", reason="r")
    with pytest.raises(NotFound, match="does not have journal-e0 parked"):
        book.skip_parked("picky", "journal-e0", reason="nothing was built yet")
    model.cannot_read = {BACK_0}
    models.catch_up("picky")
    with pytest.raises(NotFound, match="does not have journal-e1 parked"):
        book.skip_parked("picky", "journal-e1", reason="it is fine")
    with pytest.raises(InvalidCommand, match="reason is empty"):
        book.skip_parked("picky", "journal-e0", reason=" ")
    book.skip_parked("picky", "journal-e0", reason="r", key="k")
    assert book.skip_parked("picky", "journal-e0", reason="r", key="k").replayed
    with pytest.raises(Rejected, match="leaves out version 2 of journal-e0"):
        book.skip_parked("picky", "journal-e0", reason="again")
    redrive(models, "picky")
    with pytest.raises(NotFound, match="does not have journal-e0 parked"):
        book.skip_parked("picky", "journal-e0", reason="it is skipped")


def test_another_model_still_shows_the_event(book: Book, models: ReadModels, model: Picky) -> None:
    """Catches a skip that takes an event from models that can read it."""
    model.cannot_read = {POST_2}
    models.catch_up("picky")
    book.skip_parked("picky", "journal-e2", reason="r")
    redrive(models, "picky")

    class Other(Picky):
        name = "other"

    other = ReadModels(book.store, MemoryModels(), [Other()])
    other.catch_up("other")
    assert parked_at(other, "other") == []
    assert len(list(other.find(ENTRIES, {}))) == 3


def test_who_follows_already_goes_on_as_before(
    book: Book, models: ReadModels, model: Picky
) -> None:
    """Catches a follower that begins to skip in the middle of its generation."""
    model.cannot_read = {POST_2}
    worker = Worker(models, ["picky"])
    follower = models.follower("picky")
    while worker.look():
        pass
    book.skip_parked("picky", "journal-e2", reason="r")
    book.execute(reverse(2))
    while worker.look():
        pass
    follower.catch_up()
    assert parked_at(models, "picky") == [("journal-e2", POST_2)]
    assert "e2" not in entries(models)
    live = models.live("picky")
    assert live is not None
    assert live.skipped == ()
    redrive(models, "picky")
    book.execute(post(9))
    while worker.look():
        pass
    assert worker.problems == {}
    assert entries(models)["e9"] is False
    assert is_as_from_nothing(models)


def test_a_build_that_knows_fewer_skips_is_begun_again(
    book: Book, models: ReadModels, model: Picky, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a resumed build in which one half of the rows knows a skip and the other does not."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 3)
    model.cannot_read = {POST_2}
    models.catch_up("picky")

    def interrupted(position: int, head: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(models, "picky", interrupted)
    assert [one.position for one in models.store.generations("picky")] == [BACK_1, 3]
    book.skip_parked("picky", "journal-e2", reason="r")
    positions: list[int] = []
    made = rebuild(models, "picky", lambda position, head: positions.append(position))
    assert (made.generation, positions[0]) == (3, 0), "from the beginning"
    assert states(models) == [GenerationState.PREVIOUS, GenerationState.LIVE]
    assert is_as_from_nothing(models)


def test_the_way_back_has_the_skips_of_its_time(
    book: Book, models: ReadModels, model: Picky
) -> None:
    """Catches a rollback to rows that skip what they once parked, or that cannot be taken."""
    model.cannot_read = {POST_2}
    models.catch_up("picky")
    book.skip_parked("picky", "journal-e2", reason="r")
    redrive(models, "picky")
    book.execute(reverse(2))
    models.catch_up("picky")
    assert entries(models)["e2"] is True
    assert rollback(models, "picky").skipped == ()
    assert parked_at(models, "picky") == [("journal-e2", POST_2)]
    assert "e2" not in entries(models)
    assert redrive(models, "picky").came_back
    assert entries(models)["e2"] is True
    assert is_as_from_nothing(models)


def test_a_skip_of_what_the_live_rows_show_is_proven_too(
    book: Book, models: ReadModels, model: Picky
) -> None:
    """Catches a proof by rows that leave out what the live ones do not: it refuses for ever."""
    model.cannot_read = {BACK_1}
    models.catch_up("picky")
    with building.Build(models, model, building.Slots()) as build:
        # Begun before the skip, by code that can read the event now.
        book.skip_parked("picky", "journal-e1", reason="r")
        model.cannot_read = ()
        complete(models, (build,), lambda position, head: None)
        assert models.store.promote(build.generation, tuple(model.tables))
    assert entries(models)["e1"] is True
    assert rebuild(models, "picky").compared_at == models.events.head().size
    assert entries(models)["e1"] is False
    assert is_as_from_nothing(models)


def test_a_skip_of_what_is_not_there_leaves_nothing_out(
    book: Book, models: ReadModels, model: Picky
) -> None:
    """Catches a skip recorded by hand, with a wrong id, that hides an event that can be read."""
    model.cannot_read = {POST_2}
    models.catch_up("picky")
    book.skip_parked("picky", "journal-e2", reason="r")
    (right,) = [one.event for one in book.read.history("projection-picky")]
    assert isinstance(right, ProjectionEventSkipped)
    fields = {name: getattr(right, name) for name in right.__struct_fields__}
    for changes in (
        {"position": BACK_1, "stream": "journal-e1", "version": 2},
        {"position": 10_000, "stream": "journal-e1", "version": 3},
    ):
        book.execute(SkipProjectedEvent(**{**fields, **changes}))
    redrive(models, "picky")
    live = models.live("picky")
    assert live is not None
    assert live.skipped == (POST_2,)
    assert entries(models)["e1"] is True


@pytest.mark.parametrize("batch_events", [1, 100])
def test_a_skipped_event_that_cannot_be_folded_leaves_the_state(
    book: Book, batch_events: int
) -> None:
    """Catches a stream that stands still behind an event that nobody can even decode."""
    again = replace(reverse(0), reversal_id="again", numerator=1, denominator=10)
    book.execute_many([post(8), replace(again, entry_id="e8"), replace(again, entry_id="e8")])
    store: Any = with_unknown_topic(book.store, BACK_0)
    model = Picky()
    own = ReadModels(store, MemoryModels(), [model])
    own.catch_up("picky")
    assert parked_at(own, "picky") == [("journal-e0", BACK_0)]
    made = own.store.create("picky", 1, fingerprint(model), tuple(model.tables), (BACK_0,))
    # Not a reversal any more to this store, so that this one comes after a gap.
    book.execute(replace(reverse(1), entry_id="e2"))
    follower = Follower(store, own.store, model, made)
    follower.catch_up(batch_events=batch_events)
    assert not follower.parked


@pytest.mark.parametrize("batch_events", [1, 2, 3, 100])
def test_a_row_does_not_depend_on_where_a_skip_falls_in_a_batch(
    book: Book, models: ReadModels, model: Picky, batch_events: int
) -> None:
    """Catches a row that shows the fold of a skipped event if both are in one batch only."""
    model.cannot_read = {BACK_0}
    models.catch_up("picky")
    book.skip_parked("picky", "journal-e0", reason="r")
    redrive(models, "picky")
    live = models.live("picky")
    assert live is not None
    tables = tuple(model.tables)
    made = models.store.create("picky", 1, live.fingerprint, tables, live.skipped)
    follower = Follower(book.store, models.store, model, made)
    follower.catch_up(batch_events=batch_events)
    assert follower.generation.digest == live.digest
    assert entries(models)["e0"] is False


class ByState(ReadModel):
    """Copies what an entry of another stream looks like: a row that depends on two streams."""

    name = "by_state"
    tables = (ENTRIES,)
    topics = frozenset({"journal.entry_posted.v1"})
    folds = frozenset({"journal"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        state: Any = rows.state("journal-e0")
        rows.put(ENTRIES, (recorded.entity_id, "", len(state.legs), bool(state.reversals)))


@pytest.mark.parametrize("batch_events", [1, 2, 3, 100])
def test_what_cannot_be_decoded_takes_back_nothing_that_was_folded(
    book: Book, batch_events: int
) -> None:
    """Catches a bad event that undoes the fold of the good one before it in the same batch."""
    with book_with(Picky()) as own:
        own.execute_many([post(0), reverse(0), post(1)])
        store: Any = with_unknown_topic(own.store, 2)
        models = ReadModels(store, MemoryModels(), [ByState()])
        models.catch_up("by_state", batch_events=batch_events)
        shown = [(row[0], row[2]) for row in models.find(ENTRIES, {})]
        assert shown == [("e0", 2), ("e1", 2)]


def test_no_entry_is_left_out_of_balances(book: Book) -> None:
    """Catches a balance that is told although somebody acknowledged that an entry is missing."""
    with pytest.raises(InvalidInput, match="answers for money"):
        book.skip_parked("balances", "journal-e2", reason="r")
    event = book.store.read(POST_2 - 1, limit=1)[0]
    past_the_door = SkipProjectedEvent(
        model="balances",
        stream=event.stream,
        version=event.version,
        position=POST_2,
        event_id=str(event.event_id),
        topic=event.topic,
        reason="r",
    )
    before = book.read.trial_balance()
    book.execute(past_the_door)
    rebuild(book.read.models, "balances")
    assert book.read.trial_balance().rows == before.rows
