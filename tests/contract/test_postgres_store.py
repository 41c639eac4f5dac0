"""What only PostgreSQL has: roles, plans, a lost connection, waiting for rows, tiles in SQL."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from orderledger.ledger.errors import (
    DatabaseReadOnly,
    InvalidInput,
    SchemaMismatch,
    StorageError,
    Unavailable,
)
from orderledger.ledger.merkle import complete_tiles
from orderledger.ledger.ports import AppendConflict, CutRequest, LockTimeout
from orderledger.ledger.stores import postgres
from orderledger.ledger.stores.named_sql import statements
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import check, migrate
from tests.contract.batches import BALANCED, batch, command, event, fill, one

pytestmark = pytest.mark.pg


@pytest.fixture
def store(pg_url: str) -> Iterator[PostgresStore]:
    migrate(pg_url)
    made = PostgresStore(pg_url)
    yield made
    made.close()


def _run(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


FORBIDDEN = [
    "UPDATE orderledger.events SET payload = '{}'",
    "DELETE FROM orderledger.events",
    "TRUNCATE orderledger.events",
    "ALTER TABLE orderledger.events DISABLE TRIGGER ALL",
    "ALTER TABLE orderledger.events DROP CONSTRAINT entry_balances",
    "INSERT INTO orderledger.log SELECT * FROM orderledger.log",
    "INSERT INTO orderledger.events SELECT * FROM orderledger.events",
    "DELETE FROM orderledger.pending",
    "DELETE FROM orderledger.commands",
    "UPDATE orderledger.books SET constraint_generation = 0",
    "UPDATE orderledger.books SET closed_until = NULL",
    "SET session_replication_role = replica",
    "SELECT orderledger.write_log(1, NULL, '{}', '{}')",
    "SELECT orderledger.grant_application(current_user)",
    "DROP TABLE orderledger.events",
]


def test_the_application_role_appends_and_changes_nothing(
    pg_url: str, store: PostgresStore
) -> None:
    """Catches a right that lets a compromised application rewrite history."""
    fill(store, "s/1", range(1, 3))
    role = f"shop_{time.time_ns()}"
    _run(pg_url, f"CREATE ROLE {role} LOGIN")
    try:
        _run(pg_url, f"SELECT orderledger.grant_application('{role}')")
        url = make_conninfo(pg_url, user=role)
        shop = PostgresStore(url)
        shop.append(one("k", event("s/1", 3, postings=BALANCED)))
        with psycopg.connect(url) as host:
            shop.append(one("joined", event("s/2", 1)), connection=host)
        assert shop.sequence() == 1
        shop.constrain("assets:psp:adyen", lambda _, g: batch(command("c"), generation=g))
        closing = batch(command("close", event("periods/1", 1)))
        shop.change_periods(CutRequest(before=datetime.now(UTC)), lambda _: (closing, None))
        assert shop.archive_commands(datetime.now(UTC)) > 0
        assert len(shop.read(0)) == 5
        PostgresStore(url, "another book").close()
        shop.close()
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.Error) as caught:
                _run(url, statement)
            assert caught.value.sqlstate == "42501", statement
    finally:
        _run(pg_url, f"DROP OWNED BY {role}")
        _run(pg_url, f"DROP ROLE {role}")


def test_guards_hold_in_a_replica_session(pg_url: str, store: PostgresStore) -> None:
    """Catches triggers that session_replication_role turns off."""
    fill(store, "s/1", range(1, 3))
    with psycopg.connect(pg_url) as owner:
        owner.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.Error, match="append-only"):
            owner.execute("DELETE FROM orderledger.events")


@pytest.mark.parametrize("sizes", [[255, 1, 1, 254, 2], [1000, 1, 300], [40_000, 25_535, 1, 300]])
def test_tiles_are_those_of_the_reference(store: PostgresStore, sizes: Sequence[int]) -> None:
    """Catches a tile that SQL computes from other nodes, or not at the append that completes it."""
    made: dict[int, list[bytes]] = {1: [], 2: []}
    size = 0

    def nodes(level: int, start: int, count: int) -> Sequence[bytes]:
        return made[level][start : start + count] if level else store.leaf_hashes(start, count)

    for count in sizes:
        events = [event(f"s/{size}", version + 1) for version in range(count)]
        store.append(one(f"k{size}", *events))
        for level, _, root in complete_tiles(size, size + count, nodes):
            made[level].append(root)
        size += count
        assert store.tiles(1) == made[1]
        assert store.tiles(2) == made[2]


def test_every_read_uses_an_index(pg_url: str, store: PostgresStore) -> None:
    """Catches a read that scans the whole history."""
    for n in range(100):
        fill(store, f"s/{n}", range(1, 61), per_append=60)
    store.append(batch(*[command(f"refused {n}", refused=True) for n in range(3000)]))
    with psycopg.connect(pg_url) as host:
        store.append(one("waits", event("s/1", 61)), connection=host)
        host.commit()
        host.execute("ANALYZE")
        ids = [event.event_id for event in store.read(0, limit=3)]
        keys = list(_run(pg_url, "SELECT key_hash FROM orderledger.commands LIMIT 3"))
        hashes = [key_hash for (key_hash,) in keys]
        reads: dict[str, Any] = {
            "commands": (hashes, 1, 1),
            "versions": (["s/1", "s/2"], 1),
            "load": (["s/1", "s/2"], [0, 3], 1, 10),
            "stream": (1, "s/1", 0, 1000, 100),
            "read": (1, 100, 200, 100),
            "streams": {"book": 1, "prefix": "s/", "after": "s/3", "limit": 10},
            "positions": (ids, 1),
            "head": (1,),
            "leaf_hashes": (1, 100, 100),
            "net_before_since": (1, 100, 200, datetime.now(UTC)),
            "first_entry_before": (1, 100, 200, datetime.now(UTC)),
        }
        for name, parameters in reads.items():
            query = sql.SQL("EXPLAIN ") + sql.SQL(statements("postgres")[name])
            plan = "\n".join(line for (line,) in host.execute(query, parameters))
            for table in ("events", "log", "commands "):
                assert f"Seq Scan on {table}" not in plan, f"{name}\n{plan}"


def test_a_lost_answer_is_looked_up(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a committed append that is reported as failed, and so is made twice."""
    call = PostgresStore._call_append

    def lose_the_answer(self: PostgresStore, cursor: Any, *args: Any, **options: Any) -> Any:
        call(self, cursor, *args, **options)
        cursor.connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def lose_the_question(self: PostgresStore, cursor: Any, *args: Any, **options: Any) -> Any:
        cursor.connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    store.append(one("first", event("s/1", 1)))
    monkeypatch.setattr(PostgresStore, "_call_append", lose_the_answer)
    appended = store.append(one("written", event("s/1", 2), event("s/1", 3)))
    assert appended.first_position == 2
    monkeypatch.setattr(PostgresStore, "_call_append", lose_the_question)
    with pytest.raises(Unavailable):
        store.append(one("not written", event("s/1", 4)))
    # The key is in the database, but it is another process's command.
    with pytest.raises(Unavailable):
        store.append(one("written", event("s/1", 2)))
    assert len(store.read(0)) == 3


def test_recovers_when_its_connections_were_closed(pg_url: str, store: PostgresStore) -> None:
    """Catches a pool that hands out dead connections one by one after a restart."""
    threads = [Thread(target=store.head) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _run(
        pg_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    with pytest.raises(Unavailable):
        store.head()
    assert store.head().size == 0
    assert store.append(one("k", event("s/1", 1))).first_position == 1


def test_errors_say_what_to_do(pg_url: str) -> None:
    """Catches a driver's error that leaks, or a missing schema that looks like an outage."""
    for call in (check, PostgresStore):
        with pytest.raises(SchemaMismatch, match="orderledger migrate"):
            call(pg_url)
    migrate(pg_url)
    store = PostgresStore(pg_url)
    store.append(one("k", event("s/1", 1)))
    with pytest.raises(Unavailable):
        PostgresStore(make_conninfo(pg_url, port=1))
    read_only = PostgresStore(make_conninfo(pg_url, options="-cdefault_transaction_read_only=on"))
    with pytest.raises(DatabaseReadOnly):
        read_only.append(one("r", event("s/2", 1)))
    assert len(read_only.read(0)) == 1
    with pytest.raises(StorageError) as caught:
        store.append(one("u", event("s/3", 1, postings="posted a:b GBP 1\nposted c:d GBP 1")))
    assert isinstance(caught.value.__cause__, psycopg.errors.CheckViolation)
    store.close()
    with pytest.raises(Unavailable):
        store.head()


def test_an_append_does_not_wait_for_a_host(pg_url: str, store: PostgresStore) -> None:
    """Catches an append that hangs on a row of a host's open transaction."""
    with psycopg.connect(pg_url) as host:
        store.append(one("held", event("s/1", 1)), connection=host)
        started = time.monotonic()
        for late in (one("held", event("s/2", 1)), one("other", event("s/1", 1))):
            with pytest.raises(LockTimeout):
                store.append(late)
        assert time.monotonic() - started < 2
        started = time.monotonic()
        assert store.append(one("free", event("s/3", 1))).first_position == 1
        assert time.monotonic() - started < 0.1
        assert host.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_the_sequencer_does_not_queue_for_the_head(pg_url: str, store: PostgresStore) -> None:
    """Catches sequencers that pile up behind the head's row, or that give up while it is taken."""
    counts: list[int] = []
    waiting = [Thread(target=lambda: counts.append(store.sequence())) for _ in range(2)]
    with psycopg.connect(pg_url) as holder, psycopg.connect(pg_url, autocommit=True) as observer:
        holder.execute("SELECT 1 FROM orderledger.heads FOR NO KEY UPDATE")
        store.append(one("waits", event("s/1", 1)))
        for thread in waiting:
            thread.start()
        for _ in range(20):
            time.sleep(0.01)
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            assert observer.execute(query).fetchone() == (0,)
        assert counts == []
        assert store.pending() == 1
        holder.rollback()
        for thread in waiting:
            thread.join(5)
    assert sorted(counts) == [0, 1]
    assert store.head().size == 1


def test_a_sequencer_that_never_gets_the_head_says_so(
    pg_url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches events that wait for ever while the sequencer reports success."""
    monkeypatch.setattr(postgres, "_HEAD_PATIENCE_S", 0.05)
    with psycopg.connect(pg_url) as holder:
        holder.execute("SELECT 1 FROM orderledger.heads FOR NO KEY UPDATE")
        store.append(one("waits", event("s/1", 1)))
        with pytest.raises(LockTimeout, match="head of main"):
            store.sequence()
    assert store.sequence() == 1


def test_joins_any_kind_of_host_connection(pg_url: str, store: PostgresStore) -> None:
    """Catches a host's row factory, cursor class or commit mode that breaks the append."""
    with psycopg.connect(
        pg_url, autocommit=True, row_factory=dict_row, cursor_factory=psycopg.ClientCursor
    ) as host:
        with pytest.raises(InvalidInput, match="autocommit"):
            store.append(one("a", event("s/1", 1)), connection=host)
        with host.transaction():
            host.execute("SET LOCAL TimeZone = 'Asia/Tokyo'")
            store.append(one("a", event("s/1", 1)), connection=host)
            (loaded,) = store.load({"s/1": 0}, connection=host)
            assert loaded.occurred_at.tzinfo is UTC
            assert len(host.execute("SELECT 1 AS one").fetchall()[0]) == 1
        assert host.cursor_factory is psycopg.ClientCursor
    with psycopg.connect(pg_url) as host:
        store.append(one("b", event("s/2", 1)), connection=host)
        host.rollback()
        assert store.load({"s/2": 0}) == []
        host.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(InvalidInput, match="READ COMMITTED"):
            store.append(one("c", event("s/2", 1)), connection=host)
        host.rollback()
    with pytest.raises(InvalidInput):
        store.append(one("d", event("s/2", 1)), connection="a string")


def test_an_archived_key_stays_used(pg_url: str, store: PostgresStore) -> None:
    """Catches a command that runs twice because its record was moved."""
    for n in range(20):
        store.append(one(f"k{n}", event(f"s/{n}", 1)))
    future = datetime.now(UTC) + timedelta(days=1)
    assert store.archive_commands(future, limit=15) == 15
    assert store.archive_commands(future) == 5
    assert store.archive_commands(future) == 0
    key_hash = command("k3").key_hash
    assert store.commands([key_hash])[key_hash].key == "k3"
    with pytest.raises(AppendConflict) as caught:
        store.append(one("k3", event("s/new", 1)))
    assert caught.value.duplicates == {key_hash}


def test_a_key_cannot_run_while_it_moves(pg_url: str, store: PostgresStore) -> None:
    """Catches the moment in which a moving record is neither in one table nor in the other."""
    store.append(one("k", event("s/1", 1)))
    outcomes: list[object] = []

    def append() -> None:
        try:
            outcomes.append(store.append(one("k", event("s/2", 1))))
        except (AppendConflict, LockTimeout) as error:
            outcomes.append(type(error))

    with psycopg.connect(pg_url) as mover:
        mover.execute("SELECT orderledger.archive_commands(1, now() + interval '1 day', 10)")
        late = Thread(target=append)
        late.start()
        time.sleep(0.05)
        mover.commit()
        late.join()
    assert outcomes == [AppendConflict]


def test_only_the_sequencer_notifies(pg_url: str, store: PostgresStore) -> None:
    """Catches NOTIFY in an append: its cluster-wide lock ends group commit across processes."""
    with psycopg.connect(pg_url, autocommit=True) as listener, psycopg.connect(pg_url) as host:
        listener.execute("LISTEN orderledger")
        store.append(one("direct", event("s/1", 1)))
        assert list(listener.notifies(timeout=0.2)) == []
        store.append(one("joined", event("s/1", 2)), connection=host)
        host.commit()
        store.sequence()
        notes = list(listener.notifies(timeout=1, stop_after=1))
        assert [(note.channel, note.payload) for note in notes] == [("orderledger", "main")]
