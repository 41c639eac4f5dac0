"""
Fingerprints of the code that folds: a snapshot of other code is not read.

A fingerprint covers the declared version of a fold, the shape of its state down to the last struct,
every topic that it is folded from with the shape of its struct, and the upcasters that lead there.
What it cannot see is a changed function: ``Fold.version`` is raised for that, and a test tells when
it was forgotten.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Final, cast

import msgspec
from msgspec import inspect

from orderledger.ledger.codec import encode_json
from orderledger.ledger.events import current, struct_of, topic_of, upcasts
from orderledger.ledger.folds import FOLDS

_FORM: Final = 1
"""Raised when bodies or fingerprints are made in another way: all snapshots are void then."""


@cache
def fold_fingerprint(kind: str) -> bytes:
    """Return the fingerprint of how a kind of stream is folded now."""
    fold = FOLDS[kind]
    structs = {topic_of(struct): struct for struct in fold.evolve}
    return _hash(
        ["fold", _FORM, kind, fold.version, shape([fold.state_type]), topics_shape(structs)]
    )


def topics_shape(structs: Mapping[str, type[Any]]) -> object:
    """Return what events of these topics are read as: their structs, and what is lifted to them."""
    lifted = [(old, new) for old, new in upcasts().items() if current(new) in structs]
    return [sorted(structs), shape(structs[topic] for topic in sorted(structs)), lifted]


def shape(types: Iterable[type[Any]]) -> object:
    """Return the structure of types and of all that they hold, as plain values."""
    structs: dict[str, object] = {}
    roots = [_describe(inspect.type_info(one), structs) for one in types]
    return [roots, structs]


def model_fingerprint(
    fingerprint: str, topics: frozenset[str], folds: frozenset[str], skipped: Sequence[int]
) -> bytes:
    """
    Return the fingerprint of how the rows of a read model are made now, up to a position.

    ``fingerprint`` is the one that its author declares; ``topics`` what it reads and ``folds`` the
    kinds of stream whose states it looks at; ``skipped`` the positions up to there that it leaves
    out.
    """
    of_folds = [(kind, fold_fingerprint(kind).hex()) for kind in sorted(folds)]
    parts = ["model", _FORM, fingerprint, _topics_hash(topics), of_folds]
    return _hash([*parts, list(skipped)])


@cache
def _topics_hash(topics: frozenset[str]) -> str:
    return _hash(topics_shape({topic: struct_of(topic) for topic in topics})).hex()


def _hash(parts: object) -> bytes:
    return sha256(encode_json(parts).encode()).digest()


def _describe(found: inspect.Type, structs: dict[str, object]) -> object:
    if isinstance(found, inspect.StructType):
        name = f"{found.cls.__module__}.{found.cls.__qualname__}"
        if name not in structs:
            structs[name] = None  # a struct may hold itself
            structs[name] = [
                found.tag,
                found.array_like,
                [_field(field, structs) for field in found.fields],
            ]
        return name
    if isinstance(found, inspect.EnumType):
        return [found.cls.__qualname__, [member.value for member in found.cls]]
    return [
        type(found).__name__,
        *[
            _part(getattr(found, name), structs)
            for name in found.__struct_fields__
            if getattr(found, name) is not None
        ],
    ]


def _part(value: object, structs: dict[str, object]) -> object:
    if isinstance(value, inspect.Type):
        return _describe(value, structs)
    if isinstance(value, tuple):
        return [_part(one, structs) for one in cast("tuple[object, ...]", value)]
    return repr(value)


def _field(field: inspect.Field, structs: dict[str, object]) -> object:
    default: object = "required" if field.required else _repr_of(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory.__qualname__
    return [field.encode_name, _describe(field.type, structs), default]


def _repr_of(value: object) -> str:
    """Return a default as text that is the same in every process, whatever the order of its set."""
    if isinstance(value, frozenset | set):
        members = sorted(repr(one) for one in cast("frozenset[object]", value))
        return f"{{{', '.join(members)}}}"
    return repr(value)
