"""
Commands on the chargebacks of a payment: reports, which are never refused, and what we answer.
"""

from typing import ClassVar

from orderledger.ledger import streams
from orderledger.ledger.chargeback_events import ChargebackReport, EvidenceDocument
from orderledger.ledger.chargeback_stages import ChargebackStage, Liability
from orderledger.ledger.instants import Instant

from .decision import Command
from .payment_commands import OfPayment


class RecordChargeback(Command, frozen=True, kw_only=True):
    """
    Report anything that a provider says of a chargeback: a stage opened, its outcome, a fee.

    In any order and any number. A contradiction is recorded with an anomaly.
    """

    is_observation: ClassVar[bool] = True

    report: ChargebackReport

    def streams(self) -> tuple[str, ...]:
        own = streams.payment(self.report.payment_id)
        return (own, streams.order(self.report.order_id)) if self.report.order_id else (own,)


class OfChargeback(OfPayment, frozen=True, kw_only=True):
    """Any intention about a chargeback of a payment."""

    chargeback_id: str


class SubmitChargebackEvidence(OfChargeback, frozen=True, kw_only=True):
    """
    Hand in the defence at the stage where the chargeback stands: once, it cannot be taken back.

    Each document has a kind and the hex SHA-256 of its file.
    """

    documents: tuple[EvidenceDocument, ...]
    submitted_by: str


class AcceptChargeback(OfChargeback, frozen=True, kw_only=True):
    """Give in: what is contested is lost. ``liability`` None: as was said before."""

    accepted_by: str
    liability: Liability | None = None


class EndChargebackDefence(OfChargeback, frozen=True, kw_only=True):
    """Timer: nobody answered until ``due_at``, so what is contested at that stage is lost."""

    stage: ChargebackStage = ChargebackStage.CHARGEBACK
    due_at: Instant


class AssignChargebackLoss(OfChargeback, frozen=True, kw_only=True):
    """Decide anew who bears what a chargeback took for good: the sellers or the platform."""

    liability: Liability
    reason: str
    by: str
