"""Backups of a SQLite file in use: one consistent state, whole and proven, or none at all."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import orderledger
from orderledger.backups import back_up
from orderledger.config import Location, locate
from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import (
    DatabaseFull,
    IntegrityViolation,
    InvalidInput,
    NotFound,
    OrderLedgerError,
    SchemaMismatch,
    StorageError,
)
from orderledger.ledger.stores import sqlite_backup
from tests.cli.running import answer, run
from tests.commands.entries import post
from tests.faults.test_full_disk_models import fill_to_the_brim, small_disk
from tests.projections.books import fill

ENTRIES = 120


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """Give a file with two books, which is copied in steps of one page."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    for name in ("main", "second"):
        with orderledger.open(url, book=name) as book:
            fill(book.store, ENTRIES if name == "main" else 3)
    monkeypatch.setattr(sqlite_backup, "_PAGES", 1)
    return locate(url)


def of_copy(path: Path, book: str = "main") -> Location:
    return locate(f"sqlite:///{path}", book)


def left_in(folder: Path) -> list[str]:
    """Return what is in a folder but for the book itself."""
    return sorted([one.name for one in folder.iterdir() if not one.name.startswith("shop.db")])


@contextmanager
def writing(location: Location) -> Generator[Callable[[], int]]:
    """Post entries in a thread of its own; lend how many were acknowledged so far."""
    done: list[int] = []
    is_over = threading.Event()

    def write() -> None:
        with orderledger.open(location.url) as book:
            while not is_over.is_set():
                book.execute(post(f"busy-{len(done)}"), key=f"busy-{len(done)}")
                done.append(book.store.head().size)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: len(done)
    finally:
        is_over.set()
        thread.join()


def test_a_busy_book_is_copied_as_it_was_at_one_moment(location: Location, tmp_path: Path) -> None:
    """Catches a copy with half of a commit, one that never ends, and writers that wait for it."""
    seen: list[int] = []
    firsts: list[int] = []
    with writing(location) as acknowledged:

        def progress(done: int, pages: int) -> None:
            assert 0 <= done <= pages
            firsts.append(acknowledged())
            # Each step waits until somebody has written, as if the disk were slow.
            until = acknowledged() + (1 if len(seen) < 30 else 0)
            while acknowledged() < until:
                pass
            seen.append(acknowledged())

        while acknowledged() < 5:
            pass
        main, second = back_up(location, tmp_path / "copy.db", progress)
        ended = acknowledged()
    assert (main.book, second.book) == ("main", "second")
    began = firsts[0]
    assert ended >= began + 30, "the writers went on"
    with orderledger.open(of_copy(tmp_path / "copy.db").url) as copy:
        assert copy.store.head().size == main.position
        assert list(copy.read.verify()) == []
        hashes = [key_hash("main", f"busy-{number}") for number in range(ended)]
        known = copy.store.commands(hashes)
        assert set(known) == set(hashes[: len(known)]), "all up to that moment, and none after it"
        assert len(known) <= began + 1, "it is of the moment at which it began"
        # The copy is a book to go on with.
        copy.execute(post("after"), key="after")
    with orderledger.open(of_copy(tmp_path / "copy.db").url, book="second") as copy:
        assert copy.store.head().size == second.position
        assert list(copy.read.verify()) == []
    assert left_in(tmp_path) == ["copy.db"]


def test_what_cannot_be_backed_up_is_refused(location: Location, tmp_path: Path) -> None:
    """Catches a file that is overwritten, and a backup of nothing."""
    (tmp_path / "taken.db").write_text("precious")
    with pytest.raises(InvalidInput, match="never takes the place"):
        back_up(location, tmp_path / "taken.db")
    assert (tmp_path / "taken.db").read_text() == "precious"
    with pytest.raises(NotFound):
        back_up(of_copy(tmp_path / "absent.db"), tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE own (id INTEGER)")
    with pytest.raises(SchemaMismatch):
        back_up(of_copy(tmp_path / "other.db"), tmp_path / "copy.db")
    with pytest.raises(StorageError, match="No such file or directory"):
        back_up(location, tmp_path / "nowhere" / "copy.db")
    with pytest.raises(InvalidInput, match="pg_basebackup"):
        back_up(locate("postgresql://localhost/shop"), tmp_path / "copy.db")
    assert left_in(tmp_path) == ["other.db", "taken.db"]


def test_two_backups_to_one_name_leave_one(location: Location, tmp_path: Path) -> None:
    """Catches the second of two that takes the place of the first."""

    def other(done: int, pages: int) -> None:
        if done == pages:
            (tmp_path / "copy.db").write_text("the other one's")

    with pytest.raises(InvalidInput, match="was made meanwhile"):
        back_up(location, tmp_path / "copy.db", other)
    assert (tmp_path / "copy.db").read_text() == "the other one's"
    assert left_in(tmp_path) == ["copy.db"]


def test_a_second_backup_beside_one_that_is_under_way(location: Location, tmp_path: Path) -> None:
    """Catches one that takes away what another in the same process is writing."""
    refused: list[StorageError] = []

    def again(done: int, pages: int) -> None:
        if not refused:
            with pytest.raises(StorageError, match="File exists") as caught:
                back_up(location, tmp_path / "copy.db")
            refused.append(caught.value)

    (main, _) = back_up(location, tmp_path / "copy.db", again)
    assert refused
    with orderledger.open(of_copy(tmp_path / "copy.db").url) as copy:
        assert copy.store.head().size == main.position
    assert left_in(tmp_path) == ["copy.db"]


def test_a_damaged_file_makes_no_backup(location: Location, tmp_path: Path) -> None:
    """Catches a backup that takes the place of good ones while the file rots."""
    path = Path(location.path)
    damaged = tmp_path / "damaged.db"
    back_up(location, damaged)
    size = path.stat().st_size
    with damaged.open("rb+") as file:
        for place in range(8 * 4096, size, 4096):
            file.seek(place + 200)
            file.write(bytes(3000))
    with pytest.raises(OrderLedgerError, match="damaged") as caught:
        back_up(of_copy(damaged), tmp_path / "copy.db")
    assert isinstance(caught.value, (StorageError, IntegrityViolation))
    assert not [name for name in left_in(tmp_path) if "copy.db" in name]


def test_a_copy_with_another_root_is_none(location: Location, tmp_path: Path) -> None:
    """Catches a backup of a log that somebody rewrites meanwhile."""

    def tamper(done: int, pages: int) -> None:
        if done == pages:
            with closing(sqlite3.connect(location.path)) as connection:
                connection.execute("DROP TRIGGER orderledger_log_no_update")
                connection.execute("UPDATE orderledger_log SET leaf_hash = zeroblob(32)")
                connection.commit()

    with pytest.raises(IntegrityViolation, match="another root"):
        back_up(location, tmp_path / "copy.db", tamper)
    assert left_in(tmp_path) == []


def test_a_full_disk_leaves_nothing(location: Location, tmp_path: Path) -> None:
    """Catches half a file with the name of a backup."""
    with small_disk(tmp_path / "disk", 2) as folder:
        fill_to_the_brim(folder, 96)
        with pytest.raises((DatabaseFull, StorageError), match=r"full|No space left"):
            back_up(location, folder / "copy.db")
        assert [one.name for one in folder.iterdir()] == ["ballast"]


def test_kill_nine_leaves_no_backup_that_is_none(location: Location, tmp_path: Path) -> None:
    """Catches a file that looks like a backup after the program died half-way, at every step."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from orderledger.backups import back_up\n"
        "from orderledger.config import locate\n"
        "from orderledger.ledger.stores import sqlite_backup\n"
        "sqlite_backup._PAGES = 1\n"
        "url, target, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])\n"
        "def progress(done, pages):\n"
        "    if done >= last: os.kill(os.getpid(), 9)\n"
        "back_up(locate(url), target, progress)\n"
    )
    for last in (1, 20, 40):
        child = [sys.executable, "-c", program, location.url, str(tmp_path / "copy.db"), str(last)]
        assert subprocess.run(child, check=False).returncode == -signal.SIGKILL
        assert not (tmp_path / "copy.db").exists()
    assert len(left_in(tmp_path)) >= 3, "what the killed ones left behind is hidden, and tells so"
    assert all(name.startswith(".copy.db.") for name in left_in(tmp_path))
    (main, _) = back_up(location, tmp_path / "copy.db")
    with orderledger.open(of_copy(tmp_path / "copy.db").url) as copy:
        assert copy.store.head().size == main.position
        assert list(copy.read.verify()) == []


def test_at_the_command_line(
    location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a command that tells another root than the book has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", location.url)
    found = answer("backup", "copy.db")
    shown = answer("checkpoint", "show")
    assert found[0] == {"book": "main", "position": shown["size"], "root": shown["root"]}
    assert [one["book"] for one in found] == ["main", "second"]
    assert answer("verify", "--url", "sqlite:///copy.db")[-1]["result"] == "ok"
    again = run("backup", "copy.db")
    assert again.exit_code == 2
    assert "never takes the place of another file" in again.stderr
    monkeypatch.setenv("ORDERLEDGER_URL", "postgresql://localhost/shop")
    assert run("backup", "other.db").exit_code == 2
    assert not Path("other.db").exists()
