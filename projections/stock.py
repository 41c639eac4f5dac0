"""
Units of order lines that are set aside in stock. SQL view: ``stock_reservations``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.order_events import StockReserved
from orderledger.ledger.orders import OrderState

from .models import ReadModel, Recorded, Rows
from .tables import TableRow, table


@table("stock_reservations", key_count=2, indexes=(("sku",), ("until",)))
class StockReservationRow(TableRow, frozen=True):
    """
    One row per reservation that is in force; released ones are gone.

    ``quantity`` in units of the line; ``until`` empty: for good.
    """

    order_id: str
    reservation_id: str
    line_id: str
    sku: str
    quantity: int
    until: datetime | None
    reserved_at: datetime


RESERVATIONS: Final = StockReservationRow.table


@table("stock_seen", key_count=2)
class StockSeenRow(TableRow, frozen=True):
    """Working rows: since when units are set aside."""

    order_id: str
    reservation_id: str
    reserved_at: datetime


_SEEN: Final = StockSeenRow.table


class Stock(ReadModel):
    """The read model ``stock``."""

    name = "stock"
    version = 1
    tables = (RESERVATIONS, _SEEN)
    topics = frozenset(topic for topic in folded() if topic.startswith("order."))
    folds = frozenset({"order"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch every reservation that the order has, or has had before this event."""
        event, order_id = recorded.event, recorded.entity_id
        if isinstance(event, StockReserved):
            reservation_id = event.reservation.reservation_id
            if rows.get(_SEEN, (order_id, reservation_id)) is None:
                rows.put(_SEEN, (order_id, reservation_id, recorded.occurred_at))
            rows.touch(RESERVATIONS, (order_id, reservation_id))
        released = getattr(event, "released_reservations", ())
        for reservation_id in (*released, str(getattr(event, "reservation_id", ""))):
            if reservation_id:
                rows.touch(RESERVATIONS, (order_id, reservation_id))
        order = cast(OrderState, rows.state(recorded.stream))
        for reservation_id, reservation in order.reservations.items():
            # Placed with the order, or its line changed: the row is made from the state.
            if rows.get(_SEEN, (order_id, reservation_id)) is None:
                rows.put(_SEEN, (order_id, reservation_id, recorded.occurred_at))
            rows.touch(RESERVATIONS, (order_id, reservation.reservation_id))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a reservation, None once it is released."""
        order = cast(OrderState, rows.state(streams.order(str(key[0]))))
        reservation, seen = order.reservations.get(str(key[1])), rows.get(_SEEN, key)
        if reservation is None or seen is None:
            return None
        line = order.lines.get(reservation.line_id)
        return (
            key[0],
            key[1],
            reservation.line_id,
            line.line.sku if line is not None else "",
            reservation.quantity,
            reservation.until,
            seen[2],
        )
