"""
Where the velocity rules of a risk policy look: the rows of the read model ``risk_velocity``.
"""

from datetime import datetime, timedelta
from typing import Final

from orderledger.ledger.model_ports import Key
from orderledger.ledger.risk_rules import Seen, VelocityRule
from orderledger.projections.read_models import ReadModels
from orderledger.projections.risk_velocity import RiskVelocityRow, hour_of

MODEL: Final = "risk_velocity"
_HOUR: Final = timedelta(hours=1)


class VelocityRows:
    """Reads what is there and catches nothing up: a command must not wait for a read model."""

    def __init__(self, models: ReadModels) -> None:
        self._models: Final = models

    def seen(self, rule: VelocityRule, subject: str, now: datetime) -> Seen:
        """
        Return what is known of a subject within a rule's window.

        The hour in which the window begins counts whole.
        """
        # Before the rows are read: they show at least that.
        position = self._models.position(MODEL)
        start = hour_of(now - rule.window_hours * _HOUR)
        where = {
            "subject_kind": rule.subject.value,
            "subject": subject,
            "measure": rule.measure.value,
            "currency": rule.currency,
        }
        count = amount = 0
        before: Key = (*where.values(), start - timedelta.resolution)
        for row in self._models.select(RiskVelocityRow, after=before, **where):
            count += row.count
            amount += row.amount
        return Seen(rule.rule_id, subject, count, amount, position)
