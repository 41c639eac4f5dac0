"""
Commands on approvals and alerts.
"""

from orderledger.ledger import streams
from orderledger.ledger.instants import Instant

from .decision import Command


class OfApproval(Command, frozen=True, kw_only=True):
    """Any command on one approval; ``approval_id`` is what the refusal APPROVAL_REQUIRED names."""

    approval_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.approval(self.approval_id),)


class RequestApproval(OfApproval, frozen=True, kw_only=True):
    """
    Ask for a second person's word on one command.

    ``Book.request_approval`` fills it in from the command itself. ``fingerprint`` is the command's
    in hex, of which the id is the beginning; ``amount`` is in minor units, for the one who decides.
    """

    command: str
    fingerprint: str
    amount: int
    currency: str
    reason: str
    requested_by: str
    expires_at: Instant
    rule_id: str = ""


class GrantApproval(OfApproval, frozen=True, kw_only=True):
    """Agree to a request of somebody else; the command may then run once before ``expires_at``."""

    granted_by: str
    expires_at: Instant
    note: str = ""


class DenyApproval(OfApproval, frozen=True, kw_only=True):
    """Refuse a request, or take back what was granted and not used."""

    denied_by: str
    reason: str


class OfAlert(Command, frozen=True, kw_only=True):
    """Any command on one alert."""

    alert_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.alert(self.alert_id),)


class RaiseAlert(OfAlert, frozen=True, kw_only=True):
    """Raise an alert of your own, of a rule that is not in the policy; ``subject`` is whose."""

    rule_id: str
    subject: str
    detail: str
    stream: str = ""

    def creates(self) -> tuple[str, ...]:
        return (streams.alert(self.alert_id),)


class ResolveAlert(OfAlert, frozen=True, kw_only=True):
    """Say that somebody looked at an alert, and what was found."""

    by: str
    resolution: str
