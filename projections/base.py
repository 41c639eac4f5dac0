"""
What every projection is: a pure function from events to rows, and a checkpoint that is never bent.

The checkpoint commits with the rows. It names the position up to which they are complete and the
leaf hash of the log there: rows that were made from another history (a restored backup, another
database) are refused, never continued.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from orderledger.ledger.errors import CheckpointDiverged, IntegrityViolation
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.read_ports import Checkpoint

CATCH_UP_EVENTS: Final = 5_000
"""Events per transaction: enough to amortise the commit, short enough to let writers in between."""

Row_co = TypeVar("Row_co", covariant=True)
Row_contra = TypeVar("Row_contra", contravariant=True)
Row = TypeVar("Row")


class Projector(Protocol[Row_co]):
    """
    A pure function from an event to the rows it adds: no I/O, no clock, no randomness.

    ``version`` changes whenever the rows of an old event would.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    def project(self, event: StoredEvent) -> Sequence[Row_co]:
        """Return the rows of a sequenced event."""
        ...


class RowStore(Protocol[Row_contra]):
    """Where the rows and the checkpoint are kept; ``JournalStore`` is one."""

    def checkpoint(self, projection: str) -> Checkpoint | None: ...

    def advance(
        self, before: Checkpoint | None, after: Checkpoint, rows: Sequence[Row_contra]
    ) -> bool: ...

    def clear(self, projection: str) -> None: ...


class Follower(Generic[Row]):
    """Keeps the rows of one projection up with the log, with any number of others doing so too."""

    def __init__(self, events: EventStore, rows: RowStore[Row], projector: Projector[Row]) -> None:
        self._events: Final = events
        self._rows: Final = rows
        self._projector: Final = projector

    def catch_up(self, *, batch_events: int = CATCH_UP_EVENTS) -> int:
        """
        Project everything up to the head as it is now, and return that position.

        Rows and checkpoint of a batch are one transaction. Of several processes one writes a
        batch and the others see it. Raises CheckpointDiverged (see ``verified``), and
        IntegrityViolation where the log lacks a position.
        """
        target = self._events.head().size
        while True:
            before = self.verified()
            position = before.position if before is not None else 0
            if position >= target:
                return target
            batch = read_gapless(self._events, position, target, batch_events)
            rows = [row for event in batch for row in self._projector.project(event)]
            reached = position + len(batch)
            after = Checkpoint(
                self._projector.name,
                self._projector.version,
                reached,
                self._events.leaf_hashes(reached - 1, 1)[0],
            )
            # False when another process was faster: its checkpoint is looked at next.
            self._rows.advance(before, after, rows)

    def verified(self) -> Checkpoint | None:
        """
        Return the checkpoint if it belongs to this log.

        Raises CheckpointDiverged when it is beyond the head, has another leaf hash than the log at
        its position, or was made by another version of the projector.
        """
        name = self._projector.name
        found = self._rows.checkpoint(name)
        if found is None:
            return None
        if found.version != self._projector.version:
            raise CheckpointDiverged(
                f"projection {name} was made by version {found.version} of its projector, this "
                f"code has version {self._projector.version}; "
                f"run `orderledger projection rebuild {name}`",
                projection=name,
                version=found.version,
            )
        require_same_log(self._events, f"projection {name}", name, found)
        return found

    def rebuild(self) -> int:
        """
        Delete the rows and make them again; returns the position reached.

        Until it is done, readers in other processes catch up too and then see complete rows.
        """
        self._rows.clear(self._projector.name)
        return self.catch_up()


class Checked(Protocol):
    """What a projection keeps of the log: a position, and the leaf hash there."""

    @property
    def position(self) -> int: ...

    @property
    def leaf_hash(self) -> bytes: ...


def require_same_log(events: EventStore, what: str, name: str, found: Checked) -> None:
    """
    Refuse a checkpoint that is not one of this log.

    Raises CheckpointDiverged when it is beyond the head or has another leaf hash.
    """
    if found.position == 0:
        return
    leaf = events.leaf_hashes(found.position - 1, 1)
    if not leaf:
        head = events.head().size
        raise CheckpointDiverged(
            f"{what} is at position {found.position}, beyond the head of book {events.book} at "
            f"{head}: the log lost its end or is another one; verify the book, then run "
            f"`orderledger projection rebuild {name}`",
            projection=name,
            position=found.position,
            head=head,
        )
    if leaf[0] != found.leaf_hash:
        raise CheckpointDiverged(
            f"{what} was made from another history: at position {found.position} it saw the leaf "
            f"hash {found.leaf_hash.hex()}, the log has {leaf[0].hex()}; verify the book, then run "
            f"`orderledger projection rebuild {name}`",
            projection=name,
            position=found.position,
        )


def read_gapless(
    events: EventStore, position: int, until: int, limit: int
) -> Sequence[StoredEvent]:
    """Return the next events, at least one; raises IntegrityViolation where one lacks."""
    batch = events.read(position, until=until, limit=limit)
    for expected, event in enumerate(batch, position + 1):
        if event.position != expected:
            raise _missing(events.book, expected)
    if not batch:
        raise _missing(events.book, position + 1)
    return batch


def _missing(book: str, position: int) -> IntegrityViolation:
    return IntegrityViolation(
        f"book {book} has no event at position {position}, below its head; "
        "run `orderledger verify`",
        book=book,
        position=position,
    )


def position_at(events: EventStore, recorded_to: datetime) -> int:
    """
    Return the last position that was recorded at or before an instant; 0 if there is none.

    recorded_at increases with the position, so this halves the range: about log2(n) small reads.
    """
    head = events.head()
    if head.recorded_at is None or head.recorded_at <= recorded_to:
        return head.size
    low, high = 0, head.size
    while high - low > 1:
        middle = (low + high) // 2
        found = events.read(middle - 1, until=middle, limit=1)
        if not found or found[0].recorded_at is None:
            raise _missing(events.book, middle)
        if found[0].recorded_at <= recorded_to:
            low = middle
        else:
            high = middle
    return low
