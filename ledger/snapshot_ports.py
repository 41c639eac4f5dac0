"""
The port between snapshots and their tables, and the one between snapshots and who folds streams.

A snapshot is derived and never needed: whoever reads one gets what folding all events would give,
sooner. Its header is read before its body, and tells whether it is still worth reading.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import msgspec

from .model_ports import Generation, Key, ModelStore, Row, Table


class SnapshotKind(StrEnum):
    """What a snapshot is of: the state of a stream, or the rows of a read model."""

    STREAM = "stream"
    MODEL = "model"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a snapshot is of, and what it depends on.

    ``subject`` is the stream or the read model. ``version`` is the stream's, or the number under
    which the model's author declared it; ``position`` is that of the last event in it, where the
    log had ``leaf_hash``. ``fingerprint`` identifies the code that folded, ``codec`` how the body
    is written, ``erasure_epoch`` which erasures it has seen (0: none). ``body_hash`` is SHA-256
    over all of this and the body, ``size`` the bytes that it added: the body, and the parts that no
    snapshot before it had.
    """

    kind: SnapshotKind
    subject: str
    version: int
    position: int
    leaf_hash: bytes
    fingerprint: bytes
    codec: str
    erasure_epoch: int
    body_hash: bytes
    size: int
    taken_at: datetime


Named = Callable[[bytes], Iterable[bytes]]
"""Returns the hashes of the parts that a body names."""


class SnapshotStore(Protocol):
    """
    The snapshots of one book in one database. Every method may be called from any thread.

    Raises Unavailable (and its kinds), StorageError or SchemaMismatch where the database fails.
    """

    def put(
        self,
        header: Header,
        body: bytes,
        parts: Mapping[bytes, bytes],
        kept: Set[bytes] = frozenset(),
    ) -> bool:
        """
        Write a snapshot in one transaction; one of the same subject and position is replaced.

        ``parts`` are kept beside it by their SHA-256, once per subject: snapshots of one read model
        share what did not change between them. ``kept`` are those that must be there already: where
        one is not, since another process swept it meanwhile, nothing is written and this is False.
        """
        ...

    def newest(
        self, kind: SnapshotKind, subjects: Sequence[str], *, until: int | None = None
    ) -> Mapping[str, Header]:
        """Return the header of each subject's last snapshot at or before a position, if any."""
        ...

    def headers(self, kind: SnapshotKind, subject: str) -> Sequence[Header]:
        """Return the headers of one subject by position."""
        ...

    def page(
        self, kind: SnapshotKind, *, after: tuple[str, int] = ("", 0), limit: int = 1000
    ) -> Sequence[Header]:
        """Return headers by subject and position, after one of these."""
        ...

    def body(self, header: Header) -> bytes | None:
        """Return the body that belongs to a header; None where it is there no more."""
        ...

    def part(self, subject: str, part_hash: bytes) -> bytes | None:
        """Return a part of a read model's snapshots by its hash; None where it is not there."""
        ...

    def drop(self, headers: Sequence[Header]) -> None:
        """Delete snapshots; their parts stay until ``sweep``."""
        ...

    def sweep(self, subject: str, named: Named) -> int:
        """
        Delete the parts of a read model's snapshots that none of them names; return how many.

        One after the other with every ``put`` of the subject, so that no snapshot loses a part.
        """
        ...

    def close(self) -> None:
        """Release connections. Later calls raise Unavailable."""
        ...


class FoldedStream(msgspec.Struct, frozen=True):
    """The state of a stream after ``version`` events, the last of them ``event_id``."""

    version: int
    position: int
    event_id: UUID
    state: Any


class StateSnapshots(Protocol):
    """
    What whoever folds streams asks before it begins, and tells after it wrote.

    Neither raises: without a snapshot one folds from the beginning.
    """

    def nearest(
        self, streams: Iterable[str], *, until: int | None = None
    ) -> Mapping[str, FoldedStream]:
        """Return, for streams that have one, the last valid snapshot at or before a position."""
        ...

    def committed(self, states: Iterable[tuple[str, int, Any]]) -> bool:
        """
        Note streams that were written, each with its version and state; tell if some are due.

        Called at every commit: it does no I/O. Where it tells so, ``take_due`` is called later,
        in a thread that nobody waits for.
        """
        ...

    def take_due(self) -> None:
        """Take the snapshots that have become due; what fails is logged, and taken later."""
        ...


class SavedRows(Protocol):
    """
    The rows of a read model as they were at a position, read as they are asked for.

    ``digest`` is that of a generation there. Not to be shared between threads.
    """

    @property
    def position(self) -> int: ...

    @property
    def leaf_hash(self) -> bytes: ...

    @property
    def digest(self) -> bytes: ...

    def fetch(self, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        """Return the rows with these keys; absent ones are left out."""
        ...

    def rows(self, table: Table, after: Key | None) -> Iterator[Row]:
        """Iterate over the rows of a table in key order, after a key."""
        ...


class RowSnapshots(Protocol):
    """What read models of a book as it was ask before they are made anew."""

    def nearest_rows(
        self, model: str, fingerprint: str, skipped: Sequence[int], until: int
    ) -> SavedRows | None:
        """
        Return the rows of the last valid snapshot of a model at or before a position, if any.

        ``fingerprint`` and ``skipped`` are those of the generation that goes on from there.
        """
        ...


class ResumedModels(ModelStore, Protocol):
    """Read models in memory that begin where a snapshot ends."""

    def changes(
        self, generation: Generation
    ) -> tuple[SavedRows | None, Mapping[str, tuple[Mapping[Key, Row], Set[Key]]]]:
        """Return the snapshot that a generation began at, and by table its rows and keys since."""
        ...
