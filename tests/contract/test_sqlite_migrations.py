"""Files that an earlier release of this schema wrote."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderledger.ledger.errors import UnbalancedEntry
from orderledger.ledger.ids import utc_now
from orderledger.ledger.migrate import available
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.ledger.stores.sqlite_append import Appender
from orderledger.ledger.stores.sqlite_schema import SqliteMigrations
from tests.contract.batches import BALANCED, event, everything, expected_leaf, one

BEFORE_TWO_LEGS = 20


def _old_file(path: Path, last: int) -> None:
    """Make a file as a release whose last migration had this number left it, with three events."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations = SqliteMigrations(connection)
        with migrations.locked():
            for migration in available("sqlite"):
                if migration.number <= last:
                    migrations.run(migration)
        connection.execute("INSERT INTO orderledger_books (name) VALUES ('main')")
        appender = Appender("main", 1, utc_now)
        for version in range(1, 4):
            connection.execute("BEGIN IMMEDIATE")
            made = one(f"old {version}", event("s/1", version, postings=BALANCED))
            appender.write(connection, made)
            connection.execute("COMMIT")


def _schema(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
        ).fetchall()


def test_an_old_file_opens_and_goes_on(tmp_path: Path) -> None:
    """Catches an upgrade that loses a row, a guard, or the right to go on writing."""
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    _old_file(old, BEFORE_TWO_LEGS)
    SqliteStore(new).close()
    assert _schema(old) != _schema(new)
    store = SqliteStore(old)
    assert _schema(old) == _schema(new)
    store.append(one("new", event("s/1", 4, postings=BALANCED)))
    events = everything(store)
    assert [found.version for found in events] == [1, 2, 3, 4]
    assert store.leaf_hashes(0, 10) == [expected_leaf("main", found) for found in events]
    with pytest.raises(UnbalancedEntry):
        store.append(one("bad", event("s/1", 5, postings=BALANCED.replace("-12325", "-12324"))))
    store.close()
