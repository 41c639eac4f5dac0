"""
Effects: what is to be done because something happened, as values that can be stored.

An effect is either a command to execute or a request to a port. It is stored before anything is
done about it, under a key that follows from the event: whoever performs it, and however often, the
command is executed under that key and the provider asked under it, so that it happens once.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from orderledger.ledger import provider_ports as p
from orderledger.ledger.codec import encode_json
from orderledger.ledger.errors import CorruptEvent
from orderledger.ledger.work_ports import Lane, NewWork

from .decision import Command
from .requests import MAX_KEY_LENGTH, SYSTEM, Actor, Envelope, Source

COMMAND: Final = "command"
CALL: Final = "call"
DEADLINE: Final = "deadline"
REACTION: Final = "reaction"

REQUESTS: Final[Mapping[str, type[p.Request]]] = {
    one.__name__: one
    for one in (
        p.AuthoriseRequest,
        p.AdjustRequest,
        p.CaptureRequest,
        p.VoidRequest,
        p.RefundRequest,
        p.QueryRequest,
        p.PayOutRequest,
        p.PayOutQuery,
        p.ReserveStock,
        p.ReleaseStock,
        p.AssessOrder,
        p.ShipRequest,
        p.Notify,
    )
}
"""Every request to a port, by the name under which it is stored."""


class Execute(msgspec.Struct, frozen=True):
    """An effect: execute a command."""

    command: Command


class Call(msgspec.Struct, frozen=True):
    """An effect: ask a port. What it answers is recorded by commands of ``port_answers``."""

    request: p.Request


Effect = Execute | Call


class Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command with its envelope as work keeps it; the key is the work's own."""

    fields: msgspec.Raw
    actor: Actor = SYSTEM
    source: Source = Source.COMMAND
    expected: dict[str, int] = {}
    correlation_id: str | None = None
    causation_id: str | None = None
    provider_event_id: str | None = None


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What called for work: an event and its reactor, or the deadline of a stream."""

    reactor: str = ""
    position: int = 0
    ordinal: int = 0
    stream: str = ""
    deadline_id: str = ""
    deadline_kind: str = ""
    due_at: datetime | None = None


_stored: Final = msgspec.json.Decoder(Stored)
_origin: Final = msgspec.json.Decoder(Origin)


def effect_key(book: str, reactor: str, position: int, ordinal: int) -> str:
    """Return the key of an effect: SHA-256, in hex, of what called for it."""
    return sha256(f"{book}\x00{reactor}\x00{position}\x00{ordinal}".encode()).hexdigest()


def bounded_key(key: str) -> str:
    """Return a key, or, where it is too long for one, a hash of it under its first word."""
    if len(key) <= MAX_KEY_LENGTH - 8:
        return key
    return f"{key.partition('/')[0]}/{sha256(key.encode()).hexdigest()}"


def encode_envelope(envelope: Envelope) -> tuple[str, str]:
    """Return the kind and the payload under which a command with its envelope is stored."""
    command = envelope.command
    stored = Stored(
        fields=msgspec.Raw(encode_json(command).encode()),
        actor=envelope.actor,
        source=envelope.source,
        expected=dict(envelope.expected),
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        provider_event_id=envelope.provider_event_id,
    )
    return f"{COMMAND}:{type(command).__name__}", encode_json(stored)


def decode_envelope(kind: str, payload: str, key: str) -> Envelope:
    """
    Return a stored command in its envelope, under a key.

    Raises CorruptEvent where this code has no such command or it has other fields.
    """
    try:
        stored = _stored.decode(payload)
        command = msgspec.json.decode(stored.fields, type=_command_type(kind))
    except msgspec.MsgspecError as error:
        raise CorruptEvent(f"stored {kind} cannot be decoded: {error}", kind=kind) from error
    return Envelope(
        command=command,
        key=key,
        actor=stored.actor,
        source=stored.source,
        expected=stored.expected,
        correlation_id=stored.correlation_id,
        causation_id=stored.causation_id,
        provider_event_id=stored.provider_event_id,
    )


def _command_type(kind: str) -> type[Command]:
    name = kind.removeprefix(f"{COMMAND}:")
    found = [one for one in _kinds(Command) if one.__name__ == name]
    if len(found) != 1:
        raise CorruptEvent(
            f"there are {len(found)} commands {name} in this code, not one", kind=kind
        )
    return found[0]


def _kinds(parent: type[Command]) -> Iterator[type[Command]]:
    """Yield every kind of command that was imported, the host's own and exclusive ones too."""
    for kind in parent.__subclasses__():
        yield kind
        yield from _kinds(kind)


def decode_request(kind: str, payload: str) -> p.Request:
    """Return a stored request to a port; raises CorruptEvent."""
    try:
        return msgspec.json.decode(payload, type=REQUESTS[kind.removeprefix(f"{CALL}:")])
    except (msgspec.MsgspecError, KeyError) as error:
        raise CorruptEvent(f"stored {kind} cannot be decoded: {error}", kind=kind) from error


def decode_origin(text: str) -> Origin:
    """Return what called for work."""
    return _origin.decode(text)


def outbox_work(effect: Effect, key: str, origin: Origin, actor: Actor, at: datetime) -> NewWork:
    """Return an effect as work of the outbox, to be tried at once."""
    if isinstance(effect, Execute):
        envelope = Envelope(
            command=effect.command,
            actor=actor,
            causation_id=f"position:{origin.position}" if origin.position else None,
        )
        kind, payload = encode_envelope(envelope)
        streams: Sequence[str] = effect.command.streams()
    else:
        request = effect.request
        if not request.idempotency_key:
            request = msgspec.structs.replace(request, idempotency_key=key)
        kind, payload = f"{CALL}:{type(request).__name__}", encode_json(request)
        streams = (origin.stream,) if origin.stream else ()
    return NewWork(
        lane=Lane.OUTBOX,
        key=key,
        kind=kind,
        payload=payload,
        origin=encode_json(origin),
        streams=tuple(dict.fromkeys(streams)),
        created_at=at,
        due_at=at,
    )
