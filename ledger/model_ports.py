"""
The port between read models and their tables: generations of rows, each with its checkpoint.

A read model's rows live in tables of their own per generation. One generation is live and serves
readers; a rebuild fills another beside it, and a swap makes that one live in a single short
transaction. Rows are derived: any generation can be dropped and made again from the events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

Value = str | int | bool | datetime | None
Row = tuple[Value, ...]
"""The values of a table's columns, in their order."""
Key = tuple[Value, ...]
"""The values of a table's key columns, in their order."""


class Kind(StrEnum):
    """
    What a column holds.

    AMOUNT is an exact integer of at most 30 digits, in minor units; INTEGER one of 64 bits.
    """

    TEXT = "text"
    INTEGER = "integer"
    AMOUNT = "amount"
    INSTANT = "instant"
    BOOLEAN = "boolean"


class Column(msgspec.Struct, frozen=True):
    """A column: its name in snake_case, its kind, and whether it may be empty (None)."""

    name: str
    kind: Kind
    is_optional: bool = False


class Table(msgspec.Struct, frozen=True):
    """
    The shape of a table: its first ``key_count`` columns are the key, which is never empty.

    ``indexes`` name further columns by which rows are looked up.
    """

    name: str
    columns: tuple[Column, ...]
    key_count: int = 1
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names of the key columns, in their order."""
        return tuple([column.name for column in self.columns[: self.key_count]])

    def key_of(self, row: Row) -> Key:
        """Return the key of a row."""
        return row[: self.key_count]


class LogTable(Table, frozen=True):
    """
    A table that grows with the log: the first column of its key is the position of the event.

    Its rows are only appended, which spares looking up what cannot be there, and no event sees
    them.
    """


class TableChanges(msgspec.Struct, frozen=True):
    """
    What a batch does to one table.

    The batch knows what was there: inserted keys were absent, updated and deleted ones present.
    """

    inserted: Sequence[Row] = ()
    updated: Sequence[Row] = ()
    deleted: Sequence[Key] = ()


Changes = Mapping[str, TableChanges]
"""The changes of a batch by table name."""


class GenerationState(StrEnum):
    """
    BUILDING: being filled beside the live one. LIVE: serves readers. PREVIOUS: the one before,
    kept for a rollback. REFUSED: its digest differed from the live one's at the same position.
    """

    BUILDING = "building"
    LIVE = "live"
    PREVIOUS = "previous"
    REFUSED = "refused"


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One set of tables of a model, and how far its rows are complete.

    ``number`` counts a model's generations from 1. ``fingerprint`` identifies the code that made
    it: name, version and shape. ``leaf_hash`` is the log's at ``position`` (empty at 0).
    ``digest`` sums the hashes of all rows; see ``projections.digests``.

    ``skipped`` are the positions of the events that are left out by acknowledgement, ascending: the
    model's skips as they were when the generation began. They never change, so that its rows are a
    function of the log and of itself, whoever goes on with it and whatever is acknowledged later.
    """

    model: str
    number: int
    version: int
    fingerprint: str
    state: GenerationState
    position: int = 0
    leaf_hash: bytes = b""
    digest: bytes = bytes(32)
    skipped: tuple[int, ...] = ()


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A generation that somebody builds: since when, and until when unless renewed."""

    model: str
    number: int
    since: datetime
    until: datetime


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """
    A stream that one model cannot project: from ``position`` on its events are left out.

    ``topic`` is the failing event's, ``error`` what its projector said.
    """

    model: str
    number: int
    stream: str
    position: int
    topic: str
    error: str
    parked_at: datetime


class ModelStore(Protocol):
    """
    The read models of one book in one database. Every method may be called from any thread.

    Raises Unavailable (and its kinds), StorageError or SchemaMismatch where the database fails.
    """

    def generations(self, model: str | None = None) -> Sequence[Generation]:
        """Return the generations of a model, or of all, by model and number."""
        ...

    def create(
        self,
        model: str,
        version: int,
        fingerprint: str,
        tables: Sequence[Table],
        skipped: Sequence[int] = (),
    ) -> Generation:
        """
        Make the tables of a new generation, in state BUILDING at position 0, and return it.

        ``skipped`` are the positions of the events that it leaves out, ascending.
        """
        ...

    def advance(
        self,
        before: Generation,
        after: Generation,
        tables: Sequence[Table],
        changes: Changes,
        parked: Sequence[Parked],
    ) -> bool:
        """
        Write changes, parked streams and the checkpoint ``after`` in one transaction.

        Returns False, and writes nothing, when the generation is no longer as ``before`` says.
        Raises IntegrityViolation where the rows are not those that the checkpoint stands for.
        """
        ...

    def claim(self, generation: Generation, owner: str, lease_ms: int) -> int | None:
        """
        Take or renew the right to follow a generation for a while; None if another has it.

        Returns how many owners before let their lease run out at this position: each was ended by
        force, perhaps by the event that comes next. Rows do not depend on it: a follower without
        a claim is slower, not wrong.
        """
        ...

    def claim_build(
        self, generation: Generation, owner: str, lease_ms: int, at_once: int
    ) -> int | None:
        """
        Take the right to build a generation, as ``claim`` does; it is renewed by ``claim``.

        None also while another owner builds another generation of the model, or ``at_once`` other
        models of the book are being built; ``holds`` tells which.
        """
        ...

    def holds(self) -> Sequence[Hold]:
        """Return the generations that somebody builds now, by when they were taken."""
        ...

    def release(self, generation: Generation, owner: str) -> None:
        """Give the right back before its time."""
        ...

    @property
    def is_at_hand(self) -> bool:
        """Whether a row is fetched without a query: then there is no need to ask in bulk."""
        ...

    def fetch(self, generation: Generation, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        """Return the rows with these keys; absent ones are left out."""
        ...

    def page(
        self, generation: Generation, table: Table, after: Key | None, limit: int
    ) -> Sequence[Row]:
        """Return rows in key order after a key; text in code point order on every engine."""
        ...

    def find(
        self,
        generation: Generation,
        table: Table,
        where: Mapping[str, Value],
        after: Key | None,
        limit: int,
    ) -> Sequence[Row]:
        """
        Return rows in key order whose columns have given values, after a key.

        Quick where an index of the table starts with these columns; raises InvalidInput for a
        column that the table does not have.
        """
        ...

    def promote(
        self, generation: Generation, tables: Sequence[Table], *, over_diverged: bool = False
    ) -> bool:
        """
        Make a generation live and the live one previous, in one short transaction.

        What readers see changes between two of their statements, never within one. Returns False,
        and changes nothing, when the generation is no longer as given, or the live one is further;
        with ``over_diverged`` that one is of another log, and its position says nothing.
        """
        ...

    def refuse(self, generation: Generation) -> None:
        """Mark a generation as refused, unless it is live; its rows stay for inspection."""
        ...

    def drop(self, generation: Generation) -> None:
        """Delete a generation that is not live, with its tables."""
        ...

    def parked(self, generation: Generation) -> Sequence[Parked]:
        """Return the parked streams of a generation, by position."""
        ...

    def close(self) -> None:
        """Release connections. Later calls raise Unavailable."""
        ...
