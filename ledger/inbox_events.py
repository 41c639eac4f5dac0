"""
Events of one provider notification: what arrived, always kept, and what became of it.

The notification's raw body is stored elsewhere, encrypted; here are its hash and a reference.
"""

import msgspec

from .chargeback_events import ChargebackReport
from .events import Event, topic
from .instants import Instant
from .payment_operations import Outcome


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a provider reports of a payment, in our words. Never trusted to fit the state.

    ``op_id`` names the operation, if the report does; else ``kind`` and ``provider_ref`` find
    it, and an operation that nobody requested is taken in under them. ``amount`` is in minor
    units as stated, sign included; None: as requested. ``currency`` "": the payment's.
    ``sequence`` is the provider's own order of its reports, -1 if it has none. ``detail`` is the
    reason, cause or refusal text, ``code`` the provider's code for it. ``order_id``: the order
    that the report names, if it does; the binding of the payment does not change by it.
    """

    payment_id: str
    outcome: Outcome
    order_id: str = ""
    kind: str = ""
    op_id: str = ""
    provider_ref: str = ""
    amount: int | None = None
    currency: str = ""
    sequence: int = -1
    attempt: int = 1
    parent_op: str = ""
    is_final: bool = False
    processed_amount: int = 0
    processed_currency: str = ""
    expires_at: Instant | None = None
    arn: str = ""
    code: str = ""
    detail: str = ""
    is_retryable: bool = False


@topic("inbox.notification_received.v1")
class GatewayNotificationReceived(Event, frozen=True, kw_only=True):
    """
    A notification arrived. It is about an operation (``interpreted``) or a chargeback; neither: it
    could not be understood, but it is kept.

    ``refs`` are the references found in it; ``raw_ref`` is where the encrypted body lies.
    """

    provider: str
    notification_id: str
    kind: str
    body_sha256: str
    signature_ok: bool
    refs: tuple[str, ...] = ()
    raw_ref: str = ""
    interpreted: Observation | None = None
    chargeback: ChargebackReport | None = None


@topic("inbox.notification_applied.v1")
class NotificationApplied(Event, frozen=True, kw_only=True):
    """``events`` names the topics that it caused, as ``stream topic``, in order."""

    events: tuple[str, ...]


@topic("inbox.notification_parked.v1")
class NotificationParked(Event, frozen=True, kw_only=True):
    """Its subject does not exist yet; it is tried again when it does."""

    missing_ref: str


@topic("inbox.notification_deduplicated.v1")
class NotificationDeduplicated(Event, frozen=True, kw_only=True):
    """Its content is known already; ``of`` says from what."""

    of: str


@topic("inbox.notification_rejected.v1")
class NotificationRejected(Event, frozen=True, kw_only=True):
    """It was not applied: a bad signature, or nothing that could be interpreted."""

    why: str
