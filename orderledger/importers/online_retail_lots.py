"""
Earlier purchases that a cancellation can be matched to, first in first out.
"""

from array import array
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from .online_retail_rows import Price, Row

_NONE: Final = -1


class LotKind(StrEnum):
    """What was bought: units of an order line, or a charge of the order that is money only."""

    LINE = "line"
    CHARGE = "charge"


_KINDS: Final = tuple(LotKind)


class Match(msgspec.Struct, frozen=True, gc=False):
    """Units of a cancelled line that came from one earlier line; ``line_no`` counts from 1."""

    order_id: str
    line_no: int
    kind: LotKind
    quantity: int


class Matching(StrEnum):
    """How a cancelled line fits the customer's earlier lines of the same stock code."""

    SAME_PRICE = "same_price"
    OTHER_PRICE = "other_price"
    OVER_RETURNED = "over_returned"
    NO_PURCHASE = "no_earlier_purchase"
    NO_CUSTOMER = "no_customer"


class Lots:
    """
    The lines that a customer bought and has not given back yet.

    Lots stand in flat arrays (26 bytes each), chained from the newest to the oldest per customer
    and stock code, so that half a million lines take tens of megabytes.
    """

    def __init__(self) -> None:
        self._orders: Final[list[str]] = []
        self._prices: Final[dict[Price, int]] = {}
        self._codes: Final[dict[str, int]] = {}
        self._customers: Final[dict[str, int]] = {}
        self._newest: Final[dict[int, int]] = {}
        self._older: Final = array("i")
        self._order: Final = array("i")
        self._line_no: Final = array("h")
        self._kind: Final = array("b")
        self._left: Final = array("q")
        self._price: Final = array("i")

    def __len__(self) -> int:
        return len(self._older)

    def open_order(self, order_id: str) -> None:
        """Begin an order: the lots added next belong to it."""
        self._orders.append(order_id)

    def add(self, row: Row, line_no: int, kind: LotKind) -> None:
        """Add a bought line of the order opened last; one without customer cannot be matched."""
        if not row.customer:
            return
        key = self._key(row)
        self._older.append(self._newest.get(key, _NONE))
        self._newest[key] = len(self._order)
        self._order.append(len(self._orders) - 1)
        self._line_no.append(line_no)
        self._kind.append(_KINDS.index(kind))
        self._left.append(row.quantity)
        self._price.append(self._prices.setdefault(row.price, len(self._prices)))

    def take(self, row: Row) -> tuple[Matching, Sequence[Match]]:
        """
        Match a cancelled line and use up what it matches.

        Lines of the same unit price come first, then those at another price; the oldest first
        among each. Every unit is matched at most once. What is left of the quantity after the
        matches was never bought, or was given back before.
        """
        if not row.customer:
            return Matching.NO_CUSTOMER, ()
        lots = self._open_lots(self._key(row))
        if not lots:
            return Matching.NO_PURCHASE, ()
        price = self._prices.get(row.price, _NONE)
        same = [lot for lot in lots if self._price[lot] == price]
        other = [lot for lot in lots if self._price[lot] != price]
        need = -row.quantity
        matches: list[Match] = []
        fits = Matching.SAME_PRICE
        for lot in (*same, *other):
            if not need:
                break
            units = min(need, self._left[lot])
            need -= units
            self._left[lot] -= units
            if self._price[lot] != price:
                fits = Matching.OTHER_PRICE
            matches.append(
                Match(
                    self._orders[self._order[lot]],
                    self._line_no[lot],
                    _KINDS[self._kind[lot]],
                    units,
                )
            )
        return (Matching.OVER_RETURNED if need else fits), matches

    def _key(self, row: Row) -> int:
        customer = self._customers.setdefault(row.customer, len(self._customers))
        code = self._codes.setdefault(row.stock_code, len(self._codes))
        return customer << 32 | code

    def _open_lots(self, key: int) -> list[int]:
        found: list[int] = []
        lot = self._newest.get(key, _NONE)
        while lot != _NONE:
            if self._left[lot]:
                found.append(lot)
            lot = self._older[lot]
        found.reverse()
        return found
