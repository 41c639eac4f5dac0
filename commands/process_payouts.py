"""
Process manager of payouts, as a reactor: what was initiated goes to the bank. Pure.
"""

from collections.abc import Sequence
from typing import Any

from orderledger.ledger.payouts import PayoutState
from orderledger.ledger.provider_ports import PayOutQuery, PayOutRequest

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
        return (Call(PayOutRequest(**_told(states.payout(happened.entity_id)))),)


def payout_query(payout: PayoutState) -> PayOutQuery:
    """Return the question what became of a payout, under the key that it was sent under."""
    return PayOutQuery(**_told(payout), bank_ref=payout.bank_ref)


def _told(payout: PayoutState) -> dict[str, Any]:
    return {
        "idempotency_key": payout.idempotency_key or payout.payout_id,
        "payout_id": payout.payout_id,
        "seller": payout.seller,
        "bank": payout.bank,
        "amount": payout.amount,
        "currency": payout.currency,
    }
