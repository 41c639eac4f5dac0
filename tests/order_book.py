"""
Orders in a decided book: short ways to write commands, and what must hold after each of them.
"""

from decimal import Decimal
from importlib import import_module
from typing import Any

import msgspec

from orderledger.commands.decision import Changes, Command
from orderledger.commands.order_commands import ConfirmOrder, CoverPolicy, PlaceOrder
from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    InitiatePayment,
    RecordSucceeded,
    RequestRefund,
    Void,
)
from orderledger.ledger import accounts
from orderledger.ledger.journal import Entry
from orderledger.ledger.money import line_total
from orderledger.ledger.order_content import Discount, Funder, LineInput, Tax
from orderledger.ledger.order_events import MovedLine, MoveKind, OrderLinesMoved
from orderledger.ledger.order_refunds import GrantStatus
from orderledger.ledger.order_totals import totals_of
from orderledger.ledger.orders import INITIAL, OrderState
from orderledger.ledger.payment_operations import FundingPart
from orderledger.ledger.seller_position import owed
from tests.decided_book import DecidedBook

for _module in (
    "authorisations",
    "escrow",
    "freezes",
    "observations",
    "operations",
    "order_changes",
    "order_lifecycle",
    "order_reports",
    "orders",
    "payments",
    "refund_grants",
    "refund_operations",
):
    import_module(f"orderledger.commands.decide_{_module}")


def item(
    text: str, *, discounts: tuple[Discount, ...] = (), tax: tuple[Tax, ...] = ()
) -> LineInput:
    """Read ``"a 3 x 12.50 of s1"``: a line, its quantity, unit price and seller (default s1)."""
    words = text.split()
    seller = words[5] if len(words) > 4 else "s1"
    return LineInput(
        words[0], f"sku-{words[0]}", seller, int(words[1]), Decimal(words[3]), discounts, tax
    )


def platform(source_id: str, amount: int) -> Discount:
    return Discount(source_id, amount, Funder.PLATFORM)


def place(*lines: LineInput | str, **fields: Any) -> PlaceOrder:
    """Return the command that places order o1 in USD."""
    read = tuple([item(line) if isinstance(line, str) else line for line in lines])
    given: dict[str, Any] = {"order_id": "o1", "buyer_ref": "b1", "currency": "USD", **fields}
    return PlaceOrder(lines=read, **given)


_ON_ACCOUNTS = ("seller-", "payout-", "journal-")
"""Streams that post to a seller's account besides orders and their payments."""


class OrderBook(DecidedBook):
    """A decided book that checks the order invariants after every command."""

    is_posted_by_hand = False

    def post(self, posted: Entry) -> None:
        self.is_posted_by_hand = True
        super().post(posted)

    def run(self, command: Command) -> Changes:
        changes = super().run(command)
        for stream, state in self.states.items():
            if stream.startswith("order-"):
                check_order(state)
                self.check_granted(state)
                self.check_escrow(stream, state)
        self.check_owed()
        return changes

    def order(self, order_id: str = "o1") -> OrderState:
        state: OrderState = self.states.get(f"order-{order_id}", INITIAL)
        return state

    def did(self, command: Command) -> list[str]:
        """Run a command and return the names of its events."""
        return [type(change.event).__name__ for change in self.run(command)]

    def move(self, kind: MoveKind, *lines: tuple[str, int], order_id: str = "o1") -> None:
        moved = tuple([MovedLine(line_id, quantity) for line_id, quantity in lines])
        self.given(f"order-{order_id}", OrderLinesMoved(kind=kind, cause="f1", lines=moved))

    def authorise(self, payment_id: str, amount: int, **fields: Any) -> None:
        """Initiate a payment of o1 and have it authorised."""
        given: dict[str, Any] = {"order_id": "o1", "currency": "USD", "method": "card", **fields}
        self.run(
            InitiatePayment(
                payment_id=payment_id,
                provider="psp1",
                amount=amount,
                quote_id=self.order(given["order_id"]).quote_id,
                **given,
            )
        )
        op_id = f"auth-{payment_id}"
        self.run(
            Authorise(payment_id=payment_id, op_id=op_id, amount=amount, currency=given["currency"])
        )
        self.succeed(payment_id, op_id)

    def capture(self, payment_id: str, amount: int, *, number: int = 1, final: bool = True) -> None:
        state = self.states[f"payment-{payment_id}"]
        op_id = f"capture-{payment_id}-{number}"
        self.run(
            Capture(
                payment_id=payment_id,
                op_id=op_id,
                amount=amount,
                currency=state.currency,
                is_final=final,
            )
        )
        self.succeed(payment_id, op_id)

    def pay(self, payment_id: str, amount: int, **fields: Any) -> None:
        """Authorise and capture."""
        self.authorise(payment_id, amount, **fields)
        self.capture(payment_id, amount)

    def void(self, payment_id: str) -> None:
        state = self.states[f"payment-{payment_id}"]
        self.run(Void(payment_id=payment_id, op_id=f"void-{payment_id}", currency=state.currency))
        self.succeed(payment_id, f"void-{payment_id}")

    def succeed(self, payment_id: str, op_id: str) -> None:
        self.run(RecordSucceeded(payment_id=payment_id, op_id=op_id, provider_ref=f"ref-{op_id}"))

    def refunding(
        self, payment_id: str, refund_id: str, amount: int, funding: tuple[FundingPart, ...] = ()
    ) -> RequestRefund:
        """Return the request of a refund operation ``refund-{refund_id}-{payment_id}``."""
        return RequestRefund(
            payment_id=payment_id,
            op_id=f"refund-{refund_id}-{payment_id}",
            amount=amount,
            currency=self.states[f"payment-{payment_id}"].currency,
            refund_id=refund_id,
            funding=funding,
        )

    def refund(
        self, payment_id: str, refund_id: str, amount: int, funding: tuple[FundingPart, ...] = ()
    ) -> str:
        """Request a refund operation and return its id."""
        command = self.refunding(payment_id, refund_id, amount, funding)
        self.run(command)
        return command.op_id

    def confirmed(self, *lines: LineInput | str, **fields: Any) -> "OrderBook":
        """Place and confirm o1 without payment."""
        self.run(place(*lines, **fields))
        self.run(ConfirmOrder(order_id="o1", policy=CoverPolicy.ON_ACCOUNT))
        return self

    def escrow(self, order_id: str = "o1", currency: str = "USD") -> int:
        """Return the escrow account's balance, credit positive."""
        return -self.balance(accounts.escrow(order_id), currency)

    def check_granted(self, state: OrderState) -> None:
        """Assert invariant 12 for the order: Σ granted ≤ charged + goodwill."""
        charged = sum([self.states[f"payment-{key}"].captured for key in state.payments]) + sum(
            state.redeemed.values()
        )
        if not state.anomalies and all(self._currency(key) for key in state.payments):
            assert state.granted <= charged + state.goodwill_approved

    def check_escrow(self, stream: str, state: OrderState) -> None:
        """
        Assert invariants 18 and 19: the slices are the escrow account, hold no debt, and have what
        is frozen of them.
        """
        if state.currency:
            assert state.escrow_held == self.escrow(stream.removeprefix("order-"), state.currency)
        if not state.anomalies:
            assert all(one.available >= 0 for one in state.slices.values())
        for slice_ in state.slices.values():
            assert all(amount > 0 for amount in slice_.frozen.values())
            assert slice_.frozen_total <= max(0, slice_.available)
        for freeze in state.freezes.values():
            assert all(part.minor > 0 for part in freeze.reserve.values())

    def check_owed(self) -> None:
        """Assert that what orders owe their sellers is what is on the sellers' accounts."""
        if self.is_posted_by_hand or any(key.startswith(_ON_ACCOUNTS) for key in self.states):
            return
        orders = [one for key, one in self.states.items() if key.startswith("order-")]
        parts = [part for one in orders for found in one.recovered.values() for part in found]
        if any(part.recovery is None for part in parts):
            return  # version 1 of the event, given as history: nothing was posted here
        sellers = {key for one in orders for key in one.slices if key}
        for seller in sellers:
            for (_, currency), minor in self.net(accounts.seller(seller)).items():
                assert sum([owed(one, seller, currency) for one in orders]) == -minor

    def _currency(self, payment_id: str) -> bool:
        payment = self.states[f"payment-{payment_id}"]
        return bool(payment.currency == self.states[f"order-{payment.order_id}"].currency)


def check_total(state: OrderState) -> None:
    """Assert invariant 8 of the live content, summed by hand."""
    lines = [line.line for line in state.lines.values()]
    assert totals_of(lines, state.shipping, state.surcharges, state.tips) == state.totals
    total, taxes = 0, [line.tax for line in lines]
    for line in lines:
        total += line.amount - sum([discount.amount for discount in line.discounts])
    for charge in state.shipping:
        total += charge.amount
        taxes.append(charge.tax)
    total += sum([tax.amount for found in taxes for tax in found if not tax.included])
    total += sum([one.amount for one in state.surcharges])
    total += sum([one.amount for one in state.tips])
    assert state.total == total


def check_order(state: OrderState) -> None:
    """Assert invariants 8, 9, 11, 12 and 13 of one order."""
    if state.version:
        check_total(state)
    for line in state.lines.values():
        live = line.line
        assert live.amount == line_total(live.quantity, live.unit_price, state.currency)
        included = sum([tax.amount for tax in live.tax if tax.included])
        assert live.amount - live.discount == live.net + included
        assert live.net >= 0
        assert 0 <= line.granted_quantity <= line.live
        assert 0 <= line.granted_net <= live.net
        assert 0 <= line.granted_tax <= live.tax_total
        assert line.cancelled + line.live == line.ordered
        if not state.anomalies:
            assert line.shipped <= line.live
            assert line.returned <= max(line.shipped, line.delivered)
    for grant in state.grants.values():
        if grant.status is GrantStatus.SETTLED:
            assert grant.settled_total == grant.total
            if not grant.settled_externally:
                assert grant.settled == grant.allocations
        if grant.status is GrantStatus.WITHDRAWN:
            assert not grant.settled
            assert not grant.allocations
    assert msgspec.json.decode(msgspec.json.encode(state.totals)) is not None
