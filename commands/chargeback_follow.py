"""
What a payment's chargebacks make of its order: freezes, notes, evidence and a reopening.

Pure functions on folded states, called after the payment's events were decided.
"""

from orderledger.ledger import accounts
from orderledger.ledger.chargeback_events import ChargebackCreditEvidenceAttached, CreditIssued
from orderledger.ledger.chargeback_stages import UNDECIDED, ChargebackStage, Liability
from orderledger.ledger.chargebacks import INITIAL, Chargeback
from orderledger.ledger.escrow_shares import OVERFLOW
from orderledger.ledger.order_chargebacks import ChargebackNoted
from orderledger.ledger.order_events import OrderReopened
from orderledger.ledger.orders import Lifecycle, OrderState
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.payments import PaymentState

from .chargeback_losses import borne_by_sellers
from .decision import Changes
from .freezing import freeze, unfreeze
from .order_guards import change

CAUSE = "chargeback"
"""Cause of the freezes, and of the reopening of an order."""


def credits_to_attach(payment: PaymentState) -> tuple[ChargebackCreditEvidenceAttached, ...]:
    """
    Return the evidence "credit already issued" that open chargebacks lack.

    A refund in flight counts as such, and once more when it has succeeded.
    """
    found: list[ChargebackCreditEvidenceAttached] = []
    issued = [
        CreditIssued(op.op_id, op.done or op.amount, op.provider_ref, op.refund_id, op.is_in_flight)
        for op in payment.operations.values()
        if op.kind is OperationKind.REFUND and (op.done or op.is_in_flight)
    ]
    for one in payment.chargebacks.values():
        new = tuple([credit for credit in issued if one.credits.get(credit.op_id) != credit])
        if one.status in UNDECIDED and new:
            event = ChargebackCreditEvidenceAttached(chargeback_id=one.chargeback_id, credits=new)
            found.append(event)
    return tuple(found)


def freeze_id_of(one: Chargeback) -> str:
    """Return the id of a chargeback's freeze at its stage: a freeze is lifted only once."""
    if one.stage is ChargebackStage.CHARGEBACK:
        return one.chargeback_id
    return f"{one.chargeback_id}/{one.stage.value}"


def _open_freezes(order: OrderState, one: Chargeback) -> list[str]:
    """Return the freezes of a chargeback, of whatever stage, that are not lifted."""
    own = _freeze_ids(one.chargeback_id)
    found = {
        known.freeze_id: None
        for known in order.freezes.values()
        if known.freeze_id in own and known.cause == CAUSE and not known.is_lifted
    }
    return list(found)


def _freeze_ids(chargeback_id: str) -> set[str]:
    """Return the ids that freezes of a chargeback may have, at whatever stage."""
    return {chargeback_id, *[f"{chargeback_id}/{stage.value}" for stage in ChargebackStage]}


def open_chargeback_of(order: OrderState, freeze_id: str) -> str | None:
    """Return the chargeback that a freeze belongs to, while something of it is contested."""
    if not any(one.freeze_id == freeze_id and one.cause == CAUSE for one in order.freezes.values()):
        return None
    for note in order.chargebacks.values():
        if note.contested and freeze_id in _freeze_ids(note.chargeback_id):
            return note.chargeback_id
    return None


def ended_freezes(order: OrderState, payment: PaymentState) -> Changes:
    """Return the changes that lift the freezes of chargebacks that contest nothing any more."""
    changes: Changes = ()
    for one in payment.chargebacks.values():
        if not one.contested:
            for freeze_id in _open_freezes(order, one):
                changes = (*changes, *unfreeze(order, freeze_id, one.status.value))
    return changes


def new_freezes(order: OrderState, before: PaymentState, after: PaymentState) -> Changes:
    """
    Return the changes that freeze what sellers may lose by what became contested (recipe 15).

    Nothing where the platform bears it, or where a freeze of an earlier stage still holds.
    """
    changes: Changes = ()
    for one in after.chargebacks.values():
        known = before.chargebacks.get(one.chargeback_id, INITIAL)
        is_new = one.contested > 0 and not known.contested
        if not is_new or one.liability is Liability.PLATFORM or _open_freezes(order, one):
            continue
        freeze_id = freeze_id_of(one)
        for seller, amount in _at_stake(order, after, one).items():
            if (freeze_id, seller) not in order.freezes:
                changes = (*changes, *freeze(order, freeze_id, seller, amount, CAUSE))
    return changes


def _at_stake(order: OrderState, payment: PaymentState, one: Chargeback) -> dict[str, int]:
    """Return what each seller would bear were it lost, in the order's currency."""
    covered = payment.captured - payment.refunded - payment.refund_in_flight
    covered -= payment.chargeback_lost + payment.chargeback_open - one.contested
    found: dict[str, int] = {}
    for part in borne_by_sellers(order, payment, max(0, min(one.contested, covered))):
        seller = part.slice_id
        if seller == OVERFLOW:
            continue
        if part.account in (accounts.escrow(order.order_id), accounts.seller(seller)):
            found[seller] = found.get(seller, 0) + payment.in_order_currency(part.amount)
    return {seller: amount for seller, amount in found.items() if amount > 0}


def notes(order: OrderState, payment: PaymentState) -> Changes:
    """Return the changes that tell the order where the payment's chargebacks stand."""
    if not order.exists:
        return ()
    found: list[ChargebackNoted] = []
    for one in payment.chargebacks.values():
        if not one.exists:
            continue
        note = ChargebackNoted(
            chargeback_id=one.chargeback_id,
            payment_id=payment.payment_id,
            stage=one.stage,
            status=one.status,
            contested=payment.in_order_currency(one.contested),
            lost=payment.in_order_currency(one.lost),
            liability=one.liability,
        )
        if order.chargebacks.get((payment.payment_id, one.chargeback_id)) != note:
            found.append(note)
    return tuple([change(order.order_id, note) for note in found])


def reopened(order: OrderState, payment: PaymentState) -> Changes:
    """Return the reopening of a completed order whose money is contested anew."""
    if order.lifecycle is not Lifecycle.COMPLETED:
        return ()
    for one in payment.chargebacks.values():
        known = order.chargebacks.get((payment.payment_id, one.chargeback_id))
        if one.contested and (known is None or not known.contested):
            event = OrderReopened(cause=CAUSE, cause_event=one.chargeback_id)
            return (change(order.order_id, event),)
    return ()
