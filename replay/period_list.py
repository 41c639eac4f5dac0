"""
The closings of a book's accounting periods, with who closed and who reopened them.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from orderledger.commands.requests import Actor
from orderledger.ledger.period_events import ClassTotal, PeriodClosed, PeriodReopened
from orderledger.ledger.ports import EventStore
from orderledger.ledger.streams import PERIODS

from .history import history


class PeriodRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    One closing of a period [start, end); ``start`` None is the beginning of the book.

    ``position`` is that of the closing event: the trial balance is over every entry effective
    before ``end`` at a lower one. Amounts of ``totals`` are in minor units. A closing that was
    taken back has ``reopened_at``, by whom and why; the period may have been closed again since,
    which is a closing of its own.
    """

    period: str
    start: datetime | None
    end: datetime
    closed_at: datetime | None
    closed_by: Actor
    position: int | None
    trial_balance_hash: str
    account_count: int
    totals: tuple[ClassTotal, ...]
    reopened_at: datetime | None = None
    reopened_by: Actor | None = None
    reopened_because: str = ""

    @property
    def is_closed(self) -> bool:
        """Tell whether this closing is in force."""
        return self.reopened_by is None


def periods(store: EventStore) -> Sequence[PeriodRecord]:
    """Return every closing of a book in the order in which they were made."""
    found: list[PeriodRecord] = []
    for one in history(store, PERIODS):
        match one.event:
            case PeriodClosed() as closed:
                found.append(
                    PeriodRecord(
                        period=closed.period,
                        start=closed.start,
                        end=closed.end,
                        closed_at=one.recorded_at,
                        closed_by=one.context.actor,
                        position=one.position,
                        trial_balance_hash=closed.trial_balance_hash,
                        account_count=closed.account_count,
                        totals=closed.totals,
                    )
                )
            case PeriodReopened() as reopened:
                for at, record in enumerate(found):
                    if record.period == reopened.period and record.is_closed:
                        found[at] = msgspec.structs.replace(
                            record,
                            reopened_at=one.recorded_at,
                            reopened_by=one.context.actor,
                            reopened_because=reopened.reason,
                        )
            case _:
                pass
    return found
