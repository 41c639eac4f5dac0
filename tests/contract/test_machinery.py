"""The machinery on every engine: queue, reactors, gateway and timers, and their order."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from orderledger import Book
from orderledger.commands.order_commands import AddNote, CancelOrder, ConfirmOrder
from orderledger.commands.process_orders import Cancellation, Confirmation, Refunds
from orderledger.commands.process_payments import PaymentOperations
from orderledger.commands.requests import Actor, Envelope
from orderledger.ledger.errors import (
    ConcurrencyConflict,
    IdempotencyConflict,
    InvalidCommand,
    NotFound,
    Rejected,
    Unavailable,
)
from orderledger.ledger.orders import Lifecycle
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.testing.fakes import FakeWorld
from tests.contract.engines import Engine
from tests.machinery.shop import START, Clock, authorise, capture, events_of, initiate, place, run


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def book(engine: Engine, clock: Clock, world: FakeWorld) -> Iterator[Book]:
    """An empty book that is wired to a world of fakes."""
    opened = Book(engine.open(clock=clock), clock=clock)
    reactors = (PaymentOperations(), Confirmation(), Cancellation(), Refunds())
    opened.wire(Wiring(ports=world.ports, reactors=reactors))
    opened.machinery.settle()
    yield opened
    opened.close()


def note(order_id: str, ref: str) -> AddNote:
    return AddNote(order_id=order_id, note_ref=ref, by="me")


def test_a_queued_command_is_executed_once(book: Book) -> None:
    """Catches a command that a storefront was told of and that never runs, or runs twice."""
    ticket = book.enqueue(place(), key="checkout-1", actor=Actor("user", "u1"))
    assert (ticket.status, ticket.is_over, ticket.command) == ("waiting", False, "PlaceOrder")
    assert book.enqueue(place(), key="checkout-1") == ticket
    with pytest.raises(IdempotencyConflict, match="channel"):
        book.enqueue(place(channel="web"), key="checkout-1")
    with pytest.raises(Unavailable, match="waiting"):
        book.ticket("checkout-1").result()
    with pytest.raises(NotFound):
        book.order("o1")
    book.machinery.settle()
    done = book.ticket("checkout-1")
    receipt = done.result()
    assert (done.is_over, receipt.key, receipt.streams) == (True, "checkout-1", {"order-o1": 1})
    assert next(book.read.history("order-o1")).context.actor == Actor("user", "u1")
    again = book.execute(place(), key="checkout-1")
    assert (again.replayed, again.event_ids) == (True, receipt.event_ids)
    with pytest.raises(NotFound, match="other"):
        book.ticket("other")


def test_a_refusal_is_a_result(book: Book) -> None:
    """Catches a refusal that is tried for ever, or that its caller cannot read."""
    book.enqueue(ConfirmOrder(order_id="o1"), key="too early")
    book.enqueue(place(), key="place")
    book.enqueue(ConfirmOrder(order_id="o1"), key="not covered")
    stale = Envelope(command=note("o1", "n"), key="stale", expected={"order-o1": 7})
    book.enqueue(stale)
    with pytest.raises(InvalidCommand):
        book.enqueue(note("bad id!", "n"), key="malformed")
    book.machinery.settle()
    with pytest.raises(NotFound):
        book.ticket("too early").result()
    with pytest.raises(Rejected, match="needs 2000"):
        book.ticket("not covered").result()
    with pytest.raises(ConcurrencyConflict, match="version 1"):
        book.ticket("stale").result()
    with pytest.raises(NotFound):
        book.ticket("malformed")
    assert book.ticket("place").result().streams == {"order-o1": 1}


def test_commands_of_a_stream_keep_their_order(book: Book) -> None:
    """Catches a capture that is executed before the authorisation that was queued first."""
    wanted = [f"n{number}" for number in range(12)]
    book.enqueue(place())
    book.enqueue(place("o2"))
    for ref in wanted:
        book.enqueue(note("o1", ref))
    book.machinery.settle()
    found = [getattr(one.event, "note_ref", "") for one in book.read.history("order-o1")]
    assert found[1:] == wanted


def test_the_queue_in_asyncio(book: Book) -> None:
    """Catches an enqueue that cannot be awaited."""
    ticket = asyncio.run(book.enqueue_async(place(), key="k"))
    assert ticket.key == "k"


def test_a_payment_runs_by_itself(book: Book, world: FakeWorld) -> None:
    """Catches an engine on which an effect is lost, doubled or out of order."""
    run(book, place(), initiate(), authorise())
    book.machinery.settle()
    run(book, capture())
    book.machinery.settle()
    run(book, CancelOrder(order_id="o1", reason="changed mind", by="buyer"))
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CANCELLED
    assert book.payment("p1").refunded == 2_000
    assert len(world.gateway.effects) == len(world.gateway.requests) == 3
    done = list(book.machinery.list_work(Lane.OUTBOX, list(WorkStatus)))
    assert {one.status for one in done} == {WorkStatus.DONE}
    assert list(book.read.verify()) == []


def test_two_workers_sweep(engine: Engine, book: Book, clock: Clock) -> None:
    """Catches a deadline that two processes fire."""
    for number in range(8):
        run(book, place(f"o{number}", payment_due_at=START + timedelta(minutes=number)))
    clock.move(hours=1)
    other = Book(engine.open(clock=clock), clock=clock)
    assert book.machinery.collect() == 8
    assert other.machinery.collect() == 0
    mine, yours = book.machinery.lane(Lane.TIMER), other.machinery.lane(Lane.TIMER)
    while mine.run_once(1) + yours.run_once(1):
        pass
    for number in range(8):
        assert events_of(book, f"order-o{number}") == ["OrderPlaced", "OrderExpired"]
    assert next(book.machinery.deadlines(), None) is None
    other.close()
