"""
The order: its state as folded from its stream, and which event leads from where to where.

What happens to single lines, grants and slices is in ``order_lines``, ``order_refunds``,
``order_escrow`` and ``escrow_folds``; here they are put together.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from . import escrow_folds, order_disputes, order_lines, order_refunds
from . import order_events as e
from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .events import Event
from .freezes import Freezes
from .order_chargebacks import ChargebackNoted, NotedChargebacks, noted
from .order_content import (
    DEFAULT_TERMS,
    ChangeAction,
    OrderLine,
    OrderTerms,
    ShippingCharge,
    StockReservation,
    Surcharge,
    Tip,
    Totals,
)
from .order_escrow import Escrowed, Recovered, Slice
from .order_lines import LineState
from .order_refunds import Grant, GrantStatus
from .ruling_events import ArbitrationFeeTaken, RefundGrantReduced


class Lifecycle(StrEnum):
    """The lifecycle axis of an order; payment, refund and fulfilment are axes of their own."""

    NONE = "none"
    DRAFT = "draft"
    PLACED = "placed"
    CONFIRMED = "confirmed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    COMPLETED = "completed"


ENDED: Final = frozenset({Lifecycle.CANCELLED, Lifecycle.EXPIRED, Lifecycle.REJECTED})
"""Lifecycles in which nothing is due any more."""
ACTIVE: Final = frozenset({Lifecycle.PLACED, Lifecycle.CONFIRMED})
"""Lifecycles in which an order takes payments and changes."""

NO_TOTALS: Final = Totals(0, 0, 0, 0, 0, 0, 0)


class OpenChange(msgspec.Struct, frozen=True):
    """A proposed change that waits for an answer."""

    change_id: str
    base_version: int
    actions: tuple[ChangeAction, ...]
    delta: int


class OrderState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    An order folded from its stream. Amounts in minor units of ``currency``.

    ``version`` is the version of the content (1 when placed, +1 per confirmed change, cancelled
    line or split), not of the stream. ``payments`` maps linked payments to the amount they were
    initiated for; what they captured is in the payments' own streams.
    """

    lifecycle: Lifecycle = Lifecycle.NONE
    order_id: str = ""
    buyer_ref: str = ""
    channel: str = ""
    currency: str = ""
    lines: Mapping[str, LineState] = {}
    shipping: tuple[ShippingCharge, ...] = ()
    surcharges: tuple[Surcharge, ...] = ()
    tips: tuple[Tip, ...] = ()
    totals: Totals = NO_TOTALS
    version: int = 0
    quote_id: str = ""
    quoted_at: datetime | None = None
    valid_until: datetime | None = None
    payment_due_at: datetime | None = None
    address_ref: str = ""
    reason: str = ""
    ended_by: str = ""
    holds: tuple[str, ...] = ()
    open_change: OpenChange | None = None
    closed_changes: Mapping[str, str] = {}
    payments: Mapping[str, int] = {}
    tenders: Mapping[str, str] = {}
    redeemed: Mapping[str, int] = {}
    redeemed_returned: Mapping[str, int] = {}
    grants: Mapping[str, Grant] = {}
    goodwill: Mapping[str, int] = {}
    reservations: Mapping[str, StockReservation] = {}
    slices: Mapping[str, Slice] = {}
    escrowed: Mapping[str, Escrowed] = {}
    releases: Mapping[str, e.FundsReleased] = {}
    recovered: Recovered = {}
    freezes: Freezes = {}
    chargebacks: NotedChargebacks = {}
    fees: Mapping[str, ArbitrationFeeTaken] = {}
    late_ops: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    split_from: str = ""
    terms: OrderTerms = DEFAULT_TERMS
    anomalies: tuple[str, ...] = ()
    disputes: order_disputes.Disputes = {}

    @property
    def exists(self) -> bool:
        """The order was drafted, placed or rejected."""
        return self.lifecycle is not Lifecycle.NONE

    @property
    def accepts_payment(self) -> bool:
        """A payment may be initiated for it."""
        return self.lifecycle in ACTIVE

    @property
    def total(self) -> int:
        """What the buyer pays for the live content: the grand total."""
        return self.totals.grand

    @property
    def granted(self) -> int:
        """Σ totals of the grants that were not withdrawn."""
        return sum([grant.total for grant in self.grants.values() if grant.is_live])

    @property
    def granted_lowering_due(self) -> int:
        """Σ totals of live grants that lower what is due; see ``SURPLUS_SOURCES``."""
        return sum([g.total for g in self.grants.values() if g.is_live and g.lowers_due])

    @property
    def due(self) -> int:
        """What the buyer owes in all, paid or not: 0 for an order that is over."""
        if self.lifecycle in ENDED:
            return 0
        return max(0, self.totals.grand - self.granted_lowering_due)

    @property
    def refund_outstanding(self) -> int:
        """Σ of live grants that has not reached the buyer."""
        return sum([grant.outstanding for grant in self.grants.values()])

    @property
    def settled_externally(self) -> int:
        """Σ that reached the buyer outside the payments."""
        return sum([grant.settled_externally for grant in self.grants.values()])

    @property
    def goodwill_approved(self) -> int:
        """What may be granted beyond what was charged."""
        return sum(self.goodwill.values())

    @property
    def released(self) -> int:
        """Σ released from escrow."""
        return sum([one.released for one in self.slices.values()])

    @property
    def escrow_held(self) -> int:
        """Σ that the slices hold now: the balance of the order's escrow account."""
        return sum([one.available for one in self.slices.values()])

    def slice_of(self, slice_id: str) -> Slice:
        """Return a slice of the escrow, an empty one where nothing has come in yet."""
        return self.slices.get(slice_id) or Slice(slice_id)


INITIAL: Final = OrderState()

TRANSITIONS: Final[Mapping[type[Event], tuple[frozenset[Lifecycle], Lifecycle]]] = {
    e.OrderDrafted: (frozenset({Lifecycle.NONE}), Lifecycle.DRAFT),
    e.OrderPlaced: (frozenset({Lifecycle.NONE, Lifecycle.DRAFT}), Lifecycle.PLACED),
    e.OrderRejected: (frozenset({Lifecycle.NONE, Lifecycle.DRAFT}), Lifecycle.REJECTED),
    e.OrderConfirmed: (frozenset({Lifecycle.PLACED}), Lifecycle.CONFIRMED),
    e.OrderExpired: (frozenset({Lifecycle.PLACED}), Lifecycle.EXPIRED),
    e.OrderCancellationRequested: (
        frozenset({Lifecycle.DRAFT, Lifecycle.PLACED, Lifecycle.CONFIRMED}),
        Lifecycle.CANCELLING,
    ),
    e.OrderCancelled: (frozenset({Lifecycle.CANCELLING}), Lifecycle.CANCELLED),
    e.OrderCompleted: (frozenset({Lifecycle.CONFIRMED}), Lifecycle.COMPLETED),
    e.OrderReopened: (frozenset({Lifecycle.COMPLETED}), Lifecycle.CONFIRMED),
    e.OrderReinstated: (
        frozenset({Lifecycle.CANCELLED, Lifecycle.EXPIRED}),
        Lifecycle.PLACED,
    ),
}
"""Event → where a command may cause it, and where it leads. An observation leads there too."""


def _drafted(state: OrderState, event: e.OrderDrafted) -> OrderState:
    return replace(
        state,
        lifecycle=Lifecycle.DRAFT,
        order_id=event.order_id,
        buyer_ref=event.buyer_ref,
        channel=event.channel,
        currency=event.currency,
        quote_id=event.quote_id,
        quoted_at=event.quoted_at,
        valid_until=event.valid_until,
        lines={line.line_id: order_lines.new_line(line) for line in event.lines},
        grants=_grants_in(state, event.currency),
    )


def _grants_in(state: OrderState, currency: str) -> Mapping[str, Grant]:
    """Return the grants recorded before the order's currency was known, if they are in it."""
    return state.grants if state.currency in ("", currency) else {}


def _line_added(state: OrderState, event: e.OrderLineAdded) -> OrderState:
    added = {event.line.line_id: order_lines.new_line(event.line)}
    return replace(state, lines={**state.lines, **added})


def _price_change_accepted(state: OrderState, event: e.PriceChangeAccepted) -> OrderState:
    repriced = {line.line_id: order_lines.new_line(line) for line in event.lines}
    return replace(
        state,
        quote_id=event.new_quote_id,
        quoted_at=event.quoted_at,
        valid_until=event.valid_until,
        lines={**state.lines, **repriced},
    )


def _placed(state: OrderState, event: e.OrderPlaced) -> OrderState:
    return OrderState(
        lifecycle=Lifecycle.PLACED,
        order_id=event.order_id,
        buyer_ref=event.buyer_ref,
        channel=event.channel,
        currency=event.currency,
        lines={line.line_id: LineState(line, line) for line in event.lines},
        shipping=event.shipping,
        surcharges=event.surcharges,
        tips=event.tips,
        totals=event.totals,
        version=1,
        quote_id=event.quote_id,
        quoted_at=event.quoted_at,
        valid_until=event.valid_until,
        payment_due_at=event.payment_due_at,
        address_ref=event.address_ref,
        holds=state.holds,
        payments=state.payments,
        tenders=state.tenders,
        chargebacks=state.chargebacks,
        redeemed=state.redeemed,
        grants=_grants_in(state, event.currency),
        late_ops=state.late_ops,
        reservations=state.reservations,
        split_from=event.split_from,
        terms=event.terms,
        anomalies=state.anomalies,
    )


def _rejected(state: OrderState, event: e.OrderRejected) -> OrderState:
    return replace(
        state, lifecycle=Lifecycle.REJECTED, order_id=event.order_id, reason=event.reason
    )


def _held(state: OrderState, event: e.OrderHeld) -> OrderState:
    if event.rule_id in state.holds:
        return state
    return replace(state, holds=(*state.holds, event.rule_id))


def _hold_released(state: OrderState, event: e.OrderHoldReleased) -> OrderState:
    return replace(state, holds=tuple([hold for hold in state.holds if hold != event.rule_id]))


def _expired(state: OrderState, event: e.OrderExpired) -> OrderState:
    return replace(
        state,
        lifecycle=Lifecycle.EXPIRED,
        reason="expired",
        open_change=None,
        reservations=_without(state.reservations, event.released_reservations),
    )


def _cancellation_requested(state: OrderState, event: e.OrderCancellationRequested) -> OrderState:
    return replace(
        state,
        lifecycle=Lifecycle.CANCELLING,
        reason=event.reason,
        ended_by=event.by,
        open_change=None,
    )


def _cancelled(state: OrderState, event: e.OrderCancelled) -> OrderState:
    return replace(
        state,
        lifecycle=Lifecycle.CANCELLED,
        reason=event.reason,
        ended_by=event.by,
        open_change=None,
        reservations=_without(state.reservations, event.released_reservations),
    )


def _change_proposed(state: OrderState, event: e.OrderChangeProposed) -> OrderState:
    change = OpenChange(event.change_id, event.base_version, event.actions, event.delta)
    return replace(state, open_change=change)


def _change_confirmed(state: OrderState, event: e.OrderChangeConfirmed) -> OrderState:
    lines = {line_id: line for line_id, line in state.lines.items() if line_id not in event.removed}
    for line in event.lines:
        lines[line.line_id] = _rebased(lines.get(line.line_id), line)
    for moved in event.written_off:
        if moved.line_id in lines:
            lines[moved.line_id] = order_lines.write_off(lines[moved.line_id], moved.quantity)
    for moved in event.reinstated:
        if moved.line_id in lines:
            lines[moved.line_id] = order_lines.write_off(lines[moved.line_id], -moved.quantity)
    return replace(
        state,
        lines=lines,
        shipping=event.shipping,
        surcharges=event.surcharges,
        totals=event.totals,
        version=event.new_version,
        open_change=None,
        closed_changes={**state.closed_changes, event.change_id: "confirmed"},
    )


def _rebased(before: LineState | None, line: OrderLine) -> LineState:
    if before is None:
        return order_lines.new_line(line)
    return replace(before, line=line, base=line)


def _change_declined(state: OrderState, event: e.OrderChangeDeclined) -> OrderState:
    closed = {**state.closed_changes, event.change_id: "declined"}
    return replace(state, open_change=None, closed_changes=closed)


def _change_cancelled(state: OrderState, event: e.OrderChangeCancelled) -> OrderState:
    closed = {**state.closed_changes, event.change_id: "cancelled"}
    return replace(state, open_change=None, closed_changes=closed)


def _line_cancelled(state: OrderState, event: e.OrderLineCancelled) -> OrderState:
    before = state.lines.get(event.line_id)
    if before is None:
        return state
    after = replace(before, line=event.line, cancelled=before.cancelled + event.quantity)
    return replace(
        state,
        lines={**state.lines, event.line_id: after},
        totals=event.totals,
        version=event.new_version,
        shipping=state.shipping if event.shipping is None else event.shipping,
    )


def _split(state: OrderState, event: e.OrderSplit) -> OrderState:
    lines = dict(state.lines)
    for moved in event.moved:
        lines.pop(moved.line_id, None)
    for line in event.lines:
        lines[line.line_id] = _rebased(state.lines.get(line.line_id), line)
    return replace(
        state,
        lines=lines,
        totals=event.totals,
        version=event.new_version,
        splits=(*state.splits, event.new_order_id),
    )


def _address_set(state: OrderState, event: e.OrderAddressSet) -> OrderState:
    return replace(state, address_ref=event.address_ref)


def _completed(state: OrderState, _event: e.OrderCompleted) -> OrderState:
    return replace(state, lifecycle=Lifecycle.COMPLETED)


def _reopened(state: OrderState, _event: e.OrderReopened) -> OrderState:
    return replace(state, lifecycle=Lifecycle.CONFIRMED)


def _reinstated(state: OrderState, _event: e.OrderReinstated) -> OrderState:
    return replace(state, lifecycle=Lifecycle.PLACED, reason="", ended_by="")


def _unchanged(state: OrderState, _event: Event) -> OrderState:
    return state


def _goodwill_recorded(state: OrderState, event: e.GoodwillRecorded) -> OrderState:
    return replace(state, goodwill={**state.goodwill, event.goodwill_id: event.amount})


def _stock_reserved(state: OrderState, event: e.StockReserved) -> OrderState:
    added = {event.reservation.reservation_id: event.reservation}
    return replace(state, reservations={**state.reservations, **added})


def _stock_released(state: OrderState, event: e.StockReleased) -> OrderState:
    return replace(state, reservations=_without(state.reservations, (event.reservation_id,)))


def _late_payment(state: OrderState, event: e.LatePaymentDetected) -> OrderState:
    if event.op_id in state.late_ops:
        return state
    return replace(state, late_ops=(*state.late_ops, event.op_id))


def _payment_linked(state: OrderState, event: e.PaymentLinked) -> OrderState:
    return replace(
        state,
        payments={**state.payments, event.payment_id: event.amount},
        tenders={**state.tenders, event.payment_id: event.tender},
    )


def _value_applied(state: OrderState, event: e.ValueApplied) -> OrderState:
    before = state.redeemed.get(event.redemption_id, 0)
    redeemed = {**state.redeemed, event.redemption_id: before + event.amount}
    tenders = {**state.tenders, event.redemption_id: event.tender}
    return replace(state, redeemed=redeemed, tenders=tenders)


def _value_returned(state: OrderState, event: e.ValueReturned) -> OrderState:
    before = state.redeemed_returned.get(event.redemption_id, 0)
    returned = {**state.redeemed_returned, event.redemption_id: before + event.amount}
    return replace(state, redeemed_returned=returned)


def _lines_moved(state: OrderState, event: e.OrderLinesMoved) -> OrderState:
    move = order_lines.MOVES[event.kind]
    lines = dict(state.lines)
    for moved in event.lines:
        line = lines.get(moved.line_id)
        if line is not None:
            lines[moved.line_id] = move(line, moved.quantity)
    return replace(state, lines=lines)


def _refund_granted(state: OrderState, event: e.RefundGranted) -> OrderState:
    if event.refund_id in state.grants:
        return state
    if event.currency:
        if state.currency not in ("", event.currency):
            # Amounts of two currencies do not add up; the anomaly beside the event keeps it known.
            return state
        state = replace(state, currency=event.currency)
    grants = {**state.grants, event.refund_id: order_refunds.new_grant(event)}
    if not event.lines:
        return replace(state, grants=grants)
    return replace(state, grants=grants, lines=_with_grant(state, event.lines, 1))


def _grant_withdrawn(state: OrderState, event: e.RefundGrantWithdrawn) -> OrderState:
    grant = state.grants.get(event.refund_id)
    if grant is None or not grant.is_live:
        return state
    withdrawn = replace(grant, status=GrantStatus.WITHDRAWN, allocations={})
    return replace(
        state,
        grants={**state.grants, event.refund_id: withdrawn},
        lines=_with_grant(state, grant.lines, -1),
    )


def _grant_reduced(state: OrderState, event: RefundGrantReduced) -> OrderState:
    grant = state.grants.get(event.refund_id)
    if grant is None or not grant.is_live:
        return state
    state = replace(state, lines=_with_grant(state, grant.lines, -1))
    after = order_refunds.reduced(grant, event)
    return replace(
        state,
        grants={**state.grants, event.refund_id: after},
        lines=_with_grant(state, event.lines, 1),
    )


def _with_grant(
    state: OrderState, parts: tuple[e.RefundLine, ...], sign: int
) -> Mapping[str, LineState]:
    lines = dict(state.lines)
    for part in parts:
        line = lines.get(part.line_id)
        if line is not None:
            lines[part.line_id] = order_lines.granted(line, part, sign)
    return lines


def _on_grant(
    change: Callable[[Grant, Any], Grant],
) -> Callable[[OrderState, Any], OrderState]:
    def evolve(state: OrderState, event: Any) -> OrderState:
        grant = state.grants.get(event.refund_id)
        if grant is None:
            return state
        return replace(state, grants={**state.grants, event.refund_id: change(grant, event)})

    return evolve


def _chargeback_noted(state: OrderState, event: ChargebackNoted) -> OrderState:
    return replace(state, chargebacks=noted(state.chargebacks, event))


def _anomaly(state: OrderState, event: AnomalyRaised | AnomalyResolved) -> OrderState:
    return replace(state, anomalies=open_anomalies(state.anomalies, event))


def _without(
    before: Mapping[str, StockReservation], ids: tuple[str, ...]
) -> Mapping[str, StockReservation]:
    return {key: value for key, value in before.items() if key not in ids} if ids else before


EVOLVE: Final[Mapping[type[Event], Callable[[OrderState, Any], OrderState]]] = {
    e.OrderDrafted: _drafted,
    e.OrderLineAdded: _line_added,
    e.OrderAddressSet: _address_set,
    e.PriceChangeAccepted: _price_change_accepted,
    e.OrderPlaced: _placed,
    e.OrderRejected: _rejected,
    e.OrderHeld: _held,
    e.OrderHoldReleased: _hold_released,
    e.OrderConfirmed: lambda state, _event: replace(state, lifecycle=Lifecycle.CONFIRMED),
    e.OrderExpired: _expired,
    e.OrderCancellationRequested: _cancellation_requested,
    e.OrderCancelled: _cancelled,
    e.OrderChangeProposed: _change_proposed,
    e.OrderChangeConfirmed: _change_confirmed,
    e.OrderChangeDeclined: _change_declined,
    e.OrderChangeCancelled: _change_cancelled,
    e.OrderLineCancelled: _line_cancelled,
    e.OrderSplit: _split,
    e.OrderCompleted: _completed,
    e.OrderReopened: _reopened,
    e.OrderReinstated: _reinstated,
    e.OrderNoted: _unchanged,
    e.GoodwillRecorded: _goodwill_recorded,
    e.StockReserved: _stock_reserved,
    e.StockReleased: _stock_released,
    e.StockReservationFailed: _unchanged,
    e.LatePaymentDetected: _late_payment,
    e.PaymentLinked: _payment_linked,
    e.ValueApplied: _value_applied,
    e.ValueReturned: _value_returned,
    e.OrderLinesMoved: _lines_moved,
    e.RefundGranted: _refund_granted,
    RefundGrantReduced: _grant_reduced,
    e.RefundAllocated: _on_grant(order_refunds.allocated),
    e.RefundGrantWithdrawn: _grant_withdrawn,
    e.RefundSettled: _on_grant(order_refunds.settled),
    e.RefundFailed: _on_grant(order_refunds.failed),
    e.RefundSettledExternally: _on_grant(order_refunds.settled_externally),
    e.RefundRoutedAsVoid: _on_grant(order_refunds.settled),
    **escrow_folds.EVOLVE,
    ChargebackNoted: _chargeback_noted,
    **order_disputes.EVOLVE,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
"""One function per event of the stream: ``EVOLVE[type(event)](state, event)``."""
