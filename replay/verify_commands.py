"""
Verification of the command records: every command that wrote events has one, and it says what.

The log's pass has summed what each command wrote; the records are summed in the order of their
keys. Only where the sums of a bucket differ are its few commands compared one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from orderledger.commands.idempotency import Reply
from orderledger.ledger.audit_ports import Audit, CommandRecord
from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import OrderLedgerError, Unavailable
from orderledger.ledger.ports import EventStore, StoredEvent

from .findings import Check, Finding, error
from .progress import PAGE_EVENTS, Progress, silent
from .sums import BucketSums
from .verify_log import OpenCommand, bucket_of, command_hash, commands_of, context_of

_BUCKETS_AT_ONCE: Final = 8
"""Buckets whose commands are in memory at a time: a 128th of all."""
_BUCKETS_LOOKED_AT: Final = 64
_FINGERPRINT_MIN: Final = 32
_CHECKSUM: Final = 4
_OTHER_LIBRARY: Final = "eventsourcing"
_reply_decoder: Final = msgspec.json.Decoder(Reply)
Keep = frozenset[int]


class CommandCheck:
    """Yields what is wrong with the records; ``looked_at`` counts them."""

    def __init__(
        self,
        store: EventStore,
        size: int,
        audit: Audit,
        written: BucketSums,
        progress: Progress = silent,
    ) -> None:
        self._store: Final = store
        self._size: Final = size
        self._audit: Final = audit
        self._written: Final = written
        self._progress: Final = progress
        self.looked_at = 0

    def __iter__(self) -> Iterator[Finding]:
        recorded = BucketSums()
        for record in self._records():
            self.looked_at += 1
            reply, problem = _reply_of(self._store.book, record)
            if problem:
                yield error(Check.COMMAND_WRONG, f"{_name(record)}: {problem}")
            command = _claimed(record, reply)
            if command is not None:
                recorded.add(bucket_of(command.command_id), command_hash(command))
            if self.looked_at % PAGE_EVENTS == 0:
                self._progress("commands", self.looked_at, self.looked_at + 1)
        differing = self._written.differing(recorded)
        for at in range(0, min(len(differing), _BUCKETS_LOOKED_AT), _BUCKETS_AT_ONCE):
            yield from self._compared(frozenset(differing[at : at + _BUCKETS_AT_ONCE]))
        if len(differing) > _BUCKETS_LOOKED_AT:
            yield error(
                Check.COMMAND_WRONG,
                f"{len(differing)} of the sums of records and events differ, and only the commands "
                f"of {_BUCKETS_LOOKED_AT} were compared: there is more than what was named",
            )

    def _records(self) -> Iterator[CommandRecord]:
        after = b""
        while True:
            page = self._audit.records(after, PAGE_EVENTS)
            yield from page
            if len(page) < PAGE_EVENTS:
                return
            after = page[-1].key_hash

    def _compared(self, buckets: Keep) -> Iterator[Finding]:
        recorded: dict[UUID, tuple[CommandRecord, OpenCommand]] = {}
        again = BucketSums()
        for record in self._records():
            command = _claimed(record, _reply_of(self._store.book, record)[0])
            if command is None or bucket_of(command.command_id) not in buckets:
                continue
            if self._is_later(command):
                continue
            recorded[command.command_id] = (record, command)
            again.add(bucket_of(command.command_id), command_hash(command))
        left = buckets & frozenset(self._written.differing(again))
        if left:
            yield from self._one_by_one(left, recorded)

    def _is_later(self, command: OpenCommand) -> bool:
        """Tell whether what a command wrote stands behind the size, or has no position yet."""
        placed = self._store.positions(command.event_ids)
        if placed:
            return all(position > self._size for position, _ in placed.values())
        afters = {
            stream: max(0, version - len(command.event_ids))
            for stream, version in command.streams.items()
        }
        try:
            found = {row.event_id for row in self._store.load(afters)}
        except Unavailable:
            raise
        except (OrderLedgerError, ValueError, TypeError):
            return False
        return bool(command.event_ids) and found >= set(command.event_ids)

    def _one_by_one(
        self, buckets: Keep, recorded: Mapping[UUID, tuple[CommandRecord, OpenCommand]]
    ) -> Iterator[Finding]:
        seen: set[UUID] = set()
        for first, command in self._groups():
            if bucket_of(command.command_id) not in buckets:
                continue
            found = recorded.get(command.command_id)
            if found is None:
                yield error(
                    Check.COMMAND_MISSING,
                    f"the events from position {first.position} on are of command "
                    f"{command.command_id}, which has no record, or one that does not say so",
                    stream=first.stream,
                    position=first.position,
                )
                continue
            seen.add(command.command_id)
            if difference := _difference(found[1], command):
                yield error(
                    Check.COMMAND_WRONG,
                    f"{_name(found[0])} and its events from position {first.position} on disagree "
                    f"about {difference}",
                    stream=first.stream,
                    position=first.position,
                )
        for command_id, (record, command) in recorded.items():
            if command_id not in seen and bucket_of(command_id) in buckets:
                yield error(
                    Check.COMMAND_WRONG,
                    f"{_name(record)} says that it wrote {len(command.event_ids)} events in "
                    f"{', '.join(command.streams)}, which are not in the log",
                    stream=next(iter(command.streams), None),
                )

    def _groups(self) -> Iterator[tuple[StoredEvent, OpenCommand]]:
        """Yield each command's first row and what it wrote, in log order."""
        open_one, first = OpenCommand(), None
        for row in self._rows():
            previous = first
            for done in commands_of(((row, context_of(row)),), open_one):
                assert previous is not None, "a command that is done has had a first event"
                yield previous, done
            if first is None or first.command_id != row.command_id:
                first = row
        if open_one.event_ids and first is not None:
            yield first, open_one

    def _rows(self) -> Iterator[StoredEvent]:
        position = 0
        while position < self._size:
            until = min(position + PAGE_EVENTS, self._size)
            try:
                yield from self._store.read(position, until=until, limit=PAGE_EVENTS)
            except Unavailable:
                raise
            except (OrderLedgerError, ValueError, TypeError):
                yield from self._readable(position, until)
            position = until

    def _readable(self, after: int, until: int) -> Iterator[StoredEvent]:
        for position in range(after + 1, until + 1):
            try:
                yield from self._store.read(position - 1, until=position, limit=1)
            except (OrderLedgerError, ValueError, TypeError):
                continue  # a finding of the log's pass


def _name(record: CommandRecord) -> str:
    return f"the record of {record.command} under key {record.key!r}"


def _reply_of(book: str, record: CommandRecord) -> tuple[Reply | None, str]:
    """Return the reply of a record, None where it wrote nothing, and what is wrong with it."""
    is_own = record.key == str(record.command_id) and record.key_hash == record.command_id.bytes
    if not is_own and record.key_hash != key_hash(book, record.key):
        return None, f"it is found under {record.key_hash.hex()}, which is not the hash of its key"
    if record.command == _OTHER_LIBRARY:
        return None, ""
    size = len(record.fingerprint)
    if size < _FINGERPRINT_MIN or (size - _FINGERPRINT_MIN) % _CHECKSUM:
        return None, f"its fingerprint has {size} bytes, which none has"
    try:
        reply = _reply_decoder.decode(record.reply)
    except msgspec.DecodeError as cause:
        return None, f"its reply cannot be decoded: {cause}"
    if record.refused:
        problem = "" if reply.error else "it was refused, and its reply says nothing of why"
        if reply.event_ids:
            problem = f"it was refused, and its reply names {len(reply.event_ids)} events"
        return None, problem
    if reply.error:
        return None, f"it was not refused, and its reply says {reply.error}: {reply.message}"
    return reply, ""


def _claimed(record: CommandRecord, reply: Reply | None) -> OpenCommand | None:
    """Return what a record says that its command wrote; None for nothing."""
    if reply is None or not reply.event_ids:
        return None
    return OpenCommand(
        command_id=record.command_id,
        key=record.key,
        appended_at=record.appended_at,
        event_ids=list(reply.event_ids),
        streams=dict(reply.streams),
    )


def _difference(said: OpenCommand, done: OpenCommand) -> str:
    """Name what a record and its events disagree about; empty if nothing."""
    found: Sequence[tuple[str, object, object]] = (
        ("the key", said.key, done.key),
        ("when they were appended", said.appended_at, done.appended_at),
        ("which events they are", said.event_ids, done.event_ids),
        ("the streams and versions", said.streams, done.streams),
    )
    return ", ".join([f"{name} ({a} and {b})" for name, a, b in found if a != b])
