"""
Decisions on a seller's account, its rolling reserve and penalties, and on a seller's standing.
"""

from datetime import datetime, timedelta
from typing import Final

from orderledger.ledger import recipes_seller, streams
from orderledger.ledger import seller_events as e
from orderledger.ledger.anomalies import AnomalyResolved
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.instants import LATEST
from orderledger.ledger.journal import EMPTY, Entry
from orderledger.ledger.money import Money
from orderledger.ledger.sellers import Reserve, SellerState, reserve_of
from orderledger.ledger.standing_policy import BEST

from .decision import Change, Changes, States, decides
from .order_guards import check_amount, check_id, check_open_anomaly, check_rate, check_text
from .payout_guards import check_seen
from .seller_commands import (
    ChangeSellerStanding,
    ImposePenalty,
    LiftPenalty,
    OfSeller,
    ReinstateSeller,
    ReleaseReserve,
    ResolveSellerAnomaly,
    SetReserve,
    SuspendSeller,
    TakeReserve,
)

RESERVE_DAYS_MAX: Final = 3_650
"""Days that a reserve stays back. Card schemes let a chargeback come up to 540 days later."""


@decides(SetReserve)
def set_reserve(command: SetReserve, states: States, now: datetime) -> Changes:
    """Set the terms of the rolling reserve; the same terms again are no event."""
    check_text("reason", command.reason)
    terms = command.terms
    if terms is not None:
        check_rate("rate of the reserve", terms.rate)
        if not 0 < terms.days <= RESERVE_DAYS_MAX:
            raise InvalidCommand(
                f"days of the reserve are {terms.days}, they must be 1 to {RESERVE_DAYS_MAX}",
                field="terms.days",
                value=terms.days,
            )
        if terms.ceiling is not None:
            check_amount("ceiling of the reserve", terms.ceiling, minimum=0)
    if states.seller(command.seller, command.currency).terms == terms:
        return ()
    event = e.ReserveSet(
        seller=command.seller, currency=command.currency, terms=terms, reason=command.reason
    )
    return (_change(command, event),)


@decides(TakeReserve)
def take_reserve(command: TakeReserve, states: States, now: datetime) -> Changes:
    """
    Move what a seller is owed to the reserve (recipe 27).

    Raises STALE_BASE_VERSION where the seller's stream moved since it was seen,
    INSUFFICIENT_FUNDS beyond what it is owed besides scheduled payouts, WRONG_STATE where nothing
    says when it matures.
    """
    check_id("reserve_id", command.reserve_id)
    check_amount("amount", command.amount)
    check_text("reason", command.reason)
    if command.reserve_id.startswith(reserve_of("")):
        raise InvalidCommand(
            f"reserve ids that begin with {reserve_of('')} are those of payouts",
            reserve_id=command.reserve_id,
        )
    state = states.seller(command.seller, command.currency)
    known = state.reserves.get(command.reserve_id)
    if known is not None:
        if known.amount == command.amount and command.matures_at in (None, known.matures_at):
            return ()
        raise _used("reserve", command.reserve_id, command)
    check_seen(command.seen, state, command.seller, command.currency)
    available = command.seen.payable - state.scheduled
    if command.amount > available:
        raise Rejected(
            Reason.INSUFFICIENT_FUNDS,
            f"seller {command.seller} is owed {available} {command.currency} minor units besides "
            f"scheduled payouts, not {command.amount}; reserve less, or cancel a payout",
            seller=command.seller,
            available=available,
            amount=command.amount,
        )
    matures_at = command.matures_at
    if matures_at is None:
        if state.terms is None:
            raise Rejected(
                Reason.WRONG_STATE,
                f"seller {command.seller} has no terms of a reserve in {command.currency}; say "
                "when it matures",
                seller=command.seller,
            )
        matures_at = maturity(state.terms, command.occurred_at or now)
    event = e.ReserveTaken(
        seller=command.seller,
        currency=command.currency,
        reserve_id=command.reserve_id,
        amount=command.amount,
        matures_at=matures_at,
        reason=command.reason,
    )
    return (_change(command, event, _taken(event)),)


def maturity(terms: e.ReserveTerms, at: datetime) -> datetime:
    """Return when a reserve that is taken at an instant goes back."""
    days = timedelta(days=terms.days)
    return at + days if LATEST - at > days else LATEST


@decides(ReleaseReserve)
def release_reserve(command: ReleaseReserve, states: States, now: datetime) -> Changes:
    """
    Give a reserve back (recipe 27); one that has gone back is no event.

    Raises NOT_FOUND, NOT_YET_DUE before its maturity, AMOUNT_EXCEEDS_AVAILABLE beyond what is left.
    """
    check_text("reason", command.reason)
    if command.amount is not None:
        check_amount("amount", command.amount)
    state = states.seller(command.seller, command.currency)
    one = state.reserves.get(command.reserve_id)
    if one is None:
        raise Rejected(
            Reason.NOT_FOUND,
            f"seller {command.seller} has no reserve {command.reserve_id} in {command.currency}",
            seller=command.seller,
            reserve_id=command.reserve_id,
        )
    if one.left == 0:
        return ()
    _check_maturity(command, one, command.occurred_at or now)
    amount = one.left if command.amount is None else command.amount
    if amount > one.left:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"reserve {command.reserve_id} of seller {command.seller} has {one.left} "
            f"{command.currency} minor units left, not {amount}",
            seller=command.seller,
            reserve_id=command.reserve_id,
            available=one.left,
            amount=amount,
        )
    return (
        reserve_back(state, command.reserve_id, amount, command.reason, is_early=command.is_early),
    )


def _check_maturity(command: ReleaseReserve, one: Reserve, at: datetime) -> None:
    if command.is_early:
        if not command.reason:
            raise InvalidCommand(
                f"reserve {command.reserve_id} goes back before its maturity: give a reason",
                field="reason",
            )
        return
    if at < one.matures_at:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"reserve {command.reserve_id} of seller {command.seller} matures at "
            f"{one.matures_at.isoformat()}",
            seller=command.seller,
            reserve_id=command.reserve_id,
            due_at=one.matures_at.isoformat(),
        )


def reserve_back(
    state: SellerState, reserve_id: str, amount: int, reason: str, *, is_early: bool
) -> Change:
    """Return the change that gives an amount of a reserve back; ``is_early``: unmatured."""
    event = e.ReserveReleased(
        seller=state.seller,
        currency=state.currency,
        reserve_id=reserve_id,
        amount=amount,
        is_early=is_early,
        reason=reason,
    )
    posted = recipes_seller.reserve_released(state.seller, Money(amount, state.currency))
    return Change(streams.seller(state.seller, state.currency), event, posted)


def _taken(event: e.ReserveTaken) -> Entry:
    return recipes_seller.reserve_taken(event.seller, Money(event.amount, event.currency))


def reserve_at_payout(event: e.ReserveTaken) -> Change:
    """Return the change that takes a reserve at a payout."""
    return Change(streams.seller(event.seller, event.currency), event, _taken(event))


@decides(ImposePenalty)
def impose_penalty(command: ImposePenalty, states: States, now: datetime) -> Changes:
    """Charge a penalty; what the seller is not owed becomes the seller's debt."""
    check_id("penalty_id", command.penalty_id)
    check_id("rule_ref", command.rule_ref)
    check_amount("amount", command.amount, minimum=0)
    check_text("reason", command.reason)
    known = states.seller(command.seller, command.currency).penalties.get(command.penalty_id)
    if known is not None:
        terms = (known.rule_ref, known.amount, known.until)
        if terms == (command.rule_ref, command.amount, command.until):
            return ()
        raise _used("penalty", command.penalty_id, command)
    event = e.PenaltyImposed(
        seller=command.seller,
        currency=command.currency,
        penalty_id=command.penalty_id,
        rule_ref=command.rule_ref,
        amount=command.amount,
        until=command.until,
        reason=command.reason,
    )
    amount = Money(command.amount, command.currency)
    return (_change(command, event, recipes_seller.penalty_imposed(command.seller, amount)),)


@decides(LiftPenalty)
def lift_penalty(command: LiftPenalty, states: States, now: datetime) -> Changes:
    """Take a penalty back; one that was lifted before is no event. Raises NOT_FOUND."""
    check_text("reason", command.reason)
    one = states.seller(command.seller, command.currency).penalties.get(command.penalty_id)
    if one is None:
        raise Rejected(
            Reason.NOT_FOUND,
            f"seller {command.seller} has no penalty {command.penalty_id} in {command.currency}",
            seller=command.seller,
            penalty_id=command.penalty_id,
        )
    if one.is_lifted:
        return ()
    event = e.PenaltyLifted(
        seller=command.seller,
        currency=command.currency,
        penalty_id=command.penalty_id,
        rule_ref=one.rule_ref,
        amount=one.amount,
        reason=command.reason,
    )
    amount = Money(one.amount, command.currency)
    return (_change(command, event, recipes_seller.penalty_lifted(command.seller, amount)),)


@decides(ResolveSellerAnomaly)
def resolve_seller_anomaly(command: ResolveSellerAnomaly, states: States, now: datetime) -> Changes:
    """Close an open anomaly; raises NOT_FOUND if there is none of that key."""
    check_text("resolution", command.resolution)
    check_open_anomaly(
        states.seller(command.seller, command.currency).anomalies,
        command.anomaly_id,
        f"seller {command.seller} in {command.currency}",
        seller=command.seller,
    )
    event = AnomalyResolved(
        anomaly_id=command.anomaly_id,
        by=command.by,
        resolution=command.resolution,
        compensations=command.compensations,
    )
    return (_change(command, event),)


@decides(ChangeSellerStanding)
def change_standing(command: ChangeSellerStanding, states: States, now: datetime) -> Changes:
    """Record a standing; the same standing and score again are no event."""
    if not 0 <= command.score <= BEST:
        raise InvalidCommand(f"score is {command.score}, it must be 0 to {BEST}", field="score")
    check_text("policy", command.policy)
    check_text("cause_event", command.cause_event)
    state = states.standing(command.seller)
    if (state.standing, state.score) == (command.standing, command.score):
        return ()
    event = e.SellerStandingChanged(
        seller=command.seller,
        score=command.score,
        old=state.standing,
        new=command.standing,
        policy=command.policy,
        cause_event=command.cause_event,
    )
    return (Change(streams.standing(command.seller), event),)


@decides(SuspendSeller)
def suspend_seller(command: SuspendSeller, states: States, now: datetime) -> Changes:
    """Suspend a seller; one that is suspended is no event."""
    _check_reason(command)
    if states.standing(command.seller).is_suspended:
        return ()
    event = e.SellerSuspended(seller=command.seller, reason=command.reason, by=command.by)
    return (Change(streams.standing(command.seller), event),)


@decides(ReinstateSeller)
def reinstate_seller(command: ReinstateSeller, states: States, now: datetime) -> Changes:
    """End a suspension; where there is none it is no event."""
    _check_reason(command)
    if not states.standing(command.seller).is_suspended:
        return ()
    event = e.SellerReinstated(seller=command.seller, reason=command.reason, by=command.by)
    return (Change(streams.standing(command.seller), event),)


def _check_reason(command: SuspendSeller | ReinstateSeller) -> None:
    check_text("reason", command.reason)
    check_text("by", command.by)
    if not command.reason or not command.by:
        raise InvalidCommand(f"say why, and who decided it, for seller {command.seller}")


def _change(command: OfSeller, event: Event, posted: Entry = EMPTY) -> Change:
    return Change(streams.seller(command.seller, command.currency), event, posted)


def _used(what: str, one: str, command: OfSeller) -> Rejected:
    return Rejected(
        Reason.OPERATION_ALREADY_USED,
        f"{what} {one} of seller {command.seller} in {command.currency} is known with other "
        "terms; use a new id",
        seller=command.seller,
        id=one,
    )
