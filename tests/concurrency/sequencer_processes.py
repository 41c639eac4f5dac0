"""Processes that write to and sequence one book at once; started by test_sequencer."""

import multiprocessing
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing.queues import Queue
from typing import Final
from uuid import UUID

import psycopg

from orderledger.ledger import codec
from orderledger.ledger.ids import new_id
from orderledger.ledger.ports import AppendConflict, Batch, LockTimeout, NewAppend, NewEvent
from orderledger.ledger.stores.postgres import PostgresStore

SHARED_STREAMS: Final = 12
POSTINGS: Final = "posted assets:psp:adyen GBP 1250\nposted liabilities:escrow:o1 GBP -1250"
spawn: Final = multiprocessing.get_context("spawn")


def new_event(stream: str, version: int) -> NewEvent:
    now = datetime.now(UTC)
    return NewEvent(
        event_id=new_id(),
        stream=stream,
        version=version,
        topic="payment.captured.v1",
        occurred_at=now,
        payload='{"amount":{"minor":1250,"currency":"GBP"}}',
        postings=POSTINGS,
    )


def new_batch(*events: NewEvent, checks: dict[str, int] | None = None, appends: int = 1) -> Batch:
    """Spread the events over some appends, each with a fresh key."""
    rows = []
    for n in range(appends):
        key = str(new_id())
        rows.append(
            NewAppend(
                command_id=new_id(),
                key=key,
                key_hash=codec.key_hash("main", key),
                fingerprint=b"\x01" * 32,
                command="{}",
                refused=False,
                reply="{}",
                context='{"actor":"test"}',
                events=tuple(events[n::appends]) if appends > 1 else tuple(events),
            )
        )
    return Batch(tuple(rows), datetime.now(UTC), checks or {})


class Writer:
    """
    Appends at random to shared streams: directly or inside a host's transaction that sleeps and
    may roll back, to one or two streams, with or without a check of a third.
    """

    def __init__(self, store: PostgresStore, url: str, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.host = psycopg.connect(url)
        self.committed: list[UUID] = []
        self.conflicts = 0

    def run(self, until: float) -> None:
        while time.time() < until:
            try:
                self.committed += [event.event_id for event in self._write()]
            except (AppendConflict, LockTimeout):
                self.conflicts += 1
                self.host.rollback()
        self.host.close()

    def _write(self) -> Sequence[NewEvent]:
        names = self.random.sample([f"shared-{n}" for n in range(SHARED_STREAMS)], 3)
        names[0] = f"own-{id(self)}" if self.random.random() < 0.5 else names[0]
        at = dict.fromkeys(names, 0)
        for event in self.store.load(at):
            at[event.stream] = event.version
        chosen = names[: self.random.choice((1, 1, 2))]
        events = [new_event(name, at[name] + n) for name in chosen for n in (1, 2)]
        checks = {names[2]: at[names[2]]} if self.random.random() < 0.3 else {}
        batch = new_batch(*events, checks=checks)
        if self.random.random() < 0.5:
            self.store.append(batch)
            return events
        self.store.append(batch, connection=self.host)
        if self.random.random() < 0.5:
            time.sleep(self.random.random() * 0.05)
        if self.random.random() < 0.25:
            self.host.rollback()
            return ()
        self.host.commit()
        return events


def write_at_random(url: str, seed: int, until: float, results: "Queue[list[UUID]]") -> None:
    """Run four writers in this process; put the ids of what they committed."""
    store = PostgresStore(url)
    writers = [Writer(store, url, seed * 10 + n) for n in range(4)]
    _run_all([partial(writer.run, until) for writer in writers])
    store.close()
    results.put([event_id for writer in writers for event_id in writer.committed])


def append_at_full_speed(url: str, until: float, results: "Queue[list[float]]") -> None:
    """Run four appenders of new streams in this process; put the times of their commits."""
    store = PostgresStore(url)
    times: list[float] = []

    def append() -> None:
        while time.time() < until:
            store.append(new_batch(new_event(f"order-{new_id()}", 1)))
            times.append(time.time())

    _run_all([append] * 4)
    store.close()
    results.put(times)


def sequence_for_ever(url: str) -> None:
    """Sequence until killed."""
    store = PostgresStore(url)
    while True:
        store.sequence()
        time.sleep(0.01)


def _run_all(jobs: Sequence[Callable[[], None]]) -> None:
    """Run each job in a thread; an error of any fails the process: no writer dies unseen."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(job) for job in jobs]
    for future in futures:
        future.result()
