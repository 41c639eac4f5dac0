"""What the tests of faults found by review share."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.model.shop import Shop, item


def found(reason: str) -> Callable[[Any], Any]:
    """Mark a test of a fault that is not mended yet."""
    return pytest.mark.xfail(strict=True, reason=reason)


def paid(*, total: str = "100", amount: int = 10_000, released: bool = False) -> Shop:
    """Return a shop with order o1 of seller s1, confirmed, paid by p1 and perhaps released."""
    shop = Shop()
    shop.place(item("a", total))
    shop.pay(amount)
    if released:
        shop.release("s1")
    return shop


def two_sellers(*, released: bool = False) -> Shop:
    """Return a shop with o1 of s1 and s2, 50.00 each, paid; s1 perhaps released."""
    shop = Shop()
    shop.place(item("a", "50"), item("b", "50", seller="s2"))
    shop.pay(10_000)
    if released:
        shop.release("s1")
    return shop


def holds_no_debt(shop: Shop, order_id: str = "o1") -> None:
    """Assert invariants 18 and 19 of an order."""
    order = shop.order(order_id)
    assert order.escrow_held == shop.escrow(order_id)
    assert all(one.available >= 0 for one in order.slices.values())
