"""
Decisions in the mediation of a dispute: who mediates, what is proposed, how the sides answer.
"""

from datetime import datetime

from orderledger.ledger import dispute_events as e
from orderledger.ledger.dispute_events import DeadlineKind, SettlementBasis
from orderledger.ledger.errors import Reason, Rejected

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_commands import AnswerProposal, ProposeResolution, StartMediation
from .dispute_hearing import fail_mediation, heard, set_deadline


@decides(StartMediation)
def start(command: StartMediation, states: States, now: datetime) -> Changes:
    """Begin a mediation; raises WRONG_STATE where the rule book offers none."""
    order_guards.check_id("mediator", command.mediator)
    hearing = heard(command, states, now)
    state = hearing.state
    if state.mediator == command.mediator:
        return hearing.changes
    guards.require_stage(state, e.MediationStarted, "mediate")
    guards.require_running(state, "mediate")
    rules = state.rule_book
    if not rules.mediation_hours:
        raise Rejected(
            Reason.WRONG_STATE,
            f"rule book {rules.reference('mediation_hours')} of dispute {state.dispute_id} offers "
            "no mediation",
            dispute_id=state.dispute_id,
        )
    guards.require_impartial(state, command.mediator, "mediate")
    hearing.step(e.MediationStarted(at=hearing.at, mediator=command.mediator, by=command.by))
    set_deadline(hearing, DeadlineKind.MEDIATION, rules.mediation_hours, "mediation_hours")
    return hearing.changes


@decides(ProposeResolution)
def propose(command: ProposeResolution, states: States, now: datetime) -> Changes:
    """Put a division to both sides; raises WRONG_STATE while an earlier one is not answered."""
    order_guards.check_id("proposal_id", command.proposal_id)
    order_guards.check_text("reasons", command.reasons)
    guards.check_allocations(command.allocations)
    hearing = heard(command, states, now)
    state = hearing.state
    known = state.proposals.get(command.proposal_id)
    if known is not None:
        if guards.repeats(command, known.made, "allocations", "remedy", "reasons"):
            return hearing.changes
        raise guards.used(state, "proposal", command.proposal_id)
    guards.require_stage(state, e.MediationProposalMade, "propose a resolution")
    guards.require_running(state, "propose a resolution")
    if state.proposals:
        raise Rejected(
            Reason.WRONG_STATE,
            f"proposal {next(iter(state.proposals))} in dispute {state.dispute_id} waits for an "
            "answer",
            dispute_id=state.dispute_id,
        )
    guards.require_whole(state, command.allocations)
    hearing.step(
        e.MediationProposalMade(
            at=hearing.at,
            proposal_id=command.proposal_id,
            allocations=command.allocations,
            remedy=command.remedy,
            mediator=state.mediator,
            reasons=command.reasons,
        )
    )
    hours = state.rule_book.answer_hours
    set_deadline(hearing, DeadlineKind.ANSWER, hours, "answer_hours")
    return hearing.changes


@decides(AnswerProposal)
def answer(command: AnswerProposal, states: States, now: datetime) -> Changes:
    """Answer a proposal: two acceptances settle the dispute, one rejection ends the mediation."""
    guards.check_side(command.party)
    hearing = heard(command, states, now)
    state = hearing.state
    proposal = state.proposals.get(command.proposal_id)
    if proposal is None:
        raise guards.unknown(state, "proposal", command.proposal_id)
    given = proposal.answers.get(command.party)
    if given is not None:
        if given == command.accept:
            return hearing.changes
        raise guards.used(state, f"the answer of the {command.party} to", command.proposal_id)
    guards.require_stage(state, e.ProposalAnswered, "answer a proposal")
    guards.require_running(state, "answer a proposal")
    hearing.step(
        e.ProposalAnswered(
            at=hearing.at,
            proposal_id=command.proposal_id,
            party=command.party,
            is_accepted=command.accept,
        )
    )
    if not command.accept:
        fail_mediation(hearing, "rejected")
    elif len(proposal.answers) == 1:
        hearing.step(
            e.SettlementAgreed(
                at=hearing.at,
                basis=SettlementBasis.PROPOSAL,
                reference=command.proposal_id,
                allocations=proposal.made.allocations,
                remedy=proposal.made.remedy,
            )
        )
    return hearing.changes
