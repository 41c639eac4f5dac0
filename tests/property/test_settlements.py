"""
Invariant 22: opening + Σ net lines = payout + closing; a file imported twice changes nothing.

And what makes it worth something: the provider's account in the book is at every step what the
lines leave, less what nobody has explained yet.
"""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from orderledger.commands import model as m
from orderledger.ledger.settlements import SettlementStatus
from tests.settlement_book import PSP, SHA, SettledShop, line


@dataclass(frozen=True)
class Drawn:
    """What one line of the file is: a kind, and by how much it is off what the book has."""

    kind: str
    amount: int
    fee: int
    off: int
    repeats: bool


KINDS = ("known", "known", "unknown", "fee", "payout", "reserve", "adjustment", "negative", "cut")
LINES = st.lists(
    st.builds(
        Drawn,
        kind=st.sampled_from(KINDS),
        amount=st.integers(1, 5_000),
        fee=st.integers(-20, 200),
        off=st.sampled_from([0, 0, 0, 1, -1, 40, -40]),
        repeats=st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=7,
)


def written(drawn: list[Drawn]) -> tuple[list[m.SettlementLine], dict[int, int]]:
    """Return the lines, and the captured amounts of the payments that the book knows."""
    lines: list[m.SettlementLine] = []
    sales: dict[int, int] = {}
    for index, one in enumerate(drawn):
        for _ in range(2 if one.repeats else 1):
            number, reference = len(lines) + 1, f"ref-buy-p{index}"
            if one.kind in ("known", "cut"):
                sales[index] = one.amount
                gross = max(1, one.amount + one.off)
                made = line(number, "payment", gross, one.fee, provider_ref=reference)
                if one.kind == "cut":
                    made = line(
                        number, "payment", gross, one.fee, net=gross - 7, provider_ref=reference
                    )
            elif one.kind == "unknown":
                made = line(number, "payment", one.amount, one.fee, provider_ref=f"who{index}")
            elif one.kind == "negative":
                made = line(number, "payment", -one.amount, one.fee, provider_ref=f"who{index}")
            elif one.kind == "payout":
                made = line(number, "payout", -one.amount, abs(one.fee), merchant_ref=str(index))
            else:
                made = line(number, one.kind, -one.amount, merchant_ref=str(index))
            lines.append(made)
    return lines, sales


@given(LINES, st.integers(0, 3), st.sampled_from([None, 0, 5]))
def test_a_batch_balances_and_the_book_follows_it(
    drawn: list[Drawn], tolerance: int, wrong: int | None
) -> None:
    """Catches a line that posts twice, not at all, or another amount than explains the balance."""
    lines, sales = written(drawn)
    shop = SettledShop()
    for index, amount in sales.items():
        shop.sale(amount, f"p{index}", f"o{index}")
    left = sum([one.net for one in lines])
    balances = () if wrong is None else (m.StatedBalance("USD", 0, left + wrong),)
    shop.begin(len(lines), tolerance=tolerance, balances=balances)
    for one in lines:
        name = one.provider_ref.removeprefix("ref-buy-")
        shop.record(one, *([name] if name != one.provider_ref else []))
        check_book(shop, sales)
    head = shop.store.head().size
    shop.begin(len(lines), tolerance=tolerance, balances=balances)
    for one in lines:
        shop.record(one)
    assert shop.store.head().size == head
    for name in shop.breaks():
        shop.resolve(name, "booked", "expenses:unclear")
    state = shop.settlement()
    assert state.status is SettlementStatus.BALANCED
    for balance in state.balances:
        right = balance.payout + balance.closing + balance.difference
        assert balance.opening + balance.net == right
        assert balance.net - balance.payout == left
        assert balance.difference == -(wrong or 0)
    assert shop.posted(PSP) == (left + (wrong or 0),)
    assert state.sha256 == SHA


def check_book(shop: SettledShop, sales: dict[int, int]) -> None:
    """The provider's account = Σ nets − what open breaks lack + captures no line has named."""
    state = shop.settlement()
    recorded = sum([one.line.net for _, one in state.lines.items()])
    lacking = 0
    named: set[str] = set()
    for one in state.open_breaks():
        if not one.account and one.kind is not m.BreakKind.PAYOUT_SUM_DIFF:
            lacking += one.amount
        if one.part is not None:
            named.add(one.part.payment_id)
    for _, known in state.lines.items():
        named |= {part.payment_id for part in known.parts}
    unnamed = sum([amount for index, amount in sales.items() if f"p{index}" not in named])
    assert shop.posted(PSP) == (recorded - lacking + unnamed,)
