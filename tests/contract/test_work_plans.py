"""The plans of what is asked of work, and the rights it needs: whatever was done long ago."""

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import orderledger
from orderledger import Book
from orderledger.commands.process_payments import PaymentOperations
from orderledger.ledger.stores.named_sql import statements
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.ledger.stores.works import work_of
from orderledger.machinery import Wiring
from orderledger.testing.fakes import FakeWorld
from tests.contract.test_work import NOW, new
from tests.machinery.shop import authorise, initiate, place, run

PLACE: dict[str, Any] = {"book_id": 1, "lane": "outbox"}
ASKED: dict[str, dict[str, Any]] = {
    "lease": {**PLACE, "owner": "me", "now": NOW, "until": NOW, "limit": 16},
    "find": {**PLACE, "key": "k7"},
    "list": {**PLACE, "status": "dead", "after": 0, "limit": 100},
    "redrive": {**PLACE, "key": "k7", "now": NOW},
    "discard": {**PLACE, "key": "k7", "now": NOW, "result": "{}"},
    "conclude": {
        "status": "done",
        "due_at": None,
        "error": "",
        "result": "{}",
        "refusal": 0,
        "finished_at": NOW,
        "number": 7,
        "owner": "me",
        "attempts": 1,
    },
    "renew": {"until": NOW, "number": 7, "owner": "me", "attempts": 1},
}


DONE_LONG_AGO = """
INSERT INTO orderledger.work (book_id, lane, key, kind, payload, origin, streams, created_at,
    due_at, status)
SELECT 1, 'outbox', 'done ' || n, 'command:X', '{}', '{}', '{}', now(), now(), 'done'
FROM generate_series(1, 5000) AS n
"""


@pytest.mark.parametrize("name", ASKED)
def test_sqlite_seeks(tmp_path: Path, name: str) -> None:
    """Catches a statement that reads everything that was ever done: slower every day."""
    store = SqliteStore(tmp_path / "book.db")
    work_of(store).close()
    parameters = {
        key: value.isoformat() if value is NOW else value for key, value in ASKED[name].items()
    }
    with store.file.reading() as reader:
        sql = f"EXPLAIN QUERY PLAN {statements('sqlite', 'work_queries')[name]}"
        plan = [row[3] for row in reader.execute(sql, parameters)]
    assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step], plan
    store.close()


@pytest.mark.pg
def test_postgres_seeks(pg_url: str) -> None:
    """Catches a statement that reads everything that was ever done: slower every day."""
    orderledger.migrate(pg_url)
    store = PostgresStore(pg_url)
    work = work_of(store)
    work.put([new(f"k{number}", f"order-{number % 5}") for number in range(20)])
    with psycopg.connect(pg_url) as connection:
        connection.execute(DONE_LONG_AGO)
        connection.execute("ANALYZE orderledger.work")
        connection.execute("ANALYZE orderledger.work_streams")
        for name, parameters in ASKED.items():
            sql = f"EXPLAIN {statements('postgres', 'work_queries')[name]}"
            rows = connection.execute(sql.encode(), parameters).fetchall()
            plan = "\n".join(str(row[0]) for row in rows)
            assert "Seq Scan on work\n" not in f"{plan}\n", f"{name}\n{plan}"
            assert "Seq Scan on work " not in plan, f"{name}\n{plan}"
    work.close()
    store.close()


@pytest.mark.pg
def test_the_application_role_runs_the_machinery(pg_url: str) -> None:
    """Catches a right that the worker of a careful shop lacks, or one it must not have."""
    orderledger.migrate(pg_url)
    PostgresStore(pg_url).close()
    role = f"shop_{time.time_ns()}"
    with psycopg.connect(pg_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            owner.execute(f"SELECT orderledger.grant_application('{role}')".encode())
            url, world = make_conninfo(pg_url, user=role), FakeWorld()
            with Book(PostgresStore(url)) as book:
                book.wire(Wiring(ports=world.ports, reactors=(PaymentOperations(),)))
                book.machinery.settle()
                run(book, place(), initiate(), authorise())
                book.enqueue(place("o2"), key="k")
                assert book.machinery.settle() == 2
                assert not book.read.status().red
            with psycopg.connect(url) as shop, pytest.raises(psycopg.Error) as caught:
                shop.execute("DELETE FROM orderledger.work")
            assert caught.value.sqlstate == "42501"
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())
