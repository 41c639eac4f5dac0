"""Commands about bank statements: importing one, and what does not agree with the book."""

from typing import TYPE_CHECKING, Final, cast

import click

from .cli_output import Session, common, money
from .cli_periods import actor
from .cli_settlement import parted, person
from .cli_tables import Columns, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orderledger.importers.bank_import import StatementSummary
    from orderledger.ledger.bank_events import BankSubject

_LINES: Final = Columns(
    ("line", "booked_on", "amount", "currency", "reference", "shows"),
    numeric=("line", "amount"),
    giving_way=("reference", "booked_on"),
)
_BREAKS: Final = Columns(
    ("statement", "break", "amount", "currency", "open", "detail"),
    numeric=("amount",),
    giving_way=("detail",),
)
named: Final = click.argument("name", metavar="BANK/STATEMENT")


@click.group()
def bank() -> None:
    """
    Reconcile the bank's statements with what the book has.

    A line is matched to the payout that it shows. What does not agree is a break.
    """


@bank.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--bank", "bank_name", default="main", help="The bank account. Default: main.")
@click.option("--statement", required=True, help="The id of the statement, such as 2026-03.")
@click.option("--opening", metavar="AMOUNT", help="As in '12.34 USD'.")
@click.option("--closing", metavar="AMOUNT", help="As in '12.34 USD'.")
@click.option(
    "--tolerance",
    type=click.IntRange(min=0),
    default=0,
    help="Post a difference of up to so many minor units to the bank's fees.",
)
@actor
@common
def import_(session: Session, *, file: str, bank_name: str, statement: str, **given: object) -> int:
    """
    Import a bank statement FILE; - is standard input, gzip is recognised.

    A file that cannot be read is refused whole. Importing it again adds nothing. Exit status 1
    where breaks are open.
    """
    from orderledger.importers.bank_import import StatementOptions, import_statement

    tolerance = given["tolerance"]
    assert isinstance(tolerance, int)
    options = StatementOptions(
        bank=bank_name,
        statement=statement,
        opening=_minor(given["opening"]),
        closing=_minor(given["closing"]),
        tolerance=tolerance,
        actor=person(given["actor_id"]),
    )
    progress = session.progress()
    summary = import_statement(
        session.book, file, options, lambda done, whole: progress("lines", done, whole)
    )
    session.record(_summary(session, summary))
    return 1 if summary.breaks else 0


def _minor(text: object) -> int | None:
    from orderledger.ledger.money import Money

    return None if text is None else Money.parse(str(text)).minor


def _summary(session: Session, summary: "StatementSummary") -> Row:
    kinds = [f"{count} {kind}" for kind, count in summary.breaks.items()]
    return {
        "statement": f"{summary.bank}/{summary.statement}",
        "status": summary.status,
        "lines": summary.lines,
        "new_lines": summary.new_lines,
        "matched": summary.matched,
        "breaks": dict(summary.breaks) if session.is_json else ", ".join(kinds) or None,
        "sha256": summary.sha256,
    }


@bank.command("show")
@named
@common
def show(session: Session, name: str) -> None:
    """Show the lines of a statement and what each shows."""
    from orderledger.projections.bank_statements import BankLineRow

    bank_name, statement = parted(name)
    session.book.bank_statement(bank_name, statement)
    models = session.reading.models
    models.catch_up("bank_statements")
    session.rows(
        (
            {
                "line": one.line_no,
                "booked_on": one.booked_at.date().isoformat(),
                "amount": money(one.amount, one.currency),
                "amount_minor": one.amount,
                "currency": one.currency,
                "reference": one.reference,
                "shows": f"{one.shows_kind} {one.shows}" if one.shows else None,
            }
            for one in models.select(BankLineRow, bank=bank_name, statement=statement)
        ),
        _LINES,
    )


@bank.command("breaks")
@click.argument("name", metavar="[BANK/STATEMENT]", required=False)
@click.option("--all", "has_resolved", is_flag=True, help="Also those that are resolved.")
@common
def breaks(session: Session, name: str | None, has_resolved: bool) -> int:
    """
    List what does not agree, of one statement or of all.

    Exit status 1 where any is open.
    """
    from orderledger.projections.bank_statements import BankBreakRow

    models = session.reading.models
    models.catch_up("bank_statements")
    found = models.select(BankBreakRow)
    if name is not None:
        bank_name, statement = parted(name)
        found = models.select(BankBreakRow, bank=bank_name, statement=statement)
    open_count = 0

    def rows() -> "Iterator[Row]":
        nonlocal open_count
        for one in found:
            open_count += one.is_open
            if one.is_open or has_resolved:
                yield {
                    "statement": f"{one.bank}/{one.statement}",
                    "break": one.break_id,
                    "kind": one.kind,
                    "line": one.line_no or None,
                    "amount": money(one.amount, one.currency),
                    "amount_minor": one.amount,
                    "currency": one.currency,
                    "open": one.is_open,
                    "detail": one.detail,
                    "action": one.action or None,
                    "by": one.resolved_by or None,
                    "reason": one.reason or None,
                    "account": one.account or None,
                }

    session.rows(rows(), _BREAKS)
    return 1 if open_count else 0


@bank.command("resolve")
@named
@click.argument("break_id", metavar="BREAK")
@click.option(
    "--action",
    type=click.Choice(("booked", "accepted")),
    required=True,
    help="Book it to an account, or accept it as it is.",
)
@click.option("--account", default="", help="Where to book it.")
@click.option("--reason", required=True, help="Why; recorded with it.")
@actor
@common
def resolve(session: Session, name: str, break_id: str, **given: object) -> int:
    """
    End a break of a statement.

    Exit status 1 where others are still open.
    """
    from orderledger.commands.bank_commands import ResolveBankBreak
    from orderledger.importers.bank_import import summary_of
    from orderledger.ledger.settlement_events import BreakAction

    bank_name, statement = parted(name)
    who = person(given["actor_id"])
    session.book.execute(
        ResolveBankBreak(
            bank=bank_name,
            statement=statement,
            break_id=break_id,
            action=BreakAction(str(given["action"])),
            by=who.id,
            reason=str(given["reason"]),
            account=str(given["account"]),
        ),
        actor=who,
    )
    state = session.book.bank_statement(bank_name, statement)
    session.record(_summary(session, summary_of(state, new_lines=0)))
    return 1 if state.open_count else 0


@bank.command("match")
@named
@click.option("--line", "line_no", type=click.IntRange(min=1), required=True)
@click.option(
    "--payout",
    "payouts",
    multiple=True,
    metavar="PROVIDER/BATCH:LINE",
    help="The payout line that it shows; may be given several times.",
)
@click.option(
    "--seller-payout",
    "sent",
    multiple=True,
    metavar="PAYOUT",
    help="The payout to a seller that it shows; may be given several times.",
)
@click.option(
    "--returned",
    multiple=True,
    metavar="PAYOUT",
    help="The payout to a seller that came back by it; may be given several times.",
)
@click.option("--tolerance", type=click.IntRange(min=0), default=0, help="In minor units.")
@actor
@common
def match(session: Session, name: str, *, line_no: int, **given: object) -> int:
    """
    Match a line by hand with the payouts that it shows: of providers, or to sellers.

    Exit status 1 where breaks are still open.
    """
    from orderledger.commands.bank_commands import MatchBankLine
    from orderledger.importers.bank_import import summary_of

    bank_name, statement = parted(name)
    tolerance = given["tolerance"]
    assert isinstance(tolerance, int)
    subjects = _subjects({key: cast("tuple[str, ...]", given[key]) for key in _SUBJECTS})
    who = person(given["actor_id"])
    session.book.execute(
        MatchBankLine(
            bank=bank_name,
            statement=statement,
            line_no=line_no,
            by=who.id,
            subjects=subjects,
            tolerance=tolerance,
        ),
        actor=who,
    )
    state = session.book.bank_statement(bank_name, statement)
    session.record(_summary(session, summary_of(state, new_lines=0)))
    return 1 if state.open_count else 0


_SUBJECTS: Final = ("payouts", "sent", "returned")


def _subjects(given: "Mapping[str, tuple[str, ...]]") -> "tuple[BankSubject, ...]":
    """Return what the options name; raises click's usage errors."""
    from orderledger.commands.decide_bank_payouts import SELLER_PAYOUT, SELLER_PAYOUT_RETURNED
    from orderledger.commands.decide_bank_subjects import SETTLEMENT
    from orderledger.ledger.bank_events import BankSubject

    subjects: list[BankSubject] = []
    for text in given["payouts"]:
        settlement_id, _, number = text.rpartition(":")
        if not settlement_id or not number.isdecimal():
            raise click.BadParameter(f"{text!r} is not PROVIDER/BATCH:LINE", param_hint="--payout")
        subjects.append(BankSubject(SETTLEMENT, settlement_id, int(number)))
    subjects += [BankSubject(SELLER_PAYOUT, one) for one in given["sent"]]
    subjects += [BankSubject(SELLER_PAYOUT_RETURNED, one) for one in given["returned"]]
    if not subjects:
        raise click.UsageError("name what the line shows: --payout, --seller-payout or --returned")
    return tuple(subjects)
