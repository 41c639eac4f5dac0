"""The numbered hard cases of the field that concern orders, each by its name."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.order_commands import (
    AcceptPriceChange,
    AllocateRefund,
    AllocationStrategy,
    CancelLine,
    CancelOrder,
    ConfirmOrder,
    ConfirmOrderChange,
    CreateOrder,
    ExpireOrder,
    FinishCancellation,
    GrantRefund,
    LatePolicy,
    PlaceOrder,
    ProposeOrderChange,
    RecordLatePayment,
    RecordOrderCancelled,
    WithdrawRefund,
)
from orderledger.commands.payment_commands import (
    InitiatePayment,
    RecordDeclined,
    RecordProviderCapture,
)
from orderledger.ledger.order_content import Discount, ItemAdd, ItemRemove, ItemUpdate, Tax
from orderledger.ledger.order_events import (
    MovedLine,
    MoveKind,
    PaymentPart,
    RefundSource,
)
from orderledger.ledger.orders import Lifecycle
from tests.decided_book import START
from tests.order_book import OrderBook, item, place


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


def grant(refund_id: str, *lines: tuple[str, int], **fields: Any) -> GrantRefund:
    given: dict[str, Any] = {
        "order_id": "o1",
        "reason": "returned",
        "source": RefundSource.RETURN,
        **fields,
    }
    moved = tuple([MovedLine(line_id, quantity) for line_id, quantity in lines])
    return GrantRefund(refund_id=refund_id, lines=moved, **given)


def test_hard_case_07_late_payment_after_expiry_is_refunded_or_reinstates(book: OrderBook) -> None:
    """A payment that succeeds after the order expired and stays with nobody."""
    paid: dict[str, Any] = {"payment_id": "p1", "amount": 5000, "currency": "USD"}
    late: dict[str, Any] = {"order_id": "o1", "payment_id": "p1", "op_id": "c1", "amount": 5000}
    refund = RecordLatePayment(**late, policy=LatePolicy.REFUND, refund_id="r1")
    book.run(place("a 1 x 50.00"))
    book.authorise("p1", 5000)
    book.run(ExpireOrder(order_id="o1", due_at=START))
    book.run(RecordProviderCapture(**paid, provider_ref="ref-9"))
    assert book.order().late_ops != ()
    assert "RefundGranted" in book.did(refund)
    assert book.order().grants["r1"].total == 5000
    assert book.did(refund) == []
    other = OrderBook()
    other.run(place("a 1 x 50.00"))
    other.run(ExpireOrder(order_id="o1", due_at=START))
    back = RecordLatePayment(**late, policy=LatePolicy.REINSTATE, stock_reservation="s9")
    assert other.did(back) == ["LatePaymentDetected", "OrderReinstated"]
    assert other.order().lifecycle is Lifecycle.PLACED


def test_hard_case_12_a_failed_refund_does_not_count(book: OrderBook) -> None:
    """A declined refund that lowers what the buyer can still get."""
    book.confirmed("a 2 x 30.00")
    book.pay("p1", 6000)
    book.run(grant("r1", ("a", 1)))
    book.run(AllocateRefund(order_id="o1", refund_id="r1"))
    op_id = book.refund("p1", "r1", 3000)
    book.run(RecordDeclined(payment_id="p1", op_id=op_id, code="no"))
    refund = book.order().grants["r1"]
    assert (refund.status, refund.outstanding, refund.attempts) == ("failed", 3000, 1)
    assert book.states["payment-p1"].refundable == 6000


def test_hard_case_18_partial_shipment_partial_refund_discount_tax(book: OrderBook) -> None:
    """Discount and tax lost or doubled when a partly shipped order is partly refunded."""
    book.confirmed(
        item("a 3 x 33.33", tax=(Tax("NY", 825),)),
        item("b 1 x 20.00", tax=(Tax("NY", 165),)),
        discounts=(Discount("code", 1000),),
    )
    order = book.order()
    assert order.totals.grand == 9999 + 2000 + 825 + 165 - 1000
    book.pay("p1", order.totals.grand)
    book.move(MoveKind.SHIPPED, ("a", 2))
    book.run(CancelLine(order_id="o1", line_id="a", quantity=1, refund_id="c1"))
    cancelled = book.order().grants["c1"].total
    refunds = []
    for number in (1, 2):
        book.run(grant(f"r{number}", ("a", 1)))
        refunds.append(book.order().grants[f"r{number}"].total)
    book.run(grant("r3", ("b", 1)))
    refunds.append(book.order().grants["r3"].total)
    assert cancelled + sum(refunds) == order.totals.grand
    assert book.order().due == 0
    assert book.refusal(grant("r4", ("a", 1))) == "quantity_exceeds_available"


def test_hard_case_19_rounding_never_loses_cents(book: OrderBook) -> None:
    """Refunding 10.00 over three units as 3 × 3.33."""
    book.confirmed(item("a 3 x 10.00", discounts=(Discount("bundle", 2000),)))
    book.pay("p1", 1000)
    totals = []
    for number in (1, 2, 3):
        book.run(grant(f"r{number}", ("a", 1)))
        totals.append(book.order().grants[f"r{number}"].total)
    assert totals == [333, 334, 333]


def test_hard_case_21_sub_minor_prices_round_once_at_the_line(book: OrderBook) -> None:
    """A price of 0.001 rounded per unit, which makes 1,000 units cost nothing."""
    book.run(place(item("a 1000 x 0.001"), item("b 3 x 0.005"), currency="GBP"))
    lines = book.order().lines
    assert (lines["a"].line.amount, lines["b"].line.amount) == (100, 2)


def test_hard_case_22_concurrent_modify_and_cancel(book: OrderBook) -> None:
    """A change that is applied to content that moved on since it was proposed."""
    book.confirmed("a 5 x 10.00")
    change = ProposeOrderChange(
        order_id="o1", change_id="c1", base_version=1, actions=(ItemUpdate("a", 7),)
    )
    book.run(change)
    second = ProposeOrderChange(
        order_id="o1", change_id="c2", base_version=1, actions=(ItemUpdate("a", 6),)
    )
    assert book.refusal(second) == "change_already_open"
    book.run(CancelLine(order_id="o1", line_id="a", quantity=1))
    confirm = ConfirmOrderChange(order_id="o1", change_id="c1")
    assert book.refusal(confirm) == "stale_base_version"
    book.run(CancelOrder(order_id="o1", reason="buyer", by="b1"))
    assert book.refusal(confirm) == "wrong_state"


def test_hard_case_23_add_then_remove_refunds_only_the_balance(book: OrderBook) -> None:
    """A refund from the difference of two edits, of money that was never paid."""
    book.confirmed("a 1 x 50.00")
    book.pay("p1", 5000)
    for number, action in ((1, ItemAdd(item("b 1 x 10.00"))), (2, ItemRemove("b"))):
        book.run(
            ProposeOrderChange(
                order_id="o1", change_id=f"c{number}", base_version=number, actions=(action,)
            )
        )
        done = book.did(ConfirmOrderChange(order_id="o1", change_id=f"c{number}"))
        assert done == ["OrderChangeConfirmed"]
    assert book.order().grants == {}
    book.run(
        ProposeOrderChange(
            order_id="o1",
            change_id="c3",
            base_version=3,
            actions=(ItemUpdate("a", 1, Decimal("45.00")),),
        )
    )
    done = book.did(ConfirmOrderChange(order_id="o1", change_id="c3"))
    assert done == ["OrderChangeConfirmed", "RefundGranted"]
    assert book.order().grants["change-c3"].total == 500


def test_hard_case_24_a_stale_quote_must_be_confirmed_anew(book: OrderBook) -> None:
    """An order placed, or paid, at prices that are no longer offered."""
    until = START - timedelta(minutes=1)
    book.run(
        CreateOrder(
            order_id="o1",
            buyer_ref="b1",
            currency="USD",
            quote_id="q1",
            valid_until=until,
            lines=(item("a 1 x 10.00"),),
        )
    )
    assert book.refusal(PlaceOrder(order_id="o1")) == "quote_expired"
    book.run(
        AcceptPriceChange(
            order_id="o1", old_quote_id="q1", new_quote_id="q2", lines=(item("a 1 x 12.00"),)
        )
    )
    assert book.refusal(PlaceOrder(order_id="o1", quote_id="q1")) == "quote_mismatch"
    book.run(PlaceOrder(order_id="o1", quote_id="q2"))
    assert book.order().total == 1200
    stale = InitiatePayment(
        payment_id="p1",
        order_id="o1",
        provider="psp1",
        method="card",
        amount=1000,
        currency="USD",
        quote_id="q1",
    )
    assert book.refusal(stale) == "quote_mismatch"


def test_hard_case_25_a_payment_belongs_to_one_order(book: OrderBook) -> None:
    """A refund of one order allocated to the payment of another."""
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1000)
    book.run(place("a 1 x 10.00", order_id="o2"))
    book.pay("p2", 1000, order_id="o2")
    book.run(grant("r1", ("a", 1)))
    explicit = AllocateRefund(
        order_id="o1",
        refund_id="r1",
        strategy=AllocationStrategy.EXPLICIT,
        parts=(PaymentPart("p2", 1000),),
    )
    assert book.refusal(explicit) == "bound_to_another_order"


def test_hard_case_30_cancelled_after_shipping_is_refused_but_recorded(book: OrderBook) -> None:
    """An importer that cannot take over an order that was delivered and yet cancelled."""
    book.confirmed("a 1 x 10.00")
    book.move(MoveKind.SHIPPED, ("a", 1))
    cancel = CancelOrder(order_id="o1", reason="buyer", by="b1")
    assert book.refusal(cancel) == "quantity_exceeds_available"
    report = RecordOrderCancelled(order_id="o1", reason="unavailable", by="import")
    assert book.did(report) == ["OrderCancelled", "AnomalyRaised"]
    assert book.order().lifecycle is Lifecycle.CANCELLED
    assert book.order().anomalies == ("CancelledAfterShipping:o1:a",)
    assert book.did(report) == []


def test_hard_case_34_multi_tender_refund_goes_where_it_was_allocated(book: OrderBook) -> None:
    """A refund that goes to the wrong tender, or leaves the order of tenders to chance."""
    book.confirmed("a 1 x 100.00")
    book.pay("card", 7000)
    book.pay("gift", 3000, method="voucher")
    expected = {
        AllocationStrategy.VOUCHER_FIRST: {"gift": 3000, "card": 1000},
        AllocationStrategy.VOUCHER_LAST: {"card": 4000},
        AllocationStrategy.PROPORTIONAL: {"card": 2800, "gift": 1200},
    }
    for number, (strategy, parts) in enumerate(expected.items()):
        refund_id = f"r{number}"
        book.run(grant(refund_id, adjustment=4000))
        book.run(AllocateRefund(order_id="o1", refund_id=refund_id, strategy=strategy))
        assert book.order().grants[refund_id].allocations == parts
        book.run(WithdrawRefund(order_id="o1", refund_id=refund_id, reason="test"))


def test_cancellation_with_captured_money_is_complete_once_it_is_granted(book: OrderBook) -> None:
    """An order that counts as cancelled while its money is still held by somebody."""
    book.run(place("a 1 x 100.00"))
    book.pay("p1", 6000)
    book.authorise("p2", 4000)
    book.run(ConfirmOrder(order_id="o1"))
    book.run(CancelOrder(order_id="o1", reason="buyer", by="b1"))
    finish = FinishCancellation(order_id="o1", refund_id="r1")
    assert book.refusal(finish) == "wrong_state"
    book.void("p2")
    assert book.did(finish) == ["RefundGranted", "OrderCancelled"]
    assert book.order().grants["r1"].total == 6000
    assert book.did(finish) == []
