"""
What the decisions on payouts share: what a release is worth to its seller now, and the checks
against the balance that the caller saw.
"""

from collections.abc import Iterable, Sequence

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.limits import AMOUNT_MINOR_MAX
from orderledger.ledger.order_events import FundsReleased
from orderledger.ledger.orders import OrderState
from orderledger.ledger.seller_events import PayoutEntry
from orderledger.ledger.seller_position import credited, owed
from orderledger.ledger.sellers import SellerState, StandingState

from .decision import Change, States
from .escrow_follow import follow_all
from .order_guards import after, existing
from .payout_commands import ReleasedSlice, SchedulePayout
from .seller_commands import SeenBalance


class Looked(msgspec.Struct, frozen=True):
    """An order brought up to date with its tenders, and the changes that did it."""

    order: OrderState
    changes: tuple[Change, ...]


def gather(states: States, order_ids: Iterable[str]) -> None:
    """Have orders and all their payments loaded, in a query each."""
    named = list(dict.fromkeys(order_ids))
    states.gather([streams.order(order_id) for order_id in named])
    payments = [one for order_id in named for one in states.order(order_id).payments]
    states.gather([streams.payment(payment_id) for payment_id in payments])


def look_at(states: States, order_id: str) -> Looked:
    """
    Return an order with every refund of its payments taken into account; raises NotFound.

    Its payments are read too, so that a refund at the same time makes one of the two wait.
    """
    order = existing(states, order_id)
    changes = follow_all(order, states)
    return Looked(after(order, *[one.event for one in changes]), changes)


def check_seen(seen: SeenBalance, state: SellerState, seller: str, currency: str) -> None:
    """Raise STALE_BASE_VERSION where the seller's stream moved since the balance was seen."""
    if abs(seen.payable) > AMOUNT_MINOR_MAX:
        raise InvalidCommand(f"payable {seen.payable} is beyond {AMOUNT_MINOR_MAX} minor units")
    if seen.seller_version != state.version:
        raise Rejected(
            Reason.STALE_BASE_VERSION,
            f"the account of seller {seller} in {currency} has {state.version} events, the "
            f"balance was seen at {seen.seller_version}; look at it again",
            seller=seller,
            currency=currency,
            seller_version=state.version,
            seen=seen.seller_version,
        )


def check_not_suspended(state: StandingState, seller: str) -> None:
    """Raise SELLER_SUSPENDED."""
    if state.is_suspended:
        raise Rejected(
            Reason.SELLER_SUSPENDED,
            f"seller {seller} is suspended ({state.reason}); nothing is paid out until the seller "
            "is reinstated",
            seller=seller,
        )


def entries_of(
    command: SchedulePayout, order: OrderState, wanted: Sequence[ReleasedSlice], state: SellerState
) -> list[PayoutEntry]:
    """
    Return what the releases of one order are worth to their seller now and no payout has.

    Raises NOT_FOUND, CURRENCY_MISMATCH, ALREADY_PAID_OUT, AMOUNT_EXCEEDS_AVAILABLE where refunds
    or freezes took it, AMOUNT_MISMATCH where the caller expects another amount.
    """
    found: list[PayoutEntry] = []
    left = owed(order, command.seller, command.currency) - state.claimed_of_order(order.order_id)
    for one in wanted:
        release = _release(command, order, one)
        claimed = state.claimed_of(order.order_id, one.release_id)
        got = credited(release, order.currency).minor
        amount = min(got - claimed, left)
        if amount <= 0:
            raise _nothing_left(one, state, got, amount)
        if one.amount is not None and one.amount != amount:
            raise Rejected(
                Reason.AMOUNT_MISMATCH,
                f"release {one.release_id} of order {one.order_id} is worth {amount} "
                f"{command.currency} minor units to seller {command.seller} now, not {one.amount}",
                order_id=one.order_id,
                release_id=one.release_id,
                available=amount,
                amount=one.amount,
            )
        left -= amount
        found.append(PayoutEntry(one.order_id, one.release_id, amount))
    return found


def _release(command: SchedulePayout, order: OrderState, one: ReleasedSlice) -> FundsReleased:
    release = order.releases.get(one.release_id)
    if release is None or release.slice_id != command.seller:
        raise Rejected(
            Reason.NOT_FOUND,
            f"order {one.order_id} has no release {one.release_id} to seller {command.seller}",
            order_id=one.order_id,
            release_id=one.release_id,
            seller=command.seller,
        )
    currency = credited(release, order.currency).currency
    if currency != command.currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"release {one.release_id} of order {one.order_id} is owed in {currency}, the payout "
            f"is in {command.currency}",
            order_id=one.order_id,
            release_id=one.release_id,
            currency=command.currency,
            other_currency=currency,
        )
    return release


def _nothing_left(one: ReleasedSlice, state: SellerState, got: int, amount: int) -> Rejected:
    payouts = state.claiming(one.order_id, one.release_id)
    if payouts:
        return Rejected(
            Reason.ALREADY_PAID_OUT,
            f"release {one.release_id} of order {one.order_id} is in payout "
            f"{', '.join(payouts)}; a release is paid once",
            order_id=one.order_id,
            release_id=one.release_id,
            payouts=list(payouts),
        )
    return Rejected(
        Reason.AMOUNT_EXCEEDS_AVAILABLE,
        f"release {one.release_id} of order {one.order_id} gave its seller {got}, and refunds or "
        f"freezes of the order left {amount} to pay",
        order_id=one.order_id,
        release_id=one.release_id,
        available=amount,
        amount=got,
    )


def check_still_owed(order: OrderState, seller: str, currency: str, state: SellerState) -> None:
    """Raise AMOUNT_EXCEEDS_AVAILABLE where payouts claim more of an order than it owes now."""
    claimed = state.claimed_of_order(order.order_id)
    available = owed(order, seller, currency)
    if claimed > available:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"order {order.order_id} owes seller {seller} {available} {currency} minor units now, "
            f"payouts have {claimed} of it: refunds or freezes took the rest; cancel the payout "
            "and schedule another one",
            order_id=order.order_id,
            seller=seller,
            available=available,
            amount=claimed,
        )
