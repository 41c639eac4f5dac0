"""How an audit finds the refused commands: by an index of these alone, however many there are."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest

from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.named_sql import statements
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.contract.batches import START, batch, command

ACCEPTED: Final = 3_000
REFUSED: Final = 30


def _fill(store: EventStore, name: str) -> None:
    commands = [command(f"{name} {number}") for number in range(ACCEPTED)]
    commands += [command(f"refused {name} {n}", refused=True) for n in range(REFUSED)]
    store.append(batch(*commands))


@pytest.fixture
def in_sqlite(tmp_path: Path) -> Iterator[SqliteStore]:
    """Give a file with many commands, few of them refused."""
    store = SqliteStore(tmp_path / "book.db")
    _fill(store, "one")
    yield store
    store.close()


@pytest.fixture
def in_postgres(pg_url: str) -> Iterator[PostgresStore]:
    """Give such a database, half of it in the archive."""
    migrate(pg_url)
    store = PostgresStore(pg_url)
    _fill(store, "old")
    with psycopg.connect(pg_url, autocommit=True) as owner:
        later = START + timedelta(days=1)
        owner.execute("SELECT orderledger.archive_commands(1, %s, 10000)", (later,))
        _fill(store, "new")
        owner.execute("ANALYZE orderledger.commands, orderledger.commands_archive")
    yield store
    store.close()


def test_sqlite_reads_the_refused_alone(in_sqlite: SqliteStore) -> None:
    """Catches an audit that reads every command of the book."""
    query = f"EXPLAIN QUERY PLAN {statements('sqlite')['refusals']}"
    with in_sqlite.file.reading() as connection:
        (plan,) = [row[3] for row in connection.execute(query, (1, b"", 10))]
    assert "INDEX orderledger_commands_refused (book_id=? AND key_hash>?)" in plan
    assert len(list(in_sqlite.refusals())) == REFUSED


@pytest.mark.pg
def test_postgres_reads_the_refused_alone(in_postgres: PostgresStore, pg_url: str) -> None:
    """Catches an audit that reads every command of the book, or of its archive."""
    query = f"EXPLAIN {statements('postgres')['refusals']}"
    at = {"book": 1, "after": "00000000-0000-0000-0000-000000000000", "limit": 1_000}
    with psycopg.connect(pg_url) as owner:
        plan = "\n".join([line for (line,) in owner.execute(query.encode(), at)])
    for index in ("commands_refused", "commands_archive_refused"):
        assert f"Index Scan using {index}" in plan, plan
    assert len(list(in_postgres.refusals())) == 2 * REFUSED
