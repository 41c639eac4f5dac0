"""
Commands on a seller's account in one currency, and on a seller's standing.

Amounts are integer minor units of the account's currency.
"""

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.instants import Instant
from orderledger.ledger.seller_events import ReserveTerms, Standing

from .decision import Command


class SeenBalance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """
    What the caller saw of a seller's account, as a row of the view ``seller_payables`` has it.

    ``payable`` is the balance of ``liabilities:seller:{s}``, credit positive: below zero the seller
    owes it. ``seller_version`` is the number of events of the seller's stream by then; where it has
    more by now, the command is refused, and the caller looks again.
    """

    payable: int
    seller_version: int


class OfSeller(Command, frozen=True, kw_only=True):
    """Any command on a seller's account in one currency."""

    seller: str
    currency: str

    def streams(self) -> tuple[str, ...]:
        return (streams.seller(self.seller, self.currency),)


class SetReserve(OfSeller, frozen=True, kw_only=True):
    """Let a part of each later payout stay back for some days; ``terms`` None ends that."""

    terms: ReserveTerms | None
    reason: str = ""


class TakeReserve(OfSeller, frozen=True, kw_only=True):
    """
    Move an amount of what the seller is owed to the rolling reserve.

    It goes back at ``matures_at``; None: after as many days as the terms of the reserve say.
    """

    reserve_id: str
    amount: int
    seen: SeenBalance
    matures_at: Instant | None = None
    reason: str = ""


class ReleaseReserve(OfSeller, frozen=True, kw_only=True):
    """
    Give back what is left of a reserve at its maturity, or ``is_early`` before it, with a reason.

    ``amount`` None: all of it. A sweeper runs it for each reserve that has matured.
    """

    reserve_id: str
    amount: int | None = None
    is_early: bool = False
    reason: str = ""


class ImposePenalty(OfSeller, frozen=True, kw_only=True):
    """Hold a breach of a rule against the seller, and charge ``amount`` for it (0: nothing)."""

    penalty_id: str
    rule_ref: str
    amount: int = 0
    until: Instant | None = None
    reason: str = ""


class LiftPenalty(OfSeller, frozen=True, kw_only=True):
    """Take a penalty back, with what was charged for it."""

    penalty_id: str
    reason: str = ""


class ResolveSellerAnomaly(OfSeller, frozen=True, kw_only=True):
    """Close an anomaly of the seller's stream: a report that a constraint of an account forbade."""

    anomaly_id: str
    by: str
    resolution: str
    compensations: tuple[str, ...] = ()


class OfStanding(Command, frozen=True, kw_only=True):
    """Any command on a seller's standing, which holds in every currency."""

    seller: str

    def streams(self) -> tuple[str, ...]:
        return (streams.standing(self.seller),)


class ChangeSellerStanding(OfStanding, frozen=True, kw_only=True):
    """
    Record a seller's standing by a score of 0 to 10000 (hundredths of a per cent).

    ``policy`` names the thresholds that gave it (``ledger/standing_policy.py``), ``cause_event``
    what it was decided on. The same standing and score again is nothing new.
    """

    score: int
    standing: Standing
    policy: str = ""
    cause_event: str = ""


class SuspendSeller(OfStanding, frozen=True, kw_only=True):
    """Pay nothing out to the seller any more; what is in transit goes on."""

    reason: str
    by: str


class ReinstateSeller(OfStanding, frozen=True, kw_only=True):
    """End a suspension."""

    reason: str
    by: str
