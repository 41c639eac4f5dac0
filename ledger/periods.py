"""
The state of a book's accounting periods: which are closed, and until when the books are.

Closed periods follow one another without a gap, so that one instant says all: entries effective
before ``closed_until`` are no longer taken.
"""

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from .events import Event
from .period_events import PeriodClosed, PeriodReopened


class ClosedPeriod(msgspec.Struct, frozen=True, gc=False):
    """A period that is closed: [start, end) of the world's clock; start None: from the first."""

    period: str
    start: datetime | None
    end: datetime


class PeriodsState(msgspec.Struct, frozen=True, kw_only=True):
    """
    The closed periods of a book, in order of time, each beginning where the one before ends.

    ``reopened`` are the ids of those that were closed once and are open now.
    """

    closed: tuple[ClosedPeriod, ...] = ()
    reopened: frozenset[str] = frozenset()

    @property
    def closed_until(self) -> datetime | None:
        """The first instant of the open period; None where none was closed."""
        return self.closed[-1].end if self.closed else None

    def find(self, period: str) -> ClosedPeriod | None:
        """Return the closed period with an id."""
        return next((one for one in self.closed if one.period == period), None)

    def holding(self, instant: datetime) -> ClosedPeriod:
        """
        Return the closed period of an instant before ``closed_until``.

        What lies before the start of the first period is closed with it.
        """
        return self.closed[bisect_right(self.closed, instant, key=lambda one: one.end)]


INITIAL: Final = PeriodsState()


def _closed(state: PeriodsState, event: PeriodClosed) -> PeriodsState:
    return PeriodsState(
        closed=(*state.closed, ClosedPeriod(event.period, event.start, event.end)),
        reopened=state.reopened - {event.period},
    )


def _reopened(state: PeriodsState, event: PeriodReopened) -> PeriodsState:
    return PeriodsState(
        closed=tuple([one for one in state.closed if one.period != event.period]),
        reopened=state.reopened | {event.period},
    )


EVOLVE: Final[dict[type[Event], Callable[[Any, Any], PeriodsState]]] = {
    PeriodClosed: _closed,
    PeriodReopened: _reopened,
}
