"""
Posting recipes of a seller's account and its payouts: recipes 23, 24, 27 and penalties.

One function per row of the table of recipes (``docs/money.md``), which the docstring names.
Amounts are positive integers in minor units.
"""

from . import accounts
from .journal import Entry, credit, debit, entry
from .money import Money


def payout_initiated(payout_id: str, seller: str, amount: Money) -> Entry:
    """Recipe 23, first half: debit seller y, credit payouts y."""
    return entry(
        debit(accounts.seller(seller), amount.currency, amount.minor),
        credit(accounts.payouts(payout_id), amount.currency, amount.minor),
    )


def payout_paid(payout_id: str, bank: str, amount: Money) -> Entry:
    """Recipe 23, second half: debit payouts y, credit bank y."""
    return entry(
        debit(accounts.payouts(payout_id), amount.currency, amount.minor),
        credit(accounts.bank(bank), amount.currency, amount.minor),
    )


def payout_failed(payout_id: str, seller: str, amount: Money) -> Entry:
    """Recipe 24, before the debit: debit payouts y, credit seller y."""
    return payout_initiated(payout_id, seller, amount).reversed()


def payout_returned(payout_id: str, bank: str, amount: Money, fee: int) -> Entry:
    """
    Recipe 24, after the debit, first half; the second is ``payout_failed``.

    The bank keeps g: debit bank y − g and bank_fees g, credit payouts y. A fee above the amount
    takes from the bank.
    """
    return entry(
        debit(accounts.bank(bank), amount.currency, amount.minor - fee),
        debit(accounts.BANK_FEES, amount.currency, fee),
        credit(accounts.payouts(payout_id), amount.currency, amount.minor),
    )


def reserve_taken(seller: str, amount: Money) -> Entry:
    """Recipe 27, first half: debit seller x, credit rolling_reserve x."""
    return entry(
        debit(accounts.seller(seller), amount.currency, amount.minor),
        credit(accounts.rolling_reserve(seller), amount.currency, amount.minor),
    )


def reserve_released(seller: str, amount: Money) -> Entry:
    """Recipe 27, second half: debit rolling_reserve x, credit seller x."""
    return reserve_taken(seller, amount).reversed()


def penalty_imposed(seller: str, amount: Money) -> Entry:
    """A penalty x by the rules of the marketplace: debit seller x, credit income:penalties x."""
    return entry(
        debit(accounts.seller(seller), amount.currency, amount.minor),
        credit(accounts.PENALTIES, amount.currency, amount.minor),
    )


def penalty_lifted(seller: str, amount: Money) -> Entry:
    """A penalty x taken back: debit income:penalties x, credit seller x."""
    return penalty_imposed(seller, amount).reversed()
