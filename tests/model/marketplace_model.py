"""
The money of a marketplace as plain dicts, written from the specification and not from the engine.

``verdict`` says whether a command must be accepted (True), refused (False) or whether the
specification leaves it open (None). ``effect`` checks the legs that the engine posted and books
them: where the specification fixes who bears what, exactly; where it does not (several releases, a
freeze between), within its bounds, and the model takes over what the engine chose. Disputes and
chargebacks are in ``marketplace_claims``.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger import accounts
from orderledger.ledger.orders import OrderState

RATE: Final = Decimal("0.12")
PSP: Final = accounts.psp("psp")
BANK: Final = accounts.bank("main")
IN_FLIGHT: Final = ("requested", "pending", "unknown")
LIVE: Final = (*IN_FLIGHT, "succeeded")
FAILED: Final = ("declined", "aborted", "reversed")
Dict = dict[str, Any]
Legs = dict[str, int]
"""Account, or ``held:`` and the account, to minor units, debit positive."""


def half_even(numerator: int, denominator: int) -> int:
    return int((Decimal(numerator) / denominator).quantize(Decimal(1), ROUND_HALF_EVEN))


def commission_on(amount: int) -> int:
    return int((amount * RATE).quantize(Decimal(1), ROUND_HALF_EVEN))


class Money:
    """Orders with their escrow, one payment each, refunds and releases."""

    def __init__(self, look: Callable[[str], OrderState]) -> None:
        self.look = look
        self.now: datetime
        self.sums: Legs = {}
        self.orders: dict[str, Dict] = {}
        self.value: Dict = {"issued": 0, "redeemed": 0, "restored": 0, "expired": 0, "lots": {}}
        self.redemptions: dict[str, Dict] = {}
        self.disputes: dict[str, Dict] = {}

    # -- booking -------------------------------------------------------------------------------

    def verdict(self, command: Command) -> bool | None:
        decide: Callable[..., bool | None] = getattr(self, f"_may_{_snake(command)}", _open)
        return decide(command)

    def effect(self, command: Command, legs: Legs) -> None:
        book: Callable[..., None] = getattr(self, f"_do_{_snake(command)}", self._do_nothing)
        book(command, legs)

    def _do_nothing(self, _: Command, legs: Legs) -> None:
        self.book(legs, {})

    def book(self, legs: Legs, expected: Legs) -> None:
        """Book what the specification fixes to the last unit."""
        expected = {account: minor for account, minor in expected.items() if minor}
        assert legs == expected, (legs, expected)
        self.take(legs)

    def within(self, legs: Legs, allowed: set[str]) -> None:
        """Book what the specification only bounds."""
        assert set(legs) <= allowed, (legs, allowed)
        self.take(legs)

    def take(self, legs: Legs) -> None:
        assert sum(legs.values()) == 0
        for account, minor in legs.items():
            self.sums[account] = self.sums.get(account, 0) + minor
            if not self.sums[account]:
                del self.sums[account]

    def has(self, account: str) -> int:
        """Return what an account has, credit positive."""
        return -self.sums.get(account, 0)

    # -- what an order has ---------------------------------------------------------------------

    def available(self, part: Dict) -> int:
        gone = sum(one["gross"] for one in part["releases"]) + part["returned"] + part["fees"]
        return int(part["held"] - gone)

    def unfrozen(self, part: Dict) -> int:
        return int(max(0, self.available(part) - sum(part["frozen"].values())))

    def live_grants(self, order: Dict) -> list[Dict]:
        return [one for one in order["grants"].values() if not one["withdrawn"]]

    def due_of(self, order: Dict, seller: str) -> int:
        """Return what the seller's goods cost that were not granted back."""
        lines = [line for line in order["lines"].values() if line["seller"] == seller]
        total = sum(line["quantity"] * line["price"] for line in lines)
        back = [one["total"] for one in self.live_grants(order) if one["seller"] == seller]
        return int(max(0, total - sum(back)))

    def waiting(self, order: Dict, seller: str) -> bool:
        """Tell whether a refund of this seller was granted that was not wholly asked for."""
        return any(
            one["seller"] == seller and self.claimed(one) < one["total"]
            for one in self.live_grants(order)
        )

    def total(self, order: Dict) -> int:
        return sum(line["quantity"] * line["price"] for line in order["lines"].values())

    def redeemed(self, order_id: str) -> int:
        of = [one for one in self.redemptions.values() if one["order"] == order_id]
        return sum(one["amount"] for one in of)

    def captured(self, order: Dict) -> int:
        return int(order["payment"]["captured"]) if order["payment"] else 0

    def charged(self, order: Dict) -> int:
        return self.captured(order) + self.redeemed(order["id"])

    def is_paid(self, order: Dict) -> bool:
        return self.charged(order) == self.total(order)

    def refunds(self, order: Dict, *statuses: str) -> int:
        ops = [op for grant in order["grants"].values() for op in grant["ops"].values()]
        return sum(op["amount"] for op in ops if op["status"] in statuses)

    def taken_back(self, order: Dict) -> int:
        """Return what chargebacks have of the payment; ``Claims`` knows."""
        return 0

    def refundable(self, order: Dict) -> int:
        gone = self.refunds(order, *LIVE) + self.taken_back(order)
        return int(max(0, self.captured(order) - gone))

    def claimed(self, grant: Dict) -> int:
        live = [op["amount"] for op in grant["ops"].values() if op["status"] in LIVE]
        return int(sum(live) + grant["restored"]) + self.paid_by_bank(grant)

    def paid_by_bank(self, grant: Dict) -> int:
        """Return what lost chargebacks paid of what had failed after success."""
        return int(sum(grant["by_bank"].values()))

    def resync(self, order: Dict) -> None:
        """Take over how an order's escrow is divided, within what the accounts say."""
        state = self.look(order["id"])
        for seller, part in order["parts"].items():
            one = state.slices.get(seller)
            if one is not None:
                part["returned"] += self.available(part) - one.available
                part["frozen"] = dict(one.frozen)

    # -- orders and payments -------------------------------------------------------------------

    def _may_place_order(self, one: m.PlaceOrder) -> bool | None:
        return True if one.order_id not in self.orders else None

    def _do_place_order(self, one: m.PlaceOrder, legs: Legs) -> None:
        lines: dict[str, Dict] = {}
        parts: dict[str, Dict] = {}
        for line in one.lines:
            price = int(line.unit_price * 100)
            made = {"seller": line.seller, "quantity": line.quantity, "price": price}
            lines[line.line_id] = made | {"granted": 0, "units": 0, "ruled": 0}
            part: Dict = {"held": 0, "returned": 0, "fees": 0, "releases": [], "frozen": {}}
            parts[line.seller] = part | {"is_met": False, "is_murky": False}
        self.orders[one.order_id] = {
            "id": one.order_id,
            "lines": lines,
            "parts": parts,
            "grants": {},
            "payment": None,
            "state": "placed",
        }
        self.book(legs, {})

    def _do_confirm_order(self, one: m.ConfirmOrder, legs: Legs) -> None:
        self.orders[one.order_id]["state"] = "confirmed"
        self.book(legs, {})

    def _may_complete_order(self, one: m.CompleteOrder) -> bool | None:
        parts = self.orders[one.order_id]["parts"].values()
        return False if any(part["frozen"] for part in parts) else None

    def _do_complete_order(self, one: m.CompleteOrder, legs: Legs) -> None:
        self.orders[one.order_id]["state"] = "completed"
        self.book(legs, {})

    def _may_initiate_payment(self, one: m.InitiatePayment) -> bool | None:
        order = self.orders[one.order_id or ""]
        if order["payment"]:
            return None
        return bool(one.amount <= self.total(order) - self.redeemed(order["id"]))

    def _do_initiate_payment(self, one: m.InitiatePayment, legs: Legs) -> None:
        made: Dict = {"amount": one.amount, "captured": 0, "ops": {}}
        self.orders[one.order_id or ""]["payment"] = made
        self.book(legs, {})

    def _do_purchase(self, one: m.Purchase, legs: Legs) -> None:
        self._request(one, "purchase")
        self.book(legs, {})

    def _do_authorise(self, one: m.Authorise, legs: Legs) -> None:
        self._request(one, "authorise")
        self.book(legs, {})

    def _may_capture(self, one: m.Capture) -> bool | None:
        ops = self.order_of(one.payment_id)["payment"]["ops"].values()
        held = self.has(f"held:{accounts.escrow(self.order_of(one.payment_id)['id'])}")
        flying = sum(op["amount"] for op in ops if op["kind"] == "capture" and _flies(op))
        return bool(one.amount <= held - flying)

    def _do_capture(self, one: m.Capture, legs: Legs) -> None:
        self._request(one, "capture")
        self.book(legs, {})

    def order_of(self, payment_id: str) -> Dict:
        return self.orders[payment_id.removeprefix("p-")]

    def _request(self, one: Any, kind: str) -> None:
        made = {"kind": kind, "amount": one.amount, "status": "requested"}
        self.order_of(one.payment_id)["payment"]["ops"][one.op_id] = made

    def op_of(self, payment_id: str, op_id: str) -> Dict:
        order = self.order_of(payment_id)
        for grant in order["grants"].values():
            if op_id in grant["ops"]:
                of_refund: Dict = grant["ops"][op_id]
                return of_refund
        found: Dict = order["payment"]["ops"][op_id]
        return found

    def _do_record_succeeded(self, one: m.RecordSucceeded, legs: Legs) -> None:
        op = self.op_of(one.payment_id, one.op_id)
        before, op["status"] = op["status"], "succeeded"
        if before == "succeeded":
            self.book(legs, {})
            return
        order = self.order_of(one.payment_id)
        escrow, owed = accounts.escrow(order["id"]), accounts.refunds(order["id"])
        minor = op["amount"]
        if op["kind"] == "refund":
            self.book(legs, {owed: minor, PSP: -minor, **self._not_needed(op, legs)})
            if op["dispute"]:
                self.resync(order)
            return
        hold = {f"held:{PSP}": minor, f"held:{escrow}": -minor}
        if op["kind"] == "authorise":
            self.book(legs, hold)
            return
        consumed = {name: -held for name, held in hold.items()} if op["kind"] == "capture" else {}
        self.book(legs, {PSP: minor, escrow: -minor, **consumed})
        order["payment"]["captured"] += minor
        for seller, part in order["parts"].items():
            part["held"] += minor if len(order["parts"]) == 1 else self.due_of(order, seller)

    def _not_needed(self, op: Dict, legs: Legs) -> Legs:
        """Once a ruling's refund has reached the buyer, the rest of its reserve is the seller's."""
        if not op["dispute"]:
            return {}
        reserve = accounts.dispute_reserve(op["dispute"])
        left = legs.get(reserve, 0)
        assert left in (0, self.has(reserve))
        return {reserve: left, accounts.seller(op["seller"]): -left} if left else {}

    def _do_record_unknown(self, one: m.RecordUnknown, legs: Legs) -> None:
        op = self.op_of(one.payment_id, one.op_id)
        if op["status"] in IN_FLIGHT:
            op["status"] = "unknown"
        self.book(legs, {})

    def _do_record_declined(self, one: m.RecordDeclined, legs: Legs) -> None:
        self._fails(one, legs, "declined")

    def _do_record_aborted(self, one: m.RecordAborted, legs: Legs) -> None:
        self._fails(one, legs, "aborted")

    def _fails(self, one: Any, legs: Legs, status: str) -> None:
        op = self.op_of(one.payment_id, one.op_id)
        if not _flies(op):
            self.book(legs, {})
            return
        op["status"] = status
        self.book(legs, {account: -minor for account, minor in op.get("legs", {}).items()})
        if op["kind"] == "refund":
            self._give_back(self.order_of(one.payment_id), op)

    def _give_back(self, order: Dict, op: Dict) -> None:
        """A refund that failed is where it came from: escrow, and those it was released to."""
        part = order["parts"][op["seller"]]
        part["returned"] -= op["escrow"]
        for release, gross, commission in op["takes"]:
            release["back"] -= gross
            release["commission_back"] -= commission
        if part["is_murky"] or part["frozen"]:
            self.resync(order)

    def _do_record_reversed(self, one: m.RecordReversed, legs: Legs) -> None:
        op = self.op_of(one.payment_id, one.op_id)
        assert op["status"] == "succeeded"
        order = self.order_of(one.payment_id)
        op["status"] = "reversed"
        # What the buyer had got beyond what was paid comes back first.
        owes = accounts.receivable(order["id"])
        back = -legs.get(owes, 0)
        assert 0 <= back <= min(op["amount"], -self.has(owes))
        owed = {owes: -back, accounts.refunds(order["id"]): back - op["amount"]}
        self.book(legs, {PSP: op["amount"], **owed})
        by_bank = order["grants"][op["refund"]]["by_bank"]
        by_bank["beyond"] = by_bank.get("beyond", 0) + back

    # -- releases ------------------------------------------------------------------------------

    def _do_meet_release_condition(self, one: m.MeetReleaseCondition, legs: Legs) -> None:
        self.orders[one.order_id]["parts"][one.seller]["is_met"] = True
        self.book(legs, {})

    def _may_release_funds(self, one: m.ReleaseFunds) -> bool | None:
        order = self.orders[one.order_id]
        part = order["parts"][one.seller]
        free = self.unfrozen(part)
        if not part["is_met"] or not free or (one.amount or 0) > free:
            return False
        if order["state"] != "confirmed" or part["is_murky"] or self.waiting(order, one.seller):
            return None
        return True if one.amount is not None or not part["frozen"] else None

    def _do_release_funds(self, one: m.ReleaseFunds, legs: Legs) -> None:
        part = self.orders[one.order_id]["parts"][one.seller]
        escrow = accounts.escrow(one.order_id)
        amount = self.unfrozen(part) if one.amount is None else one.amount
        if one.amount is None and self.waiting(self.orders[one.order_id], one.seller):
            amount = legs[escrow]
        assert 0 < amount <= self.unfrozen(part)
        commission = commission_on(amount)
        seller = accounts.seller(one.seller)
        net = amount - commission
        self.book(legs, {escrow: amount, seller: -net, accounts.COMMISSION: -commission})
        self.released(part, one.release_id, amount, commission)

    def released(self, part: Dict, release_id: str, gross: int, commission: int) -> None:
        made = {"id": release_id, "gross": gross, "commission": commission}
        part["releases"].append(made | {"back": 0, "commission_back": 0})

    # -- refunds -------------------------------------------------------------------------------

    def line_left(self, order: Dict, line_id: str, without: str = "") -> int:
        """Return what a line still charges that no grant and no open dispute has."""
        line = order["lines"][line_id]
        disputed = sum(
            one["claimed"]
            for name, one in self.disputes.items()
            if (one["order"], one["line"]) == (order["id"], line_id)
            and one["is_claiming"]
            and name != without
        )
        return int(line["quantity"] * line["price"] - line["granted"] - disputed)

    def is_disputed(self, order: Dict, line_id: str) -> bool:
        """Tell whether a dispute about a line is open; whether it waits is the host's policy."""
        of_line = [one for one in self.disputes.values() if one["line"] == line_id]
        return any(one["order"] == order["id"] and one["is_claiming"] for one in of_line)

    def _may_grant_refund(self, one: m.GrantRefund) -> bool | None:
        order = self.orders[one.order_id]
        (moved,) = one.lines
        line = order["lines"][moved.line_id]
        if moved.quantity > line["quantity"] - line["units"]:
            return False
        if line["ruled"] or order["state"] != "confirmed" or self.taken_back(order):
            return None
        total = moved.quantity * line["price"]
        if total > self.line_left(order, moved.line_id):
            return False
        if self.is_disputed(order, moved.line_id):
            return None
        granted = sum(grant["total"] for grant in self.live_grants(order))
        return bool(total <= self.charged(order) - granted)

    def _do_grant_refund(self, one: m.GrantRefund, legs: Legs) -> None:
        order = self.orders[one.order_id]
        (moved,) = one.lines
        line = order["lines"][moved.line_id]
        total = self.look(one.order_id).grants[one.refund_id].total
        if not line["ruled"]:
            assert total == moved.quantity * line["price"]
        assert 0 < total <= self.line_left(order, moved.line_id)
        line["units"] += moved.quantity
        line["granted"] += total
        made = self.grant(order, one.refund_id, total, line["seller"])
        made |= {"line": moved.line_id, "units": moved.quantity}
        self.book(legs, {})

    def grant(self, order: Dict, refund_id: str, total: int, seller: str) -> Dict:
        made: Dict = {"id": refund_id, "total": total, "seller": seller, "allocated": {}}
        made |= {"withdrawn": False, "restored": 0, "ops": {}, "dispute": "", "by_bank": {}}
        order["grants"][refund_id] = made
        return made

    def _may_allocate_refund(self, one: m.AllocateRefund) -> bool | None:
        order = self.orders[one.order_id]
        grant = order["grants"][one.refund_id]
        if grant["withdrawn"] or sum(part.amount for part in one.parts) != grant["total"]:
            return False
        if grant["allocated"]:
            return None
        for part in one.parts:
            if part.payment_id.startswith("p-") and part.amount > self.refundable(order):
                return False
        return None if self.redeemed(order["id"]) or len(order["grants"]) > 1 else True

    def _do_allocate_refund(self, one: m.AllocateRefund, legs: Legs) -> None:
        grant = self.orders[one.order_id]["grants"][one.refund_id]
        grant["allocated"] = {part.payment_id: part.amount for part in one.parts}
        self.book(legs, {})

    def _may_withdraw_refund(self, one: m.WithdrawRefund) -> bool | None:
        grant = self.orders[one.order_id]["grants"][one.refund_id]
        if grant["withdrawn"] or grant["dispute"]:
            return None
        return False if grant["ops"] or grant["restored"] else None

    def _do_withdraw_refund(self, one: m.WithdrawRefund, legs: Legs) -> None:
        order = self.orders[one.order_id]
        grant = order["grants"][one.refund_id]
        if not grant["withdrawn"]:
            grant["withdrawn"] = True
            line = order["lines"][grant["line"]]
            line["units"] -= grant["units"]
            line["granted"] -= grant["total"]
        self.book(legs, {})

    def _may_request_refund(self, one: m.RequestRefund, *, is_retry: bool = False) -> bool | None:
        order = self.order_of(one.payment_id)
        grant = order["grants"][one.refund_id]
        left = grant["allocated"].get(one.payment_id, 0) - self.claimed(grant) + grant["restored"]
        if grant["withdrawn"] or one.amount > min(left, self.refundable(order)):
            return False
        is_failed = any(op["status"] in FAILED for op in grant["ops"].values())
        if is_retry and not is_failed:
            return False
        if grant["dispute"] or self.taken_back(order) or order["state"] != "confirmed":
            return None
        part = order["parts"][grant["seller"]]
        owed = self.owed_again(grant)
        if owed:
            return bool(is_retry and one.amount <= owed)
        return None if part["is_murky"] or part["frozen"] else True

    def _may_retry_refund(self, one: m.RetryRefund) -> bool | None:
        return self._may_request_refund(one, is_retry=True)

    def owed_again(self, grant: Dict) -> int:
        """Return what failed after success and was not paid again."""
        owed = 0
        for op in grant["ops"].values():
            if op["is_reissue"]:
                owed -= op["amount"] if op["status"] in LIVE else 0
            elif op["status"] == "reversed":
                owed += op["amount"]
        return max(0, owed - self.paid_by_bank(grant))

    def _do_request_refund(self, one: m.RequestRefund, legs: Legs) -> None:
        order = self.order_of(one.payment_id)
        grant = order["grants"][one.refund_id]
        op: Dict = {"kind": "refund", "amount": one.amount, "status": "requested", "takes": []}
        op |= {"seller": grant["seller"], "is_reissue": self.owed_again(grant) > 0, "legs": {}}
        op |= {"escrow": 0, "dispute": grant["dispute"], "refund": grant["id"]}
        grant["ops"][one.op_id] = op
        if op["is_reissue"]:
            self.book(legs, {})
            return
        self.bear(order, grant, op, (legs, accounts.refunds(order["id"])))

    def _do_retry_refund(self, one: m.RetryRefund, legs: Legs) -> None:
        self._do_request_refund(one, legs)

    def bear(self, order: Dict, grant: Dict, op: Dict, posted: tuple[Legs, str]) -> None:
        """Book who bears a refund: escrow beyond the live order, then its releases."""
        legs, owed = posted
        seller = grant["seller"]
        part = order["parts"][seller]
        escrow, of_seller = accounts.escrow(order["id"]), accounts.seller(seller)
        is_open = part["is_murky"] or part["frozen"] or grant["dispute"]
        shares = None if is_open else self.shares(order, seller, op["amount"])
        op["legs"] = dict(legs)
        if shares is not None:
            op["escrow"], op["takes"] = shares
            back = sum(gross for _, gross, _ in op["takes"])
            commission = sum(kept for _, _, kept in op["takes"])
            expected = {escrow: op["escrow"], of_seller: back - commission, owed: -op["amount"]}
            self.book(legs, {**expected, accounts.COMMISSION_REFUNDED: commission})
        else:
            allowed = {escrow, of_seller, accounts.COMMISSION_REFUNDED, owed}
            if grant["dispute"]:
                allowed.add(accounts.dispute_reserve(grant["dispute"]))
            assert legs[owed] == -op["amount"]
            assert all(minor > 0 for account, minor in legs.items() if account != owed), legs
            if not grant["dispute"]:
                assert legs.get(escrow, 0) <= self._may_pay(order, part), (legs, part)
            self.within(legs, allowed)
            op["escrow"] = legs.get(escrow, 0)
            part["is_murky"] = True
        part["returned"] += op["escrow"]
        for release, gross, commission in op["takes"]:
            release["back"] += gross
            release["commission_back"] += commission
            assert release["commission_back"] <= release["commission"]
        if part["is_murky"]:
            self.resync(order)

    def _may_pay(self, order: Dict, part: Dict) -> int:
        """
        Return what of escrow a seller's refund can have at most.

        Another seller's money pays while the order is not paid in full: a bank took some of it.
        """
        if not self.taken_back(order):
            return self.unfrozen(part)
        for one in order["parts"].values():
            one["is_murky"] = True
        return sum(self.unfrozen(one) for one in order["parts"].values())

    def shares(self, order: Dict, seller: str, amount: int) -> tuple[int, list[Any]] | None:
        """Return what escrow and each release bear of a refund; None where that is open."""
        part = order["parts"][seller]
        out = sum(one["gross"] - one["back"] for one in part["releases"])
        beyond = self.available(part) - max(0, self.due_of(order, seller) - out)
        escrow = min(amount, max(0, beyond))
        left, takes = amount - escrow, []
        for one in part["releases"]:
            gross = min(left, one["gross"] - one["back"])
            if gross:
                back = half_even(one["commission"] * (one["back"] + gross), one["gross"])
                takes.append((one, gross, back - one["commission_back"]))
                left -= gross
        return None if left else (escrow, takes)


def _open(_: Command) -> None:
    """What the specification says nothing of."""


def _flies(op: Dict) -> bool:
    return op["status"] in IN_FLIGHT


def _snake(command: Command) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", type(command).__name__).lower()
