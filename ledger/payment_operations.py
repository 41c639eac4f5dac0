"""
The sub-machine that every provider operation follows: its kinds, outcomes, transitions, schedule.

An operation is requested before the provider is called and stays in flight, with its amount
reserved, until an outcome is known. Source of the vocabulary: Kill Bill's
PaymentTransactionInfoPlugin and its janitor; Saleor's request, success and failure events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Final

import msgspec

from .money import allocate
from .operation_reports import Report


class OperationKind(StrEnum):
    """What the provider is asked to do."""

    AUTHORISE = "authorise"
    ADJUST = "adjust"
    CAPTURE = "capture"
    VOID = "void"
    PURCHASE = "purchase"
    REFUND = "refund"
    CREDIT = "credit"


class OperationStatus(StrEnum):
    """Where an operation stands. The first three are in flight."""

    REQUESTED = "requested"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    ABORTED = "aborted"
    REVERSED = "reversed"


class Outcome(StrEnum):
    """
    What the provider, or the reconciler, says of an operation.

    EXPIRED is said of an authorisation: its uncaptured rest is gone. It is no transition.
    """

    PENDING = "pending"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    ABORTED = "aborted"
    REVERSED = "reversed"
    EXPIRED = "expired"


IN_FLIGHT: Final = frozenset(
    {OperationStatus.REQUESTED, OperationStatus.PENDING, OperationStatus.UNKNOWN}
)
FAILED: Final = frozenset({OperationStatus.DECLINED, OperationStatus.ABORTED})
SETTLED: Final = frozenset(
    {OperationKind.CAPTURE, OperationKind.PURCHASE, OperationKind.REFUND, OperationKind.CREDIT}
)
"""The kinds of operation that a provider's settlement shows."""


class Effect(StrEnum):
    """What an outcome does to an operation that has a given status."""

    MOVES = "moves"
    """The regular transition."""
    LATE = "late"
    """A success after a failure was reported."""
    AGAIN = "again"
    """A success after a reversal: the provider tried again by itself."""
    REVERSES = "reverses"
    """A failure after a success: the success is taken back."""
    FAILS = "fails"
    """A reversal of something never seen to succeed: it failed."""
    CONFLICTS = "conflicts"
    """A second success of the same operation."""
    STALE = "stale"
    """Says nothing new; kept in history, changes nothing."""


def _row(**effects: str) -> Mapping[Outcome, Effect]:
    return MappingProxyType({Outcome(name): Effect(effect) for name, effect in effects.items()})


_OPEN: Final = {
    "unknown": "moves",
    "succeeded": "moves",
    "declined": "moves",
    "aborted": "moves",
    "reversed": "fails",
}
_CLOSED: Final = {"pending": "stale", "unknown": "stale"}

TRANSITIONS: Final[Mapping[OperationStatus, Mapping[Outcome, Effect]]] = MappingProxyType(
    {
        OperationStatus.REQUESTED: _row(pending="moves", **_OPEN),
        OperationStatus.PENDING: _row(pending="stale", **_OPEN),
        OperationStatus.UNKNOWN: _row(**{**_OPEN, "pending": "moves", "unknown": "stale"}),
        OperationStatus.SUCCEEDED: _row(
            succeeded="conflicts",
            declined="reverses",
            aborted="reverses",
            reversed="reverses",
            **_CLOSED,
        ),
        OperationStatus.DECLINED: _row(
            succeeded="late", declined="stale", aborted="stale", reversed="stale", **_CLOSED
        ),
        OperationStatus.ABORTED: _row(
            succeeded="late", declined="stale", aborted="stale", reversed="stale", **_CLOSED
        ),
        OperationStatus.REVERSED: _row(
            succeeded="again", declined="stale", aborted="stale", reversed="stale", **_CLOSED
        ),
    }
)
"""Every status with every outcome: an observation always has an effect, if only to be kept."""

JANITOR: Final[Mapping[OperationStatus, tuple[timedelta, ...]]] = MappingProxyType(
    {
        OperationStatus.UNKNOWN: (
            timedelta(minutes=5),
            timedelta(hours=1),
            *(timedelta(days=1),) * 5,
        ),
        OperationStatus.PENDING: (timedelta(hours=1), timedelta(days=1)),
    }
)
"""
How long to wait before each query of an operation; afterwards a person decides.

Source: Kill Bill, org.killbill.payment.janitor.unknown.retries (5m,1h,1d,1d,1d,1d,1d) and
org.killbill.payment.janitor.pending.retries (1h,1d).
"""


def next_query_at(status: OperationStatus, queries: int, since: datetime) -> datetime | None:
    """Return when to query next after ``queries`` queries; None: resolve it manually."""
    waits = JANITOR.get(status, ())
    return since + waits[queries] if queries < len(waits) else None


class Component(StrEnum):
    """
    What of a release an account got. The three first came out of the items, DEBT is what a seller
    comes to owe beyond every release.
    """

    ITEMS = "items"
    COMMISSION = "commission"
    COMMISSION_TAX = "commission_tax"
    SELLER_SHIPPING = "seller_shipping"
    CARRIER = "carrier"
    TAX = "tax"
    TIP = "tip"
    COUPON = "coupon"
    DEBT = "debt"
    OTHER = "other"


class Recovery(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What a part of a refund takes back of a release, and what its account is debited for it.

    ``order_amount`` is the part in the order's currency; 0: the part itself is in it. With a
    ``currency`` the account is debited ``amount`` of that, which is what it was credited for the
    part at the release's ``rate``, and ``equity:fx`` stands between the two; without one it is
    debited the part as it is.
    """

    component: Component
    release_id: str = ""
    order_amount: int = 0
    amount: int = 0
    currency: str = ""
    rate: Decimal = Decimal(1)


class FundingPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    What one account bears of a refund, in minor units, debited at request.

    Below zero only for ``expenses:promo``, which gets its part of a coupon back from those the
    escrow was released to, and for a seller whose commission and its tax were more than the items.
    ``slice_id`` is the seller for whose part of the order the account bears it; a caller may leave
    it out. ``recovery`` says which release gives it back; a caller never names it.
    """

    account: str
    amount: int
    slice_id: str = ""
    recovery: Recovery | None = None

    def debited(self, currency: str) -> tuple[str, int]:
        """Return the currency and amount its account is debited; ``currency`` is the part's."""
        one = self.recovery
        if one is None or not one.currency:
            return currency, self.amount
        return one.currency, one.amount


def divided(amounts: Sequence[int], amount: int) -> tuple[int, ...]:
    """
    Divide ``amount`` in proportion to signed amounts; each part has the sign of its amount.

    The sum of ``amounts`` must be positive and ``amount`` not negative.
    """
    total = sum(amounts)
    credited = [max(0, -one) for one in amounts]
    debited = [max(0, one) for one in amounts]
    back = round(Fraction(sum(credited) * amount, total))
    less = allocate(back, credited) if back else (0,) * len(amounts)
    more = allocate(amount + back, debited)
    return tuple([debit - credit for debit, credit in zip(more, less, strict=True)])


def scaled(parts: tuple[FundingPart, ...], amount: int) -> tuple[FundingPart, ...]:
    """
    Return the parts in proportion to another sum, each of the same sign or left out.

    The sum of ``parts`` must be positive and ``amount`` not negative.
    """
    if amount == sum([part.amount for part in parts]):
        return parts
    amounts = divided([part.amount for part in parts], amount)
    return tuple(
        [
            FundingPart(part.account, one, part.slice_id, _scaled(part, one))
            for part, one in zip(parts, amounts, strict=True)
            if one
        ]
    )


def _scaled(part: FundingPart, amount: int) -> Recovery | None:
    one = part.recovery
    if one is None or not (one.order_amount or one.currency):
        return one
    share = Fraction(amount, part.amount)
    return msgspec.structs.replace(
        one, order_amount=round(one.order_amount * share), amount=round(one.amount * share)
    )


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """
    One operation. ``amount`` was requested, ``settled`` is what the provider says it did.

    ``rank`` orders contradicting reports: the provider's own sequence (-1 if it gives none), then
    the amount. ``seen`` holds the keys of all observations, so that repeats change nothing, and
    ``reports`` what they said of its success or failure, in the order of arrival.
    ``order_amount`` is what a refund in another currency stands for in the order's (0: no other).
    ``is_observed`` marks an operation that the provider reported and nobody here requested;
    ``matched_by`` names the requested operation that turned out to be the same.
    """

    op_id: str
    kind: OperationKind
    amount: int
    status: OperationStatus = OperationStatus.REQUESTED
    attempt: int = 1
    idempotency_key: str = ""
    provider_ref: str = ""
    parent_op: str = ""
    refund_id: str = ""
    is_final: bool = False
    funding: tuple[FundingPart, ...] = ()
    is_reissue: bool = False
    order_amount: int = 0
    settled: int = 0
    sequence: int = -1
    ordinal: int = 0
    queries: int = 0
    seen: tuple[str, ...] = ()
    reports: tuple[Report, ...] = ()
    expires_at: datetime | None = None
    is_observed: bool = False
    matched_by: str = ""

    @property
    def is_in_flight(self) -> bool:
        return self.status in IN_FLIGHT

    @property
    def reserved(self) -> int:
        """The amount in flight: requested and not yet known to have failed or succeeded."""
        return self.amount if self.status in IN_FLIGHT else 0

    @property
    def done(self) -> int:
        """The amount that counts: what succeeded and was not taken back."""
        return self.settled if self.status is OperationStatus.SUCCEEDED else 0
