"""
A provider reports a capture twice, before its authorisation, and about a payment nobody knows yet.

Run it anywhere: python examples/out_of_order.py. The same reports are played in every order; the
money is the same each time.
"""

import hashlib
from decimal import Decimal
from itertools import permutations

from orderledger import Book
from orderledger.commands.model import (
    Authorise,
    Capture,
    InitiatePayment,
    PlaceOrder,
    ReceiveNotification,
    RetryNotification,
)
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.money import format_minor
from orderledger.ledger.order_content import LineInput
from orderledger.ledger.payment_operations import Outcome
from orderledger.ledger.stores.memory import MemoryStore

AUTHORISED = Observation(
    payment_id="p1", op_id="a1", kind="authorise", outcome=Outcome.SUCCEEDED, provider_ref="psp-1"
)
CAPTURED = Observation(
    payment_id="p1", op_id="c1", kind="capture", outcome=Outcome.SUCCEEDED, provider_ref="psp-2",
    amount=2500, currency="EUR",
)  # fmt: skip
REVERSED = Observation(
    payment_id="p1", op_id="c1", kind="capture", outcome=Outcome.REVERSED, provider_ref="psp-2",
    detail="the issuer took it back",
)  # fmt: skip


def notification(name: str, seen: Observation) -> ReceiveNotification:
    """Make what an endpoint for the provider's webhooks makes of a request."""
    return ReceiveNotification(
        provider="adyen",
        notification_id=name,
        kind=seen.kind,
        body_sha256=hashlib.sha256(name.encode()).hexdigest(),
        signature_ok=True,
        interpreted=seen,
    )


def topics(book: Book, command: ReceiveNotification | RetryNotification) -> str:
    """Execute a command and return what it added to the log."""
    before = book.store.head().size
    book.execute(command)
    added = [event.topic.removesuffix(".v1") for event in book.store.read(before)]
    return ", ".join(added) or "nothing"


def place(book: Book) -> None:
    """Place an order."""
    line = LineInput("1", "MUG", "anna", 2, Decimal("12.50"))
    book.execute(PlaceOrder(order_id="o1", buyer_ref="b1", currency="EUR", lines=(line,)))


def initiate(book: Book) -> None:
    """Bind a payment to the order and ask for its authorisation."""
    book.execute(
        InitiatePayment(
            payment_id="p1",
            order_id="o1",
            provider="adyen",
            method="card",
            amount=2500,
            currency="EUR",
        )
    )
    book.execute(Authorise(payment_id="p1", op_id="a1", amount=2500, currency="EUR"))


def early_and_twice() -> None:
    """A notification before its payment is parked; one that comes again changes nothing."""
    with Book(MemoryStore()) as book:
        place(book)
        first = notification("n1", AUTHORISED)
        print("before the payment exists:", topics(book, first))
        initiate(book)
        retry = RetryNotification(provider="adyen", notification_id="n1")
        print("tried again when it does: ", topics(book, retry))
        print("the same one once more:   ", topics(book, first))
        print("its content, another id:  ", topics(book, notification("n2", AUTHORISED)))
        book.execute(Capture(payment_id="p1", op_id="c1", amount=2500, currency="EUR"))
        print("captured:                 ", topics(book, notification("n3", CAPTURED)))


def every_order() -> None:
    """Whatever arrives first, the same money is there at the end."""
    reports = {"authorised": AUTHORISED, "captured": CAPTURED, "reversed": REVERSED}
    for order in permutations(reports):
        with Book(MemoryStore()) as book:
            place(book)
            initiate(book)
            for name in order:
                book.execute(notification(name, reports[name]))
            paid = book.payment("p1")
            balances = book.read.balance("assets:psp:adyen", "EUR")
            amount = format_minor(balances.get("EUR", 0), "EUR")
            anomalies = len(paid.anomalies)
            print(f"{' → '.join(order):<36} psp {amount} EUR, open anomalies: {anomalies}")
            assert not list(book.read.verify())


if __name__ == "__main__":
    early_and_twice()
    every_order()
