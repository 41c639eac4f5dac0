"""
What an order's stream knows of the chargebacks on its payments.
"""

from collections.abc import Mapping

from .chargeback_stages import UNDECIDED, ChargebackStage, ChargebackStatus, Liability
from .events import Event, topic


@topic("order.chargeback_noted.v1")
class ChargebackNoted(Event, frozen=True, kw_only=True):
    """
    Where a chargeback on one of the order's payments stands now, in the order's currency.

    ``contested`` is taken and may come back, ``lost`` does not. The history, and what moved in the
    payment's own currency, is in the payment's stream.
    """

    chargeback_id: str
    payment_id: str
    stage: ChargebackStage
    status: ChargebackStatus
    contested: int = 0
    lost: int = 0
    liability: Liability = Liability.SELLER

    @property
    def is_open(self) -> bool:
        """The buyer's bank asks or contests, and nothing is decided."""
        return self.status in UNDECIDED


NotedChargebacks = Mapping[tuple[str, str], ChargebackNoted]
"""(payment, chargeback) → the last note."""


def contesting(notes: NotedChargebacks) -> tuple[str, ...]:
    """Return the chargebacks whose money is taken and may come back, each once."""
    return tuple(dict.fromkeys([key for (_, key), one in notes.items() if one.contested > 0]))


def noted(before: NotedChargebacks, event: ChargebackNoted) -> NotedChargebacks:
    """Fold a note in place of the one before."""
    return {**before, (event.payment_id, event.chargeback_id): event}
