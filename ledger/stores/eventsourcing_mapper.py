"""
Events of this library as domain events of ``eventsourcing``: topics from the registry, JSON text.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, MapperDeserialisationError, Notification, StoredEvent

from ..codec import decode_event, encode_event
from ..errors import IntegrityViolation
from ..events import TOPIC_GRAMMAR, Event
from ..journal import EMPTY, Entry, decode_entry, encode_entry

TAggregateID = TypeVar("TAggregateID", bound=UUID | str)

_NEVER: Final = datetime.fromtimestamp(0, UTC)


class LedgerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """
    A registered event in its place: what ``eventsourcing`` calls a domain event.

    ``originator_id`` is the stream's name, or the UUID of an aggregate. ``originator_version``
    continues the stream without a gap.
    """

    originator_id: UUID | str
    originator_version: int
    event: Event
    occurred_at: datetime
    postings: Entry = EMPTY


@dataclass(frozen=True)
class LedgerStoredEvent(StoredEvent):
    """A stored event with the columns that only a registered event has."""

    occurred_at: datetime = field(default=_NEVER)
    postings: str = ""


@dataclass(frozen=True)
class LedgerNotification(Notification):
    """A notification with the columns that only a registered event has."""

    occurred_at: datetime = field(default=_NEVER)
    postings: str = ""


def is_registered_form(topic: str) -> bool:
    """Tell our topics (``payment.captured.v1``) from Python paths (``shop.domain:Order.Paid``)."""
    return TOPIC_GRAMMAR.fullmatch(topic) is not None


class OrderLedgerMapper(Mapper[TAggregateID]):
    """
    Maps LedgerEvent by registered topic and every other domain event as the stock mapper does.

    A topic of our form that is not registered raises UnknownTopic: it is never imported. A
    configured compressor or cipher is applied to both; their bytes are not text, so the recorders
    of this library refuse them (sealed fields are the way to keep data secret here).
    """

    def to_stored_event(self, domain_event: DomainEventProtocol[TAggregateID]) -> StoredEvent:
        """Return the stored form of a domain event."""
        found: object = domain_event
        if not isinstance(found, LedgerEvent):
            return super().to_stored_event(domain_event)
        topic, payload = encode_event(found.event)
        state = payload.encode()
        if self.compressor:
            state = self.compressor.compress(state)
        if self.cipher:
            state = self.cipher.encrypt(state)
        return LedgerStoredEvent(
            originator_id=found.originator_id,
            originator_version=found.originator_version,
            topic=topic,
            state=state,
            occurred_at=found.occurred_at,
            postings=encode_entry(found.postings),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[TAggregateID]:
        """Return the domain event of a stored one; raises MapperDeserialisationError."""
        if not is_registered_form(stored_event.topic):
            return super().to_domain_event(stored_event)
        state = stored_event.state
        try:
            if self.cipher:
                state = self.cipher.decrypt(state)
            if self.compressor:
                state = self.compressor.decompress(state)
        except Exception as error:
            raise MapperDeserialisationError(
                f"the state of {stored_event.topic} {stored_event.originator_version} of "
                f"{stored_event.originator_id} cannot be decrypted or decompressed: {error}"
            ) from error
        occurred_at, postings = _NEVER, ""
        if isinstance(stored_event, LedgerStoredEvent | LedgerNotification):
            occurred_at, postings = stored_event.occurred_at, stored_event.postings
        try:
            event: object = LedgerEvent(
                originator_id=stored_event.originator_id,
                originator_version=stored_event.originator_version,
                event=decode_event(stored_event.topic, state),
                occurred_at=occurred_at,
                postings=decode_entry(postings),
            )
        except IntegrityViolation as error:
            # The library's callers know its error; ours, with its facts, is the cause.
            raise MapperDeserialisationError(error.message) from error
        return cast("DomainEventProtocol[TAggregateID]", event)
