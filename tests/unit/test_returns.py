"""Returns: the way back, partial receptions, windows, and goods that nobody announced."""

from typing import Any

import pytest

from orderledger.commands.fulfilment_commands import (
    ApproveReturn,
    CancelReturn,
    CloseReturn,
    ExpireReturn,
    InspectReturn,
    ReceiveReturn,
    RecordDispatched,
    RecordReturnInTransit,
    RecordReturnReceived,
    RejectReturn,
    RequestReturn,
    RequireReturnReview,
)
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.fulfilment_events import (
    InspectionOutcome,
    ReceivedLine,
    ReceptionOutcome,
    ReturnLine,
    ReturnResolution,
)
from orderledger.ledger.order_events import MovedLine, RefundGranted, RefundSource
from orderledger.ledger.returns import RECEPTIONS
from tests.decided_book import DAY, START, DecidedBook, placed_order

WINDOW = START + 30 * DAY


@pytest.fixture
def book() -> DecidedBook:
    """An order of five units of which four were shipped."""
    one = DecidedBook()
    one.given("order-o1", *placed_order(a=5))
    one.run(
        RecordDispatched(
            fulfilment_id="f1", order_id="o1", carrier="dhl", lines=(MovedLine("a", 4),)
        )
    )
    return one


def request(quantity: int = 3, **fields: Any) -> RequestReturn:
    given: dict[str, Any] = {"return_id": "r1", "order_id": "o1", "window_until": WINDOW, **fields}
    return RequestReturn(lines=(ReturnLine("a", quantity, "too small"),), **given)


def approve() -> ApproveReturn:
    return ApproveReturn(return_id="r1", order_id="o1", by="staff")


def receive(reception_id: str = "p1", **counts: Any) -> ReceiveReturn:
    lines = (ReceivedLine("a", **counts),)
    return ReceiveReturn(return_id="r1", order_id="o1", reception_id=reception_id, lines=lines)


def came_back(reception_id: str = "p1", **counts: Any) -> RecordReturnReceived:
    return RecordReturnReceived(
        return_id="r1",
        order_id="o1",
        reception_id=reception_id,
        lines=(ReceivedLine("a", **counts),),
    )


def inspect(outcome: InspectionOutcome = InspectionOutcome.ACCEPTED) -> InspectReturn:
    return InspectReturn(return_id="r1", order_id="o1", outcome=outcome, by="staff")


def close(resolution: str = "no_refund", **fields: Any) -> CloseReturn:
    return CloseReturn(
        return_id="r1", order_id="o1", resolution=ReturnResolution(resolution), **fields
    )


def counters(book: DecidedBook) -> tuple[int, int, int]:
    line = book.states["order-o1"].lines["a"]
    return line.return_requested, line.returned_ok, line.returned_damaged


def lifecycle(book: DecidedBook) -> str:
    return str(book.states["return-r1"].lifecycle)


def anomalies(book: DecidedBook) -> list[str]:
    return [event.kind for _, event in book.events if isinstance(event, AnomalyRaised)]


def test_the_ordinary_way_in_two_parcels(book: DecidedBook) -> None:
    """A partial reception that closes the return, or a counter that misses a damaged unit."""
    book.given(
        "order-o1",
        RefundGranted(refund_id="g1", total=2000, reason="return", source=RefundSource.RETURN),
    )
    seen = []
    for command in (
        request(),
        approve(),
        RecordReturnInTransit(return_id="r1", order_id="o1", carrier="dhl"),
        receive("p1", ok=1),
        receive("p2", ok=1, damaged=1),
        inspect(),
        close("refund", refund_id="g1"),
    ):
        book.run(command)
        seen.append((lifecycle(book), counters(book)))
    assert seen == [
        ("requested", (3, 0, 0)),
        ("approved", (3, 0, 0)),
        ("in_transit", (3, 0, 0)),
        ("partially_received", (3, 1, 0)),
        ("received", (3, 2, 1)),
        ("inspected", (3, 2, 1)),
        ("closed", (3, 2, 1)),
    ]
    assert anomalies(book) == []


def test_refusals_of_a_request_in_their_order(book: DecidedBook) -> None:
    """A refusal that hides an earlier one: malformed, unknown, used, window, line, quantity."""
    late = {"window_until": START - DAY}
    table = [
        (request(0, order_id="none"), "InvalidCommand"),
        (request(9, order_id="none"), "NotFound"),
        (request(9, **late), "window_closed"),
        (request(5), "quantity_exceeds_available"),
        (request(4), ""),
        (request(4), ""),
        (request(1, **late), "already_exists"),
        (request(1, return_id="r2"), "quantity_exceeds_available"),
    ]
    assert [book.refusal(command) for command, _ in table] == [want for _, want in table]


@pytest.mark.parametrize(
    ("command", "after"),
    [
        (RejectReturn(return_id="r1", order_id="o1", by="staff", reason="worn"), "rejected"),
        (CancelReturn(return_id="r1", order_id="o1", by="b1", reason="kept"), "cancelled"),
        (ExpireReturn(return_id="r1", order_id="o1", due_at=WINDOW), "expired"),
    ],
)
def test_an_end_without_goods_frees_the_units(book: DecidedBook, command: Any, after: str) -> None:
    """Units that can never be returned because a rejected return still claims them."""
    book.run(request())
    book.now = WINDOW + DAY
    book.run(command)
    assert (lifecycle(book), counters(book)) == (after, (0, 0, 0))
    assert book.run(command) == ()
    assert book.refusal(approve()) == "wrong_state"


def test_expiry_waits_for_the_window(book: DecidedBook) -> None:
    """A timer that fires early and shuts out a buyer in time."""
    book.run(request())
    early = ExpireReturn(return_id="r1", order_id="o1", due_at=START)
    assert book.refusal(early) == "not_yet_due"
    book.now = WINDOW
    assert book.refusal(early) == "not_yet_due"


def test_manual_review(book: DecidedBook) -> None:
    """A return that no rule decides and that nobody can approve."""
    book.run(request())
    review = RequireReturnReview(return_id="r1", order_id="o1", reason="value")
    book.run(review)
    assert book.run(review) == ()
    assert lifecycle(book) == "manual_review"
    book.run(approve())
    assert lifecycle(book) == "approved"


def test_refusals_of_a_reception(book: DecidedBook) -> None:
    """More units received by command than are on their way, or one parcel counted twice."""
    assert book.refusal(receive(ok=1)) == "NotFound"
    book.run(request())
    assert book.refusal(receive(ok=-1)) == "InvalidCommand"
    assert book.refusal(receive(ok=0)) == "InvalidCommand"
    assert book.refusal(receive(ok=1)) == "wrong_state"
    book.run(approve())
    assert book.refusal(receive(ok=4)) == "quantity_exceeds_available"
    book.run(receive(ok=2))
    assert book.run(receive(ok=2)) == ()
    assert book.refusal(receive(ok=1)) == "already_exists"
    assert counters(book) == (3, 2, 0)


@pytest.mark.parametrize("outcome", list(ReceptionOutcome))
def test_what_becomes_of_missing_units(book: DecidedBook, outcome: ReceptionOutcome) -> None:
    """A reception outcome of Solidus that leaves units waited for, or frees the wrong counter."""
    book.run(request())
    book.run(approve())
    book.run(receive(ok=2, missing=1, outcome=outcome))
    line = book.states["order-o1"].lines["a"]
    waits = RECEPTIONS[outcome].line_kind is None
    assert lifecycle(book) == ("partially_received" if waits else "received")
    freed = RECEPTIONS[outcome].line_kind == "return_cancelled"
    assert line.return_requested == (2 if freed else 3)
    assert line.lost == (outcome is ReceptionOutcome.LOST_IN_TRANSIT)
    written_off = {
        ReceptionOutcome.GIVEN_TO_CUSTOMER,
        ReceptionOutcome.SHIPPED_WRONG_ITEM,
        ReceptionOutcome.SHORT_SHIPPED,
    }
    assert line.written_off == (outcome in written_off)
    assert RECEPTIONS[outcome].refundable == (line.lost + line.written_off == 1)


def test_closing_frees_what_never_came(book: DecidedBook) -> None:
    """Units of a closed return that can never be asked back again."""
    for command in (request(), approve(), receive(ok=1), inspect(), close()):
        book.run(command)
    assert (lifecycle(book), counters(book)) == ("closed", (1, 1, 0))
    assert book.run(close()) == ()


def test_refusals_of_a_close(book: DecidedBook) -> None:
    """A return settled by a refund or an exchange that does not exist."""
    for command in (request(), approve(), receive(ok=3)):
        book.run(command)
    table = [
        (close("refund"), "InvalidCommand"),
        (close("no_refund", refund_id="g1"), "InvalidCommand"),
        (close("exchange", exchange_order_id="x", refund_id="g1"), "InvalidCommand"),
        (close(), "wrong_state"),
    ]
    assert [book.refusal(command) for command, _ in table] == [want for _, want in table]
    book.run(inspect())
    assert book.run(inspect()) == ()
    assert book.refusal(close("refund", refund_id="g1")) == "not_found"
    assert book.refusal(close("exchange", exchange_order_id="o9")) == "NotFound"
    book.given("order-o9", *placed_order("o9", a=1))
    assert book.refusal(close("exchange", exchange_order_id="o9")) == ""


def test_goods_that_nobody_announced() -> None:
    """Goods at the door refused by the software, or returned above return_requested."""
    book = DecidedBook()
    book.given("order-o1", *placed_order(a=5))
    book.run(came_back(ok=2))
    assert (lifecycle(book), counters(book)) == ("received", (2, 2, 0))
    assert anomalies(book) == ["ReturnedUnasked"]
    assert book.run(came_back(ok=2)) == ()


def test_goods_after_the_end(book: DecidedBook) -> None:
    """A late parcel that is lost in the books or reopens a return by itself."""
    book.run(request(2))
    book.now = WINDOW + DAY
    book.run(ExpireReturn(return_id="r1", order_id="o1", due_at=WINDOW))
    book.run(came_back(ok=2))
    assert (lifecycle(book), counters(book)) == ("expired", (2, 2, 0))
    assert anomalies(book) == ["ReceivedWhileExpired"]


def test_more_than_announced_and_counted_anew(book: DecidedBook) -> None:
    """A second count of one parcel that replaces the first or adds to it."""
    book.run(request(2))
    book.run(approve())
    book.run(came_back(ok=3))
    book.run(came_back(ok=1))
    assert counters(book) == (3, 3, 0)
    assert anomalies(book) == ["ReceivedMoreThanRequested", "ConflictingReception"]


def test_reports_about_unknown_things() -> None:
    """A report lost because its order or return is not known."""
    book = DecidedBook()
    book.run(RecordReturnInTransit(return_id="r1", order_id="o1", carrier="dhl"))
    book.run(came_back(ok=1))
    assert "UnknownOrder" in anomalies(book)
    assert "order-o1" not in book.states


def test_bound_to_its_order(book: DecidedBook) -> None:
    """A return of one order settled on another."""
    book.given("order-o2", *placed_order("o2", a=1))
    book.run(request())
    other = ApproveReturn(return_id="r1", order_id="o2", by="staff")
    assert book.refusal(other) == "bound_to_another_order"
