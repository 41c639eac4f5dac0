"""
Events of risk: approvals by a second person (stream ``approval-{id}``) and alerts
(stream ``alert-{id}``).
"""

from .events import Event, topic
from .instants import Instant


@topic("approval.requested.v1")
class ApprovalRequested(Event, frozen=True, kw_only=True):
    """
    Somebody asked for a second person's word on one command.

    ``fingerprint`` is that of the command, in hex: the approval covers nothing else. ``amount`` is
    in minor units of ``currency``, for the person who decides. The request lapses at
    ``expires_at``.
    """

    approval_id: str
    command: str
    fingerprint: str
    amount: int
    currency: str
    reason: str
    requested_by: str
    expires_at: Instant
    rule_id: str = ""


@topic("approval.granted.v1")
class ApprovalGranted(Event, frozen=True, kw_only=True):
    """Another person agreed; the command may run once before ``expires_at``."""

    approval_id: str
    granted_by: str
    expires_at: Instant
    note: str = ""


@topic("approval.denied.v1")
class ApprovalDenied(Event, frozen=True, kw_only=True):
    """Somebody refused; also what was granted can be taken back so, until it is used."""

    approval_id: str
    denied_by: str
    reason: str


@topic("approval.used.v1")
class ApprovalUsed(Event, frozen=True, kw_only=True):
    """The command ran; ``key`` is its idempotency key, ``rule_ids`` the limits it was beyond."""

    approval_id: str
    key: str
    rule_ids: tuple[str, ...]
    policy: str


@topic("risk.alert_raised.v1")
class RiskAlertRaised(Event, frozen=True, kw_only=True):
    """
    A limit was passed and somebody should look.

    ``count`` and ``amount`` (minor units of ``currency``) are what was known of the subject within
    ``window_hours`` before this command; ``known_position`` is up to where the log was known then,
    which is not the head: the answer of a read model is advice. Zero where the rule looks at no
    history. ``policy`` is the version of the policy that decided.
    """

    alert_id: str
    rule_id: str
    policy: str
    command: str
    subject: str
    detail: str
    stream: str = ""
    count: int = 0
    amount: int = 0
    currency: str = ""
    window_hours: int = 0
    known_position: int = 0


@topic("risk.alert_resolved.v1")
class RiskAlertResolved(Event, frozen=True, kw_only=True):
    """Somebody looked, and says what was found."""

    alert_id: str
    by: str
    resolution: str
