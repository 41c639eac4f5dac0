"""
The event that closes a part of a stream for a dossier; any kind of stream may have it.
"""

from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import Any, Final, cast

import msgspec

from .codec import encode_json
from .events import Event, topic

ATTESTED: Final = "stream.attested.v1"


@topic(ATTESTED)
class StreamAttested(Event, frozen=True, kw_only=True):
    """
    Up to here the stream belongs to what is said of ``subject``, and all of it.

    Versions have no gap, so that nothing before this event is missing where it is shown with all
    versions below its own. ``streams`` are all that were closed with it, in one append; each has
    an event of its own. ``state`` is the SHA-256, in hexadecimal, of the ``state_text`` of this
    stream. It changes no state.
    """

    subject: str
    streams: tuple[str, ...]
    state: str
    reason: str


def state_text(state: Any) -> str:
    """
    Return a folded state as JSON text, the same for the same state on every engine.

    Keys and sets are sorted; a key that is a tuple is written as the JSON array of its parts.
    """
    return encode_json(_plain(state))


def state_hash(state: Any) -> str:
    """Return the SHA-256 of a state's text, in hexadecimal."""
    return sha256(state_text(state).encode()).hexdigest()


def _plain(value: object) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        return dict(sorted([(_key(key), _plain(one)) for key, one in mapping.items()]))
    if isinstance(value, Set):
        return sorted([_key(one) for one in cast("Set[object]", value)])
    if isinstance(value, tuple | list):
        return [_plain(one) for one in cast("Sequence[object]", value)]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Decimal) else value


def _key(key: object) -> str:
    plain = _plain(key)
    return plain if isinstance(plain, str) else encode_json(plain)
