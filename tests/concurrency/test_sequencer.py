"""Positions under concurrency, rollbacks and kills (E1): nothing skipped, doubled or stuck."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from threading import Event, Thread
from uuid import UUID

import psycopg
import pytest

from orderledger.ledger import codec, merkle
from orderledger.ledger.ports import StoredEvent
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from tests.concurrency.sequencer_processes import (
    append_at_full_speed,
    new_batch,
    new_event,
    sequence_for_ever,
    spawn,
    write_at_random,
)

PROCESSES = 4


def _read_all(store: PostgresStore) -> Sequence[StoredEvent]:
    events: list[StoredEvent] = []
    while page := store.read(len(events)):
        events += page
    return events


def _sequence_all(store: PostgresStore) -> None:
    while store.sequence():
        pass


def _check_log(store: PostgresStore, committed: set[UUID]) -> None:
    events = _read_all(store)
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    delivered = [event.event_id for event in events]
    assert len(set(delivered)) == len(delivered), "delivered twice"
    assert set(delivered) == committed
    last: dict[str, int] = {}
    for event in events:
        assert event.version == last.get(event.stream, 0) + 1, "stream order is not log order"
        last[event.stream] = event.version
    times = [event.recorded_at for event in events if event.recorded_at]
    assert all(before < after for before, after in pairwise(times))
    _check_batches(events)
    _check_tree(store, events)


def _check_batches(events: Sequence[StoredEvent]) -> None:
    """A batch of these tests is one command: its events stand side by side."""
    seen: set[UUID] = set()
    before: UUID | None = None
    for event in events:
        if event.command_id != before:
            assert event.command_id not in seen, "a batch was torn apart"
            seen.add(event.command_id)
        before = event.command_id


def _check_tree(store: PostgresStore, events: Sequence[StoredEvent]) -> None:
    leaves = store.leaf_hashes(0, len(events) + 1)
    expected = []
    for event in events:
        assert event.position is not None
        assert event.recorded_at is not None
        content = codec.content_hash("main", _hashed(event))
        expected.append(codec.leaf_hash(event.position, event.recorded_at, content))
    assert leaves == expected
    tiles: dict[int, list[bytes]] = {}

    def nodes(level: int, start: int, count: int) -> Sequence[bytes]:
        return (tiles[level] if level else expected)[start : start + count]

    for level, _, root in merkle.complete_tiles(0, len(expected), nodes):
        tiles.setdefault(level, []).append(root)
    assert store.tiles(1) == tiles.get(1, [])
    assert store.tiles(2) == tiles.get(2, [])


def _hashed(event: StoredEvent) -> codec.HashedColumns:
    return codec.HashedColumns(
        event_id=event.event_id,
        stream=event.stream,
        version=event.version,
        topic=event.topic,
        occurred_at=event.occurred_at,
        appended_at=event.appended_at,
        command_id=event.command_id,
        context=event.context,
        postings=event.postings,
        payload=event.payload,
    )


@contextmanager
def _killed_every_second(url: str) -> Generator[None]:
    """Keep two sequencers running, one of which is killed every second."""
    stop = Event()

    def kill() -> None:
        sequencers = [_started(sequence_for_ever, url) for _ in range(2)]
        while not stop.wait(1):
            victim = sequencers.pop(0)
            victim.kill()
            victim.join()
            sequencers.append(_started(sequence_for_ever, url))
        for sequencer in sequencers:
            sequencer.kill()
            sequencer.join()

    killer = Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()


def _started(target: Callable[..., None], *arguments: object) -> BaseProcess:
    # A daemon dies with the test run, whatever fails.
    process = spawn.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _writers_and_killed_sequencers(url: str, duration_s: int) -> None:
    migrate(url)
    store = PostgresStore(url)
    held = new_event("held", 1)
    with psycopg.connect(url) as host, _killed_every_second(url):
        store.append(new_batch(held), connection=host)
        committed = _written_beside_a_held_transaction(store, url, duration_s)
        _sequence_all(store)
        assert store.positions([held.event_id]) == {}
        # The held transaction has delayed nobody: all that was committed has its position.
        assert store.pending() == 0
        assert store.head().size == len(committed)
        host.commit()
    _sequence_all(store)
    assert store.pending() == 0
    assert len(committed) > 50 * duration_s
    _check_log(store, committed | {held.event_id})
    store.close()


def _written_beside_a_held_transaction(
    store: PostgresStore, url: str, duration_s: int
) -> set[UUID]:
    until = time.time() + duration_s
    results: Queue[list[UUID]] = spawn.Queue()
    writers = [_started(write_at_random, url, seed, until, results) for seed in range(PROCESSES)]
    sizes: list[int] = []
    while time.time() < until:
        time.sleep(0.5)
        sizes.append(store.head().size)
    committed: set[UUID] = set()
    for _ in writers:
        committed.update(results.get(timeout=30))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    # The first two seconds go to starting the processes.
    assert len(set(sizes[4:])) > 0.8 * len(sizes[4:]), "the log stood still"
    return committed


@pytest.mark.pg
def test_sixteen_writers_and_killed_sequencers(pg_url: str) -> None:
    """Catches a skipped, doubled or reordered event, and a writer that delays the others."""
    _writers_and_killed_sequencers(pg_url, 8)


@pytest.mark.pg
@pytest.mark.long
def test_sixteen_writers_for_a_minute(pg_url: str) -> None:
    """Catches the race that the short run has no time for."""
    _writers_and_killed_sequencers(pg_url, 60)


def _throughput(url: str, duration_s: int) -> float:
    """Return commits per second over the last third of the run."""
    results: Queue[list[float]] = spawn.Queue()
    until = time.time() + duration_s
    for _ in range(PROCESSES):
        _started(append_at_full_speed, url, until, results)
    sequencer = _started(sequence_for_ever, url)
    times: list[float] = []
    for _ in range(PROCESSES):
        times += results.get(timeout=duration_s + 30)
    sequencer.kill()
    sequencer.join()
    window_s = duration_s / 3
    return sum(at > until - window_s for at in times) / window_s


@pytest.mark.pg
@pytest.mark.long
def test_an_open_snapshot_costs_less_than_a_third(pg_url: str) -> None:
    """Catches a scan over dead rows, which one forgotten psql session makes slower every second."""
    migrate(pg_url)
    PostgresStore(pg_url).close()
    _throughput(pg_url, 10)
    alone = _throughput(pg_url, 20)
    with psycopg.connect(pg_url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM orderledger.books")
        beside = _throughput(pg_url, 60)
    print(f"commits/s: {alone:.0f} alone, {beside:.0f} after a snapshot was open for 40 to 60 s")
    assert beside > alone * 2 / 3


@pytest.mark.pg
def test_order_holds_beyond_the_window(pg_url: str) -> None:
    """
    Catches a successor that gets its position before its predecessor.

    The first transaction draws a pending id, hundreds of others commit, then it commits, and an
    append that finds the head free continues its stream.
    """
    migrate(pg_url)
    store = PostgresStore(pg_url)
    with psycopg.connect(pg_url) as host, psycopg.connect(pg_url) as other:
        store.append(new_batch(new_event("late", 1)), connection=host)
        with psycopg.connect(pg_url) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT 1 FROM orderledger.books")
            for n in range(600):
                store.append(new_batch(new_event(f"between-{n}", 1)), connection=other)
                other.commit()
        host.commit()
        continued = store.append(new_batch(new_event("late", 2)))
        assert continued.first_position is not None
        store.append(new_batch(new_event("read", 1)))
        # A decision that only read the stream also comes after what it read.
        store.append(new_batch(new_event("late", 3)), connection=host)
        for n in range(600, 1200):
            store.append(new_batch(new_event(f"between-{n}", 1)), connection=other)
            other.commit()
        host.commit()
        store.append(new_batch(new_event("read", 2), checks={"late": 3}))
    _sequence_all(store)
    events = _read_all(store)
    assert len(events) == 1205
    assert [event.version for event in events if event.stream == "late"] == [1, 2, 3]
    places = {(event.stream, event.version): event.position or 0 for event in events}
    assert places["late", 3] < places["read", 2]
    store.close()
