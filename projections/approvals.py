"""
Approvals that were asked for: what waits, what was decided, what was used. SQL view: ``approvals``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.approvals import ApprovalState
from orderledger.ledger.model_ports import Key, Row, Table

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("approvals", indexes=(("status", "expires_at"),))
class ApprovalRow(TableRow, frozen=True):
    """
    One row per approval, as its last round left it.

    ``amount`` is in minor units of ``currency``. ``expires_at`` is when the request lapses, or what
    was granted; a row does not change by time alone: compare it with now.
    """

    approval_id: str
    status: str
    command: str
    amount: Amount
    currency: str
    rule_id: str
    reason: str
    requested_by: str
    decided_by: str
    note: str
    expires_at: datetime | None
    used_key: str
    fingerprint: str
    rounds: int


APPROVALS: Final = ApprovalRow.table


class Approvals(ReadModel):
    """The read model ``approvals``."""

    name = "approvals"
    version = 1
    tables = (APPROVALS,)
    topics = frozenset(
        {"approval.requested.v1", "approval.granted.v1", "approval.denied.v1", "approval.used.v1"}
    )
    folds = frozenset({"approval"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Have the row made from the approval's state."""
        rows.touch(APPROVALS, (recorded.entity_id,))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of an approval."""
        state = cast(ApprovalState, rows.state(streams.approval(str(key[0]))))
        request = state.request
        if request is None:
            return None
        return (
            key[0],
            state.status.value,
            request.command,
            request.amount,
            request.currency,
            request.rule_id,
            request.reason,
            request.requested_by,
            state.decided_by,
            state.note,
            state.expires_at,
            state.used_key,
            request.fingerprint,
            state.rounds,
        )
