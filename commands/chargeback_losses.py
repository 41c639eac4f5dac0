"""
Who bears what a chargeback took for good: decided once, recorded in the event.

The sellers bear it in proportion to what the payment brought for each of them, or the platform
does. Of a seller's part that is still in escrow the escrow bears it (recipe 19), of what was
released the seller, with the commission at the rate of its release coming back (recipe 17). Before
that comes what is owed to the buyer again because a refund failed after success: the buyer got it
by the chargeback. What exceeds everything the payment brought the buyer got back twice: it is a
receivable (invariant 29).
"""

from collections.abc import Mapping

from msgspec.structs import replace

from orderledger.ledger import accounts
from orderledger.ledger.chargeback_events import ChargebackLossAssigned, OwedRefund
from orderledger.ledger.chargeback_stages import Liability
from orderledger.ledger.chargebacks import Chargeback
from orderledger.ledger.money import allocate
from orderledger.ledger.order_content import Beneficiary
from orderledger.ledger.orders import EVOLVE as EVOLVE_ORDER
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import FundingPart, divided
from orderledger.ledger.payments import EVOLVE, PaymentState, owed_again
from orderledger.ledger.release_recovery import Releases, items_of

from .escrow_follow import follow_payment
from .refund_funding import exchanged


def loss_assignments(
    order: OrderState, payment: PaymentState
) -> tuple[ChargebackLossAssigned, ...]:
    """
    Return the decisions that the payment's losses lack: one for each chargeback that needs one.

    Decided again where the loss is another, or where reports of captures and refunds changed how
    much of it the payment's money covers; what was released since changes nothing.
    """
    covered = max(0, payment.captured - payment.refunded - payment.refund_in_flight)
    owns: dict[str, int] = {}
    for chargeback_id in sorted(payment.chargebacks):
        owns[chargeback_id] = min(payment.chargebacks[chargeback_id].lost, covered)
        covered -= owns[chargeback_id]
    found: list[ChargebackLossAssigned] = []
    for chargeback_id in _givers_first(payment, owns):
        one = payment.chargebacks[chargeback_id]
        if not _is_assigned(payment, one, owns[chargeback_id]):
            event = assigned(order, payment, one, owns[chargeback_id])
            found.append(event)
            payment = EVOLVE[type(event)](payment, event)
    return tuple(found)


def _givers_first(payment: PaymentState, owns: Mapping[str, int]) -> list[str]:
    """
    Return the chargebacks, those first whose loss takes less of the payment's money than before.

    Another one's loss is borne by what they give back; decided before them, it would find that
    money gone and leave it in escrow for nobody.
    """

    def taken_more(chargeback_id: str) -> int:
        one = payment.chargebacks[chargeback_id]
        borne = sum([part.amount for part in one.parts]) - one.borne_by(_receivable(payment))
        return owns[chargeback_id] - borne

    return sorted(owns, key=taken_more)


def _is_assigned(payment: PaymentState, one: Chargeback, own: int) -> bool:
    if not one.lost:
        return not one.parts
    is_whole = sum([part.amount for part in one.parts]) == one.lost
    is_covered = one.borne_by(_receivable(payment)) == one.lost - own
    return is_whole and is_covered and one.assigned_to is one.liability


def _receivable(payment: PaymentState) -> str:
    return accounts.receivable(payment.order_id or payment.payment_id)


def assigned(
    order: OrderState, payment: PaymentState, one: Chargeback, own: int
) -> ChargebackLossAssigned:
    """Return who bears a chargeback's loss; ``own`` of it is covered by the payment's money."""
    bare = without_loss(payment, one)
    owed: list[OwedRefund] = []
    parts: list[FundingPart] = []
    left = own
    for refund_id in sorted(_refunds(bare)):
        part = min(left, owed_again(bare, refund_id))
        if part:
            owed.append(OwedRefund(refund_id, part))
            left -= part
    if owed:
        parts.append(FundingPart(accounts.refunds(payment.order_id), own - left))
    if left and one.liability is Liability.SELLER:
        found = borne_by_sellers(order, bare, left)
        parts.extend(found)
        left -= sum([part.amount for part in found])
    if left:
        parts.append(FundingPart(accounts.CHARGEBACK_LOSSES, left))
    if one.lost > own:
        parts.append(FundingPart(_receivable(payment), one.lost - own))
    return ChargebackLossAssigned(
        chargeback_id=one.chargeback_id,
        liability=one.liability,
        parts=tuple(parts),
        owed=tuple(owed),
    )


def without_loss(payment: PaymentState, one: Chargeback) -> PaymentState:
    """Return the payment as if nobody had borne a chargeback's loss yet."""
    bare = replace(one, parts=(), owed={})
    return replace(payment, chargebacks={**payment.chargebacks, one.chargeback_id: bare})


def _refunds(payment: PaymentState) -> set[str]:
    return {op.refund_id for op in payment.operations.values() if op.refund_id}


def borne_by_sellers(
    order: OrderState, payment: PaymentState, amount: int
) -> tuple[FundingPart, ...]:
    """
    Return what escrow and the sellers bear of an amount of the payment, in its currency.

    In proportion to what it brought into each slice and is there or was released; at most that.
    """
    if payment.payment_id not in order.payments:
        return ()
    for change in follow_payment(order, payment.payment_id, payment):
        order = EVOLVE_ORDER[type(change.event)](order, change.event)
    escrowed, released = _brought(order, payment.payment_id)
    weights = [*escrowed.values(), *released.values()]
    amounts = _divided_among(payment, amount, weights)
    parts: list[FundingPart] = []
    account = accounts.escrow(order.order_id)
    for slice_id, part in zip(escrowed, amounts, strict=False):
        if part:
            parts.append(FundingPart(account, part, slice_id))
    for slice_id, part in zip(released, amounts[len(escrowed) :], strict=True):
        if part:
            parts.extend(_of_releases(order, payment, slice_id, part))
    return tuple(parts)


def _brought(order: OrderState, payment_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return what a tender brought that is in each slice now, and what was released of it."""
    escrowed: dict[str, int] = {}
    released: dict[str, int] = {}
    for slice_id in sorted(order.slices):
        one = order.slices[slice_id]
        escrowed[slice_id] = max(0, min(one.inflow.get(payment_id, 0), one.available))
        ones = Releases(order, slice_id, payment_id).ones
        released[slice_id] = sum([max(0, release.by_tender) for release in ones])
    return escrowed, released


def _divided_among(payment: PaymentState, amount: int, weights: list[int]) -> list[int]:
    """Divide an amount of the payment by weights in the order's currency, at most all of them."""
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    stands_for = payment.in_order_currency(amount)
    # One minor unit of a rate's rounding is no lack of money.
    if stands_for > total + (payment.fx is not None):
        amount = amount * total // stands_for
    return list(allocate(amount, weights))


def _of_releases(
    order: OrderState, payment: PaymentState, slice_id: str, amount: int
) -> tuple[FundingPart, ...]:
    """
    Return who bears what was released of a slice: the seller and, of the items, the commission.

    The seller bears what went on to others too (S = D − k, recipe 17): tax, carrier and tips stay
    where they are.
    """
    releases = Releases(order, slice_id, payment.payment_id)
    wanted = payment.in_order_currency(amount)
    left: Mapping[tuple[str, str], int] = releases.left()
    within = min(wanted, sum(left.values()))
    shares = allocate(within, list(left.values())) if within else ()
    parts: list[FundingPart] = []
    owing = wanted - within
    for key, part in zip(left, shares, strict=bool(within)):
        if key == items_of(slice_id) or key[0] == Beneficiary.SELLER_SHIPPING.value:
            parts.extend(releases.take(key, part))
        else:
            owing += part
    if owing:
        parts.append(releases.debt(owing, order.currency))
    if payment.fx is None or not parts:
        # Worth less than half a minor unit of the order's currency: nobody got any of it.
        return tuple(parts)
    amounts = divided([part.amount for part in parts], amount)
    return tuple(
        [exchanged(part, minor, order.currency) for part, minor in zip(parts, amounts, strict=True)]
    )
