"""The work of a book in memory: for tests, and for books that end with their process."""

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from ..codec import encode_json
from ..work_ports import (
    Heartbeat,
    Lane,
    LaneDepth,
    NewWork,
    Outcome,
    ReactorCheckpoint,
    Work,
    WorkStatus,
)

_AGAIN: Final = frozenset({WorkStatus.REFUSED, WorkStatus.DEAD, WorkStatus.GONE})
_FAILED: Final = frozenset({WorkStatus.REFUSED, WorkStatus.DEAD})


class MemoryWork:
    """Work in memory; see ``WorkStore`` for the contract."""

    def __init__(self) -> None:
        self._lock: Final = threading.RLock()
        self._work: Final[dict[tuple[Lane, str], Work]] = {}
        self._reactors: Final[dict[str, ReactorCheckpoint]] = {}
        self._beats: Final[dict[str, Heartbeat]] = {}

    def put(self, work: Sequence[NewWork]) -> int:
        with self._lock:
            before = len(self._work)
            for one in work:
                place = (one.lane, one.key)
                if place not in self._work:
                    self._work[place] = _made(one, len(self._work) + 1)
            return len(self._work) - before

    def lease(
        self, lane: Lane, owner: str, now: datetime, until: datetime, *, limit: int
    ) -> Sequence[Work]:
        taken: list[Work] = []
        with self._lock:
            busy: set[str] = set()
            for one in self._of(lane, WorkStatus.WAITING):
                if _is_free(one, now) and busy.isdisjoint(one.streams) and len(taken) < limit:
                    leased = msgspec.structs.replace(
                        one, owner=owner, leased_until=until, attempts=one.attempts + 1
                    )
                    taken.append(self._keep(leased))
                busy.update(one.streams)
        return taken

    def conclude(self, work: Work, outcome: Outcome) -> bool:
        with self._lock:
            if not self._is_held(work):
                return False
            is_over = outcome.status is not WorkStatus.WAITING
            self._keep(
                msgspec.structs.replace(
                    self._work[(work.lane, work.key)],
                    status=outcome.status,
                    due_at=outcome.due_at or work.due_at,
                    error=outcome.error,
                    result=outcome.result,
                    refusals=work.refusals + outcome.is_refusal,
                    owner="",
                    leased_until=None,
                    finished_at=outcome.at if is_over else None,
                )
            )
            return True

    def renew(self, work: Work, until: datetime) -> bool:
        with self._lock:
            if not self._is_held(work):
                return False
            found = self._work[(work.lane, work.key)]
            self._keep(msgspec.structs.replace(found, leased_until=until))
            return True

    def find(self, lane: Lane, key: str) -> Work | None:
        with self._lock:
            return self._work.get((lane, key))

    def list_work(
        self, lane: Lane, statuses: Sequence[WorkStatus], *, after: int = 0, limit: int = 1000
    ) -> Sequence[Work]:
        with self._lock:
            found = [one for one in self._of(lane, *statuses) if one.number > after]
            return found[:limit]

    def redrive(self, lane: Lane, key: str, now: datetime) -> bool:
        with self._lock:
            found = self._work.get((lane, key))
            if found is None or found.status not in _AGAIN:
                return False
            self._keep(
                msgspec.structs.replace(
                    found, status=WorkStatus.WAITING, due_at=now, attempts=0, finished_at=None
                )
            )
            return True

    def discard(self, lane: Lane, key: str, reason: str, now: datetime) -> bool:
        with self._lock:
            found = self._work.get((lane, key))
            if found is None or found.status not in _FAILED:
                return False
            self._keep(
                msgspec.structs.replace(
                    found,
                    status=WorkStatus.DISCARDED,
                    finished_at=now,
                    result=encode_json({"discarded": reason}),
                )
            )
            return True

    def depth(self, lane: Lane, now: datetime) -> LaneDepth:
        with self._lock:
            waiting = self._of(lane, WorkStatus.WAITING)
            due = [one for one in waiting if _is_free(one, now)]
            taken = [one for one in waiting if one.owner]
            return LaneDepth(
                waiting=len(waiting),
                due=len(due),
                oldest_due_at=min([one.due_at for one in due], default=None),
                leased=len([one for one in taken if not _is_expired(one, now)]),
                expired=len([one for one in taken if _is_expired(one, now)]),
                refused=len(self._of(lane, WorkStatus.REFUSED)),
                dead=len(self._of(lane, WorkStatus.DEAD)),
            )

    def reactors(self) -> Mapping[str, ReactorCheckpoint]:
        with self._lock:
            return dict(sorted(self._reactors.items()))

    def start_reactor(self, checkpoint: ReactorCheckpoint) -> ReactorCheckpoint:
        with self._lock:
            return self._reactors.setdefault(checkpoint.reactor, checkpoint)

    def advance_reactor(
        self, before: ReactorCheckpoint, after: ReactorCheckpoint, work: Sequence[NewWork]
    ) -> bool:
        with self._lock:
            found = self._reactors.get(before.reactor)
            if found is None or (found.position, found.leaf_hash) != (
                before.position,
                before.leaf_hash,
            ):
                return False
            self.put(work)
            self._reactors[before.reactor] = after
            return True

    def beat(self, heartbeat: Heartbeat) -> None:
        with self._lock:
            self._beats[heartbeat.part] = heartbeat

    def heartbeats(self) -> Sequence[Heartbeat]:
        with self._lock:
            return [self._beats[part] for part in sorted(self._beats)]

    def close(self) -> None:
        """Nothing is released: the work is there as long as the store of the events."""

    def _of(self, lane: Lane, *statuses: WorkStatus) -> list[Work]:
        return [one for one in self._work.values() if one.lane is lane and one.status in statuses]

    def _is_held(self, work: Work) -> bool:
        found = self._work.get((work.lane, work.key))
        return (
            found is not None
            and found.status is WorkStatus.WAITING
            and (found.owner, found.attempts) == (work.owner, work.attempts)
        )

    def _keep(self, work: Work) -> Work:
        self._work[(work.lane, work.key)] = work
        return work


def _made(one: NewWork, number: int) -> Work:
    return Work(
        number=number,
        lane=one.lane,
        key=one.key,
        kind=one.kind,
        payload=one.payload,
        origin=one.origin,
        streams=one.streams,
        created_at=one.created_at,
        due_at=one.due_at,
        status=WorkStatus.WAITING,
        attempts=0,
        refusals=0,
        owner="",
        leased_until=None,
        error="",
        result="{}",
        finished_at=None,
    )


def _is_expired(one: Work, now: datetime) -> bool:
    return one.leased_until is not None and one.leased_until <= now


def _is_free(one: Work, now: datetime) -> bool:
    return one.due_at <= now and (not one.owner or _is_expired(one, now))
