"""
What the decisions on stored value share: guards, and the order's side of a movement of value.
"""

import msgspec

from orderledger.ledger import recipes_journal, recipes_order, streams
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.escrow_events import FundsRecovered
from orderledger.ledger.escrow_shares import NO_REFUND, OfRefund, follow, follow_coupons
from orderledger.ledger.events import Event
from orderledger.ledger.order_escrow import Escrowed
from orderledger.ledger.order_events import FundsHeld, FundsReturned
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import FundingPart
from orderledger.ledger.stored_value import StoredValueState
from orderledger.ledger.value_events import ValueKind

from .decision import Change, Changes
from .order_guards import after
from .refund_funding import Funding, funded_by, given_funding

NO_TENDER = ""
"""Value that an order buys or owes leaves its slices without going back to a tender."""


def on_order(order: OrderState, *events: Event) -> Changes:
    """Return the changes of events on the order's stream that post nothing."""
    stream = streams.order(order.order_id)
    return tuple(Change(stream, event) for event in events)


def into_escrow(order: OrderState, redemption_id: str, amount: int) -> Changes:
    """Return how redeemed money joins the order's slices, coupons following it."""
    return _follow(order, redemption_id, amount)


def out_of_escrow(
    order: OrderState, tender_id: str, funding: Funding, cause: str, refund_id: str = ""
) -> Changes:
    """
    Return how money leaves the order's slices, for a redemption or for NO_TENDER.

    Keeps the escrow account equal to the sum of the slices; coupons follow.
    """
    changes = _follow(order, tender_id, -funding.from_escrow, OfRefund(refund_id, funding.slices))
    return tuple(
        msgspec.structs.replace(one, event=msgspec.structs.replace(one.event, cause=cause))
        if isinstance(one.event, FundsReturned) and one.event.amount
        else one
        for one in changes
    )


def _follow(
    order: OrderState,
    tender_id: str,
    change: int,
    of: OfRefund = NO_REFUND,
) -> Changes:
    moved: tuple[Event, ...] = ()
    if change:
        before = order.escrowed.get(tender_id) or Escrowed()
        now = Escrowed(before.amount + change, before.paid_amount)
        moved = follow(order, tender_id, now, "", of)
    # Coupons follow too where those who were paid bear it all: they gave the coupon's part back.
    coupons = follow_coupons(after(order, *moved))
    stream = streams.order(order.order_id)
    return (*(Change(stream, event) for event in moved), *_posted(order, coupons))


def _posted(order: OrderState, coupons: tuple[Event, ...]) -> Changes:
    stream = streams.order(order.order_id)
    changes: list[Change] = []
    for event in coupons:
        if isinstance(event, FundsHeld):
            posted = recipes_order.funds_held(order.order_id, event, order.currency)
            changes.append(Change(stream, event, posted))
        elif isinstance(event, FundsReturned):
            posted = recipes_order.funds_returned(order.order_id, event, order.currency)
            changes.append(Change(stream, event, posted))
    return tuple(changes)


def ledger_account(holder: str, kind: ValueKind) -> str:
    """Return the account that owes the value."""
    return recipes_journal.value_account(holder, points=kind is ValueKind.LOYALTY)


def funding_for(
    given: tuple[FundingPart, ...],
    amount: int,
    order: OrderState,
    grant: Grant,
    tender_id: str = "",
) -> Funding:
    """
    Return who bears an amount of a grant that goes back to a tender: by the rule of refunds if
    nobody is given.

    Raises AMOUNT_MISMATCH, or what ``given_funding`` raises.
    """
    if not given:
        return funded_by(order, grant, amount, tender_id)
    total = sum(part.amount for part in given)
    if total != amount:
        raise Rejected(
            Reason.AMOUNT_MISMATCH,
            f"the funding of {total} is not the amount of {amount} {order.currency} minor units",
            order_id=order.order_id,
            funding=total,
            amount=amount,
        )
    return given_funding(order, grant, given, tender_id)


def recovered(funding: Funding, tender_id: str, op_id: str) -> tuple[Event, ...]:
    """Return what the order's stream says of those who bear a refund besides escrow."""
    parts = tuple([part for part in funding.parts if part.slice_id])
    return (FundsRecovered(tender_id=tender_id, op_id=op_id, parts=parts),) if parts else ()


def check_currency(state: StoredValueState, currency: str) -> None:
    """Raise Rejected CURRENCY_MISMATCH."""
    if state.currency != currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"account {state.account_id} is in {state.currency}, not in {currency}",
            account_id=state.account_id,
            currency=state.currency,
            other_currency=currency,
        )


def check_order_currency(order: OrderState, currency: str) -> None:
    """Raise Rejected CURRENCY_MISMATCH."""
    if order.currency != currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"order {order.order_id} is in {order.currency}, not in {currency}",
            order_id=order.order_id,
            currency=order.currency,
            other_currency=currency,
        )


def used(what: str, used_id: str, account_id: str) -> Rejected:
    """Return the refusal of an id that stands for something else."""
    return Rejected(
        Reason.OPERATION_ALREADY_USED,
        f"account {account_id} has a {what} {used_id} with other content; use a new id",
        account_id=account_id,
        id=used_id,
    )


def no_grant(order: OrderState, refund_id: str) -> Rejected:
    """Return the refusal of a refund that was not granted."""
    return Rejected(
        Reason.NOT_FOUND,
        f"order {order.order_id} has no live refund {refund_id}; grant it first",
        order_id=order.order_id,
        refund_id=refund_id,
    )
