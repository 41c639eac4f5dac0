"""Closing and reopening accounting periods, and what entries may still do then."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.account_commands import PostingInput
from orderledger.commands.decision import Command
from orderledger.commands.requests import Actor, Envelope
from orderledger.ledger.errors import (
    IdempotencyConflict,
    InvalidCommand,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Reason,
    Rejected,
)
from orderledger.ledger.journal import Layer
from orderledger.ledger.period_events import ClassTotal, PeriodClosed
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.projections.balances import StatementRequest
from orderledger.replay.period_list import PeriodRecord
from tests.commands.conftest import Opener

BANK = "assets:bank:main"
OPENING = "equity:opening"
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 15, 12, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock:
    """The time that a book sees; tests set it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(open_store: Opener, clock: Clock) -> Iterator[Book]:
    with Book(open_store(), clock=clock) as made:
        yield made


@contextmanager
def open_again(open_store: Opener, clock: Clock) -> Iterator[Book]:
    """Open the book as another process would; a book in memory stays open for the first."""
    other = Book(open_store(), clock=clock)
    yield other
    if not isinstance(other.store, MemoryStore):
        other.close()


def october(day: int) -> datetime:
    return datetime(2026, 10, day, tzinfo=UTC)


def post(
    entry_id: str, minor: int, at: datetime | None, *, account: str = BANK, **more: Any
) -> m.PostEntry:
    return m.PostEntry(
        entry_id=entry_id,
        description="a day at the till",
        postings=(PostingInput(account, "EUR", minor), PostingInput(OPENING, "EUR", -minor)),
        occurred_at=at,
        **more,
    )


def settlement(entry_id: str, at: datetime | None, gross: int = 1000) -> m.RecordSettlement:
    return m.RecordSettlement(
        entry_id=entry_id,
        provider="adyen",
        bank="main",
        gross=gross,
        fee=30,
        currency="EUR",
        occurred_at=at,
    )


def close(period: str = "2026-10", end: datetime = NOVEMBER, **more: Any) -> m.ClosePeriod:
    return m.ClosePeriod(period=period, end=end, **more)


def reopen(period: str = "2026-10", reason: str = "an invoice came late") -> m.ReopenPeriod:
    return m.ReopenPeriod(period=period, reason=reason)


def closing(book: Book, period: str = "2026-10") -> PeriodRecord:
    return next(one for one in reversed(book.read.periods()) if one.period == period)


def refusal(book: Book, command: Command, key: str | None = None) -> Rejected:
    with pytest.raises(Rejected) as caught:
        book.execute(command, key=key)
    return caught.value


def last_event(book: Book, stream: str) -> Any:
    return list(book.read.history(stream))[-1]


def sound(book: Book) -> None:
    assert list(book.read.verify()) == []


def test_the_trial_balance_is_recorded(book: Book) -> None:
    """Catches totals or a hash that are not those of what is effective before the end."""
    book.execute(post("e1", 10**24, october(1)))
    book.execute(post("e2", -300, october(31)))
    book.execute(post("e3", 5, NOVEMBER - _MICROSECOND, account="assets:bank:till"))
    book.execute(post("late", 7_000, NOVEMBER))
    book.execute(post("gone", 9, october(2), account="assets:bank:empty"))
    book.execute(post("back", -9, october(3), account="assets:bank:empty"))
    held = (
        PostingInput("assets:psp:adyen", "JPY", 500, Layer.HELD),
        PostingInput("liabilities:seller:s1", "JPY", -500, Layer.HELD),
    )
    hold = m.PostEntry(entry_id="h1", description="a hold", postings=held, occurred_at=october(5))
    book.execute(hold)
    receipt = book.execute(close(), actor=Actor("staff", "ann"))
    event = last_event(book, "periods-main").event
    lines = (
        f"assets:bank:main EUR posted {10**24 - 300}\n"
        "assets:bank:till EUR posted 5\n"
        "assets:psp:adyen JPY held 500\n"
        f"equity:opening EUR posted {-(10**24) + 300 - 5}\n"
        "liabilities:seller:s1 JPY held -500\n"
    )
    assert event == PeriodClosed(
        period="2026-10",
        start=None,
        end=NOVEMBER,
        position=7,
        totals=(
            ClassTotal("assets:bank", "EUR", Layer.POSTED, 10**24 - 300 + 5, 0, 2),
            ClassTotal("assets:psp", "JPY", Layer.HELD, 500, 0, 1),
            ClassTotal("equity", "EUR", Layer.POSTED, 0, 10**24 - 300 + 5, 1),
            ClassTotal("liabilities:seller", "JPY", Layer.HELD, 0, 500, 1),
        ),
        account_count=5,
        trial_balance_hash=hashlib.sha256(lines.encode()).hexdigest(),
    )
    assert receipt.positions == (8,)
    (listed,) = book.read.periods()
    assert (listed.closed_by, listed.closed_at) == (Actor("staff", "ann"), receipt.recorded_at)
    assert listed.is_closed
    sound(book)


def test_the_read_model_says_the_same(book: Book) -> None:
    """Catches a closing that sums other events than the trial balance as of its own instant."""
    for day in range(1, 20):
        book.execute(post(f"e{day}", day * 100, october(day), account=f"assets:bank:b{day % 4}"))
    book.execute(close())
    book.execute(settlement("s1", october(5)))
    book.execute(post("e99", 1, DECEMBER))
    found = closing(book)
    assert found.closed_at is not None
    lines = [
        f"{row.account} {row.currency} {layer} {row.debit - row.credit}\n"
        for layer in Layer
        for row in book.read.trial_balance(
            effective_to=found.end - _MICROSECOND, recorded_to=found.closed_at, layer=layer
        ).rows
    ]
    assert hashlib.sha256("".join(sorted(lines)).encode()).hexdigest() == found.trial_balance_hash
    later = book.read.trial_balance(effective_to=found.end - _MICROSECOND)
    assert [row.debit - row.credit for row in later.rows] == [
        int(line.split()[3]) for line in sorted(lines)
    ]


def test_an_empty_period_can_be_closed(book: Book) -> None:
    """Catches a closing that needs an entry, and one that starts the log."""
    book.execute(close(start=october(1)))
    assert closing(book).trial_balance_hash == hashlib.sha256(b"").hexdigest()
    assert closing(book).start == october(1)
    sound(book)


def test_a_command_inside_is_refused(book: Book) -> None:
    """Catches an entry that changes a trial balance which was given to somebody."""
    book.execute(post("e1", 100, october(1)))
    book.execute(close())
    refused = refusal(book, post("e2", 5, NOVEMBER - _MICROSECOND), key="k")
    assert refused.reason is Reason.PERIOD_CLOSED
    assert refused.facts == {
        "stream": "journal-e2",
        "period": "2026-10",
        "occurred_at": (NOVEMBER - _MICROSECOND).isoformat(),
        "open_from": NOVEMBER.isoformat(),
    }
    assert "`adjusts`" in refused.message
    assert "reopen" in refused.message
    assert list(book.read.history("journal-e2")) == []
    # In another zone it is the same instant; and the refusal is kept with its key.
    zone = timezone(timedelta(hours=5))
    again = post("e2", 5, (NOVEMBER - _MICROSECOND).astimezone(zone))
    assert refusal(book, again).reason is Reason.PERIOD_CLOSED
    book.execute(reopen())
    kept = refusal(book, post("e2", 5, NOVEMBER - _MICROSECOND), key="k")
    assert kept.reason is Reason.PERIOD_CLOSED
    book.execute(post("e2", 5, NOVEMBER - _MICROSECOND), key="k2")
    sound(book)


def test_the_open_period_takes_adjusting_entries(book: Book) -> None:
    """Catches a close that closes too much."""
    book.execute(post("e1", 100, october(1)))
    book.execute(close())
    book.execute(post("e2", -100, NOVEMBER, adjusts="e1"))
    book.execute(m.ReverseEntry(entry_id="e2", reversal_id="r", reason="x"))
    refused = refusal(
        book, m.ReverseEntry(entry_id="e1", reversal_id="r", reason="x", occurred_at=october(2))
    )
    assert refused.reason is Reason.PERIOD_CLOSED
    assert book.read.balance(BANK, "EUR") == {"EUR": 100}
    assert book.read.balance(BANK, "EUR", effective_to=NOVEMBER) == {"EUR": 0}
    sound(book)


def test_what_has_no_entry_keeps_its_instant(book: Book) -> None:
    """Catches a late fact without money that is refused, or dated otherwise than it happened."""
    book.execute(close())
    book.execute(
        m.CreateOrder(order_id="o1", buyer_ref="b", currency="EUR", occurred_at=october(9))
    )
    one = last_event(book, "order-o1")
    assert one.occurred_at == october(9)
    assert one.context.reported_at is None


def test_an_observation_posts_in_the_open_period(book: Book) -> None:
    """Catches a report that is lost, or that changes the closed period, or loses its instant."""
    book.execute(post("e1", 100, october(1)))
    book.execute(close())
    book.execute(close("2026-11", DECEMBER, start=NOVEMBER))
    book.execute(settlement("s1", october(30)), key="settled", actor=Actor("system", "importer"))
    one = last_event(book, "journal-s1")
    assert one.occurred_at == DECEMBER
    assert one.context.reported_at == october(30)
    assert one.context.adjusts == "2026-10"
    assert (one.context.key, one.context.actor.id) == ("settled", "importer")
    book.execute(settlement("s2", NOVEMBER))
    assert last_event(book, "journal-s2").context.adjusts == "2026-11"
    # Nothing is moved that is in the open period, or that names no instant.
    book.execute(settlement("s3", DECEMBER))
    book.execute(settlement("s4", None))
    for entry_id, at in (("s3", DECEMBER), ("s4", NOW)):
        one = last_event(book, f"journal-{entry_id}")
        assert (one.occurred_at, one.context.reported_at, one.context.adjusts) == (at, None, None)
    assert book.execute(settlement("s1", october(30)), key="settled").replayed
    sound(book)


def test_a_report_from_before_the_first_period(book: Book) -> None:
    """Catches a report of an instant that lies in no period, and so falls through."""
    book.execute(close(start=october(1)))
    book.execute(settlement("s1", datetime(2020, 1, 1, tzinfo=UTC)))
    one = last_event(book, "journal-s1")
    assert (one.occurred_at, one.context.adjusts) == (NOVEMBER, "2026-10")
    early = post("e1", 1, datetime(2020, 1, 1, tzinfo=UTC))
    assert refusal(book, early).reason is Reason.PERIOD_CLOSED
    sound(book)


def test_a_movement_of_a_constrained_account_goes_with_its_entry(book: Book) -> None:
    """Catches an account's stream that dates a movement otherwise than the entry behind it."""
    book.execute(
        m.ConstrainAccount(account="assets:psp:adyen", kind=m.ConstraintKind.NO_CREDIT_BALANCE)
    )
    book.execute(close())
    book.execute(settlement("s1", october(5)))
    moved = last_event(book, "account-assets:psp:adyen")
    assert moved.topic == "account.moved.v1"
    assert (moved.occurred_at, moved.context.reported_at) == (NOVEMBER, october(5))
    events = list(book.read.history("journal-s1"))
    assert [one.topic for one in events] == ["journal.entry_posted.v1", "anomaly.raised.v2"]
    sound(book)


def test_a_payment_reported_late(book: Book) -> None:
    """Catches a provider's report inside a closed period that its fold or history cannot take."""
    line = m.LineInput("1", "POT", "anna", 1, Decimal("5.00"))
    book.execute(m.PlaceOrder(order_id="o1", buyer_ref="b", currency="EUR", lines=(line,)))
    book.execute(
        m.InitiatePayment(
            payment_id="p1",
            order_id="o1",
            provider="adyen",
            method="card",
            amount=500,
            currency="EUR",
            occurred_at=october(1),
        )
    )
    book.execute(m.Authorise(payment_id="p1", op_id="a", amount=500, currency="EUR"))
    book.execute(close())
    book.execute(m.RecordSucceeded(payment_id="p1", op_id="a", occurred_at=october(2)))
    found = [one for one in book.read.payment_history("p1") if one.entry]
    assert [(one.occurred_at, one.context.reported_at) for one in found] == [(NOVEMBER, october(2))]
    assert book.payment("p1").capturable == 500
    sound(book)


def test_a_clock_behind_the_close(book: Book, clock: Clock) -> None:
    """Catches a process whose clock lags by a moment and can then post nothing at all."""
    book.execute(close(end=NOW))
    clock.now = NOW - timedelta(seconds=2)
    book.execute(post("e1", 100, None))
    one = last_event(book, "journal-e1")
    assert (one.occurred_at, one.context.reported_at) == (NOW, None)
    book.execute(settlement("s1", None))
    assert last_event(book, "journal-s1").context.reported_at is None
    sound(book)


def test_the_end_is_not_in_the_future(book: Book, clock: Clock) -> None:
    """Catches a period that is closed before it is over."""
    clock.now = NOVEMBER - _MICROSECOND
    refused = refusal(book, close())
    assert refused.reason is Reason.NOT_YET_DUE
    assert refused.facts["end"] == NOVEMBER.isoformat()
    clock.now = NOVEMBER
    book.execute(close())


def test_periods_follow_one_another(book: Book) -> None:
    """Catches a gap or an overlap between closed periods."""
    book.execute(close())
    january = datetime(2027, 1, 1, tzinfo=UTC)
    gap = refusal(book, close("2026-12", NOW, start=DECEMBER))
    assert gap.reason is Reason.PERIOD_ORDER
    assert gap.facts["missing_start"] == NOVEMBER.isoformat()
    assert gap.facts["missing_end"] == DECEMBER.isoformat()
    for command in (
        close("x", DECEMBER, start=october(31)),
        close("x", NOVEMBER),
        close("x", october(9)),
    ):
        overlap = refusal(book, command)
        assert overlap.reason is Reason.PERIOD_ORDER
        assert "overlaps" in overlap.message
        assert overlap.facts["last_period"] == "2026-10"
    assert refusal(book, close("x", january)).reason is Reason.NOT_YET_DUE
    book.execute(close("2026-11", DECEMBER, start=NOVEMBER))
    book.execute(close("2026-12", NOW))
    assert [one.start for one in book.read.periods()] == [None, NOVEMBER, DECEMBER]
    sound(book)


def test_a_closed_period_is_not_closed_again(book: Book) -> None:
    """Catches a second close that would record another trial balance for the same period."""
    receipt = book.execute(close(), key="close")
    assert refusal(book, close(), key="other").reason is Reason.PERIOD_CLOSED
    assert refusal(book, close(end=october(9)), key="third").reason is Reason.PERIOD_CLOSED
    again = book.execute(close(), key="close")
    assert again.replayed
    assert again.event_ids == receipt.event_ids
    with pytest.raises(IdempotencyConflict):
        book.execute(close(end=october(9)), key="close")
    assert refusal(book, close(), key="other").reason is Reason.PERIOD_CLOSED
    assert len(book.read.periods()) == 1


def test_the_first_period_starts_before_every_entry(book: Book) -> None:
    """Catches entries that lie before the first period and are in none."""
    book.execute(post("e1", 100, october(9)))
    early = refusal(book, close(start=october(10)))
    assert early.reason is Reason.PERIOD_ORDER
    assert (early.facts["position"], early.facts["stream"]) == (1, "journal-e1")
    assert early.facts["occurred_at"] == october(9).isoformat()
    book.execute(close(start=october(9)))
    sound(book)


def test_reopening_is_last_first_and_has_a_reason(book: Book) -> None:
    """Catches a period that is opened under a closed one, or by nobody knows why."""
    assert book.read.status().closed_until is None
    book.execute(close())
    book.execute(close("2026-11", DECEMBER))
    assert book.read.status().closed_until == DECEMBER
    with pytest.raises(NotFound):
        book.execute(reopen("2026-09"))
    refused = refusal(book, reopen("2026-10"))
    assert refused.reason is Reason.PERIOD_ORDER
    assert refused.facts["last_period"] == "2026-11"
    for reason in ("", " \n"):
        with pytest.raises(InvalidCommand):
            book.execute(reopen("2026-11", reason))
    with pytest.raises(LimitExceeded):
        book.execute(reopen("2026-11", "x" * 501))
    book.execute(reopen("2026-11"), actor=Actor("staff", "bob"))
    assert book.read.status().closed_until == NOVEMBER
    assert refusal(book, reopen("2026-11")).reason is Reason.WRONG_STATE
    assert refusal(book, post("e0", 1, october(9))).reason is Reason.PERIOD_CLOSED
    book.execute(post("e1", 100, NOVEMBER))
    book.execute(reopen("2026-10"))
    book.execute(post("e2", 100, october(9)))
    listed = book.read.periods()
    assert [one.is_closed for one in listed] == [False, False]
    assert listed[1].reopened_by == Actor("staff", "bob")
    assert listed[1].reopened_because == "an invoice came late"
    sound(book)


def test_a_reopened_period_is_closed_anew(book: Book) -> None:
    """Catches a second closing that keeps the first one's trial balance or bounds."""
    book.execute(post("e1", 100, october(1)))
    book.execute(close())
    first = closing(book)
    book.execute(reopen())
    book.execute(post("e2", 50, october(2)))
    book.execute(close(end=october(20)))
    second = closing(book)
    assert second.trial_balance_hash != first.trial_balance_hash
    assert second.end == october(20)
    book.execute(post("e3", 1, october(20)))
    book.execute(close("rest", NOVEMBER, start=october(20)))
    assert [one.is_closed for one in book.read.periods()] == [False, True, True]
    sound(book)


def test_a_command_that_ran_before_the_close_is_replayed_after_it(book: Book) -> None:
    """Catches a retry that is told its entry was refused, although it was posted."""
    receipt = book.execute(post("e1", 100, october(1)), key="k")
    book.execute(close())
    for again in (
        book.execute(post("e1", 100, october(1)), key="k"),
        book.submit(post("e1", 100, october(1)), key="k").result(),
        book.execute_many([Envelope(command=post("e1", 100, october(1)), key="k")])[0],
        book.execute_many([Envelope(command=post("e1", 100, october(1)), key="k")], atomic=True)[0],
    ):
        assert not isinstance(again, Exception)
        assert again.replayed
        assert again.event_ids == receipt.event_ids


def test_groups_and_rehearsals(book: Book, open_store: Opener, clock: Clock) -> None:
    """Catches a way to post that does not look at the periods."""
    with open_again(open_store, clock) as other:
        # It has read the constraints, and does not know of what the first book closes.
        other.execute(post("e0", 1, october(1)))
        book.execute(close())
        rehearsed = other.execute_many(
            [post("e1", 1, october(1)), settlement("s1", october(1))], dry_run=True
        )
        assert isinstance(rehearsed[0], Rejected)
        assert rehearsed[0].reason is Reason.PERIOD_CLOSED
        assert not isinstance(rehearsed[1], Exception)
        with pytest.raises(Rejected) as caught:
            other.execute_many([post("e2", 1, None), post("e3", 1, october(1))], atomic=True)
        assert caught.value.facts["index"] == 1
        assert list(other.read.history("journal-e2")) == []
        mixed = other.execute_many([post("e4", 1, None), post("e5", 1, october(1))])
        assert not isinstance(mixed[0], Exception)
        assert isinstance(mixed[1], Rejected)
        with pytest.raises(Rejected):
            other.submit(post("e6", 1, october(1))).result()
        book.execute(reopen())
        again = other.execute_many([post("e7", 1, october(1))], dry_run=True)
        assert not isinstance(again[0], Exception)
    sound(book)


def test_a_refusal_is_of_the_periods_as_they_are(
    book: Book, open_store: Opener, clock: Clock
) -> None:
    """Catches a refusal, recorded for ever, by a close that another process has taken back."""
    book.execute(close())
    with open_again(open_store, clock) as other:
        assert refusal(other, post("e1", 1, october(1))).reason is Reason.PERIOD_CLOSED
        book.execute(reopen())
        other.execute(post("e2", 1, october(1)), key="k")
        assert last_event(book, "journal-e2").occurred_at == october(1)
        book.execute(close())
        other.execute(settlement("s1", october(1)))
        assert last_event(book, "journal-s1").occurred_at == NOVEMBER
        book.execute(reopen())
        other.execute(settlement("s2", october(1)))
        assert last_event(book, "journal-s2").occurred_at == october(1)
    sound(book)


@pytest.mark.parametrize(
    "command",
    [
        close(start=NOVEMBER),
        close(start=DECEMBER),
        close(""),
        close("no spaces"),
        close("-x"),
        close("x" * 121),
        close(2026),  # type: ignore[arg-type]  # as a caller without types would
        close(end="2026-11-01"),  # type: ignore[arg-type]  # the same
        close(end=datetime(2026, 11, 1)),
        close(end=None),  # type: ignore[arg-type]  # the same
        close(start=datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
        reopen(""),
        reopen(reason=7),  # type: ignore[arg-type]  # the same
    ],
)
def test_malformed_commands(book: Book, command: Command) -> None:
    """Catches what is malformed and recorded, or fails in the database."""
    with pytest.raises(InvalidInput):
        book.execute(command, key="k")
    assert book.read.periods() == []
    # The key is free.
    book.execute(close(), key="k")


def test_they_run_alone(book: Book) -> None:
    """Catches a close that shares a transaction and so sees entries that are not committed."""
    for command in (close(), reopen()):
        results = book.execute_many([command])
        assert isinstance(results[0], InvalidCommand)
        with pytest.raises(InvalidCommand):
            book.execute_many([command], atomic=True)
        with pytest.raises(InvalidCommand):
            book.submit(command)
        with pytest.raises(InvalidCommand):
            book.execute(command, connection=object())


def test_a_statement_of_a_closed_period_stays_the_same(book: Book) -> None:
    """Catches a statement that changes under whoever has been given it."""
    import msgspec

    for day in (1, 5, 9):
        book.execute(post(f"e{day}", day * 100, october(day)))
    book.execute(close())
    wanted = StatementRequest(
        account=BANK,
        currency="EUR",
        start=october(1),
        end=NOVEMBER,
        recorded_to=closing(book).closed_at,
    )
    before = msgspec.json.encode(book.read.statement(wanted))
    book.execute(settlement("s1", october(7)))
    book.execute(post("e2", 77, NOVEMBER))
    assert msgspec.json.encode(book.read.statement(wanted)) == before
    # Even without recorded_to nothing came into the period; reopened, only recorded_to keeps it.
    book.execute(reopen())
    book.execute(post("e3", 77, october(3)))
    assert msgspec.json.encode(book.read.statement(wanted)) == before
    open_end = msgspec.structs.replace(wanted, recorded_to=None)
    assert book.read.statement(open_end).closing == book.read.statement(wanted).closing + 77
