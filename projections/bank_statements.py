"""
Bank statements, their lines and what does not agree.

SQL views: ``bank_statements``, ``bank_lines``, ``bank_breaks``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import streams
from orderledger.ledger.bank_events import (
    BankBreakRaised,
    BankBreakResolved,
    BankLineMatched,
    BankLineRecorded,
)
from orderledger.ledger.bank_statements import StatementState
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.streams import id_of

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("bank_statements", key_count=2)
class BankStatementRow(TableRow, frozen=True):
    """
    One row per statement, amounts in minor units of ``currency``: opening + net = closing +
    difference.

    A closing that nobody states is what the lines leave.
    """

    bank: str
    statement: str
    status: str
    currency: str
    opening: Amount
    net: Amount
    closing: Amount
    difference: Amount
    line_count: int
    recorded_count: int
    open_count: int
    sha256: str


@table("bank_lines", key_count=3, indexes=(("reference",),))
class BankLineRow(TableRow, frozen=True):
    """
    One row per line, ``amount`` in minor units of ``currency``, positive where it came in.

    ``shows`` is the id of the first subject, ``subject_count`` counts them.
    """

    bank: str
    statement: str
    line_no: int
    booked_at: datetime
    amount: Amount
    currency: str
    reference: str
    external_id: str
    shows_kind: str
    shows: str
    subject_count: int


@table("bank_breaks", key_count=3, indexes=(("is_open", "raised_at"),))
class BankBreakRow(TableRow, frozen=True):
    """
    One row per break, ``amount`` in minor units of ``currency``; instants are the engine's clock.
    """

    bank: str
    statement: str
    break_id: str
    kind: str
    is_open: bool
    line_no: int
    amount: Amount
    currency: str
    detail: str
    raised_at: datetime
    resolved_at: datetime | None
    action: str
    resolved_by: str
    reason: str
    account: str


STATEMENTS: Final = BankStatementRow.table
LINES: Final = BankLineRow.table
BREAKS: Final = BankBreakRow.table


class BankStatements(ReadModel):
    """The read model ``bank_statements``."""

    name = "bank_statements"
    version = 1
    tables = (STATEMENTS, LINES, BREAKS)
    topics = frozenset(topic for topic in folded() if topic.startswith("bank."))
    folds = frozenset({"bank"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the statement and the line that an event is about; write its break."""
        bank, _, statement = id_of(recorded.stream).partition("/")
        event, key = recorded.event, (bank, statement)
        rows.touch(STATEMENTS, key)
        if isinstance(event, BankLineRecorded):
            rows.touch(LINES, (*key, event.line.line_no))
        elif isinstance(event, BankLineMatched):
            rows.touch(LINES, (*key, event.line_no))
        elif isinstance(event, BankBreakRaised):
            state = cast(StatementState, rows.state(recorded.stream))
            rows.put(BREAKS, _raised(state, event, recorded))
        elif isinstance(event, BankBreakResolved):
            before = rows.get(BREAKS, (*key, event.break_id))
            if before is not None:
                ended = (recorded.recorded_at, event.action.value, event.by, event.reason)
                rows.put(BREAKS, (*before[:4], False, *before[5:10], *ended, event.account))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a statement or of a line."""
        stream = streams.bank_statement(str(key[0]), str(key[1]))
        state = cast(StatementState, rows.state(stream))
        if table is LINES:
            return _line(state, cast(int, key[2]))
        left = state.opening + state.net
        return (
            state.bank,
            state.statement,
            state.status.value,
            state.currency,
            state.opening,
            state.net,
            left if state.closing is None else state.closing,
            state.difference,
            state.line_count,
            state.lines.size,
            state.open_count,
            state.sha256,
        )


def _line(state: StatementState, line_no: int) -> Row | None:
    known = state.line(line_no)
    if known is None:
        return None
    line, first = known.line, known.parts[0].subject if known.parts else None
    return (
        state.bank,
        state.statement,
        line.line_no,
        line.booked_at,
        line.amount,
        state.currency,
        line.reference,
        line.external_id,
        "" if first is None else first.kind,
        "" if first is None else first.id,
        len(known.parts),
    )


def _raised(state: StatementState, event: BankBreakRaised, recorded: Recorded) -> Row:
    return (
        state.bank,
        state.statement,
        event.break_id,
        event.kind.value,
        True,
        event.line_no,
        event.amount,
        state.currency,
        event.detail,
        recorded.recorded_at,
        None,
        "",
        "",
        "",
        "",
    )
