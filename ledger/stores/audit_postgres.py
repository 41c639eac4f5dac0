"""What stands around the events of a book in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final, cast
from uuid import UUID

import msgspec

from ..audit_ports import CommandRecord, Duplicate, Guards, Stray
from .named_sql import statements
from .postgres_connections import Connections

_Row = tuple[object, ...]
GUARDS_FILE: Final = "guards.json"
"""Name → hash of the definition, of a freshly migrated schema; made by a tool, held by a test."""


class PostgresAudit:
    """See ``Audit`` for the contract."""

    def __init__(self, connections: Connections, book_id: int) -> None:
        self._sql: Final = statements("postgres", "audit_queries")
        self._connections: Final = connections
        self._book_id: Final = book_id

    def records(self, after: bytes, limit: int) -> Sequence[CommandRecord]:
        given: dict[str, object] = {"book_id": self._book_id, "limit": limit}
        if after:
            given["after"] = UUID(bytes=after)
        rows = self._rows(self._sql["records" if after else "first_records"], given)
        return [_record(row) for row in rows]

    def duplicates(self) -> Sequence[Duplicate]:
        return [
            Duplicate(str(table), str(column), cast(UUID, value), cast(int, count))
            for table, column, value, count in self._rows(self._sql["duplicates"])
        ]

    def strays(self) -> Sequence[Stray]:
        """Jump from book to book in the primary key of each table that is kept by book."""
        books = {number for (number,) in self._rows("SELECT book_id FROM orderledger.books")}
        found: list[Stray] = []
        for (table,) in self._rows(self._sql["tables_of_books"]):
            name = f"orderledger.{table}"
            least = f"SELECT min(book_id) FROM {name}"  # noqa: S608  # of the catalogue
            ((at,),) = self._rows(least)
            while at is not None:
                if at not in books:
                    found.append(Stray(str(table), cast(int, at)))
                ((at,),) = self._rows(f"{least} WHERE book_id > %(at)s", {"at": at})
        return found

    def loose_work(self) -> Sequence[int]:
        rows = self._rows(self._sql["loose_work"], {"book_id": self._book_id})
        return [cast(int, number) for (number,) in rows]

    def guards(self) -> Guards:
        return Guards(self.present(), _migrated())

    def present(self) -> Mapping[str, str]:
        """Return the hashes of the guards that the catalogue has."""
        rows = self._rows(self._sql["guards"])
        return {str(name): sha256(str(one).encode()).hexdigest() for name, one in sorted(rows)}

    def _rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[_Row]:
        with self._connections.session() as session:
            return session.cursor.execute(sql.encode(), parameters).fetchall()


@cache
def _migrated() -> Mapping[str, str]:
    text = (files("orderledger.ledger") / "sql" / "postgres" / GUARDS_FILE).read_bytes()
    return msgspec.json.decode(text, type=dict[str, str])


def _record(row: _Row) -> CommandRecord:
    key_hash, key, command_id, appended_at, fingerprint, command, refused, reply = row
    return CommandRecord(
        cast(UUID, key_hash).bytes,
        str(key),
        cast(UUID, command_id),
        cast(datetime, appended_at),
        bytes(cast(bytes, fingerprint)),
        str(command),
        bool(refused),
        str(reply),
    )
