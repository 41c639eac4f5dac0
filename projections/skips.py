"""
Events that a read model leaves out for good, because somebody acknowledged it.

A skip is an event of the stream ``projection-{model}``. A generation takes the list as it is when
it begins and keeps it: followers that run meanwhile, and whoever goes on with an interrupted
rebuild, make the same rows.
"""

from orderledger.ledger.codec import decode_event
from orderledger.ledger.ports import EventStore
from orderledger.ledger.projection_events import ProjectionEventSkipped
from orderledger.ledger.streams import projection


def skipped_of(events: EventStore, model: str) -> tuple[int, ...]:
    """
    Return the positions of the events that a model leaves out, ascending.

    A skip counts only where the log has that very event at its position: one that was recorded
    past ``Book.skip_parked`` must not hide another.
    """
    found: set[int] = set()
    for row in events.stream(projection(model)):
        event = decode_event(row.topic, row.payload)
        if isinstance(event, ProjectionEventSkipped) and _is_there(events, event):
            found.add(event.position)
    return tuple(sorted(found))


def _is_there(events: EventStore, skip: ProjectionEventSkipped) -> bool:
    return any(
        (row.stream, row.version, str(row.event_id)) == (skip.stream, skip.version, skip.event_id)
        for row in events.read(skip.position - 1, until=skip.position, limit=1)
    )
