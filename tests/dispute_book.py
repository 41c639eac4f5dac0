"""
Disputes in a decided book: short ways to write their commands, and what must hold after each.
"""

from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import replace

import orderledger.commands.deciders  # noqa: F401  # registers every decider
from orderledger.commands.decision import Changes, Command
from orderledger.commands.dispute_commands import (
    AcceptDispute,
    CloseEvidence,
    Escalate,
    FileDispute,
    PerformDisputeDeadline,
    SubmitEvidence,
)
from orderledger.commands.ruling_commands import (
    Appeal,
    AssignPanel,
    CastVote,
    ExecuteRuling,
    IssueRuling,
)
from orderledger.ledger.dispute_content import (
    ClaimedLine,
    EvidenceItem,
    Remedy,
    VoteReveal,
    seal,
)
from orderledger.ledger.dispute_parties import Allocation, Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import INITIAL, DisputeState, deadlines_of
from orderledger.ledger.instants import LATEST
from orderledger.ledger.rule_books import (
    ExternalRules,
    NegotiationSilence,
    ResponseSilence,
    RuleBook,
)
from tests.decided_book import START
from tests.order_book import OrderBook

HOUR: Final = timedelta(hours=1)
SALT: Final = "0123456789abcdef"

RULES: Final = RuleBook(
    rule_book_id="house",
    version=3,
    filing_hours=720,
    response_hours=48,
    response_silence=ResponseSilence.WAIT,
    escalation_from_hours=24,
    negotiation_hours=96,
    negotiation_silence=NegotiationSilence.ESCALATE,
    claimant_evidence_hours=72,
    respondent_evidence_hours=96,
    mediation_hours=200,
    answer_hours=48,
    panel_size=3,
    quorum=2,
    ruling_hours=100,
    appeal_hours=240,
    appeals_per_party=1,
    external=ExternalRules(opt_in_hours=168),
)
"""A book with everything in it; tests vary single rules."""


def rules(**fields: Any) -> RuleBook:
    return replace(RULES, **fields)


def item(evidence_id: str, content: bytes = b"") -> EvidenceItem:
    content = content or evidence_id.encode()
    return EvidenceItem(evidence_id, "photo", sha256(content).hexdigest(), len(content))


def shares(buyer: int = 0, seller: int = 0, platform: int = 0) -> tuple[Allocation, ...]:
    return (
        Allocation(Party.BUYER, buyer),
        Allocation(Party.SELLER, seller),
        Allocation(Party.PLATFORM, platform),
    )


def file(dispute_id: str = "d1", *claims: tuple[str, int], **fields: Any) -> FileDispute:
    """Return the filing of the buyer about line a of o1, for 10.00, a day after delivery."""
    given: dict[str, Any] = {
        "order_id": "o1",
        "seller": "s1",
        "claimant": Party.BUYER,
        "remedy": Remedy.REFUND,
        "reason": "not as described",
        "placed_at": START - 48 * HOUR,
        "delivered_at": START - 24 * HOUR,
        "rule_book": RULES,
        **fields,
    }
    named = tuple([ClaimedLine(*claim) for claim in claims or (("a", 1000),)])
    return FileDispute(dispute_id=dispute_id, claims=named, **given)


def ruling(
    *divisions: tuple[Allocation, ...], ruling_id: str = "r1", **fields: Any
) -> dict[str, Any]:
    """Return the fields of a ruling for the first division, with votes of ann, bob, cid."""
    people = fields.pop("people", ("ann", "bob", "cid"))
    votes = tuple(
        [VoteReveal(person, one, SALT) for person, one in zip(people, divisions, strict=False)]
    )
    return {
        "dispute_id": "d1",
        "ruling_id": ruling_id,
        "allocations": divisions[0],
        "remedy": Remedy.REFUND,
        "reasons": "the photo shows it",
        "rule_refs": ("policy 4.2",),
        "votes": votes,
        "by": people[0],
        **fields,
    }


class DisputeBook(OrderBook):
    """
    A confirmed, paid order o1: lines a (30.00) and b (20.00) of seller s1, c (50.00) of s2.

    After each command the invariants of disputes hold: see ``check_dispute``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.confirmed("a 3 x 10.00", "b 1 x 20.00", "c 1 x 50.00 of s2")
        self.pay("p1", 10_000)

    def run(self, command: Command) -> Changes:
        changes = super().run(command)
        for state in self.states.values():
            if isinstance(state, DisputeState):
                check_dispute(state)
        for dispute_id, notice in self.order().disputes.items():
            assert notice.is_open == self.dispute(dispute_id).is_open
        return changes

    def dispute(self, dispute_id: str = "d1") -> DisputeState:
        state: DisputeState = self.states.get(f"dispute-{dispute_id}", INITIAL)
        return state

    @property
    def stage(self) -> Stage:
        return self.dispute().stage

    def at(self, **hours: int) -> "DisputeBook":
        """Let time pass."""
        self.now += timedelta(**hours)
        return self

    def due(self) -> dict[str, int]:
        """Return the open deadlines with the hours that are left of each."""
        return {
            one.deadline_id: (one.due_at - self.now) // HOUR for one in deadlines_of(self.dispute())
        }

    def perform(self, dispute_id: str = "d1") -> list[str]:
        """Perform the next deadline at its instant, as a sweeper does; return its events."""
        one = deadlines_of(self.dispute(dispute_id))[0]
        self.now = max(self.now, one.due_at)
        return self.did(
            PerformDisputeDeadline(
                dispute_id=dispute_id, deadline_id=one.deadline_id, occurred_at=one.due_at
            )
        )

    # -- the course up to a stage ----------------------------------------------------------------

    def negotiating(self, **fields: Any) -> "DisputeBook":
        self.run(file(**fields))
        self.run(AcceptDispute(dispute_id="d1", by="clerk"))
        return self

    def in_evidence(self, **fields: Any) -> "DisputeBook":
        self.negotiating(**fields).at(hours=24)
        self.run(Escalate(dispute_id="d1", party=Party.BUYER))
        return self

    def closed_evidence(self, **fields: Any) -> "DisputeBook":
        self.in_evidence(**fields)
        for party in (Party.BUYER, Party.SELLER):
            evidence = item(f"of-{party}")
            self.run(SubmitEvidence(dispute_id="d1", party=party, item=evidence))
            self.run(CloseEvidence(dispute_id="d1", party=party))
        return self

    def arbitrating(self, **fields: Any) -> "DisputeBook":
        self.closed_evidence(**fields)
        self.run(AssignPanel(dispute_id="d1", arbitrators=("ann", "bob", "cid"), by="clerk"))
        return self

    def vote(
        self, *divisions: tuple[Allocation, ...], people: tuple[str, ...] = ("ann", "bob", "cid")
    ) -> "DisputeBook":
        for person, one in zip(people, divisions, strict=False):
            count = len(self.dispute().panel.cast) + len(self.dispute().appeal_panel.cast)
            self.run(
                CastVote(
                    dispute_id="d1",
                    vote_id=f"v{count}",
                    arbitrator=person,
                    commitment=seal("d1", person, one, SALT),
                )
            )
        return self

    def ruled(self, buyer: int = 600, seller: int = 400, **fields: Any) -> "DisputeBook":
        division = shares(buyer, seller)
        self.arbitrating(**fields).vote(division, division)
        self.run(IssueRuling(**ruling(division, division)))
        return self

    def appealed(self, **fields: Any) -> "DisputeBook":
        self.ruled(**fields)
        self.run(
            Appeal(
                dispute_id="d1",
                appeal_id="x1",
                ruling_id="r1",
                party=Party.SELLER,
                grounds="the photo is old",
                new_evidence=(item("new"),),
            )
        )
        self.run(AssignPanel(dispute_id="d1", arbitrators=("dan", "eve", "fay"), by="clerk"))
        return self

    def executed(self, **fields: Any) -> "DisputeBook":
        self.ruled(**fields)
        self.perform()
        self.run(ExecuteRuling(dispute_id="d1"))
        return self


def check_dispute(state: DisputeState) -> None:
    """Assert invariants 24 to 27 and 30 of one dispute, as far as its own state tells."""
    assert state.claimed == sum(state.claims.values())
    if state.award:
        assert sum(state.award.values()) == state.claimed
        assert state.award.get(state.claimant, 0) <= state.claimed
        assert all(amount >= 0 for amount in state.award.values())
        assert all(amount <= state.award[party] for party, amount in state.executed.items())
    finals = [one for one in state.rulings.values() if one.is_final]
    assert len(finals) <= 1
    sides = [one.party for one in state.appeals.values()]
    assert len(sides) == len(set(sides))
    assert not state.parties & {*state.panel.ever, *state.appeal_panel.ever}
    assert not state.panel.ever & state.appeal_panel.ever
    for one in deadlines_of(state):
        assert one.due_at > state.as_of or one.due_at == LATEST


__all__ = ["HOUR", "RULES", "SALT", "START", "DisputeBook", "file", "item", "rules", "ruling"]
