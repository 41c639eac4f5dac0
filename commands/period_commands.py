"""
Commands on the accounting periods of a book.
"""

from orderledger.ledger import streams
from orderledger.ledger.instants import Instant

from .account_commands import Constraining
from .decision import Command


class OfPeriods(Command, frozen=True, kw_only=True):
    """Any command on the accounting periods; ``period`` is an id of yours, such as ``2026-10``."""

    period: str

    def streams(self) -> tuple[str, ...]:
        streams.check_period(self.period)
        return (streams.PERIODS,)


class ClosePeriod(OfPeriods, frozen=True, kw_only=True):
    """
    Close a period [start, end) and record the trial balance as of its end.

    ``start`` is where the last closed period ends; left out it is that, or for the first period
    the beginning of the book. ``end`` is not in the future. From then on no entry is taken that is
    effective before ``end``: a command is refused, a report posts at ``end``.
    """

    start: Instant | None = None
    end: Instant


class ReopenPeriod(OfPeriods, frozen=True, kw_only=True):
    """Let the last closed period take entries again; it is closed anew when that is done."""

    reason: str


Periodic = ClosePeriod | ReopenPeriod
Exclusive = Constraining | Periodic
"""The commands that must see every committed entry, and so run while no append is in flight."""
