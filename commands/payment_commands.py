"""
Commands on payments: intentions, which may be refused, and ``Record…`` reports, which may not.

Amounts are integer minor units of the payment's currency. Every operation has an id given by the
caller; its idempotency key towards the provider is that id unless another is given.
"""

from typing import ClassVar

from orderledger.ledger import streams
from orderledger.ledger.chargeback_events import ChargebackReport
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.instants import Instant
from orderledger.ledger.payment_events import Capabilities, CaptureMode, FxQuote
from orderledger.ledger.payment_operations import FundingPart, OperationKind, Outcome

from .decision import Command


class OfPayment(Command, frozen=True, kw_only=True):
    """
    Any command on a payment.

    ``order_id`` is optional: it saves a round trip, and a payment bound to another order is then
    refused (or, for a report, noted).
    """

    payment_id: str
    order_id: str = ""

    def streams(self) -> tuple[str, ...]:
        own = streams.payment(self.payment_id)
        return (own, streams.order(self.order_id)) if self.order_id else (own,)


class InitiatePayment(OfPayment, frozen=True, kw_only=True):
    """
    Bind a new payment to an order, at the quote and version of the order that the buyer saw.

    ``order_version`` None: whatever it is now. ``is_over_tender``: more than is due is meant.
    ``fx`` is needed where the currency is not the order's.
    """

    provider: str
    method: str
    amount: int
    currency: str
    quote_id: str = ""
    order_version: int | None = None
    capture_mode: CaptureMode = CaptureMode.MANUAL
    capabilities: Capabilities = Capabilities()
    expires_at: Instant | None = None
    fx: FxQuote | None = None
    is_over_tender: bool = False

    def creates(self) -> tuple[str, ...]:
        return (streams.payment(self.payment_id),)


class RequireAction(OfPayment, frozen=True, kw_only=True):
    """Note that the buyer must act before the payment can go on (3DS, redirect, QR)."""

    kind: str
    url: str = ""
    expires_at: Instant | None = None


class OperationCommand(OfPayment, frozen=True, kw_only=True):
    """Any command that asks the provider for something; appended before the provider is called."""

    op_id: str
    amount: int
    currency: str
    idempotency_key: str = ""


class Authorise(OperationCommand, frozen=True, kw_only=True):
    """Reserve the amount on the buyer's means of payment."""


class Purchase(OperationCommand, frozen=True, kw_only=True):
    """Authorise and capture in one."""


class AdjustAuthorisation(OperationCommand, frozen=True, kw_only=True):
    """Set an authorisation to a new absolute amount. ``auth_op`` "": the only open one."""

    auth_op: str = ""


class Capture(OperationCommand, frozen=True, kw_only=True):
    """
    Take what was authorised, or part of it. ``is_final`` releases the rest.

    ``auth_op`` "": the only open authorisation.
    """

    is_final: bool = True
    auth_op: str = ""


class Void(OfPayment, frozen=True, kw_only=True):
    """Give up what was authorised and not captured. ``amount`` None: all of it."""

    op_id: str
    currency: str
    amount: int | None = None
    idempotency_key: str = ""
    auth_op: str = ""


class ExpireAuthorisation(OfPayment, frozen=True, kw_only=True):
    """Timer: an authorisation's time is over. ``auth_op`` "": the only open one."""

    due_at: Instant
    auth_op: str = ""


class CreditCustomer(OperationCommand, frozen=True, kw_only=True):
    """
    Pay the customer without a charge to refund; needs an approver other than the actor.

    The payment is made if it does not exist; ``provider``, ``method`` and ``capabilities`` are
    for that.
    """

    reason: str
    actor: str
    approver: str
    provider: str = ""
    method: str = ""
    capabilities: Capabilities = Capabilities()


class QueryOperation(OfPayment, frozen=True, kw_only=True):
    """Note that the provider was asked about an operation and what it said, if inconclusive."""

    op_id: str
    result: str


class ResolveOperation(OfPayment, frozen=True, kw_only=True):
    """
    Decide by hand what became of an unknown operation; two different people must say so.

    ``outcome`` is succeeded, declined or aborted; ``amount`` None: as requested.
    """

    is_observation: ClassVar[bool] = True

    op_id: str
    outcome: Outcome
    actor: str
    approver: str
    reason: str
    amount: int | None = None
    provider_ref: str = ""


class ResolvePaymentAnomaly(OfPayment, frozen=True, kw_only=True):
    """Close an anomaly of the payment's stream, naming what was done about it."""

    anomaly_id: str
    by: str
    resolution: str
    compensations: tuple[str, ...] = ()


class RequestRefund(OperationCommand, frozen=True, kw_only=True):
    """
    Give back what a granted refund allocated to this payment, or part of it.

    ``funding`` is who bears it, summing to the amount; empty: the order's escrow as long as it
    holds the sellers' money, then those it was released to, commission at its own rate.
    ``order_amount`` is what it stands for in the order's currency, if that is another one; None:
    at the payment's own rate.
    """

    refund_id: str
    funding: tuple[FundingPart, ...] = ()
    order_amount: int | None = None


class RetryRefund(RequestRefund, frozen=True, kw_only=True):
    """
    Try a failed refund again: a new operation on the same grant.

    What failed after success is still owed and is not funded a second time; ``funding`` must then
    be empty.
    """


class RouteRefundAsVoid(OfPayment, frozen=True, kw_only=True):
    """
    Void instead of refunding while nothing was captured. ``auth_op`` "": the only open one.

    Source: Adyen's cancelOrRefund, Solidus' try_void.
    """

    op_id: str
    refund_id: str
    amount: int
    currency: str
    idempotency_key: str = ""
    auth_op: str = ""


class RecordOutcome(OfPayment, frozen=True, kw_only=True):
    """
    Any report about an operation that was requested here.

    It is found by ``op_id`` or else by ``kind`` and ``provider_ref``. ``sequence`` is the
    provider's own order of its reports, ``attempt`` its own count of attempts.
    """

    is_observation: ClassVar[bool] = True

    op_id: str = ""
    kind: OperationKind | None = None
    provider_ref: str = ""
    sequence: int = -1
    attempt: int = 1


class RecordPending(RecordOutcome, frozen=True, kw_only=True):
    """Report that the provider is still working on it."""

    reason: str = ""


class RecordUnknown(RecordOutcome, frozen=True, kw_only=True):
    """Report that nobody knows the outcome: a timeout, a 5xx, a crash found at restart."""

    cause: str = ""


class RecordSucceeded(RecordOutcome, frozen=True, kw_only=True):
    """
    Report a success. ``amount`` as the provider states it, sign included; None: as requested.

    ``processed_amount`` and ``processed_currency`` are what the provider booked, if in another
    currency; ``arn`` is the acquirer's reference of a refund.
    """

    amount: int | None = None
    currency: str = ""
    processed_amount: int = 0
    processed_currency: str = ""
    expires_at: Instant | None = None
    arn: str = ""


class RecordDeclined(RecordOutcome, frozen=True, kw_only=True):
    """Report that it was refused."""

    code: str = ""
    message: str = ""
    is_retryable: bool = False


class RecordAborted(RecordOutcome, frozen=True, kw_only=True):
    """Report that it certainly was not executed."""

    cause: str = ""


class RecordReversed(RecordOutcome, frozen=True, kw_only=True):
    """Report that a success was taken back (capture failed, refund failed after success)."""

    cause: str = ""


class RecordProviderOperation(OfPayment, frozen=True, kw_only=True):
    """
    Report something that the provider did and nobody here requested, or whose operation is not
    known to the report. If an operation with the same reference is known, it is that one.
    """

    is_observation: ClassVar[bool] = True

    kind: OperationKind
    provider_ref: str
    amount: int
    currency: str
    parent_op: str = ""
    is_final: bool = False
    sequence: int = -1
    processed_amount: int = 0
    processed_currency: str = ""
    expires_at: Instant | None = None
    arn: str = ""


class RecordProviderCapture(OfPayment, frozen=True, kw_only=True):
    """Report a capture that nobody here requested (captured by the provider, or in its console)."""

    is_observation: ClassVar[bool] = True

    provider_ref: str
    amount: int
    currency: str
    auth_op: str = ""
    is_final: bool = False
    sequence: int = -1


class RecordAuthorisationExpired(OfPayment, frozen=True, kw_only=True):
    """Report that the provider let an authorisation expire. ``auth_op`` "": the only one."""

    is_observation: ClassVar[bool] = True

    auth_op: str = ""
    provider_ref: str = ""


class RecordObservation(Command, frozen=True, kw_only=True):
    """Report an interpreted observation as it is; the other reports are written as this one."""

    is_observation: ClassVar[bool] = True

    observation: Observation

    def streams(self) -> tuple[str, ...]:
        return (streams.payment(self.observation.payment_id),)


class ReceiveNotification(Command, frozen=True, kw_only=True):
    """
    Take in a provider's notification: keep it, then apply what it says.

    It is about an operation (``interpreted``) or a ``chargeback``; neither: it could not be
    understood. ``body_sha256`` is the hex hash of the raw
    body, ``raw_ref`` where its encrypted copy lies.
    """

    is_observation: ClassVar[bool] = True

    provider: str
    notification_id: str
    kind: str
    body_sha256: str
    signature_ok: bool
    refs: tuple[str, ...] = ()
    raw_ref: str = ""
    interpreted: Observation | None = None
    chargeback: ChargebackReport | None = None

    def streams(self) -> tuple[str, ...]:
        own = streams.inbox(self.provider, self.notification_id)
        seen = self.interpreted or self.chargeback
        if seen is None or not self.signature_ok or not seen.payment_id:
            return (own,)
        return (own, streams.payment(seen.payment_id))

    def creates(self) -> tuple[str, ...]:
        return (streams.inbox(self.provider, self.notification_id),)


class RetryNotification(Command, frozen=True, kw_only=True):
    """
    Apply a parked notification now that its subject may exist.

    ``payment_id`` is for a notification that names none: found out since, from its references.
    """

    is_observation: ClassVar[bool] = True

    provider: str
    notification_id: str
    payment_id: str = ""

    def streams(self) -> tuple[str, ...]:
        own = streams.inbox(self.provider, self.notification_id)
        return (own, streams.payment(self.payment_id)) if self.payment_id else (own,)
