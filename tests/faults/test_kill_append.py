"""kill -9 anywhere on the append path: nothing acknowledged is lost, nothing is written twice."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import orderledger
from orderledger.book import Book
from orderledger.commands.requests import Envelope, Receipt
from orderledger.ledger.codec import key_hash
from tests.commands.entries import post, reverse, with_key

ROUNDS = 200


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty, prepared book."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'book.db'}"
        return
    found = request.getfixturevalue("pg_url")
    orderledger.migrate(found)
    yield found


def commands_of(name: str) -> list[Envelope]:
    """Return the commands that the writer executed under a name; see ``kill_rounds``."""
    number = int(name.rsplit("-", 1)[1])
    if number % 3 == 2:
        return [with_key(f"{name}a", post(name)), with_key(name, reverse(name, "r", 40))]
    return [with_key(name, post(name))]


def known_keys(book: Book, names: Sequence[str]) -> dict[str, int]:
    """Return how many of a name's keys have a record."""
    known: dict[str, int] = {}
    for name in names:
        hashes = [key_hash(book.name, str(one.key)) for one in commands_of(name)]
        known[name] = len(book.store.commands(hashes))
    return known


def kill_rounds(url: str, rounds: int, seed: int) -> tuple[list[str], set[str]]:
    """Run the rounds in a process of their own; return what was tried and acknowledged."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kill_rounds", url, str(rounds), str(seed)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return told["tried"], set(told["acknowledged"])


def check_after_kills(url: str, tried: list[str], acknowledged: set[str]) -> None:
    with orderledger.open(url) as book:
        book.store.sequence()
        known = known_keys(book, tried)
        assert not [name for name in acknowledged if known[name] < len(commands_of(name))]
        assert not [name for name in tried if known[name] not in (0, len(commands_of(name)))]
        events = sum(len(commands_of(name)) for name in tried if known[name])
        assert book.store.head().size == events
        # The caller learns the truth by trying again with the same keys.
        results = book.execute_many([one for name in tried for one in commands_of(name)])
        assert all(isinstance(result, Receipt) for result in results)
        assert book.store.head().size == sum(len(commands_of(name)) for name in tried)
        assert list(book.read.verify()) == []


def test_kill_nine_loses_and_doubles_nothing(url: str) -> None:
    """Catches an acknowledged command that a crash took away, half a group, a double."""
    tried, acknowledged = kill_rounds(url, ROUNDS, seed=7)
    assert len(acknowledged) > ROUNDS, "the rounds were too short to prove anything"
    assert len(tried) > len(acknowledged), "no writer was killed between try and acknowledgement"
    check_after_kills(url, tried, acknowledged)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_kill_nine_again_and_again(url: str) -> None:
    """Catches a window too small for the short run."""
    all_tried: list[str] = []
    all_acknowledged: set[str] = set()
    for seed in range(4):
        tried, acknowledged = kill_rounds(url, 250, seed)
        all_tried += tried
        all_acknowledged |= acknowledged
    check_after_kills(url, all_tried, all_acknowledged)
