"""Create, migrate and check the tables of a SQLite file."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from ..migrate import AppliedMigration, Migration, Phase, apply, require_current

_BOOTSTRAP: Final = """
CREATE TABLE IF NOT EXISTS orderledger_schema_migrations (
    number INTEGER PRIMARY KEY,
    slug TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT
"""


class SqliteMigrations:
    """
    The applier's view of one connection.

    The lock is the write lock: what is missing is applied in one transaction, all or nothing.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def locked(self) -> Generator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute(_BOOTSTRAP)
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def applied(self) -> Sequence[AppliedMigration]:
        if not is_prepared(self._connection):
            return []
        rows = self._connection.execute(
            "SELECT number, slug, checksum FROM orderledger_schema_migrations ORDER BY number"
        )
        return [AppliedMigration(number, slug, checksum) for number, slug, checksum in rows]

    def run(self, migration: Migration) -> None:
        statement = ""
        # executescript would commit the transaction first.
        for line in migration.script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._connection.execute(statement)
                statement = ""
        self._connection.execute(
            "INSERT INTO orderledger_schema_migrations (number, slug, checksum) VALUES (?, ?, ?)",
            (migration.number, migration.slug, migration.checksum),
        )


def is_prepared(connection: sqlite3.Connection) -> bool:
    """Tell whether the file has tables of this library, of whatever release."""
    found = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE name = 'orderledger_schema_migrations'"
    ).fetchone()
    return found is not None


def migrate_file(connection: sqlite3.Connection, phase: Phase | None = None) -> None:
    """
    Apply the missing migrations of a phase, and check that the file is then current.

    A new file gets every migration. Raises SchemaMismatch for a file of a newer release or one
    whose applied migrations differ from this release's.
    """
    migrations = SqliteMigrations(connection)
    apply(migrations, "sqlite", phase if migrations.applied() else None)
    require_current(migrations, "sqlite")
