"""
What changed in the balances between two instants on either clock, and which entries changed it.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from orderledger.ledger.as_of import Point
from orderledger.ledger.errors import IntegrityViolation
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.ports import StoredEvent
from orderledger.projections.balances import Balances, JournalFilter

from .causes import Cause, cause_of

Account = tuple[str, str]
"""An account and a currency."""
_FIRST: Final = 1


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an entry moved, in signed minor units, debit positive.

    Negative to what it posted where it counts at the first instant and no more at the second.
    """

    minor: int
    cause: Cause


class BalanceChange(msgspec.Struct, frozen=True, kw_only=True):
    """
    An account whose entries differ between two instants, in signed minor units, debit positive.

    ``after`` is ``before`` and what the ``entries`` moved, which may come to nothing.
    """

    account: str
    currency: str
    before: int
    after: int
    entries: tuple[Moved, ...]


def diff_balances(
    balances: Balances, before: Point, after: Point, *, prefix: str = "", layer: Layer
) -> list[BalanceChange]:
    """
    Return the accounts at and below a prefix whose entries differ, by account and currency.

    Raises IntegrityViolation where the entries do not come to what the balances say. Memory: the
    entries between the two instants.
    """
    moved: dict[Account, list[Moved]] = {}
    for row, sign in _between(balances, before, after):
        sums: dict[Account, int] = {}
        for leg in decode_entry(row.postings).postings:
            is_below = not prefix or leg.account == prefix or leg.account.startswith(f"{prefix}:")
            if leg.layer is layer and is_below:
                key = (leg.account, leg.currency)
                sums[key] = sums.get(key, 0) + leg.minor
        for key, minor in sums.items():
            moved.setdefault(key, []).append(Moved(minor=sign * minor, cause=cause_of(row)))
    found = [
        BalanceChange(
            account=account,
            currency=currency,
            before=balances.balance_at(account, currency, layer, before),
            after=balances.balance_at(account, currency, layer, after),
            entries=tuple(entries),
        )
        for (account, currency), entries in sorted(moved.items())
    ]
    _require_explained(found)
    return found


def _between(balances: Balances, before: Point, after: Point) -> Iterator[tuple[StoredEvent, int]]:
    """Yield the entries that count at one of the points alone: 1 where that is the second."""
    is_one_time = before.effective_to == after.effective_to
    first = min(before.position, after.position) + 1 if is_one_time else _FIRST
    last = max(before.position, after.position)
    for row in balances.events(JournalFilter(first_position=first, last_position=last)):
        if before.has(row) != after.has(row):
            yield row, 1 if after.has(row) else -1


def _require_explained(found: Sequence[BalanceChange]) -> None:
    for one in found:
        explained = one.before + sum([entry.minor for entry in one.entries])
        if explained != one.after:
            raise IntegrityViolation(
                f"the balance of {one.account} went from {one.before} to {one.after} "
                f"{one.currency} minor units, its entries come to {explained}; run `orderledger "
                "verify`",
                account=one.account,
                currency=one.currency,
            )
