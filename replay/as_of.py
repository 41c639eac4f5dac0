"""
The state of a stream as it was.
"""

from typing import Any

import msgspec

from orderledger.ledger.as_of import Point
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import NotFound
from orderledger.ledger.folds import fold_of
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import StateSnapshots


class StateAsOf(msgspec.Struct, frozen=True):
    """
    The folded state of a stream as it was.

    ``version`` is that of the last event in it, ``position`` where that stands; ``omitted`` counts
    the events that were recorded by then, but had not happened.
    """

    stream: str
    point: Point
    version: int
    position: int
    omitted: int
    state: Any


def state_as_of(
    store: EventStore, stream: str, point: Point, snapshots: StateSnapshots | None = None
) -> StateAsOf:
    """
    Fold a stream up to an instant; raises NotFound where it had no events by then.

    Without ``effective_to`` it is what a command would have seen then, folded from the last of the
    ``snapshots`` before it.
    """
    fold = fold_of(stream)
    state, version, position, omitted = fold.initial, 0, 0, 0
    if snapshots is not None and point.effective_to is None:
        for found in snapshots.nearest((stream,), until=point.position).values():
            state, version, position = found.state, found.version, found.position
    for row in store.stream(stream, after=version):
        if row.position is None or row.position > point.position:
            break
        if not point.has(row):
            omitted += 1
            continue
        state = fold.apply(state, decode_event(row.topic, row.payload))
        version, position = row.version, row.position
    if not version:
        later = f", though {omitted} were recorded that happened later" if omitted else ""
        raise NotFound(
            f"stream {stream} has no events by position {point.position}"
            + (f" that had happened by {point.effective_to}" if point.effective_to else "")
            + later,
            stream=stream,
            position=point.position,
        )
    return StateAsOf(stream, point, version, position, omitted, state)
