"""
Following the log: positions without a gap, and checkpoints of this log and of no other.
"""

from collections.abc import Sequence
from typing import Protocol

from .errors import IntegrityViolation
from .ports import EventStore, StoredEvent


class Checked(Protocol):
    """What a follower keeps of the log: a position, and the leaf hash there."""

    @property
    def position(self) -> int: ...

    @property
    def leaf_hash(self) -> bytes: ...


def is_of_log(events: EventStore, found: Checked) -> bool:
    """Tell whether a checkpoint is one of this log: not beyond its head, with its leaf hash."""
    leaf = events.leaf_hashes(found.position - 1, 1) if found.position else (found.leaf_hash,)
    return tuple(leaf) == (found.leaf_hash,)


def read_gapless(
    events: EventStore, position: int, until: int, limit: int
) -> Sequence[StoredEvent]:
    """Return the next events, at least one; raises IntegrityViolation where one lacks."""
    batch = events.read(position, until=until, limit=limit)
    for expected, event in enumerate(batch, position + 1):
        if event.position != expected:
            raise missing_position(events.book, expected)
    if not batch:
        raise missing_position(events.book, position + 1)
    return batch


def missing_position(book: str, position: int) -> IntegrityViolation:
    """Return the error of a log that lacks a position."""
    return IntegrityViolation(
        f"book {book} has no event at position {position}, below its head; "
        "run `orderledger verify`",
        book=book,
        position=position,
    )
