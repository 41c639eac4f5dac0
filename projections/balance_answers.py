"""
What the balance model is asked and what it answers. Amounts in minor units of the currency.
"""

from datetime import datetime

import msgspec

from orderledger.ledger.accounts import Side
from orderledger.ledger.journal import Layer


class TrialBalanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    One account in one currency: its balance on the side where it stands.

    ``debit`` and ``credit`` are in minor units, at least one of them zero.
    """

    account: str
    currency: str
    debit: int
    credit: int


class CurrencyTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The two column sums of a currency, in minor units; equal, or the book is wrong."""

    currency: str
    debit: int
    credit: int


class TrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """
    Every account with a balance, by account and currency, and the sums per currency.

    ``position`` is the last one that is included.
    """

    position: int
    recorded_to: datetime | None
    effective_to: datetime | None
    layer: Layer
    rows: tuple[TrialBalanceRow, ...]
    totals: tuple[CurrencyTotal, ...]

    @property
    def is_balanced(self) -> bool:
        """Tell whether debits equal credits in every currency."""
        return all(total.debit == total.credit for total in self.totals)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """
    An account that was posted to or held on: its class in the chart and when it was used.

    ``first_effective_at`` and ``last_effective_at`` are the earliest and latest effective instants.
    """

    account: str
    side: Side
    must_be_zero: bool
    line_count: int
    first_effective_at: datetime
    last_effective_at: datetime
    first_position: int
    last_position: int


class Uncleared(msgspec.Struct, frozen=True, kw_only=True):
    """
    An account that must be zero once its subject is closed, and is not.

    ``minor`` is signed, debit positive; ``subject`` is what the account is of (an order, a
    chargeback, a payout). It has not been zero since the instant ``since`` of the world's clock,
    when the event at ``position`` moved it.
    """

    account: str
    currency: str
    subject: str
    minor: int
    since: datetime
    position: int


class EntryLine(msgspec.Struct, frozen=True):
    """One leg: signed minor units, debit positive."""

    account: str
    currency: str
    layer: Layer
    minor: int


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its postings, as decided then."""

    position: int
    recorded_at: datetime
    effective_at: datetime
    stream: str
    version: int
    topic: str
    lines: tuple[EntryLine, ...]


class JournalFilter(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which entries: those that touch ``account`` (empty: all), within inclusive bounds.

    ``first_position`` and ``last_position`` bound the log, ``effective_from`` and ``effective_to``
    the world's clock, ``recorded_to`` the engine's.
    """

    account: str = ""
    first_position: int = 1
    last_position: int | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    recorded_to: datetime | None = None


class StatementRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which statement: one account and currency over [``start``, ``end``) of the world's clock."""

    account: str
    currency: str
    start: datetime
    end: datetime
    recorded_to: datetime | None = None
    layer: Layer = Layer.POSTED


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One posting of a statement and the balance after it, in signed minor units."""

    position: int
    line_no: int
    effective_at: datetime
    recorded_at: datetime
    minor: int
    balance: int


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """
    opening + Σ lines = closing, in signed minor units, debit positive.

    The same request with the same ``recorded_to`` gives the same statement for ever, byte for byte
    in JSON, whatever is recorded later. Where none was asked for, ``recorded_to`` is that of the
    last event known; it is None only for an empty book. Lines are by effective_at, then by
    position.
    """

    account: str
    currency: str
    layer: Layer
    start: datetime
    end: datetime
    recorded_to: datetime | None
    opening: int
    lines: tuple[StatementLine, ...]
    closing: int
