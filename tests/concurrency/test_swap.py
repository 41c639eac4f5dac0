"""
Readers while a read model is rebuilt again and again under appends: never an error, never less.
"""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import orderledger
from orderledger import Book
from orderledger.replay.rebuild import rebuild
from tests.projections.books import fill, post
from tests.projections.toy_models import ENTRIES, Entries

SWAPS = 8
ENTRIES_BEFORE = 60


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A prepared database."""
    made = f"sqlite:///{tmp_path / 'book.db'}"
    if request.param == "postgres":
        made = request.getfixturevalue("pg_url")
    orderledger.migrate(made)
    return made


def _view_counter(url: str) -> Any:
    """Return a function that counts the rows of the SQL view, and what closes it."""
    if url.startswith("sqlite"):
        import sqlite3

        file = sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False)
        query = "SELECT count(*) FROM orderledger_entries"
        return lambda: int(file.execute(query).fetchone()[0]), file.close
    import psycopg

    server = psycopg.connect(url, autocommit=True)
    query = "SELECT count(*) FROM orderledger_read.entries"

    def count() -> int:
        row = server.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])

    return count, server.close


class Reader(threading.Thread):
    """Counts again and again; keeps what was least, the errors, and the longest wait."""

    def __init__(self, count: Any) -> None:
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.problems: list[BaseException] = []
        self.reads = 0
        self._count = count

    def run(self) -> None:
        least = ENTRIES_BEFORE
        try:
            while not self.stop.is_set():
                found = self._count()
                assert found >= least, f"{found} rows after {least}"
                least = found
                self.reads += 1
        except BaseException as error:  # noqa: BLE001  # shown by the test
            self.problems.append(error)


def _in_python(book: Book) -> Any:
    return lambda: len(list(book.read.models.rows("entries", ENTRIES)))


def test_readers_notice_nothing_of_a_swap(url: str) -> None:
    """Catches an error, an empty or a shorter answer while generations are swapped and dropped."""
    with orderledger.open(url, models=[Entries()]) as book:
        fill(book.store, ENTRIES_BEFORE)
        book.read.models.catch_up("entries")
        in_sql, close = _view_counter(url)
        readers = [Reader(in_sql), Reader(_in_python(book))]
        for reader in readers:
            reader.start()
        try:
            for number in range(SWAPS):
                book.execute(post(1_000 + number))
                book.read.models.catch_up("entries")
                assert rebuild(book.read.models, "entries").rows == ENTRIES_BEFORE + number + 1
                time.sleep(0.01)
        finally:
            for reader in readers:
                reader.stop.set()
            for reader in readers:
                reader.join(30)
            close()
        assert [reader.problems for reader in readers] == [[], []]
        assert all(reader.reads > SWAPS for reader in readers)
