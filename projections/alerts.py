"""
Alerts of the risk rules, open or resolved. SQL view: ``alerts``.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger.risk_events import RiskAlertRaised, RiskAlertResolved

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("alerts", indexes=(("is_open", "raised_at"), ("rule_id",), ("subject",)))
class AlertRow(TableRow, frozen=True):
    """
    One row per alert; ``raised_at`` and ``resolved_at`` are the engine's clock.

    ``count`` and ``amount`` (minor units of ``currency``) are what was known of the subject up to
    ``known_position`` when the rule was asked.
    """

    alert_id: str
    is_open: bool
    rule_id: str
    policy: str
    command: str
    subject: str
    stream: str
    detail: str
    count: int
    amount: Amount
    currency: str
    known_position: int
    raised_at: datetime
    resolved_at: datetime | None
    resolved_by: str
    resolution: str


ALERTS: Final = AlertRow.table


class Alerts(ReadModel):
    """The read model ``alerts``."""

    name = "alerts"
    version = 1
    tables = (ALERTS,)
    topics = frozenset({"risk.alert_raised.v1", "risk.alert_resolved.v1"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Open an alert, or close it; the first raising stands."""
        event, key = recorded.event, (recorded.entity_id,)
        before = rows.get(ALERTS, key)
        if isinstance(event, RiskAlertRaised) and before is None:
            said = (event.rule_id, event.policy, event.command, event.subject, event.stream)
            known = (event.count, event.amount, event.currency, event.known_position)
            opened = (recorded.recorded_at, None, "", "")
            rows.put(ALERTS, (*key, True, *said, event.detail, *known, *opened))
        elif isinstance(event, RiskAlertResolved) and before is not None:
            closed = (recorded.recorded_at, event.by, event.resolution)
            rows.put(ALERTS, (*key, False, *before[2:13], *closed))
