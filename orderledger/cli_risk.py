"""Commands about risk: approvals that wait or were decided, and alerts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common, money
from .cli_tables import Columns, Row

if TYPE_CHECKING:
    from orderledger.projections.alerts import AlertRow
    from orderledger.projections.approvals import ApprovalRow

_APPROVALS: Final = Columns(
    ("approval_id", "status", "command", "amount", "requested_by", "expires_at", "reason"),
    numeric=("amount",),
    giving_way=("reason", "expires_at"),
)
_ALERTS: Final = Columns(
    ("alert_id", "open", "rule_id", "subject", "raised_at", "detail"),
    giving_way=("detail", "open"),
)


@click.group()
def approval() -> None:
    """Look at approvals by a second person."""


@approval.command("list")
@click.option(
    "--status",
    type=click.Choice(["requested", "granted", "denied", "used"]),
    help="Only those that stand so.",
)
@common
def approval_list(session: Session, status: str | None) -> None:
    """
    List the approvals that were asked for.

    By id; the rows catch up first. What has expired keeps its status: compare expires_at with now.
    """
    from orderledger.projections.approvals import ApprovalRow

    models = session.reading.models
    models.catch_up("approvals")
    found = (
        models.select(ApprovalRow) if status is None else models.select(ApprovalRow, status=status)
    )
    session.rows((_approval(one) for one in found), _APPROVALS)


@approval.command("show")
@click.argument("approval_id", metavar="ID")
@common
def approval_show(session: Session, approval_id: str) -> None:
    """Show an approval and every round of it, in the order in which it went."""
    from orderledger.ledger import streams
    from orderledger.ledger.errors import NotFound
    from orderledger.projections.approvals import ApprovalRow

    models = session.reading.models
    models.catch_up("approvals")
    found = models.get(ApprovalRow, approval_id)
    if found is None:
        raise NotFound(f"nobody asked for approval {approval_id}", approval_id=approval_id)
    history = session.reading.history(streams.approval(approval_id))
    steps = [f"{one.occurred_at.isoformat()} {one.topic}" for one in history]
    shown = _approval(found)
    if session.is_json:
        session.record({**shown, "history": steps})
        return
    session.record({**shown, "history": "\n".join(steps)})


@click.group()
def alert() -> None:
    """Look at alerts of the risk rules."""


@alert.command("list")
@click.option("--open/--all", "is_open", default=True, show_default=True, help="Which of them.")
@common
def alert_list(session: Session, *, is_open: bool) -> int:
    """
    List alerts.

    The rows catch up first. Exit status 1 if any is open.
    """
    from orderledger.projections.alerts import AlertRow

    models = session.reading.models
    models.catch_up("alerts")
    open_count = 0

    def rows() -> Iterator[Row]:
        nonlocal open_count
        found = models.select(AlertRow, is_open=True) if is_open else models.select(AlertRow)
        for one in found:
            open_count += one.is_open
            yield _alert(one)

    session.rows(rows(), _ALERTS)
    return 1 if open_count else 0


def _approval(one: "ApprovalRow") -> Row:
    return {
        "approval_id": one.approval_id,
        "status": one.status,
        "command": one.command,
        "minor": one.amount,
        "currency": one.currency,
        "amount": f"{money(one.amount, one.currency)} {one.currency}" if one.currency else "",
        "rule_id": one.rule_id,
        "reason": one.reason,
        "requested_by": one.requested_by,
        "decided_by": one.decided_by,
        "note": one.note,
        "expires_at": one.expires_at,
        "used_key": one.used_key,
        "fingerprint": one.fingerprint,
        "rounds": one.rounds,
    }


def _alert(one: "AlertRow") -> Row:
    return {
        "alert_id": one.alert_id,
        "open": one.is_open,
        "rule_id": one.rule_id,
        "policy": one.policy,
        "command": one.command,
        "subject": one.subject,
        "stream": one.stream,
        "detail": one.detail,
        "count": one.count,
        "minor": one.amount,
        "currency": one.currency,
        "known_position": one.known_position,
        "raised_at": one.raised_at,
        "resolved_at": one.resolved_at,
        "resolved_by": one.resolved_by,
        "resolution": one.resolution,
    }
