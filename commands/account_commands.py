"""
Commands on accounts (constraints) and on the manual journal.
"""

from typing import ClassVar

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.account_events import ConstraintKind, Direction, JournalLeg
from orderledger.ledger.journal import Layer

from .decision import Command


class OfAccount(Command, frozen=True, kw_only=True):
    """Any command on the constraints of an account."""

    account: str

    def streams(self) -> tuple[str, ...]:
        return (streams.account(self.account),)


class ConstrainAccount(OfAccount, frozen=True, kw_only=True):
    """
    Put a limit on an account's posted balance: no_debit_balance, no_credit_balance, floor, ceiling.

    ``currency`` None means every currency; a floor or ceiling needs one. ``limit`` is in minor
    units on the account's normal side.
    """

    kind: ConstraintKind
    currency: str | None = None
    limit: int | None = None


class FreezeAccount(OfAccount, frozen=True, kw_only=True):
    """Let nothing be posted to or held on an account until the freeze is lifted."""

    reason: str


class CloseAccount(OfAccount, frozen=True, kw_only=True):
    """Close an account for good; every balance must be zero."""

    reason: str


class LiftConstraint(OfAccount, frozen=True, kw_only=True):
    """End a limit or a freeze."""

    kind: ConstraintKind
    currency: str | None = None
    reason: str = ""


Constraining = ConstrainAccount | FreezeAccount | CloseAccount
"""The commands that must see the account's balance over every committed event."""


class PostingInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A leg as a command gives it: ``minor`` is signed, debit positive, in minor units."""

    account: str
    currency: str
    minor: int
    layer: Layer = Layer.POSTED

    def leg(self) -> JournalLeg:
        """Return the leg as an event states it: a positive amount and its side."""
        side = Direction.DEBIT if self.minor > 0 else Direction.CREDIT
        return JournalLeg(self.account, self.currency, abs(self.minor), side, self.layer)


class OfJournal(Command, frozen=True, kw_only=True):
    """Any command on one journal entry."""

    entry_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.journal(self.entry_id),)


class NewEntry(OfJournal, frozen=True, kw_only=True):
    """
    Any command that posts a new entry. ``adjusts`` names an earlier one that it corrects.

    ``occurred_at`` may lie in the past: the entry is then back-dated, and writes only its own rows.
    """

    adjusts: str | None = None

    def creates(self) -> tuple[str, ...]:
        return (streams.journal(self.entry_id),)


class PostEntry(NewEntry, frozen=True, kw_only=True):
    """Post a free entry: at least two legs, zero per layer and currency."""

    description: str
    postings: tuple[PostingInput, ...]


class ReverseEntry(OfJournal, frozen=True, kw_only=True):
    """
    Undo an entry, wholly or in part, by negated legs.

    With ``numerator``/``denominator`` that share of every leg as posted; with ``postings`` these
    legs (signed as the reversal posts them); with neither, all that is left. Reversals of one
    entry sum to at most the entry, per leg; a reversal itself cannot be reversed.
    """

    reversal_id: str
    reason: str
    numerator: int | None = None
    denominator: int | None = None
    postings: tuple[PostingInput, ...] = ()


class RecordSettlement(NewEntry, frozen=True, kw_only=True):
    """Report that a provider paid ``gross`` less ``fee`` into a bank account."""

    is_observation: ClassVar[bool] = True

    provider: str
    bank: str
    gross: int
    fee: int
    currency: str


class ConvertCurrency(NewEntry, frozen=True, kw_only=True):
    """Book that the bank turned one currency into another."""

    bank: str
    sold: int
    sold_currency: str
    bought: int
    bought_currency: str


class RealiseFxResult(NewEntry, frozen=True, kw_only=True):
    """
    Book the gain or loss of a conversion: ``received`` by the bank against ``booked`` earlier.
    """

    booked: int
    received: int
    currency: str


class RemitTax(NewEntry, frozen=True, kw_only=True):
    """Pay collected tax to its authority."""

    jurisdiction: str
    bank: str
    amount: int
    currency: str


class WriteOffDebt(NewEntry, frozen=True, kw_only=True):
    """
    Give up a seller's debt. ``debt`` is what the caller saw the seller owe; ``amount`` is at most
    that. The seller's stream notes it; ``cause_event`` names what made the debt.
    """

    seller: str
    amount: int
    currency: str
    debt: int
    reason: str
    cause_event: str = ""

    def streams(self) -> tuple[str, ...]:
        return (*super().streams(), streams.seller(self.seller, self.currency))
