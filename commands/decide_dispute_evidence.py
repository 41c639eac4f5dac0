"""
Decisions on the evidence of a dispute: what is asked for, brought, struck out and waived.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import dispute_events as e
from orderledger.ledger.dispute_events import DeadlineKind
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import HEARD, Stage
from orderledger.ledger.disputes import DisputeState, Running
from orderledger.ledger.errors import Reason, Rejected

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_commands import CloseEvidence, RequestEvidence, StrikeEvidence, SubmitEvidence
from .dispute_hearing import Hearing, close_window, extend, heard, set_deadline_at

EARLY: Final = frozenset({Stage.FILED, Stage.NEGOTIATING, *HEARD})
"""Stages in which evidence is in time unless its side's window is closed."""


@decides(SubmitEvidence)
def submit(command: SubmitEvidence, states: States, now: datetime) -> Changes:
    """Add a piece of evidence, whatever the stage; what comes late is marked, not refused."""
    guards.check_evidence((command.item,))
    hearing = heard(command, states, now)
    state = hearing.state
    known = state.evidence.get(command.item.evidence_id)
    if known is not None:
        if (known.item, known.party) == (command.item, command.party):
            return hearing.changes
        raise guards.used(state, "evidence", command.item.evidence_id)
    guards.require_room(state, 1)
    is_late = command.party in state.evidence_closed or state.stage not in EARLY
    hearing.step(
        e.EvidenceSubmitted(at=hearing.at, party=command.party, item=command.item, is_late=is_late)
    )
    return hearing.changes


@decides(StrikeEvidence)
def strike(command: StrikeEvidence, states: States, now: datetime) -> Changes:
    """Strike out a piece of evidence before it can be relied on."""
    guards.check_reason("reason", command.reason)
    hearing = heard(command, states, now)
    state = hearing.state
    found = state.evidence.get(command.evidence_id)
    if found is None:
        raise guards.unknown(state, "evidence", command.evidence_id)
    if found.is_struck:
        return hearing.changes
    guards.require_stage(state, e.EvidenceStruck, "strike evidence out")
    guards.require_impartial(state, command.by, "strike evidence out")
    hearing.step(
        e.EvidenceStruck(
            at=hearing.at, evidence_id=command.evidence_id, reason=command.reason, by=command.by
        )
    )
    return hearing.changes


@decides(RequestEvidence)
def request(command: RequestEvidence, states: States, now: datetime) -> Changes:
    """Ask a side for evidence; its window is extended, or opened again, until then."""
    order_guards.check_id("request_id", command.request_id)
    guards.check_side(command.party)
    guards.check_list("items", command.items, required=True)
    hearing = heard(command, states, now)
    state = hearing.state
    known = state.requests.get(command.request_id)
    if known is not None:
        if guards.repeats(command, known, "party", "items", "due_at", "by"):
            return hearing.changes
        raise guards.used(state, "request", command.request_id)
    guards.require_stage(state, e.EvidenceRequested, "ask for evidence")
    guards.require_running(state, "ask for evidence")
    guards.require_impartial(state, command.by, "ask for evidence")
    if command.due_at <= hearing.at:
        raise Rejected(
            Reason.WINDOW_CLOSED,
            f"request {command.request_id} in dispute {state.dispute_id} is due at "
            f"{command.due_at.isoformat()}, which is over",
            dispute_id=state.dispute_id,
            due_at=command.due_at.isoformat(),
        )
    hearing.step(
        e.EvidenceRequested(
            at=hearing.at,
            request_id=command.request_id,
            party=command.party,
            items=command.items,
            due_at=command.due_at,
            by=command.by,
        )
    )
    _lengthen(hearing, command)
    return hearing.changes


def _lengthen(hearing: Hearing, command: RequestEvidence) -> None:
    window = _window_of(hearing.state, command.party)
    if window is None:
        rule_ref = f"request:{command.request_id}"
        set_deadline_at(hearing, DeadlineKind.EVIDENCE, command.due_at, rule_ref, command.party)
    elif window.due_at < command.due_at:
        reason = f"request {command.request_id}"
        extend(hearing, window, command.due_at, command.by, reason)


def _window_of(state: DisputeState, party: Party) -> Running | None:
    return next(
        (
            one
            for one in state.deadlines.values()
            if one.kind is DeadlineKind.EVIDENCE and one.party is party
        ),
        None,
    )


@decides(CloseEvidence)
def waive(command: CloseEvidence, states: States, now: datetime) -> Changes:
    """Close one's own evidence window before its end."""
    guards.check_side(command.party)
    hearing = heard(command, states, now)
    if command.party in hearing.state.evidence_closed:
        return hearing.changes
    guards.require_stage(hearing.state, e.EvidenceWindowClosed, "waive evidence")
    guards.require_running(hearing.state, "waive evidence")
    close_window(hearing, command.party, is_waived=True)
    return hearing.changes
