"""Migrate a database by engine and target, on a connection that is opened and closed for it."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from ..errors import InvalidInput
from ..migrate import Migration, apply
from .sqlite_files import translated
from .sqlite_schema import SqliteMigrations


def migrate(engine: str, target: str) -> Sequence[Migration]:
    """
    Apply what is missing, both phases, and return it in order.

    ``target`` is a file (created when absent) or a URL. Idempotent and safe from several processes.
    Raises SchemaMismatch for a database of a newer release, Unavailable when it does not answer.
    """
    if engine == "sqlite":
        with translated(), closing(sqlite3.connect(target, isolation_level=None)) as connection:
            # As the store opens it: the mode is a property of the file.
            connection.execute("PRAGMA journal_mode = WAL")
            return apply(SqliteMigrations(connection), "sqlite")
    if engine == "postgres":
        from .postgres_schema import migrate as migrate_postgres

        return migrate_postgres(target)
    raise InvalidInput(f"there is no engine {engine!r}; there are sqlite and postgres")
