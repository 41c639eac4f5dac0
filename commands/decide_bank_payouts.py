"""
Payouts to sellers on a bank statement: the money that left, and what of it came back.

A line is a report of the bank as any other: what nobody had reported yet it reports, and what was
reported it marks as seen, so that it is shown once.
"""

from typing import Final

from orderledger.ledger import streams
from orderledger.ledger.bank_events import BankSubject
from orderledger.ledger.bank_statements import StatementState
from orderledger.ledger.payout_events import PayoutSeenOnBank
from orderledger.ledger.payouts import TRANSIT, PayoutState, PayoutStatus

from .decide_bank_subjects import Arrival, Expected, shows
from .decide_payout_reports import record_paid, record_returned
from .decision import Change, Changes, States
from .payout_commands import RecordPayoutPaid, RecordPayoutReturned

SELLER_PAYOUT: Final = "seller_payout"
"""The money of a payout leaves the account."""
SELLER_PAYOUT_RETURNED: Final = "seller_payout_returned"
"""The money of a payout comes back."""


def _known(subject: BankSubject, statement: StatementState, states: States) -> PayoutState | None:
    state = states.payout(subject.id)
    is_here = (state.bank, state.currency) == (statement.bank, statement.currency)
    return state if state.exists and is_here and not subject.line_no else None


def _references(state: PayoutState) -> tuple[str, ...]:
    reported = [reference for _, reference in state.reports]
    names = (state.payout_id, state.idempotency_key, state.bank_ref, *reported)
    return tuple(dict.fromkeys([one for one in names if one]))


def _expect_sent(
    subject: BankSubject, statement: StatementState, states: States
) -> Expected | None:
    """
    Return what left the account and was not seen, or will leave it.

    A payout that the bank was not asked for, or that was given up, may be paid all the same; only
    its name shows that.
    """
    state = _known(subject, statement, states)
    if state is None:
        return None
    unseen = state.sent - state.sent_seen
    if unseen > 0:
        return Expected(-unseen, _references(state))
    if state.sent:
        return None
    return Expected(-state.amount, _references(state), is_surprising=state.status not in TRANSIT)


def _sent(subject: BankSubject, arrival: Arrival, states: States) -> Changes:
    state, event = states.payout(subject.id), _seen(arrival)
    seen = Change(streams.payout(subject.id), event)
    if state.sent > state.sent_seen:
        return (seen,)
    report = RecordPayoutPaid(
        payout_id=subject.id, bank_ref=event.reference, amount=-arrival.amount
    )
    return (*record_paid(report, states, arrival.line.booked_at), seen)


def _expect_back(
    subject: BankSubject, statement: StatementState, states: States
) -> Expected | None:
    """Return what came back and was not seen; of one that is out only its name shows a return."""
    state = _known(subject, statement, states)
    if state is None:
        return None
    unseen = state.back - state.back_seen
    if unseen > 0:
        return Expected(unseen, _references(state))
    if state.status is not PayoutStatus.PAID and state.status not in TRANSIT:
        return None
    return Expected(state.amount, _references(state), is_surprising=True)


def _back(subject: BankSubject, arrival: Arrival, states: States) -> Changes:
    state, event = states.payout(subject.id), _seen(arrival)
    seen = Change(streams.payout(subject.id), event)
    if state.back > state.back_seen:
        return (seen,)
    report = RecordPayoutReturned(
        payout_id=subject.id, bank_ref=event.reference, reason="seen on the bank statement"
    )
    return (*record_returned(report, states, arrival.line.booked_at), seen)


def _seen(arrival: Arrival) -> PayoutSeenOnBank:
    return PayoutSeenOnBank(
        bank=arrival.statement.bank,
        statement=arrival.statement.statement,
        bank_line=arrival.line.line_no,
        amount=arrival.amount,
    )


shows(SELLER_PAYOUT, _expect_sent, _sent)
shows(SELLER_PAYOUT_RETURNED, _expect_back, _back)
