"""The process managers that are shipped: what follows from what, through whole orders."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from orderledger import Book
from orderledger.commands.fulfilment_commands import (
    CreateFulfilment,
    DispatchFulfilment,
    RecordDelivered,
)
from orderledger.commands.order_commands import (
    CancelOrder,
    GrantRefund,
    HoldOrder,
    ReleaseHold,
    StockPolicy,
)
from orderledger.commands.payment_commands import (
    InitiatePayment,
    Purchase,
    RecordProviderOperation,
    Void,
)
from orderledger.commands.process_orders import (
    Cancellation,
    Confirmation,
    Refunds,
    Releases,
    ReleaseTerms,
    Risk,
    Stock,
)
from orderledger.commands.process_payments import ExpiryAlerts, LatePayments, PaymentOperations
from orderledger.commands.reactors import Reactor
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.order_refunds import GrantStatus
from orderledger.ledger.orders import Lifecycle
from orderledger.ledger.payment_events import FxQuote
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.testing.fakes import (
    Failure,
    FakeEvidenceBlobs,
    FakeInventory,
    FakeRiskAssessment,
    FakeWorld,
)
from tests.machinery.shop import (
    START,
    TOTAL,
    Clock,
    authorise,
    capture,
    events_of,
    initiate,
    open_book,
    place,
    purchase,
    run,
    succeeded,
    work_in,
)

TERMS = ReleaseTerms(commission_rate=Decimal("0.10"), rate_version="2026")


def shop(*more: Reactor, world: FakeWorld | None = None) -> tuple[Book, Clock, FakeWorld]:
    clock, world = Clock(), world or FakeWorld()
    reactors = (PaymentOperations(), Confirmation(), Cancellation(), Refunds(), *more)
    book = open_book(clock).wire(Wiring(ports=world.ports, reactors=reactors))
    book.machinery.settle()
    return book, clock, world


def refused(book: Book) -> list[str]:
    return [one.error for one in work_in(book, Lane.OUTBOX, WorkStatus.REFUSED, WorkStatus.DEAD)]


def test_an_order_from_the_payment_to_its_end() -> None:
    """Catches a step between payment, delivery, release and completion that nobody takes."""
    book, clock, _ = shop(Releases(TERMS))
    run(book, place(), initiate(), purchase())
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CONFIRMED
    of: dict[str, Any] = {"fulfilment_id": "f1", "order_id": "o1"}
    lines = (MovedLine("a", 2),)
    run(book, CreateFulfilment(**of, lines=lines, location="here"))
    run(book, DispatchFulfilment(**of, carrier="dhl"), RecordDelivered(**of))
    book.machinery.settle()
    assert book.order("o1").released == 0
    clock.move(days=14)
    book.machinery.settle()
    assert book.read.balance("liabilities:seller:s1") == {"USD": -TOTAL * 9 // 10}
    assert book.read.balance("income:commission") == {"USD": -TOTAL // 10}
    clock.move(days=14)
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.COMPLETED
    assert refused(book) == []
    assert book.read.clearing() == []
    assert list(book.read.verify()) == []


def test_a_hold_delays_the_confirmation() -> None:
    """Catches an order under suspicion that is confirmed, or stays unconfirmed once it is not."""
    book, _, _ = shop()
    run(book, place(), HoldOrder(order_id="o1", rule_id="h", reason="r", by="b"))
    run(book, initiate(), authorise())
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.PLACED
    run(book, ReleaseHold(order_id="o1", rule_id="h", reason="r", by="b"))
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CONFIRMED
    assert refused(book) == []


def test_a_cancellation_waits_for_what_is_in_flight() -> None:
    """Catches a cancellation that is finished before a capture has an outcome (hard case 8)."""
    book, clock, world = shop()
    run(book, place(), initiate(), authorise())
    book.machinery.settle()
    world.gateway.fail(Failure.LATE)
    run(book, capture())
    book.machinery.settle()
    run(book, CancelOrder(order_id="o1", reason="changed mind", by="buyer"))
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CANCELLING
    clock.move(minutes=5)
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CANCELLED
    assert book.payment("p1").refunded == TOTAL
    assert refused(book) == []
    assert book.read.clearing() == []


def test_a_void_that_is_declined_is_left_to_a_person() -> None:
    """Catches a cancellation that asks a provider to void for ever."""
    book, _, world = shop()
    run(book, place(), initiate(), authorise())
    book.machinery.settle()
    world.gateway.fail(Failure.DECLINED)
    run(book, CancelOrder(order_id="o1", reason="changed mind", by="buyer"))
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CANCELLING
    assert len(world.gateway.requests) == 2
    run(book, Void(payment_id="p1", op_id="by-hand", currency="USD"))
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.CANCELLED


def test_money_that_comes_late_goes_back() -> None:
    """Catches money for an order that is over and that nobody gives back (hard case 7)."""
    book, clock, _ = shop(LatePayments())
    run(book, place(payment_due_at=START + timedelta(hours=1)), initiate())
    clock.move(hours=2)
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.EXPIRED
    late = RecordProviderOperation(
        payment_id="p1",
        kind=OperationKind.PURCHASE,
        provider_ref="late",
        amount=TOTAL,
        currency="USD",
    )
    run(book, late, late)
    book.machinery.settle()
    assert book.payment("p1").refunded == TOTAL
    assert book.read.clearing() == []
    assert refused(book) == []


def test_an_authorisation_that_comes_late_is_voided() -> None:
    """Catches a buyer's money that stays held for an order that is over."""
    book, clock, world = shop(LatePayments())
    world.gateway.fail(Failure.PENDING)
    run(book, place(payment_due_at=START + timedelta(hours=1)), initiate(), authorise())
    book.machinery.settle()
    clock.move(hours=2)
    book.machinery.settle()
    assert book.order("o1").lifecycle is Lifecycle.EXPIRED
    world.gateway.settle("p1/auth")
    run(book, *world.gateway.notifications())
    book.machinery.settle()
    assert book.payment("p1").capturable == 0
    assert "AuthorisationVoided" in events_of(book, "payment-p1")
    assert refused(book) == []


def test_a_refund_in_another_currency() -> None:
    """Catches a refund of a converted payment that gives back as many cents of another money."""
    book, _, _ = shop()
    quote = FxQuote("q", TOTAL, "USD", Decimal("0.9"))
    run(
        book,
        place(),
        InitiatePayment(
            payment_id="p1",
            order_id="o1",
            provider="psp",
            method="card",
            amount=1_800,
            currency="EUR",
            fx=quote,
        ),
        Purchase(payment_id="p1", op_id="buy", amount=1_800, currency="EUR"),
    )
    book.machinery.settle()
    grant = GrantRefund(
        order_id="o1",
        refund_id="r1",
        reason="damaged",
        source=RefundSource.PRICE,
        adjustment=500,
    )
    run(book, grant)
    book.machinery.settle()
    assert refused(book) == []
    assert book.payment("p1").refunded == 450
    assert book.order("o1").grants["r1"].status is GrantStatus.SETTLED


def test_stock_is_reserved_and_given_up() -> None:
    """Catches stock that is sold twice, or that an order which is over keeps."""
    world = FakeWorld(inventory=FakeInventory({"sku-a": 3}))
    book, clock, _ = shop(Stock(), world=world)
    due = START + timedelta(hours=1)
    run(book, place(stock_policy=StockPolicy.BACKORDER, payment_due_at=due))
    run(book, place("o2", stock_policy=StockPolicy.BACKORDER), place("o3"))
    book.machinery.settle()
    assert len(book.order("o1").reservations) == 1
    assert "StockReservationFailed" in events_of(book, "order-o2")
    assert events_of(book, "order-o3") == ["OrderPlaced"]
    assert world.inventory.stock == {"sku-a": 1}
    clock.move(hours=2)
    book.machinery.settle()
    assert world.inventory.stock == {"sku-a": 3}
    assert refused(book) == []


def test_a_suspicious_order_is_held() -> None:
    """Catches an answer of the risk assessment that nobody acts on."""
    world = FakeWorld(risk=FakeRiskAssessment(suspicious_from=TOTAL + 1))
    book, _, _ = shop(Risk(), world=world)
    run(book, place())
    book.machinery.settle()
    assert book.order("o1").holds == ()
    strict = FakeWorld(risk=FakeRiskAssessment(suspicious_from=1))
    book, _, _ = shop(Risk(), world=strict)
    run(book, place())
    book.machinery.settle()
    assert book.order("o1").holds == ("risk",)


def test_an_alert_is_closed_when_nothing_is_left() -> None:
    """Catches an anomaly that stays open after its authorisation was captured."""
    clock, world = Clock(), FakeWorld()
    book = open_book(clock).wire(Wiring(ports=world.ports, reactors=(ExpiryAlerts(),)))
    book.machinery.settle()
    run(book, place(), initiate(), authorise())
    run(book, succeeded("p1", "auth", expires_at=START + timedelta(days=10)))
    clock.move(days=8)
    book.machinery.settle()
    assert book.payment("p1").anomalies == ("AuthorisationExpiring:auth",)
    run(book, capture(), succeeded("p1", "capture"))
    book.machinery.settle()
    assert book.payment("p1").anomalies == ()


def test_blobs_are_named_by_what_they_are() -> None:
    """Catches a fake that keeps two blobs under one name, or one under two."""
    blobs = FakeEvidenceBlobs()
    name = blobs.put(b"photo")
    assert blobs.put(b"photo") == name
    assert blobs.get(name) == b"photo"
