"""Types at the door: malformed commands are refused with the field's name (C4)."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.account_commands import PostEntry, PostingInput
from orderledger.commands.order_commands import PlaceOrder
from orderledger.commands.payment_commands import Capture, InitiatePayment
from orderledger.commands.requests import Actor, Envelope
from orderledger.commands.validation import validated
from orderledger.ledger.errors import InvalidCommand, InvalidInput
from orderledger.ledger.order_content import LineInput
from orderledger.ledger.payment_events import CaptureMode

WEST, EAST = timezone(timedelta(hours=-10)), timezone(timedelta(hours=10))


def initiate(**changed: Any) -> InitiatePayment:
    fields: dict[str, Any] = {
        "payment_id": "p1",
        "order_id": "o1",
        "provider": "adyen",
        "method": "card",
        "amount": 100,
        "currency": "GBP",
    }
    return InitiatePayment(**{**fields, **changed})


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"amount": 10.5}, "amount"),
        ({"amount": 10.0}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": "100"}, "amount"),
        ({"amount": None}, "amount"),
        ({"currency": 826}, "currency"),
        ({"payment_id": b"p1"[0]}, "payment_id"),
        ({"capture_mode": "sometimes"}, "capture_mode"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": datetime(2026, 1, 1)}, "expires_at"),
        ({"occurred_at": datetime(2026, 1, 1)}, "occurred_at"),
        ({"is_over_tender": 1}, "is_over_tender"),
        ({"method": b"card"}, "method"),
        ({"method": bytearray(b"card")}, "method"),
        ({"expires_at": datetime(9999, 12, 31, 23, tzinfo=WEST)}, "expires_at"),
        ({"occurred_at": datetime(9999, 12, 31, 23, tzinfo=WEST)}, "occurred_at"),
        ({"occurred_at": datetime(1, 1, 1, 1, tzinfo=EAST)}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:00:00-10:00"}, "occurred_at"),
        ({"method": "card\x00"}, "method"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(changed: dict[str, Any], field: str) -> None:
    """
    Catches a float, a bool or a naive time that reaches a decider; bytes that are stored as base64;
    and an instant beyond UTC's years, which PostgreSQL keeps and nothing can read again: one such
    row, and no balance of the book could be read any more. A NUL, which PostgreSQL's text cannot
    hold: the event would be stored and no read model there could show it.
    """
    with pytest.raises(InvalidCommand) as error:
        validated(initiate(**changed))
    assert error.value.facts["field"] == field
    assert error.value.message.startswith(f"InitiatePayment.{field}: ")


def test_a_float_price_is_refused_though_a_decimal_could_be_read_from_it() -> None:
    """Catches 0.1 taken for one tenth."""
    line = LineInput(line_id="1", sku="A", seller="s", quantity=1, unit_price=0.1)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidCommand) as error:
        validated(PlaceOrder(order_id="o", currency="GBP", lines=(line,)))
    assert error.value.facts["field"] == "lines[0].unit_price"


def test_an_object_that_is_no_data_is_refused() -> None:
    """Catches an encoder's TypeError that escapes untyped."""
    with pytest.raises(InvalidCommand):
        validated(initiate(method=object()))


def test_texts_and_lists_become_what_they_stand_for() -> None:
    """Catches a decider that meets a text where it expects a choice."""
    checked = validated(initiate(capture_mode="multi"))
    assert checked.capture_mode is CaptureMode.MULTI
    posting = PostingInput("assets:bank:a", "GBP", 1)
    entry = validated(PostEntry(entry_id="e", description="x", postings=[posting]))  # type: ignore[arg-type]  # on purpose
    assert entry.postings == (posting,)


def test_a_valid_command_is_returned_equal() -> None:
    """Catches a check that changes what it checks, up to 10^24 minor units."""
    capture = Capture(
        payment_id="p",
        op_id="c",
        amount=10**24,
        currency="GBP",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert validated(capture) == capture
    line = LineInput(line_id="1", sku="A", seller="s", quantity=1, unit_price=Decimal("0.001"))
    order = PlaceOrder(order_id="o", currency="GBP", lines=(line,))
    assert validated(order) == order


def test_the_first_and_the_last_instant_of_all_are_accepted() -> None:
    """Catches a range that is one microsecond too narrow."""
    for instant in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert validated(initiate(occurred_at=instant)).occurred_at == instant


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"command": None}, "command"),
        ({"command": {"order_id": "o1"}}, "command"),
        ({"key": 41}, "key"),
        ({"key": b"cart-41"}, "key"),
        ({"key": ""}, "key"),
        ({"key": "x" * 256}, "key"),
        ({"key": "cart\x0041"}, "key"),
        ({"actor": None}, "actor"),
        ({"actor": "alice"}, "actor"),
        ({"actor": {"type": "user", "id": "alice"}}, "actor"),
        ({"source": "carrier pigeon"}, "source"),
        ({"source": None}, "source"),
        ({"correlation_id": 7}, "correlation_id"),
        ({"causation_id": True}, "causation_id"),
        ({"provider_event_id": b"evt"}, "provider_event_id"),
        ({"correlation_id": "x" * 256}, "correlation_id"),
        ({"expected": ["order-o1"]}, "expected"),
        ({"expected": {7: 1}}, "expected"),
        ({"expected": {"order-o1": -1}}, "expected"),
        ({"expected": {"order-o1": True}}, "expected"),
        ({"expected": {"order-o1": "1"}}, "expected"),
    ],
)
def test_an_envelope_of_the_wrong_type_is_named(changed: dict[str, Any], field: str) -> None:
    """
    Catches an actor or an id of another type: encoded as it is and stored with the events, it made
    them a CorruptEvent of a history that cannot be mended. SQLite alone took a key with a NUL.
    """
    with pytest.raises(InvalidInput) as error:
        Envelope(**{"command": initiate(), **changed})
    assert error.value.facts["field"] == field


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"type": None}, "actor.type"),
        ({"id": 7}, "actor.id"),
        ({"on_behalf_of": 7}, "actor.on_behalf_of"),
        ({"id": "x" * 256}, "actor.id"),
    ],
)
def test_an_actor_of_the_wrong_type_is_named(changed: dict[str, Any], field: str) -> None:
    """Catches an actor whose id is the number of a database row."""
    with pytest.raises(InvalidInput) as error:
        Actor(**{"type": "user", "id": "alice", **changed})
    assert error.value.facts["field"] == field
