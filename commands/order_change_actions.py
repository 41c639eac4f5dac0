"""
What the typed actions of an order change do to its content.

Pure arithmetic on a copy: the same function prices a proposal and applies it, so that what was
shown is what happens, unless goods moved between the two.
"""

import msgspec

from orderledger.ledger import limits
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.order_content import (
    AdjustmentAdd,
    AdjustmentRemove,
    ChangeAction,
    Discount,
    ItemAdd,
    ItemRemove,
    ItemUpdate,
    OrderLine,
    Reinstate,
    ShippingAdd,
    ShippingCharge,
    ShippingRemove,
    Surcharge,
    SurchargeAdd,
    Totals,
    WriteOff,
)
from orderledger.ledger.order_events import MovedLine
from orderledger.ledger.order_lines import LineState
from orderledger.ledger.order_totals import (
    allocate_discounts,
    at_quantity,
    gross,
    is_sound,
    priced,
    totals_of,
    with_parts,
)
from orderledger.ledger.orders import OrderState

from . import order_guards as guards


class Draft:
    """The content of an order while actions are applied to it, one after the other."""

    def __init__(self, order: OrderState) -> None:
        self.order = order
        self.lines: dict[str, OrderLine] = {key: one.line for key, one in order.lines.items()}
        self.shipping: list[ShippingCharge] = list(order.shipping)
        self.surcharges: list[Surcharge] = list(order.surcharges)
        self.written_off: dict[str, int] = {}

    def state(self, line_id: str) -> LineState | None:
        """Return the counters of a line; None for one that this change adds."""
        return self.order.lines.get(line_id)

    def line(self, line_id: str) -> OrderLine:
        """Return a line as it is by now; raises NOT_FOUND."""
        found = self.lines.get(line_id)
        if found is None:
            raise guards.unknown_line(self.order, line_id)
        return found


class Applied(msgspec.Struct, frozen=True):
    """What actions come to: the new content, and what differs from the current one."""

    totals: Totals
    changed: tuple[OrderLine, ...]
    removed: tuple[str, ...]
    shipping: tuple[ShippingCharge, ...]
    surcharges: tuple[Surcharge, ...]
    written_off: tuple[MovedLine, ...]
    reinstated: tuple[MovedLine, ...]


def check_actions(actions: tuple[ChangeAction, ...]) -> None:
    """Raise InvalidInput if an action is malformed in itself."""
    limits.check_count("actions of a change", len(actions), limits.CHANGE_ACTIONS_MAX)
    for action in actions:
        match action:
            case ItemAdd(line=line):
                guards.check_line(line)
            case ItemUpdate():
                _check_update(action)
            case ShippingAdd(shipping=charge):
                guards.check_shipping(charge)
            case WriteOff() | Reinstate():
                guards.check_quantity(f"quantity of line {action.line_id}", action.quantity)
            case AdjustmentAdd(discount=discount):
                guards.check_discounts((discount,))
            case SurchargeAdd(surcharge=fee):
                guards.check_id("surcharge_id", fee.surcharge_id)
                guards.check_id("seller", fee.seller)
                guards.check_amount(f"surcharge {fee.surcharge_id}", fee.amount)
            case ItemRemove() | ShippingRemove() | AdjustmentRemove():
                pass


def _check_update(action: ItemUpdate) -> None:
    guards.check_quantity(f"quantity of line {action.line_id}", action.quantity)
    if action.unit_price is not None:
        guards.check_unit_price(action.line_id, action.unit_price)
    if action.discounts:
        guards.check_discounts(action.discounts)
    if action.tax:
        guards.check_taxes(action.tax)


def apply_actions(order: OrderState, actions: tuple[ChangeAction, ...]) -> Applied:
    """
    Apply actions in order and sum up.

    Raises Rejected: NOT_FOUND, ALREADY_EXISTS, QUANTITY_EXCEEDS_AVAILABLE for less than was
    fulfilled, AMOUNT_EXCEEDS_AVAILABLE for less than was granted back, TOTALS_DO_NOT_ADD_UP for a
    line below zero, EMPTY_ORDER when no unit is left.
    """
    draft = Draft(order)
    for action in actions:
        _apply(draft, action)
    return _result(draft)


def _apply(draft: Draft, action: ChangeAction) -> None:
    match action:
        case ItemAdd():
            _item_add(draft, action)
        case ItemRemove():
            _item_remove(draft, action)
        case ItemUpdate():
            _item_update(draft, action)
        case ShippingAdd():
            _shipping_add(draft, action)
        case ShippingRemove():
            _shipping_remove(draft, action)
        case WriteOff():
            _write_off(draft, action.line_id, action.quantity)
        case Reinstate():
            _write_off(draft, action.line_id, -action.quantity)
        case AdjustmentAdd():
            _adjustment_add(draft, action)
        case AdjustmentRemove():
            _adjustment_remove(draft, action)
        case SurchargeAdd():
            _surcharge_add(draft, action)


def _item_add(draft: Draft, action: ItemAdd) -> None:
    line = priced(action.line, draft.order.currency)
    if line.line_id in draft.lines or line.line_id in draft.order.lines:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {draft.order.order_id} already has a line {line.line_id}",
            order_id=draft.order.order_id,
            line_id=line.line_id,
        )
    limits.check_count("lines of an order", len(draft.lines) + 1, limits.ORDER_LINES_MAX)
    draft.lines[line.line_id] = line


def _item_remove(draft: Draft, action: ItemRemove) -> None:
    line = draft.line(action.line_id)
    state = draft.state(action.line_id)
    if state is not None and max(state.fulfilled, state.granted_quantity):
        left = max(0, line.quantity - max(state.fulfilled, state.granted_quantity))
        raise guards.too_many(draft.order, line.line_id, line.quantity, left, "removed")
    del draft.lines[action.line_id]


def _item_update(draft: Draft, action: ItemUpdate) -> None:
    line = draft.line(action.line_id)
    state = draft.state(action.line_id)
    floor = 0 if state is None else max(state.fulfilled, state.granted_quantity)
    if action.quantity < floor:
        taken = line.quantity - action.quantity
        raise guards.too_many(draft.order, line.line_id, taken, line.quantity - floor, "taken off")
    if line.quantity == 0:
        raise guards.too_many(draft.order, line.line_id, action.quantity, 0, "updated")
    if action.unit_price is not None:
        line = msgspec.structs.replace(line, unit_price=action.unit_price)
    scaled = at_quantity(line, action.quantity, draft.order.currency)
    draft.lines[line.line_id] = with_parts(
        scaled,
        scaled.discounts if action.discounts is None else action.discounts,
        scaled.tax if action.tax is None else action.tax,
    )


def _shipping_add(draft: Draft, action: ShippingAdd) -> None:
    if any(one.shipping_id == action.shipping.shipping_id for one in draft.shipping):
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {draft.order.order_id} already has shipping {action.shipping.shipping_id}",
            order_id=draft.order.order_id,
            shipping_id=action.shipping.shipping_id,
        )
    limits.check_count("shipping charges", len(draft.shipping) + 1, limits.ORDER_PARTS_MAX)
    draft.shipping.append(action.shipping)


def _shipping_remove(draft: Draft, action: ShippingRemove) -> None:
    kept = [one for one in draft.shipping if one.shipping_id != action.shipping_id]
    if len(kept) == len(draft.shipping):
        raise Rejected(
            Reason.NOT_FOUND,
            f"order {draft.order.order_id} has no shipping {action.shipping_id}",
            order_id=draft.order.order_id,
            shipping_id=action.shipping_id,
        )
    draft.shipping = kept


def _write_off(draft: Draft, line_id: str, quantity: int) -> None:
    line = draft.line(line_id)
    state = draft.state(line_id)
    before = (0 if state is None else state.written_off) + draft.written_off.get(line_id, 0)
    if quantity > 0 and before + quantity > line.quantity:
        raise guards.too_many(draft.order, line_id, quantity, line.quantity - before, "written off")
    if before + quantity < 0:
        raise guards.too_many(draft.order, line_id, -quantity, before, "reinstated")
    draft.written_off[line_id] = draft.written_off.get(line_id, 0) + quantity


def _adjustment_add(draft: Draft, action: AdjustmentAdd) -> None:
    chosen = [draft.line(action.line_id)] if action.line_id else list(draft.lines.values())
    left = sum([gross(line) for line in chosen])
    if action.discount.amount > left or any(gross(line) < 0 for line in chosen):
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"adjustment {action.discount.source_id} of {action.discount.amount} exceeds the "
            f"{left} that the lines of order {draft.order.order_id} cost",
            order_id=draft.order.order_id,
            amount=action.discount.amount,
            available=left,
        )
    for line in allocate_discounts(chosen, (action.discount,)):
        draft.lines[line.line_id] = line


def _adjustment_remove(draft: Draft, action: AdjustmentRemove) -> None:
    is_found = False
    for line_id, line in draft.lines.items():
        kept: tuple[Discount, ...] = tuple(
            [one for one in line.discounts if one.source_id != action.source_id]
        )
        if len(kept) != len(line.discounts):
            is_found = True
            draft.lines[line_id] = with_parts(line, kept, line.tax)
    if not is_found:
        raise Rejected(
            Reason.NOT_FOUND,
            f"order {draft.order.order_id} has no discount of {action.source_id}",
            order_id=draft.order.order_id,
            source_id=action.source_id,
        )


def _surcharge_add(draft: Draft, action: SurchargeAdd) -> None:
    if any(one.surcharge_id == action.surcharge.surcharge_id for one in draft.surcharges):
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {draft.order.order_id} already has surcharge {action.surcharge.surcharge_id}",
            order_id=draft.order.order_id,
            surcharge_id=action.surcharge.surcharge_id,
        )
    limits.check_count("surcharges", len(draft.surcharges) + 1, limits.ORDER_PARTS_MAX)
    draft.surcharges.append(action.surcharge)


def _result(draft: Draft) -> Applied:
    order = draft.order
    if not any(line.quantity for line in draft.lines.values()):
        raise Rejected(
            Reason.EMPTY_ORDER,
            f"the change would leave order {order.order_id} without units; cancel it instead",
            order_id=order.order_id,
        )
    changed: list[OrderLine] = []
    for line_id, line in draft.lines.items():
        state = draft.state(line_id)
        if state is None or state.line != line:
            _check_line(order, state, line)
            changed.append(line)
    _check_granted_shipping(draft)
    totals = totals_of(draft.lines.values(), draft.shipping, draft.surcharges, order.tips)
    limits.check_total(f"order {order.order_id}", totals.items + totals.grand)
    return Applied(
        totals,
        tuple(changed),
        tuple([line_id for line_id in order.lines if line_id not in draft.lines]),
        tuple(draft.shipping),
        tuple(draft.surcharges),
        tuple([MovedLine(key, moved) for key, moved in draft.written_off.items() if moved > 0]),
        tuple([MovedLine(key, -moved) for key, moved in draft.written_off.items() if moved < 0]),
    )


def _check_line(order: OrderState, state: LineState | None, line: OrderLine) -> None:
    if not is_sound(line):
        raise Rejected(
            Reason.TOTALS_DO_NOT_ADD_UP,
            f"line {line.line_id} of order {order.order_id} costs {line.amount}, its discounts "
            f"and included tax take off {line.amount - line.net}",
            order_id=order.order_id,
            line_id=line.line_id,
            amount=line.amount,
            net=line.net,
        )
    if state is None:
        return
    if line.net < state.granted_net or line.tax_total < state.granted_tax:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"line {line.line_id} of order {order.order_id} would charge {line.charged}, but "
            f"{state.granted} were granted back of it",
            order_id=order.order_id,
            line_id=line.line_id,
            amount=line.charged,
            granted=state.granted,
        )


def _check_granted_shipping(draft: Draft) -> None:
    granted = sum([one.shipping for one in draft.order.grants.values() if one.is_live])
    charged = sum([one.charged for one in draft.shipping])
    if charged < granted:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"shipping of order {draft.order.order_id} would be {charged}, but {granted} were "
            "granted back of it",
            order_id=draft.order.order_id,
            amount=charged,
            granted=granted,
        )
