"""
Mediation and arbitration by an outside body in the plain marketplace, as the rule book offers them.

A mediator proposes and binds nobody; silence is a no. An outside body's award binds; whoever alone
pays for it is awarded all, and if nobody does, the buyer is.
"""

from datetime import timedelta
from typing import Any

from orderledger.commands import model as m
from orderledger.ledger.dispute_parties import Allocation
from tests.model.marketplace_claims import Claims
from tests.model.marketplace_model import Legs
from tests.model.marketplace_prices import Dict


def shares_of(allocations: tuple[Allocation, ...]) -> dict[str, int]:
    return {part.party.value: part.amount for part in allocations}


class Mediation(Claims):
    """The claims with those who hear them besides a panel."""

    def offers(self, one: Dict, book: Any) -> None:
        """Note what the rule book of a dispute that is filed offers."""
        one |= {"mediation": book.mediation_hours, "answer": book.answer_hours}
        one |= {"opt_in": book.external.opt_in_hours if book.external else 0}
        one |= {"mediator": "", "proposal": None, "referral": None, "paid": []}

    def _passes(self, one: Dict, kind: str, due: Any) -> None:
        if kind in ("mediator", "mediation", "answer"):
            self.arbitrates(one)
        elif kind == "opt_in":
            winner = one["paid"][0] if one["paid"] else "buyer"
            self._binds(one, {winner: one["claimed"]})
        else:
            super()._passes(one, kind, due)

    def evidence_is_in(self, one: Dict, at: Any) -> None:
        if one["mediation"]:
            one["deadlines"].setdefault("mediator", at + timedelta(hours=one["mediation"]))
        else:
            self.arbitrates(one)

    def arbitrates(self, one: Dict) -> None:
        """Evidence may still come; nobody rules before its windows are closed."""
        one["stage"] = "arbitration"
        for kind in ("mediator", "mediation", "answer"):
            one["deadlines"].pop(kind, None)

    def _binds(self, one: Dict, award: dict[str, int]) -> None:
        one["stage"], one["award"], one["deadlines"] = "final", award, {}

    # -- mediation -----------------------------------------------------------------------------

    def _may_start_mediation(self, one: m.StartMediation) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["mediator"] == one.mediator or found["suspended"]:
            return None
        is_party = one.mediator in ("b1", found["seller"])
        return bool(found["stage"] == "evidence" and found["mediation"] and not is_party)

    def _do_start_mediation(self, one: m.StartMediation, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if found["mediator"] != one.mediator:
            found["stage"], found["mediator"] = "mediation", one.mediator
            found["deadlines"].pop("mediator", None)
            found["deadlines"]["mediation"] = self.now + timedelta(hours=found["mediation"])
        self.book(legs, {})

    def _may_propose_resolution(self, one: m.ProposeResolution) -> bool | None:
        found = self.dispute(one.dispute_id)
        whole = sum(shares_of(one.allocations).values())
        if found["stage"] != "mediation" or found["proposal"] or whole != found["claimed"]:
            return False
        return None if found["suspended"] else True

    def _do_propose_resolution(self, one: m.ProposeResolution, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        found["proposal"] = {"id": one.proposal_id, "shares": shares_of(one.allocations)}
        found["proposal"]["yes"] = set()
        found["deadlines"]["answer"] = self.now + timedelta(hours=found["answer"])
        self.book(legs, {})

    def _may_answer_proposal(self, one: m.AnswerProposal) -> bool | None:
        found = self.dispute(one.dispute_id)
        proposal = found["proposal"]
        if proposal is None or proposal["id"] != one.proposal_id:
            return False
        if found["suspended"] or one.party.value in proposal["yes"]:
            return None
        return True if found["stage"] == "mediation" else None

    def _do_answer_proposal(self, one: m.AnswerProposal, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        proposal = found["proposal"]
        self.book(legs, {})
        if found["stage"] != "mediation" or one.party.value in proposal["yes"]:
            return
        if not one.accept:
            self.arbitrates(found)
            return
        proposal["yes"].add(one.party.value)
        if len(proposal["yes"]) == 2:
            found["stage"], found["deadlines"] = "agreed", {}
            found["award"] = proposal["shares"]

    # -- an outside body -----------------------------------------------------------------------

    def _may_assign_panel(self, one: m.AssignPanel) -> bool | None:
        found = self.dispute(one.dispute_id)
        return False if found["mediator"] in one.arbitrators else super()._may_assign_panel(one)

    def _do_assign_panel(self, one: m.AssignPanel, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if found["stage"] == "evidence":
            assert len(found["closed"]) == 2
            self.arbitrates(found)
        self.book(legs, {})

    def _may_refer_externally(self, one: m.ReferExternally) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["referral"] or found["suspended"]:
            return None
        return bool(found["stage"] == "arbitration" and found["opt_in"])

    def _do_refer_externally(self, one: m.ReferExternally, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if not found["referral"]:
            found["stage"], found["referral"] = "external", (one.body, one.case_ref)
            found["deadlines"] = {"opt_in": self.now + timedelta(hours=found["opt_in"])}
        self.book(legs, {})

    def _may_opt_in_externally(self, one: m.OptInExternally) -> bool | None:
        found = self.dispute(one.dispute_id)
        if found["suspended"] or one.party.value in found["paid"]:
            return None
        return bool(found["stage"] == "external")

    def _do_opt_in_externally(self, one: m.OptInExternally, legs: Legs) -> None:
        found = self.disputes[one.dispute_id]
        if one.party.value not in found["paid"]:
            found["paid"].append(one.party.value)
            if len(found["paid"]) == 2:
                found["deadlines"].pop("opt_in")
        self.book(legs, {})

    def _do_record_external_award(self, one: m.RecordExternalAward, legs: Legs) -> None:
        """It binds at once; one that contradicts what is known decides nothing."""
        found = self.dispute(one.dispute_id)
        award = shares_of(one.allocations)
        is_known = found["referral"] == (one.body, one.case_ref)
        is_whole = sum(award.values()) == found["claimed"]
        if found["stage"] == "external" and is_known and is_whole:
            self._binds(found, award)
        self.book(legs, {})
