"""
Keeping an order's escrow slices in step with what its tenders hold in the escrow account.
"""

from orderledger.ledger import recipes_order
from orderledger.ledger.accounts import escrow
from orderledger.ledger.escrow_shares import applied, follow, follow_coupons, has_coupons
from orderledger.ledger.events import Event
from orderledger.ledger.journal import EMPTY, Entry
from orderledger.ledger.money import allocate, cumulative_part
from orderledger.ledger.order_escrow import Escrowed
from orderledger.ledger.order_events import FundsHeld, FundsReturned
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.recipes_payment import funded

from .decision import Change, States
from .order_guards import change


def escrow_balance(payment: PaymentState) -> int:
    """
    Return what a payment has in its order's escrow account, in the payment's currency.

    Captured, less what refunds that were requested and did not fail took from escrow.
    """
    balance = payment.captured
    for op in payment.operations.values():
        if op.kind is not OperationKind.REFUND or op.is_reissue:
            continue
        account = escrow(payment.order_id) if payment.order_id else ""
        amount = funded(op)
        if amount and op.funding:
            parts = allocate(amount, [part.amount for part in op.funding])
            for part, share in zip(op.funding, parts, strict=True):
                if part.account == account:
                    balance -= share
        else:
            balance -= amount
    return balance


def follow_payment(order: OrderState, payment_id: str, payment: PaymentState) -> tuple[Change, ...]:
    """
    Return the changes that bring an order's slices to a payment as it is now.

    For deciders that change a payment: called with the payment's state after their events, in the
    same Changes, it keeps the escrow account equal to Σ slices at every position.
    """
    events = _following(order, payment_id, payment)
    if has_coupons(order):
        events = (*events, *follow_coupons(applied(order, events)))
    return _changes(order, events)


def _following(order: OrderState, payment_id: str, payment: PaymentState) -> tuple[Event, ...]:
    linked = order.payments.get(payment_id)
    if linked is None or not payment.exists:
        return ()
    balance = escrow_balance(payment)
    if payment.currency == order.currency or payment.amount <= 0:
        return follow(order, payment_id, Escrowed(balance))
    here = _converted(balance, payment.amount, linked)
    return follow(order, payment_id, Escrowed(here, balance), payment.currency)


def _converted(balance: int, amount: int, linked: int) -> int:
    """Return a balance at the rate of the payment's quote: ``linked`` for the whole ``amount``."""
    if balance < 0:
        return -_converted(-balance, amount, linked)
    whole, rest = divmod(balance, amount)
    return linked * whole + cumulative_part(linked, amount, 0, rest)


def follow_all(order: OrderState, states: States) -> tuple[Change, ...]:
    """Return the changes that bring the slices to every tender of the order."""
    events: list[Event] = []
    after = order
    for payment_id in order.payments:
        new = _following(after, payment_id, states.payment(payment_id))
        events.extend(new)
        after = applied(after, new)
    for redemption_id, amount in order.redeemed.items():
        known = order.escrowed.get(redemption_id)
        if known is not None and known.held:
            # It came in whole; what goes back is written with the restoring itself.
            continue
        left = amount - order.redeemed_returned.get(redemption_id, 0)
        new = follow(after, redemption_id, Escrowed(left))
        events.extend(new)
        after = applied(after, new)
    if has_coupons(order):
        events.extend(follow_coupons(after))
    return _changes(order, tuple(events))


def _changes(order: OrderState, events: tuple[Event, ...]) -> tuple[Change, ...]:
    return tuple([change(order.order_id, event, _entry(order, event)) for event in events])


def _entry(order: OrderState, event: Event) -> Entry:
    if isinstance(event, FundsHeld | FundsReturned) and not (event.promo or event.paid_currency):
        # The payment's own event posted it.
        return EMPTY
    if isinstance(event, FundsHeld):
        return recipes_order.funds_held(order.order_id, event, order.currency)
    if isinstance(event, FundsReturned):
        return recipes_order.funds_returned(order.order_id, event, order.currency)
    return EMPTY
