"""
The orders of a book with their status axes, and their lines.

SQL views: ``orders``, ``order_lines``.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, cast

from orderledger.ledger import order_events as e
from orderledger.ledger import streams
from orderledger.ledger.events import Event
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.order_axes import axes_of
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.tenders import tenders_of

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("orders", indexes=(("buyer_ref", "placed_at"), ("lifecycle", "placed_at")))
class OrderRow(TableRow, frozen=True):
    """
    One row per order. Amounts in minor units of ``currency``; the axes as in ``OrderAxes``.

    ``placed_at`` and ``ended_at`` are the world's clock; the latter is set for cancelled, expired,
    rejected and completed orders, and empty again when one is reopened. ``frozen`` is what is
    frozen of it now, in escrow and of what sellers were released.
    """

    order_id: str
    buyer_ref: str
    channel: str
    currency: str
    lifecycle: str
    authorise_status: str
    charge_status: str
    refund_status: str
    fulfilment_status: str
    dispute_status: str
    is_held: bool
    total: Amount
    due: Amount
    authorised: Amount
    charged: Amount
    refunded: Amount
    granted: Amount
    balance: Amount
    escrow_held: Amount
    frozen: Amount
    released: Amount
    line_count: int
    content_version: int
    anomaly_count: int
    placed_at: datetime | None
    ended_at: datetime | None
    reason: str


ORDERS: Final = OrderRow.table


@table("order_lines", key_count=2, indexes=(("sku",), ("seller",)))
class OrderLineRow(TableRow, frozen=True):
    """One row per line of an order: quantities, and minor units of the order's currency."""

    order_id: str
    line_id: str
    sku: str
    seller: str
    quantity: int
    cancelled: int
    allocated: int
    shipped: int
    delivered: int
    return_requested: int
    returned_ok: int
    returned_damaged: int
    lost: int
    written_off: int
    charged: Amount
    granted: Amount


LINES: Final = OrderLineRow.table


@table("order_times")
class OrderTimesRow(TableRow, frozen=True):
    """Working rows: instants that a folded order does not keep."""

    order_id: str
    placed_at: datetime | None
    ended_at: datetime | None


_TIMES: Final = OrderTimesRow.table

_ENDS: Final = (e.OrderCancelled, e.OrderExpired, e.OrderRejected, e.OrderCompleted)
_REVIVES: Final = (e.OrderReopened, e.OrderReinstated)


class Orders(ReadModel):
    """The read model ``orders``."""

    name = "orders"
    version = 2
    tables = (ORDERS, LINES, _TIMES)
    topics = frozenset(
        topic for topic in folded() if topic.startswith(("order.", "payment.", "anomaly."))
    )
    folds = frozenset({"order", "payment"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the order that an event of its own or of one of its payments is about."""
        kind = recorded.kind
        if kind == "payment":
            payment = cast(PaymentState, rows.state(recorded.stream))
            if payment.order_id:
                rows.touch(ORDERS, (payment.order_id,))
            return
        if kind != "order":
            return
        order_id = recorded.entity_id
        rows.touch(ORDERS, (order_id,))
        self._keep_times(recorded, order_id, rows)
        order = cast(OrderState, rows.state(recorded.stream))
        for line_id in (*order.lines, *_removed(recorded.event)):
            rows.touch(LINES, (order_id, line_id))

    def _keep_times(self, recorded: Recorded, order_id: str, rows: Rows) -> None:
        event, at = recorded.event, recorded.occurred_at
        if isinstance(event, e.OrderPlaced):
            _, _, ended_at = rows.get(_TIMES, (order_id,)) or (order_id, None, None)
            rows.put(_TIMES, (order_id, at, ended_at))
        elif isinstance(event, (*_ENDS, *_REVIVES)):
            _, placed_at, _ = rows.get(_TIMES, (order_id,)) or (order_id, None, None)
            rows.put(_TIMES, (order_id, placed_at, at if isinstance(event, _ENDS) else None))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of an order or of one of its lines."""
        order = cast(OrderState, rows.state(streams.order(str(key[0]))))
        if table is LINES:
            return _line(order, str(key[1]))
        if not order.exists:
            return None
        times = rows.get(_TIMES, (key[0],)) or (key[0], None, None)
        return _order(order, rows, cast("tuple[str, datetime | None, datetime | None]", times))


def _removed(event: Event) -> Iterator[str]:
    """Iterate over the lines that an order no longer has."""
    if isinstance(event, e.OrderChangeConfirmed):
        yield from event.removed
    elif isinstance(event, e.OrderSplit):
        yield from [moved.line_id for moved in event.moved]


def _order(
    order: OrderState, rows: Rows, times: tuple[str, datetime | None, datetime | None]
) -> Row:
    tenders = tenders_of(order, lambda payment_id: rows.state(streams.payment(payment_id)))
    axes = axes_of(order, tenders)
    return (
        order.order_id,
        order.buyer_ref,
        order.channel,
        order.currency,
        order.lifecycle.value,
        axes.authorise.value,
        axes.charge.value,
        axes.refund.value,
        axes.fulfilment.value,
        axes.dispute.value,
        bool(order.holds),
        order.total,
        order.due,
        axes.authorised,
        axes.charged,
        axes.refunded,
        axes.granted,
        axes.balance,
        order.escrow_held,
        _frozen(order),
        order.released,
        len(order.lines),
        order.version,
        len(order.anomalies),
        times[1],
        times[2],
        order.reason,
    )


def _frozen(order: OrderState) -> int:
    in_escrow = sum([one.frozen_total for one in order.slices.values()])
    return in_escrow + sum([one.in_reserve for one in order.freezes.values()])


def _line(order: OrderState, line_id: str) -> Row | None:
    line = order.lines.get(line_id)
    if line is None:
        return None
    return (
        order.order_id,
        line_id,
        line.line.sku,
        line.line.seller,
        line.live,
        line.cancelled,
        line.allocated,
        line.shipped,
        line.delivered,
        line.return_requested,
        line.returned_ok,
        line.returned_damaged,
        line.lost,
        line.written_off,
        line.charged,
        line.granted,
    )
