"""What is stored as work comes back as it was."""

import random
from datetime import timedelta

import msgspec
import pytest

from orderledger.commands.effects import (
    REQUESTS,
    Call,
    Execute,
    Origin,
    bounded_key,
    decode_envelope,
    decode_origin,
    decode_request,
    effect_key,
    encode_envelope,
    outbox_work,
)
from orderledger.commands.idempotency import fingerprint
from orderledger.commands.model import COMMANDS, PlaceOrder
from orderledger.commands.period_commands import ClosePeriod
from orderledger.commands.requests import SYSTEM, Actor, Envelope, Source
from orderledger.commands.validation import validated
from orderledger.ledger.errors import CorruptEvent, InvalidCommand
from orderledger.ledger.provider_ports import Notify
from tests.machinery.shop import START, Clock, open_book, place
from tests.model.random_commands import Maker


def test_every_command_comes_back_as_it_was_queued() -> None:
    """Catches a queued command that is executed with another amount, time or choice."""
    made, valid = Maker(random.Random(7)), set()
    for kind in COMMANDS * 12:
        try:
            command = validated(made.struct(kind))
        except InvalidCommand:
            continue
        valid.add(kind)
        envelope = Envelope(
            command=command,
            key="k",
            actor=Actor("user", "u", "for"),
            source=Source.IMPORT,
            expected={"order-o1": 3},
            correlation_id="c",
            causation_id="d",
            provider_event_id="e",
        )
        stored = encode_envelope(envelope)
        found = decode_envelope(*stored, "k")
        # By their bytes: a decimal that is no number does not equal itself.
        assert encode_envelope(found) == stored
        assert fingerprint(found.command) == fingerprint(command)
        assert found.actor == envelope.actor
    assert len(valid) > len(COMMANDS) * 3 // 4


def test_a_command_that_runs_alone_can_be_queued() -> None:
    """Catches a command past the usual deciders that is accepted and then cannot be executed."""
    clock = Clock()
    book = open_book(clock)
    book.enqueue(ClosePeriod(period="p", start=None, end=START - timedelta(days=1)), key="k")
    book.machinery.settle()
    assert book.ticket("k").result().streams == {"periods-main": 1}


def test_every_request_comes_back_as_it_was_stored() -> None:
    """Catches a request that reaches its port with another amount, or under another key."""
    for kind in REQUESTS.values():
        fields = {
            one.name: {"int": 3, "str": "x", "bool": True}.get(getattr(one.type, "__name__", ""))
            for one in msgspec.structs.fields(kind)
            if one.required
        }
        given = {name: value for name, value in fields.items() if value is not None}
        text = {"kind": "capture"} if kind.__name__ == "QueryRequest" else {}
        lines = (
            {"lines": [{"line_id": "a", "quantity": 2}]} if kind.__name__ == "ShipRequest" else {}
        )
        request = msgspec.convert({**given, **text, **lines}, kind)
        work = outbox_work(Call(request), "key", Origin(stream="order-o"), SYSTEM, START)
        expected = msgspec.structs.replace(request, idempotency_key="key")
        assert decode_request(work.kind, work.payload) == expected
        assert work.streams == ("order-o",)


def test_effects_say_where_they_come_from() -> None:
    """Catches an effect that traces to no event, or names a stream twice."""
    origin = Origin(reactor="r", position=7, ordinal=1, stream="order-o1")
    work = outbox_work(Execute(place()), "key", origin, Actor("reactor", "r"), START)
    assert decode_origin(work.origin) == origin
    envelope = decode_envelope(work.kind, work.payload, work.key)
    assert (envelope.causation_id, envelope.actor.id) == ("position:7", "r")
    assert work.streams == ("order-o1",)
    named = Notify(recipient_ref="b", template="t", idempotency_key="own")
    work = outbox_work(Call(named), "key", origin, SYSTEM, START)
    assert decode_request(work.kind, work.payload).idempotency_key == "own"


def test_keys_differ_by_all_that_they_are_made_of() -> None:
    """Catches two effects under one key, the second of which is never performed."""
    made = {
        effect_key(book, reactor, position, ordinal)
        for book in ("main", "mai")
        for reactor in ("n", "nr")
        for position in (1, 11)
        for ordinal in (0, 1, 10)
    }
    assert len(made) == 2 * 2 * 2 * 3
    long = "timer/" + "x" * 300
    assert bounded_key("timer/short") == "timer/short"
    assert len(bounded_key(long)) < 80
    assert bounded_key(long) != bounded_key(long + "y")


def test_what_this_code_does_not_know_is_refused() -> None:
    """Catches work of another version that is taken for something else."""
    kind, payload = encode_envelope(Envelope(command=place(), key="k"))
    with pytest.raises(CorruptEvent, match="0 commands Unheard"):
        decode_envelope("command:Unheard", payload, "k")
    with pytest.raises(CorruptEvent, match="cannot be decoded"):
        decode_envelope("command:AddNote", payload, "k")
    with pytest.raises(CorruptEvent):
        decode_request("call:Unheard", "{}")
    assert isinstance(decode_envelope(kind, payload, "k").command, PlaceOrder)
