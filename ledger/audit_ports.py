"""
The port between a verification and what stands around the events: command records, guards, strays.

An ``EventStore`` answers what the engine asks while it works; this answers what only somebody asks
who doubts the database. Read-only.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec


class CommandRecord(msgspec.Struct, frozen=True, gc=False):
    """The record of a command as stored; ``key_hash`` has 16 bytes."""

    key_hash: bytes
    key: str
    command_id: UUID
    appended_at: datetime
    fingerprint: bytes
    command: str
    refused: bool
    reply: str


class Duplicate(msgspec.Struct, frozen=True):
    """A value that stands ``count`` times where it must stand once."""

    table: str
    column: str
    value: UUID
    count: int


class Stray(msgspec.Struct, frozen=True):
    """Rows of a table that say they are of a book which the database does not have."""

    table: str
    book_id: int


class Guards(msgspec.Struct, frozen=True):
    """
    What the database refuses by itself: name → definition, as it is and as the migrations make it.

    Names begin with their kind: ``trigger:``, ``function:``, ``constraint:``, ``column:`` …
    Definitions are compared, never read.
    """

    present: Mapping[str, str]
    expected: Mapping[str, str]


class Audit(Protocol):
    """
    What stands around one book's events. Every method may be called from any thread.

    Raises Unavailable (and its kinds), StorageError or SchemaMismatch where the database fails,
    CorruptEvent for a record that cannot be read.
    """

    def records(self, after: bytes, limit: int) -> Sequence[CommandRecord]:
        """Return command records in the order of their key hashes, after one (b"": all)."""
        ...

    def duplicates(self) -> Sequence[Duplicate]:
        """Return event ids and command ids that the database has more than once, at most 100."""
        ...

    def strays(self) -> Sequence[Stray]:
        """Return which tables have rows of a book that does not exist."""
        ...

    def loose_work(self) -> Sequence[int]:
        """
        Return the numbers of work whose order is not kept as its streams say, at most 100.

        Waiting work has a row for each of its streams, and other work has none.
        """
        ...

    def guards(self) -> Guards:
        """Return the guards of the database and those of the migrations; none in memory."""
        ...
