"""
Commands of an arbitration: panel, sealed votes, rulings, appeals, external bodies, amendments.
"""

from typing import ClassVar

from orderledger.ledger.dispute_content import AppealOutcome, EvidenceItem, Remedy, VoteReveal
from orderledger.ledger.dispute_parties import Allocation, Party

from .dispute_commands import OfDispute
from .ruling_execution import NO_TERMS, ExecutionTerms


class AssignPanel(OfDispute, frozen=True, kw_only=True):
    """
    Name the arbitrators, as many as the rule book's panel has.

    Named again after a recusal, the list is the whole panel. An appeal has a panel of its own.
    """

    arbitrators: tuple[str, ...]
    by: str


class Recuse(OfDispute, frozen=True, kw_only=True):
    """Take an arbitrator off the panel for good; a vote that was cast counts no more."""

    arbitrator: str
    reason: str
    by: str


class CastVote(OfDispute, frozen=True, kw_only=True):
    """
    Cast a sealed vote: ``commitment`` is ``dispute_content.seal`` of the division and a salt.

    The vote is opened with the ruling. Another ``vote_id`` replaces an earlier vote.
    """

    vote_id: str
    arbitrator: str
    commitment: str


class IssueRuling(OfDispute, frozen=True, kw_only=True):
    """
    Divide the amount in dispute, as one of the panel, on the votes that are opened with it.

    ``allocations`` sum to the amount in dispute; more than half of the opened votes are for them.
    ``rule_refs`` name the rules applied, ``evidence_relied_on`` the evidence.
    """

    ruling_id: str
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    reasons: str
    rule_refs: tuple[str, ...]
    evidence_relied_on: tuple[str, ...] = ()
    votes: tuple[VoteReveal, ...]
    by: str


class Appeal(OfDispute, frozen=True, kw_only=True):
    """Contest a ruling that is not final, as one side, once, within the appeal window."""

    appeal_id: str
    ruling_id: str
    party: Party
    grounds: str
    new_evidence: tuple[EvidenceItem, ...] = ()


class DecideAppeal(OfDispute, frozen=True, kw_only=True):
    """
    Decide every appeal against the ruling ``supersedes``, for good, by the panel of the appeal.

    See ``IssueRuling``; UPHELD keeps the division, the other outcomes change it.
    """

    ruling_id: str
    supersedes: str
    outcome: AppealOutcome
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    reasons: str
    rule_refs: tuple[str, ...]
    evidence_relied_on: tuple[str, ...] = ()
    votes: tuple[VoteReveal, ...]
    by: str


class ReferExternally(OfDispute, frozen=True, kw_only=True):
    """
    Hand a dispute to an outside body, if the rule book offers that.

    ``buyer_fee_basis_points`` of the body's fee are the buyer's, the rest the seller's.
    """

    body: str
    case_ref: str
    buyer_fee_basis_points: int = 5_000
    by: str


class OptInExternally(OfDispute, frozen=True, kw_only=True):
    """Record that a side opted in and paid the outside body; ``payment_ref`` is its receipt."""

    party: Party
    payment_ref: str


class RecordExternalAward(OfDispute, frozen=True, kw_only=True):
    """
    Report the award of an outside body. It binds at once.

    One that contradicts what is known decides nothing and raises an anomaly.
    """

    is_observation: ClassVar[bool] = True

    award_id: str
    body: str
    case_ref: str
    allocations: tuple[Allocation, ...]


class AmendRuling(OfDispute, frozen=True, kw_only=True):
    """
    Replace a final division after the fact; what was executed by then is set off against it.

    ``supersedes`` is the ruling that stands, or empty for a settlement. Two people: ``approver`` is
    not ``by``.
    """

    ruling_id: str
    supersedes: str
    allocations: tuple[Allocation, ...]
    cause: str
    by: str
    approver: str


class ExecuteRuling(OfDispute, frozen=True, kw_only=True):
    """
    Execute a final ruling or a settlement: what of it is not done yet, each leg once.

    ``terms`` are those of the seller's release and of the refund's way back.
    """

    terms: ExecutionTerms = NO_TERMS
