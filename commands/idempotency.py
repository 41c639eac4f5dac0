"""
Idempotency records: what identifies a command, and how its result or refusal is stored.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from struct import Struct
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID
from zlib import crc32

import msgspec

from orderledger.ledger.codec import encode_json
from orderledger.ledger.errors import (
    ConcurrencyConflict,
    CorruptEvent,
    IdempotencyConflict,
    InvalidCommand,
    NotFound,
    OrderLedgerError,
    Reason,
    Rejected,
)
from orderledger.ledger.ports import StoredCommand

from .decision import Command
from .requests import Context, Receipt

_DIGEST: Final = 32
_CHECKSUM: Final = 4
_encoder: Final = msgspec.json.Encoder(decimal_format="string")
_shapes: Final[dict[type[Command], tuple[bytes, Callable[..., bytes]]]] = {}
"""Per type of command what its fingerprint starts with, and how its checksums are packed."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    The stored outcome of a command: where it wrote, or why it was refused.

    A refusal has in ``streams`` the versions that it was decided on (0: no such stream), and in
    ``context`` who gave the command: nothing else is stored of it. Records of older releases lack
    both.
    """

    streams: dict[str, int] = {}
    event_ids: tuple[UUID, ...] = ()
    error: str = ""
    reason: str = ""
    message: str = ""
    facts: dict[str, object] = {}
    context: Context | None = None


_reply_decoder: Final = msgspec.json.Decoder(Reply)


def reply_of(stored: StoredCommand) -> Reply:
    """Decode the outcome in the record of a command; raises CorruptEvent."""
    try:
        return _reply_decoder.decode(stored.reply)
    except msgspec.DecodeError as error:
        raise CorruptEvent(
            f"the stored reply of key {stored.key!r} cannot be decoded", key=stored.key
        ) from error


def fingerprint(command: Command) -> bytes:
    """
    Return what identifies a command's content: SHA-256 of its type and JSON, then 4 bytes a field.

    The hash decides whether two commands are the same; the CRC-32 of each field, in the order of
    the struct, only serves to name the fields that differ without storing their values.
    """
    kind = type(command)
    shape = _shapes.get(kind)
    if shape is None:
        packed = Struct(f">{len(kind.__struct_fields__)}I").pack
        shape = _shapes[kind] = kind.__name__.encode() + b"\x00", packed
    head, packed = shape
    fields = [_encoder.encode(value) for value in msgspec.structs.astuple(command)]
    return sha256(head + b"\x00".join(fields)).digest() + packed(*map(crc32, fields))


def differing_fields(command: Command, mine: bytes, stored: StoredCommand) -> tuple[str, ...]:
    """Name the fields in which a command differs from the stored one; its type counts as one."""
    if stored.command != type(command).__name__:
        return ("command",)
    names = command.__struct_fields__
    ours, theirs = mine[_DIGEST:], stored.fingerprint[_DIGEST:]
    if len(ours) != len(theirs):
        return ("command",)
    differing = tuple(
        name
        for index, name in enumerate(names)
        if ours[index * _CHECKSUM : (index + 1) * _CHECKSUM]
        != theirs[index * _CHECKSUM : (index + 1) * _CHECKSUM]
    )
    return differing or ("command",)


def encode_refusal(
    error: OrderLedgerError,
    streams: Mapping[str, int] = MappingProxyType({}),
    context: Context | None = None,
) -> str:
    """Return the JSON under which a refusal is stored; see ``Reply``."""
    return encode_json(
        Reply(
            streams=dict(streams),
            context=context,
            error=type(error).__name__,
            reason=error.reason.value if isinstance(error, Rejected) else "",
            message=error.message,
            facts=dict(error.facts),
        )
    )


def decode_refusal(text: str) -> OrderLedgerError:
    """Return the error that ``encode_refusal`` wrote."""
    reply = _reply_decoder.decode(text)
    facts: dict[str, Any] = reply.facts
    match reply.error:
        case Rejected.__name__ | NotFound.__name__:
            return _refusal(reply)
        case ConcurrencyConflict.__name__:
            return ConcurrencyConflict(facts["stream"], facts["expected"], facts["actual"])
        case IdempotencyConflict.__name__:
            return IdempotencyConflict(facts["key"], tuple(facts["fields"]))
        case _:
            return InvalidCommand(reply.message, **facts)


def encode_reply(streams: dict[str, int], event_ids: tuple[UUID, ...]) -> str:
    """Return the JSON under which an accepted command's result is stored."""
    return encode_json(Reply(streams=streams, event_ids=event_ids))


def replay(book: str, command: Command, mine: bytes, stored: StoredCommand) -> Receipt:
    """
    Return the stored result of a key, or raise the stored refusal again.

    Raises IdempotencyConflict when the key belongs to another command. Positions are not in the
    record; the caller looks them up.
    """
    if stored.command != type(command).__name__ or stored.fingerprint != mine:
        raise IdempotencyConflict(stored.key, differing_fields(command, mine, stored))
    reply = reply_of(stored)
    if stored.refused:
        raise _refusal(reply)
    return Receipt(
        book=book,
        command_id=stored.command_id,
        key=stored.key,
        streams=reply.streams,
        event_ids=reply.event_ids,
        replayed=True,
    )


def _refusal(reply: Reply) -> OrderLedgerError:
    if reply.error == Rejected.__name__:
        return Rejected(Reason(reply.reason), reply.message, **reply.facts)
    return NotFound(reply.message, **reply.facts)
