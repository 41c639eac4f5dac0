"""
The port between the balance read model and its tables: journal lines and their checkpoint.

Rows are derived: they are written in batches together with the checkpoint that says up to where
they are complete, and can be deleted and made again from the events at any time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from .journal import Layer


class Checkpoint(msgspec.Struct, frozen=True):
    """
    How far a projection's rows are complete.

    ``leaf_hash`` is the log's at ``position`` (empty at 0): with it a checkpoint of another
    history is recognised.
    """

    projection: str
    version: int
    position: int
    leaf_hash: bytes


class JournalLine(msgspec.Struct, frozen=True, gc=False):
    """
    One posting of an event in the log. ``line_no`` counts the legs of the entry from 1.

    ``minor`` is in signed minor units, debit positive; ``effective_at`` is the world's clock,
    ``recorded_at`` the engine's.
    """

    position: int
    line_no: int
    account: str
    currency: str
    layer: Layer
    minor: int
    effective_at: datetime
    recorded_at: datetime


class LineSelection(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which lines a query is about; None and empty leave a condition out.

    ``until`` bounds the position: since recorded_at increases with the position, it stands for the
    recorded clock too. ``account`` is one account, ``below`` an account and all accounts under it.
    ``effective_from`` and ``effective_to`` are both inclusive.
    """

    until: int
    account: str = ""
    below: str = ""
    currency: str = ""
    layer: Layer | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None


class AccountTotal(msgspec.Struct, frozen=True, gc=False):
    """The sum of the selected lines of one account: signed minor units, debit positive."""

    account: str
    currency: str
    layer: Layer
    minor: int


class AccountUse(msgspec.Struct, frozen=True, gc=False):
    """When an account was used, on both clocks' terms: effective instants and log positions."""

    account: str
    line_count: int
    first_effective_at: datetime
    last_effective_at: datetime
    first_position: int
    last_position: int


class JournalStore(Protocol):
    """
    One book's journal lines in one database. Every method may be called from any thread.

    Raises Unavailable (and its kinds), StorageError or SchemaMismatch where the database fails.
    """

    def checkpoint(self, projection: str) -> Checkpoint | None:
        """Return the checkpoint of a projection, or None before its first batch."""
        ...

    def advance(
        self, before: Checkpoint | None, after: Checkpoint, rows: Sequence[JournalLine]
    ) -> bool:
        """
        Write lines and the checkpoint ``after``, in one transaction, if it is still at ``before``.

        Returns False, and writes nothing, when another process has moved it meanwhile.
        """
        ...

    def clear(self, projection: str) -> None:
        """Delete every line and the checkpoint, in one transaction."""
        ...

    def totals(self, selection: LineSelection) -> Sequence[AccountTotal]:
        """
        Return the sums per (account, currency, layer) in that order, exact at any size.

        Cost: the lines of the selected accounts, read from an index alone.
        """
        ...

    def uses(self, selection: LineSelection) -> Sequence[AccountUse]:
        """Return one row per account with selected lines, by name."""
        ...

    def lines(
        self, selection: LineSelection, after: tuple[int, int], limit: int
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order, after a (position, line_no), at most ``limit``."""
        ...

    def lines_by_effect(
        self, selection: LineSelection, after: tuple[datetime, int, int] | None, limit: int
    ) -> Sequence[JournalLine]:
        """
        Return selected lines by (effective_at, position, line_no), after such a key.

        The selection names one account, one currency and one layer.
        """
        ...

    def close(self) -> None:
        """Release connections. Later calls raise Unavailable."""
        ...
