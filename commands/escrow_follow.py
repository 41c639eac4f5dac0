"""
Keeping an order's escrow slices in step with what its tenders hold in the escrow account.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from orderledger.ledger import recipes_order
from orderledger.ledger.accounts import escrow
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.escrow_evening import evened
from orderledger.ledger.escrow_events import FundsRecovered
from orderledger.ledger.escrow_shares import (
    NOTHING,
    OfRefund,
    applied,
    follow,
    follow_coupons,
    has_coupons,
)
from orderledger.ledger.events import Event
from orderledger.ledger.freezes import shrunk
from orderledger.ledger.journal import EMPTY, Entry
from orderledger.ledger.money import cumulative_part
from orderledger.ledger.order_escrow import Escrowed
from orderledger.ledger.order_events import FundsHeld, FundsReturned
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import (
    FundingPart,
    Operation,
    scaled,
)
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.recipes_payment import borne

from .decision import Change, Changes, States
from .order_guards import after as after_events
from .order_guards import change
from .refund_funding import Funding

_Borne = Mapping[str, tuple[FundingPart, ...]]
"""Who bears each refund operation of a payment, as ``borne`` says it."""


def escrow_balance(payment: PaymentState, parts_by_op: _Borne) -> int:
    """
    Return what a payment has in its order's escrow account, in the payment's currency.

    Captured, less what refunds that were requested and did not fail took from escrow, and what
    lost chargebacks did.
    """
    account = escrow(payment.order_id) if payment.order_id else ""
    balance = payment.captured - sum(
        [one.borne_by(account) for one in payment.chargebacks.values()]
    )
    for parts in parts_by_op.values():
        balance -= sum([part.amount for part in parts if part.account == account])
    return balance


def follow_payment(
    order: OrderState,
    payment_id: str,
    payment: PaymentState,
    wanted: Mapping[str, int] = NOTHING,
) -> tuple[Change, ...]:
    """
    Return the changes that bring an order's slices to a payment as it is now.

    For deciders that change a payment: called with the payment's state after their events, in the
    same Changes, it keeps the escrow account equal to Σ slices at every position. ``wanted`` says
    which slices the money of a refund leaves.
    """
    events = _following(order, payment_id, payment, wanted)
    if has_coupons(order):
        events = (*events, *follow_coupons(applied(order, events)))
    return _changes(order, (*events, *_short_freezes(order, events)))


def _short_freezes(before: OrderState, events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Return the anomalies of freezes that lost money which a report says is gone."""
    if not before.freezes:
        return ()
    after = applied(before, events)
    return tuple(
        [
            AnomalyRaised(
                kind=AnomalyKind.FREEZE_SHORT,
                refs=(one.freeze_id, one.slice_id, str(one.shortfall)),
                severity="error",
                detail=f"{lost} {after.currency} minor units that {one.freeze_id} froze in the "
                f"slice of {one.slice_id} are gone; it lacks {one.shortfall} of {one.amount}",
            )
            for one, lost in shrunk(before.freezes, after.freezes)
        ]
    )


def _following(
    order: OrderState,
    payment_id: str,
    payment: PaymentState,
    wanted: Mapping[str, int] = NOTHING,
) -> tuple[Event, ...]:
    linked = order.payments.get(payment_id)
    if linked is None or not payment.exists:
        return ()
    is_foreign = payment.currency != order.currency and payment.amount > 0
    before = order.escrowed.get(payment_id) or Escrowed()
    balance = before.paid_amount if is_foreign else before.amount
    parts_by_op = borne(payment)
    recovered = _recovered(order, payment, parts_by_op)
    order = applied(order, recovered)
    events: list[Event] = list(recovered)
    steps = _steps(before, balance, payment, parts_by_op)
    # What refunds stand for keeps what is held apart from what the rest converts to.
    apart = before.amount - _converted(balance, payment.amount, linked) if is_foreign else 0
    for number, (refund_id, moved) in enumerate(steps, start=1):
        balance += moved
        of = OfRefund(refund_id, _lost_by_slice(payment, refund_id) or wanted)
        if is_foreign:
            worth = _converted(balance, payment.amount, linked) + apart
            if number == len(steps):
                worth = _worth(payment, parts_by_op, linked)
            here = Escrowed(worth, balance)
            new = follow(order, payment_id, here, payment.currency, of)
        else:
            new = follow(order, payment_id, Escrowed(balance), "", of)
        events.extend(new)
        order = applied(order, new)
    return tuple(events)


def _steps(
    before: Escrowed, known: int, payment: PaymentState, parts_by_op: _Borne
) -> list[tuple[str, int]]:
    """
    Return how a payment's escrow moved since ``known``: by refund, and by "" for captures.

    In the payment's currency; the steps sum to the whole difference.
    """
    taken = _taken(payment, parts_by_op)
    refunds = sorted({*taken, *before.refunds})
    by_refund = [(one, before.refunds.get(one, 0) - taken.get(one, 0)) for one in refunds]
    rest = escrow_balance(payment, parts_by_op) - known - sum([moved for _, moved in by_refund])
    steps = [(one, moved) for one, moved in (("", rest), *by_refund) if moved]
    # What comes back first: the money that leaves may be the same.
    return sorted(steps, key=lambda step: step[1] < 0)


def _taken(payment: PaymentState, parts_by_op: _Borne) -> dict[str, int]:
    """Return what each granted refund took out of escrow, in the payment's currency."""
    account = escrow(payment.order_id) if payment.order_id else ""
    taken: dict[str, int] = {}
    for op_id, parts in parts_by_op.items():
        refund_id = payment.operations[op_id].refund_id
        if not refund_id:
            continue
        for part in parts:
            if part.account == account:
                taken[refund_id] = taken.get(refund_id, 0) + part.amount
    for one in payment.chargebacks.values():
        amount = one.borne_by(account)
        if amount:
            taken[loss_key(one.chargeback_id)] = amount
    return taken


def loss_key(chargeback_id: str) -> str:
    """Return what a loss is known by where a refund's id stands; no caller can give such an id."""
    return f"~chargeback:{chargeback_id}"


def _lost_by_slice(payment: PaymentState, key: str) -> dict[str, int]:
    """Return which slices the loss of that key leaves, in the order's currency; {}: no loss."""
    account = escrow(payment.order_id)
    for one in payment.chargebacks.values():
        if loss_key(one.chargeback_id) == key:
            return {
                part.slice_id: payment.in_order_currency(part.amount)
                for part in one.parts
                if part.account == account
            }
    return {}


def _recovered(order: OrderState, payment: PaymentState, parts_by_op: _Borne) -> tuple[Event, ...]:
    """Return who bears the payment's refunds besides escrow, where the order knows otherwise."""
    events: list[Event] = []
    for op in payment.operations.values():
        if not op.funding:
            continue
        parts = parts_by_op.get(op.op_id, ())
        if payment.fx is not None and parts:
            parts = _in_order_currency(order, payment, op, parts)
        parts = tuple([part for part in parts if part.slice_id])
        if parts != order.recovered.get((payment.payment_id, op.op_id), ()):
            events.append(FundsRecovered(tender_id=payment.payment_id, op_id=op.op_id, parts=parts))
    for one in payment.chargebacks.values():
        key = loss_key(one.chargeback_id)
        parts = tuple(
            [_of_order(part, order.currency, payment) for part in one.parts if part.recovery]
        )
        if parts != order.recovered.get((payment.payment_id, key), ()):
            events.append(FundsRecovered(tender_id=payment.payment_id, op_id=key, parts=parts))
    return tuple(events)


def _in_order_currency(
    order: OrderState, payment: PaymentState, op: Operation, parts: tuple[FundingPart, ...]
) -> tuple[FundingPart, ...]:
    """Return who bears a refund of a payment in another currency, in the order's."""
    if any(part.recovery is not None for part in parts):
        return tuple([_of_order(part, order.currency, payment) for part in parts])
    amount = sum([part.amount for part in parts])
    is_whole = amount == op.amount and op.order_amount > 0
    return scaled(parts, op.order_amount if is_whole else payment.in_order_currency(amount))


def _of_order(part: FundingPart, currency: str, payment: PaymentState) -> FundingPart:
    one = part.recovery
    if one is None or payment.fx is None:
        return part
    amount = one.order_amount
    one = replace(one, order_amount=0)
    if one.currency == currency:
        one = replace(one, amount=0, currency="")
    return FundingPart(part.account, amount, part.slice_id, one)


def _worth(payment: PaymentState, parts_by_op: _Borne, linked: int) -> int:
    """
    Return what a payment in another currency has in escrow, in the order's currency.

    What was captured at the rate of its quote, less what each refund stands for. Converting what is
    left instead would leave the rounding of the refunds in escrow, where nobody is entitled to it.
    """
    account = escrow(payment.order_id)
    left = escrow_balance(payment, parts_by_op)
    rest, stands_for = left, 0
    for op_id, parts in parts_by_op.items():
        promised = _promised(payment.operations[op_id], parts, account)
        if promised:
            rest += sum([part.amount for part in parts if part.account == account])
            stands_for += promised
    if left <= 0:
        return _converted(left, payment.amount, linked)
    # A bank that takes part of a payment takes it at the quote, which may round against refunds.
    return max(0, _converted(rest, payment.amount, linked) - stands_for)


def _promised(op: Operation, parts: tuple[FundingPart, ...], account: str) -> int:
    """
    Return what escrow's part of a refund stands for in the order's currency.

    0 where the refund does not say it: one that the provider reports, or that is borne in part.
    """
    others = [part for part in parts if part.account != account]
    is_whole = sum([part.amount for part in parts]) == op.amount
    if not (is_whole and op.order_amount) or len(others) == len(parts):
        return 0
    named = [part.recovery.order_amount for part in others if part.recovery is not None]
    return op.order_amount - sum(named) if len(named) == len(others) else 0


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
    events.extend(_short_freezes(order, tuple(events)))
    return _changes(order, tuple(events))


def follow_evened(order: OrderState, states: States) -> tuple[Change, ...]:
    """Return the changes of ``follow_all``, and those that fill what slices lack from others."""
    held = follow_all(order, states)
    order = after_events(order, *[one.event for one in held])
    events = evened(order)
    if events and has_coupons(order):
        events = (*events, *follow_coupons(applied(order, events)))
    return (*held, *_changes(order, events))


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


def coupons_followed(order: OrderState, changes: Changes) -> Changes:
    """
    Return changes that lift a freeze, and those of the coupon money that it had kept in escrow.

    A coupon goes back as the buyer's money goes, but for what is frozen of it then.
    """
    if not (changes and has_coupons(order)):
        return changes
    later = after_events(order, *[one.event for one in changes])
    return (*changes, *_changes(later, follow_coupons(later)))


def borne_otherwise(
    order: OrderState, refund_id: str, funding: Funding, op_id: str
) -> tuple[Change, ...]:
    """
    Return the changes of a refund that no payment gives back: what leaves the slices for it, and
    what those give back whom they were released to. The refund's own change posts it.
    """
    events: list[Event] = [
        FundsReturned(
            slice_id=slice_id, amount=amount, cause="otherwise", refund_id=refund_id, op_id=op_id
        )
        for slice_id, amount in funding.slices.items()
    ]
    parts = tuple([part for part in funding.parts if part.slice_id])
    if parts:
        events.append(FundsRecovered(tender_id="", op_id=op_id, parts=parts))
    if has_coupons(order):
        events.extend(follow_coupons(applied(order, tuple(events))))
    return _changes(order, tuple(events))
