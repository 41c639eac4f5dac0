"""
What the risk policy does to a decision: refuse it, ask for approval, hold an order, raise an alert.

Runs after a guarded command was decided and before it is written, on what the decision says; a
report of what happened outside is never held up. Without a policy it does not run at all.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.account_events import Direction, JournalEntryPosted
from orderledger.ledger.approvals import ApprovalState
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.journal import Layer
from orderledger.ledger.order_events import FundsReleased, OrderHeld, OrderPlaced, RefundGranted
from orderledger.ledger.risk_events import ApprovalUsed, RiskAlertRaised
from orderledger.ledger.risk_rules import (
    Breach,
    Effect,
    RiskPolicy,
    Seen,
    amount_breaches,
    velocity_breaches,
)

from .decide_risk import APPROVAL_ID_LENGTH
from .decision import Change, Changes, Command, States

_FINGERPRINT_BYTES: Final = 32
POLICY: Final = "risk policy"
"""Who holds an order by a rule."""


class Asked(msgspec.Struct, frozen=True):
    """A command as the policy sees it; ``seen`` is what was looked up of its subjects."""

    command: Command
    key: str
    command_id: str
    fingerprint: bytes
    seen: tuple[Seen, ...] = ()

    @property
    def name(self) -> str:
        return type(self.command).__name__


def approval_id_of(fingerprint: bytes) -> str:
    """Return the id of the approval of a command: the beginning of its fingerprint in hex."""
    return fingerprint.hex()[:APPROVAL_ID_LENGTH]


def fingerprint_text(fingerprint: bytes) -> str:
    """Return what identifies a command in an approval: the hash of its content, in hex."""
    return fingerprint[:_FINGERPRINT_BYTES].hex()


def guarded(
    policy: RiskPolicy, asked: Asked, changes: Changes, states: States, now: datetime
) -> Changes:
    """
    Return a decision with what the policy adds to it.

    Raises Rejected RISK_LIMIT_EXCEEDED, or APPROVAL_REQUIRED with the id of the approval to ask
    for. An approval that is used is marked so in the same append: two commands cannot both use it.
    """
    if not changes or asked.command.is_observation:
        return changes
    amounts = amounts_of(asked.command, changes, states)
    breaches = (
        *amount_breaches(policy, asked.name, amounts),
        *velocity_breaches(policy, asked.name, amounts, asked.seen),
    )
    if not breaches:
        return changes
    for breach in breaches:
        if breach.effect is Effect.REFUSAL:
            raise _refused(breach, asked)
    added = list(_approved(policy, asked, breaches, states, now))
    for breach in breaches:
        if breach.effect in (Effect.ALERT, Effect.HOLD):
            added.append(_alert(policy, asked, breach, changes, now))
        if breach.effect is Effect.HOLD:
            added.extend(_hold(breach, changes, now))
    return (*changes, *added)


def _refused(breach: Breach, asked: Asked) -> Rejected:
    return Rejected(
        Reason.RISK_LIMIT_EXCEEDED,
        f"{breach.detail}; nobody can approve it",
        rule_id=breach.rule_id,
        command=asked.name,
        amount=breach.amount,
        reached=breach.reached,
        limit=breach.limit,
        currency=breach.currency,
    )


def _approved(
    policy: RiskPolicy,
    asked: Asked,
    breaches: tuple[Breach, ...],
    states: States,
    now: datetime,
) -> Changes:
    """Use the approval that the command needs, if it needs one; raises if it is not there."""
    needing = [breach for breach in breaches if breach.effect is Effect.APPROVAL]
    if not needing:
        return ()
    approval_id = approval_id_of(asked.fingerprint)
    state = states.approval(approval_id)
    if not state.covers(fingerprint_text(asked.fingerprint), now):
        raise _lacking(approval_id, state, needing[0], asked, now)
    event = ApprovalUsed(
        approval_id=approval_id,
        key=asked.key,
        rule_ids=tuple([breach.rule_id for breach in needing]),
        policy=policy.version,
    )
    return (Change(streams.approval(approval_id), event, occurred_at=now),)


def _lacking(
    approval_id: str, state: ApprovalState, breach: Breach, asked: Asked, now: datetime
) -> Rejected:
    stands = state.status.value
    if stands in ("requested", "granted") and not state.is_open(now):
        stands = "expired"
    return Rejected(
        Reason.APPROVAL_REQUIRED,
        f"{breach.detail}: it needs approval {approval_id}, which is {stands}; have another person "
        "grant it and give the command again under a new key",
        approval_id=approval_id,
        status=stands,
        rule_id=breach.rule_id,
        command=asked.name,
        amount=breach.amount,
        reached=breach.reached,
        limit=breach.limit,
        currency=breach.currency,
    )


def _alert(
    policy: RiskPolicy, asked: Asked, breach: Breach, changes: Changes, now: datetime
) -> Change:
    alert_id = f"{breach.rule_id}:{asked.command_id}"
    seen = breach.seen or Seen(breach.rule_id, "", 0, 0, 0)
    event = RiskAlertRaised(
        alert_id=alert_id,
        rule_id=breach.rule_id,
        policy=policy.version,
        command=asked.name,
        subject=seen.subject,
        detail=breach.detail,
        stream=changes[0].stream,
        count=seen.count,
        amount=seen.amount,
        currency=breach.currency,
        window_hours=breach.window_hours,
        known_position=seen.position,
    )
    return Change(streams.alert(alert_id), event, occurred_at=now)


def _hold(breach: Breach, changes: Changes, now: datetime) -> Changes:
    placed = [one for one in changes if isinstance(one.event, OrderPlaced)]
    return tuple(
        [
            Change(
                one.stream,
                OrderHeld(reason=breach.detail, rule_id=breach.rule_id, by=POLICY),
                occurred_at=now,
            )
            for one in placed
        ]
    )


# -- what a decision moves ------------------------------------------------------------------------


def amounts_of(command: Command, changes: Changes, states: States) -> Mapping[str, int]:
    """
    Return what a decision moves, in minor units by currency: what its events say, or the command.
    """
    found: dict[str, int] = {}
    for change in changes:
        measure = _MEASURES.get(type(change.event))
        if measure is not None:
            for currency, minor in measure(change, states).items():
                found[currency] = found.get(currency, 0) + minor
    if found:
        return found
    amount, code = getattr(command, "amount", None), getattr(command, "currency", None)
    return {code: amount} if type(amount) is int and isinstance(code, str) else {}


def _placed(change: Change, states: States) -> dict[str, int]:
    event: Any = change.event
    return {event.currency: event.totals.grand}


def _granted(change: Change, states: States) -> dict[str, int]:
    event: Any = change.event
    return {event.currency or _order_currency(change, states): event.total}


def _released(change: Change, states: States) -> dict[str, int]:
    event: Any = change.event
    return {_order_currency(change, states): event.amount}


def _order_currency(change: Change, states: States) -> str:
    return states.order(streams.id_of(change.stream)).currency


def _journalled(change: Change, states: States) -> dict[str, int]:
    event: Any = change.event
    sums: dict[str, int] = {}
    for leg in event.legs:
        if leg.direction is Direction.DEBIT and leg.layer is Layer.POSTED:
            sums[leg.currency] = sums.get(leg.currency, 0) + leg.amount
    return sums


_MEASURES: Final[Mapping[type[Event], Callable[[Change, States], dict[str, int]]]] = {
    OrderPlaced: _placed,
    RefundGranted: _granted,
    FundsReleased: _released,
    JournalEntryPosted: _journalled,
}
