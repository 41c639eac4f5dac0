"""
What happened to one entity, event by event, with both clocks, the actor and the entry.
"""

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import msgspec

from orderledger.commands.requests import Context
from orderledger.ledger import streams
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import CorruptEvent, NotFound
from orderledger.ledger.events import Event
from orderledger.ledger.journal import Entry, decode_entry
from orderledger.ledger.order_disputes import DisputeOpened
from orderledger.ledger.order_events import LatePaymentDetected, OrderLinesMoved, PaymentLinked
from orderledger.ledger.ports import EventStore, StoredEvent

_LINKED_KINDS: Final = frozenset({"fulfilment", "return"})
_UNSEQUENCED: Final = 2**63
_context_decoder: Final = msgspec.json.Decoder(Context)


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """
    One event with everything that was stored around it.

    ``position`` and ``recorded_at`` are None while it waits for the sequencer. ``event`` is lifted
    to the current version of its topic; ``topic`` is the one it was stored under.
    """

    position: int | None
    recorded_at: datetime | None
    occurred_at: datetime
    stream: str
    version: int
    topic: str
    event: Event
    entry: Entry
    context: Context


def context_of(row: StoredEvent) -> Context:
    """Decode the envelope of a stored row; raises CorruptEvent."""
    try:
        return _context_decoder.decode(row.context)
    except msgspec.DecodeError as error:
        raise CorruptEvent(
            f"the context of stream {row.stream}, version {row.version} cannot be decoded: {error}",
            stream=row.stream,
            version=row.version,
        ) from error


def recorded(row: StoredEvent) -> RecordedEvent:
    """Decode a stored row whole; raises UnknownTopic or CorruptEvent."""
    return RecordedEvent(
        position=row.position,
        recorded_at=row.recorded_at,
        occurred_at=row.occurred_at,
        stream=row.stream,
        version=row.version,
        topic=row.topic,
        event=decode_event(row.topic, row.payload),
        entry=decode_entry(row.postings),
        context=context_of(row),
    )


def history(store: EventStore, stream: str) -> Iterator[RecordedEvent]:
    """Iterate over one stream's events in order, in constant memory; none if it has none."""
    return (recorded(row) for row in store.stream(stream))


def payment_history(store: EventStore, payment_id: str) -> Iterator[RecordedEvent]:
    """Iterate over a payment's events in order; raises NotFound."""
    return _found(history(store, streams.payment(payment_id)), store.book, "payment", payment_id)


def order_history(store: EventStore, order_id: str) -> Iterator[RecordedEvent]:
    """
    Iterate over the events of an order and of its payments, fulfilments, returns and disputes.

    In log order; events that wait for the sequencer come last. Raises NotFound. Reads the order's
    stream twice: first for what belongs to it.
    """
    stream = streams.order(order_id)
    names = (stream, *linked_streams(store, order_id))
    merged = heapq.merge(*(history(store, name) for name in names), key=_place)
    return _found(merged, store.book, "order", order_id)


def linked_streams(store: EventStore, order_id: str) -> tuple[str, ...]:
    """Return the streams of the order's payments, fulfilments, returns and disputes, as linked."""
    linked: dict[str, None] = {}
    for row in store.stream(streams.order(order_id)):
        match decode_event(row.topic, row.payload):
            case PaymentLinked(payment_id=payment_id) | LatePaymentDetected(payment_id=payment_id):
                linked[streams.payment(payment_id)] = None
            case DisputeOpened(dispute_id=dispute_id):
                linked[streams.dispute(dispute_id)] = None
            case OrderLinesMoved(cause=cause) if streams.kind_of(cause) in _LINKED_KINDS:
                linked[cause] = None
            case _:
                pass
    return tuple(linked)


def _place(one: RecordedEvent) -> tuple[int, str, int]:
    return (one.position or _UNSEQUENCED, one.stream, one.version)


def _found(
    events: Iterable[RecordedEvent], book: str, kind: str, entity_id: str
) -> Iterator[RecordedEvent]:
    iterator = iter(events)
    first = next(iterator, None)
    if first is None:
        raise NotFound(f"book {book} has no {kind} {entity_id}", **{f"{kind}_id": entity_id})
    return _chained(first, iterator)


def _chained(first: RecordedEvent, rest: Iterator[RecordedEvent]) -> Iterator[RecordedEvent]:
    yield first
    yield from rest
