"""
What each buyer ordered, paid and got back, and the history that a support agent asks for.

SQL views: ``customers``, ``customer_events``.

An order belongs to the buyer whom its stream names last: a draft of a guest who then signs in is
that buyer's from then on, with all that happened to it. Once placed it keeps its buyer.
"""

from datetime import datetime
from typing import Any, Final, cast

from msgspec.structs import astuple, replace

from orderledger.ledger import fulfilment_events as f
from orderledger.ledger import order_events as e
from orderledger.ledger import payment_events as p
from orderledger.ledger import streams
from orderledger.ledger.events import Event
from orderledger.ledger.folds import folded
from orderledger.ledger.orders import Lifecycle, OrderState
from orderledger.ledger.tenders import charged_back_by, charged_by, refunded_by, tenders_of

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table
from .timeline import OF_ORDERS, order_of


@table("customers", key_count=2, indexes=(("last_placed_at",),))
class CustomerRow(TableRow, frozen=True):
    """
    One row per buyer and currency, amounts in minor units of ``currency``.

    ``order_count`` counts orders that were placed, a part that was split off as one of its own;
    the counts after it say what they have come to by now. ``rejected_count`` counts orders that
    were refused instead of placed; drafts are not counted.

    ``charged`` is what the buyer spent: captured and not taken back by the provider, and stored
    value that was redeemed; refunds are not subtracted. ``refunded`` is what reached the buyer
    again: refunds that succeeded and did not come back, redeemed value that was given back, and
    what was paid in another way. Authorisations, voids, operations in flight and credits without
    an order are neither. Both are the sums of the columns of the same name over the buyer's
    orders. ``refund_outstanding`` is granted and has not reached the buyer.

    ``buyer_ref`` empty: all orders that name no buyer. Instants are the world's clock.
    """

    buyer_ref: str
    currency: str
    order_count: int
    open_count: int
    completed_count: int
    cancelled_count: int
    expired_count: int
    rejected_count: int
    charged: Amount
    refunded: Amount
    refund_outstanding: Amount
    first_placed_at: datetime | None
    last_placed_at: datetime | None
    last_order_id: str


@table("customer_events", key_count=2, indexes=(("order_id",),))
class CustomerEventRow(TableRow, frozen=True):
    """
    One row per thing that happened to any of a buyer's orders, in log order.

    ``charged`` and ``refunded`` are signed: what it added to the columns of the same name of
    ``customers``, in minor units of ``currency``; over a buyer's rows they sum to them.
    ``amount`` is not signed: the money that moved, the order's new total when it was placed or its
    content changed, or what a refund was granted or failed for; 0 where no money is meant.

    ``what`` is charged, charge_reversed, refunded or refund_reversed where money moved, else what
    the event says in a word (placed, shipped, refund_granted). ``reference`` is the id of what it
    is about beside the order: a payment, refund, fulfilment, return, line or other order.
    ``previous_position`` is that of the order's row before this one, 0 for the first.
    """

    buyer_ref: str
    position: int
    order_id: str
    what: str
    reference: str
    currency: str
    amount: Amount
    charged: Amount
    refunded: Amount
    occurred_at: datetime
    recorded_at: datetime
    previous_position: int


@table("customer_orders")
class CustomerOrderRow(TableRow, frozen=True):
    """Working rows: what an order adds to its buyer, in minor units of ``currency``."""

    order_id: str
    buyer_ref: str
    currency: str
    lifecycle: str
    charged: Amount
    refunded: Amount
    refund_outstanding: Amount
    placed_at: datetime | None
    last_position: int


_CUSTOMERS: Final = CustomerRow.table
_EVENTS: Final = CustomerEventRow.table
_ORDERS: Final = CustomerOrderRow.table

_WORDS: Final[dict[type[Event], str]] = {
    e.OrderPlaced: "placed",
    e.OrderConfirmed: "confirmed",
    e.OrderHeld: "held",
    e.OrderHoldReleased: "hold_released",
    e.OrderChangeConfirmed: "changed",
    e.OrderLineCancelled: "line_cancelled",
    e.OrderSplit: "split",
    e.OrderCancellationRequested: "cancellation_requested",
    e.OrderCancelled: "cancelled",
    e.OrderExpired: "expired",
    e.OrderRejected: "rejected",
    e.OrderCompleted: "completed",
    e.OrderReopened: "reopened",
    e.OrderReinstated: "reinstated",
    e.RefundGranted: "refund_granted",
    e.RefundGrantWithdrawn: "refund_withdrawn",
    e.RefundFailed: "refund_failed",
    e.RefundRoutedAsVoid: "refund_voided",
    e.ValueReturned: "value_returned",
    p.OperationDeclined: "declined",
    f.ShipmentDispatched: "shipped",
    f.Delivered: "delivered",
    f.DeliveryFailed: "delivery_failed",
    f.ReturnRequested: "return_requested",
    f.ReturnApproved: "return_approved",
    f.ReturnRejected: "return_rejected",
    f.ReturnReceived: "return_received",
    f.ReturnCancelled: "return_cancelled",
    f.ReturnExpired: "return_expired",
    f.ReturnClosed: "return_closed",
}
"""What an event is called in a buyer's history; one that is not here counts by its money alone."""

_TOTALS: Final = (e.OrderPlaced, e.OrderChangeConfirmed, e.OrderLineCancelled, e.OrderSplit)
_SAYS_AMOUNT: Final = (e.RefundFailed, e.RefundRoutedAsVoid, e.ValueReturned)
_REFERENCES: Final = (
    *("refund_id", "redemption_id", "change_id", "new_order_id", "split_from", "line_id"),
    "rule_id",
)
_OPEN: Final = frozenset({Lifecycle.PLACED, Lifecycle.CONFIRMED, Lifecycle.CANCELLING})

_Totals = tuple[int, ...]
"""The counts and amounts of a customer's row, in its order."""
_FIRST_TOTAL: Final = 2
_END_TOTALS: Final = 11


def _is_read(name: str, struct: type[Event]) -> bool:
    # Of a payment, outcomes alone move money; what was requested has not moved any yet.
    return name.startswith("order.") or struct in _WORDS or issubclass(struct, p.OutcomeEvent)


class Customers(ReadModel):
    """The read model ``customers``."""

    name = "customers"
    version = 1
    tables = (_CUSTOMERS, _EVENTS, _ORDERS)
    topics = frozenset([name for name, struct in folded().items() if _is_read(name, struct)])
    folds = frozenset({"order", *OF_ORDERS})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Bring what the order adds to its buyer up to date, and tell what happened."""
        order_id = order_of(recorded, rows)
        if not order_id:
            return
        order = cast(OrderState, rows.state(streams.order(order_id)))
        found = rows.get(_ORDERS, (order_id,))
        before = (
            _of_row(found)
            if found is not None
            else CustomerOrderRow(order_id, order.buyer_ref, order.currency, "", 0, 0, 0, None, 0)
        )
        now = _order(before, order, recorded, rows)
        if now.buyer_ref != before.buyer_ref:
            _move_history(before, now.buyer_ref, rows)
        happened = _happened(recorded, order, before, now)
        if happened is not None:
            rows.put(_EVENTS, astuple(happened))
            now = replace(now, last_position=recorded.position)
        if now != before:
            rows.put(_ORDERS, astuple(now))
            _count(before, now, rows)


def _of_row(row: tuple[object, ...]) -> CustomerOrderRow:
    return CustomerOrderRow(*cast("tuple[Any, ...]", row))


def _order(
    before: CustomerOrderRow, order: OrderState, recorded: Recorded, rows: Rows
) -> CustomerOrderRow:
    """Return what an order adds to its buyer after an event."""
    tenders = tenders_of(order, lambda payment_id: rows.state(streams.payment(payment_id)))
    return CustomerOrderRow(
        before.order_id,
        order.buyer_ref,
        order.currency,
        order.lifecycle.value,
        charged_by(tenders) - charged_back_by(tenders),
        refunded_by(order, tenders),
        order.refund_outstanding,
        recorded.occurred_at if type(recorded.event) is e.OrderPlaced else before.placed_at,
        before.last_position,
    )


def _move_history(before: CustomerOrderRow, buyer_ref: str, rows: Rows) -> None:
    """Give an order's history to the buyer who signed in; a draft has a short one."""
    position = before.last_position
    while position:
        row = rows.get(_EVENTS, (before.buyer_ref, position))
        if row is None:
            return  # Not fetched yet: this run of the batch is thrown away.
        rows.delete(_EVENTS, (before.buyer_ref, position))
        rows.put(_EVENTS, (buyer_ref, *row[1:]))
        position = cast(int, row[-1])


def _happened(
    recorded: Recorded, order: OrderState, before: CustomerOrderRow, now: CustomerOrderRow
) -> CustomerEventRow | None:
    """Return the row of an event in its buyer's history, or None if it is none of the buyer's."""
    event = recorded.event
    # The amounts of another currency are another customer row's.
    is_same = before.currency == now.currency
    charged = now.charged - (before.charged if is_same else 0)
    refunded = now.refunded - (before.refunded if is_same else 0)
    what = _WORDS.get(type(event)) or _money_word(charged, refunded)
    if not what:
        return None
    return CustomerEventRow(
        now.buyer_ref,
        recorded.position,
        now.order_id,
        what,
        _reference(recorded),
        (event.currency if isinstance(event, e.RefundGranted) else "") or now.currency,
        _amount(event, order) or abs(refunded or charged),
        charged,
        refunded,
        recorded.occurred_at,
        recorded.recorded_at,
        now.last_position,
    )


def _money_word(charged: int, refunded: int) -> str:
    if refunded:
        return "refunded" if refunded > 0 else "refund_reversed"
    if charged:
        return "charged" if charged > 0 else "charge_reversed"
    return ""


def _amount(event: Event, order: OrderState) -> int:
    if isinstance(event, _TOTALS):
        return order.total
    if isinstance(event, e.RefundGranted):
        return event.total
    if isinstance(event, e.RefundGrantWithdrawn):
        grant = order.grants.get(event.refund_id)
        return grant.total if grant is not None else 0
    return event.amount if isinstance(event, _SAYS_AMOUNT) else 0


def _reference(recorded: Recorded) -> str:
    if recorded.kind in ("fulfilment", "return"):
        return recorded.entity_id
    for name in _REFERENCES:
        found = str(getattr(recorded.event, name, ""))
        if found:
            return found
    return recorded.entity_id if recorded.kind == "payment" else ""


def _totals(one: CustomerOrderRow) -> _Totals:
    is_placed, lifecycle = one.placed_at is not None, one.lifecycle
    return (
        int(is_placed),
        int(is_placed and lifecycle in _OPEN),
        int(is_placed and lifecycle == Lifecycle.COMPLETED),
        int(is_placed and lifecycle == Lifecycle.CANCELLED),
        int(is_placed and lifecycle == Lifecycle.EXPIRED),
        int(lifecycle == Lifecycle.REJECTED),
        one.charged,
        one.refunded,
        one.refund_outstanding,
    )


_NOTHING: Final[_Totals] = (0,) * (_END_TOTALS - _FIRST_TOTAL)


def _count(before: CustomerOrderRow, now: CustomerOrderRow, rows: Rows) -> None:
    """Take from the buyer what the order added before, and add what it adds now."""
    was, becomes = _totals(before), _totals(now)
    stays = (before.buyer_ref, before.currency) == (now.buyer_ref, now.currency)
    if stays:
        is_newly_placed = now.placed_at is not None and before.placed_at is None
        if was != becomes:
            _add(now, was, becomes, is_newly_placed, rows)
        return
    if was != _NOTHING:
        _add(before, was, _NOTHING, False, rows)
    if becomes != _NOTHING:
        _add(now, _NOTHING, becomes, now.placed_at is not None, rows)


def _add(
    order: CustomerOrderRow, was: _Totals, becomes: _Totals, is_placed: bool, rows: Rows
) -> None:
    """Change a customer's row by a difference; one of which nothing is left goes."""
    key = (order.buyer_ref, order.currency)
    row = rows.get(_CUSTOMERS, key) or (*key, *_NOTHING, None, None, "")
    totals = tuple(
        [
            cast(int, total) - less + more
            for total, less, more in zip(row[_FIRST_TOTAL:_END_TOTALS], was, becomes, strict=True)
        ]
    )
    if totals == _NOTHING:
        rows.delete(_CUSTOMERS, key)
        return
    first_at, last_at, last_id = cast(
        "tuple[datetime | None, datetime | None, str]", row[_END_TOTALS:]
    )
    at = order.placed_at
    if is_placed and at is not None:
        first_at = at if first_at is None else min(first_at, at)
        if last_at is None or at >= last_at:
            last_at, last_id = at, order.order_id
    rows.put(_CUSTOMERS, (*key, *totals, first_at, last_at, last_id))
