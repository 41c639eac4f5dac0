"""
What a seller's standing is made of, and what it is. SQL view: ``seller_standing``.
"""

from datetime import datetime
from typing import Any, Final, cast

from msgspec.structs import astuple, replace

from orderledger.ledger import seller_events as s
from orderledger.ledger.escrow_events import FundsFrozen
from orderledger.ledger.model_ports import Row
from orderledger.ledger.order_events import (
    MoveKind,
    OrderLinesMoved,
    OrderPlaced,
    RefundGranted,
    RefundGrantWithdrawn,
)
from orderledger.ledger.orders import OrderState
from orderledger.ledger.standing_policy import DEFAULT, StandingCounts, score_of, standing_of

from .models import ReadModel, Recorded, Rows
from .tables import TableRow, table


@table("seller_standing", indexes=(("standing",), ("earned_standing",)))
class SellerStandingRow(TableRow, frozen=True):
    """
    One row per seller, all currencies together.

    ``standing`` and ``score`` were decided (``ChangeSellerStanding``); empty and 0: never.
    ``earned_standing`` and ``earned_score`` are what the counts give now by the default policy
    (``ledger/standing_policy.py``); a host with a policy of its own scores the counts itself.

    ``order_count`` counts orders placed with a line of the seller; units are of its lines.
    ``refund_count`` counts refunds granted for its lines and not withdrawn, ``dispute_count`` the
    disputes and chargebacks that froze its funds.
    """

    seller: str
    standing: str
    score: int
    earned_standing: str
    earned_score: int
    is_suspended: bool
    reason: str
    order_count: int
    delivered_units: int
    lost_units: int
    returned_units: int
    refund_count: int
    dispute_count: int
    changed_at: datetime | None


_STANDING: Final = SellerStandingRow.table
_UNITS: Final = {
    MoveKind.DELIVERED: "delivered_units",
    MoveKind.LOST: "lost_units",
    MoveKind.RETURNED_OK: "returned_units",
    MoveKind.RETURNED_DAMAGED: "returned_units",
}


class SellerStanding(ReadModel):
    """The read model ``seller_standing``."""

    name = "seller_standing"
    version = 1
    tables = (_STANDING,)
    topics = frozenset(
        {
            "order.placed.v1",
            "order.lines_moved.v1",
            "order.refund_granted.v1",
            "order.refund_grant_withdrawn.v1",
            "order.funds_frozen.v1",
            "standing.changed.v1",
            "standing.suspended.v1",
            "standing.reinstated.v1",
        }
    )
    folds = frozenset({"order"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Count what the event says of its sellers."""
        match recorded.event:
            case s.SellerStandingChanged(seller=seller, new=new, score=score):
                at = recorded.occurred_at
                _write(rows, seller, standing=new.value, score=score, changed_at=at)
            case s.SellerSuspended(seller=seller, reason=reason):
                _write(rows, seller, is_suspended=True, reason=reason)
            case s.SellerReinstated(seller=seller):
                _write(rows, seller, is_suspended=False, reason="")
            case OrderPlaced(lines=lines):
                for seller in dict.fromkeys([line.seller for line in lines]):
                    _add(rows, seller, "order_count", 1)
            case FundsFrozen(slice_id=seller):
                _add(rows, seller, "dispute_count", 1)
            case OrderLinesMoved() as event:
                _move(recorded, rows, event)
            case RefundGranted() | RefundGrantWithdrawn() as event:
                _refund(recorded, rows, event)
            case _:
                pass


def _seller_of(order: OrderState, line_id: str) -> str:
    line = order.lines.get(line_id)
    return line.line.seller if line is not None else ""


def _move(recorded: Recorded, rows: Rows, event: OrderLinesMoved) -> None:
    column = _UNITS.get(event.kind)
    if column is None:
        return
    order = cast(OrderState, rows.state(recorded.stream))
    for moved in event.lines:
        _add(rows, _seller_of(order, moved.line_id), column, moved.quantity)


def _refund(recorded: Recorded, rows: Rows, event: RefundGranted | RefundGrantWithdrawn) -> None:
    order = cast(OrderState, rows.state(recorded.stream))
    grant = order.grants.get(event.refund_id)
    sign = 1 if isinstance(event, RefundGranted) else -1
    lines = grant.lines if grant is not None else ()
    for seller in dict.fromkeys([_seller_of(order, line.line_id) for line in lines]):
        _add(rows, seller, "refund_count", sign)


def _add(rows: Rows, seller: str, column: str, count: int) -> None:
    if seller:
        _write(rows, seller, **{column: getattr(_row(rows, seller), column) + count})


def _row(rows: Rows, seller: str) -> SellerStandingRow:
    found = rows.get(_STANDING, (seller,))
    nothing = (seller, "", 0, "", 0, False, "", *(0,) * 6, None)
    return SellerStandingRow(*cast(Any, found if found is not None else nothing))


def _write(rows: Rows, seller: str, **changed: Any) -> None:
    after = replace(_row(rows, seller), **changed)
    counts = counts_of(after)
    after = replace(
        after, earned_standing=standing_of(counts).value, earned_score=score_of(counts, DEFAULT)
    )
    row: Row = astuple(after)
    rows.put(_STANDING, row)


def counts_of(row: SellerStandingRow) -> StandingCounts:
    """Return the counts of a row, to be scored by another policy."""
    return StandingCounts(
        order_count=row.order_count,
        delivered_units=row.delivered_units,
        lost_units=row.lost_units,
        returned_units=row.returned_units,
        refund_count=row.refund_count,
        dispute_count=row.dispute_count,
    )
