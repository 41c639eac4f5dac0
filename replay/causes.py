"""Which event changed something: its place, both clocks, and who gave which command."""

from datetime import datetime

import msgspec

from orderledger.commands.requests import Actor
from orderledger.ledger.ports import StoredEvent

from .history import context_of


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """
    An event as the cause of a change.

    ``effective_at`` is when it happened, ``recorded_at`` when it became known. ``key`` is that of
    the command, whose ``command_id`` all of its events share.
    """

    position: int
    recorded_at: datetime
    effective_at: datetime
    stream: str
    version: int
    topic: str
    actor: Actor
    key: str
    command_id: str


def cause_of(row: StoredEvent) -> Cause:
    """Return a stored event of the log as a cause; raises CorruptEvent for a broken context."""
    assert row.position is not None, "the log has positions only"
    assert row.recorded_at is not None, "the log has instants only"
    context = context_of(row)
    return Cause(
        position=row.position,
        recorded_at=row.recorded_at,
        effective_at=row.occurred_at,
        stream=row.stream,
        version=row.version,
        topic=row.topic,
        actor=context.actor,
        key=context.key,
        command_id=str(row.command_id),
    )
