"""
Decisions about work: what is given up for good, and why.
"""

from datetime import datetime

from orderledger.ledger import streams
from orderledger.ledger.errors import InvalidCommand
from orderledger.ledger.limits import TEXT_LENGTH_MAX, check_count
from orderledger.ledger.work_events import WorkDiscarded

from .decision import Change, Changes, States, decides
from .work_commands import DiscardWork


@decides(DiscardWork)
def discard_work(command: DiscardWork, states: States, now: datetime) -> Changes:
    """Record that work is given up; a second time changes nothing."""
    for field in ("key", "reason"):
        if not getattr(command, field).strip():
            raise InvalidCommand(f"{field} is empty: a discard must say it", field=field)
    for field in ("key", "reason", "error"):
        check_count(f"characters of {field}", len(getattr(command, field)), TEXT_LENGTH_MAX)
    if command.key in states.work(command.lane).reasons:
        return ()
    event = WorkDiscarded(
        lane=command.lane, key=command.key, reason=command.reason, error=command.error
    )
    return (Change(streams.work(command.lane), event),)
