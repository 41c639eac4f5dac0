"""
The state of one payment: its amounts, derived from its operations.

Every amount is a sum over the payment's operations, so that it does not depend on the order in
which the provider's reports arrive. An observed capture without an authorisation implies one; the
authorisation that is reported later fills in.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Final

import msgspec

from .chargeback_stages import ChargebackStatus
from .chargebacks import Chargeback
from .payment_events import Capabilities, CaptureMode, FxQuote
from .payment_operations import FAILED, Operation, OperationKind, OperationStatus


class PaymentLifecycle(StrEnum):
    """The payment's summary status; the amounts say more."""

    NONE = "none"
    INITIATED = "initiated"
    REQUIRES_ACTION = "requires_action"
    AUTHORISED = "authorised"
    PARTIALLY_CAPTURED = "partially_captured"
    CAPTURED = "captured"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    VOIDED = "voided"
    EXPIRED = "expired"
    FAILED = "failed"
    CREDITED = "credited"


class ChargebackAxis(StrEnum):
    """What chargebacks lay over the lifecycle: money contested, lost, or given back."""

    NONE = "none"
    INQUIRY = "inquiry"
    DISPUTED = "disputed"
    CHARGED_BACK = "charged_back"
    REINSTATED = "reinstated"


class Authorisation(msgspec.Struct, frozen=True):
    """
    What was authorised by one operation and what became of it. Id "": reports that name none.

    ``adjusted`` is the absolute amount of the adjustment that counts (None: never adjusted),
    ``finals`` how many final captures succeeded, ``capturing`` and ``voiding`` are in flight.
    """

    authorised: int = 0
    adjusted: int | None = None
    voided: int = 0
    captured: int = 0
    capturing: int = 0
    voiding: int = 0
    finals: int = 0
    is_expired: bool = False

    @property
    def is_seen(self) -> bool:
        """Whether the authorisation itself was reported, not only captures of it."""
        return self.authorised > 0 or self.adjusted is not None

    @property
    def effective(self) -> int:
        return self.authorised if self.adjusted is None else self.adjusted

    @property
    def is_open(self) -> bool:
        """Whether more may be captured, as far as the provider's rules go."""
        return self.finals == 0 and not self.is_expired

    @property
    def remainder(self) -> int:
        """The amount neither captured nor voided, whether still open or not."""
        return max(0, self.effective - self.voided - self.captured)


class Reconciled(msgspec.Struct, frozen=True, gc=False):
    """A line of a settlement that shows an operation; ``settlement`` is provider/batch."""

    settlement: str
    line_no: int
    amount: int


class PaymentState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A payment folded from its events. Amounts in minor units of ``currency``.

    ``by_reference`` finds an operation by "kind reference"; ``kept`` holds the keys of reports
    that changed nothing, ``anomalies`` those of the open anomalies, ``alerted`` the deadlines of
    alerts that were given. ``reconciled`` has the lines of settlements that show an operation, by
    ``reconciled_key``.
    """

    payment_id: str = ""
    order_id: str = ""
    provider: str = ""
    method: str = ""
    currency: str = ""
    amount: int = 0
    capture_mode: CaptureMode = CaptureMode.MANUAL
    capabilities: Capabilities = Capabilities()
    quote_id: str = ""
    order_version: int = 0
    expires_at: datetime | None = None
    fx: FxQuote | None = None
    needs_action: bool = False
    operations: Mapping[str, Operation] = {}
    by_reference: Mapping[str, str] = {}
    authorisations: Mapping[str, Authorisation] = {}
    initiating: int = 0
    purchased: int = 0
    refunded: int = 0
    refund_in_flight: int = 0
    credited: int = 0
    chargebacks: Mapping[str, Chargeback] = {}
    kept: frozenset[str] = frozenset()
    anomalies: tuple[str, ...] = ()
    reconciled: Mapping[str, tuple[Reconciled, ...]] = {}
    alerted: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.payment_id != ""

    def reconciled_amount(self, op_id: str, *, is_reversal: bool = False) -> int:
        """Return how much of an operation, or of its reversal, settlements have shown."""
        found = self.reconciled.get(reconciled_key(op_id, is_reversal=is_reversal), ())
        return sum([one.amount for one in found])

    @property
    def captured_of_authorisations(self) -> int:
        return sum([one.captured for one in self.authorisations.values()])

    @property
    def captured(self) -> int:
        """What was captured and not taken back, purchases included."""
        return self.captured_of_authorisations + self.purchased

    @property
    def capture_in_flight(self) -> int:
        return sum([one.capturing for one in self.authorisations.values()])

    @property
    def void_in_flight(self) -> int:
        return sum([one.voiding for one in self.authorisations.values()])

    @property
    def authorised(self) -> int:
        """
        What was authorised before adjustments; at least what captures without a seen
        authorisation imply. A purchase authorises what it captures.
        """
        known = 0
        for one in self.authorisations.values():
            known += one.authorised if one.is_seen else one.captured + one.voided
        if "" in self.authorisations:
            own = self.authorisations[""]
            known = max(known - own.captured - own.voided, self.captured_of_authorisations)
        return known + self.purchased

    @property
    def authorised_adjustment(self) -> int:
        """Signed: what adjustments added to what was authorised."""
        return sum([one.effective - one.authorised for one in self.authorisations.values()])

    @property
    def voided(self) -> int:
        """What was voided, the rest released by a final capture included."""
        return sum(
            [
                one.voided + (one.remainder if one.finals else 0)
                for one in self.authorisations.values()
            ]
        )

    @property
    def authorisation_expired(self) -> int:
        return sum(
            [
                one.remainder
                for one in self.authorisations.values()
                if one.is_expired and not one.finals
            ]
        )

    @property
    def held(self) -> int:
        """What the authorisations still hold: the balance of the payment's held layer."""
        total = 0
        for one in self.authorisations.values():
            if one.finals == 0 and not one.is_expired:
                total += one.effective - one.voided - one.captured
        return total if total > 0 else 0

    @property
    def capturable(self) -> int:
        """max(0, authorised + adjustment − voided − expired − captured − captures in flight)."""
        total = 0
        for one in self.authorisations.values():
            if one.finals == 0 and not one.is_expired:
                total += one.effective - one.voided - one.captured
            total -= one.capturing
        return total if total > 0 else 0

    @property
    def over_captured(self) -> int:
        """
        By how much captures, captures in flight and voids exceed what was authorised.

        Only reports of the provider can make it positive. 0 while an authorisation that captures
        name was not reported yet.
        """
        effective = used = 0
        for op_id, one in self.authorisations.items():
            if op_id and not one.is_seen:
                return 0
            effective += one.effective
            used += one.captured + one.capturing + one.voided
        if effective == 0:
            return 0
        tolerance = effective * self.capabilities.over_capture_basis_points // 10_000
        return max(0, used - effective - tolerance)

    @property
    def chargeback_open(self) -> int:
        """What the provider took back for chargebacks that are contested."""
        if not self.chargebacks:
            return 0
        return sum([one.contested for one in self.chargebacks.values()])

    @property
    def chargeback_lost(self) -> int:
        """What chargebacks took for good."""
        if not self.chargebacks:
            return 0
        return sum([one.lost for one in self.chargebacks.values()])

    @property
    def chargeback_reversed(self) -> int:
        """What chargebacks took and gave back."""
        if not self.chargebacks:
            return 0
        return sum([one.reversed for one in self.chargebacks.values()])

    @property
    def chargeback_axis(self) -> ChargebackAxis:
        """The overlay of chargebacks on the lifecycle; the worst of several counts."""
        if not self.chargebacks:
            return ChargebackAxis.NONE
        if self.chargeback_lost:
            return ChargebackAxis.CHARGED_BACK
        if self.chargeback_open:
            return ChargebackAxis.DISPUTED
        if self.chargeback_reversed:
            return ChargebackAxis.REINSTATED
        inquiring = {ChargebackStatus.INQUIRY, ChargebackStatus.UNDER_REVIEW}
        if any(one.status in inquiring for one in self.chargebacks.values()):
            return ChargebackAxis.INQUIRY
        return ChargebackAxis.NONE

    @property
    def unclamped_refundable(self) -> int:
        """Captured less refunds, refunds in flight and chargebacks; negative after a breach."""
        return (
            self.captured
            - self.refunded
            - self.refund_in_flight
            - self.chargeback_open
            - self.chargeback_lost
        )

    @property
    def refundable(self) -> int:
        """What may still be refunded, never negative."""
        return max(0, self.unclamped_refundable)

    @property
    def exposure(self) -> int:
        """What has been or may be given back beyond what was captured."""
        return max(0, -self.unclamped_refundable)

    @property
    def lifecycle(self) -> PaymentLifecycle:
        return _lifecycle(self)

    def expected_at(self, now: datetime) -> int:
        """
        Return what the payment still brings or has brought for the order, refunds and lost
        chargebacks subtracted; what is contested may come back.

        Nothing of one that was opened to credit the customer, or expired before it was begun.
        """
        lifecycle = self.lifecycle
        if lifecycle in _OPENING:
            is_over = self.expires_at is not None and now >= self.expires_at
            is_over = is_over or self.is_credit
            return 0 if is_over and not self.initiating else self.amount
        if lifecycle in _OVER and not self.initiating:
            return 0
        brings = self.captured + self.capture_in_flight + self.capturable + self.initiating
        return max(0, brings - self.refunded - self.chargeback_lost)

    @property
    def is_credit(self) -> bool:
        """Opened to pay the customer, not to be paid."""
        first = next(iter(self.operations.values()), None)
        return first is not None and first.kind is OperationKind.CREDIT

    def in_order_currency(self, amount: int) -> int:
        """Convert an amount of this payment at its own quote, rounded once, half-even."""
        if self.fx is None:
            return amount
        return round(Fraction(amount * self.fx.order_amount, self.amount))

    def operations_of(self, kind: OperationKind) -> list[Operation]:
        return [op for op in self.operations.values() if op.kind is kind]


_OPENING: Final = frozenset({PaymentLifecycle.INITIATED, PaymentLifecycle.REQUIRES_ACTION})
_OVER: Final = frozenset(
    {PaymentLifecycle.FAILED, PaymentLifecycle.VOIDED, PaymentLifecycle.EXPIRED}
)
_FIRST: Final = frozenset({OperationKind.AUTHORISE, OperationKind.PURCHASE})


def _lifecycle(state: PaymentState) -> PaymentLifecycle:
    if not state.exists:
        return PaymentLifecycle.NONE
    if state.captured > 0:
        if state.refunded >= state.captured:
            return PaymentLifecycle.REFUNDED
        if state.refunded > 0:
            return PaymentLifecycle.PARTIALLY_REFUNDED
        is_partial = state.held > 0
        return PaymentLifecycle.PARTIALLY_CAPTURED if is_partial else PaymentLifecycle.CAPTURED
    if state.held > 0:
        return PaymentLifecycle.AUTHORISED
    if state.credited > 0:
        return PaymentLifecycle.CREDITED
    if state.initiating == 0 and any(one.is_seen for one in state.authorisations.values()):
        is_expired = state.authorisation_expired > 0
        return PaymentLifecycle.EXPIRED if is_expired else PaymentLifecycle.VOIDED
    return _before_success(state)


def _before_success(state: PaymentState) -> PaymentLifecycle:
    if state.needs_action:
        return PaymentLifecycle.REQUIRES_ACTION
    first = [op for op in state.operations.values() if op.kind in _FIRST]
    is_over = bool(first) and not any(op.is_in_flight for op in first)
    return PaymentLifecycle.FAILED if is_over else PaymentLifecycle.INITIATED


def reference_key(kind: str, provider_ref: str) -> str:
    """Return the key of ``by_reference``: providers reuse a reference across kinds."""
    return f"{kind} {provider_ref}"


def reconciled_key(op_id: str, *, is_reversal: bool) -> str:
    """Return the key of ``reconciled``: an operation and its reversal are two movements."""
    return f"{op_id} reversed" if is_reversal else op_id


def refund_operations(state: PaymentState, refund_id: str) -> list[Operation]:
    """Return the operations of one grant, refunds and voids in place of one, oldest first."""
    return [op for op in state.operations.values() if op.refund_id == refund_id]


def failed_refunds(state: PaymentState, refund_id: str) -> list[Operation]:
    """Return the operations of one grant that failed or were taken back, oldest first."""
    return [
        op
        for op in refund_operations(state, refund_id)
        if op.status in FAILED or op.status is OperationStatus.REVERSED
    ]


_CAPTURING: Final = frozenset({OperationKind.CAPTURE, OperationKind.PURCHASE})
_WAS_DONE: Final = frozenset({OperationStatus.SUCCEEDED, OperationStatus.REVERSED})


class Bearing(msgspec.Struct, frozen=True, gc=False):
    """
    What of a refund operation counts on the accounts, in minor units of the payment's currency.

    ``own`` is taken from those who fund it or, if it is issued again, from what is owed to the
    buyer; ``beyond`` the buyer got twice and owes back.
    """

    own: int
    beyond: int


def refund_bearings(state: PaymentState) -> dict[str, Bearing]:
    """
    Return for every refund operation who bears it as the payment stands.

    Those who fund refunds bear what the payment brought, once: what the provider gave back beyond
    it, the buyer owes (invariant 29). What a lost chargeback took comes after the refunds. The
    operation that was requested last comes first, for its funding is how things stood last; what
    nobody here requested comes after those, then what failed after success, which is owed to the
    buyer only where nothing else gave it back. So nothing depends on the order of the reports.
    """
    ops = state.operations_of(OperationKind.REFUND)
    if not ops:
        return {}
    ops.sort(key=lambda op: (op.status is OperationStatus.REVERSED, -op.ordinal, op.op_id))
    found: dict[str, Bearing] = {}
    owed: dict[str, int] = {}
    left = _brought(state)
    for op in ops:
        if op.is_reissue:
            continue
        is_undone = op.status is OperationStatus.REVERSED
        amount = op.settled if is_undone else op.reserved + op.done
        own = max(0, min(amount, left))
        left -= own
        found[op.op_id] = Bearing(own, 0 if is_undone else amount - own)
        if is_undone:
            owed[op.refund_id] = owed.get(op.refund_id, 0) + own
    for op in ops:
        if op.is_reissue:
            amount = op.reserved + op.done
            own = min(amount, owed.get(op.refund_id, 0))
            owed[op.refund_id] = owed.get(op.refund_id, 0) - own
            found[op.op_id] = Bearing(own, amount - own)
    return found


def _brought(state: PaymentState) -> int:
    """
    Return what was captured, with what was taken back since as far as the payment's amount goes.

    A capture that is taken back relieves nobody of a refund: a seller would be credited for it.
    """
    gross = sum(
        [
            op.settled
            for op in state.operations.values()
            if op.kind in _CAPTURING and op.status in _WAS_DONE
        ]
    )
    return max(state.captured, min(gross, state.amount))


def owed_again(state: PaymentState, refund_id: str) -> int:
    """
    Return what failed after success and was not issued again: a liability to the buyer.

    A lost chargeback may have paid it since.
    """
    total = 0
    bearings = refund_bearings(state)
    for op in refund_operations(state, refund_id):
        if op.is_reissue:
            total -= bearings[op.op_id].own
        elif op.kind is OperationKind.REFUND and op.status is OperationStatus.REVERSED:
            total += bearings[op.op_id].own
    for one in state.chargebacks.values():
        total -= one.owed.get(refund_id, 0)
    return max(0, total)
