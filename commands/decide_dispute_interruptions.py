"""
Decisions that interrupt, end or correct a dispute from outside its own course, and its timer.
"""

from datetime import datetime

from orderledger.ledger import dispute_events as e
from orderledger.ledger import dispute_ruling_events as r
from orderledger.ledger.anomalies import AnomalyResolved
from orderledger.ledger.dispute_content import (
    ClaimedLine,
    DisputeOutcome,
    RulingContent,
    hash_of_ruling,
)
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.instants import after
from orderledger.ledger.order_chargebacks import contesting
from orderledger.ledger.order_disputes import DisputeOpened
from orderledger.ledger.order_events import OrderReopened
from orderledger.ledger.orders import Lifecycle

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_commands import (
    ExtendDisputeDeadline,
    MergeDispute,
    PerformDisputeDeadline,
    ResolveDisputeAnomaly,
    ResumeDispute,
    SupersedeDispute,
    SuspendDispute,
    WithdrawDispute,
)
from .dispute_hearing import Hearing, close, extend, heard, perform_until, suspend_while_contested
from .ruling_commands import AmendRuling


@decides(WithdrawDispute)
def withdraw(command: WithdrawDispute, states: States, now: datetime) -> Changes:
    """Give a dispute up before anybody ruled on it."""
    guards.check_reason("reason", command.reason)
    hearing = heard(command, states, now)
    if hearing.state.outcome is DisputeOutcome.WITHDRAWN:
        return hearing.changes
    guards.require_stage(hearing.state, e.DisputeWithdrawn, "withdraw it")
    event = e.DisputeWithdrawn(at=hearing.at, by=command.by, reason=command.reason)
    close(hearing, event, DisputeOutcome.WITHDRAWN, "dispute withdrawn")
    return hearing.changes


@decides(SupersedeDispute)
def supersede(command: SupersedeDispute, states: States, now: datetime) -> Changes:
    """End a dispute that something else decides."""
    order_guards.check_id("by", command.by)
    guards.check_reason("reason", command.reason)
    hearing = heard(command, states, now)
    if hearing.state.outcome is DisputeOutcome.SUPERSEDED:
        return hearing.changes
    guards.require_stage(hearing.state, e.DisputeSuperseded, "supersede it")
    event = e.DisputeSuperseded(at=hearing.at, by=command.by, reason=command.reason)
    close(hearing, event, DisputeOutcome.SUPERSEDED, f"dispute superseded by {command.by}")
    return hearing.changes


@decides(SuspendDispute)
def suspend(command: SuspendDispute, states: States, now: datetime) -> Changes:
    """Stop a dispute; the deadlines that passed before are performed first."""
    order_guards.check_id("by", command.by)
    hearing = heard(command, states, now)
    if command.by in hearing.state.suspended_by:
        return hearing.changes
    guards.require_stage(hearing.state, e.DisputeSuspended, "suspend it")
    hearing.step(e.DisputeSuspended(at=hearing.at, by=command.by))
    return hearing.changes


@decides(ResumeDispute)
def resume_by_hand(command: ResumeDispute, states: States, now: datetime) -> Changes:
    """End a suspension; raises CHARGEBACK_OPEN for that of a chargeback which is contested."""
    order = states.order(states.dispute(command.dispute_id).order_id)
    if command.by in contesting(order.chargebacks):
        raise Rejected(
            Reason.CHARGEBACK_OPEN,
            f"dispute {command.dispute_id} is suspended by chargeback {command.by}, which resumes "
            "it when it is decided",
            dispute_id=command.dispute_id,
            order_id=order.order_id,
            chargeback_id=command.by,
        )
    return resume(command, states, now)


def resume(command: ResumeDispute, states: States, now: datetime) -> Changes:
    """End a suspension; each deadline gets what was left of it when it stopped."""
    hearing = heard(command, states, now)
    before = hearing.state
    if command.by not in before.suspended_by:
        return hearing.changes
    hearing.step(e.DisputeResumed(at=hearing.at, by=command.by))
    if not hearing.state.is_suspended:
        _run_on(hearing, before)
    return hearing.changes


def _run_on(hearing: Hearing, before: DisputeState) -> None:
    stopped = before.suspended_at or hearing.at
    for one in before.deadlines.values():
        left = one.due_at - max(stopped, one.set_at)
        extend(hearing, one, after(hearing.at, left), ",".join(before.suspended_by), "resumed")


@decides(MergeDispute)
def merge(command: MergeDispute, states: States, now: datetime) -> Changes:
    """Join a dispute to another; both are filed, so that nothing is frozen for either yet."""
    hearing = heard(command, states, now)
    if hearing.state.outcome is DisputeOutcome.MERGED:
        return hearing.changes
    lead = heard(_of_lead(command), states, now)
    one, other = hearing.state, lead.state
    for state in (one, other):
        guards.require_stage(state, e.DisputeMerged, "merge it")
        guards.require_running(state, "merge it")
    guards.require_impartial(one, command.by, "merge it")
    names = ("order_id", "claimant", "seller", "rule_book_hash")
    unequal = [name for name in names if getattr(one, name) != getattr(other, name)]
    if one.dispute_id == other.dispute_id or unequal or set(one.evidence) & set(other.evidence):
        raise Rejected(
            Reason.WRONG_STATE,
            f"disputes {one.dispute_id} and {other.dispute_id} cannot be heard together: they "
            f"{'differ in ' + ', '.join(unequal) if unequal else 'are one, or share evidence ids'}",
            dispute_id=one.dispute_id,
            into_dispute_id=other.dispute_id,
            fields=unequal,
        )
    guards.require_room(other, len(one.evidence))
    event = e.DisputeMerged(at=hearing.at, into=other.dispute_id, by=command.by)
    close(hearing, event, DisputeOutcome.MERGED, "dispute merged")
    lead.step(e.DisputeJoined(at=lead.at, dispute_id=one.dispute_id, claims=_claims_of(one)))
    for found in one.evidence.values():
        if not found.is_struck:
            lead.step(e.EvidenceSubmitted(at=lead.at, party=found.party, item=found.item))
    lead.on_order(_opened(lead.state))
    return (*hearing.changes, *lead.changes)


def _claims_of(state: DisputeState) -> tuple[ClaimedLine, ...]:
    return tuple([ClaimedLine(line_id, amount) for line_id, amount in state.claims.items()])


def _opened(state: DisputeState) -> DisputeOpened:
    """Return what tells the order that a dispute is open about all that it claims now."""
    return DisputeOpened(
        dispute_id=state.dispute_id, claimant=state.claimant, claims=_claims_of(state)
    )


def _of_lead(command: MergeDispute) -> MergeDispute:
    return MergeDispute(
        dispute_id=command.into_dispute_id,
        into_dispute_id=command.dispute_id,
        by=command.by,
        occurred_at=command.occurred_at,
    )


@decides(ExtendDisputeDeadline)
def extend_deadline(command: ExtendDisputeDeadline, states: States, now: datetime) -> Changes:
    """Give more time; raises NOT_FOUND for a deadline that is not open, or was extended."""
    guards.check_reason("reason", command.reason)
    hearing = heard(command, states, now)
    state = hearing.state
    one = state.deadlines.get(command.deadline_id)
    if one is None:
        raise guards.unknown(state, "open deadline", command.deadline_id)
    guards.require_running(state, "extend a deadline")
    guards.require_impartial(state, command.by, "extend a deadline")
    if command.due_at <= one.due_at:
        raise Rejected(
            Reason.WINDOW_CLOSED,
            f"deadline {one.deadline_id} of dispute {state.dispute_id} is at "
            f"{one.due_at.isoformat()}; {command.due_at.isoformat()} gives no more time",
            dispute_id=state.dispute_id,
            deadline_id=one.deadline_id,
            due_at=one.due_at.isoformat(),
        )
    extend(hearing, one, command.due_at, command.by, command.reason)
    return hearing.changes


@decides(PerformDisputeDeadline)
def perform_deadline(command: PerformDisputeDeadline, states: States, now: datetime) -> Changes:
    """Perform a deadline at its own instant; raises NOT_YET_DUE before it."""
    state = states.dispute(command.dispute_id)
    one = state.deadlines.get(command.deadline_id)
    if one is None or state.is_suspended:
        return ()
    hearing = Hearing(command.dispute_id, states, command, now)
    if hearing.at < one.due_at:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"deadline {one.deadline_id} of dispute {state.dispute_id} is due at "
            f"{one.due_at.isoformat()}, not before",
            dispute_id=state.dispute_id,
            deadline_id=one.deadline_id,
            due_at=one.due_at.isoformat(),
        )
    perform_until(hearing, one.due_at)
    return hearing.changes


@decides(AmendRuling)
def amend(command: AmendRuling, states: States, now: datetime) -> Changes:
    """Replace a final division; raises FOUR_EYES_REQUIRED if who asks approves."""
    guards.check_ruling_id("ruling_id", command.ruling_id)
    guards.check_reason("cause", command.cause)
    guards.check_allocations(command.allocations)
    hearing = heard(command, states, now)
    state = hearing.state
    content = RulingContent(
        dispute_id=state.dispute_id,
        ruling_id=command.ruling_id,
        allocations=command.allocations,
        remedy=state.remedy,
        reasons=command.cause,
        rule_refs=(),
        evidence=(),
        by=command.by,
        supersedes=command.supersedes,
    )
    made = hash_of_ruling(content)
    known = state.rulings.get(command.ruling_id)
    if known is not None:
        if known.ruling_hash == made:
            return hearing.changes
        raise guards.used(state, "ruling", command.ruling_id)
    guards.require_stage(state, r.RulingAmended, "amend its ruling")
    if command.supersedes != state.ruling_id:
        raise guards.unknown(state, "standing ruling", command.supersedes)
    for person in (command.by, command.approver):
        guards.require_impartial(state, person, "amend its ruling")
    if command.approver == command.by or not command.approver:
        raise Rejected(
            Reason.FOUR_EYES_REQUIRED,
            f"the amendment of dispute {state.dispute_id} asked for by {command.by} needs another "
            "approver",
            dispute_id=state.dispute_id,
            by=command.by,
        )
    if any(one.party is Party.BUYER and one.amount for one in command.allocations):
        guards.require_running(state, "rule for the buyer")
        guards.require_uncontested(state, states.order(state.order_id), "rule for the buyer")
    guards.require_whole(state, command.allocations)
    hearing.step(
        r.RulingAmended(
            at=hearing.at,
            ruling_id=command.ruling_id,
            supersedes=command.supersedes,
            allocations=command.allocations,
            cause=command.cause,
            by=command.by,
            approver=command.approver,
            ruling_hash=made,
        )
    )
    if state.stage is Stage.EXECUTED:
        _reopen(hearing)
    return hearing.changes


def _reopen(hearing: Hearing) -> None:
    """Tell the order that it is contested again, until the amendment is executed."""
    state = hearing.state
    if hearing.states.order(state.order_id).lifecycle is Lifecycle.COMPLETED:
        hearing.on_order(OrderReopened(cause="ruling amended", cause_event=hearing.stream))
    hearing.on_order(_opened(state))
    suspend_while_contested(hearing)


@decides(ResolveDisputeAnomaly)
def resolve_anomaly(command: ResolveDisputeAnomaly, states: States, now: datetime) -> Changes:
    """Close an open anomaly; raises NOT_FOUND if there is none of that key."""
    guards.check_reason("resolution", command.resolution)
    state = states.dispute(command.dispute_id)
    order_guards.check_open_anomaly(
        state.anomalies,
        command.anomaly_id,
        f"dispute {command.dispute_id}",
        dispute_id=command.dispute_id,
    )
    hearing = Hearing(command.dispute_id, states, command, now)
    event = AnomalyResolved(
        anomaly_id=command.anomaly_id, by=command.by, resolution=command.resolution
    )
    hearing.step(event)
    return hearing.changes
