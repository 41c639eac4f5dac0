"""
Posting recipes of a provider's settlement and of bank statements.

Recipe 7 in parts: each line posts its fee when it is recorded (debit gateway_fees f, credit psp f),
the payout line what reaches the bank (debit bank, credit psp); what is left, the gross, was debited
to psp by the operation itself. So psp ends at the provider's own closing balance.

Amounts of lines are signed as the provider states them: positive came in.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from . import accounts
from .journal import EMPTY, Entry, Posting, entry
from .money import Money
from .settlement_events import LineType, SettlementLine


def _bank(provider: str, bank: str) -> str:
    return accounts.bank(bank)


def _fees(provider: str, bank: str) -> str:
    return accounts.GATEWAY_FEES


def _reserve(provider: str, bank: str) -> str:
    return accounts.psp_reserve(provider)


def _conversion(provider: str, bank: str) -> str:
    return accounts.FX_POSITION


COUNTER_ACCOUNTS: Final[Mapping[LineType, Callable[[str, str], str]]] = MappingProxyType(
    {
        LineType.FEE: _fees,
        LineType.PAYOUT: _bank,
        LineType.PAYOUT_RETURNED: _bank,
        LineType.TOP_UP: _bank,
        LineType.RESERVE: _reserve,
        LineType.CONVERSION: _conversion,
    }
)
"""The account against which a line of no operation posts; types that are not here post nothing."""

CHARGEBACKS: Final = frozenset(
    {
        LineType.CHARGEBACK,
        LineType.CHARGEBACK_REVERSED,
        LineType.SECOND_CHARGEBACK,
        LineType.CHARGEBACK_FEE,
    }
)
NO_FEES: Final = frozenset({*CHARGEBACKS, LineType.TRANSFER, LineType.ADJUSTMENT})
"""
Types whose fee is not posted with the line: a chargeback posts its own (recipe 14), the others are
for a person to decide.
"""


def line_recorded(line: SettlementLine, provider: str, bank: str) -> Entry:
    """
    Post what no operation has posted: the fees of a line, and all of a line without an operation.

    What the totals of the line leave unexplained goes to the variance account. A line that is
    carried to another batch, and one that a person must look at, post nothing.
    """
    if line.type in NO_FEES:
        return EMPTY
    legs = fee_legs(line, provider, accounts.GATEWAY_FEES, line.fee)
    account = COUNTER_ACCOUNTS.get(line.type)
    if account is not None:
        legs += psp_against(provider, account(provider, bank), Money(line.processed, line.currency))
    return entry(*legs)


def fee_legs(line: SettlementLine, provider: str, account: str, fee: int) -> tuple[Posting, ...]:
    """Return the legs of a fee of a line, and of what its totals leave unexplained."""
    psp, code = accounts.psp(provider), line.currency
    return (
        Posting(account, code, fee),
        Posting(psp, code, -fee),
        Posting(accounts.SETTLEMENT_VARIANCE, code, line.residue),
        Posting(psp, code, -line.residue),
    )


def psp_against(provider: str, account: str, amount: Money) -> tuple[Posting, ...]:
    """Return legs that move a signed amount into the provider's balance, out of an account."""
    return (
        Posting(accounts.psp(provider), amount.currency, amount.minor),
        Posting(accounts.check(account), amount.currency, -amount.minor),
    )


def converted(provider: str, source: Money, target: Money) -> Entry:
    """
    Recipes 28 and 29 at the provider: a signed amount of one balance became one of another.

    Credit psp ``source`` and debit psp ``target``; fx stands between the currencies.
    """
    psp = accounts.psp(provider)
    return entry(
        Posting(psp, source.currency, -source.minor),
        Posting(accounts.FX_POSITION, source.currency, source.minor),
        Posting(psp, target.currency, target.minor),
        Posting(accounts.FX_POSITION, target.currency, -target.minor),
    )


def line_converted(line: SettlementLine, provider: str) -> Entry:
    """Post that the gross of a line became what it has in its own currency, if that is another."""
    if not line.is_converted:
        return EMPTY
    source = Money(line.gross, line.gross_currency)
    return converted(provider, source, Money(line.processed, line.currency))


def varied(provider: str, amount: Money) -> Entry:
    """Post what a line has beyond its operations, signed, against the variance account."""
    return entry(*psp_against(provider, accounts.SETTLEMENT_VARIANCE, amount))


def booked(provider: str, account: str, amount: Money, standing: str) -> Entry:
    """
    Book a break to an account: what the provider's balance has and ours has not, signed.

    Where the amount stands in another account already (a fee), it moves from there.
    """
    if not standing:
        return entry(*psp_against(provider, account, amount))
    return entry(
        Posting(accounts.check(account), amount.currency, amount.minor),
        Posting(standing, amount.currency, -amount.minor),
    )


def bank_booked(bank: str, account: str, amount: Money) -> Entry:
    """Book a signed line of a bank statement that nothing in the book explains."""
    return entry(
        Posting(accounts.bank(bank), amount.currency, amount.minor),
        Posting(accounts.check(account), amount.currency, -amount.minor),
    )
