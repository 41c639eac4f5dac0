"""
Decisions on stored value: redeeming, restoring and expiring lots of store credit, gift card money
and points.

A redemption is a tender of its order, like a payment. What it brings and what goes back is said on
the order's stream in the same append.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import accounts, recipes_journal, recipes_payment, streams
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.journal import Entry, merge
from orderledger.ledger.money import Money, cumulative_part
from orderledger.ledger.order_events import RefundSettled, ValueApplied, ValueReturned
from orderledger.ledger.orders import ENDED, Lifecycle, OrderState
from orderledger.ledger.payment_operations import FundingPart
from orderledger.ledger.stored_value import Redemption, StoredValueState, give_back
from orderledger.ledger.value_events import ValueExpired, ValueRedeemed, ValueRestored

from .decide_payment_guards import amount_due, check_amount
from .decision import Change, Changes, States, decides
from .freezing import settled_freezes
from .order_guards import after, check_id, existing
from .refund_funding import Funding, check_parts, undone_from_escrow
from .value_commands import ExpireValue, RedeemValue, RestoreValue
from .value_guards import (
    check_currency,
    check_order_currency,
    funding_for,
    into_escrow,
    ledger_account,
    no_grant,
    on_order,
    out_of_escrow,
    recovered,
    used,
)

_RESTORABLE: Final = ENDED | {Lifecycle.DRAFT, Lifecycle.PLACED}
"""Lifecycles in which a redemption may be undone without a granted refund."""


@decides(RedeemValue)
def redeem(command: RedeemValue, states: States, now: datetime) -> Changes:
    """
    Pay for an order (recipe 5); raises INSUFFICIENT_FUNDS if the lots that have not expired hold
    less, AMOUNT_EXCEEDS_AVAILABLE if the order lacks less.
    """
    check_id("redemption_id", command.redemption_id)
    check_amount(command.amount, command.currency)
    order = existing(states, command.order_id)
    received = _received(command, order)
    state = _existing(states, command.account_id)
    known = state.redemptions.get(command.redemption_id)
    if known is not None:
        if (known.order_id, known.amount, known.order_amount) == (
            command.order_id,
            command.amount,
            received,
        ):
            return ()
        raise used("redemption", command.redemption_id, command.account_id)
    _check_tender(command, order)
    check_currency(state, command.currency)
    lacks = amount_due(states, order, "", now)
    if received > lacks:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"order {command.order_id} lacks {lacks} {order.currency} minor units, not {received}",
            order_id=command.order_id,
            available=lacks,
            amount=received,
        )
    spendable = state.spendable(now)
    if command.amount > spendable:
        raise Rejected(
            Reason.INSUFFICIENT_FUNDS,
            f"account {command.account_id} can spend {spendable} {state.currency} minor units, "
            f"not {command.amount}",
            account_id=command.account_id,
            available=spendable,
            amount=command.amount,
        )
    event = ValueRedeemed(
        account_id=command.account_id,
        redemption_id=command.redemption_id,
        amount=command.amount,
        currency=command.currency,
        order_id=command.order_id,
        order_amount=received,
        order_currency=order.currency,
        lots=state.draw(command.amount, now),
    )
    posted = recipes_journal.stored_value_redeemed(
        ledger_account(state.holder, state.kind),
        command.order_id,
        Money(command.amount, command.currency),
        Money(received, order.currency),
    )
    applied = ValueApplied(
        redemption_id=command.redemption_id, account_id=command.account_id, amount=received
    )
    return (
        Change(streams.stored_value(command.account_id), event, posted),
        *on_order(order, applied),
        *into_escrow(after(order, applied), command.redemption_id, received),
    )


@decides(RestoreValue)
def restore(command: RestoreValue, states: States, now: datetime) -> Changes:
    """Give value back to its lots; raises if no refund of that much is allocated to it."""
    check_id("restore_id", command.restore_id)
    _check_funding(command)
    order = existing(states, command.order_id)
    if command.amount is not None:
        check_amount(command.amount, order.currency)
    state = _existing(states, command.account_id)
    redemption = _redemption(state, command)
    known = state.restores.get(command.restore_id)
    if known is not None:
        if _is_restored(known, command):
            return ()
        raise used("restore", command.restore_id, command.account_id)
    left = redemption.order_amount - redemption.order_restored
    available = min(left, _claim(order, command))
    returned = available if command.amount is None else command.amount
    if not 0 < returned <= available:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"redemption {command.redemption_id} can give {available} {order.currency} minor "
            f"units back, not {returned}",
            redemption_id=command.redemption_id,
            available=available,
            amount=returned,
        )
    event = _restored(command, state, redemption, returned)
    if event.amount == 0:
        raise Rejected(
            Reason.AMOUNT_NOT_POSITIVE,
            f"{returned} {order.currency} minor units are worth no {state.currency} of redemption "
            f"{command.redemption_id}; restore more at once",
            redemption_id=command.redemption_id,
            amount=returned,
        )
    funding = _funding(command, order, returned)
    events: list[Event] = [
        *recovered(funding, command.redemption_id, command.restore_id),
        ValueReturned(
            redemption_id=command.redemption_id, account_id=command.account_id, amount=returned
        ),
    ]
    if command.refund_id:
        events.append(
            RefundSettled(
                refund_id=command.refund_id,
                payment_id=command.redemption_id,
                op_id=command.restore_id,
                amount=returned,
            )
        )
    left_escrow = out_of_escrow(
        after(order, *events),
        command.redemption_id,
        funding,
        f"restored {command.restore_id}",
        command.refund_id,
    )
    posted = _restoring_entry(state, event, funding.parts)
    later = after(order, *events, *[one.event for one in left_escrow])
    return (
        Change(streams.stored_value(command.account_id), event, posted),
        *on_order(order, *events),
        *left_escrow,
        *settled_freezes(later),
    )


def _check_funding(command: RestoreValue) -> None:
    check_parts(command.order_id, f"restore {command.restore_id}", command.funding)
    if command.funding and not command.refund_id:
        raise InvalidCommand(
            f"restore {command.restore_id} undoes a redemption, which escrow bears alone; name a "
            "refund",
            restore_id=command.restore_id,
        )


def _funding(command: RestoreValue, order: OrderState, returned: int) -> Funding:
    if command.refund_id:
        grant = order.grants[command.refund_id]
        return funding_for(command.funding, returned, order, grant, command.redemption_id)
    return undone_from_escrow(order, returned)


@decides(ExpireValue)
def expire(command: ExpireValue, states: States, now: datetime) -> Changes:
    """End a lot (recipe 25); raises NOT_YET_DUE before its expiry. A lot without one never ends."""
    state = _existing(states, command.account_id)
    lot = state.lots.get(command.lot_id)
    if lot is None:
        raise Rejected(
            Reason.NOT_FOUND,
            f"account {command.account_id} has no lot {command.lot_id}",
            account_id=command.account_id,
            lot_id=command.lot_id,
        )
    if lot.expires_at is None or now < lot.expires_at:
        expiry = "never" if lot.expires_at is None else lot.expires_at.isoformat()
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"lot {command.lot_id} of account {command.account_id} expires: {expiry}",
            account_id=command.account_id,
            lot_id=command.lot_id,
            expires_at=expiry,
        )
    if lot.remaining == 0:
        return ()
    event = ValueExpired(
        account_id=command.account_id,
        lot_id=command.lot_id,
        amount=lot.remaining,
        currency=state.currency,
        due_at=lot.expires_at,
    )
    posted = recipes_journal.stored_value_expired(
        ledger_account(state.holder, state.kind), Money(lot.remaining, state.currency)
    )
    return (Change(streams.stored_value(command.account_id), event, posted),)


def _restored(
    command: RestoreValue, state: StoredValueState, redemption: Redemption, returned: int
) -> ValueRestored:
    before = redemption.order_restored
    amount = cumulative_part(redemption.amount, redemption.order_amount, before, before + returned)
    return ValueRestored(
        account_id=command.account_id,
        restore_id=command.restore_id,
        redemption_id=command.redemption_id,
        amount=amount,
        currency=state.currency,
        order_id=command.order_id,
        order_amount=returned,
        order_currency=redemption.order_currency,
        lots=give_back(redemption, amount),
        refund_id=command.refund_id,
    )


def _restoring_entry(
    state: StoredValueState, event: ValueRestored, funding: tuple[FundingPart, ...]
) -> Entry:
    """Recipe 5 backwards while the money is in escrow, otherwise recipes 11 and 25."""
    account = ledger_account(state.holder, state.kind)
    amount = Money(event.amount, event.currency)
    returned = Money(event.order_amount, event.order_currency)
    if [part.account for part in funding] == [accounts.escrow(event.order_id)]:
        return recipes_journal.stored_value_redeemed(
            account, event.order_id, amount, returned
        ).reversed()
    return merge(
        (
            recipes_payment.refund_requested(event.order_id, funding, event.order_currency),
            recipes_journal.stored_value_returned(account, event.order_id, amount, returned),
        )
    )


def _check_tender(command: RedeemValue, order: OrderState) -> None:
    if not order.accepts_payment:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {command.order_id} is {order.lifecycle.value} and takes no payment",
            order_id=command.order_id,
            lifecycle=order.lifecycle.value,
        )
    if command.redemption_id in order.redeemed or command.redemption_id in order.payments:
        # The redemption is a tender of the order: refunds are allocated to its id.
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"order {command.order_id} has another tender {command.redemption_id}",
            order_id=command.order_id,
            redemption_id=command.redemption_id,
        )


def _received(command: RedeemValue, order: OrderState) -> int:
    """Return what the order receives, in its own currency."""
    if command.order_amount is None:
        check_order_currency(order, command.currency)
        return command.amount
    check_amount(command.order_amount, order.currency)
    if order.currency == command.currency and command.order_amount != command.amount:
        raise InvalidCommand(
            f"{command.amount} {command.currency} is worth as much, not {command.order_amount}",
            amount=command.amount,
            order_amount=command.order_amount,
        )
    return command.order_amount


def _claim(order: OrderState, command: RestoreValue) -> int:
    """Return how much of the redemption may go back, by its refund or by the order's state."""
    redeemed = order.redeemed.get(command.redemption_id, 0)
    left = redeemed - order.redeemed_returned.get(command.redemption_id, 0)
    if command.refund_id:
        grant = order.grants.get(command.refund_id)
        if grant is None or not grant.is_live:
            raise no_grant(order, command.refund_id)
        allocated = grant.allocations.get(command.redemption_id, 0)
        return min(left, allocated - grant.settled.get(command.redemption_id, 0))
    if order.lifecycle not in _RESTORABLE:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {order.order_id} is {order.lifecycle.value}; grant and allocate a refund to "
            f"redemption {command.redemption_id} first",
            order_id=order.order_id,
            lifecycle=order.lifecycle.value,
        )
    # What was promised back already must not go back twice.
    return max(0, left - order.refund_outstanding)


def _existing(states: States, account_id: str) -> StoredValueState:
    state = states.stored_value(account_id)
    if not state.exists:
        raise NotFound(f"there is no stored value account {account_id}", account_id=account_id)
    return state


def _redemption(state: StoredValueState, command: RestoreValue) -> Redemption:
    found = state.redemptions.get(command.redemption_id)
    if found is None:
        raise Rejected(
            Reason.NOT_FOUND,
            f"account {command.account_id} has no redemption {command.redemption_id}",
            account_id=command.account_id,
            redemption_id=command.redemption_id,
        )
    if found.order_id != command.order_id:
        raise Rejected(
            Reason.BOUND_TO_ANOTHER_ORDER,
            f"redemption {command.redemption_id} paid for order {found.order_id}",
            redemption_id=command.redemption_id,
            order_id=found.order_id,
        )
    return found


def _is_restored(known: ValueRestored, command: RestoreValue) -> bool:
    return (
        known.redemption_id == command.redemption_id
        and known.refund_id == command.refund_id
        and command.amount in (None, known.order_amount)
    )
