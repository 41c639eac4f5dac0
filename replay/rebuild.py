"""
Rebuild a read model beside the one that serves, compare the two, and swap.

Phases, each safe to be killed in: *build* fills a new generation from the log while the live one
serves and follows; *compare* proves that both agree at one position; *swap* makes the new one live
in one short transaction and keeps the old one for a rollback. A rebuild that was interrupted goes
on where it stopped.
"""

from collections.abc import Iterator, Sequence
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

from .filling import BUILD_BATCH_EVENTS, Filling, Progress

SWAP_ATTEMPTS: Final = 50
"""Races with the followers of the live generation before a swap is given up."""
DIFFERENCES_SHOWN: Final = 100


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


def rebuild(models: ReadModels, name: str, progress: Progress = _silent) -> Rebuilt:
    """
    Make a model again from the log and let it serve.

    Raises RebuildRefused where the same version gave other rows at the same position: the new
    generation is kept, marked refused, for ``diff``; the old one goes on serving.
    """
    model = models.model(name)
    generation = _building(models, model)
    while models.events.sequence():
        pass
    with Filling(models) as filling:
        building = filling.follower(model, generation)
        filling.fill((building,), progress)
        compared_at = _compare(models, model, building)
        stored = _stored(models, model, building.generation)
        live = _swap(models, model, building)
    return Rebuilt(
        model=name,
        generation=live.number,
        position=live.position,
        rows=stored.rows,
        checksum=stored.checksum.hex(),
        digest=stored.digest.hex(),
        compared_at=compared_at,
    )


def _building(models: ReadModels, model: ReadModel) -> Generation:
    """Return the generation to go on with, or a new one; others that were given up are dropped."""
    wanted = fingerprint(model)
    found: Generation | None = None
    for one in models.store.generations(model.name):
        is_ours = one.fingerprint == wanted and is_of_log(models.events, one)
        if one.state is GenerationState.BUILDING and is_ours and found is None:
            found = one
        elif one.state in (GenerationState.BUILDING, GenerationState.REFUSED):
            models.store.drop(one)
    return found or models.store.create(model.name, model.version, wanted, tuple(model.tables))


def _compare(models: ReadModels, model: ReadModel, building: Follower) -> int | None:
    """Bring the new generation to exactly where the live one is seen, and compare digests."""
    live = models.live(model.name)
    if live is None or live.fingerprint != fingerprint(model):
        return None
    if not is_of_log(models.events, live):
        # Made from another history: there is nothing in it to compare with.
        return None
    for _ in range(SWAP_ATTEMPTS):
        if live.position >= building.generation.position:
            break
        # Behind: nobody follows it, or not fast enough. Its digest is wanted at our position.
        Follower(models.events, models.store, model, live).catch_up(building.generation.position)
        live = models.live(model.name) or live
    building.catch_up(live.position)
    if building.generation.digest == live.digest or _differs_by_parked(
        models, model, building, live
    ):
        return live.position
    models.store.refuse(building.generation)
    shown = list(islice(diff(models, model.name), DIFFERENCES_SHOWN))
    raise RebuildRefused(
        f"the rebuilt {model.name} differs from the live one at position {live.position} in "
        f"{len(shown)}{' or more' if len(shown) == DIFFERENCES_SHOWN else ''} rows; see "
        f"`orderledger projection diff {model.name}`",
        model=model.name,
        position=live.position,
        differences=[msgspec.to_builtins(one) for one in shown],
    )


def _differs_by_parked(
    models: ReadModels, model: ReadModel, building: Follower, live: Generation
) -> bool:
    """
    Tell whether the live rows are right but for the streams that are parked there and not here.

    A third generation that leaves out the same streams must come to the same digest. So a model
    whose projector was mended, or whose topics are known now, heals without passing over another
    fault.
    """
    left_out = models.store.parked(live)
    if _places(left_out) == _places(models.store.parked(building.generation)):
        return False
    store, tables = models.store, tuple(model.tables)
    control = store.create(model.name, model.version, fingerprint(model), tables)
    try:
        parked = [msgspec.structs.replace(one, number=control.number) for one in left_out]
        store.advance(control, control, tables, {}, parked)
        follower = Follower(models.events, store, model, control, clock=models.clock)
        follower.catch_up(live.position, batch_events=BUILD_BATCH_EVENTS)
        is_same = _places(store.parked(control)) == _places(left_out)
        return is_same and follower.generation.digest == live.digest
    finally:
        store.drop(control)


def _places(parked: Sequence[Parked]) -> set[tuple[str, int]]:
    return {(one.stream, one.position) for one in parked}


def _stored(models: ReadModels, model: ReadModel, generation: Generation) -> Summed:
    """Read back what was written: it must be what the digest says."""
    found = summed(models.store, generation, tuple(model.tables))
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


def _swap(models: ReadModels, model: ReadModel, building: Follower) -> Generation:
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


def diff(models: ReadModels, name: str) -> Iterator[RowDifference]:
    """
    Iterate over the rows in which the live generation and the newest other one differ.

    Meaningful at equal positions; raises NotFound where there is nothing to compare.
    """
    model = models.model(name)
    live = models.live(name)
    others = [
        one for one in models.store.generations(name) if one.state is not GenerationState.LIVE
    ]
    if live is None or not others:
        raise NotFound(f"read model {name} has no second generation to compare", model=name)
    yield from differences(models.store, live, others[-1], tuple(model.tables))


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What the stored rows of a live generation come to; ``problem`` is what is wrong with them."""

    model: str
    position: int
    rows: int
    checksum: str
    problem: str | None


def verify(models: ReadModels, name: str) -> Verified:
    """
    Read every row of the live generation and compare it with its checkpoint; read-only.

    A follower that moves it meanwhile is waited for: the rows are read again.
    """
    model = models.model(name)
    for _ in range(SWAP_ATTEMPTS):
        live = models.live(name)
        if live is None:
            return Verified(model=name, position=0, rows=0, checksum="", problem=None)
        found = summed(models.store, live, tuple(model.tables))
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
