"""Payouts through the bank's port: each paid once, whatever is lost between."""

from decimal import Decimal
from typing import Any

import pytest

from orderledger import Book
from orderledger.commands.order_commands import ConfirmOrder, MeetReleaseCondition, ReleaseFunds
from orderledger.commands.payout_commands import InitiatePayout, RecordPayoutFailed
from orderledger.commands.process_payouts import Payouts
from orderledger.ledger.payouts import PayoutStatus
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.payout_proposals import PayoutTarget, propose_payout, seen_balance
from orderledger.testing.fakes import Failure, FakeWorld
from tests.machinery.shop import (
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


@pytest.mark.parametrize("failure", [None, Failure.NOT_SENT, Failure.LOST, Failure.LATE])
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
        clock.move(minutes=1)
    assert book.read.payout("y1").status is PayoutStatus.PAID
    (paid,) = world.bank.effects.items()
    assert paid[0] == "y1"
    assert book.read.balance("assets:bank:main") == {"USD": -TOTAL}
    assert list(book.read.verify()) == []


def test_a_payout_that_the_bank_declines_is_the_sellers_again() -> None:
    """Catches money that stays in transit although the bank said no."""
    book, _, world = owed()
    world.bank.fail(Failure.DECLINED)
    initiated(book)
    book.machinery.settle()
    assert book.read.payout("y1").status is PayoutStatus.FAILED
    assert book.read.balance("liabilities:seller:s1") == {"USD": -TOTAL}
    assert world.bank.effects == {}


def test_what_is_pending_waits_for_a_report() -> None:
    """Catches a payout that counts as paid, or is asked for again, while the bank works on it."""
    book, clock, world = owed()
    world.bank.fail(Failure.PENDING)
    initiated(book)
    for _ in range(3):
        book.machinery.settle()
        clock.move(hours=1)
    assert book.read.payout("y1").status is PayoutStatus.IN_TRANSIT
    assert (len(world.bank.requests), book.read.payout("y1").bank_ref) == (1, "wire-1")


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
