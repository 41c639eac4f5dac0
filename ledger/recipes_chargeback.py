"""
Posting recipes of chargebacks, and the postings of one event of a chargeback.

One function per row of the table of recipes (``docs/money.md``), which the docstring names.
Amounts are positive integers in minor units. Recipe 15 is posted by the order, which freezes the
seller's share, and so are the legs of recipes 16 to 18 that give the frozen share back.

``between`` posts the difference of what two states of a chargeback mean on the accounts, so the
sum of its postings is a function of its last state.
"""

from . import accounts
from .chargebacks import INITIAL, Chargeback
from .journal import Entry, Posting, credit, debit, entry, netted
from .payment_operations import FundingPart
from .payments import PaymentState
from .recipes_payment import borne_legs


def taken(provider: str, chargeback_id: str, amount: int, currency: str) -> Entry:
    """Recipe 14 without its fee: opened over D. Debit disputes D, credit psp D."""
    return entry(
        debit(accounts.disputes(chargeback_id), currency, amount),
        credit(accounts.psp(provider), currency, amount),
    )


def fee_charged(provider: str, amount: int, currency: str) -> Entry:
    """Recipe 14, its fee q. Debit dispute_fees q, credit psp q; reversed where it comes back."""
    return entry(
        debit(accounts.DISPUTE_FEES, currency, amount),
        credit(accounts.psp(provider), currency, amount),
    )


def given_back(provider: str, chargeback_id: str, amount: int, currency: str) -> Entry:
    """Recipe 16, won. Debit psp D, credit disputes D."""
    return taken(provider, chargeback_id, amount, currency).reversed()


def loss_borne(chargeback_id: str, parts: tuple[FundingPart, ...], currency: str) -> Entry:
    """
    Recipes 17 to 19, lost. Debit who bears it, credit disputes D.

    Seller S and commission_refunded k (17, the frozen share having gone back to the seller),
    chargeback_losses D (18), escrow D before the release (19); and refunds, which the chargeback
    paid, or what the buyer must give back.
    """
    total = sum([part.amount for part in parts])
    legs = borne_legs(parts, currency)
    return entry(*legs, credit(accounts.disputes(chargeback_id), currency, total))


def gained(provider: str, amount: int, currency: str) -> Entry:
    """More came back than was taken. Debit psp, credit chargeback_losses."""
    return entry(
        debit(accounts.psp(provider), currency, amount),
        credit(accounts.CHARGEBACK_LOSSES, currency, amount),
    )


def between(before: PaymentState, after: PaymentState, chargeback_id: str) -> Entry:
    """Return what one event of a chargeback posts: ``before`` and ``after`` it."""
    legs = _legs(after, after.chargebacks.get(chargeback_id, INITIAL))
    earlier = entry(*_legs(before, before.chargebacks.get(chargeback_id, INITIAL)))
    return entry(*netted([*legs, *earlier.reversed().postings]))


def _legs(payment: PaymentState, one: Chargeback) -> tuple[Posting, ...]:
    """Return the legs that a chargeback as it stands has on the accounts."""
    if not (one.exists or one.fees_charged or one.fees_returned):
        return ()
    flow, chargeback_id = one.flow, one.chargeback_id
    provider, currency = payment.provider, payment.currency
    legs = list(taken(provider, chargeback_id, flow.out, currency).postings)
    legs.extend(loss_borne(chargeback_id, one.parts, currency).postings)
    legs.extend(gained(provider, flow.gained, currency).postings)
    for code, minor in one.fees.items():
        legs.extend(fee_charged(provider, minor, code).postings)
    return tuple(legs)
