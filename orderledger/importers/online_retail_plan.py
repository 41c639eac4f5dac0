"""
From an invoice to the commands that record it.

Pure but for the memory of earlier purchases: the same file gives the same commands under the same
keys, which is what makes an import that was interrupted go on where it stopped. The mapping is
documented in ``docs/import-online-retail.md``.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from orderledger.commands.account_commands import PostEntry, PostingInput
from orderledger.commands.decision import Command
from orderledger.commands.fulfilment_commands import RecordDispatched
from orderledger.commands.order_commands import (
    ConfirmOrder,
    CoverPolicy,
    HoldFunds,
    MeetReleaseCondition,
    PlaceOrder,
    ReleaseFunds,
)
from orderledger.commands.payment_commands import InitiatePayment, RecordProviderOperation
from orderledger.commands.requests import Actor, Envelope, Source
from orderledger.commands.value_commands import IssueValue
from orderledger.ledger import accounts
from orderledger.ledger.order_content import LineInput, ShippingCharge, Surcharge
from orderledger.ledger.order_events import MovedLine
from orderledger.ledger.payment_events import CaptureMode
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.value_events import ValueKind, ValueSource

from .online_retail_invoices import Invoice
from .online_retail_lots import LotKind, Lots
from .online_retail_rows import CURRENCY, Row
from .online_retail_summary import Category, Tally

KEY_PREFIX: Final = "online-retail"
PROVIDER: Final = "imported"
SELLER: Final = "shop"
UNITS: Final = "PTSUNITS"
"""Stock is counted in units, which are no money: they have a code of their own."""
RECEIVABLES: Final = "assets:receivables:imported"
STOCK_WRITTEN_OFF: Final = "expenses:stock_written_off"
METHOD: Final = "unknown"
_ACTOR: Final = Actor("import", KEY_PREFIX)
_NO_COMMISSION: Final = Decimal(0)

SHIPPING_CODES: Final = frozenset({"POST", "DOT", "C2"})
ADJUSTMENT_CODES: Final = frozenset({"M", "D"})
DISCOUNT_CODES: Final = frozenset({"D"})
FEE_ACCOUNTS: Final = {
    "BANK CHARGES": "expenses:bank_fees",
    "AMAZONFEE": "expenses:marketplace_fees",
    "CRUK": "expenses:commission",
}
GIFT_PREFIX: Final = "GIFT_"
_NOT_IN_ACCOUNTS: Final = re.compile(r"[^A-Za-z0-9._@/+-]")


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """A row with its place in the invoice, counted from 1."""

    no: int
    row: Row

    @property
    def line_id(self) -> str:
        return str(self.no)

    @property
    def label(self) -> str:
        """The place and the stock code, for where nothing else names the article."""
        return f"{self.no}:{segment(self.row.stock_code)}"


def segment(stock_code: str) -> str:
    """Return a stock code as a segment of an account name or id: ``BANK_CHARGES``."""
    return _NOT_IN_ACCOUNTS.sub("_", stock_code)


class Step(msgspec.Struct, frozen=True):
    """A command of a plan; ``name`` is unique within the invoice and makes its key."""

    name: str
    command: Command


class Sale(msgspec.Struct, frozen=True):
    """The rows of an invoice that make an order, by what they are in it."""

    lines: list[Numbered]
    shipping: list[Numbered]
    surcharges: list[Numbered]
    gifts: list[Numbered]

    @property
    def charges(self) -> list[Numbered]:
        return [*self.shipping, *self.surcharges]


def envelopes(document: str, steps: Iterator[Step]) -> list[Envelope]:
    """Wrap the commands of an invoice, each under a key made of invoice number and step."""
    return [
        Envelope(
            command=step.command,
            key=f"{KEY_PREFIX}/{document}/{step.name}",
            actor=_ACTOR,
            source=Source.IMPORT,
            correlation_id=document,
        )
        for step in steps
    ]


class SalePlanner:
    """Plans invoices of sales, stock write-offs and bad debt."""

    def __init__(self, lots: Lots, tally: Tally, refundable: dict[str, int]) -> None:
        self._lots: Final = lots
        self._tally: Final = tally
        self._refundable: Final = refundable

    def bad_debt(self, invoice: Invoice) -> Iterator[Step]:
        """An ``A…`` invoice: journal entries between receivables and bad debt."""
        for no, row in enumerate(invoice.rows, 1):
            self._tally.add(row, Category.BAD_DEBT)
            if row.total:
                legs = (RECEIVABLES, accounts.BAD_DEBT)
                yield journal(invoice, Numbered(no, row), legs, "bad debt adjusted")

    def sale(self, invoice: Invoice) -> Iterator[Step]:
        """An invoice without a letter: an order, and beside it fees and stock write-offs."""
        sale = Sale([], [], [], [])
        for no, row in enumerate(invoice.rows, 1):
            one = Numbered(no, row)
            code = row.stock_code.upper()
            if row.quantity < 0:
                self._tally.add(row, Category.WRITE_OFF)
                yield write_off(invoice, one)
            elif code in FEE_ACCOUNTS and row.total:
                self._tally.add(row, Category.FEE)
                yield fee(invoice, one)
            else:
                self._sort(sale, one, code)
        if sale.lines or sale.charges:
            yield from self._order(invoice, _with_a_line(sale))

    def _sort(self, sale: Sale, one: Numbered, code: str) -> None:
        """Put a row where it belongs in the order, and account for it."""
        if code in FEE_ACCOUNTS:
            # Too small to post: kept with its exact price as an order line of 0.00.
            self._tally.add(one.row, Category.FEE)
            sale.lines.append(one)
        elif code in SHIPPING_CODES:
            self._tally.add(one.row, Category.SHIPPING)
            sale.shipping.append(one)
        elif code in ADJUSTMENT_CODES:
            self._tally.add(one.row, Category.ADJUSTMENT)
            # A surcharge has an amount; an adjustment of nothing is a line of 0.00.
            (sale.surcharges if one.row.total else sale.lines).append(one)
        elif code.startswith(GIFT_PREFIX):
            self._tally.add(one.row, Category.GIFT)
            sale.lines.append(one)
            if one.row.total:
                sale.gifts.append(one)
        else:
            self._tally.add(one.row, Category.ORDER_LINE)
            sale.lines.append(one)

    def _order(self, invoice: Invoice, sale: Sale) -> Iterator[Step]:
        order_id = invoice.document
        total = sum([one.row.total for one in (*sale.lines, *sale.charges)])
        self._tally.summary.orders += 1
        self._lots.open_order(order_id)
        for one in sale.lines:
            self._lots.add(one.row, one.no, LotKind.LINE)
        for one in sale.charges:
            self._lots.add(one.row, one.no, LotKind.CHARGE)
        yield _place(invoice, sale)
        if total:
            self._refundable[order_id] = total - sum([one.row.total for one in sale.gifts])
            yield from _pay(invoice, total)
        at, shipped_at = invoice.first.at, invoice.last.at
        policy = CoverPolicy.CHARGED
        yield Step("confirm", ConfirmOrder(occurred_at=at, order_id=order_id, policy=policy))
        yield Step(
            "ship",
            RecordDispatched(
                occurred_at=shipped_at,
                fulfilment_id=order_id,
                order_id=order_id,
                carrier="unknown",
                lines=tuple([MovedLine(one.line_id, one.row.quantity) for one in sale.lines]),
            ),
        )
        if sale.gifts:
            yield Step("hold", HoldFunds(occurred_at=at, order_id=order_id))
        for one in sale.gifts:
            yield _gift(invoice, one)
        if self._refundable.get(order_id):
            yield from _release(invoice)


def _with_a_line(sale: Sale) -> Sale:
    """An order has at least one line: where there are only charges, they are its lines."""
    return sale if sale.lines else Sale(sale.charges, [], [], [])


def _place(invoice: Invoice, sale: Sale) -> Step:
    first = invoice.first
    command = PlaceOrder(
        occurred_at=first.at,
        order_id=invoice.document,
        buyer_ref=first.customer,
        currency=CURRENCY,
        channel=first.country,
        lines=tuple(
            [
                LineInput(
                    one.line_id,
                    one.row.stock_code,
                    SELLER,
                    one.row.quantity,
                    one.row.price.amount,
                )
                for one in sale.lines
            ]
        ),
        shipping=tuple([ShippingCharge(one.label, SELLER, one.row.total) for one in sale.shipping]),
        surcharges=tuple([Surcharge(one.label, SELLER, one.row.total) for one in sale.surcharges]),
    )
    return Step("place", command)


def _pay(invoice: Invoice, total: int) -> Iterator[Step]:
    document, at = invoice.document, invoice.first.at
    yield Step(
        "pay",
        InitiatePayment(
            occurred_at=at,
            payment_id=document,
            order_id=document,
            provider=PROVIDER,
            method=METHOD,
            amount=total,
            currency=CURRENCY,
            capture_mode=CaptureMode.AUTO,
        ),
    )
    yield Step(
        "capture",
        RecordProviderOperation(
            occurred_at=at,
            payment_id=document,
            order_id=document,
            kind=OperationKind.PURCHASE,
            provider_ref=document,
            amount=total,
            currency=CURRENCY,
        ),
    )


def _release(invoice: Invoice) -> Iterator[Step]:
    document, at = invoice.document, invoice.last.at
    met = MeetReleaseCondition(occurred_at=at, order_id=document, seller=SELLER, cause="shipped")
    yield Step("condition", met)
    yield Step(
        "release",
        ReleaseFunds(
            occurred_at=at,
            order_id=document,
            release_id=document,
            seller=SELLER,
            commission_rate=_NO_COMMISSION,
            rate_version="none",
        ),
    )


def _gift(invoice: Invoice, one: Numbered) -> Step:
    account_id = f"gift-{invoice.document}-{one.no}"
    command = IssueValue(
        occurred_at=one.row.at,
        account_id=account_id,
        holder=one.row.customer or account_id,
        kind=ValueKind.GIFT_CARD,
        lot_id=f"{invoice.document}-{one.no}",
        amount=one.row.total,
        currency=CURRENCY,
        source=ValueSource.SALE,
        order_id=invoice.document,
    )
    return Step(f"value-{one.no}", command)


def write_off(invoice: Invoice, one: Numbered) -> Step:
    """Units that left the stock unsold: an entry in units, as no money moves."""
    units = -one.row.quantity
    command = PostEntry(
        occurred_at=one.row.at,
        entry_id=f"{invoice.document}-{one.no}",
        description=f"stock write-off: {units} of {one.row.stock_code}",
        postings=(
            PostingInput(STOCK_WRITTEN_OFF, UNITS, units),
            PostingInput(f"assets:stock:{segment(one.row.stock_code)}", UNITS, -units),
        ),
    )
    return Step(f"entry-{one.no}", command)


def fee(invoice: Invoice, one: Numbered) -> Step:
    """A fee or commission: taken by the provider (negative), or charged to the customer."""
    code = one.row.stock_code.upper()
    return journal(invoice, one, (accounts.psp(PROVIDER), FEE_ACCOUNTS[code]), code.lower())


def journal(invoice: Invoice, one: Numbered, legs: tuple[str, str], text: str) -> Step:
    """Debit the first account with the signed total of the row, credit the second."""
    command = PostEntry(
        occurred_at=one.row.at,
        entry_id=f"{invoice.document}-{one.no}",
        description=text,
        postings=(
            PostingInput(legs[0], CURRENCY, one.row.total),
            PostingInput(legs[1], CURRENCY, -one.row.total),
        ),
    )
    return Step(f"entry-{one.no}", command)
