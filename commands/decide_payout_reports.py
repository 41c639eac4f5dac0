"""
What the bank reports of a payout becomes events here. Reports are never refused.

A repeat changes nothing. A report that contradicts what is known is recorded with an anomaly in the
payout's stream; where money moved by it, the postings follow the money.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import limits, recipes_seller, streams
from orderledger.ledger import payout_events as p
from orderledger.ledger import seller_events as s
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.journal import EMPTY, Entry, merge
from orderledger.ledger.money import Money
from orderledger.ledger.payouts import (
    EVOLVE,
    GIVEN_UP,
    TRANSIT,
    TRANSITIONS,
    PayoutState,
    PayoutStatus,
)
from orderledger.ledger.sellers import EVOLVE as SELLER_EVOLVE
from orderledger.ledger.sellers import SellerState

from .decide_payouts import debited, existing, freed
from .decision import Change, Changes, States, decides
from .order_guards import check_amount, check_text
from .payout_commands import (
    OfPayout,
    QueryPayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutPending,
    RecordPayoutReturned,
    RecordPayoutUnknown,
)

_S: Final = PayoutStatus


class _Report:
    """The changes of one report as they come about, each on the state that the ones before left."""

    def __init__(self, states: States, command: OfPayout, kind: str, bank_ref: str) -> None:
        check_text("bank_ref", bank_ref)
        self.kind: Final = kind
        self.bank_ref: Final = bank_ref
        self.stream: Final = streams.payout(command.payout_id)
        self.state: PayoutState = states.payout(command.payout_id)
        self.account = SellerState()
        if self.state.exists:
            self.account = states.seller(self.state.seller, self.state.currency)
        self.changes: list[Change] = []

    @property
    def amount(self) -> Money:
        return Money(self.state.amount, self.state.currency)

    def is_expected(self, event: type[Event]) -> bool:
        """Tell whether the report fits where the payout stands."""
        return self.state.status in TRANSITIONS[event][0]

    def add(self, event: Event, posted: Entry = EMPTY) -> None:
        """Append an event to the payout's stream with what it posts."""
        self.state = EVOLVE[type(event)](self.state, event)
        self.changes.append(Change(self.stream, event, posted))

    def tell_seller(self, *changes: Change) -> None:
        """Append changes of the seller's stream."""
        for change in changes:
            self.account = SELLER_EVOLVE[type(change.event)](self.account, change.event)
            self.changes.append(change)

    def free(self, cause: str) -> None:
        """Free the entries, with what is left of the reserve."""
        self.tell_seller(*freed(self.state, self.account, cause))

    def anomaly(self, kind: AnomalyKind, detail: str, severity: str = "critical") -> None:
        """Raise an anomaly, unless the same is open."""
        refs = (self.kind, self.bank_ref)
        event = AnomalyRaised(kind=kind, refs=refs, severity=severity, detail=detail)
        if event.key not in self.state.anomalies:
            self.add(event)

    def contradiction(self, severity: str = "critical") -> None:
        """Raise the anomaly of a report that does not fit; call it before the report's event."""
        self.anomaly(
            AnomalyKind.CONFLICTING_PAYOUT_REPORT,
            f"the bank reports {self.kind} by {self.bank_ref or 'no reference'}, the payout is "
            f"{self.state.status.value}",
            severity,
        )

    def keep(self, amount: int, reason: str = "", kind: str = "") -> None:
        """Keep a report that moves nothing, once."""
        event = p.PayoutReportKept(
            kind=kind or self.kind, bank_ref=self.bank_ref, amount=amount, reason=reason
        )
        if (event.kind, event.bank_ref) not in self.state.reports:
            self.add(event)

    def is_settled(self, amount: int) -> bool:
        """
        Tell whether nothing is left to decide: the report is known, or of no payout of ours.

        The same report with another amount is noted as an anomaly.
        """
        if not self.state.exists:
            self.anomaly(AnomalyKind.UNKNOWN_PAYOUT, f"the bank reports {self.kind} {amount} of it")
            return True
        known = self.state.reports.get((self.kind, self.bank_ref))
        if known is not None and known != amount:
            self.anomaly(
                AnomalyKind.PAYOUT_REPORT_DIFFERS,
                f"the bank reported {known} by {self.bank_ref or 'no reference'} and now {amount}",
            )
        return known is not None

    def done(self) -> Changes:
        return tuple(self.changes)


@decides(RecordPayoutPending)
def record_pending(command: RecordPayoutPending, states: States, now: datetime) -> Changes:
    """Record that the bank works on it; where it is further by now, the report is only kept."""
    check_text("reason", command.reason)
    report = _Report(states, command, "pending", command.bank_ref)
    state = report.state
    if report.is_settled(0):
        return report.done()
    if report.is_expected(p.PayoutPending):
        known = (state.status, state.bank_ref) if state.doubts else None
        if known != (_S.IN_TRANSIT, command.bank_ref):
            report.add(p.PayoutPending(bank_ref=command.bank_ref, reason=command.reason))
        return report.done()
    if state.status in GIVEN_UP or state.status is _S.SCHEDULED:
        report.contradiction("warning")
    report.keep(0, command.reason)
    return report.done()


@decides(RecordPayoutUnknown)
def record_unknown(command: RecordPayoutUnknown, states: States, now: datetime) -> Changes:
    """Record that the outcome is not known; where it is by now, the report is only kept."""
    check_text("cause", command.cause)
    report = _Report(states, command, "unknown", "")
    state = report.state
    if report.is_settled(0):
        return report.done()
    if report.is_expected(p.PayoutOutcomeUnknown):
        if (state.status, state.reason) != (_S.UNKNOWN, command.cause):
            report.add(p.PayoutOutcomeUnknown(cause=command.cause))
        return report.done()
    report.keep(0, command.cause)
    return report.done()


@decides(QueryPayout)
def query_payout(command: QueryPayout, states: States, now: datetime) -> Changes:
    """
    Note an inconclusive query and when to ask again; a person must find out after the last one.

    A conclusive answer is recorded as the report that it is. Raises NotFound, WRONG_STATE.
    """
    check_text("result", command.result)
    state = existing(states, command)
    if not state.waits:
        raise Rejected(
            Reason.WRONG_STATE,
            f"payout {state.payout_id} is {state.status.value}: the bank was not asked for it, or "
            "its answer is known; there is nothing to ask",
            payout_id=state.payout_id,
            status=state.status.value,
        )
    report = _Report(states, command, "query", "")
    next_at = state.next_query_at(state.queries + 1, now)
    report.add(p.PayoutQueried(result=command.result, next_at=next_at))
    if next_at is None:
        report.anomaly(
            AnomalyKind.MANUAL_RESOLUTION_NEEDED,
            f"payout of {state.amount} {state.currency} is {state.status.value}",
            "error",
        )
    return report.done()


@decides(RecordPayoutPaid)
def record_paid(command: RecordPayoutPaid, states: States, now: datetime) -> Changes:
    """
    Record that the bank paid (recipe 23, second half).

    Another amount than was asked for is posted as the bank has it, with an anomaly: the difference
    is the seller's. A payout that was given up is paid all the same, with an anomaly.
    """
    report = _Report(states, command, "paid", command.bank_ref)
    state = report.state
    amount = state.amount if command.amount is None else command.amount
    limits.check_total("amount", amount)
    if report.is_settled(amount):
        return report.done()
    is_foreign = command.currency not in ("", state.currency)
    if amount <= 0 or is_foreign:
        report.anomaly(
            AnomalyKind.PAYOUT_REPORT_UNUSABLE,
            f"the bank reports {amount} {command.currency or state.currency} of a payout of "
            f"{state.amount} {state.currency}; say what it paid in {state.currency}",
        )
        # Under another name, so that the same report can be put right.
        report.keep(amount, kind="unusable")
    elif report.is_expected(p.PayoutPaid):
        _paid(report, amount, is_late=False)
    elif state.status is _S.RETURNED and not _is_reported(state, "paid"):
        # It came back, so that it had been paid before.
        report.keep(amount)
    elif state.status is _S.PAID:
        # What a statement had shown before is reported by the bank's other channel as well.
        if not (state.is_only_seen("paid") and amount == state.amount):
            report.contradiction()
        report.keep(amount)
    else:
        report.contradiction()
        _paid(report, amount, is_late=True)
    return report.done()


def _is_reported(state: PayoutState, kind: str) -> bool:
    return any(one == kind for one, _ in state.reports)


def _paid(report: _Report, minor: int, *, is_late: bool) -> None:
    """Post what the bank paid; what it paid besides the payout's amount is the seller's."""
    state, asked = report.state, report.amount
    amount = Money(minor, state.currency)
    if minor != asked.minor:
        report.anomaly(
            AnomalyKind.PAYOUT_AMOUNT_MISMATCH,
            f"the bank paid {minor}, it was asked for {asked.minor}",
        )
    legs = [recipes_seller.payout_paid(state.payout_id, state.bank, amount)]
    if is_late:
        legs.insert(0, recipes_seller.payout_initiated(state.payout_id, state.seller, amount))
    elif minor < asked.minor:
        rest = Money(asked.minor - minor, state.currency)
        legs.append(recipes_seller.payout_failed(state.payout_id, state.seller, rest))
    elif minor > asked.minor:
        more = Money(minor - asked.minor, state.currency)
        legs.append(recipes_seller.payout_initiated(state.payout_id, state.seller, more))
    was_scheduled = state.status is _S.SCHEDULED
    report.add(p.PayoutPaid(bank_ref=report.bank_ref, amount=minor, is_late=is_late), merge(legs))
    if is_late and not was_scheduled:
        _claim_again(report, minor)
    elif minor != asked.minor:
        event = s.PayoutAmountCorrected(
            seller=state.seller,
            currency=state.currency,
            payout_id=state.payout_id,
            amount=minor,
        )
        report.tell_seller(Change(streams.seller(state.seller, state.currency), event))
    if is_late:
        report.tell_seller(debited(state))


def _claim_again(report: _Report, amount: int) -> None:
    """Take the entries back that no other payout has by now; the others are the seller's debt."""
    state, account = report.state, report.account
    free = [one for one in state.entries if not account.claimed_of(one.order_id, one.release_id)]
    event = s.PayoutClaimed(
        seller=state.seller,
        currency=state.currency,
        payout_id=state.payout_id,
        amount=amount,
        entries=tuple(free),
    )
    report.tell_seller(Change(streams.seller(state.seller, state.currency), event))


@decides(RecordPayoutFailed)
def record_failed(command: RecordPayoutFailed, states: States, now: datetime) -> Changes:
    """
    Record that the bank did not pay (recipe 24, before the debit), or took it back after it had.

    The money is the seller's again, and the entries are free.
    """
    check_text("reason", command.reason)
    report = _Report(states, command, "failed", command.bank_ref)
    state = report.state
    if report.is_settled(0):
        return report.done()
    if not report.is_expected(p.PayoutFailed):
        report.contradiction()
    if state.status in GIVEN_UP:
        report.keep(0, command.reason)
        return report.done()
    was_paid = state.status is _S.PAID
    legs: list[Entry] = []
    if was_paid:
        legs.append(recipes_seller.payout_returned(state.payout_id, state.bank, report.amount, 0))
    if was_paid or state.status in TRANSIT:
        legs.append(recipes_seller.payout_failed(state.payout_id, state.seller, report.amount))
    event = p.PayoutFailed(
        bank_ref=command.bank_ref,
        reason=command.reason,
        amount=state.amount if legs else 0,
        was_paid=was_paid,
    )
    report.add(event, merge(legs))
    report.free("failed")
    return report.done()


@decides(RecordPayoutReturned)
def record_returned(command: RecordPayoutReturned, states: States, now: datetime) -> Changes:
    """
    Record that the money came back, less what the bank kept (recipe 24, after the debit).

    Of a payout that was given up before only the fee is new.
    """
    check_text("reason", command.reason)
    check_amount("fee", command.fee, minimum=0)
    report = _Report(states, command, "returned", command.bank_ref)
    state = report.state
    if report.is_settled(command.fee):
        return report.done()
    is_told_again = state.status is _S.RETURNED and state.is_only_seen("returned")
    if not report.is_expected(p.PayoutReturned) and not is_told_again:
        report.contradiction()
    if state.status is _S.RETURNED or (state.status in GIVEN_UP and command.fee == 0):
        report.keep(command.fee, command.reason)
        return report.done()
    back = Money(0, state.currency)
    legs: list[Entry] = []
    if state.status in TRANSIT:
        # That it was paid has not been reported, and will not be posted any more.
        legs.append(recipes_seller.payout_paid(state.payout_id, state.bank, report.amount))
    if legs or state.status is _S.PAID:
        back = report.amount
        legs.append(recipes_seller.payout_failed(state.payout_id, state.seller, back))
    legs.append(recipes_seller.payout_returned(state.payout_id, state.bank, back, command.fee))
    is_free = state.status in GIVEN_UP
    event = p.PayoutReturned(
        bank_ref=command.bank_ref, reason=command.reason, amount=back.minor, fee=command.fee
    )
    report.add(event, merge(legs))
    if not is_free:
        report.free("returned")
    return report.done()
