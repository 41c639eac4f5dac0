"""Commands about accounts: balances, statements, the trial balance and the journal."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from .cli_output import LOWER, UPPER, Session, common, money
from .cli_tables import Chapter, Columns, Row, print_story, short_topic

if TYPE_CHECKING:
    from orderledger.ledger.journal import Layer
    from orderledger.projections.balances import JournalEntry

_ACCOUNTS: Final = Columns(
    ("account", "side", "must_be_zero", "lines", "first_effective", "last_effective"),
    numeric=("lines",),
    giving_way=("must_be_zero", "first_effective", "side"),
)
_STATEMENT: Final = Columns(
    ("what", "position", "effective_at", "recorded_at", "amount", "balance"),
    numeric=("position", "amount", "balance"),
    giving_way=("recorded_at",),
)
_TRIAL_BALANCE: Final = Columns(
    ("account", "currency", "debit", "credit"), numeric=("debit", "credit")
)
_JOURNAL: Final = Columns(("position", "effective_at", "event", "stream"), numeric=("position",))
_LEGS: Final = Columns(("account", "debit", "credit"), numeric=("debit", "credit"))

effective_to: Final = click.option(
    "--effective-to",
    type=UPPER,
    help="Only what had happened by then (inclusive; a date: all day).",
)
recorded_to: Final = click.option(
    "--recorded-to", type=UPPER, help="Only what was recorded by then (inclusive; a date: all day)."
)
layer: Final = click.option(
    "--layer",
    type=click.Choice(["posted", "held"]),
    default="posted",
    show_default=True,
    help="Posted money, or holds on it.",
)


@click.group()
def account() -> None:
    """Look at accounts."""


@account.command("balance")
@click.argument("name")
@click.option("--currency", default="", help="Only this currency.")
@effective_to
@recorded_to
@layer
@common
def balance(session: Session, name: str, currency: str, **when: object) -> None:
    """
    Show an account's balances.

    One per currency, as of any pair of instants. Amounts are signed, debit positive. NAME is an
    account, or one with a colon at its end for itself and all accounts below it. An account that
    was never used is an error.
    """
    from orderledger.ledger.currencies import exponent
    from orderledger.ledger.errors import NotFound

    if currency:
        exponent(currency)  # a typing error must not be answered with nothing
    until, known, layered = _when(when)
    found = session.reading.balances_below(
        name.removesuffix(":"), effective_to=until, recorded_to=known, layer=layered
    )
    if not name.endswith(":"):
        found = [one for one in found if one.account == name]
    if not found and not session.reading.accounts(name.removesuffix(":")):
        raise NotFound(f"no account {name} was ever posted to", account=name)
    session.rows(
        (
            {
                "account": one.account,
                "currency": one.currency,
                "layer": one.layer,
                "minor": one.minor,
                "amount": money(one.minor, one.currency),
            }
            for one in found
            if currency in ("", one.currency)
        ),
        Columns(("account", "currency", "amount"), numeric=("amount",)),
    )


@account.command("list")
@click.argument("prefix", default="")
@recorded_to
@common
def list_(session: Session, prefix: str, recorded_to: datetime | None) -> None:
    """
    List the accounts in use.

    With their class and their first and last use; with PREFIX only that account and those below.
    """
    session.rows(
        (
            {
                "account": one.account,
                "side": one.side,
                "must_be_zero": one.must_be_zero,
                "lines": one.line_count,
                "first_effective": one.first_effective_at,
                "last_effective": one.last_effective_at,
                "first_position": one.first_position,
                "last_position": one.last_position,
            }
            for one in session.reading.accounts(prefix.removesuffix(":"), recorded_to=recorded_to)
        ),
        _ACCOUNTS,
    )


@account.command("clearing")
@effective_to
@recorded_to
@common
def clearing(session: Session, **when: object) -> int:
    """
    Show what should have been cleared and is not.

    Every account that must be zero once its subject is closed: escrow, refunds, disputes, payouts.
    With the instant since when it is not zero. Exit status 1 if there is any; what is under way
    counts too.
    """
    found = session.reading.clearing(
        effective_to=_instant_or_none(when["effective_to"]),
        recorded_to=_instant_or_none(when["recorded_to"]),
    )
    session.rows(
        (
            {
                "account": one.account,
                "currency": one.currency,
                "minor": one.minor,
                "balance": money(one.minor, one.currency),
                "subject": one.subject,
                "since": one.since,
                "position": one.position,
            }
            for one in found
        ),
        Columns(
            ("account", "currency", "balance", "subject", "since", "position"),
            numeric=("balance", "position"),
            giving_way=("subject",),
        ),
    )
    return 1 if found else 0


@account.command("statement")
@click.argument("name")
@click.option("--currency", required=True, help="The currency of the statement.")
@click.option("--from", "start", type=LOWER, required=True, help="Its first instant.")
@click.option("--to", "end", type=LOWER, required=True, help="The instant before which it ends.")
@recorded_to
@common
def statement(session: Session, name: str, currency: str, **when: object) -> None:
    """
    Show an account's statement.

    Over [FROM, TO): opening + lines = closing. With --recorded-to it is the same for ever, whatever
    is recorded later.
    """
    from orderledger.projections.balances import StatementRequest

    found = session.reading.statement(
        StatementRequest(
            account=name,
            currency=currency,
            start=_instant(when["start"]),
            end=_instant(when["end"]),
            recorded_to=_instant_or_none(when["recorded_to"]),
        )
    )
    if session.is_json:
        import msgspec

        session.record(msgspec.structs.asdict(found))
        return
    session.rows(
        [
            {"what": "opening", "balance": money(found.opening, currency)},
            *(
                {
                    "position": line.position,
                    "effective_at": line.effective_at,
                    "recorded_at": line.recorded_at,
                    "amount": money(line.minor, currency),
                    "balance": money(line.balance, currency),
                }
                for line in found.lines
            ),
            {"what": "closing", "balance": money(found.closing, currency)},
        ],
        _STATEMENT,
    )


@click.command("trial-balance")
@effective_to
@recorded_to
@layer
@common
def trial_balance(session: Session, **when: object) -> int:
    """
    Show all balances and their sums.

    Accounts whose balance is zero are left out. Exit status 1 if debits and credits differ, which
    no sound book shows.
    """
    import msgspec

    until, known, layered = _when(when)
    found = session.reading.trial_balance(effective_to=until, recorded_to=known, layer=layered)
    if session.is_json:
        session.record({**msgspec.structs.asdict(found), "is_balanced": found.is_balanced})
    else:
        rows: list[Row] = [
            {
                "account": row.account,
                "currency": row.currency,
                "debit": money(row.debit, row.currency) if row.debit else "",
                "credit": money(row.credit, row.currency) if row.credit else "",
            }
            for row in found.rows
        ]
        rows += [
            {
                "account": "total",
                "currency": total.currency,
                "debit": money(total.debit, total.currency),
                "credit": money(total.credit, total.currency),
            }
            for total in found.totals
        ]
        session.rows(rows, _TRIAL_BALANCE)
    if not found.is_balanced:
        session.talk("the book does not balance: run `orderledger verify`")
    return 0 if found.is_balanced else 1


@click.command()
@click.option("--account", default="", help="Only entries that touch this account.")
@click.option("--from", "start", metavar="WHERE", help="A position, or an effective instant.")
@click.option("--to", "end", metavar="WHERE", help="A position, or an effective instant.")
@recorded_to
@common
def journal(session: Session, account: str, recorded_to: datetime | None, **where: str) -> None:
    """
    Show journal entries in log order.

    Each whole, with all its legs. --from and --to are inclusive: digits are a position of the log,
    anything else an effective instant (a date alone is its start for --from, its end for --to).
    """
    from orderledger.projections.balances import JournalFilter

    first, earliest = _place(where.get("start"), is_end=False)
    last, latest = _place(where.get("end"), is_end=True)
    wanted = JournalFilter(
        account=account,
        first_position=first or 1,
        last_position=last,
        effective_from=earliest,
        effective_to=latest,
        recorded_to=recorded_to,
    )
    entries = session.reading.journal(wanted)
    if session.is_json:
        session.rows((_entry_json(one) for one in entries), _JOURNAL)
    else:
        print_story((_entry_chapter(one) for one in entries), _JOURNAL, _LEGS)


def _entry_json(one: "JournalEntry") -> Row:
    return {
        "position": one.position,
        "recorded_at": one.recorded_at,
        "effective_at": one.effective_at,
        "stream": one.stream,
        "version": one.version,
        "topic": one.topic,
        "lines": [
            {
                "account": line.account,
                "layer": line.layer,
                "currency": line.currency,
                "minor": line.minor,
                "amount": money(line.minor, line.currency),
            }
            for line in one.lines
        ],
    }


def _entry_chapter(one: "JournalEntry") -> Chapter:
    head: Row = {
        "position": one.position,
        "effective_at": one.effective_at,
        "event": short_topic(one.topic),
        "stream": one.stream,
    }
    lines: list[Row] = []
    for line in one.lines:
        text = f"{money(abs(line.minor), line.currency)} {line.currency}"
        account = line.account if line.layer == "posted" else f"{line.account} ({line.layer.value})"
        lines.append({"account": account, "debit" if line.minor > 0 else "credit": text})
    return Chapter(head, lines)


def _place(text: str | None, *, is_end: bool) -> tuple[int | None, datetime | None]:
    if text is None:
        return (None, None)
    if text.isdecimal():
        return (int(text), None)
    return (None, (UPPER if is_end else LOWER).convert(text, None, None))


def _when(when: dict[str, object]) -> tuple[datetime | None, datetime | None, "Layer"]:
    from orderledger.ledger.journal import Layer

    return (
        _instant_or_none(when["effective_to"]),
        _instant_or_none(when["recorded_to"]),
        Layer(str(when["layer"])),
    )


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no instant")
    return value


def _instant_or_none(value: object) -> datetime | None:
    return None if value is None else _instant(value)
