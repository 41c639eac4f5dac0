"""Timers: each deadline fires once, at its own instant, whatever clocks and restarts do."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orderledger import Book
from orderledger.commands.fulfilment_commands import (
    CancelReturn,
    CreateFulfilment,
    DispatchFulfilment,
    RecordDelivered,
    RequestReturn,
)
from orderledger.commands.order_commands import AddNote, ConfirmOrder, ReleaseFunds
from orderledger.commands.payment_commands import RecordDeclined, RecordUnknown
from orderledger.commands.period_commands import ClosePeriod
from orderledger.commands.value_commands import IssueValue
from orderledger.ledger.fulfilment_events import ReturnLine
from orderledger.ledger.order_content import DEFAULT_TERMS, OrderTerms
from orderledger.ledger.order_events import MovedLine
from orderledger.ledger.orders import Lifecycle
from orderledger.ledger.value_events import ValueKind, ValueSource
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.projections.deadlines import DeadlineRow
from orderledger.replay.rebuild import rebuild
from tests.machinery.faults import Faults, Process
from tests.machinery.shop import (
    START,
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

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def rows(book: Book) -> list[tuple[str, str]]:
    return [(row.kind, row.stream) for row in book.machinery.deadlines()]


def paid(book: Book, **fields: Any) -> None:
    """Give a confirmed order whose payment is captured."""
    run(
        book,
        place(**fields),
        initiate(),
        authorise(),
        succeeded("p1", "auth"),
        ConfirmOrder(order_id="o1"),
        capture(),
        succeeded("p1", "capture"),
    )


def shipped(book: Book) -> None:
    lines = (MovedLine("a", 2),)
    of: dict[str, Any] = {"fulfilment_id": "f1", "order_id": "o1"}
    run(
        book,
        CreateFulfilment(**of, lines=lines, location="here"),
        DispatchFulfilment(**of, carrier="dhl"),
    )


def test_an_unpaid_order_expires_at_its_instant_however_late_the_sweep() -> None:
    """Catches a late sweeper that changes what is recorded, or one that fires too early."""
    clock = Clock()
    book = open_book(clock)
    due_at = START + HOUR
    run(book, place(payment_due_at=due_at), place("o2", payment_due_at=due_at + DAY))
    assert rows(book) == [("payment_due", "order-o1"), ("payment_due", "order-o2")]
    assert book.sweep(due_at - timedelta(microseconds=1)).found == 0
    clock.move(hours=5)
    assert book.sweep().performed == 1
    (event,) = [one for one in book.read.history("order-o1") if "expired" in one.topic]
    assert event.occurred_at == due_at
    assert book.order("o1").lifecycle is Lifecycle.EXPIRED
    assert rows(book) == [("payment_due", "order-o2")]
    assert book.sweep().performed == 0
    (fired,) = work_in(book, Lane.TIMER)
    assert fired.key == f"timer/order-o1/payment_due/{due_at.isoformat()}"


def test_a_deadline_that_went_is_not_fired() -> None:
    """Catches a timer that acts on what was true when it was set."""
    clock = Clock()
    book = open_book(clock)
    run(book, place(payment_due_at=START + HOUR))
    clock.move(hours=2)
    assert book.machinery.collect() == 1
    run(book, initiate(), authorise(), succeeded("p1", "auth"), ConfirmOrder(order_id="o1"))
    book.sweep()
    assert [one.status for one in work_in(book, Lane.TIMER)] == [WorkStatus.GONE]
    assert book.order("o1").lifecycle is Lifecycle.CONFIRMED


def test_a_refused_firing_is_visible_and_tried_again() -> None:
    """Catches a timer that the first "no" silences, or that holds up the others."""
    clock = Clock()
    book = open_book(clock)
    run(book, place(payment_due_at=START + HOUR), place("o2", payment_due_at=START + HOUR))
    run(book, initiate(), purchase())
    clock.move(hours=2)
    book.sweep()
    assert book.order("o2").lifecycle is Lifecycle.EXPIRED
    assert book.order("o1").lifecycle is Lifecycle.PLACED
    (waiting,) = work_in(book, Lane.TIMER, WorkStatus.WAITING)
    assert "outcome" in waiting.error
    run(book, RecordUnknown(payment_id="p1", op_id="buy"))
    assert book.sweep().performed == 0
    clock.move(minutes=1)
    book.sweep()
    (waiting,) = work_in(book, Lane.TIMER, WorkStatus.WAITING)
    assert (waiting.attempts, waiting.refusals) == (2, 2)
    run(book, RecordDeclined(payment_id="p1", op_id="buy"))
    clock.move(hours=1)
    book.sweep()
    assert book.order("o1").lifecycle is Lifecycle.EXPIRED


def test_an_authorisation_is_called_to_mind_and_expires() -> None:
    """Catches an authorisation that runs out unseen (hard case 29), or an alert given twice."""
    clock = Clock()
    book = open_book(clock)
    expires_at = START + 10 * DAY
    run(book, place(), initiate(), authorise(), succeeded("p1", "auth", expires_at=expires_at))
    assert rows(book) == [
        ("authorisation_alert", "payment-p1"),
        ("authorisation_expiry", "payment-p1"),
    ]
    alert, _ = book.machinery.deadlines()
    assert alert.due_at == START + 8 * DAY
    clock.move(days=8)
    book.sweep()
    assert events_of(book, "payment-p1")[-2:] == ["AuthorisationExpiring", "AnomalyRaised"]
    assert rows(book) == [("authorisation_expiry", "payment-p1")]
    clock.move(days=2)
    book.sweep()
    assert book.payment("p1").capturable == 0
    assert rows(book) == []


def test_delivery_is_confirmed_by_silence_and_the_slice_becomes_releasable() -> None:
    """Catches money of a seller that stays in escrow for ever because the buyer says nothing."""
    clock = Clock()
    book = open_book(clock)
    paid(book)
    shipped(book)
    assert rows(book) == [("auto_confirm", "fulfilment-f1")]
    run(book, RecordDelivered(fulfilment_id="f1", order_id="o1"))
    clock.move(days=3)
    run(book, AddNote(order_id="o1", note_ref="n", by="me"))
    (confirm, release) = book.machinery.deadlines()
    assert confirm.due_at == START + timedelta(hours=DEFAULT_TERMS.confirm_delivered_hours)
    waits = timedelta(hours=DEFAULT_TERMS.release_hours)
    assert release.due_at == START + waits, "what else happens does not move it"
    clock.move(days=11)
    book.sweep()
    assert "DeliveryAutoConfirmed" in events_of(book, "fulfilment-f1")
    assert book.order("o1").slices["s1"].condition_met
    assert rows(book) == []


def test_an_order_has_waits_of_its_own() -> None:
    """Catches a timer that waits by another order's terms, or by those of today's code."""
    clock = Clock()
    book = open_book(clock)
    terms = OrderTerms(
        release_hours=48,
        completion_hours=0,
        confirm_delivered_hours=24,
        confirm_dispatched_hours=60 * 24,
    )
    paid(book, terms=terms)
    shipped(book)
    (confirm,) = book.machinery.deadlines()
    assert confirm.due_at == START + 60 * DAY
    run(book, RecordDelivered(fulfilment_id="f1", order_id="o1"))
    (confirm, release) = book.machinery.deadlines()
    assert (confirm.due_at, release.due_at) == (START + DAY, START + 2 * DAY)
    clock.move(days=2)
    book.sweep()
    assert events_of(book, "fulfilment-f1")[-1] == "DeliveryAutoConfirmed"
    assert book.order("o1").slices["s1"].condition_met
    by: dict[str, Any] = {"commission_rate": Decimal(0), "rate_version": "v1"}
    run(book, ReleaseFunds(order_id="o1", release_id="r1", seller="s1", **by))
    book.sweep()
    assert book.order("o1").lifecycle is Lifecycle.COMPLETED


def test_a_deadline_that_is_open_again_fires() -> None:
    """Catches a release that never comes because a return was open when it was first due."""
    clock = Clock()
    book = open_book(clock)
    paid(book)
    shipped(book)
    run(book, RecordDelivered(fulfilment_id="f1", order_id="o1"))
    clock.move(days=14)
    book.machinery.collect()
    of: dict[str, Any] = {"return_id": "r1", "order_id": "o1"}
    lines = (ReturnLine("a", 1, "too small"),)
    run(book, RequestReturn(**of, lines=lines, window_until=clock.now + DAY))
    book.sweep()
    gone = work_in(book, Lane.TIMER, WorkStatus.GONE)
    assert [one.key for one in gone] == ["timer/order-o1/release/s1"]
    run(book, CancelReturn(**of, by="buyer", reason="it fits"))
    book.sweep()
    assert not book.order("o1").slices["s1"].condition_met, "the wait began anew"
    clock.move(days=14)
    book.sweep()
    assert book.order("o1").slices["s1"].condition_met


def test_a_return_window_and_a_lot_end() -> None:
    """Catches a return that may come for ever, and store credit that outlives its expiry."""
    clock = Clock()
    book = open_book(clock)
    paid(book)
    shipped(book)
    run(book, RecordDelivered(fulfilment_id="f1", order_id="o1"))
    window = START + 2 * DAY
    run(
        book,
        RequestReturn(
            return_id="r1",
            order_id="o1",
            lines=(ReturnLine("a", 1, "too small"),),
            window_until=window,
        ),
        IssueValue(
            account_id="v1",
            holder="b1",
            kind=ValueKind.STORE_CREDIT,
            lot_id="l1",
            amount=500,
            currency="USD",
            source=ValueSource.GOODWILL,
            expires_at=START + DAY,
        ),
    )
    assert ("return_window", "return-r1") in rows(book)
    assert ("release", "order-o1") not in rows(book), "a return is open"
    clock.move(days=2)
    book.sweep()
    assert book.read.balance("liabilities:store_credit:b1") == {"USD": 0}
    assert events_of(book, "return-r1") == ["ReturnRequested"], "its last instant still counts"
    clock.now += timedelta(microseconds=1)
    book.sweep()
    assert events_of(book, "return-r1")[-1] == "ReturnExpired"
    assert ("release", "order-o1") in rows(book)


def test_a_period_that_closed_meanwhile_takes_no_late_entry() -> None:
    """Catches a deadline that is refused for ever because its instant lies in a closed period."""
    clock = Clock()
    book = open_book(clock)
    run(
        book,
        IssueValue(
            account_id="v1",
            holder="b1",
            kind=ValueKind.STORE_CREDIT,
            lot_id="l1",
            amount=500,
            currency="USD",
            source=ValueSource.GOODWILL,
            expires_at=START + HOUR,
        ),
    )
    clock.move(days=1)
    run(book, ClosePeriod(period="p", start=None, end=START + 2 * HOUR))
    book.sweep()
    assert book.read.balance("liabilities:store_credit:b1") == {"USD": -500}
    clock.move(minutes=1)
    book.sweep()
    assert book.read.balance("liabilities:store_credit:b1") == {"USD": 0}
    assert list(book.read.verify()) == []


def test_a_long_id_has_a_key_too() -> None:
    """Catches a deadline whose key is longer than a key may be, and so never fires."""
    clock = Clock()
    book = open_book(clock)
    order_id, op_id = "o" * 120, "a" * 120
    run(book, place(order_id), initiate("p" * 120, order_id), authorise("p" * 120, op_id))
    run(book, succeeded("p" * 120, op_id, expires_at=START + HOUR))
    clock.move(hours=1)
    book.sweep()
    assert book.payment("p" * 120).capturable == 0


def test_a_late_delivery_report_starts_at_the_worlds_instant() -> None:
    """Catches a wait that starts when a report came in, not when what it says happened."""
    clock = Clock()
    book = open_book(clock)
    paid(book)
    shipped(book)
    clock.move(days=5)
    run(book, RecordDelivered(fulfilment_id="f1", order_id="o1", occurred_at=START + DAY))
    confirm = next(book.machinery.deadlines())
    assert confirm.due_at == START + timedelta(days=1, hours=DEFAULT_TERMS.confirm_delivered_hours)


def test_rows_are_a_function_of_the_log() -> None:
    """Catches deadlines that depend on the size of batches: a rebuild would differ."""
    clock = Clock()
    book = open_book(clock)
    paid(book, payment_due_at=START + HOUR)
    shipped(book)
    run(book, RecordDelivered(fulfilment_id="f1", order_id="o1"))
    before = list(book.machinery.deadlines())
    rebuild(book.read.models, "deadlines")
    assert list(book.read.models.select(DeadlineRow)) == before


@settings(max_examples=30)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("move"), st.integers(-90, 120)),
            st.tuples(st.just("sweep"), st.integers(0, 1)),
            st.tuples(st.just("collect"), st.integers(0, 1)),
            st.tuples(st.just("die"), st.integers(0, 12)),
            st.tuples(st.just("place"), st.integers(0, 60)),
        ),
        max_size=30,
    )
)
def test_each_deadline_fires_once(steps: list[tuple[str, int]]) -> None:
    """Catches a timer that two sweepers, a clock that steps, or a crash fire twice or never."""
    clock = Clock()
    book = open_book(clock)
    due: dict[str, datetime] = {}
    for number, (word, value) in enumerate(steps):
        if word == "move":
            clock.move(minutes=value)
        elif word == "place":
            at = START + timedelta(minutes=value)
            due[f"o{number}"] = at
            run(book, place(f"o{number}", payment_due_at=at))
        elif word == "collect":
            book.machinery.collect()
        elif word == "sweep":
            book.sweep()
        else:
            Process(book, clock, Faults(at=value)).run()
    clock.now = START + 30 * DAY
    for _ in range(12):
        book.sweep()
        clock.move(hours=6)
    for order_id, at in due.items():
        expired = [one for one in book.read.history(f"order-{order_id}") if "expired" in one.topic]
        assert [one.occurred_at for one in expired] == [at]
    assert rows(book) == []
