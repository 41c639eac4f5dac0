"""Kinds of anomaly: one list, one spelling, and what was stored before is read as if it had it."""

import ast
import re
from pathlib import Path

import pytest

from orderledger.ledger.anomalies import (
    AnomalyKind,
    AnomalyRaised,
    AnomalyResolved,
    open_anomalies,
    spelled,
)
from orderledger.ledger.codec import decode_event, encode_event
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.fulfilment_events import ReturnInTransit, ReturnReceived
from orderledger.ledger.returns import TRANSITIONS, ReturnLifecycle

COMMANDS = Path(__file__).parents[2] / "commands"


def test_kinds_are_spelled_one_way() -> None:
    """Catches a second spelling: what alerts are written by would match half of the anomalies."""
    for kind in AnomalyKind:
        assert re.fullmatch(r"(?:[A-Z][a-z]+)+", kind.value)
        assert kind.name == re.sub(r"(?<!^)([A-Z])", r"_\1", kind.value).upper()
        assert spelled(kind.name.lower()) in {kind.value, kind.name.lower()}


def test_code_raises_what_is_listed_alone() -> None:
    """Catches an anomaly of a kind that no list has, and a listed one that nothing raises."""
    used: set[str] = set()
    for path in sorted(COMMANDS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "AnomalyKind":
                used.add(node.attr)
            is_raised = isinstance(node, ast.Call) and "AnomalyRaised" in ast.unparse(node.func)
            if is_raised:
                assert isinstance(node, ast.Call)
                kinds = [one.value for one in node.keywords if one.arg == "kind"]
                assert len(kinds) == 1, f"{path.name}:{node.lineno} names no kind"
                assert not isinstance(kinds[0], ast.Constant | ast.JoinedStr), path.name
    made = re.compile("InTransitWhile|ReceivedWhile|AwardWhile|(?:Dispatched|Delivered)Before|YetC")
    unused = {kind.name for kind in AnomalyKind if not made.search(kind.value)} - used
    assert unused == set()


def test_every_state_has_its_kind() -> None:
    """Catches a report that cannot be recorded because its contradiction has no kind."""
    for stage in set(Stage) - {Stage.NONE}:
        AnomalyKind(spelled(f"award_while_{stage.value}"))
    for happened, event in (("in_transit", ReturnInTransit), ("received", ReturnReceived)):
        regular = TRANSITIONS[event] | {ReturnLifecycle.NONE}
        if event is ReturnInTransit:
            regular |= {ReturnLifecycle.IN_TRANSIT}
        for lifecycle in set(ReturnLifecycle) - regular:
            AnomalyKind(spelled(f"{happened}_while_{lifecycle.value}"))
    for happened in ("dispatched", "delivered"):
        AnomalyKind(spelled(f"{happened}_yet_cancelled"))
        AnomalyKind(spelled(f"{happened}_before_approval"))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("freeze_short", "FreezeShort"),
        ("freeze_short:f-1:s1:20", "FreezeShort:f-1:s1:20"),
        ("in_transit_while_manual_review:r_1", "InTransitWhileManualReview:r_1"),
        ("Exposure:p_1:x_y", "Exposure:p_1:x_y"),
        ("by-hand:a_b", "by-hand:a_b"),
        ("", ""),
    ],
)
def test_old_spellings_are_lifted(before: str, now: str) -> None:
    """Catches a reference that is mistaken for a kind, or a kind that keeps its old spelling."""
    assert spelled(before) == now


def test_what_was_resolved_before_stays_resolved() -> None:
    """Catches an anomaly that is open again because its key is spelled another way."""
    raised = decode_event(
        "anomaly.raised.v1", '{"kind":"freeze_short","refs":["f-1"],"severity":"error"}'
    )
    named = decode_event(
        "anomaly.raised.v1",
        '{"kind":"unknown_order","refs":["x"],"anomaly_id":"unknown_order:f1"}',
    )
    resolved = decode_event(
        "anomaly.resolved.v1", '{"anomaly_id":"freeze_short:f-1","by":"ann","resolution":"paid"}'
    )
    assert isinstance(raised, AnomalyRaised)
    assert isinstance(named, AnomalyRaised)
    assert isinstance(resolved, AnomalyResolved)
    assert (raised.kind, named.key) == (AnomalyKind.FREEZE_SHORT, "UnknownOrder:f1")
    opened = open_anomalies(open_anomalies((), raised), named)
    assert open_anomalies(opened, resolved) == ("UnknownOrder:f1",)


def test_a_kind_is_stored_by_its_value() -> None:
    """Catches bytes that name the member instead, or differ from those of the same text."""
    event = AnomalyRaised(kind=AnomalyKind.EXPOSURE, refs=("p1",))
    stored = encode_event(event)
    assert stored == encode_event(AnomalyRaised(kind="Exposure", refs=("p1",)))
    assert decode_event(*stored) == event
