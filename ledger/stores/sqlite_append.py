"""Writing one batch inside a SQLite transaction: versions, keys, events, log, tiles."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from ..codec import HashedColumns, content_hash, leaf_hash
from ..merkle import TILE, complete_tiles
from ..ports import AppendConflict, Appended, Batch
from .expected_versions import Expected
from .named_sql import statements

_SQL: Final = statements("sqlite")
_MICROSECOND: Final = timedelta(microseconds=1)


def json_text(value: object) -> str:
    """Return JSON text, the way a list is given to a statement."""
    return msgspec.json.encode(value).decode()


def iso_text(instant: datetime) -> str:
    """Return an aware instant as ISO 8601 text in UTC with six decimals: 32 characters."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    text = instant.isoformat()
    return text if len(text) == 32 else instant.isoformat(timespec="microseconds")


def _iso_texts_from(first: datetime) -> Callable[[datetime], str]:
    """Return ``iso_text`` for instants shortly after the first: a fifth of the time."""
    second = first.replace(microsecond=0)
    prefix = iso_text(first)[:20]

    def text(instant: datetime) -> str:
        offset = instant - second
        # Days and seconds are zero as long as the instant is within the first one's second.
        if offset.seconds or offset.days:
            return iso_text(instant)
        return f"{prefix}{offset.microseconds:06}+00:00"

    return text


class Appender:
    """Writes batches of one book. The caller owns the transaction and the lock around it."""

    def __init__(self, book: str, book_id: int, clock: Callable[[], datetime]) -> None:
        self._book: Final = book
        self._book_id: Final = book_id
        self._clock: Final = clock

    def generation(self, connection: sqlite3.Connection) -> int:
        """Return the generation of the set of constrained accounts."""
        cursor = _cursor(connection)
        return int(cursor.execute(_SQL["generation"], (self._book_id,)).fetchone()[0])

    def write(self, connection: sqlite3.Connection, batch: Batch) -> Appended:
        """
        Write the batch; raises AppendConflict when it does not fit, and the caller rolls back.

        Keys are not looked up before they are inserted: a taken one raises sqlite3.IntegrityError,
        and after rolling back the caller asks ``taken_keys``. (A savepoint here instead would
        cost every append a tenth.)
        """
        cursor = _cursor(connection)
        moved, is_stale = self._moved(cursor, batch)
        if moved or is_stale:
            taken = self.taken_keys(connection, batch)
            raise AppendConflict(moved, taken, stale_constraints=is_stale)
        self._insert_commands(cursor, batch)
        return self._insert_events(cursor, batch)

    def taken_keys(self, connection: sqlite3.Connection, batch: Batch) -> frozenset[bytes]:
        """Return the key hashes of the batch that are stored, or occur in it twice."""
        cursor = _cursor(connection)
        taken: set[bytes] = set()
        seen: set[bytes] = set()
        for append in batch.appends:
            key = (self._book_id, append.key_hash)
            if append.key_hash in seen or cursor.execute(_SQL["find_command"], key).fetchone():
                taken.add(append.key_hash)
            seen.add(append.key_hash)
        return frozenset(taken)

    def _moved(self, cursor: sqlite3.Cursor, batch: Batch) -> tuple[dict[str, int], bool]:
        expected = Expected(batch)
        names = expected.names
        moved: dict[str, int] = {}
        if names:
            found = cursor.execute(_SQL["versions"], (self._book_id, json_text(names))).fetchall()
            moved = expected.moved({names[key]: version for key, version in found})
        if batch.constraint_generation is None:
            return moved, False
        row = cursor.execute(_SQL["generation"], (self._book_id,)).fetchone()
        return moved, row[0] != batch.constraint_generation

    def _insert_commands(self, cursor: sqlite3.Cursor, batch: Batch) -> None:
        book_id, appended_at = self._book_id, iso_text(batch.appended_at)
        cursor.executemany(
            _SQL["insert_command"],
            [
                (
                    book_id,
                    append.key_hash,
                    append.key,
                    append.command_id.bytes,
                    append.fingerprint,
                    append.command,
                    append.refused,
                    append.reply,
                    "" if append.events else append.context,
                    appended_at,
                )
                for append in batch.appends
            ],
        )

    def _insert_events(self, cursor: sqlite3.Cursor, batch: Batch) -> Appended:
        book_id = self._book_id
        (row_id,) = cursor.execute(_SQL["last_row_id"]).fetchone()
        size, recorded_at = self._next_place(cursor)
        appended_at = iso_text(batch.appended_at)
        recorded_text = _iso_texts_from(recorded_at)
        events: list[tuple[object, ...]] = []
        log: list[tuple[object, ...]] = []
        position, instant = size, recorded_at
        for append in batch.appends:
            command_id, context = append.command_id.bytes, append.context
            for event in append.events:
                row_id += 1
                position += 1
                events.append(
                    (
                        row_id,
                        book_id,
                        event.event_id.bytes,
                        event.stream,
                        event.version,
                        event.topic,
                        iso_text(event.occurred_at),
                        appended_at,
                        command_id,
                        context,
                        event.postings,
                        event.payload,
                    )
                )
                content = content_hash(
                    self._book,
                    HashedColumns(
                        event.event_id,
                        event.stream,
                        event.version,
                        event.topic,
                        event.occurred_at,
                        batch.appended_at,
                        append.command_id,
                        context,
                        event.postings,
                        event.payload,
                    ),
                )
                leaf = leaf_hash(position, instant, content)
                log.append((row_id, book_id, position, recorded_text(instant), leaf))
                instant += _MICROSECOND
        if not events:
            return Appended(None, None)
        cursor.executemany(_SQL["insert_event"], events)
        cursor.executemany(_SQL["insert_log"], log)
        self._insert_tiles(cursor, size, position)
        return Appended(size + 1, recorded_at)

    def _next_place(self, cursor: sqlite3.Cursor) -> tuple[int, datetime]:
        """Return the size of the log and the instant for its next row."""
        now = self._clock().astimezone(UTC)
        row = cursor.execute(_SQL["head"], (self._book_id,)).fetchone()
        if row is None:
            return 0, now
        # A clock that stands still or goes back must not break the order of recorded_at.
        return row[0], max(now, datetime.fromisoformat(row[1]) + _MICROSECOND)

    def _insert_tiles(self, cursor: sqlite3.Cursor, before: int, after: int) -> None:
        if before // TILE == after // TILE:
            return
        book_id = self._book_id

        def nodes(level: int, start: int, count: int) -> Sequence[bytes]:
            if level == 0:
                rows = cursor.execute(_SQL["leaf_hashes"], (book_id, start, count))
            else:
                rows = cursor.execute(_SQL["tile_roots"], (book_id, level, start, count))
            return [node for (node,) in rows]

        tiles = complete_tiles(before, after, nodes)
        cursor.executemany(_SQL["insert_tile"], [(book_id, *tile) for tile in tiles])


def _cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    cursor = connection.cursor()
    # A host's connection may make other rows than tuples.
    cursor.row_factory = None
    return cursor
