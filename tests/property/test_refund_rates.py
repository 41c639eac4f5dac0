"""Laws of refunds after releases at any rates: exact at the end, never beyond what was given."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given, note
from hypothesis import strategies as st

from orderledger.commands.order_commands import (
    AllocateRefund,
    AllocationStrategy,
    ConversionTerms,
    GrantRefund,
    MeetReleaseCondition,
    ReleaseFunds,
)
from orderledger.commands.payment_commands import RecordDeclined, RequestRefund, RetryRefund
from orderledger.ledger import accounts
from orderledger.ledger.money import apply_rate, cumulative_part
from orderledger.ledger.order_content import ShippingCharge, Tax
from orderledger.ledger.order_events import MovedLine, PaymentPart, RefundSource
from orderledger.ledger.payment_events import FxQuote
from tests.order_book import OrderBook, item, platform

SELLER = accounts.seller("s1")
CURRENCIES = ("USD", "EUR", "JPY")
RATES = st.decimals("0", "0.8", places=3)
GIVEN = (SELLER, accounts.tax("DE"), accounts.tax("NY"), accounts.tips("s1"))
SETTLED = (*GIVEN, accounts.FX_POSITION, accounts.PROMO, accounts.refunds("o1"))


class Part(msgspec.Struct, frozen=True):
    """A payment of a part of the order, and the release that follows it."""

    share: int
    released: int
    rate: Decimal
    tax_rate: Decimal
    conversion: ConversionTerms | None


class Case(msgspec.Struct, frozen=True):
    """An order, how it was paid and released, and in which steps everything is given back."""

    quantity: int
    price: str
    tax: int
    freight: int
    coupon: int
    quoted: Decimal | None
    """The price of the order's currency if the only payment is in another one."""
    parts: list[Part]
    steps: list[int]
    halves: list[int]
    declined: list[bool]


_conversions = st.none() | st.builds(
    lambda currency, rate: ConversionTerms(currency=currency, rate=rate),
    st.sampled_from(["EUR", "JPY"]),
    st.decimals("0.01", "200", places=4),
)
_parts = st.builds(
    Part,
    st.integers(1, 5),
    st.integers(1, 4),
    RATES,
    st.sampled_from([Decimal(0), Decimal("0.19")]),
    _conversions,
)


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    quantity = draw(st.integers(1, 6))
    price = draw(st.integers(100, 9_999))
    parts = draw(st.lists(_parts, min_size=1, max_size=3))
    left, steps = quantity, []
    while left:
        steps.append(draw(st.integers(1, left)))
        left -= steps[-1]
    return Case(
        quantity,
        f"{price // 100}.{price % 100:02}",
        draw(st.sampled_from([0, 7, 825])),
        draw(st.sampled_from([0, 501])),
        draw(st.sampled_from([0, 0, quantity * price // 7])),
        draw(st.none() | st.decimals("1", "150", places=2)) if len(parts) == 1 else None,
        parts,
        steps,
        draw(st.lists(st.integers(0, 3), min_size=6, max_size=6)),
        draw(st.lists(st.booleans(), min_size=6, max_size=6)),
    )


def _paid_and_released(case: Case) -> OrderBook:
    """Return the book of an order that was paid in parts, each followed by a release."""
    book = OrderBook()
    coupon = (platform("code", case.coupon),) if case.coupon else ()
    tax = (Tax("NY", case.tax),) if case.tax else ()
    line = item(f"a {case.quantity} x {case.price}", tax=tax, discounts=coupon)
    freight = (ShippingCharge("x", "s1", case.freight),) if case.freight else ()
    book.confirmed(line, shipping=freight)
    book.run(MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    total = book.order().total
    weights = [part.share for part in case.parts]
    before = 0
    for number, part in enumerate(case.parts):
        after = before + part.share
        amount = cumulative_part(total, sum(weights), before, after)
        before = after
        if case.quoted is not None:
            quote = FxQuote("q", total, "USD", case.quoted)
            book.pay("p0", apply_rate(total, case.quoted), currency="EUR", fx=quote)
        elif amount:
            book.pay(f"p{number}", amount)
        _release(book, number, part)
    return book


def _release(book: OrderBook, number: int, part: Part) -> None:
    one = book.order().slices.get("s1")
    amount = one.available * part.released // 4 if one is not None else 0
    assert _release_of(book, number, part, amount or None) in ("", "amount_exceeds_available")


def _release_of(book: OrderBook, number: int, part: Part, amount: int | None) -> str:
    release = ReleaseFunds(
        order_id="o1",
        seller="s1",
        release_id=f"rel{number}",
        amount=amount,
        commission_rate=part.rate,
        rate_version="v",
        commission_tax_rate=part.tax_rate,
        commission_tax_jurisdiction="DE",
        conversion=part.conversion,
    )
    return book.refusal(release)


def _balances(book: OrderBook, *names: str) -> dict[tuple[str, str], int]:
    return {(name, code): book.balance(name, code) for name in names for code in CURRENCIES}


def _check(book: OrderBook, gave: dict[tuple[str, str], int]) -> None:
    """Nobody gave back more than they got, nor got anything by giving back."""
    for (name, code), minor in _balances(book, *GIVEN).items():
        low, high = sorted((gave[name, code], 0))
        assert low <= minor <= high, (name, code)
    for code in CURRENCIES:
        back = book.balance(accounts.COMMISSION_REFUNDED, code)
        assert 0 <= back <= -book.balance(accounts.COMMISSION, code)


def _grant(book: OrderBook, case: Case, number: int, units: int) -> str:
    is_last = number == len(case.steps) - 1
    refund_id = f"r{number}"
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id=refund_id,
            reason="r",
            source=RefundSource.RETURN,
            lines=(MovedLine("a", units),),
            shipping=case.freight if is_last else 0,
        )
    )
    # Backwards, so that the first refunds are not of the first captures.
    left, parts = book.order().grants[refund_id].total, []
    for payment_id in reversed(list(book.order().payments)):
        payment = book.states[f"payment-{payment_id}"]
        part = left if case.quoted else min(left, payment.refundable)
        if part:
            parts.append(PaymentPart(payment_id, part))
            left -= part
    if parts:
        book.run(
            AllocateRefund(
                order_id="o1",
                refund_id=refund_id,
                strategy=AllocationStrategy.EXPLICIT,
                parts=tuple(parts),
            )
        )
    return refund_id


def _request(book: OrderBook, payment_id: str, refund_id: str, **fields: Any) -> str:
    """Request an amount of the order's currency in the payment's; return the operation's id."""
    payment = book.states[f"payment-{payment_id}"]
    amount = paid = fields["order_amount"]
    if payment.fx is not None:
        done = sum(
            [op.order_amount for op in payment.operations.values() if op.refund_id and op.done]
        )
        paid = cumulative_part(payment.amount, payment.fx.order_amount, done, done + amount)
    is_retry = any(op.refund_id == refund_id and not op.done for op in payment.operations.values())
    kind = RetryRefund if is_retry else RequestRefund
    op_id = f"{refund_id}-{payment_id}-{len(payment.operations)}"
    command = kind(
        payment_id=payment_id,
        op_id=op_id,
        amount=paid,
        currency=payment.currency,
        refund_id=refund_id,
        **fields,
    )
    note(f"{op_id} {amount} {paid}")
    book.run(command)
    return op_id


@given(_cases())
def test_refunds_in_any_steps_end_where_they_began(case: Case) -> None:
    """
    Catches a seller, an authority, a commission or a currency position left with something after
    everything was given back, or one that gave back more than it got on the way.
    """
    book = _paid_and_released(case)
    gave = _balances(book, *GIVEN)
    for number, units in enumerate(case.steps):
        refund_id = _grant(book, case, number, units)
        for payment_id, whole in book.order().grants[refund_id].allocations.items():
            first = whole * case.halves[number] // 4
            for amount in (first, whole - first):
                if not amount:
                    continue
                op_id = _request(book, payment_id, refund_id, order_amount=amount)
                _check(book, gave)
                if case.declined[number]:
                    book.run(RecordDeclined(payment_id=payment_id, op_id=op_id, provider_ref="x"))
                    _check(book, gave)
                    op_id = _request(book, payment_id, refund_id, order_amount=amount)
                book.succeed(payment_id, op_id)
                _check(book, gave)
    assert {key: minor for key, minor in _balances(book, *SETTLED).items() if minor} == {}
    for code in CURRENCIES:
        back = book.balance(accounts.COMMISSION_REFUNDED, code)
        assert back == -book.balance(accounts.COMMISSION, code)
        assert book.escrow(currency=code) == 0


class Bookkeeper:
    """The commission that comes back, by hand: plain lists, written from docs/money.md."""

    def __init__(self, releases: list[tuple[int, Decimal, dict[str, int]]]) -> None:
        self.rows = [
            {"items": items, "taken": round(Fraction(rate) * items), "given": 0, "back": 0}
            for items, rate, _ in releases
        ]
        self.paid = [dict(paid) for _, _, paid in releases]

    def refund(self, tender: str, amount: int) -> None:
        for is_own in (True, False):
            for row, paid in zip(self.rows, self.paid, strict=True):
                room = row["items"] - row["given"]
                if is_own:
                    room = min(room, paid.get(tender, 0))
                part = min(room, amount)
                amount -= part
                paid[tender] = paid.get(tender, 0) - part
                row["given"] += part
                if row["items"]:
                    row["back"] = round(Fraction(row["taken"] * row["given"], row["items"]))

    @property
    def back(self) -> int:
        return sum([row["back"] for row in self.rows])


@given(
    st.lists(st.tuples(st.integers(1, 900), RATES), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 900)), max_size=8),
)
def test_commission_comes_back_as_a_bookkeeper_computes_it(
    paid: list[tuple[int, Decimal]], refunds: list[tuple[int, int]]
) -> None:
    """Catches a blended rate, another order of the releases, or roundings that add up."""
    total = sum([amount for amount, _ in paid])
    book = OrderBook()
    book.confirmed(f"a {total} x 0.01")
    book.run(MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    # One release spans the end of one payment and the beginning of the next.
    early = paid[0][0] // 2
    releases: list[tuple[int, Decimal, dict[str, int]]] = []
    left: dict[str, int] = {}
    for number, (amount, rate) in enumerate(paid):
        book.pay(f"p{number}", amount)
        left[f"p{number}"] = amount
        whole = sum(left.values()) if number or not early else early
        part = Part(1, 4, rate, Decimal(0), None)
        _release_of(book, number, part, whole)
        taken: dict[str, int] = {}
        for tender in list(left):
            taken[tender] = min(left[tender], whole - sum(taken.values()))
            left[tender] -= taken[tender]
        releases.append((whole, rate, taken))
    if sum(left.values()):
        _release_of(book, len(paid), Part(1, 4, Decimal("0.5"), Decimal(0), None), None)
        releases.append((sum(left.values()), Decimal("0.5"), left))
    byhand = Bookkeeper(releases)
    for number, (payment, wanted) in enumerate(refunds):
        payment_id = f"p{payment % len(paid)}"
        amount = min(wanted, book.states[f"payment-{payment_id}"].refundable)
        if amount:
            _refund_cents(book, f"r{number}", payment_id, amount)
            byhand.refund(payment_id, amount)
        assert book.balance(accounts.COMMISSION_REFUNDED) == byhand.back


def _refund_cents(book: OrderBook, refund_id: str, payment_id: str, amount: int) -> None:
    """Give units of one cent back by one payment."""
    moved, source = (MovedLine("a", amount),), RefundSource.RETURN
    book.run(
        GrantRefund(order_id="o1", refund_id=refund_id, reason="r", source=source, lines=moved)
    )
    parts = (PaymentPart(payment_id, amount),)
    explicit = AllocationStrategy.EXPLICIT
    book.run(AllocateRefund(order_id="o1", refund_id=refund_id, strategy=explicit, parts=parts))
    book.succeed(payment_id, _request(book, payment_id, refund_id, order_amount=amount))
