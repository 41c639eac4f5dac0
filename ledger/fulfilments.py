"""
The state of one fulfilment: a consignment of units of one order on its way to the buyer.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec

from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .events import Event
from .fulfilment_events import (
    Delivered,
    DeliveryAutoConfirmed,
    DeliveryConfirmedByBuyer,
    DeliveryFailed,
    FulfilmentCancelled,
    FulfilmentCreated,
    ShipmentDispatched,
    TrackingUpdated,
)
from .order_content import DEFAULT_TERMS
from .order_events import MovedLine


class FulfilmentLifecycle(StrEnum):
    """Where the consignment is. PENDING: nothing has been set aside yet."""

    PENDING = "pending"
    PACKED = "packed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


_P = FulfilmentLifecycle
TRANSITIONS: Final[Mapping[type[Event], frozenset[FulfilmentLifecycle]]] = MappingProxyType(
    {
        FulfilmentCreated: frozenset({_P.PENDING}),
        ShipmentDispatched: frozenset({_P.PACKED}),
        Delivered: frozenset({_P.SHIPPED}),
        DeliveryFailed: frozenset({_P.SHIPPED}),
        DeliveryConfirmedByBuyer: frozenset({_P.SHIPPED, _P.DELIVERED, _P.FAILED}),
        DeliveryAutoConfirmed: frozenset({_P.SHIPPED, _P.DELIVERED}),
        FulfilmentCancelled: frozenset({_P.PACKED}),
    }
)
"""From which states each event is in order. A command elsewhere is refused; an observation
elsewhere is recorded with an anomaly."""


class FulfilmentState(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is known of a fulfilment.

    ``shipped`` and ``delivered`` are the units already counted on the order as such, so that a
    report that arrives twice or out of order counts once.
    """

    fulfilment_id: str = ""
    order_id: str = ""
    lifecycle: FulfilmentLifecycle = FulfilmentLifecycle.PENDING
    digital: bool = False
    location: str = ""
    lines: tuple[MovedLine, ...] = ()
    carrier: str = ""
    tracking: str = ""
    dispatched: bool = False
    cancelled: bool = False
    shipped: tuple[MovedLine, ...] = ()
    delivered: tuple[MovedLine, ...] = ()
    failure: str = ""
    arrival_reported: bool = False
    confirmed: bool = False
    tracking_codes: tuple[str, ...] = ()
    confirm_delivered_hours: int = DEFAULT_TERMS.confirm_delivered_hours
    confirm_dispatched_hours: int = DEFAULT_TERMS.confirm_dispatched_hours
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """More is known of it than a carrier's scan."""
        return self.lifecycle is not FulfilmentLifecycle.PENDING

    @property
    def units(self) -> tuple[MovedLine, ...]:
        """The units of the consignment: as dispatched, else as set aside."""
        return self.shipped or self.lines


INITIAL: Final = FulfilmentState()


def _created(state: FulfilmentState, event: FulfilmentCreated) -> FulfilmentState:
    return msgspec.structs.replace(
        state,
        fulfilment_id=event.fulfilment_id,
        order_id=event.order_id,
        lifecycle=FulfilmentLifecycle.PACKED,
        digital=event.digital,
        location=event.location,
        lines=event.lines,
        confirm_delivered_hours=event.confirm_delivered_hours,
        confirm_dispatched_hours=event.confirm_dispatched_hours,
    )


def _dispatched(state: FulfilmentState, event: ShipmentDispatched) -> FulfilmentState:
    if state.dispatched:
        return state
    # A delivery that was reported earlier stands: the hand-over only catches up with it.
    arrived = state.delivered != () or state.failure != ""
    return msgspec.structs.replace(
        state,
        fulfilment_id=event.fulfilment_id,
        order_id=state.order_id or event.order_id,
        lifecycle=state.lifecycle if arrived else FulfilmentLifecycle.SHIPPED,
        dispatched=True,
        carrier=event.carrier,
        tracking=event.tracking,
        lines=state.lines or event.lines,
        shipped=state.shipped or event.lines,
    )


def _tracking_updated(state: FulfilmentState, event: TrackingUpdated) -> FulfilmentState:
    return msgspec.structs.replace(
        state,
        fulfilment_id=event.fulfilment_id,
        order_id=state.order_id or event.order_id,
        tracking_codes=(*state.tracking_codes, f"{event.at.isoformat()} {event.code}"),
    )


def _delivered(state: FulfilmentState, event: Delivered) -> FulfilmentState:
    return msgspec.structs.replace(
        state,
        fulfilment_id=event.fulfilment_id,
        order_id=state.order_id or event.order_id,
        lifecycle=FulfilmentLifecycle.DELIVERED,
        lines=state.lines or event.lines,
        shipped=state.shipped or event.lines,
        delivered=state.delivered or event.lines,
        arrival_reported=True,
    )


def _failed(state: FulfilmentState, event: DeliveryFailed) -> FulfilmentState:
    arrived = state.delivered != ()
    return msgspec.structs.replace(
        state,
        fulfilment_id=event.fulfilment_id,
        order_id=state.order_id or event.order_id,
        lifecycle=state.lifecycle if arrived else FulfilmentLifecycle.FAILED,
        failure=state.failure or event.kind.value,
    )


def _confirmed(
    state: FulfilmentState, event: DeliveryConfirmedByBuyer | DeliveryAutoConfirmed
) -> FulfilmentState:
    return msgspec.structs.replace(
        state,
        lifecycle=FulfilmentLifecycle.DELIVERED,
        delivered=state.delivered or state.units,
        confirmed=True,
    )


def _cancelled(state: FulfilmentState, event: FulfilmentCancelled) -> FulfilmentState:
    return msgspec.structs.replace(state, lifecycle=FulfilmentLifecycle.CANCELLED, cancelled=True)


def _anomaly(state: FulfilmentState, event: AnomalyRaised | AnomalyResolved) -> FulfilmentState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[dict[type[Event], Callable[[Any, Any], FulfilmentState]]] = {
    FulfilmentCreated: _created,
    ShipmentDispatched: _dispatched,
    TrackingUpdated: _tracking_updated,
    Delivered: _delivered,
    DeliveryFailed: _failed,
    DeliveryConfirmedByBuyer: _confirmed,
    DeliveryAutoConfirmed: _confirmed,
    FulfilmentCancelled: _cancelled,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
