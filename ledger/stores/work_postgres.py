"""The work of one book in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from ..codec import encode_json
from ..errors import NotFound
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
from .named_sql import statements
from .postgres_connections import Connections, Session


class PostgresWork:
    """Work in PostgreSQL; see ``WorkStore`` for the contract."""

    def __init__(self, url: str, book: str = "main", *, connections_max: int = 8) -> None:
        self._sql: Final = statements("postgres", "work_queries")
        self._connections: Final = Connections(url, max_size=connections_max)
        self._book_id = 0
        try:
            rows = self._rows("find_book", {"book": book})
            if not rows:
                raise NotFound(f"the database has no book {book}", book=book)
        except BaseException:
            self._connections.close()
            raise
        self._book_id = cast(int, rows[0][0])

    def put(self, work: Sequence[NewWork]) -> int:
        if len(work) == 1:
            # One statement is a transaction by itself: enqueueing takes one round trip.
            return len(self._rows("put", self._new(work[0])))
        with self._connections.session() as session, session.connection.transaction():
            return self._put(session, work)

    def _put(self, session: Session, work: Sequence[NewWork]) -> int:
        statement, count = self._sql["put"].encode(), 0
        for one in work:
            count += len(session.cursor.execute(statement, self._new(one)).fetchall())
        return count

    def _new(self, one: NewWork) -> dict[str, object]:
        return {
            "book_id": self._book_id,
            "lane": one.lane.value,
            "key": one.key,
            "kind": one.kind,
            "payload": one.payload,
            "origin": one.origin,
            "streams": list(one.streams),
            "created_at": one.created_at,
            "due_at": one.due_at,
        }

    def lease(
        self, lane: Lane, owner: str, now: datetime, until: datetime, *, limit: int
    ) -> Sequence[Work]:
        parameters = {
            "lane": lane.value,
            "owner": owner,
            "now": now,
            "until": until,
            "limit": limit,
        }
        return [_work(row) for row in sorted(self._rows("lease", parameters), key=_number)]

    def conclude(self, work: Work, outcome: Outcome) -> bool:
        is_over = outcome.status is not WorkStatus.WAITING
        parameters = {
            **_held(work),
            "status": outcome.status.value,
            "due_at": outcome.due_at,
            "error": outcome.error.replace("\x00", "\\x00"),
            "result": outcome.result,
            "refusal": int(outcome.is_refusal),
            "finished_at": outcome.at if is_over else None,
        }
        return bool(self._rows("conclude", parameters))

    def renew(self, work: Work, until: datetime) -> bool:
        return self._changed("renew", {**_held(work), "until": until})

    def find(self, lane: Lane, key: str) -> Work | None:
        rows = self._rows("find", {"lane": lane.value, "key": key})
        return _work(rows[0]) if rows else None

    def list_work(
        self, lane: Lane, statuses: Sequence[WorkStatus], *, after: int = 0, limit: int = 1000
    ) -> Sequence[Work]:
        rows: list[Any] = []
        # A statement per status, each of which is a range of the index in the order of numbers.
        for status in statuses:
            place = {"lane": lane.value, "status": status.value, "after": after, "limit": limit}
            rows += self._rows("list", place)
        return [_work(row) for row in sorted(rows, key=_number)[:limit]]

    def redrive(self, lane: Lane, key: str, now: datetime) -> bool:
        return bool(self._rows("redrive", {"lane": lane.value, "key": key, "now": now}))

    def discard(self, lane: Lane, key: str, reason: str, now: datetime) -> bool:
        result = encode_json({"discarded": reason})
        return self._changed(
            "discard", {"lane": lane.value, "key": key, "now": now, "result": result}
        )

    def depth(self, lane: Lane, now: datetime) -> LaneDepth:
        ((waiting, due, oldest, leased, expired, refused, dead),) = self._rows(
            "depth", {"lane": lane.value, "now": now}
        )
        return LaneDepth(
            waiting=waiting,
            due=due,
            oldest_due_at=oldest,
            leased=leased,
            expired=expired,
            refused=refused,
            dead=dead,
        )

    def reactors(self) -> Mapping[str, ReactorCheckpoint]:
        return {
            reactor: ReactorCheckpoint(
                reactor=reactor,
                position=position,
                leaf_hash=bytes(leaf_hash),
                started_at_position=started_at,
                moved_at=moved_at,
            )
            for reactor, position, leaf_hash, started_at, moved_at in self._rows("reactors", {})
        }

    def start_reactor(self, checkpoint: ReactorCheckpoint) -> ReactorCheckpoint:
        self._changed("start_reactor", _checkpoint(checkpoint))
        return self.reactors()[checkpoint.reactor]

    def advance_reactor(
        self, before: ReactorCheckpoint, after: ReactorCheckpoint, work: Sequence[NewWork]
    ) -> bool:
        parameters = {
            "book_id": self._book_id,
            **_checkpoint(after),
            "before_position": before.position,
            "before_leaf_hash": before.leaf_hash,
        }
        with self._connections.session() as session, session.connection.transaction():
            cursor = session.cursor
            # First, so that of several processes one writes and the others wait.
            if cursor.execute(self._sql["advance_reactor"].encode(), parameters).rowcount == 0:
                return False
            self._put(session, work)
        return True

    def beat(self, heartbeat: Heartbeat) -> None:
        self._changed(
            "beat",
            {
                "part": heartbeat.part,
                "owner": heartbeat.owner,
                "seen_at": heartbeat.seen_at,
                "problem": heartbeat.problem.replace("\x00", "\\x00"),
            },
        )

    def heartbeats(self) -> Sequence[Heartbeat]:
        return [
            Heartbeat(part=part, owner=owner, seen_at=seen_at, problem=problem)
            for part, owner, seen_at, problem in self._rows("heartbeats", {})
        ]

    def close(self) -> None:
        self._connections.close()

    def _rows(self, name: str, parameters: Mapping[str, object]) -> list[Any]:
        with self._connections.session() as session:
            cursor = session.cursor.execute(
                self._sql[name].encode(), {"book_id": self._book_id, **parameters}
            )
            return cursor.fetchall()

    def _changed(self, name: str, parameters: Mapping[str, object]) -> bool:
        with self._connections.session() as session:
            cursor = session.cursor.execute(
                self._sql[name].encode(), {"book_id": self._book_id, **parameters}
            )
            return cursor.rowcount > 0


def _checkpoint(one: ReactorCheckpoint) -> dict[str, object]:
    return {
        "reactor": one.reactor,
        "position": one.position,
        "leaf_hash": one.leaf_hash,
        "started_at_position": one.started_at_position,
        "moved_at": one.moved_at,
    }


def _held(work: Work) -> dict[str, object]:
    return {"number": work.number, "owner": work.owner, "attempts": work.attempts}


def _number(row: Any) -> int:
    return cast(int, row[0])


def _work(row: Any) -> Work:
    number, lane, key, kind, payload, origin, streams, created_at, due_at, status = row[:10]
    attempts, refusals, owner, leased_until, error, result, finished_at = row[10:]
    return Work(
        number=number,
        lane=Lane(lane),
        key=key,
        kind=kind,
        payload=payload,
        origin=origin,
        streams=tuple(streams),
        created_at=created_at,
        due_at=due_at,
        status=WorkStatus(status),
        attempts=attempts,
        refusals=refusals,
        owner=owner,
        leased_until=leased_until,
        error=error,
        result=result,
        finished_at=finished_at,
    )
