"""
The rest of the plain marketplace: payouts, the rolling reserve, penalties, debts and stored value.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.payouts import PayoutState
from tests.model import marketplace_prices as prices
from tests.model.marketplace_batches import Batches
from tests.model.marketplace_model import BANK, Legs
from tests.model.marketplace_prices import Dict

GIVEN_UP: Final = ("failed", "returned", "cancelled")


class Marketplace(Batches):
    """All of it. ``look`` reads an order, ``dispute`` a dispute, ``payout`` a payout."""

    def __init__(
        self,
        look: Callable[[str], Any],
        dispute: Callable[[str], DisputeState],
        payout: Callable[[str], PayoutState],
    ) -> None:
        super().__init__(look)
        self._dispute = dispute
        self._payout = payout
        self.payouts: dict[str, Dict] = {}
        self.reserves: dict[str, Dict] = {}
        self.terms: dict[str, Any] = {}
        self.suspended: set[str] = set()
        self.penalties: dict[str, Dict] = {}

    def read_dispute(self, dispute_id: str) -> DisputeState:
        return self._dispute(dispute_id)

    def payable(self, seller: str) -> int:
        return self.has(accounts.seller(seller))

    def live_payouts(self, seller: str) -> list[Dict]:
        return [
            one
            for one in self.payouts.values()
            if one["seller"] == seller and one["status"] not in GIVEN_UP
        ]

    def worth(self, order_id: str, seller: str, release_id: str) -> int | None:
        """Return what the seller still has of a release; None where the specification is open."""
        order = self.orders[order_id]
        part = order["parts"][seller]
        if part["is_murky"] or order.get("reserves") or self.cases(order):
            return None
        (one,) = [one for one in part["releases"] if one["id"] == release_id]
        back = one["back"] - one["commission_back"]
        return int(one["items"] - one["commission"] - back)

    # -- payouts -------------------------------------------------------------------------------

    def _may_schedule_payout(self, one: m.SchedulePayout) -> bool | None:
        if one.seller in self.suspended or self.payable(one.seller) <= 0:
            return False
        for entry in one.entries:
            worth = self.worth(entry.order_id, one.seller, entry.release_id)
            taken = self.claimed_of(one.seller, (entry.order_id, entry.release_id))
            if worth is not None and worth <= taken:
                return False
        return None

    def claimed_of(self, seller: str, key: tuple[str, str]) -> int:
        """Return what live payouts have of a release; a failed refund may free more of it."""
        return sum(payout["entries"].get(key, 0) for payout in self.live_payouts(seller))

    def _do_schedule_payout(self, one: m.SchedulePayout, legs: Legs) -> None:
        state = self._payout(one.payout_id)
        for order_id in dict.fromkeys(entry.order_id for entry in one.entries):
            legs = self.without_coupons(self.orders[order_id], legs)
        keys = {(entry.order_id, entry.release_id): entry.amount for entry in state.entries}
        for entry in state.entries:
            worth = self.worth(entry.order_id, one.seller, entry.release_id)
            taken = self.claimed_of(one.seller, (entry.order_id, entry.release_id))
            assert worth is None or entry.amount == worth - taken
        total = state.sum
        entries = sum(entry.amount for entry in state.entries)
        kept = -legs.get(accounts.rolling_reserve(one.seller), 0)
        assert total.entries == entries
        assert state.amount == entries + total.carried - total.debt_recovered - kept
        assert 0 < state.amount <= self.payable(one.seller) - kept
        assert kept == self._kept(one.seller, entries) or total.debt_recovered or total.carried
        made = {"id": one.payout_id, "seller": one.seller, "amount": state.amount}
        self.payouts[one.payout_id] = made | {
            "entries": keys,
            "status": "scheduled",
            "is_sent": False,
        }
        if kept:
            self._reserve(f"payout/{one.payout_id}", one.seller, kept)
        self.book(
            legs, {accounts.seller(one.seller): kept, accounts.rolling_reserve(one.seller): -kept}
        )

    def _kept(self, seller: str, entries: int) -> int:
        rate: Decimal = self.terms.get(seller, Decimal(0))
        return int((entries * rate).to_integral_value())

    def _reserve(self, reserve_id: str, seller: str, amount: int) -> None:
        matures = self.now + timedelta(days=30)
        self.reserves[reserve_id] = {"seller": seller, "left": amount, "matures": matures}

    def _may_initiate_payout(self, one: m.InitiatePayout) -> bool | None:
        payout = self.payouts[one.payout_id]
        if payout["status"] != "scheduled":
            return None if payout["is_sent"] else False
        is_short = self.payable(payout["seller"]) < payout["amount"]
        return False if payout["seller"] in self.suspended or is_short else None

    def _do_initiate_payout(self, one: m.InitiatePayout, legs: Legs) -> None:
        payout = self.payouts[one.payout_id]
        if payout["status"] != "scheduled":
            self.book(legs, {})
            return
        payout["status"], payout["is_sent"] = "in_transit", True
        minor = payout["amount"]
        owed = accounts.payouts(one.payout_id)
        self.book(legs, {accounts.seller(payout["seller"]): minor, owed: -minor})

    def _may_cancel_payout(self, one: m.CancelPayout) -> bool | None:
        status = self.payouts[one.payout_id]["status"]
        return None if status == "cancelled" else bool(status == "scheduled")

    def _do_cancel_payout(self, one: m.CancelPayout, legs: Legs) -> None:
        payout = self.payouts[one.payout_id]
        expected = {} if payout["status"] == "cancelled" else self._reserve_back(payout)
        payout["status"] = "cancelled"
        self.book(legs, expected)

    def _reserve_back(self, payout: Dict) -> Legs:
        reserve = self.reserves.get(f"payout/{payout['id']}", {"left": 0})
        left, reserve["left"] = reserve["left"], 0
        seller = payout["seller"]
        return {accounts.rolling_reserve(seller): left, accounts.seller(seller): -left}

    def _do_record_payout_unknown(self, one: m.RecordPayoutUnknown, legs: Legs) -> None:
        self.payouts[one.payout_id]["status"] = "unknown"
        self.book(legs, {})

    def _do_record_payout_paid(self, one: m.RecordPayoutPaid, legs: Legs) -> None:
        payout = self.payouts[one.payout_id]
        if payout["status"] not in ("in_transit", "unknown"):
            self.book(legs, {})
            return
        payout["status"] = "paid"
        minor = payout["amount"]
        self.book(legs, {accounts.payouts(one.payout_id): minor, BANK: -minor})

    def _do_record_payout_failed(self, one: m.RecordPayoutFailed, legs: Legs) -> None:
        self._comes_back(one.payout_id, legs, "failed", 0)

    def _do_record_payout_returned(self, one: m.RecordPayoutReturned, legs: Legs) -> None:
        self._comes_back(one.payout_id, legs, "returned", one.fee)

    def _comes_back(self, payout_id: str, legs: Legs, status: str, fee: int) -> None:
        payout = self.payouts[payout_id]
        if payout["status"] in GIVEN_UP:
            self.book(legs, {})
            return
        minor = payout["amount"]
        seller = accounts.seller(payout["seller"])
        was_paid = payout["status"] == "paid"
        payout["status"] = status
        expected = {seller: -minor, accounts.BANK_FEES: fee, BANK: -fee}
        expected[BANK] += minor if was_paid else 0
        expected[accounts.payouts(payout_id)] = 0 if was_paid else minor
        for account, back in self._reserve_back(payout).items():
            expected[account] = expected.get(account, 0) + back
        self.book(legs, expected)

    # -- the seller's account ------------------------------------------------------------------

    def _do_suspend_seller(self, one: m.SuspendSeller, legs: Legs) -> None:
        self.suspended.add(one.seller)
        self.book(legs, {})

    def _do_reinstate_seller(self, one: m.ReinstateSeller, legs: Legs) -> None:
        self.suspended.discard(one.seller)
        self.book(legs, {})

    def _do_set_reserve(self, one: m.SetReserve, legs: Legs) -> None:
        self.terms[one.seller] = one.terms.rate if one.terms else Decimal(0)
        self.book(legs, {})

    def _may_take_reserve(self, one: m.TakeReserve) -> bool | None:
        return False if one.amount > self.payable(one.seller) else None

    def _do_take_reserve(self, one: m.TakeReserve, legs: Legs) -> None:
        self._reserve(one.reserve_id, one.seller, one.amount)
        if one.matures_at is not None:
            self.reserves[one.reserve_id]["matures"] = one.matures_at
        held = accounts.rolling_reserve(one.seller)
        self.book(legs, {accounts.seller(one.seller): one.amount, held: -one.amount})

    def _may_release_reserve(self, one: m.ReleaseReserve) -> bool | None:
        reserve = self.reserves[one.reserve_id]
        if not reserve["left"]:
            return None
        matures: datetime = reserve["matures"]
        return one.is_early or self.now >= matures

    def _do_release_reserve(self, one: m.ReleaseReserve, legs: Legs) -> None:
        reserve = self.reserves[one.reserve_id]
        left, reserve["left"] = reserve["left"], 0
        held = accounts.rolling_reserve(one.seller)
        self.book(legs, {held: left, accounts.seller(one.seller): -left})

    def _do_impose_penalty(self, one: m.ImposePenalty, legs: Legs) -> None:
        self.penalties[one.penalty_id] = {"seller": one.seller, "left": one.amount}
        charged = {accounts.seller(one.seller): one.amount, accounts.PENALTIES: -one.amount}
        self.book(legs, charged)

    def _do_lift_penalty(self, one: m.LiftPenalty, legs: Legs) -> None:
        penalty = self.penalties[one.penalty_id]
        left, penalty["left"] = penalty["left"], 0
        self.book(legs, {accounts.PENALTIES: left, accounts.seller(one.seller): -left})

    def _may_write_off_debt(self, one: m.WriteOffDebt) -> bool | None:
        return bool(0 < one.amount <= one.debt)

    def _do_write_off_debt(self, one: m.WriteOffDebt, legs: Legs) -> None:
        self.book(legs, {accounts.BAD_DEBT: one.amount, accounts.seller(one.seller): -one.amount})

    # -- stored value --------------------------------------------------------------------------

    def value_balance(self) -> int:
        one = self.value
        return int(one["issued"] + one["restored"] - one["redeemed"] - one["expired"])

    def _do_issue_value(self, one: m.IssueValue, legs: Legs) -> None:
        self.value["issued"] += one.amount
        self.value["lots"][one.lot_id] = one.expires_at
        self.book(legs, {accounts.GOODWILL: one.amount, accounts.store_credit("b1"): -one.amount})

    def _may_redeem_value(self, one: m.RedeemValue) -> bool | None:
        order = self.orders[one.order_id]
        if one.amount > self.value_balance():
            return False
        return False if one.amount > prices.grand(order) - self.charged(order) else None

    def _do_redeem_value(self, one: m.RedeemValue, legs: Legs) -> None:
        self.value["redeemed"] += one.amount
        made = {"order": one.order_id, "amount": one.amount, "restored": 0}
        self.redemptions[one.redemption_id] = made
        order = self.orders[one.order_id]
        (part,) = order["parts"].values()
        part["held"] += one.amount
        legs = self.without_coupons(order, legs)
        credit = accounts.store_credit("b1")
        self.book(legs, {credit: one.amount, accounts.escrow(one.order_id): -one.amount})

    def _may_restore_value(self, one: m.RestoreValue) -> bool | None:
        grant = self.orders[one.order_id]["grants"][one.refund_id]
        left = grant["allocated"].get(one.redemption_id, 0) - grant["restored"]
        redemption = self.redemptions[one.redemption_id]
        left = min(left, redemption["amount"] - redemption["restored"])
        return False if grant["withdrawn"] or (one.amount or 0) > left else None

    def _do_restore_value(self, one: m.RestoreValue, legs: Legs) -> None:
        order = self.orders[one.order_id]
        grant = order["grants"][one.refund_id]
        amount = one.amount or 0
        self.value["restored"] += amount
        self.redemptions[one.redemption_id]["restored"] += amount
        op: Dict = {"amount": amount, "seller": grant["seller"]}
        # A refund goes back to its tender, which may have paid for another release.
        part = order["parts"][grant["seller"]]
        part["is_murky"] = part["is_murky"] or len(part["releases"]) > 1
        self.bear(order, grant, op, (legs, accounts.store_credit("b1")))
        grant["restored"] += amount

    def _may_expire_value(self, one: m.ExpireValue) -> bool | None:
        expires = self.value["lots"][one.lot_id]
        return False if expires is None or expires > self.now else None

    def _do_expire_value(self, one: m.ExpireValue, legs: Legs) -> None:
        gone = legs.get(accounts.store_credit("b1"), 0)
        self.value["expired"] += gone
        assert gone >= 0
        assert self.value_balance() >= 0
        self.book(legs, {accounts.store_credit("b1"): gone, accounts.BREAKAGE: -gone})
