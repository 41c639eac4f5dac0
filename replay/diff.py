"""
What changed in a read model between two instants, field by field, and which events changed it.

The rows of the earlier instant are followed event by event to the later one, each event in a batch
of its own, so that what an event changed is seen on the rows themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from orderledger.ledger.as_of import LogAsOf, Point
from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.model_ports import Key, ModelStore, Row, Table, Value
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.projections.batch import Outcome, Place
from orderledger.projections.models import ReadModel
from orderledger.projections.read_models import ReadModels

from .causes import Cause, cause_of

_PAGE_EVENTS: Final = 2_000


class ChangeKind(StrEnum):
    """What became of a row between the two instants."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """
    A field before and after; None where the row was absent, or the field empty.

    ``causes`` are the positions at which it changed in between, ascending; empty where the two are
    not of one log.
    """

    name: str
    before: Value
    after: Value
    causes: tuple[int, ...]


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """A row that differs between the two instants: its table and key, and the fields that do."""

    table: str
    key: Key
    kind: ChangeKind
    fields: tuple[FieldChange, ...]


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """
    What differs in a read model between two points of the log.

    ``rows`` are by table and key. ``causes`` has every position that they name.
    """

    model: str
    before: Point
    after: Point
    rows: tuple[RowChange, ...]
    causes: Mapping[int, Cause]


def diff(
    events: EventStore, store: ModelStore, model: ReadModel, before: Point, after: Point
) -> Diff:
    """
    Return what differs in a read model between two points; the first may be the later one.

    ``store`` is empty and is filled with the rows. The points have the same ``effective_to``. Cost:
    the log up to the later point is read once, and each event between the two is projected by
    itself. Raises InvalidInput for points of two effective times; ``diff_balances`` takes them.
    """
    if before.effective_to != after.effective_to:
        raise InvalidInput(
            "rows are compared at two positions of the log and one effective time, not at "
            f"{before.effective_to} and {after.effective_to}; balances can be",
        )
    is_forward = before.position <= after.position
    first, last = (before, after) if is_forward else (after, before)
    rows, causes = _followed(events, store, model, (first, last))
    if not is_forward:
        rows = [_reversed(row) for row in rows]
    return Diff(model=model.name, before=before, after=after, rows=tuple(rows), causes=causes)


class _Steps:
    """Each change of each row, as a follower projects event by event."""

    def __init__(self) -> None:
        self.before: Final[dict[Place, Row | None]] = {}
        self.after: Final[dict[Place, list[tuple[int, Row | None]]]] = {}

    def see(self, position: int, outcome: Outcome) -> None:
        """Remember what a batch of one event changed."""
        for place, row in (*outcome.after.items(), *outcome.appended.items()):
            self.before.setdefault(place, outcome.before.get(place))
            self.after.setdefault(place, []).append((position, row))


class _Pages(LogAsOf):
    """A log that is read a page at a time, however few events are asked for."""

    def __init__(self, store: EventStore, point: Point) -> None:
        super().__init__(store, point)
        self._first = 0
        self._rows: Sequence[StoredEvent] = ()
        self._leaves: Sequence[bytes] = ()

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        if limit != 1:
            return super().read(after, until=until, limit=limit)
        self._turn_to(after)
        return self._rows[after - self._first : after - self._first + 1]

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        if limit != 1:
            return super().leaf_hashes(after, limit)
        self._turn_to(after)
        return self._leaves[after - self._first : after - self._first + 1]

    def _turn_to(self, after: int) -> None:
        if not self._first <= after < self._first + len(self._rows):
            self._first = after
            self._rows = super().read(after, limit=_PAGE_EVENTS)
            self._leaves = super().leaf_hashes(after, len(self._rows))


def _followed(
    events: EventStore, store: ModelStore, model: ReadModel, span: tuple[Point, Point]
) -> tuple[list[RowChange], dict[int, Cause]]:
    first, last = span
    steps = _Steps()
    follower = ReadModels(_Pages(events, last), store, (model,)).follower(model.name)
    follower.catch_up(first.position)
    follower.watch(steps.see)
    follower.catch_up(last.position, batch_events=1)
    tables = {table.name: table for table in model.tables}
    rows = [
        change
        for place, seen in steps.after.items()
        if (change := _change(tables[place[0]], place[1], steps.before[place], seen)) is not None
    ]
    order = list(tables)
    rows.sort(key=lambda row: (order.index(row.table), [_sortable(one) for one in row.key]))
    wanted = sorted({position for row in rows for one in row.fields for position in one.causes})
    return rows, {position: cause_of(row) for position, row in _at(events, wanted)}


def _at(events: EventStore, positions: Sequence[int]) -> Iterator[tuple[int, StoredEvent]]:
    for position in positions:
        for row in events.read(position - 1, until=position, limit=1):
            yield position, row


def _sortable(value: Value) -> tuple[str, Value]:
    # Key columns are never empty and of one kind each; the kind only pleases the type checker.
    return (type(value).__name__, value)


def _change(
    table: Table, key: Key, before: Row | None, steps: Sequence[tuple[int, Row | None]]
) -> RowChange | None:
    found = row_change(table, key, before, steps[-1][1])
    if found is None:
        return None
    numbers = {column.name: number for number, column in enumerate(table.columns)}
    fields = [
        msgspec.structs.replace(one, causes=_causes(numbers[one.name], before, steps))
        for one in found.fields
    ]
    return msgspec.structs.replace(found, fields=tuple(fields))


def row_change(table: Table, key: Key, before: Row | None, after: Row | None) -> RowChange | None:
    """Return how a row differs from another of its key, without causes; None if it does not."""
    if before == after:
        return None
    kind = ChangeKind.CHANGED
    if before is None:
        kind = ChangeKind.ADDED
    elif after is None:
        kind = ChangeKind.REMOVED
    fields: list[FieldChange] = []
    for number, column in enumerate(table.columns):
        old = None if before is None else before[number]
        new = None if after is None else after[number]
        if number >= table.key_count and (old != new or kind is not ChangeKind.CHANGED):
            fields.append(FieldChange(name=column.name, before=old, after=new, causes=()))
    return RowChange(table=table.name, key=key, kind=kind, fields=tuple(fields))


def _causes(
    number: int, before: Row | None, steps: Sequence[tuple[int, Row | None]]
) -> tuple[int, ...]:
    """Return the positions at which a field took another value, or its row came or went."""
    found: list[int] = []
    last = before
    for position, row in steps:
        if (row is None) != (last is None) or (
            row is not None and last is not None and row[number] != last[number]
        ):
            found.append(position)
        last = row
    return tuple(found)


def _reversed(row: RowChange) -> RowChange:
    kinds = {ChangeKind.ADDED: ChangeKind.REMOVED, ChangeKind.REMOVED: ChangeKind.ADDED}
    fields = tuple(
        [msgspec.structs.replace(one, before=one.after, after=one.before) for one in row.fields]
    )
    return msgspec.structs.replace(row, kind=kinds.get(row.kind, row.kind), fields=fields)
