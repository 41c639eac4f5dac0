"""
A seller's account in one currency as folded: what payouts claimed of which release, what is
reserved, penalties; and a seller's standing.

The account itself, ``liabilities:seller:{s}``, has no stream: releases and refunds of all orders
post to it, and projections sum it. Here is only what payouts need to keep each other apart, and
what the platform itself did to the account.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from . import seller_events as e
from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .deadlines import Deadline
from .events import Event

RESERVE_MATURITY: Final = "reserve_maturity"


class Reserve(msgspec.Struct, frozen=True):
    """One amount taken to the rolling reserve, and what of it went back."""

    amount: int
    matures_at: datetime
    payout_id: str = ""
    released: int = 0

    @property
    def left(self) -> int:
        return self.amount - self.released


class Claim(msgspec.Struct, frozen=True):
    """What a payout has of the seller's earnings; ``is_live`` until it failed or was cancelled."""

    amount: int
    entries: tuple[e.PayoutEntry, ...]
    is_live: bool = True
    is_debited: bool = False

    @property
    def total(self) -> int:
        """Σ entries."""
        return sum([one.amount for one in self.entries])


class Penalty(msgspec.Struct, frozen=True):
    """A penalty as imposed; ``is_lifted`` once it was taken back."""

    rule_ref: str
    amount: int
    until: datetime | None
    is_lifted: bool = False


class SellerState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A seller's account, in minor units of its currency.

    ``version`` counts its events. ``claimed`` maps order → release → what live payouts have of it.
    ``own`` is what the events of this stream did to the account besides payouts: reserve and
    penalties, credit positive.
    """

    seller: str = ""
    currency: str = ""
    version: int = 0
    terms: e.ReserveTerms | None = None
    reserves: Mapping[str, Reserve] = {}
    payouts: Mapping[str, Claim] = {}
    claimed: Mapping[str, Mapping[str, int]] = {}
    claimed_total: int = 0
    paid_total: int = 0
    own: int = 0
    write_offs: Mapping[str, e.DebtWrittenOff] = {}
    penalties: Mapping[str, Penalty] = {}
    anomalies: tuple[str, ...] = ()

    @property
    def reserved(self) -> int:
        """What is in the rolling reserve."""
        return sum([one.left for one in self.reserves.values()])

    @property
    def carried(self) -> int:
        """
        What earlier payouts claimed and did not pay, with released reserve, less penalties.

        Below zero the seller owes it to later payouts.
        """
        return self.claimed_total + self.own - self.paid_total

    @property
    def scheduled(self) -> int:
        """Σ payouts that are scheduled and have not left the account yet."""
        live = [one for one in self.payouts.values() if one.is_live and not one.is_debited]
        return sum([one.amount for one in live])

    def claimed_of_order(self, order_id: str) -> int:
        """Return what live payouts have of all releases of an order."""
        return sum(self.claimed.get(order_id, {}).values())

    def claimed_of(self, order_id: str, release_id: str) -> int:
        """Return what live payouts have of one release."""
        return self.claimed.get(order_id, {}).get(release_id, 0)

    def claiming(self, order_id: str, release_id: str) -> tuple[str, ...]:
        """Return the live payouts that have a release."""
        return tuple(
            [
                payout_id
                for payout_id, claim in self.payouts.items()
                if claim.is_live
                and any(
                    (one.order_id, one.release_id) == (order_id, release_id)
                    for one in claim.entries
                )
            ]
        )


INITIAL: Final = SellerState()


def reserve_of(payout_id: str) -> str:
    """Return the id of the reserve that is taken at a payout."""
    return f"payout/{payout_id}"


def deadlines_of(state: SellerState) -> tuple[Deadline, ...]:
    """Return the maturities of what is still reserved; the command is ``ReleaseReserve``."""
    return tuple(
        [
            Deadline(reserve_id, RESERVE_MATURITY, one.matures_at)
            for reserve_id, one in state.reserves.items()
            if one.left > 0
        ]
    )


def _counted(state: SellerState, event: e.OfSeller, **changed: Any) -> SellerState:
    return replace(
        state,
        seller=event.seller,
        currency=event.currency,
        version=state.version + 1,
        **changed,
    )


def _reserve_set(state: SellerState, event: e.ReserveSet) -> SellerState:
    return _counted(state, event, terms=event.terms)


def _reserve_taken(state: SellerState, event: e.ReserveTaken) -> SellerState:
    one = Reserve(event.amount, event.matures_at, event.payout_id)
    reserves = {**state.reserves, event.reserve_id: one}
    return _counted(state, event, reserves=reserves, own=state.own - event.amount)


def _reserve_released(state: SellerState, event: e.ReserveReleased) -> SellerState:
    reserves = dict(state.reserves)
    one = reserves.get(event.reserve_id)
    if one is not None:
        reserves[event.reserve_id] = replace(one, released=one.released + event.amount)
    return _counted(state, event, reserves=reserves, own=state.own + event.amount)


def _payout_claimed(state: SellerState, event: e.PayoutClaimed) -> SellerState:
    freed = _without(state, event.payout_id)
    claim = Claim(event.amount, event.entries)
    return _counted(
        freed,
        event,
        payouts={**freed.payouts, event.payout_id: claim},
        claimed=_moved(freed.claimed, event.entries, 1),
        claimed_total=freed.claimed_total + claim.total,
        paid_total=freed.paid_total + event.amount,
    )


def _payout_debited(state: SellerState, event: e.PayoutDebited) -> SellerState:
    payouts = dict(state.payouts)
    claim = payouts.get(event.payout_id)
    if claim is not None:
        payouts[event.payout_id] = replace(claim, is_debited=True)
    return _counted(state, event, payouts=payouts)


def _amount_corrected(state: SellerState, event: e.PayoutAmountCorrected) -> SellerState:
    payouts, paid_total = dict(state.payouts), state.paid_total
    claim = payouts.get(event.payout_id)
    if claim is not None:
        payouts[event.payout_id] = replace(claim, amount=event.amount)
        paid_total += event.amount - claim.amount if claim.is_live else 0
    return _counted(state, event, payouts=payouts, paid_total=paid_total)


def _payout_freed(state: SellerState, event: e.PayoutFreed) -> SellerState:
    return _counted(_without(state, event.payout_id), event)


def _without(state: SellerState, payout_id: str) -> SellerState:
    """Return the state without the claim of a payout, if it is live."""
    claim = state.payouts.get(payout_id)
    if claim is None or not claim.is_live:
        return state
    return replace(
        state,
        payouts={**state.payouts, payout_id: replace(claim, is_live=False)},
        claimed=_moved(state.claimed, claim.entries, -1),
        claimed_total=state.claimed_total - claim.total,
        paid_total=state.paid_total - claim.amount,
    )


def _moved(
    before: Mapping[str, Mapping[str, int]], entries: tuple[e.PayoutEntry, ...], sign: int
) -> Mapping[str, Mapping[str, int]]:
    after = dict(before)
    for one in entries:
        of_order = dict(after.get(one.order_id, {}))
        minor = of_order.pop(one.release_id, 0) + sign * one.amount
        if minor:
            of_order[one.release_id] = minor
        after[one.order_id] = of_order
        if not of_order:
            del after[one.order_id]
    return after


def _debt_written_off(state: SellerState, event: e.DebtWrittenOff) -> SellerState:
    # Not of ``own``: what is given up ends a debt and is never paid out.
    return _counted(state, event, write_offs={**state.write_offs, event.entry_id: event})


def _penalty_imposed(state: SellerState, event: e.PenaltyImposed) -> SellerState:
    one = Penalty(event.rule_ref, event.amount, event.until)
    penalties = {**state.penalties, event.penalty_id: one}
    return _counted(state, event, penalties=penalties, own=state.own - event.amount)


def _penalty_lifted(state: SellerState, event: e.PenaltyLifted) -> SellerState:
    penalties = dict(state.penalties)
    one = penalties.get(event.penalty_id)
    if one is not None:
        penalties[event.penalty_id] = replace(one, is_lifted=True)
    return _counted(state, event, penalties=penalties, own=state.own + event.amount)


def _anomaly(state: SellerState, event: AnomalyRaised | AnomalyResolved) -> SellerState:
    anomalies = open_anomalies(state.anomalies, event)
    return replace(state, version=state.version + 1, anomalies=anomalies)


EVOLVE: Final[dict[type[Event], Callable[[Any, Any], SellerState]]] = {
    e.ReserveSet: _reserve_set,
    e.ReserveTaken: _reserve_taken,
    e.ReserveReleased: _reserve_released,
    e.PayoutClaimed: _payout_claimed,
    e.PayoutDebited: _payout_debited,
    e.PayoutAmountCorrected: _amount_corrected,
    e.PayoutFreed: _payout_freed,
    e.DebtWrittenOff: _debt_written_off,
    e.PenaltyImposed: _penalty_imposed,
    e.PenaltyLifted: _penalty_lifted,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}


class StandingState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A seller's standing in all currencies together; None until it was first decided."""

    seller: str = ""
    standing: e.Standing | None = None
    score: int = 0
    is_suspended: bool = False
    reason: str = ""


STANDING_INITIAL: Final = StandingState()


def _standing_changed(state: StandingState, event: e.SellerStandingChanged) -> StandingState:
    return replace(state, seller=event.seller, standing=event.new, score=event.score)


def _suspended(state: StandingState, event: e.SellerSuspended) -> StandingState:
    return replace(state, seller=event.seller, is_suspended=True, reason=event.reason)


def _reinstated(state: StandingState, event: e.SellerReinstated) -> StandingState:
    return replace(state, seller=event.seller, is_suspended=False, reason="")


STANDING_EVOLVE: Final[dict[type[Event], Callable[[Any, Any], StandingState]]] = {
    e.SellerStandingChanged: _standing_changed,
    e.SellerSuspended: _suspended,
    e.SellerReinstated: _reinstated,
}
