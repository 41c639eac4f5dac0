"""
Decisions on issuing stored value: as goodwill, in place of a refund, or bought with an order.
"""

from datetime import datetime

from orderledger.ledger import accounts, recipes_journal, recipes_payment, streams
from orderledger.ledger.currencies import is_points
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.journal import merge
from orderledger.ledger.money import Money
from orderledger.ledger.order_events import RefundSettledExternally
from orderledger.ledger.order_refunds import Grant, GrantStatus
from orderledger.ledger.orders import OrderState
from orderledger.ledger.stored_value import StoredValueState
from orderledger.ledger.value_events import ValueIssued, ValueKind, ValueSource

from .chargeback_guards import check_grant_not_charged_back, check_order_not_charged_back
from .decide_payment_guards import check_amount, check_uncontested
from .decision import Change, Changes, States, decides
from .freezing import settled_freezes
from .order_guards import after, check_id, existing
from .refund_funding import check_parts, undone_from_escrow
from .value_commands import IssueValue
from .value_guards import (
    NO_TENDER,
    check_currency,
    check_order_currency,
    funding_for,
    ledger_account,
    no_grant,
    on_order,
    out_of_escrow,
    recovered,
    used,
)


@decides(IssueValue)
def issue(command: IssueValue, states: States, now: datetime) -> Changes:
    """
    Add a lot; raises if the account is of another kind, holder or currency, or if what is to fund
    it is not there.
    """
    _check_issue(command, now)
    order = existing(states, command.order_id) if command.order_id else None
    state = states.stored_value(command.account_id)
    event = ValueIssued(
        account_id=command.account_id,
        holder=command.holder,
        kind=command.kind,
        lot_id=command.lot_id,
        amount=command.amount,
        currency=command.currency,
        source=command.source,
        expires_at=command.expires_at,
        order_id=command.order_id,
        refund_id=command.refund_id,
    )
    if _is_issued(state, event):
        return ()
    _check_account(state, event)
    amount = Money(command.amount, command.currency)
    account = ledger_account(event.holder, event.kind)
    stream = streams.stored_value(command.account_id)
    if order is None:
        posted = recipes_journal.stored_value_issued(account, accounts.GOODWILL, amount)
        return (Change(stream, event, posted),)
    check_order_currency(order, command.currency)
    if command.source is ValueSource.SALE:
        _check_in_escrow(order, command)
        escrow = accounts.escrow(order.order_id)
        posted = recipes_journal.stored_value_issued(account, escrow, amount)
        bought = undone_from_escrow(order, command.amount)
        return (
            Change(stream, event, posted),
            *out_of_escrow(order, NO_TENDER, bought, f"value {command.lot_id}"),
        )
    return _issued_as_refund(command, states, order, event, account)


def _issued_as_refund(
    command: IssueValue, states: States, order: OrderState, event: ValueIssued, account: str
) -> Changes:
    """Pay a granted refund in value: one nobody began to pay, or what failed after success."""
    refund_id = command.refund_id or ""
    grant = order.grants.get(refund_id)
    if grant is None or not grant.is_live:
        raise no_grant(order, refund_id)
    amount = Money(command.amount, command.currency)
    owed = recipes_journal.stored_value_issued(account, accounts.refunds(order.order_id), amount)
    settled = RefundSettledExternally(
        refund_id=refund_id,
        amount=command.amount,
        method=command.kind.value,
        reference=command.lot_id,
        by=command.account_id,
    )
    stream = streams.stored_value(command.account_id)
    if grant.owed_again:
        if command.amount > grant.owed_again:
            raise _more_than_granted(order, grant, command.amount, grant.owed_again)
        for payment_id in grant.owed:
            check_uncontested(states.payment(payment_id), refund_id)
            check_grant_not_charged_back(grant, states.payment(payment_id))
        given_up = settled_freezes(after(order, settled))
        return (Change(stream, event, owed), *on_order(order, settled), *given_up)
    if grant.status is not GrantStatus.GRANTED:
        raise Rejected(
            Reason.WRONG_STATE,
            f"refund {refund_id} of order {order.order_id} is {grant.status.value}; only one that "
            "is not allocated to payments can be paid in value",
            order_id=order.order_id,
            refund_id=refund_id,
            status=grant.status.value,
        )
    if command.amount != grant.outstanding:
        raise _more_than_granted(order, grant, command.amount, grant.outstanding)
    check_order_not_charged_back(order, states, command.amount)
    funding = funding_for(command.funding, command.amount, order, grant)
    requested = recipes_payment.refund_requested(order.order_id, funding.parts, order.currency)
    events = (settled, *recovered(funding, command.account_id, command.lot_id))
    cause = f"value {command.lot_id} for refund {refund_id}"
    left = out_of_escrow(after(order, *events), NO_TENDER, funding, cause, refund_id)
    return (Change(stream, event, merge((requested, owed))), *on_order(order, *events), *left)


def _check_issue(command: IssueValue, now: datetime) -> None:
    check_id("holder", command.holder)
    check_id("lot_id", command.lot_id)
    check_amount(command.amount, command.currency)
    if is_points(command.currency) != (command.kind is ValueKind.LOYALTY):
        raise InvalidCommand(
            f"{command.kind.value} in {command.currency}: points, and only points, have a points "
            "code as their currency",
            kind=command.kind.value,
            currency=command.currency,
        )
    wanted = {
        ValueSource.GOODWILL: (False, False),
        ValueSource.REFUND: (True, True),
        ValueSource.SALE: (True, False),
    }[command.source]
    if (command.order_id is not None, command.refund_id is not None) != wanted:
        raise InvalidCommand(
            f"value issued as {command.source.value}: a refund names order_id and refund_id, a "
            "sale order_id, goodwill neither",
            source=command.source.value,
        )
    if command.funding and command.source is not ValueSource.REFUND:
        raise InvalidCommand(
            f"value issued as {command.source.value} is not funded by others; only a refund is",
            source=command.source.value,
        )
    if command.order_id:
        check_parts(command.order_id, f"value {command.lot_id}", command.funding)
    if command.expires_at is not None and command.expires_at <= (command.occurred_at or now):
        raise InvalidCommand(
            f"lot {command.lot_id} would expire at {command.expires_at.isoformat()}, before it is "
            "issued",
            lot_id=command.lot_id,
        )


def _is_issued(state: StoredValueState, event: ValueIssued) -> bool:
    lot = state.lots.get(event.lot_id)
    if lot is None:
        return False
    same = (lot.issued, lot.expires_at, state.currency, state.holder, state.kind)
    if same == (event.amount, event.expires_at, event.currency, event.holder, event.kind):
        return True
    raise used("lot", event.lot_id, event.account_id)


def _check_account(state: StoredValueState, event: ValueIssued) -> None:
    if not state.exists:
        return
    if (state.holder, state.kind) != (event.holder, event.kind):
        raise Rejected(
            Reason.WRONG_STATE,
            f"account {event.account_id} holds {state.kind.value} of {state.holder}, not "
            f"{event.kind.value} of {event.holder}",
            account_id=event.account_id,
            holder=state.holder,
            kind=state.kind.value,
        )
    check_currency(state, event.currency)


def _check_in_escrow(order: OrderState, command: IssueValue) -> None:
    if command.amount > order.escrow_held:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"order {order.order_id} holds {order.escrow_held} {order.currency} minor units in "
            f"escrow, which cannot pay for value of {command.amount}; capture and hold it first",
            order_id=order.order_id,
            available=order.escrow_held,
            amount=command.amount,
        )


def _more_than_granted(order: OrderState, grant: Grant, amount: int, open_amount: int) -> Rejected:
    return Rejected(
        Reason.AMOUNT_MISMATCH,
        f"refund {grant.refund_id} of order {order.order_id} is open over {open_amount} "
        f"{order.currency} minor units, not {amount}",
        order_id=order.order_id,
        refund_id=grant.refund_id,
        available=open_amount,
        amount=amount,
    )
