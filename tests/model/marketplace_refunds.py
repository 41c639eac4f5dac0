"""
Refunds of the plain marketplace: what is granted, which tender pays it back, and who bears it.

Before the release escrow bears a refund (recipe 10), afterwards those it was released to, each what
it got for the goods (recipe 11), and the platform gets its coupon back.
"""

from orderledger.commands import model as m
from orderledger.ledger import accounts
from tests.model import marketplace_prices as prices
from tests.model.marketplace_model import FAILED, LIVE, Legs, Money
from tests.model.marketplace_prices import Dict


class Refunds(Money):
    """The money with what goes back to buyers."""

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
        return prices.charged(line) - int(line["granted"]) - int(disputed)

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
        total = sum(self.back_of(line, moved.quantity))
        if total > self.line_left(order, moved.line_id):
            return False
        if self.is_disputed(order, moved.line_id):
            return None
        granted = sum(grant["total"] for grant in self.live_grants(order))
        return bool(total <= self.charged(order) - granted)

    def back_of(self, line: Dict, quantity: int) -> tuple[int, int]:
        """Return net and tax that so many more units give back: the running share, less before."""
        upto = prices.upto(line, line["units"] + quantity)
        back = (line["net_back"], line["tax_back"])
        net, tax = [max(0, reached - before) for reached, before in zip(upto, back, strict=True)]
        return net, tax

    def _do_grant_refund(self, one: m.GrantRefund, legs: Legs) -> None:
        order = self.orders[one.order_id]
        (moved,) = one.lines
        line = order["lines"][moved.line_id]
        (said,) = self.look(one.order_id).grants[one.refund_id].lines
        if not line["ruled"]:
            assert (said.net, said.tax) == self.back_of(line, moved.quantity)
        total = said.net + said.tax
        assert 0 < total <= self.line_left(order, moved.line_id)
        line["units"] += moved.quantity
        line["granted"] += total
        made = self.grant(order, one.refund_id, total, line["seller"])
        made |= {"line": moved.line_id, "units": moved.quantity}
        made |= {"net": said.net, "tax": said.tax}
        line["net_back"] += said.net
        line["tax_back"] += said.tax
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
            line["net_back"] -= grant["net"]
            line["tax_back"] -= grant["tax"]
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
        op: Dict = {"kind": "refund", "amount": one.amount, "status": "requested"}
        op |= {"seller": grant["seller"], "is_reissue": self.owed_again(grant) > 0, "legs": {}}
        op |= {"escrow": 0, "promo": 0, "takes": [], "taxes": []}
        op |= {"dispute": grant["dispute"], "refund": grant["id"]}
        grant["ops"][one.op_id] = op
        if op["is_reissue"]:
            self.book(self.without_coupons(order, legs, is_due=False), {})
            return
        self.bear(order, grant, op, (legs, accounts.refunds(order["id"])))

    def _do_retry_refund(self, one: m.RetryRefund, legs: Legs) -> None:
        self._do_request_refund(one, legs)

    def bear(self, order: Dict, grant: Dict, op: Dict, posted: tuple[Legs, str]) -> None:
        """Book who bears a refund: escrow beyond the live order, then its releases."""
        legs, owed = posted
        part = order["parts"][grant["seller"]]
        is_open = part["is_murky"] or part["frozen"] or grant["dispute"]
        if not is_open and self.shares(order, grant["seller"], op):
            self.book(self._fixed(order, op, legs), self._borne(order, grant, op, owed))
            op["legs"] = self._borne(order, grant, op, owed)
            return
        legs = self.without_coupons(order, legs, is_open=True)
        allowed = self._may_bear(order, grant) | {owed}
        assert legs[owed] == -op["amount"]
        signs = {owed: -1, accounts.PROMO: -1}
        assert all(minor * signs.get(name, 1) > 0 for name, minor in legs.items()), legs
        escrow = legs.get(accounts.escrow(order["id"]), 0)
        if not grant["dispute"]:
            assert escrow <= self._may_pay(order, part), (legs, part)
        self.within(legs, allowed)
        op |= {"legs": dict(legs), "escrow": escrow, "promo": -legs.get(accounts.PROMO, 0)}
        part["is_murky"] = True
        part["returned"] += escrow
        part["promo_back"] += op["promo"]
        self.resync(order)

    def _fixed(self, order: Dict, op: Dict, legs: Legs) -> Legs:
        part = order["parts"][op["seller"]]
        part["returned"] += op["escrow"]
        self.gives(part, op, 1)
        return self.without_coupons(order, legs)

    def _borne(self, order: Dict, grant: Dict, op: Dict, owed: str) -> Legs:
        """Return recipes 10 and 11: the seller's part, commission and tax of what was released."""
        items = sum(minor for _, minor, _ in op["takes"])
        commission = sum(kept for _, _, kept in op["takes"])
        legs = {accounts.escrow(order["id"]): op["escrow"], owed: -op["amount"]}
        legs |= {accounts.seller(grant["seller"]): items - commission}
        legs |= {accounts.COMMISSION_REFUNDED: commission, accounts.PROMO: -op["promo"]}
        for _, name, tax in op["taxes"]:
            account = accounts.tax(name)
            legs[account] = legs.get(account, 0) + tax
        return {name: minor for name, minor in legs.items() if minor}

    def _may_bear(self, order: Dict, grant: Dict) -> set[str]:
        allowed = {accounts.escrow(order["id"]), accounts.seller(grant["seller"])}
        allowed |= {accounts.COMMISSION_REFUNDED}
        allowed |= self.taxes_and_coupons(order)
        if grant["dispute"]:
            allowed.add(accounts.dispute_reserve(grant["dispute"]))
        return allowed

    def taxes_and_coupons(self, order: Dict) -> set[str]:
        lines = order["lines"].values()
        names = {accounts.tax(name) for line in lines for name, _, _ in line["taxes"]}
        return names | ({accounts.PROMO} if prices.has_coupons(order) else set())

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

    def shares(self, order: Dict, seller: str, op: Dict) -> bool:
        """Say what escrow and each release bear of a refund; False where that is open."""
        part = order["parts"][seller]
        beyond = self.brought(part) - self.due_of(order, seller)
        there = self.available(part)
        if part["releases"] and part["promo"] and there:
            return False
        escrow = min(op["amount"], max(0, beyond), max(0, there))
        left = op["amount"] - escrow
        taken = self._beyond(order, seller, left) if left else (0, {}, 0)
        if taken is None:
            return False
        items, taxes, promo = taken
        op |= {"escrow": escrow, "promo": promo, "takes": [], "taxes": []}
        for one in part["releases"]:
            part_of = min(items, one["items"] - one["back"])
            if part_of:
                back = prices.half_even(one["commission"] * (one["back"] + part_of), one["items"])
                op["takes"].append((one, part_of, back - one["commission_back"]))
                items -= part_of
            for name, minor in one["taxes"].items():
                tax = min(taxes.get(name, 0), minor - one["tax_back"].get(name, 0))
                if tax:
                    op["taxes"].append((one, name, tax))
                    taxes[name] -= tax
        return not items and not any(taxes.values())

    def _beyond(
        self, order: Dict, seller: str, amount: int
    ) -> tuple[int, dict[str, int], int] | None:
        """
        Divide a refund of what was released: items, taxes, and what the platform gets back.

        In proportion to what each got beyond what the live goods earn.
        """
        part = order["parts"][seller]
        items, taxes = prices.dues(order, seller)
        over: dict[str, int] = {}
        over_items = 0
        for one in part["releases"]:
            over_items += one["items"] - one["back"]
            for name, minor in one["taxes"].items():
                over[name] = over.get(name, 0) + minor - one["tax_back"].get(name, 0)
        over_items -= min(items, sum(one["items"] for one in part["releases"]))
        for name in over:
            got = sum(one["taxes"].get(name, 0) for one in part["releases"])
            over[name] = max(0, over[name] - min(got, taxes.get(name, 0)))
        kept = part["promo"] - part["promo_back"] - prices.coupons_due(order, seller)
        coupon = max(0, min(kept, part["promo"])) if not self.available(part) else 0
        whole = max(0, over_items) + sum(over.values()) - coupon
        if amount > whole:
            return None
        back = prices.half_even(coupon * amount, whole)
        first, *others = prices.divide(amount + back, [max(0, over_items), *over.values()])
        return first, dict(zip(over, others, strict=True)), back
