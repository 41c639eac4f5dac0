"""
The changes of what is reported of a payment, as they come about, and what follows from them.
"""

from collections.abc import Iterable
from typing import Final

from orderledger.ledger import recipes_chargeback, streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.chargeback_events import OfChargeback
from orderledger.ledger.events import Event
from orderledger.ledger.journal import EMPTY, Entry, Layer
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import EVOLVE, PaymentState
from orderledger.ledger.recipes_payment import between

from .chargeback_follow import credits_to_attach, ended_freezes, new_freezes, notes, reopened
from .chargeback_losses import loss_assignments
from .decision import Change, Changes, States
from .escrow_follow import follow_payment
from .freezing import settled_freezes
from .order_guards import after as after_events


class PaymentRecord:
    """Events of a payment and of its order, each on the state that the ones before left."""

    def __init__(self, states: States, state: PaymentState) -> None:
        self.states: Final = states
        self.state = state
        self.changes: list[Change] = []

    def add(self, event: Event, *op_ids: str) -> None:
        """Append an event to the payment's stream with what it posts."""
        before, self.state = self.state, EVOLVE[type(event)](self.state, event)
        entry = between(before, self.state, *op_ids) if op_ids else EMPTY
        if isinstance(event, OfChargeback):
            entry = recipes_chargeback.between(before, self.state, event.chargeback_id)
        self.changes.append(Change(streams.payment(before.payment_id), event, entry))

    def add_to_order(self, event: Event) -> None:
        self.changes.append(Change(streams.order(self.state.order_id), event))

    def anomaly(
        self, kind: AnomalyKind, *refs: str, detail: str = "", severity: str = "warning"
    ) -> None:
        """Raise an anomaly, unless the same is open."""
        event = AnomalyRaised(kind=kind, refs=refs, severity=severity, detail=detail)
        if event.key not in self.state.anomalies:
            self.add(event)


def finished(record: PaymentRecord, before: PaymentState, interrupted: Changes = ()) -> Changes:
    """
    Return the changes of a report, with the breaches it made, who bears what is lost by
    chargebacks, and what the order's escrow does. ``interrupted``: what it made of disputes.
    """
    observe_breaches(record, before)
    if record.state.chargebacks:
        return _with_chargebacks(record, before, interrupted)
    after = record.state
    if not after.order_id or not any(_is_posted(change.entry) for change in record.changes):
        return tuple(record.changes)
    order = record.states.order(after.order_id)
    follows = follow_payment(order, after.payment_id, after)
    later = _observe_order(record, order, follows)
    return (*record.changes, *follows, *settled_freezes(later))


def _with_chargebacks(record: PaymentRecord, before: PaymentState, interrupted: Changes) -> Changes:
    """
    Return the changes of a report about a payment with chargebacks.

    A freeze ends before the loss is assigned, so that it falls on what was frozen; what is frozen
    anew is what is left after that.
    """
    if not record.changes:
        return ()
    for event in credits_to_attach(record.state):
        record.add(event)
    after = record.state
    order = record.states.order(after.order_id) if after.order_id else OrderState()
    record.changes.extend(interrupted)
    current = _later(after, order, interrupted)
    lifted = ended_freezes(current, after)
    record.changes.extend(lifted)
    current = _later(after, current, lifted)
    for assigned in loss_assignments(current, after):
        record.add(assigned)
    after = record.state
    follows = follow_payment(current, after.payment_id, after)
    current = _observe_order(record, order, follows)
    settled = settled_freezes(current)
    current = _later(after, current, settled)
    rest = [
        *settled,
        *new_freezes(current, before, after),
        *notes(order, after),
        *reopened(order, after),
    ]
    return (*record.changes, *follows, *rest)


def _later(payment: PaymentState, order: OrderState, changes: Iterable[Change]) -> OrderState:
    """Return a payment's order after those of the changes that are in its stream."""
    own = streams.order(payment.order_id) if payment.order_id else ""
    return after_events(order, *[one.event for one in changes if one.stream == own])


def _observe_order(record: PaymentRecord, order: OrderState, follows: Changes) -> OrderState:
    """
    Return the order as it is then. A debt of escrow, or a grant paid beyond its total, that a
    report made is an anomaly.
    """
    if not record.state.order_id:
        return order
    later = _later(record.state, order, (*record.changes, *follows))
    if later.escrow_held < min(0, order.escrow_held):
        detail = f"escrow of order {order.order_id} is at {later.escrow_held} {later.currency}"
        record.anomaly(
            AnomalyKind.ESCROW_OVERDRAWN, order.order_id, detail=detail, severity="error"
        )
    for refund_id, grant in later.grants.items():
        before = order.grants[refund_id].settled_total if refund_id in order.grants else 0
        if grant.settled_total > max(grant.total, before):
            detail = f"{grant.settled_total} of {grant.total} {later.currency} reached the buyer"
            record.anomaly(
                AnomalyKind.REFUND_BEYOND_GRANT, refund_id, detail=detail, severity="error"
            )
    return later


def _is_posted(entry: Entry) -> bool:
    """Whether an entry has more than a hold; its posted legs come first."""
    return bool(entry.postings) and entry.postings[0].layer is Layer.POSTED


def observe_breaches(record: PaymentRecord, before: PaymentState) -> None:
    """A bound that a report broke, or broke further, is one open anomaly each."""
    after = record.state
    exposure, over_captured = after.exposure, after.over_captured
    if exposure and exposure > before.exposure:
        detail = f"{exposure} {after.currency} minor units beyond what was captured"
        charged_back = after.chargeback_open + after.chargeback_lost
        refunded = after.refunded + after.refund_in_flight
        if charged_back and refunded:
            detail += f"; possible double payment: {refunded} refunded, {charged_back} charged back"
        record.anomaly(AnomalyKind.EXPOSURE, after.payment_id, detail=detail, severity="error")
    if over_captured and over_captured > before.over_captured:
        detail = f"{over_captured} {after.currency} minor units beyond what was authorised"
        record.anomaly(AnomalyKind.OVER_CAPTURE, after.payment_id, detail=detail, severity="error")
