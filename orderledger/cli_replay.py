"""Commands about the past: a book as it was, what changed since, and why a number is what it is."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from .cli_accounts import effective_to, layer
from .cli_disputes import dispute_fields
from .cli_output import UPPER, Session, common, instant_of, money
from .cli_read import order_fields, payment_fields
from .cli_rows import cells_of, columns_of, field_rows, json_of
from .cli_tables import Columns, short_topic

if TYPE_CHECKING:
    from orderledger.ledger.as_of import AsOf
    from orderledger.replay.as_of import StateAsOf
    from orderledger.replay.causes import Cause
    from orderledger.replay.diff import Diff, RowChange
    from orderledger.replay.diff_balances import BalanceChange

    from .cli_tables import Row

_POSITION: Final = re.compile(r"[0-9]{1,18}")
_DIFF: Final = Columns(
    ("table", "key", "change", "field", "before", "after", "positions"), giving_way=("table",)
)
_MOVED: Final = Columns(
    ("account", "currency", "before", "after", "moved", "position", "event", "stream", "actor"),
    numeric=("before", "after", "moved", "position"),
    giving_way=("actor", "stream"),
)
_EXPLAINED: Final = Columns(
    ("position", "effective_at", "recorded_at", "event", "stream", "actor", "amount", "balance"),
    numeric=("position", "amount", "balance"),
    giving_way=("recorded_at", "actor"),
)


class _At(click.ParamType):  # type: ignore[type-arg]  # generic to type checkers only
    """A position of the log, or the time by which something was recorded."""

    name = "position or time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | datetime:
        """Read a number as a position and anything else as an instant."""
        text = str(value)
        if _POSITION.fullmatch(text):
            return int(text)
        try:
            return instant_of(text, is_upper_bound=True)
        except ValueError:
            self.fail(
                f"{text!r} is neither a position like 1200 nor a time like 2026-01-31", param, ctx
            )


AT: Final = _At()
at: Final = click.option(
    "--at",
    type=AT,
    help="A position, or a time by which it was recorded (inclusive; a date: all day). "
    "Default: now.",
)


def as_of(at: "int | datetime | None", effective_to: datetime | None) -> "AsOf":
    """Return the instant that --at and --effective-to name."""
    from orderledger.ledger.as_of import AsOf

    if isinstance(at, int):
        return AsOf(position=at, effective_to=effective_to)
    return AsOf(recorded_to=at, effective_to=effective_to)


@click.group()
def replay() -> None:
    """
    Look at a book as it was.

    At a position of its log, or by what was recorded by a time; --effective-to leaves out what
    happened later. What came later never shows.
    """


def _entity(kind: str, stream: Callable[[str], str], fields: Callable[..., "Row"]) -> None:
    @replay.command(kind, help=f"Show a {kind} as it was.")
    @click.argument("entity_id", metavar="ID")
    @at
    @effective_to
    @common
    def show(
        session: Session,
        entity_id: str,
        at: int | datetime | None,
        effective_to: datetime | None,
    ) -> None:
        found = session.reading.state_as_of(stream(entity_id), as_of(at, effective_to))
        session.record({**_when(found), **fields(found.state, is_json=session.is_json)})


def _when(found: "StateAsOf") -> "Row":
    return {
        "as_of_position": found.point.position,
        "as_of_effective": found.point.effective_to,
        "version": found.version,
        "last_position": found.position,
        "omitted_events": found.omitted,
    }


_entity("order", lambda one: f"order-{one}", order_fields)
_entity("payment", lambda one: f"payment-{one}", payment_fields)
_entity("dispute", lambda one: f"dispute-{one}", dispute_fields)


@replay.command("account")
@click.argument("name")
@at
@effective_to
@layer
@common
def account(
    session: Session,
    name: str,
    at: int | datetime | None,
    effective_to: datetime | None,
    layer: str,
) -> None:
    """
    Show an account's balances as they were.

    One per currency, in the currency's decimals, debit positive.
    """
    from orderledger.ledger.errors import NotFound
    from orderledger.ledger.journal import Layer

    reading = session.reading
    currencies = sorted(
        {one.currency for one in reading.balances_below(name) if one.account == name}
    )
    if not currencies:
        raise NotFound(f"no account {name} was ever posted to", account=name)
    wanted = as_of(at, effective_to)
    found = [reading.explain(name, one, wanted, layer=Layer(layer)) for one in currencies]
    session.rows(
        (
            {
                "account": name,
                "currency": one.currency,
                "layer": one.layer,
                "minor": one.minor,
                "amount": money(one.minor, one.currency),
                "position": one.point.position,
                "effective_to": one.point.effective_to,
            }
            for one in found
        ),
        Columns(("account", "currency", "amount"), numeric=("amount",)),
    )


@replay.command("projection")
@click.argument("name", metavar="TABLE")
@at
@effective_to
@common
def projection(
    session: Session, name: str, at: int | datetime | None, effective_to: datetime | None
) -> None:
    """
    Show the rows of a read model's table as they were, by key.

    They are made anew in memory from the events up to then.
    """
    reading = session.reading
    table = reading.models.table(name)
    wanted = as_of(at, effective_to)
    then = reading.as_of(
        wanted.position, recorded_to=wanted.recorded_to, effective_to=wanted.effective_to
    )
    try:
        then.models.catch_up(then.models.owner(table).name)
        rows = then.models.find(table, {})
        shown = json_of(table, rows) if session.is_json else cells_of(table, rows)
        session.rows(shown, columns_of(table))
    finally:
        then.close()


@click.command()
@click.argument("name")
@click.argument("before", type=AT, metavar="A")
@click.argument("after", type=AT, metavar="B", required=False)
@click.option("--effective-from", type=UPPER, help="What had happened at A (balances only).")
@click.option("--effective-to", type=UPPER, help="What had happened at B, and at A if it has none.")
@click.option("--below", default="", metavar="ACCOUNT", help="Only this account and those below.")
@common
def diff(
    session: Session,
    name: str,
    before: int | datetime,
    after: int | datetime | None,
    **options: Any,
) -> None:
    """
    Tell what changed between A and B, and which events changed it.

    NAME is a read model, or `balances` for accounts and the entries that moved them. A and B are
    positions, or times by which things were recorded; without B, now.
    """
    ends = (
        as_of(before, options["effective_from"] or options["effective_to"]),
        as_of(after, options["effective_to"]),
    )
    if name == "balances":
        changes = session.reading.diff_balances(ends[0], ends[1], prefix=options["below"])
        if session.is_json:
            session.rows((_change_json(one) for one in changes), _MOVED)
        else:
            session.rows((row for one in changes for row in _change_rows(one)), _MOVED)
        return
    if options["below"]:
        raise click.UsageError("--below is for balances")
    found = session.reading.diff(name, ends[0], ends[1])
    if session.is_json:
        session.rows((_row_json(found, one) for one in found.rows), _DIFF)
    else:
        session.rows((row for one in found.rows for row in field_rows(one)), _DIFF)


def _row_json(found: "Diff", one: "RowChange") -> "Row":
    return {
        "table": one.table,
        "key": list(one.key),
        "change": one.kind,
        "fields": [
            {
                "field": field.name,
                "before": field.before,
                "after": field.after,
                "causes": [_cause(found.causes[position]) for position in field.causes],
            }
            for field in one.fields
        ],
    }


def _change_json(one: "BalanceChange") -> "Row":
    return {
        "account": one.account,
        "currency": one.currency,
        "before": one.before,
        "after": one.after,
        "entries": [{"minor": entry.minor, **_cause(entry.cause)} for entry in one.entries],
    }


def _change_rows(one: "BalanceChange") -> "Iterator[Row]":
    for number, entry in enumerate(one.entries):
        is_first = number == 0
        yield {
            "account": one.account if is_first else None,
            "currency": one.currency,
            "before": money(one.before, one.currency) if is_first else None,
            "after": money(one.after, one.currency) if is_first else None,
            "moved": money(entry.minor, one.currency),
            **_cause_cells(entry.cause),
        }


def _cause(cause: "Cause") -> "Row":
    import msgspec

    return msgspec.structs.asdict(cause)


def _cause_cells(cause: "Cause") -> "Row":
    return {
        "position": cause.position,
        "effective_at": cause.effective_at,
        "recorded_at": cause.recorded_at,
        "event": short_topic(cause.topic),
        "stream": cause.stream,
        "actor": f"{cause.actor.type} {cause.actor.id}",
    }


@click.command()
@click.argument("account", metavar="ACCOUNT")
@click.option("--currency", help="Which; needed where the account has several.")
@at
@effective_to
@layer
@common
def explain(
    session: Session, account: str, currency: str | None, at: int | datetime | None, **options: Any
) -> None:
    """
    List every entry that a balance sums, with who gave which command.

    The last line's balance is the account's.
    """
    from orderledger.ledger.journal import Layer

    reading = session.reading
    found = reading.explain(
        account,
        currency or _only_currency(session, account),
        as_of(at, options["effective_to"]),
        layer=Layer(options["layer"]),
    )

    def rows() -> "Iterable[Row]":
        for one in found:
            if session.is_json:
                yield {"minor": one.minor, "balance": one.balance, **_cause(one.cause)}
            else:
                yield {
                    **_cause_cells(one.cause),
                    "amount": money(one.minor, found.currency),
                    "balance": money(one.balance, found.currency),
                }

    session.rows(rows(), _EXPLAINED)
    session.talk(
        f"{found.account}: {money(found.minor, found.currency)} {found.currency} at position "
        f"{found.point.position}"
    )


def _only_currency(session: Session, account: str) -> str:
    from orderledger.ledger.errors import InvalidInput

    used = _currencies(session, account)
    if len(used) > 1:
        raise InvalidInput(
            f"{account} has balances in {', '.join(used)}: name one with --currency",
            account=account,
        )
    return used[0]


def _currencies(session: Session, account: str) -> list[str]:
    """Return the currencies that an account ever had; raises NotFound where it has none."""
    from orderledger.ledger.errors import NotFound

    totals = session.reading.balances_below(account)
    used = sorted({one.currency for one in totals if one.account == account})
    if not used:
        raise NotFound(f"no account {account} was ever posted to", account=account)
    return used
