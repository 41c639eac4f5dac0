"""
Decisions on approvals and alerts.
"""

import re
from datetime import datetime
from typing import Final

from orderledger.ledger import streams
from orderledger.ledger.approvals import ApprovalState, ApprovalStatus
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.risk_events import (
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    RiskAlertRaised,
    RiskAlertResolved,
)

from .decision import Change, Changes, States, decides
from .order_guards import check_amount, check_id, check_text
from .risk_commands import DenyApproval, GrantApproval, RaiseAlert, RequestApproval, ResolveAlert

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
APPROVAL_ID_LENGTH: Final = 32
"""Hex digits of a command's fingerprint that name its approval: 128 bits, as a UUID."""


@decides(RequestApproval)
def request(command: RequestApproval, states: States, now: datetime) -> Changes:
    """Ask; the same request again changes nothing, another one while it is open is refused."""
    _check_request(command, now)
    state = states.approval(command.approval_id)
    event = ApprovalRequested(
        approval_id=command.approval_id,
        command=command.command,
        fingerprint=command.fingerprint,
        amount=command.amount,
        currency=command.currency,
        reason=command.reason,
        requested_by=command.requested_by,
        expires_at=command.expires_at,
        rule_id=command.rule_id,
    )
    if state.is_open(now):
        if state.request == event:
            return ()
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"approval {command.approval_id} is {state.status.value} already, asked for by "
            f"{_requester(state)}",
            approval_id=command.approval_id,
            status=state.status.value,
        )
    return (Change(streams.approval(command.approval_id), event),)


def _check_request(command: RequestApproval, now: datetime) -> None:
    if _FINGERPRINT.fullmatch(command.fingerprint) is None:
        raise InvalidCommand(
            "fingerprint must be the 64 hex digits of the command's", field="fingerprint"
        )
    if command.approval_id != command.fingerprint[:APPROVAL_ID_LENGTH]:
        raise InvalidCommand(
            f"approval {command.approval_id:.130} is not of the command with fingerprint "
            f"{command.fingerprint}",
            field="approval_id",
        )
    # Zero is one: an order may cost nothing and still be the buyer's hundredth.
    check_amount("amount", command.amount, minimum=0)
    exponent(command.currency)
    check_id("command", command.command)
    check_id("requested_by", command.requested_by)
    check_text("reason", command.reason)
    if command.rule_id:
        check_id("rule_id", command.rule_id)
    _check_expiry(command.expires_at, now)


def _check_expiry(expires_at: datetime, now: datetime) -> None:
    if expires_at <= now:
        raise InvalidCommand(
            f"it would expire at {expires_at.isoformat()}, which is not after {now.isoformat()}",
            field="expires_at",
        )


@decides(GrantApproval)
def grant(command: GrantApproval, states: States, now: datetime) -> Changes:
    """
    Agree; raises WINDOW_CLOSED for a request that has lapsed, WRONG_STATE for one that is decided,
    FOUR_EYES_REQUIRED for the person who asked.
    """
    check_id("granted_by", command.granted_by)
    if command.note:
        check_text("note", command.note)
    state = _existing(states, command.approval_id)
    event = ApprovalGranted(
        approval_id=command.approval_id,
        granted_by=command.granted_by,
        expires_at=command.expires_at,
        note=command.note,
    )
    if state.status is ApprovalStatus.GRANTED and state.grant == event:
        return ()
    _require(state, command.approval_id, "grant", ApprovalStatus.REQUESTED)
    if not state.is_open(now):
        raise _lapsed(state, command.approval_id)
    if command.granted_by == _requester(state):
        raise Rejected(
            Reason.FOUR_EYES_REQUIRED,
            f"{command.granted_by} asked for approval {command.approval_id}; another person must "
            "grant it",
            approval_id=command.approval_id,
            requested_by=command.granted_by,
        )
    _check_expiry(command.expires_at, now)
    return (Change(streams.approval(command.approval_id), event),)


@decides(DenyApproval)
def deny(command: DenyApproval, states: States, now: datetime) -> Changes:
    """Refuse, or take back; raises WRONG_STATE for what was used."""
    check_id("denied_by", command.denied_by)
    check_text("reason", command.reason)
    state = _existing(states, command.approval_id)
    if state.status is ApprovalStatus.DENIED:
        return ()
    _require(state, command.approval_id, "deny", ApprovalStatus.REQUESTED, ApprovalStatus.GRANTED)
    event = ApprovalDenied(
        approval_id=command.approval_id, denied_by=command.denied_by, reason=command.reason
    )
    return (Change(streams.approval(command.approval_id), event),)


@decides(RaiseAlert)
def raise_alert(command: RaiseAlert, states: States, now: datetime) -> Changes:
    """Raise an alert; the same again changes nothing."""
    check_id("rule_id", command.rule_id)
    check_id("subject", command.subject)
    check_text("detail", command.detail)
    if command.stream:
        check_id("stream", command.stream)
    event = RiskAlertRaised(
        alert_id=command.alert_id,
        rule_id=command.rule_id,
        policy="",
        command="",
        subject=command.subject,
        detail=command.detail,
        stream=command.stream,
    )
    known = states.alert(command.alert_id).raised
    if known == event:
        return ()
    if known is not None:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"there is another alert {command.alert_id}, of rule {known.rule_id}",
            alert_id=command.alert_id,
        )
    return (Change(streams.alert(command.alert_id), event),)


@decides(ResolveAlert)
def resolve_alert(command: ResolveAlert, states: States, now: datetime) -> Changes:
    """Resolve an open alert; a second resolution changes nothing: the first stands."""
    check_id("by", command.by)
    check_text("resolution", command.resolution)
    state = states.alert(command.alert_id)
    if not state.exists:
        raise NotFound(f"there is no alert {command.alert_id}", alert_id=command.alert_id)
    if not state.is_open:
        return ()
    event = RiskAlertResolved(
        alert_id=command.alert_id, by=command.by, resolution=command.resolution
    )
    return (Change(streams.alert(command.alert_id), event),)


def _existing(states: States, approval_id: str) -> ApprovalState:
    state = states.approval(approval_id)
    if not state.exists:
        raise NotFound(f"nobody asked for approval {approval_id}", approval_id=approval_id)
    return state


def _requester(state: ApprovalState) -> str:
    return state.request.requested_by if state.request is not None else ""


def _require(state: ApprovalState, approval_id: str, action: str, *allowed: ApprovalStatus) -> None:
    if state.status not in allowed:
        raise Rejected(
            Reason.WRONG_STATE,
            f"approval {approval_id} is {state.status.value}; nobody can {action} it now",
            approval_id=approval_id,
            status=state.status.value,
        )


def _lapsed(state: ApprovalState, approval_id: str) -> Rejected:
    expires_at = state.expires_at
    said = "" if expires_at is None else expires_at.isoformat()
    return Rejected(
        Reason.WINDOW_CLOSED,
        f"the request for approval {approval_id} lapsed at {said}; ask again",
        approval_id=approval_id,
        expires_at=said,
    )
