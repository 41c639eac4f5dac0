"""
Why a snapshot is not used, and how often that was so.
"""

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from orderledger.ledger.following import is_of_log
from orderledger.ledger.forks import in_child
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import Header

from .bodies import EPOCH

_logger: Final = logging.getLogger("orderledger")


class Rejection(StrEnum):
    """
    Why a snapshot is not used.

    OTHER_CODE: other code folded it. OTHER_ERASURES: it has not seen every erasure. OTHER_LOG: the
    log is not the one that it was taken of. MISPLACED: that event is not where it says. DAMAGED:
    its header and its body do not belong together. DIFFERS: folding gives another state, or other
    rows. UNAVAILABLE: it could not be read, or what it is of could not.
    """

    OTHER_CODE = "other_code"
    OTHER_ERASURES = "other_erasures"
    OTHER_LOG = "other_log"
    MISPLACED = "misplaced"
    DAMAGED = "damaged"
    DIFFERS = "differs"
    UNAVAILABLE = "unavailable"


class NotUsed(Exception):
    """A snapshot that is not used, and why."""

    def __init__(self, reason: Rejection, text: str) -> None:
        super().__init__(text)
        self.reason: Final = reason
        self.text: Final = text


class Rejections:
    """How often a process passed over a snapshot, by reason. Safe to share between threads."""

    def __init__(self) -> None:
        self._counts: Final[Counter[Rejection]] = Counter()
        self._renew_lock()
        in_child(self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[Rejection, int]:
        """The counts so far; a reason that never came is left out."""
        with self._lock:
            return dict(self._counts)

    def count(self, reason: Rejection, text: str) -> None:
        """Count one more, and log the first of its reason."""
        with self._lock:
            self._counts[reason] += 1
            is_first = self._counts[reason] == 1
        if is_first:
            _logger.warning("a snapshot is passed over: %s", text)


def place_of(header: Header) -> str:
    """Return how a snapshot is called in messages."""
    return f"the snapshot of {header.subject} at position {header.position}"


def require_code(header: Header, fingerprint: bytes, codecs: frozenset[str]) -> None:
    """Refuse a snapshot of other code, or from before an erasure; raises NotUsed."""
    if header.codec not in codecs:
        raise NotUsed(
            Rejection.OTHER_CODE,
            f"{place_of(header)} is written as {header.codec!r}, which this code does not read",
        )
    if header.fingerprint != fingerprint:
        raise NotUsed(Rejection.OTHER_CODE, f"{place_of(header)} was made by other code")
    if header.erasure_epoch != EPOCH:
        raise NotUsed(
            Rejection.OTHER_ERASURES,
            f"{place_of(header)} has seen the erasures up to {header.erasure_epoch}, not {EPOCH}",
        )


def require_log(events: EventStore, header: Header) -> None:
    """Refuse a snapshot of another log, or beyond the head of this one; raises NotUsed."""
    if not is_of_log(events, header):
        raise NotUsed(
            Rejection.OTHER_LOG,
            f"{place_of(header)} was taken of a log with another leaf hash there",
        )
