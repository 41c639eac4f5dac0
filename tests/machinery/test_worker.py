"""The worker: every part goes on whatever the others do, and the status tells."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from orderledger import Book
from orderledger.commands.lanes import RULES
from orderledger.commands.order_commands import AddNote
from orderledger.commands.performing import Performer
from orderledger.commands.process_orders import Confirmation
from orderledger.commands.process_payments import PaymentOperations
from orderledger.ledger.errors import IntegrityViolation, StorageError
from orderledger.ledger.orders import Lifecycle
from orderledger.ledger.provider_ports import Notify, NotifyAnswer, Ports
from orderledger.ledger.snapshot_ports import Header
from orderledger.ledger.stores.snapshots_memory import MemorySnapshots
from orderledger.ledger.stores.work_memory import MemoryWork
from orderledger.ledger.work_ports import Heartbeat, Lane, Outcome, Work, WorkStatus
from orderledger.machinery import Wiring
from orderledger.machinery_status import PartStatus, State
from orderledger.projections.deadlines import Deadlines
from orderledger.projections.models import Recorded, Rows
from orderledger.snapshots.policy import ModelPolicy
from orderledger.testing import memory_book
from orderledger.testing.fakes import Failure, FakeWorld
from orderledger.worker import BookWorker, Pace
from tests.machinery.shop import Clock, authorise, events_of, initiate, open_book, place, run
from tests.machinery.test_outbox import Welcome

QUICK = Pace(busy_rest_s=0.001, idle_rest_s=0.01, problem_rest_s=0.02, beat_s=0.0)
SOON = {
    lane: msgspec.structs.replace(rules, lease=timedelta(milliseconds=200))
    for lane, rules in RULES.items()
}


@contextmanager
def working(book: Book) -> Iterator[BookWorker]:
    """Run a worker in a thread, and see that it ends."""
    worker = book.worker(pace=QUICK)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, f"not within 30 s: {what}"
        time.sleep(0.005)


def part(book: Book, name: str) -> PartStatus:
    (found,) = [one for one in book.read.status().parts if one.part == name]
    return found


def test_a_worker_does_everything() -> None:
    """Catches a part that the worker does not run."""
    world = FakeWorld()
    book = memory_book().wire(
        Wiring(ports=world.ports, reactors=(PaymentOperations(), Confirmation(), Welcome()))
    )
    with working(book):
        until(lambda: len(book.machinery.work.reactors()) == 3, "reactors begin")
        due_at = datetime.now(UTC) + timedelta(milliseconds=50)
        run(book, place(), initiate(), authorise(), place("o2", payment_due_at=due_at))
        book.enqueue(AddNote(order_id="o1", note_ref="n", by="me"), key="k")
        until(lambda: book.order("o1").lifecycle is Lifecycle.CONFIRMED, "payment")
        until(lambda: book.order("o2").lifecycle is Lifecycle.EXPIRED, "timer")
        until(lambda: book.ticket("k").is_over, "queue")
        until(lambda: len(world.notification.sent) == 2, "outbox")
        head = book.store.head().size
        until(lambda: book.read.models.position("orders") >= head, "read models")
        until(lambda: not book.read.status().red, "status is green")
    seen = {one.part for one in book.read.status().parts if one.state is State.OK}
    assert seen == {
        *("projections", "outbox", "queue", "timer"),
        *("reactor:payment_operations", "reactor:confirmation", "reactor:welcome"),
    }


def test_a_failing_part_is_red_and_recovers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a part whose failure stops the others, is not seen, or does not mend by itself."""
    book = memory_book()
    is_broken = True
    lease = MemoryWork.lease

    def broken(self: MemoryWork, lane: Lane, *rest: Any, **named: Any) -> Sequence[Work]:
        if lane is Lane.TIMER and is_broken:
            raise StorageError("the timers' table is locked")
        return lease(self, lane, *rest, **named)

    monkeypatch.setattr(MemoryWork, "lease", broken)
    with working(book) as worker:
        until(lambda: part(book, "timer").state is State.FAILING, "red")
        assert "locked" in part(book, "timer").problem
        assert set(worker.problems) == {"timer"}
        book.enqueue(place(), key="k")
        until(lambda: book.ticket("k").is_over, "the queue goes on")
        is_broken = False
        until(lambda: part(book, "timer").state is State.OK, "green again")


def test_a_thread_that_ends_is_started_again() -> None:
    """Catches an adapter that ends its thread, and with it the part, for good."""

    class Rude:
        calls = 0

        def notify(self, request: Notify) -> NotifyAnswer:
            self.calls += 1
            if self.calls == 1:
                raise SystemExit
            return NotifyAnswer(message_ref="m")

    rude = Rude()
    book = memory_book().wire(
        Wiring(ports=Ports(notification=rude), reactors=(Welcome(),), rules=SOON)
    )
    with working(book):
        until(lambda: bool(book.machinery.work.reactors()), "the reactor begins")
        run(book, place())
        until(lambda: rude.calls == 2, "another thread took it over")
        done = [WorkStatus.DONE]
        until(lambda: len(list(book.machinery.list_work(Lane.OUTBOX, done))) == 2, "done")
    assert events_of(book, "order-o1") == ["OrderPlaced", "OrderNoted"]


def test_the_status_of_a_book_without_a_worker() -> None:
    """Catches a book that is red because it has no machinery, or green because nobody looks."""
    clock = Clock()
    book = open_book(clock)
    assert {one.state for one in book.read.status().parts} == {State.IDLE}
    book.enqueue(place(), key="k")
    assert part(book, "queue").state is State.OK
    clock.move(minutes=6)
    found = part(book, "queue")
    assert (found.state, found.lag) == (State.OVERDUE, 1)
    assert found.oldest_due_at == clock.now - timedelta(minutes=6)
    assert "orderledger work" in found.advice
    book.machinery.settle()
    assert not book.read.status().red


def test_a_deadline_that_nobody_knows_of_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a stream that its read model left out, whose deadlines then never fire, unseen."""
    clock = Clock()
    book = open_book(clock)

    def broken(self: Deadlines, recorded: Recorded, rows: Rows) -> None:
        raise ZeroDivisionError(recorded.stream)

    monkeypatch.setattr(Deadlines, "project", broken)
    run(book, place(payment_due_at=clock.now))
    book.sweep()
    found = part(book, "timer")
    assert (found.state, "parked deadlines" in found.problem) == (State.FAILING, True)


def test_a_deadline_that_was_given_up_is_not_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a timer that stays overdue for ever because somebody gave up one of its deadlines."""
    clock = Clock()
    book = open_book(clock)

    def broken(self: Performer, work: Work) -> Outcome:
        raise IntegrityViolation(work.key)

    monkeypatch.setattr(Performer, "perform", broken)
    run(book, place(payment_due_at=clock.now))
    clock.move(minutes=6)
    book.sweep()
    assert part(book, "timer").state is State.DEAD_LETTERS
    (dead,) = book.machinery.list_work(Lane.TIMER, (WorkStatus.DEAD,))
    book.discard(Lane.TIMER, dead.key, reason="the order is kept")
    book.sweep()
    book.machinery.work.beat(Heartbeat(part="timer", owner="w", seen_at=clock.now))
    assert part(book, "timer").state is State.OK
    run(book, place("o2", payment_due_at=clock.now))
    assert len(list(book.machinery.deadlines())) == 2
    clock.move(minutes=6)
    book.machinery.work.beat(Heartbeat(part="timer", owner="w", seen_at=clock.now))
    assert part(book, "timer").state is State.OVERDUE, "another one still is"


def test_silence_dead_letters_and_lag_are_red() -> None:
    """Catches a dead worker, a dead letter or a stuck reactor that the status does not show."""
    clock, world = Clock(), FakeWorld()
    book = open_book(clock).wire(Wiring(ports=world.ports, reactors=(Welcome(),)))
    runner = book.machinery.reactors["welcome"]
    runner.start()
    run(book, place())
    clock.move(minutes=6)
    lagging = part(book, "reactor:welcome")
    assert (lagging.state, lagging.lag) == (State.OVERDUE, 1)
    world.notification.fail(*[Failure.NOT_SENT] * 20)
    for _ in range(30):
        book.machinery.settle()
        clock.move(hours=1)
    assert part(book, "reactor:welcome").state is State.OK
    dead = part(book, "outbox")
    assert (dead.state, dead.dead, "outbox redrive" in dead.advice) == (State.DEAD_LETTERS, 1, True)
    work = book.machinery.work
    work.beat(Heartbeat(part="queue", owner="w", seen_at=clock.now))
    assert part(book, "queue").state is State.OK
    clock.move(minutes=2)
    assert part(book, "queue").state is State.SILENT
    work.beat(Heartbeat(part="queue", owner="w", seen_at=clock.now, problem="down"))
    assert part(book, "queue").state is State.FAILING


def test_snapshots_that_nobody_takes_any_more_are_red() -> None:
    """Catches a worker that stopped saving read models unseen, and an alarm while it saves one."""
    clock = Clock()
    book = open_book(clock)
    book.snapshots.models.policy = ModelPolicy(every=2)
    run(book, place(), place("o2"))
    list(book.snapshots.take_model("orders"))
    assert "snapshots" not in {one.part for one in book.read.status().parts}
    work = book.machinery.work
    work.beat(Heartbeat(part="snapshots", owner="w", seen_at=clock.now))
    clock.move(hours=3)
    assert part(book, "snapshots").state is State.OK, "nothing is due"
    run(book, place("o3"), place("o4"))
    due_at = book.store.read(3, limit=1)[0].recorded_at
    clock.move(minutes=50)
    found = part(book, "snapshots")
    assert (found.state, found.lag, found.oldest_due_at) == (State.OK, 1, due_at)
    clock.move(minutes=20)
    found = part(book, "snapshots")
    assert (found.state, "work --snapshots" in found.advice) == (State.OVERDUE, True)
    work.beat(Heartbeat(part="snapshots", owner="w", seen_at=clock.now))
    assert part(book, "snapshots").state is State.OK, "its worker knows what is due"
    clock.move(minutes=70)
    list(book.snapshots.take_model("stock"))
    assert part(book, "snapshots").state is State.OK, "one was taken meanwhile"
    clock.move(minutes=70)
    assert part(book, "snapshots").state is State.OVERDUE
    list(book.snapshots.take_model("orders"))
    assert part(book, "snapshots").lag == 0


def test_snapshots_that_cannot_be_taken_are_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a model that has none taken, and a failure that is told long after it was mended."""
    clock = Clock()
    book = open_book(clock)
    work = book.machinery.work
    work.beat(Heartbeat(part="snapshots", owner="w", seen_at=clock.now, problem="no room"))
    found = part(book, "snapshots")
    assert (found.state, found.problem) == (State.FAILING, "no room")
    clock.move(minutes=70)
    assert part(book, "snapshots").state is State.OK, "nobody fails any more, and nothing is due"

    def broken(self: MemorySnapshots, *_: object, **__: object) -> Mapping[str, Header]:
        raise StorageError("no right to the table")

    monkeypatch.setattr(MemorySnapshots, "newest", broken)
    found = part(book, "snapshots")
    assert (found.state, "no right" in found.problem) == (State.FAILING, True)
