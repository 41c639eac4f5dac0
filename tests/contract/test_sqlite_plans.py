"""The plan of every read on SQLite: a seek in an index, whatever the size of the book."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderledger.ledger.stores.named_sql import statements
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.contract.batches import fill

READS: dict[str, dict[str, str] | tuple[int | str | bytes, ...]] = {
    "find_book": {"name": "main"},
    "head": (1,),
    "place": (1, "s/1"),
    "versions": (1, '["s/1"]'),
    "leaf_hashes": (1, 0, 10),
    "tile_roots": (1, 1, 0, 10),
    "find_command": (1, b"0" * 16),
    "refusals": (1, b"", 10),
    "generation": (1,),
    "constraints": (1,),
    "entries_before": (1, 0, 10, "2026"),
    "first_entry_before": (1, 0, 10, "2026"),
    "load": (1, "s/1", 0, 10),
    "stream_page": (1, "s/1", 0, 10, 10),
    "read": (1, 0, 10, 10),
    "streams": (1, "s/", "", 10),
    "position_of": (b"0" * 16, 1),
}
SCANS_ALLOWED = {"command_by_id", "postings_of_account"}
WRITES = {"create_book", "insert_command", "insert_event", "insert_log", "insert_tile"} | {
    "raise_generation",
    "insert_constrained",
    "close_until",
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    store = SqliteStore(tmp_path / "book.db")
    fill(store, "s/1", range(1, 301))
    with store.file.reading() as reader:
        yield reader
    store.close()


def test_every_statement_is_listed() -> None:
    """A new read whose plan nobody looks at."""
    assert set(statements("sqlite")) == set(READS) | SCANS_ALLOWED | WRITES


@pytest.mark.parametrize("name", READS)
def test_reads_seek(connection: sqlite3.Connection, name: str) -> None:
    """A read that scans a table or sorts it: fast in a test, minutes on a real book."""
    sql = f"EXPLAIN QUERY PLAN {statements('sqlite')[name]}"
    plan = [row[3] for row in connection.execute(sql, READS[name])]
    for step in plan:
        # What comes out of a list of parameters or a recursion is as small as the question.
        is_small = step.startswith(("SCAN wanted", "SCAN names", "SCAN json_each"))
        assert is_small or not step.startswith("SCAN"), plan
        assert "USE TEMP B-TREE" not in step, plan
