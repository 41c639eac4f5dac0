"""Disputes on the command line, as committed."""

import json
import os
from pathlib import Path

import pytest

from orderledger.ledger.stores.sqlite import SqliteStore
from tests.cli.test_cli import GOLDEN, UPDATE, _transcript, run
from tests.dispute_book import file
from tests.dispute_shop import DisputeShop

COMMANDS = {
    "dispute-show": "dispute show d1",
    "dispute-list": "dispute list",
    "dispute-list-stage": "dispute list --stage executed --order o1 --limit 1",
}


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a book with a dispute that was executed and one that was filed, models caught up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    store = SqliteStore(tmp_path / "book.db")
    shop = DisputeShop(store)
    for step in shop.steps():
        step()
    shop.run(file("d2", ("b", 500), placed_at=shop.now, delivered_at=None))
    while store.sequence():
        pass
    store.close()
    assert run("projection catch-up disputes").exit_code == 0
    return tmp_path / "book.db"


@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_as_committed(name: str) -> None:
    """Catches a change of what people and programs read that nobody looked at."""
    path, found = GOLDEN / f"{name}.txt", _transcript(COMMANDS[name])
    if os.environ.get(UPDATE):
        path.write_text(found, "utf-8")
    assert path.read_text("utf-8") == found


def test_filters() -> None:
    """Catches a filter that is not applied."""

    def ids(line: str) -> list[str]:
        return [row["dispute_id"] for row in json.loads(run(f"{line} --json --quiet").stdout)]

    assert ids("dispute list") == ["d1", "d2"]
    assert ids("dispute list --stage filed") == ["d2"]
    assert ids("dispute list --order o2") == []
    assert ids("dispute list --seller s1 --limit 1") == ["d1"]


def test_an_unknown_dispute_is_named() -> None:
    """Catches an empty answer where there is no such dispute."""
    done = run("dispute show none --json")
    assert done.exit_code == 1
    assert "no dispute none" in done.stderr
