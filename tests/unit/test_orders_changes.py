"""Changes of a placed order's content, cancelled lines and the refunds that follow from them."""

from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.order_commands import (
    CancelLine,
    CancelOrderChange,
    ConfirmOrderChange,
    DeclineOrderChange,
    GrantRefund,
    ProposeOrderChange,
)
from orderledger.ledger.order_content import (
    AdjustmentAdd,
    AdjustmentRemove,
    ChangeAction,
    Discount,
    ItemAdd,
    ItemRemove,
    ItemUpdate,
    Reinstate,
    ShippingAdd,
    ShippingCharge,
    ShippingRemove,
    Surcharge,
    SurchargeAdd,
    Tax,
    WriteOff,
)
from orderledger.ledger.order_events import (
    MovedLine,
    MoveKind,
    OrderChangeProposed,
    OrderLineCancelled,
    Proration,
    RefundSource,
)
from tests.order_book import OrderBook, item

SHIPPING = (ShippingCharge("x", "s1", 900), ShippingCharge("y", "s1", 100))


@pytest.fixture
def book() -> OrderBook:
    one = OrderBook()
    return one.confirmed(
        item("a 4 x 10.00", tax=(Tax("NY", 330),)),
        item("b 1 x 5.00", discounts=(Discount("half", 250),)),
        shipping=SHIPPING,
    )


def propose(*actions: ChangeAction, **fields: Any) -> ProposeOrderChange:
    given: dict[str, Any] = {"order_id": "o1", "change_id": "c1", "base_version": 1, **fields}
    return ProposeOrderChange(actions=actions, **given)


CONFIRM = ConfirmOrderChange(order_id="o1", change_id="c1")

DELTAS: list[tuple[str, tuple[ChangeAction, ...], int]] = [
    ("ITEM_ADD", (ItemAdd(item("c 2 x 1.50")),), 300),
    ("ITEM_REMOVE", (ItemRemove("b"),), -250),
    ("ITEM_UPDATE fewer", (ItemUpdate("a", 3),), -1082),
    ("ITEM_UPDATE more", (ItemUpdate("a", 8),), 4330),
    ("ITEM_UPDATE price", (ItemUpdate("a", 4, Decimal("9.00"), None, (Tax("NY", 297),)),), -433),
    ("SHIPPING_ADD", (ShippingAdd(ShippingCharge("z", "s1", 50, tax=(Tax("NY", 4),))),), 54),
    ("SHIPPING_REMOVE", (ShippingRemove("x"),), -900),
    ("WRITE_OFF", (WriteOff("a", 1),), 0),
    ("WRITE_OFF, REINSTATE", (WriteOff("a", 2), Reinstate("a", 1)), 0),
    ("ADJUSTMENT_ADD line", (AdjustmentAdd(Discount("sorry", 100), "a"),), -100),
    ("ADJUSTMENT_ADD order", (AdjustmentAdd(Discount("sorry", 4250)),), -4250),
    ("ADJUSTMENT_REMOVE", (AdjustmentRemove("half"),), 250),
    ("SURCHARGE_ADD", (SurchargeAdd(Surcharge("gift", "s1", 300)),), 300),
    ("several", (ItemAdd(item("c 1 x 1")), ItemRemove("c"), ItemRemove("b")), -250),
]


@pytest.mark.parametrize(
    ("actions", "delta"), [row[1:] for row in DELTAS], ids=[row[0] for row in DELTAS]
)
def test_a_change_costs_what_was_proposed(
    actions: tuple[ChangeAction, ...], delta: int, book: OrderBook
) -> None:
    """A difference that is shown and another that is applied."""
    before = book.order().total
    proposed = book.run(propose(*actions))[0].event
    assert isinstance(proposed, OrderChangeProposed)
    assert proposed.delta == delta
    assert book.order().total == before
    assert book.did(CONFIRM) == ["OrderChangeConfirmed"]
    assert book.order().total == before + delta
    assert (book.order().version, book.order().open_change) == (2, None)
    assert book.did(CONFIRM) == []


REFUSED: list[tuple[str, tuple[ChangeAction, ...], str]] = [
    ("no action", (), "empty_order"),
    ("add a known line", (ItemAdd(item("a 1 x 1")),), "already_exists"),
    ("remove an unknown line", (ItemRemove("z"),), "not_found"),
    ("remove what was shipped", (ItemRemove("a"),), "quantity_exceeds_available"),
    ("fewer than shipped", (ItemUpdate("a", 1),), "quantity_exceeds_available"),
    ("update an unknown line", (ItemUpdate("z", 1),), "not_found"),
    (
        "a line below zero",
        (ItemUpdate("b", 1, Decimal("1.00"), (Discount("d", 101),)),),
        "totals_do_not_add_up",
    ),
    ("shipping twice", (ShippingAdd(SHIPPING[0]),), "already_exists"),
    ("unknown shipping", (ShippingRemove("z"),), "not_found"),
    ("write off too much", (WriteOff("a", 5),), "quantity_exceeds_available"),
    ("reinstate nothing", (Reinstate("a", 1),), "quantity_exceeds_available"),
    ("discount too much", (AdjustmentAdd(Discount("d", 251), "b"),), "amount_exceeds_available"),
    ("unknown discount", (AdjustmentRemove("none"),), "not_found"),
    (
        "surcharge twice",
        (SurchargeAdd(Surcharge("g", "s1", 1)), SurchargeAdd(Surcharge("g", "s1", 1))),
        "already_exists",
    ),
    ("malformed line", (ItemAdd(item("c 0 x 1")),), "InvalidCommand"),
    ("malformed quantity", (ItemUpdate("a", 0),), "InvalidCommand"),
    ("malformed discount", (AdjustmentAdd(Discount("d", -1)),), "InvalidCommand"),
    ("malformed surcharge", (SurchargeAdd(Surcharge("g", "s1", 0)),), "InvalidCommand"),
    ("malformed shipping", (ShippingAdd(ShippingCharge("z", "s1", -1)),), "InvalidCommand"),
    ("malformed write-off", (WriteOff("a", -1),), "InvalidCommand"),
]


@pytest.mark.parametrize(
    ("actions", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_actions_that_cannot_be(
    actions: tuple[ChangeAction, ...], reason: str, book: OrderBook
) -> None:
    """A change below what was fulfilled, or of things that are not there."""
    book.move(MoveKind.SHIPPED, ("a", 2))
    assert book.refusal(propose(*actions)) == reason


def test_an_order_is_not_emptied_by_a_change(book: OrderBook) -> None:
    """An order of nothing, which is a cancellation that nobody asked for."""
    assert book.refusal(propose(ItemRemove("a"), ItemRemove("b"))) == "empty_order"


def test_one_change_at_a_time_on_the_current_version(book: OrderBook) -> None:
    """Two edits that overwrite each other."""
    assert book.refusal(propose(ItemRemove("b"), base_version=2)) == "stale_base_version"
    book.run(propose(ItemRemove("b")))
    assert book.did(propose(ItemRemove("b"))) == []
    assert book.refusal(propose(ItemUpdate("a", 5))) == "already_exists"
    assert book.refusal(propose(ItemRemove("b"), change_id="c2")) == "change_already_open"
    other = ConfirmOrderChange(order_id="o1", change_id="c2")
    assert book.refusal(other) == "not_found"


def test_declined_and_cancelled_changes_leave_no_trace_in_the_content(book: OrderBook) -> None:
    """A change that takes effect although nobody agreed."""
    decline = DeclineOrderChange(order_id="o1", change_id="c1", reason="no", by="b1")
    cancel = CancelOrderChange(order_id="o1", change_id="c2", reason="no", by="u1")
    assert book.refusal(decline) == "not_found"
    assert book.refusal(cancel) == "not_found"
    before = book.order().totals
    book.run(propose(ItemRemove("b")))
    assert book.did(decline) == ["OrderChangeDeclined"]
    assert book.did(decline) == []
    book.run(propose(ItemRemove("b"), change_id="c2"))
    assert book.did(cancel) == ["OrderChangeCancelled"]
    assert book.did(cancel) == []
    assert (book.order().totals, book.order().version) == (before, 1)
    assert book.refusal(propose(ItemRemove("b"), change_id="c2")) == "already_exists"


def test_goods_that_move_between_proposal_and_confirmation(book: OrderBook) -> None:
    """A line removed after it was shipped."""
    book.run(propose(ItemRemove("b")))
    book.move(MoveKind.SHIPPED, ("b", 1))
    assert book.refusal(CONFIRM) == "quantity_exceeds_available"


def test_a_change_cannot_take_back_what_was_granted(book: OrderBook) -> None:
    """A line, or shipping, that charges less than was refunded of it."""
    book.pay("p1", book.order().total)
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id="r1",
            reason="r",
            source=RefundSource.RETURN,
            lines=(MovedLine("a", 1),),
            shipping=950,
        )
    )
    cheaper = propose(ItemUpdate("a", 4, Decimal("2.00"), (), ()))
    assert book.refusal(cheaper) == "amount_exceeds_available"
    assert book.refusal(propose(ShippingRemove("y"))) == "amount_exceeds_available"


def cancel(quantity: int, **fields: Any) -> CancelLine:
    given: dict[str, Any] = {"order_id": "o1", "line_id": "a", **fields}
    return CancelLine(quantity=quantity, **given)


def test_cancelled_units_take_their_part_of_tax_and_shipping(book: OrderBook) -> None:
    """A cancellation that keeps the tax or the shipping of what is not delivered."""
    event = book.run(cancel(1, shipping=150))[0].event
    assert isinstance(event, OrderLineCancelled)
    # 330 × 3 / 4 = 247.5 rounds half-even to 248, so 82 are taken off.
    assert event.proration == Proration(1000, 82, 0, 150)
    order = book.order()
    assert [one.amount for one in order.shipping] == [850, 0]
    assert (order.lines["a"].cancelled, order.lines["a"].ordered, order.version) == (1, 4, 2)
    assert order.total == 4000 + 330 + 250 + 1000 - 1000 - 82 - 150


CANCELS: list[tuple[str, CancelLine, str]] = [
    ("zero", cancel(0), "InvalidCommand"),
    ("negative shipping", cancel(1, shipping=-1), "InvalidCommand"),
    ("unknown", cancel(1, line_id="z"), "not_found"),
    ("shipped", cancel(3), "quantity_exceeds_available"),
    ("shipping", cancel(1, shipping=1001), "amount_exceeds_available"),
    ("no order", cancel(1, order_id="o2"), "NotFound"),
]


@pytest.mark.parametrize(
    ("when", "then"), [row[1:] for row in CANCELS], ids=[row[0] for row in CANCELS]
)
def test_line_cancellations_that_cannot_be(when: CancelLine, then: str, book: OrderBook) -> None:
    """Units cancelled that are on their way to the buyer."""
    book.move(MoveKind.SHIPPED, ("a", 2))
    assert book.refusal(when) == then


def test_a_lower_total_grants_back_only_what_was_paid_beyond_it(book: OrderBook) -> None:
    """A refund of money that was never paid, or a surplus that stays with the shop."""
    total = book.order().total
    book.pay("p1", total - 1000)
    assert book.did(cancel(1, refund_id="r1")) == ["OrderLineCancelled", "RefundGranted"]
    assert book.order().grants["r1"].total == 82
    assert book.did(cancel(1)) == ["OrderLineCancelled", "RefundGranted"]
    assert book.order().grants["cancel-a-3"].total == 1083
    assert book.refusal(cancel(1, refund_id="r1")) == "already_exists"
    assert book.order().due == total - 2165
