"""
Commands on settlement batches: a provider's file, its lines, and what does not agree with the book.
"""

from typing import ClassVar

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.settlement_events import (
    BreakAction,
    FeeLimit,
    SettlementLine,
    StatedBalance,
)

from .decision import Command


class OfSettlement(Command, frozen=True, kw_only=True):
    """Any command on one settlement batch of a provider."""

    provider: str
    batch: str

    def streams(self) -> tuple[str, ...]:
        return (streams.settlement(self.provider, self.batch),)


class ImportSettlementFile(OfSettlement, frozen=True, kw_only=True):
    """
    Begin a batch with the file that a provider sent; its lines follow one by one.

    The same file again changes nothing; another file for the same batch is refused. ``bank`` is
    the account where payouts arrive. ``tolerance``: a difference up to so many minor units is
    posted to the variance account. A fee above ``fee_limit`` becomes a break. ``balances`` are
    what the file states, or what is known of its opening, closing and payout.
    """

    sha256: str
    format: str
    line_count: int
    bank: str
    tolerance: int = 0
    fee_limit: FeeLimit | None = None
    balances: tuple[StatedBalance, ...] = ()

    def creates(self) -> tuple[str, ...]:
        return (streams.settlement(self.provider, self.batch),)


class RecordSettlementLine(OfSettlement, frozen=True, kw_only=True):
    """
    Report one line of a file that was received; its number makes it recognisable.

    ``candidates`` are payments that it may be about, from the read model of references; which of
    them it settles is decided on their states. A line of an operation whose outcome was not known
    resolves it.
    """

    is_observation: ClassVar[bool] = True

    line: SettlementLine
    candidates: tuple[str, ...] = ()

    def streams(self) -> tuple[str, ...]:
        own = streams.settlement(self.provider, self.batch)
        return (own, *[streams.payment(one) for one in self.candidates])


class OperationName(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An operation of a payment."""

    payment_id: str
    op_id: str


class MatchLine(OfSettlement, frozen=True, kw_only=True):
    """
    Match a line that has an open break.

    With ``operations`` it settles these, whatever the rules say; a difference up to ``tolerance``
    minor units goes to the variance account. Without, the rules are tried again on the payments
    ``candidates``; where they find nothing, nothing changes.
    """

    line_no: int
    by: str
    operations: tuple[OperationName, ...] = ()
    candidates: tuple[str, ...] = ()
    tolerance: int = 0

    def streams(self) -> tuple[str, ...]:
        own = streams.settlement(self.provider, self.batch)
        payments = [*self.candidates, *(one.payment_id for one in self.operations)]
        return (own, *[streams.payment(one) for one in dict.fromkeys(payments)])


class ResolveBreak(OfSettlement, frozen=True, kw_only=True):
    """
    End a break.

    BOOKED posts its amount to ``account`` (of a currency difference: between the two currencies,
    without an account). ACCEPTED posts nothing: the file is wrong, or the amount was posted
    elsewhere. MATCHED is for an operation that was missing and has been settled since.
    """

    break_id: str
    action: BreakAction
    by: str
    reason: str
    account: str = ""


class ReportMissingOperation(OfSettlement, frozen=True, kw_only=True):
    """
    Raise a break for an operation that succeeded long ago and is in no settlement.

    Which ones there are is asked of the read model; an operation that was settled meanwhile, or
    never succeeded, changes nothing.
    """

    payment_id: str
    op_id: str

    def streams(self) -> tuple[str, ...]:
        own = streams.settlement(self.provider, self.batch)
        return (own, streams.payment(self.payment_id))


class CloseBatch(OfSettlement, frozen=True, kw_only=True):
    """Sign off a batch that balances and has no open break."""

    by: str
