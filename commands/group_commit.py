"""
Group commit: concurrent callers of one process share transactions, without a writer thread.

The first caller to arrive leads: it takes what has queued up and processes it, while the next ones
queue behind it. As soon as its batch is on its way to the database it passes the lead to the first
caller that waits, who decides the next batch meanwhile: deciding and writing overlap. So a lone
caller pays for no hand-over, and nobody works for the others for ever. Requests that nobody waits
for in a thread (futures) are led by a background thread.

The results of a batch are handed out at once: callers wake one another in a row, each the next,
because many threads woken together only fight for the interpreter; an event loop is woken once.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from orderledger.ledger.errors import OrderLedgerError, Unavailable
from orderledger.ledger.forks import in_child

from .deciding import Prepared
from .requests import Receipt

if TYPE_CHECKING:
    # Who awaits has imported it already; all others need not.
    from asyncio import AbstractEventLoop
    from asyncio import Future as LoopFuture

Result = Receipt | OrderLedgerError

WAKE_PATIENCE_S: Final = 1.0
"""How long a caller sleeps before it looks for itself: a row breaks where one is interrupted."""


class Request:
    """One command on its way, and its result once there is one. A thread waits for it."""

    __slots__ = ("_gate", "attempts", "follower", "leads", "prepared", "result", "waiting")

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.attempts = 0
        self.result: Result | None = None
        self.follower: Request | None = None
        """Whom the caller wakes when it has its result."""
        self.leads = False
        self.waiting = True
        # A bare lock is the cheapest one-shot signal between two threads.
        self._gate = threading.Lock()
        self._gate.acquire()

    def resolve(self, result: Result) -> None:
        """Set the result, once, and wake whoever waits for it."""
        deliver((self,), (result,))

    def promote(self) -> None:
        """Wake the waiting caller to take the lead."""
        self.leads = True
        self.wake()

    def wake(self) -> None:
        """End the caller's ``wait``, now or when it begins; again is the same as once."""
        with suppress(RuntimeError):
            self._gate.release()

    def wake_follower(self) -> None:
        """Pass on that the batch is done."""
        follower = self.follower
        if follower is not None:
            self.follower = None
            follower.wake()

    def wait(self) -> None:
        """Block until resolved or promoted, or for a second."""
        self._gate.acquire(timeout=WAKE_PATIENCE_S)


class Promised(Request):
    """A command whose result goes to a future, which any thread may wait for."""

    __slots__ = ("_future",)

    def __init__(self, prepared: Prepared, future: "Future[Receipt]") -> None:
        super().__init__(prepared)
        self._future = future
        self.waiting = False

    def settle(self, result: Result) -> None:
        """Hand the result out."""
        if isinstance(result, Receipt):
            self._future.set_result(result)
        else:
            self._future.set_exception(result)


class Awaited(Request):
    """A command whose result goes to a future of an event loop."""

    __slots__ = ("_future", "loop")

    def __init__(self, prepared: Prepared, loop: "AbstractEventLoop") -> None:
        super().__init__(prepared)
        self.loop = loop
        self._future: LoopFuture[Receipt] = loop.create_future()
        self.waiting = False

    def __await__(self) -> Generator[object, None, Receipt]:
        return self._future.__await__()

    def settle(self, result: Result) -> None:
        """Hand the result out, in the loop's own thread; who was cancelled does not want it."""
        if self._future.done():
            return
        if isinstance(result, Receipt):
            self._future.set_result(result)
        else:
            self._future.set_exception(result)


def deliver(requests: Iterable[Request], results: Iterable[Result]) -> None:
    """
    Set the results of requests, each once, and wake whoever waits for them.

    An interrupt at any point leaves no request with a result that nobody hears of.
    """
    first: Request | None = None
    last: Request | None = None
    loops: dict[AbstractEventLoop, list[tuple[Awaited, Result]]] = {}
    for request, result in zip(requests, results, strict=True):
        if request.result is not None:
            continue
        if isinstance(request, Awaited):
            loops.setdefault(request.loop, []).append((request, result))
            continue
        request.result = result
        if isinstance(request, Promised):
            request.settle(result)
        elif request.waiting:
            if last is None:
                first = request
            else:
                last.follower = request
            last = request
    if first is not None:
        first.wake()
    for loop, awaited in loops.items():
        # A loop that was closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, awaited)
        for request, result in awaited:
            request.result = result


def _settle(awaited: Iterable[tuple[Awaited, Result]]) -> None:
    for request, result in awaited:
        request.settle(result)


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
        self._closed = False
        self._reset()
        in_child(self._reset)

    def _reset(self) -> None:
        """Begin anew: what a forked process finds queued is its parent's to run."""
        self._queue: deque[Request] = deque()
        self._mutex = threading.Lock()
        self._led = False
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
                request.wake_follower()
        except BaseException:
            self._abandon(requests)
            raise

    def queue(self, request: Promised | Awaited) -> None:
        """Queue a request that no thread waits for; a background thread leads if nobody does."""
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
        for request in requests:
            request.wake_follower()
        if promoted:
            self._pass_lead()

    def _take(self) -> list[Request]:
        if len(self._queue) <= self._max_batch:
            batch = list(self._queue)
            self._queue.clear()
            return batch
        return [self._queue.popleft() for _ in range(self._max_batch)]
