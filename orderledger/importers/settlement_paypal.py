"""
PayPal's settlement report (STL): sections of rows whose first cell says what they are.

Source: PayPal, "Settlement Report Specification" and its T-codes. Amounts are unsigned minor units
as PayPal counts them, with a column CR or DR beside each; a section's footer states its balances.
"""

import re
from typing import Final

from orderledger.ledger.settlement_events import LineType, NamedFee, SettlementLine, StatedBalance

from .file_error import ImportFileError
from .settlement_file import Fields, Header, ParsedFile, records

FORMAT: Final = "paypal"
NEEDED: Final = (
    "Transaction ID",
    "Transaction Event Code",
    "Transaction Debit or Credit",
    "Gross Transaction Amount",
    "Gross Transaction Currency",
    "Fee Debit or Credit",
    "Fee Amount",
)
_CODE: Final = re.compile(r"T[0-9]{4}")
_EXACT: Final = {
    "T0106": LineType.CHARGEBACK_FEE,
    "T1106": LineType.PAYMENT_REVERSED,
    "T1107": LineType.REFUND,
    "T1108": LineType.FEE,
    "T1110": LineType.RESERVE,
    "T1111": LineType.RESERVE,
    "T1201": LineType.CHARGEBACK,
    "T1202": LineType.CHARGEBACK_REVERSED,
}
_GROUPS: Final = {
    "T01": LineType.FEE,
    "T02": LineType.CONVERSION,
    "T03": LineType.TOP_UP,
    "T15": LineType.RESERVE,
    "T21": LineType.RESERVE,
}
_FOOTER_CELLS: Final = 10
"""Kind, currency, four totals, and side and amount of the opening and the closing balance."""
_DAY: Final = re.compile(r"\d{4}[-/]\d\d[-/]\d\d", re.ASCII)


def type_of(code: str, *, is_credit: bool) -> LineType:
    """Return the type of a T-code; what is none of those known is an adjustment."""
    if code.startswith("T00"):
        return LineType.PAYMENT if is_credit else LineType.PAID_OUT
    if code.startswith("T04"):
        return LineType.PAYOUT_RETURNED if is_credit else LineType.PAYOUT
    return _EXACT.get(code) or _GROUPS.get(code[:3], LineType.ADJUSTMENT)


def parse(text: str) -> ParsedFile:
    """Read a settlement report; the batch is account and day. Raises ImportFileError."""
    report = _Report()
    for line, cells in records(text):
        report.take(line, cells)
    if not report.kinds:
        raise ImportFileError(1, "header", "", "is missing, the file is empty")
    if "SH" not in report.kinds:
        raise ImportFileError(1, "SH", "", "is missing: this is no settlement report")
    balances = tuple([report.balances[code] for code in sorted(report.balances)])
    return ParsedFile(FORMAT, report.batch, tuple(report.lines), balances)


class _Report:
    """A report as its rows come by: the columns of the section, its lines, its balances."""

    def __init__(self) -> None:
        self.lines: list[SettlementLine] = []
        self.balances: dict[str, StatedBalance] = {}
        self.batch = ""
        self.kinds: set[str] = set()
        self._header: Header | None = None

    def take(self, line: int, cells: list[str]) -> None:
        kind = cells[0].strip().upper()
        self.kinds.add(kind)
        if kind == "SH":
            self._begin(cells)
        elif kind == "CH":
            self._header = Header(line, ["kind", *cells[1:]], NEEDED)
        elif kind == "SB":
            if self._header is None:
                raise ImportFileError(line, "SB", "", "stands before the names of its columns (CH)")
            fields = self._header.fields(line, cells, FORMAT)
            self.lines.append(_line(len(self.lines) + 1, fields))
        elif kind == "SF":
            self._end(line, cells)
        elif not re.fullmatch(r"[RFS][HFC]", kind):
            raise ImportFileError(line, "row", kind, "is no kind of row of a settlement report")

    def _begin(self, cells: list[str]) -> None:
        self._header = None
        cells = [cell.strip() for cell in cells]
        if not self.batch and len(cells) > 3 and _DAY.match(cells[1]) and cells[3]:
            self.batch = f"{cells[3]}-{re.sub('[-/]', '', cells[1][:10])}"

    def _end(self, line: int, cells: list[str]) -> None:
        """Take the balances of a section's footer; sections of one currency are added up."""
        if len(cells) < _FOOTER_CELLS:
            return
        names = ("kind", "currency", "a", "b", "c", "d", "opens", "opening", "closes", "closing")
        fields = Header(line, names, ()).fields(line, cells[:_FOOTER_CELLS], FORMAT)
        code = fields.currency("currency")
        before = self.balances.get(code, StatedBalance(code, 0, 0))
        self.balances[code] = StatedBalance(
            code,
            (before.opening or 0) + _signed(fields, "opening", "opens", code),
            (before.closing or 0) + _signed(fields, "closing", "closes", code),
        )


def _line(number: int, row: Fields) -> SettlementLine:
    code = row.short("Transaction Event Code").upper()
    if _CODE.fullmatch(code) is None:
        raise row.fail("Transaction Event Code", "is no code like T0006")
    currency = row.currency("Gross Transaction Currency")
    gross = _signed(row, "Gross Transaction Amount", "Transaction Debit or Credit", currency)
    fee = -_signed(row, "Fee Amount", "Fee Debit or Credit", currency)
    if fee and row.text("Fee Currency") and row.currency("Fee Currency") != currency:
        raise row.fail("Fee Currency", f"is another currency than the {currency} of its line")
    transaction = row.short("Transaction ID")
    return SettlementLine(
        line_no=number,
        type=type_of(code, is_credit=gross >= 0),
        raw_kind=code,
        gross=gross,
        gross_currency=currency,
        net=gross - fee,
        currency=currency,
        fees=(NamedFee("paypal", fee),) if fee else (),
        provider_ref=row.short("PayPal Reference ID") or transaction,
        modification_ref=transaction,
        merchant_ref=row.short("Invoice ID"),
        external_id=f"{transaction} {code} {currency}" if transaction else "",
        occurred_at=row.at("Transaction Completion Date") or row.at("Transaction Initiation Date"),
    )


def _signed(row: Fields, amount: str, side: str, currency: str) -> int:
    """Return an unsigned amount with the sign of its side: CR is positive, DR negative."""
    minor = row.minor(amount, currency)
    if minor == 0:
        return 0
    sides = {"CR": minor, "DR": -minor}
    found = row.text(side).upper()
    if found not in sides:
        raise row.fail(side, "is neither CR nor DR")
    return sides[found]
