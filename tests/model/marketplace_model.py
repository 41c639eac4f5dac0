"""
The money of a marketplace as plain dicts, written from the specification and not from the engine.

``verdict`` says whether a command must be accepted (True), refused (False) or whether the
specification leaves it open (None). ``effect`` checks the legs that the engine posted and books
them: where the specification fixes who bears what, exactly; where it does not (several releases, a
freeze between), within its bounds, and the model takes over what the engine chose. Refunds are in
``marketplace_refunds``, disputes and chargebacks in ``marketplace_claims``.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger import accounts
from orderledger.ledger.order_content import Funder
from orderledger.ledger.orders import OrderState
from tests.model import marketplace_prices as prices
from tests.model.marketplace_prices import Dict, commission_on

PSP: Final = accounts.psp("psp")
BANK: Final = accounts.bank("main")
IN_FLIGHT: Final = ("requested", "pending", "unknown")
LIVE: Final = (*IN_FLIGHT, "succeeded")
FAILED: Final = ("declined", "aborted", "reversed")
Legs = dict[str, int]
"""
Account, or ``held:`` and the account, to minor units, debit positive; another currency than the
orders' stands behind the account (``@EUR``).
"""


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
        for currency in {name.partition("@")[2] for name in legs}:
            mine = [one for name, one in legs.items() if name.partition("@")[2] == currency]
            assert sum(mine) == 0, legs
        for account, minor in legs.items():
            self.sums[account] = self.sums.get(account, 0) + minor
            if not self.sums[account]:
                del self.sums[account]

    def has(self, account: str) -> int:
        """Return what an account has, credit positive."""
        return -self.sums.get(account, 0)

    # -- what an order has ---------------------------------------------------------------------

    def available(self, part: Dict) -> int:
        gone = sum(one["gross"] for one in part["releases"]) + part["returned"]
        return int(part["held"] + part["promo"] - gone)

    def unfrozen(self, part: Dict) -> int:
        return int(max(0, self.available(part) - sum(part["frozen"].values())))

    def live_grants(self, order: Dict) -> list[Dict]:
        return [one for one in order["grants"].values() if not one["withdrawn"]]

    def due_of(self, order: Dict, seller: str) -> int:
        """Return what the seller's goods cost that were not granted back."""
        lines = [line for line in order["lines"].values() if line["seller"] == seller]
        total = sum(prices.charged(line) for line in lines)
        back = [one["total"] for one in self.live_grants(order) if one["seller"] == seller]
        return int(max(0, total - sum(back)))

    def waiting(self, order: Dict, seller: str) -> bool:
        """Tell whether a refund of this seller was granted that was not wholly asked for."""
        return any(
            one["seller"] == seller and self.claimed(one) < one["total"]
            for one in self.live_grants(order)
        )

    def redeemed(self, order_id: str) -> int:
        of = [one for one in self.redemptions.values() if one["order"] == order_id]
        return sum(one["amount"] for one in of)

    def captured(self, order: Dict) -> int:
        return int(order["payment"]["captured"]) if order["payment"] else 0

    def charged(self, order: Dict) -> int:
        return self.captured(order) + self.redeemed(order["id"])

    def is_paid(self, order: Dict) -> bool:
        return self.charged(order) == prices.grand(order)

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
                assert one.coupon_money == part["promo"]
                part["returned"] += self.available(part) - one.available
                part["frozen"] = dict(one.frozen)

    # -- what the platform pays ----------------------------------------------------------------

    def left_of(self, order: Dict, seller: str) -> tuple[int, dict[str, int]]:
        """Return what of a seller's items and taxes was not released, or was and came back."""
        items, taxes = prices.dues(order, seller)
        for one in order["parts"][seller]["releases"]:
            items -= one["items"] - one["back"]
            for name, minor in one["taxes"].items():
                back = one["tax_back"].get(name, 0)
                taxes[name] = taxes.get(name, 0) - minor + back
        left = {name: minor for name, minor in taxes.items() if minor > 0}
        return max(0, items), left

    def brought(self, part: Dict) -> int:
        """Return what the buyer paid of a seller's goods and did not get back."""
        return int(part["held"] - part["returned"] - part["given"])

    def _coupons_wanted(self, order: Dict, seller: str) -> int:
        """Return what the platform has to pay, as the buyer's money is there."""
        coupons, due = prices.coupons_due(order, seller), self.due_of(order, seller)
        if not coupons or not due:
            return coupons
        reached = max(0, min(self.brought(order["parts"][seller]), due))
        return prices.half_even(coupons * reached, due)

    def without_coupons(
        self, order: Dict, legs: Legs, *, is_open: bool = False, is_due: bool = True
    ) -> Legs:
        """
        Book what an order's coupons moved between the platform and escrow; return the other legs.

        A coupon comes in as the buyer's money does and goes back as that goes, but for what is
        frozen. It need not move at once where it is not due.
        """
        if not prices.has_coupons(order) or (not is_due and accounts.PROMO not in legs):
            return legs
        parts = order["parts"].values()
        before = sum(part["promo"] for part in parts)
        if is_open or any(part["is_murky"] for part in parts):
            state = self.look(order["id"])
            for seller, part in order["parts"].items():
                part["promo"] = state.slice_of(seller).coupon_money
        else:
            for seller, part in order["parts"].items():
                kept = part["promo"] - part["promo_back"]
                moved = self._coupons_wanted(order, seller) - kept
                part["promo"] += max(moved, -self.unfrozen(part))
        whole = sum(prices.platforms(line) for line in order["lines"].values())
        assert 0 <= sum(part["promo"] - part["promo_back"] for part in parts) <= whole
        paid = sum(part["promo"] for part in parts) - before
        moved_legs = {accounts.PROMO: paid, accounts.escrow(order["id"]): -paid}
        self.take(moved_legs)
        rest = {name: minor - moved_legs.get(name, 0) for name, minor in legs.items()}
        rest |= {name: -minor for name, minor in moved_legs.items() if name not in legs}
        return {name: minor for name, minor in rest.items() if minor}

    # -- orders and payments -------------------------------------------------------------------

    def _may_place_order(self, one: m.PlaceOrder) -> bool | None:
        return True if one.order_id not in self.orders else None

    def _do_place_order(self, one: m.PlaceOrder, legs: Legs) -> None:
        lines: dict[str, Dict] = {}
        parts: dict[str, Dict] = {}
        for line in one.lines:
            lines[line.line_id] = prices.priced(line)
            part: Dict = {"held": 0, "returned": 0, "given": 0, "promo": 0, "promo_back": 0}
            part |= {"releases": [], "frozen": {}, "is_met": False, "is_murky": False}
            parts[line.seller] = part
        coupons = [(of.funded_by is Funder.PLATFORM, of.amount) for of in one.discounts]
        prices.discounted(lines, coupons)
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
        return bool(one.amount <= prices.grand(order) - self.redeemed(order["id"]))

    def _do_initiate_payment(self, one: m.InitiatePayment, legs: Legs) -> None:
        made: Dict = {"amount": one.amount, "captured": 0, "ops": {}, "worth": 0}
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
            legs = self.without_coupons(order, legs, is_due=False)
            self.book(legs, {owed: minor, PSP: -minor, **self._not_needed(op, legs)})
            if op["dispute"]:
                self.resync(order)
            return
        hold = {f"held:{PSP}": minor, f"held:{escrow}": -minor}
        if op["kind"] == "authorise":
            self.book(legs, hold)
            return
        consumed = {name: -held for name, held in hold.items()} if op["kind"] == "capture" else {}
        order["payment"]["captured"] += minor
        for seller, part in order["parts"].items():
            part["held"] += minor if len(order["parts"]) == 1 else self.due_of(order, seller)
        legs = self.without_coupons(order, legs)
        self.book(legs, {PSP: minor, escrow: -minor, **consumed})

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
        order = self.order_of(one.payment_id)
        debt = self.beyond(order)
        op["status"] = status
        if op["kind"] != "refund":
            self.book(legs, {})
            return
        self._give_back(order, op)
        legs = self.without_coupons(order, legs)
        if self.taken_back(order) and not op["is_reissue"]:
            self._fails_late(order, op, legs, debt)
        else:
            self.book(legs, {account: -minor for account, minor in op["legs"].items()})
        self._take_over(order, op)

    def beyond(self, order: Dict) -> int:
        """Return what refunds and chargebacks have of a payment beyond what was captured."""
        gone = self.refunds(order, *LIVE) + self.taken_back(order)
        return max(0, gone - self.captured(order))

    def _fails_late(self, order: Dict, op: Dict, legs: Legs, debt: int) -> None:
        """A refund fails while a bank has money of the payment: first the buyer owes less."""
        owes, owed = accounts.receivable(order["id"]), accounts.refunds(order["id"])
        less = debt - self.beyond(order)
        assert legs[owed] == op["amount"]
        assert legs.get(owes, 0) == -less, (legs, less)
        self.within(legs, {owes, *op["legs"]})

    def _give_back(self, order: Dict, op: Dict) -> None:
        """A refund that failed is where it came from: escrow, and those it was released to."""
        part = order["parts"][op["seller"]]
        part["returned"] -= op["escrow"]
        self.gives(part, op, -1)

    def _take_over(self, order: Dict, op: Dict) -> None:
        part = order["parts"][op["seller"]]
        if part["is_murky"] or part["frozen"]:
            self.resync(order)

    def gives(self, part: Dict, op: Dict, sign: int) -> None:
        """A refund takes back of releases what it names, or (sign −1) it does not after all."""
        for release, items, commission in op["takes"]:
            release["back"] += sign * items
            release["commission_back"] += sign * commission
            part["given"] += sign * items
            assert 0 <= release["commission_back"] <= release["commission"]
        for release, name, tax in op["taxes"]:
            release["tax_back"][name] = release["tax_back"].get(name, 0) + sign * tax
            part["given"] += sign * tax
            assert 0 <= release["tax_back"][name] <= release["taxes"][name]
        part["promo_back"] += sign * op["promo"]
        part["given"] -= sign * op["promo"]

    def _do_record_reversed(self, one: m.RecordReversed, legs: Legs) -> None:
        op = self.op_of(one.payment_id, one.op_id)
        assert op["status"] == "succeeded"
        order = self.order_of(one.payment_id)
        op["status"] = "reversed"
        # What the buyer had got beyond what was paid comes back first.
        owes = accounts.receivable(order["id"])
        back = -legs.get(owes, 0)
        assert 0 <= back <= min(op["amount"], -self.has(owes))
        legs = self.without_coupons(order, legs, is_due=False)
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
        order = self.orders[one.order_id]
        part = order["parts"][one.seller]
        escrow, seller = accounts.escrow(one.order_id), accounts.seller(one.seller)
        legs = self.without_coupons(order, legs)
        if part["is_murky"]:
            said = self.look(one.order_id).releases[one.release_id]
            items, taxes = said.items, {of.target: of.amount for of in said.parts}
        else:
            items, taxes = self.left_of(order, one.seller)
            left = min(self.unfrozen(part), items + sum(taxes.values()))
            wanted = left if one.amount is None else one.amount
            items, *of_taxes = prices.divide(wanted, [items, *taxes.values()])
            taxes = dict(zip(taxes, of_taxes, strict=True))
        amount = items + sum(taxes.values())
        assert 0 < amount <= self.unfrozen(part)
        commission = commission_on(items)
        expected = {escrow: amount, seller: commission - items, accounts.COMMISSION: -commission}
        self.book(legs, expected | {accounts.tax(name): -tax for name, tax in taxes.items()})
        made: Dict = {"id": one.release_id, "gross": amount, "items": items, "taxes": taxes}
        made |= {"commission": commission, "back": 0, "commission_back": 0, "tax_back": {}}
        part["releases"].append(made)


def _open(_: Command) -> None:
    """What the specification says nothing of."""


def _flies(op: Dict) -> bool:
    return op["status"] in IN_FLIGHT


def _snake(command: Command) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", type(command).__name__).lower()
