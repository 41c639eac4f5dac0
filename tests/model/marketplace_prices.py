"""
What the lines of an order cost, whole and by units, and who earns it: plain integers.

Written from the specification: a series of partials rounds cumulatively, half-even; a division is
by largest remainder, ties in the order given; the platform pays its coupons, a seller earns less by
its own.
"""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from orderledger.ledger.order_content import Funder, LineInput

Dict = dict[str, Any]
RATE: Final = Decimal("0.12")


def half_even(numerator: int, denominator: int) -> int:
    return int((Decimal(numerator) / denominator).quantize(Decimal(1), ROUND_HALF_EVEN))


def commission_on(items: int) -> int:
    return int((items * RATE).quantize(Decimal(1), ROUND_HALF_EVEN))


def divide(total: int, weights: Sequence[int]) -> list[int]:
    """Divide by largest remainder; nothing goes to nobody."""
    whole = sum(weights)
    if not whole:
        assert not total
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    rests = [total * weight % whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda index: (-rests[index], index))
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts


def priced(line: LineInput) -> Dict:
    """Return a line as the model has it, each discount with who bears it."""
    made: Dict = {"seller": line.seller, "quantity": line.quantity, "taxes": []}
    made |= {"price": int(line.unit_price * 100), "off": []}
    made["off"] = [(one.funded_by is Funder.PLATFORM, one.amount) for one in line.discounts]
    made["taxes"] = [(one.jurisdiction, one.amount, one.included) for one in line.tax]
    return made | {"granted": 0, "units": 0, "ruled": 0, "net_back": 0, "tax_back": 0}


def discounted(lines: Dict, coupons: Iterable[tuple[bool, int]]) -> None:
    """Divide the coupons of a whole order among its lines, by what each still costs."""
    names = sorted(lines)
    for is_platforms, amount in coupons:
        costs = [_cost(lines[name]) for name in names]
        for name, part in zip(names, divide(amount, costs), strict=True):
            lines[name]["off"].append((is_platforms, part))


def _cost(line: Dict) -> int:
    return int(line["quantity"] * line["price"] - sum(off for _, off in line["off"]))


def upto(line: Dict, units: int) -> tuple[int, int]:
    """Return net and tax of so many units of a line, counted from the first."""
    share = [half_even(one * units, line["quantity"]) for _, one in line["off"]]
    taxes = [half_even(tax * units, line["quantity"]) for _, tax, _ in line["taxes"]]
    included = [tax for tax, of in zip(taxes, line["taxes"], strict=True) if of[2]]
    return units * line["price"] - sum(share) - sum(included), sum(taxes)


def charged(line: Dict) -> int:
    """Return what the buyer is charged for a line."""
    return sum(upto(line, line["quantity"]))


def grand(order: Dict) -> int:
    return sum(charged(line) for line in order["lines"].values())


def platforms(line: Dict) -> int:
    """Return what the platform pays of a line's price."""
    return sum(off for is_platforms, off in line["off"] if is_platforms)


def coupon_of(line: Dict) -> int:
    """Return what the platform pays for the units of a line that were not granted back."""
    coupon = platforms(line)
    return int(coupon - half_even(coupon * line["units"], line["quantity"]))


def dues(order: Dict, seller: str) -> tuple[int, dict[str, int]]:
    """Return the items (before commission) and taxes that a seller's live goods earn."""
    items = 0
    taxes: dict[str, int] = {}
    for line in order["lines"].values():
        if line["seller"] != seller:
            continue
        net, tax = upto(line, line["quantity"])
        items += net - line["net_back"] + coupon_of(line)
        left = max(0, tax - line["tax_back"])
        parts = divide(left, [one for _, one, _ in line["taxes"]])
        for (jurisdiction, _, _), part in zip(line["taxes"], parts, strict=True):
            taxes[jurisdiction] = taxes.get(jurisdiction, 0) + part
    return items, {name: minor for name, minor in taxes.items() if minor}


def coupons_due(order: Dict, seller: str) -> int:
    lines = order["lines"].values()
    return sum(coupon_of(line) for line in lines if line["seller"] == seller)


def has_coupons(order: Dict) -> bool:
    return any(platforms(line) for line in order["lines"].values())


def has_extras(order: Dict) -> bool:
    """Tell whether anything is in the order but plain prices: coupons or tax."""
    lines = order["lines"].values()
    return has_coupons(order) or any(line["taxes"] for line in lines)
