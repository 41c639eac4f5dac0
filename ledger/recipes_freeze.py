"""
Posting recipes of freezes: a seller's share goes to the dispute reserve and back.

One function per row of the table of recipes (``docs/money.md``), which the docstring names.
"""

from . import accounts
from .escrow_events import FundsFrozen, FundsUnfrozen
from .journal import Entry, credit, debit, entry


def seller_share_frozen(event: FundsFrozen) -> Entry:
    """Recipe 15: seller share S frozen. Debit seller S, credit dispute_reserve S."""
    return entry(
        *[debit(accounts.seller(event.slice_id), one.currency, one.minor) for one in event.reserve],
        *[credit(_reserve(event), one.currency, one.minor) for one in event.reserve],
    )


def seller_share_unfrozen(event: FundsUnfrozen) -> Entry:
    """Recipe 15 backwards: debit dispute_reserve S, credit seller S."""
    return entry(
        *[debit(_reserve(event), one.currency, one.minor) for one in event.reserve],
        *[
            credit(accounts.seller(event.slice_id), one.currency, one.minor)
            for one in event.reserve
        ],
    )


def _reserve(event: FundsFrozen | FundsUnfrozen) -> str:
    return accounts.dispute_reserve(event.freeze_id)
