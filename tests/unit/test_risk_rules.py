"""The risk policy as data: which rules are none, and what an alert of one's own needs."""

from typing import Any

import pytest

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.decision import States
from orderledger.commands.risk_guards import Asked, guarded
from orderledger.ledger.errors import InvalidInput, Rejected, UnknownCurrency
from orderledger.ledger.risk_rules import (
    AmountRule,
    Effect,
    Measure,
    RiskPolicy,
    Subject,
    VelocityRule,
)
from orderledger.ledger.stores.memory import MemoryStore
from tests.decided_book import START, DecidedBook

Rule = AmountRule | VelocityRule
AMOUNT: dict[str, Any] = {"command": "PostEntry", "currency": "EUR", "approve_above": 1}
VELOCITY: dict[str, Any] = {
    "command": "PlaceOrder",
    "subject": Subject.BUYER,
    "measure": Measure.ORDERS,
    "currency": "EUR",
    "window_hours": 1,
    "count_max": 1,
}


def policy(*rules: AmountRule | VelocityRule) -> RiskPolicy:
    return RiskPolicy(
        version="1",
        amounts=tuple([one for one in rules if isinstance(one, AmountRule)]),
        velocities=tuple([one for one in rules if isinstance(one, VelocityRule)]),
    )


def amount(rule_id: str = "a", **fields: Any) -> AmountRule:
    return AmountRule(rule_id=rule_id, **{**AMOUNT, **fields})


def velocity(rule_id: str = "v", **fields: Any) -> VelocityRule:
    return VelocityRule(rule_id=rule_id, **{**VELOCITY, **fields})


@pytest.mark.parametrize(
    "rules",
    [
        (amount(""),),
        (amount("x" * 61),),
        (amount(), amount()),
        (amount("same"), velocity("same")),
        (amount(approve_above=None),),
        (amount(approve_above=-1),),
        (velocity(count_max=None),),
        (velocity(window_hours=0),),
        (velocity(effect=Effect.REFUSAL),),
    ],
)
def test_rules_that_could_not_work_are_refused(
    rules: tuple[AmountRule | VelocityRule, ...],
) -> None:
    """Catches a policy that is taken and then protects nothing."""
    with pytest.raises(InvalidInput):
        policy(*rules)


def test_a_currency_that_there_is_not() -> None:
    """Catches a limit in a currency in which nothing is ever paid."""
    with pytest.raises(UnknownCurrency):
        policy(amount(currency="EURO"))


@pytest.mark.parametrize(
    "rule",
    [
        amount(command="PostEntri"),
        amount(command="RecordSettlement"),
        velocity(command="GrantRefund", effect=Effect.HOLD),
    ],
)
def test_rules_of_no_command_are_refused_at_the_door(rule: AmountRule | VelocityRule) -> None:
    """Catches a typing error in a command's name, after which no limit holds."""
    with pytest.raises(InvalidInput):
        Book(MemoryStore()).keep_to(policy(rule))


def test_what_has_happened_is_never_held_up() -> None:
    """Catches a policy that keeps a settlement out of the books although the money has moved."""
    report = m.RecordSettlement(
        entry_id="s1", provider="psp", bank="main", gross=90_000, fee=0, currency="EUR"
    )
    intention = m.PostEntry(
        entry_id="e1",
        description="x",
        postings=(
            m.PostingInput("assets:bank:main", "EUR", 90_000),
            m.PostingInput("equity:opening", "EUR", -90_000),
        ),
    )
    rules = policy(
        amount("a", command="RecordSettlement", refuse_above=1),
        amount("b", command="PostEntry", refuse_above=1),
    )
    found: list[str] = []
    for command in (report, intention):
        book = DecidedBook()
        changes = book.run(command)
        asked = Asked(command, "k", "id", b"f" * 36)
        try:
            guarded(rules, asked, tuple(changes), States(book.states), START)
            found.append("")
        except Rejected as refusal:
            found.append(refusal.reason.value)
    assert found == ["", "risk_limit_exceeded"]


def test_refusals_of_alerts_in_their_order() -> None:
    """Catches an alert that overwrites another, or a resolution of none."""
    book = DecidedBook()
    given = m.RaiseAlert(alert_id="a1", rule_id="ip", subject="b1", detail="many addresses")
    resolve = m.ResolveAlert(alert_id="a1", by="ann", resolution="a family")
    table: list[tuple[Any, str]] = [
        (resolve, "NotFound"),
        (m.RaiseAlert(alert_id="a1", rule_id="", subject="b1", detail=""), "InvalidCommand"),
        (given, ""),
        (given, ""),
        (m.RaiseAlert(alert_id="a1", rule_id="ip", subject="b2", detail=""), "already_exists"),
        (resolve, ""),
        (resolve, ""),
    ]
    assert [book.refusal(command) for command, _ in table] == [want for _, want in table]
    assert not book.states["alert-a1"].is_open
