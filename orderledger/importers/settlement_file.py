"""
What the parsers of settlement files share: rows with named columns, exact amounts, instants.

A parser is pure: text in, a ``ParsedFile`` out. A row that cannot be read raises ImportFileError
naming its line and column, so that a file is recorded whole or not at all.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import UnknownCurrency
from orderledger.ledger.limits import TEXT_LENGTH_MAX
from orderledger.ledger.provider_exponents import provider_exponent
from orderledger.ledger.settlement_events import SettlementLine, StatedBalance

from .file_error import ImportFileError
from .online_retail_rows import open_source

_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,24}(\.[0-9]{1,18})?")
_EXACT: Final = Context(prec=60)
"""Holds every digit that ``_DECIMAL`` lets pass: with the default's 28 the last would be lost."""
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,24}")
_RATE: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?")
_STAMP: Final = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?)?"
    r"(?: ?(Z|[+-]\d\d:?\d\d))?",
    re.ASCII,
)
_DELIMITERS: Final = (",", ";", "\t")
_ZONE_HOURS: Final = """
UTC 0, GMT 0, WET 0, BST 1, CET 1, WEST 1, CEST 2, EET 2, EEST 3, BRT -3, EST -5, EDT -4, CST -6,
CDT -5, MST -7, MDT -6, PST -8, PDT -7, SGT 8, HKT 8, JST 9, AEST 10, AEDT 11, NZST 12, NZDT 13
"""
ZONES: Final[Mapping[str, int]] = {
    one.split()[0]: int(one.split()[1]) for one in _ZONE_HOURS.split(",")
}
"""Hours from UTC of the time zones that reports abbreviate; ambiguous ones are not here."""


class ParsedFile(msgspec.Struct, frozen=True):
    """
    A settlement file in our words. ``batch`` empty: the file names none.

    ``lines`` are numbered from 1 in the order of the file, whatever lines it has between them.
    """

    format: str
    batch: str
    lines: tuple[SettlementLine, ...]
    balances: tuple[StatedBalance, ...] = ()


class Fields:
    """The cells of one row by the names of their columns. ``line`` is its number in the file."""

    def __init__(self, line: int, cells: Mapping[str, str], provider: str) -> None:
        self.line: Final = line
        self._cells: Final = cells
        self._provider: Final = provider

    def fail(self, column: str, why: str) -> ImportFileError:
        """Return the error of a cell."""
        return ImportFileError(self.line, column, self.text(column), why)

    def text(self, column: str) -> str:
        """Return a cell without the blanks around it; a column that is not there is empty."""
        return self._cells.get(normal(column), "").strip()

    def short(self, column: str) -> str:
        """Return a text that an event can hold; raises ImportFileError for a longer one."""
        found = self.text(column)
        if len(found) > TEXT_LENGTH_MAX or "\x00" in found:
            raise self.fail(column, f"is longer than {TEXT_LENGTH_MAX} characters or has a NUL")
        return found

    def currency(self, *columns: str) -> str:
        """Return the first code that these columns have, in capitals; raises ImportFileError."""
        for column in columns:
            code = self.text(column).upper()
            if not code:
                continue
            try:
                exponent(code)
            except UnknownCurrency as error:
                raise self.fail(column, "is no currency") from error
            return code
        raise self.fail(columns[0], "names no currency")

    def major(self, column: str, currency: str) -> int:
        """Read an amount in major units as ISO minor units, sign included; an empty one is 0."""
        found = self.text(column)
        if not found:
            return 0
        if _DECIMAL.fullmatch(found) is None:
            raise self.fail(column, "is no amount like 12.34")
        return self._whole(column, exponent(currency), currency)

    def minor(self, column: str, currency: str) -> int:
        """Read an amount in the provider's minor units as ISO minor units; an empty one is 0."""
        found = self.text(column)
        if not found:
            return 0
        if _INTEGER.fullmatch(found) is None:
            raise self.fail(column, "is no amount in minor units like 1234")
        shift = exponent(currency) - provider_exponent(self._provider, currency)
        return self._whole(column, shift, currency)

    def _whole(self, column: str, shift: int, currency: str) -> int:
        minor = Decimal(self.text(column)).scaleb(shift, _EXACT)
        if minor != minor.to_integral_value():
            raise self.fail(
                column, f"has more decimals than the {exponent(currency)} of {currency}"
            )
        return int(minor)

    def rate(self, column: str) -> Decimal | None:
        """Read a rate of exchange; an empty one is None."""
        found = self.text(column)
        if not found:
            return None
        if _RATE.fullmatch(found) is None:
            raise self.fail(column, "is no rate like 1.0837")
        return Decimal(found)

    def at(self, column: str, zone_column: str = "") -> datetime | None:
        """
        Read an instant, in UTC unless it or another column names its zone; an empty one is None.
        """
        found = self.text(column)
        if not found:
            return None
        match = _STAMP.fullmatch(found)
        if match is None:
            raise self.fail(column, "is no instant like 2026-01-31 12:00:00")
        year, month, day, hour, minute, second = [int(one or 0) for one in match.groups()[:6]]
        try:
            naive = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
            return naive.replace(tzinfo=self._zone(match[7], zone_column)).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self.fail(column, f"is no instant: {error}") from error

    def _zone(self, offset: str | None, column: str) -> timezone:
        if offset:
            return _offset(offset)
        name = self.text(column).upper() if column else ""
        if not name:
            return UTC
        if name not in ZONES:
            raise self.fail(column, "is a time zone that is not known, or ambiguous")
        return timezone(timedelta(hours=ZONES[name]))


def _offset(text: str) -> timezone:
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


@lru_cache(maxsize=256)
def normal(column: str) -> str:
    """Return the name of a column as it is compared: small letters, single blanks."""
    return " ".join(column.lower().split())


def decoded(data: bytes) -> str:
    """
    Return the text of a file: UTF-8, with a byte order mark or not, or UTF-16 with one.

    Raises ImportFileError naming the line that is not.
    """
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = repr(data[error.start : error.start + 4])
        raise ImportFileError(line, "file", found, f"is not {encoding}") from error


def read_whole(source: str) -> tuple[str, str]:
    """
    Return the SHA-256 of a file (``-``: standard input; gzip is recognised) and its text.

    Raises ImportFileError as ``decoded`` does.
    """
    with open_source(source) as stream:
        data = b"".join(stream)
    return sha256(data).hexdigest(), decoded(data)


def records(text: str) -> Iterator[tuple[int, list[str]]]:
    """
    Yield the records of a CSV text with the line on which each begins; blank ones are left out.

    The delimiter is the comma, semicolon or tab that the first line has most of.
    """
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ImportFileError(line, "line", "", f"is not CSV: {error}") from error
        if any(cell.strip() for cell in cells):
            yield line, cells


def rows(text: str, provider: str, needed: Sequence[str]) -> Iterator[Fields]:
    """
    Yield the rows below the header of a file, in whatever order its columns are.

    Raises ImportFileError where a needed column is missing or there twice.
    """
    header: Header | None = None
    for line, cells in records(text):
        if header is None:
            header = Header(line, cells, needed)
        else:
            yield header.fields(line, cells, provider)
    if header is None:
        raise ImportFileError(1, "header", "", "is missing, the file is empty")


def only_batch(batches: Mapping[str, Fields], column: str) -> str:
    """
    Return the one batch that a file names, or "" for none; ``batches`` has the first row of each.

    Raises ImportFileError for a second one.
    """
    first, *others = [*batches] or [""]
    if others:
        why = f"is a second batch after {first}: import one batch at a time"
        raise batches[others[0]].fail(column, why)
    return first


class Header:
    """The columns of a file; raises ImportFileError where a needed one is missing or twice."""

    def __init__(self, line: int, cells: Sequence[str], needed: Sequence[str]) -> None:
        self.names: Final = [normal(cell) for cell in cells]
        for column in needed:
            count = self.names.count(normal(column))
            if count != 1:
                why = "is missing in the header" if count == 0 else f"is there {count} times"
                raise ImportFileError(line, "column", column, why)

    def fields(self, line: int, cells: Sequence[str], provider: str) -> Fields:
        """Return a row; cells that are missing at its end are empty."""
        beyond = [cell for cell in cells[len(self.names) :] if cell.strip()]
        if beyond:
            raise ImportFileError(
                line, "line", beyond[0], f"is beyond the {len(self.names)} columns of the header"
            )
        return Fields(line, dict(zip(self.names, cells, strict=False)), provider)
