"""
A limit on the time of one batch: a projector that never comes to an end ends its process.

A thread cannot be ended from outside, and a worker that hangs follows none of its models. So the
whole process ends, at once and with its leases taken: who supervises it starts another, which finds
what was being done as it finds any event that ends its worker by force (see ``pace``).
"""

import faulthandler
import io
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from .worker import AtWork, Worker

BATCH_LIMIT_S: Final = 60.0
"""A batch takes a second or so; a server that is busy lets one wait for half a minute."""
EXIT_STATUS: Final = 4
"""As for a database that does not answer: to be started again."""
_LOOKS: Final = 10
"""Looks at a worker within the limit."""


class Watchdog:
    """
    Ends the process when a batch of a worker takes longer than ``limit_s`` seconds.

    The message and where every thread stands go to stderr. A projector that does not even let other
    threads run, in a regular expression for instance, is ended by ``faulthandler``'s timer, of
    which a process has one: so make one watchdog a process, and use it as a context manager.
    """

    def __init__(self, worker: Worker, limit_s: float = BATCH_LIMIT_S) -> None:
        self._worker: Final = worker
        self._limit_s: Final = limit_s
        self._is_over: Final = threading.Event()
        self._thread: Final = threading.Thread(
            target=self._watch, name="orderledger-watchdog", daemon=True
        )

    def __enter__(self) -> "Watchdog":
        # Before the worker begins: its first event may let no other thread run any more.
        self._postpone()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._is_over.wait(self._limit_s / _LOOKS):
            self._postpone()
            found = self._worker.at_work
            if found is not None and time.monotonic() - found.since > self._limit_s:
                _end_process(_message(found, self._limit_s))

    def _postpone(self) -> None:
        """Wind up what ends the process where this thread does not get to run for so long."""
        with suppress(io.UnsupportedOperation, AttributeError, ValueError):
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=sys.stderr)


def _message(found: AtWork, limit_s: float) -> str:
    return (
        f"error: read model {found.model} did not finish a batch at position {found.position} "
        f"within {limit_s:g} s; this process ends, the next one goes on there: after two ends "
        "event by event, after four it parks the stream of the event"
    )


def _end_process(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201  # there is no other way left
    with suppress(io.UnsupportedOperation, AttributeError, ValueError):
        faulthandler.dump_traceback(file=sys.stderr)
    os._exit(EXIT_STATUS)
