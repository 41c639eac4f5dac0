"""
A generation being built by one owner: who may build, what is gone on with, and how far it is.

A build holds a lease on its generation. Of one model one generation is built at a time, of a book
a few models at once; one that was killed lets others in when its lease runs out. A build that was
interrupted is gone on with where it stopped, unless it would leave out other events now.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.errors import (
    CheckpointDiverged,
    InvalidInput,
    OrderLedgerError,
    RebuildUnderWay,
    Unavailable,
)
from orderledger.ledger.ids import new_id
from orderledger.ledger.model_ports import Generation, GenerationState, Hold, ModelStore, Parked
from orderledger.projections.ahead import Threads
from orderledger.projections.base import is_of_log
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel, fingerprint
from orderledger.projections.pace import DEATHS_CAREFUL, Pace, is_by_force
from orderledger.projections.read_models import ReadModels
from orderledger.projections.skips import skipped_of

BUILD_BATCH_EVENTS: Final = 10_000
"""Events per transaction while building: nobody reads these rows yet."""
REBUILDS_MAX: Final = 2
"""Models of a book that are built at once: each reads the whole log and writes as much."""
BUILD_LEASE_S: Final = 60.0
"""How long a killed build keeps others out; renewed when a third of it is over."""
SLOT_WAIT_S: Final = 600.0
"""How long a build waits for others to end before it gives up."""
SLOT_POLL_S: Final = 0.5
_ANY: Final = 2**31 - 1


def _silent(text: str) -> None:
    del text


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a build waits for its turn.

    ``at_once`` models of the book may be built at the same time; one more waits ``wait_s`` seconds.
    ``say`` is told whom it waits for, once per change. ``lease_s`` is longer than any batch takes.
    """

    at_once: int = REBUILDS_MAX
    wait_s: float = SLOT_WAIT_S
    lease_s: float = BUILD_LEASE_S
    say: Callable[[str], None] = _silent


class Build:
    """
    A generation that this owner fills; close it, and others may.

    Use it as a context manager. Not to be shared between threads.
    """

    def __init__(self, models: ReadModels, model: ReadModel, slots: Slots) -> None:
        """
        Wait for a turn, then go on with what is there, or begin.

        Raises RebuildUnderWay where somebody builds this model, and Unavailable where others did
        not end in time.
        """
        if slots.at_once < 1:
            raise InvalidInput(f"{slots.at_once} rebuilds at once are none; give 1 or more")
        self._models: Final = models
        self._store: Final = models.store
        self._model: Final = model
        self._slots: Final = slots
        self._owner: Final = str(new_id())
        self._skipped: Final = skipped_of(models.events, model.name)
        self._pace: Final = Pace(BUILD_BATCH_EVENTS)
        self._renewed_at = time.monotonic()
        self._companions: tuple[Build, ...] = ()
        self._is_closed = False
        claimed, self._deaths = self._claimed()
        try:
            self._follower = self._of(claimed)
            self._drop_others()
            self._is_stale = any(not is_by_force(one) for one in self.parked)
            if not self._deaths:
                self.freshen()
        except BaseException:
            self._release(claimed)
            raise

    @property
    def generation(self) -> Generation:
        """The generation as this owner left it."""
        return self._follower.generation

    @property
    def parked(self) -> Sequence[Parked]:
        """The streams that it leaves out so far."""
        return self._store.parked(self.generation)

    @property
    def assumed(self) -> int:
        """The position up to which it is projected, written or not yet."""
        return self._follower.assumed

    @property
    def border(self) -> int:
        """Where its next batch ends: builds that began at different places meet there."""
        return self.assumed - self.assumed % self._pace.batch_events + self._pace.batch_events

    def use(self, threads: Threads | None) -> None:
        """Have threads read ahead and write behind from now on; None: none."""
        self._follower.use(threads)

    def verify(self) -> None:
        """Refuse a checkpoint that is not one of this log; see ``Follower.verify``."""
        self._follower.verify()

    def step(self, until: int) -> None:
        """
        Project the next batch, up to a position, or wait until the last one is written.

        Raises RebuildUnderWay where another owner took the generation over meanwhile.
        """
        if self.assumed < until:
            self._pace.advance(self._follower, self._deaths_now(), until)
        else:
            self._follower.settle()
        if self.generation.state is not GenerationState.BUILDING:
            # Another owner finished it while this one stood still.
            raise _taken_over(self.generation, self._slots.lease_s)

    def catch_up(self, until: int | None = None) -> int:
        """Project everything up to a position, or the head as it is now; return where it ended."""
        target = self._models.events.head().size if until is None else until
        self.verify()
        while self.generation.position < target:
            self.step(target)
        return self.generation.position

    def freshen(self) -> bool:
        """
        Begin again where a stream was parked before we began: this code may read it.

        What ended workers by force stays parked: to find it again would take as many deaths.
        """
        if not self._is_stale:
            return False
        old, killing = self.generation, [one for one in self.parked if is_by_force(one)]
        made = self._create()
        # The turn is ours already, whatever the cap of others.
        lease_ms = round(self._slots.lease_s * 1000)
        if self._store.claim_build(made, self._owner, lease_ms, _ANY) is None:
            self._store.drop(made)
            raise _taken_over(old, self._slots.lease_s)
        self._follower, self._is_stale = self._of(made), False
        self._store.drop(old)
        leave_out(self._store, self._model, made, killing)
        # It is read when a follower begins.
        self._follower = self._of(made)
        return True

    def _deaths_now(self) -> int:
        """Return the deaths before us at this position; the lease is renewed where it is time."""
        is_careful = self._pace.is_careful(self.generation.position)
        if self._deaths >= DEATHS_CAREFUL or is_careful:
            self.renew()
        else:
            self.hold()
        return self._deaths

    def renew(self) -> None:
        """
        Hold the generation for another while.

        Raises RebuildUnderWay where another owner took it over meanwhile.
        """
        # What is being written holds the generation's row for longer than a claim waits.
        self._follower.settle()
        deaths = self._store.claim(self.generation, self._owner, round(self._slots.lease_s * 1000))
        self._renewed_at = time.monotonic()
        if deaths is None:
            raise _taken_over(self.generation, self._slots.lease_s)
        self._deaths = deaths

    def hold(self) -> None:
        """
        Renew where it is time, this build and its companions.

        Called while something else than projecting takes long.
        """
        for one in (self, *self._companions):
            one.renew_in_time()

    def hold_with(self, others: "Sequence[Build]") -> None:
        """Hold others too from now on: builds of this process that wait for this one."""
        self._companions = tuple(others)

    def renew_in_time(self) -> None:
        """Renew when a third of the lease is over, unless the build was closed."""
        is_due = time.monotonic() - self._renewed_at >= self._slots.lease_s / 3
        if is_due and not self._is_closed:
            self.renew()

    def drop(self) -> None:
        """Give the generation up, with its rows."""
        self._store.drop(self.generation)

    def close(self) -> None:
        """Let others have it."""
        self._is_closed = True
        self._release(self.generation)

    def _release(self, generation: Generation) -> None:
        with suppress(OrderLedgerError):
            # A full disk may not even take this; then the lease runs out.
            self._store.release(generation, self._owner)

    def __enter__(self) -> "Build":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _claimed(self) -> tuple[Generation, int]:
        """Wait until this model is ours to build; return its generation and the deaths there."""
        deadline, said = time.monotonic() + self._slots.wait_s, ""
        while True:
            holds = self._store.holds()
            self._refuse_twice(holds)
            if len(holds) < self._slots.at_once:
                claimed = self._tried()
                if claimed is not None:
                    return claimed
                # Another one came first: what holds us up now is to be seen.
                continue
            waiting = _waiting(self._model.name, holds, self._slots.at_once)
            if time.monotonic() >= deadline:
                raise Unavailable(
                    f"{waiting}; gave up after {self._slots.wait_s:g} s",
                    model=self._model.name,
                    building=[one.model for one in holds],
                )
            if waiting != said:
                self._slots.say(waiting)
                said = waiting
            time.sleep(min(SLOT_POLL_S, max(0.0, deadline - time.monotonic())))

    def _refuse_twice(self, holds: Sequence[Hold]) -> None:
        for one in holds:
            if one.model == self._model.name:
                raise RebuildUnderWay(
                    f"read model {one.model} is being rebuilt: generation {one.number}, since "
                    f"{_shown(one.since)}; wait for it, or, if it was killed, until "
                    f"{_shown(one.until)}",
                    model=one.model,
                    generation=one.number,
                    since=one.since.isoformat(),
                    until=one.until.isoformat(),
                )

    def _tried(self) -> tuple[Generation, int] | None:
        found = self._resumable()
        generation = found or self._create()
        deaths = self._store.claim_build(
            generation, self._owner, round(self._slots.lease_s * 1000), self._slots.at_once
        )
        if deaths is not None:
            return generation, deaths
        if found is None:
            self._store.drop(generation)
        return None

    def _resumable(self) -> Generation | None:
        """Return the generation to go on with: of this code and log, with the skips of now."""
        for one in self._store.generations(self._model.name):
            is_building = one.state is GenerationState.BUILDING
            is_same = (one.fingerprint, one.skipped) == (fingerprint(self._model), self._skipped)
            if is_building and is_same and is_of_log(self._models.events, one):
                return one
        return None

    def _create(self) -> Generation:
        model = self._model
        return self._store.create(
            model.name, model.version, fingerprint(model), tuple(model.tables), self._skipped
        )

    def _of(self, generation: Generation) -> Follower:
        return Follower(
            self._models.events, self._store, self._model, generation, clock=self._models.clock
        )

    def _drop_others(self) -> None:
        """Only who holds the model does so: what others build is never dropped under them."""
        for one in self._store.generations(self._model.name):
            is_over = one.state in (GenerationState.BUILDING, GenerationState.REFUSED)
            if is_over and one.number != self.generation.number:
                self._store.drop(one)


def leave_out(
    store: ModelStore, model: ReadModel, generation: Generation, parked: Sequence[Parked]
) -> None:
    """Let a new generation leave out streams that another one left out."""
    own = [msgspec.structs.replace(one, number=generation.number) for one in parked]
    if not store.advance(generation, generation, tuple(model.tables), {}, own):
        raise CheckpointDiverged(
            f"generation {generation.number} of read model {model.name} was dropped while it was "
            "being filled",
            projection=model.name,
            generation=generation.number,
        )


def _taken_over(generation: Generation, lease_s: float) -> RebuildUnderWay:
    return RebuildUnderWay(
        f"the rebuild of {generation.model} (generation {generation.number}) was taken over by "
        f"another one: this one did not move for {lease_s:g} s",
        model=generation.model,
        generation=generation.number,
    )


def _waiting(model: str, holds: Sequence[Hold], at_once: int) -> str:
    listed = ", ".join([f"{one.model} (since {_shown(one.since)})" for one in holds])
    return f"{model} waits to be rebuilt: {listed} under way, at most {at_once} at once"


def _shown(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
