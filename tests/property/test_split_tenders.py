"""Split tenders in any order of releases, refunds and policies: undone, everything is as before."""

from collections.abc import Sequence
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderledger.commands import model as m
from orderledger.commands.order_commands import AllocationStrategy
from orderledger.ledger import accounts
from tests.model.shop import balances_of
from tests.model.split_shop import OWED, SHIPPING, SplitShop

POLICIES = tuple(one for one in AllocationStrategy if one is not AllocationStrategy.EXPLICIT)
UNITS = ("a", "a", "a", "b", "b", "shipping")


def _release(shop: SplitShop, data: st.DataObject) -> None:
    seller = data.draw(st.sampled_from(("s1", "s2")))
    available = shop.order().slices[seller].available
    amount = data.draw(st.none() | st.integers(1, max(1, available)))
    shop.run(m.MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"))
    shop.refusal(
        m.ReleaseFunds(
            order_id="o1",
            release_id=f"rel{len(shop.order().releases)}",
            seller=seller,
            commission_rate=Decimal("0.12"),
            rate_version="v1",
            amount=amount,
        )
    )
    shop.check()


def _explicit(shop: SplitShop, data: st.DataObject, total: int) -> dict[str, int]:
    free = {one.tender_id: one.refundable for one in shop.tenders().values()}
    parts: dict[str, int] = {}
    for tender in data.draw(st.permutations(list(free))):
        part = min(total, data.draw(st.integers(0, free[tender])))
        parts[tender], total = part, total - part
    for tender, have in free.items():
        part = min(total, have - parts[tender])
        parts[tender] += part
        total -= part
    return {tender: part for tender, part in parts.items() if part}


def _cancel(shop: SplitShop, data: st.DataObject, lines: Sequence[tuple[str, int]]) -> None:
    """Cancel units that were not shipped; what was paid for them is granted by that itself."""
    for line_id, quantity in lines:
        refund_id = f"cancel-{line_id}-{shop.order().lines[line_id].live}"
        shop.run(
            m.CancelLine(order_id="o1", line_id=line_id, quantity=quantity, refund_id=refund_id)
        )
        shop.check()
        shop.allocated(refund_id, data.draw(st.sampled_from(POLICIES)))
        shop.settle(refund_id, data.draw(st.integers(1, 2)))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_is_released_and_refunded_each_bears_its_own(data: st.DataObject) -> None:
    """Catches a seller, the platform or a tender that pays for another (invariants 12 to 23)."""
    shop = SplitShop()
    units = list(data.draw(st.permutations(UNITS)))
    while units:
        if data.draw(st.booleans()):
            _release(shop, data)
            continue
        count = data.draw(st.integers(1, len(units)))
        taken, units = units[:count], units[count:]
        refund_id = f"r{len(units)}"
        lines = [(one, taken.count(one)) for one in ("a", "b") if one in taken]
        freight = SHIPPING[0].amount if "shipping" in taken else 0
        if not freight and data.draw(st.booleans()):
            _cancel(shop, data, lines)
            continue
        shop.grant(refund_id, 0, *lines, shipping=freight)
        strategy = data.draw(st.sampled_from(AllocationStrategy))
        total = shop.order().grants[refund_id].total
        is_explicit = strategy is AllocationStrategy.EXPLICIT
        shop.allocated(refund_id, strategy, **(_explicit(shop, data, total) if is_explicit else {}))
        shop.settle(refund_id, data.draw(st.integers(1, 3)))
    left = balances_of(shop.store)
    taken_back = left.pop(("posted", accounts.COMMISSION_REFUNDED, "USD"), 0)
    assert -left.pop(("posted", accounts.COMMISSION, "USD"), 0) == taken_back
    assert left == OWED
