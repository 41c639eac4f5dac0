"""Verification of the balance read model: its checkpoint, and its lines against the events."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from orderledger.ledger.errors import CheckpointDiverged, OrderLedgerError, Unavailable
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.read_ports import JournalLine
from orderledger.projections.balances import Balances, LineProjector

from .findings import Check, Finding, Severity
from .verify import PAGE_EVENTS, Progress, silent

_END: Final = 2**63 - 1


def verify_journal(
    store: EventStore, balances: Balances, progress: Progress = silent
) -> Iterator[Finding]:
    """
    Yield where the journal lines are not those of the events, up to their checkpoint.

    Read-only: the model is not caught up. Both are walked in log order, in constant memory.
    """
    try:
        checkpoint = balances.checkpoint()
    except CheckpointDiverged as error:
        yield _error(Check.CHECKPOINT_DIVERGED, error.message)
        return
    reached = checkpoint.position if checkpoint is not None else 0
    stored = _Lines(balances.lines(until=_END))
    events = _events(store, reached, progress)
    while True:
        try:
            event = next(events, None)
        except Unavailable:
            raise
        except (OrderLedgerError, ValueError, TypeError) as error:
            yield _error(Check.ROW_UNREADABLE, f"the journal lines were not all compared: {error}")
            return
        if event is None:
            break
        position = event.position or 0
        yield from _stray(stored.before(position))
        try:
            wanted = tuple(LineProjector().project(event))
        except OrderLedgerError:
            # The entry itself is the finding; see ``verify``.
            wanted = None
        found = stored.at(position)
        if wanted is not None and found != wanted:
            yield _error(
                Check.JOURNAL_LINES_WRONG,
                f"the journal has {len(found)} lines for position {position}, the event has "
                f"{len(wanted)}, or others: run `orderledger projection rebuild balances`",
                event.stream,
                position,
            )
    if store.head().size > reached and checkpoint is not None:
        # Another process may have caught up since the checkpoint was read.
        latest = balances.checkpoint()
        reached = latest.position if latest is not None else reached
    yield from _stray(one for one in stored.before(_END) if one > reached)


class _Lines:
    """The stored lines, taken entry by entry in log order."""

    def __init__(self, lines: Iterator[JournalLine]) -> None:
        self._groups = (
            (position, tuple(group)) for position, group in groupby(lines, lambda one: one.position)
        )
        self._next = next(self._groups, None)

    def before(self, position: int) -> Iterator[int]:
        """Take the entries before a position and yield theirs."""
        while self._next is not None and self._next[0] < position:
            yield self._next[0]
            self._next = next(self._groups, None)

    def at(self, position: int) -> tuple[JournalLine, ...]:
        """Take and return the lines at a position."""
        if self._next is None or self._next[0] != position:
            return ()
        lines = self._next[1]
        self._next = next(self._groups, None)
        return lines


def _events(store: EventStore, until: int, progress: Progress) -> Iterator[StoredEvent]:
    position = 0
    while position < until:
        page: Sequence[StoredEvent] = store.read(position, until=until, limit=PAGE_EVENTS)
        if not page:
            return
        yield from page
        position = page[-1].position or until
        progress("journal", position, until)


def _stray(positions: Iterator[int]) -> Iterator[Finding]:
    first = next(positions, None)
    if first is None:
        return
    others = sum(1 for _ in positions)
    yield _error(
        Check.JOURNAL_LINES_WRONG,
        f"the journal has lines for position {first} and {others} later ones, which it must not "
        "have: run `orderledger projection rebuild balances`",
        None,
        first,
    )


def _error(
    code: Check, text: str, stream: str | None = None, position: int | None = None
) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, text=text, stream=stream, position=position)
