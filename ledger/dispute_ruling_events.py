"""
Events of a dispute's stream from the arbitration on: panel, votes, rulings, appeals, execution.

See ``dispute_events`` for amounts and ``at``. Allocations are a division of the amount in dispute.
"""

from typing import Final

import msgspec

from .dispute_content import AppealOutcome, Remedy, VoteReveal
from .dispute_events import DisputeEvent
from .dispute_parties import Allocation, Party
from .events import topic

BY_RULE: Final = "rule-book"
"""Who makes a default ruling."""


@topic("dispute.arbitration_opened.v1")
class ArbitrationOpened(DisputeEvent, frozen=True):
    """The evidence is in and nobody mediates; ``cause`` says why."""

    cause: str


@topic("dispute.arbitrators_assigned.v1")
class ArbitratorsAssigned(DisputeEvent, frozen=True):
    """The panel as it sits now; ``is_appeal``: it hears the appeal."""

    arbitrators: tuple[str, ...]
    quorum: int
    by: str
    is_appeal: bool = False


@topic("dispute.arbitrator_recused.v1")
class ArbitratorRecused(DisputeEvent, frozen=True):
    """The arbitrator leaves the panel for good; a vote cast counts no more."""

    arbitrator: str
    reason: str
    by: str
    is_appeal: bool = False


@topic("dispute.vote_cast.v1")
class VoteCast(DisputeEvent, frozen=True):
    """A sealed vote, see ``dispute_content.seal``; a later one of the arbitrator replaces it."""

    vote_id: str
    arbitrator: str
    commitment: str
    is_appeal: bool = False


@topic("dispute.ruling_issued.v1")
class RulingIssued(DisputeEvent, frozen=True):
    """``votes`` are the sealed votes, opened; ``ruling_hash`` is ``hash_of_ruling``."""

    ruling_id: str
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    reasons: str
    rule_refs: tuple[str, ...]
    evidence_relied_on: tuple[str, ...]
    by: str
    votes: tuple[VoteReveal, ...]
    ruling_hash: str


@topic("dispute.default_ruling_issued.v1")
class DefaultRulingIssued(DisputeEvent, frozen=True):
    """
    The rule book decides because somebody was silent.

    ``deadline_id`` is the deadline with which that was certain; empty where the other side waived
    what was left of its own window.
    """

    ruling_id: str
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    rule_ref: str
    ruling_hash: str
    deadline_id: str = ""
    is_binding: bool = False


@topic("dispute.referred_to_external_body.v1")
class DisputeReferredToExternalBody(DisputeEvent, frozen=True):
    """``buyer_fee_basis_points`` of the body's fee are the buyer's, the rest the seller's."""

    body: str
    case_ref: str
    buyer_fee_basis_points: int
    by: str


@topic("dispute.external_opted_in.v1")
class ExternalOptedIn(DisputeEvent, frozen=True):
    """A side opted in to external arbitration and paid its part of the fee to the body."""

    party: Party
    payment_ref: str


@topic("dispute.external_award_received.v1")
class ExternalAwardReceived(DisputeEvent, frozen=True):
    """
    An external body reports its award.

    ``is_applied``: it decides the dispute and binds; otherwise it contradicts what is known and an
    anomaly stands beside it.
    """

    award_id: str
    body: str
    case_ref: str
    allocations: tuple[Allocation, ...]
    is_applied: bool
    ruling_hash: str = ""


@topic("dispute.appeal_filed.v1")
class AppealFiled(DisputeEvent, frozen=True):
    """``new_evidence`` are ids of evidence that was submitted with the appeal."""

    appeal_id: str
    ruling_id: str
    party: Party
    grounds: str
    new_evidence: tuple[str, ...] = ()


@topic("dispute.appeal_decided.v1")
class AppealDecided(DisputeEvent, frozen=True):
    """The ruling on every appeal against ``supersedes``; it is final."""

    ruling_id: str
    supersedes: str
    outcome: AppealOutcome
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    reasons: str
    rule_refs: tuple[str, ...]
    evidence_relied_on: tuple[str, ...]
    by: str
    votes: tuple[VoteReveal, ...]
    ruling_hash: str


@topic("dispute.ruling_became_final.v1")
class RulingBecameFinal(DisputeEvent, frozen=True):
    ruling_id: str


@topic("dispute.ruling_amended.v1")
class RulingAmended(DisputeEvent, frozen=True):
    """
    A final division is replaced by another: what was executed by then is set off against it.

    ``cause`` says what came to light, ``approver`` is another person than ``by``.
    """

    ruling_id: str
    supersedes: str
    allocations: tuple[Allocation, ...]
    cause: str
    by: str
    approver: str
    ruling_hash: str


class ExecutionLeg(msgspec.Struct, frozen=True):
    """A step of an execution: ``party`` receives ``amount`` > 0. No ``leg_id`` is used twice."""

    leg_id: str
    party: Party
    amount: int


@topic("dispute.ruling_execution_started.v1")
class RulingExecutionStarted(DisputeEvent, frozen=True):
    """
    What is to be done for a final division, step by step.

    ``award_id`` names it on the order: ``dispute:ruling``, or ``dispute:settlement``.
    """

    award_id: str
    legs: tuple[ExecutionLeg, ...]


@topic("dispute.ruling_execution_leg_done.v1")
class RulingExecutionLegDone(DisputeEvent, frozen=True):
    """``operation_ref`` is the refund, release or entry that did it."""

    leg_id: str
    operation_ref: str


@topic("dispute.ruling_execution_leg_failed.v1")
class RulingExecutionLegFailed(DisputeEvent, frozen=True):
    """The leg is still to be done."""

    leg_id: str
    cause: str
    operation_ref: str = ""


@topic("dispute.ruling_executed.v1")
class RulingExecuted(DisputeEvent, frozen=True):
    """Every leg is done; ``references`` are what did them."""

    references: tuple[str, ...] = ()
