"""What hangs, ends or raises for ever in a worker: it is seen, and the work goes on by itself."""

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from orderledger import Book, worker, worker_parts
from orderledger.commands.decision import States
from orderledger.commands.effects import Effect
from orderledger.commands.reactors import Happened
from orderledger.ledger.provider_ports import Notify, NotifyAnswer, Ports
from orderledger.ledger.work_ports import Heartbeat, Lane, WorkStatus
from orderledger.machinery import Machinery, Wiring
from orderledger.machinery_status import State
from orderledger.projections.deadlines import Deadlines
from orderledger.projections.models import Recorded, Rows
from orderledger.projections.worker import Worker as Follower
from orderledger.testing import memory_book
from orderledger.worker import Pace
from tests.machinery.shop import Clock, events_of, open_book, place, run
from tests.machinery.test_outbox import Welcome
from tests.machinery.test_worker import QUICK, SOON, part, until, working


class Hanging:
    """Notification that does not answer its first ``times`` requests before it is let go."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0
        self.let_go = threading.Event()

    def notify(self, request: Notify) -> NotifyAnswer:
        self.calls += 1
        if self.calls <= self.times:
            self.let_go.wait(60)
        return NotifyAnswer(message_ref="m")


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Give a port that hangs once, and let its threads go at the end."""
    made = Hanging(1)
    yield made
    made.let_go.set()


def state(book: Book, name: str) -> State | None:
    found = [one.state for one in book.read.status().parts if one.part == name]
    return found[0] if found else None


def is_done(book: Book, count: int) -> bool:
    return len(list(book.machinery.list_work(Lane.OUTBOX, [WorkStatus.DONE]))) == count


def test_a_call_that_hangs_is_seen_and_taken_over(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a provider that never answers, and with its thread the work, unseen, for good."""
    monkeypatch.setattr(worker_parts, "THREADS", {**dict.fromkeys(Lane, 1)})
    hanging.times = 2
    book = memory_book().wire(
        Wiring(ports=Ports(notification=hanging), reactors=(Welcome(),), rules=SOON)
    )
    with working(book):
        until(lambda: bool(book.machinery.work.reactors()), "the reactor begins")
        run(book, place())
        until(lambda: part(book, "outbox").state is State.FAILING, "it is red")
        assert "call:Notify" in (text := part(book, "outbox").problem), text
        assert "hangs for over 0.2 s" in text
        until(lambda: hanging.calls == 3, "it is taken over, and over again")
        until(lambda: is_done(book, 2), "it is done")
        until(lambda: not book.read.status().red, "what was taken over is red no more")
    assert not hanging.let_go.is_set(), "a worker ends whatever hangs in it"
    assert events_of(book, "order-o1") == ["OrderPlaced", "OrderNoted"]


def test_a_worker_ends_whatever_is_at_hand(hanging: Hanging) -> None:
    """Catches a worker that waits for ever for a call when it is told to end."""
    book = memory_book().wire(Wiring(ports=Ports(notification=hanging), reactors=(Welcome(),)))
    ending = book.worker(pace=msgspec.structs.replace(QUICK, end_within_s=0.1))
    thread = threading.Thread(target=ending.run)
    thread.start()
    until(lambda: bool(book.machinery.work.reactors()), "the reactor begins")
    run(book, place())
    until(lambda: hanging.calls == 1, "the call is at hand")
    ending.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert not hanging.let_go.is_set()
    assert state(book, "worker:1") is None, "it ended in order"


def test_what_comes_back_late_changes_nothing(hanging: Hanging) -> None:
    """Catches an answer that is recorded by the thread that lost the work, over that of another."""
    book = memory_book().wire(
        Wiring(ports=Ports(notification=hanging), reactors=(Welcome(),), rules=SOON)
    )
    with working(book):
        until(lambda: bool(book.machinery.work.reactors()), "the reactor begins")
        run(book, place())
        until(lambda: is_done(book, 2), "another thread did it")
        before = list(book.machinery.list_work(Lane.OUTBOX, [WorkStatus.DONE]))
        hanging.let_go.set()
        until(lambda: not book.read.status().red, "green")
        assert list(book.machinery.list_work(Lane.OUTBOX, [WorkStatus.DONE])) == before


def test_a_port_that_never_answers_holds_up_no_other_part(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches threads without end for a provider that never answers, or that end a worker."""
    monkeypatch.setattr(worker, "HUNG_MAX", 3)
    hanging.times = 10**6
    book = memory_book().wire(
        Wiring(ports=Ports(notification=hanging), reactors=(Welcome(),), rules=SOON)
    )
    with working(book):
        until(lambda: bool(book.machinery.work.reactors()), "the reactor begins")
        run(book, place(), place("o2"), place("o3"), place("o4"))
        until(lambda: "3 threads hang" in part(book, "outbox").problem, "the limit is told")
        book.enqueue(place("o5"), key="k")
        until(lambda: book.ticket("k").is_over, "the queue goes on")
        # Those that hung when the limit was reached, and those that ran then, one in each place.
        most = worker.HUNG_MAX + worker_parts.THREADS[Lane.OUTBOX]
        threading.Event().wait(5 * SOON[Lane.OUTBOX].lease.total_seconds())
        assert hanging.calls <= most, "nothing else is begun"
        hanging.times = 0
        hanging.let_go.set()
        until(lambda: is_done(book, 10), "it goes on when they come back")
        until(lambda: not book.read.status().red, "green")


def test_a_reactor_that_hangs_is_replaced(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a reactor that stands still at an event for good because its thread does."""
    hanging.times = 2
    monkeypatch.setattr(worker_parts, "STEP_LIMIT_S", 0.2)

    class Slow(Welcome):
        def react(self, happened: Happened, states: States) -> Sequence[Effect]:
            hanging.notify(Notify(recipient_ref="", template=""))
            return super().react(happened, states)

    book = memory_book().wire(Wiring(ports=Ports(notification=Hanging(0)), reactors=(Slow(),)))
    with working(book):
        until(lambda: bool(book.machinery.work.reactors()), "the reactor begins")
        run(book, place())
        until(lambda: "position 1" in part(book, "reactor:welcome").problem, "it is red")
        until(lambda: is_done(book, 2), "another thread went on")
        until(lambda: not book.read.status().red, "green")
    assert events_of(book, "order-o1") == ["OrderPlaced", "OrderNoted"]


def test_a_read_model_that_hangs_is_replaced(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches deadlines that nobody follows any more because one event took a thread along."""
    monkeypatch.setattr(worker_parts, "STEP_LIMIT_S", 0.2)
    monkeypatch.setattr(worker_parts, "Follower", partial(Follower, lease_s=0.2))
    hanging.times = 2
    project = Deadlines.project

    def slow(self: Deadlines, recorded: Recorded, rows: Rows) -> None:
        hanging.notify(Notify(recipient_ref="", template=""))
        project(self, recorded, rows)

    monkeypatch.setattr(Deadlines, "project", slow)
    clock = Clock()
    book = open_book(clock)
    with working(book):
        run(book, place(payment_due_at=clock.now))
        until(lambda: "read model deadlines" in part(book, "projections").problem, "it is red")
        until(lambda: events_of(book, "order-o1")[-1] == "OrderExpired", "the deadline fires")


def test_a_reactor_that_raises_for_ever_is_a_dead_letter() -> None:
    """Catches an event that ends its reactor for good, unseen, or holds up those after it."""

    class Broken(Welcome):
        def react(self, happened: Happened, states: States) -> Sequence[Effect]:
            if happened.entity_id == "o1":
                raise ZeroDivisionError("broken")
            return super().react(happened, states)

    clock = Clock()
    book = open_book(clock).wire(Wiring(ports=Ports(notification=Hanging(0)), reactors=(Broken(),)))
    with working(book):
        until(lambda: bool(book.machinery.work.reactors()), "the reactor begins")
        run(book, place(), place("o2"))
        until(lambda: is_done(book, 2), "the reactor goes on")

        def is_dead() -> bool:
            clock.move(hours=1)
            return part(book, "outbox").dead == 1

        until(is_dead, "it is a dead letter")
        until(lambda: part(book, "outbox").state is State.DEAD_LETTERS, "it is red")
        until(lambda: part(book, "reactor:welcome").state is State.OK, "green")


def test_a_sweeper_that_ends_is_started_again_later_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches timers that no thread sweeps any more, or one that ends and begins without rest."""
    collect, ends = Machinery.collect, 0

    def ending(self: Machinery, *rest: Any, **named: Any) -> int:
        nonlocal ends
        if ends < 4:
            ends += 1
            raise SystemExit("no more")
        return collect(self, *rest, **named)

    clock = Clock()
    book = open_book(clock)
    monkeypatch.setattr(Machinery, "collect", ending)
    with working(book):
        run(book, place(payment_due_at=clock.now))
        until(lambda: part(book, "timer").state is State.FAILING, "it is red")
        assert "SystemExit('no more')" in part(book, "timer").problem
        until(lambda: events_of(book, "order-o1")[-1] == "OrderExpired", "the deadline fires")
        until(lambda: not book.read.status().red, "green")
    assert [Pace().restart_after_s(ends) for ends in (1, 2, 3, 4, 5, 99)] == [5, 10, 20, 40, 60, 60]


def test_a_worker_that_is_gone_is_seen_whoever_else_works() -> None:
    """Catches one of two processes that died, of which the other's signs of life hide the end."""
    clock = Clock()
    book = open_book(clock)
    book.machinery.work.beat(Heartbeat(part="worker:1", owner="host/7/a", seen_at=clock.now))
    with working(book):
        until(lambda: state(book, "worker:2") is State.OK, "another one works")
        clock.move(minutes=2)
        until(lambda: state(book, "worker:2") is State.OK, "it still does")
        gone = part(book, "worker:1")
        assert (gone.state, gone.last_seen_of) == (State.SILENT, "host/7/a")
        assert "taken over" in gone.advice
        clock.move(minutes=14)
        until(lambda: state(book, "worker:2") is State.OK, "it does for long")
        names = {one.part for one in book.read.status().parts}
        assert "worker:1" not in names, "it is forgotten"
    assert not [one for one in book.read.status().parts if one.part.startswith("worker:")]
    with working(book):
        until(lambda: state(book, "worker:1") is State.OK, "its number is given again")


def test_two_workers_that_chose_one_number() -> None:
    """Catches two processes under one number for good, one of which hides the end of the other."""
    clock = Clock()
    book = open_book(clock)
    with working(book):
        until(lambda: state(book, "worker:1") is State.OK, "it works")
        book.machinery.work.beat(Heartbeat(part="worker:1", owner="b", seen_at=clock.now))
        until(lambda: state(book, "worker:2") is State.OK, "the one gives way")
        assert part(book, "worker:1").last_seen_of == "b"


def test_the_limit_of_an_attempt_is_its_lease() -> None:
    """Catches a thread that is given up before its lease is over, or long after."""
    book = memory_book().wire(Wiring(rules=SOON))
    assert book.machinery.lane(Lane.OUTBOX).lease == timedelta(milliseconds=200)
