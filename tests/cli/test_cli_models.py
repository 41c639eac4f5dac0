"""The command line of read models: following, a refused rebuild, and the way back."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import orderledger
from orderledger.projections.models import Recorded, Rows
from orderledger.projections.orders import Orders
from orderledger.replay.building import Build, Slots
from tests.cli.seeded_book import seed
from tests.cli.test_cli import GOLDEN, UPDATE, run
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


@pytest.fixture
def poisoned(book: Path, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """
    Let orders be unable to read two events of payment-p1; return their positions, to be mended.

    The book has its model made again by another version, so that it meets them.
    """
    positions = {2, 9}
    project = Orders.project

    def picky(self: Orders, recorded: Recorded, rows: Rows) -> None:
        if recorded.position in positions:
            raise ValueError(f"cannot read position {recorded.position}")
        project(self, recorded, rows)

    monkeypatch.setattr(Orders, "project", picky)
    monkeypatch.setattr(Orders, "version", Orders.version + 1)
    assert run("projection rebuild orders --yes").exit_code == 0
    return positions


INSTANT = re.compile(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?( UTC)?")
SESSION = (
    "projection status --json",
    "projection parked orders --table",
    "projection redrive orders --table",
    "projection skip orders payment-p1 --reason 'broken at its import' --actor staff:ann --json",
    "projection skip orders payment-p1 --reason again",
    "projection parked orders --json",
    "projection skips orders --json",
    "projection redrive orders payment-p1 --json",
    "projection skips orders --table",
    "projection parked orders --table",
    "projection skip orders payment-p1 --reason 'and this one' --redrive --table",
    "projection parked orders --json",
    "projection redrive orders payment-p1 --json",
    "projection status --json",
    "projection verify orders --json",
)


@pytest.mark.usefixtures("poisoned")
def test_parked_streams_are_skipped_and_come_back() -> None:
    """Catches an operator who is not told what is left out, what a skip does, and what is next."""
    said: list[str] = []
    for line in SESSION:
        done = run(line)
        out = INSTANT.sub("INSTANT", done.stdout + done.stderr)
        shown = [
            row.rstrip() for row in out.splitlines() if "status" not in line or '"orders"' in row
        ]
        said.append(f"$ orderledger {line}\n" + "\n".join(shown) + f"\n[{done.exit_code}]\n")
    path, found = GOLDEN / "projection-session.txt", "\n".join(said)
    # The digest of rows that hold instants of now.
    found = re.sub(r"[0-9a-f]{64}", "CHECKSUM", found)
    if os.environ.get(UPDATE):
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8"), f"set {UPDATE}=1 to accept the new output"


def test_what_was_mended_comes_back(poisoned: set[int]) -> None:
    """Catches a mended projector whose streams do not come back by the command."""
    assert run("projection parked orders").exit_code == 1
    poisoned.clear()
    done = run("projection redrive orders --json")
    assert done.exit_code == 0
    (found,) = json.loads(done.stdout)
    assert (found["stream"], found["was_at"], found["came_back"]) == ("payment-p1", 2, True)
    assert done.stderr == "orders serves generation 4\n"
    assert run("projection parked orders").exit_code == 0


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("skip orders payment-p1", 2, "Missing option '--reason'"),
        ("skip orders payment-p1 --reason ''", 2, "reason is empty"),
        ("skip orders payment-p9 --reason r", 1, "does not have payment-p9 parked"),
        ("skip nope payment-p1 --reason r", 1, "there is no read model nope"),
        ("skip orders payment-p1 --reason r --actor ann", 2, "'ann' is no actor like staff:ann"),
        ("redrive orders payment-p9", 1, "does not have payment-p9 parked"),
        ("redrive orders --at-once 0", 2, "--at-once"),
        ("redrive nope", 1, "there is no read model nope"),
        ("skips nope", 1, "there is no read model nope"),
    ],
)
def test_what_cannot_be_skipped_or_redriven(line: str, status: int, said: str) -> None:
    """Catches a mistyped stream or model that looks like a success."""
    done = run(f"projection {line}")
    assert done.exit_code == status
    assert said in done.stderr


def test_a_rebuild_that_waits_says_for_whom(book: Path) -> None:
    """Catches an operator who sees a command hang without a word."""
    with orderledger.open(f"sqlite:///{book}") as opened:
        models = opened.read.models
        with Build(models, models.model("payments"), Slots()):
            done = run("projection rebuild refunds orders --yes --at-once 1 --wait 0.1")
            assert done.exit_code == 4
            waiting, error = done.stderr.splitlines()
            assert waiting.startswith("refunds waits to be rebuilt: payments (since ")
            assert error.startswith("error: refunds waits to be rebuilt: payments (since ")
            done = run("projection rebuild payments --yes")
            assert done.exit_code == 4
            assert "read model payments is being rebuilt: generation 1, since " in done.stderr
            assert run("projection rebuild refunds orders --yes").exit_code == 0


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
