"""
Decisions on executing what a dispute came to: each party's part is a leg that is done once.

What a leg does to the order is in ``ruling_execution``; here is when it may, and that it is told.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import dispute_ruling_events as r
from orderledger.ledger.dispute_content import DisputeOutcome
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.errors import Rejected
from orderledger.ledger.order_disputes import DisputeClosed
from orderledger.ledger.orders import OrderState
from orderledger.ledger.tenders import tenders_of

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_hearing import Hearing, heard
from .escrow_follow import follow_all
from .ruling_amendment import amend
from .ruling_commands import ExecuteRuling
from .ruling_execution import Award, ExecutionTerms, execute_leg, finish, leg_id, legs_of

SETTLEMENT: Final = "settlement"
"""Stands for the ruling where the sides agreed."""


@decides(ExecuteRuling)
def execute(command: ExecuteRuling, states: States, now: datetime) -> Changes:
    """
    Execute the legs that are not done; the last of them ends the dispute.

    A leg that the order refuses is recorded as failed and can be tried again. An amended ruling
    takes the place of what was executed before, in one step or not at all. Raises
    DISPUTE_SUSPENDED while something outside may pay the buyer too, and for an amended ruling what
    ``ruling_amendment.amend`` raises.
    """
    hearing = heard(command, states, now)
    if hearing.state.stage is Stage.EXECUTED:
        return hearing.changes
    if hearing.state.stage is not Stage.EXECUTING:
        guards.require_stage(hearing.state, r.RulingExecutionStarted, "execute its ruling")
    guards.require_running(hearing.state, "execute its ruling")
    order = states.order(hearing.state.order_id)
    guards.require_uncontested(hearing.state, order, "execute the ruling")
    award = award_of(hearing.state)
    if hearing.state.stage is not Stage.EXECUTING:
        legs = tuple(
            [r.ExecutionLeg(leg_id(award, one), one, award.of(one)) for one in legs_of(award)]
        )
        hearing.step(r.RulingExecutionStarted(at=hearing.at, award_id=award.ruling_id, legs=legs))
    held = follow_all(order, states)
    hearing.move(held)
    order = order_guards.after(order, *[one.event for one in held])
    if len(hearing.state.executions) > 1:
        order = _replace(hearing, order, award, command.terms)
    else:
        for party in legs_of(award):
            order = _execute(hearing, order, award, party, command.terms)
    if all(hearing.state.legs[leg_id(award, party)].is_done for party in legs_of(award)):
        _finish(hearing, order, award)
    return hearing.changes


def award_of(dispute: DisputeState) -> Award:
    """Return the division that is to be executed; its id is unique among the order's disputes."""
    ruling_id = dispute.ruling_id or SETTLEMENT
    return Award(
        ruling_id=f"{dispute.dispute_id}:{ruling_id}",
        freeze_id=dispute.dispute_id,
        seller=dispute.seller,
        line_ids=tuple(dispute.claims),
        shares=dispute.award,
    )


def _execute(
    hearing: Hearing, order: OrderState, award: Award, party: Party, terms: ExecutionTerms
) -> OrderState:
    one = leg_id(award, party)
    if hearing.state.legs[one].is_done:
        return order
    try:
        changes = execute_leg(order, award, party, terms, tenders_of(order, hearing.states.payment))
    except Rejected as refusal:
        cause = f"{refusal.reason}: {refusal.message}"
        hearing.step(r.RulingExecutionLegFailed(at=hearing.at, leg_id=one, cause=cause))
        return order
    hearing.move(changes)
    hearing.step(r.RulingExecutionLegDone(at=hearing.at, leg_id=one, operation_ref=one))
    return order_guards.after(order, *[change.event for change in changes])


def _replace(
    hearing: Hearing, order: OrderState, award: Award, terms: ExecutionTerms
) -> OrderState:
    """Put an award in the place of those that were executed before it, all legs in one."""
    earlier = hearing.state.executions[:-1]
    changes = amend(order, earlier, award, terms, tenders_of(order, hearing.states.payment))
    hearing.move(changes)
    for party in legs_of(award):
        one = leg_id(award, party)
        hearing.step(r.RulingExecutionLegDone(at=hearing.at, leg_id=one, operation_ref=one))
    return order_guards.after(order, *[change.event for change in changes])


def _finish(hearing: Hearing, order: OrderState, award: Award) -> None:
    hearing.move(finish(order, award))
    references = tuple([leg_id(award, party) for party in legs_of(award)])
    hearing.step(r.RulingExecuted(at=hearing.at, references=references))
    outcome = hearing.state.outcome or DisputeOutcome.RULED
    hearing.on_order(DisputeClosed(dispute_id=hearing.state.dispute_id, outcome=outcome))
