"""
Pricing arithmetic of an order: line amounts, allocation of discounts, totals and partials.

Everything is integer minor units; the only decimals are unit prices, rounded once at the line.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from .money import allocate, cumulative_part, line_total
from .order_content import (
    Discount,
    LineInput,
    OrderLine,
    ShippingCharge,
    Surcharge,
    Tax,
    Tip,
    Totals,
)
from .order_events import Proration, RefundLine
from .order_lines import LineState


def priced(line: LineInput, currency: str) -> OrderLine:
    """
    Return the line with its amount and net.

    The net may come out negative when discounts and included tax exceed the amount; ``is_sound``
    tells.
    """
    amount = line_total(line.quantity, line.unit_price, currency)
    return OrderLine(
        line.line_id,
        line.sku,
        line.seller,
        line.quantity,
        line.unit_price,
        amount,
        _net(amount, line.discounts, line.tax),
        line.discounts,
        line.tax,
    )


def _net(amount: int, discounts: Sequence[Discount], taxes: Sequence[Tax]) -> int:
    for discount in discounts:
        amount -= discount.amount
    for tax in taxes:
        if tax.included:
            amount -= tax.amount
    return amount


def is_sound(line: OrderLine) -> bool:
    """Tell whether discounts and included tax leave the line at zero or above (invariant 9)."""
    return line.net >= 0


def with_parts(
    line: OrderLine, discounts: tuple[Discount, ...], taxes: tuple[Tax, ...]
) -> OrderLine:
    """Return the line with other discounts and taxes, and the net that follows."""
    return OrderLine(
        line.line_id,
        line.sku,
        line.seller,
        line.quantity,
        line.unit_price,
        line.amount,
        _net(line.amount, discounts, taxes),
        discounts,
        taxes,
    )


def gross(line: OrderLine) -> int:
    """Return amount − discounts: the most that a further discount can take."""
    return line.amount - line.discount


def allocate_discounts(
    lines: Sequence[OrderLine], discounts: Iterable[Discount]
) -> tuple[OrderLine, ...]:
    """
    Divide order discounts among lines by what each still costs, largest remainder.

    Ties go by line id, so the result does not depend on the order of ``lines``; it is returned in
    that order. No line goes below zero. Raises InvalidMoney if a discount exceeds the sum that the
    lines still cost: the caller checks first.
    """
    by_id = sorted(lines, key=_line_id)
    for discount in discounts:
        shares = allocate(discount.amount, [gross(line) for line in by_id])
        by_id = [
            _discounted(line, discount, share) for line, share in zip(by_id, shares, strict=True)
        ]
    found = {line.line_id: line for line in by_id}
    return tuple([found[line.line_id] for line in lines])


def _line_id(line: OrderLine) -> str:
    return line.line_id


def _discounted(line: OrderLine, discount: Discount, share: int) -> OrderLine:
    if share == 0:
        return line
    part = Discount(discount.source_id, share, discount.funded_by)
    return with_parts(line, (*line.discounts, part), line.tax)


def totals_of(
    lines: Iterable[OrderLine],
    shipping: Iterable[ShippingCharge] = (),
    surcharges: Iterable[Surcharge] = (),
    tips: Iterable[Tip] = (),
) -> Totals:
    """Sum an order up; see ``Totals`` for the equation (invariant 8)."""
    items = discount = tax = included = freight = surcharge = tip = 0
    for line in lines:
        items += line.amount
        for reduction in line.discounts:
            discount += reduction.amount
        for one in line.tax:
            if one.included:
                included += one.amount
            else:
                tax += one.amount
    for charge in shipping:
        freight += charge.amount
        for one in charge.tax:
            if one.included:
                included += one.amount
            else:
                tax += one.amount
    for fee in surcharges:
        surcharge += fee.amount
    for gift in tips:
        tip += gift.amount
    grand = items - discount + tax + freight + surcharge + tip
    return Totals(items, discount, tax, freight, surcharge, tip, grand, included)


def at_quantity(base: OrderLine, quantity: int, currency: str) -> OrderLine:
    """
    Return the line as it is with fewer (or more) units: discounts and taxes in proportion.

    Each part is R(total × quantity / base quantity), half-even, so that any series of steps down
    to zero takes off exactly what there was. The amount is quantity × unit price as always.
    """
    amount = line_total(quantity, base.unit_price, currency)
    left = amount
    discounts: list[Discount] = []
    for discount in base.discounts:
        part = min(_scaled(discount.amount, quantity, base.quantity), left)
        left -= part
        if part:
            discounts.append(Discount(discount.source_id, part, discount.funded_by))
    taxes: list[Tax] = []
    for tax in base.tax:
        part = _scaled(tax.amount, quantity, base.quantity)
        if tax.included:
            # Prices of less than a minor unit round apart from their tax; net must not go below 0.
            part = min(part, left)
            left -= part
        if part:
            taxes.append(Tax(tax.jurisdiction, part, tax.included))
    return OrderLine(
        base.line_id,
        base.sku,
        base.seller,
        quantity,
        base.unit_price,
        amount,
        left,
        tuple(discounts),
        tuple(taxes),
    )


def _scaled(total: int, quantity: int, base: int) -> int:
    if quantity <= base:
        return cumulative_part(total, base, 0, quantity)
    # Beyond the base: whole multiples, then the cumulative share of what is left over.
    whole, rest = divmod(quantity, base)
    return total * whole + cumulative_part(total, base, 0, rest)


def proration(before: OrderLine, after: OrderLine, shipping: int = 0) -> Proration:
    """Return what a step from one quantity of a line to a smaller one takes off."""
    return Proration(
        before.net - after.net,
        before.tax_total - after.tax_total,
        before.discount - after.discount,
        shipping,
    )


def refund_of(line: LineState, quantity: int, currency: str) -> RefundLine:
    """
    Return what ``quantity`` more units of a line give back: R(total·cum_k/base) − earlier parts.

    Granting every unit, in any steps and with withdrawals between, gives back exactly what the
    live line charges. ``quantity`` is at most ``line.refundable_quantity``.
    """
    upto = line.granted_quantity + quantity
    target = line.line if upto >= line.live else at_quantity(line.base, upto, currency)
    return RefundLine(
        line.line.line_id,
        quantity,
        _step(target.net, line.granted_net, line.line.net),
        _step(target.tax_total, line.granted_tax, line.line.tax_total),
        _step(target.discount, line.granted_discount, line.line.discount),
    )


def _step(target: int, earlier: int, ceiling: int) -> int:
    # A withdrawn grant may leave more behind than the running share; nothing is taken back for it.
    return max(0, min(target, ceiling) - earlier)


def priced_part(line: OrderLine, stays: OrderLine) -> OrderLine:
    """Return what leaves a line when ``stays`` is what remains of it: every part the difference."""
    discounts = _differences(
        [((one.source_id, one.funded_by), one.amount) for one in line.discounts],
        [((one.source_id, one.funded_by), one.amount) for one in stays.discounts],
    )
    taxes = _differences(
        [((one.jurisdiction, one.included), one.amount) for one in line.tax],
        [((one.jurisdiction, one.included), one.amount) for one in stays.tax],
    )
    return OrderLine(
        line.line_id,
        line.sku,
        line.seller,
        line.quantity - stays.quantity,
        line.unit_price,
        line.amount - stays.amount,
        line.net - stays.net,
        tuple([Discount(source, part, funder) for (source, funder), part in discounts]),
        tuple([Tax(jurisdiction, part, included) for (jurisdiction, included), part in taxes]),
    )


_Key = TypeVar("_Key")


def _differences(
    before: Sequence[tuple[_Key, int]], after: Sequence[tuple[_Key, int]]
) -> list[tuple[_Key, int]]:
    left: dict[_Key, int] = {}
    for key, amount in before:
        left[key] = left.get(key, 0) + amount
    for key, amount in after:
        left[key] = left.get(key, 0) - amount
    return [(key, amount) for key, amount in left.items() if amount]
