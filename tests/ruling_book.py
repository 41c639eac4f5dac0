"""
A decided book in which rulings are executed, with the worked example of the books.
"""

from decimal import Decimal
from typing import Any

from orderledger.commands.decision import Changes
from orderledger.commands.freeze_commands import FreezeFunds
from orderledger.commands.order_commands import MeetReleaseCondition, ReleaseFunds
from orderledger.commands.ruling_amendment import amend
from orderledger.commands.ruling_execution import (
    Award,
    Execution,
    ExecutionTerms,
    execute_leg,
    finish,
    leg_id,
    legs_of,
)
from orderledger.ledger import accounts
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.freezes import account_of
from orderledger.ledger.order_content import ShippingCharge, Tax, Tip
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import INITIAL
from orderledger.ledger.tenders import Tender, tenders_of
from tests.order_book import OrderBook, check_order, item

RESERVE = accounts.dispute_reserve("d1")
TERMS = ExecutionTerms(commission_rate=Decimal("0.12"), rate_version="2026")
BOOKS = {
    "seller": accounts.seller("s1"),
    "commission": accounts.COMMISSION,
    "commission_refunded": accounts.COMMISSION_REFUNDED,
    "tax": accounts.tax("NY"),
    "tips": accounts.tips("s1"),
    "fees": accounts.ARBITRATION_FEES,
    "refunds": accounts.refunds("o1"),
    "reserve": RESERVE,
    "goodwill": accounts.GOODWILL,
    "psp": accounts.psp("psp1"),
    "escrow": accounts.escrow("o1"),
}


class RulingBook(OrderBook):
    """The worked example: items 10,000, shipping 1,000, tax 825, tip 500, charged 12,325."""

    def __init__(self, *, is_paid: bool = True) -> None:
        super().__init__()
        self.confirmed(
            item("a 1 x 100.00", tax=(Tax("NY", 825),)),
            shipping=(ShippingCharge("x", "s1", 1000),),
            tips=(Tip("s1", 500),),
        )
        if is_paid:
            self.pay("p1", 12325)
        self.run(MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))

    def release(self, **fields: Any) -> None:
        given: dict[str, Any] = {"release_id": "rel", **fields}
        rate = Decimal("0.12")
        self.run(
            ReleaseFunds(
                order_id="o1", seller="s1", commission_rate=rate, rate_version="2026", **given
            )
        )

    def freeze(self, amount: int = 10825) -> None:
        self.run(
            FreezeFunds(order_id="o1", freeze_id="d1", seller="s1", amount=amount, cause="dispute")
        )

    def tenders(self) -> tuple[Tender, ...]:
        return tenders_of(self.order(), lambda key: self.states.get(f"payment-{key}", INITIAL))

    def take(self, changes: Changes) -> Changes:
        super().take(changes)
        order = self.states.get("order-o1")
        if order is not None:
            self.check(order)
        return changes

    def check(self, order: OrderState) -> None:
        """Assert what must hold of the order's escrow, freezes, grants and commission."""
        check_order(order)
        self.check_granted(order)
        self.check_escrow("order-o1", order)
        held: dict[tuple[str, str], int] = {}
        for freeze in order.freezes.values():
            for part in freeze.reserve.values():
                key = (freeze.freeze_id, part.currency)
                held[key] = held.get(key, 0) + part.minor
        for freeze in order.freezes.values():
            for (_, currency), minor in self.net(account_of(freeze)).items():
                assert -minor == held.get((freeze.freeze_id, currency), 0)
        assert self.balance(accounts.COMMISSION_REFUNDED) <= -self.balance(accounts.COMMISSION)

    def leg(self, award: Award, party: Party, terms: ExecutionTerms = TERMS) -> list[str]:
        changes = execute_leg(self.order(), award, party, terms, self.tenders())
        return [type(one.event).__name__ for one in self.take(changes)]

    def execute(self, award: Award, terms: ExecutionTerms = TERMS) -> None:
        for party in legs_of(award):
            self.leg(award, party, terms)
            assert self.leg(award, party, terms) == []
        self.finish(award)
        assert finish(self.order(), award) == ()

    def finish(self, award: Award) -> None:
        self.take(finish(self.order(), award))

    def has_leg(self, award: Award, party: Party) -> bool:
        """Tell whether a leg was executed, so far as it shows on the order."""
        return Execution(self.order(), award).is_done(party)

    def pay_refund(self, award: Award) -> None:
        """Request what the ruling granted from every payment, and have it succeed."""
        refund_id = leg_id(award, Party.BUYER)
        for payment_id, amount in self.order().grants[refund_id].allocations.items():
            self.succeed(payment_id, self.refund(payment_id, refund_id, amount))

    def amend(self, *awards: Award) -> None:
        """Execute the last award in place of the others."""
        *earlier, last = awards
        ids = tuple([one.ruling_id for one in earlier])
        self.take(amend(self.order(), ids, last, TERMS, self.tenders()))

    def settle(self, award: Award) -> None:
        """Pay the refund of an award if it has one, and release what is left."""
        if leg_id(award, Party.BUYER) in self.order().grants:
            self.pay_refund(award)
        if self.order().escrow_held:
            self.release(release_id=f"rest-{award.ruling_id}")

    def books(self, currency: str = "USD") -> dict[str, int]:
        """Return the balances that are not zero, credit positive."""
        found = {name: -self.balance(account, currency) for name, account in BOOKS.items()}
        return {name: amount for name, amount in found.items() if amount}


def award(buyer: int, seller: int, platform: int = 0, ruling_id: str = "r1") -> Award:
    shares = {Party.BUYER: buyer, Party.SELLER: seller, Party.PLATFORM: platform}
    return Award(ruling_id=ruling_id, freeze_id="d1", seller="s1", line_ids=("a",), shares=shares)


class BookOfTwo(RulingBook):
    """Two sellers of 6,000 each, of which half was charged."""

    def __init__(self) -> None:
        OrderBook.__init__(self)
        self.confirmed("a 1 x 60.00", "b 1 x 60.00 of s2")
        self.pay("p1", 6000)
