"""
The demo's crash: a process that works through the day and is killed in the middle of an append.

Run as ``python -m orderledger.demo_crash SEED ORDERS BATCH`` on the book that the environment
names; it prints how many steps it has acknowledged, one line per batch, until it dies.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, cast

from orderledger.book import Book
from orderledger.config import Location, locate
from orderledger.databases import open_store
from orderledger.ledger.ports import Appended, Batch, EventStore

from .demo_scenarios import interleaved, stories
from .demo_story import NOW, Step

BATCH: Final = 20
"""Steps that share a transaction."""
TIMEOUT_S: Final = 60
_MOMENT_S: Final = 0.000_5
"""From the beginning of the append to the kill: about half of what an append takes."""


def batches(steps: Iterator[Step]) -> Iterator[list[Step]]:
    """Yield steps in the groups in which they are executed."""
    while batch := list(islice(steps, BATCH)):
        yield batch


def run_and_kill(location: Location, seed: int, orders: int, batch: int) -> int:
    """
    Run the day in a process that is killed with SIGKILL while it appends its n-th batch.

    Returns how many steps it had acknowledged.
    """
    # Not as an argument: a URL may hold a password, and arguments are seen by everybody.
    place = {"ORDERLEDGER_URL": location.url, "ORDERLEDGER_BOOK": location.book}
    program = [sys.executable, "-m", "orderledger.demo_crash"]
    done = subprocess.run(
        [*program, str(seed), str(orders), str(batch)],
        env={**os.environ, **place},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_S,
        check=False,
    )
    acknowledged = done.stdout.split()
    return int(acknowledged[-1]) if acknowledged else 0


class _Doomed:
    """An event store whose n-th append is the last thing that this process does."""

    def __init__(self, store: EventStore, appends: int) -> None:
        self._store: Final = store
        self._appends_left = appends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, batch: Batch, *, connection: object | None = None) -> Appended:
        self._appends_left -= 1
        is_last = self._appends_left <= 0
        if is_last:
            threading.Thread(target=_die_in_a_moment, daemon=True).start()
        appended = self._store.append(batch, connection=connection)
        if is_last:
            # Committed, but nobody is ever told: death comes while it sleeps.
            time.sleep(TIMEOUT_S)
        return appended


def _die_in_a_moment() -> None:
    time.sleep(_MOMENT_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Work through the day until the append that is the last."""
    seed, orders, last = arguments
    store = cast(EventStore, _Doomed(open_store(locate()), int(last)))
    with Book(store, clock=lambda: NOW) as book:
        acknowledged = 0
        for batch in batches(interleaved(stories(int(seed), int(orders)))):
            book.execute_many([step.envelope for step in batch])
            acknowledged += len(batch)
            sys.stdout.write(f"{acknowledged}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
