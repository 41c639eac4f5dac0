"""
The skips of a read model as people see them: who left out which event, when and why.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from orderledger.ledger.projection_events import ProjectionEventSkipped
from orderledger.ledger.streams import projection
from orderledger.projections.read_models import ReadModels

from .history import history


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """
    One event that a model leaves out, and who said so.

    ``position``, ``stream``, ``version`` and ``topic`` are the event's. ``actor`` is ``type:id``,
    ``recorded_at`` when it was acknowledged, None before it is sequenced. ``in_effect`` tells
    whether the live generation leaves it out; otherwise the next redrive or rebuild will.
    """

    model: str
    position: int
    stream: str
    version: int
    topic: str
    reason: str
    error: str
    actor: str
    recorded_at: datetime | None
    in_effect: bool


def skips(models: ReadModels, name: str) -> Sequence[Skip]:
    """Return the skips of a model in the order in which they were made; raises NotFound."""
    models.model(name)
    live = models.live(name)
    in_effect = frozenset(live.skipped if live is not None else ())
    return [
        Skip(
            model=name,
            position=one.event.position,
            stream=one.event.stream,
            version=one.event.version,
            topic=one.event.topic,
            reason=one.event.reason,
            error=one.event.error,
            actor=f"{one.context.actor.type}:{one.context.actor.id}",
            recorded_at=one.recorded_at,
            in_effect=one.event.position in in_effect,
        )
        for one in history(models.events, projection(name))
        if isinstance(one.event, ProjectionEventSkipped)
    ]
