"""
What goes in and out of ``execute``: the envelope around a command, and the receipt.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, cast
from uuid import UUID

import msgspec

from orderledger.ledger.errors import InvalidCommand, LimitExceeded
from orderledger.ledger.instants import Instant

from .decision import Command

MAX_KEY_LENGTH: Final = 255
"""Characters of a key, and of each other text around a command."""


class Source(StrEnum):
    """Where a command came from."""

    COMMAND = "command"
    GATEWAY = "gateway"
    SETTLEMENT = "settlement"
    TIMER = "timer"
    IMPORT = "import"
    EVENTSOURCING = "eventsourcing"
    """No command: an application of the ``eventsourcing`` library appended the events itself."""


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who gave the command: a kind (``user``, ``staff``, ``system`` …), an id, and for whom."""

    type: str
    id: str
    on_behalf_of: str | None = None

    def __post_init__(self) -> None:
        _check_text("actor.type", self.type)
        _check_text("actor.id", self.id)
        if self.on_behalf_of is not None:
            _check_text("actor.on_behalf_of", self.on_behalf_of)


def _check_text(field: str, value: object) -> None:
    """
    Raise for what is no text, or a text without end.

    msgspec encodes whatever a struct holds and decodes only what it declares: a number would be
    stored with the events and make them unreadable for ever.
    """
    if not isinstance(value, str):
        raise InvalidCommand(f"{field} is {value!r:.80}; it must be a text", field=field)
    if len(value) > MAX_KEY_LENGTH:
        raise LimitExceeded(
            f"{field} has {len(value)} characters, the limit is {MAX_KEY_LENGTH}",
            field=field,
            length=len(value),
            limit=MAX_KEY_LENGTH,
        )


SYSTEM: Final = Actor("system", "orderledger")


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A command with what surrounds it.

    ``key`` is the idempotency key, at most 255 characters, unique per book without time limit;
    without one, a fresh key is made and a retry cannot be recognised. ``expected`` gives versions
    that streams must have (0: must not exist); otherwise ConcurrencyConflict.
    """

    command: Command
    key: str | None = None
    actor: Actor = SYSTEM
    expected: Mapping[str, int] = {}
    correlation_id: str | None = None
    causation_id: str | None = None
    source: Source = Source.COMMAND
    provider_event_id: str | None = None

    def __post_init__(self) -> None:
        _check_kinds(self.command, self.actor)
        if self.key is not None:
            _check_key(self.key)
        if self.source is not Source.COMMAND:
            _check_source(self.source)
        if self.correlation_id is not None:
            _check_text("correlation_id", self.correlation_id)
        if self.causation_id is not None:
            _check_text("causation_id", self.causation_id)
        if self.provider_event_id is not None:
            _check_text("provider_event_id", self.provider_event_id)
        if self.expected:
            _check_expected(self.expected)


def _check_kinds(command: object, actor: object) -> None:
    if not isinstance(command, Command):
        raise InvalidCommand(f"{command!r:.80} is no command", field="command")
    if not isinstance(actor, Actor):
        raise InvalidCommand(f"actor is {actor!r:.80}; it must be an Actor", field="actor")


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise InvalidCommand(f"key is {key!r:.80}; it must be a text", field="key")
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise LimitExceeded(
            f"an idempotency key has 1 to {MAX_KEY_LENGTH} characters, this one has {len(key)}",
            field="key",
            length=len(key),
            limit=MAX_KEY_LENGTH,
        )
    if "\0" in key:
        # PostgreSQL's text cannot hold it; a key must mean the same on every engine.
        raise InvalidCommand(f"the key {key!r:.80} has a NUL character", field="key")


def _check_source(source: object) -> None:
    if not isinstance(source, str) or source not in frozenset(Source):
        raise InvalidCommand(
            f"source is {source!r:.80}; it must be one of {', '.join(Source)}", field="source"
        )


def _check_expected(expected: object) -> None:
    if not isinstance(expected, Mapping):
        raise InvalidCommand(
            f"expected is {expected!r:.80}; it must map streams to versions", field="expected"
        )
    for stream, version in cast("Mapping[object, object]", expected).items():
        if not isinstance(stream, str) or type(version) is not int or version < 0:
            raise InvalidCommand(
                f"expected maps {stream!r:.80} to {version!r:.80}; it must map streams to "
                "versions, which are integers from 0",
                field="expected",
            )


class Context(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """
    The envelope fields that are stored with every event of a command, as JSON.

    An event whose entry was reported for a closed period has two more: ``reported_at``, when it was
    said to be effective, and ``adjusts``, the id of that period. Its own ``occurred_at`` is then
    the first instant of the period that was open. One that was decided under the rule book of a
    dispute names it: ``rulebook_version`` is ``book/version``.
    """

    actor: Actor
    key: str
    source: Source = Source.COMMAND
    correlation_id: str | None = None
    causation_id: str | None = None
    provider_event_id: str | None = None
    reported_at: Instant | None = None
    adjusts: str | None = None
    rulebook_version: str | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    The result of a command that was accepted.

    ``streams`` maps each stream that was written to its version after; ``event_ids`` are in the
    order of the events; ``positions`` and ``recorded_at`` (of the first event) are None while the
    events wait for the sequencer: after a command that joined the host's transaction, and
    sometimes when several processes write. ``replayed`` tells that the key was known and nothing
    was written now.
    """

    book: str
    command_id: UUID
    key: str
    streams: Mapping[str, int]
    event_ids: tuple[UUID, ...]
    positions: tuple[int, ...] | None = None
    recorded_at: datetime | None = None
    replayed: bool = False
