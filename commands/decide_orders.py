"""
Decisions on placing an order: draft, lines, quote, totals, stock and the buyer's cap.
"""

from collections.abc import Sequence
from datetime import datetime

from orderledger.ledger import limits
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.order_content import (
    WAIT_HOURS_MAX,
    OrderLine,
    OrderTerms,
    StockReservation,
)
from orderledger.ledger.order_events import (
    OrderAddressSet,
    OrderDrafted,
    OrderLineAdded,
    OrderNoted,
    OrderPlaced,
    OrderRejected,
    PriceChangeAccepted,
    StockReserved,
)
from orderledger.ledger.order_totals import allocate_discounts, gross, is_sound, priced, totals_of
from orderledger.ledger.orders import ACTIVE, Lifecycle, OrderState

from . import order_guards as guards
from .decision import Changes, States, decides
from .order_commands import (
    AcceptPriceChange,
    AddLine,
    AddNote,
    CreateOrder,
    PlaceOrder,
    RejectOrder,
    SetAddress,
    StockPolicy,
)

_DRAFT = frozenset({Lifecycle.DRAFT})


@decides(CreateOrder)
def create_order(command: CreateOrder, states: States, now: datetime) -> Changes:
    """Draft an order; raises if the id is taken or a line's parts exceed it."""
    exponent(command.currency)
    _check_lines(command)
    order = states.order(command.order_id)
    event = OrderDrafted(
        order_id=command.order_id,
        buyer_ref=command.buyer_ref,
        channel=command.channel,
        currency=command.currency,
        quote_id=command.quote_id,
        quoted_at=command.quoted_at,
        valid_until=command.valid_until,
        lines=_priced(command, command.currency),
    )
    if order.exists:
        if order.lifecycle is Lifecycle.DRAFT and guards.after(_fresh(order), event) == order:
            return ()
        raise _taken(order)
    return (
        guards.change(command.order_id, event),
        *_foreign_grants(command.order_id, order, command.currency),
    )


def _fresh(order: OrderState) -> OrderState:
    return OrderState(
        anomalies=order.anomalies, reservations=order.reservations, grants=order.grants
    )


def _foreign_grants(order_id: str, order: OrderState, currency: str) -> Changes:
    """
    Return an anomaly for each grant that was recorded in another currency than the order gets.

    Such a grant leaves the order's state: amounts of two currencies do not add up.
    """
    if order.exists or order.currency in ("", currency):
        return ()
    return tuple(
        [
            guards.change(
                order_id,
                AnomalyRaised(kind=guards.FOREIGN_REFUND, refs=(refund_id, order.currency)),
            )
            for refund_id in order.grants
        ]
    )


@decides(AddLine)
def add_line(command: AddLine, states: States, now: datetime) -> Changes:
    """Add a line to a draft; the same line again changes nothing."""
    guards.check_line(command.line)
    order = guards.existing(states, command.order_id)
    guards.require(order, "add a line", _DRAFT)
    line = _sound(priced(command.line, order.currency))
    before = order.lines.get(line.line_id)
    if before is not None:
        if before.line == line:
            return ()
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {order.order_id} already has another line {line.line_id}",
            order_id=order.order_id,
            line_id=line.line_id,
        )
    limits.check_count("lines of an order", len(order.lines) + 1, limits.ORDER_LINES_MAX)
    return (guards.change(command.order_id, OrderLineAdded(line=line)),)


@decides(SetAddress)
def set_address(command: SetAddress, states: States, now: datetime) -> Changes:
    """Set the reference of the address while nothing was shipped."""
    guards.check_text("address_ref", command.address_ref)
    order = guards.existing(states, command.order_id)
    guards.require(order, "set the address", _DRAFT | ACTIVE)
    if order.address_ref == command.address_ref:
        return ()
    if any(line.shipped for line in order.lines.values()):
        raise Rejected(
            Reason.WRONG_STATE,
            f"parts of order {order.order_id} were shipped to the address it has",
            order_id=order.order_id,
        )
    return (guards.change(command.order_id, OrderAddressSet(address_ref=command.address_ref)),)


@decides(AcceptPriceChange)
def accept_price_change(command: AcceptPriceChange, states: States, now: datetime) -> Changes:
    """Move a draft to a new quote; raises QUOTE_MISMATCH if the old one is not the draft's."""
    _check_lines(command)
    order = guards.existing(states, command.order_id)
    guards.require(order, "accept a price change", _DRAFT)
    if order.quote_id == command.new_quote_id:
        return ()
    if order.quote_id != command.old_quote_id:
        raise _quote_mismatch(order, command.old_quote_id)
    lines = _priced(command, order.currency)
    for line in lines:
        if line.line_id not in order.lines:
            raise guards.unknown_line(order, line.line_id)
    before = sum([order.lines[line.line_id].charged for line in lines])
    event = PriceChangeAccepted(
        old_quote_id=command.old_quote_id,
        new_quote_id=command.new_quote_id,
        delta=sum([line.charged for line in lines]) - before,
        lines=lines,
        quoted_at=command.quoted_at,
        valid_until=command.valid_until,
    )
    return (guards.change(command.order_id, event),)


@decides(RejectOrder)
def reject_order(command: RejectOrder, states: States, now: datetime) -> Changes:
    """Refuse an order that was not placed, drafted or not; rejected already is no news."""
    guards.check_text("reason", command.reason)
    order = states.order(command.order_id)
    if order.lifecycle is Lifecycle.REJECTED:
        return ()
    guards.require_for(order, "reject it", OrderRejected)
    event = OrderRejected(order_id=command.order_id, reason=command.reason)
    return (guards.change(command.order_id, event),)


@decides(AddNote)
def add_note(command: AddNote, states: States, now: datetime) -> Changes:
    """Attach a note to an order in any state."""
    guards.check_text("note_ref", command.note_ref)
    guards.existing(states, command.order_id)
    event = OrderNoted(note_ref=command.note_ref, by=command.by)
    return (guards.change(command.order_id, event),)


@decides(PlaceOrder)
def place_order(command: PlaceOrder, states: States, now: datetime) -> Changes:
    """
    Place an order from its draft or from nothing.

    Refused in this order: ALREADY_EXISTS, CURRENCY_MISMATCH, QUOTE_MISMATCH, QUOTE_EXPIRED,
    EMPTY_ORDER, AMOUNT_EXCEEDS_AVAILABLE (a discount above the lines), TOTALS_DO_NOT_ADD_UP,
    QUANTITY_EXCEEDS_AVAILABLE (stock), BUYER_CAP_EXCEEDED.
    """
    order = states.order(command.order_id)
    is_draft = order.lifecycle is Lifecycle.DRAFT
    _check_place(command, is_draft=is_draft)
    event = _placed(command, order, is_draft=is_draft)
    if order.exists and not is_draft:
        if _is_outcome(order, event):
            return ()
        raise _taken(order)
    _check_quote(command, order, command.occurred_at or now, is_draft=is_draft)
    _check_content(command, event)
    _check_stock(command, order, event.lines)
    _check_cap(command, event.totals.grand)
    placed = guards.change(command.order_id, event)
    foreign = _foreign_grants(command.order_id, order, event.currency)
    if not command.reservations:
        return (placed, *foreign)
    reserved = [
        guards.change(command.order_id, StockReserved(reservation=one))
        for one in command.reservations
        if order.reservations.get(one.reservation_id) != one
    ]
    return (placed, *foreign, *reserved)


def _check_place(command: PlaceOrder, *, is_draft: bool) -> None:
    _check_lines(command)
    if not is_draft or command.currency:
        exponent(command.currency)
    for what, parts in (
        ("shipping charges", command.shipping),
        ("order discounts", command.discounts),
        ("surcharges", command.surcharges),
        ("tips", command.tips),
        ("reservations", command.reservations),
    ):
        if len(parts) > limits.ORDER_PARTS_MAX:
            limits.check_count(what, len(parts), limits.ORDER_PARTS_MAX)
    for charge in command.shipping:
        guards.check_shipping(charge)
    if command.shipping:
        guards.check_unique("shipping_id", [one.shipping_id for one in command.shipping])
    if command.discounts:
        guards.check_discounts(command.discounts)
    for fee in command.surcharges:
        guards.check_id("surcharge_id", fee.surcharge_id)
        guards.check_id("seller", fee.seller)
        guards.check_amount(f"surcharge {fee.surcharge_id}", fee.amount)
    for tip in command.tips:
        guards.check_id("seller", tip.seller)
        guards.check_amount(f"tip of {tip.seller}", tip.amount)
    for reservation in command.reservations:
        guards.check_quantity(f"reservation {reservation.reservation_id}", reservation.quantity)
    _check_terms(command.terms)
    if command.buyer_cap is not None:
        guards.check_amount("buyer cap", command.buyer_cap.limit, minimum=0)
        guards.check_amount("used of the buyer cap", command.buyer_cap.used, minimum=0)


def _check_terms(terms: OrderTerms) -> None:
    for name, hours in terms.waits.items():
        if not 0 <= hours <= WAIT_HOURS_MAX:
            raise InvalidCommand(
                f"{name} is {hours}, it must be from 0 to {WAIT_HOURS_MAX}", field=name, value=hours
            )


def _placed(command: PlaceOrder, order: OrderState, *, is_draft: bool) -> OrderPlaced:
    currency = order.currency if is_draft else command.currency
    if is_draft and command.currency not in ("", currency):
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"order {order.order_id} is drafted in {currency}, not in {command.currency}",
            order_id=order.order_id,
            left=currency,
            right=command.currency,
        )
    lines = tuple([priced(line, currency) for line in command.lines])
    if is_draft:
        lines = (*_drafted_lines(order, lines), *lines)
    if command.discounts and lines:
        _check_discounts_fit(command, lines)
        lines = allocate_discounts(lines, command.discounts)
    return OrderPlaced(
        order_id=command.order_id,
        buyer_ref=command.buyer_ref or order.buyer_ref,
        channel=command.channel or order.channel,
        currency=currency,
        lines=lines,
        totals=totals_of(lines, command.shipping, command.surcharges, command.tips),
        shipping=command.shipping,
        surcharges=command.surcharges,
        tips=command.tips,
        quote_id=command.quote_id or order.quote_id,
        quoted_at=command.quoted_at or order.quoted_at,
        valid_until=order.valid_until if is_draft else command.valid_until,
        payment_due_at=command.payment_due_at,
        address_ref=command.address_ref or order.address_ref,
        stock_policy=command.stock_policy.value,
        buyer_cap_check=command.buyer_cap,
        terms=command.terms,
    )


def _drafted_lines(order: OrderState, added: Sequence[OrderLine]) -> list[OrderLine]:
    for line in added:
        if line.line_id in order.lines:
            raise Rejected(
                Reason.ALREADY_EXISTS,
                f"the draft of order {order.order_id} already has a line {line.line_id}",
                order_id=order.order_id,
                line_id=line.line_id,
            )
    return [line.line for line in order.lines.values()]


def _check_discounts_fit(command: PlaceOrder, lines: Sequence[OrderLine]) -> None:
    wanted = sum([discount.amount for discount in command.discounts])
    left = sum([gross(line) for line in lines])
    if wanted > left or any(gross(line) < 0 for line in lines):
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"order discounts of {wanted} exceed the {left} that the lines of order "
            f"{command.order_id} cost",
            order_id=command.order_id,
            amount=wanted,
            available=left,
        )


def _is_outcome(order: OrderState, event: OrderPlaced) -> bool:
    if order.version != 1 or order.lifecycle not in ACTIVE:
        return False
    return (
        tuple([line.line for line in order.lines.values()]) == event.lines
        and order.totals == event.totals
        and order.currency == event.currency
        and order.buyer_ref == event.buyer_ref
        and order.quote_id == event.quote_id
        and order.shipping == event.shipping
    )


def _check_quote(command: PlaceOrder, order: OrderState, at: datetime, *, is_draft: bool) -> None:
    if is_draft and command.quote_id not in ("", order.quote_id):
        raise _quote_mismatch(order, command.quote_id)
    until = order.valid_until if is_draft else command.valid_until
    if until is not None and at > until:
        raise Rejected(
            Reason.QUOTE_EXPIRED,
            f"the quote of order {command.order_id} was valid until {until.isoformat()}; accept "
            "the new prices first",
            order_id=command.order_id,
            valid_until=until.isoformat(),
        )


def _check_content(command: PlaceOrder, event: OrderPlaced) -> None:
    if not event.lines:
        raise Rejected(
            Reason.EMPTY_ORDER,
            f"order {command.order_id} has no line",
            order_id=command.order_id,
        )
    limits.check_count("lines of an order", len(event.lines), limits.ORDER_LINES_MAX)
    limits.check_total(f"order {command.order_id}", event.totals.items + event.totals.grand)
    for line in event.lines:
        if line.net < 0:
            _sound(line)
    if command.expected is not None and command.expected != event.totals:
        raise Rejected(
            Reason.TOTALS_DO_NOT_ADD_UP,
            f"order {command.order_id} was expected to cost {command.expected.grand} "
            f"{event.currency} minor units, its content sums to {event.totals.grand}",
            order_id=command.order_id,
            expected=command.expected.grand,
            computed=event.totals.grand,
            differing=[
                name
                for name in command.expected.__struct_fields__
                if getattr(command.expected, name) != getattr(event.totals, name)
            ],
        )


def _check_stock(command: PlaceOrder, order: OrderState, lines: Sequence[OrderLine]) -> None:
    if command.stock_policy is not StockPolicy.RESERVED:
        return
    found: dict[str, StockReservation] = dict(order.reservations)
    found.update({one.reservation_id: one for one in command.reservations})
    reserved: dict[str, int] = {}
    for one in found.values():
        reserved[one.line_id] = reserved.get(one.line_id, 0) + one.quantity
    for line in lines:
        if reserved.get(line.line_id, 0) < line.quantity:
            left = reserved.get(line.line_id, 0)
            raise Rejected(
                Reason.QUANTITY_EXCEEDS_AVAILABLE,
                f"line {line.line_id} of order {command.order_id} needs {line.quantity} units "
                f"in stock, {left} are reserved",
                order_id=command.order_id,
                line_id=line.line_id,
                quantity=line.quantity,
                available=left,
            )


def _check_cap(command: PlaceOrder, grand: int) -> None:
    cap = command.buyer_cap
    if cap is not None and cap.used + grand > cap.limit:
        raise Rejected(
            Reason.BUYER_CAP_EXCEEDED,
            f"order {command.order_id} of {grand} with {cap.used} used exceeds the buyer's cap "
            f"of {cap.limit}",
            order_id=command.order_id,
            amount=grand,
            used=cap.used,
            limit=cap.limit,
        )


def _check_lines(command: CreateOrder | AcceptPriceChange | PlaceOrder) -> None:
    lines = command.lines
    if len(lines) > limits.ORDER_LINES_MAX:
        limits.check_count("lines of an order", len(lines), limits.ORDER_LINES_MAX)
    for line in lines:
        guards.check_line(line)
    if len(lines) > 1:
        guards.check_unique("line_id", [line.line_id for line in lines])


def _priced(command: CreateOrder | AcceptPriceChange, currency: str) -> tuple[OrderLine, ...]:
    return tuple([_sound(priced(line, currency)) for line in command.lines])


def _sound(line: OrderLine) -> OrderLine:
    if not is_sound(line):
        raise Rejected(
            Reason.TOTALS_DO_NOT_ADD_UP,
            f"line {line.line_id} costs {line.amount}, its discounts and included tax take off "
            f"{line.amount - line.net}",
            line_id=line.line_id,
            amount=line.amount,
            net=line.net,
        )
    return line


def _taken(order: OrderState) -> Rejected:
    return Rejected(
        Reason.ALREADY_EXISTS,
        f"order {order.order_id} exists and is {order.lifecycle}",
        order_id=order.order_id,
        lifecycle=order.lifecycle.value,
    )


def _quote_mismatch(order: OrderState, quote_id: str) -> Rejected:
    return Rejected(
        Reason.QUOTE_MISMATCH,
        f"order {order.order_id} is at quote {order.quote_id!r}, not {quote_id!r}",
        order_id=order.order_id,
        quote_id=order.quote_id,
        given=quote_id,
    )
