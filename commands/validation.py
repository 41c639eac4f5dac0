"""
Types at the door: a command is checked field by field before anything else sees it.

Structs built in Python are not type-checked by msgspec; decoding their JSON is. What comes back is
the command with exact types (enums for their texts, tuples for lists), on which its fingerprint is
taken, so that the same intention written differently is still the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar, cast

import msgspec

from orderledger.ledger.errors import InvalidCommand

from .decision import Command

C = TypeVar("C", bound=Command)
_encoder: Final = msgspec.json.Encoder(decimal_format="string")
_decoders: dict[type[Command], msgspec.json.Decoder[Command]] = {}


def validated(command: C) -> C:
    """
    Return the command with every field of its declared type.

    Raises InvalidCommand naming the first field that is not: a float or bool where an integer is
    due, a naive time, an unknown choice, a float anywhere.
    """
    kind = type(command)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        checked = decoder.decode(_encoder.encode(command))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise _invalid(kind, str(error)) from error
    if checked != command:
        # Not only a list for a tuple? A decimal field reads a float's digits without complaint.
        for path in _floats(command, "$"):
            raise _invalid(kind, f"a float where an exact decimal is due - at `{path}`")
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


def _floats(value: object, path: str) -> Iterator[str]:
    if isinstance(value, float):
        yield path
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _floats(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from _floats(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from _floats(item, f"{path}.{key}")
