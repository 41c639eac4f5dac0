"""
A book in memory for tests of payments: runs deciders on folded states and sums the postings.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from orderledger.commands import (
    decide_authorisations,
    decide_inbox,
    decide_operations,
    decide_payments,
    decide_refund_operations,
)
from orderledger.commands.decision import (
    Change,
    Changes,
    Command,
    MissingState,
    States,
    decide,
)
from orderledger.ledger import order_events as orders
from orderledger.ledger import streams
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.events import Event
from orderledger.ledger.folds import fold_of
from orderledger.ledger.inbox import InboxState
from orderledger.ledger.journal import Entry, Layer
from orderledger.ledger.order_content import OrderLine
from orderledger.ledger.order_totals import totals_of
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from tests.kept_books import kept_beside

DECIDERS = (
    decide_authorisations,
    decide_inbox,
    decide_operations,
    decide_payments,
    decide_refund_operations,
)
"""Importing these modules registers their deciders."""

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Book:
    """Folded states, every event, and the balance per (layer, account, currency)."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self.events: list[tuple[str, Event, Entry]] = []
        self.balances: dict[tuple[Layer, str, str], int] = {}
        self.now = NOW
        self._kept = kept_beside(self)

    def decide(self, command: Command) -> Changes:
        """Run the decider as the executor does, loading what it turns out to need."""
        while True:
            try:
                return decide(command, States(self.states), self.now)
            except MissingState as missing:
                self.states.update({one: fold_of(one).initial for one in missing.streams})

    def run(self, *commands: Command) -> list[Event]:
        """Decide and apply commands; returns the new events of payments, orders and inbox."""
        new: list[Event] = []
        for command in commands:
            for change in self._done(command):
                self._apply(change)
                new.append(change.event)
        return new

    def _done(self, command: Command) -> Changes:
        try:
            changes = self.decide(command)
        except OrderLedgerError as error:
            if self._kept is not None:
                self._kept.refuse(command, error)
            raise
        if self._kept is not None:
            self._kept.execute(command, changes)
        return changes

    def given(self, stream: str, event: Event, entry: Entry | None = None) -> None:
        """Apply one event that no command made."""
        change = Change(stream, event, entry or Entry())
        if self._kept is not None:
            self._kept.take((change,))
        self._apply(change)

    def _apply(self, change: Change) -> None:
        stream, fold = change.stream, fold_of(change.stream)
        self.states[stream] = fold.apply(self.states.get(stream, fold.initial), change.event)
        self.events.append((stream, change.event, change.entry))
        for leg in change.entry.postings:
            key = (leg.layer, leg.account, leg.currency)
            self.balances[key] = self.balances.get(key, 0) + leg.minor

    def order(self, order_id: str = "o1") -> OrderState:
        state: OrderState = self.states[streams.order(order_id)]
        return state

    def payment(self, payment_id: str = "p1") -> PaymentState:
        state: PaymentState = self.states[streams.payment(payment_id)]
        return state

    def inbox(self, notification_id: str, provider: str = "adyen") -> InboxState:
        state: InboxState = self.states[streams.inbox(provider, notification_id)]
        return state

    def net(self) -> Mapping[tuple[Layer, str, str], int]:
        """The balances that are not zero."""
        return {key: minor for key, minor in self.balances.items() if minor}

    def posted(self) -> dict[str, int]:
        """Posted balances that are not zero, by account (one currency)."""
        return {
            account: minor
            for (layer, account, _), minor in self.net().items()
            if layer is Layer.POSTED
        }

    def held(self) -> int:
        """What the held layer has at the provider's account."""
        return sum(
            minor
            for (layer, account, _), minor in self.balances.items()
            if layer is Layer.HELD and account.startswith("assets:psp:")
        )

    def kinds(self) -> list[str]:
        """The kinds of all anomalies raised, in order."""
        return [one.kind for _, one, _ in self.events if isinstance(one, AnomalyRaised)]

    def place(
        self, total: int = 10_000, order_id: str = "o1", currency: str = "EUR", quote_id: str = "q1"
    ) -> None:
        """Give an order of one line that is placed over a total."""
        line = OrderLine("a", "sku-a", "s1", 1, Decimal(total) / 100, total, total)
        event = orders.OrderPlaced(
            order_id=order_id,
            buyer_ref="b1",
            channel="web",
            currency=currency,
            lines=(line,),
            totals=totals_of([line]),
            quote_id=quote_id,
        )
        self.given(streams.order(order_id), event)

    def cancel(self, order_id: str = "o1") -> None:
        """Give the whole cancellation of an order."""
        stream = streams.order(order_id)
        self.given(stream, orders.OrderCancellationRequested(reason="changed mind", by="buyer"))
        self.given(stream, orders.OrderCancelled(reason="changed mind", by="buyer"))

    def grant(self, refund_id: str, amount: int, payment_id: str = "p1") -> None:
        """Give a granted refund that is allocated to one payment."""
        stream = streams.order(self.payment(payment_id).order_id)
        granted = orders.RefundGranted(
            refund_id=refund_id,
            total=amount,
            reason="returned",
            source=orders.RefundSource.RETURN,
            adjustment=amount,
        )
        part = orders.PaymentPart(payment_id, amount)
        self.given(stream, granted)
        self.given(
            stream,
            orders.RefundAllocated(refund_id=refund_id, parts=(part,), strategy="explicit"),
        )

    def later(self, **delta: int) -> None:
        """Let time pass."""
        self.now += timedelta(**delta)
