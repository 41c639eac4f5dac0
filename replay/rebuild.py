"""
Rebuild a read model beside the one that serves, compare the two, and swap.

Phases, each safe to be killed in: *build* fills a new generation from the log while the live one
serves and follows; *compare* proves that both agree at one position; *swap* makes the new one live
in one short transaction and keeps the old one for a rollback. A rebuild that was interrupted goes
on where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Final

import msgspec

from orderledger.ledger.errors import (
    CheckpointDiverged,
    InvalidInput,
    NotFound,
    RebuildRefused,
    Unavailable,
)
from orderledger.ledger.model_ports import Generation, GenerationState, ModelStore, Parked
from orderledger.projections.base import is_of_log
from orderledger.projections.compare import RowDifference, Summed, differences, summed
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel, fingerprint
from orderledger.projections.read_models import ReadModels

from .building import BUILD_BATCH_EVENTS, Build, Slots, leave_out
from .filling import Progress, complete

SWAP_ATTEMPTS: Final = 50
"""Races with the followers of the live generation before a swap is given up."""
DIFFERENCES_SHOWN: Final = 100
PATIENT: Final = Slots()


def _silent(position: int, head: int) -> None:
    del position, head


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """
    A finished rebuild: the generation that is live now and how it was made sure of.

    ``compared_at`` is the position at which its digest was equal to that of the generation before;
    None where there was none of the same version to compare with.
    """

    model: str
    generation: int
    position: int
    rows: int
    checksum: str
    digest: str
    compared_at: int | None


def rebuild(
    models: ReadModels, name: str, progress: Progress = _silent, slots: Slots = PATIENT
) -> Rebuilt:
    """Make one model again and let it serve; see ``rebuild_all``."""
    (made,) = rebuild_all(models, (name,), lambda _: progress, slots)
    return made


def rebuild_all(
    models: ReadModels,
    names: Sequence[str],
    progress: Callable[[Sequence[str]], Progress],
    slots: Slots = PATIENT,
) -> Iterator[Rebuilt]:
    """
    Make models again from the log, each beside the one that serves, and yield each once it serves.

    As many at once as there are slots free: these read the log once. ``progress`` is asked for what
    is told of those that are filled together.

    Raises RebuildRefused where the same version gave other rows at the same position: the new
    generation is kept, marked refused, for ``diff``; the old one goes on serving. Raises
    RebuildUnderWay where somebody builds this model now, and Unavailable where the others that are
    being built did not end in time (see ``Slots``). Models that were not reached stay as they were,
    and what is built of them is gone on with the next time.
    """
    waiting = [models.model(name) for name in dict.fromkeys(names)]
    while waiting:
        with ExitStack() as held:
            together = {waiting[0]: held.enter_context(Build(models, waiting[0], slots))}
            at_once = Slots(at_once=slots.at_once, wait_s=0.0, lease_s=slots.lease_s)
            for model in waiting[1 : slots.at_once]:
                # Who waits for a second slot with the first in hand may wait for ever.
                with suppress(Unavailable):
                    together[model] = held.enter_context(Build(models, model, at_once))
            complete(models, tuple(together.values()), progress([one.name for one in together]))
            for model, build in together.items():
                # To compare and to read back may take longer than a lease.
                build.hold_with([one for one in together.values() if one is not build])
                made = _served(models, model, build, _compare(models, model, build))
                # It is live now, and others may follow it.
                build.close()
                yield made
        waiting = [model for model in waiting if model not in together]


def _served(models: ReadModels, model: ReadModel, build: Build, compared_at: int | None) -> Rebuilt:
    stored = _stored(models, model, build)
    live = _swap(models, model, build)
    return Rebuilt(
        model=model.name,
        generation=live.number,
        position=live.position,
        rows=stored.rows,
        checksum=stored.checksum.hex(),
        digest=stored.digest.hex(),
        compared_at=compared_at,
    )


class Redriven(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of a parked stream: it came back, or it is parked now at ``position`` for ``error``.

    ``was_at`` is the position at which the live generation had it parked.
    """

    stream: str
    was_at: int
    position: int | None = None
    topic: str = ""
    error: str = ""

    @property
    def came_back(self) -> bool:
        """Tell whether the stream is shown whole."""
        return self.position is None


class Redrive(msgspec.Struct, frozen=True, kw_only=True):
    """
    The outcome of a redrive, a line per stream that was asked for, by position.

    ``rebuilt`` is None where nothing was swapped: nothing is parked, or every stream still fails.
    """

    model: str
    streams: tuple[Redriven, ...]
    rebuilt: Rebuilt | None

    @property
    def came_back(self) -> bool:
        """Tell whether all of them came back."""
        return all(one.came_back for one in self.streams)


def redrive(
    models: ReadModels,
    name: str,
    streams: Sequence[str] = (),
    progress: Progress = _silent,
    slots: Slots = PATIENT,
) -> Redrive:
    """
    Bring parked streams back, once their projector was mended or their event was skipped.

    ``streams`` are those that must come back, by default all that are parked. Their events went
    into rows that others changed since, so they are not added to the live rows: the model is made
    again beside them, proven as in ``rebuild`` and swapped in. That brings back every stream that
    can be read now, asked for or not. Where all that were asked for fail as before, nothing is
    swapped.

    Raises NotFound for a stream that is not parked, CheckpointDiverged where other code or another
    log made the live generation, and what ``rebuild`` raises.
    """
    model = models.model(name)
    was = [one for one in models.parked(name) if not streams or one.stream in streams]
    if missing := sorted(set(streams) - {one.stream for one in was}):
        raise NotFound(
            f"read model {name} does not have {', '.join(missing)} parked; see `orderledger "
            f"projection parked {name}`",
            model=name,
            streams=missing,
        )
    if not was:
        return Redrive(model=name, streams=(), rebuilt=None)
    models.follower(name).verify()  # there must be rows of this code and log to prove
    with Build(models, model, slots) as build:
        complete(models, (build,), progress)
        outcomes = _outcomes(was, build)
        if all(one.position is not None and one.position <= one.was_at for one in outcomes):
            build.drop()
            return Redrive(model=name, streams=outcomes, rebuilt=None)
        compared_at = _compare(models, model, build)
        rebuilt = _served(models, model, build, compared_at)
        return Redrive(model=name, streams=_outcomes(was, build), rebuilt=rebuilt)


def _outcomes(was: Sequence[Parked], build: Build) -> tuple[Redriven, ...]:
    now = {one.stream: one for one in build.parked}
    outcomes: list[Redriven] = []
    for before in was:
        after = now.get(before.stream)
        outcomes.append(
            Redriven(stream=before.stream, was_at=before.position)
            if after is None
            else Redriven(
                stream=before.stream,
                was_at=before.position,
                position=after.position,
                topic=after.topic,
                error=after.error,
            )
        )
    return tuple(outcomes)


def _compare(models: ReadModels, model: ReadModel, build: Build) -> int | None:
    """
    Bring the new generation to exactly where the live one is seen, and compare digests.

    Returns that position; None where the live one is of another version or of another history, so
    that its rows say nothing about the new ones.
    """
    live = models.live(model.name)
    if live is None or live.fingerprint != fingerprint(model):
        return None
    if not is_of_log(models.events, live):
        # Made from another history: there is nothing in it to compare with.
        return None
    for _ in range(SWAP_ATTEMPTS):
        if live.position >= build.generation.position:
            break
        # Behind: nobody follows it, or not fast enough. Its digest is wanted at our position.
        Follower(models.events, models.store, model, live).catch_up(build.generation.position)
        live = models.live(model.name) or live
    build.catch_up(live.position)
    if build.generation.digest == live.digest or _differs_by_left_out(models, model, build, live):
        return live.position
    models.store.refuse(build.generation)
    shown = list(islice(diff(models, model.name), DIFFERENCES_SHOWN))
    raise RebuildRefused(
        f"the rebuilt {model.name} differs from the live one at position {live.position} in "
        f"{len(shown)}{' or more' if len(shown) == DIFFERENCES_SHOWN else ''} rows; see "
        f"`orderledger projection diff {model.name}`",
        model=model.name,
        position=live.position,
        differences=[msgspec.to_builtins(one) for one in shown],
    )


def _differs_by_left_out(
    models: ReadModels, model: ReadModel, build: Build, live: Generation
) -> bool:
    """
    Tell whether the live rows are right but for what is left out there and not here.

    A third generation that parks the same streams and skips the same events as the live one must
    come to its digest. So a model whose projector was mended, whose topics are known now, or whose
    bad events were acknowledged, heals without passing over another fault.
    """
    parked = models.store.parked(live)
    if (live.skipped, _places(parked)) == (build.generation.skipped, _places(build.parked)):
        return False
    store, tables = models.store, tuple(model.tables)
    control = store.create(model.name, model.version, fingerprint(model), tables, live.skipped)
    try:
        leave_out(store, model, control, parked)
        follower = Follower(models.events, store, model, control, clock=models.clock)
        follower.catch_up(
            live.position, batch_events=BUILD_BATCH_EVENTS, progress=lambda _: build.hold()
        )
        is_same = _places(store.parked(control)) == _places(parked)
        return is_same and follower.generation.digest == live.digest
    finally:
        store.drop(control)


def _places(parked: Sequence[Parked]) -> set[tuple[str, int]]:
    return {(one.stream, one.position) for one in parked}


def _stored(models: ReadModels, model: ReadModel, build: Build) -> Summed:
    """Read back what was written: it must be what the digest says."""
    generation = build.generation
    found = summed(models.store, generation, tuple(model.tables), lambda _: build.hold())
    if found.digest != generation.digest:
        models.store.refuse(generation)
        raise RebuildRefused(
            f"the rows stored for the rebuilt {model.name} are not those that were computed "
            f"(digest {found.digest.hex()}, not {generation.digest.hex()}); the database lost or "
            "changed rows",
            model=model.name,
            position=generation.position,
        )
    return found


def _swap(models: ReadModels, model: ReadModel, building: Build | Follower) -> Generation:
    tables = tuple(model.tables)
    for _ in range(SWAP_ATTEMPTS):
        building.catch_up()
        live = models.live(model.name)
        over_diverged = live is not None and not is_of_log(models.events, live)
        if models.store.promote(building.generation, tables, over_diverged=over_diverged):
            _drop_old(models.store, model.name)
            live = models.live(model.name)
            assert live is not None, "it was just promoted"
            return live
    raise Unavailable(
        f"the rebuilt {model.name} could not be swapped in: the live one moves faster; try again",
        model=model.name,
    )


def _drop_old(store: ModelStore, name: str) -> None:
    """Keep one previous generation for a rollback, drop the older ones."""
    previous = [one for one in store.generations(name) if one.state is GenerationState.PREVIOUS]
    for one in previous[:-1]:
        store.drop(one)


def rollback(models: ReadModels, name: str) -> Generation:
    """
    Let the previous generation serve again; it first catches up to the live one.

    Raises NotFound where there is none, InvalidInput where other code made it.
    """
    model = models.model(name)
    previous = models.previous(name)
    if previous is None:
        raise NotFound(f"read model {name} has no previous generation", model=name)
    if previous.fingerprint != fingerprint(model):
        raise InvalidInput(
            f"the previous generation of {name} was made by version {previous.version}; run that "
            "version's code to roll back to it",
            model=name,
            version=previous.version,
        )
    follower = Follower(models.events, models.store, model, previous, clock=models.clock)
    return _swap(models, model, follower)


def diff(
    models: ReadModels, name: str, each_page: Callable[[int], None] = lambda _: None
) -> Iterator[RowDifference]:
    """
    Iterate over the rows in which the live generation and the newest other one differ.

    Meaningful at equal positions; raises NotFound where there is nothing to compare. ``each_page``
    is told now and then how many rows were read.
    """
    model = models.model(name)
    live = models.live(name)
    others = [
        one for one in models.store.generations(name) if one.state is not GenerationState.LIVE
    ]
    if live is None or not others:
        raise NotFound(f"read model {name} has no second generation to compare", model=name)
    yield from differences(models.store, live, others[-1], tuple(model.tables), each_page)


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What the stored rows of a live generation come to; ``problem`` is what is wrong with them."""

    model: str
    position: int
    rows: int
    checksum: str
    problem: str | None


def verify(
    models: ReadModels, name: str, each_page: Callable[[int], None] = lambda _: None
) -> Verified:
    """
    Read every row of the live generation and compare it with its checkpoint; read-only.

    ``each_page`` is told now and then how many rows were read.
    A follower that moves it meanwhile is waited for: the rows are read again.
    """
    model = models.model(name)
    for _ in range(SWAP_ATTEMPTS):
        live = models.live(name)
        if live is None:
            return Verified(model=name, position=0, rows=0, checksum="", problem=None)
        found = summed(models.store, live, tuple(model.tables), each_page)
        if models.live(name) == live:
            return Verified(
                model=name,
                position=live.position,
                rows=found.rows,
                checksum=found.checksum.hex(),
                problem=_problem(models, model, live, found),
            )
    raise Unavailable(f"{name} moves faster than its rows can be read; stop its followers first")


def _problem(models: ReadModels, model: ReadModel, live: Generation, found: Summed) -> str | None:
    if found.digest != live.digest:
        return (
            f"the stored rows are not those that were computed (digest {found.digest.hex()}, not "
            f"{live.digest.hex()}): they were changed past the model; run `orderledger projection "
            f"rebuild {model.name}`"
        )
    try:
        Follower(models.events, models.store, model, live).verify()
    except CheckpointDiverged as error:
        return error.message
    return None
