"""What is SQLite's own: its REPLACE, files that are not ours, locks, read-only and full files."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orderledger.ledger.errors import (
    DatabaseFull,
    DatabaseReadOnly,
    IntegrityViolation,
    InvalidInput,
    SchemaMismatch,
    StorageError,
    Unavailable,
)
from orderledger.ledger.stores import sqlite_files
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.contract.batches import event, everything, fill, one

EVENTS = "orderledger_events"
LOG = "orderledger_log"
TILES = "orderledger_tiles"
REST = f"topic, occurred_at, appended_at, command_id, context, '', 'forged' FROM {EVENTS}"
NEW_ID = "randomblob(16)"
HASH = "zeroblob(32)"
LATER = "2999-01-01T00:00:00.000000+00:00"
REPLACEMENTS = {
    "row": f"REPLACE INTO {EVENTS} SELECT row_id, book_id, event_id, stream, version, {REST}",
    "id": f"REPLACE INTO {EVENTS} SELECT 999, book_id, event_id, 'other', version, {REST} LIMIT 1",
    "version": f"REPLACE INTO {EVENTS} SELECT 999, book_id, {NEW_ID}, stream, version, {REST}",
    "update": f"UPDATE OR REPLACE {EVENTS} SET version = 2 WHERE version = 1",
    "log": f"REPLACE INTO {LOG} SELECT row_id, book_id, position, recorded_at, {HASH} FROM {LOG}",
    "log row": f"REPLACE INTO {LOG} VALUES (3, 1, 301, '{LATER}', {HASH})",
    "tiles": f"REPLACE INTO {TILES} SELECT book_id, level, tile_index, {HASH} FROM {TILES}",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.mark.parametrize("statement", REPLACEMENTS.values(), ids=list(REPLACEMENTS))
def test_replace_is_refused(path: Path, statement: str) -> None:
    """INSERT OR REPLACE deletes the old row without firing a DELETE trigger."""
    store = SqliteStore(path)
    fill(store, "s/1", range(1, 301), per_append=300)
    before = everything(store)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    assert everything(store) == before
    store.close()


@pytest.mark.parametrize(
    ("position", "recorded_at"),
    [(2, "2020-01-01T00:00:00.000000+00:00"), (3, "2999-01-01T00:00:00.000000+00:00")],
    ids=["earlier", "gap"],
)
def test_the_log_has_no_gap_and_runs_forward(path: Path, position: int, recorded_at: str) -> None:
    """A log row, written past our code, that leaves out a position or goes back in time."""
    store = SqliteStore(path)
    store.append(one("a", event("s/1", 1)))
    row = (position, recorded_at)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO orderledger_log VALUES (2, 1, ?, ?, zeroblob(32))", row)
    store.close()


def test_opening_again_keeps_everything(path: Path) -> None:
    """A second start that migrates again, or loses the book."""
    store = SqliteStore(path)
    fill(store, "s/1", range(1, 4))
    before = everything(store)
    store.close()
    again = SqliteStore(path)
    assert everything(again) == before
    again.close()


def test_a_locked_file_is_unavailable(path: Path) -> None:
    """Another process's long write that raises a driver's error, or hangs the caller."""
    store = SqliteStore(path, busy_timeout_ms=50)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as caught:
            store.append(one("k", event("s/1", 1)))
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert store.head().size == 0
        other.execute("ROLLBACK")
    store.append(one("k", event("s/1", 1)))
    store.close()


def test_a_read_only_database_says_so(path: Path) -> None:
    """A replica or a read-only mount whose refusal looks like a bug."""
    store = SqliteStore(path)
    store._file._writer.execute("PRAGMA query_only = ON")  # type: ignore[union-attr]  # simulates the mount
    with pytest.raises(DatabaseReadOnly):
        store.append(one("k", event("s/1", 1)))
    assert store.head().size == 0
    store.close()


def test_a_full_disk_writes_nothing(path: Path) -> None:
    """An append that is half on disk when space ends, or a store that is stuck afterwards."""
    store = SqliteStore(path)
    store.append(one("a", event("s/1", 1)))
    writer = store._file._writer
    assert writer is not None
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    large = event("s/1", 2, payload='"' + "x" * 100_000 + '"')
    with pytest.raises(DatabaseFull):
        store.append(one("b", large))
    assert len(everything(store)) == 1
    writer.execute("PRAGMA max_page_count = 1000000")
    store.append(one("b", large))
    assert len(everything(store)) == 2
    store.close()


def test_a_file_that_is_no_database(path: Path) -> None:
    """A typing error in the path that overwrites somebody's file."""
    path.write_bytes(b"This is a letter, and a long one at that.\n" * 100)
    with pytest.raises(StorageError):
        SqliteStore(path)
    assert path.read_bytes().startswith(b"This is a letter")


def test_a_damaged_file_is_a_violation(path: Path) -> None:
    """A torn page that is answered with a retry, for ever."""
    store = SqliteStore(path)
    fill(store, "s/1", range(1, 501), per_append=100)
    store.close()
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityViolation) as caught:
        everything(SqliteStore(path))
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


def test_a_newer_schema_is_refused(path: Path) -> None:
    """An old process that writes into tables it does not understand."""
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO orderledger_schema_migrations (number, slug, checksum) "
            "VALUES (9999, 'later', 'x')"
        )
    with pytest.raises(SchemaMismatch):
        SqliteStore(path)


def test_a_missing_table_is_a_schema_mismatch(path: Path) -> None:
    """A lost table that is reported as a syntax error."""
    store = SqliteStore(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE orderledger_tiles")
    with pytest.raises(SchemaMismatch):
        store.tiles(1)
    store.close()


def test_a_table_with_one_of_our_names_is_kept(path: Path) -> None:
    """Somebody else's table that is taken for ours because it has the name."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orderledger_events (name TEXT)")
    with pytest.raises(SchemaMismatch, match="events"):
        SqliteStore(path)


@pytest.mark.parametrize("name", ["", ":memory:", "file:x?mode=memory"])
def test_a_database_in_memory_is_refused(name: str) -> None:
    """Connections of one store that each have an empty database of their own."""
    with pytest.raises(InvalidInput):
        SqliteStore(name)


def test_two_processes_share_the_file(path: Path) -> None:
    """A second process that overwrites positions, or fails because the file is busy."""
    store = SqliteStore(path)
    script = (
        "import sys; from tests.contract.batches import *;"
        "from orderledger.ledger.stores.sqlite import SqliteStore;"
        "store = SqliteStore(sys.argv[1]);"
        "[store.append(one(f'{sys.argv[2]}/{n}', event(sys.argv[2], n))) for n in range(1, 101)]"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path), f"process/{number}"])
        for number in range(2)
    ]
    for version in range(1, 101):
        store.append(one(f"own/{version}", event("own", version)))
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    events = everything(store)
    assert [found.position for found in events] == list(range(1, 301))
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_its_own_connections(path: Path) -> None:
    """A preloaded web server whose workers share one connection and corrupt the file."""
    store = SqliteStore(path)
    store.append(one("parent", event("s/1", 1)))
    inherited = store._file._writer
    child = os.fork()
    if child == 0:
        status = 1
        try:
            store.append(one("child", event("s/2", 1)))
            status = 0 if store._file._writer is not inherited else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.append(one("parent 2", event("s/1", 2)))
    assert len(everything(store)) == 3
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "occurred_at = '2026-99-99T00:00:00.000000+00:00'",
        "payload = CAST(x'ff7b7d' AS TEXT)",
    ],
    ids=["instant", "encoding"],
)
def test_a_tampered_row_is_a_violation(path: Path, damage: str) -> None:
    """A column that cannot be read, reported as an error that callers retry or do not know."""
    store = SqliteStore(path)
    fill(store, "s/1", range(1, 4))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TRIGGER orderledger_events_no_update")
        connection.execute(f"UPDATE orderledger_events SET {damage} WHERE version = 2")
    with pytest.raises(IntegrityViolation):
        store.load({"s/1": 0})
    with pytest.raises(IntegrityViolation):
        store.read(0)
    store.close()


def test_a_foreign_file_is_left_alone(path: Path) -> None:
    """Catches our tables in another program's database, after a mistyped path."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE theirs (a)")
    before = path.read_bytes()
    with pytest.raises(SchemaMismatch, match="is it the right file"):
        SqliteStore(path, must_be_ours=True)
    assert path.read_bytes() == before
    path.write_bytes(b"")
    with pytest.raises(SchemaMismatch):
        SqliteStore(path, must_be_ours=True)
    SqliteStore(path).close()
    SqliteStore(path, must_be_ours=True).close()


def test_a_file_on_read_only_media_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a book on a mounted backup that nobody can look into."""
    store = SqliteStore(path)
    store.append(one("a", event("s/1", 1)))
    store.close()
    monkeypatch.setattr(sqlite_files, "is_on_read_only_media", lambda path: True)
    for name in ("-wal", "-shm"):
        path.with_name(f"{path.name}{name}").unlink(missing_ok=True)
    before = path.read_bytes()
    store = SqliteStore(path, must_be_ours=True)
    assert [event.stream for event in store.read(0)] == ["s/1"]
    with pytest.raises(DatabaseReadOnly):
        store.append(one("b", event("s/1", 2)))
    store.close()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*-shm"))


def test_a_log_on_read_only_media_is_not_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an old state shown for the newest, because the log beside the file is not read."""
    store = SqliteStore(path)
    store.append(one("a", event("s/1", 1)))
    monkeypatch.setattr(sqlite_files, "is_on_read_only_media", lambda path: True)
    # The first store is still open, so the log beside the file holds what it appended.
    assert path.with_name(f"{path.name}-wal").stat().st_size
    reader = SqliteStore(path)
    assert reader.head().size == 1
    reader.close()
    store.close()
