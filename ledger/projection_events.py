"""
Events about the read models themselves (stream ``projection-{model}``).
"""

from .events import Event, topic


@topic("projection.event_skipped.v1")
class ProjectionEventSkipped(Event, frozen=True, kw_only=True):
    """
    Somebody acknowledged that a read model leaves out one event for good.

    ``stream``, ``version``, ``position``, ``event_id`` and ``topic`` say which event, ``error``
    what the model said of it. Who acknowledged it stands in the envelope. The event itself stays
    in the log and in every other model.
    """

    model: str
    stream: str
    version: int
    position: int
    event_id: str
    topic: str
    reason: str
    error: str = ""
