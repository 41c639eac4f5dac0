"""
Group commit: concurrent callers of one process share transactions, without a writer thread.

The first caller to arrive leads: it takes what has queued up and processes it, while the next ones
queue behind it. As soon as its batch is on its way to the database it passes the lead to the first
caller that waits, who decides the next batch meanwhile: deciding and writing overlap. So a lone
caller pays for no hand-over, and nobody works for the others for ever. Requests that nobody waits
for in a thread (futures) are led by a background thread.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from orderledger.ledger.errors import OrderLedgerError, Unavailable

from .deciding import Prepared
from .requests import Receipt

Result = Receipt | OrderLedgerError


class Request:
    """One command on its way, and its result once there is one."""

    __slots__ = ("_gate", "attempts", "future", "leads", "prepared", "result", "waiting")

    def __init__(self, prepared: Prepared, future: "Future[Receipt] | None" = None) -> None:
        self.prepared = prepared
        self.attempts = 0
        self.result: Result | None = None
        self.future = future
        self.leads = False
        self.waiting = future is None
        # A bare lock is the cheapest one-shot signal between two threads.
        self._gate = threading.Lock()
        self._gate.acquire()

    def resolve(self, result: Result) -> None:
        """Set the result, once, and wake whoever waits for it."""
        if self.result is not None:
            return
        self.result = result
        if self.future is None:
            self._signal()
        elif isinstance(result, Receipt):
            self.future.set_result(result)
        else:
            self.future.set_exception(result)

    def promote(self) -> None:
        """Wake the waiting caller to take the lead."""
        self.leads = True
        self._signal()

    def _signal(self) -> None:
        # It may still be raised for a caller that was promoted and interrupted before it woke.
        if self._gate.locked():
            self._gate.release()

    def wait(self) -> None:
        """Block until resolved or promoted."""
        self._gate.acquire()


class Lead:
    """The right to decide the next batch: ``take`` what queued up, then ``pass_on``, once."""

    def __init__(self, take: Callable[[], list[Request]], pass_on: Callable[[], None]) -> None:
        self._take: Final = take
        self._pass_on: Final = pass_on
        self._is_passed = False
        self.taken: Final[list[Request]] = []
        """What was taken on top of the batch: it must be resolved as well."""

    def take(self) -> list[Request]:
        """Return what queued up since; nothing once the lead is passed on."""
        more = [] if self._is_passed else self._take()
        self.taken.extend(more)
        return more

    def pass_on(self) -> None:
        """Let another one lead; afterwards ``take`` is that one's."""
        if not self._is_passed:
            self._is_passed = True
            self._pass_on()


class GroupCommit:
    """
    The queue and the lead.

    ``process(batch, lead)`` must resolve every request of its batch and of what it takes; it passes
    the lead on when the next batch may be decided, which is done for it at the end otherwise.
    ``max_batch`` bounds the requests of a batch, and of what is taken on top of it.
    """

    def __init__(self, process: Callable[[list[Request], Lead], None], max_batch: int) -> None:
        self._process: Final = process
        self._max_batch: Final = max_batch
        self._queue: Final[deque[Request]] = deque()
        self._mutex: Final = threading.Lock()
        self._led = False
        self._closed = False
        self._pool: ThreadPoolExecutor | None = None

    def run(self, requests: Sequence[Request]) -> None:
        """Queue requests and return when all of them are resolved; may lead meanwhile."""
        try:
            if self._enqueue(requests):
                self._lead()
            for request in requests:
                while request.result is None:
                    request.wait()
                    if request.leads:
                        request.leads = False
                        self._lead()
        except BaseException:
            self._abandon(requests)
            raise

    def queue(self, request: Request) -> None:
        """Queue a request that has a future; a background thread leads if nobody does."""
        if self._enqueue((request,)):
            self.background(self._lead)

    def background(self, function: Callable[..., None], *arguments: object) -> None:
        """Run a function in one of the few background threads."""
        with self._mutex:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="orderledger")
            pool = self._pool
        try:
            pool.submit(function, *arguments)
        except RuntimeError:
            # The pool is shutting down: what is queued is still finished, here.
            function(*arguments)

    def close(self) -> None:
        """Refuse new requests and wait until those that are queued are resolved."""
        with self._mutex:
            self._closed = True
            pool = self._pool
        if pool is not None:
            pool.shutdown(wait=True)

    def _take_more(self) -> list[Request]:
        with self._mutex:
            return self._take()

    def _enqueue(self, requests: Sequence[Request]) -> bool:
        with self._mutex:
            if self._closed:
                raise Unavailable("the book is closed; open it again")
            self._queue.extend(requests)
            lead = not self._led
            self._led = True
            return lead

    def _lead(self) -> None:
        """Process one batch and pass the lead on."""
        with self._mutex:
            batch = self._take()
        lead = Lead(self._take_more, self._pass_lead)
        try:
            if batch:
                self._process(batch, lead)
        finally:
            # Also when an interrupt ends this caller: the lead must never be lost.
            lead.pass_on()

    def _pass_lead(self) -> None:
        with self._mutex:
            if not self._queue:
                self._led = False
                return
            successor = self._queue[0]
            if successor.waiting:
                successor.promote()
                return
        self.background(self._lead)

    def _abandon(self, requests: Sequence[Request]) -> None:
        """Let nobody give the lead to callers that were interrupted while they waited."""
        with self._mutex:
            promoted = any(request.leads for request in requests)
            for request in requests:
                request.waiting = False
                request.leads = False
        if promoted:
            self._pass_lead()

    def _take(self) -> list[Request]:
        if len(self._queue) <= self._max_batch:
            batch = list(self._queue)
            self._queue.clear()
            return batch
        return [self._queue.popleft() for _ in range(self._max_batch)]
