"""
Payouts, and the releases that each pays. SQL views: ``payouts``, ``payout_entries``.
"""

from datetime import datetime
from typing import Any, Final, cast

from orderledger.ledger import payout_events as p
from orderledger.ledger import streams
from orderledger.ledger.events import Event
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.payouts import GIVEN_UP, PayoutState

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("payouts", indexes=(("seller", "currency"), ("status", "scheduled_at")))
class PayoutRow(TableRow, frozen=True):
    """
    One row per payout, amounts in minor units of ``currency``; see ``PayoutSum``.

    entries + carried − debt_recovered − reserve = amount, unless the bank paid another one.
    ``closed_at`` is when it was paid, failed, came back or was cancelled, in the world.
    ``sent_unseen`` and ``back_unseen`` left the bank's account, and came back, by what was
    reported, and stand on no bank statement yet.
    """

    payout_id: str
    seller: str
    currency: str
    bank: str
    status: str
    amount: Amount
    entries: Amount
    carried: Amount
    debt_recovered: Amount
    reserve: Amount
    fee: Amount
    entry_count: int
    bank_ref: str
    reason: str
    anomaly_count: int
    sent_unseen: Amount
    back_unseen: Amount
    scheduled_at: datetime | None
    initiated_at: datetime | None
    closed_at: datetime | None


@table("payout_entries", key_count=3, indexes=(("order_id", "release_id"),))
class PayoutEntryRow(TableRow, frozen=True):
    """
    One row per release in a payout, in minor units of the payout's currency.

    ``is_live`` as long as the payout was not cancelled, did not fail and did not come back.
    """

    payout_id: str
    order_id: str
    release_id: str
    amount: Amount
    is_live: bool


@table("payout_times")
class PayoutTimesRow(TableRow, frozen=True):
    """Working rows: instants that a folded payout does not keep."""

    payout_id: str
    scheduled_at: datetime | None
    initiated_at: datetime | None
    closed_at: datetime | None


_PAYOUTS: Final = PayoutRow.table
_ENTRIES: Final = PayoutEntryRow.table
_TIMES: Final = PayoutTimesRow.table
_CLOSING: Final[tuple[type[Event], ...]] = (
    p.PayoutPaid,
    p.PayoutFailed,
    p.PayoutReturned,
    p.PayoutCancelled,
)


class Payouts(ReadModel):
    """The read model ``payouts``."""

    name = "payouts"
    version = 2
    tables = (_PAYOUTS, _ENTRIES, _TIMES)
    topics = frozenset(topic for topic in folded() if topic.startswith(("payout.", "anomaly.")))
    folds = frozenset({"payout"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the payout and its entries."""
        if recorded.kind != "payout":
            return
        payout_id, event = recorded.entity_id, recorded.event
        times = rows.get(_TIMES, (payout_id,)) or (payout_id, None, None, None)
        _, scheduled_at, initiated_at, closed_at = times
        if isinstance(event, p.PayoutScheduled):
            scheduled_at = recorded.occurred_at
        elif isinstance(event, p.PayoutInitiated):
            initiated_at = recorded.occurred_at
        elif isinstance(event, _CLOSING):
            closed_at = recorded.occurred_at
        rows.put(_TIMES, (payout_id, scheduled_at, initiated_at, closed_at))
        rows.touch(_PAYOUTS, (payout_id,))
        payout = cast(PayoutState, rows.state(recorded.stream))
        for one in payout.entries:
            rows.touch(_ENTRIES, (payout_id, one.order_id, one.release_id))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a payout or of one of its entries."""
        payout = cast(PayoutState, rows.state(streams.payout(str(key[0]))))
        if table is _ENTRIES:
            return _entry(payout, key)
        if not payout.exists:
            return None
        return _payout(payout, rows)


def _entry(payout: PayoutState, key: Key) -> Row | None:
    for one in payout.entries:
        if (one.order_id, one.release_id) == key[1:]:
            return (*key, one.amount, payout.status not in GIVEN_UP)
    return None


def _payout(payout: PayoutState, rows: Rows) -> Row:
    times: Any = rows.get(_TIMES, (payout.payout_id,)) or (payout.payout_id, None, None, None)
    return (
        payout.payout_id,
        payout.seller,
        payout.currency,
        payout.bank,
        payout.status.value,
        payout.amount,
        payout.sum.entries,
        payout.sum.carried,
        payout.sum.debt_recovered,
        payout.sum.reserve,
        payout.fee,
        len(payout.entries),
        payout.bank_ref,
        payout.reason,
        len(payout.anomalies),
        payout.sent - payout.sent_seen,
        payout.back - payout.back_seen,
        *times[1:],
    )
