"""
Verification of the read models: that they belong to this log, and, deep, that they are its rows.

The deep check reads every stored row, and makes each model again from the events into tables of
its own, elsewhere, up to the position where the live one is: the two must be the same row by row.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from orderledger.ledger.as_of import LogAsOf, Point
from orderledger.ledger.errors import CheckpointDiverged, OrderLedgerError, Unavailable
from orderledger.ledger.model_ports import Generation, ModelStore, Parked, Row, Table
from orderledger.projections.base import require_same_log
from orderledger.projections.compare import rows_of
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel, fingerprint
from orderledger.projections.read_models import ReadModels
from orderledger.projections.skips import skipped_of

from .findings import Check, Finding, error
from .progress import Progress, silent
from .rebuild import verify as stored_rows

Scratch = Callable[[], AbstractContextManager[ModelStore]]
"""Opens an empty place for the rows of read models, which is gone when it is closed."""
_NAMED_MAX: Final = 20


def verify_models(models: ReadModels) -> Iterator[Finding]:
    """Yield where the catalogue of a live generation does not fit the log. Reads no rows."""
    for name in models.names:
        live = models.live(name)
        if live is None:
            continue
        try:
            require_same_log(models.events, f"read model {name}", name, live)
        except CheckpointDiverged as cause:
            yield error(Check.CHECKPOINT_DIVERGED, cause.message, position=live.position)
            continue
        yield from _left_out(models, live)


def _left_out(models: ReadModels, live: Generation) -> Iterator[Finding]:
    """Compare what a generation leaves out with what was acknowledged or failed."""
    try:
        allowed = frozenset(skipped_of(models.events, live.model))
        parked = models.store.parked(live)
        for position in live.skipped:
            if position not in allowed:
                yield error(
                    Check.MODEL_CATALOGUE_WRONG,
                    f"read model {live.model} leaves out the event at position {position}, and "
                    "nobody acknowledged that: run `orderledger projection rebuild "
                    f"{live.model}`",
                    position=position,
                )
        for one in parked:
            yield from _is_there(models, one)
    except Unavailable:
        raise
    except (OrderLedgerError, ValueError, TypeError) as cause:
        text = f"what read model {live.model} leaves out cannot be read: {cause}"
        yield error(Check.MODEL_CATALOGUE_WRONG, text)


def _is_there(models: ReadModels, one: Parked) -> Iterator[Finding]:
    for row in models.events.read(one.position - 1, until=one.position, limit=1):
        if (row.stream, row.topic) == (one.stream, one.topic):
            return
    yield error(
        Check.MODEL_CATALOGUE_WRONG,
        f"read model {one.model} leaves out stream {one.stream} because of a {one.topic} event at "
        f"position {one.position}, where the log has no such event",
        stream=one.stream,
        position=one.position,
    )


class Rebuilds:
    """
    Yields where rows are not those of the events. ``looked_at`` counts rows, ``skipped`` names the
    models that another version of the code made, which this one cannot judge.
    """

    def __init__(
        self, models: ReadModels, scratch: ModelStore, progress: Progress = silent
    ) -> None:
        self._models: Final = models
        self._scratch: Final = scratch
        self._progress: Final = progress
        self.looked_at = 0
        self.skipped: list[str] = []

    def of(self, name: str) -> Iterator[Finding]:
        """Compare one model with its rebuild."""
        model, live = self._models.model(name), self._models.live(name)
        if live is None:
            return
        if live.fingerprint != fingerprint(model):
            self.skipped.append(name)
            return
        try:
            found = stored_rows(self._models, name)
        except Unavailable:
            raise
        except (OrderLedgerError, ValueError, TypeError) as cause:
            text = f"the rows of read model {name} cannot be read: {cause}"
            yield error(Check.MODEL_ROWS_WRONG, text)
            return
        self.looked_at += found.rows
        if found.problem is not None:
            yield error(Check.MODEL_ROWS_WRONG, f"read model {name}: {found.problem}")
        try:
            yield from self._against(model, live)
        except CheckpointDiverged:
            return  # a finding of ``verify_models``

    def _against(self, model: ReadModel, live: Generation) -> Iterator[Finding]:
        store = self._scratch
        made = _rebuilt(self._models, store, model, live, self._progress)
        latest = self._models.live(model.name)
        if latest != live:
            # A follower has moved it: compared where it stands now, row by row all the same.
            return
        if made.digest == live.digest:
            return
        named = 0
        for table in model.tables:
            stored = rows_of(self._models.store, live, table)
            for text in _differences(table, stored, rows_of(store, made, table)):
                named += 1
                if named > _NAMED_MAX:
                    return
                yield error(
                    Check.MODEL_ROWS_WRONG,
                    f"read model {model.name}, table {table.name}: {text}; run `orderledger "
                    f"projection rebuild {model.name}`",
                    position=live.position,
                )
        if not named:
            yield error(
                Check.MODEL_ROWS_WRONG,
                f"the digest of read model {model.name} is {live.digest.hex()}, a rebuild comes to "
                f"{made.digest.hex()}",
                position=live.position,
            )


def _rebuilt(
    models: ReadModels, store: ModelStore, model: ReadModel, live: Generation, progress: Progress
) -> Generation:
    """Make a model again up to the position of a generation, leaving out what that leaves out."""
    tables = tuple(model.tables)
    then = LogAsOf(models.events, Point(live.position))
    made = store.create(model.name, model.version, live.fingerprint, tables, live.skipped)
    follower = Follower(then, store, model, made, clock=models.clock)
    follower.catch_up()
    progress(f"rebuild {model.name}", live.position, live.position)
    return follower.generation


def _differences(table: Table, stored: Iterator[Row], made: Iterator[Row]) -> Iterator[str]:
    left, right = next(stored, None), next(made, None)
    while left is not None or right is not None:
        if right is None or (left is not None and table.key_of(left) < table.key_of(right)):
            assert left is not None
            yield f"the row {table.key_of(left)} is stored, and the events do not make it"
            left = next(stored, None)
        elif left is None or table.key_of(right) < table.key_of(left):
            yield f"the row {table.key_of(right)} is missing"
            right = next(made, None)
        else:
            if left != right:
                yield f"the row {table.key_of(left)} is {left}, the events make {right}"
            left, right = next(stored, None), next(made, None)
