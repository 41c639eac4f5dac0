"""
Commands on payouts: intentions, which may be refused, and ``Record…`` reports of the bank, which
may not.

Amounts are integer minor units of the payout's currency.
"""

from typing import ClassVar

import msgspec

from orderledger.ledger import streams

from .decision import Command
from .seller_commands import SeenBalance


class ReleasedSlice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """
    A release to be paid out. ``amount`` is what the caller expects it to be worth now; None: any.
    """

    order_id: str
    release_id: str
    amount: int | None = None


class OfPayout(Command, frozen=True, kw_only=True):
    """Any command on a payout."""

    payout_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.payout(self.payout_id),)


class SchedulePayout(OfPayout, frozen=True, kw_only=True):
    """
    Decide a payout of released slices, each to be paid with all that the seller still has of it.

    What earlier payouts did not pay and what came back from the reserve is paid with them; debts,
    the rolling reserve, and what the seller's balance lacks are kept back. The rest must be more
    than ``minimum``. ``bank`` is the account that pays. Without entries only the former is paid.
    """

    seller: str
    currency: str
    bank: str
    seen: SeenBalance
    entries: tuple[ReleasedSlice, ...] = ()
    minimum: int = 0

    def streams(self) -> tuple[str, ...]:
        return (
            streams.payout(self.payout_id),
            streams.seller(self.seller, self.currency),
            streams.standing(self.seller),
            *dict.fromkeys([streams.order(one.order_id) for one in self.entries]),
        )

    def creates(self) -> tuple[str, ...]:
        return (streams.payout(self.payout_id),)


class InitiatePayout(OfPayout, frozen=True, kw_only=True):
    """
    Ask the bank to pay; appended before it is called.

    ``idempotency_key`` is the bank's, by default the payout's id. Refused where refunds or freezes
    took of the entries since: cancel the payout and schedule another one.
    """

    seen: SeenBalance
    idempotency_key: str = ""


class QueryPayout(OfPayout, frozen=True, kw_only=True):
    """Note that the bank was asked about a payout and what it said, if inconclusive."""

    result: str


class CancelPayout(OfPayout, frozen=True, kw_only=True):
    """Give up a payout that the bank was not asked for; its entries are free again."""

    reason: str


class OfBank(OfPayout, frozen=True, kw_only=True):
    """Any report of the bank on a payout."""

    is_observation: ClassVar[bool] = True


class RecordPayoutPending(OfBank, frozen=True, kw_only=True):
    """Report that the bank works on it."""

    bank_ref: str
    reason: str = ""


class RecordPayoutUnknown(OfBank, frozen=True, kw_only=True):
    """Report that nobody knows what became of it: a timeout, a crash."""

    cause: str


class RecordPayoutPaid(OfBank, frozen=True, kw_only=True):
    """Report that the bank paid ``amount``; None and no currency: as it was asked to."""

    bank_ref: str
    amount: int | None = None
    currency: str = ""


class RecordPayoutFailed(OfBank, frozen=True, kw_only=True):
    """Report that the bank did not pay, or took back that it had: all of it is here."""

    bank_ref: str
    reason: str = ""


class RecordPayoutReturned(OfBank, frozen=True, kw_only=True):
    """Report that the money came back after it was paid, less the ``fee`` that the bank kept."""

    bank_ref: str
    reason: str = ""
    fee: int = 0


class ResolvePayoutAnomaly(OfPayout, frozen=True, kw_only=True):
    """Close an anomaly of a payout, saying who decided what; ``compensations`` are what it took."""

    anomaly_id: str
    by: str
    resolution: str
    compensations: tuple[str, ...] = ()
