"""
Every contradiction that was recorded, open or resolved. SQL view: ``anomalies``.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger.anomalies import AnomalyRaised, AnomalyResolved

from .models import ReadModel, Recorded, Rows
from .tables import TableRow, table


@table("anomalies", key_count=2, indexes=(("is_open", "severity", "raised_at"), ("kind",)))
class AnomalyRow(TableRow, frozen=True):
    """
    One row per anomaly of a stream; ``raised_at`` and ``resolved_at`` are the engine's clock.

    ``raised_count`` counts how often it was raised, ``first_position`` is where it first was.
    """

    stream: str
    anomaly_id: str
    kind: str
    severity: str
    detail: str
    is_open: bool
    raised_count: int
    first_position: int
    raised_at: datetime
    resolved_at: datetime | None
    resolved_by: str
    resolution: str


ANOMALIES: Final = AnomalyRow.table


class Anomalies(ReadModel):
    """The read model ``anomalies``."""

    name = "anomalies"
    version = 2
    tables = (ANOMALIES,)
    topics = frozenset({"anomaly.raised.v2", "anomaly.resolved.v2"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Open an anomaly, open it again, or close it."""
        event, stream = recorded.event, recorded.stream
        if isinstance(event, AnomalyRaised):
            before = rows.get(ANOMALIES, (stream, event.key))
            count = before[6] if before is not None else 0
            first, raised_at = recorded.position, recorded.recorded_at
            if before is not None:
                first, raised_at = before[7], before[8]  # type: ignore[assignment]  # same columns
            assert isinstance(count, int)
            rows.put(
                ANOMALIES,
                (
                    stream,
                    event.key,
                    event.kind,
                    event.severity,
                    event.detail,
                    True,
                    count + 1,
                    first,
                    raised_at,
                    None,
                    "",
                    "",
                ),
            )
        elif isinstance(event, AnomalyResolved):
            before = rows.get(ANOMALIES, (stream, event.anomaly_id))
            if before is not None:
                closed = (recorded.recorded_at, event.by, event.resolution)
                rows.put(ANOMALIES, (*before[:5], False, *before[6:9], *closed))
