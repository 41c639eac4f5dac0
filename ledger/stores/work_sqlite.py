"""The work of one book in its SQLite file."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from ..codec import encode_json
from ..errors import Unavailable
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
from .sqlite_append import iso_text
from .sqlite_files import SqliteFile

_SQL: Final = statements("sqlite", "work_queries")
_streams: Final = msgspec.json.Decoder(tuple[str, ...])


class SqliteWork:
    """Work in a SQLite file; see ``WorkStore`` for the contract."""

    def __init__(self, file: SqliteFile, book_id: int) -> None:
        self._file: Final = file
        self._book_id: Final = book_id
        self._is_closed = False

    def put(self, work: Sequence[NewWork]) -> int:
        self._check_open()
        with self._file.writing() as connection:
            return self._put(connection, work)

    def _put(self, connection: sqlite3.Connection, work: Sequence[NewWork]) -> int:
        count = 0
        for one in work:
            place = {"book_id": self._book_id, "lane": one.lane.value, "key": one.key}
            row = connection.execute(
                _SQL["put"],
                {
                    **place,
                    "kind": one.kind,
                    "payload": one.payload,
                    "origin": one.origin,
                    "streams": encode_json(list(one.streams)),
                    "created_at": iso_text(one.created_at),
                    "due_at": iso_text(one.due_at),
                },
            ).fetchone()
            if row is not None:
                count += 1
                self._name_streams(connection, one.lane, row[0], one.streams)
        return count

    def _name_streams(
        self, connection: sqlite3.Connection, lane: Lane, number: int, streams: Sequence[str]
    ) -> None:
        for stream in streams:
            connection.execute(
                _SQL["put_stream"],
                {
                    "book_id": self._book_id,
                    "lane": lane.value,
                    "stream": stream,
                    "number": number,
                },
            )

    def lease(
        self, lane: Lane, owner: str, now: datetime, until: datetime, *, limit: int
    ) -> Sequence[Work]:
        self._check_open()
        parameters = {
            "book_id": self._book_id,
            "lane": lane.value,
            "owner": owner,
            "now": iso_text(now),
            "until": iso_text(until),
            "limit": limit,
        }
        with self._file.writing() as connection:
            rows = connection.execute(_SQL["lease"], parameters).fetchall()
        return [_work(row) for row in sorted(rows)]

    def conclude(self, work: Work, outcome: Outcome) -> bool:
        self._check_open()
        is_over = outcome.status is not WorkStatus.WAITING
        parameters = {
            **_held(work),
            "status": outcome.status.value,
            "due_at": None if outcome.due_at is None else iso_text(outcome.due_at),
            "error": outcome.error,
            "result": outcome.result,
            "refusal": int(outcome.is_refusal),
            "finished_at": iso_text(outcome.at) if is_over else None,
        }
        with self._file.writing() as connection:
            if connection.execute(_SQL["conclude"], parameters).rowcount == 0:
                return False
            if is_over:
                connection.execute(_SQL["free_streams"], {"number": work.number})
        return True

    def renew(self, work: Work, until: datetime) -> bool:
        return self._changed("renew", {**_held(work), "until": iso_text(until)})

    def find(self, lane: Lane, key: str) -> Work | None:
        rows = self._read("find", {"lane": lane.value, "key": key})
        return _work(rows[0]) if rows else None

    def list_work(
        self, lane: Lane, statuses: Sequence[WorkStatus], *, after: int = 0, limit: int = 1000
    ) -> Sequence[Work]:
        rows: list[Any] = []
        # A statement per status, each of which is a range of the index in the order of numbers.
        for status in statuses:
            place = {"lane": lane.value, "status": status.value, "after": after, "limit": limit}
            rows += self._read("list", place)
        return [_work(row) for row in sorted(rows)[:limit]]

    def redrive(self, lane: Lane, key: str, now: datetime) -> bool:
        self._check_open()
        parameters = {
            "book_id": self._book_id,
            "lane": lane.value,
            "key": key,
            "now": iso_text(now),
        }
        with self._file.writing() as connection:
            row = connection.execute(_SQL["redrive"], parameters).fetchone()
            if row is None:
                return False
            self._name_streams(connection, lane, row[0], _streams.decode(row[1]))
        return True

    def discard(self, lane: Lane, key: str, reason: str, now: datetime) -> bool:
        result = encode_json({"discarded": reason})
        place = {"lane": lane.value, "key": key, "now": iso_text(now), "result": result}
        return self._changed("discard", place)

    def depth(self, lane: Lane, now: datetime) -> LaneDepth:
        ((waiting, due, oldest, leased, expired, refused, dead),) = self._read(
            "depth", {"lane": lane.value, "now": iso_text(now)}
        )
        return LaneDepth(
            waiting=waiting,
            due=due,
            oldest_due_at=_instant(oldest),
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
                leaf_hash=leaf_hash,
                started_at_position=started_at,
                moved_at=datetime.fromisoformat(moved_at),
            )
            for reactor, position, leaf_hash, started_at, moved_at in self._read("reactors", {})
        }

    def start_reactor(self, checkpoint: ReactorCheckpoint) -> ReactorCheckpoint:
        self._changed("start_reactor", self._checkpoint(checkpoint))
        return self.reactors()[checkpoint.reactor]

    def advance_reactor(
        self, before: ReactorCheckpoint, after: ReactorCheckpoint, work: Sequence[NewWork]
    ) -> bool:
        self._check_open()
        parameters = {
            **self._checkpoint(after),
            "before_position": before.position,
            "before_leaf_hash": before.leaf_hash,
        }
        with self._file.writing() as connection:
            if connection.execute(_SQL["advance_reactor"], parameters).rowcount == 0:
                return False
            self._put(connection, work)
        return True

    def _checkpoint(self, one: ReactorCheckpoint) -> dict[str, object]:
        return {
            "book_id": self._book_id,
            "reactor": one.reactor,
            "position": one.position,
            "leaf_hash": one.leaf_hash,
            "started_at_position": one.started_at_position,
            "moved_at": iso_text(one.moved_at),
        }

    def beat(self, heartbeat: Heartbeat) -> None:
        self._changed(
            "beat",
            {
                "part": heartbeat.part,
                "owner": heartbeat.owner,
                "seen_at": iso_text(heartbeat.seen_at),
                "problem": heartbeat.problem,
            },
        )

    def heartbeats(self) -> Sequence[Heartbeat]:
        return [
            Heartbeat(
                part=part, owner=owner, seen_at=datetime.fromisoformat(seen_at), problem=problem
            )
            for part, owner, seen_at, problem in self._read("heartbeats", {})
        ]

    def close(self) -> None:
        self._is_closed = True

    def _read(self, name: str, parameters: Mapping[str, object]) -> list[Any]:
        self._check_open()
        with self._file.reading() as connection:
            found = connection.execute(_SQL[name], {"book_id": self._book_id, **parameters})
            return found.fetchall()

    def _changed(self, name: str, parameters: Mapping[str, object]) -> bool:
        self._check_open()
        with self._file.writing() as connection:
            made = connection.execute(_SQL[name], {"book_id": self._book_id, **parameters})
            return made.rowcount > 0

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the work of the book is closed")


def _held(work: Work) -> dict[str, object]:
    return {"number": work.number, "owner": work.owner, "attempts": work.attempts}


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _work(row: tuple[Any, ...]) -> Work:
    number, _, lane, key, kind, payload, origin, streams, created_at, due_at = row[:10]
    status, attempts, refusals, owner, leased_until, error, result, finished_at = row[10:]
    return Work(
        number=number,
        lane=Lane(lane),
        key=key,
        kind=kind,
        payload=payload,
        origin=origin,
        streams=_streams.decode(streams),
        created_at=datetime.fromisoformat(created_at),
        due_at=datetime.fromisoformat(due_at),
        status=WorkStatus(status),
        attempts=attempts,
        refusals=refusals,
        owner=owner,
        leased_until=_instant(leased_until),
        error=error,
        result=result,
        finished_at=_instant(finished_at),
    )
