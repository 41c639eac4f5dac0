"""Placing an order: drafts, totals, quotes, stock, caps, and every refusal in its order."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.decision import Command
from orderledger.commands.order_commands import (
    AcceptPriceChange,
    AddLine,
    AddNote,
    CreateOrder,
    PlaceOrder,
    RejectOrder,
    SetAddress,
    StockPolicy,
)
from orderledger.ledger import limits
from orderledger.ledger.order_content import (
    Discount,
    LineInput,
    OrderTerms,
    ShippingCharge,
    StockReservation,
    Surcharge,
    Tax,
    Tip,
    Totals,
)
from orderledger.ledger.order_events import BuyerCap, MoveKind
from orderledger.ledger.orders import Lifecycle
from tests.decided_book import START
from tests.order_book import OrderBook, item, place, platform

PAST = START - timedelta(seconds=1)


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


def draft(*lines: LineInput, **fields: Any) -> CreateOrder:
    given = {"order_id": "o1", "buyer_ref": "b1", "currency": "USD", "quote_id": "q1", **fields}
    return CreateOrder(lines=lines, **given)


def test_the_worked_example_adds_up(book: OrderBook) -> None:
    """A total that leaves out a component, or counts included tax twice."""
    book.run(
        place(
            item("a 2 x 50.00", tax=(Tax("NY", 825), Tax("FED", 100, included=True))),
            shipping=(ShippingCharge("s", "s1", 1000, tax=(Tax("NY", 80),)),),
            surcharges=(Surcharge("cod", "s1", 300),),
            tips=(Tip("s1", 500),),
            discounts=(Discount("code", 1500),),
        )
    )
    totals = book.order().totals
    assert totals == Totals(10000, 1500, 905, 1000, 300, 500, 11205, 100)
    assert book.order().lines["a"].line.net == 8400


def test_order_discounts_do_not_depend_on_the_order_of_lines(book: OrderBook) -> None:
    """A cent of discount that moves to another line when the lines are listed differently."""
    lines = [item(f"{name} 1 x 10.00") for name in "cab"]
    book.run(place(*lines, discounts=(platform("code", 1000),)))
    other = OrderBook()
    other.run(place(*reversed(lines), discounts=(platform("code", 1000),)))
    for one in (book, other):
        found = {key: line.line.discount for key, line in one.order().lines.items()}
        assert found == {"a": 334, "b": 333, "c": 333}


def test_a_draft_becomes_an_order(book: OrderBook) -> None:
    """A draft whose lines, quote or address are lost when it is placed."""
    book.run(draft(item("a 1 x 10.00")))
    assert book.did(AddLine(order_id="o1", line=item("b 2 x 5.00"))) == ["OrderLineAdded"]
    assert book.did(AddLine(order_id="o1", line=item("b 2 x 5.00"))) == []
    book.run(SetAddress(order_id="o1", address_ref="vault:1"))
    book.run(
        AcceptPriceChange(
            order_id="o1", old_quote_id="q1", new_quote_id="q2", lines=(item("a 1 x 11.00"),)
        )
    )
    assert book.did(PlaceOrder(order_id="o1")) == ["OrderPlaced"]
    order = book.order()
    assert (order.total, order.quote_id, order.address_ref) == (2100, "q2", "vault:1")
    assert (order.lifecycle, order.version, order.buyer_ref) == (Lifecycle.PLACED, 1, "b1")


def test_a_repeated_command_changes_nothing(book: OrderBook) -> None:
    """A storefront that retries with a new key and gets a refusal for its own order."""
    command = place("a 1 x 10.00")
    book.run(command)
    assert book.did(command) == []
    assert book.refusal(place("a 2 x 10.00")) == "already_exists"


def test_one_of_everything_is_free(book: OrderBook) -> None:
    """Zero-total orders, which occur in real data, refused or rounded."""
    book.run(place("a 3 x 0"))
    assert book.order().total == 0


def test_stock_must_be_reserved_where_the_policy_says_so(book: OrderBook) -> None:
    """An order over more units than are set aside."""
    held = StockReservation("res1", "a", 2)
    command = place("a 2 x 1.00", stock_policy=StockPolicy.RESERVED, reservations=(held,))
    assert book.did(command) == ["OrderPlaced", "StockReserved"]
    assert book.order().reservations == {"res1": held}


FLOAT: Any = 0.5

MALFORMED: list[tuple[str, Command, str]] = [
    ("negative wait", place("a 1 x 1", terms=OrderTerms(release_hours=-1)), "InvalidCommand"),
    ("wait of years", place("a 1 x 1", terms=OrderTerms(completion_hours=9999)), "InvalidCommand"),
    ("unknown currency", place("a 1 x 1", currency="XXX"), "UnknownCurrency"),
    ("no currency without a draft", place("a 1 x 1", currency=""), "UnknownCurrency"),
    ("quantity zero", place("a 0 x 1"), "InvalidCommand"),
    ("negative price", place("a 1 x -1"), "InvalidMoney"),
    ("price not a number", place("a 1 x NaN"), "InvalidMoney"),
    ("too many decimals", place("a 1 x 0.0000000000001"), "LimitExceeded"),
    ("huge exponent", place("a 1 x 1E+30000000"), "LimitExceeded"),
    ("huge exponent of nothing", place("a 1 x 0E+30000000"), "LimitExceeded"),
    ("a line twice", place("a 1 x 1", "a 1 x 2"), "InvalidCommand"),
    ("line id", place(item("% 1 x 1")), "InvalidCommand"),
    ("float discount", place("a 1 x 1", discounts=(Discount("d", FLOAT),)), "InvalidMoney"),
    ("bool discount", place("a 1 x 1", discounts=(Discount("d", True),)), "InvalidMoney"),
    ("zero discount", place("a 1 x 1", discounts=(Discount("d", 0),)), "InvalidCommand"),
    ("negative tip", place("a 1 x 1", tips=(Tip("s1", -1),)), "InvalidCommand"),
    (
        "tax above shipping",
        place("a 1 x 1", shipping=(ShippingCharge("s", "s1", 5, tax=(Tax("NY", 6, True),)),)),
        "InvalidCommand",
    ),
]


@pytest.mark.parametrize(
    ("command", "expected"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED]
)
def test_malformed_orders_are_refused_before_the_state_is_looked_at(
    command: Command, expected: str, book: OrderBook
) -> None:
    """A malformed amount, quantity, price or id that reaches the stream."""
    assert book.refusal(command) == expected
    book.run(place("z 1 x 1.00"))
    assert book.refusal(command) == expected


def test_too_many_lines_are_a_clear_error(book: OrderBook) -> None:
    """An order beyond the documented number of lines that fails somewhere deep in storage."""
    lines = [item(f"l{number} 1 x 1") for number in range(limits.ORDER_LINES_MAX + 1)]
    assert book.refusal(place(*lines)) == "LimitExceeded"
    book.run(place(*lines[:-1]))
    assert book.order().total == limits.ORDER_LINES_MAX * 100


def test_amounts_up_to_the_limit_are_exact_and_beyond_it_refused(book: OrderBook) -> None:
    """An amount that is rounded, or that no posting can carry, because it is very large."""
    assert book.refusal(place(f"a 1000000 x 1{'0' * 20}")) == "LimitExceeded"
    book.run(place(f"a 3 x 1{'0' * 20}.01"))
    assert book.order().total == 3 * (10**22 + 1)


REFUSED: list[tuple[str, list[Command], Command, str]] = [
    ("exists", [place("a 1 x 1")], place("b 1 x 1"), "already_exists"),
    ("rejected", [RejectOrder(order_id="o1", reason="fraud")], place("a 1 x 1"), "already_exists"),
    ("currency", [draft()], PlaceOrder(order_id="o1", currency="EUR"), "currency_mismatch"),
    ("quote", [draft()], PlaceOrder(order_id="o1", quote_id="q2"), "quote_mismatch"),
    ("quote over", [draft(valid_until=PAST)], PlaceOrder(order_id="o1"), "quote_expired"),
    ("quote over at once", [], place("a 1 x 1", valid_until=PAST), "quote_expired"),
    ("empty draft", [draft()], PlaceOrder(order_id="o1"), "empty_order"),
    ("empty", [], place(), "empty_order"),
    (
        "discount above the lines",
        [],
        place("a 1 x 1", discounts=(Discount("d", 101),)),
        "amount_exceeds_available",
    ),
    (
        "line below zero",
        [],
        place(item("a 1 x 1", discounts=(Discount("d", 101),))),
        "totals_do_not_add_up",
    ),
    (
        "expected totals",
        [],
        place("a 1 x 1", expected=Totals(100, 0, 0, 0, 0, 0, 99)),
        "totals_do_not_add_up",
    ),
    (
        "stock",
        [],
        place("a 2 x 1", stock_policy=StockPolicy.RESERVED),
        "quantity_exceeds_available",
    ),
    ("cap", [], place("a 1 x 1", buyer_cap=BuyerCap(150, 51)), "buyer_cap_exceeded"),
    ("line twice", [draft(item("a 1 x 1"))], place("a 1 x 2"), "already_exists"),
    ("no order", [], AddLine(order_id="o1", line=item("a 1 x 1")), "NotFound"),
    (
        "add to an order",
        [place("a 1 x 1")],
        AddLine(order_id="o1", line=item("b 1 x 1")),
        "wrong_state",
    ),
    (
        "another line of that id",
        [draft(item("a 1 x 1"))],
        AddLine(order_id="o1", line=item("a 1 x 2")),
        "already_exists",
    ),
    (
        "old quote",
        [draft()],
        AcceptPriceChange(order_id="o1", old_quote_id="q0", new_quote_id="q2"),
        "quote_mismatch",
    ),
    (
        "price of an unknown line",
        [draft()],
        AcceptPriceChange(
            order_id="o1", old_quote_id="q1", new_quote_id="q2", lines=(item("a 1 x 1"),)
        ),
        "not_found",
    ),
    ("draft twice", [draft()], draft(channel="app"), "already_exists"),
    ("reject placed", [place("a 1 x 1")], RejectOrder(order_id="o1", reason="x"), "wrong_state"),
    ("note", [], AddNote(order_id="o1", note_ref="vault:2", by="u1"), "NotFound"),
]


@pytest.mark.parametrize(
    ("given", "when", "then"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refusals_in_order_of_precedence(
    given: list[Command], when: Command, then: str, book: OrderBook
) -> None:
    """A rule of placing that is not checked, or is reported as another."""
    for command in given:
        book.run(command)
    before = len(book.events)
    assert book.refusal(when) == then
    assert len(book.events) == before


def test_precedence_of_several_faults(book: OrderBook) -> None:
    """A caller that fixes what it was told and is then told what was wrong all along."""
    faults: dict[str, Any] = {
        "valid_until": PAST,
        "discounts": (Discount("d", 101),),
        "expected": Totals(1, 0, 0, 0, 0, 0, 1),
        "stock_policy": StockPolicy.RESERVED,
        "buyer_cap": BuyerCap(0, 0),
    }
    seen = []
    while faults:
        seen.append(book.refusal(place("a 1 x 1.00", **faults)))
        gone = {
            "amount_exceeds_available": "discounts",
            "quote_expired": "valid_until",
            "totals_do_not_add_up": "expected",
            "quantity_exceeds_available": "stock_policy",
            "buyer_cap_exceeded": "buyer_cap",
        }[seen[-1]]
        del faults[gone]
    assert len(set(seen)) == 5
    assert seen[-3:] == [
        "totals_do_not_add_up",
        "quantity_exceeds_available",
        "buyer_cap_exceeded",
    ]


def test_the_address_is_fixed_once_goods_are_on_their_way(book: OrderBook) -> None:
    """A parcel whose recorded address is not the one it was sent to."""
    book.confirmed("a 1 x 1.00")
    assert book.did(SetAddress(order_id="o1", address_ref="vault:1")) == ["OrderAddressSet"]
    assert book.did(SetAddress(order_id="o1", address_ref="vault:1")) == []
    book.move(MoveKind.SHIPPED, ("a", 1))
    assert book.refusal(SetAddress(order_id="o1", address_ref="vault:2")) == "wrong_state"


def test_prices_survive_storage_exactly(book: OrderBook) -> None:
    """A unit price that comes back from JSON as a float."""
    book.run(place("a 7 x 0.123456789012"))
    price = book.order().lines["a"].line.unit_price
    assert (type(price), price) == (Decimal, Decimal("0.123456789012"))
