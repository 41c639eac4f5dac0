"""
Settlement batches, their lines and what does not agree.

SQL views: ``settlements``, ``settlement_balances``, ``settlement_lines``, ``settlement_breaks``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.settlement_events import (
    BreakKind,
    SettlementBreakRaised,
    SettlementBreakResolved,
    SettlementFileReceived,
    SettlementLineMatched,
    SettlementLineRecorded,
    SettlementPayoutArrived,
)
from orderledger.ledger.settlements import LineState, SettlementState, balance_of
from orderledger.ledger.streams import id_of

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("settlements", key_count=2, indexes=(("status", "received_at"),))
class SettlementRow(TableRow, frozen=True):
    """
    One row per batch; its sums are in ``settlement_balances``. Instants are the world's clock.
    """

    provider: str
    batch: str
    status: str
    bank: str
    sha256: str
    line_count: int
    recorded_count: int
    break_count: int
    open_count: int
    received_at: datetime
    last_at: datetime
    closed_by: str


@table("settlement_balances", key_count=3)
class SettlementBalanceRow(TableRow, frozen=True):
    """
    One row per batch and currency, amounts in minor units of ``currency``, over the lines recorded.

    opening + net = payout + closing + difference. What the file does not state is 0 (opening) or
    what the lines leave (closing, payout).
    """

    provider: str
    batch: str
    currency: str
    opening: Amount
    net: Amount
    payout: Amount
    closing: Amount
    difference: Amount


@table("settlement_lines", key_count=3, indexes=(("reference",), ("type", "provider")))
class SettlementLineRow(TableRow, frozen=True):
    """
    One row per line: ``gross`` in minor units of ``gross_currency``, ``fee``, ``net`` and
    ``variance`` in minor units of ``currency``, signed as the provider states them.

    ``status`` is settled (it shows operations), open (it has an open break) or recorded.
    ``payment_id`` and ``op_id`` are those of the first operation, ``operation_count`` counts them.
    ``arrived`` is what bank statements have shown of a payout, in minor units of ``currency``.
    """

    provider: str
    batch: str
    line_no: int
    type: str
    raw_kind: str
    status: str
    gross: Amount
    gross_currency: str
    fee: Amount
    net: Amount
    currency: str
    reference: str
    modification_reference: str
    merchant_reference: str
    payment_id: str
    op_id: str
    operation_count: int
    variance: Amount
    arrived: Amount
    occurred_at: datetime | None


@table("settlement_breaks", key_count=3, indexes=(("is_open", "kind", "raised_at"),))
class SettlementBreakRow(TableRow, frozen=True):
    """
    One row per break, ``amount`` in minor units of ``currency``; see ``SettlementBreakRaised``.

    ``raised_at`` and ``resolved_at`` are the engine's clock: the age of a break counts from the
    first.
    """

    provider: str
    batch: str
    break_id: str
    kind: str
    is_open: bool
    line_no: int
    amount: Amount
    currency: str
    payment_id: str
    op_id: str
    detail: str
    raised_at: datetime
    resolved_at: datetime | None
    action: str
    resolved_by: str
    reason: str
    account: str


@table("settlement_times", key_count=2)
class SettlementTimesRow(TableRow, frozen=True):
    """Working rows: instants that a folded batch does not keep."""

    provider: str
    batch: str
    received_at: datetime
    last_at: datetime


BATCHES: Final = SettlementRow.table
BALANCES: Final = SettlementBalanceRow.table
LINES: Final = SettlementLineRow.table
BREAKS: Final = SettlementBreakRow.table
_TIMES: Final = SettlementTimesRow.table


class Settlements(ReadModel):
    """The read model ``settlements``."""

    name = "settlements"
    version = 1
    tables = (BATCHES, BALANCES, LINES, BREAKS, _TIMES)
    topics = frozenset(topic for topic in folded() if topic.startswith("settlement."))
    folds = frozenset({"settlement"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the batch and the line that an event is about; write its break."""
        provider, _, batch = id_of(recorded.stream).partition("/")
        event, key = recorded.event, (provider, batch)
        before = rows.get(_TIMES, key)
        received_at = recorded.occurred_at if before is None else before[2]
        rows.put(_TIMES, (*key, received_at, recorded.occurred_at))
        rows.touch(BATCHES, key)
        if isinstance(event, SettlementFileReceived):
            for stated in event.balances:
                rows.touch(BALANCES, (*key, stated.currency))
        elif isinstance(event, SettlementLineRecorded):
            rows.touch(BALANCES, (*key, event.line.currency))
            rows.touch(LINES, (*key, event.line.line_no))
        elif isinstance(event, SettlementLineMatched | SettlementPayoutArrived):
            rows.touch(LINES, (*key, event.line_no))
        elif isinstance(event, SettlementBreakRaised):
            rows.put(BREAKS, _raised(key, event, recorded))
            if event.line_no:
                rows.touch(LINES, (*key, event.line_no))
        elif isinstance(event, SettlementBreakResolved):
            _resolve(key, event, recorded, rows)

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a batch, of a balance or of a line."""
        state = cast(SettlementState, rows.state(streams.settlement(str(key[0]), str(key[1]))))
        if table is LINES:
            known = state.line(cast(int, key[2]))
            return None if known is None else _line(state, known)
        if table is BALANCES:
            one = balance_of(state, str(key[2]))
            amounts = (one.opening, one.net, one.payout, one.closing, one.difference)
            return (state.provider, state.batch, one.currency, *amounts)
        times = rows.get(_TIMES, key)
        assert times is not None, "every event of a batch writes them"
        return (
            state.provider,
            state.batch,
            state.status.value,
            state.bank,
            state.sha256,
            state.line_count,
            state.lines.size,
            state.breaks.size,
            state.open_count,
            times[2],
            times[3],
            state.closed_by,
        )


def _line(state: SettlementState, known: LineState) -> Row:
    line = known.line
    is_open = any(_is_open(state, f"{kind.value}/{line.line_no}") for kind in BreakKind)
    status = "open" if is_open else "settled" if known.parts else "recorded"
    first = known.parts[0] if known.parts else None
    return (
        state.provider,
        state.batch,
        line.line_no,
        line.type.value,
        line.raw_kind,
        status,
        line.gross,
        line.gross_currency,
        line.fee,
        line.net,
        line.currency,
        line.provider_ref,
        line.modification_ref,
        line.merchant_ref,
        "" if first is None else first.payment_id,
        "" if first is None else first.op_id,
        len(known.parts),
        known.variance,
        known.arrived,
        line.occurred_at,
    )


def _is_open(state: SettlementState, break_id: str) -> bool:
    found = state.break_of(break_id)
    return found is not None and found.resolved is None


def _raised(key: tuple[str, str], event: SettlementBreakRaised, recorded: Recorded) -> Row:
    return (
        *key,
        event.break_id,
        event.kind.value,
        True,
        event.line_no,
        event.amount,
        event.currency,
        "" if event.part is None else event.part.payment_id,
        "" if event.part is None else event.part.op_id,
        event.detail,
        recorded.recorded_at,
        None,
        "",
        "",
        "",
        "",
    )


def _resolve(
    key: tuple[str, str], event: SettlementBreakResolved, recorded: Recorded, rows: Rows
) -> None:
    before = rows.get(BREAKS, (*key, event.break_id))
    if before is None:
        return
    ended = (recorded.recorded_at, event.action.value, event.by, event.reason, event.account)
    rows.put(BREAKS, (*before[:4], False, *before[5:12], *ended))
    line_no = before[5]
    if line_no:
        rows.touch(LINES, (*key, line_no))
