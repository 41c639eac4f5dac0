"""The command line of read models: following, a refused rebuild, and the way back."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.seeded_book import seed
from tests.cli.test_cli import run
from tests.seeding import sqlite_store

PATIENCE_S = 60


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the seeded book, whose orders were made and rebuilt once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    store.close()
    assert run("projection catch-up orders").exit_code == 0
    assert run("projection rebuild orders --yes").exit_code == 0
    return tmp_path / "book.db"


def edit_live(book: Path) -> None:
    """Change an order's total, and the digest with it as a wrong projector would have left it."""
    with closing(sqlite3.connect(book)) as file, file:
        ((number, fingerprint),) = file.execute(
            "SELECT number, fingerprint FROM orderledger_generations "
            "WHERE model = 'orders' AND state = 'live'"
        ).fetchall()
        file.execute(
            f"UPDATE orderledger_rm_1_{number}_{fingerprint}_orders SET total_low = total_low + 1"
        )


def forge_digest(book: Path) -> None:
    with closing(sqlite3.connect(book)) as file, file:
        file.execute(
            "UPDATE orderledger_generations SET digest = zeroblob(32) "
            "WHERE model = 'orders' AND state = 'live'"
        )


def answer(line: str) -> Any:
    return json.loads(run(f"{line} --json").stdout)


def test_verify_tells_a_row_that_was_edited(book: Path) -> None:
    """Catches a number that somebody changed and that a report shows."""
    assert run("projection verify orders").exit_code == 0
    edit_live(book)
    done = run("projection verify orders --json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)
    assert "changed past the model" in found["problem"]
    assert run("projection rebuild orders --yes").exit_code == 0
    assert run("projection verify orders").exit_code == 0


def test_a_refused_rebuild_says_so_and_diff_shows_the_rows(book: Path) -> None:
    """Catches a rebuild that swaps in other rows than those that served, without a word."""
    edit_live(book)
    forge_digest(book)
    done = run("projection rebuild orders --yes")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: the rebuilt orders differs from the live one")
    assert done.stdout == ""
    shown = run("projection diff orders --json")
    assert shown.exit_code == 1
    for one in json.loads(shown.stdout):
        assert (one["table"], one["column"]) == ("orders", "total")
        assert one["before"] == one["after"] + 1
    states = {row["generation"] for row in answer("projection status") if row["model"] == "orders"}
    assert states == {2}, "the one before goes on serving"


def test_the_way_back(book: Path) -> None:
    """Catches a rollback that does not say what it would do, or does not do it."""
    assert answer("projection rollback orders") == {"model": "orders", "done": False}
    back = answer("projection rollback orders --yes")
    assert (back["done"], back["generation"]) == (True, 1)
    assert run("projection verify orders").exit_code == 0


def test_a_worker_follows_until_it_is_told_to_end(book: Path) -> None:
    """Catches a worker that does not follow, cannot be stopped, or ends with a traceback."""
    program = Path(sys.executable).with_name("orderledger")
    command = [str(program), "projection", "run", "timeline"]
    worker = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=book.parent)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            rows = {row["model"]: row for row in answer("projection status")}
            if rows["timeline"]["generation"] and not rows["timeline"]["lag"]:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the worker did not follow")
    finally:
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0
    assert said == "following; interrupt to end\n"
    with closing(sqlite3.connect(book)) as file:
        owners = file.execute("SELECT owner FROM orderledger_generations").fetchall()
    assert {owner for (owner,) in owners} == {""}, "its leases are given back"
