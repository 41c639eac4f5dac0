"""
Sellers and payouts in a decided book: orders that earned something, and what must hold after each
command.
"""

from decimal import Decimal
from typing import Any

from orderledger.commands import deciders
from orderledger.commands.decision import Changes, Command
from orderledger.commands.order_commands import (
    AllocateRefund,
    ConfirmOrder,
    CoverPolicy,
    GrantRefund,
    HoldFunds,
    MeetReleaseCondition,
    ReleaseFunds,
)
from orderledger.commands.payout_commands import (
    InitiatePayout,
    RecordPayoutPaid,
    ReleasedSlice,
    SchedulePayout,
)
from orderledger.commands.seller_commands import SeenBalance
from orderledger.ledger import accounts, payouts, sellers, streams
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.payouts import PayoutState, PayoutStatus
from orderledger.ledger.sellers import SellerState
from tests.order_book import OrderBook, place

assert deciders.__all__, "importing them registers every decider"


class SellersBook(OrderBook):
    """A decided book with short ways to earn, pay out and refund, in USD for seller s1."""

    def earn(self, order_id: str, amount: int, *, seller: str = "s1", rate: str = "0") -> None:
        """Place, pay and release an order of so many cents, as release r1."""
        self.run(place(f"a {amount} x 0.01 of {seller}", order_id=order_id))
        self.run(ConfirmOrder(order_id=order_id, policy=CoverPolicy.ON_ACCOUNT))
        self.pay(f"pay-{order_id}", amount, order_id=order_id)
        self.run(HoldFunds(order_id=order_id))
        self.run(MeetReleaseCondition(order_id=order_id, seller=seller, cause="delivered"))
        self.release(order_id, "r1", seller=seller, rate=rate)

    def release(self, order_id: str, release_id: str, **fields: Any) -> None:
        seller, rate = fields.pop("seller", "s1"), Decimal(fields.pop("rate", "0"))
        self.run(
            ReleaseFunds(
                order_id=order_id,
                release_id=release_id,
                seller=seller,
                commission_rate=rate,
                rate_version="v1",
                **fields,
            )
        )

    def give_back(self, order_id: str, refund_id: str, cents: int) -> str:
        """Grant, allocate and request a refund of so many cents; return the operation."""
        self.granted(order_id, refund_id, cents)
        return self.refund(f"pay-{order_id}", refund_id, cents)

    def granted(self, order_id: str, refund_id: str, cents: int) -> None:
        """Grant and allocate a refund of so many cents."""
        self.run(
            GrantRefund(
                order_id=order_id,
                refund_id=refund_id,
                reason="r",
                source=RefundSource.RETURN,
                lines=(MovedLine("a", cents),),
            )
        )
        self.run(AllocateRefund(order_id=order_id, refund_id=refund_id))

    def payable(self, seller: str = "s1") -> int:
        """Return what the ledger owes the seller."""
        return -self.balance(accounts.seller(seller))

    def account(self, seller: str = "s1", currency: str = "USD") -> SellerState:
        state: SellerState = self.states.get(streams.seller(seller, currency), sellers.INITIAL)
        return state

    def payout(self, payout_id: str = "p1") -> PayoutState:
        state: PayoutState = self.states.get(streams.payout(payout_id), payouts.INITIAL)
        return state

    def seen(self, seller: str = "s1") -> SeenBalance:
        return SeenBalance(self.payable(seller), self.account(seller).version)

    def scheduling(self, payout_id: str, *entries: str, **fields: Any) -> SchedulePayout:
        """Return the command that pays releases, written ``order``, ``order/release`` or
        ``order/release=amount``."""
        seller = fields.get("seller", "s1")
        given: dict[str, Any] = {
            "seller": seller,
            "currency": "USD",
            "bank": "main",
            "seen": self.seen(seller),
            **fields,
        }
        return SchedulePayout(payout_id=payout_id, entries=tuple(map(_slice, entries)), **given)

    def schedule(self, payout_id: str, *entries: str, **fields: Any) -> int:
        """Schedule a payout and return its amount."""
        self.run(self.scheduling(payout_id, *entries, **fields))
        return self.payout(payout_id).amount

    def initiating(self, payout_id: str = "p1") -> InitiatePayout:
        return InitiatePayout(payout_id=payout_id, seen=self.seen(self.payout(payout_id).seller))

    def initiate(self, payout_id: str = "p1") -> None:
        self.run(self.initiating(payout_id))

    def pay_out(self, payout_id: str, *entries: str, **fields: Any) -> int:
        """Schedule, initiate and have a payout paid; return its amount."""
        amount = self.schedule(payout_id, *entries, **fields)
        self.initiate(payout_id)
        self.run(RecordPayoutPaid(payout_id=payout_id, bank_ref=f"bank-{payout_id}"))
        return amount

    def run(self, command: Command) -> Changes:
        changes = super().run(command)
        for stream, state in self.states.items():
            if stream.startswith("payout-") and state.exists:
                self._check_payout(state)
            elif stream.startswith("seller-"):
                self._check_seller(state)
        return changes

    def _check_payout(self, state: PayoutState) -> None:
        """Assert that liabilities:payouts is zero once closed, and invariant 20."""
        waiting = state.amount if state.status in payouts.TRANSIT else 0
        assert -self.balance(accounts.payouts(state.payout_id), state.currency) == waiting
        total = state.sum
        assert total.entries == sum([one.amount for one in state.entries])
        kept = total.debt_recovered + total.reserve
        if not state.anomalies:
            assert state.amount == total.entries + total.carried - kept
        claim = self.account(state.seller, state.currency).payouts[state.payout_id]
        assert claim.is_live == (state.status not in payouts.GIVEN_UP)
        if claim.is_live:
            assert claim.amount == state.amount
            assert claim.is_debited == (state.status is not PayoutStatus.SCHEDULED)

    def _check_seller(self, state: SellerState) -> None:
        """Assert that no entry is in two live payouts beyond its release, and the reserve."""
        live: dict[tuple[str, str], int] = {}
        for claim in state.payouts.values():
            for one in claim.entries if claim.is_live else ():
                key = (one.order_id, one.release_id)
                live[key] = live.get(key, 0) + one.amount
        folded = {
            (order_id, release_id): minor
            for order_id, found in state.claimed.items()
            for release_id, minor in found.items()
        }
        assert folded == live
        for (order_id, release_id), minor in live.items():
            assert minor <= self.order(order_id).releases[release_id].net
        assert state.claimed_total == sum(live.values())
        reserve = accounts.rolling_reserve(state.seller)
        assert -self.balance(reserve, state.currency) == state.reserved


def _slice(text: str) -> ReleasedSlice:
    name, _, amount = text.partition("=")
    order_id, _, release_id = name.partition("/")
    return ReleasedSlice(order_id, release_id or "r1", int(amount) if amount else None)
