"""
A bank statement as a plain CSV; docs/settlement.md has its columns.
"""

from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.bank_events import BankLine

from .file_error import ImportFileError
from .settlement_file import Fields, rows

NEEDED: Final = ("booked_on", "amount", "currency")
COLUMNS: Final = (*NEEDED, "reference", "id", "type")
"""All columns that are read; others are passed over."""
BALANCES: Final = ("opening", "closing")
"""Values of ``type`` of rows that are no lines: they state a balance in ``amount``."""


class ParsedStatement(msgspec.Struct, frozen=True):
    """A bank statement in our words, amounts in minor units; None: the file states no balance."""

    currency: str
    lines: tuple[BankLine, ...]
    opening: int | None = None
    closing: int | None = None


def parse(text: str) -> ParsedStatement:
    """Read a bank statement of one currency, amounts in major units. Raises ImportFileError."""
    lines: list[BankLine] = []
    stated: dict[str, int] = {}
    currency = ""
    for row in rows(text, "bank", NEEDED):
        code = row.currency("currency")
        if currency and code != currency:
            raise row.fail("currency", f"is another currency than {currency}")
        currency = code
        kind = row.text("type").lower()
        if kind not in BALANCES:
            lines.append(_line(len(lines) + 1, row, code))
            continue
        if kind in stated:
            raise row.fail("type", "is stated twice")
        stated[kind] = row.major("amount", code)
    if not currency:
        raise ImportFileError(1, "line", "", "is missing: a statement without rows has no currency")
    return ParsedStatement(currency, tuple(lines), stated.get("opening"), stated.get("closing"))


def _line(number: int, row: Fields, currency: str) -> BankLine:
    if not row.text("amount"):
        raise row.fail("amount", "is empty")
    return BankLine(
        line_no=number,
        booked_at=_day(row),
        amount=row.major("amount", currency),
        reference=row.short("reference"),
        external_id=row.short("id"),
    )


def _day(row: Fields) -> datetime:
    at = row.at("booked_on")
    if at is None:
        raise row.fail("booked_on", "is empty")
    return at
