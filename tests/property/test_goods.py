"""Invariants 11 and 45 of fulfilments and returns, over any sequence of commands and reports."""

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orderledger.commands.decision import Command
from orderledger.commands.fulfilment_commands import (
    ApproveReturn,
    AutoConfirmDelivery,
    CancelFulfilment,
    CancelReturn,
    CloseReturn,
    ConfirmDelivery,
    CreateFulfilment,
    DispatchFulfilment,
    ExpireReturn,
    InspectReturn,
    ReceiveReturn,
    RecordDelivered,
    RecordDeliveryFailed,
    RecordDispatched,
    RecordReturnInTransit,
    RecordReturnReceived,
    RejectReturn,
    RequestReturn,
    RequireReturnReview,
)
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.errors import InvalidInput, NotFound, Rejected
from orderledger.ledger.fulfilment_events import (
    DeliveryFailure,
    InspectionOutcome,
    ReceivedLine,
    ReceptionOutcome,
    ReturnLine,
    ReturnResolution,
)
from orderledger.ledger.order_events import MovedLine
from tests.decided_book import DAY, START, DecidedBook, placed_order

WINDOW = START + 30 * DAY

quantities = st.integers(1, 6)
line_ids = st.sampled_from(["a", "b"])
counts = st.integers(0, 3)


def moved(draw: Any) -> tuple[MovedLine, ...]:
    chosen = draw(st.dictionaries(line_ids, quantities, min_size=1, max_size=2))
    return tuple(MovedLine(line_id, quantity) for line_id, quantity in chosen.items())


@st.composite
def intentions(draw: Any) -> Command:
    of_fulfilment = {"fulfilment_id": draw(st.sampled_from(["f1", "f2"])), "order_id": "o1"}
    of_return = {"return_id": draw(st.sampled_from(["r1", "r2"])), "order_id": "o1"}
    lines = moved(draw)
    received = draw(received_lines)
    made: list[Command] = [
        CreateFulfilment(lines=lines, location="w", digital=draw(st.booleans()), **of_fulfilment),
        DispatchFulfilment(carrier="dhl", **of_fulfilment),
        CancelFulfilment(reason="stock", **of_fulfilment),
        ConfirmDelivery(**of_fulfilment),
        AutoConfirmDelivery(due_at=START, **of_fulfilment),
        RequestReturn(
            lines=tuple(ReturnLine(one.line_id, one.quantity, "size") for one in lines),
            window_until=WINDOW,
            **of_return,
        ),
        RequireReturnReview(reason="value", **of_return),
        ApproveReturn(by="staff", **of_return),
        RejectReturn(by="staff", reason="worn", **of_return),
        CancelReturn(by="b1", reason="kept", **of_return),
        ExpireReturn(due_at=START - DAY, **of_return),
        ReceiveReturn(
            reception_id=draw(st.sampled_from(["p1", "p2"])), lines=received, **of_return
        ),
        InspectReturn(outcome=InspectionOutcome.ACCEPTED, by="staff", **of_return),
        CloseReturn(resolution=ReturnResolution.NO_REFUND, **of_return),
    ]
    chosen: Command = draw(st.sampled_from(made))
    return chosen


received_lines = st.lists(
    st.builds(
        ReceivedLine,
        line_id=line_ids,
        ok=counts,
        damaged=counts,
        missing=counts,
        outcome=st.sampled_from(ReceptionOutcome),
    ).filter(lambda line: line.ok + line.damaged + line.missing > 0),
    min_size=1,
    max_size=2,
    unique_by=lambda line: line.line_id,
).map(tuple)


@st.composite
def reports(draw: Any) -> Command:
    order_id = draw(st.sampled_from(["o1", "o1", "o1", "nobody"]))
    of_fulfilment = {
        "fulfilment_id": draw(st.sampled_from(["f1", "f2"])),
        "order_id": order_id,
    }
    of_return = {"return_id": draw(st.sampled_from(["r1", "r2"])), "order_id": order_id}
    lines = moved(draw) if draw(st.booleans()) else ()
    made: list[Command] = [
        RecordDispatched(carrier="dhl", lines=lines, **of_fulfilment),
        RecordDelivered(lines=lines, **of_fulfilment),
        RecordDeliveryFailed(kind=draw(st.sampled_from(DeliveryFailure)), **of_fulfilment),
        RecordReturnInTransit(carrier="dhl", **of_return),
        RecordReturnReceived(
            reception_id=draw(st.sampled_from(["p1", "p2"])),
            lines=draw(received_lines),
            **of_return,
        ),
    ]
    chosen: Command = draw(st.sampled_from(made))
    return chosen


def confirmed() -> DecidedBook:
    book = DecidedBook()
    book.given("order-o1", *placed_order(a=5, b=2))
    return book


def on_its_way_back() -> DecidedBook:
    """Two units shipped as f1, and both asked back as r1."""
    book = confirmed()
    two = (MovedLine("a", 2),)
    for command in (
        CreateFulfilment(fulfilment_id="f1", order_id="o1", lines=two, location="w"),
        DispatchFulfilment(fulfilment_id="f1", order_id="o1", carrier="dhl"),
        RequestReturn(
            return_id="r1",
            order_id="o1",
            lines=(ReturnLine("a", 2, "size"),),
            window_until=START + DAY,
        ),
    ):
        book.run(command)
    return book


def try_run(book: DecidedBook, command: Command) -> None:
    try:
        book.run(command)
    except (Rejected, NotFound, InvalidInput):
        return
    assert_repeats(book, command)


def assert_repeats(book: DecidedBook, command: Command) -> None:
    """The same command again changes no counter of the order, whatever else it says."""
    before = book.states["order-o1"].lines
    with suppress(Rejected):
        book.run(command)
    assert book.states["order-o1"].lines == before, command


@given(st.lists(intentions(), min_size=15, max_size=40), st.booleans())
def test_commands_keep_the_counters_of_every_line(commands: list[Command], half_way: bool) -> None:
    """Invariant 11 broken by commands alone: more shipped, asked back or returned than possible."""
    book = on_its_way_back() if half_way else confirmed()
    for command in commands:
        try_run(book, command)
        for line in book.states["order-o1"].lines.values():
            assert line.cancelled + max(line.allocated, line.shipped) <= line.ordered
            assert line.delivered <= line.shipped <= line.allocated
            assert line.return_requested <= max(line.delivered, line.shipped)
            assert line.returned <= line.return_requested
    assert not [event for _, event in book.events if isinstance(event, AnomalyRaised)]


@given(st.lists(st.one_of(intentions(), reports()), min_size=15, max_size=40), st.booleans())
def test_reports_are_never_refused(commands: list[Command], half_way: bool) -> None:
    """A report that is refused, negative counters, or a fact whose fold fails (invariant 45)."""
    book = on_its_way_back() if half_way else confirmed()
    for command in commands:
        if type(command).__name__.startswith("Record"):
            book.run(command)
        else:
            try_run(book, command)
        for line in book.states["order-o1"].lines.values():
            assert min(line.allocated, line.shipped, line.delivered, line.lost) >= 0
            assert 0 <= line.returned <= line.return_requested
    keys = [
        (stream, event.key) for stream, event in book.events if isinstance(event, AnomalyRaised)
    ]
    assert len(keys) == len(set(keys)), "the same anomaly raised twice"


@given(st.permutations([0, 1, 2, 3]))
def test_reports_in_any_order_give_the_same_counters(order: list[int]) -> None:
    """Counters that depend on which of the carrier's reports was delivered first."""
    of_fulfilment: dict[str, Any] = {"fulfilment_id": "f1", "order_id": "o1"}
    lines = (MovedLine("a", 2),)
    told: list[Command] = [
        RecordDispatched(carrier="dhl", lines=lines, **of_fulfilment),
        RecordDelivered(lines=lines, **of_fulfilment),
        RecordDispatched(carrier="dhl", lines=lines, **of_fulfilment),
        RecordDelivered(lines=lines, **of_fulfilment),
    ]
    book = confirmed()
    for index in order:
        book.run(told[index])
    line = book.states["order-o1"].lines["a"]
    assert (line.allocated, line.shipped, line.delivered) == (2, 2, 2)
    assert book.states["fulfilment-f1"].lifecycle == "delivered"
