"""What a hypothesis changes: held against the whole log made so, and against the book as it is."""

import json
import random
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from msgspec.structs import replace

from orderledger import Book
from orderledger.ledger.as_of import LogAsOf, Point
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.hypothetical import MARK, EditedLog
from orderledger.ledger.ports import EventStore
from orderledger.ledger.standing_policy import DEFAULT, score_of, standing_of
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models import models_of
from orderledger.projections.read_models import ReadModels
from orderledger.projections.seller_standing import SellerStandingRow, counts_of
from orderledger.projections.shipped import SHIPPED
from orderledger.reading import Reading
from orderledger.replay.as_of import state_as_of
from orderledger.replay.diff import ChangeKind
from orderledger.replay.scenarios import edits_of, read_scenario
from orderledger.replay.what_if import WhatIf
from tests.dispute_book import ruling, shares
from tests.model.shop import item
from tests.projections.books import day
from tests.projections.market_book import MarketBook
from tests.seeding import ticking

NAMES = [model.name for model in SHIPPED]
FILED, ISSUED = 8, 31
"""Where ``DisputeShop`` files and rules, in a market book alone."""


POLICY: Final[dict[str, Any]] = msgspec.to_builtins(DEFAULT)


@pytest.fixture(scope="module")
def day_and_market() -> EventStore:
    """Give a day of sales and a marketplace."""
    clock = ticking()
    store = MemoryStore(clock=clock)
    Book(store, clock=clock).execute_many(day())
    MarketBook(store)
    return store


@pytest.fixture(scope="module")
def market() -> EventStore:
    """Give a marketplace alone: its positions are known."""
    store = MemoryStore(clock=ticking())
    MarketBook(store)
    return store


def _ask(store: EventStore, **scenario: Any) -> WhatIf:
    return Reading(store).what_if(read_scenario(json.dumps(scenario)))


def _rows(log: EventStore, name: str) -> dict[tuple[str, Any], Any]:
    models = ReadModels(log, models_of(log), SHIPPED)
    models.catch_up(name)
    live = models.live(name)
    assert live is not None
    return {
        (table.name, table.key_of(row)): row
        for table in models.model(name).tables
        for row in models.store.page(live, table, None, 100_000)
    }


def _random(chosen: random.Random, store: EventStore, size: int) -> dict[str, Any]:
    """Return edits that nobody chose for their sense."""
    rows = list(store.read(0, until=size, limit=size))
    picked = chosen.sample(range(1, size + 1), 6)
    like = rows[picked[5] - 1]
    return {
        "at": size,
        "omit": [
            {"position": picked[0]},
            {"stream": rows[picked[1] - 1].stream, "version": rows[picked[1] - 1].version},
        ],
        "replace": [{"position": picked[2], "postings": []}, {"position": picked[3]}],
        "inject": [
            {
                "stream": like.stream,
                "topic": like.topic.replace(".v1", ".v1"),
                "payload": json.loads(like.payload),
                "after": picked[4],
                "postings": [
                    {"account": "assets:bank:main", "currency": "USD", "minor": 7},
                    {"account": "equity:opening", "currency": "USD", "minor": -7},
                ],
            }
        ],
    }


def test_the_difference_is_that_of_the_whole_log_made_so(day_and_market: EventStore) -> None:
    """Catches a balance, a row or a state that a hypothesis changes and that is not told."""
    store, chosen = day_and_market, random.Random(8)
    head = store.head().size
    before = list(store.read(0, limit=10_000))
    for round_ in range(6):
        size = head if round_ < 3 else chosen.randrange(head // 2, head)
        names = chosen.sample([one for one in NAMES if one != "balances"], 3)
        supposed = {**_random(chosen, store, size), "models": names}
        found = _ask(store, **supposed)
        log = LogAsOf(store, Point(size))
        edited = EditedLog(log, edits_of(log, read_scenario(json.dumps(supposed))))
        _check_balances(found, log, edited)
        for name in names:
            _check_rows(found, _rows(log, name), _rows(edited, name), name)
        for change in found.states:
            state = state_as_of(edited, change.stream, edited.point)
            assert change.version_after == state.version
            for field in change.fields:
                assert getattr(state.state, field.name) == field.after
    assert list(store.read(0, limit=10_000)) == before


def _check_balances(found: WhatIf, log: LogAsOf, edited: EditedLog) -> None:
    then, supposed = Reading(log), Reading(edited)
    told = {(one.account, one.currency): one for one in found.balances}
    accounts = {
        (one.account, one.currency)
        for reading in (then, supposed)
        for one in reading.balances_below("assets")
        or [*reading.balances_below("liabilities"), *reading.balances_below("income")]
    }
    for account, currency in accounts | set(told):
        real = then.balance(account, currency)[currency]
        after = supposed.balance(account, currency)[currency]
        one = told.get((account, currency))
        assert (one.before, one.after) if one else (real, real) == (real, after)
        if one:
            assert (one.before, one.after) == (real, after)
            assert one.before + sum(entry.minor for entry in one.entries) == after


def _check_rows(found: WhatIf, rows: dict[Any, Any], wanted: dict[Any, Any], name: str) -> None:
    (model,) = [one for one in SHIPPED if one.name == name]
    for change in found.rows:
        for table in model.tables:
            if change.table != table.name:
                continue
            place = (change.table, change.key)
            old = rows.pop(place, None)
            assert (old is None) == (change.kind is ChangeKind.ADDED)
            if change.kind is ChangeKind.REMOVED:
                continue
            columns = [column.name for column in table.columns]
            values = dict(zip(columns, old or [*change.key, *[None] * len(columns)], strict=False))
            values.update({field.name: field.after for field in change.fields})
            rows[place] = tuple(values.values())
    assert rows == wanted


def test_the_same_scenario_gives_the_same_answer(market: EventStore) -> None:
    """Catches an answer that depends on the clock, on chance, or on who asked before."""
    command = msgspec.to_builtins(ruling(shares(100, 900), shares(100, 900)), str_keys=True)
    asked: Any = {
        "at": ISSUED - 1,
        "omit": [{"position": 6}],
        "commands": [{"command": "IssueRuling", "fields": command}],
        "models": NAMES,
    }
    first, again = (msgspec.json.encode(_ask(market, **asked)) for _ in range(2))
    assert first == again
    assert first.startswith(b'{"hypothetical":"' + MARK.encode())


def test_another_rule_gives_another_outcome(market: EventStore) -> None:
    """Catches commands that are decided by the rules that were swapped out."""
    division = shares(600, 400)
    fields = msgspec.to_builtins(ruling(division, division), str_keys=True)
    commands = [
        {"command": "IssueRuling", "fields": fields},
        {"command": "ExecuteRuling", "fields": {"dispute_id": "d1"}},
    ]
    as_it_was = _ask(market, at=ISSUED - 1, commands=commands)
    assert [one.reason for one in as_it_was.steps] == ["", "wrong_state"]
    without_appeal = [
        {"stream": "dispute-d1", "field": "rule_book.appeal_hours", "value": 0},
        {"stream": "dispute-d1", "field": "rule_book.appeals_per_party", "value": 0},
    ]
    # One rule without the other is no rule book.
    with pytest.raises(InvalidInput, match=r"swap\[0\]\.value: .*both or neither"):
        _ask(market, at=ISSUED - 1, swap=without_appeal[:1])
    filed = json.loads(next(iter(market.stream("dispute-d1"))).payload)
    rules = {**filed["rule_book"], "appeal_hours": 0, "appeals_per_party": 0}
    swapped = [{"stream": "dispute-d1", "field": "rule_book", "value": rules}]
    found = _ask(market, at=ISSUED - 1, commands=commands, swap=swapped)
    assert [one.error for one in found.steps] == ["", ""]
    assert {one.account: one.after - one.before for one in found.balances} == {
        "liabilities:escrow:o1": 400,
        "liabilities:seller:s1": -400,
    }
    (dispute,) = [one for one in found.states if one.stream == "dispute-d1"]
    stages = {one.name: (one.before, one.after) for one in dispute.fields}["stage"]
    assert stages == ("arbitration", "executed")
    assert list(found.findings) == []


def test_another_risk_policy_gives_another_outcome(market: EventStore) -> None:
    """Catches a policy that is read and not applied, or that counts what came later."""
    place = {
        "order_id": "o9",
        "buyer_ref": "b1",
        "currency": "USD",
        "lines": [msgspec.to_builtins(item("a", "80.00"))],
    }
    asked: Any = {"commands": [{"command": "PlaceOrder", "fields": place}]}
    rule = {"command": "PlaceOrder", "currency": "USD"}
    big = {"version": "1", "amounts": [{**rule, "rule_id": "big", "refuse_above": 7_999}]}
    often: Any = {
        "rule_id": "often",
        "subject": "buyer",
        "measure": "orders",
        "window_hours": 8_000,
        "count_max": 3,
        "effect": "approval",
        **rule,
    }
    assert [one.error for one in _ask(market, **asked).steps] == [""]
    assert [one.reason for one in _ask(market, **asked, risk=big).steps] == ["risk_limit_exceeded"]
    counted = {**asked, "risk": {"version": "1", "velocities": [often]}}
    assert [one.reason for one in _ask(market, **counted).steps] == ["approval_required"]
    assert [one.reason for one in _ask(market, at=ISSUED, **counted).steps] == [""]
    with pytest.raises(InvalidInput, match="risk: RiskPolicy has no field 'amount'"):
        _ask(market, **asked, risk={"version": "1", "amount": []})


def test_another_standing_policy_scores_every_seller_anew(market: EventStore) -> None:
    """Catches a policy that scores some sellers, other counts, or what was decided too."""
    strict = replace(DEFAULT, name="strict", minimum_orders=1, refund_weight=Decimal(3))
    given = msgspec.to_builtins(strict)
    found = _ask(market, standing=given)
    assert (found.steps, found.balances, found.states, found.findings) == ((), (), (), ())
    told = {
        (row.key, one.name): (one.before, one.after) for row in found.rows for one in row.fields
    }
    wanted: dict[Any, Any] = {}
    reading = Reading(market)
    reading.models.catch_up("seller_standing")
    for row in reading.models.select(SellerStandingRow):
        counts = counts_of(row)
        score, standing = score_of(counts, strict), standing_of(counts, strict).value
        if score != row.earned_score:
            wanted[((row.seller,), "earned_score")] = (row.earned_score, score)
        if standing != row.earned_standing:
            wanted[((row.seller,), "earned_standing")] = (row.earned_standing, standing)
    assert told == wanted
    assert {name for _, name in told} == {"earned_score", "earned_standing"}
    # With the same policy nothing is another, and edits are scored by the one that is supposed.
    assert _ask(market, standing=msgspec.to_builtins(DEFAULT)).rows == ()
    reading.close()


def test_what_is_wrong_with_a_hypothesis_is_told(market: EventStore) -> None:
    """Catches a hypothesis whose books do not balance, or cannot be folded, that says nothing."""
    legs = [{"account": "assets:bank:main", "currency": "USD", "minor": 5}]
    completed = {"stream": "payment-p1", "topic": "order.completed.v1", "payload": {}}
    found = _ask(
        market,
        omit=[{"position": 6}],
        inject=[{**completed, "postings": legs}],
        models=["payments"],
    )
    told = {one.code.value: one.text for one in reversed(found.findings)}
    assert "does not belong in a stream" in told["event_not_folded"]
    assert "sum to 5 minor units" in told["entry_unbalanced"]
    assert "its escrow account has" in told["balance_disagrees"]
    assert "read model payments leaves out payment-p1" in told["event_not_projected"]
    assert any("owes" in one.text for one in found.findings)
    assert {one.account: one.after - one.before for one in found.balances}["assets:bank:main"] == 5


def test_money_that_comes_to_the_same_is_not_told(market: EventStore) -> None:
    """Catches a payload that is replaced and shows as money that moved."""
    row = market.read(6, limit=1)[0]
    payload = {**json.loads(row.payload), "slice_id": "s2"}
    found = _ask(market, replace=[{"position": 7, "payload": payload}])
    assert found.balances == ()
    assert [one.stream for one in found.states] == ["order-o1"]


def test_commands_that_are_refused_are_told_and_the_next_is_given(market: EventStore) -> None:
    """Catches a refusal that ends the scenario, or one that is told without its reason."""
    found = _ask(
        market,
        commands=[
            {"command": "CompleteOrder", "fields": {"order_id": "none"}},
            {"command": "CloseAccount", "fields": {"account": "assets:bank:x", "reason": "x"}},
            {
                "command": "AddNote",
                "fields": {"order_id": "o1", "note_ref": "n", "by": "ann"},
            },
            {
                "command": "ClosePeriod",
                "fields": {"period": "p", "end": "2026-01-06T00:00:00Z"},
                "at": "2026-09-01T00:00:00Z",
                "actor": {"type": "staff", "id": "ann"},
            },
        ],
    )
    assert [(one.command, one.error) for one in found.steps] == [
        ("CompleteOrder", "NotFound"),
        ("CloseAccount", ""),
        ("AddNote", ""),
        ("ClosePeriod", ""),
    ]
    assert found.steps[0].message == "there is no order none"
    (closed,) = found.steps[-1].events
    assert closed.topic == "period.closed.v1"
    assert closed.context.actor.id == "ann"
    assert list(market.stream("periods-main")) == []


CLOSING: dict[str, Any] = {
    "command": "CloseAccount",
    "fields": {"account": "assets:bank:a", "reason": "x"},
}
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "supposes nothing"),
    ({"standing": {"name": "x"}}, "standing: Object missing required field `minimum_orders`"),
    ({"standing": {**POLICY, "weight": 1}}, "standing: StandingPolicy has no field 'weight'"),
    ({"standing": {**POLICY, "lost_weight": "NaN"}}, "standing: lost_weight is NaN, which is no"),
    ({"standing": {**POLICY, "refund_weight": "-1"}}, "standing: refund_weight is -1, which is no"),
    ({"standing": {**POLICY, "minimum_orders": -1}}, "standing: minimum_orders is -1"),
    (
        {"standing": {**POLICY, "thresholds": [*POLICY["thresholds"][::-1]]}},
        "standing: thresholds have the scores",
    ),
    ({"omitted": []}, r"unknown field `omitted`"),
    ({"omit": [{"pos": 1}]}, r"unknown field `pos` - at `\$\.omit\[0\]`"),
    ({"omit": [{}]}, r"omit\[0\]: name a position, or a stream and a version"),
    ({"omit": [{"position": 1, "stream": "order-o1", "version": 1}]}, r"omit\[0\]: name"),
    ({"omit": [{"stream": "order-o1"}]}, r"omit\[0\]: name"),
    ({"omit": [{"position": 0}]}, r"omit\[0\]\.position is 0: book main is forked at"),
    ({"omit": [{"position": 9999}]}, r"omit\[0\]\.position is 9999"),
    ({"at": 9999, "omit": [{"position": 1}]}, "position 9999 is not in the log"),
    ({"at": 5, "omit": [{"position": 6}]}, r"omit\[0\]\.position is 6: book main is forked at 5"),
    ({"omit": [{"stream": "order-x", "version": 1}]}, r"omit\[0\]: stream order-x has no version"),
    ({"omit": [{"position": 1}], "replace": [{"position": 1}]}, r"replace\[0\]: .* edited twice"),
    ({"replace": [{"position": 1, "topic": "order.completed.v1"}]}, r"replace\[0\]\.payload is"),
    ({"replace": [{"position": 1, "payload": {"x": 1}}]}, r"replace\[0\]: .*cannot be decoded"),
    (
        {"replace": [{"position": 7, "payload": {"slice_id": "s", "amount": 1, "amonut": 2}}]},
        r"replace\[0\]\.payload: FundsHeld has no field 'amonut'",
    ),
    (
        {"inject": [{"stream": "order-o1", "topic": "order.nope.v1", "payload": {}}]},
        r"inject\[0\]: topic 'order.nope.v1' is not registered",
    ),
    (
        {"inject": [{"stream": "nope-1", "topic": "order.completed.v1", "payload": {}}]},
        r"inject\[0\]\.stream: stream 'nope-1' is of no kind",
    ),
    (
        {
            "inject": [
                {
                    "stream": "order-o1",
                    "topic": "order.completed.v1",
                    "payload": {},
                    "after": 9999,
                }
            ]
        },
        r"inject\[0\]\.after is 9999",
    ),
    (
        {
            "replace": [
                {"position": 1, "postings": [{"account": "x", "currency": "USD", "minor": 1}]}
            ]
        },
        r"replace\[0\]\.postings\[0\]: account 'x'",
    ),
    (
        {"swap": [{"stream": "dispute-d1", "field": "rulebook", "value": 1}]},
        r"swap\[0\]: no event of dispute-d1 by position \d+ has a field 'rulebook'",
    ),
    (
        {"swap": [{"stream": "dispute-d1", "field": "rule_book.appeals", "value": 1}]},
        r"swap\[0\]: .*unknown field `appeals`",
    ),
    (
        {"swap": [{"stream": "dispute-d1", "field": "reason.x", "value": 1}]},
        r"swap\[0\]\.field: 'reason.x' leads to nothing",
    ),
    ({"commands": [{"command": "Nope", "fields": {}}]}, r"commands\[0\]\.command: there is no"),
    (
        {"commands": [{"command": "CompleteOrder", "fields": {"id": 1}}]},
        r"commands\[0\]\.fields: .*unknown field `id`",
    ),
    (
        {
            "commands": [
                {**CLOSING, "at": at} for at in ("2026-09-02T00:00:00Z", "2026-09-01T00:00:00Z")
            ]
        },
        r"commands\[1\]\.at is .* before",
    ),
]


@pytest.mark.parametrize(("scenario", "why"), BAD)
def test_a_scenario_that_does_not_fit_is_named(
    market: EventStore, scenario: dict[str, Any], why: str
) -> None:
    """Catches a scenario that is half understood, which would be answered wrongly."""
    with pytest.raises(InvalidInput, match=why):
        _ask(market, **scenario)


def test_what_is_asked_about_must_be_there(market: EventStore) -> None:
    """Catches an empty answer about a stream or a model that there is not."""
    with pytest.raises(NotFound, match="there is no read model nothing"):
        _ask(market, omit=[{"position": 1}], models=["nothing"])
    with pytest.raises(NotFound, match="streams: order-nobody has no events"):
        _ask(market, omit=[{"position": 1}], streams=["order-nobody"])


def test_a_book_without_events_needs_a_time() -> None:
    """Catches a command that is decided in the year one."""
    with pytest.raises(InvalidInput, match=r"commands\[0\]\.at is missing"):
        _ask(MemoryStore(), commands=[CLOSING])
    found = _ask(MemoryStore(), commands=[{**CLOSING, "at": "2026-01-01T00:00:00Z"}])
    assert len(found.steps) == 1
