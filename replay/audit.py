"""
Everything that is recorded about a subject: who, when, why, caused by what, by which rules.

A subject is an order with all that belongs to it, a payment, a dispute, an account, an actor or a
command. What was refused is told beside what was done: a refusal writes no event, but its record
is kept.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec

from orderledger.commands.idempotency import reply_of
from orderledger.commands.requests import Actor, Context
from orderledger.ledger import streams
from orderledger.ledger.account_events import AccountMoved
from orderledger.ledger.accounts import check
from orderledger.ledger.as_of import HIDDEN, LogAsOf
from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import IntegrityViolation, InvalidInput, NotFound
from orderledger.ledger.events import topic_of
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.ports import StoredCommand, StoredEvent
from orderledger.projections.balances import Balances, JournalFilter

from .as_of import StateAsOf, state_as_of
from .audit_facts import PEOPLE, REASONS, RULES, Said, said
from .history import RecordedEvent, context_of, linked_streams, recorded

_PAGE: Final = 1_000
_COMMANDS_AT_ONCE: Final = 200


class SubjectKind(StrEnum):
    """What an audit can be about."""

    ORDER = "order"
    PAYMENT = "payment"
    DISPUTE = "dispute"
    ACCOUNT = "account"
    ACTOR = "actor"
    COMMAND = "command"


_STREAM: Final[Mapping[SubjectKind, Callable[[str], str]]] = {
    SubjectKind.ORDER: streams.order,
    SubjectKind.PAYMENT: streams.payment,
    SubjectKind.DISPUTE: streams.dispute,
}


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """
    An event with its command. ``recorded`` has both clocks, the actor, the key and the entry.

    ``command`` is the command's type ("" where the book has no record of one). ``people`` are named
    in the event beside the actor; ``rules`` are the rules, policies and versions that it names.
    """

    recorded: RecordedEvent
    command: str
    command_id: str
    reasons: tuple[Said, ...]
    people: tuple[Said, ...]
    rules: tuple[Said, ...]


class AuditRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """
    A command that wrote no event: it was refused, or had nothing to do (then ``error`` is "").

    ``streams`` are the versions that a refusal was decided on (0: no such stream). ``context`` says
    who gave it. Refusals that an older release recorded have neither.
    """

    recorded_at: datetime
    command: str
    command_id: str
    key: str
    error: str
    reason: str
    message: str
    facts: Mapping[str, object]
    streams: Mapping[str, int]
    context: Context | None


AuditEntry = AuditEvent | AuditRefusal


class Subject(msgspec.Struct, frozen=True):
    """What an audit is about: ``id`` is an entity's id, an account, ``TYPE:ID``, or a key or id."""

    kind: SubjectKind
    id: str


class Audit:
    """
    What is recorded about a subject as of a point, in the order of recording.

    Iterating reads it, a page at a time; each time anew. ``streams`` are those of the subject, and
    ``state`` is what its own stream had come to (None for a subject without one). ``refused_to`` is
    up to when refusals are told: None for those up to now.
    """

    def __init__(
        self,
        log: LogAsOf,
        subject: Subject,
        balances: Callable[[], Balances],
        refused_to: datetime | None = None,
    ) -> None:
        self.log: Final = log
        self._balances: Final = balances
        self.book: Final = log.book
        self.subject: Final = subject
        self.point: Final = log.point
        self.recorded_at: Final = log.head().recorded_at
        self.refused_to: Final = refused_to
        self.state: StateAsOf | None = None
        self.streams: tuple[str, ...] = ()
        self._record: StoredCommand | None = None
        self._actor: Actor | None = None
        self._find()

    def _find(self) -> None:
        """Find the subject, or raise: an audit of what is not there is no empty audit."""
        kind, name = self.subject.kind, self.subject.id
        if kind is SubjectKind.ACTOR:
            self._actor = actor_of(name)
        elif kind is SubjectKind.COMMAND:
            self._record = self._command(name)
        elif kind is SubjectKind.ACCOUNT:
            self.streams = (streams.account(check(name)),)
            if next(iter(self._rows()), None) is None:
                raise NotFound(
                    f"no account {name} was ever posted to by position {self.point.position}",
                    account=name,
                )
        else:
            stream = _STREAM[kind](name)
            self.state = state_as_of(self.log, stream, self.point)
            linked = linked_streams(self.log, name) if kind is SubjectKind.ORDER else ()
            self.streams = (stream, *linked)

    def __iter__(self) -> Iterator[AuditEntry]:
        sources: tuple[Iterable[AuditEntry], ...] = self._events(), self._refusals()
        entries = heapq.merge(*sources, key=_instant)
        is_empty = True
        for entry in entries:
            is_empty = False
            yield entry
        if is_empty:
            raise NotFound(
                f"book {self.book} has nothing of {self.subject.kind} {self.subject.id} by "
                f"position {self.point.position}",
                kind=self.subject.kind.value,
                id=self.subject.id,
                position=self.point.position,
            )

    # -- events ----------------------------------------------------------------------------------

    def _events(self) -> Iterator[AuditEvent]:
        source = self._rows()
        while rows := tuple(islice(source, _COMMANDS_AT_ONCE)):
            events = [recorded(row) for row in rows]
            kinds = self._command_kinds(rows, [one.context.key for one in events])
            for row, one in zip(rows, events, strict=True):
                yield AuditEvent(
                    recorded=one,
                    command=kinds.get(row.command_id, ""),
                    command_id=str(row.command_id),
                    reasons=said(one.event, REASONS),
                    people=said(one.event, PEOPLE),
                    rules=said(one.event, RULES),
                )

    def _rows(self) -> Iterator[StoredEvent]:
        match self.subject.kind:
            case SubjectKind.ACCOUNT:
                found = [self._entries_on(self.subject.id), self._about_account()]
                return heapq.merge(*found, key=_position)
            case SubjectKind.ACTOR:
                return self._of_actor()
            case SubjectKind.COMMAND:
                return self._of_command()
            case _:
                found = [self.log.stream(name) for name in self.streams]
                return heapq.merge(*found, key=_position)

    def _about_account(self) -> Iterator[StoredEvent]:
        """
        Iterate over what was decided about an account: its constraints, freezing and closing.

        What a constrained account's stream says of each entry is left out: the entry is told.
        """
        moved = topic_of(AccountMoved)
        for row in self.log.stream(*self.streams):
            if not row.postings and row.topic != moved:
                yield row

    def _entries_on(self, account: str) -> Iterator[StoredEvent]:
        balances = self._balances()
        wanted = JournalFilter(
            account=account,
            last_position=self.point.position,
            effective_to=self.point.effective_to,
        )
        sums: Counter[tuple[str, Layer]] = Counter()
        for row in balances.events(wanted):
            for leg in decode_entry(row.postings).postings:
                if leg.account == account:
                    sums[leg.currency, leg.layer] += leg.minor
            yield row
        for (currency, layer), minor in sums.items():
            balance = balances.balance_at(account, currency, layer, self.point)
            if balance != minor:
                raise IntegrityViolation(
                    f"the entries on {account} come to {minor} {currency} minor units, its balance "
                    f"is {balance}; run `orderledger verify`",
                    account=account,
                    currency=currency,
                    position=self.point.position,
                )

    def _of_actor(self) -> Iterator[StoredEvent]:
        after = 0
        while rows := self.log.read(after, limit=_PAGE):
            for row in rows:
                if row.topic != HIDDEN and self._is_actor(context_of(row)):
                    yield row
            after += len(rows)

    def _is_actor(self, context: Context | None) -> bool:
        wanted = self._actor
        if context is None or wanted is None:
            return False
        return (context.actor.type, context.actor.id) == (wanted.type, wanted.id)

    def _of_command(self) -> Iterator[StoredEvent]:
        if self._record is None or self._record.refused:
            return
        places = self.log.positions(reply_of(self._record).event_ids)
        for position in sorted(place for place, _ in places.values()):
            for row in self.log.read(position - 1, until=position, limit=1):
                if row.topic != HIDDEN:
                    yield row

    # -- commands --------------------------------------------------------------------------------

    def _command(self, name: str) -> StoredCommand:
        found = list(self.log.commands(self._hashes(name)).values())
        if not found and (command_id := _uuid(name)) is not None:
            by_id = self.log.command(command_id)
            found = [by_id] if by_id is not None else []
        if not found:
            raise NotFound(f"book {self.book} has no command with the key or id {name}", key=name)
        return found[0]

    def _hashes(self, key: str) -> list[bytes]:
        """Return under what a key may be found: without one, a command's id is its key."""
        command_id = _uuid(key)
        named = [key_hash(self.book, key)]
        return named if command_id is None else [*named, command_id.bytes]

    def _command_kinds(self, rows: Sequence[StoredEvent], keys: list[str]) -> dict[UUID, str]:
        """Return the types of the commands that wrote some events."""
        wanted = {row.command_id for row in rows}
        hashes = [one for key in dict.fromkeys(keys) for one in self._hashes(key)]
        records = self.log.commands(hashes).values()
        return {one.command_id: one.command for one in records if one.command_id in wanted}

    def _refusals(self) -> list[AuditRefusal]:
        if self._record is not None:
            found = [] if self._has_events(self._record) else [_refusal(self._record)]
        else:
            found = [one for one in map(_refusal, self.log.refusals()) if self._concerns(one)]
        ends = [one for one in (self.refused_to, self.point.effective_to) if one is not None]
        told = [one for one in found if all(one.recorded_at <= end for end in ends)]
        return sorted(told, key=lambda one: (one.recorded_at, one.command_id))

    @staticmethod
    def _has_events(record: StoredCommand) -> bool:
        return not record.refused and bool(reply_of(record).event_ids)

    def _concerns(self, refusal: AuditRefusal) -> bool:
        if self._actor is not None:
            return self._is_actor(refusal.context)
        if refusal.streams:
            return any(name in refusal.streams for name in self.streams)
        # The record of an older release: what the refusal itself names is all there is.
        return any(
            refusal.facts.get(f"{streams.kind_of(name)}_id") == streams.id_of(name)
            for name in self.streams
        )


def actor_of(text: str) -> Actor:
    """Read an actor written as ``TYPE:ID``; raises InvalidInput."""
    kind, _, name = text.partition(":")
    if not kind or not name:
        raise InvalidInput(f"actor {text!r} is not like staff:7", actor=text)
    return Actor(kind, name)


def _refusal(record: StoredCommand) -> AuditRefusal:
    reply = reply_of(record)
    return AuditRefusal(
        recorded_at=record.appended_at,
        command=record.command,
        command_id=str(record.command_id),
        key=record.key,
        error=reply.error,
        reason=reply.reason,
        message=reply.message,
        facts=reply.facts,
        streams=reply.streams,
        context=reply.context,
    )


def _position(row: StoredEvent) -> int:
    return row.position or 0


def _instant(entry: AuditEntry) -> datetime:
    if isinstance(entry, AuditRefusal):
        return entry.recorded_at
    assert entry.recorded.recorded_at is not None, "a log as it was has instants only"
    return entry.recorded.recorded_at


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
