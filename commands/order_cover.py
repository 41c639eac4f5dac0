"""
What deciders ask of an order's tenders: the surplus, what to void, whether a refund is under way.
"""

from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.order_events import PaymentPart, RefundGranted, RefundSource
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from orderledger.ledger.tenders import Tender


def surplus(order: OrderState, tenders: tuple[Tender, ...]) -> int:
    """
    Return what the buyer paid beyond what is due and was not promised back yet.

    A refund comes only from this balance, never from the difference of two edits of the order.
    """
    kept = sum([tender.kept for tender in tenders])
    return max(0, kept - order.settled_externally - order.refund_outstanding - order.due)


def open_claims(order: OrderState) -> int:
    """
    Return what buyers still claim in open disputes, refunds that their rulings granted subtracted.

    It waits for them: granted otherwise, the buyer would be paid twice, or the ruling not executed.
    """
    total = 0
    for dispute_id, notice in order.disputes.items():
        if not notice.is_open or notice.claimant is not Party.BUYER:
            continue
        ruled = [one.refund_id for one in order.freezes.values() if one.freeze_id == dispute_id]
        grants = [order.grants[one].total for one in ruled if one in order.grants]
        total += max(0, notice.claimed - sum(grants))
    return total


def cover(tenders: tuple[Tender, ...]) -> tuple[int, int]:
    """Return what the tenders cover of an order: authorised or about to be captured, and kept."""
    authorised = sum([one.capturable + one.capture_in_flight for one in tenders])
    return authorised, sum([one.kept for one in tenders])


def voids_to_make(tenders: tuple[Tender, ...]) -> tuple[PaymentPart, ...]:
    """Return the authorisations that still hold the buyer's money."""
    return tuple([PaymentPart(one.tender_id, one.capturable) for one in tenders if one.capturable])


def surplus_grant(
    order: OrderState, tenders: tuple[Tender, ...], refund_id: str, source: RefundSource
) -> tuple[RefundGranted, ...]:
    """Return the grant of the whole surplus, or nothing if there is none."""
    amount = surplus(order, tenders)
    if amount == 0:
        return ()
    return (
        RefundGranted(
            refund_id=refund_id,
            total=amount,
            reason=order.reason or source.value,
            source=source,
            adjustment=amount,
        ),
    )


def check_not_requested(order: OrderState, grant: Grant, tenders: tuple[Tender, ...]) -> None:
    """Raise Rejected(OPERATION_IN_FLIGHT) if an operation already pays the grant."""
    for tender in tenders:
        if tender.claimed.get(grant.refund_id):
            raise Rejected(
                Reason.OPERATION_IN_FLIGHT,
                f"refund {grant.refund_id} of order {order.order_id} was already requested from "
                f"{tender.tender_id}",
                order_id=order.order_id,
                refund_id=grant.refund_id,
                payment_id=tender.tender_id,
            )
