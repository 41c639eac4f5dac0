"""Several processes catch the balance model up at once, and some of them are killed."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from orderledger.config import Location, locate
from orderledger.databases import open_store, prepare
from orderledger.ledger.ports import EventStore
from orderledger.projections.balances import POSTINGS
from orderledger.reading import Reading
from orderledger.replay.rebuild import verify
from orderledger.replay.verify_journal import verify_journal
from tests.seeding import CASH, START, Fact, Seeder, transfer

EVENTS = 2_000
PROCESSES = 4
# A fresh interpreter per process: a fork would carry open connections over.
spawn = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Give a book of 2,000 events, one minor unit each, whose balance model is empty."""
    if request.param == "sqlite":
        found = locate(f"sqlite:///{tmp_path}/book.db")
    else:
        found = locate(str(request.getfixturevalue("pg_url")))
    prepare(found)
    store = open_store(found)
    seeder = Seeder(store)
    for first in range(0, EVENTS, 500):
        seeder.append_many([_fact(number) for number in range(first, first + 500)])
    store.sequence()
    store.close()
    return found


def _fact(number: int) -> Fact:
    return transfer(1, START, entry_id=f"e{number}")


def _catch_up(location: Location, barrier: Barrier, batch: int) -> None:
    store = open_store(location)
    reading = Reading(store)
    barrier.wait()
    reading.balances.catch_up(batch_events=batch)
    assert reading.balance(CASH) == {"USD": EVENTS}
    reading.close()
    store.close()


def _catch_up_slowly(location: Location) -> None:
    store = open_store(location)
    Reading(store).balances.catch_up(batch_events=10)


def _check(location: Location) -> None:
    store: EventStore = open_store(location)
    reading = Reading(store)
    assert reading.balance(CASH) == {"USD": EVENTS}
    assert [row[0] for row in reading.models.find(POSTINGS, {})] == [
        position for position in range(1, EVENTS + 1) for _ in range(2)
    ]
    assert list(reading.verify()) == []
    reading.close()
    store.close()


def test_processes_that_catch_up_together_write_each_line_once(location: Location) -> None:
    """Catches two processes that both write a batch, or one that fails because it came second."""
    barrier = spawn.Barrier(PROCESSES)
    workers = [
        spawn.Process(target=_catch_up, args=(location, barrier, batch))
        for batch in (7, 50, 50, 400)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    _check(location)


def test_a_process_killed_while_catching_up_leaves_no_half_batch(location: Location) -> None:
    """Catches a checkpoint without its lines, or lines without their checkpoint."""
    chance = random.Random(7)
    kills = 0
    for _ in range(5):
        worker = spawn.Process(target=_catch_up_slowly, args=(location,))
        worker.start()
        _wait_for_progress(location, worker)
        time.sleep(chance.random() * 0.05)
        if worker.is_alive() and worker.pid is not None:
            os.kill(worker.pid, signal.SIGKILL)
            kills += 1
        worker.join(60)
        _check_whole_batches(location)
    assert kills
    _check(location)


def _position(location: Location) -> int:
    store = open_store(location)
    reading = Reading(store)
    position = reading.status().balances_position
    reading.close()
    store.close()
    assert position is not None
    return position


def _wait_for_progress(location: Location, worker: SpawnProcess) -> None:
    before = _position(location)
    for _ in range(500):
        if not worker.is_alive() or _position(location) != before:
            return
        time.sleep(0.01)


def _check_whole_batches(location: Location) -> None:
    store = open_store(location)
    reading = Reading(store)
    reached = reading.models.status("balances").position
    lines = [row[0] for row in reading.models.find(POSTINGS, {})]
    assert lines == [position for position in range(1, reached + 1) for _ in range(2)]
    assert list(verify_journal(reading.models)) == []
    assert verify(reading.models, "balances").problem is None
    reading.close()
    store.close()
