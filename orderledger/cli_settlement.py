"""Commands about settlement batches: importing a file, and what does not agree with the book."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

import click

from .cli_output import Session, common, money
from .cli_periods import actor, confirmed
from .cli_tables import Columns, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orderledger.commands.requests import Actor
    from orderledger.importers.settlement_import import ImportOptions, ImportSummary
    from orderledger.ledger.settlement_events import FeeLimit, StatedBalance
    from orderledger.projections.settlements import SettlementBreakRow

FORMATS: Final = ("adyen", "generic", "paypal", "stripe")
_BATCHES: Final = Columns(
    ("settlement", "status", "lines", "open", "breaks", "bank", "received_at", "closed_by"),
    numeric=("lines", "open", "breaks"),
    giving_way=("closed_by", "received_at", "bank"),
)
_LINES: Final = Columns(
    ("line", "type", "status", "gross", "in", "fee", "net", "currency", "reference", "settles"),
    numeric=("line", "gross", "fee", "net"),
    giving_way=("reference", "in"),
)
_BREAKS: Final = Columns(
    ("settlement", "break", "amount", "currency", "age_days", "open", "detail", "action"),
    numeric=("amount", "age_days"),
    giving_way=("action", "detail", "age_days"),
)
_MISSING: Final = Columns(
    ("payment", "operation", "kind", "reference", "missing", "currency", "succeeded_at"),
    numeric=("missing",),
    giving_way=("reference",),
)
named: Final = click.argument("name", metavar="PROVIDER/BATCH")


@click.group()
def settlement() -> None:
    """
    Reconcile what a provider settled with what the book has.

    A file is imported line by line; each line is matched to the operation that it settles. What
    does not agree is a break, which a person matches, books or accepts.
    """


@settlement.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--provider", "form", type=click.Choice(FORMATS), required=True, help="Whose format.")
@click.option("--account", help="What payments call the provider. Default: the format's name.")
@click.option("--batch", default="", help="The batch, for a file that names none.")
@click.option("--bank", default="main", help="Where payouts arrive. Default: main.")
@click.option(
    "--tolerance",
    type=click.IntRange(min=0),
    default=0,
    help="Post a difference of up to so many minor units to the variance account.",
)
@click.option(
    "--fee-limit",
    metavar="BASIS_POINTS[+FIXED]",
    help="A fee above this share of the gross and this many minor units is a break: 290+30.",
)
@click.option("--opening", multiple=True, metavar="AMOUNT", help="As in '12.34 USD'.")
@click.option("--closing", multiple=True, metavar="AMOUNT", help="As in '12.34 USD'.")
@click.option("--payout", multiple=True, metavar="AMOUNT", help="As in '12.34 USD'.")
@click.option("--check", "is_check", is_flag=True, help="Only read the file; write nothing.")
@actor
@common
def import_(session: Session, *, file: str, is_check: bool, **given: object) -> int:
    """
    Import a provider's settlement FILE; - is standard input, gzip is recognised.

    A file that cannot be read is refused whole, with the line and column. Importing it again adds
    nothing. Exit status 1 where breaks are open.
    """
    from orderledger.importers.settlement_import import import_settlement, read_file

    options = _options(given)
    if is_check:
        read = read_file(file, options)
        session.record(
            {
                "settlement": f"{read.provider}/{read.batch}",
                "lines": len(read.parsed.lines),
                "sha256": read.sha256,
                "done": False,
            }
        )
        return 0
    progress = session.progress()
    summary = import_settlement(
        session.book, file, options, lambda done, whole: progress("lines", done, whole)
    )
    session.record(_summary(session, summary))
    return 1 if summary.breaks else 0


def _options(given: dict[str, object]) -> "ImportOptions":
    from orderledger.importers.settlement_import import ImportOptions

    form, tolerance = given["form"], given["tolerance"]
    assert isinstance(form, str)
    assert isinstance(tolerance, int)
    return ImportOptions(
        form=form,
        provider=str(given["account"] or ""),
        batch=str(given["batch"]),
        bank=str(given["bank"]),
        tolerance=tolerance,
        fee_limit=_fee_limit(given["fee_limit"]),
        balances=_balances(given),
        actor=person(given["actor_id"]),
    )


def _fee_limit(text: object) -> "FeeLimit | None":
    from orderledger.ledger.settlement_events import FeeLimit

    if text is None:
        return None
    share, _, fixed = str(text).partition("+")
    if not share.isdecimal() or not (fixed or "0").isdecimal():
        raise click.BadParameter(f"{text!r} is not like 290+30", param_hint="'--fee-limit'")
    return FeeLimit(int(share), int(fixed or "0"))


def _balances(given: dict[str, object]) -> "tuple[StatedBalance, ...]":
    from orderledger.ledger.money import Money
    from orderledger.ledger.settlement_events import StatedBalance

    stated: dict[str, dict[str, int]] = {}
    for name in ("opening", "closing", "payout"):
        for text in cast("tuple[str, ...]", given[name]):
            one = Money.parse(text)
            stated.setdefault(one.currency, {})[name] = one.minor
    return tuple([StatedBalance(code, **amounts) for code, amounts in sorted(stated.items())])


def _summary(session: Session, summary: "ImportSummary") -> Row:
    kinds = [f"{count} {kind}" for kind, count in summary.breaks.items()]
    return {
        "settlement": f"{summary.provider}/{summary.batch}",
        "status": summary.status,
        "lines": summary.lines,
        "new_lines": summary.new_lines,
        "matched": summary.matched,
        "breaks": dict(summary.breaks) if session.is_json else ", ".join(kinds) or None,
        "sha256": summary.sha256,
    }


@settlement.command("list")
@click.option("--status", help="Only those of a status, such as matching.")
@common
def list_(session: Session, status: str | None) -> None:
    """List the batches and where each stands."""
    from orderledger.projections.settlements import SettlementRow

    models = session.reading.models
    models.catch_up("settlements")
    every = status is None
    found = models.select(SettlementRow) if every else models.select(SettlementRow, status=status)
    session.rows(
        (
            {
                "settlement": f"{one.provider}/{one.batch}",
                "status": one.status,
                "lines": one.recorded_count,
                "line_count": one.line_count,
                "open": one.open_count,
                "breaks": one.break_count,
                "bank": one.bank,
                "received_at": one.received_at,
                "closed_by": one.closed_by or None,
            }
            for one in found
        ),
        _BATCHES,
    )


@settlement.command("show")
@named
@click.option("--lines", "has_lines", is_flag=True, help="Show every line instead of the sums.")
@common
def show(session: Session, name: str, has_lines: bool) -> None:
    """Show a batch: its status and balances, or its lines."""
    from orderledger.projections.settlements import SettlementBalanceRow, SettlementLineRow

    provider, batch = parted(name)
    state = session.book.settlement(provider, batch)
    models = session.reading.models
    models.catch_up("settlements")
    if has_lines:
        found = models.select(SettlementLineRow, provider=provider, batch=batch)
        session.rows((_line(one) for one in found), _LINES)
        return
    balances = models.select(SettlementBalanceRow, provider=provider, batch=batch)
    session.record(
        {
            "settlement": state.settlement_id,
            "status": state.status,
            "sha256": state.sha256,
            "bank": state.bank,
            "lines": f"{state.lines.size} of {state.line_count}",
            "open_breaks": state.open_count,
            "closed_by": state.closed_by or None,
            **_balances_of(session, [_balance(one) for one in balances]),
        }
    )


def _balances_of(session: Session, balances: "list[Row]") -> Row:
    """Return the balances as JSON has them, or as one line each for a table."""
    if session.is_json:
        return {"balances": balances}
    return {
        f"balance {one['currency']}": f"opening {one['opening']} + net {one['net']} = "
        f"payout {one['payout']} + closing {one['closing']}"
        + (f" + difference {one['difference']}" if one["difference_minor"] else "")
        for one in balances
    }


def _balance(one: "object") -> Row:
    from orderledger.projections.settlements import SettlementBalanceRow

    assert isinstance(one, SettlementBalanceRow)
    names = ("opening", "net", "payout", "closing", "difference")
    minor = {f"{name}_minor": getattr(one, name) for name in names}
    text = {name: money(getattr(one, name), one.currency) for name in names}
    return {"currency": one.currency, **text, **minor}


def _line(one: "object") -> Row:
    from orderledger.projections.settlements import SettlementLineRow

    assert isinstance(one, SettlementLineRow)
    more = f" +{one.operation_count - 1}" if one.operation_count > 1 else ""
    return {
        "line": one.line_no,
        "type": one.type,
        "kind": one.raw_kind,
        "status": one.status,
        "gross": money(one.gross, one.gross_currency),
        "in": one.gross_currency,
        "fee": money(one.fee, one.currency),
        "net": money(one.net, one.currency),
        "net_minor": one.net,
        "currency": one.currency,
        "reference": one.modification_reference or one.reference,
        "settles": f"{one.payment_id} {one.op_id}{more}" if one.payment_id else None,
        "occurred_at": one.occurred_at,
    }


@settlement.command("breaks")
@click.argument("name", metavar="[PROVIDER/BATCH]", required=False)
@click.option("--all", "has_resolved", is_flag=True, help="Also those that are resolved.")
@common
def breaks(session: Session, name: str | None, has_resolved: bool) -> int:
    """
    List what does not agree, of one batch or of all.

    Exit status 1 where any is open.
    """
    open_count = 0

    def rows() -> "Iterator[Row]":
        nonlocal open_count
        for one in _breaks(session, name):
            open_count += one.is_open
            if one.is_open or has_resolved:
                yield _break(session, one)

    session.rows(rows(), _BREAKS)
    return 1 if open_count else 0


def _breaks(session: Session, name: str | None) -> "Iterator[SettlementBreakRow]":
    from orderledger.projections.settlements import SettlementBreakRow

    models = session.reading.models
    models.catch_up("settlements")
    if name is None:
        return models.select(SettlementBreakRow)
    provider, batch = parted(name)
    session.book.settlement(provider, batch)
    return models.select(SettlementBreakRow, provider=provider, batch=batch)


def _break(session: Session, one: "SettlementBreakRow") -> Row:
    age = session.reading.models.clock() - one.raised_at
    return {
        "settlement": f"{one.provider}/{one.batch}",
        "break": one.break_id,
        "kind": one.kind,
        "line": one.line_no or None,
        "amount": money(one.amount, one.currency),
        "amount_minor": one.amount,
        "currency": one.currency,
        "age_days": age.days if one.is_open else None,
        "open": one.is_open,
        "detail": one.detail,
        "action": one.action or None,
        "by": one.resolved_by or None,
        "reason": one.reason or None,
        "account": one.account or None,
    }


@settlement.command("match")
@named
@click.option("--line", "line_no", type=click.IntRange(min=1), help="The line to match by hand.")
@click.option(
    "--operation",
    "operations",
    multiple=True,
    metavar="PAYMENT:OPERATION",
    help="What the line settles; may be given several times.",
)
@click.option("--tolerance", type=click.IntRange(min=0), default=0, help="In minor units.")
@actor
@common
def match(session: Session, name: str, *, line_no: int | None, **given: object) -> int:
    """
    Try the rules again on what is open, or match one line by hand.

    Exit status 1 where breaks are still open.
    """
    from orderledger.importers.settlement_import import match_again, summary_of

    provider, batch = parted(name)
    who = person(given["actor_id"])
    before = session.book.settlement(provider, batch).open_count
    if line_no is None:
        match_again(session.book, provider, batch, who)
    else:
        _match_by_hand(session, (provider, batch, line_no), given, who)
    after = session.book.settlement(provider, batch)
    session.record(
        {**_summary(session, summary_of(after, new_lines=0)), "ended": before - after.open_count}
    )
    return 1 if after.open_count else 0


def _match_by_hand(
    session: Session, line: tuple[str, str, int], given: dict[str, object], who: "Actor"
) -> None:
    from orderledger.commands.settlement_commands import MatchLine, OperationName

    texts, tolerance = cast("tuple[str, ...]", given["operations"]), given["tolerance"]
    assert isinstance(tolerance, int)
    names: list[OperationName] = []
    for text in texts:
        payment_id, colon, op_id = text.rpartition(":")
        if not colon:
            raise click.BadParameter(f"{text!r} is not PAYMENT:OPERATION", param_hint="--operation")
        names.append(OperationName(payment_id, op_id))
    if not names:
        raise click.UsageError("name the --operation that the line settles")
    provider, batch, line_no = line
    session.book.execute(
        MatchLine(
            provider=provider,
            batch=batch,
            line_no=line_no,
            by=who.id,
            operations=tuple(names),
            tolerance=tolerance,
        ),
        actor=who,
    )


@settlement.command("resolve")
@named
@click.argument("break_id", metavar="BREAK")
@click.option(
    "--action",
    type=click.Choice(("booked", "accepted", "matched")),
    required=True,
    help="Book it to an account, accept it as it is, or say that it was settled since.",
)
@click.option("--account", default="", help="Where to book it.")
@click.option("--reason", required=True, help="Why; recorded with it.")
@actor
@common
def resolve(session: Session, name: str, break_id: str, **given: object) -> int:
    """
    End a break.

    Exit status 1 where others are still open.
    """
    from orderledger.commands.settlement_commands import ResolveBreak
    from orderledger.importers.settlement_import import summary_of
    from orderledger.ledger.settlement_events import BreakAction

    provider, batch = parted(name)
    who = person(given["actor_id"])
    session.book.execute(
        ResolveBreak(
            provider=provider,
            batch=batch,
            break_id=break_id,
            action=BreakAction(str(given["action"])),
            by=who.id,
            reason=str(given["reason"]),
            account=str(given["account"]),
        ),
        actor=who,
    )
    state = session.book.settlement(provider, batch)
    session.record(_summary(session, summary_of(state, new_lines=0)))
    return 1 if state.open_count else 0


@settlement.command("missing")
@click.argument("provider")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    default=7,
    metavar="DAYS",
    help="Only what succeeded longer ago. Default: 7.",
)
@click.option("--report", metavar="BATCH", help="Record them as breaks of this batch.")
@actor
@common
def missing(
    session: Session, provider: str, *, older_than: int, report: str | None, actor_id: str | None
) -> int:
    """
    List operations that succeeded and that no settlement of PROVIDER has shown.

    Exit status 1 if there are any.
    """
    from orderledger.commands.settlement_commands import ReportMissingOperation
    from orderledger.projections.operation_references import OperationSettlementRow

    models = session.reading.models
    models.catch_up("operation_references")
    before = models.clock() - timedelta(days=older_than)
    found: Sequence[OperationSettlementRow] = [
        one
        for one in models.select(OperationSettlementRow, provider=provider, is_settled=False)
        if one.succeeded_at <= before
    ]
    for one in found if report is not None else ():
        session.book.execute(
            ReportMissingOperation(
                provider=provider,
                batch=report or "",
                payment_id=one.payment_id,
                op_id=one.op_id,
            ),
            actor=person(actor_id),
        )
    session.rows(
        (
            {
                "payment": one.payment_id,
                "operation": one.op_id,
                "kind": one.kind,
                "reference": one.provider_ref,
                "missing": money(one.amount - one.shown, one.currency),
                "missing_minor": one.amount - one.shown,
                "currency": one.currency,
                "succeeded_at": one.succeeded_at,
            }
            for one in found
        ),
        _MISSING,
    )
    return 1 if found else 0


@settlement.command("close")
@named
@actor
@confirmed
@common
def close(session: Session, name: str, actor_id: str | None, yes: bool) -> None:
    """Sign off a batch that balances; afterwards nothing of it changes."""
    from orderledger.commands.settlement_commands import CloseBatch

    provider, batch = parted(name)
    if not yes:
        session.talk(f"would close {name}; give --yes to do it")
        status = session.book.settlement(provider, batch).status
        session.record({"settlement": name, "done": False, "status": status})
        return
    who = person(actor_id)
    session.book.execute(CloseBatch(provider=provider, batch=batch, by=who.id), actor=who)
    status = session.book.settlement(provider, batch).status
    session.record({"settlement": name, "done": True, "status": status})


def parted(name: str) -> tuple[str, str]:
    """Return the two halves of ``provider/batch`` or ``bank/statement``; raises a usage error."""
    first, slash, second = name.partition("/")
    if not (first and slash and second):
        raise click.UsageError(f"{name!r} is not like adyen/42")
    return first, second


def person(actor_id: object) -> "Actor":
    """Return who gives a command: a member of staff, or the system."""
    from orderledger.commands.requests import SYSTEM, Actor

    return SYSTEM if actor_id is None else Actor("staff", str(actor_id))
