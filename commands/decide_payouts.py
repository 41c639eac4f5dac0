"""
Decisions on payouts: what is paid to a seller, and when the bank is asked for it.

Two things bound a payout. The orders that its entries name are read, so that nothing is paid which
refunds of these orders took, exactly. All other orders of the seller meet only in the balance of
the seller's account, which the caller has looked at: that is recorded, and nothing is paid beyond
it. A refund that comes later is the seller's debt, as it is after any payout.
"""

from collections.abc import Iterable
from datetime import datetime

from orderledger.ledger import accounts, limits, recipes_seller, streams
from orderledger.ledger import payout_events as p
from orderledger.ledger import seller_events as s
from orderledger.ledger.anomalies import AnomalyResolved
from orderledger.ledger.currencies import is_points
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.money import Money, apply_rate
from orderledger.ledger.payouts import GIVEN_UP, PayoutState, PayoutStatus
from orderledger.ledger.sellers import SellerState, reserve_of

from .decide_sellers import maturity, reserve_at_payout, reserve_back
from .decision import Change, Changes, States, decides
from .order_guards import check_amount, check_id, check_open_anomaly, check_text, check_unique
from .payout_commands import (
    CancelPayout,
    InitiatePayout,
    OfPayout,
    ReleasedSlice,
    ResolvePayoutAnomaly,
    SchedulePayout,
)
from .payout_guards import (
    check_not_suspended,
    check_seen,
    check_still_owed,
    entries_of,
    gather,
    look_at,
)


@decides(SchedulePayout)
def schedule_payout(command: SchedulePayout, states: States, now: datetime) -> Changes:
    """
    Decide a payout.

    Raises OPERATION_ALREADY_USED for a known id with other terms, SELLER_SUSPENDED, what
    ``entries_of`` raises, STALE_BASE_VERSION, INSUFFICIENT_FUNDS where not more than the minimum is
    left to pay.
    """
    _check_schedule(command)
    known = states.payout(command.payout_id)
    if known.exists:
        if _is_scheduled(known, command):
            return ()
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"payout {command.payout_id} pays {known.amount} {known.currency} minor units to "
            f"seller {known.seller} by other terms; use a new id",
            payout_id=command.payout_id,
            seller=known.seller,
        )
    check_not_suspended(states.standing(command.seller), command.seller)
    state = states.seller(command.seller, command.currency)
    gather(states, [one.order_id for one in command.entries])
    changes: list[Change] = []
    entries: list[s.PayoutEntry] = []
    for order_id, wanted in _by_order(command.entries).items():
        looked = look_at(states, order_id)
        changes.extend(looked.changes)
        entries.extend(entries_of(command, looked.order, wanted, state))
    check_seen(command.seen, state, command.seller, command.currency)
    total = _sum(command, state, entries)
    event = p.PayoutScheduled(
        payout_id=command.payout_id,
        seller=command.seller,
        currency=command.currency,
        bank=command.bank,
        amount=total.amount,
        entries=tuple(entries),
        sum=total,
        minimum=command.minimum,
        payable=command.seen.payable,
        seller_version=command.seen.seller_version,
    )
    claimed = s.PayoutClaimed(
        seller=command.seller,
        currency=command.currency,
        payout_id=command.payout_id,
        amount=total.amount,
        entries=tuple(entries),
    )
    changes.append(Change(streams.payout(command.payout_id), event))
    changes.append(Change(streams.seller(command.seller, command.currency), claimed))
    if total.reserve and state.terms is not None:
        taken = s.ReserveTaken(
            seller=command.seller,
            currency=command.currency,
            reserve_id=reserve_of(command.payout_id),
            amount=total.reserve,
            matures_at=maturity(state.terms, command.occurred_at or now),
            payout_id=command.payout_id,
        )
        changes.append(reserve_at_payout(taken))
    return tuple(changes)


def _check_schedule(command: SchedulePayout) -> None:
    limits.check_count("entries of a payout", len(command.entries), limits.PAYOUT_ENTRIES_MAX)
    check_amount("minimum", command.minimum, minimum=0)
    accounts.bank(command.bank)
    accounts.payouts(command.payout_id)
    accounts.seller(command.seller)
    for one in command.entries:
        check_id("release_id", one.release_id)
    check_unique("release", [f"{one.order_id} {one.release_id}" for one in command.entries])
    if is_points(command.currency):
        raise InvalidCommand(
            f"payout {command.payout_id} is in points, which no bank pays",
            currency=command.currency,
        )


def _is_scheduled(known: PayoutState, command: SchedulePayout) -> bool:
    """Tell whether a payout is what the command asks for; without an amount any amount is."""
    by_id = {(one.order_id, one.release_id): one.amount for one in known.entries}
    return (
        (known.seller, known.currency, known.bank, known.minimum)
        == (command.seller, command.currency, command.bank, command.minimum)
        and len(command.entries) == len(by_id)
        and all(
            (one.order_id, one.release_id) in by_id
            and one.amount in (None, by_id[(one.order_id, one.release_id)])
            for one in command.entries
        )
    )


def _by_order(entries: Iterable[ReleasedSlice]) -> dict[str, list[ReleasedSlice]]:
    found: dict[str, list[ReleasedSlice]] = {}
    for one in entries:
        found.setdefault(one.order_id, []).append(one)
    return found


def _sum(
    command: SchedulePayout, state: SellerState, entries: Iterable[s.PayoutEntry]
) -> p.PayoutSum:
    """Return how the amount comes about; raises INSUFFICIENT_FUNDS up to the minimum."""
    total = sum([one.amount for one in entries])
    limits.check_total(f"payout {command.payout_id}", total)
    promised = total + state.carried
    reserve = 0
    if state.terms is not None:
        reserve = apply_rate(total, state.terms.rate)
        if state.terms.ceiling is not None:
            reserve = min(reserve, max(0, state.terms.ceiling - state.reserved))
        reserve = max(0, min(reserve, promised))
    has = command.seen.payable - state.scheduled
    amount = min(promised, has) - reserve
    if amount <= command.minimum:
        raise Rejected(
            Reason.INSUFFICIENT_FUNDS,
            f"payout {command.payout_id} of {total} {command.currency} minor units leaves "
            f"{amount} to pay to seller {command.seller}: {state.carried} are carried over, "
            f"{reserve} go to the reserve, the balance has {has}; it must be more than the minimum "
            f"of {command.minimum}",
            payout_id=command.payout_id,
            seller=command.seller,
            entries=total,
            carried=state.carried,
            reserve=reserve,
            balance=has,
            amount=amount,
            minimum=command.minimum,
        )
    return p.PayoutSum(
        entries=total,
        amount=amount,
        carried=max(0, state.carried),
        debt_recovered=max(0, -state.carried) + promised - reserve - amount,
        reserve=reserve,
    )


@decides(InitiatePayout)
def initiate_payout(command: InitiatePayout, states: States, now: datetime) -> Changes:
    """
    Send a payout to the bank (recipe 23, first half).

    Raises NotFound, WRONG_STATE, SELLER_SUSPENDED, AMOUNT_EXCEEDS_AVAILABLE where its orders owe
    less by now, STALE_BASE_VERSION, INSUFFICIENT_FUNDS beyond the balance.
    """
    if command.idempotency_key:
        check_id("idempotency_key", command.idempotency_key)
    state = existing(states, command)
    key = command.idempotency_key or command.payout_id
    if state.idempotency_key:
        if state.idempotency_key == key:
            return ()
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"payout {command.payout_id} went to the bank with the key {state.idempotency_key}; "
            "it is paid once",
            payout_id=command.payout_id,
            idempotency_key=state.idempotency_key,
        )
    _require_scheduled(state, "initiated")
    check_not_suspended(states.standing(state.seller), state.seller)
    account = states.seller(state.seller, state.currency)
    gather(states, [one.order_id for one in state.entries])
    changes: list[Change] = []
    for order_id in dict.fromkeys([one.order_id for one in state.entries]):
        looked = look_at(states, order_id)
        changes.extend(looked.changes)
        check_still_owed(looked.order, state.seller, state.currency, account)
    check_seen(command.seen, account, state.seller, state.currency)
    if state.amount > command.seen.payable:
        raise Rejected(
            Reason.INSUFFICIENT_FUNDS,
            f"seller {state.seller} is owed {command.seen.payable} {state.currency} minor units, "
            f"payout {command.payout_id} is of {state.amount}; cancel it and schedule another one",
            payout_id=command.payout_id,
            seller=state.seller,
            available=command.seen.payable,
            amount=state.amount,
        )
    event = p.PayoutInitiated(
        idempotency_key=key,
        payable=command.seen.payable,
        seller_version=command.seen.seller_version,
    )
    posted = recipes_seller.payout_initiated(
        state.payout_id, state.seller, Money(state.amount, state.currency)
    )
    changes.append(Change(streams.payout(state.payout_id), event, posted))
    changes.append(debited(state))
    return tuple(changes)


def debited(state: PayoutState) -> Change:
    """Return the change by which the seller's stream knows that the amount has left."""
    event = s.PayoutDebited(seller=state.seller, currency=state.currency, payout_id=state.payout_id)
    return Change(streams.seller(state.seller, state.currency), event)


@decides(CancelPayout)
def cancel_payout(command: CancelPayout, states: States, now: datetime) -> Changes:
    """Give a payout up before the bank is asked; raises NotFound, WRONG_STATE."""
    check_text("reason", command.reason)
    state = existing(states, command)
    if state.status is PayoutStatus.CANCELLED:
        return ()
    _require_scheduled(state, "cancelled")
    event = p.PayoutCancelled(reason=command.reason)
    account = states.seller(state.seller, state.currency)
    return (
        Change(streams.payout(state.payout_id), event),
        *freed(state, account, "cancelled"),
    )


def freed(state: PayoutState, account: SellerState, cause: str) -> tuple[Change, ...]:
    """Return the changes that free a payout's entries and give back what its reserve has left."""
    event = s.PayoutFreed(
        seller=state.seller, currency=state.currency, payout_id=state.payout_id, cause=cause
    )
    changes = [Change(streams.seller(state.seller, state.currency), event)]
    reserve_id = reserve_of(state.payout_id)
    one = account.reserves.get(reserve_id)
    if one is not None and one.left:
        reason = f"payout {state.payout_id} {cause}"
        changes.append(reserve_back(account, reserve_id, one.left, reason, is_early=True))
    return tuple(changes)


def existing(states: States, command: OfPayout) -> PayoutState:
    """Return a payout; raises NotFound."""
    state = states.payout(command.payout_id)
    if not state.exists:
        raise NotFound(f"there is no payout {command.payout_id}", payout_id=command.payout_id)
    return state


def _require_scheduled(state: PayoutState, done: str) -> None:
    if state.status is not PayoutStatus.SCHEDULED:
        hint = "schedule another one" if state.status in GIVEN_UP else "the bank decides it now"
        raise Rejected(
            Reason.WRONG_STATE,
            f"payout {state.payout_id} is {state.status.value} and cannot be {done}; {hint}",
            payout_id=state.payout_id,
            status=state.status.value,
        )


@decides(ResolvePayoutAnomaly)
def resolve_payout_anomaly(command: ResolvePayoutAnomaly, states: States, now: datetime) -> Changes:
    """Close an open anomaly; raises NOT_FOUND if there is none of that key."""
    check_text("resolution", command.resolution)
    state = states.payout(command.payout_id)
    check_open_anomaly(
        state.anomalies,
        command.anomaly_id,
        f"payout {command.payout_id}",
        payout_id=command.payout_id,
    )
    event = AnomalyResolved(
        anomaly_id=command.anomaly_id,
        by=command.by,
        resolution=command.resolution,
        compensations=command.compensations,
    )
    return (Change(streams.payout(command.payout_id), event),)
