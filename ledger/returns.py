"""
The state of one return: units of an order on their way back, from the request to the settlement.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec

from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .events import Event
from .fulfilment_events import (
    InspectionOutcome,
    ManualReviewRequired,
    ReceivedLine,
    ReceptionOutcome,
    ReturnApproved,
    ReturnCancelled,
    ReturnClosed,
    ReturnExpired,
    ReturnInspected,
    ReturnInTransit,
    ReturnLine,
    ReturnReceived,
    ReturnRejected,
    ReturnRequested,
)
from .order_events import MoveKind


class ReturnLifecycle(StrEnum):
    """Where the return is. NONE: nothing was requested yet."""

    NONE = "none"
    REQUESTED = "requested"
    MANUAL_REVIEW = "manual_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    IN_TRANSIT = "in_transit"
    PARTIALLY_RECEIVED = "partially_received"
    RECEIVED = "received"
    INSPECTED = "inspected"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_S = ReturnLifecycle
_COMING: Final = frozenset({_S.APPROVED, _S.IN_TRANSIT, _S.PARTIALLY_RECEIVED})
TRANSITIONS: Final[Mapping[type[Event], frozenset[ReturnLifecycle]]] = MappingProxyType(
    {
        ReturnRequested: frozenset({_S.NONE}),
        ManualReviewRequired: frozenset({_S.REQUESTED}),
        ReturnApproved: frozenset({_S.REQUESTED, _S.MANUAL_REVIEW}),
        ReturnRejected: frozenset({_S.REQUESTED, _S.MANUAL_REVIEW}),
        ReturnInTransit: frozenset({_S.APPROVED, _S.PARTIALLY_RECEIVED}),
        ReturnReceived: _COMING,
        ReturnInspected: frozenset({_S.RECEIVED, _S.PARTIALLY_RECEIVED}),
        ReturnClosed: frozenset({_S.INSPECTED}),
        ReturnCancelled: frozenset({_S.REQUESTED, _S.MANUAL_REVIEW, _S.APPROVED}),
        ReturnExpired: frozenset({_S.REQUESTED, _S.MANUAL_REVIEW, _S.APPROVED, _S.IN_TRANSIT}),
    }
)
"""From which states each event is in order."""


class Reception(msgspec.Struct, frozen=True):
    """
    What a reception outcome means for units that are not in the parcel.

    ``line_kind`` is the movement of the order's counters (None: they may still come);
    ``refundable`` says whether the buyer is entitled to their price although they are not back.
    """

    line_kind: MoveKind | None
    refundable: bool


RECEPTIONS: Final[Mapping[ReceptionOutcome, Reception]] = MappingProxyType(
    {
        ReceptionOutcome.RECEIVED: Reception(MoveKind.RETURN_CANCELLED, refundable=False),
        ReceptionOutcome.GIVEN_TO_CUSTOMER: Reception(MoveKind.WRITTEN_OFF, refundable=True),
        ReceptionOutcome.LOST_IN_TRANSIT: Reception(MoveKind.LOST, refundable=True),
        ReceptionOutcome.SHIPPED_WRONG_ITEM: Reception(MoveKind.WRITTEN_OFF, refundable=True),
        ReceptionOutcome.SHORT_SHIPPED: Reception(MoveKind.WRITTEN_OFF, refundable=True),
        ReceptionOutcome.IN_TRANSIT: Reception(None, refundable=False),
        ReceptionOutcome.EXPIRED: Reception(MoveKind.RETURN_CANCELLED, refundable=False),
        ReceptionOutcome.UNEXCHANGED: Reception(MoveKind.RETURN_CANCELLED, refundable=False),
    }
)
"""The outcomes of Solidus (``Spree::ReturnItem``: given_to_customer, lost_in_transit,
shipped_wrong_item, short_shipped, in_transit, expired, unexchanged), as data."""


class LineProgress(msgspec.Struct, frozen=True):
    """
    Units of one line of the return, cumulative over its parcels.

    ``settled`` counts missing units whose fate is known, so that they are waited for no more.
    """

    requested: int = 0
    ok: int = 0
    damaged: int = 0
    settled: int = 0

    @property
    def outstanding(self) -> int:
        """Units that may still come. Never negative: more may arrive than was announced."""
        return max(0, self.requested - self.ok - self.damaged - self.settled)


class ReturnState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a return. ``receptions`` are the ids of the parcels already counted."""

    return_id: str = ""
    order_id: str = ""
    lifecycle: ReturnLifecycle = ReturnLifecycle.NONE
    lines: Mapping[str, LineProgress] = {}
    reasons: tuple[ReturnLine, ...] = ()
    window_until: datetime | None = None
    receptions: Mapping[str, tuple[ReceivedLine, ...]] = {}
    inspection: InspectionOutcome | None = None
    refund_id: str | None = None
    exchange_order_id: str | None = None
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.order_id != ""

    @property
    def outstanding(self) -> Mapping[str, int]:
        """Units that may still come, per line; lines with none are left out."""
        return {
            line_id: line.outstanding for line_id, line in self.lines.items() if line.outstanding
        }


INITIAL: Final = ReturnState()


def _requested(state: ReturnState, event: ReturnRequested) -> ReturnState:
    lines = dict(state.lines)
    for line in event.lines:
        before = lines.get(line.line_id, LineProgress())
        lines[line.line_id] = msgspec.structs.replace(
            before, requested=before.requested + line.quantity
        )
    return msgspec.structs.replace(
        state,
        return_id=event.return_id,
        order_id=event.order_id,
        lifecycle=ReturnLifecycle.REQUESTED,
        lines=lines,
        reasons=event.lines,
        window_until=event.window_until,
    )


def _received(state: ReturnState, event: ReturnReceived) -> ReturnState:
    lines = dict(state.lines)
    for counted in event.lines:
        before = lines.get(counted.line_id, LineProgress())
        gone = RECEPTIONS[counted.outcome].line_kind is not None
        lines[counted.line_id] = msgspec.structs.replace(
            before,
            ok=before.ok + counted.ok,
            damaged=before.damaged + counted.damaged,
            settled=before.settled + (counted.missing if gone else 0),
        )
    waiting = any(line.outstanding for line in lines.values())
    # A parcel that arrives after the end is counted; the end stands, and an anomaly is recorded.
    ended = state.lifecycle not in TRANSITIONS[ReturnReceived] and state.exists
    reached = ReturnLifecycle.PARTIALLY_RECEIVED if waiting else ReturnLifecycle.RECEIVED
    return msgspec.structs.replace(
        state,
        return_id=event.return_id,
        order_id=state.order_id or event.order_id,
        lifecycle=state.lifecycle if ended else reached,
        lines=lines,
        receptions={**state.receptions, event.reception_id: event.lines},
    )


def _inspected(state: ReturnState, event: ReturnInspected) -> ReturnState:
    return msgspec.structs.replace(
        state, lifecycle=ReturnLifecycle.INSPECTED, inspection=event.outcome
    )


def _closed(state: ReturnState, event: ReturnClosed) -> ReturnState:
    return msgspec.structs.replace(
        state,
        lifecycle=ReturnLifecycle.CLOSED,
        lines=_given_up(state.lines),
        refund_id=event.refund_id,
        exchange_order_id=event.exchange_order_id,
    )


def _reach(lifecycle: ReturnLifecycle) -> Callable[[ReturnState, Event], ReturnState]:
    def evolve(state: ReturnState, event: Event) -> ReturnState:
        return msgspec.structs.replace(state, lifecycle=lifecycle)

    return evolve


def _end(lifecycle: ReturnLifecycle) -> Callable[[ReturnState, Event], ReturnState]:
    """Units that have not come are waited for no more: should they come, they count as new."""

    def evolve(state: ReturnState, event: Event) -> ReturnState:
        return msgspec.structs.replace(state, lifecycle=lifecycle, lines=_given_up(state.lines))

    return evolve


def _given_up(lines: Mapping[str, LineProgress]) -> Mapping[str, LineProgress]:
    return {
        line_id: msgspec.structs.replace(line, settled=line.settled + line.outstanding)
        for line_id, line in lines.items()
    }


def _in_transit(state: ReturnState, event: ReturnInTransit) -> ReturnState:
    if state.lifecycle is not ReturnLifecycle.APPROVED:
        return state
    return msgspec.structs.replace(state, lifecycle=ReturnLifecycle.IN_TRANSIT)


def _anomaly(state: ReturnState, event: AnomalyRaised | AnomalyResolved) -> ReturnState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[dict[type[Event], Callable[[Any, Any], ReturnState]]] = {
    ReturnRequested: _requested,
    ManualReviewRequired: _reach(ReturnLifecycle.MANUAL_REVIEW),
    ReturnApproved: _reach(ReturnLifecycle.APPROVED),
    ReturnRejected: _end(ReturnLifecycle.REJECTED),
    ReturnInTransit: _in_transit,
    ReturnReceived: _received,
    ReturnInspected: _inspected,
    ReturnClosed: _closed,
    ReturnCancelled: _end(ReturnLifecycle.CANCELLED),
    ReturnExpired: _end(ReturnLifecycle.EXPIRED),
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
