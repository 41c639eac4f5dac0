"""
A shop on a real book, in few words: the commands that tests of whole flows give again and again.

Every step goes through the executor, so what is tested is what a host would call. Amounts are in
minor units of the order's currency unless a payment says otherwise.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.commands.requests import Receipt
from orderledger.ledger import accounts, codec
from orderledger.ledger.errors import OrderLedgerError, Rejected
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.order_content import LineInput
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.ports import EventStore
from tests.kept_books import new_store

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)

Balances = dict[tuple[str, str, str], int]


def item(line_id: str, price: str, *, quantity: int = 1, seller: str = "s1") -> LineInput:
    """Return a line without discounts and tax; ``price`` is in major units."""
    return LineInput(line_id, f"sku-{line_id}", seller, quantity, Decimal(price))


def balances_of(store: EventStore) -> Balances:
    """Sum every committed posting: (layer, account, currency) → signed minor units, no zeros."""
    sums: Balances = {}
    for row in rows_of(store):
        for leg in decode_entry(row.postings).postings:
            key = (leg.layer.value, leg.account, leg.currency)
            sums[key] = sums.get(key, 0) + leg.minor
    return {key: minor for key, minor in sums.items() if minor}


def rows_of(store: EventStore) -> Iterator[Any]:
    """Iterate over every committed event in log order."""
    store.sequence()
    position = 0
    size = store.head().size
    while position < size:
        page = store.read(position, until=size, limit=1_000)
        yield from page
        position += len(page)


def anomalies_of(store: EventStore) -> list[str]:
    """Return the kinds of all anomalies raised, in log order."""
    kinds: list[str] = []
    for row in rows_of(store):
        event = codec.decode_event(row.topic, row.payload)
        if type(event).__name__ == "AnomalyRaised":
            kinds.append(getattr(event, "kind", ""))
    return kinds


class Shop:
    """One book and shorthand for what happens on it; USD and provider psp unless said otherwise."""

    def __init__(self, store: EventStore | None = None, currency: str = "USD") -> None:
        self.store: EventStore = new_store() if store is None else store
        self.book = Book(self.store, clock=lambda: NOW)
        self.currency = currency

    def run(self, command: Command, key: str | None = None) -> Receipt:
        return self.book.execute(command, key=key)

    def refusal(self, command: Command, key: str | None = None) -> str:
        """Return the reason or the error's name with which it is refused; "" if it runs."""
        try:
            self.run(command, key)
        except Rejected as error:
            return error.reason.value
        except OrderLedgerError as error:
            return type(error).__name__
        return ""

    def order(self, order_id: str = "o1") -> OrderState:
        return self.book.order(order_id)

    def payment(self, payment_id: str = "p1") -> PaymentState:
        return self.book.payment(payment_id)

    def place(self, *lines: LineInput, order_id: str = "o1", **fields: Any) -> None:
        """Place and confirm an order, on account."""
        self.run(
            m.PlaceOrder(
                order_id=order_id, buyer_ref="b1", currency=self.currency, lines=lines, **fields
            )
        )
        self.confirm(order_id)

    def confirm(self, order_id: str = "o1") -> None:
        policy: Any = "on_account"
        self.run(m.ConfirmOrder(order_id=order_id, policy=policy))

    def initiate(self, amount: int, payment_id: str = "p1", **fields: Any) -> None:
        given: dict[str, Any] = {
            "order_id": "o1",
            "provider": "psp",
            "method": "card",
            "currency": self.currency,
            **fields,
        }
        self.run(m.InitiatePayment(payment_id=payment_id, amount=amount, **given))

    def succeed(self, op_id: str, payment_id: str = "p1", **fields: Any) -> None:
        self.run(
            m.RecordSucceeded(
                payment_id=payment_id, op_id=op_id, provider_ref=f"ref-{op_id}", **fields
            )
        )

    def pay(self, amount: int, payment_id: str = "p1", **fields: Any) -> None:
        """Initiate a payment and purchase it at once."""
        self.initiate(amount, payment_id, **fields)
        currency = self.payment(payment_id).currency
        op_id = f"buy-{payment_id}"
        self.run(m.Purchase(payment_id=payment_id, op_id=op_id, amount=amount, currency=currency))
        self.succeed(op_id, payment_id)

    def release(self, seller: str = "s1", rate: str = "0.12", **fields: Any) -> None:
        order_id = fields.pop("order_id", "o1")
        self.run(m.MeetReleaseCondition(order_id=order_id, seller=seller, cause="delivered"))
        self.run(
            m.ReleaseFunds(
                order_id=order_id,
                release_id=fields.pop("release_id", f"rel-{seller}"),
                seller=seller,
                commission_rate=Decimal(rate),
                rate_version="v1",
                **fields,
            )
        )

    def grant(
        self, refund_id: str, amount: int = 0, *lines: tuple[str, int], **fields: Any
    ) -> None:
        from orderledger.ledger.order_events import MovedLine, RefundSource

        source = fields.pop("source", RefundSource.RETURN)
        self.run(
            m.GrantRefund(
                order_id=fields.pop("order_id", "o1"),
                refund_id=refund_id,
                reason="returned",
                source=source,
                adjustment=amount,
                lines=tuple([MovedLine(line_id, quantity) for line_id, quantity in lines]),
                **fields,
            )
        )

    def allocate(self, refund_id: str, **fields: Any) -> None:
        self.run(m.AllocateRefund(order_id="o1", refund_id=refund_id, **fields))

    def request(self, refund_id: str, amount: int, payment_id: str = "p1", **fields: Any) -> str:
        """Request a refund operation; return its id."""
        op_id = fields.pop("op_id", f"{refund_id}-{payment_id}")
        kind = fields.pop("kind", m.RequestRefund)
        self.run(
            kind(
                payment_id=payment_id,
                op_id=op_id,
                amount=amount,
                currency=self.payment(payment_id).currency,
                refund_id=refund_id,
                **fields,
            )
        )
        return str(op_id)

    def refund(self, refund_id: str, amount: int, payment_id: str = "p1", **fields: Any) -> None:
        """Grant an amount, allocate it to one payment, request it and have it succeed."""
        self.grant(refund_id, amount)
        self.allocate(refund_id)
        self.succeed(self.request(refund_id, amount, payment_id, **fields), payment_id)

    def issue(self, amount: int, account_id: str = "v1", **fields: Any) -> None:
        given: dict[str, Any] = {
            "kind": "store_credit",
            "source": "goodwill",
            "lot_id": "lot1",
            "holder": "b1",
            **fields,
        }
        self.run(
            m.IssueValue(account_id=account_id, amount=amount, currency=self.currency, **given)
        )

    def balance(self, account: str, currency: str = "", layer: Layer = Layer.POSTED) -> int:
        """Return a balance over every event, debit positive."""
        key = (layer.value, account, currency or self.currency)
        return balances_of(self.store).get(key, 0)

    def escrow(self, order_id: str = "o1", currency: str = "") -> int:
        """Return what escrow holds for an order, credit positive."""
        return -self.balance(accounts.escrow(order_id), currency)
