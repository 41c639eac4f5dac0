"""
Payouts under random refunds, freezes, reserves and reports of the bank, against a dict of sums.
"""

from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orderledger.commands.account_commands import WriteOffDebt
from orderledger.commands.freeze_commands import FreezeFunds, UnfreezeFunds
from orderledger.commands.payment_commands import RecordDeclined
from orderledger.commands.payout_commands import (
    CancelPayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutReturned,
)
from orderledger.commands.seller_commands import (
    ImposePenalty,
    ReleaseReserve,
    SetReserve,
)
from orderledger.ledger import accounts
from orderledger.ledger.seller_events import ReserveTerms
from orderledger.ledger.sellers import reserve_of
from tests.sellers_book import SellersBook

SELLER: dict[str, Any] = {"seller": "s1", "currency": "USD"}
GIVEN_UP = ("failed", "returned", "cancelled")
picks = st.integers(0, 10**6)


class PayoutsMachine(RuleBasedStateMachine):
    """
    One seller. ``sums`` holds what seller, bank, fees and reserve must have; ``payouts`` where
    each payout stands and what it moved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.book = SellersBook()
        self.sums = {"seller": 0, "bank": 0, "fees": 0, "reserve": 0}
        self.orders: dict[str, int] = {}
        self.back: dict[str, int] = {}
        self.refunds: dict[str, tuple[str, int]] = {}
        self.frozen: dict[str, int] = {}
        self.payouts: dict[str, dict[str, Any]] = {}
        self.count = 0

    def new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def pick(self, number: int, among: Any) -> Any:
        found = sorted(among)
        return found[number % len(found)]

    # -- what moves the seller's balance --------------------------------------------------------

    @precondition(lambda self: len(self.orders) < 6)
    @rule(amount=st.integers(1, 300))
    def earn(self, amount: int) -> None:
        order_id = self.new("o")
        self.book.earn(order_id, amount)
        self.orders[order_id] = amount
        self.sums["seller"] += amount

    @precondition(lambda self: any(self.orders.values()))
    @rule(number=picks, share=st.integers(1, 100))
    def refund(self, number: int, share: int) -> None:
        order_id = self.pick(number, [one for one, left in self.orders.items() if left])
        if order_id in self.frozen:
            return
        amount = max(1, self.orders[order_id] * share // 100)
        op_id = self.book.give_back(order_id, self.new("f"), amount)
        self.orders[order_id] -= amount
        self.refunds[op_id] = (order_id, amount)
        self.sums["seller"] -= amount

    @precondition(lambda self: self.refunds)
    @rule(number=picks)
    def refund_fails(self, number: int) -> None:
        op_id = self.pick(number, self.refunds)
        order_id, amount = self.refunds.pop(op_id)
        self.book.run(RecordDeclined(payment_id=f"pay-{order_id}", op_id=op_id, provider_ref=op_id))
        # Granted units stay granted: no other refund can have them.
        self.back[order_id] = self.back.get(order_id, 0) + amount
        self.sums["seller"] += amount

    @precondition(lambda self: any(self.orders.values()))
    @rule(number=picks)
    def freeze(self, number: int) -> None:
        order_id = self.pick(number, [one for one, left in self.orders.items() if left])
        if order_id in self.frozen:
            return
        amount = max(1, self.orders[order_id] // 2)
        self.book.run(
            FreezeFunds(
                order_id=order_id, freeze_id=order_id, seller="s1", amount=amount, cause="c"
            )
        )
        self.frozen[order_id] = amount
        self.sums["seller"] -= amount

    @precondition(lambda self: any(self.frozen.values()))
    @rule(number=picks)
    def unfreeze(self, number: int) -> None:
        order_id = self.pick(number, [one for one, left in self.frozen.items() if left])
        self.book.run(UnfreezeFunds(order_id=order_id, freeze_id=order_id))
        self.sums["seller"] += self.frozen[order_id]
        self.frozen[order_id] = 0

    @rule(amount=st.integers(1, 50))
    def penalty(self, amount: int) -> None:
        self.book.run(
            ImposePenalty(penalty_id=self.new("n"), rule_ref="r", amount=amount, **SELLER)
        )
        self.sums["seller"] -= amount

    @precondition(lambda self: self.sums["seller"] < 0)
    @rule()
    def write_off(self) -> None:
        debt = -self.sums["seller"]
        entry_id = self.new("w")
        self.book.run(WriteOffDebt(entry_id=entry_id, amount=debt, debt=debt, reason="x", **SELLER))
        self.sums["seller"] = 0

    @rule(percent=st.sampled_from((0, 10, 50)))
    def terms(self, percent: int) -> None:
        terms = ReserveTerms(Decimal(percent) / 100, 30) if percent else None
        self.book.run(SetReserve(terms=terms, **SELLER))

    @precondition(lambda self: any(one["reserve"] for one in self.payouts.values()))
    @rule(number=picks)
    def release_reserve(self, number: int) -> None:
        found = [key for key, one in self.payouts.items() if one["reserve"]]
        payout_id = self.pick(number, found)
        self.book.run(
            ReleaseReserve(reserve_id=reserve_of(payout_id), is_early=True, reason="x", **SELLER)
        )
        self.reserve_back(payout_id)

    def reserve_back(self, payout_id: str) -> None:
        amount = self.payouts[payout_id]["reserve"]
        self.payouts[payout_id]["reserve"] = 0
        self.sums["reserve"] -= amount
        self.sums["seller"] += amount

    # -- payouts ---------------------------------------------------------------------------------

    @precondition(lambda self: self.orders)
    @rule(numbers=st.sets(st.integers(0, 5), max_size=4), is_sensible=st.booleans())
    def schedule(self, numbers: set[int], is_sensible: bool) -> None:
        payout_id = self.new("y")
        known = sorted(self.orders)
        if is_sensible:
            known = [one for one in known if self.left(one) > 0]
        self.decide(payout_id, [known[one] for one in sorted(numbers) if one < len(known)])

    def decide(self, payout_id: str, wanted: list[str]) -> None:
        command = self.book.scheduling(payout_id, *wanted)
        if self.book.refusal(command):
            assert not self.book.payout(payout_id).exists
            return
        total = self.book.payout(payout_id).sum
        assert 0 < total.amount <= total.entries + total.carried
        self.payouts[payout_id] = {
            "status": "scheduled",
            "amount": total.amount,
            "reserve": total.reserve,
            "was_paid": False,
        }
        self.sums["seller"] -= total.reserve
        self.sums["reserve"] += total.reserve
        assert self.book.payable() - self.book.account().scheduled >= 0

    def left(self, order_id: str) -> int:
        """Return what of an order no payout has."""
        claimed = self.book.account().claimed_of_order(order_id)
        left = self.orders[order_id] + self.back.get(order_id, 0)
        return left - self.frozen.get(order_id, 0) - claimed

    @precondition(lambda self: self.orders)
    @rule()
    def pay_all(self) -> None:
        payout_id = self.new("y")
        self.decide(payout_id, [one for one in self.orders if self.left(one) > 0])
        if payout_id in self.payouts:
            self.send(payout_id)

    @precondition(lambda self: self.payouts)
    @rule(number=picks)
    def initiate(self, number: int) -> None:
        self.send(self.pick(number, self.payouts))

    def send(self, payout_id: str) -> None:
        one = self.payouts[payout_id]
        before = one["status"]
        refusal = self.book.refusal(self.book.initiating(payout_id))
        if before == "scheduled" and not refusal:
            one["status"] = "in_transit"
            self.sums["seller"] -= one["amount"]
            assert self.book.payable() >= 0, "a payout made a debt"

    @precondition(lambda self: self.payouts)
    @rule(number=picks)
    def cancel(self, number: int) -> None:
        payout_id = self.pick(number, self.payouts)
        one = self.payouts[payout_id]
        refusal = self.book.refusal(CancelPayout(payout_id=payout_id, reason="x"))
        assert bool(refusal) == (one["status"] not in ("scheduled", "cancelled"))
        if one["status"] == "scheduled":
            one["status"] = "cancelled"
            self.reserve_back(payout_id)

    @precondition(lambda self: self.payouts)
    @rule(number=picks)
    def paid(self, number: int) -> None:
        payout_id = self.pick(number, self.payouts)
        one = self.payouts[payout_id]
        self.book.run(RecordPayoutPaid(payout_id=payout_id, bank_ref=self.new("b")))
        if one["status"] == "paid":
            return
        if one["status"] == "returned" and not one["was_paid"]:
            one["was_paid"] = True
            return
        self.sums["bank"] -= one["amount"]
        if one["status"] != "in_transit":
            self.sums["seller"] -= one["amount"]
        one.update(status="paid", was_paid=True)

    @precondition(lambda self: self.payouts)
    @rule(number=picks)
    def failed(self, number: int) -> None:
        payout_id = self.pick(number, self.payouts)
        one = self.payouts[payout_id]
        self.book.run(RecordPayoutFailed(payout_id=payout_id, bank_ref=self.new("b")))
        if one["status"] in GIVEN_UP:
            return
        self.came_back(payout_id)
        one["status"] = "failed"

    @precondition(lambda self: self.payouts)
    @rule(number=picks, fee=st.integers(0, 20))
    def returned(self, number: int, fee: int) -> None:
        payout_id = self.pick(number, self.payouts)
        one = self.payouts[payout_id]
        self.book.run(RecordPayoutReturned(payout_id=payout_id, bank_ref=self.new("b"), fee=fee))
        if one["status"] == "returned" or (one["status"] in GIVEN_UP and not fee):
            return
        self.sums["bank"] -= fee
        self.sums["fees"] += fee
        if one["status"] not in GIVEN_UP:
            self.came_back(payout_id)
        one["status"] = "returned"

    def came_back(self, payout_id: str) -> None:
        one = self.payouts[payout_id]
        if one["status"] == "paid":
            self.sums["bank"] += one["amount"]
        if one["status"] in ("paid", "in_transit"):
            self.sums["seller"] += one["amount"]
        self.reserve_back(payout_id)

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        """Money that moved otherwise than was said: the other checks are those of the book."""
        book = self.book
        assert book.payable() == self.sums["seller"]
        assert book.balance(accounts.bank("main")) == self.sums["bank"]
        assert book.balance(accounts.BANK_FEES) == self.sums["fees"]
        assert -book.balance(accounts.rolling_reserve("s1")) == self.sums["reserve"]
        for payout_id, one in self.payouts.items():
            state = book.payout(payout_id)
            assert (state.status.value, state.amount) == (one["status"], one["amount"])


PayoutsMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestPayouts = PayoutsMachine.TestCase
