"""Commands about accounting periods: closing, reopening, listing and verifying them."""

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from .cli_output import LOWER, Session, common, money
from .cli_tables import Columns, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderledger.commands.requests import Actor
    from orderledger.ledger.period_events import ClassTotal
    from orderledger.replay.period_list import PeriodRecord

_CALENDAR: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?")
_PERIODS: Final = Columns(
    ("period", "start", "end", "closed_at", "closed_by", "accounts", "hash", "reopened_at"),
    numeric=("accounts",),
    giving_way=("hash", "closed_by", "reopened_at", "closed_at"),
)
_FINDINGS: Final = Columns(
    ("code", "position", "stream", "text"),
    numeric=("position",),
    giving_way=("stream", "position"),
)
actor: Final = click.option(
    "--actor", "actor_id", help="Who does it; recorded as staff. Default: the system."
)
confirmed: Final = click.option(
    "--yes", is_flag=True, help="Do it; without, only say what would be done."
)


@click.group()
def period() -> None:
    """
    Close the books, and look after what is closed.

    In a closed period no entry is effective any more: a command is refused, and what is reported
    later posts in the open period.
    """


@period.command("close")
@click.argument("name", metavar="PERIOD")
@click.option("--start", type=LOWER, help="Its first instant: where the last closed period ends.")
@click.option("--end", type=LOWER, help="The instant before which it ends.")
@click.option(
    "--from-last",
    is_flag=True,
    help="Start where the last closed period ends, or at the beginning of the book.",
)
@actor
@confirmed
@common
def close(session: Session, name: str, actor_id: str | None, yes: bool, **bounds: object) -> None:
    """
    Close a period and record its trial balance.

    A PERIOD like 2026-10 or 2026 is that month or year in UTC; any other needs --end, and starts
    where the last closed period ends. Writers wait for a moment.
    """
    from orderledger.commands.period_commands import ClosePeriod

    start, end = _bounds(name, bounds)
    if not yes:
        session.talk(f"would close {name}; give --yes to do it")
        session.record({"period": name, "done": False, "start": start, "end": end})
        return
    session.book.execute(ClosePeriod(period=name, start=start, end=end), actor=_actor(actor_id))
    (closed,) = [one for one in session.reading.periods() if one.period == name and one.is_closed]
    row = {"done": True, **_row(closed)}
    if session.is_json:
        row["totals"] = [_total(one) for one in closed.totals]
    session.record(row)


def _bounds(name: str, given: dict[str, object]) -> tuple[datetime | None, datetime]:
    """Return the bounds as given, or those of the calendar; a start of None is the last end."""
    start, end = given["start"], given["end"]
    if start is not None and given["from_last"]:
        raise click.UsageError("give --start or --from-last, not both")
    calendar = _month_or_year(name)
    if end is None and calendar is None:
        raise click.UsageError(f"{name} is no month like 2026-10 and no year: give --end")
    if end is None and calendar is not None:
        if start is None and not given["from_last"]:
            start = calendar[0]
        end = calendar[1]
    assert isinstance(end, datetime)
    assert start is None or isinstance(start, datetime)
    return start, end


def _month_or_year(name: str) -> tuple[datetime, datetime] | None:
    match = _CALENDAR.fullmatch(name)
    if match is None:
        return None
    year, month = int(match[1]), int(match[2] or 1)
    if not 1 <= year <= 9998 or not 1 <= month <= 12:
        return None
    start = datetime(year, month, 1, tzinfo=UTC)
    if match[2] is None or month == 12:
        return start, datetime(year + 1, 1, 1, tzinfo=UTC)
    return start, datetime(year, month + 1, 1, tzinfo=UTC)


@period.command("list")
@common
def list_(session: Session) -> None:
    """List every closing, also those that were taken back by reopening the period."""
    session.rows((_row(one) for one in session.reading.periods()), _PERIODS)


@period.command("reopen")
@click.argument("name", metavar="PERIOD")
@click.option("--reason", required=True, help="Why; recorded with it.")
@actor
@confirmed
@common
def reopen(session: Session, name: str, reason: str, actor_id: str | None, yes: bool) -> None:
    """
    Let the last closed period take entries again.

    Its trial balance stays on record; closed anew, it gets another one.
    """
    from orderledger.commands.period_commands import ReopenPeriod

    if not yes:
        session.talk(f"would reopen {name}; give --yes to do it")
        session.record({"period": name, "done": False})
        return
    session.book.execute(ReopenPeriod(period=name, reason=reason), actor=_actor(actor_id))
    reopened = [one for one in session.reading.periods() if one.period == name][-1]
    session.record({"done": True, **_row(reopened)})


@period.command("verify")
@click.argument("name", metavar="[PERIOD]", required=False)
@common
def verify(session: Session, name: str | None) -> int:
    """
    Check that what is closed is still what was closed.

    The log must come to every recorded trial balance, no entry may be effective in a period that
    was closed when it was recorded, and periods have no gap. With PERIOD only that one. `verify`
    checks this too. Exit status 1 if anything is found.
    """
    from orderledger.ledger.errors import NotFound

    if name is not None and all(one.period != name for one in session.reading.periods()):
        raise NotFound(f"period {name} was never closed", period=name)
    found: Counter[str] = Counter()

    def rows() -> "Iterator[Row]":
        for finding in session.reading.verify_periods(name, session.progress()):
            found[finding.code.value] += 1
            yield {
                "code": finding.code,
                "stream": finding.stream,
                "position": finding.position,
                "text": finding.text,
            }

    session.rows(rows(), _FINDINGS)
    summary = ", ".join(f"{count} {code}" for code, count in sorted(found.items()))
    session.talk(f"findings: {summary}" if found else "sound: no findings")
    return 1 if found else 0


def _row(one: "PeriodRecord") -> Row:
    return {
        "period": one.period,
        "start": one.start,
        "end": one.end,
        "closed_at": one.closed_at,
        "closed_by": _name(one.closed_by),
        "position": one.position,
        "accounts": one.account_count,
        "hash": one.trial_balance_hash,
        "reopened_at": one.reopened_at,
        "reopened_by": None if one.reopened_by is None else _name(one.reopened_by),
        "reason": one.reopened_because or None,
    }


def _total(one: "ClassTotal") -> Row:
    return {
        "class": one.account_class,
        "currency": one.currency,
        "layer": one.layer,
        "accounts": one.account_count,
        "debit_minor": one.debit,
        "credit_minor": one.credit,
        "debit": money(one.debit, one.currency),
        "credit": money(one.credit, one.currency),
    }


def _name(one: "Actor") -> str:
    return f"{one.type} {one.id}"


def _actor(actor_id: str | None) -> "Actor":
    from orderledger.commands.requests import SYSTEM, Actor

    return SYSTEM if actor_id is None else Actor("staff", actor_id)
