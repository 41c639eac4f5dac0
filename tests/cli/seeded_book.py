"""A book whose ids and clocks are fixed: an order that is paid, shipped in part and refunded."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from orderledger.ledger import accounts, recipes_payment
from orderledger.ledger.fulfilment_events import FulfilmentCreated
from orderledger.ledger.journal import EMPTY, entry
from orderledger.ledger.journal import Posting as Leg
from orderledger.ledger.order_content import OrderLine, Tax, Totals
from orderledger.ledger.order_events import (
    FundsHeld,
    MovedLine,
    MoveKind,
    OrderConfirmed,
    OrderLinesMoved,
    OrderPlaced,
    PaymentLinked,
)
from orderledger.ledger.payment_events import (
    CaptureMode,
    OperationRequested,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentInitiated,
)
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.ports import EventStore
from tests.seeding import Fact, Seeder, posted

ORDER = "order-o1"
PAYMENT = "payment-p1"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
GATEWAY = (
    '{"actor":{"type":"gateway","id":"adyen"},"key":"n1","source":"gateway",'
    '"provider_event_id":"evt_1"}'
)


def seed(store: EventStore) -> None:
    """Append the same events with the same ids and instants, whatever the engine."""
    seeder = Seeder(store)
    seeder.append(Fact(ORDER, _placed(), EMPTY, NOON))
    seeder.append(*_initiated())
    seeder.append(_requested("a1", OperationKind.AUTHORISE, 12_325))
    seeder.append(
        Fact(
            PAYMENT,
            PaymentAuthorised(op_id="a1", amount=12_325, currency="USD", provider_ref="psp_1"),
            recipes_payment.authorised("adyen", "o1", 12_325, "USD"),
            NOON + timedelta(minutes=1),
        ),
        Fact(
            ORDER,
            OrderConfirmed(policy="authorised", authorised=12_325, charged=0, required=12_325),
            EMPTY,
            NOON + timedelta(minutes=1),
        ),
        context=GATEWAY,
    )
    seeder.append(*_allocated())
    seeder.append(_requested("c1", OperationKind.CAPTURE, 7_325))
    seeder.append(
        Fact(
            PAYMENT,
            PaymentCaptured(
                op_id="c1", amount=7_325, currency="USD", provider_ref="psp_2", parent_op="a1"
            ),
            recipes_payment.captured("adyen", "o1", 7_325, 7_325, "USD"),
            NOON + timedelta(days=1),
        ),
        context=GATEWAY.replace("n1", "n2"),
    )
    _settle(seeder)


def hold(store: EventStore) -> None:
    """Say where the captured money is, which ``seed`` leaves out: from now on the book is sound."""
    held = FundsHeld(slice_id="s1", amount=7_325, payment_id="p1")
    versions = {ORDER: max(row.version for row in store.stream(ORDER))}
    Seeder(store, first=5_000, versions=versions).append(Fact(ORDER, held, EMPTY, NOON))


def _settle(seeder: Seeder) -> None:
    settled = entry(
        Leg(accounts.bank("main"), "USD", 7_083),
        Leg(accounts.GATEWAY_FEES, "USD", 242),
        Leg(accounts.psp("adyen"), "USD", -7_325),
    )
    seeder.append(posted(settled, NOON + timedelta(days=3), entry_id="settlement-1"))
    opening = entry(Leg(accounts.bank("tokyo"), "JPY", 5_000), Leg(accounts.OPENING, "JPY", -5_000))
    seeder.append(posted(opening, NOON - timedelta(days=4), entry_id="opening-1"))


def _placed() -> OrderPlaced:
    tax = (Tax(jurisdiction="US-CA", amount=825),)
    line = OrderLine(
        line_id="l1",
        sku="MUG",
        seller="s1",
        quantity=4,
        unit_price=Decimal("28.75"),
        amount=11_500,
        net=11_500,
        tax=tax,
    )
    totals = Totals(items=11_500, discount=0, tax=825, shipping=0, surcharge=0, tip=0, grand=12_325)
    return OrderPlaced(
        order_id="o1",
        buyer_ref="buyer-1",
        channel="web",
        currency="USD",
        lines=(line,),
        totals=totals,
    )


def _initiated() -> tuple[Fact, Fact]:
    initiated = PaymentInitiated(
        payment_id="p1",
        order_id="o1",
        provider="adyen",
        method="card",
        capture_mode=CaptureMode.MANUAL,
        amount=12_325,
        currency="USD",
        order_version=1,
    )
    linked = PaymentLinked(payment_id="p1", amount=12_325, tender="card")
    return (Fact(PAYMENT, initiated, EMPTY, NOON), Fact(ORDER, linked, EMPTY, NOON))


def _requested(op_id: str, kind: OperationKind, amount: int) -> Fact:
    event = OperationRequested(
        op_id=op_id,
        kind=kind,
        amount=amount,
        currency="USD",
        idempotency_key=f"p1/{op_id}/1",
        parent_op="a1" if kind is OperationKind.CAPTURE else "",
    )
    return Fact(PAYMENT, event, EMPTY, NOON)


def _allocated() -> tuple[Fact, Fact]:
    lines = (MovedLine("l1", 2),)
    created = FulfilmentCreated(
        fulfilment_id="f1", order_id="o1", lines=lines, location="warehouse-1"
    )
    moved = OrderLinesMoved(kind=MoveKind.ALLOCATED, cause="fulfilment-f1", lines=lines)
    at = NOON + timedelta(hours=1)
    return (Fact("fulfilment-f1", created, EMPTY, at), Fact(ORDER, moved, EMPTY, at))
