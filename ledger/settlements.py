"""
The state of one settlement batch: its lines, what they settle, its open breaks, its sums.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

import msgspec

from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .events import Event
from .paged import Paged
from .settlement_events import (
    BatchBalance,
    BreakKind,
    FeeLimit,
    LineType,
    MatchedPart,
    SettlementBatchBalanced,
    SettlementBatchClosed,
    SettlementBreakRaised,
    SettlementBreakResolved,
    SettlementFileReceived,
    SettlementLine,
    SettlementLineMatched,
    SettlementLineRecorded,
    SettlementPayoutArrived,
    StatedBalance,
)

PAYOUTS: Final = frozenset({LineType.PAYOUT, LineType.PAYOUT_RETURNED})
"""The lines that leave the balance for the bank; every other one is part of the batch's net."""


class SettlementStatus(StrEnum):
    """Where a batch stands; NONE before its file was received."""

    NONE = "none"
    RECEIVED = "received"
    PARSED = "parsed"
    MATCHING = "matching"
    BALANCED = "balanced"
    CLOSED = "closed"


_S: Final = SettlementStatus
TRANSITIONS: Final[Mapping[SettlementStatus, Mapping[type[Event], SettlementStatus]]] = (
    MappingProxyType(
        {
            _S.NONE: {SettlementFileReceived: _S.RECEIVED},
            # The last line makes it PARSED; see ``_recorded``.
            _S.RECEIVED: {},
            _S.PARSED: {
                SettlementLineMatched: _S.MATCHING,
                SettlementBreakRaised: _S.MATCHING,
                SettlementBatchBalanced: _S.BALANCED,
            },
            _S.MATCHING: {SettlementBatchBalanced: _S.BALANCED},
            # What is found missing later opens it again.
            _S.BALANCED: {
                SettlementBreakRaised: _S.MATCHING,
                SettlementBatchClosed: _S.CLOSED,
            },
            _S.CLOSED: {},
        }
    )
)
"""What an event does to the status of a batch; any other event leaves it as it is."""


class LineState(msgspec.Struct, frozen=True, gc=False):
    """
    A line and what became of it.

    ``parts`` are the operations it settles, ``variance`` what it had beyond them. ``arrived`` is
    the sum of the bank lines that show it, for a payout.
    """

    line: SettlementLine
    parts: tuple[MatchedPart, ...] = ()
    variance: int = 0
    arrived: int = 0


class BreakState(msgspec.Struct, frozen=True, gc=False):
    """A break and how it ended; ``resolved`` None: it is open."""

    raised: SettlementBreakRaised
    resolved: SettlementBreakResolved | None = None


class Sums(msgspec.Struct, frozen=True, gc=False):
    """Of one currency: ``net`` of the lines that are no payouts, and what was paid out."""

    net: int = 0
    payout: int = 0


class SettlementState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A settlement batch folded from its events.

    ``lines`` is by line number, ``fingerprints`` finds a line that says the same as another,
    ``waiting`` the lines whose amount is only a part of the operation they name.
    """

    provider: str = ""
    batch: str = ""
    sha256: str = ""
    bank: str = ""
    tolerance: int = 0
    fee_limit: FeeLimit | None = None
    line_count: int = 0
    stated: tuple[StatedBalance, ...] = ()
    status: SettlementStatus = SettlementStatus.NONE
    lines: Paged[LineState] = Paged()
    fingerprints: Paged[int] = Paged()
    waiting: Paged[tuple[int, ...]] = Paged()
    breaks: Paged[BreakState] = Paged()
    open_count: int = 0
    sums: Mapping[str, Sums] = {}
    balances: tuple[BatchBalance, ...] = ()
    closed_by: str = ""
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.provider != ""

    @property
    def settlement_id(self) -> str:
        """The id of the stream: provider/batch."""
        return f"{self.provider}/{self.batch}"

    def line(self, line_no: int) -> LineState | None:
        """Return a line by its number in the file."""
        return self.lines.get(str(line_no))

    def open_breaks(self) -> Iterator[SettlementBreakRaised]:
        """Iterate over the breaks that nobody resolved."""
        for _, one in self.breaks.items():
            if one.resolved is None:
                yield one.raised

    def break_of(self, break_id: str) -> BreakState | None:
        return self.breaks.get(break_id)

    def stated_for(self, currency: str) -> StatedBalance:
        """Return what the file says of a currency's balance."""
        found = [one for one in self.stated if one.currency == currency]
        return found[0] if found else StatedBalance(currency)

    @property
    def currencies(self) -> tuple[str, ...]:
        """The currencies of the lines and of the stated balances, sorted."""
        return tuple(sorted({*self.sums, *(one.currency for one in self.stated)}))


INITIAL: Final = SettlementState()


def fingerprint(line: SettlementLine) -> str:
    """
    Return what two lines have in common that report the same movement.

    The provider's own id of a line, if it has one; else all that a line says but its number.
    """
    if line.external_id:
        return f"id {line.external_id}"
    said = _encoder.encode(msgspec.structs.replace(line, line_no=0))
    return sha256(said).hexdigest()


_encoder: Final = msgspec.json.Encoder(decimal_format="string")


def operation_key(part: MatchedPart) -> str:
    """Return the key of ``waiting``."""
    return f"{part.payment_id} {part.op_id}"


def balance_of(state: SettlementState, currency: str) -> BatchBalance:
    """
    Return the balance of a currency as stated and summed.

    An opening that nobody stated is 0, a closing that nobody stated is what the lines leave.
    """
    stated, sums = state.stated_for(currency), state.sums.get(currency, Sums())
    opening = stated.opening or 0
    left = opening + sums.net - sums.payout
    closing = left if stated.closing is None else stated.closing
    payout = sums.payout if stated.payout is None else stated.payout
    difference = opening + sums.net - payout - closing
    return BatchBalance(currency, opening, sums.net, payout, closing, difference)


def _with(state: SettlementState, event: Event, **changes: Any) -> SettlementState:
    status = TRANSITIONS[state.status].get(type(event), state.status)
    return msgspec.structs.replace(state, status=changes.pop("status", status), **changes)


def _received(state: SettlementState, event: SettlementFileReceived) -> SettlementState:
    if state.exists:
        return state
    return _with(
        state,
        event,
        provider=event.provider,
        batch=event.batch,
        sha256=event.sha256,
        bank=event.bank,
        tolerance=event.tolerance,
        fee_limit=event.fee_limit,
        line_count=event.line_count,
        stated=event.balances,
        status=SettlementStatus.PARSED if event.line_count == 0 else SettlementStatus.RECEIVED,
    )


def _recorded(state: SettlementState, event: SettlementLineRecorded) -> SettlementState:
    line, key = event.line, str(event.line.line_no)
    if state.lines.get(key) is not None:
        return state
    lines = state.lines.with_value(key, LineState(line))
    said = fingerprint(line)
    fingerprints = state.fingerprints
    if fingerprints.get(said) is None:
        fingerprints = fingerprints.with_value(said, line.line_no)
    sums = state.sums.get(line.currency, Sums())
    if line.type in PAYOUTS:
        # A fee on the payout stays part of the net: the bank sees the rest.
        sums = Sums(sums.net - line.fee - line.residue, sums.payout - line.processed)
    else:
        sums = Sums(sums.net + line.net, sums.payout)
    status = state.status
    if lines.size == state.line_count:
        status = SettlementStatus.MATCHING if state.open_count else SettlementStatus.PARSED
    return msgspec.structs.replace(
        state,
        lines=lines,
        fingerprints=fingerprints,
        sums={**state.sums, line.currency: sums},
        status=status,
    )


def _matched(state: SettlementState, event: SettlementLineMatched) -> SettlementState:
    before = state.line(event.line_no)
    if before is None:
        return state
    after = msgspec.structs.replace(before, parts=event.parts, variance=event.variance)
    waiting = state.waiting
    for part in event.parts:
        waiting = waiting.without(operation_key(part))
    lines = state.lines.with_value(str(event.line_no), after)
    return _with(state, event, lines=lines, waiting=waiting)


def _raised(state: SettlementState, event: SettlementBreakRaised) -> SettlementState:
    known = state.breaks.get(event.break_id)
    if known is not None and known.resolved is None:
        return state
    waiting = state.waiting
    if event.part is not None and event.kind is BreakKind.AMOUNT_DIFF:
        key = operation_key(event.part)
        waiting = waiting.with_value(key, (*(waiting.get(key) or ()), event.line_no))
    breaks = state.breaks.with_value(event.break_id, BreakState(event))
    return _with(state, event, breaks=breaks, waiting=waiting, open_count=state.open_count + 1)


def _resolved(state: SettlementState, event: SettlementBreakResolved) -> SettlementState:
    known = state.breaks.get(event.break_id)
    if known is None or known.resolved is not None:
        return state
    breaks = state.breaks.with_value(event.break_id, BreakState(known.raised, event))
    waiting = state.waiting
    if known.raised.part is not None:
        waiting = waiting.without(operation_key(known.raised.part))
    return _with(state, event, breaks=breaks, waiting=waiting, open_count=state.open_count - 1)


def _balanced(state: SettlementState, event: SettlementBatchBalanced) -> SettlementState:
    return _with(state, event, balances=event.balances)


def _closed(state: SettlementState, event: SettlementBatchClosed) -> SettlementState:
    return _with(state, event, closed_by=event.by)


def _arrived(state: SettlementState, event: SettlementPayoutArrived) -> SettlementState:
    before = state.line(event.line_no)
    if before is None:
        return state
    after = msgspec.structs.replace(before, arrived=before.arrived + event.amount)
    return _with(state, event, lines=state.lines.with_value(str(event.line_no), after))


def _anomaly(state: SettlementState, event: AnomalyRaised | AnomalyResolved) -> SettlementState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[Mapping[type[Event], Callable[[SettlementState, Any], SettlementState]]] = {
    SettlementFileReceived: _received,
    SettlementLineRecorded: _recorded,
    SettlementLineMatched: _matched,
    SettlementBreakRaised: _raised,
    SettlementBreakResolved: _resolved,
    SettlementBatchBalanced: _balanced,
    SettlementBatchClosed: _closed,
    SettlementPayoutArrived: _arrived,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
