"""
A marketplace as plain dicts, written from the specification and not from the engine.

``verdict`` says whether a command must be accepted (True), refused (False) or whether the
specification leaves it open (None); ``effect`` changes the model. What the provider reports follows
section 0 of the domain: an operation has one outcome at a time, and revisions are new outcomes.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger import accounts

IN_FLIGHT: Final = ("requested", "pending", "unknown")
ENDED: Final = ("cancelled", "expired")
Dict = dict[str, Any]


def _snake(command: Command) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", type(command).__name__).lower()


class Market:
    """Orders, payments with their operations, grants, and one stored value account."""

    def __init__(self) -> None:
        self.orders: dict[str, Dict] = {}
        self.payments: dict[str, Dict] = {}
        self.fulfilments: dict[str, Dict] = {}
        self.value: Dict = {"issued": 0, "redeemed": 0, "restored": 0, "redemptions": {}}
        self.breached = False

    # -- sums ----------------------------------------------------------------------------------

    def ops(self, payment_id: str, kind: str, *statuses: str) -> list[Dict]:
        found = self.payments[payment_id]["ops"].values()
        return [op for op in found if op["kind"] == kind and op["status"] in statuses]

    def done(self, payment_id: str, *kinds: str) -> int:
        return sum(op["amount"] for kind in kinds for op in self.ops(payment_id, kind, "succeeded"))

    def flying(self, payment_id: str, *kinds: str) -> int:
        return sum(op["amount"] for kind in kinds for op in self.ops(payment_id, kind, *IN_FLIGHT))

    def captured(self, payment_id: str) -> int:
        return self.done(payment_id, "capture", "purchase")

    def refundable(self, payment_id: str) -> int:
        gone = self.done(payment_id, "refund") + self.flying(payment_id, "refund")
        return max(0, self.captured(payment_id) - gone)

    def auth(self, payment_id: str, auth_op: str) -> Dict:
        """Return what became of one authorisation."""
        found: Dict = {"authorised": 0, "voided": 0, "captured": 0, "capturing": 0, "voiding": 0}
        found["final"] = False
        for op in self.payments[payment_id]["ops"].values():
            if op["id"] == auth_op and op["status"] == "succeeded":
                found["authorised"] = op["amount"]
            if op["parent"] != auth_op or op["kind"] not in ("capture", "void"):
                continue
            if op["status"] == "succeeded":
                found["captured" if op["kind"] == "capture" else "voided"] += op["amount"]
                found["final"] = found["final"] or op["final"]
            elif op["status"] in IN_FLIGHT:
                found["capturing" if op["kind"] == "capture" else "voiding"] += op["amount"]
        found["left"] = found["authorised"] - found["voided"] - found["captured"]
        return found

    def auths(self, payment_id: str) -> list[Dict]:
        ops = self.payments[payment_id]["ops"].values()
        return [self.auth(payment_id, op["id"]) for op in ops if op["kind"] == "authorise"]

    def held(self, payment_id: str) -> int:
        return int(max(0, sum(one["left"] for one in self.auths(payment_id) if not one["final"])))

    def capturable(self, payment_id: str) -> int:
        total = 0
        for one in self.auths(payment_id):
            total += (0 if one["final"] else one["left"]) - one["capturing"]
        return max(0, total)

    def total(self, order_id: str) -> int:
        return sum(line["live"] * line["price"] for line in self.orders[order_id]["lines"].values())

    def granted(self, order_id: str) -> int:
        return sum(grant["total"] for grant in self.live_grants(order_id))

    def live_grants(self, order_id: str) -> list[Dict]:
        return [one for one in self.orders[order_id]["grants"].values() if not one["withdrawn"]]

    def due(self, order_id: str) -> int:
        if self.orders[order_id]["state"] in ENDED:
            return 0
        returns = [one for one in self.live_grants(order_id) if one["source"] == "return"]
        return int(max(0, self.total(order_id) - sum(one["total"] for one in returns)))

    def grant_ops(self, order_id: str, refund_id: str, payment_id: str = "") -> list[Dict]:
        of = [payment_id] if payment_id else self.orders[order_id]["payments"]
        return [
            op
            for one in of
            for op in self.payments[one]["ops"].values()
            if op["kind"] == "refund" and op["refund"] == refund_id
        ]

    def outstanding(self, order_id: str, grant: Dict) -> int:
        ops = self.grant_ops(order_id, grant["id"])
        settled = sum(op["amount"] for op in ops if op["status"] == "succeeded")
        return int(max(0, grant["total"] - settled - grant["restored"]))

    def redeemed(self, order_id: str) -> tuple[int, int]:
        """Return what was redeemed for an order and what of it went back."""
        of = [one for one in self.value["redemptions"].values() if one["order"] == order_id]
        return sum(one["amount"] for one in of), sum(one["restored"] for one in of)

    def charged(self, order_id: str) -> int:
        paid = sum(self.captured(one) for one in self.orders[order_id]["payments"])
        return paid + self.redeemed(order_id)[0]

    def surplus(self, order_id: str) -> int:
        order = self.orders[order_id]
        kept = sum(self.captured(one) - self.done(one, "refund") for one in order["payments"])
        redeemed, restored = self.redeemed(order_id)
        promised = sum(self.outstanding(order_id, one) for one in self.live_grants(order_id))
        return max(0, kept + redeemed - restored - promised - self.due(order_id))

    def free(self, order_id: str, refund_id: str, payment_id: str) -> int:
        """Return what a payment can refund that no other grant's allocation waits for."""
        waiting = 0
        for other in self.live_grants(order_id):
            allotted = other["allocated"].get(payment_id, 0)
            if other["id"] == refund_id or not allotted or not self.outstanding(order_id, other):
                continue
            used = self.claimed(order_id, other["id"], payment_id)
            waiting += max(0, allotted - used)
        return max(0, self.refundable(payment_id) - waiting)

    def claimed(self, order_id: str, refund_id: str, payment_id: str) -> int:
        ops = self.grant_ops(order_id, refund_id, payment_id)
        return sum(op["amount"] for op in ops if op["status"] in (*IN_FLIGHT, "succeeded"))

    # -- what the accounts must hold ------------------------------------------------------------

    def balances(self) -> dict[tuple[str, str], int]:
        """Return (layer, account) → minor units, debit positive, zeros left out."""
        sums: dict[tuple[str, str], int] = {}

        def post(account: str, minor: int, layer: str = "posted") -> None:
            sums[(layer, account)] = sums.get((layer, account), 0) + minor

        for order_id, order in self.orders.items():
            escrow, owed = accounts.escrow(order_id), accounts.refunds(order_id)
            for payment_id in order["payments"]:
                captured, refunded = self.captured(payment_id), self.done(payment_id, "refund")
                post(accounts.psp("psp"), captured - refunded)
                post(escrow, -captured)
                post(accounts.psp("psp"), self.held(payment_id), "held")
                post(escrow, -self.held(payment_id), "held")
                post(owed, refunded)
                for op in self.ops(payment_id, "refund", *IN_FLIGHT, "succeeded", "reversed"):
                    if not op["reissue"]:
                        post(owed, -op["amount"])
                        for account, part in (op["funding"] or {escrow: op["amount"]}).items():
                            post(account, part)
            redeemed, restored = self.redeemed(order_id)
            post(escrow, restored - redeemed)
        issued = self.value["issued"]
        post(accounts.GOODWILL, issued)
        post(accounts.store_credit("b1"), -self.value_balance())
        return {key: minor for key, minor in sums.items() if minor}

    def value_balance(self) -> int:
        one = self.value
        return int(one["issued"] + one["restored"] - one["redeemed"])

    # -- commands --------------------------------------------------------------------------------

    def verdict(self, command: Command) -> bool | None:
        decide: Callable[..., bool | None] = getattr(self, f"_may_{_snake(command)}")
        return decide(command)

    def effect(self, command: Command) -> None:
        getattr(self, f"_do_{_snake(command)}")(command)

    def _state(self, order_id: str) -> str:
        return str(self.orders[order_id]["state"])

    def _may_place_order(self, one: m.PlaceOrder) -> bool | None:
        return True if one.order_id not in self.orders else None

    def _do_place_order(self, one: m.PlaceOrder) -> None:
        if one.order_id in self.orders:
            return
        lines = {
            line.line_id: {
                "seller": line.seller,
                "live": line.quantity,
                "price": int(line.unit_price * 100),
                "allocated": 0,
                "shipped": 0,
                "granted": 0,
            }
            for line in one.lines
        }
        self.orders[one.order_id] = {
            "state": "placed",
            "lines": lines,
            "grants": {},
            "payments": [],
        }

    def _may_initiate_payment(self, one: m.InitiatePayment) -> bool | None:
        if one.payment_id in self.payments:
            return None
        if self._state(one.order_id) not in ("placed", "confirmed"):
            return False
        redeemed, restored = self.redeemed(one.order_id)
        lacks = max(0, self.due(one.order_id) - redeemed + restored)
        if one.amount > lacks:
            return False
        return None if self.orders[one.order_id]["payments"] else True

    def _do_initiate_payment(self, one: m.InitiatePayment) -> None:
        if one.payment_id not in self.payments:
            made = {"order": one.order_id, "amount": one.amount, "ops": {}}
            self.payments[one.payment_id] = made
            self.orders[one.order_id]["payments"].append(one.payment_id)

    def _known(self, one: Any, kind: str) -> bool | None:
        """Tell for an operation whose id is taken: the same again is accepted."""
        for payment_id, payment in self.payments.items():
            op = payment["ops"].get(one.op_id)
            if op is not None and payment_id == one.payment_id:
                same = (op["kind"], op["amount"]) == (kind, one.amount)
                return None if same else False
        return None

    def _is_taken(self, one: Any) -> bool:
        return one.op_id in self.payments[one.payment_id]["ops"]

    def _may_authorise(self, one: m.Authorise | m.Purchase, kind: str = "authorise") -> bool | None:
        if self._is_taken(one):
            return self._known(one, kind)
        payment = self.payments[one.payment_id]
        if self._state(payment["order"]) not in ("placed", "confirmed"):
            return False
        if not payment["ops"]:
            if one.amount != payment["amount"]:
                return False
            # The order may have changed since, or other payments may have brought the money.
            is_alone = self.orders[payment["order"]]["payments"] == [one.payment_id]
            return True if is_alone and one.amount <= self.due(payment["order"]) else None
        return False if one.amount > payment["amount"] else None

    def _may_purchase(self, one: m.Purchase) -> bool | None:
        return self._may_authorise(one, "purchase")

    def _do_authorise(self, one: m.Authorise) -> None:
        self._request(one, "authorise")

    def _do_purchase(self, one: m.Purchase) -> None:
        self._request(one, "purchase")

    def _request(self, one: Any, kind: str, amount: int | None = None, **fields: Any) -> None:
        if self._is_taken(one):
            return
        op = {"id": one.op_id, "kind": kind, "amount": one.amount if amount is None else amount}
        op |= {"status": "requested", "seen": set(), "said": [], "parent": "", "final": False}
        op |= {"refund": "", "funding": {}, "reissue": False, **fields}
        self.payments[one.payment_id]["ops"][one.op_id] = op

    def _may_capture(self, one: m.Capture) -> bool | None:
        if self._is_taken(one):
            return None
        auth = self.auth(one.payment_id, one.auth_op)
        if self._state(self.payments[one.payment_id]["order"]) in ("cancelling", *ENDED):
            return False
        if not auth["authorised"] or auth["final"]:
            return False
        captures = [
            op
            for op in self.ops(one.payment_id, "capture", *IN_FLIGHT)
            if op["parent"] == one.auth_op and (op["final"] or one.is_final)
        ]
        free = auth["left"] - auth["capturing"] - auth["voiding"]
        return not captures and one.amount <= free

    def _do_capture(self, one: m.Capture) -> None:
        self._request(one, "capture", parent=one.auth_op, final=one.is_final)

    def _may_void(self, one: m.Void) -> bool | None:
        if self._is_taken(one):
            return None
        auth = self.auth(one.payment_id, one.auth_op)
        if not auth["authorised"] or auth["final"] or auth["capturing"]:
            return False
        free = auth["left"] - auth["voiding"]
        return free > 0 and (one.amount is None or one.amount <= free)

    def _do_void(self, one: m.Void) -> None:
        auth = self.auth(one.payment_id, one.auth_op)
        free = auth["left"] - auth["voiding"]
        self._request(one, "void", free if one.amount is None else one.amount, parent=one.auth_op)

    def _may_confirm_order(self, one: m.ConfirmOrder) -> bool | None:
        state = self._state(one.order_id)
        if state != "placed":
            return state == "confirmed"
        order = self.orders[one.order_id]
        redeemed, restored = self.redeemed(one.order_id)
        cover = redeemed - restored
        for payment_id in order["payments"]:
            cover += self.captured(payment_id) - self.done(payment_id, "refund")
            cover += self.capturable(payment_id) + self.flying(payment_id, "capture")
        return cover >= self.due(one.order_id)

    def _do_confirm_order(self, one: m.ConfirmOrder) -> None:
        self.orders[one.order_id]["state"] = "confirmed"

    def _may_create_fulfilment(self, one: m.CreateFulfilment) -> bool | None:
        if one.fulfilment_id in self.fulfilments:
            return None
        lines = self.orders[one.order_id]["lines"]
        fits = all(
            moved.quantity <= lines[moved.line_id]["live"] - lines[moved.line_id]["allocated"]
            for moved in one.lines
        )
        return self._state(one.order_id) == "confirmed" and fits

    def _do_create_fulfilment(self, one: m.CreateFulfilment) -> None:
        if one.fulfilment_id not in self.fulfilments:
            for moved in one.lines:
                self.orders[one.order_id]["lines"][moved.line_id]["allocated"] += moved.quantity
            made = {"order": one.order_id, "lines": one.lines, "sent": False}
            self.fulfilments[one.fulfilment_id] = made

    def _may_dispatch_fulfilment(self, one: m.DispatchFulfilment) -> bool | None:
        parcel = self.fulfilments[one.fulfilment_id]
        if parcel["sent"]:
            return True
        lines = self.orders[one.order_id]["lines"]
        fits = all(
            moved.quantity <= lines[moved.line_id]["live"] - lines[moved.line_id]["shipped"]
            for moved in parcel["lines"]
        )
        return self._state(one.order_id) == "confirmed" and fits

    def _do_dispatch_fulfilment(self, one: m.DispatchFulfilment) -> None:
        parcel = self.fulfilments[one.fulfilment_id]
        if not parcel["sent"]:
            parcel["sent"] = True
            for moved in parcel["lines"]:
                self.orders[one.order_id]["lines"][moved.line_id]["shipped"] += moved.quantity

    def _may_cancel_line(self, one: m.CancelLine) -> bool | None:
        line = self.orders[one.order_id]["lines"][one.line_id]
        if self._state(one.order_id) != "confirmed":
            return False
        if one.quantity > line["live"] - max(line["shipped"], line["granted"]):
            return False
        return one.refund_id not in self.orders[one.order_id]["grants"] or None

    def _do_cancel_line(self, one: m.CancelLine) -> None:
        self.orders[one.order_id]["lines"][one.line_id]["live"] -= one.quantity
        self._grant_surplus(one.order_id, one.refund_id)

    def _grant_surplus(self, order_id: str, refund_id: str) -> None:
        amount = self.surplus(order_id)
        if amount:
            self._grant(order_id, refund_id, amount, "cancel", {})

    def _grant(
        self, order_id: str, refund_id: str, total: int, source: str, lines: dict[str, int]
    ) -> None:
        made = {"id": refund_id, "total": total, "source": source, "lines": lines, "allocated": {}}
        made |= {"withdrawn": False, "restored": 0, "is_allocated": False}
        self.orders[order_id]["grants"][refund_id] = made

    def _may_cancel_order(self, one: m.CancelOrder) -> bool | None:
        state = self._state(one.order_id)
        if state in ("cancelling", "cancelled"):
            return True
        shipped = any(line["shipped"] for line in self.orders[one.order_id]["lines"].values())
        return state in ("placed", "confirmed") and not shipped

    def _do_cancel_order(self, one: m.CancelOrder) -> None:
        if self._state(one.order_id) != "cancelled":
            self.orders[one.order_id]["state"] = "cancelling"

    def _may_finish_cancellation(self, one: m.FinishCancellation) -> bool | None:
        state = self._state(one.order_id)
        if state != "cancelling":
            return state == "cancelled"
        for payment_id in self.orders[one.order_id]["payments"]:
            if self.flying(payment_id, "capture", "purchase", "void"):
                return False
            if self.capturable(payment_id):
                return False
        return one.refund_id not in self.orders[one.order_id]["grants"] or None

    def _do_finish_cancellation(self, one: m.FinishCancellation) -> None:
        if self._state(one.order_id) == "cancelling":
            self.orders[one.order_id]["state"] = "cancelled"
            self._grant_surplus(one.order_id, one.refund_id)

    # -- refunds -----------------------------------------------------------------------------------

    def _may_grant_refund(self, one: m.GrantRefund) -> bool | None:
        if one.refund_id in self.orders[one.order_id]["grants"]:
            return None
        lines = self.orders[one.order_id]["lines"]
        total = 0
        for moved in one.lines:
            line = lines[moved.line_id]
            if moved.quantity > line["live"] - line["granted"]:
                return False
            total += moved.quantity * line["price"]
        return 0 < total <= self.charged(one.order_id) - self.granted(one.order_id)

    def _do_grant_refund(self, one: m.GrantRefund) -> None:
        if one.refund_id in self.orders[one.order_id]["grants"]:
            return
        lines = self.orders[one.order_id]["lines"]
        total = sum(moved.quantity * lines[moved.line_id]["price"] for moved in one.lines)
        taken = {moved.line_id: moved.quantity for moved in one.lines}
        for line_id, quantity in taken.items():
            lines[line_id]["granted"] += quantity
        self._grant(one.order_id, one.refund_id, total, "return", taken)

    def _may_allocate_refund(self, one: m.AllocateRefund) -> bool | None:
        grant = self.orders[one.order_id]["grants"].get(one.refund_id)
        if grant is None or grant["withdrawn"]:
            return False
        if grant["is_allocated"]:
            return None
        if sum(part.amount for part in one.parts) != grant["total"]:
            return False
        for part in one.parts:
            if part.payment_id in self.value["redemptions"]:
                return None
            if part.payment_id not in self.orders[one.order_id]["payments"]:
                return False
            if part.amount > self.free(one.order_id, one.refund_id, part.payment_id):
                return False
        return True

    def _do_allocate_refund(self, one: m.AllocateRefund) -> None:
        grant = self.orders[one.order_id]["grants"][one.refund_id]
        grant["allocated"] = {part.payment_id: part.amount for part in one.parts}
        grant["is_allocated"] = True

    def _may_withdraw_refund(self, one: m.WithdrawRefund) -> bool | None:
        grant = self.orders[one.order_id]["grants"].get(one.refund_id)
        if grant is None:
            return False
        if grant["withdrawn"]:
            return True
        if self.grant_ops(one.order_id, one.refund_id) or grant["restored"]:
            return False
        return self._state(one.order_id) not in ENDED or None

    def _do_withdraw_refund(self, one: m.WithdrawRefund) -> None:
        grant = self.orders[one.order_id]["grants"][one.refund_id]
        if not grant["withdrawn"]:
            grant["withdrawn"] = True
            grant["allocated"] = {}
            for line_id, quantity in grant["lines"].items():
                self.orders[one.order_id]["lines"][line_id]["granted"] -= quantity

    def _owed_again(self, order_id: str, refund_id: str, payment_id: str) -> int:
        owed = 0
        for op in self.grant_ops(order_id, refund_id, payment_id):
            if op["reissue"]:
                owed -= op["amount"] if op["status"] in (*IN_FLIGHT, "succeeded") else 0
            elif op["status"] == "reversed":
                owed += op["amount"]
        return max(0, owed)

    def _may_request_refund(self, one: m.RequestRefund, *, is_retry: bool = False) -> bool | None:
        if self._is_taken(one):
            return None
        order_id = self.payments[one.payment_id]["order"]
        grant = self.orders[order_id]["grants"].get(one.refund_id)
        if grant is None or grant["withdrawn"] or not grant["is_allocated"]:
            return False
        owed = self._owed_again(order_id, one.refund_id, one.payment_id)
        ops = self.grant_ops(order_id, one.refund_id, one.payment_id)
        if is_retry and not any(op["status"] in ("declined", "aborted", "reversed") for op in ops):
            return False
        if owed and (not is_retry or one.amount > owed or one.funding):
            return False
        flying = sum(op["amount"] for op in ops if op["status"] in IN_FLIGHT)
        used = self.claimed(order_id, one.refund_id, one.payment_id)
        left = min(
            grant["allocated"].get(one.payment_id, 0) - used,
            self.outstanding(order_id, grant) - flying,
        )
        return bool(one.amount <= min(left, self.refundable(one.payment_id)))

    def _do_request_refund(self, one: m.RequestRefund) -> None:
        order_id = self.payments[one.payment_id]["order"]
        owed = self._owed_again(order_id, one.refund_id, one.payment_id)
        funding = {part.account: part.amount for part in one.funding}
        self._request(one, "refund", refund=one.refund_id, funding=funding, reissue=owed > 0)

    def _may_retry_refund(self, one: m.RetryRefund) -> bool | None:
        return self._may_request_refund(one, is_retry=True)

    def _do_retry_refund(self, one: m.RetryRefund) -> None:
        self._do_request_refund(one)

    # -- reports -----------------------------------------------------------------------------------

    def report(self, payment_id: str, op_id: str, outcome: str, attempt: int) -> None:
        """Apply what the provider says; a repeat changes nothing."""
        op = self.payments[payment_id]["ops"][op_id]
        if (outcome, attempt) in op["seen"]:
            return
        before = op["status"]
        op["seen"].add((outcome, attempt))
        if outcome not in ("pending", "unknown"):
            op["said"].append((outcome, attempt))
        after = self._after(before, outcome, op["said"])
        if after is None:
            return
        if after != before and before in ("succeeded", "declined", "aborted", "reversed"):
            # A revision may leave more refunded than captured, or used than authorised.
            self.breached = True
        op["status"] = after

    def _after(self, before: str, outcome: str, said: list[tuple[str, int]]) -> str | None:
        if before in IN_FLIGHT and outcome in ("pending", "unknown"):
            is_news = outcome == "unknown" or before != "pending"
            return outcome if is_news and outcome != before else None
        if outcome in ("pending", "unknown"):
            return None
        successes = [index for index, one in enumerate(said) if one[0] == "succeeded"]
        if not successes:
            # The first failure holds; a reversal of what never succeeded is one.
            is_first = before in IN_FLIGHT
            return ("declined" if outcome == "reversed" else outcome) if is_first else None
        is_standing = any(self._stands(said, index, successes[0]) for index in successes)
        return "succeeded" if is_standing else "reversed"

    def _stands(self, said: list[tuple[str, int]], index: int, first: int) -> bool:
        """A later attempt holds; of one attempt the last report, as none names a reference."""
        attempt = said[index][1]
        for at, (outcome, other) in enumerate(said):
            if outcome == "succeeded":
                continue
            is_early_reversal = outcome == "reversed" and index == first
            if other > attempt or (other == attempt and (at > index or is_early_reversal)):
                return False
        return True

    # -- stored value ---------------------------------------------------------------------------

    def _may_issue_value(self, one: m.IssueValue) -> bool | None:
        return None

    def _do_issue_value(self, one: m.IssueValue) -> None:
        self.value["issued"] += one.amount

    def _may_redeem_value(self, one: m.RedeemValue) -> bool | None:
        if one.redemption_id in self.value["redemptions"]:
            return None
        if self._state(one.order_id) not in ("placed", "confirmed"):
            return False
        return False if one.amount > self.value_balance() else None

    def _do_redeem_value(self, one: m.RedeemValue) -> None:
        if one.redemption_id not in self.value["redemptions"]:
            self.value["redeemed"] += one.amount
            made = {"order": one.order_id, "amount": one.amount, "restored": 0}
            self.value["redemptions"][one.redemption_id] = made

    def _may_restore_value(self, one: m.RestoreValue) -> bool | None:
        redemption = self.value["redemptions"].get(one.redemption_id)
        grant = self.orders[one.order_id]["grants"].get(one.refund_id)
        if redemption is None or grant is None or grant["withdrawn"]:
            return False
        left = grant["allocated"].get(one.redemption_id, 0) - grant["restored"]
        return bool((one.amount or 0) <= min(left, redemption["amount"] - redemption["restored"]))

    def _do_restore_value(self, one: m.RestoreValue) -> None:
        amount = one.amount or 0
        self.value["restored"] += amount
        self.value["redemptions"][one.redemption_id]["restored"] += amount
        self.orders[one.order_id]["grants"][one.refund_id]["restored"] += amount
