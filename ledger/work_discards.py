"""
Which work was given up for good, by acknowledgement: the state of a stream ``work-{lane}``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .events import Event
from .work_events import WorkDiscarded


class DiscardsState(msgspec.Struct, frozen=True, kw_only=True):
    """The reasons for which work of one lane was given up, by its key."""

    lane: str = ""
    reasons: Mapping[str, str] = {}

    @property
    def exists(self) -> bool:
        return self.lane != ""


INITIAL: Final = DiscardsState()


def _discarded(state: DiscardsState, event: WorkDiscarded) -> DiscardsState:
    """A second discard of the same work changes nothing: the first reason stands."""
    return DiscardsState(lane=event.lane, reasons={event.key: event.reason, **state.reasons})


EVOLVE: Final[Mapping[type[Event], Callable[[Any, Any], DiscardsState]]] = {
    WorkDiscarded: _discarded,
}
