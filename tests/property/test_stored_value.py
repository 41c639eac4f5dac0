"""Invariants 17, 19 and 23 of stored value, over any sequence of commands."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orderledger.commands.value_commands import ExpireValue, IssueValue, RedeemValue, RestoreValue
from orderledger.ledger.errors import Rejected
from orderledger.ledger.order_events import (
    PaymentPart,
    RefundAllocated,
    RefundGranted,
    RefundSource,
)
from orderledger.ledger.value_events import (
    ValueExpired,
    ValueIssued,
    ValueKind,
    ValueRedeemed,
    ValueRestored,
    ValueSource,
)
from tests.decided_book import START, DecidedBook, placed_order

ids = st.sampled_from(["1", "2", "3"])
amounts = st.integers(1, 2000)
steps = st.one_of(
    st.tuples(st.just("issue"), ids, amounts, st.integers(0, 9)),
    st.tuples(st.just("redeem"), ids, amounts, st.integers(0, 9)),
    st.tuples(st.just("restore"), st.sampled_from("123456"), st.integers(1, 900), ids),
    st.tuples(st.just("expire"), ids, st.just(0), st.just(0)),
    st.tuples(st.just("wait"), ids, st.just(0), st.integers(1, 3)),
)


def command_of(
    step: tuple[str, str, int, int | str], *, points: bool, now_hours: int
) -> IssueValue | RedeemValue | RestoreValue | ExpireValue:
    what, number, amount, more = step
    currency = "PTS" if points else "USD"
    if what == "issue":
        hours = int(more)
        return IssueValue(
            account_id="v",
            holder="b1",
            kind=ValueKind.LOYALTY if points else ValueKind.STORE_CREDIT,
            lot_id=f"lot{number}",
            amount=amount,
            currency=currency,
            source=ValueSource.GOODWILL,
            expires_at=START + timedelta(hours=now_hours + hours) if hours else None,
        )
    if what == "redeem":
        return RedeemValue(
            account_id="v",
            redemption_id=f"x{number}",
            amount=amount,
            currency=currency,
            order_id="o1",
            order_amount=max(1, amount // 7) if points else None,
        )
    if what == "restore":
        return RestoreValue(
            account_id="v",
            restore_id=f"y{number}",
            redemption_id=f"x{more}",
            order_id="o1",
            refund_id=f"g{more}",
            amount=amount,
        )
    return ExpireValue(account_id="v", lot_id=f"lot{number}")


def grants(book: DecidedBook) -> None:
    """Allocate a refund to each redemption beforehand, so that restores have one to settle."""
    for number in ("1", "2", "3"):
        book.given(
            "order-o1",
            RefundGranted(
                refund_id=f"g{number}",
                total=700,
                reason="goodwill",
                source=RefundSource.OVERPAYMENT,
                adjustment=700,
            ),
            RefundAllocated(
                refund_id=f"g{number}",
                parts=(PaymentPart(f"x{number}", 700),),
                strategy="explicit",
            ),
        )


def told(book: DecidedBook) -> int:
    """Return issued + restored − redeemed − expired, as the events say."""
    signs: dict[type, int] = {
        ValueIssued: 1,
        ValueRestored: 1,
        ValueRedeemed: -1,
        ValueExpired: -1,
    }
    found: list[Any] = [event for _, event in book.events if type(event) in signs]
    return sum([signs[type(event)] * event.amount for event in found])


@given(st.lists(steps, min_size=10, max_size=30), st.booleans())
def test_what_was_issued_is_spent_once(
    done: list[tuple[str, str, int, int | str]], points: bool
) -> None:
    """issued + restored − redeemed − expired ≠ balance, a lot below zero, or escrow ≠ Σ slices."""
    book = DecidedBook()
    book.given("order-o1", *placed_order(a=4))
    grants(book)
    currency = "PTS" if points else "USD"
    account = f"liabilities:{'loyalty' if points else 'store_credit'}:b1"
    for first in (("issue", "1", 900, 2), ("issue", "2", 700, 0), ("redeem", "1", 1500, 0)):
        book.run(command_of(first, points=points, now_hours=0))
    hours = 0
    for step in done:
        if step[0] == "wait":
            hours += int(step[3])
            book.now = START + timedelta(hours=hours)
            continue
        try:
            book.run(command_of(step, points=points, now_hours=hours))
        except Rejected:
            continue
        state = book.states["storedvalue-v"]
        assert state.balance == -book.balance(account, currency) >= 0
        assert state.balance == told(book)
        assert state.balance == sum(lot.remaining for lot in state.lots.values())
        assert all(0 <= lot.remaining <= lot.issued for lot in state.lots.values())
        for redemption in state.redemptions.values():
            assert redemption.restored_amount <= redemption.amount
            assert redemption.order_restored <= redemption.order_amount
            assert sum(part.amount for part in redemption.lots) == redemption.amount
        order = book.states["order-o1"]
        for one in order.grants.values():
            assert sum(one.settled.values()) <= sum(one.allocations.values())
        assert order.escrow_held == -book.balance("liabilities:escrow:o1") >= 0
        assert all(one.available >= 0 for one in order.slices.values())
