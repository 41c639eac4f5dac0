"""
Decisions on accounting periods: closing, reopening, and when an entry is effective.

``close`` and ``reopen`` stand apart from the other deciders: they need every committed entry, which
only the store can tell while no append is in flight (``EventStore.change_periods``).
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.instants import in_utc
from orderledger.ledger.limits import TEXT_LENGTH_MAX, check_count
from orderledger.ledger.period_events import PeriodClosed, PeriodReopened
from orderledger.ledger.periods import PeriodsState
from orderledger.ledger.ports import EarlyEntry, LedgerCut
from orderledger.ledger.trial_balance import check_balanced, class_totals, trial_balance_hash

from .decision import Change, Changes, Command, Reported
from .period_commands import ClosePeriod, ReopenPeriod


def close(command: ClosePeriod, state: PeriodsState, cut: LedgerCut, now: datetime) -> Changes:
    """
    Decide a closing; ``cut`` has the sums of the entries effective before its end.

    Raises InvalidCommand; Rejected with PERIOD_CLOSED, PERIOD_ORDER or NOT_YET_DUE, in this order;
    IntegrityViolation where the sums do not balance.
    """
    end = in_utc(command.end, "end")
    start = None if command.start is None else in_utc(command.start, "start")
    if start is not None and end <= start:
        raise InvalidCommand(
            f"period {command.period} would end at {end.isoformat()}, which is not after its "
            f"start {start.isoformat()}",
            period=command.period,
            start=start.isoformat(),
            end=end.isoformat(),
        )
    _check_open(command.period, state)
    if state.closed:
        start = _following(command.period, state, start, end)
    elif cut.early is not None and start is not None:
        raise _early(command.period, start, cut.early)
    if end > now:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"period {command.period} ends at {end.isoformat()}, it is {now.isoformat()} now: "
            "close it when it is over",
            period=command.period,
            end=end.isoformat(),
            now=now.isoformat(),
        )
    totals = class_totals(cut.sums)
    check_balanced(totals)
    event = PeriodClosed(
        period=command.period,
        start=start,
        end=end,
        position=cut.position,
        totals=totals,
        account_count=len(cut.sums),
        trial_balance_hash=trial_balance_hash(cut.sums),
    )
    return (Change(streams.PERIODS, event),)


def _check_open(period: str, state: PeriodsState) -> None:
    found = state.find(period)
    if found is not None:
        raise Rejected(
            Reason.PERIOD_CLOSED,
            f"period {period} is closed already, from {_said(found.start)} to "
            f"{found.end.isoformat()}; it can be reopened, last first",
            period=period,
            start=_said(found.start),
            end=found.end.isoformat(),
        )


def _following(period: str, state: PeriodsState, start: datetime | None, end: datetime) -> datetime:
    """Return the start of the period that follows the last closed one, or refuse the bounds."""
    last = state.closed[-1]
    facts = {"period": period, "last_period": last.period, "closed_until": last.end.isoformat()}
    if start is not None and start > last.end:
        raise Rejected(
            Reason.PERIOD_ORDER,
            f"period {period} would start at {start.isoformat()}, but nothing from "
            f"{last.end.isoformat()}, where {last.period} ends, until then is closed: close that "
            "period first",
            missing_start=last.end.isoformat(),
            missing_end=start.isoformat(),
            **facts,
        )
    if end <= last.end or (start is not None and start < last.end):
        raise Rejected(
            Reason.PERIOD_ORDER,
            f"period {period}, from {_said(start)} to {end.isoformat()}, overlaps what is closed: "
            f"the next period starts at {last.end.isoformat()}, where {last.period} ends",
            start=_said(start),
            end=end.isoformat(),
            **facts,
        )
    return last.end


def _early(period: str, start: datetime, early: EarlyEntry) -> Rejected:
    return Rejected(
        Reason.PERIOD_ORDER,
        f"period {period} would be the first and start at {start.isoformat()}, but the entry at "
        f"position {early.position} ({early.stream}) is effective at "
        f"{early.occurred_at.isoformat()}: close the period before first, or leave out the start, "
        "which then is the beginning of the book",
        period=period,
        start=start.isoformat(),
        position=early.position,
        stream=early.stream,
        occurred_at=early.occurred_at.isoformat(),
    )


def reopen(command: ReopenPeriod, state: PeriodsState) -> Changes:
    """
    Decide a reopening.

    Raises InvalidCommand, NotFound for a period that was never closed, Rejected with WRONG_STATE
    for one that is open, with PERIOD_ORDER for one that is not the last.
    """
    if not command.reason.strip():
        raise InvalidCommand(
            f"period {command.period} is not reopened without a reason", period=command.period
        )
    check_count("characters of a reason", len(command.reason), TEXT_LENGTH_MAX)
    found = state.find(command.period)
    if found is None and command.period in state.reopened:
        raise Rejected(
            Reason.WRONG_STATE, f"period {command.period} is open", period=command.period
        )
    if found is None:
        raise NotFound(f"there is no closed period {command.period}", period=command.period)
    last = state.closed[-1]
    if found != last:
        raise Rejected(
            Reason.PERIOD_ORDER,
            f"period {command.period} is not the last that is closed: reopen {last.period} first",
            period=command.period,
            last_period=last.period,
            closed_until=last.end.isoformat(),
        )
    event = PeriodReopened(
        period=command.period, start=found.start, end=found.end, reason=command.reason
    )
    return (Change(streams.PERIODS, event),)


def dated(command: Command, changes: Changes, periods: PeriodsState, now: datetime) -> Changes:
    """
    Return the changes with every entry effective in the open period, or refuse the command.

    An intention that names an instant in a closed period raises Rejected with PERIOD_CLOSED. A
    report has happened: its entry becomes effective at the first instant of the open period, and
    what was reported stays beside it. Where no instant was named and this process's clock is
    behind the end of the last closed period, now is that end. What has no entry is left alone.
    """
    open_from = periods.closed_until
    if open_from is None:
        return changes
    found: list[Change] = []
    for change in changes:
        named = change.occurred_at or command.occurred_at
        at = named or now
        if not change.entry.postings or at >= open_from:
            found.append(change)
            continue
        reported = None
        if named is not None:
            period = periods.holding(named).period
            if not command.is_observation:
                raise _inside(change, period, named, open_from)
            reported = Reported(named, period)
        found.append(msgspec.structs.replace(change, occurred_at=open_from, reported=reported))
    return tuple(found)


def needs_dating(
    command: Command, changes: Sequence[Change], open_from: datetime, now: datetime
) -> bool:
    """Tell whether any of the entries would be effective before an instant."""
    given = command.occurred_at or now
    return any(
        change.entry.postings and (change.occurred_at or given) < open_from for change in changes
    )


def _inside(change: Change, period: str, at: datetime, open_from: datetime) -> Rejected:
    return Rejected(
        Reason.PERIOD_CLOSED,
        f"the entry of {change.stream} is effective at {at.isoformat()}, in period {period}, which "
        f"is closed: post it at {open_from.isoformat()} or later (an adjusting entry names what it "
        "`adjusts`), or reopen the period",
        stream=change.stream,
        period=period,
        occurred_at=at.isoformat(),
        open_from=open_from.isoformat(),
    )


def _said(start: datetime | None) -> str:
    return "the beginning" if start is None else start.isoformat()
