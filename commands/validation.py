"""
Types at the door: a command is checked field by field before anything else sees it.

Structs built in Python are not type-checked by msgspec; decoding their JSON is. What comes back is
the command with exact types (enums for their texts, tuples for lists), on which its fingerprint is
taken, so that the same intention written differently is still the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar, cast

import msgspec

from orderledger.ledger.errors import InvalidCommand
from orderledger.ledger.instants import EARLIEST, LATEST

from .decision import Command

C = TypeVar("C", bound=Command)
F = TypeVar("F")
_encoder: Final = msgspec.json.Encoder(decimal_format="string")
_decoders: dict[type[Command], msgspec.json.Decoder[Command]] = {}


def validated(command: C) -> C:
    """
    Return the command with every field of its declared type.

    Raises InvalidCommand naming the first field that is not: a float or bool where an integer is
    due, a naive time or one that UTC cannot express, an unknown choice, a NUL character, a float or
    bytes anywhere.
    """
    kind = type(command)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        text = _encoder.encode(command)
        checked = decoder.decode(text)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise _invalid(kind, str(error)) from error
    if checked != command:
        # Not only a list for a tuple? A decimal field reads a float's digits without complaint,
        # and a text field the base64 of bytes.
        for path, found in _found(command, "$", (float, bytes, bytearray, memoryview)):
            due = "an exact decimal" if isinstance(found, float) else "text"
            raise _invalid(kind, f"{type(found).__name__} where {due} is due - at `{path}`")
    if b'"0001-' in text or b'"9999-' in text:
        for path, found in _found(checked, "$", (datetime,)):
            if not EARLIEST <= found <= LATEST:
                raise _invalid(kind, f"{found} is beyond the years 1 to 9999 in UTC - at `{path}`")
    if b"\\u0000" in text:
        for path, found in _found(checked, "$", (str,)):
            if "\x00" in found:
                # PostgreSQL's text cannot hold it, and every read model is the same on each engine.
                raise _invalid(kind, f"the text has a NUL character - at `{path}`")
    assert isinstance(checked, kind)
    return checked


def _invalid(kind: type[Command], problem: str) -> InvalidCommand:
    text, _, place = problem.partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    return InvalidCommand(
        f"{kind.__name__}{f'.{field}' if field else ''}: {text}",
        command=kind.__name__,
        field=field,
    )


def _found(value: object, path: str, kinds: tuple[type[F], ...]) -> Iterator[tuple[str, F]]:
    """Yield what is of these types, with its path in the command."""
    if isinstance(value, kinds):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _found(getattr(value, name), f"{path}.{name}", kinds)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from _found(item, f"{path}[{index}]", kinds)
    elif isinstance(value, dict):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from _found(item, f"{path}.{key}", kinds)
