"""
The settlement files of the marketplace month, as four providers write them.

They are made from what happened, so that importing them proves that our reading of each format and
the book agree. Each writer is given the same lines: what the provider did, sign included.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.money import format_minor
from orderledger.ledger.settlement_events import LineType

from .demo_market_world import CURRENCY

Rows = list[list[str]]


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a provider: ``gross`` in cents, positive for what came in; net = gross − fee."""

    type: LineType
    gross: int
    fee: int = 0
    reference: str
    merchant_ref: str = ""
    at: datetime

    @property
    def net(self) -> int:
        """What the line adds to the balance with the provider."""
        return self.gross - self.fee


_ADYEN_TYPES: Final = {
    LineType.PAYMENT: "Settled",
    LineType.REFUND: "Refunded",
    LineType.CHARGEBACK: "Chargeback",
    LineType.CHARGEBACK_REVERSED: "ChargebackReversed",
    LineType.SECOND_CHARGEBACK: "SecondChargeback",
    LineType.PAYOUT: "MerchantPayout",
}
_ADYEN_HEADER: Final = (
    *("Psp Reference", "Merchant Reference", "Creation Date", "TimeZone", "Type"),
    *("Modification Reference", "Gross Currency", "Gross Debit (GC)", "Gross Credit (GC)"),
    *("Exchange Rate", "Net Currency", "Net Debit (NC)", "Net Credit (NC)", "Commission (NC)"),
    *("Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)", "Batch Number"),
)
_STRIPE_TYPES: Final = {
    LineType.PAYMENT: "charge",
    LineType.REFUND: "refund",
    LineType.CHARGEBACK: "dispute",
    LineType.CHARGEBACK_REVERSED: "dispute_reversal",
    LineType.PAYOUT: "payout",
}
_STRIPE_HEADER: Final = (
    *("balance_transaction_id", "created_utc", "currency", "gross", "fee", "net"),
    *("reporting_category", "source_id", "payment_metadata[order_id]", "automatic_payout_id"),
)
_PAYPAL_TYPES: Final = {
    LineType.PAYMENT: "T0006",
    LineType.REFUND: "T1107",
    LineType.CHARGEBACK: "T1201",
    LineType.CHARGEBACK_REVERSED: "T1202",
    LineType.PAYOUT: "T0400",
}
_PAYPAL_HEADER: Final = (
    *("Transaction ID", "Invoice ID", "PayPal Reference ID", "Transaction Event Code"),
    *("Transaction Completion Date", "Transaction Debit or Credit", "Gross Transaction Amount"),
    *("Gross Transaction Currency", "Fee Debit or Credit", "Fee Amount", "Fee Currency"),
)
_GENERIC_HEADER: Final = (
    *("type", "gross", "fee", "currency", "reference", "merchant_reference", "occurred_at"),
    "batch",
)


def _text(minor: int) -> str:
    return format_minor(minor, CURRENCY)


def _sides(minor: int) -> list[str]:
    """Return an amount in a column for debits or in the one for credits."""
    return [_text(-minor), ""] if minor < 0 else ["", _text(minor)]


def _adyen(lines: Sequence[Stated], batch: str) -> Rows:
    return [
        list(_ADYEN_HEADER),
        *[
            [
                one.reference,
                one.merchant_ref,
                one.at.strftime("%Y-%m-%d %H:%M:%S"),
                "UTC",
                _ADYEN_TYPES[one.type],
                one.reference,
                CURRENCY,
                *_sides(one.gross),
                "1",
                CURRENCY,
                *_sides(one.net),
                _text(one.fee) if one.fee else "",
                *("", "", ""),
                batch,
            ]
            for one in lines
        ],
    ]


def _stripe(lines: Sequence[Stated], batch: str) -> Rows:
    return [
        list(_STRIPE_HEADER),
        *[
            [
                f"txn_{number:04}",
                one.at.strftime("%Y-%m-%d %H:%M:%S"),
                CURRENCY.lower(),
                _text(one.gross),
                _text(one.fee),
                _text(one.net),
                _STRIPE_TYPES[one.type],
                one.reference,
                one.merchant_ref,
                batch,
            ]
            for number, one in enumerate(lines, 1)
        ],
    ]


def _paypal(lines: Sequence[Stated], batch: str) -> Rows:
    """Return a report of one section; the batch is account and day, which its head states."""
    account, _, day = batch.partition("-")
    date = f"{day[:4]}/{day[4:6]}/{day[6:]}"
    head = [
        ["RH", f"{date} 23:00:00 +0000", "A", account, "009"],
        ["FH", "01"],
        ["SH", f"{date} 00:00:00 +0000", f"{date} 23:59:59 +0000", account, ""],
        ["CH", *_PAYPAL_HEADER],
    ]
    count = str(len(lines))
    ends = [
        ["SF", CURRENCY, "0", "0", "0", "0", "CR", "0", "CR", "0"],
        ["SC", count],
        ["RF"],
        ["RC", count],
        ["FF", count],
    ]
    return [*head, *[_paypal_row(one) for one in lines], *ends]


def _paypal_row(one: Stated) -> list[str]:
    fee = ["DR" if one.fee > 0 else "CR", str(abs(one.fee)), CURRENCY] if one.fee else ["", "", ""]
    return [
        "SB",
        one.reference,
        one.merchant_ref,
        "",
        _PAYPAL_TYPES[one.type],
        one.at.strftime("%Y/%m/%d %H:%M:%S +0000"),
        "DR" if one.gross < 0 else "CR",
        str(abs(one.gross)),
        CURRENCY,
        *fee,
    ]


def _generic(lines: Sequence[Stated], batch: str) -> Rows:
    return [
        list(_GENERIC_HEADER),
        ["opening", "0.00", "", CURRENCY, "", "", "", batch],
        *[
            [
                one.type.value,
                _text(one.gross),
                _text(one.fee),
                CURRENCY,
                one.reference,
                one.merchant_ref,
                one.at.isoformat(),
                batch,
            ]
            for one in lines
        ],
        ["closing", "0.00", "", CURRENCY, "", "", "", batch],
    ]


_WRITERS: Final[Mapping[str, Callable[[Sequence[Stated], str], Rows]]] = {
    "adyen": _adyen,
    "generic": _generic,
    "paypal": _paypal,
    "stripe": _stripe,
}


def settlement_file(form: str, lines: Sequence[Stated], batch: str) -> str:
    """Return a provider's settlement file of a batch; the same lines give the same bytes."""
    return written(_WRITERS[form](lines, batch))


def written(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()
