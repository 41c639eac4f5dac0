"""Verification of the balance read model: its checkpoint, and its lines against the events."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, cast

from orderledger.ledger.errors import CheckpointDiverged, OrderLedgerError, Unavailable
from orderledger.ledger.model_ports import Row
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.projections.balances import NAME, POSTINGS, entry_rows
from orderledger.projections.compare import rows_of
from orderledger.projections.read_models import ReadModels

from .findings import Check, Finding, Severity
from .progress import PAGE_EVENTS, Progress, silent

_END: Final = 2**63 - 1


def verify_journal(models: ReadModels, progress: Progress = silent) -> Iterator[Finding]:
    """
    Yield where the journal lines are not those of the events, up to their checkpoint.

    Read-only: the model is not caught up. Both are walked in log order, in constant memory.
    """
    live = models.live(NAME)
    if live is None:
        return
    try:
        models.follower(NAME).verify()
    except CheckpointDiverged as error:
        yield _error(Check.CHECKPOINT_DIVERGED, error.message)
        return
    reached = live.position
    stored = _Lines(rows_of(models.store, live, POSTINGS))
    events = _events(models.events, reached, progress)
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
        found = stored.at(position)
        try:
            wanted = _wanted(event)
        except OrderLedgerError:
            # The entry itself is the finding; see ``verify``.
            continue
        if found != wanted:
            yield _error(
                Check.JOURNAL_LINES_WRONG,
                f"the journal has {len(found)} lines for position {position}, the event has "
                f"{len(wanted)}, or others: run `orderledger projection rebuild balances`",
                event.stream,
                position,
            )
    # Another process may have caught up since the checkpoint was read.
    latest = models.live(NAME)
    reached = latest.position if latest is not None else reached
    yield from _stray(one for one in stored.before(_END) if one > reached)


def _wanted(event: StoredEvent) -> list[Row]:
    if event.position is None or event.recorded_at is None:
        raise ValueError(f"event {event.event_id} has no position yet")
    return entry_rows(event.postings, event.position, event.occurred_at, event.recorded_at)


class _Lines:
    """The stored rows, taken entry by entry in log order."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._groups = (
            (position, list(group))
            for position, group in groupby(rows, lambda row: cast(int, row[0]))
        )
        self._next = next(self._groups, None)

    def before(self, position: int) -> Iterator[int]:
        """Take the entries before a position and yield theirs."""
        while self._next is not None and self._next[0] < position:
            yield self._next[0]
            self._next = next(self._groups, None)

    def at(self, position: int) -> list[Row]:
        """Take and return the rows at a position."""
        if self._next is None or self._next[0] != position:
            return []
        rows = self._next[1]
        self._next = next(self._groups, None)
        return rows


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
