"""
Decisions that change what a placed order contains: changes in two steps, cancelled lines, splits.
"""

from datetime import datetime

from orderledger.ledger import limits
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.order_content import OrderLine, ShippingCharge, Totals
from orderledger.ledger.order_events import (
    MovedLine,
    OrderChangeCancelled,
    OrderChangeConfirmed,
    OrderChangeDeclined,
    OrderChangeProposed,
    OrderLineCancelled,
    OrderPlaced,
    OrderSplit,
    RefundGranted,
    RefundSource,
)
from orderledger.ledger.order_lines import LineState
from orderledger.ledger.order_totals import at_quantity, priced_part, proration, totals_of
from orderledger.ledger.orders import ACTIVE, Lifecycle, OpenChange, OrderState
from orderledger.ledger.tenders import tenders_of

from . import order_guards as guards
from .decision import Changes, States, decides
from .dispute_guards import require_undisputed
from .order_change_actions import apply_actions, check_actions
from .order_commands import (
    CancelLine,
    CancelOrderChange,
    ConfirmOrderChange,
    DeclineOrderChange,
    ProposeOrderChange,
    SplitOrder,
)
from .order_cover import surplus_grant


@decides(ProposeOrderChange)
def propose_order_change(command: ProposeOrderChange, states: States, now: datetime) -> Changes:
    """Propose a change; raises STALE_BASE_VERSION or CHANGE_ALREADY_OPEN before any action's."""
    guards.check_id("change_id", command.change_id)
    check_actions(command.actions)
    order = guards.existing(states, command.order_id)
    change = order.open_change
    is_open = change is not None and change.change_id == command.change_id
    if change is not None and is_open and _is_same(change, command):
        return ()
    if is_open or command.change_id in order.closed_changes:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {order.order_id} already has a change {command.change_id}",
            order_id=order.order_id,
            change_id=command.change_id,
        )
    guards.require(order, "change it", ACTIVE)
    if change is not None:
        raise Rejected(
            Reason.CHANGE_ALREADY_OPEN,
            f"change {change.change_id} of order {order.order_id} is open; one at a time",
            order_id=order.order_id,
            change_id=change.change_id,
        )
    _check_version(order, command.base_version)
    if not command.actions:
        raise Rejected(
            Reason.EMPTY_ORDER,
            f"change {command.change_id} of order {order.order_id} has no action",
            order_id=order.order_id,
            change_id=command.change_id,
        )
    applied = apply_actions(order, command.actions)
    event = OrderChangeProposed(
        change_id=command.change_id,
        base_version=command.base_version,
        actions=command.actions,
        delta=applied.totals.grand - order.total,
        by=command.by,
    )
    return (guards.change(command.order_id, event),)


def _is_same(change: OpenChange, command: ProposeOrderChange) -> bool:
    return change.base_version == command.base_version and change.actions == command.actions


def _check_version(order: OrderState, base_version: int) -> None:
    if base_version != order.version:
        raise Rejected(
            Reason.STALE_BASE_VERSION,
            f"order {order.order_id} is at content version {order.version}, the change builds on "
            f"{base_version}; read it again",
            order_id=order.order_id,
            base_version=base_version,
            version=order.version,
        )


@decides(ConfirmOrderChange)
def confirm_order_change(command: ConfirmOrderChange, states: States, now: datetime) -> Changes:
    """
    Apply the open change, checked anew against what was fulfilled meanwhile.

    A lower total grants back what was charged beyond it, and only that.
    """
    order = guards.existing(states, command.order_id)
    if order.closed_changes.get(command.change_id) == "confirmed":
        return ()
    guards.require(order, "change it", ACTIVE)
    change = _open_change(order, command.change_id)
    _check_version(order, change.base_version)
    applied = apply_actions(order, change.actions)
    require_undisputed(order, (*applied.removed, *[line.line_id for line in applied.changed]))
    event = OrderChangeConfirmed(
        change_id=change.change_id,
        new_version=order.version + 1,
        delta=applied.totals.grand - order.total,
        totals=applied.totals,
        lines=applied.changed,
        removed=applied.removed,
        shipping=applied.shipping,
        surcharges=applied.surcharges,
        written_off=applied.written_off,
        reinstated=applied.reinstated,
    )
    refund_id = command.refund_id or f"change-{change.change_id}"
    grants = _surplus_after(order, event, states, refund_id, RefundSource.CHANGE)
    return tuple([guards.change(command.order_id, one) for one in (event, *grants)])


def _surplus_after(
    order: OrderState,
    event: OrderChangeConfirmed | OrderLineCancelled,
    states: States,
    refund_id: str,
    source: RefundSource,
) -> tuple[RefundGranted, ...]:
    if event.totals.grand >= order.total:
        return ()
    reduced = guards.after(order, event)
    grants = surplus_grant(reduced, tenders_of(order, states.payment), refund_id, source)
    if grants and refund_id in order.grants:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {order.order_id} already has a refund {refund_id}",
            order_id=order.order_id,
            refund_id=refund_id,
        )
    return grants


def _open_change(order: OrderState, change_id: str) -> OpenChange:
    if order.open_change is None or order.open_change.change_id != change_id:
        raise Rejected(
            Reason.NOT_FOUND,
            f"order {order.order_id} has no open change {change_id}",
            order_id=order.order_id,
            change_id=change_id,
        )
    return order.open_change


@decides(DeclineOrderChange)
def decline_order_change(command: DeclineOrderChange, states: States, now: datetime) -> Changes:
    """Decline the open change."""
    guards.check_text("reason", command.reason)
    order = guards.existing(states, command.order_id)
    if order.closed_changes.get(command.change_id) == "declined":
        return ()
    change = _open_change(order, command.change_id)
    event = OrderChangeDeclined(change_id=change.change_id, reason=command.reason, by=command.by)
    return (guards.change(command.order_id, event),)


@decides(CancelOrderChange)
def cancel_order_change(command: CancelOrderChange, states: States, now: datetime) -> Changes:
    """Take the open change back."""
    guards.check_text("reason", command.reason)
    order = guards.existing(states, command.order_id)
    if order.closed_changes.get(command.change_id) == "cancelled":
        return ()
    change = _open_change(order, command.change_id)
    event = OrderChangeCancelled(change_id=change.change_id, reason=command.reason, by=command.by)
    return (guards.change(command.order_id, event),)


@decides(CancelLine)
def cancel_line(command: CancelLine, states: States, now: datetime) -> Changes:
    """
    Cancel units of a line of a confirmed order.

    Raises CHANGE_ALREADY_OPEN, NOT_FOUND, DISPUTE_OPEN, QUANTITY_EXCEEDS_AVAILABLE beyond
    ordered − shipped − cancelled, AMOUNT_EXCEEDS_AVAILABLE beyond the shipping charged or against
    what was granted.
    """
    guards.check_quantity("quantity", command.quantity)
    guards.check_amount("shipping", command.shipping, minimum=0)
    guards.check_text("reason", command.reason)
    order = guards.existing(states, command.order_id)
    guards.require(order, "cancel a line", {Lifecycle.CONFIRMED})
    line = order.lines.get(command.line_id)
    if line is None:
        raise guards.unknown_line(order, command.line_id)
    require_undisputed(order, (command.line_id,))
    if command.quantity > line.cancellable:
        raise guards.too_many(
            order, command.line_id, command.quantity, line.cancellable, "cancelled"
        )
    left = at_quantity(line.base, line.live - command.quantity, order.currency)
    check_covers_grants(order, line, left)
    shipping = _less_shipping(order, command.shipping) if command.shipping else None
    event = OrderLineCancelled(
        line_id=command.line_id,
        quantity=command.quantity,
        proration=proration(line.line, left, command.shipping),
        line=left,
        totals=_totals_with(order, {command.line_id: left}, shipping),
        new_version=order.version + 1,
        reason=command.reason,
        shipping=shipping,
    )
    refund_id = command.refund_id or f"cancel-{command.line_id}-{order.version + 1}"
    grants = _surplus_after(order, event, states, refund_id, RefundSource.CANCEL)
    return tuple([guards.change(command.order_id, one) for one in (event, *grants)])


def check_covers_grants(order: OrderState, line: LineState, left: OrderLine) -> None:
    """
    Raise AMOUNT_EXCEEDS_AVAILABLE unless what is left of a line matches what was granted of it.

    Grants round cumulatively. Where one in the middle was withdrawn, the others may be a minor
    unit away from what fewer units charge: then they are withdrawn and granted anew first.
    """
    is_short = left.net < line.granted_net or left.tax_total < line.granted_tax
    is_whole = left.quantity == line.granted_quantity
    if is_short or (is_whole and left.charged != line.granted):
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"{left.quantity} units of line {left.line_id} of order {order.order_id} would charge "
            f"{left.charged}, but {line.granted} are granted back of {line.granted_quantity} "
            "units; withdraw these refunds and grant them anew",
            order_id=order.order_id,
            line_id=left.line_id,
            amount=left.charged,
            granted=line.granted,
        )


def _less_shipping(order: OrderState, amount: int) -> tuple[ShippingCharge, ...]:
    """Take an amount off the shipping charges, the last first, tax on top left as it is."""
    granted = sum([one.shipping for one in order.grants.values() if one.is_live])
    free = sum([one.amount - _included(one) for one in order.shipping]) - granted
    if amount > free:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"{amount} cannot be taken off the shipping of order {order.order_id}: {free} of it "
            "are neither tax nor granted back",
            order_id=order.order_id,
            amount=amount,
            available=free,
        )
    left = amount
    charges: list[ShippingCharge] = []
    for charge in reversed(order.shipping):
        part = min(left, charge.amount - _included(charge))
        left -= part
        charges.append(
            ShippingCharge(
                charge.shipping_id, charge.seller, charge.amount - part, charge.carrier, charge.tax
            )
        )
    return tuple(reversed(charges))


def _included(charge: ShippingCharge) -> int:
    return sum([tax.amount for tax in charge.tax if tax.included])


@decides(SplitOrder)
def split_order(command: SplitOrder, states: States, now: datetime) -> Changes:
    """
    Move units of a placed order to a new one.

    Only while no money is linked: a payment belongs to one order for good. Raises
    TOTALS_DO_NOT_ADD_UP where prices below a minor unit would make the two orders cost another sum.
    """
    guards.check_id("new_order_id", command.new_order_id)
    limits.check_count("lines of a split", len(command.lines), limits.ORDER_LINES_MAX)
    guards.check_unique("line_id", [moved.line_id for moved in command.lines])
    for moved in command.lines:
        guards.check_quantity(f"quantity of line {moved.line_id}", moved.quantity)
    order = guards.existing(states, command.order_id)
    if command.new_order_id in order.splits:
        return ()
    other = states.order(command.new_order_id)
    if other.exists or command.new_order_id == command.order_id:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {command.new_order_id} exists",
            order_id=command.new_order_id,
        )
    _check_can_split(order)
    require_undisputed(order, [moved.line_id for moved in command.lines])
    return _split(command, order)


def _check_can_split(order: OrderState) -> None:
    guards.require(order, "split it", {Lifecycle.PLACED})
    guards.require_no_hold(order)
    if order.open_change is not None:
        raise Rejected(
            Reason.CHANGE_ALREADY_OPEN,
            f"change {order.open_change.change_id} of order {order.order_id} is open",
            order_id=order.order_id,
            change_id=order.open_change.change_id,
        )
    if order.payments or order.redeemed:
        linked = [*order.payments, *order.redeemed]
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {order.order_id} is linked to {', '.join(linked)}; money cannot be split "
            "between orders",
            order_id=order.order_id,
            payments=linked,
        )


def _split(command: SplitOrder, order: OrderState) -> Changes:
    gone: list[OrderLine] = []
    kept: dict[str, OrderLine] = {}
    for moved in command.lines:
        line = order.lines.get(moved.line_id)
        if line is None:
            raise guards.unknown_line(order, moved.line_id)
        left = min(line.cancellable, line.allocatable)
        if moved.quantity > left:
            raise guards.too_many(order, moved.line_id, moved.quantity, left, "moved")
        stays = at_quantity(line.base, line.live - moved.quantity, order.currency)
        check_covers_grants(order, line, stays)
        part = priced_part(line.line, stays)
        if part.net < 0 or not _adds_up(part, order.currency):
            raise Rejected(
                Reason.TOTALS_DO_NOT_ADD_UP,
                f"line {moved.line_id} of order {order.order_id} cannot be divided into "
                f"{moved.quantity} and {stays.quantity} without a rounding difference",
                order_id=order.order_id,
                line_id=moved.line_id,
            )
        gone.append(part)
        kept[moved.line_id] = stays
    if not gone or not any(kept.get(key, line.line).quantity for key, line in order.lines.items()):
        raise Rejected(
            Reason.EMPTY_ORDER,
            f"splitting order {order.order_id} would leave one of the two without units",
            order_id=order.order_id,
        )
    split = OrderSplit(
        new_order_id=command.new_order_id,
        moved=tuple([MovedLine(one.line_id, one.quantity) for one in command.lines]),
        lines=tuple([line for line in kept.values() if line.quantity]),
        totals=_totals_with(order, kept),
        new_version=order.version + 1,
    )
    placed = _new_order(command, order, tuple(gone))
    return (
        guards.change(command.order_id, split),
        guards.change(command.new_order_id, placed),
    )


def _adds_up(part: OrderLine, currency: str) -> bool:
    return at_quantity(part, part.quantity, currency).amount == part.amount


def _new_order(command: SplitOrder, order: OrderState, lines: tuple[OrderLine, ...]) -> OrderPlaced:
    return OrderPlaced(
        order_id=command.new_order_id,
        buyer_ref=order.buyer_ref,
        channel=order.channel,
        currency=order.currency,
        lines=lines,
        totals=totals_of(lines),
        quote_id=order.quote_id,
        quoted_at=order.quoted_at,
        valid_until=order.valid_until,
        payment_due_at=order.payment_due_at,
        address_ref=order.address_ref,
        split_from=order.order_id,
        terms=order.terms,
    )


def _totals_with(
    order: OrderState,
    lines: dict[str, OrderLine],
    shipping: tuple[ShippingCharge, ...] | None = None,
) -> Totals:
    live = [lines.get(key, line.line) for key, line in order.lines.items()]
    charges = order.shipping if shipping is None else shipping
    return totals_of(live, charges, order.surcharges, order.tips)
