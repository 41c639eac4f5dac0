"""
Decisions about read models: which event is left out, by whom and why.
"""

import re
from datetime import datetime
from typing import Final

from orderledger.ledger import streams
from orderledger.ledger.errors import InvalidCommand, LimitExceeded, Reason, Rejected
from orderledger.ledger.limits import PROJECTION_SKIPS_MAX, TEXT_LENGTH_MAX, check_count
from orderledger.ledger.projection_events import ProjectionEventSkipped

from .decision import Change, Changes, States, decides
from .projection_commands import SkipProjectedEvent

_STREAM: Final = re.compile(r"[a-z0-9]+-[\x21-\x7e]{1,400}")
"""Any kind's, also one that only a newer version knows: its topics are parked here."""


@decides(SkipProjectedEvent)
def skip_event(command: SkipProjectedEvent, states: States, now: datetime) -> Changes:
    """Leave out one event of a model; a second skip of the same event is refused."""
    _check(command)
    state = states.projection(command.model)
    known = state.of(command.position, command.stream, command.version)
    if known is not None:
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"read model {command.model} leaves out version {known.version} of {known.stream} "
            f"(position {known.position}) already: {known.reason}",
            model=command.model,
            stream=known.stream,
            version=known.version,
            position=known.position,
        )
    if len(state.skips) >= PROJECTION_SKIPS_MAX:
        raise LimitExceeded(
            f"read model {command.model} leaves out {len(state.skips)} events, the limit is "
            f"{PROJECTION_SKIPS_MAX}; mend its projector instead",
            model=command.model,
            limit=PROJECTION_SKIPS_MAX,
        )
    event = ProjectionEventSkipped(
        model=command.model,
        stream=command.stream,
        version=command.version,
        position=command.position,
        event_id=command.event_id,
        topic=command.topic,
        reason=command.reason,
        error=command.error,
    )
    return (Change(streams.projection(command.model), event),)


def _check(command: SkipProjectedEvent) -> None:
    check_count("characters of reason", len(command.reason), TEXT_LENGTH_MAX)
    check_count("characters of error", len(command.error), TEXT_LENGTH_MAX)
    for field in ("reason", "event_id", "topic"):
        if not getattr(command, field).strip():
            raise InvalidCommand(f"{field} is empty: a skip must say it", field=field)
    if _STREAM.fullmatch(command.stream) is None:
        raise InvalidCommand(
            f"{command.stream!r:.130} is no stream: give kind-id, such as order-7",
            field="stream",
            stream=command.stream,
        )
    for field in ("version", "position"):
        if not 0 < getattr(command, field) < 2**63:
            raise InvalidCommand(
                f"{field} {getattr(command, field)} is none: they count from 1", field=field
            )
