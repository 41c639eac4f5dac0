"""Payouts through the bank's port: each paid once, whatever is lost between."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from orderledger import Book
from orderledger.commands.order_commands import ConfirmOrder, MeetReleaseCondition, ReleaseFunds
from orderledger.commands.payout_commands import (
    InitiatePayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutUnknown,
)
from orderledger.commands.process_payouts import Payouts
from orderledger.ledger.payment_operations import Outcome
from orderledger.ledger.payouts import PayoutStatus
from orderledger.ledger.provider_ports import BankAnswer
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.payout_proposals import PayoutTarget, propose_payout, seen_balance
from orderledger.testing.fakes import Failure, FakeWorld
from tests.machinery.shop import (
    START,
    TOTAL,
    Clock,
    initiate,
    open_book,
    place,
    purchase,
    run,
    succeeded,
    work_in,
)

TARGET = PayoutTarget(seller="s1", currency="USD", bank="main", minimum=1)


def owed() -> tuple[Book, Clock, FakeWorld]:
    """Return a shop that pays sellers by itself, with payout y1 of 20.00 scheduled."""
    clock, world = Clock(), FakeWorld()
    book = open_book(clock).wire(Wiring(ports=world.ports, reactors=(Payouts(),)))
    book.machinery.settle()
    run(book, place(), initiate(), purchase(), succeeded("p1", "buy"), ConfirmOrder(order_id="o1"))
    run(book, MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    release: dict[str, Any] = {"commission_rate": Decimal(0), "rate_version": "v1"}
    run(book, ReleaseFunds(order_id="o1", release_id="r1", seller="s1", **release))
    run(book, propose_payout(book.read, "y1", TARGET))
    return book, clock, world


def initiated(book: Book) -> None:
    run(book, InitiatePayout(payout_id="y1", seen=seen_balance(book.read, "s1", "USD")))


@pytest.mark.parametrize("failure", [None, Failure.NOT_SENT, Failure.LATE])
def test_a_payout_is_paid_once(failure: Failure | None) -> None:
    """Catches a payout that nobody sends, or that is sent again under another key."""
    book, clock, world = owed()
    book.machinery.settle()
    assert world.bank.requests == []
    if failure is not None:
        world.bank.fail(failure)
    initiated(book)
    for _ in range(3):
        book.machinery.settle()
        clock.move(minutes=5)
    assert book.read.payout("y1").status is PayoutStatus.PAID
    assert len(world.bank.requests) == 1, "it is sent once"
    (paid,) = world.bank.effects.items()
    assert paid[0] == "y1"
    assert book.read.balance("assets:bank:main") == {"USD": -TOTAL}
    assert list(book.read.verify()) == []


def test_a_payout_that_never_arrived_is_the_sellers_again() -> None:
    """Catches a payout of which nobody knows that is sent again, or keeps its money for ever."""
    book, clock, world = owed()
    world.bank.fail(Failure.LOST)
    initiated(book)
    book.machinery.settle()
    assert book.read.payout("y1").status is PayoutStatus.UNKNOWN
    clock.move(minutes=4)
    book.machinery.settle()
    assert book.read.payout("y1").status is PayoutStatus.UNKNOWN, "it is not asked about yet"
    clock.move(minutes=1)
    book.machinery.settle()
    assert book.read.payout("y1").status is PayoutStatus.FAILED
    assert (len(world.bank.requests), world.bank.effects) == (1, {})
    assert book.read.balance("liabilities:seller:s1") == {"USD": -TOTAL}
    assert list(book.read.verify()) == []


def test_a_payout_of_which_nobody_knows_is_asked_about_by_its_schedule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches a schedule that ends early, goes on for ever, or ends without a person being told."""
    book, clock, world = owed()
    world.bank.fail(Failure.LATE)
    initiated(book)
    book.machinery.settle()
    no_list = BankAnswer(outcome=Outcome.UNKNOWN, detail="no list yet")
    monkeypatch.setattr(world.bank, "query", lambda request: no_list)
    asked: list[datetime] = []
    for _ in range(200):
        clock.move(hours=1)
        before = book.read.payout("y1").queries
        book.machinery.settle()
        if book.read.payout("y1").queries > before:
            asked.append(clock.now)
    hours = [(one - START).total_seconds() / 3600 for one in asked]
    assert hours == [1, 2, 26, 50, 74, 98, 122]
    state = book.read.payout("y1")
    assert (state.status, state.queries) == (PayoutStatus.UNKNOWN, 7)
    assert state.anomalies == ("ManualResolutionNeeded:query:",)
    assert len(world.bank.requests) == 1
    run(book, RecordPayoutPaid(payout_id="y1", bank_ref="by phone"))
    assert list(book.machinery.deadlines("payout-y1")) == []


def test_a_book_without_a_bank_asks_nobody() -> None:
    """Catches a shop that pays by files whose timers fail at every payout on its way."""
    book, clock, world = owed()
    world.bank.fail(Failure.PENDING)
    initiated(book)
    book.machinery.settle()
    book.wire(Wiring(reactors=(Payouts(),)))
    clock.move(days=3)
    book.machinery.settle()
    assert work_in(book, Lane.TIMER) == []
    book.wire(Wiring(ports=world.ports, reactors=(Payouts(),)))
    book.machinery.settle()
    assert book.read.payout("y1").queries == 1


def test_a_request_that_is_tried_again_does_not_send_what_is_unknown() -> None:
    """Catches a dead letter that is redriven and pays a seller twice."""
    book, clock, world = owed()
    world.bank.fail(Failure.NOT_SENT)
    initiated(book)
    book.machinery.settle()
    run(book, RecordPayoutUnknown(payout_id="y1", cause="the line went down"))
    clock.move(minutes=1)
    book.machinery.settle()
    assert world.bank.effects == {}
    assert [one.status for one in work_in(book, Lane.OUTBOX)] == [WorkStatus.DONE]


def test_a_payout_that_the_bank_declines_is_the_sellers_again() -> None:
    """Catches money that stays in transit although the bank said no."""
    book, _, world = owed()
    world.bank.fail(Failure.DECLINED)
    initiated(book)
    book.machinery.settle()
    assert book.read.payout("y1").status is PayoutStatus.FAILED
    assert book.read.balance("liabilities:seller:s1") == {"USD": -TOTAL}
    assert world.bank.effects == {}


def test_what_is_pending_is_asked_about_and_waits() -> None:
    """Catches a payout that counts as paid, or is sent again, while the bank works on it."""
    book, clock, world = owed()
    world.bank.fail(Failure.PENDING)
    initiated(book)
    for _ in range(3):
        book.machinery.settle()
        clock.move(hours=1)
    state = book.read.payout("y1")
    assert (state.status, state.queries) == (PayoutStatus.IN_TRANSIT, 1)
    assert (len(world.bank.requests), state.bank_ref) == (1, "wire-1")
    clock.move(days=1)
    book.machinery.settle()
    assert book.read.payout("y1").anomalies == ("ManualResolutionNeeded:query:",)
    history = [type(one.event).__name__ for one in book.read.history("payout-y1")]
    assert history[-3:] == ["PayoutQueried", "PayoutQueried", "AnomalyRaised"]


def test_a_payout_that_was_given_up_meanwhile_is_not_sent() -> None:
    """Catches a request that was held up and pays what another payout has by now."""
    book, clock, world = owed()
    world.bank.fail(Failure.NOT_SENT)
    initiated(book)
    book.machinery.settle()
    run(book, RecordPayoutFailed(payout_id="y1", bank_ref="by phone", reason="not sent"))
    clock.move(minutes=1)
    book.machinery.settle()
    assert world.bank.effects == {}
    assert [one.status for one in work_in(book, Lane.OUTBOX)] == [WorkStatus.DONE]
