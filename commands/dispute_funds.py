"""
The money of a dispute's process: it is frozen when the dispute is accepted, and freed at its end.

The only place where the process touches money; the execution of a ruling has its own.
"""

from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.escrow_events import FundsFrozen

from . import order_guards as guards
from .decision import Changes, States
from .escrow_follow import follow_all
from .freezing import freeze, unfreeze


def frozen_for(dispute: DisputeState, states: States) -> tuple[Changes, int]:
    """Return the changes that freeze the amount in dispute, and what of it there is to freeze."""
    order = states.order(dispute.order_id)
    held = follow_all(order, states)
    order = guards.after(order, *[one.event for one in held])
    cause = f"dispute {dispute.dispute_id}"
    made = freeze(order, dispute.dispute_id, dispute.seller, dispute.claimed, cause)
    found = sum(
        [
            one.event.escrowed + one.event.reserved
            for one in made
            if isinstance(one.event, FundsFrozen)
        ]
    )
    return (*held, *made), found


def freed_from(dispute: DisputeState, states: States, cause: str) -> Changes:
    """Return the changes that lift the freeze of a dispute; none if it was never accepted."""
    if dispute.accepted_at is None:
        return ()
    return unfreeze(states.order(dispute.order_id), dispute.dispute_id, cause)
