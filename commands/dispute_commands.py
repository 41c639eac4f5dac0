"""
Commands on disputes: filing, negotiation, evidence, mediation, and what interrupts or ends one.

Those of the arbitration are in ``ruling_commands``. Every step first performs the deadlines that
passed before it, so that a late timer changes no answer.
"""

from orderledger.ledger import streams
from orderledger.ledger.dispute_content import Answer, ClaimedLine, EvidenceItem, Remedy
from orderledger.ledger.dispute_parties import Allocation, Party
from orderledger.ledger.instants import Instant
from orderledger.ledger.rule_books import RuleBook

from .decision import Command


class OfDispute(Command, frozen=True, kw_only=True):
    """Any command on a dispute."""

    dispute_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.dispute(self.dispute_id),)


class FileDispute(OfDispute, frozen=True, kw_only=True):
    """
    Contest lines of one seller of an order: how much of each, and what is to happen.

    ``rule_book`` is the whole book in force, of ``ledger.rule_book_presets`` or your own. The
    filing window counts from ``delivered_at`` or, where nothing arrived, from ``placed_at``.
    """

    order_id: str
    seller: str
    claimant: Party
    claims: tuple[ClaimedLine, ...]
    remedy: Remedy
    reason: str
    placed_at: Instant
    delivered_at: Instant | None = None
    rule_book: RuleBook
    evidence: tuple[EvidenceItem, ...] = ()

    def streams(self) -> tuple[str, ...]:
        return (streams.dispute(self.dispute_id), streams.order(self.order_id))

    def creates(self) -> tuple[str, ...]:
        return (streams.dispute(self.dispute_id),)


class AcceptDispute(OfDispute, frozen=True, kw_only=True):
    """Hear a filed dispute; the amount in dispute is frozen and the negotiation begins."""

    by: str


class RejectDispute(OfDispute, frozen=True, kw_only=True):
    """Do not hear a filed dispute."""

    by: str
    reason: str


class Respond(OfDispute, frozen=True, kw_only=True):
    """
    Answer a claim as its respondent. To accept it is to settle it.

    The last four fields are an offer: with the answer ``offer``, and only then.
    """

    answer: Answer
    statement: str = ""
    offer_id: str = ""
    amount: int = 0
    remedy: Remedy = Remedy.REFUND
    expires_at: Instant | None = None


class MakeOffer(OfDispute, frozen=True, kw_only=True):
    """Offer as one side that the claimant gets ``amount`` and the respondent the rest."""

    offer_id: str
    party: Party
    amount: int
    remedy: Remedy
    expires_at: Instant


class AcceptOffer(OfDispute, frozen=True, kw_only=True):
    """Accept an offer of the other side, which settles the dispute."""

    offer_id: str
    party: Party


class Escalate(OfDispute, frozen=True, kw_only=True):
    """Ask for a decision as one side, from the instant that the rule book allows it."""

    party: Party


class RequestEvidence(OfDispute, frozen=True, kw_only=True):
    """Ask a side for evidence until ``due_at``: its window lasts at least until then."""

    request_id: str
    party: Party
    items: tuple[str, ...]
    due_at: Instant
    by: str


class SubmitEvidence(OfDispute, frozen=True, kw_only=True):
    """Add a piece of evidence; after its side's window it is recorded as late."""

    party: Party
    item: EvidenceItem


class StrikeEvidence(OfDispute, frozen=True, kw_only=True):
    """Exclude a piece of evidence: it stays on the list and no ruling may rely on it."""

    evidence_id: str
    reason: str
    by: str


class CloseEvidence(OfDispute, frozen=True, kw_only=True):
    """Waive what is left of one side's own evidence window."""

    party: Party


class StartMediation(OfDispute, frozen=True, kw_only=True):
    """Let a mediator, who is none of the parties, try to bring the sides together."""

    mediator: str
    by: str


class ProposeResolution(OfDispute, frozen=True, kw_only=True):
    """Propose a division as the mediator; it binds nobody until both sides accept it."""

    proposal_id: str
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    reasons: str = ""


class AnswerProposal(OfDispute, frozen=True, kw_only=True):
    """Accept or reject a mediator's proposal as one side; one rejection ends the mediation."""

    proposal_id: str
    party: Party
    accept: bool


class WithdrawDispute(OfDispute, frozen=True, kw_only=True):
    """Give up a dispute before a ruling, as its claimant."""

    by: str
    reason: str


class SuspendDispute(OfDispute, frozen=True, kw_only=True):
    """Stop a dispute and its deadlines while ``by``, as a rule a chargeback, is open."""

    by: str


class ResumeDispute(OfDispute, frozen=True, kw_only=True):
    """
    End a suspension; once nothing suspends the dispute, what was left of its deadlines runs.

    That of an open chargeback ends with it.
    """

    by: str


class MergeDispute(OfDispute, frozen=True, kw_only=True):
    """
    Hear a dispute as part of another of the same order, claimant, seller and rule book.

    Both are filed and not yet accepted.
    """

    into_dispute_id: str
    by: str

    def streams(self) -> tuple[str, ...]:
        return (streams.dispute(self.dispute_id), streams.dispute(self.into_dispute_id))


class SupersedeDispute(OfDispute, frozen=True, kw_only=True):
    """End a dispute that something outside decides, as a rule a lost chargeback."""

    by: str
    reason: str


class ExtendDisputeDeadline(OfDispute, frozen=True, kw_only=True):
    """Give more time until an open deadline; it goes on under ``kind/number`` of its own."""

    deadline_id: str
    due_at: Instant
    by: str
    reason: str


class PerformDisputeDeadline(OfDispute, frozen=True, kw_only=True):
    """
    Timer: do what the rules say of a deadline that passed; nothing if it is no longer open.

    Earlier deadlines of the dispute that passed too are performed before it.
    """

    deadline_id: str


class ResolveDisputeAnomaly(OfDispute, frozen=True, kw_only=True):
    """Close an anomaly of a dispute's stream; ``anomaly_id`` is its key."""

    anomaly_id: str
    by: str
    resolution: str
