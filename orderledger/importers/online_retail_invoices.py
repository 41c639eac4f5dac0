"""
Gathering rows into invoices, also where the rows of two invoices interleave.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from .file_error import ImportFileError
from .online_retail_rows import Row

OPEN_INVOICES: Final = 8
"""Invoices kept open for more rows. In the data one invoice is interrupted, by one other."""
ROWS_MAX: Final = 2_000
"""Rows of one invoice; an order has at most as many lines. The longest in the data has 1,114."""


class Invoice(msgspec.Struct, frozen=True):
    """
    The rows of one invoice in file order, at least one.

    ``document`` is the invoice number; with ``.2``, ``.3`` … where rows of it come back after
    more than ``OPEN_INVOICES`` others, which then are an invoice of their own.
    """

    document: str
    number: str
    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def last(self) -> Row:
        return self.rows[-1]


def gather(rows: Iterable[Row]) -> Iterator[Invoice]:
    """
    Yield invoices in the order of their first rows.

    When ``rows`` raises, the invoices that are still open are not yielded: nobody knows whether
    they are complete. Memory: the open invoices and the number of every invoice seen.
    """
    pending: dict[str, list[Row]] = {}
    parts: dict[str, int] = {}
    for row in rows:
        gathered = pending.get(row.invoice)
        if gathered is None:
            if len(pending) == OPEN_INVOICES:
                number = next(iter(pending))
                yield _closed(number, pending.pop(number), parts)
            pending[row.invoice] = [row]
            continue
        if len(gathered) == ROWS_MAX:
            raise ImportFileError(
                row.line, "InvoiceNo", row.invoice, f"has more than {ROWS_MAX} lines"
            )
        if row.customer != gathered[0].customer:
            raise ImportFileError(
                row.line,
                "CustomerID",
                row.customer,
                f"is not the {gathered[0].customer!r} of the other lines of the invoice",
            )
        gathered.append(row)
    for number, gathered in pending.items():
        yield _closed(number, gathered, parts)


def _closed(number: str, rows: list[Row], parts: dict[str, int]) -> Invoice:
    part = parts[number] = parts.get(number, 0) + 1
    return Invoice(number if part == 1 else f"{number}.{part}", number, tuple(rows))
