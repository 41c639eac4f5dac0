"""
Why a balance is what it is: every posting that sums to it, with its cause.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from orderledger.ledger.as_of import Point
from orderledger.ledger.errors import IntegrityViolation
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.projections.balances import Balances, JournalFilter

from .causes import Cause, cause_of


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an entry adds to the balance, and the balance with it, in signed minor units.

    ``minor`` sums the legs of one entry on the account, which are several where it is debited and
    credited at once.
    """

    minor: int
    balance: int
    cause: Cause


class Explanation:
    """
    A balance as of a point, and the contributions that sum to it, in log order.

    Iterating reads them a page at a time; raises IntegrityViolation at the end where they do not
    sum to the balance.
    """

    def __init__(
        self, balances: Balances, account: str, currency: str, layer: Layer, point: Point
    ) -> None:
        self._balances: Final = balances
        self.account: Final = account
        self.currency: Final = currency
        self.layer: Final = layer
        self.point: Final = point
        self.minor: Final = balances.balance_at(account, currency, layer, point)
        """The balance in signed minor units, debit positive."""

    def __iter__(self) -> Iterator[Contribution]:
        balance = 0
        wanted = JournalFilter(
            account=self.account,
            last_position=self.point.position,
            effective_to=self.point.effective_to,
        )
        for row in self._balances.events(wanted):
            legs = [
                leg.minor
                for leg in decode_entry(row.postings).postings
                if (leg.account, leg.currency, leg.layer)
                == (self.account, self.currency, self.layer)
            ]
            if legs:
                balance += sum(legs)
                yield Contribution(minor=sum(legs), balance=balance, cause=cause_of(row))
        if balance != self.minor:
            raise IntegrityViolation(
                f"the entries on {self.account} come to {balance} {self.currency} minor units, its "
                f"balance is {self.minor}; run `orderledger verify`",
                account=self.account,
                currency=self.currency,
                position=self.point.position,
            )
