"""A small shop for the tests of the machinery: a clock that a test moves, and short commands."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from orderledger import Book
from orderledger.commands.decision import Command
from orderledger.commands.order_commands import PlaceOrder
from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    InitiatePayment,
    Purchase,
    RecordSucceeded,
)
from orderledger.ledger.work_ports import Lane, Work, WorkStatus
from tests.kept_books import new_store
from tests.order_book import item

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOTAL = 2_000


class Clock:
    """A clock that stands still until a test moves it, either way."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **delta: int) -> datetime:
        self.now += timedelta(**delta)
        return self.now


def open_book(clock: Callable[[], datetime]) -> Book:
    return Book(new_store(clock), clock=clock)


def place(order_id: str = "o1", **fields: Any) -> PlaceOrder:
    """Return the command that places an order of 20.00 USD."""
    return PlaceOrder(
        order_id=order_id,
        buyer_ref="b1",
        currency="USD",
        lines=(item("a 2 x 10 of s1"),),
        **fields,
    )


def initiate(payment_id: str = "p1", order_id: str = "o1", **fields: Any) -> InitiatePayment:
    return InitiatePayment(
        payment_id=payment_id,
        order_id=order_id,
        provider="psp",
        method="card",
        amount=TOTAL,
        currency="USD",
        **fields,
    )


def authorise(payment_id: str = "p1", op_id: str = "auth") -> Authorise:
    return Authorise(payment_id=payment_id, op_id=op_id, amount=TOTAL, currency="USD")


def purchase(payment_id: str = "p1", op_id: str = "buy") -> Purchase:
    return Purchase(payment_id=payment_id, op_id=op_id, amount=TOTAL, currency="USD")


def capture(payment_id: str = "p1", op_id: str = "capture") -> Capture:
    return Capture(payment_id=payment_id, op_id=op_id, amount=TOTAL, currency="USD")


def succeeded(payment_id: str, op_id: str, **fields: Any) -> RecordSucceeded:
    return RecordSucceeded(
        payment_id=payment_id, op_id=op_id, provider_ref=f"ref-{payment_id}-{op_id}", **fields
    )


def run(book: Book, *commands: Command) -> None:
    for command in commands:
        book.execute(command)


def events_of(book: Book, stream: str) -> list[str]:
    """Return the names of a stream's events."""
    return [type(one.event).__name__ for one in book.read.history(stream)]


def work_in(book: Book, lane: Lane, *statuses: WorkStatus) -> list[Work]:
    return list(book.machinery.list_work(lane, statuses or tuple(WorkStatus)))
