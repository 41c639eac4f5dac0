"""
Any run of captures, releases, freezes, refunds and rulings of one order, by invariants.

Invariant 17 (every entry balances), 18 and 19 (the slices are the escrow account, never below
zero, frozen within what they hold), 21 (commission), 25 (awards), 28 (frozen money stays) and 29
(what the buyer gets) are checked after each step; and a closed order has neither escrow nor a
reserve.
"""

from decimal import Decimal
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orderledger.commands.decision import Changes
from orderledger.commands.freeze_commands import FreezeFunds, UnfreezeFunds
from orderledger.commands.order_commands import (
    AllocateRefund,
    ConversionTerms,
    GrantRefund,
    MeetReleaseCondition,
    ReleaseFunds,
)
from orderledger.commands.payment_commands import (
    RecordDeclined,
    RecordReversed,
    RequestRefund,
    RetryRefund,
)
from orderledger.commands.ruling_execution import Award, ExecutionTerms, leg_id, legs_of
from orderledger.ledger import accounts
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.escrow_events import FundsUnfrozen
from orderledger.ledger.order_content import Discount, Funder, ShippingCharge, Tax, Tip
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from tests.order_book import OrderBook, item
from tests.ruling_book import TERMS, RulingBook

SELLERS = st.sampled_from(["s1", "s2"])
AMOUNTS = st.integers(1, 16_000)
DISPUTES = st.sampled_from(["d1", "d2", "d3"])
LINES = {"s1": ("a", "b"), "s2": ("c",)}


class Market(RulingBook):
    """An order of two sellers, with coupon, tax, freight and a tip; not paid yet."""

    def __init__(self) -> None:
        OrderBook.__init__(self)
        coupon = Discount("cp", 501, Funder.PLATFORM)
        self.confirmed(
            item("a 3 x 33.33", tax=(Tax("NY", 825),), discounts=(coupon,)),
            "b 1 x 50.00",
            item("c 2 x 33.50 of s2", tax=(Tax("NY", 1),)),
            shipping=(ShippingCharge("x", "s1", 1000),),
            tips=(Tip("s2", 500),),
        )
        for seller in ("s1", "s2"):
            self.run(MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"))


class FrozenFunds(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.book = Market()
        self.count = 0
        self.awards: dict[str, list[Award]] = {}

    def attempt(self, command: Any) -> Changes:
        """Run a command; a refusal is an answer."""
        try:
            return self.book.run(command)
        except OrderLedgerError:
            return ()

    @property
    def order(self) -> OrderState:
        return self.book.order()

    def new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    @initialize(share=st.integers(1, 3))
    def pay_first(self, share: int) -> None:
        """Most is about money that was paid."""
        self.pay(share)

    @rule(share=st.integers(1, 3))
    def pay(self, share: int) -> None:
        paid = sum(self.order.payments.values())
        amount = self.order.total - paid if share == 3 else (self.order.total - paid) // 2
        if not (amount > 0):
            return
        due = max(0, self.order.due - paid)
        if not (due):
            return
        self.book.pay(self.new("p"), min(amount, due))

    @rule(seller=SELLERS, amount=st.none() | AMOUNTS, is_converted=st.booleans())
    def release(self, seller: str, amount: int | None, is_converted: bool) -> None:
        terms = ConversionTerms(currency="JPY", rate=Decimal("151.37")) if is_converted else None
        self.attempt(
            ReleaseFunds(
                order_id="o1",
                release_id=self.new("rel"),
                seller=seller,
                amount=amount,
                commission_rate=Decimal("0.12"),
                rate_version="1",
                conversion=terms,
            )
        )

    @rule(dispute=DISPUTES, seller=SELLERS, amount=AMOUNTS)
    def freeze(self, dispute: str, seller: str, amount: int) -> None:
        if any(key == dispute for key, _ in self.order.freezes):
            return
        self.attempt(
            FreezeFunds(
                order_id="o1", freeze_id=dispute, seller=seller, amount=amount, cause="dispute"
            )
        )

    @rule(dispute=DISPUTES)
    def unfreeze(self, dispute: str) -> None:
        if not (dispute not in self.awards):
            return
        self.attempt(UnfreezeFunds(order_id="o1", freeze_id=dispute))

    @rule(line=st.sampled_from(["a", "b", "c"]))
    def grant(self, line: str) -> None:
        refund_id = self.new("r")
        made = self.attempt(
            GrantRefund(
                order_id="o1",
                refund_id=refund_id,
                reason="r",
                source=RefundSource.RETURN,
                lines=(MovedLine(line, 1),),
            )
        )
        if made:
            self.attempt(AllocateRefund(order_id="o1", refund_id=refund_id))

    @rule(data=st.data(), outcome=st.sampled_from(["succeeds", "declines", "reverses", "waits"]))
    def refund(self, data: st.DataObject, outcome: str) -> None:
        grants = [one for one in self.order.grants.values() if one.is_live and one.allocations]
        if not (grants):
            return
        grant = data.draw(st.sampled_from(grants))
        for payment_id in grant.allocations:
            self._refund(grant, payment_id, outcome)

    def _refund(self, grant: Grant, payment_id: str, outcome: str) -> None:
        left = grant.allocations[payment_id] - grant.settled.get(payment_id, 0)
        op_id = self.new("op")
        kind = RetryRefund if grant.failed_ops else RequestRefund
        made = self.attempt(
            kind(
                payment_id=payment_id,
                op_id=op_id,
                amount=max(1, left),
                currency="USD",
                refund_id=grant.refund_id,
            )
        )
        if not made:
            return
        if outcome in ("succeeds", "reverses"):
            self.book.succeed(payment_id, op_id)
        if outcome == "reverses":
            self.book.run(RecordReversed(payment_id=payment_id, op_id=op_id, provider_ref="x"))
        if outcome == "declines":
            self.book.run(RecordDeclined(payment_id=payment_id, op_id=op_id, provider_ref="x"))

    @rule(
        dispute=DISPUTES,
        buyer=st.integers(0, 100),
        platform=st.integers(0, 20),
        is_goodwill=st.booleans(),
        turn=st.permutations(list(Party)),
        count=st.integers(1, 3),
    )
    def decide(
        self,
        dispute: str,
        buyer: int,
        platform: int,
        is_goodwill: bool,
        turn: list[Party],
        count: int,
    ) -> None:
        """Execute some legs of a ruling, or of another in its place."""
        known = [one for one in self.order.freezes.values() if one.freeze_id == dispute]
        if not (known):
            return
        whole = known[0].amount
        earlier = self.awards.get(dispute, [])
        if not (earlier or not known[0].is_lifted):
            return
        to_buyer = whole * min(buyer, 100 - platform) // 100
        fee = whole * platform // 100
        award = Award(
            ruling_id=self.new("ruling"),
            freeze_id=dispute,
            seller=known[0].slice_id,
            line_ids=LINES[known[0].slice_id],
            shares={
                Party.BUYER: to_buyer,
                Party.SELLER: whole - to_buyer - fee,
                Party.PLATFORM: fee,
            },
        )
        terms = ExecutionTerms(
            commission_rate=TERMS.commission_rate, rate_version="1", is_goodwill=is_goodwill
        )
        try:
            if earlier:
                self.book.amend(*earlier, award)
            else:
                self._legs(award, terms, turn[:count])
        except OrderLedgerError:
            if not earlier:
                self.awards[dispute] = [award]
            return
        self.awards[dispute] = [*earlier, award]

    def _legs(self, award: Award, terms: ExecutionTerms, turn: list[Party]) -> None:
        self.awards[award.freeze_id] = [award]
        for party in turn:
            self.book.leg(award, party, terms)
            assert self.book.leg(award, party, terms) == []
        if set(legs_of(award)) <= set(turn):
            self.book.finish(award)

    @invariant()
    def every_party_has_at_most_its_part(self) -> None:
        """Invariants 25 and 29: executed within awarded, and the buyer within what was charged."""
        order = self.order
        charged = sum(order.payments.values())
        assert order.granted <= charged
        for awards in self.awards.values():
            last = awards[-1]
            fee = order.fees.get(leg_id(last, Party.PLATFORM))
            assert fee is None or fee.amount == last.of(Party.PLATFORM)
            grant = order.grants.get(leg_id(last, Party.BUYER))
            assert grant is None or grant.total <= last.of(Party.BUYER)
            made = order.releases.get(leg_id(last, Party.SELLER))
            assert made is None or made.amount <= last.of(Party.SELLER)

    @invariant()
    def frozen_money_is_untouched(self) -> None:
        """Invariant 28: what a freeze found is there, until a ruling or its end takes it."""
        order = self.order
        for freeze in order.freezes.values():
            if freeze.is_lifted or freeze.freeze_id in self.awards:
                continue
            one = order.slices[freeze.slice_id] if freeze.escrowed else None
            assert one is None or one.frozen[freeze.freeze_id] == freeze.escrowed
            assert freeze.in_reserve == freeze.reserved
        lifted = [
            (event.freeze_id, event.slice_id)
            for _, event in self.book.events
            if isinstance(event, FundsUnfrozen)
        ]
        assert len(lifted) == len(set(lifted)), "a freeze that is lifted twice"

    def teardown(self) -> None:
        """A closed order has neither escrow nor a reserve, whatever happened to it."""
        self._settle_all()
        for dispute in sorted({key for key, _ in self.order.freezes}):
            self._close(dispute)
        self._settle_all()
        for seller in ("s1", "s2"):
            self.release(seller, None, False)
        order = self.order
        if any(one.outstanding for one in order.grants.values()):
            return
        for freeze in order.freezes.values():
            assert freeze.is_lifted
            assert not self.book.net(accounts.dispute_reserve(freeze.freeze_id))
        for seller in ("s1", "s2"):
            one = order.slices.get(seller)
            assert one is None or not one.frozen

    def _close(self, dispute: str) -> None:
        awards = self.awards.get(dispute)
        if awards is None:
            self.unfreeze(dispute)
            return
        last = awards[-1]
        if len(awards) == 1 and any(not self.book.has_leg(last, party) for party in legs_of(last)):
            everything = {Party.SELLER: last.total}
            last = Award(
                ruling_id=self.new("ruling"),
                freeze_id=dispute,
                seller=last.seller,
                line_ids=last.line_ids,
                shares=everything,
            )
            try:
                self.book.amend(*awards, last)
            except OrderLedgerError:
                return
        self.book.finish(last)

    def _settle_all(self) -> None:
        for grant in list(self.order.grants.values()):
            for payment_id in grant.allocations if grant.is_live else ():
                self._settle(grant.refund_id, payment_id)

    def _settle(self, refund_id: str, payment_id: str) -> None:
        state = self.book.states[f"payment-{payment_id}"]
        for op in list(state.operations.values()):
            if op.refund_id == refund_id and op.is_in_flight:
                self.book.succeed(payment_id, op.op_id)
        grant = self.order.grants[refund_id]
        if grant.allocations.get(payment_id, 0) > grant.settled.get(payment_id, 0):
            self._refund(grant, payment_id, "succeeds")


FrozenFunds.TestCase.settings = settings(
    stateful_step_count=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
TestFrozenFunds = FrozenFunds.TestCase
