"""
Events of a payout (stream ``payout-{id}``): what was decided, and what the bank reported.

Amounts are positive integers in minor units of the payout's currency.
"""

from datetime import datetime

import msgspec

from .events import Event, topic
from .seller_events import PayoutEntry


class PayoutSum(msgspec.Struct, frozen=True):
    """
    How the amount of a payout came about:
    entries + carried − debt_recovered − reserve = amount.

    ``carried`` is what earlier payouts claimed and did not pay, and what came back out of the
    reserve; ``reserve`` what goes to the rolling reserve. ``debt_recovered`` is what the seller
    owed: penalties, and what the balance lacks because refunds took of what had been paid out. The
    latter stays claimed, and is paid if the balance ever has it again: a refund that fails.
    """

    entries: int
    amount: int
    carried: int = 0
    debt_recovered: int = 0
    reserve: int = 0


@topic("payout.scheduled.v1")
class PayoutScheduled(Event, frozen=True, kw_only=True):
    """
    A payout was decided. Nothing has moved but the reserve.

    ``payable`` is the balance of ``liabilities:seller:{s}`` that it was decided on (credit
    positive), as seen when the seller's stream had ``seller_version`` events.
    """

    payout_id: str
    seller: str
    currency: str
    bank: str
    amount: int
    entries: tuple[PayoutEntry, ...]
    sum: PayoutSum
    minimum: int
    payable: int
    seller_version: int


@topic("payout.initiated.v1")
class PayoutInitiated(Event, frozen=True, kw_only=True):
    """The bank is asked to pay (recipe 23, first half); appended before it is called."""

    idempotency_key: str
    payable: int
    seller_version: int


@topic("payout.cancelled.v1")
class PayoutCancelled(Event, frozen=True, kw_only=True):
    """A scheduled payout will not be made."""

    reason: str


@topic("payout.pending.v1")
class PayoutPending(Event, frozen=True, kw_only=True):
    """The bank works on it."""

    bank_ref: str
    reason: str = ""


@topic("payout.outcome_unknown.v1")
class PayoutOutcomeUnknown(Event, frozen=True, kw_only=True):
    """Nobody knows whether the bank pays; the money stays in ``liabilities:payouts``."""

    cause: str


@topic("payout.queried.v1")
class PayoutQueried(Event, frozen=True, kw_only=True):
    """
    The bank was asked what became of it, and said nothing conclusive.

    ``next_at`` None: the schedule is exhausted, a person must find out.
    """

    result: str
    next_at: datetime | None = None


@topic("payout.paid.v1")
class PayoutPaid(Event, frozen=True, kw_only=True):
    """
    The bank paid ``amount`` (recipe 23, second half).

    ``is_late``: after it had been given up, or before it was asked for; then the amount leaves the
    seller's account with this event.
    """

    bank_ref: str
    amount: int
    is_late: bool = False


@topic("payout.failed.v1")
class PayoutFailed(Event, frozen=True, kw_only=True):
    """
    The bank did not pay ``amount``, or took back that it had (recipe 24).

    ``was_paid``: the bank's account had been debited, and was credited again.
    """

    bank_ref: str
    reason: str
    amount: int
    was_paid: bool = False


@topic("payout.returned.v1")
class PayoutReturned(Event, frozen=True, kw_only=True):
    """
    ``amount`` came back after the bank had paid it, less the ``fee`` that it keeps (recipe 24).

    ``amount`` 0: the payout had been given up already, and only the fee is new.
    """

    bank_ref: str
    reason: str
    amount: int
    fee: int = 0


@topic("payout.seen_on_bank.v1")
class PayoutSeenOnBank(Event, frozen=True, kw_only=True):
    """
    A line of a bank statement shows that the payout's money left, or came back.

    ``amount`` is signed as the bank has it. It posts nothing: what was paid or returned did.
    """

    bank: str
    statement: str
    bank_line: int
    amount: int

    @property
    def reference(self) -> str:
        """The line as the reference of a report."""
        return f"{self.bank}/{self.statement}/{self.bank_line}"


@topic("payout.report_kept.v1")
class PayoutReportKept(Event, frozen=True, kw_only=True):
    """A report that moves nothing: it was known otherwise. ``amount`` as the bank states it."""

    kind: str
    bank_ref: str
    amount: int
    reason: str = ""
