"""
Granted refunds and where each stands. SQL view: ``refunds``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import order_events as e
from orderledger.ledger import streams
from orderledger.ledger.events import Event
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.orders import OrderState

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("refunds", key_count=2, indexes=(("status", "granted_at"),))
class RefundRow(TableRow, frozen=True):
    """
    One row per granted refund, amounts in minor units of the order's currency; see ``Grant``.

    ``last_at`` is when something last happened to it, in the world.
    """

    order_id: str
    refund_id: str
    currency: str
    status: str
    source: str
    reason: str
    total: Amount
    settled: Amount
    settled_externally: Amount
    outstanding: Amount
    owed_again: Amount
    attempts: int
    granted_at: datetime
    last_at: datetime


REFUNDS: Final = RefundRow.table


@table("refund_times", key_count=2)
class RefundTimesRow(TableRow, frozen=True):
    """Working rows: instants that a folded refund does not keep."""

    order_id: str
    refund_id: str
    granted_at: datetime
    last_at: datetime


_TIMES: Final = RefundTimesRow.table

_OF_A_REFUND: Final[tuple[type[Event], ...]] = (
    e.RefundGranted,
    e.RefundAllocated,
    e.RefundGrantWithdrawn,
    e.RefundSettled,
    e.RefundFailed,
    e.RefundSettledExternally,
    e.RefundRoutedAsVoid,
    e.ValueReturned,
)


class Refunds(ReadModel):
    """The read model ``refunds``."""

    name = "refunds"
    version = 1
    tables = (REFUNDS, _TIMES)
    topics = frozenset(
        {
            "order.refund_granted.v1",
            "order.refund_allocated.v1",
            "order.refund_grant_withdrawn.v1",
            "order.refund_settled.v1",
            "order.refund_failed.v1",
            "order.refund_settled_externally.v1",
            "order.refund_routed_as_void.v1",
            "order.value_returned.v1",
        }
    )
    folds = frozenset({"order"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the refund that an event of the order is about."""
        event, order_id = recorded.event, recorded.entity_id
        assert isinstance(event, _OF_A_REFUND), "its topics are those of refunds"
        refund_id = str(getattr(event, "refund_id", ""))
        if not refund_id:
            return
        at = recorded.occurred_at
        before = rows.get(_TIMES, (order_id, refund_id))
        granted_at = before[2] if before is not None else at
        rows.put(_TIMES, (order_id, refund_id, granted_at, at))
        rows.touch(REFUNDS, (order_id, refund_id))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a refund."""
        order = cast(OrderState, rows.state(streams.order(str(key[0]))))
        grant, times = order.grants.get(str(key[1])), rows.get(_TIMES, key)
        if grant is None or times is None:
            return None
        return (
            key[0],
            key[1],
            order.currency,
            grant.status.value,
            grant.source.value,
            grant.reason,
            grant.total,
            grant.settled_total,
            grant.settled_externally,
            grant.outstanding,
            grant.owed_again,
            grant.attempts,
            times[2],
            times[3],
        )
