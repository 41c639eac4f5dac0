"""
Deadlines: what must happen to a stream at an instant, unless something else happens before.

Each kind of state that has some lists its open ones by a pure function ``deadlines_of(state)``. A
sweeper performs those that are due; the instant is the deadline's own, however late the sweeper.
"""

from datetime import datetime

import msgspec


class Deadline(msgspec.Struct, frozen=True):
    """
    One open deadline of a stream.

    ``deadline_id`` is unique within the stream for all time: a deadline that is moved or set again
    gets another id. ``kind`` says what is to be done. ``due_at`` is in UTC.
    """

    deadline_id: str
    kind: str
    due_at: datetime
