"""Group commit: every request is resolved once, whoever leads, whatever fails."""

import threading
import time
from concurrent.futures import Future

import pytest

from orderledger.commands.deciding import prepare
from orderledger.commands.decision import Command
from orderledger.commands.group_commit import GroupCommit, Lead, Request
from orderledger.commands.requests import Envelope, Receipt
from orderledger.ledger.errors import Unavailable
from orderledger.ledger.ids import new_id


class Nothing(Command, frozen=True):
    """A command that no decider knows; the fake processing never decides it."""


def a_request(future: "Future[Receipt] | None" = None) -> Request:
    return Request(prepare("main", Envelope(command=Nothing()), new_id()), future)


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
        for request in requests:
            request.resolve(receipt_for(request))
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
            group.queue(a_request(Future()))
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
        group.queue(a_request(future))
    for future in futures:
        future.result(timeout=30)
    assert any(overlapped)
    group.close()


def test_futures_resolve_without_a_waiting_thread() -> None:
    """Catches a future that nobody leads."""
    group = GroupCommit(Processing(), 100)
    futures: list[Future[Receipt]] = [Future() for _ in range(500)]
    for future in futures:
        group.queue(a_request(future))
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
        group.queue(a_request(future))
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
