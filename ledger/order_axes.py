"""
The axes of an order's status: what was authorised, charged, given back, shipped and disputed.

They are derived, never commanded, and orthogonal: one status field could not say that an order is
cancelled, partly charged and waiting for a refund. Source: the transaction statuses of Saleor; an
order that costs nothing is authorised and charged in full by definition.
"""

from enum import StrEnum

import msgspec

from .order_refunds import GrantStatus
from .orders import OrderState
from .tenders import Tender, charged_back_by, charged_by, refunded_by


class AuthoriseStatus(StrEnum):
    """How much of what is due is authorised or charged."""

    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"


class ChargeStatus(StrEnum):
    """How much of the total, less granted refunds, is charged."""

    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"
    OVERCHARGED = "overcharged"


class RefundStatus(StrEnum):
    """What became of the refunds that were granted; FULL: all that was charged went back."""

    NONE = "none"
    PENDING = "pending"
    PARTIAL = "partial"
    FULL = "full"
    FAILED = "failed"


class FulfilmentStatus(StrEnum):
    """How far the live units are on their way, or back."""

    UNFULFILLED = "unfulfilled"
    PARTIAL = "partial"
    FULFILLED = "fulfilled"
    PARTIALLY_DELIVERED = "partially_delivered"
    DELIVERED = "delivered"
    PARTIALLY_RETURNED = "partially_returned"
    RETURNED = "returned"


class DisputeStatus(StrEnum):
    """Whether the buyer, or the buyer's bank, contests the order."""

    NONE = "none"
    OPEN = "open"
    RULED = "ruled"
    CHARGED_BACK = "charged_back"


class OrderAxes(msgspec.Struct, frozen=True, kw_only=True):
    """
    The axes and the amounts behind them, in minor units of the order's currency.

    ``authorised`` is what may still be captured or is being captured, ``charged`` what was captured
    and redeemed, refunds not subtracted, ``granted`` all refunds granted. ``balance`` is charged −
    refunded − charged back for good − (total − granted refunds that lower it): positive where the
    buyer paid more than the order still costs, negative where something is owed. What is contested
    may come back: it is no debt yet, but ``charge`` does not count it.
    """

    authorise: AuthoriseStatus
    charge: ChargeStatus
    refund: RefundStatus
    fulfilment: FulfilmentStatus
    dispute: DisputeStatus
    authorised: int
    charged: int
    refunded: int
    granted: int
    balance: int


def axes_of(order: OrderState, tenders: tuple[Tender, ...]) -> OrderAxes:
    """Return an order's axes from its own state and its tenders."""
    charged = charged_by(tenders)
    refunded = refunded_by(order, tenders)
    authorised = sum([one.capturable + one.capture_in_flight for one in tenders])
    charged_back = charged_back_by(tenders)
    contested = sum([one.contested for one in tenders])
    kept = charged - refunded - charged_back - contested
    # A grant that gives back what a change already took off the total does not lower it twice.
    cost = max(0, order.total - order.granted_lowering_due)
    return OrderAxes(
        authorise=_authorise(kept + authorised, cost),
        charge=_charge(kept, cost),
        refund=_refund(order, charged, refunded),
        fulfilment=_fulfilment(order),
        dispute=_dispute(order, charged_back, contested),
        authorised=authorised,
        charged=charged,
        refunded=refunded,
        granted=order.granted,
        balance=charged - refunded - charged_back - (order.total - order.granted_lowering_due),
    )


def _dispute(order: OrderState, charged_back: int, contested: int) -> DisputeStatus:
    if charged_back:
        return DisputeStatus.CHARGED_BACK
    if contested or any(one.is_open for one in order.chargebacks.values()):
        return DisputeStatus.OPEN
    return DisputeStatus.NONE


def _authorise(covered: int, cost: int) -> AuthoriseStatus:
    if covered >= cost:
        return AuthoriseStatus.FULL
    return AuthoriseStatus.PARTIAL if covered > 0 else AuthoriseStatus.NONE


def _charge(kept: int, cost: int) -> ChargeStatus:
    if kept == cost:
        return ChargeStatus.FULL
    if kept <= 0:
        return ChargeStatus.NONE
    return ChargeStatus.PARTIAL if kept < cost else ChargeStatus.OVERCHARGED


def _refund(order: OrderState, charged: int, refunded: int) -> RefundStatus:
    live = [grant for grant in order.grants.values() if grant.is_live]
    if any(
        grant.status in (GrantStatus.FAILED, GrantStatus.FAILED_AFTER_SUCCESS) for grant in live
    ):
        return RefundStatus.FAILED
    if order.refund_outstanding:
        return RefundStatus.PENDING
    if refunded == 0:
        return RefundStatus.NONE
    return RefundStatus.FULL if refunded >= charged else RefundStatus.PARTIAL


def _fulfilment(order: OrderState) -> FulfilmentStatus:
    lines = [line for line in order.lines.values() if line.live]
    units = sum([line.live for line in lines])
    returned = sum([line.returned for line in lines])
    delivered = sum([line.delivered for line in lines])
    shipped = sum([line.shipped for line in lines])
    if units == 0:
        return FulfilmentStatus.UNFULFILLED
    if returned:
        whole = returned >= max(units, delivered)
        return FulfilmentStatus.RETURNED if whole else FulfilmentStatus.PARTIALLY_RETURNED
    if delivered:
        whole = delivered >= units
        return FulfilmentStatus.DELIVERED if whole else FulfilmentStatus.PARTIALLY_DELIVERED
    if shipped:
        return FulfilmentStatus.FULFILLED if shipped >= units else FulfilmentStatus.PARTIAL
    return FulfilmentStatus.UNFULFILLED
