"""
The state of an approval: a second person's word on one command, used once.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from .events import Event
from .risk_events import ApprovalDenied, ApprovalGranted, ApprovalRequested, ApprovalUsed


class ApprovalStatus(StrEnum):
    """Where an approval stands. What has expired keeps its status: time alone decides that."""

    NONE = "none"
    REQUESTED = "requested"
    GRANTED = "granted"
    DENIED = "denied"
    USED = "used"


class ApprovalState(msgspec.Struct, frozen=True, kw_only=True):
    """
    An approval as its last request left it; ``request`` and ``grant`` are that round's events.

    After it was denied, used or has expired, it can be requested again: ``rounds`` counts.
    """

    status: ApprovalStatus = ApprovalStatus.NONE
    request: ApprovalRequested | None = None
    grant: ApprovalGranted | None = None
    decided_by: str = ""
    note: str = ""
    used_key: str = ""
    rounds: int = 0

    @property
    def exists(self) -> bool:
        return self.request is not None

    @property
    def expires_at(self) -> datetime | None:
        """When the request lapses, or what was granted."""
        if self.status is ApprovalStatus.GRANTED and self.grant is not None:
            return self.grant.expires_at
        return self.request.expires_at if self.request is not None else None

    def is_open(self, at: datetime) -> bool:
        """Tell whether it waits for a decision or for its use; at its expiry it no longer does."""
        expires_at = self.expires_at
        is_waiting = self.status in (ApprovalStatus.REQUESTED, ApprovalStatus.GRANTED)
        return is_waiting and expires_at is not None and at < expires_at

    def covers(self, fingerprint: str, at: datetime) -> bool:
        """Tell whether it lets a command with this fingerprint run now."""
        return (
            self.status is ApprovalStatus.GRANTED
            and self.is_open(at)
            and self.request is not None
            and self.request.fingerprint == fingerprint
        )


INITIAL: Final = ApprovalState()


def _requested(state: ApprovalState, event: ApprovalRequested) -> ApprovalState:
    return ApprovalState(status=ApprovalStatus.REQUESTED, request=event, rounds=state.rounds + 1)


def _granted(state: ApprovalState, event: ApprovalGranted) -> ApprovalState:
    return msgspec.structs.replace(
        state,
        status=ApprovalStatus.GRANTED,
        grant=event,
        decided_by=event.granted_by,
        note=event.note,
    )


def _denied(state: ApprovalState, event: ApprovalDenied) -> ApprovalState:
    return msgspec.structs.replace(
        state, status=ApprovalStatus.DENIED, decided_by=event.denied_by, note=event.reason
    )


def _used(state: ApprovalState, event: ApprovalUsed) -> ApprovalState:
    return msgspec.structs.replace(state, status=ApprovalStatus.USED, used_key=event.key)


EVOLVE: Final[Mapping[type[Event], Callable[[Any, Any], ApprovalState]]] = {
    ApprovalRequested: _requested,
    ApprovalGranted: _granted,
    ApprovalDenied: _denied,
    ApprovalUsed: _used,
}
