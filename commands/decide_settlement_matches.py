"""
The rules by which a settlement line finds the operations that it settles.

1. By reference: a payment has an operation of the line's kind under the line's own reference, or
   under that of the payment.
2. By amount: the line names the payment (its reference, our payment or order id), and exactly one
   of its operations of that kind that no line has shown yet has the amount. An operation that is
   known under another reference of the provider is not it.
3. By sum: all operations of that kind that no line has shown yet have the amount together.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from orderledger.ledger.payment_operations import FAILED, Operation, OperationKind, OperationStatus
from orderledger.ledger.payments import PaymentState, reference_key
from orderledger.ledger.settlement_events import LineType, SettlementLine

KINDS: Final[Mapping[LineType, tuple[OperationKind, ...]]] = MappingProxyType(
    {
        LineType.PAYMENT: (OperationKind.CAPTURE, OperationKind.PURCHASE),
        LineType.PAYMENT_REVERSED: (OperationKind.CAPTURE, OperationKind.PURCHASE),
        LineType.REFUND: (OperationKind.REFUND,),
        LineType.REFUND_REVERSED: (OperationKind.REFUND,),
        LineType.PAID_OUT: (OperationKind.CREDIT,),
        LineType.PAID_OUT_REVERSED: (OperationKind.CREDIT,),
    }
)
"""The kinds of operation that a line of a type may settle."""
REVERSALS: Final = frozenset(
    {LineType.PAYMENT_REVERSED, LineType.REFUND_REVERSED, LineType.PAID_OUT_REVERSED}
)
"""Lines by which what an operation moved came back."""
OUTGOING: Final = frozenset({LineType.PAYMENT_REVERSED, LineType.REFUND, LineType.PAID_OUT})
"""Lines of operations whose gross is negative."""
BY_REFERENCE: Final = "reference"
BY_PAYMENT_REFERENCE: Final = "payment_reference"
BY_AMOUNT: Final = "amount"
BY_SUM: Final = "sum"
BY_PARTS: Final = "parts"
BY_HAND: Final = "by_hand"


class Found(msgspec.Struct, frozen=True, gc=False):
    """An operation that a line may settle, and the payment it belongs to."""

    payment: PaymentState
    op: Operation
    is_reversal: bool

    @property
    def amount(self) -> int:
        """What the operation moved, or was asked to while that is not known."""
        return self.op.settled or self.op.amount

    @property
    def shown(self) -> int:
        """How much of it settlements have shown already."""
        return self.payment.reconciled_amount(self.op.op_id, is_reversal=self.is_reversal)

    @property
    def left(self) -> int:
        return self.amount - self.shown

    @property
    def is_certain(self) -> bool:
        """Whether it is known to have succeeded, be it taken back later; of a reversal, that."""
        if self.is_reversal:
            return self.op.status is OperationStatus.REVERSED
        return self.op.status in _CERTAIN


class Match(msgspec.Struct, frozen=True, gc=False):
    """What the rules found for a line: nothing, one operation, or several with one sum."""

    found: tuple[Found, ...] = ()
    rule: str = ""


_CERTAIN: Final = frozenset({OperationStatus.SUCCEEDED, OperationStatus.REVERSED})
NOTHING: Final = Match()


def amount_of(line: SettlementLine) -> int:
    """
    Return the gross of a line as a positive amount; 0 or less if its sign is not that of its type.
    """
    return -line.gross if line.type in OUTGOING else line.gross


def match(line: SettlementLine, payments: Sequence[PaymentState]) -> Match:
    """Return the operations that a line settles by the first rule that finds some."""
    known = [one for one in payments if one.exists]
    return _by_reference(line, known) or _by_amount(line, known) or _by_sum(line, known) or NOTHING


def _by_reference(line: SettlementLine, payments: Sequence[PaymentState]) -> Match | None:
    rules = (
        (BY_REFERENCE, line.modification_ref),
        (BY_PAYMENT_REFERENCE, line.provider_ref),
    )
    for rule, reference in rules:
        for payment in payments if reference else ():
            for kind in KINDS[line.type]:
                op = _referred(payment, kind, reference)
                if op is not None:
                    return Match((_found(line, payment, op),), rule)
    return None


def _referred(payment: PaymentState, kind: OperationKind, reference: str) -> Operation | None:
    op = payment.operations.get(payment.by_reference.get(reference_key(kind.value, reference), ""))
    if op is not None and op.matched_by:
        return payment.operations.get(op.matched_by)
    return op


def _by_amount(line: SettlementLine, payments: Sequence[PaymentState]) -> Match | None:
    amount = amount_of(line)
    fitting = [
        one
        for one in _unshown(line, payments)
        if one.left == amount
        and _may_be(line, one.op)
        and one.payment.currency == line.gross_currency
    ]
    # What failed is the last that a settlement is about, and only if nothing else is.
    sound = [one for one in fitting if one.op.status not in FAILED] or fitting
    return Match((sound[0],), BY_AMOUNT) if len(sound) == 1 else None


def _by_sum(line: SettlementLine, payments: Sequence[PaymentState]) -> Match | None:
    if line.modification_ref not in ("", line.provider_ref):
        return None
    parts = [
        one
        for one in _unshown(line, payments)
        if one.is_certain and one.payment.currency == line.gross_currency
    ]
    is_sum = len(parts) > 1 and sum([one.left for one in parts]) == amount_of(line)
    return Match(tuple(parts), BY_SUM) if is_sum else None


def _unshown(line: SettlementLine, payments: Sequence[PaymentState]) -> Iterator[Found]:
    for payment in payments:
        if not is_named(line, payment):
            continue
        for op in payment.operations.values():
            one = _found(line, payment, op)
            if op.kind in KINDS[line.type] and not op.matched_by and one.left > 0:
                yield one


def is_named(line: SettlementLine, payment: PaymentState) -> bool:
    """Tell whether a line names the payment: by our ids, or by any reference of the provider."""
    if line.merchant_ref and line.merchant_ref in (payment.payment_id, payment.order_id):
        return True
    references = {line.provider_ref, line.modification_ref} - {""}
    return any(key.partition(" ")[2] in references for key in payment.by_reference)


def _may_be(line: SettlementLine, op: Operation) -> bool:
    """Tell whether an operation is not known under a reference other than the line's."""
    own = {line.modification_ref, line.provider_ref} - {""}
    return not op.provider_ref or not own or op.provider_ref in own


def _found(line: SettlementLine, payment: PaymentState, op: Operation) -> Found:
    return Found(payment, op, line.type in REVERSALS)
