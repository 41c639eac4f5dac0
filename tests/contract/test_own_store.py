"""A store of the host's own, on a machine that has no driver but SQLite's."""

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from orderledger.book import Book
from orderledger.commands.account_commands import PostEntry, PostingInput
from orderledger.commands.handle import Executor
from orderledger.commands.requests import Envelope
from orderledger.ledger.stores.memory import MemoryStore

PROGRAM = """
import sys
sys.modules["psycopg"] = None
from tests.contract.test_own_store import Own, entry
from orderledger.book import Book
from orderledger.commands.requests import Receipt
from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.stores import audits, journals, models, snapshots, works

own = Own()
book = Book(own)
for number in range(3):
    found = book.execute_many([entry(number)])
    assert isinstance(found[0], Receipt), found
assert own.head().size == 3
for of in (models.models_of, works.work_of, snapshots.snapshots_of, journals.journal_of):
    try:
        of(own)
    except InvalidInput:
        continue
    raise AssertionError(of)
assert audits.audit_of(own) is None
"""


class Own:
    """What a host may put around a store of ours, or write instead of it."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def entry(number: int) -> PostEntry:
    legs = (
        PostingInput("assets:bank:main", "EUR", 1 + number),
        PostingInput("equity:opening", "EUR", -1 - number),
    )
    return PostEntry(entry_id=f"e{number}", description="opening", postings=legs)


def test_a_store_of_ones_own_needs_no_driver() -> None:
    """Catches a command that fails, after it was committed, for want of another engine's driver."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr


class Broken:
    """Snapshots that fail where they promise not to."""

    def nearest(self, *_: object, **__: object) -> dict[str, Any]:
        return {}

    def committed(self, *_: object) -> bool:
        raise OSError("no room")


def test_what_was_committed_is_answered_whatever_snapshots_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Catches a caller who is told that an append failed which is in the log."""
    executor = Executor(MemoryStore(), snapshots=cast(Any, Broken()))
    assert executor.execute(Envelope(command=entry(1))).streams == {"journal-e1": 1}
    executor.close()
    assert "no room" in caplog.text


def test_a_store_of_ones_own_takes_commands() -> None:
    """Catches a book that opens on a store of the host's own and refuses its commands."""
    with Book(cast(Any, Own())) as book:
        assert book.execute(entry(1)).positions == (1,)
