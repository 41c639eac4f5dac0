"""
From a cancellation (``C…``) to the commands that record it: returns and refunds per order, and what
belongs to no known purchase.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from orderledger.commands.fulfilment_commands import (
    ApproveReturn,
    RecordReturnReceived,
    RequestReturn,
)
from orderledger.commands.order_commands import (
    AllocateRefund,
    AllocationStrategy,
    RecordRefundGranted,
)
from orderledger.commands.payment_commands import CreditCustomer, RecordSucceeded, RequestRefund
from orderledger.ledger import accounts
from orderledger.ledger.fulfilment_events import ReceivedLine, ReturnLine
from orderledger.ledger.money import allocate
from orderledger.ledger.order_events import MovedLine, PaymentPart
from orderledger.ledger.payment_events import Capabilities
from orderledger.ledger.payment_operations import FundingPart

from .online_retail_invoices import Invoice
from .online_retail_lots import LotKind, Lots, Match
from .online_retail_plan import (
    DISCOUNT_CODES,
    FEE_ACCOUNTS,
    METHOD,
    PROVIDER,
    SELLER,
    Numbered,
    Step,
    fee,
    journal,
)
from .online_retail_rows import CURRENCY
from .online_retail_summary import Category, Tally

_NO_WINDOW: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""The data names no return window."""
_REASON: Final = "cancellation"
_NO_PURCHASE: Final = "cancellation without an earlier purchase in the data"
_ABOVE_PAYMENT: Final = "cancellation at a higher price than was paid"
_CREDITS: Final = Capabilities(credit=True)


class Back(msgspec.Struct):
    """What a cancellation gives back of one order: units per line, and money in pence."""

    units: dict[str, int] = {}
    amount: int = 0


class Unmatched(msgspec.Struct):
    """What a cancellation gives back without a purchase to take it from."""

    lines: dict[str, int] = {}
    amount: int = 0


class RefundPlanner:
    """Plans cancellations, on the memory of what was bought before."""

    def __init__(self, lots: Lots, tally: Tally, refundable: dict[str, int]) -> None:
        self._lots: Final = lots
        self._tally: Final = tally
        self._refundable: Final = refundable

    def cancellation(self, invoice: Invoice) -> Iterator[Step]:
        """Plan a ``C…`` invoice: by order, then what is left, which raises anomalies."""
        by_order: dict[str, Back] = {}
        unmatched = Unmatched()
        for no, row in enumerate(invoice.rows, 1):
            one = Numbered(no, row)
            matching, matches = self._lots.take(row)
            self._tally.matched(matching)
            code = row.stock_code.upper()
            if code in FEE_ACCOUNTS and row.total:
                self._tally.add(row, Category.FEE)
                yield fee(invoice, one)
            elif code in DISCOUNT_CODES and row.total:
                self._tally.add(row, Category.DISCOUNT)
                legs = (accounts.psp(PROVIDER), accounts.PROMO)
                yield journal(invoice, one, legs, "discount after the sale")
            else:
                self._tally.add(row, Category.REFUND)
                self._share(one, matches, by_order, unmatched)
        for order_id, back in by_order.items():
            # At another price a refund can exceed what the order was paid.
            amount = min(back.amount, self._refundable.get(order_id, 0))
            unmatched.amount += back.amount - amount
            if amount:
                self._refundable[order_id] -= amount
            yield from _returned(invoice, order_id, back)
            yield from _refunded(invoice, order_id, back, amount)
        self._tally.summary.credited_minor += unmatched.amount
        yield from _without_purchase(invoice, unmatched)

    def _share(
        self,
        one: Numbered,
        matches: Sequence[Match],
        by_order: dict[str, Back],
        unmatched: Unmatched,
    ) -> None:
        """Divide a cancelled line over the earlier lines that it matches, and the rest."""
        left = -one.row.quantity - sum([match.quantity for match in matches])
        amounts = allocate(-one.row.total, [*[match.quantity for match in matches], left])
        for match, amount in zip(matches, amounts[:-1], strict=True):
            back = by_order.get(match.order_id)
            if back is None:
                back = by_order[match.order_id] = Back(units={})
            back.amount += amount
            if match.kind is LotKind.LINE:
                line_id = str(match.line_no)
                back.units[line_id] = back.units.get(line_id, 0) + match.quantity
        if left:
            unmatched.lines[one.label] = left
            unmatched.amount += amounts[-1]


def _returned(invoice: Invoice, order_id: str, back: Back) -> Iterator[Step]:
    """Units of a known order came back: asked for, approved and received at the same time."""
    if not back.units:
        return
    at = invoice.first.at
    return_id = f"{invoice.document}/{order_id}"
    lines = tuple([ReturnLine(line, units, _REASON) for line, units in back.units.items()])
    yield Step(
        f"return-{order_id}",
        RequestReturn(
            occurred_at=at,
            return_id=return_id,
            order_id=order_id,
            lines=lines,
            window_until=_NO_WINDOW,
        ),
    )
    yield Step(
        f"approve-{order_id}",
        ApproveReturn(occurred_at=at, return_id=return_id, order_id=order_id, by=SELLER),
    )
    received = tuple([ReceivedLine(line, ok=units) for line, units in back.units.items()])
    yield Step(
        f"receive-{order_id}",
        RecordReturnReceived(
            occurred_at=at,
            return_id=return_id,
            order_id=order_id,
            reception_id=invoice.document,
            lines=received,
        ),
    )


def _refunded(invoice: Invoice, order_id: str, back: Back, amount: int) -> Iterator[Step]:
    """The order's one payment gives the money back, borne by the shop as its escrow is released."""
    if not amount:
        return
    at, refund_id = invoice.first.at, invoice.document
    moved = tuple([MovedLine(line, units) for line, units in back.units.items()])
    yield Step(
        f"grant-{order_id}",
        RecordRefundGranted(
            occurred_at=at,
            order_id=order_id,
            refund_id=refund_id,
            amount=amount,
            currency=CURRENCY,
            reason=_REASON,
            lines=moved,
        ),
    )
    yield Step(
        f"allocate-{order_id}",
        AllocateRefund(
            occurred_at=at,
            order_id=order_id,
            refund_id=refund_id,
            strategy=AllocationStrategy.EXPLICIT,
            parts=(PaymentPart(order_id, amount),),
        ),
    )
    yield Step(
        f"refund-{order_id}",
        RequestRefund(
            occurred_at=at,
            payment_id=order_id,
            order_id=order_id,
            op_id=refund_id,
            amount=amount,
            currency=CURRENCY,
            refund_id=refund_id,
            funding=(FundingPart(accounts.seller(SELLER), amount),),
        ),
    )
    yield Step(
        f"refunded-{order_id}",
        RecordSucceeded(
            occurred_at=at,
            payment_id=order_id,
            order_id=order_id,
            op_id=refund_id,
            provider_ref=refund_id,
            amount=amount,
            currency=CURRENCY,
        ),
    )


def _without_purchase(invoice: Invoice, unmatched: Unmatched) -> Iterator[Step]:
    """
    Nothing in the data was bought that this gives back: goods of an unknown order came back, which
    raises anomalies, and the customer was credited.
    """
    at, document = invoice.first.at, invoice.document
    if unmatched.lines:
        received = [ReceivedLine(label, ok=units) for label, units in unmatched.lines.items()]
        yield Step(
            "receive",
            RecordReturnReceived(
                occurred_at=at,
                return_id=document,
                order_id=document,
                reception_id=document,
                lines=tuple(received),
            ),
        )
    if not unmatched.amount:
        return
    yield Step(
        "credit",
        CreditCustomer(
            occurred_at=at,
            payment_id=document,
            op_id=document,
            amount=unmatched.amount,
            currency=CURRENCY,
            reason=_NO_PURCHASE if unmatched.lines else _ABOVE_PAYMENT,
            actor="import",
            approver="recorded history",
            provider=PROVIDER,
            method=METHOD,
            capabilities=_CREDITS,
        ),
    )
    yield Step(
        "credited",
        RecordSucceeded(
            occurred_at=at,
            payment_id=document,
            op_id=document,
            provider_ref=document,
            amount=unmatched.amount,
            currency=CURRENCY,
        ),
    )
