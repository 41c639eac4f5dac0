"""
Process managers of payments, as reactors: operations go to the gateway, late money goes back. Pure.
"""

from collections.abc import Sequence

from orderledger.ledger.anomalies import AnomalyKind
from orderledger.ledger.order_events import LatePaymentDetected
from orderledger.ledger.payment_events import OperationRequested
from orderledger.ledger.payment_state import PaymentState

from .decision import Command, States
from .effects import Call, Effect, Execute
from .gateway_requests import request_of
from .order_commands import LatePolicy, RecordLatePayment
from .payment_commands import ResolvePaymentAnomaly, Void
from .reactors import Happened, Reactor


class PaymentOperations(Reactor):
    """
    Asks the payment gateway for every operation that is requested, and records its answer.

    Leave it out where the shop calls its provider itself.
    """

    name = "payment_operations"
    topics = frozenset({"payment.operation_requested.v2"})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the request to the gateway."""
        event = happened.event
        assert isinstance(event, OperationRequested)
        return (Call(request_of(states.payment(happened.entity_id), event.op_id)),)


def voids_of(payment: PaymentState, position: int) -> Sequence[Command]:
    """Return a void of each authorisation that still holds money; ids follow from a position."""
    return [
        Void(
            payment_id=payment.payment_id,
            op_id=f"void-{position}-{number}",
            currency=payment.currency,
            auth_op=auth_op,
        )
        for number, (auth_op, one) in enumerate(payment.authorisations.items())
        if auth_op and one.is_seen and one.is_open and one.remainder > one.voiding
    ]


class LatePayments(Reactor):
    """
    Gives back what arrives for an order that is over: an authorisation is voided, money refunded.

    Leave it out where a person decides, or to reinstate orders (``RecordLatePayment``).
    """

    name = "late_payments"
    topics = frozenset({"order.late_payment_detected.v1"})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return the voids, or the grant of a refund, that the event proposes."""
        event = happened.event
        assert isinstance(event, LatePaymentDetected)
        if event.policy == LatePolicy.VOID.value:
            payment = states.payment(event.payment_id)
            return [Execute(one) for one in voids_of(payment, happened.position)]
        if event.policy != LatePolicy.REFUND.value:
            return ()
        # Granted is only what nobody promised back yet: said twice, it is granted once.
        command = RecordLatePayment(
            order_id=happened.entity_id,
            payment_id=event.payment_id,
            op_id=event.op_id,
            amount=event.amount,
            policy=LatePolicy.REFUND,
            refund_id=f"late-{happened.position}",
        )
        return (Execute(command),)


class ExpiryAlerts(Reactor):
    """Closes the anomaly of an authorisation that ran out of time once nothing is left on it."""

    name = "expiry_alerts"
    topics = frozenset(
        {
            "payment.captured.v1",
            "payment.capture_finalised.v1",
            "payment.authorisation_voided.v1",
            "payment.authorisation_expired.v1",
        }
    )

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return what closes the anomalies of authorisations that are over."""
        payment = states.payment(happened.entity_id)
        found: list[Effect] = []
        for auth_op, one in payment.authorisations.items():
            anomaly = f"{AnomalyKind.AUTHORISATION_EXPIRING}:{auth_op}"
            if anomaly in payment.anomalies and not (one.is_open and one.remainder):
                resolve = ResolvePaymentAnomaly(
                    payment_id=payment.payment_id,
                    anomaly_id=anomaly,
                    by=self.name,
                    resolution="nothing is left on the authorisation",
                )
                found.append(Execute(resolve))
        return found
