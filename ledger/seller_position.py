"""
What one order owes its seller: what was released to the seller, less what refunds took of it and
what is frozen of it.

Exact, for it is read from the order's own stream. What all orders together owe is the balance of
``liabilities:seller:{s}``.
"""

from . import accounts
from .money import Money
from .order_events import FundsReleased
from .orders import OrderState


def credited(release: FundsReleased, currency: str) -> Money:
    """
    Return what a release credited to its seller, after commission and tax on it (recipes 8, 9, 28).

    ``currency`` is the order's; a converted release was credited in another one. Below zero where
    the commission was more than the items.
    """
    terms = release.conversion
    if terms is not None:
        return Money(release.net - terms.commission_tax, terms.currency)
    return Money(release.net - release.commission.tax, currency)


def owed(order: OrderState, seller: str, currency: str) -> int:
    """
    Return what the order's events left on the seller's account, in one currency.

    What a dispute's reserve gave to a buyer or for a fee, it had from the seller. Below zero where
    refunds and fees took more than was released.
    """
    account = accounts.seller(seller)
    total = 0
    for freeze in order.freezes.values():
        held = freeze.reserve.get(currency)
        if freeze.slice_id == seller and held is not None:
            total -= held.minor
    for release in order.releases.values():
        got = credited(release, order.currency)
        if release.slice_id == seller and got.currency == currency:
            total += got.minor
    for fee in order.fees.values():
        if fee.slice_id == seller:
            taken = [part.minor for part in (*fee.reserve, *fee.debt) if part.currency == currency]
            total -= sum(taken)
    for parts in order.recovered.values():
        for part in parts:
            is_sellers = part.account == account or (
                part.slice_id == seller and part.account.startswith(accounts.DISPUTE_RESERVE)
            )
            taken_in, minor = order.currency, part.amount
            if part.recovery is not None and part.recovery.currency:
                taken_in, minor = part.recovery.currency, part.recovery.amount
            if is_sellers and taken_in == currency:
                total -= minor
    return total
