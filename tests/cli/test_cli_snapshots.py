"""Snapshots at the command line: taken, listed, checked, and replaced where they are not right."""

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from orderledger import cli
from tests.cli.running import answer, run
from tests.cli.seeded_book import seed
from tests.seeding import sqlite_store

_run = partial(run, "snapshot")
_json = partial(answer, "snapshot")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the seeded book in a file of its own."""
    path = tmp_path / "book.db"
    monkeypatch.setenv("ORDERLEDGER_URL", f"sqlite:///{path}")
    store = sqlite_store(path)
    seed(store)
    store.close()
    return path


def _spoil(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


def test_take_list_and_verify(book: Path) -> None:
    """Catches a snapshot that is not where it was said to be, or a false alarm."""
    assert _json("list") == _json("verify") == _json("take") == []
    taken = _json("take", "order-o1")
    assert (taken["kind"], taken["subject"], taken["is_new"]) == ("stream", "order-o1", True)
    again = _json("take", "order-o1")
    assert again == {**taken, "is_new": False}
    _json("take", "payment-p1")
    found = _json("list")
    assert [one["subject"] for one in found] == ["order-o1", "payment-p1"]
    assert _json("list", "order-o1") == [{k: v for k, v in taken.items() if k != "is_new"}]
    assert _json("verify") == _json("verify", "--sample", "1") == []
    assert "0 of 2 snapshots are not right" in _run("verify").stderr
    assert "0 of 1 snapshots" in _run("verify", "--sample", "1").stderr
    assert "order-o1" in _run("list", "--table").stdout


def test_what_is_wrong_is_found_and_replaced(book: Path) -> None:
    """Catches damage that is reported as sound, or that stays for ever."""
    _json("take", "order-o1")
    _json("take", "payment-p1")
    _spoil(book, "UPDATE orderledger_snapshots SET body = x'00' WHERE subject = 'order-o1'")
    _spoil(
        book,
        "UPDATE orderledger_snapshots SET fingerprint = zeroblob(32) WHERE subject > 'order-z'",
    )
    found = _json("verify", status=1)
    assert [(one["code"], one["severity"], one["subject"]) for one in found] == [
        ("snapshot_damaged", "error", "order-o1"),
        ("snapshot_other_code", "warning", "payment-p1"),
    ]
    assert f"order-o1 at position {found[0]['position']}" in found[0]["text"]
    assert len(_json("verify", "--sample", "5", status=1)) == 2
    assert len(_json("verify", "payment-p1", status=1)) == 1
    # The answers do not come from them.
    shown = CliRunner().invoke(cli.main, ["order", "show", "o1", "--json"])
    assert json.loads(shown.stdout)["order_id"] == "o1"
    assert [one["subject"] for one in _json("take")] == ["order-o1", "payment-p1"]
    assert _json("verify") == []


def test_the_rows_of_read_models(book: Path) -> None:
    """Catches a snapshot of rows that is not found, or damage in one of its parts that is not."""
    (taken,) = _json("take", "--model", "orders")
    assert (taken["kind"], taken["subject"], taken["position"]) == ("model", "orders", 12)
    assert _json("take", "--model", "orders") == []
    others = _json("take", "--model", "all")
    assert {one["position"] for one in others} == {12}
    assert len(_json("list")) == len(others) + 1
    assert _json("list", "orders") == [taken]
    assert _json("verify") == []
    _spoil(book, "UPDATE orderledger_snapshot_parts SET body = x'00' WHERE subject = 'orders'")
    (found,) = _json("verify", status=1)
    assert (found["code"], found["kind"], found["subject"]) == (
        "snapshot_damaged",
        "model",
        "orders",
    )
    assert [one["subject"] for one in _json("take", "--model", "orders")] == ["orders"]
    assert _json("verify") == []
    assert _run("take", "--model", "teapots").exit_code == 1
    assert _run("take", "order-o1", "--model", "orders").exit_code == 2


def test_errors_are_told(book: Path) -> None:
    """Catches a status that a script takes for success."""
    found = _run("take", "order-none")
    assert (found.exit_code, "order-none" in found.stderr) == (1, True)
    assert _run("verify", "--sample", "0").exit_code == 2
    assert _run("verify", "--url", "sqlite:///nowhere/at-all.db").exit_code == 2
    assert _run("list", "--url", "postgresql://127.0.0.1:1/x").exit_code == 4
