"""
The port between the machinery and its tables: work that is to be done once, and who is about it.

Three lanes hold work of one shape: effects of reactors (outbox), commands that a caller left for
later (queue) and deadlines that have come (timer). What is to be done never changes once it is
written; how far it is does. Reading or rebuilding anything writes no work: only a reactor that
moves its checkpoint, a caller that enqueues and a sweep of the deadlines do.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec


class Lane(StrEnum):
    """Where work comes from."""

    OUTBOX = "outbox"
    QUEUE = "queue"
    TIMER = "timer"


class WorkStatus(StrEnum):
    """
    WAITING: to be tried, or being tried. DONE: it was. REFUSED: the domain said no. DEAD: tried as
    often as its lane allows. GONE: no longer called for when its turn came. DISCARDED: given up by
    acknowledgement.
    """

    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"
    DEAD = "dead"
    GONE = "gone"
    DISCARDED = "discarded"


class NewWork(msgspec.Struct, frozen=True, kw_only=True):
    """
    Work to be written. ``key`` is unique per book and lane, for all time.

    ``kind`` and ``payload`` (JSON) say what to do, ``origin`` (JSON) what called for it. Of work
    of one lane that names a common stream the earlier is done, or given up, before the later is
    begun. ``due_at`` is when to try first.
    """

    lane: Lane
    key: str
    kind: str
    payload: str
    due_at: datetime
    created_at: datetime
    streams: tuple[str, ...] = ()
    origin: str = "{}"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """
    Work as it stands. ``number`` counts the work of a database in the order it was written.

    ``attempts`` counts the times it was taken since it was written or last redriven; ``refusals``
    the answers of the domain that are on record, each under a key of its own. ``due_at`` is when
    it is tried next. ``owner`` has it until ``leased_until``; "" nobody.
    """

    number: int
    lane: Lane
    key: str
    kind: str
    payload: str
    origin: str
    streams: tuple[str, ...]
    created_at: datetime
    due_at: datetime
    status: WorkStatus
    attempts: int
    refusals: int
    owner: str
    leased_until: datetime | None
    error: str
    result: str
    finished_at: datetime | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    What came of an attempt. WAITING with ``due_at``: to be tried again then.

    ``is_refusal`` tells that an answer of the domain is on record under the key that was used.
    ``result`` is JSON.
    """

    status: WorkStatus
    at: datetime
    due_at: datetime | None = None
    error: str = ""
    result: str = "{}"
    is_refusal: bool = False


class LaneDepth(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a lane stands at an instant.

    ``due`` is what could be tried now, of which ``oldest_due_at`` is the oldest; ``leased`` what
    somebody is about; ``expired`` what somebody took and did not give back in time.
    """

    waiting: int = 0
    due: int = 0
    oldest_due_at: datetime | None = None
    leased: int = 0
    expired: int = 0
    refused: int = 0
    dead: int = 0


class ReactorCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far a reactor has read the log: to ``position``, where the log has ``leaf_hash``.

    ``started_at_position`` is where it began: events up to there call for nothing.
    """

    reactor: str
    position: int
    leaf_hash: bytes
    started_at_position: int
    moved_at: datetime


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The latest sign of life of one part of a worker; ``problem`` is empty while it does well."""

    part: str
    owner: str
    seen_at: datetime
    problem: str = ""


class WorkStore(Protocol):
    """
    The work of one book in one database. Every method may be called from any thread.

    Instants come from the caller: a lease is as long as the clocks of the workers agree. Nothing
    depends on them for being right, since whatever is done twice is done under the same key.
    Raises Unavailable (and its kinds), StorageError or SchemaMismatch where the database fails.
    """

    def put(self, work: Sequence[NewWork]) -> int:
        """Write what is not there yet, by lane and key, in one transaction; return how many."""
        ...

    def lease(
        self, lane: Lane, owner: str, now: datetime, until: datetime, *, limit: int
    ) -> Sequence[Work]:
        """
        Take work that is due and that nobody has, in the order of its numbers.

        What another has until after ``now`` is left out, and what names a stream of earlier work
        of the lane that is still waiting. Counts an attempt of each.
        """
        ...

    def conclude(self, work: Work, outcome: Outcome) -> bool:
        """
        Record what came of an attempt and give the work back.

        Returns False, and changes nothing, where the lease went to another meanwhile.
        """
        ...

    def renew(self, work: Work, until: datetime) -> bool:
        """Keep a lease for longer; False where it went to another meanwhile."""
        ...

    def find(self, lane: Lane, key: str) -> Work | None:
        """Return work by its key."""
        ...

    def list_work(
        self, lane: Lane, statuses: Sequence[WorkStatus], *, after: int = 0, limit: int = 1000
    ) -> Sequence[Work]:
        """Return work in these states by number, after a number."""
        ...

    def redrive(self, lane: Lane, key: str, now: datetime) -> bool:
        """Have work tried again that is refused, dead or gone; False where it is neither."""
        ...

    def discard(self, lane: Lane, key: str, reason: str, now: datetime) -> bool:
        """Give up work that is refused or dead; False where it is neither."""
        ...

    def depth(self, lane: Lane, now: datetime) -> LaneDepth:
        """Return how a lane stands."""
        ...

    def reactors(self) -> Mapping[str, ReactorCheckpoint]:
        """Return the checkpoints of the reactors by name."""
        ...

    def start_reactor(self, checkpoint: ReactorCheckpoint) -> ReactorCheckpoint:
        """Write the first checkpoint of a reactor, unless it has one; return the one it has."""
        ...

    def advance_reactor(
        self, before: ReactorCheckpoint, after: ReactorCheckpoint, work: Sequence[NewWork]
    ) -> bool:
        """
        Write effects and the checkpoint ``after`` in one transaction.

        Returns False, and writes nothing, where the checkpoint is not as ``before`` says.
        """
        ...

    def beat(self, heartbeat: Heartbeat) -> None:
        """Write a sign of life; the latest of each part is kept."""
        ...

    def heartbeats(self) -> Sequence[Heartbeat]:
        """Return the latest sign of life of each part, whoever gave it, by name."""
        ...

    def close(self) -> None:
        """Release connections. Later calls raise Unavailable."""
        ...
