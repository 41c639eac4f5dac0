"""
The fold of a dispute's stream: what each step does to the state.

Which event leads to which stage stands in ``dispute_stages``, and is taken from there.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from . import dispute_events as e
from . import dispute_ruling_events as r
from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .dispute_content import DisputeOutcome, EvidenceItem
from .dispute_events import DeadlineKind
from .dispute_parties import Party
from .dispute_stages import ALIVE_IN, TRANSITIONS
from .disputes import DisputeState, Evidence, Leg, Panel, Proposal, Ruling, Running
from .events import Event


def _filed(state: DisputeState, event: e.DisputeFiled) -> DisputeState:
    return replace(
        state,
        dispute_id=event.dispute_id,
        order_id=event.order_id,
        currency=event.currency,
        buyer_ref=event.buyer_ref,
        seller=event.seller,
        claimant=event.claimant,
        claims={claim.line_id: claim.amount for claim in event.claims},
        claimed=event.claimed,
        remedy=event.remedy,
        reason=event.reason,
        filed=event,
        rule_book=event.rule_book,
        rule_book_hash=event.rule_book_hash,
        evidence=_with(state, event.evidence, event.claimant, event.at),
    )


def _with(
    state: DisputeState, items: tuple[EvidenceItem, ...], party: Party, at: datetime
) -> Mapping[str, Evidence]:
    added = {item.evidence_id: Evidence(item, party, at) for item in items}
    return {**added, **state.evidence}


def _accepted(state: DisputeState, event: e.DisputeAccepted) -> DisputeState:
    return replace(state, accepted_at=event.at, frozen=event.frozen)


def _ended(outcome: DisputeOutcome) -> Callable[[DisputeState, Event], DisputeState]:
    return lambda state, _event: replace(state, outcome=outcome)


def _joined(state: DisputeState, event: e.DisputeJoined) -> DisputeState:
    claims = {claim.line_id: claim.amount for claim in event.claims}
    return replace(
        state,
        claims={**state.claims, **claims},
        claimed=state.claimed + sum(claims.values()),
        joined=(*state.joined, event.dispute_id),
    )


def _answered(state: DisputeState, event: e.RespondentAnswered) -> DisputeState:
    return _met(replace(state, answer=event), DeadlineKind.RESPONSE)


def _offered(state: DisputeState, event: e.SettlementOffered) -> DisputeState:
    return replace(state, offers={**state.offers, event.offer_id: event})


def _agreed(state: DisputeState, event: e.SettlementAgreed) -> DisputeState:
    return replace(state, settlement=event)


def _requested(state: DisputeState, event: e.EvidenceRequested) -> DisputeState:
    # A side that is asked for more may bring it: its window is open again.
    closed = {side: missed for side, missed in state.evidence_closed.items() if side != event.party}
    requests = {**state.requests, event.request_id: event}
    return replace(state, requests=requests, evidence_closed=closed)


def _submitted(state: DisputeState, event: e.EvidenceSubmitted) -> DisputeState:
    if event.item.evidence_id in state.evidence:
        return state
    added = Evidence(event.item, event.party, event.at, event.is_late)
    return replace(state, evidence={**state.evidence, event.item.evidence_id: added})


def _struck(state: DisputeState, event: e.EvidenceStruck) -> DisputeState:
    before = state.evidence.get(event.evidence_id)
    if before is None:
        return state
    struck = replace(before, struck=event.reason, is_struck=True)
    return replace(state, evidence={**state.evidence, event.evidence_id: struck})


def _window_closed(state: DisputeState, event: e.EvidenceWindowClosed) -> DisputeState:
    closed = {**state.evidence_closed, event.party: event.is_missed}
    return _met(replace(state, evidence_closed=closed), DeadlineKind.EVIDENCE, event.party)


def _mediated(state: DisputeState, event: e.MediationStarted) -> DisputeState:
    return replace(state, mediator=event.mediator)


def _proposed(state: DisputeState, event: e.MediationProposalMade) -> DisputeState:
    return replace(state, proposals={**state.proposals, event.proposal_id: Proposal(event)})


def _proposal_answered(state: DisputeState, event: e.ProposalAnswered) -> DisputeState:
    before = state.proposals.get(event.proposal_id)
    if before is None:
        return state
    answered = replace(before, answers={**before.answers, event.party: event.is_accepted})
    return replace(state, proposals={**state.proposals, event.proposal_id: answered})


def _of_panel(
    change: Callable[[Panel, Any], Panel],
) -> Callable[[DisputeState, Any], DisputeState]:
    def evolve(state: DisputeState, event: Any) -> DisputeState:
        if event.is_appeal:
            return replace(state, appeal_panel=change(state.appeal_panel, event))
        return replace(state, panel=change(state.panel, event))

    return evolve


def _assigned(panel: Panel, event: r.ArbitratorsAssigned) -> Panel:
    return replace(panel, members=event.arbitrators, quorum=event.quorum)


def _recused(panel: Panel, event: r.ArbitratorRecused) -> Panel:
    return replace(
        panel,
        members=tuple([one for one in panel.members if one != event.arbitrator]),
        recused=(*[one for one in panel.recused if one != event.arbitrator], event.arbitrator),
        votes={one: vote for one, vote in panel.votes.items() if one != event.arbitrator},
    )


def _voted(panel: Panel, event: r.VoteCast) -> Panel:
    return replace(
        panel,
        votes={**panel.votes, event.arbitrator: event.commitment},
        cast={**panel.cast, event.vote_id: (event.arbitrator, event.commitment)},
    )


def _ruled(state: DisputeState, event: r.RulingIssued | r.DefaultRulingIssued) -> DisputeState:
    ruling = Ruling(event.ruling_id, event.at, event.allocations, event.remedy, event.ruling_hash)
    return _standing(state, ruling)


def _standing(state: DisputeState, ruling: Ruling) -> DisputeState:
    rulings = {**state.rulings, ruling.ruling_id: ruling}
    return replace(state, rulings=rulings, ruling_id=ruling.ruling_id)


def _referred(state: DisputeState, event: r.DisputeReferredToExternalBody) -> DisputeState:
    return replace(state, referral=event)


def _opted_in(state: DisputeState, event: r.ExternalOptedIn) -> DisputeState:
    after = replace(state, opted_in={**state.opted_in, event.party: event.payment_ref})
    return _met(after, DeadlineKind.OPT_IN) if len(after.opted_in) == 2 else after


def _awarded(state: DisputeState, event: r.ExternalAwardReceived) -> DisputeState:
    awards = {**state.external_awards, event.award_id: event}
    after = replace(state, external_awards=awards)
    if not event.is_applied:
        return after
    remedy = state.remedy
    ruling = Ruling(event.award_id, event.at, event.allocations, remedy, event.ruling_hash)
    return _standing(after, ruling)


def _appealed(state: DisputeState, event: r.AppealFiled) -> DisputeState:
    return replace(state, appeals={**state.appeals, event.appeal_id: event})


def _appeal_decided(state: DisputeState, event: r.AppealDecided) -> DisputeState:
    ruling = Ruling(
        event.ruling_id,
        event.at,
        event.allocations,
        event.remedy,
        event.ruling_hash,
        event.supersedes,
        event.outcome,
        is_final=True,
    )
    return _standing(state, ruling)


def _final(state: DisputeState, event: r.RulingBecameFinal) -> DisputeState:
    ruling = state.rulings.get(event.ruling_id)
    return state if ruling is None else _standing(state, replace(ruling, is_final=True))


def _amended(state: DisputeState, event: r.RulingAmended) -> DisputeState:
    rulings = dict(state.rulings)
    before = rulings.get(event.supersedes)
    if before is not None:
        rulings[event.supersedes] = replace(before, is_final=False)
    remedy = state.remedy if before is None else before.remedy
    ruling = Ruling(
        event.ruling_id,
        event.at,
        event.allocations,
        remedy,
        event.ruling_hash,
        event.supersedes,
        is_final=True,
    )
    return _standing(replace(state, rulings=rulings, legs={}, outcome=None), ruling)


def _started(state: DisputeState, event: r.RulingExecutionStarted) -> DisputeState:
    legs = {one.leg_id: Leg(one.leg_id, one.party, one.amount) for one in event.legs}
    return replace(state, legs=legs, executions=(*state.executions, event.award_id))


def _leg_done(state: DisputeState, event: r.RulingExecutionLegDone) -> DisputeState:
    leg = state.legs.get(event.leg_id)
    if leg is None or leg.is_done:
        return state
    done = replace(leg, is_done=True, operation_ref=event.operation_ref)
    return replace(state, legs={**state.legs, event.leg_id: done})


def _leg_failed(state: DisputeState, event: r.RulingExecutionLegFailed) -> DisputeState:
    leg = state.legs.get(event.leg_id)
    if leg is None or leg.is_done:
        return state
    failed = replace(leg, failures=leg.failures + 1, operation_ref=event.operation_ref)
    return replace(state, legs={**state.legs, event.leg_id: failed})


def _executed(state: DisputeState, _event: r.RulingExecuted) -> DisputeState:
    ruled = DisputeOutcome.RULED if state.rulings else DisputeOutcome.SETTLED
    return replace(state, outcome=ruled)


def _suspended(state: DisputeState, event: e.DisputeSuspended) -> DisputeState:
    if event.by in state.suspended_by:
        return state
    since = state.suspended_at if state.suspended_by else event.at
    return replace(state, suspended_by=(*state.suspended_by, event.by), suspended_at=since)


def _resumed(state: DisputeState, event: e.DisputeResumed) -> DisputeState:
    left = tuple([one for one in state.suspended_by if one != event.by])
    return replace(state, suspended_by=left, suspended_at=state.suspended_at if left else None)


def _deadline_set(state: DisputeState, event: e.DeadlineSet) -> DisputeState:
    one = Running(
        event.deadline_id, event.kind, event.party, event.at, event.due_at, event.rule_ref
    )
    return _running(state, one, state.deadlines)


def _deadline_extended(state: DisputeState, event: e.DeadlineExtended) -> DisputeState:
    before = state.deadlines.get(event.deadline_id)
    if before is None:
        return state
    left = {key: one for key, one in state.deadlines.items() if key != event.deadline_id}
    after = replace(before, deadline_id=event.new_deadline_id, set_at=event.at, due_at=event.due_at)
    return _running(state, after, left)


def _running(state: DisputeState, one: Running, others: Mapping[str, Running]) -> DisputeState:
    until = one.due_at if one.kind is DeadlineKind.APPEAL else state.appeal_until
    return replace(
        state,
        deadlines={**others, one.deadline_id: one},
        deadline_count=state.deadline_count + 1,
        appeal_until=until,
    )


def _deadline_missed(state: DisputeState, event: e.DeadlineMissed) -> DisputeState:
    left = {key: one for key, one in state.deadlines.items() if key != event.deadline_id}
    return replace(state, deadlines=left)


def _met(state: DisputeState, kind: DeadlineKind, party: Party | None = None) -> DisputeState:
    left = {
        key: one
        for key, one in state.deadlines.items()
        if one.kind is not kind or party not in (None, one.party)
    }
    return replace(state, deadlines=left)


def _unchanged(state: DisputeState, _event: Event) -> DisputeState:
    return state


def _anomaly(state: DisputeState, event: AnomalyRaised | AnomalyResolved) -> DisputeState:
    return replace(state, anomalies=open_anomalies(state.anomalies, event))


def _step(change: Callable[[DisputeState, Any], DisputeState]) -> Callable[[Any, Any], Any]:
    """Return an evolve function that also goes to the stage which the table of stages names."""

    def evolve(state: DisputeState, event: e.DisputeEvent) -> DisputeState:
        after = change(state, event)
        as_of = max(state.as_of, event.at)
        target = TRANSITIONS[type(event)].target
        applies = not isinstance(event, r.ExternalAwardReceived) or event.is_applied
        if target is None or target is state.stage or not applies:
            return replace(after, as_of=as_of)
        left = {key: one for key, one in after.deadlines.items() if target in ALIVE_IN[one.kind]}
        return replace(after, stage=target, stage_since=event.at, as_of=as_of, deadlines=left)

    return evolve


_CHANGES: Final[Mapping[type[Event], Callable[[DisputeState, Any], DisputeState]]] = {
    e.DisputeFiled: _filed,
    e.DisputeAccepted: _accepted,
    e.DisputeDeclinedInadmissible: _ended(DisputeOutcome.INADMISSIBLE),
    e.DisputeMerged: _ended(DisputeOutcome.MERGED),
    e.DisputeJoined: _joined,
    e.RespondentAnswered: _answered,
    e.SettlementOffered: _offered,
    e.SettlementAgreed: _agreed,
    e.DisputeEscalated: _unchanged,
    e.DisputeLapsed: _ended(DisputeOutcome.LAPSED),
    e.EvidenceRequested: _requested,
    e.EvidenceSubmitted: _submitted,
    e.EvidenceStruck: _struck,
    e.EvidenceWindowClosed: _window_closed,
    e.MediationStarted: _mediated,
    e.MediationProposalMade: _proposed,
    e.ProposalAnswered: _proposal_answered,
    e.MediationFailed: _unchanged,
    r.ArbitrationOpened: _unchanged,
    r.ArbitratorsAssigned: _of_panel(_assigned),
    r.ArbitratorRecused: _of_panel(_recused),
    r.VoteCast: _of_panel(_voted),
    r.RulingIssued: _ruled,
    r.DefaultRulingIssued: _ruled,
    r.DisputeReferredToExternalBody: _referred,
    r.ExternalOptedIn: _opted_in,
    r.ExternalAwardReceived: _awarded,
    r.AppealFiled: _appealed,
    r.AppealDecided: _appeal_decided,
    r.RulingBecameFinal: _final,
    r.RulingAmended: _amended,
    r.RulingExecutionStarted: _started,
    r.RulingExecutionLegDone: _leg_done,
    r.RulingExecutionLegFailed: _leg_failed,
    r.RulingExecuted: _executed,
    e.DisputeWithdrawn: _ended(DisputeOutcome.WITHDRAWN),
    e.DisputeSuperseded: _ended(DisputeOutcome.SUPERSEDED),
    e.DisputeSuspended: _suspended,
    e.DisputeResumed: _resumed,
    e.DeadlineSet: _deadline_set,
    e.DeadlineExtended: _deadline_extended,
    e.DeadlineMissed: _deadline_missed,
}

EVOLVE: Final[Mapping[type[Event], Callable[[Any, Any], Any]]] = {
    **{kind: _step(change) for kind, change in _CHANGES.items()},
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
"""One function per event of the stream: ``EVOLVE[type(event)](state, event)``."""
