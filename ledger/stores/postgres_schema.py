"""Create, migrate and check the PostgreSQL schema."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.rows import tuple_row

from ..migrate import AppliedMigration, Migration, Phase, apply, require_current
from .postgres_connections import checked_url
from .postgres_errors import sqlstate, translating

# Any constant will do; this one is the bytes "ordldgr" read as an integer.
_LOCK_KEY: Final = int.from_bytes(b"ordldgr", "big")
_BOOTSTRAP: Final = """
CREATE SCHEMA IF NOT EXISTS orderledger;
CREATE TABLE IF NOT EXISTS orderledger.schema_migrations (
    number integer PRIMARY KEY,
    slug text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""


class PostgresMigrations:
    """The applier's view of one autocommit connection."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection

    @contextmanager
    def locked(self) -> Generator[None]:
        # A session lock: it outlives the migrations' transactions and dies with the connection.
        self._connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        try:
            self._connection.execute(_BOOTSTRAP)
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK_KEY,))

    def applied(self) -> Sequence[AppliedMigration]:
        try:
            cursor = self._connection.execute(
                "SELECT number, slug, checksum FROM orderledger.schema_migrations ORDER BY number"
            )
        except psycopg.errors.ProgrammingError as error:
            if sqlstate(error) in ("42P01", "3F000"):
                return []
            raise
        return [
            AppliedMigration(int(str(number)), str(slug), str(checksum))
            for number, slug, checksum in cursor.fetchall()
        ]

    def run(self, migration: Migration) -> None:
        with self._connection.transaction():
            self._connection.execute(migration.script.encode())
            self._connection.execute(
                "INSERT INTO orderledger.schema_migrations (number, slug, checksum) "
                "VALUES (%s, %s, %s)",
                (migration.number, migration.slug, migration.checksum),
            )


@contextmanager
def _migrations(url: str) -> Generator[PostgresMigrations]:
    with (
        translating(),
        psycopg.connect(checked_url(url), autocommit=True, row_factory=tuple_row) as connection,
    ):
        yield PostgresMigrations(connection)


def migrate(url: str, phase: Phase | None = None) -> Sequence[Migration]:
    """
    Apply the missing migrations of a phase (None: both) and return them.

    Needs the rights to create a schema, or to own ``orderledger``. Raises SchemaMismatch, and
    Unavailable when the server cannot be reached.
    """
    with _migrations(url) as migrations:
        return apply(migrations, "postgres", phase)


def check(url: str) -> None:
    """Raise SchemaMismatch unless the schema is of this release."""
    with _migrations(url) as migrations:
        require_current(migrations, "postgres")
