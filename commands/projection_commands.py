"""
Commands about read models.
"""

from orderledger.ledger import streams

from .decision import Command


class OfProjection(Command, frozen=True, kw_only=True):
    """Any command on a read model, by the model's name."""

    model: str

    def streams(self) -> tuple[str, ...]:
        return (streams.projection(self.model),)


class SkipProjectedEvent(OfProjection, frozen=True, kw_only=True):
    """
    Acknowledge that a read model leaves out one event that it cannot apply, for good.

    ``Book.skip_parked`` and `orderledger projection skip` fill it in from the event that is parked
    now, and refuse any other. ``event_id`` must be that of the event at ``position``, or the skip
    has no effect. It takes effect with the next redrive or rebuild of the model.
    """

    stream: str
    version: int
    position: int
    event_id: str
    topic: str
    reason: str
    error: str = ""
