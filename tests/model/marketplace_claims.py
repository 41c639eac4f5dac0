"""
Freezes, disputes and chargebacks of the plain marketplace: who claims which money, and until when.

A dispute is heard by one rule book, of which the model knows the hours only. Every step first does
what passed deadlines demand. A chargeback is the set of what was reported of it.
"""

from datetime import timedelta
from typing import Any, Final

from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.rule_books import RuleBook
from tests.model import marketplace_prices as prices
from tests.model.marketplace_model import Legs
from tests.model.marketplace_prices import Dict
from tests.model.marketplace_refunds import Refunds

FILING, ESCALATION, RESPONSE, NEGOTIATION, APPEAL = 720, 24, 48, 96, 240
EVIDENCE: Final = {"buyer": 72, "seller": 96}
HEARD: Final = ("evidence", "mediation", "arbitration")
BEFORE_RULING: Final = ("filed", "negotiating", *HEARD, "external")
OVER: Final = ("closed", "executed")
STAGES: Final = ("inquiry", "chargeback", "second_chargeback", "pre_arbitration", "arbitration")


class Claims(Refunds):
    """The money with what is contested of it."""

    # -- freezes -------------------------------------------------------------------------------

    def net_left(self, order: Dict, seller: str) -> int:
        """Return what a seller has of an order's releases that no refund or reserve took."""
        left = 0
        for one in order["parts"][seller]["releases"]:
            back = one["back"] - one["commission_back"]
            left += one["items"] - one["commission"] - back
        held = [name for name, key in order.get("reserves", {}).items() if key == seller]
        return int(left - sum(self.has(accounts.dispute_reserve(one)) for one in held))

    def freeze(self, order: Dict, freeze_id: str, seller: str, terms: tuple[int, Legs]) -> None:
        amount, legs = terms
        legs = self.without_coupons(order, legs)
        part = order["parts"][seller]
        escrowed = min(amount, self.unfrozen(part))
        if escrowed:
            part["frozen"][freeze_id] = escrowed
        reserve, of_seller = accounts.dispute_reserve(freeze_id), accounts.seller(seller)
        if part["is_murky"]:
            assert 0 <= legs.get(of_seller, 0) <= amount - escrowed
            self.within(legs, {reserve, of_seller})
            self.resync(order)
        else:
            reserved = max(0, min(amount - escrowed, self.net_left(order, seller)))
            self.book(legs, {of_seller: reserved, reserve: -reserved})
        order.setdefault("reserves", {})[freeze_id] = seller

    def unfreeze(self, order: Dict, freeze_id: str, legs: Legs) -> None:
        seller = order["reserves"][freeze_id]
        order["parts"][seller]["frozen"].pop(freeze_id, None)
        legs = self.without_coupons(order, legs, is_due=False)
        left = self.has(accounts.dispute_reserve(freeze_id))
        self.book(legs, {accounts.dispute_reserve(freeze_id): left, accounts.seller(seller): -left})

    def _do_freeze_funds(self, one: m.FreezeFunds, legs: Legs) -> None:
        order = self.orders[one.order_id]
        self.freeze(order, one.freeze_id, one.seller, (one.amount, legs))

    def _may_unfreeze_funds(self, one: m.UnfreezeFunds) -> bool | None:
        return True if one.freeze_id in self.orders[one.order_id].get("reserves", {}) else None

    def _do_unfreeze_funds(self, one: m.UnfreezeFunds, legs: Legs) -> None:
        order = self.orders[one.order_id]
        if one.freeze_id in order.get("lifted", ()):
            self.book(legs, {})  # lifting it again is no event (invariant 28)
            return
        order.setdefault("lifted", set()).add(one.freeze_id)
        self.unfreeze(order, one.freeze_id, legs)

    # -- the course of a dispute ---------------------------------------------------------------

    def settle(self, one: Dict) -> None:
        """Do what the deadlines that passed demand, each at its own instant."""
        while one["deadlines"] and not one["suspended"]:
            kind = min(one["deadlines"], key=lambda key: one["deadlines"][key])
            due = one["deadlines"][kind]
            if due > self.now:
                return
            del one["deadlines"][kind]
            self._passes(one, kind, due)

    def _passes(self, one: Dict, kind: str, due: Any) -> None:
        if kind == "response" and one["silence"] == "award_claimant":
            self._rules(one, {one["claimant"]: one["claimed"]}, due)
        elif kind == "negotiation":
            self._escalates(one, due)
        elif kind in EVIDENCE:
            self._closes(one, kind, due)
        elif kind == "appeal":
            one["stage"] = "final"

    def _escalates(self, one: Dict, at: Any) -> None:
        one["has_escalated"] = True
        one["stage"] = "evidence"
        hours = {party: timedelta(hours=EVIDENCE[self._side(one, party)]) for party in EVIDENCE}
        one["deadlines"] = {party: at + hours[party] for party in EVIDENCE}

    def _side(self, one: Dict, party: str) -> str:
        """The claimant has the first window, whoever it is."""
        return "buyer" if party == one["claimant"] else "seller"

    def _closes(self, one: Dict, party: str, at: Any) -> None:
        one["closed"].add(party)
        one["deadlines"].pop(party, None)
        if len(one["closed"]) == 2 and one["stage"] == "evidence":
            self.evidence_is_in(one, at)

    def evidence_is_in(self, one: Dict, at: Any) -> None:
        """Go on to a mediation or a panel; ``Mediation`` knows."""
        raise NotImplementedError

    def offers(self, one: Dict, book: RuleBook) -> None:
        """Note what a rule book offers; ``Mediation`` knows."""
        raise NotImplementedError

    def _rules(self, one: Dict, award: dict[str, int], at: Any) -> None:
        one["stage"], one["award"] = "ruled", award
        one["deadlines"] = {"appeal": at + timedelta(hours=APPEAL)}

    def dispute(self, dispute_id: str) -> Dict:
        one = self.disputes[dispute_id]
        self.settle(one)
        return one

    def open_disputes(self, order_id: str) -> list[Dict]:
        for one in self.disputes.values():
            self.settle(one)
        return [
            one
            for one in self.disputes.values()
            if one["order"] == order_id and one["stage"] not in (*OVER, "executing")
        ]

    def _may_file_dispute(self, one: m.FileDispute) -> bool | None:
        order = self.orders[one.order_id]
        (claim,) = one.claims
        of_line = [
            other
            for other in self.disputes.values()
            if (other["order"], other["line"]) == (one.order_id, claim.line_id)
        ]
        if any(other["stage"] not in OVER for other in of_line):
            return False
        # Who withdrew a dispute about a line does not file it again; the other side may.
        mine = [other for other in of_line if other["claimant"] == one.claimant.value]
        if any(other["ended"] == "withdrawn" for other in mine):
            return False
        decided = sum(other["claimed"] - other["given"] for other in of_line if other["executed"])
        if claim.amount > self.line_left(order, claim.line_id) - decided:
            return False
        from_when = one.delivered_at or one.placed_at
        if self.now >= from_when + timedelta(hours=FILING):
            return False
        return None if of_line or self.taken_back(order) or order["state"] != "confirmed" else True

    def _do_file_dispute(self, one: m.FileDispute, legs: Legs) -> None:
        (claim,) = one.claims
        made: Dict = {"id": one.dispute_id, "order": one.order_id, "seller": one.seller}
        made |= {"line": claim.line_id, "claimed": claim.amount, "claimant": one.claimant.value}
        made |= {"stage": "filed", "deadlines": {}, "closed": set(), "suspended": set()}
        made |= {
            "fee": 0,
            "award": {},
            "appealed": set(),
            "is_claiming": True,
            "ended": "",
            "given": 0,
        }
        made |= {
            "executed": False,
            "is_accepted": False,
            "has_answered": False,
            "has_escalated": False,
        }
        self.offers(made, one.rule_book)
        made["silence"] = one.rule_book.response_silence.value
        self.disputes[one.dispute_id] = made
        made["since"] = self.now
        # Whether a dispute stands still from its filing is open.
        made["suspended"] = set(self.read_dispute(one.dispute_id).suspended_by)
        made["suspended_at"] = self.now
        self.book(legs, {})

    def _may_accept_dispute(self, one: m.AcceptDispute) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["stage"] != "filed":
            return None if found["is_accepted"] else False
        return None if found["suspended"] else True

    def _do_accept_dispute(self, one: m.AcceptDispute, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if found["stage"] != "filed":
            self.book(legs, {})
            return
        found["stage"], found["since"], found["is_accepted"] = "negotiating", self.now, True
        found["deadlines"] = {
            "response": self.now + timedelta(hours=RESPONSE),
            "negotiation": self.now + timedelta(hours=NEGOTIATION),
        }
        order = self.orders[found["order"]]
        self.freeze(order, one.dispute_id, found["seller"], (found["claimed"], legs))

    def ends(self, one: Dict, how: str, legs: Legs) -> None:
        """A dispute ended without an award: what was frozen for it is the seller's again."""
        one["stage"], one["ended"], one["is_claiming"], one["deadlines"] = "closed", how, False, {}
        order = self.orders[one["order"]]
        if one["id"] in order.get("reserves", {}):
            self.unfreeze(order, one["id"], legs)
        else:
            self.book(legs, {})

    def _may_reject_dispute(self, one: m.RejectDispute) -> bool | None:
        found = self.dispute(one.dispute_id)
        return None if found["suspended"] else found["stage"] == "filed" or None

    def _do_reject_dispute(self, one: m.RejectDispute, legs: Legs) -> None:
        if self.disputes[one.dispute_id]["stage"] != "closed":
            self.ends(self.disputes[one.dispute_id], "inadmissible", legs)

    def _may_withdraw_dispute(self, one: m.WithdrawDispute) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["suspended"] or found["ended"] == "withdrawn":
            return None
        return found["stage"] in BEFORE_RULING

    def _do_withdraw_dispute(self, one: m.WithdrawDispute, legs: Legs) -> None:
        if self.disputes[one.dispute_id]["stage"] != "closed":
            self.ends(self.disputes[one.dispute_id], "withdrawn", legs)

    def _may_respond(self, one: m.Respond) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["suspended"] or found["has_answered"]:
            return None
        if found["stage"] != "negotiating":
            return False if found["stage"] != "agreed" else None
        return True if "response" in found["deadlines"] else None

    def _do_respond(self, one: m.Respond, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        found["has_answered"] = True
        found["deadlines"].pop("response", None)
        if one.answer is m.Answer.ACCEPT and found["stage"] == "negotiating":
            self._agrees(found, found["claimed"])
        self.book(legs, {})

    def _agrees(self, one: Dict, amount: int) -> None:
        respondent = "seller" if one["claimant"] == "buyer" else "buyer"
        one["stage"], one["deadlines"] = "agreed", {}
        one["award"] = {one["claimant"]: amount, respondent: one["claimed"] - amount}

    def _may_make_offer(self, one: m.MakeOffer) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["stage"] != "negotiating" or one.amount > found["claimed"]:
            return False
        return None if found["suspended"] else True

    def _do_make_offer(self, one: m.MakeOffer, legs: Legs) -> None:
        self.disputes[one.dispute_id]["offer"] = (one.offer_id, one.party.value, one.amount)
        self.book(legs, {})

    def _may_accept_offer(self, one: m.AcceptOffer) -> bool | None:
        found = self.dispute(one.dispute_id)
        name, party, _ = found["offer"]
        if found["ended"] == "agreed":
            return None
        if found["stage"] != "negotiating":
            return False if found["stage"] != "agreed" else None
        if found["suspended"] or name != one.offer_id:
            return None
        return bool(party != one.party.value)

    def _do_accept_offer(self, one: m.AcceptOffer, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if found["stage"] == "negotiating":
            self._agrees(found, found["offer"][2])
        self.book(legs, {})

    def _may_escalate(self, one: m.Escalate) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["suspended"]:
            return None
        if found["stage"] != "negotiating":
            return None if found["has_escalated"] else False
        return bool(self.now >= found["since"] + timedelta(hours=ESCALATION))

    def _do_escalate(self, one: m.Escalate, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if found["stage"] == "negotiating":
            self._escalates(found, self.now)
        self.book(legs, {})

    def _may_close_evidence(self, one: m.CloseEvidence) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["suspended"] or one.party.value in found["closed"]:
            return None
        return found["stage"] in HEARD

    def _do_close_evidence(self, one: m.CloseEvidence, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if found["stage"] in HEARD and one.party.value not in found["closed"]:
            self._closes(found, one.party.value, self.now)
        self.book(legs, {})

    def _may_assign_panel(self, one: m.AssignPanel) -> bool | None:
        self.dispute(one.dispute_id)
        return False if {"b1", "s1", "s2"} & set(one.arbitrators) else None

    def _may_issue_ruling(self, one: m.IssueRuling) -> bool | None:
        found = self.dispute(one.dispute_id)
        total = sum(part.amount for part in one.allocations)
        if one.by in ("b1", "s1", "s2"):
            return False
        if found["stage"] != "arbitration" or total != found["claimed"]:
            return False
        if len(found["closed"]) < 2 or one.by == found["mediator"]:
            return False
        return None if found["suspended"] else True

    def _do_issue_ruling(self, one: m.IssueRuling, legs: Legs) -> None:
        award = {part.party.value: part.amount for part in one.allocations}
        self._rules(self.disputes[one.dispute_id], award, self.now)
        self.book(legs, {})

    def _may_appeal(self, one: m.Appeal) -> bool | None:
        found = self.dispute(one.dispute_id)
        is_ruled = found["stage"] in ("ruled", "appeal") and one.ruling_id != "none"
        if not is_ruled or one.party.value in found["appealed"]:
            return False
        return None if found["suspended"] or found["stage"] == "appeal" else True

    def _do_appeal(self, one: m.Appeal, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        found["stage"], found["deadlines"] = "appeal", {}
        found["appealed"].add(one.party.value)
        self.book(legs, {})

    def _may_decide_appeal(self, one: m.DecideAppeal) -> bool | None:
        found = self.dispute(one.dispute_id)
        total = sum(part.amount for part in one.allocations)
        if found["stage"] != "appeal" or total != found["claimed"]:
            return False
        return None

    def _do_decide_appeal(self, one: m.DecideAppeal, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        found["stage"] = "final"
        found["award"] = {part.party.value: part.amount for part in one.allocations}
        self.book(legs, {})

    def _may_execute_ruling(self, one: m.ExecuteRuling) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["stage"] in ("executed", "executing"):
            return None
        if found["stage"] not in ("final", "agreed"):
            return False
        order = self.orders[found["order"]]
        is_plain = not found["suspended"] and not self.cases(order)
        return True if is_plain and order["state"] == "confirmed" else None

    def _do_execute_ruling(self, one: m.ExecuteRuling, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        order = self.orders[found["order"]]
        part = order["parts"][found["seller"]]
        escrow, seller = accounts.escrow(order["id"]), accounts.seller(found["seller"])
        buyer, to_seller, fee = [
            found["award"].get(key, 0) for key in ("buyer", "seller", "platform")
        ]
        is_whole = part["frozen"].get(one.dispute_id, 0) == found["claimed"]
        is_whole = is_whole and not part["is_murky"] and found["stage"] != "executing"
        legs = self.without_coupons(order, legs, is_open=True)
        if is_whole and not prices.has_extras(order):
            given = {escrow: to_seller + fee, seller: -to_seller, accounts.ARBITRATION_FEES: -fee}
            self.book(legs, given)
            found["fee"] = fee
        else:
            reserve = accounts.dispute_reserve(one.dispute_id)
            allowed = {escrow, seller, reserve, accounts.ARBITRATION_FEES}
            if is_whole:
                assert legs.get(escrow, 0) == to_seller + fee
            self.within(legs, allowed | self.taxes_and_coupons(order))
            found["fee"] -= legs.get(accounts.ARBITRATION_FEES, 0)
            assert found["fee"] in (0, fee)
        part["is_murky"] = True
        found["stage"] = self.read_dispute(one.dispute_id).stage.value
        assert found["stage"] in ("executing", "executed")
        if found["stage"] == "executed":
            found["executed"], found["is_claiming"], found["given"] = True, False, buyer
        self._granted_by_ruling(order, found, buyer)
        self.resync(order)

    def _may_amend_ruling(self, one: m.AmendRuling) -> bool | None:
        return False if one.by == one.approver else None

    def _do_amend_ruling(self, one: m.AmendRuling, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        found["stage"] = "final"
        found["award"] = {part.party.value: part.amount for part in one.allocations}
        self.book(legs, {})

    def _granted_by_ruling(self, order: Dict, found: Dict, buyer: int) -> None:
        """The buyer's leg is a granted and allocated refund of exactly what was awarded."""
        for refund_id, grant in self.look(order["id"]).grants.items():
            if refund_id not in order["grants"]:
                assert grant.total == buyer
                line = order["lines"][found["line"]]
                line["granted"] += buyer
                line["ruled"] += buyer
                line["net_back"] += sum(part.net for part in grant.lines)
                line["tax_back"] += sum(part.tax for part in grant.lines)
                made = self.grant(order, refund_id, buyer, found["seller"])
                made["dispute"] = found["id"]
                made["allocated"] = dict(grant.allocations)

    def _do_perform_dispute_deadline(self, one: m.PerformDisputeDeadline, legs: Legs) -> None:
        self.dispute(one.dispute_id)
        self.book(legs, {})

    def read_dispute(self, dispute_id: str) -> DisputeState:
        """Return a dispute as the engine has it; asked for what the specification leaves open."""
        raise NotImplementedError

    # -- chargebacks ---------------------------------------------------------------------------

    def cases(self, order: Dict) -> list[Dict]:
        return list(order.get("cases", {}).values())

    def flow(self, case: Dict) -> tuple[int, int]:
        """Return what of a chargeback is contested and what is lost, by all that was reported."""
        contested = lost = at_stake = 0
        for stage in STAGES[1:]:
            facts = {fact for at, fact in case["facts"] if at == stage}
            if "opened" in facts:
                at_stake = case["amount"]
            if "lost" in facts:
                contested, lost = 0, at_stake
            elif facts & {"won", "cancelled"}:
                contested = lost = 0
            elif "opened" in facts:
                contested, lost = at_stake, 0
        return contested, lost

    def taken_back(self, order: Dict) -> int:
        return sum(sum(self.flow(case)) for case in self.cases(order))

    def _do_record_chargeback(self, one: m.RecordChargeback, legs: Legs) -> None:
        said = one.report
        order = self.order_of(said.payment_id)
        cases = order.setdefault("cases", {})
        case = cases.setdefault(
            said.chargeback_id,
            {"id": said.chargeback_id, "amount": 0, "facts": set(), "fees": set()},
        )
        if said.amount:
            case["amount"] = said.amount
        fee = 0 if said.stage in case["fees"] else said.fee
        if said.fee:
            case["fees"].add(said.stage)
        self.reported(order, case, (said.stage.value, said.fact.value), (fee, legs))

    def _may_accept_chargeback(self, one: m.AcceptChargeback) -> bool | None:
        case = self.order_of(one.payment_id)["cases"][one.chargeback_id]
        return True if self.flow(case)[0] else None

    def _do_accept_chargeback(self, one: m.AcceptChargeback, legs: Legs) -> None:
        order = self.order_of(one.payment_id)
        case = order["cases"][one.chargeback_id]
        reported = {stage for stage, _ in case["facts"]}
        if not self.flow(case)[0]:
            self.book(legs, {})
            return
        latest = next(stage for stage in reversed(STAGES) if stage in reported)
        self.reported(order, case, (latest, "lost"), (0, legs))

    def reported(
        self, order: Dict, case: Dict, fact: tuple[str, str], posted: tuple[int, Legs]
    ) -> None:
        """Book what a report moved: the provider's side exactly, who bears it within bounds."""
        fee, legs = posted
        before = self.flow(case)
        is_plain = self._is_plain(order)
        legs = self.without_coupons(order, legs, is_open=True)
        case["facts"].add(fact)
        contested, lost = self.flow(case)
        escrow, disputes = accounts.escrow(order["id"]), accounts.disputes(case["id"])
        account = "assets:psp:psp"
        assert legs.get(account, 0) == sum(before) - contested - lost - fee, (legs, before)
        assert legs.get(disputes, 0) == contested - before[0], (legs, before)
        assert legs.get(accounts.DISPUTE_FEES, 0) == fee
        known = {account, disputes, accounts.DISPUTE_FEES}
        if is_plain:
            borne = {one: minor for one, minor in legs.items() if one not in known}
            mine = min(lost, self.captured(order)) - min(before[1], self.captured(order))
            beyond = lost - before[1] - mine
            expected = {escrow: mine, accounts.receivable(order["id"]): beyond}
            assert borne == {one: minor for one, minor in expected.items() if minor}, borne
        allowed = {escrow, accounts.refunds(order["id"]), accounts.receivable(order["id"]), *known}
        allowed |= {accounts.COMMISSION_REFUNDED, accounts.CHARGEBACK_LOSSES}
        allowed |= {accounts.seller(seller) for seller in order["parts"]}
        allowed |= {one for one in legs if one.startswith(accounts.DISPUTE_RESERVE)}
        allowed |= self.taxes_and_coupons(order)
        self.within(legs, allowed)
        self._paid_by_bank(order, case, legs.get(accounts.refunds(order["id"]), 0))
        for part in order["parts"].values():
            part["is_murky"] = part["is_murky"] or not is_plain or lost != before[1]
        if lost or before[1]:
            for part in order["parts"].values():
                part["is_murky"] = True
        self.resync(order)
        self._interplay(order, case, (contested, lost, lost != before[1]))

    def _paid_by_bank(self, order: Dict, case: Dict, change: int) -> None:
        """A loss first pays the refunds that failed after success; a win takes that back."""
        grants = [order["grants"][key] for key in sorted(order["grants"])]
        for grant in grants if change > 0 else ():
            part = min(change, self.owed_again(grant))
            grant["by_bank"][case["id"]] = grant["by_bank"].get(case["id"], 0) + part
            change -= part
        # What a failed refund gave back of the buyer's debt is owed again when the debt was none.
        sources = [(grant, key) for key in (case["id"], "beyond") for grant in grants]
        for grant, key in sources if change < 0 else ():
            part = min(-change, grant["by_bank"].get(key, 0))
            grant["by_bank"][key] = grant["by_bank"].get(key, 0) - part
            change += part
        assert not change

    def _is_plain(self, order: Dict) -> bool:
        """Nothing was released, refunded, frozen or contested: escrow has all of the payment."""
        parts = order["parts"].values()
        is_touched = any(one["releases"] or one["frozen"] or one["is_murky"] for one in parts)
        is_alone = len(self.cases(order)) == 1 and not self.redeemed(order["id"])
        return bool(
            is_alone and not is_touched and not order["grants"] and self.captured(order)
        ) and not self.open_disputes(order["id"])

    def _interplay(self, order: Dict, case: Dict, flow: tuple[int, int, bool]) -> None:
        """A contested payment suspends the order's disputes; a loss of what one claims ends it."""
        contested, lost, is_news = flow
        for one in self.open_disputes(order["id"]):
            if contested and case["id"] not in one["suspended"]:
                if not one["suspended"]:
                    one["suspended_at"] = self.now
                one["suspended"].add(case["id"])
            elif not contested and case["id"] in one["suspended"]:
                self._resumes(one, case["id"])
            if is_news and lost >= one["claimed"]:
                one["stage"], one["ended"], one["is_claiming"] = "closed", "superseded", False
                one["deadlines"] = {}

    def _resumes(self, one: Dict, by: str) -> None:
        one["suspended"].discard(by)
        if not one["suspended"]:
            waited = self.now - one["suspended_at"]
            one["deadlines"] = {kind: due + waited for kind, due in one["deadlines"].items()}
