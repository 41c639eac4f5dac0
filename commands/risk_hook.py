"""
How the risk policy comes to a command: what velocity rules want to know is looked up beforehand.

Deciding stays pure: it is given what was known. Without a rule for a command nothing is looked up.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.errors import InvalidInput, Rejected
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.risk_rules import (
    Effect,
    RiskPolicy,
    Seen,
    Subject,
    VelocityReader,
    VelocityRule,
)

from .deciding import Prepared
from .decision import Command, deciders
from .idempotency import fingerprint
from .risk_commands import RequestApproval
from .risk_guards import approval_id_of, fingerprint_text
from .validation import validated

StateOf = Callable[[str], Any]
"""Gives the state of a stream as this process knows it."""


class RiskHook:
    """
    The policy of an executor, and where its velocity rules look.

    Raises InvalidInput for a rule of a command that there is not, or that is never held up.
    """

    def __init__(self, policy: RiskPolicy, velocity: VelocityReader) -> None:
        self.policy: Final = policy
        self._velocity: Final = velocity
        guarded = {kind.__name__ for kind in deciders() if not kind.is_observation}
        for rule in policy.rules:
            if rule.command not in guarded:
                raise InvalidInput(
                    f"risk rule {rule.rule_id} is of {rule.command!r:.80}, which is no command, or "
                    "a report that is never refused",
                    rule_id=rule.rule_id,
                    command=rule.command,
                )
        self._rules: Final[dict[str, list[VelocityRule]]] = {}
        for velocity_rule in policy.velocities:
            if velocity_rule.effect is Effect.HOLD and velocity_rule.command != "PlaceOrder":
                raise InvalidInput(
                    f"risk rule {velocity_rule.rule_id} would hold an order, which only PlaceOrder "
                    "places; let it alert or ask for approval",
                    rule_id=velocity_rule.rule_id,
                    command=velocity_rule.command,
                )
            self._rules.setdefault(velocity_rule.command, []).append(velocity_rule)

    def looked_up(self, prepared: Prepared, state_of: StateOf, now: datetime) -> Prepared:
        """Return the command with what its rules want to know, as far as it is known."""
        rules = self._rules.get(type(prepared.command).__name__)
        if rules is None:
            return prepared
        subjects = subjects_of(prepared.command, state_of)
        seen: list[Seen] = []
        for rule in rules:
            seen.extend(
                [self._velocity.seen(rule, one, now) for one in sorted(subjects[rule.subject])]
            )
        return msgspec.structs.replace(prepared, seen=tuple(seen))


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for a second person's word, why, and until when it can be given."""

    requested_by: str
    reason: str
    expires_at: datetime


def approval_request(command: Command, refusal: Rejected, asking: Asking) -> RequestApproval:
    """
    Return the request for a second person's word on exactly this command.

    ``refusal`` is APPROVAL_REQUIRED as the policy says it: it tells the rule and the amount.
    """
    found = fingerprint(validated(command))
    return RequestApproval(
        approval_id=approval_id_of(found),
        command=type(command).__name__,
        fingerprint=fingerprint_text(found),
        amount=cast(int, refusal.facts["amount"]),
        currency=str(refusal.facts["currency"]),
        rule_id=str(refusal.facts["rule_id"]),
        reason=asking.reason,
        requested_by=asking.requested_by,
        expires_at=asking.expires_at,
    )


def subjects_of(command: Command, state_of: StateOf) -> Mapping[Subject, set[str]]:
    """Return the buyer and the sellers whom a command concerns, as far as it tells."""
    order = _order_of(command, state_of)
    buyers = {str(getattr(command, "buyer_ref", "")), order.buyer_ref}
    sellers = {str(getattr(command, "seller", ""))}
    sellers.update([one.seller for one in getattr(command, "lines", ()) if hasattr(one, "seller")])
    if not any(sellers):
        sellers = {line.line.seller for line in order.lines.values()}
    return {Subject.BUYER: buyers - {""}, Subject.SELLER: sellers - {""}}


def _order_of(command: Command, state_of: StateOf) -> OrderState:
    order_id = getattr(command, "order_id", None)
    payment_id = getattr(command, "payment_id", None)
    if not order_id and payment_id:
        payment: PaymentState = state_of(streams.payment(payment_id))
        order_id = payment.order_id
    found: OrderState = state_of(streams.order(order_id)) if order_id else OrderState()
    return found
