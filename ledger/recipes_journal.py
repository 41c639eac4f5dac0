"""
Posting recipes for what no order or payment stream decides: stored value, settlement, currency
conversion, tax remittance, written-off debt.

One function per row of the table of recipes (``docs/money.md``), which the docstring names.
Amounts are positive integers in minor units.
"""

from . import accounts
from .journal import Entry, Posting, credit, debit, entry
from .money import Money


def value_account(holder: str, *, points: bool) -> str:
    """Return the ledger account that owes stored value to a holder."""
    return accounts.loyalty(holder) if points else accounts.store_credit(holder)


def exchange_legs(taken: Money, given: Money) -> tuple[Posting, ...]:
    """
    Return the two legs through which one currency becomes another.

    ``taken`` enters the currency position (credit), ``given`` leaves it (debit), so that each
    currency balances by itself. Without a change of currency there are no legs. Source: the
    currency trading accounts of P. Selinger, "Tutorial on multiple currency accounting".
    """
    if taken == given:
        return ()
    return (
        credit(accounts.FX_POSITION, taken.currency, taken.minor),
        debit(accounts.FX_POSITION, given.currency, given.minor),
    )


def stored_value_redeemed(account: str, order_id: str, amount: Money, received: Money) -> Entry:
    """
    Recipe 5: store credit or points z pay for an order. Debit store_credit, credit escrow.

    ``received`` is what the order gets: for points, their worth in the order's currency.
    """
    return entry(
        debit(account, amount.currency, amount.minor),
        *exchange_legs(amount, received),
        credit(accounts.escrow(order_id), received.currency, received.minor),
    )


def settlement(provider: str, bank: str, gross: Money, fee: int) -> Entry:
    """
    Recipe 7: the provider pays out gross G less its fee f.

    Debit bank G − f and gateway_fees f, credit psp G. A fee above the gross takes from the bank.
    """
    return entry(
        debit(accounts.bank(bank), gross.currency, gross.minor - fee),
        debit(accounts.GATEWAY_FEES, gross.currency, fee),
        credit(accounts.psp(provider), gross.currency, gross.minor),
    )


def stored_value_issued(account: str, funded_by: str, amount: Money) -> Entry:
    """
    Recipe 25, first half: value z is owed from now on.

    Debit what funds it (goodwill, the refund it replaces, the escrow of the order that bought
    it), credit store_credit.
    """
    return entry(
        debit(funded_by, amount.currency, amount.minor),
        credit(account, amount.currency, amount.minor),
    )


def stored_value_returned(account: str, order_id: str, amount: Money, owed: Money) -> Entry:
    """
    Recipe 25, first half, for value that was redeemed: a refund owed by an order goes back to it.

    Debit refunds, credit store_credit; ``owed`` is in the order's currency, ``amount`` may be
    points.
    """
    return entry(
        debit(accounts.refunds(order_id), owed.currency, owed.minor),
        *exchange_legs(owed, amount),
        credit(account, amount.currency, amount.minor),
    )


def stored_value_expired(account: str, amount: Money) -> Entry:
    """Recipe 25, second half: value z is owed no more. Debit store_credit, credit breakage."""
    return entry(
        debit(account, amount.currency, amount.minor),
        credit(accounts.BREAKAGE, amount.currency, amount.minor),
    )


def debt_written_off(seller: str, amount: Money) -> Entry:
    """Recipe 26: a seller's debt x is given up. Debit bad_debt, credit seller."""
    return entry(
        debit(accounts.BAD_DEBT, amount.currency, amount.minor),
        credit(accounts.seller(seller), amount.currency, amount.minor),
    )


def currency_converted(bank: str, sold: Money, bought: Money) -> Entry:
    """
    Recipe 29, first half: the bank turns E of one currency into U2 of another.

    Debit fx E and bank U2, credit bank E and fx U2.
    """
    account = accounts.bank(bank)
    return entry(
        debit(accounts.FX_POSITION, sold.currency, sold.minor),
        credit(account, sold.currency, sold.minor),
        debit(account, bought.currency, bought.minor),
        credit(accounts.FX_POSITION, bought.currency, bought.minor),
    )


def fx_result_realised(booked: Money, received: Money) -> Entry:
    """
    Recipe 29, second half: realise what the bank paid (U2) against what was booked (U).

    A gain debits fx U2 − U and credits fx_gain; a loss debits fx_loss and credits fx; equal
    amounts post nothing.
    """
    result = (received - booked).minor
    if result >= 0:
        return entry(
            debit(accounts.FX_POSITION, booked.currency, result),
            credit(accounts.FX_GAIN, booked.currency, result),
        )
    return entry(
        debit(accounts.FX_LOSS, booked.currency, -result),
        credit(accounts.FX_POSITION, booked.currency, -result),
    )


def tax_remitted(jurisdiction: str, bank: str, amount: Money) -> Entry:
    """Recipe 30: collected tax t is paid to its authority. Debit tax, credit bank."""
    return entry(
        debit(accounts.tax(jurisdiction), amount.currency, amount.minor),
        credit(accounts.bank(bank), amount.currency, amount.minor),
    )
