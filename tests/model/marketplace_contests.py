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
from orderledger.ledger.rule_books import ResponseSilence
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
        filed = self._file((order_id, line_id), amount, claimant, silence, 1 + number % 900)
        if filed and is_heard:
            self.give(m.AcceptDispute(dispute_id=filed, by="clerk"))

    def _file(
        self, of: tuple[str, str], amount: int, claimant: Any, silence: Any, hours: int = 1
    ) -> str:
        """File a dispute about a line of an order; return its id, "" if it was refused."""
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
                    mediation_hours=0,
                    answer_hours=0,
                    panel_size=1,
                    quorum=1,
                    external=None,
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
        judge=st.sampled_from(("ann", "ann", "ann", "b1")),
        off_by=st.sampled_from((0, 0, 0, 1)),
    )
    def decide(self, number: int, buyer: int, fee: int, judge: str, off_by: int) -> None:
        """Seat a panel, vote, and rule, or decide the appeal."""
        dispute_id = self.pick(number, self.contested())
        self._decide(dispute_id, (buyer, fee + off_by), judge, is_exact=not off_by)

    def _decide(
        self, dispute_id: str, terms: tuple[int, int], judge: str = "ann", *, is_exact: bool = True
    ) -> bool:
        claimed = self.model.disputes[dispute_id]["claimed"]
        fee = min(terms[1], claimed)
        buyer = (claimed - fee) * terms[0] // 2
        rest = claimed - fee - buyer + (0 if is_exact else 1)
        division = shares(buyer, rest, fee)
        self.model.now = self.now
        is_appeal = self.model.dispute(dispute_id)["stage"] == "appeal"
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
        paid = [one for one in self.orders(paid=True) if self.model.orders[one]["payment"]]
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
        """Invariants 24 to 27 and 30, and the stage wherever a command has settled it."""
        for dispute_id in self.model.disputes:
            check_dispute(self.read.dispute(dispute_id))
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
