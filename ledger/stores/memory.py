"""The event store in the memory of one process: for tests and for books that end with it."""

import bisect
import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from ..audit_ports import CommandRecord
from ..codec import content_hash, leaf_hash
from ..errors import InvalidInput, StorageError, Unavailable
from ..ids import utc_now
from ..journal import decode_entry
from ..merkle import complete_tiles
from ..ports import (
    AppendConflict,
    Appended,
    Batch,
    ConstraintSet,
    CutRequest,
    EarlyEntry,
    Head,
    LedgerCut,
    LoadedEvent,
    NewAppend,
    NewEvent,
    StoredCommand,
    StoredEvent,
)
from ..trial_balance import AccountKey, add
from .expected_versions import Expected

_MICROSECOND: Final = timedelta(microseconds=1)


class MemoryStore:
    """One book in memory; see ``EventStore`` for the contract. It cannot join a transaction."""

    def __init__(
        self,
        book: str = "main",
        *,
        clock: Callable[[], datetime] = utc_now,
        continues: Head = Head(0, None),  # noqa: B008  # frozen
    ) -> None:
        self._book: Final = book
        self._clock: Final = clock
        self._before: Final = continues
        """The end of a log that this one continues, for a kind of store that has one."""
        self._lock: Final = threading.RLock()
        self._log: Final[list[StoredEvent]] = []
        self._leaves: Final[list[bytes]] = []
        self._tiles: Final[dict[int, list[bytes]]] = {}
        self._streams: Final[dict[str, list[StoredEvent]]] = {}
        self._names: Final[list[str]] = []
        self._by_id: Final[dict[UUID, StoredEvent]] = {}
        self._commands: Final[dict[bytes, StoredCommand]] = {}
        self._commanded_at: Final[dict[bytes, datetime]] = {}
        self._constraints = ConstraintSet(0, frozenset())
        self._is_closed = False

    @property
    def book(self) -> str:
        """The name of the book."""
        return self._book

    def append(self, batch: Batch, *, connection: object | None = None) -> Appended:
        """Write a batch or nothing of it; see ``EventStore.append``."""
        refuse_joining(connection)
        with self._lock:
            self._check_open()
            self._check_fits(batch)
            return self._write(batch)

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the store in memory is closed")

    def _check_fits(self, batch: Batch) -> None:
        expected = Expected(batch)
        moved = expected.moved({name: self._version(name) for name in expected.names})
        hashes = [append.key_hash for append in batch.appends]
        taken = {key for key in hashes if key in self._commands or hashes.count(key) > 1}
        generation = batch.constraint_generation
        is_stale = generation is not None and generation != self._constraints.generation
        if moved or taken or is_stale:
            raise AppendConflict(moved, frozenset(taken), stale_constraints=is_stale)
        ids: set[UUID] = set()
        for append in batch.appends:
            for event in append.events:
                # What the database does in the other stores: raises UnbalancedEntry.
                decode_entry(event.postings)
                if event.event_id in self._by_id or event.event_id in ids:
                    raise StorageError(f"event id {event.event_id} is taken", id=event.event_id)
                ids.add(event.event_id)

    def _version(self, stream: str) -> int | None:
        events = self._streams.get(stream)
        return events[-1].version if events else None

    def _write(self, batch: Batch) -> Appended:
        now = self._clock().astimezone(UTC)
        before = self.head()
        if before.recorded_at is not None:
            now = max(now, before.recorded_at + _MICROSECOND)
        recorded_at = now
        for append in batch.appends:
            self._commanded_at[append.key_hash] = batch.appended_at
            self._commands[append.key_hash] = StoredCommand(
                append.key,
                append.command_id,
                append.fingerprint,
                append.command,
                append.refused,
                append.reply,
                batch.appended_at,
            )
            for event in append.events:
                self._write_event(append, event, batch.appended_at, recorded_at)
                recorded_at += _MICROSECOND
        if self.head() == before:
            return Appended(None, None)
        self._grow(before.size)
        return Appended(before.size + 1, now)

    def _grow(self, size: int) -> None:
        """Add the tiles that were completed since the log had a size."""
        for level, _, root in complete_tiles(size, len(self._log), self._nodes):
            self._tiles.setdefault(level, []).append(root)

    def _write_event(
        self, append: NewAppend, event: NewEvent, appended_at: datetime, recorded_at: datetime
    ) -> None:
        position = self.head().size + 1
        context = event.context or append.context
        stored = StoredEvent(
            position,
            recorded_at,
            event.event_id,
            event.stream,
            event.version,
            event.topic,
            event.occurred_at,
            appended_at,
            append.command_id,
            context,
            event.postings,
            event.payload,
        )
        self._leaves.append(self._leaf(stored, position, recorded_at))
        self._log.append(stored)
        self._by_id[event.event_id] = stored
        if event.stream not in self._streams:
            self._streams[event.stream] = []
            bisect.insort(self._names, event.stream)
        self._streams[event.stream].append(stored)

    def _leaf(self, row: StoredEvent, position: int, recorded_at: datetime) -> bytes:
        return leaf_hash(position, recorded_at, content_hash(self._book, row))

    def _events(self) -> Iterable[StoredEvent]:
        """Return every event, in log order."""
        return self._log

    def _nodes(self, level: int, start: int, count: int) -> Sequence[bytes]:
        nodes = self._leaves if level == 0 else self._tiles.get(level, [])
        return nodes[start : start + count]

    def constrain(
        self, account: str, build: Callable[[Mapping[tuple[str, str], int], int], Batch]
    ) -> Appended:
        """Change the set of constrained accounts; see ``EventStore.constrain``."""
        with self._lock:
            self._check_open()
            balance: dict[tuple[str, str], int] = {}
            for event in self._events():
                for leg in decode_entry(event.postings).postings:
                    if leg.account == account:
                        key = (leg.layer.value, leg.currency)
                        balance[key] = balance.get(key, 0) + leg.minor
            before = self._constraints
            batch = build(balance, before.generation)
            appended = self.append(batch)
            if batch.has_events:
                accounts = before.accounts | {account}
                self._constraints = msgspec.structs.replace(
                    before, generation=before.generation + 1, accounts=accounts
                )
            return appended

    def change_periods(
        self,
        request: CutRequest,
        build: Callable[[LedgerCut], tuple[Batch, datetime | None]],
    ) -> Appended:
        """Change until when the books are closed; see ``EventStore.change_periods``."""
        with self._lock:
            self._check_open()
            sums: dict[AccountKey, int] = {}
            early: EarlyEntry | None = None
            for event in self._events():
                if not event.postings:
                    continue
                at = event.occurred_at
                if request.before is not None and at < request.before:
                    add(sums, decode_entry(event.postings).postings)
                if request.none_before is not None and at < request.none_before:
                    early = early or EarlyEntry(event.position or 0, event.stream, at)
            before = self._constraints
            batch, closed_until = build(LedgerCut(self.head().size, sums, early))
            appended = self.append(batch)
            if batch.has_events:
                self._constraints = msgspec.structs.replace(
                    before, generation=before.generation + 1, closed_until=closed_until
                )
            return appended

    def constraints(self) -> ConstraintSet:
        """Return what every entry must keep to now."""
        self._check_open()
        return self._constraints

    def commands(
        self, key_hashes: Sequence[bytes], *, connection: object | None = None
    ) -> Mapping[bytes, StoredCommand]:
        """Return the records of the commands with these keys; absent ones are left out."""
        refuse_joining(connection)
        with self._lock:
            self._check_open()
            return {key: self._commands[key] for key in key_hashes if key in self._commands}

    def command(self, command_id: UUID) -> StoredCommand | None:
        """Return the record of a command by its id, or None."""
        with self._lock:
            self._check_open()
            records = self._commands.values()
            return next((one for one in records if one.command_id == command_id), None)

    def refusals(self) -> Iterator[StoredCommand]:
        """Iterate over the records of refused commands."""
        with self._lock:
            self._check_open()
            found = [one for one in self._commands.values() if one.refused]
        yield from found

    def load(
        self,
        streams: Mapping[str, int],
        *,
        limit: int | None = None,
        connection: object | None = None,
    ) -> Sequence[LoadedEvent]:
        """Return the events of the streams after the given versions."""
        refuse_joining(connection)
        with self._lock:
            self._check_open()
            return [
                LoadedEvent.of(event)
                for stream, after in sorted(streams.items())
                for event in itertools.islice(self._after(stream, after), limit)
            ]

    def _after(self, stream: str, version: int) -> Iterator[StoredEvent]:
        return (event for event in self._streams.get(stream, ()) if event.version > version)

    def stream(
        self, stream: str, *, after: int = 0, until: int | None = None
    ) -> Iterator[StoredEvent]:
        """Iterate over one stream in version order."""
        with self._lock:
            self._check_open()
            events = tuple(self._streams.get(stream, ()))
        for event in events:
            if event.version > after and (until is None or event.version <= until):
                yield event

    def read(
        self, after: int, *, until: int | None = None, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """Return events in position order with ``after < position <= until``."""
        with self._lock:
            self._check_open()
            end = after + limit if until is None else min(until, after + limit)
            return self._log[after : max(end, after)]

    def streams(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Return the names of streams that start with a prefix, in order, after a name."""
        with self._lock:
            self._check_open()
            start = max(
                bisect.bisect_left(self._names, prefix), bisect.bisect_right(self._names, after)
            )
            page = self._names[start : start + limit]
        return [name for name in page if name.startswith(prefix)]

    def positions(self, event_ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, datetime]]:
        """Return position and recorded_at of the events that are sequenced."""
        with self._lock:
            self._check_open()
            found = (self._by_id[one] for one in event_ids if one in self._by_id)
            return {
                event.event_id: (event.position, event.recorded_at)
                for event in found
                if event.position is not None and event.recorded_at is not None
            }

    def head(self) -> Head:
        """Return the end of the log."""
        with self._lock:
            self._check_open()
            if not self._log:
                return self._before
            return Head(self._before.size + len(self._log), self._log[-1].recorded_at)

    def sequence(self) -> int:
        """Return 0: events get their position as they are written."""
        self._check_open()
        return 0

    def pending(self) -> int:
        """Return 0: no event waits for a position."""
        self._check_open()
        return 0

    def records(self, after: bytes, limit: int) -> Sequence[CommandRecord]:
        """Return command records in the order of their key hashes; see ``Audit.records``."""
        with self._lock:
            self._check_open()
            hashes = heapq.nsmallest(limit, [one for one in self._commands if one > after])
            return [self._record(one, self._commands[one]) for one in hashes]

    def _record(self, key_hash: bytes, one: StoredCommand) -> CommandRecord:
        return CommandRecord(
            key_hash,
            one.key,
            one.command_id,
            self._commanded_at[key_hash],
            one.fingerprint,
            one.command,
            one.refused,
            one.reply,
        )

    def archive_commands(self, before: datetime, *, limit: int = 10_000) -> int:
        """Do nothing: one writer at a time has its pages in memory anyway."""
        del before, limit
        return 0

    def leaf_hashes(self, after: int, limit: int) -> Sequence[bytes]:
        """Return the leaf hashes of positions after + 1 onwards."""
        with self._lock:
            self._check_open()
            return self._leaves[after : after + limit]

    def tiles(self, level: int) -> Sequence[bytes]:
        """Return the complete tile roots of a level in order."""
        with self._lock:
            self._check_open()
            return list(self._tiles.get(level, ()))

    def close(self) -> None:
        """Later calls raise Unavailable."""
        self._is_closed = True


def refuse_joining(connection: object | None) -> None:
    """Raise InvalidInput for a host's connection: there is no transaction to join."""
    if connection is not None:
        raise InvalidInput("a book in memory has no transaction to join")
