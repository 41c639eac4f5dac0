"""Appending inside a host's own transaction."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import InvalidInput, Unavailable
from orderledger.ledger.ports import AppendConflict
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.contract.batches import BALANCED, event, everything, fill, one, settle
from tests.contract.engines import SqlEngine
from tests.seeding import balances_of


def test_commits_with_the_host(sql_engine: SqlEngine) -> None:
    """Events without the host's row, or the row without the events."""
    store = sql_engine.open()
    sql_engine.execute("CREATE TABLE shop (name text)")
    with sql_engine.transaction() as host:
        host.execute("INSERT INTO shop VALUES ('tea')")
        appended = store.append(one("k", event("s/1", 1), event("s/1", 2)), connection=host)
        assert (appended.first_position, appended.recorded_at) == (None, None)
        assert store.load({"s/1": 0}) == []
        assert store.head().size == 0
        host.commit()
    settle(store)
    assert [found.position for found in everything(store)] == [1, 2]
    assert sql_engine.execute("SELECT name FROM shop") == [("tea",)]
    assert len(store.commands([key_hash("main", "k")])) == 1


def test_rolls_back_with_the_host(sql_engine: SqlEngine) -> None:
    """Events of a host's transaction that never happened."""
    store = sql_engine.open()
    fill(store, "s/0", range(1, 3))
    with sql_engine.transaction() as host:
        store.append(one("k", event("s/1", 1)), connection=host)
        host.rollback()
    assert len(everything(store)) == 2
    assert store.commands([key_hash("main", "k")]) == {}
    store.append(one("k", event("s/1", 1)))
    assert [found.position for found in everything(store)] == [1, 2, 3]


def test_the_host_goes_on_after_a_conflict(sql_engine: SqlEngine) -> None:
    """A refused append that costs the host its own work, or leaves half of its events."""
    store = sql_engine.open()
    sql_engine.execute("CREATE TABLE shop (name text)")
    fill(store, "s/1", range(1, 3))
    store.append(one("taken", event("s/2", 1)))
    with sql_engine.transaction() as host:
        host.execute("INSERT INTO shop VALUES ('tea')")
        with pytest.raises(AppendConflict) as moved:
            store.append(one("a", event("s/3", 1), event("s/1", 2)), connection=host)
        with pytest.raises(AppendConflict) as taken:
            store.append(one("taken", event("s/3", 1)), connection=host)
        store.append(one("b", event("s/1", 3)), connection=host)
        store.append(one("c", event("s/1", 4)), connection=host)
        with pytest.raises(AppendConflict) as again:
            store.append(one("c", event("s/1", 5)), connection=host)
        host.commit()
    assert moved.value.moved == {"s/1": 2}
    assert taken.value.duplicates == {key_hash("main", "taken")}
    assert again.value.duplicates == {key_hash("main", "c")}
    assert sql_engine.execute("SELECT name FROM shop") == [("tea",)]
    assert [(found.stream, found.version) for found in everything(store)] == [
        ("s/1", 1),
        ("s/1", 2),
        ("s/2", 1),
        ("s/1", 3),
        ("s/1", 4),
    ]


def test_reads_what_the_host_has_written(sql_engine: SqlEngine) -> None:
    """A second command in the host's transaction that decides without the first."""
    store = sql_engine.open()
    fill(store, "s/1", range(1, 3))
    append = one("k", event("s/1", 3))
    with sql_engine.transaction() as host:
        assert len(store.load({"s/1": 0}, connection=host)) == 2
        store.append(append, connection=host)
        assert [found.version for found in store.load({"s/1": 1}, connection=host)] == [2, 3]
        key_hash_of_append = append.appends[0].key_hash
        assert set(store.commands([key_hash_of_append], connection=host)) == {key_hash_of_append}
        assert store.commands([key_hash_of_append]) == {}
        assert len(store.load({"s/1": 0})) == 2
        host.rollback()
    assert len(store.load({"s/1": 0})) == 2


SHOP = {
    "events": "Summer sale",
    "log": "started",
    "commands": "--reindex",
    "books": "Moby-Dick",
    "tiles": "blue",
    "tracking": "parcel 1",
    "journal": "Monday: rain",
    "postings": "wanted: cashier",
    "schema_migrations": "0001_shop",
}


def test_lives_in_a_file_whose_tables_have_such_names_already(tmp_path: Path) -> None:
    """A shop with a table `events` or `books` of its own that cannot join, or has it written to."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as shop, shop:
        for table, text in SHOP.items():
            shop.execute(f"CREATE TABLE {table} (book_id TEXT)")
            shop.execute(f"INSERT INTO {table} VALUES (?)", (text,))
    store = SqliteStore(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as host:
        host.execute("BEGIN IMMEDIATE")
        host.execute("INSERT INTO books VALUES ('Emma')")
        store.append(one("k", event("s/1", 1)), connection=host)
        host.execute("DELETE FROM log")
        host.commit()
        host.execute("BEGIN IMMEDIATE")
        host.execute("UPDATE events SET book_id = 'Winter sale'")
        store.append(one("lost", event("s/1", 2)), connection=host)
        host.rollback()
    store.append(one("alone", event("s/1", 2, postings=BALANCED)))
    assert [found.version for found in everything(store)] == [1, 2]
    assert balances_of(store).catch_up() == 2
    with closing(sqlite3.connect(path)) as shop:
        kept = {table: shop.execute(f"SELECT * FROM {table}").fetchall() for table in SHOP}
        names = [name for (name,) in shop.execute("SELECT name FROM sqlite_schema")]
        assert shop.execute("SELECT count(*) FROM orderledger_journal").fetchone() == (2,)
    expected = {table: [(text,)] for table, text in SHOP.items()}
    assert kept == {**expected, "books": [("Moby-Dick",), ("Emma",)], "log": []}
    # SQLite keeps one table for the counters of whoever has some.
    prefixes = ("orderledger_", "sqlite_autoindex_orderledger_", "sqlite_sequence")
    assert sorted(name for name in names if not name.startswith(prefixes)) == sorted(SHOP)
    store.close()


def test_sqlite_refuses_a_connection_it_cannot_join(tmp_path: Path) -> None:
    """An append that commits at once, or into another file, without the host knowing."""
    store = SqliteStore(tmp_path / "book.db")
    append = one("k", event("s/1", 1))
    with closing(sqlite3.connect(tmp_path / "book.db", isolation_level=None)) as idle:
        with pytest.raises(InvalidInput, match="no open transaction"):
            store.append(append, connection=idle)
        idle.execute("BEGIN")
        idle.row_factory = lambda cursor, row: {"a": row}
        store.append(append, connection=idle)
        idle.rollback()
    with closing(sqlite3.connect(tmp_path / "book.db", isolation_level=None)) as late:
        late.execute("BEGIN")
        late.execute("SELECT count(*) FROM orderledger_events").fetchone()
        store.append(one("k0", event("s/0", 1)))
        with pytest.raises(Unavailable, match="BEGIN IMMEDIATE"):
            store.append(append, connection=late)
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        with pytest.raises(InvalidInput, match=r"other\.db"):
            store.append(append, connection=other)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        memory.execute("BEGIN")
        with pytest.raises(InvalidInput, match="in memory"):
            store.append(append, connection=memory)
    assert store.head().size == 1
    store.close()
