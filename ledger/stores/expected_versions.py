"""What a batch expects of the streams it writes or checks, and which of them have moved."""

from collections.abc import Mapping
from typing import Final

from ..ports import Batch


class Expected:
    """
    The first version that a batch writes to each stream, and the versions it only checks.

    A stream starts at version 1; an adapter of another library may start it at 0.
    """

    def __init__(self, batch: Batch) -> None:
        self._first: Final[dict[str, int]] = {}
        self._checks: Final = batch.checks
        self._broken: Final[set[str]] = set()
        following: dict[str, int] = {}
        for append in batch.appends:
            for event in append.events:
                stream, version = event.stream, event.version
                if stream not in following:
                    self._first[stream] = version
                elif following[stream] != version:
                    # Two appends of the batch want the same version, or leave one out.
                    self._broken.add(stream)
                following[stream] = version + 1
        self.names: Final = list(self._first)
        """Streams whose versions must be looked up, written ones first."""
        self.names.extend(name for name in self._checks if name not in self._first)

    def moved(self, versions: Mapping[str, int | None]) -> dict[str, int]:
        """Return the streams that are elsewhere than expected; None is a stream without events."""
        moved: dict[str, int] = {}
        for stream, first in self._first.items():
            actual = versions[stream]
            fits = first in (0, 1) if actual is None else first == actual + 1
            if not fits or stream in self._broken:
                moved[stream] = actual or 0
        for stream, expected in self._checks.items():
            actual = versions[stream] or 0
            if actual != expected:
                moved[stream] = actual
        return moved
