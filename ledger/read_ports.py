"""
The port between the balances and the rows they are read from: the table of postings, and questions.

The table belongs to the read model ``balances`` and is derived as every read model is; what is
asked of it is more than rows by key, so that each engine answers in SQL of its own.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec

from .journal import Layer
from .model_ports import Generation

POSTINGS: Final = "postings"
"""The table of the read model ``balances``: a row per posting, in the order of ``JournalLine``."""


class JournalLine(msgspec.Struct, frozen=True, gc=False):
    """
    One posting of an event in the log. ``line_no`` counts the legs of the entry from 1.

    ``minor`` is in signed minor units, debit positive; ``effective_at`` is the world's clock,
    ``recorded_at`` the engine's.
    """

    position: int
    line_no: int
    account: str
    currency: str
    layer: Layer
    minor: int
    effective_at: datetime
    recorded_at: datetime


class LineSelection(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which lines a query is about; None and empty leave a condition out.

    ``until`` bounds the position: since recorded_at increases with the position, it stands for the
    recorded clock too. ``account`` is one account, ``below`` an account and all accounts under it.
    ``effective_from`` and ``effective_to`` are both inclusive.
    """

    until: int
    account: str = ""
    below: str = ""
    currency: str = ""
    layer: Layer | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None


class AccountTotal(msgspec.Struct, frozen=True, gc=False):
    """The sum of the selected lines of one account: signed minor units, debit positive."""

    account: str
    currency: str
    layer: Layer
    minor: int


class AccountUse(msgspec.Struct, frozen=True, gc=False):
    """When an account was used, on both clocks' terms: effective instants and log positions."""

    account: str
    line_count: int
    first_effective_at: datetime
    last_effective_at: datetime
    first_position: int
    last_position: int


class AccountSum(msgspec.Struct, frozen=True, gc=False):
    """
    The selected lines of one account in one currency, in all layers selected.

    ``minor`` is their sum, debit positive; ``first_effective_at`` the earliest effective instant.
    """

    account: str
    currency: str
    minor: int
    first_effective_at: datetime


class Journal(Protocol):
    """
    Questions about the postings of one generation of the balances. Any method from any thread.

    Raises SchemaMismatch where the generation was dropped, Unavailable (and its kinds) or
    StorageError where the database fails.
    """

    def totals(self, generation: Generation, selection: LineSelection) -> Sequence[AccountTotal]:
        """
        Return the sums per (account, currency, layer) in that order, exact at any size.

        Cost: the lines of the selected accounts, read from an index alone.
        """
        ...

    def sums(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[str, str],
        limit: int,
    ) -> Sequence[AccountSum]:
        """
        Return sums per (account, currency) in that order, after such a pair, at most ``limit``.

        A page costs the lines of its own accounts: for answers longer than memory.
        """
        ...

    def uses(self, generation: Generation, selection: LineSelection) -> Sequence[AccountUse]:
        """Return one row per account with selected lines, by name."""
        ...

    def lines(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[int, int],
        limit: int,
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order, after a (position, line_no), at most ``limit``."""
        ...

    def lines_by_effect(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[datetime, int, int] | None,
        limit: int,
    ) -> Sequence[JournalLine]:
        """
        Return selected lines by (effective_at, position, line_no), after such a key.

        The selection names one account, one currency and one layer.
        """
        ...
