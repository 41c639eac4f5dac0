"""Write docs/views.md from the read models: python -m tools.generate_view_reference [--check]."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orderledger.ledger.model_ports import Column, Kind, Table
from orderledger.projections.models import ReadModel
from orderledger.projections.shipped import SHIPPED
from orderledger.projections.tables import TableRow

TARGET: Final = Path(__file__).resolve().parent.parent / "docs" / "views.md"
HEAD: Final = """\
# Views

Generated from the read models by `python -m tools.generate_view_reference`; a test compares. What
read models are and how they are followed and rebuilt: [read-models.md](read-models.md).

A view is `orderledger_orders` in a SQLite file, `orderledger_read.orders` on PostgreSQL, and has
the column `book` (text, the book's name) before those below. Its row type is what
`book.read.models.select` and `get` take, and gives the columns as fields. The columns of the key
stand first, in this order; rows come in key order. An index serves a question that names its first
columns.

| Kind | Python | PostgreSQL | SQLite |
|--|--|--|--|
| text | `str` | `text` | `TEXT` |
| integer | `int` | `bigint` | `INTEGER` |
| amount | `int` | `numeric(30,0)` | `INTEGER`, `TEXT` beyond 18 digits |
| instant | `datetime` in UTC | `timestamptz` | `TEXT`, ISO 8601 in UTC |
| boolean | `bool` | `boolean` | `INTEGER`, 0 or 1 |

Working rows are what a model keeps for itself between events. They can be read like any others and
change with its version.
"""


def document() -> str:
    """Return the whole text of docs/views.md."""
    return "\n".join([HEAD, *[_model(model) for model in SHIPPED]]).rstrip() + "\n"


def _model(model: ReadModel) -> str:
    sections = [_section(table) for table in model.tables]
    return "\n".join([f"## Model {model.name}, version {model.version}\n", *sections])


def row_type_of(table: Table) -> type[TableRow]:
    """Return the row type that declares a table."""
    (found,) = [one for one in TableRow.__subclasses__() if getattr(one, "table", None) is table]
    return found


def _section(table: Table) -> str:
    row_type = row_type_of(table)
    module = row_type.__module__
    key = ", ".join([f"`{name}`" for name in table.key_names])
    indexes = "; ".join([", ".join([f"`{name}`" for name in one]) for one in table.indexes])
    meaning = re.sub(r"``([^`]+)``", r"`\1`", inspect.getdoc(row_type) or "")
    return "\n".join(
        [
            f"### {table.name}\n",
            f"{meaning}\n",
            f"Row type `{module}.{row_type.__name__}`. Key: {key}."
            + (f" Indexes: {indexes}." if indexes else ""),
            "",
            "| Column | Kind | Unit | May be empty |",
            "|--|--|--|--|",
            *_columns(table),
            "",
        ]
    )


def _columns(table: Table) -> Iterator[str]:
    for column in table.columns:
        empty = "yes" if column.is_optional else ""
        yield f"| `{column.name}` | {column.kind.value} | {_unit(table, column)} | {empty} |"


def _unit(table: Table, column: Column) -> str:
    match column.kind:
        case Kind.AMOUNT:
            has_currency = any(one.name == "currency" for one in table.columns)
            return "minor units of `currency`" if has_currency else "minor units"
        case Kind.INSTANT:
            return "UTC"
        case Kind.INTEGER if column.name.endswith("_us"):
            return "microseconds"
        case Kind.INTEGER if column.name.endswith("position"):
            return "place in the log"
        case Kind.INTEGER:
            return "number"
        case _:
            return ""


def run(arguments: list[str]) -> int:
    """Write the file, or with --check compare; return the exit status."""
    text = document()
    if "--check" in arguments:
        is_current = TARGET.exists() and TARGET.read_text("utf-8") == text
        print(f"docs/views.md is {'current' if is_current else 'stale'}", file=sys.stderr)
        return 0 if is_current else 1
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
