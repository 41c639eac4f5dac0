"""
The state of an alert: what was seen, and whether somebody has looked.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .events import Event
from .risk_events import RiskAlertRaised, RiskAlertResolved


class AlertState(msgspec.Struct, frozen=True, kw_only=True):
    """An alert, open until somebody resolves it; the first raising stands."""

    raised: RiskAlertRaised | None = None
    resolved: RiskAlertResolved | None = None

    @property
    def exists(self) -> bool:
        return self.raised is not None

    @property
    def is_open(self) -> bool:
        return self.exists and self.resolved is None


INITIAL: Final = AlertState()


def _raised(state: AlertState, event: RiskAlertRaised) -> AlertState:
    return state if state.exists else AlertState(raised=event)


def _resolved(state: AlertState, event: RiskAlertResolved) -> AlertState:
    return msgspec.structs.replace(state, resolved=event)


EVOLVE: Final[Mapping[type[Event], Callable[[Any, Any], AlertState]]] = {
    RiskAlertRaised: _raised,
    RiskAlertResolved: _resolved,
}
