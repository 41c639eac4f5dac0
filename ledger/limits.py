"""
Documented limits: input beyond them is refused with LimitExceeded before anything is decided.
"""

from decimal import Decimal
from typing import Final

from .errors import LimitExceeded

ORDER_LINES_MAX: Final = 2_000
"""Lines of one order. With two legs each, a release stays below the limit of an entry's legs."""
LINE_PARTS_MAX: Final = 50
"""Discounts of one line, and taxes of one line."""
ORDER_PARTS_MAX: Final = 200
"""Order discounts, shipping charges, surcharges, tips or stock reservations of one command."""
CHANGE_ACTIONS_MAX: Final = 500
"""Actions of one order change."""
QUANTITY_MAX: Final = 10**9
"""Units of one line. Real data has 80,995 units of one article in one line."""
UNIT_PRICE_DECIMALS_MAX: Final = 12
"""Decimals of a unit price in major units."""
RATE_DECIMALS_MAX: Final = 18
"""Decimals of a rate. Quotes of currency pairs have up to 10."""
RATE_DIGITS_MAX: Final = 12
"""Digits of a rate before its decimal point."""
AMOUNT_DIGITS_MAX: Final = 25
"""Digits of a decimal amount before its decimal point: those of AMOUNT_MINOR_MAX."""
AMOUNT_MINOR_MAX: Final = 10**24
"""Largest amount in minor units; the sums of an order stay below the 30 digits of a leg."""
TEXT_LENGTH_MAX: Final = 500
"""Characters of a reason, a reference or another free text of a command."""
PAYLOAD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of one event's JSON. An order of 2,000 lines with discounts and taxes needs about 1 MiB."""

EVENTS_PER_APPEND_MAX: Final = 5_000
"""Events of one command. A cancelled order of 2,000 lines makes a handful."""

PAYOUT_ENTRIES_MAX: Final = 1_000
"""Released slices of one payout; each names an order, which is read with its payments."""

PROJECTION_SKIPS_MAX: Final = 1_000
"""Events that one read model leaves out by acknowledgement. Each is a decision of a person."""

ATTESTED_STREAMS_MAX: Final = 1_000
"""Streams that one dossier closes: an order with its payments, parcels, returns and disputes."""

SETTLEMENT_LINES_MAX: Final = 1_000_000
"""Lines of one settlement batch or bank statement. PayPal ends a report at 1,000,000 records."""
SETTLEMENT_CURRENCIES_MAX: Final = 200
"""Balances that one settlement states; there are fewer currencies."""
SETTLEMENT_FEES_MAX: Final = 50
"""Fees of one settlement line. Adyen states four."""
SETTLEMENT_CANDIDATES_MAX: Final = 100
"""Payments that one settlement line may be about, or operations that it settles."""


def check_total(what: str, minor: int) -> None:
    """Raise LimitExceeded if an amount in minor units is beyond the largest one."""
    if minor > AMOUNT_MINOR_MAX:
        raise LimitExceeded(
            f"{what} is {minor} minor units, the limit is {AMOUNT_MINOR_MAX}",
            amount=minor,
            limit=AMOUNT_MINOR_MAX,
        )


def check_decimal(what: str, value: Decimal, *, decimals: int, digits: int) -> None:
    """
    Raise LimitExceeded if a finite decimal has too many decimals, or digits before its point.

    Looks at the exponent only: a decimal of few characters can stand for millions of digits, which
    everything that is exact would write out.
    """
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and (-exponent > decimals or value.adjusted() >= digits):
        # Not the value itself: its digits may be the problem.
        raise LimitExceeded(
            f"{what} has {max(0, -exponent)} decimals and {max(1, value.adjusted() + 1)} digits "
            f"before the point, the limits are {decimals} and {digits}",
            decimals=max(0, -exponent),
            digits=max(1, value.adjusted() + 1),
        )


def check_rate_digits(what: str, rate: Decimal) -> None:
    """Raise LimitExceeded if a finite rate has more digits than any real one."""
    check_decimal(what, rate, decimals=RATE_DECIMALS_MAX, digits=RATE_DIGITS_MAX)


def check_count(what: str, count: int, limit: int) -> None:
    """Raise LimitExceeded if there are more than ``limit`` of something."""
    if count > limit:
        raise LimitExceeded(f"{count} {what}, the limit is {limit}", count=count, limit=limit)
