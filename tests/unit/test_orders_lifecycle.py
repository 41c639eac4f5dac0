"""The life of a placed order: every transition, every refusal, and reports that contradict it."""

from datetime import timedelta
from typing import Any

import pytest

from orderledger.commands.decision import Command
from orderledger.commands.order_commands import (
    AddNote,
    CancelOrder,
    CompleteOrder,
    ConfirmOrder,
    CoverPolicy,
    CreateOrder,
    ExpireOrder,
    FinishCancellation,
    GrantRefund,
    HoldOrder,
    LatePolicy,
    RecordGoodwill,
    RecordLatePayment,
    RecordOrderCancelled,
    RecordRefundGranted,
    RecordStockReleased,
    RecordStockReservationFailed,
    RecordStockReserved,
    ReinstateOrder,
    ReleaseHold,
    ReopenOrder,
    ResolveOrderAnomaly,
    SplitOrder,
    WithdrawRefund,
)
from orderledger.commands.payment_commands import Authorise, Capture, InitiatePayment, Purchase
from orderledger.ledger.order_content import Discount, OrderTerms, StockReservation
from orderledger.ledger.order_events import (
    MovedLine,
    MoveKind,
    OrderCancellationRequested,
    OrderExpired,
    RefundSource,
)
from orderledger.ledger.orders import Lifecycle
from orderledger.ledger.payment_events import Capabilities, CaptureMode
from tests.decided_book import DAY, START
from tests.order_book import OrderBook, item, place


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


CONFIRM = ConfirmOrder(order_id="o1")
ON_ACCOUNT = ConfirmOrder(order_id="o1", policy=CoverPolicy.ON_ACCOUNT)
CANCEL = CancelOrder(order_id="o1", reason="buyer", by="b1")
FINISH = FinishCancellation(order_id="o1", refund_id="r9")
EXPIRE = ExpireOrder(order_id="o1", due_at=START)
HOLD = HoldOrder(order_id="o1", rule_id="risk", reason="new card", by="rules")
RELEASE = ReleaseHold(order_id="o1", rule_id="risk", reason="checked", by="u1")
COMPLETE = CompleteOrder(order_id="o1")
REINSTATE = ReinstateOrder(order_id="o1", cause="stock came", stock_reservation="s1")
REOPEN = ReopenOrder(order_id="o1", cause="late return")
PLACE = place("a 2 x 10.00")
FREE = place("a 1 x 0")
DRAFT = CreateOrder(order_id="o1", buyer_ref="b1", currency="USD", lines=(item("a 1 x 1"),))


def goodwill(**fields: Any) -> RecordGoodwill:
    given = {"amount": 500, "by": "u1", "approver": "u2", **fields}
    return RecordGoodwill(order_id="o1", goodwill_id="g1", reason="sorry", **given)


MULTI: dict[str, Any] = {
    "capture_mode": CaptureMode.MULTI,
    "capabilities": Capabilities(multicapture=True, captures_max=5),
}

RUNS: list[tuple[str, list[Command], Command, list[str], str]] = [
    ("hold", [PLACE], HOLD, ["OrderHeld"], "placed"),
    ("hold twice", [PLACE, HOLD], HOLD, [], "placed"),
    ("release", [PLACE, HOLD], RELEASE, ["OrderHoldReleased"], "placed"),
    ("release nothing", [PLACE], RELEASE, [], "placed"),
    ("confirm on account", [PLACE], ON_ACCOUNT, ["OrderConfirmed"], "confirmed"),
    ("confirm a free order", [FREE], CONFIRM, ["OrderConfirmed"], "confirmed"),
    ("confirm twice", [PLACE, ON_ACCOUNT], CONFIRM, [], "confirmed"),
    ("expire", [PLACE], EXPIRE, ["OrderExpired"], "expired"),
    ("expire twice", [PLACE, EXPIRE], EXPIRE, [], "expired"),
    ("cancel a draft", [DRAFT], CANCEL, ["OrderCancellationRequested"], "cancelling"),
    ("cancel placed", [PLACE], CANCEL, ["OrderCancellationRequested"], "cancelling"),
    ("cancel confirmed", [PLACE, ON_ACCOUNT], CANCEL, ["OrderCancellationRequested"], "cancelling"),
    ("cancel twice", [PLACE, CANCEL], CANCEL, [], "cancelling"),
    ("finish", [PLACE, CANCEL], FINISH, ["OrderCancelled"], "cancelled"),
    ("finish twice", [PLACE, CANCEL, FINISH], FINISH, [], "cancelled"),
    ("reinstate expired", [PLACE, EXPIRE], REINSTATE, ["OrderReinstated"], "placed"),
    ("reinstate cancelled", [PLACE, CANCEL, FINISH], REINSTATE, ["OrderReinstated"], "placed"),
    ("goodwill", [PLACE], goodwill(), ["GoodwillRecorded"], "placed"),
    ("goodwill twice", [PLACE, goodwill()], goodwill(), [], "placed"),
    (
        "note",
        [PLACE],
        AddNote(order_id="o1", note_ref="vault:1", by="u1"),
        ["OrderNoted"],
        "placed",
    ),
]


@pytest.mark.parametrize(
    ("given", "when", "then", "lifecycle"), [row[1:] for row in RUNS], ids=[row[0] for row in RUNS]
)
def test_transitions(
    given: list[Command], when: Command, then: list[str], lifecycle: str, book: OrderBook
) -> None:
    """A transition that is missing, writes other events, or is not a no-op the second time."""
    for command in given:
        book.run(command)
    assert book.did(when) == then
    assert book.order().lifecycle == lifecycle


REFUSED: list[tuple[str, list[Command], Command, str]] = [
    ("hold a draft", [DRAFT], HOLD, "wrong_state"),
    ("confirm a draft", [DRAFT], CONFIRM, "wrong_state"),
    ("confirm held", [PLACE, HOLD], ON_ACCOUNT, "on_hold"),
    ("confirm uncovered", [PLACE], CONFIRM, "not_covered"),
    ("confirm cancelled", [PLACE, CANCEL], CONFIRM, "wrong_state"),
    ("expire early", [PLACE], ExpireOrder(order_id="o1", due_at=START + DAY), "not_yet_due"),
    (
        "expire by an outdated timer",
        [place("a 1 x 1", payment_due_at=START + DAY)],
        EXPIRE,
        "not_yet_due",
    ),
    ("expire confirmed", [PLACE, ON_ACCOUNT], EXPIRE, "wrong_state"),
    ("finish placed", [PLACE], FINISH, "wrong_state"),
    ("cancel expired", [PLACE, EXPIRE], CANCEL, "wrong_state"),
    ("complete placed", [PLACE], COMPLETE, "wrong_state"),
    ("complete undelivered", [PLACE, ON_ACCOUNT], COMPLETE, "quantity_exceeds_available"),
    (
        "complete in the window",
        [PLACE, ON_ACCOUNT],
        CompleteOrder(order_id="o1", return_window_until=START + DAY),
        "not_yet_due",
    ),
    ("reopen", [PLACE], REOPEN, "wrong_state"),
    ("reinstate placed", [PLACE], REINSTATE, "wrong_state"),
    ("reinstate a draft", [DRAFT, CANCEL, FINISH], REINSTATE, "wrong_state"),
    ("goodwill alone", [PLACE], goodwill(approver="u1"), "four_eyes_required"),
    ("goodwill unapproved", [PLACE], goodwill(approver=""), "four_eyes_required"),
    ("goodwill other", [PLACE, goodwill()], goodwill(amount=1), "already_exists"),
    ("goodwill zero", [PLACE], goodwill(amount=0), "InvalidCommand"),
    ("goodwill float", [PLACE], goodwill(amount=1.5), "InvalidMoney"),
    (
        "resolve nothing",
        [PLACE],
        ResolveOrderAnomaly(order_id="o1", anomaly_id="x", by="u1", resolution="x"),
        "not_found",
    ),
    *[
        (f"{type(one).__name__} of nothing", [], one, "NotFound")
        for one in (HOLD, CONFIRM, CANCEL, FINISH, EXPIRE, COMPLETE, REOPEN, REINSTATE, goodwill())
    ],
]


@pytest.mark.parametrize(
    ("given", "when", "then"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refusals(given: list[Command], when: Command, then: str, book: OrderBook) -> None:
    """A guard of the lifecycle that is not checked, or is reported as another."""
    for command in given:
        book.run(command)
    assert book.refusal(when) == then


def test_cover_counts_what_is_authorised_and_charged(book: OrderBook) -> None:
    """An order confirmed on less than its policy demands."""
    book.run(place("a 1 x 100.00"))
    book.authorise("p1", 6000, **MULTI)
    assert book.refusal(CONFIRM) == "not_covered"
    deposit = ConfirmOrder(order_id="o1", policy=CoverPolicy.CHARGED, minimum=2000)
    assert book.refusal(deposit) == "not_covered"
    book.capture("p1", 2000, final=False)
    assert book.did(deposit) == ["OrderConfirmed"]
    other = OrderBook()
    other.run(place("a 1 x 100.00"))
    other.pay("p1", 6000)
    other.authorise("p2", 4000)
    assert other.did(CONFIRM) == ["OrderConfirmed"]


def test_an_order_with_a_charge_under_way_cannot_expire(book: OrderBook) -> None:
    """An order that expires while its money is arriving."""
    book.run(PLACE)
    initiate: dict[str, Any] = {"order_id": "o1", "provider": "psp1", "currency": "USD"}
    book.run(InitiatePayment(payment_id="p1", method="pix", amount=2000, **initiate))
    book.run(Purchase(payment_id="p1", op_id="x1", amount=2000, currency="USD"))
    assert book.refusal(EXPIRE) == "operation_in_flight"
    book.succeed("p1", "x1")
    assert book.refusal(EXPIRE) == "wrong_state"


def test_expiry_lists_what_to_void_and_releases_stock(book: OrderBook) -> None:
    """Authorisations and reservations that outlive their order."""
    held = StockReservation("res1", "a", 2)
    book.run(place("a 2 x 10.00", reservations=(held,)))
    book.authorise("p1", 2000)
    event = book.run(EXPIRE)[0].event
    assert isinstance(event, OrderExpired)
    assert [(one.payment_id, one.amount) for one in event.voids] == [("p1", 2000)]
    assert event.released_reservations == ("res1",)
    assert (book.order().reservations, book.order().due) == ({}, 0)


def test_a_cancellation_waits_for_captures_and_voids(book: OrderBook) -> None:
    """A cancellation that is complete while a capture may still succeed."""
    book.run(PLACE)
    book.authorise("p1", 2000, **MULTI)
    book.run(Capture(payment_id="p1", op_id="c1", amount=500, currency="USD", is_final=False))
    request = book.run(CANCEL)[0].event
    assert isinstance(request, OrderCancellationRequested)
    assert request.voids[0].amount == 1500
    assert book.refusal(FINISH) == "operation_in_flight"
    book.succeed("p1", "c1")
    assert book.refusal(FINISH) == "wrong_state"
    book.void("p1")
    assert book.did(FINISH) == ["RefundGranted", "OrderCancelled"]
    withdraw = WithdrawRefund(order_id="o1", refund_id="r9", reason="mistake")
    assert book.refusal(withdraw) == "wrong_state"
    assert book.did(REINSTATE) == ["RefundGrantWithdrawn", "OrderReinstated"]
    assert book.order().due == 2000


def test_completion_needs_every_unit_settled_and_no_open_return(book: OrderBook) -> None:
    """An order closed while goods or returns are under way."""
    book.confirmed("a 3 x 10.00", "b 1 x 5.00")
    book.move(MoveKind.SHIPPED, ("a", 3), ("b", 1))
    book.move(MoveKind.DELIVERED, ("a", 2))
    book.move(MoveKind.LOST, ("a", 1))
    assert book.refusal(COMPLETE) == "quantity_exceeds_available"
    book.move(MoveKind.DELIVERED, ("b", 1))
    book.move(MoveKind.RETURN_REQUESTED, ("a", 1))
    assert book.refusal(COMPLETE) == "quantity_exceeds_available"
    book.move(MoveKind.RETURN_CANCELLED, ("a", 1))
    assert book.did(COMPLETE) == ["OrderCompleted"]
    assert book.did(COMPLETE) == []
    assert book.did(REOPEN) == ["OrderReopened"]
    assert book.order().lifecycle is Lifecycle.CONFIRMED


def test_split_moves_units_and_keeps_the_sum(book: OrderBook) -> None:
    """Money made or lost when an order is divided."""
    terms = OrderTerms(release_hours=1)
    book.run(place("a 3 x 10.00", "b 1 x 5.00", discounts=(Discount("d", 100),), terms=terms))
    before = book.order().total
    split = SplitOrder(order_id="o1", new_order_id="o2", lines=(MovedLine("a", 2),))
    assert book.did(split) == ["OrderSplit", "OrderPlaced"]
    assert book.order().total + book.order("o2").total == before
    assert (book.order().version, book.order("o2").split_from) == (2, "o1")
    assert book.order("o2").terms == terms, "what was agreed goes with the lines"
    assert book.did(split) == []
    other = SplitOrder(order_id="o1", new_order_id="o2", lines=(MovedLine("b", 1),))
    assert book.did(other) == []


def split(*lines: MovedLine) -> SplitOrder:
    return SplitOrder(order_id="o1", new_order_id="o2", lines=lines)


SPLITS: list[tuple[str, list[Command], SplitOrder, str]] = [
    ("all", [PLACE], split(MovedLine("a", 2)), "empty_order"),
    ("nothing", [PLACE], split(), "empty_order"),
    ("line", [PLACE], split(MovedLine("b", 2)), "not_found"),
    ("units", [PLACE], split(MovedLine("a", 3)), "quantity_exceeds_available"),
    ("taken", [PLACE, place("a 1 x 1", order_id="o2")], split(MovedLine("a", 1)), "already_exists"),
    ("held", [PLACE, HOLD], split(MovedLine("a", 1)), "on_hold"),
    ("confirmed", [PLACE, ON_ACCOUNT], split(MovedLine("a", 1)), "wrong_state"),
    ("rounding", [place("a 3 x 0.005")], split(MovedLine("a", 1)), "totals_do_not_add_up"),
]


@pytest.mark.parametrize(
    ("given", "when", "then"), [row[1:] for row in SPLITS], ids=[row[0] for row in SPLITS]
)
def test_split_refusals(given: list[Command], when: Command, then: str, book: OrderBook) -> None:
    """A split that breaks totals, or divides what cannot be divided."""
    for command in given:
        book.run(command)
    assert book.refusal(when) == then


def test_an_order_with_money_cannot_be_split(book: OrderBook) -> None:
    """A payment that would belong to two orders."""
    book.run(PLACE)
    book.authorise("p1", 2000)
    split = SplitOrder(order_id="o1", new_order_id="o2", lines=(MovedLine("a", 1),))
    assert book.refusal(split) == "wrong_state"


def test_stock_reports_are_recorded_even_when_they_make_no_sense(book: OrderBook) -> None:
    """A warehouse's report that is lost because the order does not expect it."""
    book.run(PLACE)
    held = RecordStockReserved(order_id="o1", reservation=StockReservation("res1", "a", 2))
    assert book.did(held) == ["StockReserved"]
    assert book.did(held) == []
    unknown = RecordStockReserved(order_id="o1", reservation=StockReservation("res2", "zz", 1))
    assert book.did(unknown) == ["StockReserved", "AnomalyRaised"]
    given: dict[str, Any] = {"order_id": "o1", "line_id": "a", "quantity": 2}
    assert book.did(RecordStockReleased(reservation_id="res1", **given)) == ["StockReleased"]
    assert book.did(RecordStockReleased(reservation_id="res1", **given)) == [
        "StockReleased",
        "AnomalyRaised",
    ]
    failed = RecordStockReservationFailed(reservation_id="res3", **given)
    assert book.did(failed) == ["StockReservationFailed"]
    resolve = ResolveOrderAnomaly(
        order_id="o1", anomaly_id="UnknownLine:zz", by="u1", resolution="typo"
    )
    assert book.did(resolve) == ["AnomalyResolved"]
    assert book.order().anomalies == ("UnknownReservation:res1",)


def test_a_refund_without_a_purchase_is_recorded_with_an_anomaly(book: OrderBook) -> None:
    """An imported credit note that is lost because its invoice is missing."""
    report = RecordRefundGranted(
        order_id="o1", refund_id="C1", amount=700, currency="GBP", reason="credit note"
    )
    assert book.did(report) == ["RefundGranted", "AnomalyRaised"]
    assert (book.order().granted, book.order().currency) == (700, "GBP")
    assert book.did(report) == []
    book.run(place("a 1 x 10.00", currency="GBP"))
    assert (book.order().lifecycle, book.order().granted) == (Lifecycle.PLACED, 700)


def test_reported_refunds_use_lines_where_they_can(book: OrderBook) -> None:
    """A reported refund that leaves the units of its line open to be refunded again."""
    book.confirmed("a 2 x 10.00")
    book.pay("p1", 2000)
    given: dict[str, Any] = {"order_id": "o1", "currency": "USD", "reason": "r"}
    lines = (MovedLine("a", 1), MovedLine("zz", 4))
    first = RecordRefundGranted(refund_id="C1", amount=1200, lines=lines, **given)
    assert book.did(first) == ["RefundGranted"]
    grant = book.order().grants["C1"]
    assert (grant.adjustment, book.order().lines["a"].granted_quantity) == (200, 1)
    assert book.did(RecordRefundGranted(refund_id="C1", amount=1, **given)) == ["AnomalyRaised"]
    too_much = RecordRefundGranted(refund_id="C2", amount=801, **given)
    assert book.did(too_much) == ["RefundGranted", "AnomalyRaised"]
    foreign = RecordRefundGranted(
        order_id="o1", refund_id="C3", amount=5, currency="EUR", reason="r"
    )
    assert book.did(foreign) == ["RefundGranted", "AnomalyRaised"]
    assert book.did(foreign) == []
    assert "C3" not in book.order().grants


def test_late_payment_policies_that_cannot_be_carried_out_ask_a_person(book: OrderBook) -> None:
    """A late payment that is forgotten because its policy did not apply."""
    late: dict[str, Any] = {"order_id": "o1", "payment_id": "p1", "op_id": "x", "amount": 5}
    reinstate = RecordLatePayment(**late, policy=LatePolicy.REINSTATE, stock_reservation="s1")
    book.run(DRAFT)
    assert book.did(reinstate) == []
    book.run(CANCEL)
    book.run(FINISH)
    assert book.did(reinstate) == ["LatePaymentDetected", "AnomalyRaised"]
    void = RecordLatePayment(**{**late, "op_id": "y"}, policy=LatePolicy.VOID)
    assert book.did(void) == ["LatePaymentDetected"]


def test_a_reported_cancellation_of_an_unknown_order_is_kept(book: OrderBook) -> None:
    """A cancellation that is lost because the order's own report is missing or late."""
    report = RecordOrderCancelled(order_id="o1", reason="x", by="import")
    assert book.did(report) == ["OrderCancelled", "AnomalyRaised"]
    assert book.order().lifecycle is Lifecycle.CANCELLED


def test_goodwill_raises_the_limit_of_what_can_be_granted(book: OrderBook) -> None:
    """Goodwill without approval, or approval that has no effect."""
    book.confirmed("a 1 x 10.00")
    book.pay("p1", 1000)
    extra = GrantRefund(
        order_id="o1", refund_id="r1", reason="sorry", source=RefundSource.GOODWILL, adjustment=1200
    )
    assert book.refusal(extra) == "amount_exceeds_available"
    book.run(goodwill(amount=200))
    assert book.did(extra) == ["RefundGranted"]


def test_an_unpaid_order_expires_at_its_own_due_time(book: OrderBook) -> None:
    """A timer that fires at a time the order does not know."""
    book.run(place("a 1 x 1", payment_due_at=START + DAY))
    book.now = START + DAY - timedelta(microseconds=1)
    assert book.refusal(EXPIRE) == "not_yet_due"
    book.now = START + DAY
    assert book.did(EXPIRE) == ["OrderExpired"]


def test_an_authorisation_alone_does_not_keep_an_order_alive(book: OrderBook) -> None:
    """An order that never expires because somebody started to pay."""
    book.run(PLACE)
    initiate: dict[str, Any] = {"order_id": "o1", "provider": "psp1", "currency": "USD"}
    book.run(InitiatePayment(payment_id="p1", method="card", amount=2000, **initiate))
    book.run(Authorise(payment_id="p1", op_id="x1", amount=2000, currency="USD"))
    assert book.did(EXPIRE) == ["OrderExpired"]
