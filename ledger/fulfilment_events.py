"""
Events of fulfilments (stream ``fulfilment-{id}``) and returns (stream ``return-{id}``).

What they do to the counters of the order's lines is said by an ``OrderLinesMoved`` on the order's
stream, appended with them.
"""

from enum import StrEnum

import msgspec

from .events import Event, topic
from .instants import Instant
from .order_content import DEFAULT_TERMS
from .order_events import MovedLine


class DeliveryFailure(StrEnum):
    """Why a parcel did not arrive: gone for good, or not taken and on its way back."""

    LOST = "lost"
    REFUSED = "refused"


@topic("fulfilment.created.v1")
class FulfilmentCreated(Event, frozen=True, kw_only=True):
    """
    Units of an order were set aside for one consignment; ``digital`` needs no carrier.

    The hours are those of the order's terms, after which silence confirms it.
    """

    fulfilment_id: str
    order_id: str
    lines: tuple[MovedLine, ...]
    location: str
    digital: bool = False
    confirm_delivered_hours: int = DEFAULT_TERMS.confirm_delivered_hours
    confirm_dispatched_hours: int = DEFAULT_TERMS.confirm_dispatched_hours


@topic("fulfilment.shipment_dispatched.v1")
class ShipmentDispatched(Event, frozen=True, kw_only=True):
    """The carrier has the units. ``lines`` is what was really packed."""

    fulfilment_id: str
    order_id: str
    carrier: str
    tracking: str
    lines: tuple[MovedLine, ...]


@topic("fulfilment.tracking_updated.v1")
class TrackingUpdated(Event, frozen=True, kw_only=True):
    """The carrier reported a scan; ``code`` is the carrier's own."""

    fulfilment_id: str
    order_id: str
    code: str
    at: Instant


@topic("fulfilment.delivered.v1")
class Delivered(Event, frozen=True, kw_only=True):
    """The carrier handed the units over, or digital units were granted."""

    fulfilment_id: str
    order_id: str
    lines: tuple[MovedLine, ...]
    proof: str
    at: Instant


@topic("fulfilment.delivery_failed.v1")
class DeliveryFailed(Event, frozen=True, kw_only=True):
    """The units did not reach the buyer."""

    fulfilment_id: str
    order_id: str
    kind: DeliveryFailure
    detail: str = ""


@topic("fulfilment.delivery_confirmed_by_buyer.v1")
class DeliveryConfirmedByBuyer(Event, frozen=True, kw_only=True):
    """The buyer said that the units arrived."""

    fulfilment_id: str
    order_id: str


@topic("fulfilment.delivery_auto_confirmed.v1")
class DeliveryAutoConfirmed(Event, frozen=True, kw_only=True):
    """The buyer said nothing until ``due_at``, which counts as confirmation."""

    fulfilment_id: str
    order_id: str
    due_at: Instant


@topic("fulfilment.cancelled.v1")
class FulfilmentCancelled(Event, frozen=True, kw_only=True):
    """The consignment will not leave; its units are free again."""

    fulfilment_id: str
    order_id: str
    reason: str


class ReturnLine(msgspec.Struct, frozen=True):
    """Units of a line that the buyer wants to send back, and why."""

    line_id: str
    quantity: int
    reason: str


class ReceptionOutcome(StrEnum):
    """
    What became of the units of a return line that did not come back as asked.

    ``received`` is the ordinary case. Source: Solidus, ``Spree::ReturnItem`` reception status.
    """

    RECEIVED = "received"
    GIVEN_TO_CUSTOMER = "given_to_customer"
    LOST_IN_TRANSIT = "lost_in_transit"
    SHIPPED_WRONG_ITEM = "shipped_wrong_item"
    SHORT_SHIPPED = "short_shipped"
    IN_TRANSIT = "in_transit"
    EXPIRED = "expired"
    UNEXCHANGED = "unexchanged"


class ReceivedLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Units of one line counted at reception: usable, damaged, and not in the parcel.

    ``outcome`` says what became of the missing ones; with ``in_transit`` they may still come.
    """

    line_id: str
    ok: int = 0
    damaged: int = 0
    missing: int = 0
    outcome: ReceptionOutcome = ReceptionOutcome.RECEIVED


class InspectionOutcome(StrEnum):
    """The verdict of the inspection: what the seller will do."""

    ACCEPTED = "accepted"
    PARTLY_ACCEPTED = "partly_accepted"
    REFUSED = "refused"


class ReturnResolution(StrEnum):
    """How a return ended."""

    REFUND = "refund"
    EXCHANGE = "exchange"
    NO_REFUND = "no_refund"


@topic("return.requested.v1")
class ReturnRequested(Event, frozen=True, kw_only=True):
    """The buyer asked to send units back; they must arrive before ``window_until``."""

    return_id: str
    order_id: str
    lines: tuple[ReturnLine, ...]
    window_until: Instant


@topic("return.approved.v1")
class ReturnApproved(Event, frozen=True, kw_only=True):
    """The return may be sent."""

    return_id: str
    by: str
    reason: str = ""


@topic("return.rejected.v1")
class ReturnRejected(Event, frozen=True, kw_only=True):
    """The return was refused; its units can be asked for again."""

    return_id: str
    by: str
    reason: str


@topic("return.manual_review_required.v1")
class ManualReviewRequired(Event, frozen=True, kw_only=True):
    """No rule decides this return; a person has to."""

    return_id: str
    reason: str


@topic("return.in_transit.v1")
class ReturnInTransit(Event, frozen=True, kw_only=True):
    """The carrier has the returned parcel."""

    return_id: str
    carrier: str
    tracking: str


@topic("return.received.v1")
class ReturnReceived(Event, frozen=True, kw_only=True):
    """A parcel of the return was counted; there may be several."""

    return_id: str
    order_id: str
    reception_id: str
    lines: tuple[ReceivedLine, ...]


@topic("return.inspected.v1")
class ReturnInspected(Event, frozen=True, kw_only=True):
    """What came back was judged."""

    return_id: str
    outcome: InspectionOutcome
    by: str
    note: str = ""


@topic("return.closed.v1")
class ReturnClosed(Event, frozen=True, kw_only=True):
    """The return is settled: by a granted refund, an exchange order, or nothing."""

    return_id: str
    resolution: ReturnResolution
    refund_id: str | None = None
    exchange_order_id: str | None = None
    reason: str = ""


@topic("return.cancelled.v1")
class ReturnCancelled(Event, frozen=True, kw_only=True):
    """The buyer keeps the units after all."""

    return_id: str
    by: str
    reason: str


@topic("return.expired.v1")
class ReturnExpired(Event, frozen=True, kw_only=True):
    """The units did not come in time."""

    return_id: str
    due_at: Instant
