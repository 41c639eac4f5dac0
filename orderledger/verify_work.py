"""
Verification of the work of a book: every effect, deadline and queued command says where it is from.

Read-only: it calls no port and writes no work. It stands here and not with the other checks since
nothing that replays may know of work.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from orderledger.commands.effects import (
    CALL,
    COMMAND,
    DEADLINE,
    REACTION,
    Origin,
    decode_envelope,
    decode_origin,
    decode_request,
    effect_key,
)
from orderledger.commands.reacting import ReactorRunner
from orderledger.commands.reactors import Reactor
from orderledger.commands.timers import ASKS, timer_key
from orderledger.ledger.audit_ports import Audit
from orderledger.ledger.codec import decode_event, key_hash
from orderledger.ledger.errors import OrderLedgerError, Unavailable
from orderledger.ledger.folds import fold_of
from orderledger.ledger.following import is_of_log
from orderledger.ledger.open_deadlines import DEADLINES_OF, resolved
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.streams import kind_of
from orderledger.ledger.streams import work as stream_of_lane
from orderledger.ledger.work_ports import Lane, ReactorCheckpoint, Work, WorkStatus, WorkStore
from orderledger.replay.findings import Check, Finding, error

_PAGE: Final = 500
_FAILED: Final = -1
"""The ordinal of the work of an event at which a reactor failed."""
_AHEAD: Final = frozenset({WorkStatus.WAITING, WorkStatus.REFUSED, WorkStatus.DEAD})
"""What may still be performed: it is held to what its reactor says now."""
_UNREADABLE: Final = (OrderLedgerError, msgspec.MsgspecError, ValueError, TypeError, LookupError)


class WorkCheck:
    """
    Yields what is wrong with the work of a book; ``looked_at`` counts the pieces.

    With ``reactors`` what they called for and is not done yet is compared with what they call for:
    only who wired them knows them.
    """

    def __init__(
        self,
        store: EventStore,
        work: WorkStore,
        audit: Audit | None,
        reactors: Sequence[Reactor] = (),
    ) -> None:
        self._store: Final = store
        self._work: Final = work
        self._audit: Final = audit
        self._runners: Final = {one.name: ReactorRunner(store, work, one) for one in reactors}
        self._checkpoints: Mapping[str, ReactorCheckpoint] = {}
        self._row: StoredEvent | None = None
        self.looked_at = 0
        self.skipped = ""

    def __iter__(self) -> Iterator[Finding]:
        yield from self._reactors()
        for lane in Lane:
            for one in self._pieces(lane):
                self.looked_at += 1
                try:
                    yield from self._piece(one)
                except Unavailable:
                    raise
                except _UNREADABLE as cause:
                    yield _wrong(Check.WORK_UNREADABLE, one, f"cannot be read: {cause}")
        for number in self._audit.loose_work() if self._audit is not None else ():
            yield error(
                Check.WORK_ORDER_WRONG,
                f"the order of work {number} is not kept as its streams say: other work of them "
                "may be performed before its turn, or waits for ever",
            )

    def _reactors(self) -> Iterator[Finding]:
        self._checkpoints = self._work.reactors()
        for name, one in self._checkpoints.items():
            if not is_of_log(self._store, one):
                yield error(
                    Check.CHECKPOINT_DIVERGED,
                    f"reactor {name} has read another history up to position {one.position} than "
                    "the log has",
                    position=one.position,
                )

    def _pieces(self, lane: Lane) -> Iterator[Work]:
        after = 0
        while True:
            page = self._work.list_work(lane, tuple(WorkStatus), after=after, limit=_PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].number

    def _piece(self, one: Work) -> Iterator[Finding]:
        match one.lane:
            case Lane.OUTBOX:
                yield from self._effect(one)
            case Lane.TIMER:
                yield from self._deadline(one)
            case Lane.QUEUE:
                if tuple(dict.fromkeys(_command_streams(one))) != one.streams:
                    text = f"names the streams {', '.join(one.streams)}, its command others"
                    yield _wrong(Check.WORK_UNREADABLE, one, text)
        yield from self._outcome(one)

    # -- effects ---------------------------------------------------------------------------------

    def _effect(self, one: Work) -> Iterator[Finding]:
        origin = decode_origin(one.origin)
        key = effect_key(self._store.book, origin.reactor, origin.position, origin.ordinal)
        row = self._at(origin.position)
        if problem := self._origin_problem(one, origin, row):
            yield _wrong(Check.EFFECT_UNTRACED, one, problem, origin)
            return
        if one.key != key:
            text = f"has another key than what it names as its origin gives, {key}"
            yield _wrong(Check.EFFECT_UNTRACED, one, text, origin)
        elif problem := _content_problem(one, origin):
            yield _wrong(Check.EFFECT_UNTRACED, one, problem, origin)
        elif one.status in _AHEAD and row is not None:
            yield from self._called_for(one, origin, row)

    def _origin_problem(self, one: Work, origin: Origin, row: StoredEvent | None) -> str:
        if row is None:
            return f"names position {origin.position}, which the log does not have"
        if row.stream != origin.stream:
            return (
                f"names stream {origin.stream} at position {origin.position}, where the log has "
                f"{row.stream}"
            )
        checkpoint = self._checkpoints.get(origin.reactor)
        if checkpoint is None:
            return f"names reactor {origin.reactor}, which has not read this log"
        if not checkpoint.started_at_position < origin.position:
            return (
                f"names position {origin.position}, and reactor {origin.reactor} began after "
                f"{checkpoint.started_at_position}"
            )
        is_behind = checkpoint.position < origin.position
        if is_behind and self._work.reactors()[origin.reactor].position < origin.position:
            return (
                f"names position {origin.position}, and reactor {origin.reactor} has read up to "
                f"{checkpoint.position}"
            )
        return ""

    def _called_for(self, one: Work, origin: Origin, row: StoredEvent) -> Iterator[Finding]:
        runner = self._runners.get(origin.reactor)
        if runner is None or origin.ordinal == _FAILED:
            return
        found = {made.key: made for made in runner.effects_at(row)}.get(one.key)
        if found is None:
            text = f"is not among what reactor {origin.reactor} calls for at that event"
            yield _wrong(Check.EFFECT_UNTRACED, one, text, origin)
            return
        for name in ("kind", "payload", "origin", "streams"):
            if getattr(found, name) != getattr(one, name):
                text = (
                    f"has the {name} {getattr(one, name)}, reactor {origin.reactor} calls for "
                    f"{getattr(found, name)}"
                )
                yield _wrong(Check.EFFECT_UNTRACED, one, text, origin)

    def _at(self, position: int) -> StoredEvent | None:
        """Return the event at a position; several effects of one event read it once."""
        if position < 1:
            return None
        if self._row is None or self._row.position != position:
            found = self._store.read(position - 1, until=position, limit=1)
            self._row = found[0] if found else None
        return self._row

    # -- deadlines -------------------------------------------------------------------------------

    def _deadline(self, one: Work) -> Iterator[Finding]:
        origin = decode_origin(one.origin)
        if one.key != timer_key(origin.stream, origin.deadline_id):
            text = "has another key than the deadline that it names"
            yield _wrong(Check.DEADLINE_UNTRACED, one, text, origin)
        elif one.kind != f"{DEADLINE}:{origin.deadline_kind}" or one.payload != "{}":
            text = f"says of itself {one.kind} {one.payload}, which is not its deadline"
            yield _wrong(Check.DEADLINE_UNTRACED, one, text, origin)
        elif one.streams != (origin.stream,):
            text = f"names the streams {', '.join(one.streams)}, not that of its deadline"
            yield _wrong(Check.DEADLINE_UNTRACED, one, text, origin)
        else:
            said = (origin.deadline_id, origin.deadline_kind, origin.due_at)
            if all(one != said for one in self._deadlines(origin.stream)):
                text = (
                    f"fires a deadline {origin.deadline_id} at {origin.due_at}, which stream "
                    f"{origin.stream} never had"
                )
                yield _wrong(Check.DEADLINE_UNTRACED, one, text, origin)

    def _deadlines(self, stream: str) -> Iterator[tuple[str, str, datetime]]:
        """Yield every deadline that a stream ever had, with its kind and instant."""
        fold = fold_of(stream)
        deadlines_of = DEADLINES_OF[kind_of(stream)]
        state = fold.initial
        opened: dict[str, datetime] = {}
        for row in self._store.stream(stream):
            state = fold.apply(state, decode_event(row.topic, row.payload))
            before, opened = opened, {}
            for found in deadlines_of(state):
                opened[found.deadline_id] = before.get(found.deadline_id, row.occurred_at)
                at = resolved(found, opened[found.deadline_id])
                yield at.deadline_id, at.kind, at.due_at

    # -- outcomes --------------------------------------------------------------------------------

    def _outcome(self, one: Work) -> Iterator[Finding]:
        """What is said to be done was done, and what is said to be given up was given up."""
        if one.status is WorkStatus.DISCARDED and not self._is_discarded(one):
            text = "is said to be given up, and no event says so"
            yield _wrong(Check.EFFECT_UNTRACED, one, text)
        if one.status is WorkStatus.DONE and _is_command(one):
            is_again = one.refusals and one.lane is not Lane.QUEUE
            key = f"{one.key}#{one.refusals + 1}" if is_again else one.key
            hashed = key_hash(self._store.book, key)
            record = self._store.commands([hashed]).get(hashed)
            if record is None or record.refused:
                text = f"is said to be done, and no command was accepted under key {key!r}"
                yield _wrong(Check.EFFECT_UNTRACED, one, text)

    def _is_discarded(self, one: Work) -> bool:
        stream = stream_of_lane(one.lane.value)
        fold = fold_of(stream)
        state = fold.initial
        for row in self._store.stream(stream):
            state = fold.apply(state, decode_event(row.topic, row.payload))
        return one.key in state.reasons


def _is_command(one: Work) -> bool:
    kind, _, name = one.kind.partition(":")
    if kind == DEADLINE:
        stream = decode_origin(one.origin).stream
        return (kind_of(stream), name) not in ASKS
    return kind == COMMAND


def _command_streams(one: Work) -> Sequence[str]:
    return decode_envelope(one.kind, one.payload, one.key).command.streams()


def _content_problem(one: Work, origin: Origin) -> str:
    """Return what in an effect does not belong to its origin, as far as that needs no reactor."""
    kind, _, name = one.kind.partition(":")
    streams: Sequence[str] = (origin.stream,)
    if kind == COMMAND:
        envelope = decode_envelope(one.kind, one.payload, one.key)
        streams = tuple(dict.fromkeys(envelope.command.streams()))
        if (envelope.actor.type, envelope.actor.id) != ("reactor", origin.reactor):
            return f"gives a command of {envelope.actor.type} {envelope.actor.id}, not its reactor"
        if envelope.causation_id != f"position:{origin.position}":
            return f"gives a command that says it is because of {envelope.causation_id}"
    elif kind == CALL:
        decode_request(one.kind, one.payload)
    elif kind == REACTION:
        at = msgspec.json.decode(one.payload, type=dict[str, int]).get("position")
        if (name, at, origin.ordinal) != (origin.reactor, origin.position, _FAILED):
            return "asks another reactor, or about another event, than it names"
    else:
        return f"is of the kind {one.kind}, which no effect is"
    return "" if tuple(streams) == one.streams else f"names the streams {', '.join(one.streams)}"


def _wrong(code: Check, one: Work, text: str, origin: Origin | None = None) -> Finding:
    return error(
        code,
        f"work {one.number} of the {one.lane.value} ({one.kind}, key {one.key!r}) {text}",
        stream=(origin.stream if origin is not None else "") or next(iter(one.streams), None),
        position=(origin.position if origin is not None else 0) or None,
    )
