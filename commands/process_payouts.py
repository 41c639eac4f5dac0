"""
Process manager of payouts, as a reactor: what was initiated goes to the bank. Pure.
"""

from collections.abc import Sequence

from orderledger.ledger.provider_ports import PayOutRequest

from .decision import States
from .effects import Call, Effect
from .reactors import Happened, Reactor


class Payouts(Reactor):
    """
    Asks the bank to pay every payout that is initiated, and records its answer.

    Leave it out where the shop pays by files or by hand: a statement of the bank reports it too.
    """

    name = "payouts"
    topics = frozenset({"payout.initiated.v1"})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the request to the bank, under the payout's own key."""
        payout = states.payout(happened.entity_id)
        request = PayOutRequest(
            idempotency_key=payout.idempotency_key or payout.payout_id,
            payout_id=payout.payout_id,
            seller=payout.seller,
            bank=payout.bank,
            amount=payout.amount,
            currency=payout.currency,
        )
        return (Call(request),)
