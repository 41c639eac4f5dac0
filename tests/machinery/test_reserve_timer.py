"""The timer of a seller's rolling reserve, by the sweeper."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from orderledger import Book
from orderledger.commands.order_commands import ConfirmOrder, MeetReleaseCondition, ReleaseFunds
from orderledger.commands.period_commands import ClosePeriod
from orderledger.commands.seller_commands import ReleaseReserve, SetReserve, TakeReserve
from orderledger.ledger import accounts
from orderledger.ledger.seller_events import ReserveReleased, ReserveTerms
from orderledger.payout_proposals import seen_balance
from tests.machinery.shop import (
    START,
    Clock,
    authorise,
    capture,
    initiate,
    open_book,
    place,
    run,
    succeeded,
)

DAY = timedelta(days=1)
SELLER: dict[str, Any] = {"seller": "s1", "currency": "USD"}
RESERVE = accounts.rolling_reserve("s1")


def earned(clock: Clock) -> Book:
    """Return a book in which s1 got 20.00, of which 5.00 are taken to two reserves."""
    book = open_book(clock)
    run(book, place(), initiate(), authorise(), succeeded("p1", "auth"))
    run(book, ConfirmOrder(order_id="o1"), capture(), succeeded("p1", "capture"))
    run(book, MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    rate = Decimal(0)
    run(
        book,
        ReleaseFunds(
            order_id="o1", release_id="r1", seller="s1", commission_rate=rate, rate_version="v1"
        ),
        SetReserve(terms=ReserveTerms(Decimal("0.1"), 30), **SELLER),
    )
    for reserve_id, amount in (("w/1", 300), ("x", 200)):
        seen = seen_balance(book.read, "s1", "USD")
        run(book, TakeReserve(reserve_id=reserve_id, amount=amount, seen=seen, **SELLER))
    return book


def reserved(book: Book) -> int:
    return -book.read.balance(RESERVE).get("USD", 0)


def test_a_reserve_goes_back_at_its_maturity_once() -> None:
    """Catches a reserve that nobody gives back, or twice, or dated by the sweeper's clock."""
    clock = Clock()
    book = earned(clock)
    due_at = START + 30 * DAY
    found = [(one.deadline_id, one.kind, one.due_at) for one in book.machinery.deadlines()]
    kind = "reserve_maturity"
    assert found == [("w/1", kind, due_at), ("x", kind, due_at)]
    early = ReleaseReserve(reserve_id="x", amount=150, is_early=True, reason="asked", **SELLER)
    run(book, early)
    assert book.sweep(due_at - timedelta(microseconds=1)).found == 0
    assert reserved(book) == 350
    clock.move(days=45)
    assert book.sweep().performed == 2
    assert reserved(book) == 0
    back = [
        (one.event.amount, one.occurred_at)
        for one in book.read.history("seller-s1/USD")
        if isinstance(one.event, ReserveReleased)
    ]
    assert back[1:] == [(300, due_at), (50, due_at)]
    assert list(book.machinery.deadlines()) == []
    assert book.sweep().performed == 0


def test_a_reserve_that_matured_in_a_closed_period_goes_back_later() -> None:
    """Catches a reserve that is kept for ever because the month of its maturity was closed."""
    clock = Clock()
    book = earned(clock)
    clock.move(days=75)
    run(book, ClosePeriod(period="q", end=clock.now - DAY))
    for _ in range(3):
        book.sweep()
        clock.move(minutes=1)
    assert reserved(book) == 0
    assert list(book.read.verify()) == []
