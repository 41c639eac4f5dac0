"""
The recorders of ``eventsourcing`` over one book: its events are ours, in our tables.

Events that other parts of the library wrote are in the notification log too, under the name of
their stream; aggregates of the application have streams named ``aggregate/<uuid>``.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Final, Protocol
from uuid import UUID

from eventsourcing import persistence
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DatabaseError,
    DataError,
    IntegrityError,
    Notification,
    OperationalError,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)

from ..codec import encode_json, key_hash
from ..errors import InvalidInput, OrderLedgerError, SchemaMismatch, Unavailable, UnbalancedEntry
from ..ids import new_id, utc_now
from ..ports import (
    AppendConflict,
    Appended,
    Batch,
    EventStore,
    LoadedEvent,
    LockTimeout,
    NewAppend,
    NewEvent,
)
from ..ports import StoredEvent as LedgerRow
from .eventsourcing_mapper import (
    LedgerNotification,
    LedgerStoredEvent,
    is_registered_form,
)
from .eventsourcing_subscription import LedgerSubscription, Waiter

_AGGREGATE: Final = "aggregate/"
_ACTOR: Final = {"type": "system", "id": "eventsourcing"}
_SOURCE: Final = "eventsourcing"
"""Marks events that no decider and perhaps no fold of this library knows; see ``replay``."""
_PAGE: Final = 1000
_LAST: Final = 2**63 - 1


class Datastore(Protocol):
    """What the recorders need of an engine beside its event store."""

    @property
    def store(self) -> EventStore: ...

    def transaction(self) -> AbstractContextManager[Any]:
        """Lend a connection in an open transaction that commits at the end of the block."""
        ...

    def track(self, connection: Any, tracking: Tracking) -> bool:
        """Move a consumer forward; False if it is there already or further."""
        ...

    def tracked(self, application_name: str) -> int | None:
        """Return how far a consumer has come."""
        ...

    def insert_snapshots(self, purpose: str, rows: Sequence["SnapshotRow"]) -> None:
        """Insert snapshots, all or none; raises IntegrityError where one exists."""
        ...

    def select_snapshots(
        self, purpose: str, stream: str, versions: tuple[int, int], descending: bool, limit: int
    ) -> Sequence[tuple[int, str, bytes]]:
        """Return version, topic and state of snapshots with ``first < version <= last``."""
        ...

    def waiter(self) -> Waiter:
        """Return a way to wait for new events."""
        ...

    def appended(self) -> None:
        """Learn that this process appended events, to wake its own subscriptions."""
        ...

    def close(self) -> None: ...


SnapshotRow = tuple[str, int, str, bytes]
"""Stream, version, topic, state."""


@contextmanager
def translated_errors() -> Generator[None]:
    """Raise the library's errors for ours, which stay as the cause."""
    try:
        yield
    except AppendConflict as error:
        raise IntegrityError(str(error)) from error
    except (InvalidInput, UnbalancedEntry) as error:
        raise DataError(str(error)) from error
    except (Unavailable, LockTimeout) as error:
        raise OperationalError(str(error)) from error
    except SchemaMismatch as error:
        raise persistence.ProgrammingError(str(error)) from error
    except OrderLedgerError as error:
        raise DatabaseError(str(error)) from error


def stream_of(originator_id: UUID | str) -> str:
    """Return the stream of an aggregate; a text id is the name of a stream."""
    if isinstance(originator_id, UUID):
        return f"{_AGGREGATE}{originator_id}"
    return originator_id


def originator_of(stream: str) -> UUID | str:
    """Return the aggregate's id of a stream."""
    if stream.startswith(_AGGREGATE):
        try:
            return UUID(stream.removeprefix(_AGGREGATE))
        except ValueError:
            return stream
    return stream


def _new_event(stored: StoredEvent) -> NewEvent:
    try:
        payload = stored.state.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"the state of {stored.topic} is not UTF-8 text; a book keeps readable payloads, so a "
            "compressor or a cipher of whole events cannot be used with it"
        ) from error
    occurred_at, postings = utc_now(), ""
    if isinstance(stored, LedgerStoredEvent):
        occurred_at, postings = stored.occurred_at, stored.postings
    return NewEvent(
        event_id=new_id(),
        stream=stream_of(stored.originator_id),
        version=stored.originator_version,
        topic=stored.topic,
        occurred_at=occurred_at,
        payload=payload,
        postings=postings,
    )


def _new_batch(store: EventStore, stored_events: Sequence[StoredEvent]) -> Batch:
    book, command_id = store.book, new_id()
    key = f"eventsourcing/{command_id}"
    append = NewAppend(
        command_id=command_id,
        key=key,
        key_hash=key_hash(book, key),
        fingerprint=b"",
        command="eventsourcing",
        refused=False,
        reply="",
        context=encode_json({"actor": _ACTOR, "key": key, "source": _SOURCE}),
        events=tuple([_new_event(stored) for stored in stored_events]),
    )
    entries = [event for event in append.events if event.postings]
    if not entries:
        return Batch(appends=(append,), appended_at=utc_now())
    constraints = store.constraints()
    closed_until = constraints.closed_until
    for event in entries:
        if closed_until is not None and event.occurred_at < closed_until:
            raise DataError(
                f"the entry of {event.stream} is effective at {event.occurred_at.isoformat()}, in "
                f"a closed period: post it at {closed_until.isoformat()} or later, or reopen the "
                "period"
            )
    return Batch(
        appends=(append,),
        appended_at=utc_now(),
        constraint_generation=constraints.generation,
    )


def _stored(row: LoadedEvent) -> StoredEvent:
    originator_id, state = originator_of(row.stream), row.payload.encode()
    if is_registered_form(row.topic):
        return LedgerStoredEvent(
            originator_id, row.version, row.topic, state, row.occurred_at, row.postings
        )
    return StoredEvent(originator_id, row.version, row.topic, state)


def notification_of(row: LedgerRow) -> Notification:
    """Return the notification of an event that has a position."""
    assert row.position is not None
    originator_id, state = originator_of(row.stream), row.payload.encode()
    if is_registered_form(row.topic):
        return LedgerNotification(
            originator_id,
            row.version,
            row.topic,
            state,
            row.position,
            row.occurred_at,
            row.postings,
        )
    return Notification(originator_id, row.version, row.topic, state, row.position)


class _Events:
    """Reading and appending, shared by the recorders below."""

    def __init__(self, datastore: Datastore) -> None:
        self.datastore = datastore

    def _append(self, stored_events: Sequence[StoredEvent]) -> Sequence[int]:
        with translated_errors():
            return self._positions(*self._written(stored_events))

    def _append_and_track(
        self, stored_events: Sequence[StoredEvent], tracking: Tracking
    ) -> Sequence[int]:
        with translated_errors():
            with self.datastore.transaction() as connection:
                if not self.datastore.track(connection, tracking):
                    raise IntegrityError(
                        f"notification {tracking.notification_id} of "
                        f"{tracking.application_name}, or a later one, was processed before"
                    )
                if not stored_events:
                    return []
                batch, _ = self._written(stored_events, connection)
            return self._positions(batch, Appended(None, None))

    def _written(
        self, stored_events: Sequence[StoredEvent], connection: object | None = None
    ) -> tuple[Batch, Appended]:
        """Append; again where a period was closed or an account constrained in between."""
        store = self.datastore.store
        while True:
            batch = _new_batch(store, stored_events)
            try:
                return batch, store.append(batch, connection=connection)
            except AppendConflict as conflict:
                if not conflict.stale_constraints or conflict.moved:
                    raise

    def _positions(self, batch: Batch, appended: Appended) -> Sequence[int]:
        """Return the positions of a committed batch, after giving them where they wait."""
        events = batch.appends[0].events
        if not events:
            return []
        first = appended.first_position
        while first is None:
            # The head may be taken by another sequencer, which may do it for us.
            self.datastore.store.sequence()
            place = self.datastore.store.positions([events[0].event_id])
            if place:
                first = place[events[0].event_id][0]
        self.datastore.appended()
        return range(first, first + len(events))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of an aggregate; a descending read folds the stream once."""
        stream = stream_of(originator_id)
        after = -1 if gt is None else gt
        last = _LAST if lte is None else lte
        with translated_errors():
            rows = self.datastore.store.load({stream: after})
        found = [_stored(row) for row in rows if row.version <= last]
        if desc:
            found.reverse()
        return found if limit is None else found[:limit]


class LedgerAggregateRecorder(_Events, AggregateRecorder):
    """Records events of aggregates. Notification ids are not returned."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append the events, all or none; raises IntegrityError on a conflict."""
        if stored_events:
            self._append(stored_events)
        return None


class LedgerSnapshotRecorder(AggregateRecorder):
    """Records snapshots, in a table of their own: they are no part of the book's history."""

    def __init__(self, datastore: Datastore, purpose: str) -> None:
        self.datastore = datastore
        self.purpose = purpose

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Insert snapshots, all or none; raises IntegrityError where one exists."""
        rows = [
            (stream_of(one.originator_id), one.originator_version, one.topic, one.state)
            for one in stored_events
        ]
        if rows:
            with translated_errors():
                self.datastore.insert_snapshots(self.purpose, rows)
        return None

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return snapshots of an aggregate by version."""
        versions = (-1 if gt is None else gt, _LAST if lte is None else lte)
        with translated_errors():
            rows = self.datastore.select_snapshots(
                self.purpose,
                stream_of(originator_id),
                versions,
                desc,
                _LAST if limit is None else limit,
            )
        return [
            StoredEvent(originator_id, version, topic, bytes(state))
            for version, topic, state in rows
        ]


class LedgerApplicationRecorder(_Events, ApplicationRecorder):
    """Records events of aggregates and gives the book's log as notifications."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append the events and return their positions; raises IntegrityError on a conflict."""
        return list(self._append(stored_events)) if stored_events else []

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return the log between two positions. With topics the log is scanned for them."""
        after = 0 if start is None else start - inclusive_of_start
        return list(islice(self._notifications(after, stop, topics, limit), limit))

    def _notifications(
        self, after: int, stop: int | None, topics: Sequence[str], limit: int
    ) -> Iterator[Notification]:
        page = max(limit, _PAGE) if topics else limit
        wanted = frozenset(topics)
        after = max(after, 0)
        while True:
            with translated_errors():
                rows = self.datastore.store.read(after, until=stop, limit=page)
            for row in rows:
                if not wanted or row.topic in wanted:
                    yield notification_of(row)
            if len(rows) < page:
                return
            after += len(rows)

    def max_notification_id(self) -> int | None:
        """Return the last position, or None of an empty book."""
        with translated_errors():
            return self.datastore.store.head().size or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Follow the log after a position until ``stop()``, through lost connections too."""

        def pull(after: int) -> Sequence[Notification]:
            with translated_errors():
                return [notification_of(row) for row in self.datastore.store.read(after)]

        return LedgerSubscription(self, gt, topics, pull=pull, waiter=self.datastore.waiter())


class LedgerTrackingRecorder(TrackingRecorder):
    """Records how far a consumer has come in an application's notifications."""

    def __init__(self, datastore: Datastore) -> None:
        self.datastore = datastore

    def insert_tracking(self, tracking: Tracking) -> None:
        """Move the consumer forward; raises IntegrityError if it is there already or further."""
        with translated_errors(), self.datastore.transaction() as connection:
            if not self.datastore.track(connection, tracking):
                raise IntegrityError(
                    f"notification {tracking.notification_id} of {tracking.application_name}, "
                    "or a later one, was processed before"
                )

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return how far the consumer has come, or None before its first notification."""
        with translated_errors():
            return self.datastore.tracked(application_name)


class LedgerProcessRecorder(LedgerApplicationRecorder, LedgerTrackingRecorder, ProcessRecorder):
    """Records events together with the notification that they answer, in one transaction."""

    def __init__(self, datastore: Datastore) -> None:
        super().__init__(datastore)

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append the events, with ``tracking=`` atomically; raises IntegrityError."""
        tracking: Tracking | None = kwargs.pop("tracking", None)
        if tracking is None:
            return super().insert_events(stored_events, **kwargs)
        return list(self._append_and_track(stored_events, tracking))
