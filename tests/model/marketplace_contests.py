"""What is contested in the marketplace machine: freezes, disputes from filing to execution,
chargebacks with their stages in any order."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from orderledger.commands import model as m
from orderledger.ledger.chargeback_events import ChargebackReport
from orderledger.ledger.chargeback_stages import ChargebackFact, ChargebackStage, Liability
from orderledger.ledger.dispute_content import AppealOutcome, VoteReveal, seal
from orderledger.ledger.disputes import deadlines_of
from orderledger.ledger.rule_books import ExternalRules, ResponseSilence
from tests.dispute_book import SALT, check_dispute, rules, shares
from tests.model import marketplace_prices as prices
from tests.model.marketplace_claims import OVER
from tests.model.marketplace_machine import MarketplaceBase, numbers

CASES: Final = ("cb1", "cb2")
sides = st.sampled_from((m.Party.BUYER, m.Party.SELLER))


class Contests(MarketplaceBase):
    """Adds what buyers, sellers and banks contest."""

    # -- freezes -------------------------------------------------------------------------------

    @precondition(lambda self: self.orders(paid=True))
    @rule(number=numbers, amount=st.sampled_from((500, 2_000, 7_000)))
    def freeze(self, number: int, amount: int) -> None:
        order_id = self.pick(number, self.orders(paid=True))
        seller = self.pick(number, self.model.orders[order_id]["parts"])
        of: dict[str, Any] = {"order_id": order_id, "seller": seller, "cause": "risk"}
        self.give(m.FreezeFunds(freeze_id=self.fresh("z"), amount=amount, **of))

    def freezes(self) -> list[tuple[str, str]]:
        return [
            (order_id, freeze_id)
            for order_id, order in self.model.orders.items()
            for freeze_id in order.get("reserves", {})
            if freeze_id not in self.model.disputes
        ]

    @precondition(lambda self: self.freezes())
    @rule(number=numbers)
    def unfreeze(self, number: int) -> None:
        order_id, freeze_id = self.pick(number, self.freezes())
        self.give(m.UnfreezeFunds(order_id=order_id, freeze_id=freeze_id))

    # -- disputes ------------------------------------------------------------------------------

    @precondition(lambda self: self.orders(paid=True) and len(self.model.disputes) < 5)
    @rule(
        number=numbers,
        amount=st.sampled_from((500, 1_001, 2_005, 3_994, 6_015)),
        claimant=st.sampled_from((m.Party.BUYER, m.Party.BUYER, m.Party.SELLER)),
        silence=st.sampled_from((ResponseSilence.WAIT, ResponseSilence.AWARD_CLAIMANT)),
        is_heard=st.booleans(),
    )
    def file(self, number: int, amount: int, claimant: Any, silence: Any, is_heard: bool) -> None:
        order_id = self.pick(number, self.orders(paid=True))
        line_id = self.pick(number // 3, self.model.orders[order_id]["lines"])
        offers = (1 + number % 900, bool(number // 5 % 2), bool(number // 10 % 2))
        filed = self._file((order_id, line_id), amount, claimant, silence, offers)
        if filed and is_heard:
            self.give(m.AcceptDispute(dispute_id=filed, by="clerk"))

    def _file(
        self,
        of: tuple[str, str],
        amount: int,
        claimant: Any,
        silence: Any,
        offers: tuple[int, bool, bool] = (1, False, False),
    ) -> str:
        """
        File a dispute about a line of an order; return its id, "" if it was refused.

        ``offers``: the hours since the order was placed, and whether there are mediation and an
        outside body.
        """
        hours, has_mediation, has_external = offers
        order_id, line_id = of
        dispute_id = self.fresh("d")
        is_filed = self.give(
            m.FileDispute(
                dispute_id=dispute_id,
                order_id=order_id,
                seller=self.model.orders[order_id]["lines"][line_id]["seller"],
                claimant=claimant,
                claims=(m.ClaimedLine(line_id, amount),),
                remedy=m.Remedy.REFUND,
                reason="broken",
                placed_at=self.now - timedelta(hours=hours),
                rule_book=rules(
                    mediation_hours=120 if has_mediation else 0,
                    answer_hours=30 if has_mediation else 0,
                    panel_size=1,
                    quorum=1,
                    external=ExternalRules(opt_in_hours=70) if has_external else None,
                    appeal_needs_new_evidence=False,
                    response_silence=silence,
                ),
            )
        )
        return dispute_id if is_filed else ""

    def contested(self) -> list[str]:
        return [key for key, one in self.model.disputes.items() if one["stage"] not in OVER]

    @precondition(lambda self: self.model.disputes)
    @rule(
        number=numbers,
        what=st.sampled_from(("accept", "reject", "withdraw", "contest", "concede", "execute")),
    )
    def step(self, number: int, what: str) -> None:
        of: dict[str, Any] = {"dispute_id": self.pick(number, self.model.disputes)}
        commands: dict[str, Any] = {
            "accept": m.AcceptDispute(by="clerk", **of),
            "reject": m.RejectDispute(by="clerk", reason="no", **of),
            "withdraw": m.WithdrawDispute(by="b1", reason="solved", **of),
            "contest": m.Respond(answer=m.Answer.CONTEST, **of),
            "concede": m.Respond(answer=m.Answer.ACCEPT, **of),
            "execute": m.ExecuteRuling(**of),
        }
        self.give(commands[what])

    @precondition(lambda self: self.contested())
    @rule(number=numbers, party=sides, taker=sides, share=st.sampled_from((0, 1, 2, 3)))
    def offer(self, number: int, party: Any, taker: Any, share: int) -> None:
        dispute_id = self.pick(number, self.contested())
        amount = self.model.disputes[dispute_id]["claimed"] * share // 2
        offer_id = self.fresh("f")
        made = self.give(
            m.MakeOffer(
                dispute_id=dispute_id,
                offer_id=offer_id,
                party=party,
                amount=amount,
                remedy=m.Remedy.REFUND,
                expires_at=self.now + timedelta(hours=5),
            )
        )
        if made:
            self.give(m.AcceptOffer(dispute_id=dispute_id, offer_id=offer_id, party=taker))

    @precondition(lambda self: self.contested())
    @rule(number=numbers, party=sides)
    def escalate(self, number: int, party: Any) -> None:
        self.give(m.Escalate(dispute_id=self.pick(number, self.contested()), party=party))

    @precondition(lambda self: self.contested())
    @rule(number=numbers, party=sides)
    def waive(self, number: int, party: Any) -> None:
        self.give(m.CloseEvidence(dispute_id=self.pick(number, self.contested()), party=party))

    @precondition(lambda self: self.contested())
    @rule(
        number=numbers,
        buyer=st.sampled_from((0, 1, 2)),
        fee=st.sampled_from((0, 0, 100)),
        judge=st.sampled_from(("ann", "ann", "ann", "b1", "mia")),
        off_by=st.sampled_from((0, 0, 0, 1)),
    )
    def decide(self, number: int, buyer: int, fee: int, judge: str, off_by: int) -> None:
        """Seat a panel, vote, and rule, or decide the appeal."""
        dispute_id = self.pick(number, self.contested())
        self._decide(dispute_id, (buyer, fee + off_by), judge, is_exact=not off_by)

    def _decide(
        self, dispute_id: str, terms: tuple[int, int], judge: str = "ann", *, is_exact: bool = True
    ) -> bool:
        division = self._divided(dispute_id, terms, 0 if is_exact else 1)
        self.model.now = self.now
        is_appeal = self.model.dispute(dispute_id)["stage"] == "appeal"
        if judge == "mia" and self.model.disputes[dispute_id]["mediator"] != "mia":
            judge = "ann"
        judge = "dan" if is_appeal else judge
        of: dict[str, Any] = {"dispute_id": dispute_id}
        self.give(m.AssignPanel(arbitrators=(judge,), by="clerk", **of))
        commitment = seal(dispute_id, judge, division, SALT)
        self.give(
            m.CastVote(vote_id=self.fresh("v"), arbitrator=judge, commitment=commitment, **of)
        )
        given: dict[str, Any] = {
            **of,
            "ruling_id": self.fresh("ruling"),
            "allocations": division,
            "remedy": m.Remedy.REFUND,
            "reasons": "so",
            "rule_refs": ("4.2",),
            "votes": (VoteReveal(judge, division, SALT),),
            "by": judge,
        }
        if not is_appeal:
            return self.give(m.IssueRuling(**given))
        before = self.read.dispute(dispute_id).ruling
        assert before is not None
        outcomes = (AppealOutcome.UPHELD, AppealOutcome.OVERTURNED)
        return any(
            self.give(m.DecideAppeal(outcome=one, supersedes=before.ruling_id, **given))
            for one in outcomes
        )

    @precondition(lambda self: self.contested())
    @rule(number=numbers, party=sides)
    def appeal(self, number: int, party: Any) -> None:
        dispute_id = self.pick(number, self.contested())
        ruling = self.read.dispute(dispute_id).ruling
        self.give(
            m.Appeal(
                dispute_id=dispute_id,
                appeal_id=self.fresh("x"),
                ruling_id=ruling.ruling_id if ruling else "none",
                party=party,
                grounds="no",
            )
        )

    @precondition(lambda self: self.contested())
    @rule(number=numbers)
    def sweep(self, number: int) -> None:
        self._sweep(self.pick(number, self.contested()))

    def _sweep(self, dispute_id: str) -> None:
        for due in deadlines_of(self.read.dispute(dispute_id)):
            if due.due_at <= self.now:
                self.give(
                    m.PerformDisputeDeadline(
                        dispute_id=dispute_id, deadline_id=due.deadline_id, occurred_at=due.due_at
                    )
                )

    # -- mediation and an outside body ---------------------------------------------------------

    def preferably(self, stage: str) -> list[str]:
        """Return the disputes in a stage; if there are none, all that go on."""
        found = [key for key in self.contested() if self.model.disputes[key]["stage"] == stage]
        return found or self.contested()

    @precondition(lambda self: self.contested())
    @rule(number=numbers, mediator=st.sampled_from(("mia", "mia", "mia", "s1")))
    def mediate(self, number: int, mediator: str) -> None:
        of: dict[str, Any] = {"dispute_id": self.pick(number, self.preferably("evidence"))}
        self.give(m.StartMediation(mediator=mediator, by="clerk", **of))

    @precondition(lambda self: self.contested())
    @rule(
        number=numbers,
        buyer=st.sampled_from((0, 1, 2)),
        fee=st.sampled_from((0, 0, 100)),
        answers=st.sampled_from(((), (True,), (False,), (True, True), (True, True), (True, False))),
        off_by=st.sampled_from((0, 0, 0, 1)),
    )
    def propose(
        self, number: int, buyer: int, fee: int, answers: tuple[bool, ...], off_by: int
    ) -> None:
        """A mediator proposes a division, and the sides answer as far as they do."""
        dispute_id = self.pick(number, self.preferably("mediation"))
        self._propose(dispute_id, (buyer, fee), answers, off_by)

    def _propose(
        self, dispute_id: str, terms: tuple[int, int], answers: tuple[bool, ...], off_by: int = 0
    ) -> None:
        found = self.model.disputes[dispute_id]
        proposal_id = self.fresh("m")
        division = self._divided(dispute_id, terms, off_by)
        of: dict[str, Any] = {"dispute_id": dispute_id, "proposal_id": proposal_id}
        said: dict[str, Any] = {"remedy": m.Remedy.REFUND, "reasons": "halves"}
        if not self.give(m.ProposeResolution(allocations=division, **said, **of)):
            return
        for party, yes in zip((m.Party.SELLER, m.Party.BUYER), answers, strict=False):
            if found["stage"] == "mediation":
                self.give(m.AnswerProposal(party=party, accept=yes, **of))

    @precondition(lambda self: self.contested())
    @rule(number=numbers, parties=st.lists(sides, max_size=3))
    def refer(self, number: int, parties: list[Any]) -> None:
        """Hand a dispute to an outside body; these sides pay for it, a repeat changes nothing."""
        self._refer(self.pick(number, self.preferably("arbitration")), parties)

    def _refer(self, dispute_id: str, parties: list[Any]) -> None:
        of: dict[str, Any] = {"dispute_id": dispute_id}
        case: dict[str, Any] = {"body": "court", "case_ref": f"case-{dispute_id}"}
        self.give(m.ReferExternally(by="clerk", **case, **of))
        for party in parties:
            self.give(m.OptInExternally(party=party, payment_ref=f"fee-{party.value}", **of))

    @precondition(lambda self: self.contested())
    @rule(
        number=numbers,
        buyer=st.sampled_from((0, 1, 2)),
        body=st.sampled_from(("court", "court", "court", "club")),
        off_by=st.sampled_from((0, 0, 0, 1)),
    )
    def award(self, number: int, buyer: int, body: str, off_by: int) -> None:
        """An outside body awards, perhaps in another case or another sum."""
        dispute_id = self.pick(number, self.preferably("external"))
        division = self._divided(dispute_id, (buyer, 0), off_by)
        self._award(dispute_id, division, body)

    def _award(self, dispute_id: str, division: tuple[Any, ...], body: str = "court") -> None:
        case = {"body": body, "case_ref": f"case-{dispute_id}"}
        of: dict[str, Any] = {"dispute_id": dispute_id, "award_id": self.fresh("w"), **case}
        self.give(m.RecordExternalAward(allocations=division, **of))

    def _divided(self, dispute_id: str, terms: tuple[int, int], off_by: int = 0) -> tuple[Any, ...]:
        """Divide what is claimed: so many halves to the buyer, after the platform's fee."""
        claimed = self.model.disputes[dispute_id]["claimed"]
        fee = min(terms[1], claimed)
        buyer = (claimed - fee) * terms[0] // 2
        return shares(buyer, claimed - fee - buyer + off_by, fee)

    # -- chargebacks ---------------------------------------------------------------------------

    @precondition(lambda self: self.orders(paid=True))
    @rule(
        number=numbers,
        case=st.sampled_from(CASES),
        stage=st.sampled_from(("chargeback",) * 3 + ("second_chargeback", "pre_arbitration")),
        fact=st.sampled_from(("opened", "opened", "won", "lost")),
        amount=st.sampled_from((1_000, 3_333, 99_999, 0)),
    )
    def charge_back(self, number: int, case: str, stage: str, fact: str, amount: int) -> None:
        orders = {one: self.model.orders[one] for one in self.orders(paid=True)}
        paid = [
            key for key, one in orders.items() if one["payment"] and not self.model.is_abroad(one)
        ]
        if paid:
            order_id = self.pick(number, paid)
            self._charge_back(order_id, f"{case}-{order_id}", (stage, fact), amount)

    def _charge_back(
        self, order_id: str, case_id: str, what: tuple[str, str], amount: int = 0
    ) -> None:
        """Report a fact of a case; all its openings are about one amount."""
        order = self.model.orders[order_id]
        stage, fact = what
        known = order.get("cases", {}).get(case_id, {"amount": 0})["amount"]
        # 99,999 stands for all there is; one case may be about more than that.
        whole = self.model.captured(order) if amount == 99_999 else amount
        amount = known or whole or self.model.captured(order) + 700
        is_opened = fact == "opened"
        self.give(
            m.RecordChargeback(
                report=ChargebackReport(
                    payment_id=f"p-{order_id}",
                    order_id=order_id,
                    chargeback_id=case_id,
                    stage=ChargebackStage(stage),
                    fact=ChargebackFact(fact),
                    amount=amount if is_opened else None,
                    currency="USD",
                    fee=15 if is_opened else 0,
                    provider_ref=f"{case_id}-{stage}-{fact}",
                )
            )
        )

    def cases(self) -> list[tuple[str, str]]:
        return [
            (order_id, case_id)
            for order_id, order in self.model.orders.items()
            for case_id in order.get("cases", {})
        ]

    @precondition(lambda self: self.cases())
    @rule(number=numbers, liability=st.sampled_from((None, Liability.SELLER, Liability.PLATFORM)))
    def give_in(self, number: int, liability: Any) -> None:
        order_id, case_id = self.pick(number, self.cases())
        self.give(
            m.AcceptChargeback(
                payment_id=f"p-{order_id}",
                order_id=order_id,
                chargeback_id=case_id,
                accepted_by="ann",
                liability=liability,
            )
        )

    # -- what must hold ------------------------------------------------------------------------

    def checks(self) -> list[Callable[[], None]]:
        return [*super().checks(), self.disputes_agree, self.chargebacks_agree]

    def disputes_agree(self) -> None:
        """Invariants 24 to 27 and 30, and stage and award where no deadline waits for a sweeper."""
        self.model.now = self.now
        for dispute_id in self.model.disputes:
            theirs = self.read.dispute(dispute_id)
            check_dispute(theirs)
            mine = self.model.dispute(dispute_id)
            if all(due.due_at > self.now for due in deadlines_of(theirs)):
                assert theirs.stage.value == mine["stage"]
                if mine["stage"] in ("final", "agreed", "executing", "executed"):
                    award = {party.value: minor for party, minor in theirs.award.items()}
                    assert _nonzero(award) == _nonzero(mine["award"])
        for order_id, order in self.model.orders.items():
            for line_id, line in order["lines"].items():
                claimed = [
                    one["claimed"]
                    for one in self.model.disputes.values()
                    if (one["order"], one["line"]) == (order_id, line_id) and one["is_claiming"]
                ]
                assert sum(claimed) <= prices.charged(line)

    def chargebacks_agree(self) -> None:
        """Invariant 2, by the set of reports."""
        for order_id, case_id in self.cases():
            order = self.model.orders[order_id]
            theirs = self.shop.payment(f"p-{order_id}").chargebacks[case_id]
            assert (theirs.contested, theirs.lost) == self.model.flow(order["cases"][case_id])


def _nonzero(award: dict[str, int]) -> dict[str, int]:
    return {party: minor for party, minor in award.items() if minor}
