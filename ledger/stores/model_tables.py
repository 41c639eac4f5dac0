"""
What the stores of read models share: names of tables, and what is wrong with them.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ..errors import IntegrityViolation, InvalidInput
from ..model_ports import Column, Generation, Table

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
RESERVED: Final = frozenset({"book", "book_id"})
"""Names of columns that the views add."""


def check_tables(model: str, tables: Sequence[Table]) -> None:
    """Raise InvalidInput for names that are no plain identifiers, or a table without a key."""
    names = [model, *[table.name for table in tables]]
    for table in tables:
        names += [column.name for column in table.columns]
        columns = {column.name for column in table.columns}
        if not 0 < table.key_count <= len(table.columns) or len(columns) < len(table.columns):
            raise InvalidInput(
                f"table {table.name} of read model {model} needs a key and distinct columns",
                model=model,
                table=table.name,
            )
        if any(column.is_optional for column in table.columns[: table.key_count]):
            raise InvalidInput(
                f"the key of table {table.name} has an optional column",
                model=model,
                table=table.name,
            )
        if not columns.isdisjoint(RESERVED) or not set().union(*table.indexes) <= columns:
            raise InvalidInput(
                f"table {table.name} has a column named {' or '.join(sorted(RESERVED))}, or an "
                "index of a column that it does not have",
                model=model,
                table=table.name,
            )
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise InvalidInput(
                f"{name!r} in read model {model} is no name: a-z, 0-9 and _, at most 30, a letter "
                "first",
                model=model,
                name=name,
            )


def columns_of(table: Table, names: Iterable[str]) -> list[Column]:
    """Return columns by name; raises InvalidInput for one that the table does not have."""
    known = {column.name: column for column in table.columns}
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"table {table.name} has no column {name}; it has {', '.join(known)}",
                table=table.name,
                column=name,
            )
    return [known[name] for name in names]


def physical(book_id: int, generation: Generation, table: str) -> str:
    """Return the name of the table that holds a generation's rows, at most 63 characters."""
    return f"rm_{book_id}_{generation.number}_{generation.fingerprint}_{table}"[:63]


def rows_differ(generation: Generation, table: Table) -> IntegrityViolation:
    """Return the error for rows that are not those the checkpoint stands for."""
    return IntegrityViolation(
        f"table {table.name} of read model {generation.model}, generation {generation.number}, has "
        f"other rows than at its checkpoint, position {generation.position}: they were changed "
        f"past the model; run `orderledger projection rebuild {generation.model}`",
        model=generation.model,
        generation=generation.number,
        table=table.name,
        position=generation.position,
    )
