"""
A plain CSV for every provider without a parser of its own; docs/settlement.md has its columns.
"""

from typing import Final

from orderledger.ledger.settlement_events import LineType, NamedFee, SettlementLine, StatedBalance

from .settlement_file import Fields, ParsedFile, only_batch, rows

FORMAT: Final = "generic"
NEEDED: Final = ("type", "gross", "currency")
COLUMNS: Final = (
    *NEEDED,
    "fee",
    "net",
    "reference",
    "modification_reference",
    "merchant_reference",
    "id",
    "occurred_at",
    "gross_currency",
    "fx_rate",
    "kind",
    "batch",
)
"""All columns that are read; others are passed over."""
BALANCES: Final = ("opening", "closing", "payout_total")
"""Types of rows that are no lines: they state a balance in ``gross``."""


def parse(text: str) -> ParsedFile:
    """Read a generic file, amounts in major units. Raises ImportFileError."""
    lines: list[SettlementLine] = []
    stated: dict[str, dict[str, int]] = {}
    batches: dict[str, Fields] = {}
    for row in rows(text, FORMAT, NEEDED):
        kind = row.text("type").lower()
        if kind in BALANCES:
            _state(stated, kind, row)
        else:
            lines.append(_line(len(lines) + 1, row))
        batch = row.text("batch")
        if batch:
            batches.setdefault(batch, row)
    named = only_batch(batches, "batch")
    balances = tuple(
        [
            StatedBalance(code, one.get("opening"), one.get("closing"), one.get("payout_total"))
            for code, one in sorted(stated.items())
        ]
    )
    return ParsedFile(FORMAT, named, tuple(lines), balances)


def _state(stated: dict[str, dict[str, int]], kind: str, row: Fields) -> None:
    currency = row.currency("currency")
    of_currency = stated.setdefault(currency, {})
    if kind in of_currency:
        raise row.fail("type", f"is stated twice for {currency}")
    of_currency[kind] = row.major("gross", currency)


def _line(number: int, row: Fields) -> SettlementLine:
    kind = row.short("type")
    if not kind:
        raise row.fail("type", "is empty")
    currency = row.currency("currency")
    gross_currency = row.currency("gross_currency", "currency")
    gross, fee = row.major("gross", gross_currency), row.major("fee", currency)
    is_converted = gross_currency != currency
    if is_converted and not row.text("net"):
        raise row.fail("net", f"is empty, and {gross_currency} was converted to {currency}")
    net = row.major("net", currency) if row.text("net") else gross - fee
    return SettlementLine(
        line_no=number,
        type=_TYPES.get(kind.lower(), LineType.ADJUSTMENT),
        raw_kind=row.short("kind") or kind,
        gross=gross,
        gross_currency=gross_currency,
        net=net,
        currency=currency,
        fees=(NamedFee("fee", fee),) if fee else (),
        provider_ref=row.short("reference"),
        modification_ref=row.short("modification_reference"),
        merchant_ref=row.short("merchant_reference"),
        external_id=row.short("id"),
        fx_rate=row.rate("fx_rate") if is_converted else None,
        occurred_at=row.at("occurred_at"),
    )


_TYPES: Final = {one.value: one for one in LineType}
