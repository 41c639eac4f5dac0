"""What the Online Retail file says, computed straight from it, without the importer's code."""

import csv
import functools
import gzip
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from tests.source_tree import ROOT

FEES = {"BANK CHARGES": "bank_fees", "AMAZONFEE": "marketplace_fees", "CRUK": "commission"}
MILLS = 1_000
NAME = "online_retail.csv.gz"


def data_file() -> Path | None:
    """Return the real file if it is on this machine."""
    directory = os.environ.get("ORDERLEDGER_TEST_DATA") or ROOT.parent / "shared" / "data"
    path = Path(directory) / NAME
    return path if path.exists() else None


@dataclass
class Lot:
    """Units bought at a price and not given back yet."""

    left: int
    price: int


@dataclass
class Expected:
    """
    Facts and expected balances; a mill is a tenth of a penny, which is exact for this file.

    ``totals`` is in mills, ``balances`` in pence, debit positive.
    """

    lines: int = 0
    invoices: set[str] = field(default_factory=set)
    totals: Counter[str] = field(default_factory=Counter)
    times: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    sizes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    customers: set[str] = field(default_factory=set)
    countries: set[str] = field(default_factory=set)
    stock_codes: set[str] = field(default_factory=set)
    duplicates: Counter[tuple[str, ...]] = field(default_factory=Counter)
    positive_mills: int = 0
    net_mills: int = 0
    cancelled_mills: int = 0
    strict: Counter[str] = field(default_factory=Counter)
    loose: Counter[str] = field(default_factory=Counter)
    balances: Counter[str] = field(default_factory=Counter)
    orders: set[str] = field(default_factory=set)
    paid_orders: set[str] = field(default_factory=set)
    sold_by_order: Counter[str] = field(default_factory=Counter)

    @property
    def net(self) -> Fraction:
        """Return the sum of the whole file in pounds."""
        return Fraction(self.net_mills, MILLS)


@functools.cache
def _mills(price: str) -> int:
    exact = Fraction(price) * MILLS
    assert exact.denominator == 1, f"{price} is finer than a mill"
    return exact.numerator


def rows(path: Path) -> Iterator[list[str]]:
    """Yield the fields of every line but the header."""
    with gzip.open(path, "rb") as unpacked:
        text = io.TextIOWrapper(unpacked, encoding="utf-8", newline="")
        reader = csv.reader(text)
        next(reader)
        yield from reader


def expected(path: Path) -> Expected:
    """Read the file once and return what an import of it must come to."""
    found = Expected()
    strict: dict[tuple[str, str], list[Lot]] = defaultdict(list)
    loose: dict[tuple[str, str], list[Lot]] = defaultdict(list)
    for one in rows(path):
        number, code, _, quantity_text, at, price_text, customer, country = one
        quantity, price = int(quantity_text), _mills(price_text)
        value = quantity * price
        pence = round(Fraction(value, 10)) if value % 10 else value // 10
        found.lines += 1
        found.invoices.add(number)
        found.totals[number] += value
        found.times[number].add(at)
        found.sizes[number] += 1
        found.stock_codes.add(code)
        found.countries.add(country)
        found.duplicates[tuple(one)] += 1
        found.net_mills += value
        found.positive_mills += max(value, 0)
        if customer:
            found.customers.add(customer)
        else:
            found.counts["without customer"] += 1
        if price == 0:
            found.counts["zero price"] += 1
        if price < 0:
            found.counts["negative price"] += 1
        if value != pence * 10:
            found.counts["rounded"] += 1
        _account(found, (number, code.upper(), quantity, pence))
        key = (customer, code)
        if number[0] == "C":
            found.cancelled_mills += value
            found.counts["cancelled lines"] += 1
            found.strict[_fifo(strict[key], customer, -quantity, price)] += 1
            found.loose[_loose(loose[key], customer, -quantity, price)] += 1
        elif quantity > 0 and customer and number[0] != "A":
            strict[key].append(Lot(quantity, price))
            loose[key].append(Lot(quantity, price))
    return found


def _account(found: Expected, line: tuple[str, str, int, int]) -> None:
    """Add what a line must do to the accounts, as the documentation of the importer says."""
    number, code, quantity, pence = line
    balances = found.balances
    if number[0] == "A":
        found.counts["bad debt"] += 1
        balances["assets:receivables:imported"] += pence
        balances["expenses:bad_debt"] -= pence
    elif number[0] != "C" and quantity < 0:
        found.counts["write-offs"] += 1
        balances["expenses:stock_written_off"] -= quantity
    elif code in FEES and pence:
        found.counts["fees"] += 1
        balances["assets:psp:imported"] += pence
        balances[f"expenses:{FEES[code]}"] -= pence
    elif number[0] == "C":
        balances["assets:psp:imported"] += pence
        if code == "D":
            found.counts["discounts"] += 1
            balances["expenses:promo"] -= pence
        else:
            found.counts["refunds"] += 1
            balances["refunds"] -= pence
    else:
        found.orders.add(number)
        if pence:
            found.paid_orders.add(number)
        found.sold_by_order[number] += pence
        balances["assets:psp:imported"] += pence
        if code.startswith("GIFT_"):
            balances["store_credit"] -= pence
        else:
            balances["sold"] -= pence


def _fifo(lots: list[Lot], customer: str, need: int, price: int) -> str:
    """Match as the importer documents it: lots of the same price first, every unit once."""
    if not customer:
        return "no_customer"
    is_any = False
    other = False
    for same in (True, False):
        for lot in lots:
            units = min(need, lot.left)
            if units and (lot.price == price) is same:
                lot.left -= units
                need -= units
                is_any = True
                other = other or not same
    if not is_any:
        return "no_earlier_purchase"
    if need:
        return "over_returned"
    return "other_price" if other else "same_price"


def _loose(lots: list[Lot], customer: str, need: int, price: int) -> str:
    """Classify without using up what matches at another price or only in part."""
    if not customer:
        return "no_customer"
    same = sum(lot.left for lot in lots if lot.price == price)
    total = sum(lot.left for lot in lots)
    if same >= need:
        for lot in lots:
            if lot.price == price:
                units = min(need, lot.left)
                lot.left -= units
                need -= units
        return "same_price"
    if total >= need:
        return "other_price"
    return "over_returned" if total else "no_earlier_purchase"
