"""Group commit: every request is resolved once, whoever leads, whatever fails."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from orderledger.commands import group_commit
from orderledger.commands.deciding import Prepared, prepare
from orderledger.commands.decision import Command
from orderledger.commands.group_commit import (
    Awaited,
    GroupCommit,
    Lead,
    Promised,
    Request,
    deliver,
)
from orderledger.commands.requests import Envelope, Receipt
from orderledger.ledger.errors import Unavailable
from orderledger.ledger.ids import new_id


class Nothing(Command, frozen=True):
    """A command that no decider knows; the fake processing never decides it."""


def a_command() -> Prepared:
    return prepare("main", Envelope(command=Nothing()), new_id())


def a_request() -> Request:
    return Request(a_command())


def a_promise(future: "Future[Receipt]") -> Promised:
    return Promised(a_command(), future)


def receipt_for(request: Request) -> Receipt:
    return Receipt(
        book="main",
        command_id=request.prepared.command_id,
        key=request.prepared.key,
        streams={},
        event_ids=(),
    )


class Processing:
    """Resolves a batch after a pause, and keeps the sizes of the batches it saw."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.sizes: list[int] = []
        self.active = 0
        self.overlapped = False

    def __call__(self, requests: list[Request], pass_lead: Lead) -> None:
        self.active += 1
        self.overlapped = self.overlapped or self.active > 1
        self.sizes.append(len(requests))
        time.sleep(self.pause_s)
        deliver(requests, [receipt_for(request) for request in requests])
        self.active -= 1


def test_a_lone_caller_is_its_own_leader() -> None:
    """Catches a hand-over to another thread where nobody else waits."""
    seen: list[int] = []

    def process(requests: list[Request], pass_lead: Lead) -> None:
        seen.append(threading.get_ident())
        for request in requests:
            request.resolve(receipt_for(request))

    GroupCommit(process, 10).run((a_request(),))
    assert seen == [threading.get_ident()]


def test_callers_share_transactions_and_each_gets_its_own_result() -> None:
    """Catches a lost wake-up, a result given to the wrong caller, two leaders at once."""
    processing = Processing(pause_s=0.002)
    group = GroupCommit(processing, 1000)
    wrong: list[str] = []

    def call() -> None:
        for _ in range(20):
            request = a_request()
            group.run((request,))
            result = request.result
            if not isinstance(result, Receipt) or result.key != request.prepared.key:
                wrong.append(request.prepared.key)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert sum(processing.sizes) == 640
    assert max(processing.sizes) > 1
    assert not processing.overlapped


def test_a_leader_passes_the_lead_on_after_its_own_request() -> None:
    """Catches a caller that works for the others for ever."""
    group: GroupCommit
    fed = 0
    leaders: list[int] = []

    def process(requests: list[Request], pass_lead: Lead) -> None:
        nonlocal fed
        leaders.append(threading.get_ident())
        if fed < 200:
            fed += 1
            group.queue(a_promise(Future()))
        for request in requests:
            request.resolve(receipt_for(request))

    group = GroupCommit(process, 10)
    group.run((a_request(),))
    deadline = time.monotonic() + 30
    while len(leaders) < 201 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(leaders) == 201
    assert leaders.count(threading.get_ident()) == 1
    group.close()


def test_the_next_batch_is_decided_while_one_is_written() -> None:
    """Catches deciding and writing that never overlap, or two batches written at once."""
    turn = threading.Lock()
    deciding = threading.Event()
    overlapped: list[bool] = []

    def process(requests: list[Request], pass_lead: Lead) -> None:
        deciding.set()
        with turn:
            deciding.clear()
            pass_lead.pass_on()
            overlapped.append(deciding.wait(0.02))
        for request in requests:
            request.resolve(receipt_for(request))

    group = GroupCommit(process, 4)
    futures: list[Future[Receipt]] = [Future() for _ in range(40)]
    for future in futures:
        group.queue(a_promise(future))
    for future in futures:
        future.result(timeout=30)
    assert any(overlapped)
    group.close()


def test_futures_resolve_without_a_waiting_thread() -> None:
    """Catches a future that nobody leads."""
    group = GroupCommit(Processing(), 100)
    futures: list[Future[Receipt]] = [Future() for _ in range(500)]
    for future in futures:
        group.queue(a_promise(future))
    assert len({future.result(timeout=30).key for future in futures}) == 500


def test_a_batch_never_exceeds_its_bound() -> None:
    """Catches a transaction that grows without limit under load."""
    processing = Processing(pause_s=0.001)
    group = GroupCommit(processing, 16)
    group.run([a_request() for _ in range(100)])
    assert sum(processing.sizes) == 100
    assert max(processing.sizes) <= 16


def test_a_closed_group_refuses_and_finishes_what_is_queued() -> None:
    """Catches a queued request that is forgotten at close, and one accepted after it."""
    group = GroupCommit(Processing(pause_s=0.01), 5)
    futures: list[Future[Receipt]] = [Future() for _ in range(20)]
    for future in futures:
        group.queue(a_promise(future))
    group.close()
    assert all(future.done() for future in futures)
    with pytest.raises(Unavailable):
        group.run((a_request(),))


def test_an_interrupt_of_the_leader_does_not_lose_the_lead() -> None:
    """Catches a book that hangs for ever after Ctrl-C in one caller."""
    interrupted = threading.Event()

    def process(requests: list[Request], pass_lead: Lead) -> None:
        for request in requests:
            request.resolve(receipt_for(request))
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    group = GroupCommit(process, 10)
    with pytest.raises(KeyboardInterrupt):
        group.run((a_request(),))
    after = a_request()
    group.run((after,))
    assert isinstance(after.result, Receipt)


def test_a_caller_interrupted_while_promoted_passes_the_lead_on() -> None:
    """Catches a lead given to a caller that no longer waits."""
    group = GroupCommit(Processing(), 10)
    gone, waiting = a_request(), a_request()
    group._enqueue((gone, waiting))
    gone.promote()
    finisher = threading.Thread(target=_wait_and_lead, args=(group, waiting), daemon=True)
    finisher.start()
    group._abandon((gone,))
    finisher.join(timeout=10)
    assert isinstance(waiting.result, Receipt)


def _wait_and_lead(group: GroupCommit, request: Request) -> None:
    request.wait()
    if request.leads:
        request.leads = False
        group._lead()


def _waiting(request: Request, seen: list[Request]) -> threading.Thread:
    """Start a caller that waits for its result as ``run`` does, and passes the wake-up on."""

    def wait() -> None:
        while request.result is None:
            request.wait()
        seen.append(request)
        request.wake_follower()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no caller look for itself, so that only a wake-up ends its wait."""
    monkeypatch.setattr(group_commit, "WAKE_PATIENCE_S", 600.0)


@pytest.mark.usefixtures("endless_patience")
def test_callers_wake_one_another_in_a_row() -> None:
    """Catches a caller of the batch that nobody wakes, and all of them woken at once."""
    requests = [a_request() for _ in range(20)]
    seen: list[Request] = []
    threads = [_waiting(request, seen) for request in requests]
    deliver(requests, [receipt_for(request) for request in requests])
    for thread in threads:
        thread.join(timeout=10)
    assert seen == requests


@pytest.mark.usefixtures("endless_patience")
def test_a_caller_that_was_interrupted_does_not_break_the_row() -> None:
    """Catches callers that sleep on because the one before them is gone."""
    group = GroupCommit(Processing(), 10)
    gone_before, gone_after, last = a_request(), a_request(), a_request()
    seen: list[Request] = []
    thread = _waiting(last, seen)
    group._abandon((gone_before,))
    requests = (gone_before, gone_after, last)
    deliver(requests, [receipt_for(request) for request in requests])
    assert gone_before.follower is None
    group._abandon((gone_after,))
    thread.join(timeout=10)
    assert seen == [last]


def test_a_broken_row_costs_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a lost wake-up that is never made good."""
    monkeypatch.setattr(group_commit, "WAKE_PATIENCE_S", 0.01)
    lost, last = a_request(), a_request()
    seen: list[Request] = []
    thread = _waiting(last, seen)
    # Nobody runs for the first one, so nobody passes the wake-up on.
    deliver((lost, last), (receipt_for(lost), receipt_for(last)))
    thread.join(timeout=10)
    assert seen == [last]


def _in_a_loop(
    work: Callable[[GroupCommit], Any], processing: Callable[[list[Request], Lead], None]
) -> Any:
    group = GroupCommit(processing, 1000)
    try:
        return asyncio.run(work(group))
    finally:
        group.close()


def test_an_event_loop_is_woken_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches one wake-up of the loop per command, which costs more than the command."""
    processing = Processing(pause_s=0.01)
    woken: list[object] = []

    async def work(group: GroupCommit) -> list[Receipt]:
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(callback: Callable[..., object], *arguments: Any) -> object:
            if callback is group_commit._settle:
                woken.append(callback)
            return wake(callback, *arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        requests = [Awaited(a_command(), loop) for _ in range(300)]
        for request in requests:
            group.queue(request)
        receipts = [await request for request in requests]
        assert [one.key for one in receipts] == [one.prepared.key for one in requests]
        return receipts

    assert len(_in_a_loop(work, processing)) == 300
    assert len(woken) == len(processing.sizes) < 300


def test_a_cancelled_await_does_not_disturb_its_batch() -> None:
    """Catches a result set on a cancelled future, which would fail the others of the batch."""

    async def work(group: GroupCommit) -> tuple[Awaited, Receipt]:
        loop = asyncio.get_running_loop()
        given_up, kept = Awaited(a_command(), loop), Awaited(a_command(), loop)
        task = asyncio.ensure_future(_result_of(given_up))
        group.queue(given_up)
        group.queue(kept)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return given_up, await kept

    given_up, receipt = _in_a_loop(work, Processing(pause_s=0.05))
    assert isinstance(given_up.result, Receipt), "the command ran all the same"
    assert isinstance(receipt, Receipt)


async def _result_of(request: Awaited) -> Receipt:
    return await request


def test_a_loop_that_is_gone_does_not_disturb_the_others() -> None:
    """Catches the error of a closed loop that keeps results from the rest of the batch."""
    loop = asyncio.new_event_loop()
    left_behind = Awaited(a_command(), loop)
    loop.close()
    future: Future[Receipt] = Future()
    requests = (left_behind, a_promise(future))
    deliver(requests, [receipt_for(request) for request in requests])
    assert future.result(timeout=1).key == requests[1].prepared.key


def test_an_interrupted_leader_leaves_the_others_an_answer() -> None:
    """Catches callers who share a leader's batch and never hear of it after Ctrl-C."""
    future: Future[Receipt] = Future()
    promised = a_promise(future)
    with pytest.raises(KeyboardInterrupt):
        deliver((promised, a_request()), _interrupted(receipt_for(promised)))
    assert future.result(timeout=1).key == promised.prepared.key


def _interrupted(first: Receipt) -> Any:
    yield first
    raise KeyboardInterrupt
