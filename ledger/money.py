"""
Money: integer minor units of a currency, and the three ways of dividing them exactly.

Python integers have no upper bound and both engines store amounts as decimal text or ``numeric``,
so amounts are exact at any size the limits allow.
"""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

import msgspec

from .currencies import exponent
from .errors import InvalidMoney, Rejected
from .errors import Reason as RejectionReason


class Money(msgspec.Struct, frozen=True, order=False):
    """
    An amount in integer minor units (cents, pence; whole yen; fils) of a currency.

    Shape: ``Money(12325, "USD")`` is 123.25 US dollars, ``Money(500, "JPY")`` five hundred yen.
    Raises InvalidMoney if the amount is a float, a bool or anything else but an int, and
    UnknownCurrency if the code is unknown. Source: ISO 4217 for the number of decimals.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise InvalidMoney(
                f"amount {self.minor!r} is a {type(self.minor).__name__}; "
                "money is an integer number of minor units",
                amount=repr(self.minor),
                currency=self.currency,
            )
        exponent(self.currency)

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.minor <= self._same(other)

    def __gt__(self, other: "Money") -> bool:
        return self.minor > self._same(other)

    def __ge__(self, other: "Money") -> bool:
        return self.minor >= self._same(other)

    def __bool__(self) -> bool:
        return self.minor != 0

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise Rejected(
                RejectionReason.CURRENCY_MISMATCH,
                f"{self} and {other} are of different currencies",
                left=self.currency,
                right=other.currency,
            )
        return other.minor

    def __str__(self) -> str:
        return f"{format_minor(self.minor, self.currency)} {self.currency}"

    @classmethod
    def parse(cls, text: str) -> "Money":
        """
        Read ``"123.25 USD"``: a decimal point, no grouping, at most the currency's decimals.

        Raises InvalidMoney when there are more decimals than the currency has, so nothing is
        rounded silently.
        """
        amount, _, currency = text.strip().partition(" ")
        return cls(parse_minor(amount, currency), currency)


def parse_minor(text: str, currency: str) -> int:
    """Return the minor units of a plain decimal text; raises InvalidMoney if it is not exact."""
    scaled = _parse_decimal(text, currency).scaleb(exponent(currency))
    with localcontext() as context:
        context.prec = 60
        if scaled != scaled.to_integral_value():
            raise InvalidMoney(
                f"amount {text!r} has more decimals than {currency} allows",
                amount=text,
                currency=currency,
            )
        return int(scaled)


def _parse_decimal(text: str, currency: str) -> Decimal:
    digits = text.removeprefix("-").replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 50:
        raise InvalidMoney(
            f"amount {text!r} is not a plain decimal number", amount=text, currency=currency
        )
    return Decimal(text)


def format_minor(minor: int, currency: str) -> str:
    """Write minor units with the currency's decimals: ``(-5, "USD")`` is ``"-0.05"``."""
    places = exponent(currency)
    if places == 0:
        return str(minor)
    digits = str(abs(minor)).rjust(places + 1, "0")
    return f"{'-' if minor < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def allocate(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """
    Divide minor units by integer weights with the largest-remainder method.

    Every part is the floor or the ceiling of its exact share, and they sum to the total: floors
    first, then one unit each by descending fractional part, ties in the order given. A negative
    total mirrors the positive one. Raises InvalidMoney for a negative weight or weights that are
    all zero. Cost: O(n log n), exact at any size.

    >>> allocate(100, (1, 1, 1))
    (34, 33, 33)
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise InvalidMoney(
            f"cannot allocate {total} by the weights {list(weights)}: "
            "they must be non-negative and not all zero",
            total=total,
            weights=list(weights),
        )
    if total < 0:
        return tuple(-part for part in allocate(-total, weights))
    shares = [divmod(total * weight, whole) for weight in weights]
    parts = [floor for floor, _ in shares]
    left = total - sum(parts)
    by_remainder = sorted(range(len(shares)), key=lambda index: -shares[index][1])
    for index in by_remainder[:left]:
        parts[index] += 1
    return tuple(parts)


def cumulative_part(total: int, base: int, before: int, after: int) -> int:
    """
    Return what belongs to the step from ``before`` to ``after`` of ``base``, in minor units.

    Rounds the running share half-even and takes the difference, so that a series of partials
    (refunds of tax, captures of a split) sums to ``total`` exactly when it reaches ``base``.

    >>> [cumulative_part(825, 10000, a, b) for a, b in ((0, 3000), (3000, 6333), (6333, 10000))]
    [248, 274, 303]
    """
    if base <= 0 or not 0 <= before <= after <= base:
        raise InvalidMoney(
            f"the step {before} to {after} is not within 0 to {base}",
            base=base,
            before=before,
            after=after,
        )
    return round(Fraction(total * after, base)) - round(Fraction(total * before, base))


def apply_rate(minor: int, rate: Decimal) -> int:
    """Return ``rate × minor``, rounded once, half-even. The rate is a plain decimal (0.12)."""
    return round(Fraction(rate) * minor)


def line_total(quantity: int, unit_price: Decimal, currency: str) -> int:
    """
    Return the minor units of ``quantity × unit_price``, rounded once, half-even.

    The unit price is in major units and may be finer than a minor unit (0.001 GBP exists in real
    data). Raises InvalidMoney if it is not a finite number.
    """
    if not unit_price.is_finite():
        raise InvalidMoney(f"unit price {unit_price} is not a number", unit_price=str(unit_price))
    # Exact integers throughout; a Fraction does the same and takes four times as long.
    numerator, denominator = unit_price.as_integer_ratio()
    scale: int = 10 ** exponent(currency)
    whole, rest = divmod(numerator * quantity * scale, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        return whole + 1
    return whole
