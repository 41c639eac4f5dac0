"""
Time-ordered identifiers (UUIDv7, RFC 9562) and the system clock: the impure edge of the core.

Ids must be time-ordered: on a large book random ids touch a random index page per event and write
several times the WAL.
"""

import os
import threading
from datetime import UTC, datetime
from time import time_ns
from uuid import UUID


class IdSource:
    """
    Makes UUIDv7 values that increase strictly within a process, whatever the clock does.

    48 bits of Unix milliseconds, 18 bits of fraction and counter (the ``rand_a`` field and the
    head of ``rand_b``), 56 random bits. Safe to call from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> UUID:
        # Milliseconds in units of 2**-18: a 66-bit counter, bumped when it repeats.
        tick = (time_ns() << 18) // 1_000_000
        with self._lock:
            if tick <= self._last:
                tick = self._last + 1
            self._last = tick
        random = int.from_bytes(os.urandom(7), "big")
        return UUID(int=_layout(tick, random))

    def observe(self, seen: UUID) -> None:
        """
        Make every later id greater than one that another process made.

        Called with the ids of loaded events, so that within a stream id order is version order
        even when the clocks of two processes differ.
        """
        tick = _tick(seen)
        if tick > self._last:
            with self._lock:
                self._last = max(self._last, tick)


def _layout(tick: int, random: int) -> int:
    unix_ms, fraction = tick >> 18, tick & 0x3FFFF
    rand_a, low = fraction >> 6, fraction & 0x3F
    return (unix_ms << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | (low << 56) | random


def _tick(value: UUID) -> int:
    bits = value.int
    return ((bits >> 80) << 18) | (((bits >> 64) & 0xFFF) << 6) | ((bits >> 56) & 0x3F)


new_id = IdSource()


def utc_now() -> datetime:
    """Return the system's time in UTC, with microseconds."""
    return datetime.now(UTC)
