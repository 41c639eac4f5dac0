"""
Decisions on external arbitration: referral, opting in, and the award that is reported.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import dispute_ruling_events as r
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised, spelled
from orderledger.ledger.dispute_content import RulingContent, hash_of_ruling
from orderledger.ledger.dispute_events import DeadlineKind
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_hearing import Hearing, await_appeal, heard, perform_until, set_deadline
from .ruling_commands import OptInExternally, RecordExternalAward, ReferExternally

_WHOLE: Final = 10_000
"""Basis points of the whole fee."""


@decides(ReferExternally)
def refer(command: ReferExternally, states: States, now: datetime) -> Changes:
    """Hand a dispute to an outside body; raises WRONG_STATE where the book offers none."""
    guards.check_reason("body", command.body)
    guards.check_reason("case_ref", command.case_ref)
    if not 0 <= command.buyer_fee_basis_points <= _WHOLE:
        raise InvalidCommand(
            f"buyer_fee_basis_points is {command.buyer_fee_basis_points}, it must be from 0 to "
            f"{_WHOLE}",
            field="buyer_fee_basis_points",
        )
    hearing = heard(command, states, now)
    state = hearing.state
    if state.referral is not None:
        terms = ("body", "case_ref", "buyer_fee_basis_points")
        if guards.repeats(command, state.referral, *terms):
            return hearing.changes
        raise guards.used(state, "the referral", state.referral.case_ref)
    guards.require_stage(state, r.DisputeReferredToExternalBody, "refer it to an outside body")
    guards.require_running(state, "refer it to an outside body")
    guards.require_impartial(state, command.by, "refer it")
    rules = state.rule_book.external
    if rules is None:
        raise Rejected(
            Reason.WRONG_STATE,
            f"rule book {state.rule_book.reference('external')} of dispute {state.dispute_id} "
            "offers no external arbitration",
            dispute_id=state.dispute_id,
        )
    hearing.step(
        r.DisputeReferredToExternalBody(
            at=hearing.at,
            body=command.body,
            case_ref=command.case_ref,
            buyer_fee_basis_points=command.buyer_fee_basis_points,
            by=command.by,
        )
    )
    set_deadline(hearing, DeadlineKind.OPT_IN, rules.opt_in_hours, "external.opt_in_hours")
    return hearing.changes


@decides(OptInExternally)
def opt_in(command: OptInExternally, states: States, now: datetime) -> Changes:
    """Record that a side opted in and paid."""
    guards.check_side(command.party)
    guards.check_reason("payment_ref", command.payment_ref)
    hearing = heard(command, states, now)
    state = hearing.state
    known = state.opted_in.get(command.party)
    if known is not None:
        if known == command.payment_ref:
            return hearing.changes
        raise guards.used(state, f"the payment of the {command.party}", known)
    guards.require_stage(state, r.ExternalOptedIn, "opt in")
    guards.require_running(state, "opt in")
    hearing.step(
        r.ExternalOptedIn(at=hearing.at, party=command.party, payment_ref=command.payment_ref)
    )
    return hearing.changes


@decides(RecordExternalAward)
def record_award(command: RecordExternalAward, states: States, now: datetime) -> Changes:
    """Record an award; it binds, unless it contradicts what is known, which raises an anomaly."""
    guards.check_ruling_id("award_id", command.award_id)
    order_guards.check_text("body", command.body)
    order_guards.check_text("case_ref", command.case_ref)
    guards.check_allocations(command.allocations)
    hearing = Hearing(command.dispute_id, states, command, now)
    perform_until(hearing, hearing.at)
    state = hearing.state
    known = state.external_awards.get(command.award_id)
    if known is not None:
        if guards.repeats(command, known, "body", "case_ref", "allocations"):
            return ()
        return _contradicting(command, hearing, AnomalyKind.AWARD_REPORTED_OTHERWISE)
    contradiction = _contradiction(command, state)
    event = r.ExternalAwardReceived(
        at=hearing.at,
        award_id=command.award_id,
        body=command.body,
        case_ref=command.case_ref,
        allocations=command.allocations,
        is_applied=not contradiction,
        ruling_hash="" if contradiction else _hash(command, state),
    )
    hearing.step(event)
    if contradiction:
        return _contradicting(command, hearing, contradiction)
    await_appeal(hearing, is_binding=True)
    return hearing.changes


def _contradiction(command: RecordExternalAward, state: DisputeState) -> AnomalyKind | None:
    if not state.exists:
        return AnomalyKind.AWARD_FOR_UNKNOWN_DISPUTE
    if state.stage is not Stage.EXTERNAL or state.referral is None:
        return AnomalyKind(spelled(f"award_while_{state.stage.value}"))
    if (state.referral.body, state.referral.case_ref) != (command.body, command.case_ref):
        return AnomalyKind.AWARD_OF_ANOTHER_CASE
    if sum([one.amount for one in command.allocations]) != state.claimed:
        return AnomalyKind.AWARD_DOES_NOT_ADD_UP
    return AnomalyKind.AWARD_ID_IN_USE if command.award_id in state.rulings else None


def _contradicting(command: RecordExternalAward, hearing: Hearing, kind: AnomalyKind) -> Changes:
    shares = ", ".join([f"{one.party} {one.amount}" for one in command.allocations])
    anomaly = AnomalyRaised(
        kind=kind,
        refs=(hearing.stream, command.award_id),
        severity="error",
        detail=f"award {command.award_id} of {command.body} in case {command.case_ref}: {shares}",
    )
    if anomaly.key not in hearing.state.anomalies:
        hearing.step(anomaly)
    return hearing.changes


def _hash(command: RecordExternalAward, state: DisputeState) -> str:
    content = RulingContent(
        dispute_id=state.dispute_id,
        ruling_id=command.award_id,
        allocations=command.allocations,
        remedy=state.remedy,
        reasons=command.case_ref,
        rule_refs=(state.rule_book.reference("external"),),
        evidence=(),
        by=command.body,
    )
    return hash_of_ruling(content)
