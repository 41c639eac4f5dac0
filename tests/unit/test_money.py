"""Amounts: the worked figures, and what is refused."""

from decimal import Decimal

import pytest

from orderledger.ledger.errors import InvalidMoney, Reason, Rejected, UnknownCurrency
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


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (15, (80, 8, 12), (12, 1, 2)),
        (100, (1, 1, 1), (34, 33, 33)),
        (-100, (1, 1, 1), (-34, -33, -33)),
        (10001, (60, 30, 10), (6001, 3000, 1000)),
        (BIG + 1, (1, 2), ((BIG + 2) // 3, 2 * BIG // 3 + 1)),
        (0, (1, 2, 3), (0, 0, 0)),
        (7, (0, 1, 0), (0, 7, 0)),
        (1, (1, 1), (1, 0)),
        (5, (3,), (5,)),
    ],
)
def test_allocation(total: int, weights: tuple[int, ...], parts: tuple[int, ...]) -> None:
    """A cent that is lost, made, or given to another part than the rule says."""
    assert allocate(total, weights) == parts
    assert sum(parts) == total


@pytest.mark.parametrize("weights", [(), (0,), (0, 0, 0), (1, -1), (2, -1), (-1,)])
def test_allocation_needs_weights(weights: tuple[int, ...]) -> None:
    """A division by zero, or a part of the other sign."""
    with pytest.raises(InvalidMoney):
        allocate(100, weights)


@pytest.mark.parametrize(
    ("total", "base", "steps", "parts"),
    [
        (825, 10000, (3000, 3333, 3667), (248, 274, 303)),
        (-825, 10000, (3000, 3333, 3667), (-248, -274, -303)),
        (1, 3, (1, 1, 1), (0, 1, 0)),
        (0, 5, (2, 3), (0, 0)),
        (BIG + 1, 3, (1, 1, 1), (BIG // 3 + 1, BIG // 3, BIG // 3 + 1)),
    ],
)
def test_series_of_partials(
    total: int, base: int, steps: tuple[int, ...], parts: tuple[int, ...]
) -> None:
    """Refunds of tax that sum to a cent more than the tax (826 with naive rounding)."""
    done, found = 0, []
    for step in steps:
        found.append(cumulative_part(total, base, done, done + step))
        done += step
    assert tuple(found) == parts
    assert sum(found) == total


@pytest.mark.parametrize(
    ("base", "before", "after"), [(0, 0, 0), (-1, 0, 0), (10, -1, 5), (10, 6, 5), (10, 0, 11)]
)
def test_a_step_lies_within_its_base(base: int, before: int, after: int) -> None:
    """A refund of more than there was."""
    with pytest.raises(InvalidMoney):
        cumulative_part(100, base, before, after)


@pytest.mark.parametrize(
    ("minor", "rate", "expected"),
    [
        (10000, "0.12", 1200),
        (12325, "0.029", 357),
        (5, "0.5", 2),
        (15, "0.5", 8),
        (-5, "0.5", -2),
        (-15, "0.5", -8),
        (BIG + 5, "0.1", BIG // 10),
        (0, "0.12", 0),
    ],
)
def test_rates_round_half_even_once(minor: int, rate: str, expected: int) -> None:
    """A commission that is rounded up at every half, or through a float."""
    assert apply_rate(minor, Decimal(rate)) == expected


@pytest.mark.parametrize(
    ("quantity", "price", "currency", "expected"),
    [
        (80995, "1.04", "GBP", 8423480),
        (3, "0.001", "GBP", 0),
        (5, "0.001", "GBP", 0),
        (15, "0.001", "GBP", 2),
        (25, "0.001", "GBP", 2),
        (7, "100", "JPY", 700),
        (1, "1.2345", "KWD", 1234),
        (-2, "1.50", "USD", -300),
    ],
)
def test_line_totals_round_once(quantity: int, price: str, currency: str, expected: int) -> None:
    """A unit price finer than a penny that is rounded before it is multiplied."""
    assert line_total(quantity, Decimal(price), currency) == expected


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_a_unit_price_is_a_number(price: str) -> None:
    """A price that poisons every sum it meets."""
    with pytest.raises(InvalidMoney):
        line_total(1, Decimal(price), "EUR")


@pytest.mark.parametrize("amount", [1.0, True, False, "1", Decimal(1), None])
def test_only_integers_are_amounts(amount: object) -> None:
    """A float that is almost an amount, or a truth value that is one cent."""
    with pytest.raises(InvalidMoney):
        Money(amount, "EUR")  # type: ignore[arg-type]  # what the test is about


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XXX", "ZZZ", "XAU", "€"])
def test_only_known_currencies(currency: str) -> None:
    """An amount whose decimals nobody knows."""
    with pytest.raises(UnknownCurrency):
        Money(1, currency)


@pytest.mark.parametrize(
    ("text", "minor", "currency"),
    [
        ("123.25 USD", 12325, "USD"),
        ("500 JPY", 500, "JPY"),
        ("1.234 KWD", 1234, "KWD"),
        ("-0.05 USD", -5, "USD"),
        ("0.00 EUR", 0, "EUR"),
        ("1000000000000000000000000.01 EUR", BIG * 100 + 1, "EUR"),
        ("10 PTS", 10, "PTS"),
    ],
)
def test_text_and_back(text: str, minor: int, currency: str) -> None:
    """A yen with cents, or a dinar without its third decimal."""
    assert Money.parse(text) == Money(minor, currency)
    assert str(Money(minor, currency)) == text


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("1", 100),
        ("1.", 100),
        (".5", 50),
        ("1.5", 150),
        ("1.500", 150),
        ("-1.5", -150),
        ("007", 700),
    ],
)
def test_other_spellings(text: str, minor: int) -> None:
    """A provider's spelling of an exact amount that is refused or read wrong."""
    assert parse_minor(text, "USD") == minor


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", ".", "1,5", "1 000", "1e3", "+1", "--1", "0x1", "٣", "1.005", "1.2.3"),
        *("NaN", "inf", "9" * 51),
    ],
)
def test_what_is_not_an_exact_amount(text: str) -> None:
    """A silent rounding, or a digit group read as a decimal."""
    with pytest.raises(InvalidMoney):
        parse_minor(text, "USD")


def test_formatting_pads() -> None:
    """Five cents that are shown as 0.5."""
    assert format_minor(5, "USD") == "0.05"
    assert format_minor(-5, "KWD") == "-0.005"
    assert format_minor(0, "EUR") == "0.00"
    assert format_minor(-1234, "JPY") == "-1234"


def test_arithmetic() -> None:
    """A sum that changes sign, or a comparison that is turned round."""
    five, three = Money(5, "EUR"), Money(3, "EUR")
    assert five + three == Money(8, "EUR")
    assert three - five == Money(-2, "EUR")
    assert -five == Money(-5, "EUR")
    assert three < five <= five
    assert five > three >= three
    assert five
    assert not Money(0, "EUR")
    assert Money(5, "EUR") != Money(5, "USD")


def test_currencies_do_not_mix() -> None:
    """Dollars added to euros."""
    euro, dollar = Money(5, "EUR"), Money(5, "USD")
    for mix in (
        lambda: euro + dollar,
        lambda: euro - dollar,
        lambda: euro < dollar,
        lambda: euro <= dollar,
        lambda: euro > dollar,
        lambda: euro >= dollar,
    ):
        with pytest.raises(Rejected) as caught:
            mix()
        assert caught.value.reason is Reason.CURRENCY_MISMATCH
