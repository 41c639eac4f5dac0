"""
Who takes part in a dispute, and how the amount in dispute is divided between them.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec


class Party(StrEnum):
    """Who may receive a part of the amount in dispute; buyer and seller are its two sides."""

    BUYER = "buyer"
    SELLER = "seller"
    PLATFORM = "platform"


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one party is to receive of the amount in dispute, in minor units, zero or more."""

    party: Party
    amount: int


def other_side(side: Party) -> Party:
    """Return the seller for the buyer and the buyer for anybody else."""
    return Party.SELLER if side is Party.BUYER else Party.BUYER


def by_party(allocations: Iterable[Allocation]) -> Mapping[Party, int]:
    """Return party → amount, in the order of ``Party``; parties that are not named are left out."""
    named = {one.party: one.amount for one in allocations}
    return {party: named[party] for party in Party if party in named}


def split(side: Party, amount: int, whole: int) -> tuple[Allocation, ...]:
    """Return the division that gives ``amount`` to one side and the rest to the other."""
    return (Allocation(side, amount), Allocation(other_side(side), whole - amount))
