"""
Events of a payment's chargebacks: what the provider reported, what was answered, who bears it.

Amounts are positive integers in minor units of the payment's currency; 0: the report states none.
"""

from datetime import datetime

import msgspec

from .chargeback_stages import ChargebackFact, ChargebackStage, Liability
from .events import Event, topic
from .instants import Instant
from .payment_operations import FundingPart


class EvidenceDocument(msgspec.Struct, frozen=True):
    """One document of a defence; ``sha256`` is the hex hash of its file, kept elsewhere."""

    kind: str
    sha256: str


class ChargebackReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a provider reports of a chargeback, in our words. Never trusted to fit the state.

    ``chargeback_id`` is the same over all stages of one case. ``stage`` is the stage that the
    report is about. ``amount`` is in minor units of ``currency`` ("": the payment's): what is
    contested, of WON and CANCELLED what comes back (None: all of it). ``fee`` is charged besides,
    in ``fee_currency``. ``sequence`` is the provider's own order of its reports, -1 if it has none.
    ``liability`` None: as was said before, at first the seller.
    """

    payment_id: str
    chargeback_id: str
    fact: ChargebackFact
    stage: ChargebackStage = ChargebackStage.CHARGEBACK
    order_id: str = ""
    provider_ref: str = ""
    amount: int | None = None
    currency: str = ""
    fee: int = 0
    fee_currency: str = ""
    sequence: int = -1
    reason_code: str = ""
    evidence_due_by: Instant | None = None
    documents: tuple[EvidenceDocument, ...] = ()
    liability: Liability | None = None
    detail: str = ""


class OfChargeback(Event, frozen=True, kw_only=True):
    """Any event of a chargeback."""

    chargeback_id: str


class ChargebackReported(OfChargeback, frozen=True, kw_only=True):
    """
    A report moved a chargeback, or was kept as part of what is known of it.

    ``key`` identifies the report: a repeat with the same key changes nothing.
    """

    key: str = ""
    stage: ChargebackStage = ChargebackStage.CHARGEBACK
    provider_ref: str = ""
    sequence: int = -1
    amount: int = 0
    currency: str = ""
    liability: Liability | None = None
    detail: str = ""


class ChargebackBegun(ChargebackReported, frozen=True, kw_only=True):
    """
    A stage was opened; ``previous_stage`` None: nothing was known of it before.

    ``settlement`` names the batch and the line that showed it, where nobody had reported it.
    """

    reason_code: str = ""
    evidence_due_by: datetime | None = None
    previous_stage: ChargebackStage | None = None
    settlement: str = ""


@topic("payment.chargeback_inquiry_opened.v1")
class ChargebackInquiryOpened(ChargebackBegun, frozen=True, kw_only=True):
    """The buyer's bank asks; no money moves."""


@topic("payment.chargeback_opened.v1")
class ChargebackOpened(ChargebackBegun, frozen=True, kw_only=True):
    """The provider took the amount back (recipe 14)."""


@topic("payment.second_chargeback_opened.v1")
class SecondChargebackOpened(ChargebackBegun, frozen=True, kw_only=True):
    """The buyer's bank contests again what was won for the time being; taken once more."""


@topic("payment.pre_arbitration_opened.v1")
class PreArbitrationOpened(ChargebackBegun, frozen=True, kw_only=True):
    """One side asks the other to give in before the card scheme decides."""


@topic("payment.chargeback_stage_changed.v1")
class ChargebackStageChanged(ChargebackBegun, frozen=True, kw_only=True):
    """It went to another stage that has no event of its own: to the arbitration."""


@topic("payment.chargeback_evidence_submitted.v1")
class ChargebackEvidenceSubmitted(ChargebackReported, frozen=True, kw_only=True):
    """The defence was handed in: once for each stage, and never taken back."""

    documents: tuple[EvidenceDocument, ...] = ()
    submitted_by: str = ""


@topic("payment.chargeback_won.v1")
class ChargebackWon(ChargebackReported, frozen=True, kw_only=True):
    """Won for the time being: ``amount`` came back (0: all of it). Recipe 16."""


@topic("payment.chargeback_lost.v1")
class ChargebackLost(ChargebackReported, frozen=True, kw_only=True):
    """Lost; who bears it says ``ChargebackLossAssigned``."""


@topic("payment.chargeback_accepted.v1")
class ChargebackAccepted(ChargebackReported, frozen=True, kw_only=True):
    """It was not contested: lost. ``accepted_by`` is empty where the provider reported it."""

    accepted_by: str = ""


@topic("payment.chargeback_cancelled.v1")
class ChargebackCancelled(ChargebackReported, frozen=True, kw_only=True):
    """It was cancelled or prevented: ``amount`` came back (0: all of it)."""


@topic("payment.chargeback_defence_period_ended.v1")
class ChargebackDefencePeriodEnded(ChargebackReported, frozen=True, kw_only=True):
    """Nobody answered in time: lost. ``due_at`` where the engine concluded it."""

    due_at: datetime | None = None


@topic("payment.arbitration_decided.v1")
class ArbitrationDecided(ChargebackReported, frozen=True, kw_only=True):
    """The card scheme decided, for good."""

    is_won: bool


class OwedRefund(msgspec.Struct, frozen=True):
    """What of a refund had failed after success, and reached the buyer by a chargeback."""

    refund_id: str
    amount: int


@topic("payment.chargeback_loss_assigned.v1")
class ChargebackLossAssigned(OfChargeback, frozen=True, kw_only=True):
    """
    Who bears what is lost, as decided now; replaces what was decided of this chargeback before.

    ``parts`` sum to the loss; none: nothing is lost any more. A part of the order's escrow names
    the slice that it leaves. ``owed`` is what of ``liabilities:refunds`` it pays, by refund.
    """

    liability: Liability
    parts: tuple[FundingPart, ...] = ()
    owed: tuple[OwedRefund, ...] = ()


@topic("payment.chargeback_liability_changed.v1")
class ChargebackLiabilityChanged(OfChargeback, frozen=True, kw_only=True):
    """Somebody decided anew who bears the loss; ``ChargebackLossAssigned`` follows."""

    liability: Liability
    reason: str
    by: str


@topic("payment.chargeback_named.v1")
class ChargebackNamed(OfChargeback, frozen=True, kw_only=True):
    """A chargeback that a settlement had opened is the one that its reports call ``alias``."""

    alias: str


class CreditIssued(msgspec.Struct, frozen=True):
    """A refund that reached the buyer, or may: evidence against a chargeback."""

    op_id: str
    amount: int
    provider_ref: str = ""
    refund_id: str = ""
    is_in_flight: bool = False


@topic("payment.chargeback_credit_evidence_attached.v1")
class ChargebackCreditEvidenceAttached(OfChargeback, frozen=True, kw_only=True):
    """Evidence "credit already issued": refunds of the same payment, found by the engine."""

    credits: tuple[CreditIssued, ...]


class ChargebackFee(OfChargeback, frozen=True, kw_only=True):
    """A fee of the provider, never part of the contested amount. ``fee_id`` counts once."""

    fee_id: str
    amount: int
    currency: str


@topic("payment.chargeback_fee_charged.v1")
class ChargebackFeeCharged(ChargebackFee, frozen=True, kw_only=True):
    """Recipe 14, the fee q."""


@topic("payment.chargeback_fee_returned.v1")
class ChargebackFeeReturned(ChargebackFee, frozen=True, kw_only=True):
    """A fee came back, as a counter fee does when it is won."""


@topic("payment.chargeback_report_kept.v1")
class ChargebackReportKept(OfChargeback, frozen=True, kw_only=True):
    """A report that cannot be: of an impossible amount, in another currency. It posts nothing."""

    key: str
    fact: ChargebackFact
    stage: ChargebackStage
    why: str
    amount: int = 0
    currency: str = ""
    provider_ref: str = ""
