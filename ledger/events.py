"""
The event registry: every event struct has a declared topic with a version, registered once.

The structs stand in the modules ``*_events``, and a few beside the state that they change;
importing ``folds`` registers all of them.
Nothing in the database names a Python module: a topic maps to a struct here, and an unknown topic
is refused, never imported.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from .errors import UnknownTopic

TOPIC_GRAMMAR: Final = re.compile(r"[a-z][a-z_]*(\.[a-z][a-z_]*)+\.v[1-9][0-9]*")


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """
    Base of every event: an immutable fact in the past tense.

    Amounts are positive integers in minor units, direction is in the name or in a field. The
    envelope (stream, version, both clocks, actor, command, postings) is not part of the struct.
    ``gc=False``, here and for states and commands: immutable values cannot form a cycle, and
    leaving them to the collector costs a fifth of an append.
    """


E = TypeVar("E", bound=type[Event])
Raw = dict[str, object]

_structs: dict[str, type[Event]] = {}
_topics: dict[type[Event], str] = {}
_upcasters: dict[str, tuple[str, Callable[[Raw], Raw]]] = {}


def topic(name: str) -> Callable[[E], E]:
    """Register the decorated struct as the current form of a topic (``payment.captured.v1``)."""
    if TOPIC_GRAMMAR.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a topic: area.event.vN in lower case")

    def register(struct: E) -> E:
        if name in _structs or name in _upcasters:
            raise ValueError(f"topic {name} is registered twice")
        _structs[name] = struct
        _topics[struct] = name
        return struct

    return register


def upcaster(old: str, new: str) -> Callable[[Callable[[Raw], Raw]], Callable[[Raw], Raw]]:
    """
    Register the decorated function as the way from an old topic version to a newer one.

    It maps the decoded JSON object of the old form to that of the new one; chains are followed.
    """

    def register(function: Callable[[Raw], Raw]) -> Callable[[Raw], Raw]:
        if old in _upcasters or old in _structs:
            raise ValueError(f"topic {old} is registered twice")
        _upcasters[old] = (new, function)
        return function

    return register


def struct_of(name: str) -> type[Event]:
    """Return the struct of a current topic; raises UnknownTopic."""
    try:
        return _structs[name]
    except KeyError:
        raise UnknownTopic(
            f"topic {name!r} is not registered; the book was written by a newer version or "
            "another program",
            topic=name,
        ) from None


def topic_of(struct: type[Event]) -> str:
    """Return the topic under which an event struct is stored."""
    return _topics[struct]


def topics() -> Mapping[str, type[Event]]:
    """Return every current topic with its struct, sorted by topic."""
    return dict(sorted(_structs.items()))


def upcast(name: str, raw: Raw) -> tuple[str, Raw]:
    """Follow the chain from an old topic to the current one; returns both unchanged if current."""
    while name in _upcasters:
        name, function = _upcasters[name][0], _upcasters[name][1]
        raw = function(raw)
    return name, raw


def upcasts() -> Mapping[str, str]:
    """Return every old topic with the one that its upcaster lifts it to, sorted."""
    return {old: new for old, (new, _) in sorted(_upcasters.items())}


def current(name: str) -> str:
    """Return the topic to which a stored one is lifted; one that nobody registered as it is."""
    while name in _upcasters:
        name = _upcasters[name][0]
    return name


def is_known(name: str) -> bool:
    """Tell whether a current topic is registered, or not of this library's form at all."""
    return name in _structs or TOPIC_GRAMMAR.fullmatch(name) is None


def is_old(name: str) -> bool:
    """Tell whether a topic is an old version that an upcaster lifts."""
    return name in _upcasters
