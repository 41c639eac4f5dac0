"""
Settlement files made up for the tests: the same lines written in each provider's format.
"""

import csv
import io
import random
from collections.abc import Sequence
from datetime import UTC, datetime

from orderledger.ledger.currencies import exponent
from orderledger.ledger.money import format_minor
from orderledger.ledger.provider_exponents import provider_exponent
from orderledger.ledger.settlement_events import LineType, SettlementLine

AT = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)


def written(rows: Sequence[Sequence[str]], *, delimiter: str = ",", end: str = "\r\n") -> str:
    """Return rows as CSV."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    return out.getvalue()


def shuffled(rows: Sequence[Sequence[str]], seed: int) -> list[list[str]]:
    """Return rows with their columns in another order and a foreign one among them."""
    extra = [["Note", *("x" for _ in rows[1:])][index] for index in range(len(rows))]
    wide = [[*row, extra[index]] for index, row in enumerate(rows)]
    order = list(range(len(wide[0])))
    random.Random(seed).shuffle(order)
    return [[row[index] for index in order] for row in wide]


ADYEN_TYPES = {
    LineType.PAYMENT: "Settled",
    LineType.REFUND: "Refunded",
    LineType.REFUND_REVERSED: "RefundedReversed",
    LineType.CHARGEBACK: "Chargeback",
    LineType.FEE: "Fee",
    LineType.PAYOUT: "MerchantPayout",
    LineType.RESERVE: "DepositCorrection",
    LineType.ADJUSTMENT: "ManualCorrected",
}
ADYEN_HEADER = [
    "Company Account",
    "Psp Reference",
    "Merchant Reference",
    "Creation Date",
    "TimeZone",
    "Type",
    "Modification Reference",
    "Gross Currency",
    "Gross Debit (GC)",
    "Gross Credit (GC)",
    "Exchange Rate",
    "Net Currency",
    "Net Debit (NC)",
    "Net Credit (NC)",
    "Commission (NC)",
    "Markup (NC)",
    "Scheme Fees (NC)",
    "Interchange (NC)",
    "Batch Number",
]


def _sides(minor: int, currency: str) -> list[str]:
    text = format_minor(abs(minor), currency)
    return [text, ""] if minor < 0 else ["", text]


ADYEN_FEES = ("commission", "markup", "scheme_fees", "interchange")


def adyen(lines: Sequence[SettlementLine], batch: str = "7") -> list[list[str]]:
    """Return the rows of a settlement details report; a line's fees in four columns at most."""
    rows = [ADYEN_HEADER]
    for one in lines:
        fees = [""] * 4
        for fee in one.fees:
            # A fee of another name stands in the first column.
            place = ADYEN_FEES.index(fee.name) if fee.name in ADYEN_FEES else 0
            fees[place] = format_minor(fee.amount, one.currency)
        at = one.occurred_at or AT
        rows.append(
            [
                "Shop",
                one.provider_ref,
                one.merchant_ref,
                at.strftime("%Y-%m-%d %H:%M:%S"),
                "UTC",
                one.raw_kind,
                one.modification_ref,
                one.gross_currency,
                *_sides(one.gross, one.gross_currency),
                str(one.fx_rate or 1),
                one.currency,
                *_sides(one.net, one.currency),
                *fees,
                batch,
            ]
        )
    return rows


STRIPE_TYPES = {
    LineType.PAYMENT: "charge",
    LineType.REFUND: "refund",
    LineType.REFUND_REVERSED: "refund_failure",
    LineType.CHARGEBACK: "dispute",
    LineType.FEE: "fee",
    LineType.PAYOUT: "payout",
    LineType.RESERVE: "risk_reserved_funds",
    LineType.ADJUSTMENT: "other_adjustment",
}
STRIPE_HEADER = [
    "balance_transaction_id",
    "created_utc",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "source_id",
    "payment_intent_id",
    "payment_metadata[order_id]",
    "automatic_payout_id",
]


def stripe(lines: Sequence[SettlementLine], batch: str = "po_7") -> list[list[str]]:
    """Return the rows of an itemised report of one balance."""
    rows = [STRIPE_HEADER]
    for one in lines:
        at = one.occurred_at or AT
        rows.append(
            [
                one.external_id,
                at.strftime("%Y-%m-%d %H:%M:%S"),
                one.currency.lower(),
                format_minor(one.gross, one.currency),
                format_minor(one.fee, one.currency),
                format_minor(one.net, one.currency),
                one.raw_kind,
                one.modification_ref,
                one.provider_ref if one.provider_ref != one.modification_ref else "",
                one.merchant_ref,
                batch,
            ]
        )
    return rows


PAYPAL_TYPES = {
    LineType.PAYMENT: "T0006",
    LineType.REFUND: "T1107",
    LineType.CHARGEBACK: "T1201",
    LineType.FEE: "T0105",
    LineType.PAYOUT: "T0400",
    LineType.RESERVE: "T2101",
    LineType.ADJUSTMENT: "T0800",
}
PAYPAL_HEADER = [
    "Transaction ID",
    "Invoice ID",
    "PayPal Reference ID",
    "Transaction Event Code",
    "Transaction Completion Date",
    "Transaction  Debit or Credit",
    "Gross Transaction Amount",
    "Gross Transaction Currency",
    "Fee Debit or Credit",
    "Fee Amount",
    "Fee Currency",
]


def _paypal_minor(minor: int, currency: str) -> list[str]:
    shift = exponent(currency) - provider_exponent("paypal", currency)
    assert minor % 10**shift == 0, "PayPal has no decimals of this currency"
    return ["DR" if minor < 0 else "CR", str(abs(minor) // 10**shift)]


def paypal_rows(lines: Sequence[SettlementLine]) -> list[list[str]]:
    """Return the header and body of a section, without the cells that say what a row is."""
    rows = [PAYPAL_HEADER]
    for one in lines:
        at = one.occurred_at or AT
        side, gross = _paypal_minor(one.gross, one.currency)
        fee_side, fee = _paypal_minor(-one.fee, one.currency)
        reference = one.provider_ref if one.provider_ref != one.modification_ref else ""
        rows.append(
            [
                one.modification_ref,
                one.merchant_ref,
                reference,
                one.raw_kind,
                at.strftime("%Y/%m/%d %H:%M:%S +0000"),
                side,
                gross,
                one.currency,
                fee_side if one.fee else "",
                fee if one.fee else "",
                one.currency if one.fee else "",
            ]
        )
    return rows


def paypal(section: Sequence[Sequence[str]], *footers: Sequence[str]) -> list[list[str]]:
    """Return a report of one section; a footer is currency, side, opening, side, closing."""
    head = [
        ["RH", "2026/03/02 23:00:00 +0000", "A", "ACCT1", "009"],
        ["FH", "01"],
        ["SH", "2026/03/02 00:00:00 +0000", "2026/03/02 23:59:59 +0000", "ACCT1", ""],
        ["CH", *section[0]],
    ]
    body = [["SB", *row] for row in section[1:]]
    ends = [["SF", one[0], "0", "0", "0", "0", *one[1:], "CR", "0"] for one in footers]
    count = str(len(body))
    return [*head, *body, *ends, ["SC", count], ["RF"], ["RC", count], ["FF", count]]


GENERIC_HEADER = [
    "type",
    "gross",
    "fee",
    "net",
    "currency",
    "gross_currency",
    "fx_rate",
    "reference",
    "modification_reference",
    "merchant_reference",
    "id",
    "occurred_at",
    "kind",
    "batch",
]


def generic(lines: Sequence[SettlementLine], batch: str = "7") -> list[list[str]]:
    """Return the rows of a generic file."""
    rows = [GENERIC_HEADER]
    for one in lines:
        at = one.occurred_at or AT
        rows.append(
            [
                one.type.value,
                format_minor(one.gross, one.gross_currency),
                format_minor(one.fee, one.currency),
                format_minor(one.net, one.currency),
                one.currency,
                one.gross_currency,
                "" if one.fx_rate is None else str(one.fx_rate),
                one.provider_ref,
                one.modification_ref,
                one.merchant_ref,
                one.external_id,
                at.isoformat(),
                one.raw_kind,
                batch,
            ]
        )
    return rows
