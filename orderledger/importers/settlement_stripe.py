"""
Stripe's itemised balance report: one CSV of balance transactions, amounts in major units.

Source: Stripe, "Balance change from activity: itemized" and "Payout reconciliation: itemized", and
the reporting categories. Gross, fee and net are in the currency of the balance; what the customer
paid, if that was another currency, stands in the columns customer_facing_….
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orderledger.ledger.settlement_events import LineType, NamedFee, SettlementLine

from .settlement_file import Fields, ParsedFile, rows

FORMAT: Final = "stripe"
NEEDED: Final = (
    "balance_transaction_id",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
)
TYPES: Final[Mapping[str, LineType]] = MappingProxyType(
    {
        "charge": LineType.PAYMENT,
        "charge_failure": LineType.PAYMENT_REVERSED,
        "refund": LineType.REFUND,
        "refund_failure": LineType.REFUND_REVERSED,
        "dispute": LineType.CHARGEBACK,
        "dispute_reversal": LineType.CHARGEBACK_REVERSED,
        "fee": LineType.FEE,
        "network_cost": LineType.FEE,
        "payout": LineType.PAYOUT,
        "payout_reversal": LineType.PAYOUT_RETURNED,
        "topup": LineType.TOP_UP,
        "topup_reversal": LineType.TOP_UP,
        "risk_reserved_funds": LineType.RESERVE,
        "payout_minimum_balance_hold": LineType.RESERVE,
        "payout_minimum_balance_release": LineType.RESERVE,
    }
)
"""Reporting categories; any other is an adjustment, which a person looks at."""
_ORDER_COLUMNS: Final = ("order_id", "payment_metadata[order_id]", "metadata[order_id]")


def parse(text: str) -> ParsedFile:
    """
    Read an itemised report; the batch is the automatic payout, if all its lines name the same one.

    The report states no balances. Raises ImportFileError.
    """
    lines: list[SettlementLine] = []
    payouts: set[str] = set()
    for row in rows(text, FORMAT, NEEDED):
        lines.append(_line(len(lines) + 1, row))
        payouts.add(row.text("automatic_payout_id"))
    batch = payouts.pop() if len(payouts) == 1 else ""
    return ParsedFile(FORMAT, batch, tuple(lines))


def _line(number: int, row: Fields) -> SettlementLine:
    category = row.short("reporting_category")
    if not category:
        raise row.fail("reporting_category", "is empty")
    line_type = TYPES.get(category.lower(), LineType.ADJUSTMENT)
    currency = row.currency("currency")
    gross, fee = row.major("gross", currency), row.major("fee", currency)
    gross_currency = currency
    if row.text("customer_facing_currency") and line_type in _OF_CUSTOMERS:
        gross_currency = row.currency("customer_facing_currency")
        if gross_currency != currency:
            faced = abs(row.major("customer_facing_amount", gross_currency))
            gross = -faced if gross < 0 else faced
    source = row.short("source_id")
    references = [row.short("payment_intent_id"), row.short("charge_id"), source]
    return SettlementLine(
        line_no=number,
        type=line_type,
        raw_kind=category,
        gross=gross,
        gross_currency=gross_currency,
        net=row.major("net", currency),
        currency=currency,
        fees=(NamedFee("processing", fee),) if fee else (),
        provider_ref=next((one for one in references if one and one != source), source),
        modification_ref=source,
        merchant_ref=next((one for column in _ORDER_COLUMNS if (one := row.short(column))), ""),
        external_id=row.short("balance_transaction_id"),
        occurred_at=row.at("created_utc") or row.at("created"),
    )


_OF_CUSTOMERS: Final = frozenset(
    {
        LineType.PAYMENT,
        LineType.PAYMENT_REVERSED,
        LineType.REFUND,
        LineType.REFUND_REVERSED,
    }
)
"""Types of which the customer's own amount is that of the operation."""
