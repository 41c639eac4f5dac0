"""
The risk policy as data, and what it says of a command.

Two kinds of rule. An amount rule looks at one command alone and is exact: above one limit the
command needs a second person's approval, above another it is refused. A velocity rule looks at what
a buyer or seller did lately, as a read model knew it when it was asked: advice, never a promise,
for whatever is on its way at the same moment is not in it. (A counter that every order of a seller
had to move would be exact and make them all wait for each other.)
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from .currencies import exponent
from .errors import InvalidInput
from .streams import ID_GRAMMAR

RULE_ID_LENGTH_MAX: Final = 60
"""Characters of a rule's id: together with a command's it names an alert."""
WINDOW_HOURS_MAX: Final = 24 * 366
"""The longest window of a velocity rule."""


class Subject(StrEnum):
    """Whose velocity is looked at."""

    BUYER = "buyer"
    SELLER = "seller"


class Measure(StrEnum):
    """What is counted and summed: orders placed, payments begun, refunds granted."""

    ORDERS = "orders"
    PAYMENTS = "payments"
    REFUNDS = "refunds"


class Effect(StrEnum):
    """What a breach does; a hold is on the order that the command places."""

    ALERT = "alert"
    HOLD = "hold"
    APPROVAL = "approval"
    REFUSAL = "refusal"


class AmountRule(msgspec.Struct, frozen=True, kw_only=True):
    """
    Limits on what one command moves, in minor units of ``currency``; a limit itself is allowed.

    ``command`` is the name of the command's class, such as ``RequestRefund``.
    """

    rule_id: str
    command: str
    currency: str
    approve_above: int | None = None
    refuse_above: int | None = None


class VelocityRule(msgspec.Struct, frozen=True, kw_only=True):
    """
    Limits on how often and how much within ``window_hours``, this command included.

    ``sum_max`` is in minor units of ``currency``, in which alone is looked. ``effect`` is alert,
    hold or approval.
    """

    rule_id: str
    command: str
    subject: Subject
    measure: Measure
    currency: str
    window_hours: int
    count_max: int | None = None
    sum_max: int | None = None
    effect: Effect = Effect.ALERT


class RiskPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """
    The rules in force; ``version`` is stored with whatever they decide.

    Raises InvalidInput for a rule that could never apply or never be told apart.
    """

    version: str
    amounts: tuple[AmountRule, ...] = ()
    velocities: tuple[VelocityRule, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for rule in self.rules:
            is_id = len(rule.rule_id) <= RULE_ID_LENGTH_MAX and ID_GRAMMAR.fullmatch(rule.rule_id)
            if not is_id or rule.rule_id in seen:
                raise _unusable(rule.rule_id, "has an id that is none, or another rule's")
            seen.add(rule.rule_id)
            exponent(rule.currency)
        for amount in self.amounts:
            _check_limits(amount.rule_id, amount.approve_above, amount.refuse_above)
        for velocity in self.velocities:
            _check_limits(velocity.rule_id, velocity.count_max, velocity.sum_max)
            if not 0 < velocity.window_hours <= WINDOW_HOURS_MAX:
                raise _unusable(velocity.rule_id, f"looks at 1 to {WINDOW_HOURS_MAX} hours")
            if velocity.effect is Effect.REFUSAL:
                raise _unusable(velocity.rule_id, "cannot refuse: what it knows is advice")

    @property
    def rules(self) -> tuple[AmountRule | VelocityRule, ...]:
        """Every rule, those on amounts first."""
        found: list[AmountRule | VelocityRule] = [*self.amounts, *self.velocities]
        return tuple(found)


def _check_limits(rule_id: str, *limits: int | None) -> None:
    given = [limit for limit in limits if limit is not None]
    if not given or min(given) < 0:
        raise _unusable(rule_id, "needs a limit, of zero or more")


def _unusable(rule_id: str, why: str) -> InvalidInput:
    return InvalidInput(f"risk rule {rule_id!r:.80} {why}", rule_id=rule_id)


class Seen(msgspec.Struct, frozen=True, gc=False):
    """
    What a read model knew of a rule's subject within its window, up to ``position`` of the log.

    ``count`` and ``amount`` (minor units) without the command at hand.
    """

    rule_id: str
    subject: str
    count: int
    amount: int
    position: int


class VelocityReader(Protocol):
    """Where velocity is looked up; quick, and as old as its read model is."""

    def seen(self, rule: VelocityRule, subject: str, now: datetime) -> Seen: ...


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """
    A limit that a command would pass; ``limit`` and ``reached`` are counts or minor units.

    ``amount`` is what the command itself moves, in minor units of ``currency``.
    """

    rule_id: str
    effect: Effect
    detail: str
    currency: str
    amount: int
    reached: int
    limit: int
    seen: Seen | None = None
    window_hours: int = 0


def amount_breaches(
    policy: RiskPolicy, command: str, amounts: Mapping[str, int]
) -> tuple[Breach, ...]:
    """Return the amount limits that a command passes; ``amounts`` are by currency."""
    found: list[Breach] = []
    for rule in policy.amounts:
        amount = amounts.get(rule.currency, 0)
        if rule.command != command or not amount:
            continue
        for limit, effect in (
            (rule.refuse_above, Effect.REFUSAL),
            (rule.approve_above, Effect.APPROVAL),
        ):
            if limit is not None and amount > limit:
                found.append(
                    Breach(
                        rule_id=rule.rule_id,
                        effect=effect,
                        detail=f"{command} of {amount} {rule.currency} minor units is above the "
                        f"{limit} of rule {rule.rule_id}",
                        currency=rule.currency,
                        amount=amount,
                        reached=amount,
                        limit=limit,
                    )
                )
                break
    return tuple(found)


def velocity_breaches(
    policy: RiskPolicy, command: str, amounts: Mapping[str, int], known: tuple[Seen, ...]
) -> tuple[Breach, ...]:
    """Return the velocity limits that a command passes, by what was looked up for it."""
    rules = {rule.rule_id: rule for rule in policy.velocities if rule.command == command}
    found: list[Breach] = []
    for seen in known:
        rule = rules.get(seen.rule_id)
        # In another currency it adds nothing to what the rule counts.
        if rule is None or rule.currency not in amounts:
            continue
        for limit, reached, what in (
            (rule.count_max, seen.count + 1, rule.measure.value),
            (rule.sum_max, seen.amount + amounts[rule.currency], f"{rule.currency} minor units"),
        ):
            if limit is not None and reached > limit:
                found.append(
                    Breach(
                        rule_id=rule.rule_id,
                        effect=rule.effect,
                        detail=f"{rule.subject.value} {seen.subject} would reach {reached} {what} "
                        f"in {rule.window_hours} hours, above the {limit} of rule {rule.rule_id}",
                        currency=rule.currency,
                        amount=amounts[rule.currency],
                        reached=reached,
                        limit=limit,
                        seen=seen,
                        window_hours=rule.window_hours,
                    )
                )
                break
    return tuple(found)
