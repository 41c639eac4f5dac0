"""
The deadlines of a payment: until when each of its chargebacks can be defended.
"""

from typing import Final

from .chargeback_stages import ChargebackStage, ChargebackStatus
from .deadlines import Deadline
from .payment_state import PaymentState

DEFENCE: Final = "chargeback_defence"
"""Kind of the deadline after which a chargeback that nobody answered is lost."""


def deadlines_of(payment: PaymentState) -> tuple[Deadline, ...]:
    """
    Return the open deadlines, one per chargeback that waits for an answer.

    An inquiry that nobody answers loses nothing by itself: it has none.
    """
    found: list[Deadline] = []
    for one in payment.chargebacks.values():
        due_at, (stage, status) = one.evidence_due_by, one.node
        is_waiting = status is ChargebackStatus.OPEN and stage is not ChargebackStage.INQUIRY
        if is_waiting and due_at is not None:
            deadline_id = f"{DEFENCE}/{one.chargeback_id}/{stage.value}/{due_at.isoformat()}"
            found.append(Deadline(deadline_id, DEFENCE, due_at))
    return tuple(found)
