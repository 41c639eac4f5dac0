"""Identifiers: ordered, distinct, and UUIDv7 by the letter."""

import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest

from orderledger.ledger import ids
from orderledger.ledger.ids import IdSource, new_id, utc_now


def unix_ms(value: int) -> int:
    return value >> 80


def test_is_a_uuid_version_7() -> None:
    """An id that other systems do not recognise as time-ordered (RFC 9562, section 5.7)."""
    before = int(utc_now().timestamp() * 1000)
    made = new_id()
    after = int(utc_now().timestamp() * 1000)
    assert made.version == 7
    assert made.variant == RFC_4122
    assert before - 1 <= unix_ms(made.int) <= after + 1


def test_increases_strictly() -> None:
    """Ids made within one tick of the clock that are equal or out of order."""
    source = IdSource()
    made = [source() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert [one.bytes for one in made] == sorted(one.bytes for one in made)
    assert [str(one) for one in made] == sorted(str(one) for one in made)


def test_increases_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back, or stands still for longer than the counter lasts."""
    source = IdSource()
    now = 1_772_368_215_250_000_000
    ticks = [now, now - 5_000_000_000, *[now] * 300_000, now + 10_000_000_000]
    clock = iter(ticks)
    monkeypatch.setattr(ids, "time_ns", lambda: next(clock))
    made = [source().int for _ in ticks]
    assert all(one < other for one, other in pairwise(made))
    assert unix_ms(made[0]) == now // 1_000_000
    assert unix_ms(made[-1]) == now // 1_000_000 + 10_000


def test_threads_never_share_an_id() -> None:
    """Two threads that read the counter at once."""
    source = IdSource()
    barrier = threading.Barrier(8)

    def make(_: int) -> list[int]:
        barrier.wait(timeout=10)
        return [source().int for _ in range(2_000)]

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(make, range(8)))
    assert len({one for batch in batches for one in batch}) == 16_000
    assert all(batch == sorted(batch) for batch in batches)


def test_the_clock_is_utc() -> None:
    """A local time in a book that is read in another zone."""
    now = utc_now()
    assert now.tzinfo is UTC
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=5)


def test_is_what_the_constructor_makes() -> None:
    """Catches an id built past the constructor that behaves otherwise than a UUID."""
    value = new_id().int
    made, constructed = ids.uuid_of(value), UUID(int=value)
    assert made == constructed
    assert hash(made) == hash(constructed)
    assert made.is_safe is constructed.is_safe
    assert pickle.loads(pickle.dumps(made)) == constructed
    assert copy.deepcopy(made) == constructed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_does_not_repeat_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two processes that draw the same random bits, and the same ids in the same tick."""
    source = IdSource()
    monkeypatch.setattr(ids, "time_ns", lambda: 1_772_368_215_250_000_000)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"".join([source().bytes for _ in range(8)]))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 128)
    os.close(reader)
    os.close(writer)
    ours = {source().bytes for _ in range(8)}
    assert len(theirs) == 128
    assert ours.isdisjoint({theirs[at : at + 16] for at in range(0, 128, 16)})
