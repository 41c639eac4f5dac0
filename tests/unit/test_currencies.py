"""The generated currency table against the iso4217 package, and the rule for points codes."""

from pathlib import Path
from typing import Any

import iso4217
import pytest

from orderledger.ledger import currencies
from orderledger.ledger.currencies import (
    EXPONENTS,
    WITHDRAWN_EXPONENTS,
    exponent,
    is_points,
)
from orderledger.ledger.errors import UnknownCurrency
from orderledger.ledger.money import Money
from orderledger.ledger.provider_exponents import PROVIDER_EXPONENTS, provider_exponent
from tools import generate_currencies

ISO = {each.code: each.exponent for each in iso4217.Currency}


def test_table_equals_iso_4217() -> None:
    """Catches a currency whose amounts would be off by a power of ten, missing or invented."""
    assert dict(EXPONENTS) == {code: digits for code, digits in ISO.items() if digits is not None}


def test_file_is_what_the_generator_writes() -> None:
    """Catches a hand edit of the generated file, which the next generation would undo."""
    assert Path(currencies.__file__).read_text(encoding="utf-8") == generate_currencies.render()


def test_generation_drops_no_code() -> None:
    """Catches a withdrawn currency vanishing: its stored events could no longer be folded."""
    assert generate_currencies.dropped() == set()


def test_withdrawn_codes_are_not_current() -> None:
    """Catches a code listed twice, where the hand-written exponent might win over ISO's."""
    assert not set(WITHDRAWN_EXPONENTS) & set(EXPONENTS)
    assert exponent("HRK") == 2


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("USD", 2), ("JPY", 0), ("KWD", 3), ("ISK", 0), ("CLF", 4), ("UYW", 4), ("HUF", 2)],
)
def test_exponents_that_libraries_get_wrong(currency: str, digits: int) -> None:
    """Catches taking display digits (Babel, CLDR) for the exponent of ISO 4217."""
    assert exponent(currency) == digits


@pytest.mark.parametrize("currency", ["PTS", "PTSGOLD", "PTSABCDEFGHI"])
def test_points_have_no_decimals(currency: str) -> None:
    """Catches a points code being refused, or counted in hundredths."""
    assert exponent(currency) == 0
    assert is_points(currency)


@pytest.mark.parametrize(
    "currency",
    [
        *("", "usd", "US", "USDD", " USD", "USD ", "ZZZ", "XPTS", "GOLD"),
        *("PT", "pts", "PTSgold", "PTS1", "PTS-A", "PTSÄ", "PTSABCDEFGHIJ"),
    ],
)
def test_unknown_codes_are_refused(currency: str) -> None:
    """Catches an amount booked under a misspelt currency, which no other amount ever meets."""
    with pytest.raises(UnknownCurrency) as refused:
        exponent(currency)
    assert refused.value.facts["currency"] == currency
    assert not is_points(currency)


@pytest.mark.parametrize("currency", ["XAU", "XXX", "XTS", "XDR"])
def test_codes_without_a_minor_unit_are_refused(currency: str) -> None:
    """Catches gold, funds and test codes passing as money with an exponent nobody defined."""
    assert ISO[currency] is None
    with pytest.raises(UnknownCurrency):
        exponent(currency)


def test_no_iso_code_can_be_taken_for_points() -> None:
    """Catches a future ISO code that starts with PTS and would silently be read as points."""
    assert not [code for code in {*ISO, *WITHDRAWN_EXPONENTS} if is_points(code)]


def test_provider_overrides_differ_from_iso_on_purpose() -> None:
    """Catches an override that repeats ISO (dead data) or names a currency that does not exist."""
    for provider, table in PROVIDER_EXPONENTS.items():
        for currency, digits in table.items():
            assert exponent(currency) != digits, (provider, currency)
    assert [provider_exponent("adyen", code) for code in ("CLP", "CVE", "ISK", "USD")] == [
        *(2, 0, 2, 2),
    ]
    assert provider_exponent("someone else", "ISK") == 0


@pytest.mark.parametrize("code", [None, 5, b"USD", ("USD",)])
def test_what_is_no_text_is_no_currency(code: Any) -> None:
    """Catches an AttributeError from deep inside where a code was forgotten."""
    with pytest.raises(UnknownCurrency):
        Money(5, code)
