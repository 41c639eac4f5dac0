"""
What a row must be like to be stored: the right number of values, each of its column's kind.

Held to before a row is kept, so that what a projector does wrong parks one stream: written, such a
row would be another than the one that was computed, or would stop the model.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from orderledger.ledger.model_ports import Kind, Row, Table

from .digests import canonical
from .tables import RANGES

_TYPES: Final = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.AMOUNT: int,
    Kind.INSTANT: datetime,
    Kind.BOOLEAN: bool,
}
_LONG: Final = re.compile(rb"[0-9]{19}")
_NUL: Final = b"\\u0000"
_NO_OFFSET: Final = timedelta()


class Shape:
    """
    The columns of a table as a check of rows.

    Most rows of a table have the same types and no long number, which is told at once.
    """

    def __init__(self, table: Table) -> None:
        self._table: Final = table
        self._width: Final = len(table.columns)
        self._signatures: Final[set[tuple[type, ...]]] = set()
        self._instants: Final = [
            at for at, column in enumerate(table.columns) if column.kind is Kind.INSTANT
        ]

    def check(self, row: Row) -> None:
        """Raise ValueError or TypeError, naming the column, for a row that cannot be stored."""
        signature = tuple(map(type, row))
        if signature not in self._signatures:
            self._check_types(row)
            self._signatures.add(signature)
        for at in self._instants:
            value = row[at]
            if isinstance(value, datetime) and value.tzinfo is not UTC:
                self._check_instant(at, value)
        data = canonical(row)
        if _NUL in data or _LONG.search(data):
            self._check_values(row)

    def _check_types(self, row: Row) -> None:
        if len(row) != self._width:
            raise ValueError(
                f"a row of {self._table.name} has {self._width} values, not {len(row)}"
            )
        for column, value in zip(self._table.columns, row, strict=True):
            if value is None and column.is_optional:
                continue
            if type(value) is not _TYPES[column.kind]:
                raise TypeError(
                    f"column {column.name} of {self._table.name} is {column.kind.value}"
                    f"{' or empty' if column.is_optional else ''}, not {type(value).__name__}"
                )

    def _check_instant(self, at: int, value: datetime) -> None:
        if value.utcoffset() != _NO_OFFSET:
            raise ValueError(
                f"column {self._table.columns[at].name} of {self._table.name} has the instant "
                f"{value.isoformat()}, which is not in UTC"
            )

    def _check_values(self, row: Row) -> None:
        for column, value in zip(self._table.columns, row, strict=True):
            if isinstance(value, str) and "\x00" in value:
                raise ValueError(
                    f"column {column.name} of {self._table.name} has a NUL character, which "
                    "PostgreSQL cannot store"
                )
            if type(value) is int and value not in RANGES[column.kind]:
                raise ValueError(
                    f"column {column.name} of {self._table.name} has {value}, beyond what a column "
                    f"of kind {column.kind.value} holds"
                )


@cache
def shape_of(table: Table) -> Shape:
    """Return the check of a table's rows: one for all batches, which keeps what it has seen."""
    return Shape(table)
