"""
Events of constrained accounts (stream ``account-{name}``) and of manual journal entries
(stream ``journal-{entry_id}``).
"""

from enum import StrEnum

import msgspec

from .events import Event, topic
from .journal import Layer


class ConstraintKind(StrEnum):
    """What a constraint forbids. Limits are on the posted balance, seen from the normal side."""

    NO_DEBIT_BALANCE = "no_debit_balance"
    NO_CREDIT_BALANCE = "no_credit_balance"
    FLOOR = "floor"
    CEILING = "ceiling"
    FROZEN = "frozen"
    CLOSED = "closed"


class Direction(StrEnum):
    """The side of a leg."""

    DEBIT = "debit"
    CREDIT = "credit"


class AccountBalance(msgspec.Struct, frozen=True):
    """A balance in one layer and currency: a positive amount and its side."""

    layer: Layer
    currency: str
    amount: int
    direction: Direction


@topic("account.constrained.v1")
class AccountConstrained(Event, frozen=True, kw_only=True):
    """
    From here on the account obeys a limit on its posted balance.

    ``currency`` None means every currency. ``limit`` of a floor or ceiling is in minor units on
    the account's normal side and may be negative (a credit line). ``opening`` is the balance when
    the account got its first constraint, empty later.
    """

    account: str
    kind: ConstraintKind
    currency: str | None = None
    limit: int | None = None
    opening: tuple[AccountBalance, ...] = ()


@topic("account.frozen.v1")
class AccountFrozen(Event, frozen=True, kw_only=True):
    """Nothing may be posted to or held on the account until the freeze is lifted."""

    account: str
    reason: str
    opening: tuple[AccountBalance, ...] = ()


@topic("account.closed.v1")
class AccountClosed(Event, frozen=True, kw_only=True):
    """Nothing is posted to the account any more; every balance was zero."""

    account: str
    reason: str
    opening: tuple[AccountBalance, ...] = ()


@topic("account.constraint_lifted.v1")
class ConstraintLifted(Event, frozen=True, kw_only=True):
    """A limit or a freeze ended."""

    account: str
    kind: ConstraintKind
    currency: str | None = None
    reason: str = ""


@topic("account.moved.v1")
class AccountMoved(Event, frozen=True, kw_only=True):
    """
    The net effect of one entry on a constrained account in one layer and currency.

    ``stream`` is that of the event that carries the entry, which stands just before.
    """

    account: str
    stream: str
    layer: Layer
    currency: str
    amount: int
    direction: Direction

    @classmethod
    def of(
        cls, account: str, layer: Layer, currency: str, minor: int, stream: str
    ) -> "AccountMoved":
        """Build it from signed minor units, debit positive."""
        return cls(
            account=account,
            stream=stream,
            layer=layer,
            currency=currency,
            amount=abs(minor),
            direction=Direction.CREDIT if minor < 0 else Direction.DEBIT,
        )


class JournalLeg(msgspec.Struct, frozen=True, gc=False):
    """One leg of a manual entry: a positive amount in minor units and its side."""

    account: str
    currency: str
    amount: int
    direction: Direction
    layer: Layer = Layer.POSTED


class JournalKind(StrEnum):
    """What a journal entry is: free, or one of the typed recipes."""

    MANUAL = "manual"
    SETTLEMENT = "settlement"
    CURRENCY_CONVERSION = "currency_conversion"
    FX_RESULT = "fx_result"
    TAX_REMITTANCE = "tax_remittance"
    DEBT_WRITE_OFF = "debt_write_off"


@topic("journal.entry_posted.v1")
class JournalEntryPosted(Event, frozen=True, kw_only=True):
    """An entry was posted that no order or payment event carries. ``adjusts`` names another."""

    entry_id: str
    kind: JournalKind
    description: str
    legs: tuple[JournalLeg, ...]
    adjusts: str | None = None


@topic("journal.entry_reversed.v1")
class JournalEntryReversed(Event, frozen=True, kw_only=True):
    """Part or all of an entry was undone; ``legs`` are the reversing ones, already negated."""

    entry_id: str
    reversal_id: str
    reason: str
    legs: tuple[JournalLeg, ...]
