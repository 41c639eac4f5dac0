"""
Readers while a read model is rebuilt again and again under appends: never an error, never less.
"""

import threading
import time
from typing import Any

import orderledger
from orderledger import Book
from orderledger.ledger.errors import OrderLedgerError
from orderledger.replay.rebuild import rebuild, verify
from tests.projections.books import fill, post
from tests.projections.toy_models import Entries, EntryRow

SWAPS = 8
ENTRIES_BEFORE = 60


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
    return lambda: len(list(book.read.models.select(EntryRow)))


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


def test_two_rebuilds_of_one_model_end_in_one(url: str) -> None:
    """Catches two rebuilds that undo each other, leave tables behind or readers without rows."""
    with orderledger.open(url, models=[Entries()]) as book:
        fill(book.store, ENTRIES_BEFORE)
        book.read.models.catch_up("entries")
        ended: list[object] = []
        together = threading.Barrier(2)

        def work() -> None:
            with orderledger.open(url, models=[Entries()]) as own:
                together.wait(30)
                try:
                    ended.append(rebuild(own.read.models, "entries").rows)
                except OrderLedgerError as error:
                    ended.append(error)

        for _ in range(4):
            threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        models = book.read.models
        assert len(ended) == 8
        # Whoever loses a race is told so; nobody is told anything untrue.
        assert [one for one in ended if isinstance(one, int)].count(ENTRIES_BEFORE) >= 4
        assert all(isinstance(one, OrderLedgerError) or one == ENTRIES_BEFORE for one in ended)
        assert verify(models, "entries").problem is None
        assert len(list(models.select(EntryRow))) == ENTRIES_BEFORE
        rebuild(models, "entries")
        assert len(models.store.generations("entries")) == 2
