"""
Bodies of snapshots: a state as bytes and back, and what their hash covers.

A state is written as MessagePack, which keeps the keys of its mappings whatever they are, and their
order. Integers beyond 64 bits, which that format has none of, make it a codec of its own.
"""

import zlib
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, cast

import msgspec

from orderledger.ledger.codec import encode_json
from orderledger.ledger.snapshot_ports import Header

PLAIN: Final = "msgpack+zlib"
BIG: Final = "msgpack.big+zlib"
CODECS: Final = frozenset({PLAIN, BIG})

EPOCH: Final = 0
"""The erasures that a snapshot has seen; see ``Header.erasure_epoch``."""

_BIG_INTEGER: Final = 1
"""The extension type of an integer that MessagePack has no room for: its digits."""
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
_LEVEL: Final = 1


class Unreadable(Exception):
    """A body is not what its header says."""


class NotTheSame(Exception):
    """A state does not come back from its bytes as it was; its snapshot would change answers."""


def encode_state(state: Any) -> tuple[str, bytes]:
    """
    Return the codec and the bytes of a state.

    Raises NotTheSame where the bytes do not give the very state back.
    """
    try:
        codec, text = PLAIN, msgspec.msgpack.encode(state)
    except OverflowError:
        builtins = msgspec.to_builtins(state, builtin_types=(bytes,), order=None)
        codec, text = BIG, msgspec.msgpack.encode(_without_big(builtins))
    body = zlib.compress(text, _LEVEL)
    if decode_state(codec, state.__class__, body) != state:
        raise NotTheSame(f"a {type(state).__name__} is not the same when it is read again")
    return codec, body


def decode_state(codec: str, kind: type[Any], body: bytes) -> Any:
    """Return the state of a type from its bytes; raises Unreadable."""
    try:
        text = zlib.decompress(body)
        if codec == PLAIN:
            return msgspec.msgpack.decode(text, type=kind)
        return msgspec.convert(msgspec.msgpack.decode(text, ext_hook=_big), kind)
    except (zlib.error, msgspec.DecodeError, ValueError, TypeError) as error:
        raise Unreadable(str(error)) from error


def seal(header: Header, body: bytes) -> bytes:
    """
    Return SHA-256 over a header, its ``body_hash`` aside, and the body.

    So that a header that was changed, or moved to another subject, is found out like a body.
    """
    fields = msgspec.structs.replace(header, body_hash=b"")
    return sha256(encode_json(fields).encode() + b"\x00" + sha256(body).digest()).digest()


def sealed(header: Header, body: bytes) -> Header:
    """Return a header with the hash that belongs to it and the body."""
    return msgspec.structs.replace(header, body_hash=seal(header, body))


def _without_big(value: Any) -> Any:
    if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        return msgspec.msgpack.Ext(_BIG_INTEGER, str(value).encode())
    if isinstance(value, dict):
        pairs = cast("Mapping[Any, Any]", value)
        return {key: _without_big(one) for key, one in pairs.items()}
    if isinstance(value, list | tuple):
        return [_without_big(one) for one in cast("list[Any]", value)]
    return value


def _big(code: int, data: memoryview) -> int:
    if code != _BIG_INTEGER:
        raise ValueError(f"an extension of type {code}")
    return int(data.tobytes())
