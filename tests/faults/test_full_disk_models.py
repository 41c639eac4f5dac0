"""
The disk fills while a read model is built or followed: the live rows serve, and it goes on later.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

import orderledger
from orderledger import Book
from orderledger.ledger.errors import DatabaseFull, Unavailable
from orderledger.ledger.model_ports import GenerationState
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.projections.compare import Summed
from orderledger.projections.read_models import ReadModels
from orderledger.projections.worker import Worker
from orderledger.replay import building
from orderledger.replay.rebuild import rebuild, verify
from tests.projections.books import post
from tests.projections.poisoned import Picky, live_rows

ENTRIES = 400
ENDLESS = 1_000_000
REFUSING = """
CREATE OR REPLACE FUNCTION orderledger_read.no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$
"""


def grow(book: Book, entries: int = ENTRIES) -> None:
    """Post so many more entries."""
    first = book.store.head().size
    book.execute_many([post(first + number) for number in range(entries)])


def is_served(models: ReadModels, before: tuple[int, Summed]) -> bool:
    """Tell whether the live rows are those of before, and agree with their checkpoint."""
    return verify(models, "picky").problem is None and live_rows(models, "picky") == before


def limit_pages(book: Book, pages: int | None) -> None:
    """Let the SQLite file grow by so many pages and no more; None lifts the limit."""
    assert isinstance(book.store, SqliteStore)
    with book.store.file.writing() as connection:
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        limit = ENDLESS if pages is None else count + pages
        connection.execute(f"PRAGMA max_page_count = {limit}")


@pytest.fixture
def sqlite_book(tmp_path: Path) -> Iterator[Book]:
    with orderledger.open(f"sqlite:///{tmp_path / 'book.db'}", models=[Picky()]) as book:
        grow(book)
        book.read.models.catch_up("picky")
        yield book


def test_a_sqlite_file_that_may_not_grow_stops_a_rebuild_wherever(
    sqlite_book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a rebuild that leaves half a batch, harms the live rows, or is stuck afterwards."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 50)
    models = sqlite_book.read.models
    before = live_rows(models, "picky")
    refused, reached, pages = 0, set[int](), 0
    for _ in range(200):
        limit_pages(sqlite_book, pages)
        pages += 1
        try:
            rebuild(models, "picky")
        except DatabaseFull:
            refused += 1
        else:
            break
        assert is_served(models, before)
        for one in models.store.generations("picky"):
            if one.state is GenerationState.BUILDING:
                if one.position not in reached:
                    # A little room at a time, so that it ends at many places.
                    pages = 0
                reached.add(one.position)
                limit_pages(sqlite_book, None)
                assert is_half_built_rightly(models, one.number)
    assert refused >= 2
    assert len(reached) >= 2, "it goes on where it stopped"
    assert verify(models, "picky").problem is None
    assert list(models.store.holds()) == []


def is_half_built_rightly(models: ReadModels, number: int) -> bool:
    """Tell whether the rows of a generation are those of its checkpoint."""
    from orderledger.projections.compare import summed

    (one,) = [one for one in models.store.generations("picky") if one.number == number]
    return summed(models.store, one, tuple(models.model("picky").tables)).digest == one.digest


def test_a_sqlite_file_that_may_not_grow_stops_a_follower(sqlite_book: Book) -> None:
    """Catches a follower that moves its checkpoint without its rows, or never tries again."""
    models = sqlite_book.read.models
    before = live_rows(models, "picky")
    grow(sqlite_book)
    limit_pages(sqlite_book, 0)
    stopped_and_goes_on(
        models, before, sqlite_book.store.head().size, lambda: limit_pages(sqlite_book, None)
    )


def stopped_and_goes_on(
    models: ReadModels, before: tuple[int, Summed], head: int, make_room: Callable[[], None]
) -> None:
    with pytest.raises(DatabaseFull):
        models.catch_up("picky")
    assert is_served(models, before)
    now = 0.0
    worker = Worker(models, ["picky"], clock=lambda: now)
    assert not worker.look()
    assert isinstance(worker.problems["picky"].error, DatabaseFull)
    make_room()
    now = 1_000.0
    while worker.look():
        pass
    worker.release()
    assert worker.problems == {}
    position, _ = live_rows(models, "picky")
    assert position == head
    assert list(models.parked("picky")) == []
    assert verify(models, "picky").problem is None


@pytest.fixture
def postgres_book(pg_url: str) -> Iterator[Book]:
    orderledger.migrate(pg_url)
    with orderledger.open(pg_url, models=[Picky()]) as book:
        grow(book)
        book.read.models.catch_up("picky")
        yield book


def refuse_rows(url: str, number: int, refusing: bool) -> None:
    """Let the tables of a generation take no rows, as on a full disk; or again."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(REFUSING)
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ %s",
            (rf"^rm_1_{number}_[0-9a-f]{{12}}_",),
        ).fetchall()
        assert tables
        for (table,) in tables:
            change = (
                f"CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON orderledger_read.{table} "
                "EXECUTE FUNCTION orderledger_read.no_room()"
                if refusing
                else f"DROP TRIGGER no_room ON orderledger_read.{table}"
            )
            connection.execute(change)


@pytest.mark.pg
def test_a_full_server_stops_a_rebuild(
    pg_url: str, postgres_book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a rebuild that leaves half a batch, harms the live rows, or is stuck afterwards."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 50)
    models = postgres_book.read.models
    before = live_rows(models, "picky")
    is_full = False

    def fill_up(position: int, head: int) -> None:
        nonlocal is_full
        if position and not is_full:
            # Another batch is being written at this moment, or has been.
            refuse_rows(pg_url, 2, refusing=True)
            is_full = True

    with pytest.raises(DatabaseFull):
        rebuild(models, "picky", fill_up)
    (half,) = [one for one in models.store.generations("picky") if one.number == 2]
    assert half.position in (50, 100)
    assert is_served(models, before)
    assert is_half_built_rightly(models, 2)
    assert list(models.store.holds()) == []
    refuse_rows(pg_url, 2, refusing=False)
    seen: list[int] = []
    made = rebuild(models, "picky", lambda position, head: seen.append(position))
    assert (made.generation, seen[0]) == (2, half.position), "gone on with"
    assert verify(models, "picky").problem is None


@pytest.mark.pg
def test_a_full_server_stops_a_follower(pg_url: str, postgres_book: Book) -> None:
    """Catches a follower that moves its checkpoint without its rows, or never tries again."""
    models = postgres_book.read.models
    before = live_rows(models, "picky")
    grow(postgres_book)
    refuse_rows(pg_url, 1, refusing=True)
    stopped_and_goes_on(
        models,
        before,
        postgres_book.store.head().size,
        lambda: refuse_rows(pg_url, 1, refusing=False),
    )


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of a few megabytes, where the test may."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if mount is None or os.geteuid() or subprocess.run([mount, *options], check=False).returncode:
        pytest.skip("this test may not mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


def fill_to_the_brim(folder: Path, leave_kib: int) -> Path:
    """Take all space but a little."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with ballast.open("r+b") as file:
        file.truncate(max(0, ballast.stat().st_size - leave_kib * 1024))
    return ballast


def test_a_real_full_disk_under_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches what a page limit does not show: no room for the write-ahead log."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 50)
    with (
        small_disk(tmp_path / "disk", 16) as folder,
        orderledger.open(f"sqlite:///{folder / 'book.db'}", models=[Picky()]) as book,
    ):
        grow(book)
        models = book.read.models
        models.catch_up("picky")
        before = live_rows(models, "picky")
        for leave_kib in (0, 64, 200):
            ballast = fill_to_the_brim(folder, leave_kib)
            with suppress(DatabaseFull):
                rebuild(models, "picky")
            if models.store.holds():
                # Not even the release could be written: the lease would run out.
                end_holds(book)
            ballast.unlink()
            assert verify(models, "picky").problem is None
            assert live_rows(models, "picky") == before
        rebuild(models, "picky")
        assert live_rows(models, "picky") == before


def end_holds(book: Book) -> None:
    assert isinstance(book.store, SqliteStore)
    for ballast in book.store.file.path.parent.glob("ballast"):
        ballast.write_bytes(b"")
    with book.store.file.writing() as connection:
        connection.execute("UPDATE orderledger_generations SET owner = ''")


@pytest.mark.pg
def test_a_real_full_disk_under_postgres(
    tmp_path_factory: pytest.TempPathFactory, pg_url: str, postgres_book: Book
) -> None:
    """Catches an error of the server that is taken for another one, and what it leaves behind."""
    models: Any = postgres_book.read.models
    before = live_rows(models, "picky")
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path_factory.getbasetemp()
    with small_disk(base / f"orderledger-{os.getpid()}", 1) as folder:
        folder.chmod(0o777)
        place = folder / "space"
        with psycopg.connect(pg_url, autocommit=True) as connection:
            place.mkdir(mode=0o700)
            with suppress(OSError, LookupError):
                shutil.chown(place, "nobody")
            try:
                connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
            except psycopg.Error as error:
                pytest.skip(f"the server has no part in this machine's disks: {error}")
            database = connection.info.dbname
            connection.execute(f"ALTER DATABASE {database} SET default_tablespace = small")
        try:
            with orderledger.open(pg_url, models=[Picky()]) as own:
                fill_to_the_brim(folder, 96)
                with pytest.raises((DatabaseFull, Unavailable), match=r"No space left|full"):
                    rebuild(own.read.models, "picky")
                assert is_served(models, before)
                (folder / "ballast").unlink()
                rebuild(own.read.models, "picky")
                assert live_rows(models, "picky") == before
        finally:
            with psycopg.connect(pg_url, autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE {database} RESET default_tablespace")
                connection.execute("DROP SCHEMA orderledger_read CASCADE")
                connection.execute("DROP TABLESPACE small")
