"""
From a command to the rows it appends: fold what it reads, decide, encode.

Pure but for the ids it draws; the executor does the I/O around it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from orderledger.ledger import streams as names
from orderledger.ledger.accounts_state import AccountMoved, check_net_effect
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.codec import encode_event, encode_json, key_hash
from orderledger.ledger.errors import (
    ConcurrencyConflict,
    InvalidCommand,
    LimitExceeded,
    NotFound,
    OrderLedgerError,
    Rejected,
)
from orderledger.ledger.folds import FOLDS, fold_of
from orderledger.ledger.journal import Layer, encode_entry
from orderledger.ledger.limits import EVENTS_PER_APPEND_MAX, PAYLOAD_BYTES_MAX
from orderledger.ledger.ports import ConstraintSet, NewAppend, NewEvent
from orderledger.ledger.risk_rules import RiskPolicy, Seen
from orderledger.ledger.streams import kind_of

from .decide_periods import dated, needs_dating
from .decision import Change, Changes, Command, MissingState, Reported, States, decide
from .dispute_commands import OfDispute
from .idempotency import encode_refusal, encode_reply, fingerprint
from .requests import Context, Envelope
from .risk_guards import Asked, guarded
from .validation import validated

Decider = Callable[[Any, States, datetime], Changes]


class Versioned(msgspec.Struct, frozen=True, gc=False):
    """A folded stream: its state after ``version`` events."""

    version: int
    state: Any


class Layered:
    """The states a decider sees: what this batch changed, over what is loaded."""

    def __init__(self, loaded: Mapping[str, Versioned], changed: Mapping[str, Versioned]) -> None:
        self._loaded = loaded
        self._changed = changed

    def __getitem__(self, stream: str) -> Any:
        found = self._changed.get(stream) or self._loaded[stream]
        return found.state


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A command made ready once: its key, fingerprint and envelope do not change with retries."""

    envelope: Envelope
    command: Command
    """The envelope's command with exact types; see ``validated``."""
    command_id: UUID
    key: str
    key_hash: bytes
    fingerprint: bytes
    context: str
    streams: tuple[str, ...]
    creates: tuple[str, ...]
    seen: tuple[Seen, ...] = ()
    """What was looked up for the risk policy."""


class Decided(msgspec.Struct, frozen=True):
    """The outcome of one decision, before it is written."""

    append: NewAppend
    written: Mapping[str, Versioned]
    read: frozenset[str]
    has_postings: bool
    refusal: OrderLedgerError | None = None


def prepare(book: str, envelope: Envelope, command_id: UUID) -> Prepared:
    """
    Return what stays the same over retries; raises InvalidCommand for a field of the wrong type or
    an id outside the grammar: here, where it concerns one caller and not a batch.

    Without a key, the command's id serves as key and its bytes as key hash, so that such keys are
    time-ordered in the index.
    """
    command = validated(envelope.command)
    for stream in envelope.expected:
        if kind_of(stream) not in FOLDS:
            raise InvalidCommand(
                f"expected names {stream!r}, which is no stream: give kind-id, such as order-7",
                field="expected",
                stream=stream,
            )
    key = envelope.key if envelope.key is not None else str(command_id)
    try:
        hashed = key_hash(book, key) if envelope.key is not None else command_id.bytes
        text = encode_json(_context_of(envelope, key))
    except UnicodeEncodeError as error:
        raise InvalidCommand(
            f"the key or another text of the envelope cannot be written as UTF-8: {error}",
            field="envelope",
        ) from error
    return Prepared(
        envelope=envelope,
        command=command,
        command_id=command_id,
        key=key,
        key_hash=hashed,
        fingerprint=fingerprint(command),
        context=text,
        streams=command.streams(),
        creates=command.creates(),
    )


def _context_of(
    envelope: Envelope, key: str, reported: Reported | None = None, rule_book: str | None = None
) -> Context:
    return Context(
        actor=envelope.actor,
        key=key,
        source=envelope.source,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        provider_event_id=envelope.provider_event_id,
        reported_at=None if reported is None else reported.at,
        adjusts=None if reported is None else reported.period,
        rulebook_version=rule_book,
    )


class Deciding:
    """
    Decides a series of commands, each on the state that the ones before it leave.

    ``loaded`` holds the streams read from the store (version 0 and the initial state for one
    without events). A decision that needs another stream raises MissingState and leaves no trace.
    """

    def __init__(
        self,
        loaded: Mapping[str, Versioned],
        constraints: ConstraintSet,
        new_id: Callable[[], UUID],
        risk: RiskPolicy | None = None,
    ) -> None:
        self._loaded: Final = loaded
        self._constrained: Final = constraints.accounts
        self._closed_until: Final = constraints.closed_until
        self._new_id: Final = new_id
        self._risk: Final = risk
        self.changed: Final[dict[str, Versioned]] = {}
        self._states: Final = Layered(loaded, self.changed)

    def decide(self, prepared: Prepared, now: datetime, decider: Decider = decide) -> Decided:
        """
        Decide one command, with the registered decider unless another is given.

        A refusal that depended on state is part of the result. Raises MissingState, InvalidInput
        and, where ``expected`` does not hold, ConcurrencyConflict; then nothing is kept.
        """
        states = States(self._states)
        try:
            if prepared.envelope.expected:
                self._check_expected(prepared.envelope.expected, states)
            changes = decider(prepared.command, states, now)
            if self._risk is not None:
                changes = guarded(self._risk, _asked(prepared), changes, states, now)
            closed_until = self._closed_until
            if closed_until and needs_dating(prepared.command, changes, closed_until, now):
                # The instant only tells that it is worth a look. The periods' own stream says
                # which, and as it is read, a refusal too holds only if it has not moved.
                changes = dated(prepared.command, changes, states.periods(), now)
            if self._constrained:
                changes = self._with_constraints(prepared.command, changes, states)
        except (Rejected, NotFound) as refusal:
            return self._refused(prepared, states, refusal)
        return self._accepted(prepared, states, changes, now)

    def _check_expected(self, expected: Mapping[str, int], states: States) -> None:
        for stream, version in expected.items():
            states.read.add(stream)
            found = self._version(stream)
            if found != version:
                raise ConcurrencyConflict(stream, version, found)

    def _version(self, stream: str) -> int:
        found = self.changed.get(stream) or self._loaded.get(stream)
        if found is None:
            raise MissingState(stream)
        return found.version

    def _with_constraints(
        self, command: Command, changes: Sequence[Change], states: States
    ) -> tuple[Change, ...]:
        """
        Add the movement of every constrained account that an entry touches, or refuse.

        What an observation reports has happened: there a breach is recorded with an anomaly.
        """
        extended: list[Change] = []
        moved: dict[str, Any] = {}
        for change in changes:
            extended.append(change)
            for account, net in _net_of(change, self._constrained).items():
                state = moved.get(account) or states.account(account)
                try:
                    check_net_effect(state, net)
                except Rejected as breach:
                    if not command.is_observation:
                        raise
                    extended.append(_breached(change, account, breach))
                for one in _movements(change, account, net):
                    state = fold_of(one.stream).apply(state, one.event)
                    extended.append(one)
                moved[account] = state
        return tuple(extended)

    def _refused(self, prepared: Prepared, states: States, refusal: OrderLedgerError) -> Decided:
        seen = {stream: self._known(stream).version for stream in sorted(states.read)}
        context = _context_of(prepared.envelope, prepared.key)
        reply = encode_refusal(refusal, seen, context)
        return Decided(
            append=self._append(prepared, (), reply, refused=True),
            written={},
            read=frozenset(states.read),
            has_postings=False,
            refusal=refusal,
        )

    def _accepted(
        self, prepared: Prepared, states: States, changes: Sequence[Change], now: datetime
    ) -> Decided:
        command = prepared.command
        if len(changes) > EVENTS_PER_APPEND_MAX:
            raise LimitExceeded(
                f"{type(command).__name__} makes {len(changes)} events, "
                f"the limit is {EVENTS_PER_APPEND_MAX}",
                events=len(changes),
                limit=EVENTS_PER_APPEND_MAX,
            )
        written: dict[str, Versioned] = {}
        versions: list[int] = []
        has_postings = False
        for change in changes:
            stream = change.stream
            before = written.get(stream) or self._known(stream)
            version = before.version + 1
            written[stream] = Versioned(version, fold_of(stream).apply(before.state, change.event))
            versions.append(version)
            has_postings = has_postings or bool(change.entry.postings)
        events = [
            self._encode(prepared, change, version, now, _rule_book(command, change, written))
            for change, version in zip(changes, versions, strict=True)
        ]
        reply = encode_reply(
            {stream: state.version for stream, state in written.items()},
            tuple([event.event_id for event in events]),
        )
        self.changed.update(written)
        return Decided(
            append=self._append(prepared, tuple(events), reply, refused=False),
            written=written,
            read=frozenset(states.read),
            has_postings=has_postings,
        )

    def _known(self, stream: str) -> Versioned:
        found = self.changed.get(stream) or self._loaded.get(stream)
        if found is None:
            raise MissingState(stream)
        return found

    def _encode(
        self,
        prepared: Prepared,
        change: Change,
        version: int,
        now: datetime,
        rule_book: str | None,
    ) -> NewEvent:
        topic, payload = encode_event(change.event)
        # A character has at most four bytes: most payloads need not be counted.
        if len(payload) * 4 > PAYLOAD_BYTES_MAX < (size := len(payload.encode())):
            raise LimitExceeded(
                f"the {topic} event of {change.stream} has {size} bytes of payload, "
                f"the limit is {PAYLOAD_BYTES_MAX}",
                stream=change.stream,
                size=size,
                limit=PAYLOAD_BYTES_MAX,
            )
        context = ""
        if change.reported is not None or rule_book is not None:
            context = encode_json(
                _context_of(prepared.envelope, prepared.key, change.reported, rule_book)
            )
        return NewEvent(
            self._new_id(),
            change.stream,
            version,
            topic,
            change.occurred_at or prepared.command.occurred_at or now,
            payload,
            encode_entry(change.entry),
            context,
        )

    @staticmethod
    def _append(
        prepared: Prepared, events: tuple[NewEvent, ...], reply: str, *, refused: bool
    ) -> NewAppend:
        return NewAppend(
            prepared.command_id,
            prepared.key,
            prepared.key_hash,
            prepared.fingerprint,
            type(prepared.command).__name__,
            refused,
            reply,
            prepared.context,
            events,
        )


def _rule_book(command: Command, change: Change, written: Mapping[str, Versioned]) -> str | None:
    """
    Return the rule book under which an event was decided, None for one under none.

    Events of a dispute are, and those that a command on it appends to other streams: freezes, the
    legs of a ruling. (Of an event that another decision leaves in a dispute, only that one.)
    """
    stream = change.stream
    if kind_of(stream) != "dispute":
        if not isinstance(command, OfDispute):
            return None
        stream = names.dispute(command.dispute_id)
    found = written.get(stream)
    if found is None or not found.state.exists:
        return None
    edition: str = found.state.rule_book.edition
    return edition


def _asked(prepared: Prepared) -> Asked:
    return Asked(
        prepared.command,
        prepared.key,
        str(prepared.command_id),
        prepared.fingerprint,
        prepared.seen,
    )


def _movements(
    change: Change, account: str, net: Mapping[tuple[Layer, str], int]
) -> Iterator[Change]:
    for (layer, currency), minor in net.items():
        event = AccountMoved.of(account, layer, currency, minor, change.stream)
        yield Change(
            names.account(account),
            event,
            occurred_at=change.occurred_at,
            reported=change.reported,
        )


def _breached(change: Change, account: str, breach: Rejected) -> Change:
    anomaly = AnomalyRaised(
        kind=AnomalyKind.ACCOUNT_CONSTRAINT_BREACHED,
        refs=(account, breach.reason.value),
        severity="critical",
        detail=breach.message,
    )
    return Change(change.stream, anomaly, occurred_at=change.occurred_at, reported=change.reported)


def _net_of(change: Change, constrained: frozenset[str]) -> dict[str, dict[tuple[Layer, str], int]]:
    """Return the net effect of an entry per constrained account, by layer and currency."""
    net: dict[str, dict[tuple[Layer, str], int]] = {}
    for leg in change.entry.postings:
        if leg.account in constrained:
            sums = net.setdefault(leg.account, {})
            sums[(leg.layer, leg.currency)] = sums.get((leg.layer, leg.currency), 0) + leg.minor
    return net
