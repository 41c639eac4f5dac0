"""
What a chargeback does to the internal disputes of its order: one of the two decides at a time.

An open dispute is suspended while a chargeback contests a payment of its order, so that no ruling
pays the buyer what the bank may pay as well. When the money came back the dispute goes on; a loss
of what it claimed, or more, ends it.
"""

from datetime import datetime

from orderledger.ledger.chargebacks import INITIAL, Chargeback
from orderledger.ledger.errors import Rejected
from orderledger.ledger.order_disputes import open_disputes
from orderledger.ledger.payments import PaymentState

from .decide_dispute_interruptions import resume, supersede, suspend
from .decision import Changes, Command, States
from .dispute_commands import ResumeDispute, SupersedeDispute, SuspendDispute

Moment = tuple[Command, datetime]
"""The command that a chargeback moved by, and when it is decided."""


def interruptions(
    states: States, before: PaymentState, after: PaymentState, moment: Moment
) -> Changes:
    """Return the changes of disputes on chargebacks that came to be contested, or lost, or won."""
    if not after.order_id:
        return ()
    changes: Changes = ()
    for one in after.chargebacks.values():
        known = before.chargebacks.get(one.chargeback_id, INITIAL)
        if (one.contested > 0, one.lost) == (known.contested > 0, known.lost):
            continue
        order = states.order(after.order_id)
        lost = after.in_order_currency(one.lost)
        for dispute_id in open_disputes(order.disputes):
            ends_it = lost >= order.disputes[dispute_id].claimed > 0
            changes = (*changes, *_interrupted(states, one, dispute_id, moment, ends_it=ends_it))
    return changes


def _interrupted(
    states: States, one: Chargeback, dispute_id: str, moment: Moment, *, ends_it: bool
) -> Changes:
    command, now = moment
    by, at = one.chargeback_id, command.occurred_at
    try:
        if one.contested:
            return suspend(
                SuspendDispute(dispute_id=dispute_id, by=by, occurred_at=at), states, now
            )
        if ends_it:
            # Reported before its opening, a loss has suspended nothing.
            ended = SupersedeDispute(
                dispute_id=dispute_id, by=by, reason="chargeback lost", occurred_at=at
            )
            return supersede(ended, states, now)
        if by not in states.dispute(dispute_id).suspended_by:
            return ()
        return resume(ResumeDispute(dispute_id=dispute_id, by=by, occurred_at=at), states, now)
    except Rejected:
        # The dispute is at a stage that nothing interrupts; a report is recorded all the same.
        return ()
