"""
Time-ordered identifiers (UUIDv7, RFC 9562) and the system clock: the impure edge of the core.

Ids must be time-ordered: on a large book random ids touch a random index page per event and write
several times the WAL.
"""

import threading
from datetime import UTC, datetime, timedelta
from random import Random
from time import time_ns
from typing import Final
from uuid import UUID, SafeUUID

from .forks import in_child

# The constructor parses five alternative forms, three quarters of the time of making an id. A slot
# of the class sets the attribute as the constructor does, past the ban on assignments.
_set_int: Final = UUID.__dict__["int"].__set__
_set_is_safe: Final = UUID.__dict__["is_safe"].__set__
_UNKNOWN: Final = SafeUUID.unknown


def uuid_of(value: int) -> UUID:
    """Return the UUID of a 128-bit integer, not checked: the constructor's result, sooner."""
    made = object.__new__(UUID)
    _set_int(made, value)
    _set_is_safe(made, _UNKNOWN)
    return made


class IdSource:
    """
    Makes UUIDv7 values that increase strictly within a process, whatever the clock does.

    48 bits of Unix milliseconds, 18 bits of fraction and counter (the ``rand_a`` field and the
    head of ``rand_b``), 56 random bits. Safe to call from several threads, and after a fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        # Ids must differ, not be unguessable: seeded by the system, ten times sooner than asking
        # it for every id. A forked child must not go on with its parent's sequence.
        self._random: Final = Random()
        in_child(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._random.seed()

    def __call__(self) -> UUID:
        # Milliseconds in units of 2**-18: a 66-bit counter, bumped when it repeats.
        tick = (time_ns() << 18) // 1_000_000
        with self._lock:
            if tick <= self._last:
                tick = self._last + 1
            self._last = tick
        return uuid_of(_layout(tick, self._random.getrandbits(56)))

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


class CountedIds(IdSource):
    """
    Makes ids that follow from an instant alone, each the next: for what is not to depend on chance.

    Two sources of one instant make the same ids, so they are for books that nobody else sees.
    """

    def __init__(self, at: datetime) -> None:
        self._lock = threading.Lock()
        self._last = max(0, (at - _EPOCH) // _MILLISECOND) << 18

    def __call__(self) -> UUID:
        with self._lock:
            self._last += 1
            return uuid_of(_layout(self._last, 0))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_VERSION_AND_VARIANT: Final = (0x7 << 76) | (0b10 << 62)


def _layout(tick: int, random: int) -> int:
    unix_ms, rand_a, low = tick >> 18, (tick >> 6) & 0xFFF, tick & 0x3F
    return _VERSION_AND_VARIANT | (unix_ms << 80) | (rand_a << 64) | (low << 56) | random


def _tick(value: UUID) -> int:
    bits = value.int
    return ((bits >> 80) << 18) | (((bits >> 64) & 0xFFF) << 6) | ((bits >> 56) & 0x3F)


new_id = IdSource()


def utc_now() -> datetime:
    """Return the system's time in UTC, with microseconds."""
    return datetime.now(UTC)
