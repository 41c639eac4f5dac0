"""
Posting recipes of payments and refunds, and the postings of one payment event.

One function per row of the table of recipes (``docs/money.md``), which the docstring names.
Amounts are positive integers in minor units.

``between`` posts the difference of what two states of a payment mean on the accounts. So the sum
of all postings of a payment is a function of its last state, whatever the order of the reports.
"""

from functools import lru_cache

from . import accounts
from .journal import EMPTY, Entry, Layer, Posting, credit, debit, entry, netted
from .payment_operations import (
    FundingPart,
    Operation,
    scaled,
)
from .payments import Bearing, PaymentState, refund_bearings

# Names of a payment's accounts are checked once, not with every leg.
_psp = lru_cache(maxsize=256)(accounts.psp)
_escrow = lru_cache(maxsize=4_096)(accounts.escrow)


def authorised(provider: str, order_id: str, amount: int, currency: str) -> Entry:
    """Recipe 1: authorised A. Held: debit psp A, credit escrow A."""
    return entry(*_hold(provider, order_id, amount, currency))


def captured(provider: str, order_id: str, amount: int, held: int, currency: str) -> Entry:
    """
    Recipe 2: captured c. Debit psp c, credit escrow c; consumes ``held`` of the hold.

    ``held`` is less than c where more is captured than is held, and more for a final capture.
    """
    return entry(
        Posting(_psp(provider), currency, amount),
        Posting(_escrow(order_id), currency, -amount),
        *_hold(provider, order_id, -held, currency),
    )


def released(provider: str, order_id: str, held: int, currency: str) -> Entry:
    """Recipe 3: voided or expired. Releases the hold, nothing posted."""
    return entry(*_hold(provider, order_id, -held, currency))


def capture_reversed(provider: str, order_id: str, amount: int, held: int, currency: str) -> Entry:
    """
    Recipe 6: capture reversed c. Debit escrow c, credit psp c.

    ``held`` is what the authorisation holds again, if it is still open.
    """
    return entry(
        Posting(_escrow(order_id), currency, amount),
        Posting(_psp(provider), currency, -amount),
        *_hold(provider, order_id, held, currency),
    )


def refund_requested(order_id: str, funding: tuple[FundingPart, ...], currency: str) -> Entry:
    """
    Recipes 10 and 11: refund requested. Debit what bears it, credit refunds with the sum.

    Before the release that is escrow r (recipe 10); afterwards seller a, commission_refunded k
    and tax t (recipe 11). An account that was credited another currency is debited that, and fx
    stands between: recipe 28 backwards.
    """
    total = sum([part.amount for part in funding])
    legs = borne_legs(funding, currency)
    return entry(*legs, credit(accounts.refunds(order_id), currency, total))


def borne_legs(funding: tuple[FundingPart, ...], currency: str) -> tuple[Posting, ...]:
    """
    Return the debits of those who bear an amount; with the sum credited elsewhere they balance.

    ``currency`` is the parts'; an account that was credited another one is debited that.
    """
    borne_by: dict[tuple[str, str], int] = {}

    def bear(account: str, code: str, minor: int) -> None:
        borne_by[account, code] = borne_by.get((account, code), 0) + minor

    for part in funding:
        one = part.recovery
        if one is None or not one.currency:
            bear(part.account, currency, part.amount)
            continue
        bear(part.account, one.currency, one.amount)
        bear(accounts.FX_POSITION, one.currency, -one.amount)
        bear(accounts.FX_POSITION, currency, part.amount)
    return tuple([debit(account, code, minor) for (account, code), minor in borne_by.items()])


def refund_succeeded(provider: str, order_id: str, amount: int, currency: str) -> Entry:
    """Recipe 12: refund succeeded at the provider. Debit refunds r, credit psp r."""
    return entry(
        debit(accounts.refunds(order_id), currency, amount),
        Posting(_psp(provider), currency, -amount),
    )


def refund_declined(order_id: str, funding: tuple[FundingPart, ...], currency: str) -> Entry:
    """Recipe 13, before success: debit refunds r, credit what recipe 10 or 11 debited."""
    return refund_requested(order_id, funding, currency).reversed()


def refund_reversed(provider: str, order_id: str, amount: int, currency: str) -> Entry:
    """Recipe 13, after success: debit psp r, credit refunds r, to be issued again."""
    return refund_succeeded(provider, order_id, amount, currency).reversed()


def customer_credited(provider: str, amount: int, currency: str) -> Entry:
    """Unreferenced credit z, a goodwill of the platform: debit goodwill z, credit psp z."""
    return entry(
        debit(accounts.GOODWILL, currency, amount), Posting(_psp(provider), currency, -amount)
    )


def _hold(provider: str, order_id: str, amount: int, currency: str) -> tuple[Posting, ...]:
    if not amount:
        return ()
    return (
        Posting(_psp(provider), currency, amount, Layer.HELD),
        Posting(_escrow(order_id), currency, -amount, Layer.HELD),
    )


def between(before: PaymentState, after: PaymentState, *op_ids: str) -> Entry:
    """
    Return what one event posts: ``before`` and ``after`` it, ``op_ids`` the operations it touches.
    """
    if not after.exists or not after.order_id:
        return _credits(before, after)
    captures = _captures(before, after)
    refunds = _refunds(before, after, op_ids)
    if refunds:
        return entry(*captures.postings, *refunds)
    return captures or _credits(before, after)


def _captures(before: PaymentState, after: PaymentState) -> Entry:
    held = after.held - before.held
    moved = after.captured - before.captured
    if moved > 0:
        return captured(after.provider, after.order_id, moved, -held, after.currency)
    if moved < 0:
        return capture_reversed(after.provider, after.order_id, -moved, held, after.currency)
    if held > 0:
        return authorised(after.provider, after.order_id, held, after.currency)
    if held < 0:
        return released(after.provider, after.order_id, -held, after.currency)
    return EMPTY


def _credits(before: PaymentState, after: PaymentState) -> Entry:
    moved = after.credited - before.credited
    if moved > 0:
        return customer_credited(after.provider, moved, after.currency)
    if moved < 0:
        return customer_credited(after.provider, -moved, after.currency).reversed()
    return EMPTY


def _refunds(
    before: PaymentState, after: PaymentState, op_ids: tuple[str, ...]
) -> tuple[Posting, ...]:
    """
    Return the legs of the refunds that an event touched, and of those that others bear since.

    What is captured and refunded by other operations decides who bears a refund.
    """
    old, new = refund_bearings(before), refund_bearings(after)
    changed = [op_id for op_id in new if op_id not in op_ids and new[op_id] != old.get(op_id)]
    legs: list[Posting] = []
    for op_id in (*op_ids, *changed):
        if op_id not in new:
            continue
        one, other = before.operations.get(op_id), after.operations[op_id]
        now = _bearing_legs(after, other, new[op_id])
        was = _bearing_legs(before, one, old[op_id]) if one is not None else ()
        legs.extend(netted([*now, *Entry(was).reversed().postings]))
        legs.extend(_paid(after, other.done - (one.done if one is not None else 0)))
    return tuple(legs)


def _paid(state: PaymentState, amount: int) -> tuple[Posting, ...]:
    if amount > 0:
        return refund_succeeded(state.provider, state.order_id, amount, state.currency).postings
    if amount < 0:
        return refund_reversed(state.provider, state.order_id, -amount, state.currency).postings
    return ()


def _bearing_legs(state: PaymentState, op: Operation, bearing: Bearing) -> tuple[Posting, ...]:
    """Return the legs of a refund operation as it stands, before anything reached the buyer."""
    parts = _parts(state, op, bearing)
    if bearing.beyond:
        parts = (*parts, FundingPart(accounts.receivable(state.order_id), bearing.beyond))
    return refund_requested(state.order_id, parts, state.currency).postings


def borne(state: PaymentState) -> dict[str, tuple[FundingPart, ...]]:
    """
    Return who bears each refund operation of a payment as it stands, in its currency.

    Without what the buyer owes, and what is owed to them.
    """
    return {
        op_id: _parts(state, state.operations[op_id], bearing)
        for op_id, bearing in refund_bearings(state).items()
    }


def _parts(state: PaymentState, op: Operation, bearing: Bearing) -> tuple[FundingPart, ...]:
    if bearing.own == 0 or op.is_reissue:
        return ()
    if not op.funding:
        return (FundingPart(accounts.escrow(state.order_id), bearing.own),)
    return scaled(op.funding, bearing.own)
