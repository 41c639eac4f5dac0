"""
Who bears a refund: the order's escrow as long as it holds the money, then those it went to.

A caller of RequestRefund may decide otherwise; this is the rule of the recipes 10 and 11.
"""

from orderledger.ledger import accounts
from orderledger.ledger.escrow_shares import sellers_of
from orderledger.ledger.money import allocate
from orderledger.ledger.order_content import Beneficiary
from orderledger.ledger.order_escrow import Slice
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import FundingPart, OperationKind
from orderledger.ledger.recipes_payment import funded

from .decision import States

_ACCOUNT_OF = {
    Beneficiary.SELLER_SHIPPING.value: accounts.seller,
    Beneficiary.CARRIER.value: accounts.shipping,
    Beneficiary.TAX.value: accounts.tax,
    Beneficiary.TIP.value: accounts.tips,
}


def funding_of(
    order: OrderState, grant: Grant, amount: int, states: States
) -> tuple[FundingPart, ...]:
    """
    Return who bears ``amount`` of a grant, in the order's currency; the parts sum to it.

    Goodwill is the platform's. Otherwise escrow pays what it holds; the rest is divided among the
    accounts that the slices of the grant's sellers were released to, in proportion to what each
    still has of it, so that no more commission or tax is given back than was taken and a full
    refund gives all of it back. What they no longer have is the first seller's debt.
    """
    if grant.source is RefundSource.GOODWILL:
        return (FundingPart(accounts.GOODWILL, amount),)
    held = min(amount, max(0, order.escrow_held))
    parts: dict[str, int] = {accounts.escrow(order.order_id): held} if held else {}
    rest = amount - held
    if rest:
        left = _left(order, grant, states)
        within = min(rest, sum(left.values()))
        if within:
            amounts = allocate(within, list(left.values()))
            for account, part in zip(left, amounts, strict=True):
                parts[account] = parts.get(account, 0) + part
        if rest > within:
            debtor = accounts.seller(_sellers(order, grant)[0])
            parts[debtor] = parts.get(debtor, 0) + rest - within
    return tuple([FundingPart(account, part) for account, part in parts.items() if part])


def _sellers(order: OrderState, grant: Grant) -> list[str]:
    return sellers_of(order, grant) or sorted({one.line.seller for one in order.lines.values()})


def _left(order: OrderState, grant: Grant, states: States) -> dict[str, int]:
    """Return what each account got of the sellers' slices and has not given back yet."""
    left: dict[str, int] = {}
    for seller in _sellers(order, grant):
        one = order.slices.get(seller)
        if one is not None:
            _add_released(left, one)
    for payment_id in order.payments:
        for op in states.payment(payment_id).operations.values():
            amount = funded(op) if op.kind is OperationKind.REFUND and not op.is_reissue else 0
            if not amount or not op.funding:
                continue
            shares = allocate(amount, [part.amount for part in op.funding])
            for part, share in zip(op.funding, shares, strict=True):
                if part.account in left:
                    left[part.account] = max(0, left[part.account] - share)
    return left


def _add_released(left: dict[str, int], one: Slice) -> None:
    seller = accounts.seller(one.slice_id)
    left[seller] = left.get(seller, 0) + one.released_items - one.commission
    known = left.get(accounts.COMMISSION_REFUNDED, 0)
    left[accounts.COMMISSION_REFUNDED] = known + one.commission
    for (kind, target), amount in one.released_parts.items():
        account = _ACCOUNT_OF[kind](target)
        left[account] = left.get(account, 0) + amount
