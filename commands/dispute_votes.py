"""
Checks of a ruling that stands on sealed votes: who may rule, what it may rely on, who voted for it.
"""

from collections.abc import Sequence
from typing import Final

from orderledger.ledger import limits
from orderledger.ledger.dispute_content import (
    SALT_LENGTH_MIN,
    RulingContent,
    VoteReveal,
    same_division,
    seal,
)
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import HEARD
from orderledger.ledger.disputes import DisputeState, Panel
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.rule_books import PANEL_MAX

from . import dispute_guards as guards
from . import order_guards
from .ruling_commands import DecideAppeal, IssueRuling

RULING_REASONS_MAX: Final = 20_000
"""Characters of a ruling's reasons."""

Deciding = IssueRuling | DecideAppeal


def check_ruling(command: Deciding) -> None:
    """Raise if a ruling is malformed in itself."""
    guards.check_ruling_id("ruling_id", command.ruling_id)
    guards.check_allocations(command.allocations)
    limits.check_count("characters of reasons", len(command.reasons), RULING_REASONS_MAX)
    if not command.reasons.strip():
        raise InvalidCommand("reasons are empty: a ruling must give them", field="reasons")
    guards.check_list("rule_refs", command.rule_refs, required=True)
    order_guards.check_unique("evidence_relied_on", command.evidence_relied_on)
    limits.check_count("votes", len(command.votes), PANEL_MAX)
    order_guards.check_unique("votes", [vote.arbitrator for vote in command.votes])
    for vote in command.votes:
        guards.check_allocations(vote.allocations)
        order_guards.check_text("salt", vote.salt)


def require_ruling(command: Deciding, state: DisputeState, panel: Panel) -> None:
    """
    Raise unless a panel may rule so.

    In this order: CONFLICT_OF_INTEREST (a party, somebody recused or nobody of the panel),
    EVIDENCE_WINDOW_OPEN, DISPUTE_SUSPENDED (anything for the buyer), NOT_FOUND or WRONG_STATE
    (evidence), TOTALS_DO_NOT_ADD_UP, VOTE_NOT_AS_SEALED, QUORUM_MISSING.
    """
    guards.require_impartial(state, command.by, "rule on it")
    if command.by in panel.recused:
        raise guards.conflict(state, command.by, "was recused", "rule")
    if command.by not in panel.members:
        raise guards.conflict(state, command.by, "is not on the panel", "rule")
    _require_evidence_closed(state)
    for_buyer = sum([one.amount for one in command.allocations if one.party is Party.BUYER])
    if for_buyer:
        guards.require_running(state, "rule for the buyer")
    _require_evidence(command, state)
    guards.require_whole(state, command.allocations)
    for vote in command.votes:
        _require_as_sealed(state, panel, vote)
    _require_votes(command, state, panel)


def _require_evidence_closed(state: DisputeState) -> None:
    if state.is_evidence_closed or state.stage not in HEARD:
        # No window runs in an appeal. One against a default ruling may never have had any.
        return
    waiting = [
        side.value
        for side in (state.claimant, state.respondent)
        if side not in state.evidence_closed
    ]
    raise Rejected(
        Reason.EVIDENCE_WINDOW_OPEN,
        f"the evidence window of the {' and the '.join(waiting)} in dispute {state.dispute_id} is "
        "open; it ends by time or is waived",
        dispute_id=state.dispute_id,
        parties=waiting,
    )


def _require_evidence(command: Deciding, state: DisputeState) -> None:
    for evidence_id in command.evidence_relied_on:
        found = state.evidence.get(evidence_id)
        if found is None:
            raise guards.unknown(state, "evidence", evidence_id)
        if found.is_struck:
            raise Rejected(
                Reason.WRONG_STATE,
                f"evidence {evidence_id} of dispute {state.dispute_id} was struck out: "
                f"{found.struck}",
                dispute_id=state.dispute_id,
                evidence_id=evidence_id,
            )


def _require_as_sealed(state: DisputeState, panel: Panel, vote: VoteReveal) -> None:
    sealed = panel.votes.get(vote.arbitrator)
    if sealed is None:
        raise guards.unknown(state, "vote of arbitrator", vote.arbitrator)
    opened = seal(state.dispute_id, vote.arbitrator, vote.allocations, vote.salt)
    if opened != sealed or len(vote.salt) < SALT_LENGTH_MIN:
        raise Rejected(
            Reason.VOTE_NOT_AS_SEALED,
            f"the vote of {vote.arbitrator} in dispute {state.dispute_id} is not the one that was "
            f"cast, or its salt is shorter than {SALT_LENGTH_MIN} characters",
            dispute_id=state.dispute_id,
            arbitrator=vote.arbitrator,
        )


def _require_votes(command: Deciding, state: DisputeState, panel: Panel) -> None:
    unopened = sorted(set(panel.votes) - {vote.arbitrator for vote in command.votes})
    if unopened:
        raise Rejected(
            Reason.QUORUM_MISSING,
            f"{', '.join(unopened)} voted in dispute {state.dispute_id}; every vote that was cast "
            "is opened with the ruling",
            dispute_id=state.dispute_id,
            unopened=unopened,
        )
    for_it = [
        vote for vote in command.votes if same_division(vote.allocations, command.allocations)
    ]
    if len(command.votes) < panel.quorum or 2 * len(for_it) <= len(command.votes):
        raise Rejected(
            Reason.QUORUM_MISSING,
            f"{len(command.votes)} votes were opened in dispute {state.dispute_id}, {len(for_it)} "
            f"of them for this division; it takes {panel.quorum} votes and more than half of them",
            dispute_id=state.dispute_id,
            votes=len(command.votes),
            votes_for=len(for_it),
            quorum=panel.quorum,
        )


def content_of(command: Deciding, state: DisputeState, supersedes: str = "") -> RulingContent:
    """Return what the hash of a ruling covers."""
    return RulingContent(
        dispute_id=state.dispute_id,
        ruling_id=command.ruling_id,
        allocations=command.allocations,
        remedy=command.remedy,
        reasons=command.reasons,
        rule_refs=command.rule_refs,
        evidence=hashes_of(state, command.evidence_relied_on),
        by=command.by,
        supersedes=supersedes,
    )


def hashes_of(state: DisputeState, evidence_ids: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return ids of evidence with the hashes of its bytes."""
    return tuple([(one, state.evidence[one].item.sha256) for one in evidence_ids])
