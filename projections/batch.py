"""
One batch of events applied to a read model: rows fetched as they are asked for, changes collected.

A projector asks for rows one by one, and the tables answer best in bulk. So the batch is run on
the rows that are known; what it asked for beyond them is fetched in one query a table, and where
any of that exists the batch is run again: projectors are pure, so a run can be thrown away. Where
rows are at hand, each is fetched as it is asked for, and one run is enough.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from orderledger.ledger.as_of import HIDDEN
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import StorageError, Unavailable
from orderledger.ledger.events import Event, current, is_known
from orderledger.ledger.model_ports import Changes, Key, LogTable, Row, Table, TableChanges
from orderledger.ledger.ports import StoredEvent
from orderledger.ledger.streams import kind_of

from .digests import moved, row_hash
from .models import NOT_DECODED, ReadModel, Recorded
from .shapes import Shape, shape_of

_DATABASE_FAILED: Final = (StorageError, Unavailable)
"""No fault of the event at hand: a projector that asked for a row or a state met it."""

Place = tuple[str, Key]
"""A table's name and a key."""
Known = dict[Place, Row | None]
"""Rows by place; None is known to be absent."""


class Failure(msgspec.Struct, frozen=True):
    """An event that could not be decoded, folded or projected, and what was raised."""

    row: StoredEvent
    error: Exception


class Outcome(msgspec.Struct, frozen=True):
    """
    The rows that a batch changes, ``before`` and ``after`` it, those it appends, and what failed.
    """

    before: Mapping[Place, Row | None]
    after: Mapping[Place, Row | None]
    appended: Mapping[Place, Row]
    failures: Sequence[Failure]

    def digest(self, digest: bytes) -> bytes:
        """Return a generation's digest after this batch."""
        added = [row_hash(name, row) for (name, _), row in self.after.items() if row is not None]
        added += [row_hash(name, row) for (name, _), row in self.appended.items()]
        removed = [row_hash(name, row) for (name, _), row in self.before.items() if row is not None]
        return moved(digest, added, removed)

    def changes(self) -> Changes:
        """Return what is to be written, by table."""
        made: dict[str, tuple[list[Row], list[Row], list[Key]]] = {}
        for (name, _), row in self.appended.items():
            made.setdefault(name, ([], [], []))[0].append(row)
        for place, after in self.after.items():
            inserted, updated, deleted = made.setdefault(place[0], ([], [], []))
            if after is None:
                deleted.append(place[1])
            elif self.before[place] is None:
                inserted.append(after)
            else:
                updated.append(after)
        return {name: TableChanges(*lists) for name, lists in made.items()}


class Source(Protocol):
    """What a batch reads beside its events: rows of the generation, and states of streams."""

    @property
    def skipped(self) -> Container[int | None]:
        """The positions of the events that are left out by acknowledgement."""
        ...

    @property
    def is_at_hand(self) -> bool:
        """Whether a row is fetched at once, without a query of its own."""
        ...

    def fetch(self, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        """Return the rows with these keys as the last batch left them."""
        ...

    def rewind(self) -> None:
        """Put the states of streams back to where the batch begins."""
        ...

    def step(self, row: StoredEvent, event: Event) -> None:
        """Fold an event into the state of its stream."""
        ...

    def pass_over(self, row: StoredEvent) -> None:
        """Fold an event that is left out if it can be; the version moves on in any case."""
        ...

    def undo(self, stream: str) -> None:
        """Take back the last step of a stream, if it was made."""
        ...

    def state(self, stream: str) -> Any:
        """Return the state of a stream after the events stepped so far."""
        ...


class Batch:
    """The rows that a projector sees and changes while a batch runs; see ``models.Rows``."""

    def __init__(self, known: Known, source: Source, tables: Sequence[Table]) -> None:
        self._known: Final = known
        self._tables: Final = tuple(tables)
        self._logs: Final = tuple([table for table in tables if isinstance(table, LogTable)])
        self._shapes: Final[dict[str, Shape]] = {}
        self._source: Final = source
        self._changed: Final[dict[Place, Row | None]] = {}
        self._touched: Final[dict[Place, tuple[Table, StoredEvent]]] = {}
        self._appended: Final[dict[Place, Row]] = {}
        # Of the event at hand, until its projector has returned.
        self._now_changed: Final[dict[Place, Row | None]] = {}
        self._now_touched: Final[dict[Place, Table]] = {}
        self._now_appended: Final[dict[Place, Row]] = {}
        self.position = 0
        self.missing: Final[dict[Place, Table]] = {}

    def state(self, stream: str) -> Any:
        return self._source.state(stream)

    def get(self, table: Table, key: Key) -> Row | None:
        place = (table.name, key)
        if place in self._now_changed:
            return self._now_changed[place]
        if place in self._changed:
            return self._changed[place]
        if place not in self._known:
            if table not in self._tables or table in self._logs:
                raise _misused(table, self._tables)
            if not self._source.is_at_hand:
                self.missing[place] = table
                return None
            self._known[place] = self._source.fetch(table, (key,)).get(key)
        return self._known[place]

    def put(self, table: Table, row: Row) -> None:
        self._shape(table).check(row)
        key = table.key_of(row)
        # Also to write a row it must be known what was there before: the digest moves by both.
        self.get(table, key)
        self._now_changed[(table.name, key)] = row

    def append(self, table: LogTable, row: Row) -> None:
        if table not in self._logs:
            raise _misused(table, self._tables)
        self._shape(table).check(row)
        place = (table.name, table.key_of(row))
        if row[0] != self.position or place in self._now_appended:
            raise ValueError(
                f"a row appended to {table.name} needs a new key that begins with the position "
                f"{self.position}, not {place[1]}"
            )
        self._now_appended[place] = row

    def _shape(self, table: Table) -> Shape:
        found = self._shapes.get(table.name)
        if found is None:
            found = self._shapes[table.name] = shape_of(table)
        return found

    def delete(self, table: Table, key: Key) -> None:
        self.get(table, key)
        self._now_changed[(table.name, key)] = None

    def touch(self, table: Table, key: Key) -> None:
        self.get(table, key)
        self._now_touched[(table.name, key)] = table

    def keep(self, row: StoredEvent) -> None:
        """Keep what the event did, now that its projector has returned."""
        if self._now_changed:
            self._changed.update(self._now_changed)
            self._now_changed.clear()
        if self._now_touched:
            for place, table in self._now_touched.items():
                self._touched[place] = (table, row)
            self._now_touched.clear()
        if self._now_appended:
            self._appended.update(self._now_appended)
            self._now_appended.clear()

    def drop(self) -> None:
        """Forget what a failing projector did before it raised."""
        self._now_changed.clear()
        self._now_touched.clear()
        self._now_appended.clear()

    def derive(self, model: ReadModel) -> Failure | None:
        """Make the touched rows; a failure counts for the last event that touched the row."""
        for (name, key), (table, row) in self._touched.items():
            try:
                derived = model.derive(table, key, self)
                if derived is not None:
                    self._derived(table, key, derived)
                self._changed[(name, key)] = derived
            except _DATABASE_FAILED:
                raise
            except Exception as error:  # noqa: BLE001  # a model may raise anything: parked
                return Failure(row, error)
        return None

    def _derived(self, table: Table, key: Key, row: Row) -> None:
        self._shape(table).check(row)
        if table.key_of(row) != key:
            raise ValueError(f"the row derived for {key} of {table.name} has another key: {row}")

    def outcome(self, failures: Sequence[Failure]) -> Outcome:
        """Return what differs from the rows that were known."""
        before: dict[Place, Row | None] = {}
        after: dict[Place, Row | None] = {}
        for place, row in self._changed.items():
            old = self._known.get(place)
            if row != old:
                before[place] = old
                after[place] = row
        return Outcome(before, after, self._appended, failures)


def _misused(table: Table, tables: Sequence[Table]) -> LookupError:
    if table not in tables:
        return LookupError(f"table {table.name} is none of the read model's tables")
    how = "only appended" if isinstance(table, LogTable) else "put, not appended"
    return LookupError(f"rows of {table.name} are {how}")


def run(
    model: ReadModel,
    events: Sequence[StoredEvent],
    known: Known,
    source: Source,
    parked: Mapping[str, int],
) -> Outcome:
    """
    Apply events to the known rows; ``known`` grows by what else was asked for.

    A failing event, and those of its stream after it, are left out, as those of parked streams are
    from the position on at which they are parked: neither projected nor folded, so that what others
    derive from the state does not depend on where a batch ends. Other streams go on. A skipped
    event alone is not projected; what follows it in its stream is.
    """
    settled: dict[str, Failure] = {}
    wanted = _Wanted(model)
    while True:
        failures = dict(settled)
        batch = Batch(known, source, model.tables)
        source.rewind()
        for row in events:
            if _is_parked(parked.get(row.stream), row) or _is_after(failures.get(row.stream), row):
                continue
            if failure := _apply(model, row, batch, source, wanted):
                failures[row.stream] = failure
                batch.drop()
        failure = batch.derive(model)
        if batch.missing and _fetched(batch.missing, known, source):
            # What failed may have failed only because it did not see a row that is there.
            continue
        if failure is None:
            return batch.outcome(tuple(failures.values()))
        # Again without that event: what others would have seen of it must not stay.
        settled = {**failures, failure.row.stream: failure}


def _is_parked(since: int | None, row: StoredEvent) -> bool:
    return since is not None and since <= (row.position or 0)


def _is_after(failure: Failure | None, row: StoredEvent) -> bool:
    return failure is not None and row.version >= failure.row.version


class _Wanted:
    """Which topics a model looks at, each told once."""

    def __init__(self, model: ReadModel) -> None:
        self._model: Final = model
        self._topics: Final[dict[str, tuple[str, bool]]] = {}

    def topic(self, stored: str) -> tuple[str, bool]:
        """Return the current version of a topic, and whether the model is given its events."""
        found = self._topics.get(stored)
        if found is None:
            topic, asked = current(stored), self._model.topics
            # One that this code does not know may matter to any model: it is decoded, and fails.
            found = self._topics[stored] = (
                topic,
                asked is None or topic in asked or not is_known(topic),
            )
        return found


def _apply(
    model: ReadModel, row: StoredEvent, batch: Batch, source: Source, wanted: _Wanted
) -> Failure | None:
    if row.topic == HIDDEN:
        return None
    if model.entries_only:
        return _apply_entry(model, row, batch) if row.postings else None
    topic, is_wanted = wanted.topic(row.topic)
    is_folded = kind_of(row.stream) in model.folds
    if not is_wanted and not is_folded:
        return None
    if row.position in source.skipped:
        if is_folded:
            source.pass_over(row)
        return None
    is_stepped = False
    try:
        event = decode_event(row.topic, row.payload)
        if is_folded:
            is_stepped = True
            source.step(row, event)
        if is_wanted:
            batch.position = row.position or 0
            model.project(_recorded(row, topic, event), batch)
            batch.keep(row)
    except _DATABASE_FAILED:
        raise
    except Exception as error:  # noqa: BLE001  # a projector may raise anything: parked
        if is_stepped:
            source.undo(row.stream)
        return Failure(row, error)
    return None


def _apply_entry(model: ReadModel, row: StoredEvent, batch: Batch) -> Failure | None:
    batch.position = row.position or 0
    try:
        model.project(_recorded(row, row.topic, NOT_DECODED), batch)
    except _DATABASE_FAILED:
        raise
    except Exception as error:  # noqa: BLE001  # as above
        return Failure(row, error)
    batch.keep(row)
    return None


def _recorded(row: StoredEvent, topic: str, event: Event) -> Recorded:
    assert row.position is not None, "the log has positions only"
    assert row.recorded_at is not None, "the log has instants only"
    return Recorded(
        row.position,
        row.recorded_at,
        row.occurred_at,
        row.stream,
        row.version,
        topic,
        event,
        row.context,
        row.postings,
    )


def _fetched(missing: Mapping[Place, Table], known: Known, source: Source) -> bool:
    """Learn the missing rows; tell whether any of them exists, so that the run saw too little."""
    by_table: dict[str, tuple[Table, list[Key]]] = {}
    for (name, key), table in missing.items():
        by_table.setdefault(name, (table, []))[1].append(key)
    any_exists = False
    for table, keys in by_table.values():
        found = source.fetch(table, keys)
        any_exists = any_exists or bool(found)
        for key in keys:
            known[(table.name, key)] = found.get(key)
    return any_exists
