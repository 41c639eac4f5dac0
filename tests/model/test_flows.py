"""
Whole flows with any split: captures, refunds, releases and coupons over several sellers, in
currencies with 0, 2 and 3 decimals. Whatever the parts, escrow ends at zero.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.order_content import Discount, Funder, LineInput, ShippingCharge, Tax, Tip
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.payment_events import Capabilities, CaptureMode
from orderledger.ledger.payment_operations import FundingPart
from tests.model.shop import Shop, balances_of

DECIMALS: Final = {"JPY": 0, "USD": 2, "KWD": 3}
currencies = st.sampled_from(sorted(DECIMALS))
MANY: Final = Capabilities(multicapture=True, captures_max=50)


@st.composite
def lines(draw: st.DrawFn, currency: str) -> tuple[LineInput, ...]:
    """Return one to four lines of up to three sellers, some with tax and coupons."""
    made: list[LineInput] = []
    for number in range(draw(st.integers(1, 4))):
        quantity = draw(st.integers(1, 5))
        price = draw(st.integers(1, 5_000))
        amount = quantity * price
        coupon = draw(st.integers(0, amount // 2))
        parts = [Discount(f"c{number}", coupon, Funder.PLATFORM)] if coupon else []
        own = draw(st.integers(0, (amount - coupon) // 2))
        parts += [Discount(f"d{number}", own)] if own else []
        tax = draw(st.integers(0, amount // 5))
        made.append(
            LineInput(
                f"l{number}",
                "sku",
                draw(st.sampled_from(("s1", "s2", "s3"))),
                quantity,
                Decimal(price).scaleb(-DECIMALS[currency]),
                tuple(parts),
                (Tax("us", tax),) if tax else (),
            )
        )
    return tuple(made)


@st.composite
def parts_of(draw: st.DrawFn, total: int) -> list[int]:
    """Return one to four positive parts of a total, in order."""
    cuts = sorted({draw(st.integers(1, total)) for _ in range(draw(st.integers(0, 3)))} | {total})
    return [cut - before for before, cut in zip([0, *cuts], cuts, strict=False)]


def _paid(data: st.DataObject, currency: str) -> tuple[Shop, int]:
    """Return a shop whose order o1 is paid in full, by one payment captured in parts."""
    shop = Shop(currency=currency)
    content = data.draw(lines(currency))
    extra: dict[str, Any] = {}
    if data.draw(st.booleans()):
        extra["shipping"] = (ShippingCharge("sh", "s1", data.draw(st.integers(1, 900))),)
        extra["tips"] = (Tip("s2", data.draw(st.integers(1, 900))),)
    shop.place(*content, **extra)
    total = shop.order().total
    assume(total > 0)
    shop.initiate(total, capture_mode=CaptureMode.MULTI, capabilities=MANY)
    shop.run(m.Authorise(payment_id="p1", op_id="auth", amount=total, currency=currency))
    shop.succeed("auth")
    for number, part in enumerate(data.draw(parts_of(total))):
        op_id = f"cap{number}"
        shop.run(
            m.Capture(payment_id="p1", op_id=op_id, amount=part, currency=currency, is_final=False)
        )
        shop.succeed(op_id)
        _check(shop)
    return shop, total


def _check(shop: Shop) -> None:
    """Assert invariants 18 and 19 and the trial balance."""
    order = shop.order()
    assert order.escrow_held == shop.escrow()
    assert all(one.available >= 0 for one in order.slices.values())
    sums: dict[str, int] = {}
    for (layer, _, _), minor in balances_of(shop.store).items():
        sums[layer] = sums.get(layer, 0) + minor
    assert not any(sums.values())


@settings(max_examples=60)
@given(st.data(), currencies)
def test_cancelling_gives_everything_back_in_any_parts(data: st.DataObject, currency: str) -> None:
    """Catches a remainder in escrow, or a coupon not returned, after split captures and refunds."""
    shop, total = _paid(data, currency)
    shop.run(m.CancelOrder(order_id="o1", reason="x", by="b1"))
    shop.run(m.FinishCancellation(order_id="o1", refund_id="r1"))
    shop.allocate("r1")
    for number, part in enumerate(data.draw(parts_of(total))):
        shop.succeed(shop.request("r1", part, op_id=f"r{number}"))
        _check(shop)
    assert balances_of(shop.store) == {}


@settings(max_examples=60)
@given(st.data(), currencies)
def test_returning_every_unit_gives_everything_back(data: st.DataObject, currency: str) -> None:
    """Catches units whose refunds do not sum to what was charged (invariants 10 and 12)."""
    shop, _ = _paid(data, currency)
    units = [
        line_id for line_id, line in shop.order().lines.items() for _ in range(line.line.quantity)
    ]
    rest = sum(tip.amount for tip in shop.order().tips)
    shipping = sum(charge.charged for charge in shop.order().shipping)
    is_whole = True
    for number, line_id in enumerate(data.draw(st.permutations(units))):
        command = m.GrantRefund(
            order_id="o1",
            refund_id=f"r{number}",
            reason="x",
            source=RefundSource.RETURN,
            lines=(MovedLine(line_id, 1),),
        )
        if shop.refusal(command) == "amount_not_positive":
            is_whole = False
            continue
        _settle(shop, f"r{number}")
        _check(shop)
    if shipping + rest:
        shop.grant("last", rest, shipping=shipping)
        _settle(shop, "last")
    left = shop.order().totals.grand - shop.order().granted
    # A unit whose share rounds to nothing is not granted by itself.
    assert 0 <= left <= len(units)
    if not left and is_whole:
        # A unit that was not granted keeps its part of a coupon for its seller.
        assert shop.escrow() == 0


def _settle(shop: Shop, refund_id: str) -> None:
    shop.allocate(refund_id)
    shop.succeed(shop.request(refund_id, shop.order().grants[refund_id].total))


@settings(max_examples=60)
@given(st.data(), currencies)
def test_release_in_any_parts_pays_out_everything(data: st.DataObject, currency: str) -> None:
    """Catches money left in escrow, or paid to the wrong account, after partial releases."""
    shop, _ = _paid(data, currency)
    rate = Decimal("0.12")
    sellers = sorted(
        {line.line.seller for line in shop.order().lines.values()}
        | {one.seller for one in shop.order().shipping}
        | {one.seller for one in shop.order().tips}
    )
    for seller in sellers:
        shop.run(m.MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"))
        held = shop.order().slices[seller].available if seller in shop.order().slices else 0
        for number, part in enumerate(data.draw(parts_of(held)) if held else []):
            shop.run(
                m.ReleaseFunds(
                    order_id="o1",
                    release_id=f"{seller}-{number}",
                    seller=seller,
                    commission_rate=rate,
                    rate_version="v1",
                    amount=part,
                )
            )
            _check(shop)
    assert shop.escrow() == 0
    order = shop.order()
    taxes = sum(line.line.tax_total for line in order.lines.values())
    assert -shop.balance(accounts.tax("us")) == taxes
    assert -shop.balance(accounts.tips("s2")) == sum(tip.amount for tip in order.tips)
    items = sum(one.released_items for one in order.slices.values())
    earned = sum(line.line.net + line.line.platform_discount for line in order.lines.values())
    assert items == earned
    taken = -shop.balance(accounts.COMMISSION)
    # Each release rounds its own commission: at most half a unit away each.
    assert abs(taken - Fraction(rate) * items) <= Fraction(len(order.releases), 2)


@settings(max_examples=40)
@given(st.data(), currencies)
def test_split_tender_is_given_back_to_each_tender(data: st.DataObject, currency: str) -> None:
    """Catches stored value refunded to the card, or the card's money to stored value."""
    shop = Shop(currency=currency)
    shop.place(*data.draw(lines(currency)))
    total = shop.order().total
    assume(total > 1)
    value = data.draw(st.integers(1, total - 1))
    shop.issue(value)
    shop.run(
        m.RedeemValue(
            account_id="v1", redemption_id="z1", amount=value, currency=currency, order_id="o1"
        )
    )
    shop.pay(total - value)
    _check(shop)
    shop.run(m.CancelOrder(order_id="o1", reason="x", by="b1"))
    shop.run(m.FinishCancellation(order_id="o1", refund_id="r1"))
    shop.allocate("r1")
    for number, part in enumerate(data.draw(parts_of(value))):
        shop.run(
            m.RestoreValue(
                account_id="v1",
                restore_id=f"x{number}",
                redemption_id="z1",
                order_id="o1",
                refund_id="r1",
                amount=part,
            )
        )
        _check(shop)
    shop.succeed(shop.request("r1", total - value))
    assert shop.order().grants["r1"].outstanding == 0
    owed = {("posted", accounts.store_credit("b1"), currency): -value}
    assert balances_of(shop.store) == {**owed, ("posted", accounts.GOODWILL, currency): value}


@pytest.mark.parametrize("taken", [1, 3_334, 9_999])
def test_cancellation_after_a_partial_capture(taken: int) -> None:
    """Catches an order that cannot be cancelled, or money that stays, once part was captured."""
    shop = Shop()
    shop.place(
        LineInput("a", "sku", "s1", 1, Decimal("33.33")),
        LineInput("b", "sku", "s2", 1, Decimal("66.67")),
    )
    shop.initiate(10_000, capture_mode=CaptureMode.MULTI, capabilities=MANY)
    shop.run(m.Authorise(payment_id="p1", op_id="auth", amount=10_000, currency="USD"))
    shop.succeed("auth")
    capture = m.Capture(payment_id="p1", op_id="cap", amount=taken, currency="USD", is_final=False)
    shop.run(capture)
    shop.run(m.CancelOrder(order_id="o1", reason="x", by="b1"))
    assert shop.refusal(m.Void(payment_id="p1", op_id="v", currency="USD"))
    assert shop.refusal(m.FinishCancellation(order_id="o1", refund_id="r1"))
    shop.succeed("cap")
    assert shop.refusal(m.FinishCancellation(order_id="o1", refund_id="r1")) == "wrong_state"
    shop.run(m.Void(payment_id="p1", op_id="v", currency="USD"))
    shop.succeed("v")
    shop.run(m.FinishCancellation(order_id="o1", refund_id="r1"))
    assert shop.order().granted == taken
    _settle(shop, "r1")
    assert balances_of(shop.store) == {}


def test_refund_after_release_takes_back_what_the_release_gave() -> None:
    """Catches a full refund after a release that leaves commission, tax or debt behind."""
    shop = Shop()
    shop.place(LineInput("a", "sku", "s1", 1, Decimal(100), (), (Tax("us", 825),)))
    shop.pay(10_825)
    shop.release("s1")
    assert shop.balance(accounts.seller("s1")) == -8_800
    shop.grant("r1", 0, ("a", 1))
    shop.allocate("r1")
    parts = (
        FundingPart(accounts.seller("s1"), 8_800),
        FundingPart(accounts.COMMISSION_REFUNDED, 1_200),
        FundingPart(accounts.tax("us"), 825),
    )
    op_id = shop.request("r1", 10_825, funding=parts)
    assert shop.balance(accounts.refunds("o1")) == -10_825
    shop.run(m.RecordDeclined(payment_id="p1", op_id=op_id))
    assert shop.balance(accounts.seller("s1")) == -8_800
    retried = shop.request("r1", 10_825, op_id="again", kind=m.RetryRefund, funding=parts)
    shop.succeed(retried)
    shop.run(m.RecordReversed(payment_id="p1", op_id=retried))
    assert shop.balance(accounts.refunds("o1")) == -10_825
    shop.succeed(shop.request("r1", 10_825, op_id="third", kind=m.RetryRefund))
    left = {("posted", accounts.COMMISSION, "USD"): -1_200}
    assert balances_of(shop.store) == {
        **left,
        ("posted", accounts.COMMISSION_REFUNDED, "USD"): 1_200,
    }
