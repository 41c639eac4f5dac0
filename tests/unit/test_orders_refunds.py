"""Granted refunds: limits, allocation to tenders, withdrawal, failures and other means."""

from typing import Any

import pytest

from orderledger.commands.decision import Command
from orderledger.commands.order_commands import (
    AllocateRefund,
    AllocationStrategy,
    CancelLine,
    GrantRefund,
    RefundByAlternativeMeans,
    WithdrawRefund,
)
from orderledger.commands.payment_commands import RecordDeclined, RecordReversed
from orderledger.ledger import accounts
from orderledger.ledger.order_content import Discount, ShippingCharge, Tax
from orderledger.ledger.order_events import MovedLine, PaymentPart, RefundSource
from orderledger.ledger.order_refunds import GrantStatus
from tests.order_book import OrderBook, item, place


@pytest.fixture
def book() -> OrderBook:
    """An order of 3 × 33.33 and 20.00, tax 8.25, shipping 10.00, discount 10.00, paid."""
    one = OrderBook()
    one.confirmed(
        item("a 3 x 33.33", tax=(Tax("NY", 825),)),
        "b 1 x 20.00",
        shipping=(ShippingCharge("x", "s1", 1000),),
        discounts=(Discount("code", 1000),),
    )
    one.pay("p1", 12824)
    return one


def grant(refund_id: str = "r1", *lines: tuple[str, int], **fields: Any) -> GrantRefund:
    given: dict[str, Any] = {"order_id": "o1", "source": RefundSource.RETURN, **fields}
    moved = tuple([MovedLine(line_id, quantity) for line_id, quantity in lines])
    return GrantRefund(refund_id=refund_id, reason="back", lines=moved, **given)


def allocate(refund_id: str = "r1", **fields: Any) -> AllocateRefund:
    return AllocateRefund(order_id="o1", refund_id=refund_id, **fields)


def explicit(refund_id: str, *parts: tuple[str, int]) -> AllocateRefund:
    listed = tuple([PaymentPart(payment_id, amount) for payment_id, amount in parts])
    return allocate(refund_id, strategy=AllocationStrategy.EXPLICIT, parts=listed)


WITHDRAW = WithdrawRefund(order_id="o1", refund_id="r1", reason="mistake")
OTHERWISE = RefundByAlternativeMeans(
    order_id="o1", refund_id="r1", method="transfer", reference="t1", bank="main", by="u1"
)


def test_a_grant_computes_net_tax_and_discount_of_its_units(book: OrderBook) -> None:
    """A refund at list price of what was sold at a discount, or without its tax."""
    book.run(grant("r1", ("a", 1), shipping=400, adjustment=-100, total=3055 + 275 + 300))
    refund = book.order().grants["r1"]
    assert (refund.lines[0].net, refund.lines[0].tax, refund.lines[0].discount) == (3055, 275, 278)


TOO_MUCH = "amount_exceeds_available"

GRANTS: list[tuple[str, list[Command], GrantRefund, str]] = [
    ("nothing", [], grant("r1"), "amount_not_positive"),
    ("below zero", [], grant("r1", ("b", 1), adjustment=-9000), "amount_not_positive"),
    ("negative shipping", [], grant("r1", shipping=-1), "InvalidCommand"),
    ("float", [], grant("r1", adjustment=0.5), "InvalidMoney"),
    ("a line twice", [], grant("r1", ("a", 1), ("a", 1)), "InvalidCommand"),
    ("zero units", [], grant("r1", ("a", 0)), "InvalidCommand"),
    ("surplus with lines", [], grant("r1", ("a", 1), source=RefundSource.CANCEL), "InvalidCommand"),
    ("no order", [], grant("r1", ("a", 1), order_id="o9"), "NotFound"),
    ("unknown line", [], grant("r1", ("z", 1)), "not_found"),
    ("units", [], grant("r1", ("a", 4)), "quantity_exceeds_available"),
    ("units again", [grant("r0", ("a", 2))], grant("r1", ("a", 2)), "quantity_exceeds_available"),
    ("shipping", [], grant("r1", shipping=1001), TOO_MUCH),
    ("shipping again", [grant("r0", shipping=600)], grant("r1", shipping=401), TOO_MUCH),
    ("expected", [], grant("r1", ("b", 1), total=2000), "amount_mismatch"),
    ("more than charged", [], grant("r1", adjustment=12825), TOO_MUCH),
    ("no surplus", [], grant("r1", adjustment=1, source=RefundSource.OVERPAYMENT), TOO_MUCH),
    ("of a ruling", [], grant("r1", ("a", 1), source=RefundSource.RULING), "wrong_state"),
    ("same id", [grant("r1", ("a", 1))], grant("r1", ("a", 2)), "already_exists"),
]


@pytest.mark.parametrize(
    ("given", "when", "then"), [row[1:] for row in GRANTS], ids=[row[0] for row in GRANTS]
)
def test_grants_that_cannot_be(
    given: list[Command], when: GrantRefund, then: str, book: OrderBook
) -> None:
    """A refund beyond what a line, shipping or the whole order charged."""
    for command in given:
        book.run(command)
    assert book.refusal(when) == then


def test_a_repeated_grant_is_one_grant(book: OrderBook) -> None:
    """A retry with a new key that promises the money twice."""
    assert book.did(grant("r1", ("a", 1))) == ["RefundGranted"]
    assert book.did(grant("r1", ("a", 1))) == []


def test_a_draft_has_nothing_to_give_back() -> None:
    """A refund of an order that was never placed."""
    book = OrderBook()
    book.run(place("a 1 x 1.00"))
    assert book.refusal(grant("r1", ("a", 1))) == TOO_MUCH


ALLOCATIONS: list[tuple[str, AllocateRefund, str]] = [
    ("unknown", allocate("r9"), "not_found"),
    ("parts missing", explicit("r1"), "InvalidCommand"),
    ("parts unasked", allocate("r1", parts=(PaymentPart("p1", 1),)), "InvalidCommand"),
    ("part twice", explicit("r1", ("p1", 1), ("p1", 2)), "InvalidCommand"),
    ("part zero", explicit("r1", ("p1", 0)), "InvalidCommand"),
    ("sum", explicit("r1", ("p1", 999)), "amount_mismatch"),
    ("stranger", explicit("r1", ("p9", 12824)), "bound_to_another_order"),
]


@pytest.mark.parametrize(
    ("when", "then"), [row[1:] for row in ALLOCATIONS], ids=[row[0] for row in ALLOCATIONS]
)
def test_allocations_that_cannot_be(when: AllocateRefund, then: str, book: OrderBook) -> None:
    """Parts that do not sum to the grant, or of a payment that is not the order's."""
    book.run(grant("r1", adjustment=12824))
    assert book.refusal(when) == then


def test_two_grants_do_not_count_on_the_same_money(book: OrderBook) -> None:
    """Two refunds allocated to a payment that can pay one of them."""
    second = OrderBook()
    second.confirmed("a 2 x 50.00")
    second.pay("p1", 6000)
    second.pay("p2", 4000)
    second.run(grant("r1", ("a", 1)))
    second.run(grant("r2", ("a", 1)))
    second.run(explicit("r1", ("p1", 5000)))
    assert second.refusal(explicit("r2", ("p1", 5000))) == TOO_MUCH
    second.run(allocate("r2", strategy=AllocationStrategy.PROPORTIONAL))
    assert second.order().grants["r2"].allocations == {"p1": 1000, "p2": 4000}
    assert second.did(explicit("r1", ("p1", 5000))) == []
    assert second.refusal(explicit("r1", ("p2", 5000))) == "wrong_state"


def test_withdrawal_gives_the_units_free_and_only_before_a_request(book: OrderBook) -> None:
    """A promise taken back while the provider already pays it."""
    book.run(grant("r1", ("a", 2)))
    assert book.did(WITHDRAW) == ["RefundGrantWithdrawn"]
    assert book.did(WITHDRAW) == []
    assert book.order().lines["a"].granted == 0
    book.run(grant("r2", ("a", 3)))
    book.run(allocate("r2"))
    book.refund("p1", "r2", book.order().grants["r2"].total)
    withdraw = WithdrawRefund(order_id="o1", refund_id="r2", reason="mistake")
    assert book.refusal(withdraw) == "operation_in_flight"
    missing = WithdrawRefund(order_id="o1", refund_id="r9", reason="mistake")
    assert book.refusal(missing) == "not_found"


def test_a_refund_is_settled_part_by_part(book: OrderBook) -> None:
    """A refund that counts as settled while one tender has not paid."""
    second = OrderBook()
    second.confirmed("a 1 x 100.00")
    second.pay("p1", 6000)
    second.pay("p2", 4000)
    second.run(grant("r1", ("a", 1)))
    second.run(allocate("r1"))
    for payment_id, amount, status in (("p1", 6000, "processing"), ("p2", 4000, "settled")):
        second.succeed(payment_id, second.refund(payment_id, "r1", amount))
        assert second.order().grants["r1"].status == status
    assert second.refusal(WITHDRAW) == "wrong_state"
    assert second.order().refund_outstanding == 0
    assert second.balance(accounts.refunds("o1")) == 0


def test_what_failed_after_success_is_paid_by_other_means(book: OrderBook) -> None:
    """A refund that the provider took back and that nobody pays again."""
    book.run(grant("r1", ("b", 1)))
    total = book.order().grants["r1"].total
    assert book.refusal(OTHERWISE) == "wrong_state"
    book.run(allocate("r1"))
    op_id = book.refund("p1", "r1", total)
    book.succeed("p1", op_id)
    book.run(RecordReversed(payment_id="p1", op_id=op_id, cause="account closed"))
    refund = book.order().grants["r1"]
    assert (refund.status, refund.owed_again) == (GrantStatus.FAILED_AFTER_SUCCESS, total)
    assert book.balance(accounts.refunds("o1")) == -total
    assert book.did(OTHERWISE) == ["RefundSettledExternally"]
    assert book.order().grants["r1"].status is GrantStatus.SETTLED
    assert book.balance(accounts.refunds("o1")) == 0
    assert book.balance(accounts.bank("main")) == -total
    assert book.did(OTHERWISE) == []


def test_what_was_declined_and_is_paid_from_the_bank_leaves_escrow(book: OrderBook) -> None:
    """Money paid from the bank while escrow still holds the same money."""
    book.run(grant("r1", ("b", 1)))
    total = book.order().grants["r1"].total
    book.run(allocate("r1"))
    held = book.order().escrow_held
    op_id = book.refund("p1", "r1", total)
    assert book.refusal(OTHERWISE) == "wrong_state"
    book.run(RecordDeclined(payment_id="p1", op_id=op_id, code="no"))
    assert book.order().escrow_held == held
    assert book.did(OTHERWISE) == ["RefundSettledExternally", "FundsReturned"]
    assert book.order().grants["r1"].status is GrantStatus.SETTLED
    assert book.order().escrow_held == held - total == -book.balance(accounts.escrow("o1"))
    assert book.balance(accounts.refunds("o1")) == 0
    assert book.balance(accounts.bank("main")) == -total
    assert book.did(OTHERWISE) == []


def test_a_surplus_can_be_granted_once(book: OrderBook) -> None:
    """An overpayment that is given back twice, or never."""
    second = OrderBook()
    second.confirmed("a 1 x 10.00")
    second.pay("p1", 1500, is_over_tender=True)
    over = grant("r1", adjustment=500, source=RefundSource.OVERPAYMENT)
    assert second.did(over) == ["RefundGranted"]
    again = grant("r2", adjustment=1, source=RefundSource.OVERPAYMENT)
    assert second.refusal(again) == TOO_MUCH
    assert second.order().due == 1000


def test_refunded_units_cannot_be_cancelled_as_well(book: OrderBook) -> None:
    """Units that are given back twice, once refunded and once cancelled."""
    book.run(grant("r1", ("a", 2)))
    both = CancelLine(order_id="o1", line_id="a", quantity=2)
    assert book.refusal(both) == "quantity_exceeds_available"
    one = CancelLine(order_id="o1", line_id="a", quantity=1)
    assert book.did(one) == ["OrderLineCancelled", "RefundGranted"]
