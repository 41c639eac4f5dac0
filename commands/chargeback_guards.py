"""
Guards that keep the buyer from getting by a refund what the bank has taken back already.
"""

from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.tenders import tenders_of

from .decision import States


def check_not_charged_back(state: PaymentState, amount: int) -> None:
    """
    Raise Rejected CHARGEBACK_OPEN if a refund would pay what the buyer's bank has taken already.

    Source: woocommerce-payments#7960, refundable only when it was won, or while it is an inquiry.
    """
    left = state.refundable
    charged_back = state.chargeback_open + state.chargeback_lost
    if not charged_back or amount <= left or amount > left + charged_back:
        return
    taking = [key for key, one in state.chargebacks.items() if one.contested or one.lost]
    raise Rejected(
        Reason.CHARGEBACK_OPEN,
        f"payment {state.payment_id}: {', '.join(taking)} took back {state.chargeback_open} that "
        f"is contested and {state.chargeback_lost} for good; {left} {state.currency} minor units "
        f"can be refunded, not {amount}",
        payment_id=state.payment_id,
        chargebacks=taking,
        amount=amount,
        available=left,
        contested=state.chargeback_open,
        lost=state.chargeback_lost,
        currency=state.currency,
    )


def check_grant_not_charged_back(grant: Grant, payment: PaymentState) -> None:
    """
    Raise Rejected CHARGEBACK_OPEN if the buyer's bank took, or may take, what would be paid.

    A grant that failed cannot be withdrawn: what is decided for the buyer's bank is paid by it.
    """
    if not payment.chargebacks:
        return
    unpaid = grant.allocations.get(payment.payment_id, 0) - grant.settled.get(payment.payment_id, 0)
    left = payment.in_order_currency(payment.refundable)
    paid_by = [key for key, one in payment.chargebacks.items() if one.owed.get(grant.refund_id)]
    is_taken = payment.chargeback_open + payment.chargeback_lost > 0 and unpaid > left
    if paid_by or is_taken:
        found = paid_by or [
            key for key, one in payment.chargebacks.items() if one.contested or one.lost
        ]
        is_open = any(payment.chargebacks[key].contested for key in found)
        then = (
            "wait until the bank has decided: what is won can be paid then"
            if is_open
            else "the buyer has it from the bank"
        )
        raise Rejected(
            Reason.CHARGEBACK_OPEN,
            f"{', '.join(found)} took back what payment {payment.payment_id} owes for refund "
            f"{grant.refund_id}: {left} of {unpaid} minor units are left to pay; {then}",
            refund_id=grant.refund_id,
            payment_id=payment.payment_id,
            chargebacks=found,
            amount=unpaid,
            available=left,
        )


def check_order_not_charged_back(order: OrderState, states: States, amount: int) -> None:
    """Raise Rejected CHARGEBACK_OPEN if banks have taken what would be given of an order."""
    if not order.chargebacks:
        return
    tenders = tenders_of(order, states.payment)
    left = sum([one.refundable for one in tenders])
    taken = sum([one.contested + one.charged_back for one in tenders])
    if taken and amount > left:
        taking = [key for _, key in order.chargebacks]
        raise Rejected(
            Reason.CHARGEBACK_OPEN,
            f"order {order.order_id}: {', '.join(taking)} took back {taken} {order.currency} minor "
            f"units; {left} can be given back, not {amount}",
            order_id=order.order_id,
            chargebacks=taking,
            amount=amount,
            available=left,
        )
