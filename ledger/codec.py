"""
Events, commands and envelopes to bytes and back, and the canonical bytes that are hashed.

Payloads are JSON text that an auditor can read in psql. msgspec writes struct fields in their
declared order, so the same event always gives the same bytes.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct
from typing import Final
from uuid import UUID

import msgspec

from .errors import CorruptEvent
from .events import Event, is_old, struct_of, topic_of, upcast
from .ports import StoredEvent

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_encoder: Final = msgspec.json.Encoder(decimal_format="string")
_decoders: dict[str, msgspec.json.Decoder[Event]] = {}


def encode_event(event: Event) -> tuple[str, str]:
    """Return the topic and the JSON text of an event."""
    return topic_of(type(event)), _encoder.encode(event).decode()


def decode_event(topic: str, payload: str | bytes) -> Event:
    """
    Return the event struct of a stored payload, lifted to the current version.

    Raises UnknownTopic for a topic that is not registered and CorruptEvent for a payload that is
    not what the topic demands. The caller adds position and stream.
    """
    try:
        decoder = _decoders.get(topic)
        if decoder is not None:
            return decoder.decode(payload)
        if is_old(topic):
            current, raw = upcast(topic, msgspec.json.decode(payload, type=dict[str, object]))
            return msgspec.convert(raw, struct_of(current), strict=False)
        decoder = _decoders[topic] = msgspec.json.Decoder(struct_of(topic))
        return decoder.decode(payload)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
        # The last three come out of upcasters, which expect the fields of their old version.
        raise CorruptEvent(
            f"the payload of a {topic} event cannot be decoded: {error}", topic=topic
        ) from error


def encode_json(value: object) -> str:
    """Return compact JSON text; structs in declared order, decimals as strings."""
    return _encoder.encode(value).decode()


def microseconds(instant: datetime) -> int:
    """Return microseconds since 1970 in UTC, exactly (no float)."""
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Return the UTC instant of microseconds since 1970."""
    return _EPOCH + value * _MICROSECOND


class HashedColumns(msgspec.Struct, frozen=True, gc=False):
    """Every stored column of one event row but its postings' parse: what the leaf hash covers."""

    event_id: UUID
    stream: str
    version: int
    topic: str
    occurred_at: datetime
    appended_at: datetime
    command_id: UUID
    context: str
    postings: str
    payload: str


_length: Final = Struct(">I").pack
_id_and_length: Final = Struct(">I16sI").pack
_number_and_length: Final = Struct(">IqI").pack
_instants_and_id: Final = Struct(">IqIqI16sI").pack


def content_hash(book: str, row: HashedColumns | StoredEvent) -> bytes:
    """
    Return SHA-256 over the event's columns in canonical, length-prefixed form.

    Form: a version byte 1; then each of book, event_id, stream, version, topic, occurred_at,
    appended_at, command_id, context, postings as 4 bytes of length (big-endian) and its bytes
    (text as UTF-8, integers and microseconds as 8 bytes big-endian signed, ids as 16 bytes); then
    the SHA-256 of the payload, so that a proof can withhold the payload itself.
    """
    name, stream, topic = book.encode(), row.stream.encode(), row.topic.encode()
    context, postings = row.context.encode(), row.postings.encode()
    # Fixed-size neighbours are packed together with their length prefixes: half the time.
    return sha256(
        b"".join(
            (
                b"\x01",
                _length(len(name)),
                name,
                _id_and_length(16, row.event_id.bytes, len(stream)),
                stream,
                _number_and_length(8, row.version, len(topic)),
                topic,
                _instants_and_id(
                    8,
                    microseconds(row.occurred_at),
                    8,
                    microseconds(row.appended_at),
                    16,
                    row.command_id.bytes,
                    len(context),
                ),
                context,
                _length(len(postings)),
                postings,
                sha256(row.payload.encode()).digest(),
            )
        )
    ).digest()


def leaf_hash(position: int, recorded_at: datetime, content: bytes) -> bytes:
    """
    Return the RFC 6962 leaf hash of an event at its position: SHA-256(0x00 ‖ leaf).

    The leaf is position and recorded_at (microseconds), 8 bytes big-endian each, then the content
    hash: with ``content_hash`` it covers every stored column.
    """
    return sha256(
        b"\x00"
        + position.to_bytes(8, "big")
        + microseconds(recorded_at).to_bytes(8, "big", signed=True)
        + content
    ).digest()


def key_hash(book: str, key: str) -> bytes:
    """Return the 16 bytes under which an idempotency key is looked up."""
    return sha256(f"{book}\x00{key}".encode()).digest()[:16]
