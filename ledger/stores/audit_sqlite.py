"""What stands around the events of a book in a SQLite file."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from ..audit_ports import CommandRecord, Duplicate, Guards, Stray
from ..errors import CorruptEvent
from .named_sql import statements
from .sqlite_files import SqliteFile
from .sqlite_schema import migrate_file

_SQL: Final = statements("sqlite", "audit_queries")


class SqliteAudit:
    """See ``Audit`` for the contract."""

    def __init__(self, file: SqliteFile, book_id: int) -> None:
        self._file: Final = file
        self._book_id: Final = book_id

    def records(self, after: bytes, limit: int) -> Sequence[CommandRecord]:
        rows = self._rows(_SQL["records"], (self._book_id, after, limit))
        return [_record(row) for row in rows]

    def duplicates(self) -> Sequence[Duplicate]:
        rows = self._rows(_SQL["duplicates"], ())
        return [
            Duplicate(table, column, UUID(bytes=value), count)
            for table, column, value, count in rows
            if len(value) == 16
        ]

    def strays(self) -> Sequence[Stray]:
        """Jump from book to book in an index of each table that has one by book."""
        found: list[Stray] = []
        with self._file.reading() as connection:
            rows = connection.execute("SELECT book_id FROM orderledger_books")
            books = {number for (number,) in rows}
            for table in _tables_of_books(connection):
                least = f"SELECT min(book_id) FROM {table}"  # noqa: S608  # of the catalogue
                at = connection.execute(least).fetchone()[0]
                while at is not None:
                    if at not in books:
                        found.append(Stray(table, at))
                    at = connection.execute(f"{least} WHERE book_id > ?", (at,)).fetchone()[0]
        return found

    def loose_work(self) -> Sequence[int]:
        rows = self._rows(_SQL["loose_work"], {"book_id": self._book_id})
        return [number for (number,) in rows]

    def guards(self) -> Guards:
        with self._file.reading() as connection:
            return Guards(_guards(connection), _migrated())

    def _rows(self, sql: str, parameters: Any) -> list[Any]:
        with self._file.reading() as connection:
            return connection.execute(sql, parameters).fetchall()


def _tables_of_books(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT m.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c "
        "WHERE m.type = 'table' AND m.name GLOB 'orderledger_*' AND c.name = 'book_id' "
        "AND m.name <> 'orderledger_books' AND m.name NOT GLOB 'orderledger_rm_*' ORDER BY m.name"
    )
    return [name for (name,) in rows]


def _guards(connection: sqlite3.Connection) -> Mapping[str, str]:
    return dict(connection.execute(_SQL["guards"]).fetchall())


@cache
def _migrated() -> Mapping[str, str]:
    """Return the guards of a schema that was made this moment, by every migration there is."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate_file(connection)
        return _guards(connection)


def _record(row: tuple[Any, ...]) -> CommandRecord:
    key_hash, key, command_id, appended_at, fingerprint, command, refused, reply = row
    try:
        return CommandRecord(
            key_hash,
            key,
            UUID(bytes=command_id),
            datetime.fromisoformat(appended_at),
            fingerprint,
            command,
            bool(refused),
            reply,
        )
    except ValueError as error:
        raise CorruptEvent(
            f"the record of key {key!r} has an instant or an id that cannot be read", key=key
        ) from error
