"""
Commands on fulfilments and returns. A ``Record…`` command reports what happened and is never
refused; the others are intentions.
"""

from typing import ClassVar

from orderledger.ledger import streams
from orderledger.ledger.fulfilment_events import (
    DeliveryFailure,
    InspectionOutcome,
    ReceivedLine,
    ReturnLine,
    ReturnResolution,
)
from orderledger.ledger.instants import Instant
from orderledger.ledger.order_events import MovedLine

from .decision import Command


class OfFulfilment(Command, frozen=True, kw_only=True):
    """Any command on a fulfilment; ``order_id`` is the order whose units it moves."""

    fulfilment_id: str
    order_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.fulfilment(self.fulfilment_id), streams.order(self.order_id))


class CreateFulfilment(OfFulfilment, frozen=True, kw_only=True):
    """
    Set units of a confirmed order aside for one consignment.

    ``digital`` units need no carrier: they are delivered by this command.
    """

    lines: tuple[MovedLine, ...]
    location: str
    digital: bool = False

    def creates(self) -> tuple[str, ...]:
        return (streams.fulfilment(self.fulfilment_id),)


class DispatchFulfilment(OfFulfilment, frozen=True, kw_only=True):
    """Hand the whole consignment to a carrier."""

    carrier: str
    tracking: str = ""


class CancelFulfilment(OfFulfilment, frozen=True, kw_only=True):
    """Unpack a consignment that has not left; afterwards it is a return."""

    reason: str


class ConfirmDelivery(OfFulfilment, frozen=True, kw_only=True):
    """Record that the buyer says the units arrived."""


class AutoConfirmDelivery(OfFulfilment, frozen=True, kw_only=True):
    """Timer: the buyer said nothing until ``due_at``."""

    due_at: Instant


class RecordDispatched(OfFulfilment, frozen=True, kw_only=True):
    """
    Report that the carrier has the units.

    ``lines`` empty means those of the fulfilment. A fulfilment that is not known yet begins here.
    """

    is_observation: ClassVar[bool] = True

    carrier: str
    tracking: str = ""
    lines: tuple[MovedLine, ...] = ()


class RecordTracking(OfFulfilment, frozen=True, kw_only=True):
    """Report a scan by the carrier; ``code`` is the carrier's own."""

    is_observation: ClassVar[bool] = True

    code: str
    at: Instant


class RecordDelivered(OfFulfilment, frozen=True, kw_only=True):
    """Report that the units arrived; ``lines`` empty means those that were dispatched."""

    is_observation: ClassVar[bool] = True

    proof: str = ""
    lines: tuple[MovedLine, ...] = ()


class RecordDeliveryFailed(OfFulfilment, frozen=True, kw_only=True):
    """Report that the units were lost, or refused and are on their way back."""

    is_observation: ClassVar[bool] = True

    kind: DeliveryFailure
    detail: str = ""


class OfReturn(Command, frozen=True, kw_only=True):
    """Any command on a return; ``order_id`` is the order whose units come back."""

    return_id: str
    order_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.return_(self.return_id), streams.order(self.order_id))


class RequestReturn(OfReturn, frozen=True, kw_only=True):
    """Ask to send units back. ``window_until`` is the policy's last moment for it."""

    lines: tuple[ReturnLine, ...]
    window_until: Instant

    def creates(self) -> tuple[str, ...]:
        return (streams.return_(self.return_id),)


class RequireReturnReview(OfReturn, frozen=True, kw_only=True):
    """Leave the decision to a person."""

    reason: str


class ApproveReturn(OfReturn, frozen=True, kw_only=True):
    """Allow the units to be sent."""

    by: str
    reason: str = ""


class RejectReturn(OfReturn, frozen=True, kw_only=True):
    """Refuse the return; its units can be asked for again."""

    by: str
    reason: str


class RecordReturnInTransit(OfReturn, frozen=True, kw_only=True):
    """Report that the carrier has the returned parcel."""

    is_observation: ClassVar[bool] = True

    carrier: str
    tracking: str = ""


class ReceiveReturn(OfReturn, frozen=True, kw_only=True):
    """Count one parcel of an approved return; ``reception_id`` names the parcel."""

    reception_id: str
    lines: tuple[ReceivedLine, ...]


class RecordReturnReceived(OfReturn, frozen=True, kw_only=True):
    """Report that goods came back, announced or not; ``reception_id`` names the parcel."""

    is_observation: ClassVar[bool] = True

    reception_id: str
    lines: tuple[ReceivedLine, ...]


class InspectReturn(OfReturn, frozen=True, kw_only=True):
    """Judge what came back."""

    outcome: InspectionOutcome
    by: str
    note: str = ""


class CloseReturn(OfReturn, frozen=True, kw_only=True):
    """
    Settle the return: with a refund granted on its order (``refund_id``), an exchange order
    (``exchange_order_id``), or neither.
    """

    resolution: ReturnResolution
    refund_id: str | None = None
    exchange_order_id: str | None = None
    reason: str = ""


class CancelReturn(OfReturn, frozen=True, kw_only=True):
    """Give the return up before the units are sent."""

    by: str
    reason: str


class ExpireReturn(OfReturn, frozen=True, kw_only=True):
    """Timer: the units did not come until ``due_at``, the end of the window."""

    due_at: Instant
