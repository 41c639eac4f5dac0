"""
What a seller's standing is made of, and what it is. SQL view: ``seller_standing``.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from msgspec.structs import astuple, replace

from orderledger.ledger import seller_events as s
from orderledger.ledger.chargeback_events import ChargebackLossAssigned
from orderledger.ledger.chargeback_stages import Liability
from orderledger.ledger.dispute_events import DisputeAccepted
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_ruling_events import RulingExecuted
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.model_ports import Row
from orderledger.ledger.order_events import (
    MoveKind,
    OrderLinesMoved,
    OrderPlaced,
    RefundGranted,
    RefundGrantWithdrawn,
)
from orderledger.ledger.orders import OrderState
from orderledger.ledger.standing_policy import (
    DEFAULT,
    StandingCounts,
    StandingPolicy,
    score_of,
    standing_of,
)

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
    disputes that were admitted, ``dispute_lost_count`` those of them whose ruling or settlement, as
    it was executed last, gave the buyer something, and ``chargeback_lost_count`` the chargebacks of
    whose loss it bears a part. The score counts what was lost.
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
    dispute_lost_count: int
    chargeback_lost_count: int
    changed_at: datetime | None


@table("standing_cases", key_count=2)
class StandingCaseRow(TableRow, frozen=True):
    """
    Working rows: the sellers against whom a dispute or chargeback counts, separated by spaces.

    ``case_id`` is the stream and the id of the chargeback, or of nothing.
    """

    stream: str
    case_id: str
    lost_by: str


_STANDING: Final = SellerStandingRow.table
_CASES: Final = StandingCaseRow.table
_UNITS: Final = {
    MoveKind.DELIVERED: "delivered_units",
    MoveKind.LOST: "lost_units",
    MoveKind.RETURNED_OK: "returned_units",
    MoveKind.RETURNED_DAMAGED: "returned_units",
}


class _Scored(NamedTuple):
    """Rows, and the policy by which what is written of them is scored."""

    rows: Rows
    policy: StandingPolicy


class SellerStanding(ReadModel):
    """
    The read model ``seller_standing``.

    Stored rows are of the default policy; another one is for what is only supposed.
    """

    name = "seller_standing"
    version = 2
    tables = (_STANDING, _CASES)
    topics = frozenset(
        {
            "order.placed.v1",
            "order.lines_moved.v1",
            "order.refund_granted.v1",
            "order.refund_grant_withdrawn.v1",
            "dispute.accepted.v1",
            "dispute.ruling_executed.v1",
            "payment.chargeback_loss_assigned.v1",
            "standing.changed.v1",
            "standing.suspended.v1",
            "standing.reinstated.v1",
        }
    )
    folds = frozenset({"order", "dispute"})

    def __init__(self, policy: StandingPolicy = DEFAULT) -> None:
        self._policy: Final = policy

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Count what the event says of its sellers."""
        to = _Scored(rows, self._policy)
        match recorded.event:
            case s.SellerStandingChanged(seller=seller, new=new, score=score):
                at = recorded.occurred_at
                _write(to, seller, standing=new.value, score=score, changed_at=at)
            case s.SellerSuspended(seller=seller, reason=reason):
                _write(to, seller, is_suspended=True, reason=reason)
            case s.SellerReinstated(seller=seller):
                _write(to, seller, is_suspended=False, reason="")
            case OrderPlaced(lines=lines):
                for seller in dict.fromkeys([line.seller for line in lines]):
                    _add(to, seller, "order_count", 1)
            case DisputeAccepted():
                _add(to, _dispute(recorded, rows).seller, "dispute_count", 1)
            case RulingExecuted():
                dispute = _dispute(recorded, rows)
                lost_by = {dispute.seller} if dispute.award.get(Party.BUYER, 0) else set[str]()
                _lost(to, (recorded.stream, ""), lost_by, "dispute_lost_count")
            case ChargebackLossAssigned(liability=liability, parts=parts) as event:
                borne = {part.slice_id for part in parts if part.slice_id}
                lost_by = borne if liability is Liability.SELLER else set[str]()
                case_id = (recorded.stream, event.chargeback_id)
                _lost(to, case_id, lost_by, "chargeback_lost_count")
            case OrderLinesMoved() as event:
                _move(recorded, to, event)
            case RefundGranted() | RefundGrantWithdrawn() as event:
                _refund(recorded, to, event)
            case _:
                pass


def _dispute(recorded: Recorded, rows: Rows) -> DisputeState:
    return cast(DisputeState, rows.state(recorded.stream))


def _lost(to: _Scored, key: tuple[str, str], lost_by: set[str], column: str) -> None:
    """Count a case against those who lost it, and no more against those who did before."""
    row = to.rows.get(_CASES, key)
    before = set(str(row[2]).split()) if row is not None else set[str]()
    for seller in sorted(before - lost_by):
        _add(to, seller, column, -1)
    for seller in sorted(lost_by - before):
        _add(to, seller, column, 1)
    to.rows.put(_CASES, (*key, " ".join(sorted(lost_by))))


def _seller_of(order: OrderState, line_id: str) -> str:
    line = order.lines.get(line_id)
    return line.line.seller if line is not None else ""


def _move(recorded: Recorded, to: _Scored, event: OrderLinesMoved) -> None:
    column = _UNITS.get(event.kind)
    if column is None:
        return
    order = cast(OrderState, to.rows.state(recorded.stream))
    for moved in event.lines:
        _add(to, _seller_of(order, moved.line_id), column, moved.quantity)


def _refund(recorded: Recorded, to: _Scored, event: RefundGranted | RefundGrantWithdrawn) -> None:
    order = cast(OrderState, to.rows.state(recorded.stream))
    grant = order.grants.get(event.refund_id)
    sign = 1 if isinstance(event, RefundGranted) else -1
    lines = grant.lines if grant is not None else ()
    for seller in dict.fromkeys([_seller_of(order, line.line_id) for line in lines]):
        _add(to, seller, "refund_count", sign)


def _add(to: _Scored, seller: str, column: str, count: int) -> None:
    if seller:
        _write(to, seller, **{column: getattr(_row(to.rows, seller), column) + count})


def _row(rows: Rows, seller: str) -> SellerStandingRow:
    found = rows.get(_STANDING, (seller,))
    nothing = (seller, "", 0, "", 0, False, "", *(0,) * 8, None)
    return SellerStandingRow(*cast(Any, found if found is not None else nothing))


def _write(to: _Scored, seller: str, **changed: Any) -> None:
    after = replace(_row(to.rows, seller), **changed)
    counts = counts_of(after)
    after = replace(
        after,
        earned_standing=standing_of(counts, to.policy).value,
        earned_score=score_of(counts, to.policy),
    )
    row: Row = astuple(after)
    to.rows.put(_STANDING, row)


def counts_of(row: SellerStandingRow) -> StandingCounts:
    """Return the counts of a row, to be scored by another policy."""
    return StandingCounts(
        order_count=row.order_count,
        delivered_units=row.delivered_units,
        lost_units=row.lost_units,
        returned_units=row.returned_units,
        refund_count=row.refund_count,
        dispute_count=row.dispute_lost_count + row.chargeback_lost_count,
    )
