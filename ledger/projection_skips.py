"""
Which events a read model leaves out for good, by acknowledgement.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .events import Event
from .projection_events import ProjectionEventSkipped


class SkipsState(msgspec.Struct, frozen=True, kw_only=True):
    """The skips of one model by the position of the event that is left out."""

    model: str = ""
    skips: Mapping[int, ProjectionEventSkipped] = {}

    @property
    def exists(self) -> bool:
        return self.model != ""

    def of(self, position: int, stream: str, version: int) -> ProjectionEventSkipped | None:
        """Return the skip of an event, known by its position or by its place in its stream."""
        found = self.skips.get(position)
        if found is not None:
            return found
        for one in self.skips.values():
            if (one.stream, one.version) == (stream, version):
                return one
        return None


INITIAL: Final = SkipsState()


def _skipped(state: SkipsState, event: ProjectionEventSkipped) -> SkipsState:
    """A second skip of one event changes nothing: the first reason stands."""
    return SkipsState(model=event.model, skips={event.position: event, **state.skips})


EVOLVE: Final[Mapping[type[Event], Callable[[Any, Any], SkipsState]]] = {
    ProjectionEventSkipped: _skipped,
}
