"""
Process managers of orders, as reactors: from payment to confirmation, from cancellation to voids
and refunds, from release to payout terms, from placing to stock and risk. Pure.

Each issues normal commands, which the domain guards: what is refused is listed with its reason. Ids
that a command needs follow from the position of the event, so that they are the same whenever and
however often the effect is performed.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from orderledger.ledger import order_events as e
from orderledger.ledger import payment_events as pe
from orderledger.ledger import provider_ports as p
from orderledger.ledger.orders import Lifecycle, OrderState
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.payment_state import PaymentState
from orderledger.ledger.tenders import tenders_of

from .decision import Command, States
from .effects import Call, Effect, Execute
from .order_commands import (
    AllocateRefund,
    ConfirmOrder,
    CoverPolicy,
    FinishCancellation,
    ReleaseFunds,
    StockPolicy,
)
from .order_cover import cover
from .payment_commands import RequestRefund
from .process_payments import voids_of
from .reactors import Happened, Reactor


def _order_of(happened: Happened, states: States) -> OrderState:
    """Return the order that an event of an order or payment is about."""
    if happened.kind == "order":
        return states.order(happened.entity_id)
    return states.order(states.payment(happened.entity_id).order_id or "none")


class Confirmation(Reactor):
    """
    Confirms an order once its payments cover what is due and nothing holds it.

    With ``CoverPolicy.CHARGED`` only what is captured counts.
    """

    name = "confirmation"
    topics = frozenset(
        {
            "payment.authorised.v1",
            "payment.captured.v1",
            "payment.authorisation_adjusted.v1",
            "order.value_applied.v1",
            "order.hold_released.v1",
        }
    )

    def __init__(self, policy: CoverPolicy = CoverPolicy.AUTHORISED) -> None:
        self._policy: Final = policy

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the confirmation, if the order is covered at this event."""
        order = _order_of(happened, states)
        if order.lifecycle is not Lifecycle.PLACED or order.holds:
            return ()
        authorised, charged = cover(tenders_of(order, states.payment))
        covered = charged + (authorised if self._policy is CoverPolicy.AUTHORISED else 0)
        if covered < order.due:
            return ()
        return (Execute(ConfirmOrder(order_id=order.order_id, policy=self._policy)),)


_FAILED_VOID: Final = (pe.OperationDeclined, pe.OperationAborted)


class Cancellation(Reactor):
    """
    Carries a cancellation through: voids what is authorised, then finishes it.

    What was captured is granted back by that; ``Refunds`` pays it out. An order that expires has
    its authorisations voided too. A void that the provider declines is left to a person.
    """

    name = "cancellation"
    topics = frozenset(
        {
            "order.cancellation_requested.v1",
            "order.expired.v1",
            "payment.authorised.v1",
            "payment.captured.v1",
            "payment.authorisation_voided.v1",
            "payment.authorisation_expired.v1",
            "payment.operation_declined.v1",
            "payment.operation_aborted.v1",
        }
    )

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the next step of the cancellation that the event belongs to."""
        order = _order_of(happened, states)
        if isinstance(happened.event, e.OrderExpired):
            return [Execute(one) for one in self._voids(order, happened, states)]
        if order.lifecycle is not Lifecycle.CANCELLING or _is_failed_void(happened, states):
            return ()
        tenders = tenders_of(order, states.payment)
        if any(one.charge_in_flight or one.void_in_flight for one in tenders):
            return ()
        voids = self._voids(order, happened, states)
        if voids:
            return [Execute(one) for one in voids]
        refund_id = f"cancel-{happened.position}"
        return (Execute(FinishCancellation(order_id=order.order_id, refund_id=refund_id)),)

    @staticmethod
    def _voids(order: OrderState, happened: Happened, states: States) -> Sequence[Command]:
        return [
            void
            for payment_id in order.payments
            for void in voids_of(states.payment(payment_id), happened.position)
        ]


def _is_failed_void(happened: Happened, states: States) -> bool:
    event = happened.event
    if not isinstance(event, _FAILED_VOID):
        return False
    op = states.payment(happened.entity_id).operations.get(event.op_id)
    return op is not None and op.kind is OperationKind.VOID


class Refunds(Reactor):
    """
    Allocates what is granted, and requests each payment's part of it.

    Parts that are allocated to stored value are left to the shop (``RestoreValue``), and so is what
    fails (``RetryRefund``). ``sources`` are the grants that it pays out.
    """

    name = "refunds"
    topics = frozenset({"order.refund_granted.v1", "order.refund_allocated.v1"})

    def __init__(self, sources: frozenset[e.RefundSource] = frozenset(e.RefundSource)) -> None:
        self._sources: Final = sources

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the allocation of a grant, or the requests of an allocation's parts."""
        order, event = states.order(happened.entity_id), happened.event
        if isinstance(event, e.RefundGranted):
            if event.source not in self._sources or event.currency not in ("", order.currency):
                return ()
            if event.source is e.RefundSource.RULING:
                return ()  # The execution of the ruling allocates it itself.
            command = AllocateRefund(order_id=order.order_id, refund_id=event.refund_id)
            return (Execute(command),)
        assert isinstance(event, e.RefundAllocated)
        grant = order.grants.get(event.refund_id)
        if grant is None or grant.source not in self._sources:
            return ()
        op_id = f"refund-{happened.position}"
        return [
            Execute(_refund(states.payment(part.payment_id), order, event.refund_id, part, op_id))
            for part in event.parts
            if part.payment_id in order.payments
        ]


def _refund(
    payment: PaymentState, order: OrderState, refund_id: str, part: e.PaymentPart, op_id: str
) -> Command:
    amount = part.amount
    if payment.fx is not None:
        exact = Fraction(part.amount * payment.amount, payment.fx.order_amount)
        amount = min(max(1, round(exact)), max(1, payment.refundable))
    return RequestRefund(
        payment_id=payment.payment_id,
        order_id=order.order_id,
        op_id=op_id,
        amount=amount,
        currency=payment.currency,
        refund_id=refund_id,
        order_amount=None if payment.fx is None else part.amount,
    )


class ReleaseTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a seller's release costs; see ``ReleaseFunds``."""

    commission_rate: Decimal
    rate_version: str
    commission_tax_rate: Decimal = Decimal(0)
    commission_tax_jurisdiction: str = ""


class Releases(Reactor):
    """
    Releases a seller's slice once its condition is met, and what comes in for it later.

    ``terms`` are by seller; others have ``default``.
    """

    name = "releases"
    topics = frozenset(
        {
            "order.release_condition_met.v1",
            "order.funds_held.v1",
            "order.funds_unfrozen.v1",
        }
    )

    def __init__(
        self, default: ReleaseTerms, terms: Mapping[str, ReleaseTerms] | None = None
    ) -> None:
        self._default: Final = default
        self._terms: Final = dict(terms or {})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the release of the slice that the event is about, if there is something in it."""
        seller: str = getattr(happened.event, "slice_id", "")
        one = states.order(happened.entity_id).slices.get(seller)
        if not seller or one is None or not one.condition_met or one.available <= 0:
            return ()
        terms = self._terms.get(seller, self._default)
        command = ReleaseFunds(
            order_id=happened.entity_id,
            release_id=f"release-{happened.position}",
            seller=seller,
            commission_rate=terms.commission_rate,
            rate_version=terms.rate_version,
            commission_tax_rate=terms.commission_tax_rate,
            commission_tax_jurisdiction=terms.commission_tax_jurisdiction,
        )
        return (Execute(command),)


class Stock(Reactor):
    """Reserves the units of an order that is placed, and gives up those of one that is over."""

    name = "stock"
    topics = frozenset({"order.placed.v1", "order.cancelled.v1", "order.expired.v1"})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return a request to the inventory per line, or per reservation."""
        event = happened.event
        if isinstance(event, e.OrderCancelled | e.OrderExpired):
            return [
                Call(p.ReleaseStock(order_id=happened.entity_id, reservation_id=one))
                for one in event.released_reservations
            ]
        assert isinstance(event, e.OrderPlaced)
        if event.stock_policy == StockPolicy.UNTRACKED.value:
            return ()
        reserved = {one.line_id for one in states.order(event.order_id).reservations.values()}
        return [
            Call(
                p.ReserveStock(
                    order_id=event.order_id,
                    line_id=line.line_id,
                    sku=line.sku,
                    quantity=line.quantity,
                    reservation_id=f"stock-{happened.position}-{number}",
                    until=event.payment_due_at,
                )
            )
            for number, line in enumerate(event.lines)
            if line.line_id not in reserved
        ]


class Risk(Reactor):
    """Has every order judged when it is placed; one that is suspicious is held."""

    name = "risk"
    topics = frozenset({"order.placed.v1"})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the request to the risk assessment."""
        event = happened.event
        assert isinstance(event, e.OrderPlaced)
        request = p.AssessOrder(
            order_id=event.order_id,
            buyer_ref=event.buyer_ref,
            amount=event.totals.grand,
            currency=event.currency,
        )
        return (Call(request),)
