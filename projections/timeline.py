"""
What happened to each order, step by step, and how long each step took. SQL view: ``order_steps``.
"""

from datetime import datetime, timedelta
from typing import Any, Final, cast

from orderledger.ledger.events import topic_of
from orderledger.ledger.folds import FOLDS

from .models import ReadModel, Recorded, Rows
from .tables import TableRow, table


@table("order_steps", key_count=2)
class OrderStepRow(TableRow, frozen=True):
    """
    One row per event of an order and of its payments, fulfilments, returns and disputes.

    Durations are microseconds on the world's clock; a step that is reported late has happened
    before the one recorded before it, and a negative duration.
    """

    order_id: str
    position: int
    stream: str
    topic: str
    occurred_at: datetime
    recorded_at: datetime
    since_previous_us: int
    since_first_us: int


STEPS: Final = OrderStepRow.table


@table("order_clocks")
class OrderClockRow(TableRow, frozen=True):
    """Working rows: the first and the latest instant of each order, on the world's clock."""

    order_id: str
    first_at: datetime
    last_at: datetime


_CLOCKS: Final = OrderClockRow.table

OF_ORDERS: Final = frozenset({"payment", "fulfilment", "return", "dispute"})
"""Kinds of stream that belong to an order and say so in their state."""
_MICROSECOND: Final = timedelta(microseconds=1)


class Timeline(ReadModel):
    """The read model ``timeline``."""

    name = "timeline"
    version = 1
    tables = (STEPS, _CLOCKS)
    topics = frozenset(
        topic_of(event) for kind in ("order", *OF_ORDERS) for event in FOLDS[kind].evolve
    )
    folds = OF_ORDERS

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Add the event as a step of its order."""
        order_id = order_of(recorded, rows)
        if not order_id:
            return
        at = recorded.occurred_at
        before = rows.get(_CLOCKS, (order_id,))
        first_at = cast(datetime, before[1]) if before is not None else at
        last_at = cast(datetime, before[2]) if before is not None else at
        rows.put(_CLOCKS, (order_id, first_at, at))
        rows.put(
            STEPS,
            (
                order_id,
                recorded.position,
                recorded.stream,
                recorded.topic,
                at,
                recorded.recorded_at,
                (at - last_at) // _MICROSECOND,
                (at - first_at) // _MICROSECOND,
            ),
        )


def order_of(recorded: Recorded, rows: Rows) -> str:
    """Return the order that an event is about, or ""; for a model that folds ``OF_ORDERS``."""
    if recorded.kind == "order":
        return recorded.entity_id
    if recorded.kind in OF_ORDERS:
        state: Any = rows.state(recorded.stream)
        return str(state.order_id)
    return ""
