"""
Events of one payment's stream.

Amounts are positive integers in minor units of the payment's currency, except where an event says
that it repeats what a provider stated. The anomaly events are in ``order_events``.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from .events import Event, Raw, topic, upcaster
from .payment_operations import FundingPart, OperationKind, Outcome


class CaptureMode(StrEnum):
    """Who captures, and how often: the provider at once, we once, or we in several parts."""

    AUTO = "auto"
    MANUAL = "manual"
    MULTI = "multi"


class Capabilities(msgspec.Struct, frozen=True):
    """
    What the provider declares for this payment method; nothing is assumed beyond it.

    ``over_capture_basis_points``: how much more than authorised may be captured, in 1/10,000.
    """

    multicapture: bool = False
    captures_max: int = 1
    over_capture_basis_points: int = 0
    partial_void: bool = True
    incremental_authorisation: bool = False
    credit: bool = False


class FxQuote(msgspec.Struct, frozen=True):
    """
    What a payment in another currency stands for: ``order_amount`` in the order's currency.

    ``rate`` is the quoted price of one unit of the order's currency in the payment's.
    """

    quote_id: str
    order_amount: int
    order_currency: str
    rate: Decimal


@topic("payment.initiated.v1")
class PaymentInitiated(Event, frozen=True, kw_only=True):
    """
    A payment was bound to one order, for good, at one quote and version of its content.

    ``order_id`` may be empty for a credit that refers to no order.
    """

    payment_id: str
    order_id: str
    provider: str
    method: str
    capture_mode: CaptureMode
    amount: int
    currency: str
    quote_id: str = ""
    order_version: int = 0
    expires_at: datetime | None = None
    capabilities: Capabilities = Capabilities()
    fx: FxQuote | None = None


@topic("payment.action_required.v1")
class PaymentActionRequired(Event, frozen=True, kw_only=True):
    """The buyer must act: ``kind`` is 3ds, redirect, qr …"""

    kind: str
    url: str = ""
    expires_at: datetime | None = None


@topic("payment.operation_requested.v2")
class OperationRequested(Event, frozen=True, kw_only=True):
    """
    Appended before the provider is called; the amount is reserved from here on.

    ``parent_op`` is the authorisation that a capture, void or adjustment refers to. ``funding``
    is who bears a refund; ``is_reissue`` says that an earlier operation of the same refund left
    the amount owed to the buyer, so that nothing is funded again; ``order_amount`` is what it
    stands for in the order's currency, if that is another one.

    Version 1 had parts of the funding without ``recovery``: each is debited as it stands.
    """

    op_id: str
    kind: OperationKind
    amount: int
    currency: str
    idempotency_key: str
    attempt: int = 1
    parent_op: str = ""
    refund_id: str = ""
    is_final: bool = False
    funding: tuple[FundingPart, ...] = ()
    is_reissue: bool = False
    order_amount: int = 0
    reason: str = ""
    approver: str = ""


@upcaster("payment.operation_requested.v1", "payment.operation_requested.v2")
def _without_recovery(raw: Raw) -> Raw:
    """A part without a recovery says in version 2 what it said in version 1."""
    return raw


class OutcomeEvent(Event, frozen=True, kw_only=True):
    """
    What was observed of one operation.

    ``key`` identifies the observation: a repeat with the same key changes nothing. ``sequence``
    is the provider's own order of its reports, -1 if it has none.
    """

    op_id: str
    key: str = ""
    provider_ref: str = ""
    sequence: int = -1
    attempt: int = 1


@topic("payment.operation_pending.v1")
class OperationPending(OutcomeEvent, frozen=True, kw_only=True):
    reason: str = ""


@topic("payment.operation_outcome_unknown.v1")
class OperationOutcomeUnknown(OutcomeEvent, frozen=True, kw_only=True):
    cause: str = ""


@topic("payment.operation_declined.v1")
class OperationDeclined(OutcomeEvent, frozen=True, kw_only=True):
    code: str = ""
    message: str = ""
    is_retryable: bool = False


@topic("payment.operation_aborted.v1")
class OperationAborted(OutcomeEvent, frozen=True, kw_only=True):
    cause: str = ""


class SuccessEvent(OutcomeEvent, frozen=True, kw_only=True):
    """
    An operation succeeded with ``amount``, which may differ from what was requested.

    ``processed_amount`` and ``processed_currency`` are what the provider booked, if in another
    currency. ``is_observed``: nobody here requested it.
    """

    amount: int
    currency: str
    parent_op: str = ""
    processed_amount: int = 0
    processed_currency: str = ""
    is_late: bool = False
    is_re_attempt: bool = False
    is_observed: bool = False


@topic("payment.authorised.v1")
class PaymentAuthorised(SuccessEvent, frozen=True, kw_only=True):
    expires_at: datetime | None = None
    is_partial: bool = False


@topic("payment.authorisation_adjusted.v1")
class AuthorisationAdjusted(SuccessEvent, frozen=True, kw_only=True):
    """``amount`` is the new absolute amount of the authorisation ``parent_op``."""


@topic("payment.captured.v1")
class PaymentCaptured(SuccessEvent, frozen=True, kw_only=True):
    """``is_direct``: a purchase, authorised and captured in one."""

    is_final: bool = False
    is_direct: bool = False


@topic("payment.authorisation_voided.v1")
class AuthorisationVoided(SuccessEvent, frozen=True, kw_only=True):
    refund_id: str = ""


@topic("payment.refund_succeeded.v1")
class RefundSucceeded(SuccessEvent, frozen=True, kw_only=True):
    """``arn`` is the acquirer's reference by which the buyer's bank finds the refund."""

    refund_id: str = ""
    arn: str = ""


@topic("payment.customer_credited.v1")
class CustomerCredited(SuccessEvent, frozen=True, kw_only=True):
    reason: str = ""


class ReversalEvent(OutcomeEvent, frozen=True, kw_only=True):
    """The provider took back a success; ``amount`` is what had counted."""

    amount: int
    cause: str = ""


@topic("payment.capture_reversed.v1")
class CaptureReversed(ReversalEvent, frozen=True, kw_only=True):
    pass


@topic("payment.refund_reversed.v1")
class RefundReversed(ReversalEvent, frozen=True, kw_only=True):
    """The money came back to the platform; it is owed to the buyer again."""

    refund_id: str = ""


@topic("payment.operation_reversed.v1")
class OperationReversed(ReversalEvent, frozen=True, kw_only=True):
    """An authorisation, adjustment, void or credit was taken back."""


@topic("payment.operation_conflict_observed.v1")
class OperationConflictObserved(OutcomeEvent, frozen=True, kw_only=True):
    """
    A second report of the same success states another amount; both stay in history.

    ``counted`` is the amount that counts from now on: of the report with the highest sequence,
    or else the larger. So the result does not depend on which report came first.
    """

    amount: int
    counted: int


@topic("payment.operation_matched.v1")
class OperationMatched(OutcomeEvent, frozen=True, kw_only=True):
    """A requested operation is the same as one the provider had reported before its answer."""

    observed_op_id: str


@topic("payment.observation_kept.v1")
class ObservationKept(OutcomeEvent, frozen=True, kw_only=True):
    """
    A report that changes no amount: stale, contradictory or impossible. Kept for whoever asks.

    ``amount`` and ``currency`` repeat what the provider stated, sign included.
    """

    outcome: Outcome
    why: str
    kind: str = ""
    amount: int = 0
    currency: str = ""


@topic("payment.operation_queried.v1")
class OperationQueried(Event, frozen=True, kw_only=True):
    """``next_at`` None: the schedule is exhausted, a person must resolve the operation."""

    op_id: str
    result: str
    next_at: datetime | None = None


@topic("payment.operation_resolved_manually.v1")
class OperationResolvedManually(Event, frozen=True, kw_only=True):
    """History of who decided; the outcome itself is the event that follows."""

    op_id: str
    outcome: Outcome
    actor: str
    approver: str
    reason: str


@topic("payment.authorisation_expired.v1")
class AuthorisationExpired(Event, frozen=True, kw_only=True):
    """
    The uncaptured rest of an authorisation can no longer be captured.

    ``amount`` is the rest as known when this was recorded; a capture that is reported later is
    subtracted from it again.
    """

    auth_op: str
    amount: int
    provider_ref: str = ""
    by_provider: bool = False


@topic("payment.authorisation_expiring.v1")
class AuthorisationExpiring(Event, frozen=True, kw_only=True):
    """
    Most of an authorisation's life is over and money is left on it: capture, or authorise anew.

    ``deadline_id`` is that of the alert, of which there is one per authorisation and expiry.
    """

    auth_op: str
    amount: int
    expires_at: datetime
    deadline_id: str


@topic("payment.capture_finalised.v1")
class CaptureFinalised(Event, frozen=True, kw_only=True):
    """The last capture of an authorisation released the rest of it."""

    op_id: str
    released_remainder: int
