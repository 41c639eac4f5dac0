"""
Verification of the accounting periods: what is closed stayed closed, and the log says the same.

One pass over the events in log order. The entries are summed apart by the ends of the periods that
are closed later on, and together as soon as no closing tells them apart: memory is for the accounts
with a balance, and once more for those that an open period has moved.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from orderledger.commands.requests import Context
from orderledger.ledger import periods
from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import OrderLedgerError, Unavailable
from orderledger.ledger.events import Event
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.period_events import PeriodClosed, PeriodReopened
from orderledger.ledger.periods import PeriodsState
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.streams import PERIODS
from orderledger.ledger.trial_balance import (
    AccountKey,
    add,
    add_minor,
    class_totals,
    trial_balance_hash,
)

from .findings import Check, Finding, Severity
from .progress import PAGE_EVENTS, Progress, silent

_GUARD_LOOKS: Final = 5
_context_decoder: Final = msgspec.json.Decoder(Context)


def verify_periods(
    store: EventStore, progress: Progress = silent, *, period: str | None = None
) -> Iterator[Finding]:
    """
    Yield what is wrong with the closed periods of a book, or with one of them.

    Read-only. A book that never closed a period costs one small read. With ``period`` only its own
    closings, and the entries in it, are reported.
    """
    size = store.head().size
    closings, problem = _closings(store, size)
    if problem is not None:
        yield problem
        return
    if not isinstance(store, LogAsOf):
        # What appends are held to now says nothing of a book as it was.
        yield from _guard(store)
    if not closings:
        return
    check = _Pass(closings, period)
    position = 0
    while position < size:
        until = min(position + PAGE_EVENTS, size)
        try:
            rows = store.read(position, until=until, limit=PAGE_EVENTS)
        except Unavailable:
            raise
        except (OrderLedgerError, ValueError, TypeError) as error:
            yield _error(
                Check.ROW_UNREADABLE,
                f"the periods were not checked behind position {position}: {error}",
                position=position + 1,
            )
            return
        for row in rows:
            yield from check.row(row)
        position = until
        progress("periods", position, size)


def _closings(
    store: EventStore, size: int
) -> tuple[list[tuple[int, PeriodClosed]], Finding | None]:
    found: list[tuple[int, PeriodClosed]] = []
    try:
        for row in store.stream(PERIODS):
            event = decode_event(row.topic, row.payload)
            if isinstance(event, PeriodClosed) and row.position and row.position <= size:
                found.append((row.position, event))
    except Unavailable:
        raise
    except (OrderLedgerError, ValueError, TypeError) as error:
        text = f"the stream {PERIODS} cannot be read, so no period was checked: {error}"
        return [], _error(Check.ROW_UNREADABLE, text)
    return found, None


def _guard(store: EventStore) -> Iterator[Finding]:
    """Compare the instant that the appends are held to with what the events say."""
    for _ in range(_GUARD_LOOKS):
        before = store.constraints()
        state = periods.INITIAL
        for row in store.stream(PERIODS):
            state = _applied(state, decode_event(row.topic, row.payload))
        if store.constraints() == before:
            break
    else:
        return
    if before.closed_until != state.closed_until:
        yield _error(
            Check.PERIOD_GUARD_WRONG,
            f"appends are refused before {before.closed_until}, the events of {PERIODS} close the "
            f"books until {state.closed_until}: the database's `closed_until` was changed past the "
            "engine",
        )


def _applied(state: PeriodsState, event: Event) -> PeriodsState:
    evolve = periods.EVOLVE.get(type(event))
    return state if evolve is None else evolve(state, event)


class _Pass:
    """The state of the pass at one position of the log."""

    def __init__(self, closings: list[tuple[int, PeriodClosed]], period: str | None) -> None:
        self._period: Final = period
        self._ahead: Final = list(reversed(closings))
        self._ends = sorted({event.end for _, event in closings})
        self._sums: list[dict[AccountKey, int]] = [{} for _ in range(len(self._ends) + 1)]
        self._state = periods.INITIAL
        self._first_at: datetime | None = None

    def row(self, row: StoredEvent) -> Iterator[Finding]:
        """Take one event, in log order."""
        if row.postings:
            yield from self._entry(row)
        if row.stream == PERIODS:
            yield from self._change(row)

    def _entry(self, row: StoredEvent) -> Iterator[Finding]:
        at, open_from = row.occurred_at, self._state.closed_until
        if open_from is not None and at < open_from:
            held = self._state.holding(at)
            if self._is_wanted(held.period):
                yield _error(
                    Check.PERIOD_ENTRY_INSIDE,
                    f"the entry at position {row.position} is effective at {at.isoformat()}, in "
                    f"period {held.period}, which was closed when it was recorded",
                    row,
                )
        yield from self._moved(row, open_from)
        if self._first_at is None or at < self._first_at:
            self._first_at = at
        try:
            legs = decode_entry(row.postings).postings
        except OrderLedgerError:
            return  # the entry itself is a finding of ``verify``
        add(self._sums[bisect_right(self._ends, at)], legs)

    def _moved(self, row: StoredEvent, open_from: datetime | None) -> Iterator[Finding]:
        """Check an entry that says it was reported for a closed period."""
        if '"reported_at"' not in row.context and '"adjusts"' not in row.context:
            return
        try:
            context = _context_decoder.decode(row.context)
        except msgspec.DecodeError:
            return  # a finding of ``verify``
        reported_at, adjusts = context.reported_at, context.adjusts
        if (reported_at is None and adjusts is None) or not self._is_wanted(adjusts):
            return
        is_right = (
            open_from is not None
            and reported_at is not None
            and reported_at < open_from
            and row.occurred_at == open_from
            and self._state.holding(reported_at).period == adjusts
        )
        if not is_right:
            yield _error(
                Check.PERIOD_MOVE_WRONG,
                f"the entry at position {row.position} says that it was reported for {reported_at} "
                f"in period {adjusts} and is effective at {row.occurred_at}; the books were closed "
                f"until {open_from} then",
                row,
            )

    def _change(self, row: StoredEvent) -> Iterator[Finding]:
        try:
            event = decode_event(row.topic, row.payload)
        except OrderLedgerError:
            return  # a finding of ``verify``
        if isinstance(event, PeriodClosed):
            if self._is_wanted(event.period):
                yield from self._order(event, row)
                yield from self._trial_balance(event, row)
            self._pass_by(event)
        elif isinstance(event, PeriodReopened) and self._is_wanted(event.period):
            last = self._state.closed[-1] if self._state.closed else None
            if last is None or last.period != event.period:
                yield _error(
                    Check.PERIOD_GAP,
                    f"period {event.period} was reopened at position {row.position} while "
                    f"{last.period if last else 'none'} was the last that was closed",
                    row,
                )
        self._state = _applied(self._state, event)

    def _order(self, event: PeriodClosed, row: StoredEvent) -> Iterator[Finding]:
        open_from, start, first_at = self._state.closed_until, event.start, self._first_at
        is_first = open_from is None
        if is_first and start is not None and first_at is not None and first_at < start:
            yield _error(
                Check.PERIOD_GAP,
                f"period {event.period} was closed as the first from {start}, but entries are "
                f"effective from {first_at} on",
                row,
            )
        if (not is_first and start != open_from) or (start is not None and event.end <= start):
            yield _error(
                Check.PERIOD_GAP,
                f"period {event.period} was closed from {start} to {event.end}, the one "
                f"before it ends at {open_from}",
                row,
            )

    def _trial_balance(self, event: PeriodClosed, row: StoredEvent) -> Iterator[Finding]:
        if event.position != (row.position or 0) - 1:
            yield _error(
                Check.PERIOD_TOTALS_WRONG,
                f"the trial balance of {event.period} is said to be of position {event.position}; "
                f"it was recorded at {row.position}, so it must be of the one before",
                row,
            )
        sums: dict[AccountKey, int] = {}
        for of_span in self._sums[: bisect_right(self._ends, event.end)]:
            for key, minor in of_span.items():
                add_minor(sums, key, minor)
        found = trial_balance_hash(sums)
        if found != event.trial_balance_hash or len(sums) != event.account_count:
            yield _error(
                Check.PERIOD_TOTALS_WRONG,
                f"the entries effective before {event.end} up to position {row.position} come to "
                f"{len(sums)} balances with the hash {found}; the closing of {event.period} has "
                f"{event.account_count} with {event.trial_balance_hash}",
                row,
            )
        elif class_totals(sums) != event.totals:
            yield _error(
                Check.PERIOD_TOTALS_WRONG,
                f"the totals by class that {event.period} was closed with are not those of its "
                "trial balance",
                row,
            )

    def _pass_by(self, event: PeriodClosed) -> None:
        """Join the sums that no later closing tells apart."""
        if self._ahead and self._ahead[-1][1] == event:
            self._ahead.pop()
        needed = {ahead.end for _, ahead in self._ahead}
        kept: list[dict[AccountKey, int]] = []
        ends: list[datetime] = []
        span: dict[AccountKey, int] = {}
        for index, sums in enumerate(self._sums):
            for key, minor in sums.items():
                add_minor(span, key, minor)
            if index == len(self._ends) or self._ends[index] in needed:
                kept.append(span)
                span = {}
                if index < len(self._ends):
                    ends.append(self._ends[index])
        self._sums, self._ends = kept, ends

    def _is_wanted(self, period: str | None) -> bool:
        return self._period is None or period == self._period


def _error(
    code: Check, text: str, row: StoredEvent | None = None, *, position: int | None = None
) -> Finding:
    return Finding(
        code=code,
        severity=Severity.ERROR,
        text=text,
        stream=row.stream if row is not None else None,
        position=row.position if row is not None else position,
    )
