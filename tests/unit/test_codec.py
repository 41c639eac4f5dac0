"""Bytes that are stored or hashed: fixed for ever, and dependent on every column."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest

from orderledger.ledger import codec
from orderledger.ledger.codec import HashedColumns, content_hash, key_hash, leaf_hash
from orderledger.ledger.errors import CorruptEvent, UnknownTopic
from orderledger.ledger.events import Event, topic, upcaster

WHEN = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
ROW = HashedColumns(
    event_id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    stream="order/ö-1",
    version=7,
    topic="payment.captured.v1",
    occurred_at=WHEN,
    appended_at=WHEN + timedelta(seconds=1),
    command_id=UUID("01890a5d-ac96-774b-bcce-b302099a8058"),
    context='{"actor":"api"}',
    postings="posted assets:psp:adyen GBP 5\nposted liabilities:escrow:1 GBP -5",
    payload='{"amount":5}',
)


@topic("codec_test.priced.v2")
class Priced(Event, frozen=True):
    """An event with every kind of field that payloads have."""

    price: Decimal
    at: datetime
    note: str = ""


@upcaster("codec_test.priced.v1", "codec_test.priced.v2")
def _from_text(raw: dict[str, object]) -> dict[str, object]:
    return {"price": raw["cost"], "at": raw["at"]}


def framed(*parts: bytes) -> bytes:
    """Write length-prefixed parts as the format's description says."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def test_content_hash_is_its_description() -> None:
    """An optimisation that changes the hashes of every event ever stored."""
    microseconds = 1_772_368_215_250_000
    expected = sha256(
        b"\x01"
        + framed(
            "büch".encode(),
            ROW.event_id.bytes,
            "order/ö-1".encode(),
            (7).to_bytes(8, "big"),
            b"payment.captured.v1",
            microseconds.to_bytes(8, "big"),
            (microseconds + 1_000_000).to_bytes(8, "big"),
            ROW.command_id.bytes,
            ROW.context.encode(),
            ROW.postings.encode(),
        )
        + sha256(ROW.payload.encode()).digest()
    ).digest()
    assert content_hash("büch", ROW) == expected


FROZEN_CONTENT = "6face437fa0db57eb9a717ee773b5343b9c6864bd7ff9f8315e6e98cdb3cfab2"
FROZEN_LEAF = "c44338f0d1d2687029993fb433898265f31f309493de012b4d594536be727816"
FROZEN_KEY = "4ee4c0d80522091037e1783055a8da7b"


def test_hashes_are_frozen() -> None:
    """A change of format that changes description and code together."""
    assert content_hash("main", ROW).hex() == FROZEN_CONTENT
    assert leaf_hash(1, WHEN, content_hash("main", ROW)).hex() == FROZEN_LEAF
    assert key_hash("main", "key").hex() == FROZEN_KEY


def test_leaf_hash_is_its_description() -> None:
    """A leaf that leaves out its position or its time."""
    content = content_hash("main", ROW)
    expected = sha256(
        b"\x00" + (9).to_bytes(8, "big") + (1_772_368_215_250_000).to_bytes(8, "big") + content
    ).digest()
    assert leaf_hash(9, WHEN, content) == expected
    assert leaf_hash(10, WHEN, content) != expected
    assert leaf_hash(9, WHEN + timedelta(microseconds=1), content) != expected


CHANGES: dict[str, object] = {
    "event_id": ROW.command_id,
    "stream": "order/2",
    "version": 8,
    "topic": "payment.captured.v2",
    "occurred_at": WHEN + timedelta(microseconds=1),
    "appended_at": WHEN,
    "command_id": ROW.event_id,
    "context": "{}",
    "postings": "",
    "payload": '{"amount":6}',
}


@pytest.mark.parametrize("column", HashedColumns.__struct_fields__)
def test_every_column_is_hashed(column: str) -> None:
    """A column that can be changed without a trace."""
    changed = msgspec.structs.replace(ROW, **{column: CHANGES[column]})
    assert content_hash("main", changed) != content_hash("main", ROW)
    assert content_hash("other", ROW) != content_hash("main", ROW)


def test_neighbours_do_not_run_into_each_other() -> None:
    """Two rows with one hash, because a letter moved from one column to the next."""
    left = msgspec.structs.replace(ROW, context="ab", postings="c")
    right = msgspec.structs.replace(ROW, context="a", postings="bc")
    assert content_hash("main", left) != content_hash("main", right)


@pytest.mark.parametrize(
    "instant",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
    ],
)
def test_microseconds_are_exact(instant: datetime) -> None:
    """An instant that loses a microsecond on its way through a float."""
    value = codec.microseconds(instant)
    assert codec.from_microseconds(value) == instant
    assert codec.microseconds(instant.astimezone(timezone(timedelta(hours=-5)))) == value


def test_an_instant_needs_a_zone() -> None:
    """A local time that is stored as if it were UTC."""
    with pytest.raises(TypeError):
        codec.microseconds(datetime(2026, 3, 1))


def test_events_round_trip() -> None:
    """A decimal that becomes a float, or a default that is stored."""
    event = Priced(price=Decimal("0.10"), at=WHEN)
    name, text = codec.encode_event(event)
    assert name == "codec_test.priced.v2"
    assert text == '{"price":"0.10","at":"2026-03-01T12:30:15.250000Z"}'
    decoded = codec.decode_event(name, text)
    assert decoded == event
    assert isinstance(decoded, Priced)
    assert str(decoded.price) == "0.10"
    assert codec.decode_event(name, text.encode()) == event


def test_an_old_version_is_lifted() -> None:
    """An event of an older release that cannot be read any more."""
    text = '{"cost":"7.50","at":"2026-03-01T12:30:15.250000Z"}'
    assert codec.decode_event("codec_test.priced.v1", text) == Priced(
        price=Decimal("7.50"), at=WHEN
    )


@pytest.mark.parametrize(
    "payload",
    ["", "{", "[]", "{}", '{"price":"x","at":"2026-03-01T12:30:15Z"}', b"\xff\xfe", '{"price":1}'],
)
def test_a_corrupt_payload_is_named(payload: str | bytes) -> None:
    """A damaged row that raises a decoder's error nobody catches."""
    with pytest.raises(CorruptEvent) as caught:
        codec.decode_event("codec_test.priced.v2", payload)
    assert caught.value.facts["topic"] == "codec_test.priced.v2"
    assert caught.value.__cause__ is not None


def test_a_corrupt_old_payload_is_named() -> None:
    """A damaged row of an older release that raises KeyError from inside its upcaster."""
    with pytest.raises(CorruptEvent):
        codec.decode_event("codec_test.priced.v1", '{"at":"2026-03-01T12:30:15Z"}')
    with pytest.raises(CorruptEvent):
        codec.decode_event("codec_test.priced.v1", "[]")


def test_an_unknown_topic_is_refused() -> None:
    """A topic that makes the code import what the database names."""
    with pytest.raises(UnknownTopic):
        codec.decode_event("os:system", "{}")


def test_keys_of_two_books_differ() -> None:
    """One tenant's key that answers another's command."""
    assert len(key_hash("a", "k")) == 16
    assert key_hash("a", "k") != key_hash("b", "k")
    assert key_hash("a", "k") != key_hash("a", "k2")
    assert key_hash("a", "bc") != key_hash("ab", "c")
