"""
Every contradiction that was recorded, open or resolved. SQL view: ``anomalies``.
"""

from typing import Final

from orderledger.ledger.model_ports import Column, Kind, Table
from orderledger.ledger.order_events import AnomalyRaised, AnomalyResolved

from .models import ReadModel, Recorded, Rows

ANOMALIES: Final = Table(
    "anomalies",
    (
        Column("stream", Kind.TEXT),
        Column("anomaly_id", Kind.TEXT),
        Column("kind", Kind.TEXT),
        Column("severity", Kind.TEXT),
        Column("detail", Kind.TEXT),
        Column("is_open", Kind.BOOLEAN),
        Column("raised_count", Kind.INTEGER),
        Column("first_position", Kind.INTEGER),
        Column("raised_at", Kind.INSTANT),
        Column("resolved_at", Kind.INSTANT, is_optional=True),
        Column("resolved_by", Kind.TEXT),
        Column("resolution", Kind.TEXT),
    ),
    key_count=2,
    indexes=(("is_open", "severity", "raised_at"), ("kind",)),
)
"""One row per anomaly of a stream; ``raised_at`` and ``resolved_at`` are the engine's clock."""


class Anomalies(ReadModel):
    """The read model ``anomalies``."""

    name = "anomalies"
    version = 1
    tables = (ANOMALIES,)
    topics = frozenset({"anomaly.raised.v1", "anomaly.resolved.v1"})

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
