"""
Anomalies: what they can be of, and their two events, which belong to every kind of stream.

``AnomalyKind`` is the one list of kinds. A kind is stored, by its value, in the event that raises
it. Some were written in lower case once (``freeze_short``); the upcasters of ``anomaly.raised.v1``
and ``anomaly.resolved.v1`` spell them as they are spelled now.
"""

import re
from enum import StrEnum
from typing import Final

from .events import Event, Raw, topic, upcaster


class AnomalyKind(StrEnum):
    """What an observation contradicts, or what a person must look at, by subject."""

    # Of a payment's operations.
    AMOUNT_MISMATCH = "AmountMismatch"
    CONFLICTING_AMOUNT = "ConflictingAmount"
    NON_POSITIVE_AMOUNT = "NonPositiveAmount"
    AMOUNT_BEYOND_LIMIT = "AmountBeyondLimit"
    CURRENCY_MISMATCH = "CurrencyMismatch"
    UNREQUESTED_OPERATION = "UnrequestedOperation"
    UNKNOWN_OPERATION = "UnknownOperation"
    SECOND_REFERENCE = "SecondReference"
    FAILURE_OF_ANOTHER_TRY = "FailureOfAnotherTry"
    ABORTED_WHILE_PENDING = "AbortedWhilePending"
    LATE_SUCCESS = "LateSuccess"
    FAILURE_AFTER_SUCCESS = "FailureAfterSuccess"
    REVERSED_BEFORE_SUCCESS = "ReversedBeforeSuccess"
    LATE_PAYMENT = "LatePayment"
    PAYMENT_WITHOUT_ORDER = "PaymentWithoutOrder"
    BOUND_TO_ANOTHER_ORDER = "BoundToAnotherOrder"
    AUTHORISATION_EXPIRING = "AuthorisationExpiring"
    MANUAL_RESOLUTION_NEEDED = "ManualResolutionNeeded"
    # Of money that a report moved.
    EXPOSURE = "Exposure"
    OVER_CAPTURE = "OverCapture"
    ESCROW_OVERDRAWN = "EscrowOverdrawn"
    REFUND_BEYOND_GRANT = "RefundBeyondGrant"
    FREEZE_SHORT = "FreezeShort"
    ACCOUNT_CONSTRAINT_BREACHED = "AccountConstraintBreached"
    # Of chargebacks.
    CHARGEBACK_CONTRADICTION = "ChargebackContradiction"
    CHARGEBACK_WITHOUT_AMOUNT = "ChargebackWithoutAmount"
    # Of notifications, settlement and bank statements.
    NOTIFICATION_CONTENT_DIFFERS = "NotificationContentDiffers"
    SETTLEMENT_LINE_DIFFERS = "SettlementLineDiffers"
    CONFLICTING_SETTLEMENT = "ConflictingSettlement"
    BANK_LINE_DIFFERS = "BankLineDiffers"
    # Of payouts.
    UNKNOWN_PAYOUT = "UnknownPayout"
    CONFLICTING_PAYOUT_REPORT = "ConflictingPayoutReport"
    PAYOUT_REPORT_DIFFERS = "PayoutReportDiffers"
    PAYOUT_REPORT_UNUSABLE = "PayoutReportUnusable"
    PAYOUT_AMOUNT_MISMATCH = "PayoutAmountMismatch"
    # Of orders that another system reports.
    UNKNOWN_ORDER = "UnknownOrder"
    UNKNOWN_LINE = "UnknownLine"
    UNKNOWN_RESERVATION = "UnknownReservation"
    CANCELLED_AFTER_SHIPPING = "CancelledAfterShipping"
    CANCELLED_IN_WRONG_STATE = "CancelledInWrongState"
    REFUND_REPORTED_TWICE = "RefundReportedTwice"
    REFUND_WITHOUT_PURCHASE = "RefundWithoutPurchase"
    REFUND_EXCEEDS_CHARGE = "RefundExceedsCharge"
    REFUND_IN_ANOTHER_CURRENCY = "RefundInAnotherCurrency"
    # Of consignments.
    UNKNOWN_FULFILMENT = "UnknownFulfilment"
    CONFLICTING_DISPATCH = "ConflictingDispatch"
    DISPATCHED_YET_CANCELLED = "DispatchedYetCancelled"
    DISPATCHED_BEFORE_APPROVAL = "DispatchedBeforeApproval"
    DISPATCHED_OTHER_UNITS = "DispatchedOtherUnits"
    SHIPPED_MORE_THAN_ORDERED = "ShippedMoreThanOrdered"
    CONFLICTING_DELIVERY = "ConflictingDelivery"
    DELIVERED_YET_CANCELLED = "DeliveredYetCancelled"
    DELIVERED_BEFORE_APPROVAL = "DeliveredBeforeApproval"
    DELIVERED_BEFORE_DISPATCH = "DeliveredBeforeDispatch"
    DELIVERED_YET_LOST = "DeliveredYetLost"
    CONFLICTING_FAILURE = "ConflictingFailure"
    FAILED_YET_DELIVERED = "FailedYetDelivered"
    FAILED_BEFORE_DISPATCH = "FailedBeforeDispatch"
    # Of returns.
    RETURNED_UNASKED = "ReturnedUnasked"
    CONFLICTING_RECEPTION = "ConflictingReception"
    RECEIVED_MORE_THAN_REQUESTED = "ReceivedMoreThanRequested"
    IN_TRANSIT_WHILE_REQUESTED = "InTransitWhileRequested"
    IN_TRANSIT_WHILE_MANUAL_REVIEW = "InTransitWhileManualReview"
    IN_TRANSIT_WHILE_REJECTED = "InTransitWhileRejected"
    IN_TRANSIT_WHILE_RECEIVED = "InTransitWhileReceived"
    IN_TRANSIT_WHILE_INSPECTED = "InTransitWhileInspected"
    IN_TRANSIT_WHILE_CLOSED = "InTransitWhileClosed"
    IN_TRANSIT_WHILE_CANCELLED = "InTransitWhileCancelled"
    IN_TRANSIT_WHILE_EXPIRED = "InTransitWhileExpired"
    RECEIVED_WHILE_REQUESTED = "ReceivedWhileRequested"
    RECEIVED_WHILE_MANUAL_REVIEW = "ReceivedWhileManualReview"
    RECEIVED_WHILE_REJECTED = "ReceivedWhileRejected"
    RECEIVED_WHILE_RECEIVED = "ReceivedWhileReceived"
    RECEIVED_WHILE_INSPECTED = "ReceivedWhileInspected"
    RECEIVED_WHILE_CLOSED = "ReceivedWhileClosed"
    RECEIVED_WHILE_CANCELLED = "ReceivedWhileCancelled"
    RECEIVED_WHILE_EXPIRED = "ReceivedWhileExpired"
    # Of awards of external bodies.
    AWARD_FOR_UNKNOWN_DISPUTE = "AwardForUnknownDispute"
    AWARD_OF_ANOTHER_CASE = "AwardOfAnotherCase"
    AWARD_DOES_NOT_ADD_UP = "AwardDoesNotAddUp"
    AWARD_ID_IN_USE = "AwardIdInUse"
    AWARD_WHILE_FILED = "AwardWhileFiled"
    AWARD_WHILE_NEGOTIATING = "AwardWhileNegotiating"
    AWARD_WHILE_EVIDENCE = "AwardWhileEvidence"
    AWARD_WHILE_MEDIATION = "AwardWhileMediation"
    AWARD_WHILE_ARBITRATION = "AwardWhileArbitration"
    AWARD_WHILE_EXTERNAL = "AwardWhileExternal"
    AWARD_WHILE_RULED = "AwardWhileRuled"
    AWARD_WHILE_APPEAL = "AwardWhileAppeal"
    AWARD_WHILE_FINAL = "AwardWhileFinal"
    AWARD_WHILE_AGREED = "AwardWhileAgreed"
    AWARD_WHILE_EXECUTING = "AwardWhileExecuting"
    AWARD_WHILE_EXECUTED = "AwardWhileExecuted"
    AWARD_WHILE_CLOSED = "AwardWhileClosed"
    AWARD_REPORTED_OTHERWISE = "AwardReportedOtherwise"


_LOWER: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")


def spelled(key: str) -> str:
    """
    Return a kind, or a key that begins with one and a colon, with the kind as it is spelled now.

    What begins otherwise stays as it is.
    """
    kind, colon, rest = key.partition(":")
    if _LOWER.fullmatch(kind):
        kind = "".join([word.capitalize() for word in kind.split("_")])
    return f"{kind}{colon}{rest}"


@topic("anomaly.raised.v2")
class AnomalyRaised(Event, frozen=True):
    """
    An observation contradicts the state. Belongs in the stream of what it contradicts.

    ``kind`` is an ``AnomalyKind`` of the code that raised it. ``anomaly_id`` is unique within the
    stream; empty means ``kind`` and ``refs`` identify it.
    """

    kind: str
    refs: tuple[str, ...] = ()
    severity: str = "warning"
    detail: str = ""
    anomaly_id: str = ""

    @property
    def key(self) -> str:
        """Return what AnomalyResolved must name."""
        return self.anomaly_id or ":".join((self.kind, *self.refs))


@upcaster("anomaly.raised.v1", "anomaly.raised.v2")
def _raised_v2(raw: Raw) -> Raw:
    """Its kind, and the id that begins with it, as they are spelled now."""
    for field in ("kind", "anomaly_id"):
        if field in raw:
            raw[field] = spelled(str(raw[field]))
    return raw


@topic("anomaly.resolved.v2")
class AnomalyResolved(Event, frozen=True):
    """``anomaly_id`` is the key of the AnomalyRaised."""

    anomaly_id: str
    by: str
    resolution: str
    compensations: tuple[str, ...] = ()


@upcaster("anomaly.resolved.v1", "anomaly.resolved.v2")
def _resolved_v2(raw: Raw) -> Raw:
    """The key as the anomaly's kind is spelled now."""
    raw["anomaly_id"] = spelled(str(raw["anomaly_id"]))
    return raw


def open_anomalies(
    before: tuple[str, ...], event: AnomalyRaised | AnomalyResolved
) -> tuple[str, ...]:
    """Return the keys of the open anomalies after an event; for every kind of state."""
    if isinstance(event, AnomalyRaised):
        return before if event.key in before else (*before, event.key)
    return tuple([key for key in before if key != event.anomaly_id])
