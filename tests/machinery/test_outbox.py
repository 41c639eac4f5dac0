"""The outbox: what an event calls for happens once, whatever ends where."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderledger import Book
from orderledger.commands.decision import States
from orderledger.commands.effects import Call, Effect, Execute
from orderledger.commands.order_commands import AddNote, CancelOrder
from orderledger.commands.process_orders import Cancellation, Confirmation, Refunds
from orderledger.commands.process_payments import PaymentOperations
from orderledger.commands.reactors import Happened, Reactor
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.orders import Lifecycle
from orderledger.ledger.payment_operations import OperationStatus
from orderledger.ledger.provider_ports import Notify
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.replay.rebuild import rebuild
from orderledger.testing.fakes import Failure, FakeWorld
from tests.machinery.faults import Faults, Process
from tests.machinery.shop import (
    Clock,
    authorise,
    capture,
    events_of,
    initiate,
    open_book,
    place,
    run,
    work_in,
)


class Welcome(Reactor):
    """Notes that an order was placed, and tells its buyer."""

    name = "welcome"
    topics = frozenset({"order.placed.v1"})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        order = states.order(happened.entity_id)
        note = AddNote(order_id=order.order_id, note_ref=f"at {happened.position}", by="welcome")
        return (
            Execute(note),
            Call(Notify(recipient_ref=order.buyer_ref, template="placed")),
        )


PAYMENTS = (PaymentOperations(), Confirmation(), Cancellation(), Refunds())


def shop(*reactors: Reactor) -> tuple[Book, Clock, FakeWorld]:
    clock, world = Clock(), FakeWorld()
    book = open_book(clock).wire(Wiring(ports=world.ports, reactors=reactors or (Welcome(),)))
    for runner in book.machinery.reactors.values():
        runner.start()
    return book, clock, world


def test_an_event_calls_for_its_effects_once() -> None:
    """Catches an effect that is lost, done twice, or done for what was before the reactor."""
    clock, world = Clock(), FakeWorld()
    book = open_book(clock)
    run(book, place("before"))
    book.wire(Wiring(ports=world.ports, reactors=(Welcome(),)))
    assert book.machinery.settle() == 0, "a reactor starts at the head"
    run(book, place())
    assert book.machinery.settle() == 2
    assert book.machinery.settle() == 0
    assert [one.recipient_ref for one in world.notification.sent] == ["b1"]
    assert events_of(book, "order-o1") == ["OrderPlaced", "OrderNoted"]
    assert events_of(book, "order-before") == ["OrderPlaced"]
    keys = {one.key for one in work_in(book, Lane.OUTBOX)}
    assert set(world.notification.effects) < keys, "the port is asked under the effect's key"


def test_a_reactor_can_start_earlier() -> None:
    """Catches a reactor that cannot be told to make up for what was before it."""
    clock, world = Clock(), FakeWorld()
    book = open_book(clock)
    run(book, place("o1"), place("o2"))
    book.wire(Wiring(ports=world.ports, reactors=(Welcome(),)))
    runner = book.machinery.reactors["welcome"]
    with pytest.raises(NotFound, match="position 9"):
        runner.start(9)
    assert runner.start(1).position == 1
    assert runner.start(0).position == 1, "it has begun"
    book.machinery.settle()
    assert events_of(book, "order-o2") == ["OrderPlaced", "OrderNoted"]
    assert events_of(book, "order-o1") == ["OrderPlaced"]


def test_replay_and_rebuild_write_no_work() -> None:
    """Catches a rebuild that sends every mail of the past again (R1)."""
    book, _, world = shop()
    run(book, place())
    book.machinery.settle()
    before = work_in(book, Lane.OUTBOX)
    for name in ("orders", "deadlines", "timeline"):
        book.read.models.catch_up(name)
        rebuild(book.read.models, name)
    assert list(book.read.verify()) == []
    book.machinery.settle()
    assert work_in(book, Lane.OUTBOX) == before
    assert len(world.notification.requests) == 1


def test_a_port_that_is_away_is_tried_again_and_then_dead() -> None:
    """Catches an effect that is given up too early, hammered at, or lost without a dead letter."""
    book, clock, world = shop()
    run(book, place())
    world.notification.fail(*[Failure.NOT_SENT] * 20)
    book.machinery.settle()
    (failed,) = work_in(book, Lane.OUTBOX, WorkStatus.WAITING)
    assert (failed.attempts, failed.due_at) == (1, clock.now + timedelta(seconds=1))
    for _ in range(40):
        clock.move(hours=1)
        book.machinery.settle()
    (dead,) = work_in(book, Lane.OUTBOX, WorkStatus.DEAD)
    assert (dead.attempts, "out of reach" in dead.error) == (20, True)
    book.machinery.redrive(Lane.OUTBOX, dead.key)
    book.machinery.settle()
    assert len(world.notification.sent) == 1
    with pytest.raises(InvalidInput, match="is done"):
        book.machinery.redrive(Lane.OUTBOX, dead.key)


def test_a_discard_is_an_event_and_final() -> None:
    """Catches a failed effect that vanishes without anybody having said why."""
    book, clock, world = shop()
    run(book, place())
    world.notification.fail(*[Failure.LOST] * 20)
    for _ in range(40):
        book.machinery.settle()
        clock.move(hours=1)
    (dead,) = work_in(book, Lane.OUTBOX, WorkStatus.DEAD)
    with pytest.raises(InvalidInput, match="reason"):
        book.discard(Lane.OUTBOX, dead.key, reason=" ")
    book.discard(Lane.OUTBOX, dead.key, reason="the buyer called")
    book.discard(Lane.OUTBOX, dead.key, reason="twice")
    (event,) = [one.event for one in book.read.history("work-outbox")]
    assert (event.reason, event.key) == ("the buyer called", dead.key)  # type: ignore[attr-defined]  # of its struct
    with pytest.raises(InvalidInput, match="is discarded"):
        book.machinery.redrive(Lane.OUTBOX, dead.key)
    assert world.notification.sent == []


def test_a_refused_effect_is_listed_and_holds_up_nothing() -> None:
    """Catches a refusal of a process manager that nobody sees, or that blocks its stream."""

    class Eager(Reactor):
        name = "eager"
        topics = frozenset({"order.placed.v1"})

        def react(self, happened: Happened, states: States) -> Sequence[Effect]:
            return (
                Execute(CancelOrder(order_id="none", reason="r", by="b")),
                Execute(AddNote(order_id=happened.entity_id, note_ref="n", by="b")),
            )

    book, _, _ = shop(Eager())
    run(book, place())
    book.machinery.settle()
    (refused,) = work_in(book, Lane.OUTBOX, WorkStatus.REFUSED)
    assert "none" in refused.error
    assert events_of(book, "order-o1") == ["OrderPlaced", "OrderNoted"]
    run(book, place("none"))
    book.machinery.redrive(Lane.OUTBOX, refused.key)
    book.machinery.settle()
    assert book.order("none").lifecycle is Lifecycle.CANCELLING, "under a key of its own"


def test_a_reactor_that_fails_at_an_event_goes_on() -> None:
    """Catches one event that stops a reactor for ever, or whose effects are lost with it."""

    class Fragile(Welcome):
        name = "fragile"
        is_broken = True

        def react(self, happened: Happened, states: States) -> Sequence[Effect]:
            if self.is_broken and happened.entity_id == "o1":
                raise ZeroDivisionError("broken")
            return super().react(happened, states)

    reactor = Fragile()
    book, clock, world = shop(reactor)
    run(book, place(), place("o2"))
    book.machinery.settle()
    assert events_of(book, "order-o2") == ["OrderPlaced", "OrderNoted"]
    for _ in range(40):
        clock.move(hours=1)
        book.machinery.settle()
    (dead,) = work_in(book, Lane.OUTBOX, WorkStatus.DEAD)
    assert (dead.kind, "broken" in dead.error) == ("reaction:fragile", True)
    reactor.is_broken = False
    book.machinery.redrive(Lane.OUTBOX, dead.key)
    book.machinery.settle()
    assert events_of(book, "order-o1") == ["OrderPlaced", "OrderNoted"]
    assert len(world.notification.sent) == 2


def test_a_payment_goes_through_the_gateway() -> None:
    """Catches an operation that never reaches its provider, or an answer that is not recorded."""
    book, _, world = shop(*PAYMENTS)
    run(book, place(), initiate(), authorise())
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CONFIRMED
    run(book, capture())
    book.machinery.settle()
    assert book.payment("p1").captured == 2_000
    assert list(world.gateway.effects) == ["p1/auth", "p1/capture"]
    run(book, CancelOrder(order_id="o1", reason="changed mind", by="buyer"))
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CANCELLED
    assert book.payment("p1").refunded == 2_000
    assert len(world.gateway.effects) == 3
    assert book.read.clearing() == []


def test_an_authorised_order_that_is_cancelled_is_voided() -> None:
    """Catches a cancellation that leaves the buyer's money held."""
    book, _, world = shop(*PAYMENTS)
    run(book, place(), initiate(), authorise())
    book.machinery.settle()
    run(book, CancelOrder(order_id="o1", reason="changed mind", by="buyer"))
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CANCELLED
    assert book.payment("p1").capturable == 0
    assert len(world.gateway.effects) == 2


@pytest.mark.parametrize(
    ("failure", "is_done"), [(Failure.LOST, False), (Failure.LATE, True), (Failure.PENDING, True)]
)
def test_an_unknown_outcome_is_asked_about(failure: Failure, is_done: bool) -> None:
    """Catches an amount that stays reserved for ever after a timeout, or is charged twice."""
    book, clock, world = shop(*PAYMENTS)
    world.gateway.fail(failure)
    run(book, place(), initiate(), authorise())
    book.machinery.settle()
    op = book.payment("p1").operations["auth"]
    assert op.status in (OperationStatus.UNKNOWN, OperationStatus.PENDING)
    if failure is Failure.PENDING:
        clock.move(hours=1)
        book.machinery.settle()
        assert book.payment("p1").operations["auth"].queries == 1
        world.gateway.settle("p1/auth")
        clock.move(days=1)
    clock.move(minutes=5)
    book.machinery.settle()
    op = book.payment("p1").operations["auth"]
    assert op.status is (OperationStatus.SUCCEEDED if is_done else OperationStatus.ABORTED)
    assert len(world.gateway.effects) == is_done
    assert next(book.machinery.deadlines(), None) is None


def test_a_late_and_repeated_notification_changes_nothing() -> None:
    """Catches a webhook that counts beside the answer of the call."""
    book, _, world = shop(*PAYMENTS)
    run(book, place(), initiate(), authorise())
    book.machinery.settle()
    before = book.payment("p1")
    run(book, *world.gateway.notifications(), *world.gateway.notifications())
    assert book.payment("p1").authorised == before.authorised
    assert book.payment("p1").anomalies == ()


def _scenario(book: Book) -> None:
    run(book, place(), initiate(), authorise())


def _finish(book: Book) -> None:
    payment = book.payment("p1")
    if payment.capturable and "capture" not in payment.operations:
        run(book, capture())


def _outcome(book: Book, world: FakeWorld) -> dict[str, Any]:
    return {
        "order": events_of(book, "order-o1"),
        "payment": events_of(book, "payment-p1"),
        "world": sorted(world.gateway.effects),
        "work": [(one.kind, one.status) for one in work_in(book, Lane.OUTBOX)],
    }


def _run_with_fault(at: int | None) -> tuple[dict[str, Any], int]:
    book, clock, world = shop(*PAYMENTS)
    faults = Faults(at)
    _scenario(book)
    Process(book, clock, faults).run()
    for _ in range(4):
        clock.move(minutes=2)
        Process(book, clock, Faults()).run()
        _finish(book)
    Process(book, clock, Faults()).run()
    assert list(book.read.verify()) == []
    return _outcome(book, world), faults.steps


def test_a_crash_at_any_step_changes_nothing() -> None:
    """Catches a step of react, lease, call, record or conclude that is not repeatable (42)."""
    expected, steps = _run_with_fault(None)
    assert steps > 40
    for at in range(steps):
        found, _ = _run_with_fault(at)
        assert found == expected, f"after a crash at step {at}"


@settings(max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("crash"), st.integers(0, 60)),
            st.tuples(st.just("work"), st.just(0)),
            st.tuples(st.just("fail"), st.sampled_from(list(Failure))),
            st.tuples(st.just("move"), st.integers(-120, 3_600)),
            st.tuples(st.just("order"), st.just(0)),
            st.tuples(st.just("notify"), st.just(0)),
        ),
        max_size=25,
    )
)
def test_the_world_sees_each_effect_once(steps: list[tuple[str, Any]]) -> None:
    """Catches a duplicate or lost effect under crashes, timeouts, duplicates and odd clocks."""
    book, clock, world = shop(*PAYMENTS)
    orders = 0
    act: dict[str, Callable[[Any], object]] = {
        "crash": lambda at: Process(book, clock, Faults(at)).run(),
        "work": lambda _: Process(book, clock, Faults()).run(),
        "fail": world.gateway.fail,
        "move": lambda seconds: clock.move(seconds=seconds),
        "notify": lambda _: run(book, *world.gateway.notifications()),
    }
    for word, value in steps:
        if word == "order":
            orders += 1
            run(book, place(f"o{orders}"), initiate(f"p{orders}", f"o{orders}"))
            run(book, authorise(f"p{orders}"))
        else:
            act[word](value)
    _let_everything_end(book, clock, world)
    for number in range(1, orders + 1):
        op = book.payment(f"p{number}").operations["auth"]
        is_done = f"p{number}/auth" in world.gateway.effects
        assert (op.status is OperationStatus.SUCCEEDED) == is_done
        assert not op.is_in_flight
        told = [name for name in events_of(book, f"payment-p{number}") if "Authorised" in name]
        assert len(told) == is_done
    assert work_in(book, Lane.OUTBOX, WorkStatus.WAITING) == []
    assert list(book.read.verify()) == []


def _let_everything_end(book: Book, clock: Clock, world: FakeWorld) -> None:
    world.gateway._failures.clear()
    for _ in range(6):
        clock.move(days=2)
        for key, result in list(world.gateway._results.items()):
            if result.outcome.value == "pending":
                world.gateway.settle(key)
        book.machinery.settle()
