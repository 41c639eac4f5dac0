"""
The state of one statement of a bank account: its lines, what they show, its open breaks.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .bank_events import (
    BankBreakRaised,
    BankBreakResolved,
    BankLine,
    BankLineMatched,
    BankLineRecorded,
    BankStatementReceived,
    ShownPart,
)
from .events import Event
from .paged import Paged


class StatementStatus(StrEnum):
    """Lines are missing, breaks are open, or all agrees."""

    RECEIVED = "received"
    MATCHING = "matching"
    BALANCED = "balanced"


class BankLineState(msgspec.Struct, frozen=True, gc=False):
    """A line and what it shows."""

    line: BankLine
    parts: tuple[ShownPart, ...] = ()


class BankBreakState(msgspec.Struct, frozen=True, gc=False):
    """A break and how it ended; ``resolved`` None: it is open."""

    raised: BankBreakRaised
    resolved: BankBreakResolved | None = None


class StatementState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A bank statement folded from its events, amounts in minor units of ``currency``.

    ``known_ids`` has the line of each id that the bank gives its lines.
    """

    bank: str = ""
    statement: str = ""
    sha256: str = ""
    currency: str = ""
    line_count: int = 0
    opening: int = 0
    closing: int | None = None
    tolerance: int = 0
    net: int = 0
    lines: Paged[BankLineState] = Paged()
    known_ids: Paged[int] = Paged()
    breaks: Paged[BankBreakState] = Paged()
    open_count: int = 0
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.bank != ""

    @property
    def statement_id(self) -> str:
        """The id of the stream: bank/statement."""
        return f"{self.bank}/{self.statement}"

    @property
    def is_complete(self) -> bool:
        """Whether every line of the file is recorded."""
        return self.exists and self.lines.size == self.line_count

    @property
    def difference(self) -> int:
        """opening + lines − closing; 0 where no closing is stated."""
        return 0 if self.closing is None else self.opening + self.net - self.closing

    @property
    def status(self) -> StatementStatus:
        if not self.is_complete:
            return StatementStatus.RECEIVED
        return StatementStatus.MATCHING if self.open_count else StatementStatus.BALANCED

    def line(self, line_no: int) -> BankLineState | None:
        """Return a line by its number in the file."""
        return self.lines.get(str(line_no))

    def break_of(self, break_id: str) -> BankBreakState | None:
        return self.breaks.get(break_id)

    def open_breaks(self) -> Iterator[BankBreakRaised]:
        """Iterate over the breaks that nobody resolved."""
        for _, one in self.breaks.items():
            if one.resolved is None:
                yield one.raised


INITIAL: Final = StatementState()


def _received(state: StatementState, event: BankStatementReceived) -> StatementState:
    if state.exists:
        return state
    return msgspec.structs.replace(
        state,
        bank=event.bank,
        statement=event.statement,
        sha256=event.sha256,
        currency=event.currency,
        line_count=event.line_count,
        opening=event.opening,
        closing=event.closing,
        tolerance=event.tolerance,
    )


def _recorded(state: StatementState, event: BankLineRecorded) -> StatementState:
    line, key = event.line, str(event.line.line_no)
    if state.lines.get(key) is not None:
        return state
    known_ids = state.known_ids
    if line.external_id and known_ids.get(line.external_id) is None:
        known_ids = known_ids.with_value(line.external_id, line.line_no)
    return msgspec.structs.replace(
        state,
        lines=state.lines.with_value(key, BankLineState(line)),
        known_ids=known_ids,
        net=state.net + line.amount,
    )


def _matched(state: StatementState, event: BankLineMatched) -> StatementState:
    before = state.line(event.line_no)
    if before is None:
        return state
    after = BankLineState(before.line, event.parts)
    return msgspec.structs.replace(state, lines=state.lines.with_value(str(event.line_no), after))


def _raised(state: StatementState, event: BankBreakRaised) -> StatementState:
    if state.breaks.get(event.break_id) is not None:
        return state
    breaks = state.breaks.with_value(event.break_id, BankBreakState(event))
    return msgspec.structs.replace(state, breaks=breaks, open_count=state.open_count + 1)


def _resolved(state: StatementState, event: BankBreakResolved) -> StatementState:
    known = state.breaks.get(event.break_id)
    if known is None or known.resolved is not None:
        return state
    breaks = state.breaks.with_value(event.break_id, BankBreakState(known.raised, event))
    return msgspec.structs.replace(state, breaks=breaks, open_count=state.open_count - 1)


def _anomaly(state: StatementState, event: AnomalyRaised | AnomalyResolved) -> StatementState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[Mapping[type[Event], Callable[[StatementState, Any], StatementState]]] = {
    BankStatementReceived: _received,
    BankLineRecorded: _recorded,
    BankLineMatched: _matched,
    BankBreakRaised: _raised,
    BankBreakResolved: _resolved,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
