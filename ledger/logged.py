"""
An event in its place in the log, as whoever follows the log is given it.
"""

from datetime import datetime

import msgspec

from .events import Event
from .streams import id_of, kind_of


class Logged(msgspec.Struct, frozen=True, gc=False):
    """
    What every follower sees of an event: its place in the log, both clocks, and what it says.

    ``context`` is the envelope as stored, JSON.
    """

    position: int
    recorded_at: datetime
    occurred_at: datetime
    stream: str
    version: int
    topic: str
    event: Event
    context: str

    @property
    def kind(self) -> str:
        """The kind of the stream: ``payment`` of ``payment-p1``."""
        return kind_of(self.stream)

    @property
    def entity_id(self) -> str:
        """The id of what the stream is about: ``p1`` of ``payment-p1``."""
        return id_of(self.stream)
