"""
Payments in another currency than the order's in the plain marketplace: the buyer pays euros for an
order in dollars, at the rate of the quote for good.

The provider and the buyer's refund are in euros, escrow and all that comes of it in dollars, and
``equity:fx`` stands between (recipe 28): exactly what the buyer paid net in euros, and what the
refunds of it were promised as in dollars.
"""

from typing import Any, Final

from orderledger.commands import model as m
from orderledger.ledger import accounts
from tests.model import marketplace_prices as prices
from tests.model.marketplace_mediation import Mediation
from tests.model.marketplace_model import LIVE, PSP, Legs
from tests.model.marketplace_prices import Dict

EUROS: Final = "@EUR"


def in_euros(legs: Legs) -> Legs:
    return {f"{name}{EUROS}": minor for name, minor in legs.items() if minor}


class Abroad(Mediation):
    """All that is contested, and payments from abroad."""

    def is_abroad(self, order: Dict) -> bool:
        return bool(order["payment"] and order["payment"]["worth"])

    def abroad(self) -> list[Dict]:
        return [one for one in self.orders.values() if self.is_abroad(one)]

    def charged(self, order: Dict) -> int:
        """Return what was paid of an order, in its own currency."""
        paid = self.captured(order)
        if self.is_abroad(order):
            payment = order["payment"]
            paid = prices.half_even(payment["worth"] * paid, payment["amount"])
        return paid + self.redeemed(order["id"])

    def euros_left(self, order: Dict) -> int:
        """Return what the buyer paid in euros less what goes or is owed back of it."""
        ops = [op for grant in order["grants"].values() for op in grant["ops"].values()]
        back = [op for op in ops if not op["is_reissue"] and op["status"] in (*LIVE, "reversed")]
        return self.captured(order) - int(sum(op["amount"] for op in back))

    def is_all_back(self, order: Dict) -> bool:
        """Tell whether refunds took all of a payment, in both currencies."""
        ops = [op for grant in order["grants"].values() for op in grant["ops"].values()]
        worth = sum(op["worth"] for op in ops if op["status"] in LIVE)
        is_whole = bool(worth == order["payment"]["worth"])
        return is_whole and self.captured(order) > 0 and not self.euros_left(order)

    def euros_for(self, order: Dict, dollars: int) -> int:
        """Return how many euros so many dollars more of refunds are: the running share."""
        payment = order["payment"]
        ops = [op for grant in order["grants"].values() for op in grant["ops"].values()]
        before = sum(op["worth"] for op in ops if op["status"] in LIVE)
        reached = prices.half_even(payment["amount"] * (before + dollars), payment["worth"])
        return reached - int(sum(op["amount"] for op in ops if op["status"] in LIVE))

    # -- payments ------------------------------------------------------------------------------

    def _may_initiate_payment(self, one: m.InitiatePayment) -> bool | None:
        if one.fx is None:
            return super()._may_initiate_payment(one)
        order = self.orders[one.order_id or ""]
        left = prices.grand(order) - self.redeemed(order["id"])
        return None if order["payment"] else one.fx.order_amount <= left

    def _do_initiate_payment(self, one: m.InitiatePayment, legs: Legs) -> None:
        super()._do_initiate_payment(one, legs)
        order = self.orders[one.order_id or ""]
        order["payment"]["worth"] = one.fx.order_amount if one.fx else 0
        for part in order["parts"].values() if one.fx else ():
            part["is_murky"] = True

    def _may_capture(self, one: m.Capture) -> bool | None:
        return None if self.is_abroad(self.order_of(one.payment_id)) else super()._may_capture(one)

    def _do_record_succeeded(self, one: m.RecordSucceeded, legs: Legs) -> None:
        order, op = self.order_of(one.payment_id), self.op_of(one.payment_id, one.op_id)
        if not self.is_abroad(order) or op["status"] == "succeeded":
            super()._do_record_succeeded(one, legs)
            return
        op["status"] = "succeeded"
        minor = op["amount"]
        if op["kind"] == "refund":
            paid = {accounts.refunds(order["id"]): minor, PSP: -minor}
            self.book(legs, {**in_euros(paid), **self._not_needed(op, legs)})
        elif op["kind"] == "authorise":
            held = {f"held:{PSP}": minor, f"held:{accounts.escrow(order['id'])}": -minor}
            self.book(legs, in_euros(held))
        else:
            self._captured(order, op, legs)
        self.resync(order)

    def _captured(self, order: Dict, op: Dict, legs: Legs) -> None:
        """What was paid becomes the order's money at once, at the rate of the quote."""
        minor, worth = op["amount"], order["payment"]["worth"]
        escrow = accounts.escrow(order["id"])
        order["payment"]["captured"] += minor
        for seller, part in order["parts"].items():
            part["held"] += worth if len(order["parts"]) == 1 else self.due_of(order, seller)
        legs = self.without_coupons(order, legs)
        euros = {PSP: minor, accounts.FX_POSITION: -minor}
        if op["kind"] == "capture":
            euros |= {f"held:{PSP}": -minor, f"held:{escrow}": minor}
        self.book(legs, in_euros(euros) | {accounts.FX_POSITION: worth, escrow: -worth})
        order["dollars"] = worth

    # -- refunds -------------------------------------------------------------------------------

    def _may_allocate_refund(self, one: m.AllocateRefund) -> bool | None:
        order = self.orders[one.order_id]
        if not self.is_abroad(order):
            return super()._may_allocate_refund(one)
        grant = order["grants"][one.refund_id]
        is_wrong = sum(part.amount for part in one.parts) != grant["total"]
        return False if grant["withdrawn"] or is_wrong else None

    def _may_request_refund(self, one: m.RequestRefund, *, is_retry: bool = False) -> bool | None:
        order = self.order_of(one.payment_id)
        if not self.is_abroad(order):
            return super()._may_request_refund(one, is_retry=is_retry)
        grant = order["grants"][one.refund_id]
        is_too_much = one.amount > self.refundable(order)
        return False if grant["withdrawn"] or is_too_much else None

    def claimed(self, grant: Dict) -> int:
        live = [op for op in grant["ops"].values() if op["status"] in LIVE]
        back = int(sum(op.get("worth", op["amount"]) for op in live) + grant["restored"])
        return back + self.paid_by_bank(grant)

    def _do_request_refund(self, one: m.RequestRefund, legs: Legs) -> None:
        order = self.order_of(one.payment_id)
        if not self.is_abroad(order):
            super()._do_request_refund(one, legs)
            return
        grant = order["grants"][one.refund_id]
        is_reissue = self.owed_again(grant) > 0
        worth = one.order_amount or 0
        op: Dict = {"kind": "refund", "amount": one.amount, "status": "requested", "worth": worth}
        op |= {"seller": grant["seller"], "is_reissue": is_reissue, "dispute": grant["dispute"]}
        op |= {"refund": grant["id"], "dollars": 0}
        grant["ops"][one.op_id] = op
        if is_reissue:
            self.book(self.without_coupons(order, legs, is_due=False), {})
        else:
            self._exchanged(order, op, legs, 1)

    def _exchanged(self, order: Dict, op: Dict, legs: Legs, sign: int) -> None:
        """Book a refund, or (sign −1) that it failed: euros exactly, dollars within rounding."""
        legs = self.without_coupons(order, legs, is_open=True)
        minor, fx = op["amount"], accounts.FX_POSITION
        owed = accounts.refunds(order["id"])
        euros = {name: one for name, one in legs.items() if name.endswith(EUROS)}
        assert euros == in_euros({owed: -sign * minor, fx: sign * minor}), legs
        dollars = -legs.get(fx, 0) * sign
        expected = op["worth"] if sign > 0 else op["dollars"]
        # The last euros take the dollars that are left with them.
        assert dollars == expected or (sign > 0 and not self.euros_left(order)), (legs, op)
        assert abs(dollars - expected) <= 1, (legs, op)
        op["dollars"] = dollars
        order["dollars"] -= sign * dollars
        grant = order["grants"][op["refund"]]
        allowed = self._may_bear(order, grant) | {fx, *euros}
        borne = {name: one for name, one in legs.items() if name not in (fx, *euros)}
        signs = {accounts.PROMO: -1}
        assert all(one * sign * signs.get(name, 1) > 0 for name, one in borne.items()), legs
        self.within(legs, allowed)
        part = order["parts"][op["seller"]]
        part["promo_back"] -= borne.get(accounts.PROMO, 0)
        self.resync(order)

    def _fails(self, one: Any, legs: Legs, status: str) -> None:
        order, op = self.order_of(one.payment_id), self.op_of(one.payment_id, one.op_id)
        is_known = op["status"] not in ("requested", "pending", "unknown")
        if not self.is_abroad(order) or op["kind"] != "refund" or is_known or op["is_reissue"]:
            super()._fails(one, legs, status)
            return
        op["status"] = status
        self._exchanged(order, op, legs, -1)

    def _do_record_reversed(self, one: m.RecordReversed, legs: Legs) -> None:
        order, op = self.order_of(one.payment_id), self.op_of(one.payment_id, one.op_id)
        if not self.is_abroad(order):
            super()._do_record_reversed(one, legs)
            return
        op["status"] = "reversed"
        minor = op["amount"]
        owed = {accounts.refunds(order["id"]): -minor, PSP: minor}
        self.book(self.without_coupons(order, legs, is_due=False), in_euros(owed))
