"""Chargebacks on the command line, as committed."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.test_cli import GOLDEN, UPDATE, _transcript, run
from tests.contested_shop import contested
from tests.seeding import sqlite_store

COMMANDS = {
    "chargeback-list": "chargeback list",
    "chargeback-list-open": "chargeback list --status open --order o1",
    "chargeback-list-none": "chargeback list --order o2",
    "chargeback-show": "chargeback show p1 cb1",
    "chargeback-show-open": "chargeback show p1 cb2",
    "chargeback-show-unknown": "chargeback show p1 cb9",
}


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a book with three chargebacks as a file, its models caught up."""
    monkeypatch.chdir(tmp_path)
    store = sqlite_store(tmp_path / "book.db")
    contested(store)
    while store.sequence():
        pass
    store.close()
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    assert run("projection catch-up").exit_code == 0


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_as_committed(name: str) -> None:
    """Catches a column, an amount or a note that changed without anybody looking."""
    path, found = GOLDEN / f"{name}.txt", _transcript(COMMANDS[name])
    if os.environ.get(UPDATE):
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8"), f"set {UPDATE}=1 to accept the new output"


@pytest.mark.usefixtures("book")
def test_json_says_who_bears_it() -> None:
    """Catches an answer that an operator's program cannot read, or reads otherwise each time."""
    found = json.loads(run("chargeback show p1 cb1 --json").stdout)
    assert (found["status"], found["stage"], found["lost"]) == ("lost", "second_chargeback", 4_000)
    assert sum(part["amount"] for part in found["parts"]) == 4_000
    (listed, *_) = json.loads(run("chargeback list --json").stdout)
    assert listed["lost"] == 4_000


@pytest.mark.usefixtures("book")
def test_the_order_and_its_payment_can_be_shown() -> None:
    """Catches a state with chargebacks that cannot be written as JSON, or not as the same."""
    for line in ("order show o1 --json", "payment show p1 --json"):
        shown = run(line)
        assert shown.exit_code == 0
        assert shown.stdout == run(line).stdout
        assert "cb1" in shown.stdout
