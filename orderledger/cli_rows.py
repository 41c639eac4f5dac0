"""The command that shows rows of a read model."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common, instant_of, money, say
from .cli_tables import Columns

if TYPE_CHECKING:
    from orderledger.ledger.model_ports import Column, Key, Table, Value
    from orderledger.ledger.model_ports import Row as Tuple
    from orderledger.projections.read_models import ModelStatus
    from orderledger.replay.diff import RowChange

    from .cli_tables import Row

_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "yes": True, "false": False, "no": False}
_EXAMPLES: Final[Mapping[str, str]] = {
    "integer": "an integer like 12",
    "amount": "an amount in minor units like 1250",
    "boolean": "true or false",
    "instant": "an instant like 2026-01-31T12:00:00Z",
}


@click.command("rows")
@click.argument("name", metavar="TABLE")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only rows with this value; may be given for several columns. Nothing after the = stands "
    "for an empty one.",
)
@click.option(
    "--after",
    multiple=True,
    metavar="VALUE",
    help="Only rows after this key; once for each of its columns.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows.")
@common
def rows(
    session: Session,
    name: str,
    conditions: tuple[str, ...],
    after: tuple[str, ...],
    limit: int | None,
) -> int:
    """
    Show the rows of a read model's table, by key.

    Amounts are asked for in minor units; tables show them with the currency's decimals where the
    row names its currency. An instant is ISO 8601, in UTC if it has no zone. Nothing is caught up:
    what the rows lack is said on stderr. Exit status 1 where they were made from another history.
    """
    table = session.reading.models.table(name)
    where = _conditions(table, conditions)
    return show_table(
        session, table, where, after=_key(table, after) if after else None, limit=limit
    )


def show_table(
    session: Session,
    table: "Table",
    where: Mapping[str, "Value"],
    *,
    after: "Key | None" = None,
    limit: int | None = None,
) -> int:
    """Show the rows of a table with these values and return the exit status; see ``rows``."""
    models = session.reading.models
    # Before the rows are read: they show at least what it says.
    status = models.status(models.owner(table).name)
    found = limited(session, table, models.find(table, where, after=after), limit)
    say_what_lacks(session, status)
    shown = json_of(table, found) if session.is_json else cells_of(table, found)
    left_out = session.rows(shown, columns_of(table))
    if left_out:
        session.talk(f"too narrow for {', '.join(left_out)}: --json has all")
    return 1 if status.problem else 0


def _conditions(table: "Table", conditions: Sequence[str]) -> dict[str, "Value"]:
    columns = {column.name: column for column in table.columns}
    where: dict[str, Value] = {}
    for one in conditions:
        name, equals, text = one.partition("=")
        if not equals or name in where:
            what = f"names {name} twice" if equals else "is not COLUMN=VALUE"
            raise click.BadParameter(f"{one!r} {what}", param_hint="'--where'")
        # An unknown column is named with those that there are once the rows are asked for.
        where[name] = _value(table, columns[name], text) if name in columns else text
    return where


def _key(table: "Table", parts: Sequence[str]) -> "Key":
    names = table.key_names
    if len(parts) != len(names):
        raise click.BadParameter(
            f"the key of {table.name} is {', '.join(names)}: give --after {len(names)} times",
            param_hint="'--after'",
        )
    columns = table.columns[: len(parts)]
    return tuple([_value(table, one, text) for one, text in zip(columns, parts, strict=True)])


def _value(table: "Table", column: "Column", text: str) -> "Value":
    """Read a value by what its column holds; raises InvalidInput."""
    from orderledger.ledger.errors import InvalidInput

    if column.kind == "text":
        return text
    if not text and column.is_optional:
        return None
    try:
        if column.kind == "instant":
            return instant_of(text, is_upper_bound=False)
        if column.kind == "boolean":
            return _BOOLEANS[text.lower()]
        if re.fullmatch(r"-?[0-9]{1,30}", text):
            return int(text)
    except (KeyError, ValueError):
        pass  # Said below, in the same words for every kind.
    raise InvalidInput(
        f"column {column.name} of table {table.name} holds {_EXAMPLES[column.kind]}, not {text!r}",
        table=table.name,
        column=column.name,
        kind=column.kind.value,
    )


def field_rows(one: "RowChange") -> "Iterator[Row]":
    """Yield the fields of a row that differ, a line each; see ``replay.diff``."""
    for field in one.fields:
        yield {
            "table": one.table,
            "key": "/".join([str(part) for part in one.key]),
            "change": one.kind.value,
            "field": field.name,
            "before": field.before,
            "after": field.after,
            "positions": ", ".join([str(position) for position in field.causes]),
        }


def say_what_lacks(session: Session, status: "ModelStatus") -> None:
    """Say on stderr what rows of a model may lack."""
    model = status.model
    if status.problem:
        say(f"warning: {status.problem}")
    elif status.generation is None:
        session.talk(f"{model} was not made yet: run `orderledger projection catch-up {model}`")
    elif not status.is_current:
        session.talk(
            f"{model} was made by another version of its code: run `orderledger projection rebuild "
            f"{model}`"
        )
    if status.generation is not None and status.lag > 0:
        session.talk(
            f"{model} is at position {status.position}, {status.lag} events behind the head"
        )
    if status.parked:
        session.talk(
            f"{model} leaves out {status.parked} streams: see `orderledger projection parked "
            f"{model}`"
        )


def limited(
    session: Session, table: "Table", found: "Iterator[Tuple]", limit: int | None
) -> "Iterator[Tuple]":
    """Iterate over rows up to a limit, and say how to go on where more follow."""
    last: Tuple = ()
    for count, row in enumerate(found):
        if count == limit:
            key = " ".join([f"--after {_word(part)}" for part in table.key_of(last)])
            session.talk(f"more rows follow; go on with {key}")
            return
        last = row
        yield row


def _word(value: "Value") -> str:
    """Write a value so that a shell gives it back to ``_value``."""
    return shlex.quote(value.isoformat() if isinstance(value, datetime) else str(value))


def json_of(table: "Table", found: "Iterator[Tuple]") -> "Iterator[Row]":
    """Iterate over rows as JSON has them: by column."""
    names = [column.name for column in table.columns]
    return (dict(zip(names, row, strict=True)) for row in found)


def cells_of(table: "Table", found: "Iterator[Tuple]") -> "Iterator[Row]":
    """Iterate over rows as a table shows them: amounts with the decimals of the row's currency."""
    names = [column.name for column in table.columns]
    amounts = [number for number, one in enumerate(table.columns) if one.kind == "amount"]
    currency = names.index("currency") if "currency" in names else None
    titles = _titles(table)
    for row in found:
        cells: list[object] = list(row)
        code = "" if currency is None else row[currency]
        for number in amounts:
            minor = row[number]
            if isinstance(code, str) and code and isinstance(minor, int):
                cells[number] = money(minor, code)
        yield dict(zip(titles, cells, strict=True))


def _titles(table: "Table") -> list[str]:
    """Return what a table's columns are called: an amount without a currency says its unit."""
    has_currency = any(column.name == "currency" for column in table.columns)
    return [
        f"{column.name}_minor" if column.kind == "amount" and not has_currency else column.name
        for column in table.columns
    ]


def columns_of(table: "Table") -> Columns:
    """Return the columns of a printed table, and which give way where it is narrow."""
    titles = _titles(table)
    numeric = [
        title
        for title, column in zip(titles, table.columns, strict=True)
        if column.kind in ("amount", "integer")
    ]
    # The key and what stands next to it say most; the rest is in --json.
    return Columns(titles, numeric=numeric, giving_way=titles[: table.key_count - 1 : -1])
