"""
Adyen's settlement details report: one CSV per payout batch, amounts in major units.

Source: Adyen, "Settlement details report", columns and journal types. Gross is in the currency of
the payment (GC), net and fees are in that of the payout (NC).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orderledger.ledger.settlement_events import LineType, NamedFee, SettlementLine, StatedBalance

from .settlement_file import Fields, ParsedFile, only_batch, rows

FORMAT: Final = "adyen"
NEEDED: Final = (
    "Psp Reference",
    "Type",
    "Gross Currency",
    "Gross Debit (GC)",
    "Gross Credit (GC)",
    "Net Currency",
    "Net Debit (NC)",
    "Net Credit (NC)",
)
FEES: Final = ("Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)")
TYPES: Final[Mapping[str, LineType]] = MappingProxyType(
    {
        "settled": LineType.PAYMENT,
        "refunded": LineType.REFUND,
        "refundedreversed": LineType.REFUND_REVERSED,
        "chargeback": LineType.CHARGEBACK,
        "chargebackreversed": LineType.CHARGEBACK_REVERSED,
        "secondchargeback": LineType.SECOND_CHARGEBACK,
        "fee": LineType.FEE,
        "misccosts": LineType.FEE,
        "paymentcost": LineType.FEE,
        "settlecost": LineType.FEE,
        "authorisationschemefee": LineType.FEE,
        "invoicededuction": LineType.FEE,
        "merchantpayout": LineType.PAYOUT,
        "bankinstructionreturned": LineType.PAYOUT_RETURNED,
        "paidout": LineType.PAID_OUT,
        "paidoutreversed": LineType.PAID_OUT_REVERSED,
        "matchedstatement": LineType.TOP_UP,
        "depositcorrection": LineType.RESERVE,
        "reserveadjustment": LineType.RESERVE,
        "balancetransfer": LineType.TRANSFER,
        "manualcorrected": LineType.ADJUSTMENT,
        "epapaid": LineType.ADJUSTMENT,
        "internalcompanypayout": LineType.ADJUSTMENT,
    }
)
"""Journal types; any other is an adjustment, which a person looks at."""


def parse(text: str) -> ParsedFile:
    """
    Read a settlement details report.

    What a batch does not pay out it carries over in lines of its own (Balancetransfer), so that
    every batch begins and ends at zero. Raises ImportFileError.
    """
    lines: list[SettlementLine] = []
    batches: dict[str, Fields] = {}
    for row in rows(text, FORMAT, NEEDED):
        lines.append(_line(len(lines) + 1, row))
        batch = row.text("Batch Number")
        if batch:
            batches.setdefault(batch, row)
    named = only_batch(batches, "Batch Number")
    currencies = sorted({one.currency for one in lines})
    balances = tuple([StatedBalance(code, opening=0, closing=0) for code in currencies])
    return ParsedFile(FORMAT, named, tuple(lines), balances)


def _line(number: int, row: Fields) -> SettlementLine:
    kind = row.short("Type")
    if not kind:
        raise row.fail("Type", "is empty")
    currency = row.currency("Net Currency", "Gross Currency")
    gross_currency = row.currency("Gross Currency", "Net Currency")
    fees = [NamedFee(_named(column), row.major(column, currency)) for column in FEES]
    net = row.major("Net Credit (NC)", currency) - row.major("Net Debit (NC)", currency)
    gross = row.major("Gross Credit (GC)", gross_currency)
    gross -= row.major("Gross Debit (GC)", gross_currency)
    is_converted = gross_currency != currency
    if not row.text("Gross Credit (GC)") and not row.text("Gross Debit (GC)"):
        # Corrections may have a net amount only.
        gross, gross_currency = net + sum([one.amount for one in fees]), currency
    return SettlementLine(
        line_no=number,
        type=TYPES.get(kind.lower(), LineType.ADJUSTMENT),
        raw_kind=kind,
        gross=gross,
        gross_currency=gross_currency,
        net=net,
        currency=currency,
        fees=tuple([one for one in fees if one.amount]),
        provider_ref=row.short("Psp Reference"),
        modification_ref=row.short("Modification Reference"),
        merchant_ref=row.short("Merchant Reference")
        or row.short("Modification Merchant Reference"),
        fx_rate=row.rate("Exchange Rate") if is_converted else None,
        occurred_at=row.at("Creation Date", "TimeZone"),
    )


def _named(column: str) -> str:
    """Return the name of a fee: ``scheme_fees`` of ``Scheme Fees (NC)``."""
    return column.removesuffix(" (NC)").lower().replace(" ", "_")
