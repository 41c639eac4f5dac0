"""
One provider notification: whether it was applied, waits for its subject, or was of no use.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .chargeback_events import ChargebackReport
from .events import Event
from .inbox_events import (
    GatewayNotificationReceived,
    NotificationApplied,
    NotificationDeduplicated,
    NotificationParked,
    NotificationRejected,
    Observation,
)


class InboxStatus(StrEnum):
    """Where a notification stands. Only a parked one is tried again."""

    NONE = "none"
    RECEIVED = "received"
    PARKED = "parked"
    APPLIED = "applied"
    DEDUPLICATED = "deduplicated"
    REJECTED = "rejected"


class InboxState(msgspec.Struct, frozen=True, kw_only=True):
    """A notification folded from its events; ``hashes`` are of every body seen under its id."""

    provider: str = ""
    notification_id: str = ""
    status: InboxStatus = InboxStatus.NONE
    hashes: tuple[str, ...] = ()
    missing_ref: str = ""
    interpreted: Observation | None = None
    chargeback: ChargebackReport | None = None
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.status is not InboxStatus.NONE


INITIAL: Final = InboxState()


def _received(state: InboxState, event: GatewayNotificationReceived) -> InboxState:
    """A second body under the same id is remembered by its hash; the first one stays in force."""
    if state.exists:
        return msgspec.structs.replace(state, hashes=(*state.hashes, event.body_sha256))
    return InboxState(
        provider=event.provider,
        notification_id=event.notification_id,
        status=InboxStatus.RECEIVED,
        hashes=(event.body_sha256,),
        interpreted=event.interpreted,
        chargeback=event.chargeback,
    )


def _applied(state: InboxState, event: NotificationApplied) -> InboxState:
    return msgspec.structs.replace(state, status=InboxStatus.APPLIED, missing_ref="")


def _parked(state: InboxState, event: NotificationParked) -> InboxState:
    return msgspec.structs.replace(state, status=InboxStatus.PARKED, missing_ref=event.missing_ref)


def _deduplicated(state: InboxState, event: NotificationDeduplicated) -> InboxState:
    return msgspec.structs.replace(state, status=InboxStatus.DEDUPLICATED, missing_ref="")


def _rejected(state: InboxState, event: NotificationRejected) -> InboxState:
    """A rejected second body does not undo what the first one did."""
    if state.status in (InboxStatus.RECEIVED, InboxStatus.PARKED) and len(state.hashes) == 1:
        return msgspec.structs.replace(state, status=InboxStatus.REJECTED, missing_ref="")
    return state


def _anomaly(state: InboxState, event: AnomalyRaised | AnomalyResolved) -> InboxState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[Mapping[type[Event], Callable[[InboxState, Any], InboxState]]] = {
    GatewayNotificationReceived: _received,
    NotificationApplied: _applied,
    NotificationParked: _parked,
    NotificationDeduplicated: _deduplicated,
    NotificationRejected: _rejected,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
