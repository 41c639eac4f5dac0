"""Questions about the past at the command line that have no answer, and one about a dispute."""

import json
from pathlib import Path

import pytest

from tests.cli.running import run
from tests.cli.seeded_book import seed
from tests.projections.market_book import MarketBook
from tests.seeding import sqlite_store


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the seeded book, named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    store.close()


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ("replay order o1 --at 999", 2, "position 999 is not in the log of book main"),
        ("replay order o1 --at 2001-01-01", 2, "is before the book: the log of main begins at"),
        ("replay order o1 --at soon", 2, "'soon' is neither a position"),
        ("replay order nobody", 1, "stream order-nobody has no events by position"),
        ("replay order o1 --at 0", 1, "stream order-o1 has no events by position 0"),
        ("replay account assets:nowhere", 1, "no account assets:nowhere was ever posted to"),
        ("replay projection nothing", 1, "there is no table nothing"),
        ("diff nothing 0", 1, "there is no read model nothing"),
        ("diff orders 0 999", 2, "position 999 is not in the log"),
        ("diff orders 0 --below assets", 2, "--below is for balances"),
        ("diff orders 0 --effective-from 2026-01-06", 2, "one effective time"),
        ("explain assets:nowhere", 1, "was ever posted to"),
        ("explain assets:psp:adyen --at 99", 2, "position 99 is not in the log"),
        ("explain assets:psp:adyen --currency EURO", 2, "EURO"),
    ],
)
def test_questions_without_an_answer_are_told(words: str, status: int, why: str) -> None:
    """Catches an empty or wrong answer where there is none."""
    found = run(*words.split())
    assert (found.exit_code, found.stdout) == (status, ""), found.output
    assert why in found.stderr


def test_a_dispute_is_shown_as_it_was(tmp_path: Path) -> None:
    """Catches a dispute whose past shows what was submitted later."""
    store = sqlite_store(tmp_path / "market.db")
    MarketBook(store)
    placed = [row.position or 0 for row in store.stream("dispute-d1")]
    store.close()
    seen = []
    for position in placed:
        found = run(
            *f"replay dispute d1 --at {position} --json".split(),
            *("--url", f"sqlite:///{tmp_path}/market.db"),
        )
        assert found.exit_code == 0, found.stderr
        seen.append(json.loads(found.stdout))
    assert [one["version"] for one in seen] == list(range(1, len(placed) + 1))
    assert seen[0]["stage"] != seen[-1]["stage"]
    assert len({json.dumps(one["evidence"]) for one in seen}) > 1
