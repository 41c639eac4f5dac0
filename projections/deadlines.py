"""
The open deadlines of every stream, the next to come first. SQL view: ``deadlines``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.codec import encode_json
from orderledger.ledger.folds import folded
from orderledger.ledger.model_ports import Key
from orderledger.ledger.open_deadlines import DEADLINES_OF, resolved

from .models import ReadModel, Recorded, Rows
from .tables import TableRow, table


@table("deadlines", key_count=3, indexes=(("stream",),))
class DeadlineRow(TableRow, frozen=True):
    """
    One row per open deadline of a stream: what comes when, unless something else comes before.

    ``opened_at`` is when the event occurred that opened it. A row whose ``due_at`` is past waits
    for a sweep (`orderledger timer run`).
    """

    due_at: datetime
    stream: str
    deadline_id: str
    kind: str
    opened_at: datetime


DEADLINES: Final = DeadlineRow.table


@table("stream_deadlines")
class StreamDeadlinesRow(TableRow, frozen=True):
    """Working rows: what each stream has open, as JSON."""

    stream: str
    open: str


_OF_STREAM: Final = StreamDeadlinesRow.table


class _Opened(msgspec.Struct, frozen=True, array_like=True):
    """An open deadline as the working rows keep it."""

    deadline_id: str
    kind: str
    due_at: datetime
    opened_at: datetime


_opened: Final = msgspec.json.Decoder(tuple[_Opened, ...])
_AREAS: Final = (
    "order.",
    "payment.",
    "fulfilment.",
    "return.",
    "value.",
    "dispute.",
    "seller.",
    "payout.",
)


class Deadlines(ReadModel):
    """The read model ``deadlines``."""

    name = "deadlines"
    version = 3
    tables = (DEADLINES, _OF_STREAM)
    topics = frozenset(topic for topic in folded() if topic.startswith(_AREAS))
    folds = frozenset(DEADLINES_OF)

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Replace what the stream had open by what it has now; what stays keeps its instant."""
        deadlines_of = DEADLINES_OF.get(recorded.kind)
        if deadlines_of is None:
            return
        stream = recorded.stream
        row = rows.get(_OF_STREAM, (stream,))
        before = (
            {} if row is None else {one.deadline_id: one for one in _opened.decode(str(row[1]))}
        )
        after: dict[str, _Opened] = {}
        for found in deadlines_of(rows.state(stream)):
            known = before.get(found.deadline_id)
            opened_at = recorded.occurred_at if known is None else known.opened_at
            one = resolved(found, opened_at)
            after[one.deadline_id] = _Opened(one.deadline_id, one.kind, one.due_at, opened_at)
        if after != before:
            self._write(stream, before, after, rows)

    def _write(
        self, stream: str, before: Mapping[str, _Opened], after: Mapping[str, _Opened], rows: Rows
    ) -> None:
        for deadline_id, one in before.items():
            if after.get(deadline_id) != one:
                rows.delete(DEADLINES, _key(stream, one))
        for deadline_id, one in after.items():
            if before.get(deadline_id) != one:
                rows.put(DEADLINES, (*_key(stream, one), one.kind, one.opened_at))
        if after:
            rows.put(_OF_STREAM, (stream, encode_json(tuple(after.values()))))
        else:
            rows.delete(_OF_STREAM, (stream,))


def _key(stream: str, one: _Opened) -> Key:
    return (one.due_at, stream, one.deadline_id)
