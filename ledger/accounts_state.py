"""
The states of a constrained account and of a manual journal entry.

Only constrained accounts have a stream: everywhere else balances are summed by projections.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .account_events import (
    AccountBalance,
    AccountClosed,
    AccountConstrained,
    AccountFrozen,
    AccountMoved,
    ConstraintKind,
    ConstraintLifted,
    Direction,
    JournalEntryPosted,
    JournalEntryReversed,
    JournalKind,
    JournalLeg,
)
from .accounts import Side, classify
from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .errors import Reason, Rejected
from .events import Event
from .journal import Layer

Net = Mapping[tuple[Layer, str], int]
"""Signed minor units, debit positive, per (layer, currency)."""


class Constraint(msgspec.Struct, frozen=True):
    """A limit in force. ``currency`` None is every currency; see ``AccountConstrained``."""

    kind: ConstraintKind
    currency: str | None = None
    limit: int | None = None

    @property
    def key(self) -> tuple[ConstraintKind, str | None]:
        return (self.kind, self.currency)


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """
    A constrained account: its limits, and its balance per layer and currency.

    ``balances[layer][currency]`` is in signed minor units, debit positive.
    """

    account: str = ""
    constraints: tuple[Constraint, ...] = ()
    balances: Mapping[str, Mapping[str, int]] = {}
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.account != ""

    @property
    def is_frozen(self) -> bool:
        return self._has(ConstraintKind.FROZEN)

    @property
    def is_closed(self) -> bool:
        return self._has(ConstraintKind.CLOSED)

    def _has(self, kind: ConstraintKind) -> bool:
        return any(constraint.kind is kind for constraint in self.constraints)

    def balance(self, currency: str, layer: Layer = Layer.POSTED) -> int:
        """Return the balance in signed minor units, debit positive."""
        return self.balances.get(layer.value, {}).get(currency, 0)

    def constraint(self, kind: ConstraintKind, currency: str | None) -> Constraint | None:
        """Return the constraint in force of a kind and currency, if there is one."""
        return next((one for one in self.constraints if one.key == (kind, currency)), None)


INITIAL: Final = AccountState()


def signed(amount: int, direction: Direction) -> int:
    """Return an amount with its side as signed minor units, debit positive."""
    return amount if direction is Direction.DEBIT else -amount


def breach(account: str, constraint: Constraint, before: int, after: int) -> Reason | None:
    """
    Return why a movement of the posted balance breaks a constraint, or None.

    ``before`` and ``after`` are signed minor units, debit positive. A movement that starts beyond
    a limit and does not go further is let through, so that a breach by an observation can heal.
    """
    sign = 1 if classify(account).side is Side.DEBIT else -1
    limit = constraint.limit or 0
    match constraint.kind:
        case ConstraintKind.FROZEN:
            return Reason.ACCOUNT_FROZEN
        case ConstraintKind.CLOSED:
            return Reason.ACCOUNT_CLOSED
        case ConstraintKind.NO_DEBIT_BALANCE:
            broken = after > 0 and after > before
            overdrawn = sign < 0
        case ConstraintKind.NO_CREDIT_BALANCE:
            broken = after < 0 and after < before
            overdrawn = sign > 0
        case ConstraintKind.FLOOR:
            broken = sign * after < limit and sign * after < sign * before
            overdrawn = True
        case _:
            # CEILING, the only kind left.
            broken = sign * after > limit and sign * after > sign * before
            overdrawn = False
    if not broken:
        return None
    return Reason.INSUFFICIENT_FUNDS if overdrawn else Reason.ACCOUNT_LIMIT


_PRECEDENCE: Final = (
    Reason.ACCOUNT_CLOSED,
    Reason.ACCOUNT_FROZEN,
    Reason.INSUFFICIENT_FUNDS,
    Reason.ACCOUNT_LIMIT,
)


def check_net_effect(state: AccountState, net: Net) -> None:
    """
    Refuse an entry whose net effect breaks a constraint of an account.

    ``net`` is the effect of the whole entry on this account, so the order of its legs does not
    matter. Limits bind the posted layer, a freeze and a closure every layer. Raises Rejected with
    the first that applies of ACCOUNT_CLOSED, ACCOUNT_FROZEN, INSUFFICIENT_FUNDS, ACCOUNT_LIMIT.
    """
    found: dict[Reason, _Breach] = {}
    for (layer, currency), change in net.items():
        if change == 0:
            continue
        before = state.balances.get(layer.value, {}).get(currency, 0)
        for constraint in state.constraints:
            if not _binds(constraint, layer, currency):
                continue
            reason = breach(state.account, constraint, before, before + change)
            if reason is not None:
                found.setdefault(reason, _Breach(constraint, currency, before, change))
    for reason in _PRECEDENCE:
        if reason in found:
            raise _refusal(state.account, reason, found[reason])


def _binds(constraint: Constraint, layer: Layer, currency: str) -> bool:
    if constraint.kind in (ConstraintKind.FROZEN, ConstraintKind.CLOSED):
        return True
    return layer is Layer.POSTED and constraint.currency in (None, currency)


class _Breach(msgspec.Struct, frozen=True):
    constraint: Constraint
    currency: str
    before: int
    change: int


def _refusal(account: str, reason: Reason, found: _Breach) -> Rejected:
    constraint = found.constraint
    limit = "" if constraint.limit is None else f" of {constraint.limit}"
    return Rejected(
        reason,
        f"account {account} has {found.before} {found.currency} minor units (debit positive); a "
        f"change of {found.change} breaks its constraint {constraint.kind.value}{limit}",
        account=account,
        constraint=constraint.kind.value,
        limit=constraint.limit,
        currency=found.currency,
        balance=found.before,
        change=found.change,
    )


def _add(
    balances: Mapping[str, Mapping[str, int]], layer: Layer, currency: str, change: int
) -> dict[str, Mapping[str, int]]:
    name = layer.value
    of_layer = balances.get(name, {})
    return {**balances, name: {**of_layer, currency: of_layer.get(currency, 0) + change}}


def _open(state: AccountState, account: str, opening: tuple[AccountBalance, ...]) -> AccountState:
    balances = dict(state.balances)
    for one in opening:
        balances = _add(balances, one.layer, one.currency, signed(one.amount, one.direction))
    return msgspec.structs.replace(state, account=account, balances=balances)


def _with(state: AccountState, constraint: Constraint) -> AccountState:
    others = tuple(one for one in state.constraints if one.key != constraint.key)
    return msgspec.structs.replace(state, constraints=(*others, constraint))


def _constrained(state: AccountState, event: AccountConstrained) -> AccountState:
    opened = _open(state, event.account, event.opening)
    return _with(opened, Constraint(event.kind, event.currency, event.limit))


def _frozen(state: AccountState, event: AccountFrozen) -> AccountState:
    return _with(_open(state, event.account, event.opening), Constraint(ConstraintKind.FROZEN))


def _closed(state: AccountState, event: AccountClosed) -> AccountState:
    return _with(_open(state, event.account, event.opening), Constraint(ConstraintKind.CLOSED))


def _lifted(state: AccountState, event: ConstraintLifted) -> AccountState:
    kept = tuple(one for one in state.constraints if one.key != (event.kind, event.currency))
    return msgspec.structs.replace(state, constraints=kept)


def _moved(state: AccountState, event: AccountMoved) -> AccountState:
    change = signed(event.amount, event.direction)
    return msgspec.structs.replace(
        state, balances=_add(state.balances, event.layer, event.currency, change)
    )


def _anomaly(state: AccountState, event: AnomalyRaised | AnomalyResolved) -> AccountState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[dict[type[Event], Callable[[Any, Any], AccountState]]] = {
    AccountConstrained: _constrained,
    AccountFrozen: _frozen,
    AccountClosed: _closed,
    ConstraintLifted: _lifted,
    AccountMoved: _moved,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}


class JournalState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A manual entry and its reversals.

    ``legs`` are as posted; ``reversed_amounts[i]`` is what of leg ``i`` has been reversed, in
    positive minor units, at most the leg's amount.
    """

    entry_id: str = ""
    kind: JournalKind = JournalKind.MANUAL
    description: str = ""
    adjusts: str | None = None
    legs: tuple[JournalLeg, ...] = ()
    reversed_amounts: tuple[int, ...] = ()
    reversals: Mapping[str, JournalEntryReversed] = {}
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.entry_id != ""

    @property
    def remaining(self) -> tuple[int, ...]:
        """What of each leg can still be reversed, in positive minor units."""
        return tuple(
            leg.amount - done for leg, done in zip(self.legs, self.reversed_amounts, strict=True)
        )


JOURNAL_INITIAL: Final = JournalState()


def distribute(
    legs: tuple[JournalLeg, ...], remaining: tuple[int, ...], reversing: tuple[JournalLeg, ...]
) -> tuple[int, ...] | None:
    """
    Return how much each leg of an entry takes of reversing legs; None if they do not fit.

    A reversing leg names account, currency, layer and the opposite side; where the entry has
    several such legs they are filled in their order.
    """
    taken = [0] * len(legs)
    for undo in reversing:
        left = undo.amount
        for index, leg in enumerate(legs):
            if left and _undoes(undo, leg):
                part = min(left, remaining[index] - taken[index])
                taken[index] += part
                left -= part
        if left:
            return None
    return tuple(taken)


def _undoes(undo: JournalLeg, leg: JournalLeg) -> bool:
    return (
        undo.account == leg.account
        and undo.currency == leg.currency
        and undo.layer is leg.layer
        and undo.direction is not leg.direction
    )


def _posted(state: JournalState, event: JournalEntryPosted) -> JournalState:
    return msgspec.structs.replace(
        state,
        entry_id=event.entry_id,
        kind=event.kind,
        description=event.description,
        adjusts=event.adjusts,
        legs=event.legs,
        reversed_amounts=(0,) * len(event.legs),
    )


def _reversed(state: JournalState, event: JournalEntryReversed) -> JournalState:
    taken = distribute(state.legs, state.remaining, event.legs) or (0,) * len(state.legs)
    return msgspec.structs.replace(
        state,
        reversed_amounts=tuple(
            done + more for done, more in zip(state.reversed_amounts, taken, strict=True)
        ),
        reversals={**state.reversals, event.reversal_id: event},
    )


def _journal_anomaly(state: JournalState, event: AnomalyRaised | AnomalyResolved) -> JournalState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


JOURNAL_EVOLVE: Final[dict[type[Event], Callable[[Any, Any], JournalState]]] = {
    JournalEntryPosted: _posted,
    JournalEntryReversed: _reversed,
    AnomalyRaised: _journal_anomaly,
    AnomalyResolved: _journal_anomaly,
}


__all__ = [
    "EVOLVE",
    "INITIAL",
    "JOURNAL_EVOLVE",
    "JOURNAL_INITIAL",
    "AccountMoved",
    "AccountState",
    "Constraint",
    "JournalState",
    "Net",
    "breach",
    "check_net_effect",
    "distribute",
    "signed",
]
