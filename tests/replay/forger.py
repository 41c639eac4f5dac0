"""
Somebody who owns the database and knows how a book is made: changes rows past every guard.

The guards are put back as they were, and hashes, tiles and checkpoints are made to fit as far as
the forger is told to: what is left to be found is what each tampering is about.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import psycopg

from orderledger.ledger.merkle import TILE, subtree_root
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.replay.verify_log import recomputed_leaf
from tests.seeding import ticking

Values = Mapping[str, object]
_CARELESS: Final = "PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = OFF"


class Database(Protocol):
    """An engine as the forger sees it; SQL names tables as ``orderledger.name``."""

    is_postgres: bool

    def open(self) -> EventStore: ...

    def run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]: ...

    def adapt(self, value: object) -> object: ...

    def close(self) -> None: ...


class SqliteDatabase:
    is_postgres = False

    def __init__(self, path: Path) -> None:
        self._path: Final = path

    def open(self) -> EventStore:
        return SqliteStore(self._path, clock=ticking())

    def run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        said = sql.replace("orderledger_read.", "orderledger_").replace(
            "orderledger.", "orderledger_"
        )
        connection = sqlite3.connect(self._path)
        try:
            connection.executescript(_CARELESS)
            if not values and ";" in said:
                connection.executescript(said)
                return []
            with connection:
                return connection.execute(said.replace("%s", "?"), values).fetchall()
        finally:
            connection.close()

    def close(self) -> None:
        """Release nothing: no connection is kept."""

    def adapt(self, value: object) -> object:
        if isinstance(value, UUID):
            return value.bytes
        if isinstance(value, datetime):
            return value.isoformat(timespec="microseconds")
        return value


class PostgresDatabase:
    is_postgres = True

    def __init__(self, url: str) -> None:
        self._url: Final = url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def open(self) -> EventStore:
        return PostgresStore(self._url, clock=ticking())

    def run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True)
        cursor = self._connection.execute(sql.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Close the connection: a database that is in use is no template."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def adapt(self, value: object) -> object:
        return value


class Forger:
    """Changes the rows of one book, the only one of its database."""

    def __init__(self, database: Database) -> None:
        self.database: Final = database
        self.is_postgres: Final = database.is_postgres
        self._store: EventStore | None = None
        self.run: Final = database.run
        self.book_id: Final = int(database.run("SELECT book_id FROM orderledger.books")[0][0])

    # -- rows ------------------------------------------------------------------------------------

    def rows(self, position: int, count: int = 1) -> Sequence[StoredEvent]:
        """Return events as they are stored now."""
        if self._store is None:
            self._store = self.database.open()
        return self._store.read(position - 1, until=position - 1 + count, limit=count)

    def close(self) -> None:
        """Close what was opened: a database that is in use cannot be dropped."""
        if self._store is not None:
            self._store.close()
        self.database.close()

    def event(self, position: int) -> StoredEvent:
        """Return one event as it is stored now."""
        return self.rows(position)[0]

    def size(self) -> int:
        return int(self.run("SELECT max(position) FROM orderledger.log")[0][0])

    def update(self, table: str, changes: Values, where: Values) -> None:
        """Update rows of a table, at least one."""
        sets = ", ".join(f"{self._column(name)} = %s" for name in changes)
        values = [self.database.adapt(one) for one in (*changes.values(), *where.values())]
        found = self.run(
            f"UPDATE {table} SET {sets} WHERE {self._condition(where)} RETURNING 1", values
        )
        assert found, f"no row of {table} is {dict(where)}"

    def delete(self, table: str, where: Values) -> None:
        """Delete rows of a table, at least one."""
        values = [self.database.adapt(one) for one in where.values()]
        found = self.run(f"DELETE FROM {table} WHERE {self._condition(where)} RETURNING 1", values)
        assert found, f"no row of {table} is {dict(where)}"

    def insert(self, table: str, values: Values) -> None:
        names = ", ".join(self._column(name) for name in values)
        marks = ", ".join(["%s"] * len(values))
        adapted = [self.database.adapt(one) for one in values.values()]
        over = "OVERRIDING SYSTEM VALUE " if self.is_postgres else ""
        self.run(f"INSERT INTO {table} ({names}) {over}VALUES ({marks})", adapted)

    def row(self, table: str, where: Values) -> dict[str, object]:
        """Return a row by the names of its columns, as the driver gives it."""
        if self.is_postgres:
            schema, _, name = table.partition(".")
            names = self.run(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                "AND NOT attisdropped ORDER BY attnum",
                (f"{schema}.{name}",),
            )
            columns = [str(one[0]) for one in names]
        else:
            columns = [one[1] for one in self.run(f"PRAGMA table_info({table})")]
        wanted = ", ".join(self._column(name) for name in columns)
        values = [self.database.adapt(one) for one in where.values()]
        (found,) = self.run(
            f"SELECT {wanted} FROM {table} WHERE {self._condition(where)} LIMIT 1", values
        )
        return dict(zip(columns, found, strict=True))

    def _condition(self, where: Values) -> str:
        return " AND ".join(f"{self._column(name)} = %s" for name in where) or "true"

    def _column(self, name: str) -> str:
        if name == "index":
            return "index" if self.is_postgres else "tile_index"
        return name

    # -- events ----------------------------------------------------------------------------------

    def change(self, position: int, /, **changes: object) -> None:
        """Change columns of the event at a position."""
        event_id = self.event(position).event_id
        self.update("orderledger.events", changes, {"event_id": event_id})

    def replace(self, position: int, column: str, old: str, new: str) -> None:
        """Replace text in a column of the event at a position, where it stands."""
        text = str(getattr(self.event(position), column))
        assert old in text, text
        self.change(position, **{column: text.replace(old, new)})

    def edit(self, position: int, edit: Callable[[dict[str, Any]], object]) -> None:
        """Change the payload of an event as a JSON object."""
        payload = msgspec.json.decode(self.event(position).payload, type=dict[str, Any])
        edit(payload)
        self.change(position, payload=msgspec.json.encode(payload).decode())

    def place(self, position: int, /, **changes: object) -> None:
        """Change columns of the log at a position."""
        self.update("orderledger.log", changes, {"position": position})

    def swap(self, first: int, second: int) -> None:
        """Let two events of the log change places."""
        self.place(first, position=100_000)
        self.place(second, position=first)
        self.place(100_000, position=second)

    def cut(self, after: int, *, with_tiles: bool) -> None:
        """Cut off the end of the log, with its events and their commands' records."""
        for row in reversed(self.rows(after + 1, 1_000)):
            self.delete("orderledger.log", {"position": row.position})
            self.delete("orderledger.events", {"event_id": row.event_id})
            records = self.run(
                "SELECT 1 FROM orderledger.commands WHERE command_id = %s",
                (self.database.adapt(row.command_id),),
            )
            if records:
                self.delete("orderledger.commands", {"command_id": row.command_id})
        if with_tiles:
            self.retile()

    def add(self, row: StoredEvent, position: int | None) -> None:
        """Write an event, and its place in the log with the right leaf hash if it has one."""
        columns = {
            name: getattr(row, name)
            for name in row.__struct_fields__
            if name not in ("position", "recorded_at")
        }
        row_id = 1_000_000
        if not self.is_postgres:
            row_id = int(self.run("SELECT max(row_id) + 1 FROM orderledger.events")[0][0])
            columns["row_id"] = row_id
        self.insert("orderledger.events", {"book_id": self.book_id, **columns})
        if position is None:
            return
        place = {"book_id": self.book_id, "position": position, "recorded_at": row.recorded_at}
        leaf = recomputed_leaf("main", msgspec.structs.replace(row, position=position))
        which = {"event_id": row.event_id} if self.is_postgres else {"row_id": row_id}
        self.insert("orderledger.log", {**place, **which, "leaf_hash": leaf})

    # -- hashes ----------------------------------------------------------------------------------

    def rehash(self, first: int, last: int | None = None) -> None:
        """Write the leaf hashes that the columns have, of a position or of some."""
        for row in self.rows(first, (last or first) - first + 1):
            assert row.position is not None
            self.place(row.position, leaf_hash=recomputed_leaf("main", row))

    def retile(self) -> None:
        """Make every tile again from the leaf hashes."""
        self.run("DELETE FROM orderledger.tiles")
        nodes = self.run("SELECT leaf_hash FROM orderledger.log ORDER BY position")
        leaves = [bytes(one[0]) for one in nodes]
        for index in range(len(leaves) // TILE):
            root = subtree_root(leaves[index * TILE : (index + 1) * TILE])
            tile = {"book_id": self.book_id, "level": 1, "index": index, "root": root}
            self.insert("orderledger.tiles", tile)

    def heal(self) -> None:
        """Let the checkpoints of read models and reactors name the hashes that there are now."""
        for table, name in (
            ("orderledger.generations", "model"),
            ("orderledger.reactors", "reactor"),
        ):
            for which, position in self.run(f"SELECT {name}, position FROM {table}"):
                if position:
                    found = self.run(
                        "SELECT leaf_hash FROM orderledger.log WHERE position = %s", (position,)
                    )
                    leaf = bytes(found[0][0])
                    self.update(table, {"leaf_hash": leaf}, {name: which})

    def rewrite(self, position: int, /, **changes: object) -> None:
        """Change an event and make all hashes in the database agree with it."""
        if changes:
            self.change(position, **changes)
        self.agree(position)

    def agree(self, *positions: int) -> None:
        """Make all hashes in the database agree with the events at some positions."""
        for position in positions:
            self.rehash(position)
        self.retile()
        self.heal()

    @contextmanager
    def past_the_guards(self) -> Any:
        """Take the triggers and checks away, and put them back as they were."""
        if self.is_postgres:
            yield from _past_postgres(self)
        else:
            yield from _past_sqlite(self)


def _past_sqlite(forger: Forger) -> Any:
    found = forger.run("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    forger.run("".join([f"DROP TRIGGER {name};" for name, _ in found]))
    yield
    forger.run("".join([f"{definition};" for _, definition in found]))


def _past_postgres(forger: Forger) -> Any:
    tables = [name for (name,) in forger.run(_TABLES)]
    triggers = forger.run(_TRIGGERS)
    forger.run("ALTER TABLE orderledger.events DROP CONSTRAINT entry_balances")
    altered = "ALTER TABLE orderledger"
    forger.run(";".join([f"{altered}.{name} DISABLE TRIGGER ALL" for name in tables]))
    yield
    always = [
        f"{altered}.{name} ENABLE ALWAYS TRIGGER {trigger}"
        for name, trigger, state in triggers
        if state == "A"
    ]
    forger.run(";".join([*[f"{altered}.{name} ENABLE TRIGGER ALL" for name in tables], *always]))
    forger.run(
        "ALTER TABLE orderledger.events ADD CONSTRAINT entry_balances "
        "CHECK (orderledger.entry_balances(postings)) NOT VALID"
    )
    forger.run(
        "SET allow_system_table_mods = on; "
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'entry_balances'"
    )


_TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'orderledger'::regnamespace "
    "AND relkind = 'r' ORDER BY 1"
)
_TRIGGERS: Final = (
    "SELECT c.relname, t.tgname, t.tgenabled::text FROM pg_trigger t "
    "JOIN pg_class c ON c.oid = t.tgrelid "
    "WHERE c.relnamespace = 'orderledger'::regnamespace AND NOT t.tgisinternal"
)
