"""A batch as the parameters of ``orderledger.append`` or ``orderledger.append_one``."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Final

import msgspec

from ..codec import HashedColumns, content_hash
from ..ports import Batch, NewAppend, NewEvent
from .postgres_arrays import (
    bigint,
    bigint_array,
    boolean,
    boolean_array,
    bytes_array,
    integer,
    text_array,
    timestamp,
    timestamp_array,
    uuid_array,
    uuid_array_of_bytes,
)


class EncodedBatch(msgspec.Struct, frozen=True):
    """
    ``columns`` follow the batch's generation and time in the function's order, each in binary
    format. ``is_possible`` is False where the batch contradicts itself about a stream's version, so
    that no state of the database could take it.
    """

    columns: tuple[bytes, ...]
    is_possible: bool


_Row = tuple[str, int, NewEvent, NewAppend]
_stream_and_version: Final = itemgetter(0, 1)
_key_hash: Final = attrgetter("key_hash")


def encode_batch(book: str, batch: Batch) -> EncodedBatch:
    """Encode a batch, each array in the order that orderledger.append demands."""
    at: dict[str, int] = {}
    last: dict[str, int] = {}
    rows: list[_Row] = []
    is_possible = True
    for append in batch.appends:
        for event in append.events:
            stream, version = event.stream, event.version
            if stream not in at:
                at[stream] = version - 1
            elif version != last[stream] + 1:
                is_possible = False
            last[stream] = version
            rows.append((stream, version, event, append))
    checks: dict[str, int] = {}
    for stream, version in batch.checks.items():
        if stream not in at:
            checks[stream] = version
        elif at[stream] != version:
            is_possible = False
    # What must stand in the log before this batch: the appended streams' last events, and those of
    # the checked streams, on which it was decided.
    before = [item for item in (*at.items(), *checks.items()) if item[1] >= 0]
    columns = (
        *_command_columns(sorted(batch.appends, key=_key_hash)),
        *_event_columns(sorted(rows, key=_stream_and_version) if len(at) > 1 else rows),
        uuid_array([row[2].event_id for row in rows]),
        bytes_array([_content(book, batch, append, event) for _, _, event, append in rows]),
        text_array([stream for stream, _ in before]),
        bigint_array([version for _, version in before]),
        text_array(list(checks)),
        bigint_array(list(checks.values())),
    )
    return EncodedBatch(columns, is_possible)


def is_one(batch: Batch) -> bool:
    """Say whether orderledger.append_one takes the batch: one event, and no stream to check."""
    return len(batch.appends) == 1 and len(batch.appends[0].events) == 1 and not batch.checks


def encode_one(book: str, batch: Batch) -> tuple[bytes, ...]:
    """Encode such a batch like ``EncodedBatch.columns``."""
    (append,) = batch.appends
    (event,) = append.events
    return (
        append.key_hash,
        append.key.encode(),
        append.command_id.bytes,
        append.fingerprint,
        append.command.encode(),
        boolean(append.refused),
        append.reply.encode(),
        event.event_id.bytes,
        event.stream.encode(),
        bigint(event.version),
        event.topic.encode(),
        timestamp(event.occurred_at),
        (event.context or append.context).encode(),
        event.postings.encode(),
        event.payload.encode(),
        _content(book, batch, append, event),
    )


def encode_frame(
    batch: Batch, book_id: int, now: datetime | None
) -> tuple[bytes, bytes | None, bytes | None, bytes]:
    """Encode what comes before the columns: book, clock, generation and time of the batch."""
    generation = batch.constraint_generation
    return (
        integer(book_id),
        None if now is None else timestamp(now),
        None if generation is None else bigint(generation),
        timestamp(batch.appended_at),
    )


def _command_columns(appends: Sequence[NewAppend]) -> tuple[bytes, ...]:
    return (
        uuid_array_of_bytes([append.key_hash for append in appends]),
        text_array([append.key for append in appends]),
        uuid_array([append.command_id for append in appends]),
        bytes_array([append.fingerprint for append in appends]),
        text_array([append.command for append in appends]),
        boolean_array([append.refused for append in appends]),
        text_array([append.reply for append in appends]),
    )


def _event_columns(rows: Sequence[_Row]) -> tuple[bytes, ...]:
    events = [row[2] for row in rows]
    return (
        uuid_array([event.event_id for event in events]),
        text_array([event.stream for event in events]),
        bigint_array([event.version for event in events]),
        text_array([event.topic for event in events]),
        timestamp_array([event.occurred_at for event in events]),
        uuid_array([row[3].command_id for row in rows]),
        text_array([row[2].context or row[3].context for row in rows]),
        text_array([event.postings for event in events]),
        text_array([event.payload for event in events]),
    )


def _content(book: str, batch: Batch, append: NewAppend, event: NewEvent) -> bytes:
    return content_hash(
        book,
        HashedColumns(
            event_id=event.event_id,
            stream=event.stream,
            version=event.version,
            topic=event.topic,
            occurred_at=event.occurred_at,
            appended_at=batch.appended_at,
            command_id=append.command_id,
            context=event.context or append.context,
            postings=event.postings,
            payload=event.payload,
        ),
    )
