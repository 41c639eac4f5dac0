"""
What became of every line of the file: counts and money by category.
"""

from collections import Counter
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from .online_retail_lots import Matching
from .online_retail_rows import CURRENCY, Row

ROUNDINGS_MAX: Final = 1_000
"""Roundings listed one by one; beyond it they are only counted and summed."""
_PENNY: Final = Decimal("0.01")


class Category(StrEnum):
    """What a line of the file is recorded as."""

    ORDER_LINE = "order_line"
    SHIPPING = "shipping"
    ADJUSTMENT = "manual_adjustment"
    GIFT = "stored_value_sale"
    FEE = "fee"
    DISCOUNT = "discount"
    BAD_DEBT = "bad_debt"
    WRITE_OFF = "stock_write_off"
    REFUND = "refund"


class Rounding(msgspec.Struct, frozen=True):
    """A line whose exact total is no whole number of pence. Amounts in major units, as text."""

    invoice: str
    line: int
    exact: str
    rounded: str


class CategoryTotal(msgspec.Struct):
    """Lines, units and money of a category. ``minor`` is signed, money in being positive."""

    lines: int = 0
    units: int = 0
    minor: int = 0


class Summary(msgspec.Struct, kw_only=True):
    """
    The account of an import. ``exact`` is Σ quantity × unit price in major units, as text;
    ``minor`` Σ of what was recorded, in pence; they differ by the roundings.

    ``cancelled_lines`` says how every line of a ``C…`` invoice fits earlier purchases.
    ``credited_minor`` is the part of the refunds without a purchase to take it from.
    """

    source: str
    currency: str = CURRENCY
    lines: int = 0
    invoices: int = 0
    orders: int = 0
    cancellations: int = 0
    zero_total_invoices: int = 0
    invoices_with_several_times: int = 0
    interrupted_invoices: int = 0
    categories: dict[str, CategoryTotal] = {}
    cancelled_lines: dict[str, int] = {}
    exact: str = "0.00"
    minor: int = 0
    credited_minor: int = 0
    roundings: list[Rounding] = []
    roundings_count: int = 0
    commands: int = 0
    commands_known: int = 0
    events: int = 0
    seconds: float = 0.0
    is_check: bool = False


class Tally:
    """Counts lines as they are classified; ``summary`` gives the result."""

    def __init__(self, source: str) -> None:
        self.summary: Final = Summary(
            source=source,
            categories={one.value: CategoryTotal() for one in Category},
            cancelled_lines={one.value: 0 for one in Matching},
        )
        self._residue = Decimal(0)
        self._matching: Final[Counter[Matching]] = Counter()

    def add(self, row: Row, category: Category) -> None:
        """Account for a line under its one category."""
        minor = row.total
        total = self.summary.categories[category.value]
        total.lines += 1
        total.units += row.quantity
        total.minor += minor
        self.summary.lines += 1
        self.summary.minor += minor
        if row.price.minor is None:
            self._rounded(row, minor)

    def matched(self, matching: Matching) -> None:
        """Count how a cancelled line fits earlier purchases."""
        self._matching[matching] += 1

    def finish(self) -> Summary:
        """Return the summary with its totals."""
        summary = self.summary
        exact = summary.minor * _PENNY + self._residue
        # At least two decimals, and as many as the exact sum needs.
        places = max(2, -int(exact.normalize().as_tuple().exponent))
        summary.exact = f"{exact:.{places}f}"
        for matching, count in self._matching.items():
            summary.cancelled_lines[matching.value] = count
        return summary

    def _rounded(self, row: Row, minor: int) -> None:
        exact, rounded = row.exact_total, minor * _PENNY
        if exact == rounded:
            return
        self._residue += exact - rounded
        self.summary.roundings_count += 1
        if len(self.summary.roundings) < ROUNDINGS_MAX:
            self.summary.roundings.append(
                Rounding(row.invoice, row.line, str(exact), f"{rounded:.2f}")
            )
