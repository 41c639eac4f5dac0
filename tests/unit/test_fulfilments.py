"""Fulfilments: transitions, refusals in their order, and reports that contradict the state."""

from typing import Any

import msgspec
import pytest

from orderledger.commands.fulfilment_commands import (
    AutoConfirmDelivery,
    CancelFulfilment,
    ConfirmDelivery,
    CreateFulfilment,
    DispatchFulfilment,
    RecordDelivered,
    RecordDeliveryFailed,
    RecordDispatched,
    RecordTracking,
)
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.fulfilment_events import DeliveryFailure
from orderledger.ledger.order_events import (
    MovedLine,
    OrderCancellationRequested,
    OrderCancelled,
    OrderHeld,
)
from tests.decided_book import DAY, START, DecidedBook, placed_order

TWO = (MovedLine("a", 2),)


@pytest.fixture
def book() -> DecidedBook:
    one = DecidedBook()
    one.given("order-o1", *placed_order(a=5, b=1))
    return one


def create(lines: tuple[MovedLine, ...] = TWO, **fields: Any) -> CreateFulfilment:
    given: dict[str, Any] = {"fulfilment_id": "f1", "order_id": "o1", "location": "w1", **fields}
    return CreateFulfilment(lines=lines, **given)


def dispatch(tracking: str = "t1") -> DispatchFulfilment:
    return DispatchFulfilment(fulfilment_id="f1", order_id="o1", carrier="dhl", tracking=tracking)


def dispatched(tracking: str = "t1", lines: tuple[MovedLine, ...] = ()) -> RecordDispatched:
    return RecordDispatched(
        fulfilment_id="f1", order_id="o1", carrier="dhl", tracking=tracking, lines=lines
    )


def delivered(lines: tuple[MovedLine, ...] = (), order_id: str = "o1") -> RecordDelivered:
    return RecordDelivered(fulfilment_id="f1", order_id=order_id, lines=lines)


def counters(book: DecidedBook, line_id: str = "a") -> tuple[int, int, int, int]:
    line = book.states["order-o1"].lines[line_id]
    return line.allocated, line.shipped, line.delivered, line.lost


def anomalies(book: DecidedBook) -> list[str]:
    return [event.kind for _, event in book.events if isinstance(event, AnomalyRaised)]


def lifecycle(book: DecidedBook) -> str:
    return str(book.states["fulfilment-f1"].lifecycle)


def test_the_ordinary_way(book: DecidedBook) -> None:
    """A counter of the order that does not follow its fulfilment."""
    steps = []
    for command in (create(), dispatch(), delivered()):
        book.run(command)
        steps.append((lifecycle(book), counters(book)))
    assert steps == [
        ("packed", (2, 0, 0, 0)),
        ("shipped", (2, 2, 0, 0)),
        ("delivered", (2, 2, 2, 0)),
    ]
    assert anomalies(book) == []


def test_digital_lines_are_delivered_on_grant(book: DecidedBook) -> None:
    """A licence that waits for a carrier, or that can still be cancelled once granted."""
    book.run(create((MovedLine("b", 1),), digital=True))
    assert (lifecycle(book), counters(book, "b")) == ("delivered", (1, 1, 1, 0))
    assert book.states["order-o1"].lines["b"].cancellable == 0


def test_cancelled_only_before_dispatch(book: DecidedBook) -> None:
    """Units freed although the carrier has them: afterwards it is a return."""
    cancel = CancelFulfilment(fulfilment_id="f1", order_id="o1", reason="damaged")
    book.run(create())
    book.run(cancel)
    assert (lifecycle(book), counters(book)) == ("cancelled", (0, 0, 0, 0))
    assert book.run(cancel) == ()
    book.run(create(fulfilment_id="f2"))
    book.run(msg_dispatch("f2"))
    late = CancelFulfilment(fulfilment_id="f2", order_id="o1", reason="late")
    assert book.refusal(late) == "wrong_state"


def msg_dispatch(fulfilment_id: str) -> DispatchFulfilment:
    return DispatchFulfilment(fulfilment_id=fulfilment_id, order_id="o1", carrier="dhl")


def test_refusals_of_create_in_their_order(book: DecidedBook) -> None:
    """A refusal that hides an earlier one: malformed, unknown, used, state, quantity."""
    held = DecidedBook()
    held.given("order-o1", placed_order(a=5)[0])
    table = [
        (book, create(()), "InvalidCommand"),
        (book, create((MovedLine("a", 0),), order_id="none"), "InvalidCommand"),
        (book, create((*TWO, *TWO)), "InvalidCommand"),
        (book, create((MovedLine("zz", 1),), order_id="none"), "NotFound"),
        (held, create((MovedLine("zz", 1),)), "wrong_state"),
        (book, create((MovedLine("zz", 1),)), "not_found"),
        (book, create((MovedLine("a", 6),)), "quantity_exceeds_available"),
        (book, create(), ""),
        (book, create(), ""),
        (book, create((MovedLine("a", 1),)), "already_exists"),
        (book, create((MovedLine("a", 4),), fulfilment_id="f2"), "quantity_exceeds_available"),
    ]
    assert [where.refusal(command) for where, command, _ in table] == [want for *_, want in table]


def test_refusals_of_dispatch(book: DecidedBook) -> None:
    """Goods handed over for an order that is on hold, being cancelled or not this one."""
    assert book.refusal(dispatch()) == "NotFound"
    book.run(create())
    other = DispatchFulfilment(fulfilment_id="f1", order_id="o2", carrier="dhl")
    assert book.refusal(other) == "bound_to_another_order"
    book.given("order-o1", OrderHeld(reason="risk", rule_id="r1", by="rule"))
    assert book.refusal(dispatch()) == "on_hold"
    book.given("order-o1", OrderCancellationRequested(reason="buyer", by="b1"))
    assert book.refusal(dispatch()) == "wrong_state"


def test_dispatch_after_units_were_cancelled(book: DecidedBook) -> None:
    """shipped + cancelled above what was ordered (invariant 11)."""
    book.run(create((MovedLine("a", 5),)))
    state = book.states["order-o1"]
    line = state.lines["a"]
    fewer = replaced(line.line, quantity=4)
    book.states["order-o1"] = replaced(
        state, lines={**state.lines, "a": replaced(line, line=fewer, cancelled=1)}
    )
    assert book.refusal(dispatch()) == "quantity_exceeds_available"


def replaced(struct: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(struct, **fields)


def test_confirmation_by_silence_waits_for_its_time(book: DecidedBook) -> None:
    """Escrow released before the buyer's time to object is over, or twice for one deadline."""
    book.run(create())
    auto = AutoConfirmDelivery(fulfilment_id="f1", order_id="o1", due_at=START + 3 * DAY)
    assert book.refusal(auto) == "wrong_state"
    book.run(dispatch())
    assert book.refusal(auto) == "not_yet_due"
    book.now = START + 3 * DAY
    book.run(auto)
    assert (lifecycle(book), counters(book)) == ("delivered", (2, 2, 2, 0))
    assert book.run(auto) == ()
    assert book.run(ConfirmDelivery(fulfilment_id="f1", order_id="o1")) == ()


def test_confirmation_after_the_carriers_report_counts_once(book: DecidedBook) -> None:
    """Units counted as delivered by the carrier and again by the buyer."""
    for command in (create(), dispatch(), delivered()):
        book.run(command)
    book.run(ConfirmDelivery(fulfilment_id="f1", order_id="o1"))
    assert counters(book) == (2, 2, 2, 0)
    book.run(delivered())
    assert counters(book) == (2, 2, 2, 0)


def test_delivered_before_hand_over_in_any_order(book: DecidedBook) -> None:
    """Counters that depend on which report came first (hard case 30)."""
    book.run(create())
    book.run(delivered())
    assert (counters(book), anomalies(book)) == ((2, 2, 2, 0), ["DeliveredBeforeDispatch"])
    book.run(dispatched())
    book.run(dispatched())
    book.run(delivered())
    assert (lifecycle(book), counters(book)) == ("delivered", (2, 2, 2, 0))
    assert anomalies(book) == ["DeliveredBeforeDispatch"]


def test_delivered_yet_cancelled(book: DecidedBook) -> None:
    """A report refused, or swallowed, because the order was cancelled (hard case 30)."""
    book.run(create())
    book.run(dispatch())
    book.given(
        "order-o1",
        OrderCancellationRequested(reason="buyer", by="b1"),
        OrderCancelled(reason="buyer", by="b1"),
    )
    book.run(delivered())
    assert (lifecycle(book), counters(book)) == ("delivered", (2, 2, 2, 0))
    assert anomalies(book) == ["DeliveredYetCancelled"]


def test_shipped_before_approval() -> None:
    """Real orders reach the carrier before they are approved; refusing that loses the fact."""
    book = DecidedBook()
    book.given("order-o1", placed_order(a=5)[0])
    book.run(dispatched(lines=TWO))
    assert (lifecycle(book), counters(book)) == ("shipped", (2, 2, 0, 0))
    assert anomalies(book) == ["DispatchedBeforeApproval"]


def test_reports_of_what_nobody_knows() -> None:
    """A report lost because its order or fulfilment is not known yet."""
    book = DecidedBook()
    book.run(dispatched())
    assert set(anomalies(book)) == {"UnknownOrder", "UnknownFulfilment"}
    assert "order-o1" not in book.states
    tracked = RecordTracking(fulfilment_id="f9", order_id="o1", code="in", at=START)
    book.run(tracked)
    assert book.run(tracked) == ()


def test_a_cancelled_fulfilment_that_left_anyway(book: DecidedBook) -> None:
    """Units that the order believes to be free, although they are on the road."""
    book.run(create())
    book.run(CancelFulfilment(fulfilment_id="f1", order_id="o1", reason="stock"))
    book.run(dispatched())
    assert (counters(book), anomalies(book)) == ((2, 2, 0, 0), ["DispatchedYetCancelled"])


def test_other_units_than_set_aside(book: DecidedBook) -> None:
    """A short shipment that leaves phantom units set aside."""
    book.run(create())
    book.run(dispatched(lines=(MovedLine("a", 1), MovedLine("b", 1))))
    assert (counters(book), counters(book, "b")) == ((1, 1, 0, 0), (1, 1, 0, 0))
    assert anomalies(book) == ["DispatchedOtherUnits"]


def test_more_shipped_than_ordered(book: DecidedBook) -> None:
    """A breach of invariant 11 by a report that raises no anomaly."""
    book.run(dispatched(lines=(MovedLine("a", 6), MovedLine("zz", 1))))
    assert anomalies(book) == ["ShippedMoreThanOrdered", "UnknownLine"]


def test_lost_and_refused(book: DecidedBook) -> None:
    """Lost units that still wait to be delivered, or refused ones counted as lost."""
    book.run(create())
    book.run(dispatch())
    lost = RecordDeliveryFailed(fulfilment_id="f1", order_id="o1", kind=DeliveryFailure.LOST)
    book.run(lost)
    assert book.run(lost) == ()
    assert (lifecycle(book), counters(book)) == ("failed", (2, 2, 0, 2))
    book.run(delivered())
    assert (lifecycle(book), anomalies(book)) == ("delivered", ["DeliveredYetLost"])


def test_failed_before_dispatch_then_refused(book: DecidedBook) -> None:
    """Contradicting failures that overwrite each other without a trace."""
    book.run(create())
    for kind in (DeliveryFailure.REFUSED, DeliveryFailure.LOST):
        book.run(RecordDeliveryFailed(fulfilment_id="f1", order_id="o1", kind=kind))
    assert anomalies(book) == ["FailedBeforeDispatch", "ConflictingFailure"]
    assert book.states["fulfilment-f1"].failure == "refused"


def test_conflicting_reports_are_both_kept(book: DecidedBook) -> None:
    """A second, different report that is taken for a repetition (hard case 4)."""
    book.run(create())
    book.run(dispatched("t1"))
    book.run(dispatched("t2"))
    book.run(delivered())
    book.run(delivered((MovedLine("a", 1),)))
    assert anomalies(book) == ["ConflictingDispatch", "ConflictingDelivery"]
    assert counters(book) == (2, 2, 2, 0)
    assert book.states["fulfilment-f1"].tracking == "t1"


def test_a_report_for_another_order(book: DecidedBook) -> None:
    """Units of one order counted on another."""
    book.given("order-o2", *placed_order("o2", a=1))
    book.run(create())
    book.run(dispatch())
    book.run(delivered(order_id="o2"))
    assert anomalies(book) == ["BoundToAnotherOrder"]
    assert counters(book) == (2, 2, 2, 0)
