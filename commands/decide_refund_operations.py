"""
Decisions on the operations that settle a granted refund.

What the buyer is entitled to stands in the order's stream, what the provider is asked for in the
payment's: a refund is requested on a live grant, for at most what it allocates to the payment, and
for at most what the payment has left.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from orderledger.ledger import accounts, streams
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.order_refunds import Grant, GrantStatus
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import (
    FundingPart,
    OperationKind,
    divided,
    scaled,
)
from orderledger.ledger.payments import (
    EVOLVE,
    PaymentState,
    failed_refunds,
    owed_again,
    refund_operations,
)
from orderledger.ledger.recipes_payment import between

from .chargeback_guards import check_not_charged_back
from .decide_authorisations import request_void
from .decide_payment_guards import (
    Request,
    check_amount,
    check_available,
    check_currency,
    check_op_id,
    check_uncontested,
    existing_order,
    existing_payment,
    is_known,
    refused,
    requested,
    wrong_state,
)
from .decision import Change, Changes, States, decides
from .escrow_follow import follow_payment
from .payment_commands import RequestRefund, RetryRefund, RouteRefundAsVoid
from .refund_funding import check_parts, exchanged, funded_by, given_funding


@decides(RequestRefund)
def request_refund(command: RequestRefund, states: States, now: datetime) -> Changes:
    """Request a refund of what a grant allocates to this payment; it is owed from here on."""
    return _request(command, states, is_retry=False)


@decides(RetryRefund)
def retry_refund(command: RetryRefund, states: States, now: datetime) -> Changes:
    """Request again what failed: a new operation on the same grant, counted as an attempt."""
    return _request(command, states, is_retry=True)


def _request(command: RequestRefund, states: States, *, is_retry: bool) -> Changes:
    check_amount(command.amount, command.currency)
    check_op_id(command.op_id)
    state = existing_payment(states, command)
    _check_funding(command, state.order_id)
    order = existing_order(states, state.order_id)
    request = Request(
        op_id=command.op_id,
        kind=OperationKind.REFUND,
        currency=command.currency,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
        refund_id=command.refund_id,
        funding=command.funding,
    )
    if is_known(state, request):
        return ()
    grant = live_grant(order, state, command.refund_id)
    failed = failed_refunds(state, command.refund_id)
    again = owed_again(state, command.refund_id)
    if is_retry and not failed:
        raise wrong_state(state, f"no operation of refund {command.refund_id} has failed")
    if not is_retry and again:
        raise wrong_state(
            state,
            f"{again} {state.currency} minor units of refund {command.refund_id} failed after "
            "success and are owed already; retry them",
            {"refund_id": command.refund_id, "owed_again": again},
        )
    check_uncontested(state, command.refund_id)
    check_currency(state, command.currency)
    if again:
        check_available(state, "that failed after success", command.amount, again)
        if command.funding:
            raise InvalidCommand("what failed after success is owed already: no funding")
    order_amount = _order_amount(state, command)
    check_allocated(state, grant, order_amount)
    check_not_charged_back(state, command.amount)
    check_available(state, "left to refund", command.amount, state.refundable)
    funding: tuple[FundingPart, ...] = ()
    slices: Mapping[str, int] = {}
    if not again:
        funding, slices = _funding(order, state, grant, command, order_amount)
    event = msgspec.structs.replace(
        requested(request, command.amount),
        funding=funding,
        attempt=len(failed) + 1,
        is_reissue=again > 0,
        order_amount=order_amount if state.fx else 0,
    )
    after = EVOLVE[type(event)](state, event)
    entry = between(state, after, command.op_id)
    change = Change(streams.payment(command.payment_id), event, entry)
    return (change, *follow_payment(order, command.payment_id, after, slices))


def _check_funding(command: RequestRefund, order_id: str) -> None:
    if not command.funding:
        return
    check_parts(order_id, f"refund {command.refund_id}", command.funding)
    total = sum([part.amount for part in command.funding])
    if total != command.amount:
        raise InvalidCommand(
            f"the funding of refund {command.refund_id} sums to {total}, not to {command.amount}",
            funding=total,
            amount=command.amount,
        )


def _funding(
    order: OrderState,
    state: PaymentState,
    grant: Grant,
    command: RequestRefund,
    order_amount: int,
) -> tuple[tuple[FundingPart, ...], Mapping[str, int]]:
    """
    Return who bears the refund in the payment's currency, () if all of it is escrow's, and which
    slices what escrow bears leaves.
    """
    tender_id = command.payment_id
    if not command.funding:
        found = funded_by(order, grant, order_amount, tender_id)
    else:
        found = given_funding(order, grant, scaled(command.funding, order_amount), tender_id)
    if [part.account for part in found.parts] == [accounts.escrow(order.order_id)]:
        return command.funding, found.slices
    if not state.fx:
        return found.parts, found.slices
    amounts = _in_payments_currency(command, found.parts)
    return tuple(
        [
            exchanged(part, amount, order.currency)
            for part, amount in zip(found.parts, amounts, strict=True)
        ]
    ), found.slices


def _in_payments_currency(
    command: RequestRefund, parts: tuple[FundingPart, ...]
) -> tuple[int, ...]:
    """Divide the refund as its parts in the order's currency; what a caller named stays so."""
    borne_by = {part.account for part in parts}
    if any(part.account not in borne_by for part in command.funding) or not command.funding:
        return divided([part.amount for part in parts], command.amount)
    named = {part.account: 0 for part in command.funding}
    for part in command.funding:
        named[part.account] += part.amount
    amounts = [0] * len(parts)
    for account, amount in named.items():
        own = [index for index, part in enumerate(parts) if part.account == account]
        shares = divided([parts[index].amount for index in own], amount)
        for index, share in zip(own, shares, strict=True):
            amounts[index] = share
    return tuple(amounts)


def _order_amount(state: PaymentState, command: RequestRefund) -> int:
    """
    Return what the refund stands for in the order's currency, within one unit of the rate.

    A series of parts rounds cumulatively, so that all of them together stand for the whole.
    """
    before = state.refunded + state.refund_in_flight
    computed = state.in_order_currency(before + command.amount) - state.in_order_currency(before)
    given = computed if command.order_amount is None else command.order_amount
    if given <= 0:
        raise refused(
            state,
            Reason.AMOUNT_NOT_POSITIVE,
            f"{command.amount} {state.currency} stand for nothing in the order's currency; refund "
            "more at once",
            {"amount": command.amount, "order_amount": given},
        )
    tolerance = 0
    if state.fx is not None:
        # One minor unit of the payment's currency may be several of the order's.
        tolerance = 1 + state.fx.order_amount // state.amount
    if abs(given - computed) > tolerance:
        raise refused(
            state,
            Reason.AMOUNT_MISMATCH,
            f"{command.amount} {state.currency} stand for {computed} of the order's currency, "
            f"not for {given}",
            {"amount": command.amount, "order_amount": given, "computed": computed},
        )
    return given


def live_grant(order: OrderState, state: PaymentState, refund_id: str) -> Grant:
    """Return a grant with allocations; raises Rejected NOT_FOUND or WRONG_STATE."""
    grant = order.grants.get(refund_id)
    if grant is None:
        raise Rejected(
            Reason.NOT_FOUND,
            f"order {order.order_id} has no granted refund {refund_id!r}",
            order_id=order.order_id,
            refund_id=refund_id,
        )
    if grant.status in (GrantStatus.GRANTED, GrantStatus.WITHDRAWN):
        raise wrong_state(
            state,
            f"refund {refund_id} is {grant.status.value}, not allocated to payments",
            {"refund_id": refund_id, "status": grant.status.value},
        )
    return grant


def check_allocated(state: PaymentState, grant: Grant, order_amount: int) -> None:
    """Raise Rejected if operations of the grant would exceed its allocation to the payment."""
    in_flight = settled = 0
    for op in refund_operations(state, grant.refund_id):
        amount = op.reserved or op.done
        whole = op.order_amount if op.order_amount and amount == op.amount else 0
        stands_for = whole or state.in_order_currency(amount)
        if op.is_in_flight:
            in_flight += stands_for
        else:
            settled += stands_for
    # What had failed after success, and a lost chargeback then paid, has reached the buyer.
    taken = sum([one.owed.get(grant.refund_id, 0) for one in state.chargebacks.values()])
    by_bank = state.in_order_currency(taken)
    used = in_flight + settled + by_bank
    allocated = grant.allocations.get(state.payment_id, 0)
    # What was settled by other means is not outstanding, though its allocation is not used.
    left = min(allocated - used, grant.outstanding - in_flight - by_bank)
    if order_amount > left:
        raise refused(
            state,
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"refund {grant.refund_id} allocates {allocated} to it, of which {used} are settled, "
            f"in flight or paid by a lost chargeback; {order_amount} is too much",
            {
                "refund_id": grant.refund_id,
                "amount": order_amount,
                "available": max(0, left),
            },
        )


@decides(RouteRefundAsVoid)
def route_as_void(command: RouteRefundAsVoid, states: States, now: datetime) -> Changes:
    """Request a void in place of a refund while nothing was captured."""
    check_amount(command.amount, command.currency)
    check_op_id(command.op_id)
    state = existing_payment(states, command)
    order = existing_order(states, state.order_id)
    request = Request(
        op_id=command.op_id,
        kind=OperationKind.VOID,
        currency=command.currency,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
        parent_op=command.auth_op,
        refund_id=command.refund_id,
    )
    if is_known(state, request):
        return ()
    grant = live_grant(order, state, command.refund_id)
    if state.captured:
        raise wrong_state(
            state,
            f"{state.captured} {state.currency} minor units are captured: refund them",
            {"captured": state.captured},
        )
    changes = request_void(state, request)
    check_allocated(state, grant, state.in_order_currency(command.amount))
    return changes
