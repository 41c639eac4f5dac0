"""
Process manager of disputes, as a reactor: what was decided or agreed is executed. Pure.

The refund that an execution grants is requested by ``Refunds`` and sent by ``PaymentOperations``,
as any other; the seller's release and the platform's fee are made by the execution itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.order_chargebacks import contesting
from orderledger.ledger.order_disputes import open_disputes

from .decision import States
from .effects import Effect, Execute
from .order_commands import AllocationStrategy
from .process_orders import ReleaseTerms
from .reactors import Happened, Reactor
from .ruling_commands import ExecuteRuling
from .ruling_execution import ExecutionTerms

_WAITING: Final = frozenset({Stage.FINAL, Stage.AGREED, Stage.EXECUTING})
"""Stages at which there is something to execute."""
_OF_DISPUTES: Final = frozenset(
    {
        "dispute.settlement_agreed.v1",
        "dispute.ruling_became_final.v1",
        "dispute.appeal_decided.v1",
        "dispute.external_award_received.v1",
        "dispute.ruling_amended.v1",
        "dispute.resumed.v1",
    }
)


class Rulings(Reactor):
    """
    Executes what a dispute came to once it is final or agreed, and once nothing suspends it.

    A leg that the order refused is tried again when money of the order moves. ``terms`` are those
    of the releases, by seller; others have ``default``. ``is_goodwill`` and ``strategy`` are those
    of ``ExecutionTerms``.
    """

    name = "rulings"
    topics = _OF_DISPUTES | {
        # A dispute that was suspended resumes before its order is told that the chargeback is over.
        "order.chargeback_noted.v1",
        "payment.captured.v1",
        "payment.refund_reversed.v1",
        "payment.operation_declined.v1",
        "payment.operation_aborted.v1",
    }

    def __init__(
        self,
        default: ReleaseTerms,
        terms: Mapping[str, ReleaseTerms] | None = None,
        *,
        is_goodwill: bool = False,
        strategy: AllocationStrategy = AllocationStrategy.VOUCHER_LAST,
    ) -> None:
        self._default: Final = default
        self._terms: Final = dict(terms or {})
        self._is_goodwill: Final = is_goodwill
        self._strategy: Final = strategy

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the execution of each dispute that can go on since the event."""
        found: list[Effect] = []
        for dispute in _of(happened, states):
            if dispute.is_suspended or contesting(states.order(dispute.order_id).chargebacks):
                continue
            found.append(Execute(self._execution(dispute)))
        return found

    def _execution(self, dispute: DisputeState) -> ExecuteRuling:
        terms = self._terms.get(dispute.seller, self._default)
        return ExecuteRuling(
            dispute_id=dispute.dispute_id,
            terms=ExecutionTerms(
                commission_rate=terms.commission_rate,
                rate_version=terms.rate_version,
                commission_tax_rate=terms.commission_tax_rate,
                commission_tax_jurisdiction=terms.commission_tax_jurisdiction,
                strategy=self._strategy,
                is_goodwill=self._is_goodwill,
            ),
        )


def _of(happened: Happened, states: States) -> Iterable[DisputeState]:
    """Return the disputes that wait for their execution, and that an event is about."""
    if happened.kind == "dispute":
        dispute_ids: Sequence[str] = (happened.entity_id,)
    else:
        order_id = happened.entity_id
        if happened.kind == "payment":
            order_id = states.payment(order_id).order_id
        dispute_ids = tuple(open_disputes(states.order(order_id).disputes)) if order_id else ()
    found = [states.dispute(dispute_id) for dispute_id in dispute_ids]
    return [one for one in found if one.stage in _WAITING]
