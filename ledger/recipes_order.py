"""
Posting recipes of an order: coupons, release from escrow, refunds paid in another way.

One function per row of the table of recipes (``docs/money.md``), which the docstring names.
Amounts are positive integers in minor units.
"""

from . import accounts
from .journal import Entry, Posting, credit, debit, entry
from .money import Money
from .order_content import Beneficiary, ReleasePart
from .order_events import FundsHeld, FundsReleased, FundsReturned
from .recipes_journal import exchange_legs


def coupon_funded(order_id: str, amount: int, currency: str) -> Entry:
    """Recipe 4: platform coupon k at capture. Debit expenses:promo k, credit escrow k."""
    return entry(
        debit(accounts.PROMO, currency, amount),
        credit(accounts.escrow(order_id), currency, amount),
    )


def coupon_returned(order_id: str, amount: int, currency: str) -> Entry:
    """Recipe 4 reversed, for goods that were refunded. Debit escrow k, credit expenses:promo k."""
    return coupon_funded(order_id, amount, currency).reversed()


def funds_held(order_id: str, event: FundsHeld, currency: str) -> Entry:
    """
    Recipe 4 for the coupon part; and a payment in another currency becomes the order's.

    The capture itself was posted with the payment (recipe 2). ``event`` carries ``paid_amount``
    only where the payment's currency is another one.
    """
    return entry(
        *coupon_funded(order_id, event.promo, currency).postings,
        *_exchanged(order_id, event, currency),
    )


def funds_returned(order_id: str, event: FundsReturned, currency: str) -> Entry:
    """Recipe 4 reversed for the coupon part, and the exchange of ``funds_held`` taken back."""
    legs = Entry(tuple(_exchanged(order_id, event, currency))).reversed()
    return entry(*coupon_returned(order_id, event.promo, currency).postings, *legs.postings)


def _exchanged(
    order_id: str, event: FundsHeld | FundsReturned, currency: str
) -> tuple[Posting, ...]:
    if event.paid_currency in ("", currency):
        return ()
    escrow = accounts.escrow(order_id)
    legs: list[Posting] = []
    if event.paid_amount:
        taken = Money(event.paid_amount, event.paid_currency)
        legs.append(debit(escrow, taken.currency, taken.minor))
        legs.append(credit(accounts.FX_POSITION, taken.currency, taken.minor))
    if event.amount:
        legs.append(debit(accounts.FX_POSITION, currency, event.amount))
        legs.append(credit(escrow, currency, event.amount))
    return tuple(legs)


def released(order_id: str, event: FundsReleased, currency: str) -> Entry:
    """
    Recipe 8: release on delivery, with recipe 9 for tax v on the commission.

    Debit escrow T; credit seller (items − commission + seller's shipping), commission, tax, tips,
    shipping. Recipe 9: debit seller v, credit tax v. With a conversion, recipe 28 takes the place
    of the seller's and the commission's legs.
    """
    if event.conversion is not None:
        return _cross_border(order_id, event, currency)
    seller = accounts.seller(event.slice_id)
    commission = event.commission
    others = [part for part in event.parts if part.beneficiary is not Beneficiary.SELLER_SHIPPING]
    return entry(
        debit(accounts.escrow(order_id), currency, event.amount),
        credit(seller, currency, event.net),
        credit(accounts.COMMISSION, currency, commission.amount),
        *[_part(part, currency) for part in others],
        *_commission_tax(event, currency, commission.tax),
    )


def _commission_tax(event: FundsReleased, currency: str, amount: int) -> tuple[Posting, ...]:
    """Recipe 9: tax v on commission, charged to the seller. Debit seller v, credit tax v."""
    if amount == 0:
        return ()
    return (
        debit(accounts.seller(event.slice_id), currency, amount),
        credit(accounts.tax(event.commission.tax_jurisdiction), currency, amount),
    )


def _cross_border(order_id: str, event: FundsReleased, currency: str) -> Entry:
    """
    Recipe 28: buyer pays E [EUR], seller is owed U [USD].

    Debit escrow E[EUR] and fx U[USD]; credit fx E[EUR], seller + commission U[USD].
    """
    conversion = event.conversion
    if conversion is None:
        raise ValueError("recipe 28 needs a conversion")
    taken = Money(conversion.source_amount, currency)
    given = Money(conversion.amount, conversion.currency)
    others = [part for part in event.parts if part.beneficiary is not Beneficiary.SELLER_SHIPPING]
    return entry(
        debit(accounts.escrow(order_id), currency, event.amount),
        *exchange_legs(taken, given),
        credit(
            accounts.seller(event.slice_id),
            given.currency,
            conversion.amount - conversion.commission,
        ),
        credit(accounts.COMMISSION, given.currency, conversion.commission),
        *[_part(part, currency) for part in others],
        *_commission_tax(event, given.currency, conversion.commission_tax),
    )


def _part(part: ReleasePart, currency: str) -> Posting:
    if part.beneficiary is Beneficiary.TAX:
        account = accounts.tax(part.target)
    elif part.beneficiary is Beneficiary.TIP:
        account = accounts.tips(part.target)
    else:
        account = accounts.shipping(part.target)
    return credit(account, currency, part.amount)


def refund_paid_out(order_id: str, bank: str, amount: int, currency: str) -> Entry:
    """
    A refund r that failed after success is paid from the bank: recipe 12 with the bank for psp.

    Debit refunds r, credit bank r.
    """
    return entry(
        debit(accounts.refunds(order_id), currency, amount),
        credit(accounts.bank(bank), currency, amount),
    )
