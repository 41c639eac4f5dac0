"""
Disputes under random commands and timers, each beside one whose timer is late.

After every step: invariants 24 to 27 and 30 on the state, 45 and 17 by the decided book itself.
"""

from datetime import timedelta
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger import dispute_ruling_events as r
from orderledger.ledger.dispute_content import VoteReveal, seal
from orderledger.ledger.dispute_events import DeadlineMissed, EvidenceSubmitted
from orderledger.ledger.dispute_fold import EVOLVE
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import TRANSITIONS, Stage
from orderledger.ledger.disputes import INITIAL, DisputeState, deadlines_of
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.rule_books import EvidenceSilence, ExternalRules, ResponseSilence
from tests.dispute_book import SALT, START, DisputeBook, file, item, rules, shares

PEOPLE: Final = ("ann", "bob", "cid", "dan", "eve", "fay", "b1", "s1", "max")
DIVISIONS: Final = (shares(600, 400), shares(0, 1000), shares(1000), shares(400, 400, 200))
parties = st.sampled_from(list(Party))
people = st.sampled_from(PEOPLE)
divisions = st.sampled_from((*DIVISIONS, shares(1, 1)))
letters = st.sampled_from(("x", "y"))
books = st.builds(
    rules,
    response_silence=st.sampled_from(list(ResponseSilence)),
    respondent_evidence_silence=st.sampled_from(list(EvidenceSilence)),
    appeal_needs_new_evidence=st.booleans(),
    may_refile=st.booleans(),
    external=st.sampled_from((None, ExternalRules(opt_in_hours=9))),
)
BEGINNINGS: Final = (
    *("negotiating", "in_evidence", "closed_evidence", "arbitrating", "arbitrating", "ruled"),
    *("ruled", "ruled", "appealed", "appealed", "executed"),
)
RULED: Final = (Stage.RULED, Stage.APPEAL, Stage.FINAL)
EXECUTABLE: Final = (*RULED, Stage.AGREED, Stage.EXECUTING, Stage.EXECUTED)
DECIDING: Final = (Stage.ARBITRATION, Stage.EXTERNAL)
PANELS: Final = (
    ("ann", "bob", "cid"),
    ("dan", "eve", "fay"),
    ("bob", "cid", "dan"),
    ("b1", "x", "y"),
)


class Disputes(RuleBasedStateMachine):
    """A dispute d1, and sometimes d2, about one order; refusals change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.book = DisputeBook()
        self.count = 0

    @initialize(rule_book=books, begin=st.sampled_from(BEGINNINGS))
    def begun(self, rule_book: Any, begin: str) -> None:
        """Begin anywhere: chance alone hardly ever comes as far as an appeal."""
        getattr(self.book, begin)(rule_book=rule_book)

    def give(self, command: Command) -> bool:
        """Run a command, its refusal included; a refusal leaves every state as it was."""
        before = dict(self.book.states)
        try:
            self.book.run(command)
        except OrderLedgerError:
            assert self.book.states == before
            return False
        assert self.book.run(command) == () or isinstance(command, m.ExecuteRuling)
        return True

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    @rule(hours=st.sampled_from((1, 1, 24, 24, 100, 400)))
    def wait(self, hours: int) -> None:
        self.book.now += timedelta(hours=hours)

    @rule()
    def sweep(self) -> None:
        due = deadlines_of(self.book.dispute())
        if due and due[0].due_at <= self.book.now:
            self.book.perform()

    @rule(line=st.sampled_from(("a", "b")), amount=st.sampled_from((100, 1_000, 2_000, 3_000)))
    def file_another(self, line: str, amount: int) -> None:
        self.give(
            file(self.fresh("e"), (line, amount), placed_at=START, delivered_at=self.book.now)
        )

    @rule(answer=st.sampled_from((m.Answer.ACCEPT, m.Answer.CONTEST)))
    def respond(self, answer: m.Answer) -> None:
        self.give(m.Respond(dispute_id="d1", answer=answer))

    @precondition(lambda self: not self.book.dispute().rulings)
    @rule(party=parties, amount=st.sampled_from((0, 300, 1_000, 1_001)))
    def offer(self, party: Party, amount: int) -> None:
        self.give(
            m.MakeOffer(
                dispute_id="d1",
                offer_id=self.fresh("f"),
                party=party,
                amount=amount,
                remedy=m.Remedy.REFUND,
                expires_at=self.book.now + timedelta(hours=5),
            )
        )

    @precondition(lambda self: self.book.dispute().offers)
    @rule(party=parties)
    def take_offer(self, party: Party) -> None:
        for offer_id in list(self.book.dispute().offers)[-1:]:
            self.give(m.AcceptOffer(dispute_id="d1", offer_id=offer_id, party=party))

    @precondition(lambda self: not self.book.dispute().rulings)
    @rule(party=parties)
    def escalate(self, party: Party) -> None:
        self.give(m.Escalate(dispute_id="d1", party=party))

    @rule(party=parties, letter=letters)
    def submit(self, party: Party, letter: str) -> None:
        one = item(self.fresh(letter))
        assert self.give(m.SubmitEvidence(dispute_id="d1", party=party, item=one))

    @rule(by=people)
    def strike(self, by: str) -> None:
        for key in list(self.book.dispute().evidence)[:1]:
            self.give(m.StrikeEvidence(dispute_id="d1", evidence_id=key, reason="no", by=by))

    @rule(party=parties)
    def waive(self, party: Party) -> None:
        self.give(m.CloseEvidence(dispute_id="d1", party=party))

    @rule(party=parties, hours=st.sampled_from((1, 300)))
    def ask(self, party: Party, hours: int) -> None:
        self.give(
            m.RequestEvidence(
                dispute_id="d1",
                request_id=self.fresh("q"),
                party=party,
                items=("receipt",),
                due_at=self.book.now + timedelta(hours=hours),
                by="clerk",
            )
        )

    @precondition(lambda self: not self.book.dispute().rulings)
    @rule(mediator=people, division=divisions)
    def mediate(self, mediator: str, division: Any) -> None:
        self.give(m.StartMediation(dispute_id="d1", mediator=mediator, by="clerk"))
        self.give(
            m.ProposeResolution(
                dispute_id="d1",
                proposal_id=self.fresh("p"),
                allocations=division,
                remedy=m.Remedy.REFUND,
            )
        )

    @precondition(lambda self: self.book.dispute().proposals)
    @rule(party=parties, accept=st.booleans())
    def answer(self, party: Party, accept: bool) -> None:
        for key in list(self.book.dispute().proposals)[-1:]:
            self.give(
                m.AnswerProposal(dispute_id="d1", proposal_id=key, party=party, accept=accept)
            )

    @precondition(lambda self: self.book.dispute().stage in (*DECIDING, Stage.APPEAL))
    @rule(panel=st.sampled_from(PANELS))
    def seat_panel(self, panel: tuple[str, ...]) -> None:
        self.seat(panel)

    def seat(self, panel: tuple[str, ...]) -> None:
        self.give(m.AssignPanel(dispute_id="d1", arbitrators=panel, by="clerk"))

    @precondition(lambda self: self.book.dispute().panel.members)
    @rule(person=people)
    def recuse(self, person: str) -> None:
        self.give(m.Recuse(dispute_id="d1", arbitrator=person, reason="kin", by="clerk"))

    @precondition(lambda self: self.book.dispute().stage in (*DECIDING, *RULED))
    @rule(person=people, division=divisions, voted=st.booleans(), relied=st.booleans())
    def rule_on_it(self, person: str, division: Any, voted: bool, relied: bool) -> None:
        """The panel rules, or somebody tries to without it."""
        state = self.book.dispute()
        if voted and state.stage is Stage.APPEAL and not state.appeal_panel.members:
            self.seat(PANELS[1])
            state = self.book.dispute()
        members = (state.appeal_panel if state.stage is Stage.APPEAL else state.panel).members
        voters = members if voted and members else (person,)
        for member in voters:
            self.give(
                m.CastVote(
                    dispute_id="d1",
                    vote_id=self.fresh("v"),
                    arbitrator=member,
                    commitment=seal("d1", member, division, SALT),
                )
            )
        given: dict[str, Any] = {
            "dispute_id": "d1",
            "ruling_id": self.fresh("r"),
            "allocations": division,
            "remedy": m.Remedy.REFUND,
            "reasons": "so",
            "rule_refs": ("4.2",),
            "evidence_relied_on": tuple(state.evidence)[:1] if relied else (),
            "votes": tuple([VoteReveal(one, division, SALT) for one in voters]),
            "by": voters[0],
        }
        if state.stage is not Stage.APPEAL:
            self.give(m.IssueRuling(**given))
            return
        for outcome in m.AppealOutcome:
            supersedes = self.book.dispute().ruling_id
            self.give(m.DecideAppeal(outcome=outcome, supersedes=supersedes, **given))

    @precondition(lambda self: self.book.dispute().stage in RULED)
    @rule(party=st.sampled_from((Party.BUYER, Party.SELLER)), new=st.booleans())
    def appeal(self, party: Party, new: bool) -> None:
        """Invariant 27: only against a ruling that is not final, and in time."""
        before = self.book.dispute()
        appeal = m.Appeal(
            dispute_id="d1",
            appeal_id=self.fresh("x"),
            ruling_id=before.ruling_id or "none",
            party=party,
            grounds="no",
            new_evidence=(item(self.fresh("n")),) if new else (),
        )
        if self.give(appeal):
            assert not before.rulings[appeal.ruling_id].is_final
            assert before.appeal_until is not None
            assert self.book.now < before.appeal_until

    @precondition(lambda self: self.book.dispute().stage in (*RULED, *DECIDING))
    @rule(party=parties, division=divisions)
    def go_outside(self, party: Party, division: Any) -> None:
        self.give(m.ReferExternally(dispute_id="d1", body="court", case_ref="c", by="clerk"))
        self.give(m.OptInExternally(dispute_id="d1", party=party, payment_ref="paid"))
        award = m.RecordExternalAward(
            dispute_id="d1",
            award_id=self.fresh("w"),
            body="court",
            case_ref="c",
            allocations=division,
        )
        assert self.give(award), "a report was refused"

    @rule(by=st.sampled_from(("cb1", "cb2")), ends=st.integers(0, 3))
    def suspend(self, by: str, ends: int) -> None:
        kind = m.ResumeDispute if ends else m.SuspendDispute
        self.give(kind(dispute_id="d1", by=by))

    @precondition(lambda self: self.book.dispute().stage in EXECUTABLE)
    @rule()
    def execute(self) -> None:
        self.give(m.ExecuteRuling(dispute_id="d1"))

    @precondition(lambda self: self.book.dispute().rulings)
    @rule(division=divisions)
    def amend(self, division: Any) -> None:
        self.give(
            m.AmendRuling(
                dispute_id="d1",
                ruling_id=self.fresh("a"),
                supersedes=self.book.dispute().ruling_id,
                allocations=division,
                cause="found",
                by="clerk",
                approver="head",
            )
        )

    @rule(chance=st.integers(0, 9))
    def end(self, chance: int) -> None:
        """Seldom: what is over has nothing more to show."""
        kinds: dict[int, Any] = {0: m.SupersedeDispute, 1: m.WithdrawDispute}
        if chance in kinds:
            self.give(kinds[chance](dispute_id="d1", by="cb1", reason="over"))

    @invariant()
    def claims_fit_their_lines(self) -> None:
        """Invariant 24: what is in dispute or decided of a line is no more than its charge."""
        order = self.book.order()
        for line_id, line in order.lines.items():
            taken = sum(
                [one.claims.get(line_id, 0) for one in order.disputes.values() if one.takes_up]
            )
            open_about = [
                key for key, one in order.disputes.items() if one.is_open and line_id in one.claims
            ]
            assert taken <= line.charged
            assert len(open_about) <= 1 or self.book.dispute().executions

    @invariant()
    def history_is_in_order(self) -> None:
        """Every step from a stage that the table has it in; invariants 25 to 27, 30 and 43."""
        state: DisputeState = INITIAL
        missed: set[str] = set()
        done: set[str] = set()
        evidence: list[str] = []
        for stream, event in self.book.events:
            if stream != "dispute-d1":
                continue
            transition = TRANSITIONS.get(type(event))
            if transition is not None and getattr(event, "is_applied", True):
                assert state.stage in transition.sources, (state.stage, event)
            if isinstance(event, r.RulingIssued | r.AppealDecided):
                assert state.is_evidence_closed
                panel = state.appeal_panel if state.stage is Stage.APPEAL else state.panel
                assert {vote.arbitrator for vote in event.votes} <= set(panel.members)
                assert len(event.votes) >= panel.quorum
                assert sum(one.amount for one in event.allocations) == state.claimed
                assert not any(state.evidence[key].is_struck for key in event.evidence_relied_on)
                assert state.claimant is Party.BUYER
            if isinstance(event, DeadlineMissed):
                assert event.deadline_id not in missed
                assert event.at == state.deadlines[event.deadline_id].due_at
                missed.add(event.deadline_id)
            if isinstance(event, r.RulingExecutionLegDone):
                assert event.leg_id not in done, "a leg that is done twice"
                done.add(event.leg_id)
            if isinstance(event, r.RulingExecuted) and state.rulings:
                assert [one.is_final for one in state.rulings.values()].count(True) == 1
            if isinstance(event, EvidenceSubmitted):
                evidence.append(event.item.evidence_id)
            state = EVOLVE[type(event)](state, event)
        assert list(state.evidence) == evidence
        assert state == self.book.dispute()

    @invariant()
    def what_is_frozen_is_held(self) -> None:
        """Money of an open, accepted dispute is frozen; that of a closed one is not."""
        state = self.book.dispute()
        if state.stage is Stage.CLOSED:
            assert all(
                one.is_lifted for one in self.book.order().freezes.values() if one.freeze_id == "d1"
            )


TestDisputes = Disputes.TestCase
