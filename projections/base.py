"""
What every follower of the log holds to: positions without a gap, and a checkpoint of this log.

A checkpoint names the position up to which rows are complete and the leaf hash of the log there:
rows that were made from another history (a restored backup, another database) are refused, never
continued.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orderledger.ledger.errors import CheckpointDiverged, IntegrityViolation
from orderledger.ledger.ports import EventStore, StoredEvent


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


def is_of_log(events: EventStore, found: Checked) -> bool:
    """Tell whether a checkpoint is one of this log; see ``require_same_log``."""
    leaf = events.leaf_hashes(found.position - 1, 1) if found.position else (found.leaf_hash,)
    return tuple(leaf) == (found.leaf_hash,)


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
