"""How the databases answer balance queries: from the index alone, and with few rights."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from orderledger.ledger.stores.models import models_of
from orderledger.ledger.stores.named_sql import statements
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.projections.balances import Postings
from orderledger.projections.models import fingerprint
from orderledger.projections.read_models import ReadModels
from orderledger.replay.rebuild import rebuild
from tests.seeding import CASH, START, Seeder, balances_of, sqlite_store, ticking, transfer

ENTRIES = 500
SELECTED: dict[str, object] = {
    # The head, as every balance of today asks: up to an early position, PostgreSQL before 18
    # rightly reads the few lines below it by position instead.
    "until": ENTRIES,
    "first": CASH,
    "last": CASH,
    "below": "",
    "currency": "USD",
    "layer": "posted",
    "effective_from": None,
    "effective_to": None,
    "after_effective_at": None,
    "after_position": 0,
    "after_line_no": 0,
    "after_account": CASH,
    "after_currency": "",
    "limit": 10,
}
SHAPE = fingerprint(Postings())
TABLE = f"rm_1_1_{SHAPE}_postings"
SQLITE_TABLE = f"orderledger_{TABLE}"
SQLITE_INDEX = f"{SQLITE_TABLE}_1"


@pytest.fixture
def sqlite_book(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to a prepared, empty file."""
    store = sqlite_store(tmp_path / "book.db")
    balances_of(store).catch_up()
    store.close()
    connection = sqlite3.connect(tmp_path / "book.db")
    yield connection
    connection.close()


@pytest.fixture
def postgres_book(pg_url: str) -> str:
    """Give the URL of a book of those entries, caught up and analysed."""
    migrate(pg_url)
    store = PostgresStore(pg_url, clock=ticking())
    Seeder(store).append_many([transfer(1, START, entry_id=f"e{n}") for n in range(ENTRIES)])
    models = models_of(store)
    assert balances_of(store, models).catch_up() == ENTRIES
    models.close()
    store.close()
    with psycopg.connect(pg_url, autocommit=True) as connection:
        # The test server commits before it flushes, and what is not flushed is not all-visible.
        connection.execute("CHECKPOINT")
        connection.execute(f"VACUUM ANALYZE orderledger_read.{TABLE}".encode())
    return pg_url


def _sqlite_plan(connection: sqlite3.Connection, name: str) -> str:
    sql = statements("sqlite", "journal_queries")[name].format(postings=SQLITE_TABLE)
    rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", SELECTED).fetchall()
    return "\n".join(row[3] for row in rows)


@pytest.mark.parametrize("name", ["totals", "uses", "sums"])
def test_sqlite_sums_from_the_index_alone(sqlite_book: sqlite3.Connection, name: str) -> None:
    """Catches a balance that reads every line of the book, or the table beside the index."""
    plan = _sqlite_plan(sqlite_book, name)
    assert f"COVERING INDEX {SQLITE_INDEX} (account>? AND account<?)" in plan
    assert "TEMP B-TREE" not in plan


def test_sqlite_statements_are_read_in_order(sqlite_book: sqlite3.Connection) -> None:
    """Catches a statement that sorts an account's whole life for one page."""
    plan = _sqlite_plan(sqlite_book, "lines_by_effect")
    assert f"{SQLITE_INDEX} (account=? AND currency=? AND layer=?" in plan
    assert "TEMP B-TREE" not in plan


def test_sqlite_reads_the_journal_by_position(sqlite_book: sqlite3.Connection) -> None:
    """Catches a page of the journal that scans from the start."""
    plan = _sqlite_plan(sqlite_book, "lines")
    assert "USING PRIMARY KEY ((position,line_no)>" in plan
    assert "TEMP B-TREE" not in plan
    assert f"{SQLITE_INDEX} (account=?" in _sqlite_plan(sqlite_book, "account_lines")


@pytest.mark.parametrize("name", ["totals", "uses", "sums", "lines_by_effect"])
def test_postgres_answers_from_the_index(postgres_book: str, name: str) -> None:
    """Catches a balance that reads every line of the book."""
    sql = statements("postgres", "journal_queries")[name].format(
        postings=f"orderledger_read.{TABLE}"
    )
    with psycopg.connect(postgres_book) as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        rows = connection.execute(f"EXPLAIN {sql}".encode(), SELECTED).fetchall()
    plan = "\n".join(str(row[0]) for row in rows)
    # As the server names an index that is not the key's.
    assert re.search(rf"using {TABLE}_\w+_idx", plan)
    if name != "lines_by_effect":
        assert f"Index Only Scan using {TABLE}" in plan


def test_an_application_needs_no_right_on_history(postgres_book: str) -> None:
    """Catches a read model whose rows need the rights to change events."""
    role = "orderledger_reader_test"
    with psycopg.connect(postgres_book, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}")
        connection.execute(f"CREATE ROLE {role}")
        try:
            connection.execute(f"SELECT orderledger.grant_application('{role}')")
            joiner = "&" if "?" in postgres_book else "?"
            store = PostgresStore(f"{postgres_book}{joiner}options=-c%20role%3D{role}")
            models = models_of(store)
            reading = ReadModels(store, models, (Postings(),))
            assert rebuild(reading, "balances").position == ENTRIES
            assert balances_of(store, models).balance(CASH) == {"USD": ENTRIES}
            models.close()
            store.close()
            connection.execute(f"SET ROLE {role}")
            with pytest.raises(InsufficientPrivilege):
                connection.execute("DELETE FROM orderledger.events")
            connection.execute("RESET ROLE")
        finally:
            connection.execute("RESET ROLE")
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def test_views_show_exact_amounts(tmp_path: Path, postgres_book: str) -> None:
    """Catches a view that shows an auditor another amount than was posted."""
    amounts = (10**29 + 5, -(10**12), 7, -(10**20) - 3, -5)
    store = sqlite_store(tmp_path / "amounts.db")
    facts = [transfer(one, START, entry_id=f"e{number}") for number, one in enumerate(amounts)]
    Seeder(store).append_many(facts)
    balances_of(store).catch_up()
    store.close()
    with sqlite3.connect(tmp_path / "amounts.db") as connection:
        rows = connection.execute(
            "SELECT minor FROM orderledger_postings WHERE account = ? ORDER BY position", (CASH,)
        ).fetchall()
    connection.close()
    assert [str(row[0]) for row in rows] == [str(amount) for amount in amounts]
    with psycopg.connect(postgres_book) as postgres:
        found = postgres.execute(
            "SELECT book, sum(minor) FROM orderledger_read.postings WHERE account = %s "
            "GROUP BY book",
            (CASH,),
        ).fetchall()
    assert found == [("main", ENTRIES)]
