"""
Snapshots of the rows of read models, for a book as it was: taken, found and compared.

They are taken by following the log in memory from the last one on, and not from the live rows: so
one can be taken of any position, and disturbs nobody.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import zip_longest
from typing import Final, NoReturn

from orderledger.databases import open_resumed, scratch_models
from orderledger.ledger.as_of import LogAsOf, Point
from orderledger.ledger.errors import NotFound, OrderLedgerError, Unavailable
from orderledger.ledger.events import topics
from orderledger.ledger.model_ports import Generation, ModelStore, Row
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import Header, SavedRows, SnapshotKind, SnapshotStore
from orderledger.machinery_status import DueSnapshots
from orderledger.projections.compare import rows_of
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel
from orderledger.projections.models import fingerprint as declared
from orderledger.projections.read_models import ReadModels
from orderledger.projections.skips import skipped_of
from orderledger.snapshots.bodies import EPOCH, sealed
from orderledger.snapshots.policy import MODELS, thinned
from orderledger.snapshots.rejections import (
    NotUsed,
    Rejection,
    Rejections,
    place_of,
    require_code,
    require_log,
)
from orderledger.snapshots.rows import (
    CODECS,
    ROWS,
    Change,
    SavedModel,
    hashes_of,
    read_index,
    write,
)

_logger: Final = logging.getLogger("orderledger")


class ModelSnapshots:
    """The snapshots of one book's read models. Safe to share between threads."""

    def __init__(
        self,
        events: EventStore,
        store: SnapshotStore,
        models: Sequence[ReadModel],
        *,
        clock: Callable[[], datetime],
        rejections: Rejections,
    ) -> None:
        self.policy = MODELS
        """At which positions they are taken; may be replaced any time."""
        self._events: Final = events
        self._store: Final = store
        self._models: Final = {model.name: model for model in models}
        self._clock: Final = clock
        self._rejections: Final = rejections

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the read models, sorted."""
        return tuple(sorted(self._models))

    def model(self, name: str) -> ReadModel:
        """Return a read model by name; raises NotFound."""
        if name not in self._models:
            raise NotFound(
                f"there is no read model {name}; there are {', '.join(self.names)}", model=name
            )
        return self._models[name]

    # -- reading ---------------------------------------------------------------------------------

    def nearest_rows(
        self, model: str, fingerprint: str, skipped: Sequence[int], until: int
    ) -> SavedRows | None:
        """Return the rows of a model's last valid snapshot; see ``RowSnapshots``."""
        known = self._models.get(model)
        if known is None or declared(known) != fingerprint:
            return None
        try:
            return self._last_valid(known, skipped, until)
        except OrderLedgerError as error:
            text = f"the snapshots cannot be read: {error.message}"
            self._rejections.count(Rejection.UNAVAILABLE, text)
            return None

    def _last_valid(
        self, model: ReadModel, skipped: Sequence[int], until: int, *, is_whole: bool = False
    ) -> SavedModel | None:
        """
        Return a model's last valid snapshot at or before a position, or None.

        With ``is_whole`` each of its parts is looked at, and what is not valid is deleted.
        """
        for header in reversed(self._store.headers(SnapshotKind.MODEL, model.name)):
            if header.position > until:
                continue
            try:
                found = self._read(model, header, skipped)
                if is_whole:
                    found.check_parts(model.tables)
                return found
            except NotUsed as rejected:
                self._rejections.count(rejected.reason, rejected.text)
                if is_whole:
                    self._store.drop((header,))
        return None

    def _read(
        self,
        model: ReadModel,
        header: Header,
        skipped: Sequence[int],
        anew: Callable[[], Mapping[str, Sequence[Row]]] | None = None,
    ) -> SavedModel:
        require_code(header, _fingerprint(model, skipped, header.position), CODECS)
        require_log(self._events, header)
        index = read_index(self._store, header, model.tables)
        return SavedModel(
            self._store,
            header,
            index,
            anew or (lambda: self._rows_at(model, header.position, skipped)),
        )

    def _rows_at(
        self, model: ReadModel, position: int, skipped: Sequence[int]
    ) -> Mapping[str, Sequence[Row]]:
        """Make a model's rows from the events alone; by table, in key order."""
        view = LogAsOf(self._events, Point(position))
        store = open_resumed(view, _Nothing(), skipped)
        models = ReadModels(view, store, (model,), clock=self._clock)
        live = models.caught_up(model.name).generation
        return {table.name: store.page(live, table, None, sys.maxsize) for table in model.tables}

    # -- taking ----------------------------------------------------------------------------------

    def take(self, name: str, *, only_if_due: bool = False) -> Iterator[Header]:
        """
        Take the snapshots of a model that are due up to the head, and yield their headers.

        Then one of the head itself, unless ``only_if_due``. Those that are not valid are replaced,
        and what the policy does not keep is deleted. None is taken once a stream is parked: what a
        model leaves out without acknowledgement is to be mended, not kept. Raises NotFound for a
        model that is not there.
        """
        model, policy = self.model(name), self.policy
        head = self._events.head().size
        skipped = skipped_of(self._events, name)
        before = -1
        while True:
            base = self._last_valid(model, skipped, head, is_whole=True)
            begin = base.position if base is not None else 0
            if begin <= before:
                ahead = self._last_valid(model, skipped, sys.maxsize)
                if ahead is not None and ahead.position > before:
                    # Another process is beyond this head, and thinned what is before it.
                    break
                raise Unavailable(
                    f"the snapshot of {name} after position {before} is gone as soon as it is "
                    "taken; does another process with other code take them too?",
                    model=name,
                )
            position, before = policy.next_after(begin), begin
            if begin >= head or (only_if_due and position > head):
                break
            try:
                header = self._take_at(model, min(position, head), skipped)
            except _Swept:
                # Another process took later ones, and thinned what this one began at.
                before = -1
                continue
            if header is None:
                break
            yield header
        self._thin(name, policy.keep)

    def is_due(self, name: str) -> bool:
        """Tell whether the log has grown enough since a model's last snapshot, valid or not."""
        found = self._store.newest(SnapshotKind.MODEL, (name,)).get(name)
        begin = found.position if found is not None else 0
        return self.policy.next_after(begin) <= self._events.head().size

    def due(self) -> DueSnapshots:
        """Tell how many models are due, of those that have one, and since when."""
        newest = self._store.newest(SnapshotKind.MODEL, self.names)
        head = self._events.head().size
        found = [self.policy.next_after(header.position) for header in newest.values()]
        due = [position for position in found if position <= head]
        if not due:
            return DueSnapshots()
        first = min(due)
        (event,) = self._events.read(first - 1, until=first, limit=1)
        instants = [header.taken_at for header in newest.values()]
        if event.recorded_at is not None:
            instants.append(event.recorded_at)
        return DueSnapshots(len(due), max(instants))

    def left_out(self, name: str) -> Sequence[int]:
        """Return the positions that a model leaves out by acknowledgement."""
        return skipped_of(self._events, name)

    def _take_at(self, model: ReadModel, position: int, skipped: Sequence[int]) -> Header | None:
        view = LogAsOf(self._events, Point(position))
        store = open_resumed(view, self, skipped)
        models = ReadModels(view, store, (model,), clock=self._clock)
        live = models.caught_up(model.name).generation
        parked = store.parked(live)
        if parked:
            _logger.warning(
                "no snapshot of read model %s is taken at position %d: it parks %s since %d",
                model.name,
                position,
                parked[0].stream,
                parked[0].position,
            )
            return None
        base, changed = store.changes(live)
        changes = {name: Change(rows, gone) for name, (rows, gone) in changed.items()}
        written = write(
            model.tables, base if isinstance(base, SavedModel) else None, changes, live.digest
        )
        header = Header(
            kind=SnapshotKind.MODEL,
            subject=model.name,
            version=model.version,
            position=position,
            leaf_hash=live.leaf_hash,
            fingerprint=_fingerprint(model, live.skipped, position),
            codec=ROWS,
            erasure_epoch=EPOCH,
            body_hash=b"",
            size=len(written.body) + sum([len(part) for part in written.parts.values()]),
            taken_at=self._clock(),
        )
        header = sealed(header, written.body)
        if not self._store.put(header, written.body, written.parts, written.kept):
            raise _Swept
        return header

    def _thin(self, name: str, keep: int) -> None:
        headers = self._store.headers(SnapshotKind.MODEL, name)
        by_position = {one.position: one for one in headers}
        excess = thinned(sorted(by_position), keep)
        if not excess:
            return
        self._store.drop([by_position[position] for position in excess])
        self._store.sweep(name, hashes_of)

    # -- checking --------------------------------------------------------------------------------

    def check(self, header: Header, remade: "Remade") -> None:
        """
        Make a model's rows from the events and compare; raises NotUsed where they differ.

        Writes nothing beside what is made again, in constant memory.
        """

        def gone() -> NoReturn:
            raise NotUsed(Rejection.DAMAGED, f"{place_of(header)} lost a part while it was read")

        if header.subject not in self._models:
            raise NotUsed(
                Rejection.OTHER_CODE,
                f"{place_of(header)} is of a read model that this program does not have",
            )
        model = self._models[header.subject]
        skipped = self._skipped_in(model, header)
        found = self._read(model, header, skipped, gone)
        found.check_parts(model.tables)
        store, made = remade.at(model, header.position, skipped)
        wrong = [
            f"other rows in table {table.name}"
            for table in model.tables
            if any(
                ours != saved
                for ours, saved in zip_longest(rows_of(store, made, table), found.rows(table, None))
            )
        ]
        if found.digest != made.digest:
            wrong.append("another digest of its rows")
        if wrong:
            raise NotUsed(
                Rejection.DIFFERS,
                f"{place_of(header)} has {wrong[0]} than the events give; somebody wrote it past "
                "this library, or the model was changed without raising its version",
            )

    def _skipped_in(self, model: ReadModel, header: Header) -> Sequence[int]:
        """Return what a snapshot leaves out: what is acknowledged now, or what was by then."""
        now = skipped_of(self._events, model.name)
        if header.fingerprint == _fingerprint(model, now, header.position):
            return now
        position = min(header.position, self._events.head().size)
        return skipped_of(LogAsOf(self._events, Point(position)), model.name)


class Remade:
    """
    The rows of read models made again from the events, in a temporary file until it is closed.

    Asked for positions that go up it follows the log once per model.
    """

    def __init__(self, events: EventStore, clock: Callable[[], datetime]) -> None:
        self._events: Final = events
        self._clock: Final = clock
        self._places: Final = ExitStack()
        self._store: ModelStore | None = None
        self._made: Generation | None = None

    def at(
        self, model: ReadModel, position: int, skipped: Sequence[int]
    ) -> tuple[ModelStore, Generation]:
        """Return a model's rows at a position of the log, until the next call."""
        if self._store is None:
            self._store = self._places.enter_context(scratch_models())
        made = self._made
        if (
            made is None
            or (made.model, tuple(made.skipped)) != (model.name, tuple(skipped))
            or made.position > position
        ):
            tables = tuple(model.tables)
            made = self._store.create(model.name, model.version, declared(model), tables, skipped)
        then = LogAsOf(self._events, Point(position))
        follower = Follower(then, self._store, model, made, clock=self._clock)
        follower.catch_up()
        self._made = follower.generation
        return self._store, follower.generation

    def close(self) -> None:
        """Delete the file."""
        self._places.close()


class _Swept(Exception):  # no error: the snapshot is taken from a later one
    """A part of the snapshot that another one begins at was deleted meanwhile."""


class _Nothing:
    """No snapshots at all."""

    def nearest_rows(
        self, model: str, fingerprint: str, skipped: Sequence[int], until: int
    ) -> SavedRows | None:
        """Return None."""
        del model, fingerprint, skipped, until
        return None


def _fingerprint(model: ReadModel, skipped: Sequence[int], position: int) -> bytes:
    # Not before the first snapshot: what describes the structs takes a moment to import.
    from orderledger.snapshots.fingerprints import model_fingerprint

    read = frozenset(topics()) if model.topics is None else model.topics
    return model_fingerprint(
        declared(model),
        frozenset() if model.entries_only else read,
        model.folds,
        [one for one in skipped if one <= position],
    )
