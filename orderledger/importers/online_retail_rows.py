"""
Reading the Online Retail file: bytes in, checked rows out; the first malformed line stops it.

Source of the format: UCI Machine Learning Repository, "Online Retail" (DOI 10.24432/C5BW33).
"""

import csv
import gzip
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, Final, Generic, TypeVar, cast

import msgspec

from orderledger.ledger.errors import InvalidMoney
from orderledger.ledger.limits import QUANTITY_MAX, UNIT_PRICE_DECIMALS_MAX
from orderledger.ledger.money import line_total

from .file_error import ImportFileError

CURRENCY: Final = "GBP"
COLUMNS: Final = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
STDIN: Final = "-"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_MINOR_PER_MAJOR: Final = 100
_CACHE_MAX: Final = 50_000
"""Distinct texts whose value is kept per column; the file has 722 quantities and 1,630 prices."""
_TEXT_MAX: Final = 100
_LINE_MAX: Final = 100_000

_INVOICE: Final = re.compile(r"[AC]?[0-9]{1,18}")
_QUANTITY: Final = re.compile(r"-?[0-9]{1,12}")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_PRICE: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]+)?")
_CUSTOMER: Final = re.compile(r"([A-Za-z0-9]{1,40})(?:\.0)?")


class Price(msgspec.Struct, frozen=True, gc=False):
    """A unit price in major units; ``minor`` is the same in pence, None if it is finer."""

    amount: Decimal
    minor: int | None


class Row(msgspec.Struct, frozen=True, gc=False):
    """
    One line of the file. ``line`` is its number in the file, the header being line 1.

    ``at`` is UTC; ``customer`` is empty where the file names none.
    """

    line: int
    invoice: str
    stock_code: str
    quantity: int
    at: datetime
    price: Price
    customer: str
    country: str

    @property
    def total(self) -> int:
        """quantity × unit price in minor units, signed, rounded once half-even."""
        if self.price.minor is not None:
            return self.quantity * self.price.minor
        return line_total(self.quantity, self.price.amount, CURRENCY)

    @property
    def exact_total(self) -> Decimal:
        """quantity × unit price in major units, not rounded."""
        return self.quantity * self.price.amount


@contextmanager
def open_source(name: str) -> Generator[Iterable[bytes], None, None]:
    """
    Open a file, or standard input for ``-``, as lines; gzip is recognised by its first bytes.

    Raises ImportFileError if the file cannot be opened.
    """
    raw = _opened(name)
    try:
        if raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC):
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                yield _lines_of(unpacked)
        else:
            yield _lines_of(raw)
    finally:
        if name == STDIN:
            # Closing is for whoever opened it.
            raw.detach()
        else:
            raw.close()


def _opened(name: str) -> BufferedReader:
    if name == STDIN:
        if sys.stdin is None:
            raise ImportFileError(0, "file", name, "cannot be read: standard input is closed")
        return BufferedReader(_raw(sys.stdin.buffer))
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise ImportFileError(0, "file", name, f"cannot be opened: {error.strerror}") from error


def _raw(stream: BinaryIO) -> RawIOBase:
    # Standard input may have been replaced, by something else that reads bytes.
    return cast(RawIOBase, stream)


def _lines_of(stream: BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
    # A file without line ends must not be read into memory whole.
    return iter(partial(stream.readline, _LINE_MAX + 1), b"")


def read_rows(source: Iterable[bytes]) -> Iterator[Row]:
    """
    Yield the rows of a file in order, in constant memory.

    Raises ImportFileError at the first line that is malformed, or where the file breaks off; the
    rows before it have been yielded.
    """
    lines = _Lines(source)
    reader = csv.reader(lines, strict=True)
    parse = _RowParser()
    fields: list[str] = []
    while True:
        before = reader.line_num
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise ImportFileError(
                before + 1, "line", lines.last.rstrip("\r\n"), f"is not CSV: {error}"
            ) from error
        if before == 0:
            _check_header(fields)
        else:
            yield parse.row(before + 1, fields)
    if reader.line_num == 0:
        raise ImportFileError(1, "header", "", "is missing, the file is empty")


class _Lines:
    """Decodes line by line, so that an error names its line."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source: Final = iter(source)
        self._number = 0
        self.last = ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self._number += 1
        try:
            raw = next(self._source)
        except StopIteration:
            raise
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ImportFileError(
                self._number, "file", type(error).__name__, f"is damaged or cut short: {error}"
            ) from error
        except OSError as error:
            raise ImportFileError(
                self._number, "file", type(error).__name__, f"cannot be read: {error}"
            ) from error
        if len(raw) > _LINE_MAX:
            raise ImportFileError(
                self._number, "line", repr(raw[:20]), f"is longer than {_LINE_MAX} bytes"
            )
        try:
            self.last = raw.decode("utf-8-sig" if self._number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            bad = raw[error.start : error.start + 8]
            raise ImportFileError(
                self._number, "encoding", repr(bad), f"is not UTF-8 at byte {error.start + 1}"
            ) from error
        return self.last


def _check_header(fields: list[str]) -> None:
    if tuple(fields) != COLUMNS:
        raise ImportFileError(
            1, "header", ",".join(fields), f"is not the expected {','.join(COLUMNS)}"
        )


T = TypeVar("T")


class _Cached(Generic[T]):
    """Remembers what texts mean: the same prices and quantities come again all the time."""

    def __init__(self, parse: Callable[[str], T]) -> None:
        self._parse: Final = parse
        self._known: Final[dict[str, T]] = {}

    def __call__(self, text: str) -> T:
        try:
            return self._known[text]
        except KeyError:
            value = self._parse(text)
            if len(self._known) >= _CACHE_MAX:
                self._known.clear()
            self._known[text] = value
            return value


class _RowParser:
    """Turns the fields of a line into a row; raises ImportFileError naming line and field."""

    def __init__(self) -> None:
        self._quantity: Final = _Cached(_quantity)
        self._price: Final = _Cached(_price)
        self._at: Final = _Cached(_at)
        self._customer: Final = _Cached(_customer)
        self._country: Final = _Cached(_text)
        self._stock_code: Final = _Cached(_stock_code)

    def row(self, line: int, fields: list[str]) -> Row:
        if len(fields) != len(COLUMNS):
            missing = COLUMNS[len(fields)] if len(fields) < len(COLUMNS) else "line"
            raise ImportFileError(
                line, missing, ",".join(fields), f"has {len(fields)} fields in place of 8"
            )
        invoice, stock_code, _, quantity, at, price, customer, country = fields
        column = 0
        try:
            invoice = _invoice(invoice)
            column = 1
            stock_code = self._stock_code(stock_code)
            column = 3
            units = self._quantity(quantity)
            column = 4
            when = self._at(at)
            column = 5
            unit_price = self._price(price)
            column = 6
            customer = self._customer(customer)
            column = 7
            country = self._country(country)
        except ValueError as error:
            raise ImportFileError(line, COLUMNS[column], fields[column], str(error)) from error
        row = Row(line, invoice, stock_code, units, when, unit_price, customer, country)
        _check_signs(row, fields)
        return row


def _check_signs(row: Row, fields: list[str]) -> None:
    kind = row.invoice[0]
    if row.price.amount < 0 and kind != "A":
        raise ImportFileError(
            row.line, "UnitPrice", fields[5], "is negative, which only an A… invoice may have"
        )
    if kind == "C" and row.quantity > 0:
        raise ImportFileError(row.line, "Quantity", fields[3], "is positive on a cancellation (C…)")
    if row.quantity < 0 and kind not in "AC" and row.price.amount:
        raise ImportFileError(
            row.line, "UnitPrice", fields[5], "is not zero on a stock write-off (Quantity < 0)"
        )


def _invoice(text: str) -> str:
    if _INVOICE.fullmatch(text) is None:
        raise ValueError("is not a number, alone or after A or C")
    return text


def _stock_code(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return _text(text)


def _text(text: str) -> str:
    if len(text) > _TEXT_MAX:
        raise ValueError(f"is longer than {_TEXT_MAX} characters")
    return sys.intern(text)


def _quantity(text: str) -> int:
    if _QUANTITY.fullmatch(text) is None:
        raise ValueError("is not a whole number")
    value = int(text)
    if not 0 < abs(value) <= QUANTITY_MAX:
        raise ValueError(f"is not between 1 and {QUANTITY_MAX}, or the same below zero")
    return value


def _at(text: str) -> datetime:
    if _DATE.fullmatch(text) is None:
        raise ValueError("is not YYYY-MM-DD HH:MM:SS")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"is no date: {error}") from error


def _price(text: str) -> Price:
    if _PRICE.fullmatch(text) is None:
        raise ValueError("is not a plain decimal number")
    if len(text.partition(".")[2]) > UNIT_PRICE_DECIMALS_MAX:
        raise ValueError(f"has more than {UNIT_PRICE_DECIMALS_MAX} decimals")
    amount = Decimal(text)
    try:
        minor = line_total(1, amount, CURRENCY)
    except InvalidMoney as error:
        raise ValueError(error.message) from error
    is_exact = Decimal(minor) == amount * _MINOR_PER_MAJOR
    return Price(amount, minor if is_exact else None)


def _customer(text: str) -> str:
    if not text:
        return ""
    found = _CUSTOMER.fullmatch(text)
    if found is None:
        raise ValueError("is not a customer number")
    return sys.intern(found.group(1))
