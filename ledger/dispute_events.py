"""
Events of a dispute's stream up to the evidence: filing, negotiation, windows and their deadlines.

What follows is in ``dispute_ruling_events``; the notices on the order's own stream are in
``order_disputes``. Amounts are integers in minor units of the order's currency. Every event has
``at``: the instant from which its deadlines run. It is the envelope's, but never before that of an
earlier step.
"""

from datetime import datetime
from enum import StrEnum

from .dispute_content import Answer, ClaimedLine, EvidenceItem, Remedy
from .dispute_parties import Allocation, Party
from .events import Event, topic
from .rule_books import RuleBook


class DeadlineKind(StrEnum):
    """What is to be done until a deadline of a dispute, or else happens then."""

    RESPONSE = "response"
    NEGOTIATION = "negotiation"
    EVIDENCE = "evidence"
    MEDIATOR = "mediator"
    MEDIATION = "mediation"
    ANSWER = "answer"
    RULING = "ruling"
    OPT_IN = "opt_in"
    APPEAL = "appeal"


class SettlementBasis(StrEnum):
    """By what the sides agreed."""

    ANSWER = "answer"
    OFFER = "offer"
    PROPOSAL = "proposal"


class DisputeEvent(Event, frozen=True):
    """Any event of a dispute; ``at`` is when the step took effect."""

    at: datetime


@topic("dispute.filed.v1")
class DisputeFiled(DisputeEvent, frozen=True):
    """
    ``claimed`` = Σ ``claims`` is the amount in dispute. The rule book in force stands here whole.

    ``filing_until`` is the end of the filing window, counted from the later of the given instants.
    """

    dispute_id: str
    order_id: str
    currency: str
    buyer_ref: str
    seller: str
    claimant: Party
    respondent: Party
    claims: tuple[ClaimedLine, ...]
    claimed: int
    remedy: Remedy
    reason: str
    placed_at: datetime
    delivered_at: datetime | None
    filing_until: datetime
    rule_book: RuleBook
    rule_book_hash: str
    evidence: tuple[EvidenceItem, ...] = ()


@topic("dispute.accepted.v1")
class DisputeAccepted(DisputeEvent, frozen=True):
    """The dispute is heard; ``frozen`` is what was frozen for it."""

    by: str
    frozen: int


@topic("dispute.declined_inadmissible.v1")
class DisputeDeclinedInadmissible(DisputeEvent, frozen=True):
    """The dispute is not heard."""

    by: str
    reason: str


@topic("dispute.respondent_answered.v1")
class RespondentAnswered(DisputeEvent, frozen=True):
    answer: Answer
    statement: str = ""


@topic("dispute.settlement_offered.v1")
class SettlementOffered(DisputeEvent, frozen=True):
    """One side offers that the claimant gets ``amount``; ``number`` counts the offers from 1."""

    offer_id: str
    number: int
    party: Party
    amount: int
    remedy: Remedy
    expires_at: datetime


@topic("dispute.settlement_agreed.v1")
class SettlementAgreed(DisputeEvent, frozen=True):
    """Both sides agree to a division; ``reference`` is the offer or proposal."""

    basis: SettlementBasis
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    reference: str = ""


@topic("dispute.escalated.v1")
class DisputeEscalated(DisputeEvent, frozen=True):
    """``party`` None: by the rule ``rule_ref`` alone."""

    party: Party | None
    rule_ref: str


@topic("dispute.lapsed.v1")
class DisputeLapsed(DisputeEvent, frozen=True):
    """The negotiation ended, nobody had escalated, and by the rule that ends the dispute."""

    rule_ref: str


@topic("dispute.evidence_requested.v1")
class EvidenceRequested(DisputeEvent, frozen=True):
    """``due_at`` is until when the side is asked to bring it."""

    request_id: str
    party: Party
    items: tuple[str, ...]
    due_at: datetime
    by: str


@topic("dispute.evidence_submitted.v1")
class EvidenceSubmitted(DisputeEvent, frozen=True):
    """``is_late``: after the window of that side had closed."""

    party: Party
    item: EvidenceItem
    is_late: bool = False


@topic("dispute.evidence_struck.v1")
class EvidenceStruck(DisputeEvent, frozen=True):
    """The piece stays on the list and may not be relied on."""

    evidence_id: str
    reason: str
    by: str


@topic("dispute.evidence_window_closed.v1")
class EvidenceWindowClosed(DisputeEvent, frozen=True):
    """
    One side brings no more evidence in time.

    ``is_waived``: it said so itself; ``is_missed``: its time ran out and it had brought nothing.
    """

    party: Party
    is_missed: bool = False
    is_waived: bool = False


@topic("dispute.mediation_started.v1")
class MediationStarted(DisputeEvent, frozen=True):
    mediator: str
    by: str


@topic("dispute.mediation_proposal_made.v1")
class MediationProposalMade(DisputeEvent, frozen=True):
    """A mediator's proposal; it binds nobody until both sides accept it."""

    proposal_id: str
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    mediator: str
    reasons: str = ""


@topic("dispute.proposal_answered.v1")
class ProposalAnswered(DisputeEvent, frozen=True):
    proposal_id: str
    party: Party
    is_accepted: bool


@topic("dispute.mediation_failed.v1")
class MediationFailed(DisputeEvent, frozen=True):
    """``cause`` is rejected, or the kind of the deadline that passed."""

    cause: str


@topic("dispute.deadline_set.v1")
class DeadlineSet(DisputeEvent, frozen=True):
    """
    Something is to be done until ``due_at``, that instant not included.

    ``deadline_id`` is ``kind/number`` and is never used twice. ``party`` None: nobody's in
    particular. ``rule_ref`` names the rule: ``book/version:field``.
    """

    deadline_id: str
    kind: DeadlineKind
    due_at: datetime
    rule_ref: str
    party: Party | None = None


@topic("dispute.deadline_extended.v1")
class DeadlineExtended(DisputeEvent, frozen=True):
    """The deadline goes on under another id and with another end."""

    deadline_id: str
    new_deadline_id: str
    due_at: datetime
    by: str
    reason: str


@topic("dispute.deadline_missed.v1")
class DeadlineMissed(DisputeEvent, frozen=True):
    """Nobody did it in time; ``at`` is the deadline's own instant, however late the timer."""

    deadline_id: str
    kind: DeadlineKind
    party: Party | None = None


@topic("dispute.withdrawn.v1")
class DisputeWithdrawn(DisputeEvent, frozen=True):
    by: str
    reason: str


@topic("dispute.suspended.v1")
class DisputeSuspended(DisputeEvent, frozen=True):
    """``by`` is what suspends it, as a rule a chargeback; its deadlines stop."""

    by: str


@topic("dispute.resumed.v1")
class DisputeResumed(DisputeEvent, frozen=True):
    """``by`` suspends it no longer; the deadlines run on once nothing does."""

    by: str


@topic("dispute.merged.v1")
class DisputeMerged(DisputeEvent, frozen=True):
    """The dispute is heard as part of another one of the same order."""

    into: str
    by: str


@topic("dispute.joined.v1")
class DisputeJoined(DisputeEvent, frozen=True):
    """Another dispute's claims are heard here; its evidence follows as submitted here."""

    dispute_id: str
    claims: tuple[ClaimedLine, ...]


@topic("dispute.superseded.v1")
class DisputeSuperseded(DisputeEvent, frozen=True):
    """Something outside, as a rule a chargeback, decides what the dispute was about."""

    by: str
    reason: str
