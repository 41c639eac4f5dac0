"""Laws of dividing, writing and posting amounts, at any size."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import UnbalancedEntry
from orderledger.ledger.journal import (
    Entry,
    Layer,
    Posting,
    credit,
    debit,
    decode_entry,
    encode_entry,
    entry,
)
from orderledger.ledger.money import (
    Money,
    allocate,
    apply_rate,
    cumulative_part,
    format_minor,
    line_total,
    parse_minor,
)

BIG = 10**24
AMOUNTS = st.integers(-BIG, BIG)
WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=30).filter(any)
CURRENCIES = st.sampled_from(["JPY", "USD", "EUR", "KWD", "CLF", "PTS"])
ACCOUNTS = st.from_regex(
    r"\A(assets|liabilities|income|expenses|equity)(:[A-Za-z0-9][A-Za-z0-9._@/+-]{0,8}){1,3}\Z"
)
LEGS = st.lists(
    st.tuples(ACCOUNTS, ACCOUNTS, CURRENCIES, AMOUNTS, st.sampled_from(list(Layer))), max_size=8
)


@given(AMOUNTS, WEIGHTS)
@example(BIG + 1, [1, 2])
def test_allocation_is_exact_and_fair(total: int, weights: list[int]) -> None:
    """A part that is a unit away from its share, or a sum that is not the total."""
    parts = allocate(total, weights)
    whole = sum(weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        share = Fraction(total * weight, whole)
        assert floor(share) <= part <= ceil(share)
        if weight == 0:
            assert part == 0


@given(AMOUNTS, WEIGHTS)
def test_allocation_mirrors(total: int, weights: list[int]) -> None:
    """A refund that is divided otherwise than what it refunds."""
    assert allocate(-total, weights) == tuple(-part for part in allocate(total, weights))


@given(st.integers(0, BIG), WEIGHTS, st.integers(1, 1000))
def test_allocation_ignores_the_scale_of_weights(
    total: int, weights: list[int], factor: int
) -> None:
    """Weights in cents and in dollars that divide differently."""
    assert allocate(total, weights) == allocate(total, [weight * factor for weight in weights])


@given(st.integers(0, 10**9), WEIGHTS)
def test_extra_units_go_to_the_largest_remainders(total: int, weights: list[int]) -> None:
    """A unit given to a smaller fraction, or to the later of two equal ones."""
    whole = sum(weights)
    parts = allocate(total, weights)
    rest = [total * weight % whole for weight in weights]
    extra = [part - total * weight // whole for part, weight in zip(parts, weights, strict=True)]
    assert set(extra) <= {0, 1}
    ranked = sorted(range(len(weights)), key=lambda index: (-rest[index], index))
    assert {index for index, one in enumerate(extra) if one} == set(ranked[: sum(extra)])


@given(AMOUNTS, st.lists(st.integers(0, 10**15), min_size=1, max_size=20).filter(any))
def test_partials_land_on_the_total(total: int, steps: list[int]) -> None:
    """A series of refunds that ends a unit beside what it refunds."""
    base, done, parts = sum(steps), 0, []
    for step in steps:
        parts.append(cumulative_part(total, base, done, done + step))
        done += step
        assert abs(sum(parts) - Fraction(total * done, base)) <= Fraction(1, 2)
    assert sum(parts) == total
    # No partial has the other sign: a refund that charges.
    assert all(part * total >= 0 for part in parts)


@given(AMOUNTS, CURRENCIES)
def test_text_round_trip(minor: int, currency: str) -> None:
    """An amount that changes by being written and read."""
    text = format_minor(minor, currency)
    assert parse_minor(text, currency) == minor
    assert Decimal(text).as_tuple().exponent == -exponent(currency)
    assert Money.parse(str(Money(minor, currency))) == Money(minor, currency)


@given(AMOUNTS, st.decimals(0, 10, allow_nan=False, allow_infinity=False, places=6))
def test_rates_are_within_half_a_unit(minor: int, rate: Decimal) -> None:
    """A commission through a float, which is off by millions at this size."""
    exact = Fraction(rate) * minor
    found = apply_rate(minor, rate)
    assert abs(found - exact) <= Fraction(1, 2)
    if abs(found - exact) == Fraction(1, 2):
        assert found % 2 == 0
    assert apply_rate(-minor, rate) == -found


@given(
    st.integers(-(10**9), 10**9),
    st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=5),
    CURRENCIES,
)
def test_line_totals_are_within_half_a_unit(quantity: int, price: Decimal, currency: str) -> None:
    """A line whose unit price was rounded first."""
    exact = Fraction(price) * quantity * 10 ** exponent(currency)
    assert line_total(quantity, price, currency) == round(exact)


@given(AMOUNTS, AMOUNTS, AMOUNTS, CURRENCIES)
def test_addition_is_that_of_integers(one: int, two: int, three: int, currency: str) -> None:
    """A sum that depends on its order."""
    a, b, c = Money(one, currency), Money(two, currency), Money(three, currency)
    assert (a + b) + c == a + (b + c) == Money(one + two + three, currency)
    assert a - b == a + -b
    assert (a < b) == (one < two)


@given(LEGS)
def test_entries_round_trip(rows: list[tuple[str, str, str, int, Layer]]) -> None:
    """An entry that its text does not give back, or an order that depends on the reader."""
    made = entry(
        *(debit(source, currency, minor, layer) for source, _, currency, minor, layer in rows),
        *(credit(target, currency, minor, layer) for _, target, currency, minor, layer in rows),
    )
    assert decode_entry(encode_entry(made)) == made
    assert entry(*made.postings) == made
    assert decode_entry(encode_entry(made.reversed())).reversed() == made


@given(st.lists(st.tuples(ACCOUNTS, CURRENCIES, AMOUNTS, st.sampled_from(list(Layer)))))
def test_an_entry_is_balanced_or_does_not_exist(
    rows: list[tuple[str, str, int, Layer]],
) -> None:
    """An entry that exists with a residue."""
    legs = tuple(Posting(*row) for row in rows)
    sums: dict[tuple[Layer, str], int] = {}
    for leg in legs:
        sums[leg.layer, leg.currency] = sums.get((leg.layer, leg.currency), 0) + leg.minor
    if any(sums.values()):
        with pytest.raises(UnbalancedEntry):
            Entry(legs)
    else:
        assert Entry(legs).postings == legs


@given(LEGS.filter(bool), st.integers(-BIG, BIG))
def test_one_changed_amount_is_noticed(
    rows: list[tuple[str, str, str, int, Layer]], change: int
) -> None:
    """A digit changed in the stored text that still sums to zero."""
    made = entry(
        *(debit(source, currency, minor, layer) for source, _, currency, minor, layer in rows),
        *(credit(target, currency, minor, layer) for _, target, currency, minor, layer in rows),
    )
    assume(made.postings)
    assume(change)
    first, *others = made.postings
    changed = Posting(first.account, first.currency, first.minor + change, first.layer)
    with pytest.raises(UnbalancedEntry):
        Entry((changed, *others))
