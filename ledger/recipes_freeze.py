"""
Posting recipes of freezes and rulings: a seller's share goes to the dispute reserve and back, the
platform gets its fee.

One function per row of the table of recipes (``docs/money.md``), which the docstring names.
"""

from . import accounts
from .escrow_events import FundsFrozen, FundsUnfrozen
from .journal import Entry, Posting, credit, debit, entry
from .ruling_events import ArbitrationFeeTaken, FreezeSettled


def seller_share_frozen(event: FundsFrozen) -> Entry:
    """Recipe 15: seller share S frozen. Debit seller S, credit dispute_reserve S."""
    return entry(
        *[debit(accounts.seller(event.slice_id), one.currency, one.minor) for one in event.reserve],
        *[credit(_reserve(event), one.currency, one.minor) for one in event.reserve],
    )


def seller_share_unfrozen(event: FundsUnfrozen | FreezeSettled) -> Entry:
    """Recipe 15 backwards: debit dispute_reserve S, credit seller S."""
    return entry(
        *[debit(_reserve(event), one.currency, one.minor) for one in event.reserve],
        *[
            credit(accounts.seller(event.slice_id), one.currency, one.minor)
            for one in event.reserve
        ],
    )


def arbitration_fee(order_id: str, event: ArbitrationFeeTaken, currency: str) -> Entry:
    """
    Recipes 20 and 21 for the platform's part p.

    Debit escrow, then dispute_reserve, then seller; credit arbitration_fees p, in the currency in
    which each of them is owed.
    """
    seller = accounts.seller(event.slice_id)
    legs: list[Posting] = [debit(accounts.escrow(order_id), currency, event.escrowed)]
    legs.extend([debit(_reserve(event), one.currency, one.minor) for one in event.reserve])
    legs.extend([debit(seller, one.currency, one.minor) for one in event.debt])
    sums: dict[str, int] = {}
    for leg in legs:
        sums[leg.currency] = sums.get(leg.currency, 0) + leg.minor
    return entry(
        *legs, *[credit(accounts.ARBITRATION_FEES, code, minor) for code, minor in sums.items()]
    )


def over_refund(order_id: str, amount: int, currency: str) -> Entry:
    """Recipe 22: over-refund z already paid. Debit goodwill z, credit refunds z."""
    return entry(
        debit(accounts.GOODWILL, currency, amount),
        credit(accounts.refunds(order_id), currency, amount),
    )


def _reserve(event: FundsFrozen | FundsUnfrozen | FreezeSettled | ArbitrationFeeTaken) -> str:
    return accounts.dispute_reserve(event.freeze_id)
