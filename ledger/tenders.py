"""
What the tenders of an order bring: its linked payments and redemptions, in the order's currency.

The order's stream knows which payments belong to it; their amounts stand in their own streams.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from .money import cumulative_part
from .orders import OrderState
from .payment_operations import FAILED, OperationKind
from .payments import PaymentState

_REDEMPTION: Final = "store_credit"
_GIVES_BACK: Final = frozenset({OperationKind.REFUND, OperationKind.VOID})
"""Operations that pay a grant if they name one; a void does in place of a refund."""


class Tender(msgspec.Struct, frozen=True):
    """
    One payment or redemption of an order; amounts in the order's currency.

    ``capturable`` is authorised and open, ``contested`` is taken back by an open chargeback and
    ``charged_back`` by a lost one, ``claimed`` maps refunds to what their operations, in flight or
    done, take of it.
    """

    tender_id: str
    method: str
    capturable: int = 0
    capture_in_flight: int = 0
    purchase_in_flight: int = 0
    void_in_flight: int = 0
    voided: int = 0
    captured: int = 0
    refunded: int = 0
    refundable: int = 0
    contested: int = 0
    charged_back: int = 0
    claimed: dict[str, int] = {}

    @property
    def charge_in_flight(self) -> int:
        """Captures and purchases whose outcome is not known yet."""
        return self.capture_in_flight + self.purchase_in_flight

    @property
    def kept(self) -> int:
        """Captured less what went back to the buyer, was charged back or is contested."""
        return self.captured - self.refunded - self.contested - self.charged_back


def tenders_of(order: OrderState, payment: Callable[[str], PaymentState]) -> tuple[Tender, ...]:
    """Return the order's tenders in the order in which they were linked, its payments by id."""
    payments = [_of_payment(one, payment(one), order) for one in order.payments]
    redemptions = [
        _of_redemption(redemption_id, amount, order)
        for redemption_id, amount in order.redeemed.items()
    ]
    return (*payments, *redemptions)


def _of_payment(payment_id: str, payment: PaymentState, order: OrderState) -> Tender:
    linked = order.payments[payment_id]

    def here(amount: int) -> int:
        """Convert an amount of the payment at the rate of its link, if that is needed."""
        if payment.currency in ("", order.currency) or payment.amount <= 0:
            return amount
        if amount > payment.amount:
            return linked + here(amount - payment.amount)
        return cumulative_part(linked, payment.amount, 0, max(0, amount))

    purchasing = 0
    claimed: dict[str, int] = {}
    for op in payment.operations.values():
        if op.kind is OperationKind.PURCHASE:
            purchasing += op.reserved
        elif op.kind in _GIVES_BACK and op.refund_id and op.status not in FAILED:
            amount = here(op.reserved + op.done)
            if amount:
                claimed[op.refund_id] = claimed.get(op.refund_id, 0) + amount
    return Tender(
        payment_id,
        order.tenders.get(payment_id) or payment.method,
        here(payment.capturable),
        here(payment.capture_in_flight),
        here(purchasing),
        here(payment.void_in_flight),
        here(payment.voided),
        here(payment.captured),
        here(payment.refunded),
        here(payment.refundable),
        here(payment.chargeback_open),
        here(payment.chargeback_lost),
        claimed,
    )


def _of_redemption(redemption_id: str, amount: int, order: OrderState) -> Tender:
    returned = order.redeemed_returned.get(redemption_id, 0)
    claimed = {
        refund_id: grant.settled[redemption_id]
        for refund_id, grant in order.grants.items()
        if grant.settled.get(redemption_id)
    }
    # What went back without a grant undid the redemption, as a reversed capture undoes a charge.
    undone = max(0, returned - sum(claimed.values()))
    return Tender(
        redemption_id,
        _REDEMPTION,
        captured=amount - undone,
        refunded=returned - undone,
        refundable=max(0, amount - returned),
        claimed=claimed,
    )


def charged_by(tenders: tuple[Tender, ...]) -> int:
    """Return Σ captured and redeemed and not undone, refunds not subtracted."""
    return sum([tender.captured for tender in tenders])


def refunded_by(order: OrderState, tenders: tuple[Tender, ...]) -> int:
    """Return Σ that reached the buyer again: through the tenders, and in another way."""
    return sum([tender.refunded for tender in tenders]) + order.settled_externally


def charged_back_by(tenders: tuple[Tender, ...]) -> int:
    """Return Σ that the buyer got back by lost chargebacks."""
    return sum([tender.charged_back for tender in tenders])
