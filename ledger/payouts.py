"""
A payout as folded from its stream: the transition table, and what the bank reported.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from . import payout_events as e
from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .events import Event
from .payment_operations import JANITOR, OperationStatus
from .seller_events import PayoutEntry


class PayoutStatus(StrEnum):
    """Where a payout stands."""

    NONE = "none"
    SCHEDULED = "scheduled"
    IN_TRANSIT = "in_transit"
    UNKNOWN = "unknown"
    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"
    CANCELLED = "cancelled"


_S: Final = PayoutStatus
TRANSIT: Final = frozenset({_S.IN_TRANSIT, _S.UNKNOWN})
"""The bank was asked, and the money is in ``liabilities:payouts``."""
GIVEN_UP: Final = frozenset({_S.FAILED, _S.RETURNED, _S.CANCELLED})
"""Its entries are free for another payout."""

TRANSITIONS: Final[Mapping[type[Event], tuple[frozenset[PayoutStatus], PayoutStatus]]] = {
    e.PayoutScheduled: (frozenset({_S.NONE}), _S.SCHEDULED),
    e.PayoutInitiated: (frozenset({_S.SCHEDULED}), _S.IN_TRANSIT),
    e.PayoutCancelled: (frozenset({_S.SCHEDULED}), _S.CANCELLED),
    e.PayoutPending: (TRANSIT, _S.IN_TRANSIT),
    e.PayoutOutcomeUnknown: (TRANSIT, _S.UNKNOWN),
    e.PayoutPaid: (TRANSIT, _S.PAID),
    e.PayoutFailed: (TRANSIT | {_S.PAID}, _S.FAILED),
    e.PayoutReturned: (TRANSIT | {_S.PAID}, _S.RETURNED),
}
"""
Event → where it is expected, and where it leads.

A report leads there from any other status too, and raises an anomaly. Source: the states of a
Stripe payout (pending, in_transit, paid, failed, canceled), where ``failed`` may follow ``paid``.
"""


class PayoutState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A payout, in minor units of its currency.

    ``amount`` is what it pays, by the bank's report once there is one. ``reports`` maps what the
    bank reported (kind and reference) to the amount it named: what it paid, the fee of a return, 0.

    ``doubts`` counts the times that the bank worked on it or nobody knew, ``queries`` how often
    the bank was asked about it since the latest of them.

    ``sent`` and ``back`` are what left the bank's account and what came back by these reports;
    ``sent_seen`` and ``back_seen`` what of it bank statements have shown, by the lines ``seen_in``.
    """

    payout_id: str = ""
    seller: str = ""
    currency: str = ""
    bank: str = ""
    status: PayoutStatus = PayoutStatus.NONE
    amount: int = 0
    entries: tuple[PayoutEntry, ...] = ()
    sum: e.PayoutSum = e.PayoutSum(0, 0)
    minimum: int = 0
    fee: int = 0
    idempotency_key: str = ""
    bank_ref: str = ""
    reason: str = ""
    reports: Mapping[tuple[str, str], int] = {}
    doubts: int = 0
    queries: int = 0
    sent: int = 0
    back: int = 0
    sent_seen: int = 0
    back_seen: int = 0
    seen_in: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.status is not PayoutStatus.NONE

    @property
    def waits(self) -> tuple[timedelta, ...]:
        """How long to wait before each query; none where the bank was not asked or has answered."""
        if not self.doubts or self.status not in TRANSIT:
            return ()
        is_known = self.status is PayoutStatus.IN_TRANSIT
        return JANITOR[OperationStatus.PENDING if is_known else OperationStatus.UNKNOWN]

    def next_query_at(self, queries: int, since: datetime) -> datetime | None:
        """Return when to ask next after ``queries`` queries; None: a person must find out."""
        return since + self.waits[queries] if queries < len(self.waits) else None

    def is_only_seen(self, kind: str) -> bool:
        """Tell whether nobody but bank statements reported a kind of thing."""
        references = [reference for one, reference in self.reports if one == kind]
        return bool(references) and all(one in self.seen_in for one in references)


INITIAL: Final = PayoutState()


def _scheduled(state: PayoutState, event: e.PayoutScheduled) -> PayoutState:
    return replace(
        state,
        payout_id=event.payout_id,
        seller=event.seller,
        currency=event.currency,
        bank=event.bank,
        status=PayoutStatus.SCHEDULED,
        amount=event.amount,
        entries=event.entries,
        sum=event.sum,
        minimum=event.minimum,
    )


def _initiated(state: PayoutState, event: e.PayoutInitiated) -> PayoutState:
    return replace(state, status=PayoutStatus.IN_TRANSIT, idempotency_key=event.idempotency_key)


def _cancelled(state: PayoutState, event: e.PayoutCancelled) -> PayoutState:
    return replace(state, status=PayoutStatus.CANCELLED, reason=event.reason)


def _pending(state: PayoutState, event: e.PayoutPending) -> PayoutState:
    return replace(
        state,
        status=PayoutStatus.IN_TRANSIT,
        bank_ref=event.bank_ref,
        reason=event.reason,
        doubts=state.doubts + 1,
        queries=0,
    )


def _unknown(state: PayoutState, event: e.PayoutOutcomeUnknown) -> PayoutState:
    # Another cause of the same doubt does not begin the schedule anew.
    is_new = state.status is not PayoutStatus.UNKNOWN
    return replace(
        state,
        status=PayoutStatus.UNKNOWN,
        reason=event.cause,
        doubts=state.doubts + is_new,
        queries=0 if is_new else state.queries,
    )


def _queried(state: PayoutState, _event: e.PayoutQueried) -> PayoutState:
    return replace(state, queries=state.queries + 1)


def _reported(
    state: PayoutState, kind: str, bank_ref: str, amount: int
) -> Mapping[tuple[str, str], int]:
    return {**state.reports, (kind, bank_ref): amount}


def _paid(state: PayoutState, event: e.PayoutPaid) -> PayoutState:
    return replace(
        state,
        status=PayoutStatus.PAID,
        amount=event.amount,
        sent=state.sent + event.amount,
        bank_ref=event.bank_ref,
        reason="",
        reports=_reported(state, "paid", event.bank_ref, event.amount),
    )


def _failed(state: PayoutState, event: e.PayoutFailed) -> PayoutState:
    return replace(
        state,
        status=PayoutStatus.FAILED,
        back=state.back + (event.amount if event.was_paid else 0),
        bank_ref=event.bank_ref,
        reason=event.reason,
        reports=_reported(state, "failed", event.bank_ref, 0),
    )


def _returned(state: PayoutState, event: e.PayoutReturned) -> PayoutState:
    # Of one in transit nobody had said that it was paid.
    sent = event.amount if state.status in TRANSIT else 0
    return replace(
        state,
        status=PayoutStatus.RETURNED,
        sent=state.sent + sent,
        back=state.back + event.amount - event.fee,
        fee=state.fee + event.fee,
        bank_ref=event.bank_ref,
        reason=event.reason,
        reports=_reported(state, "returned", event.bank_ref, event.fee),
    )


def _seen(state: PayoutState, event: e.PayoutSeenOnBank) -> PayoutState:
    if event.amount < 0:
        state = replace(state, sent_seen=state.sent_seen - event.amount)
    else:
        state = replace(state, back_seen=state.back_seen + event.amount)
    return replace(state, seen_in=(*state.seen_in, event.reference))


def _kept(state: PayoutState, event: e.PayoutReportKept) -> PayoutState:
    return replace(state, reports=_reported(state, event.kind, event.bank_ref, event.amount))


def _anomaly(state: PayoutState, event: AnomalyRaised | AnomalyResolved) -> PayoutState:
    return replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[dict[type[Event], Callable[[Any, Any], PayoutState]]] = {
    e.PayoutScheduled: _scheduled,
    e.PayoutInitiated: _initiated,
    e.PayoutCancelled: _cancelled,
    e.PayoutPending: _pending,
    e.PayoutOutcomeUnknown: _unknown,
    e.PayoutQueried: _queried,
    e.PayoutPaid: _paid,
    e.PayoutFailed: _failed,
    e.PayoutReturned: _returned,
    e.PayoutSeenOnBank: _seen,
    e.PayoutReportKept: _kept,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
