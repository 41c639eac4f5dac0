"""
Decisions to freeze a seller's part of an order, and to lift that.
"""

from datetime import datetime

from orderledger.ledger import accounts
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.escrow_shares import OVERFLOW, shares_of
from orderledger.ledger.order_disputes import open_disputes

from . import order_guards as guards
from .chargeback_follow import open_chargeback_of
from .decision import Changes, States, decides
from .escrow_follow import follow_all
from .freeze_commands import FreezeFunds, UnfreezeFunds
from .freezing import freeze, unfreeze


@decides(FreezeFunds)
def freeze_funds(command: FreezeFunds, states: States, now: datetime) -> Changes:
    """
    Freeze what there is of an amount; see ``freezing.freeze``.

    Raises OPERATION_ALREADY_USED for a known freeze with other terms, NOT_FOUND if the seller has
    no part in the order.
    """
    guards.check_id("freeze_id", command.freeze_id)
    accounts.dispute_reserve(command.freeze_id)  # Raises now what the entry would.
    guards.check_id("seller", command.seller)
    guards.check_amount("amount", command.amount)
    guards.check_text("cause", command.cause)
    order = guards.existing(states, command.order_id)
    if (command.freeze_id, command.seller) in order.freezes:
        return freeze(order, command.freeze_id, command.seller, command.amount, command.cause)
    if command.seller not in {*shares_of(order), *order.slices} - {OVERFLOW}:
        raise Rejected(
            Reason.NOT_FOUND,
            f"seller {command.seller} has no part in order {order.order_id}",
            order_id=order.order_id,
            seller=command.seller,
        )
    held = follow_all(order, states)
    order = guards.after(order, *[one.event for one in held])
    found = freeze(order, command.freeze_id, command.seller, command.amount, command.cause)
    return (*held, *found)


@decides(UnfreezeFunds)
def unfreeze_funds(command: UnfreezeFunds, states: States, now: datetime) -> Changes:
    """
    Lift a freeze once.

    Raises DISPUTE_OPEN and CHARGEBACK_OPEN for the freeze of a dispute or a chargeback that is
    open, which lifts it itself, NOT_FOUND for an unknown one.
    """
    guards.check_text("cause", command.cause)
    order = guards.existing(states, command.order_id)
    if command.freeze_id in open_disputes(order.disputes):
        raise Rejected(
            Reason.DISPUTE_OPEN,
            f"freeze {command.freeze_id} of order {order.order_id} is its dispute's, which lifts "
            "it when it ends",
            order_id=order.order_id,
            freeze_id=command.freeze_id,
        )
    chargeback_id = open_chargeback_of(order, command.freeze_id)
    if chargeback_id is not None:
        raise Rejected(
            Reason.CHARGEBACK_OPEN,
            f"freeze {command.freeze_id} of order {order.order_id} is of chargeback "
            f"{chargeback_id}, which lifts it when it is decided",
            order_id=order.order_id,
            freeze_id=command.freeze_id,
            chargeback_id=chargeback_id,
        )
    return unfreeze(order, command.freeze_id, command.cause)
