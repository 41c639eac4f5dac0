"""kill -9 anywhere in a worker: every effect, queued command and deadline once, none lost."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import orderledger
from orderledger.commands.order_commands import AddNote
from orderledger.ledger.orders import Lifecycle
from orderledger.ledger.work_ports import Lane, WorkStatus
from tests.faults.kill_machinery import wired
from tests.machinery.shop import authorise, events_of, initiate, place

ORDERS = 10
ROUNDS = 8


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty, prepared book."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'book.db'}"
        return
    found = request.getfixturevalue("pg_url")
    orderledger.migrate(found)
    yield found


def fill(url: str, directory: Path) -> None:
    """Give work of every lane: payments to authorise, orders to expire, commands in the queue."""
    with wired(url, directory) as book:
        for runner in book.machinery.reactors.values():
            runner.start()
        now = datetime.now(UTC)
        for number in range(ORDERS):
            paid, unpaid = f"o{number}", f"x{number}"
            book.execute_many(
                [
                    place(paid),
                    initiate(f"p{number}", paid),
                    authorise(f"p{number}"),
                    place(unpaid, payment_due_at=now),
                ]
            )
            for ref in ("first", "second"):
                note = AddNote(order_id=paid, note_ref=ref, by="queue")
                book.enqueue(note, key=f"{paid}-{ref}")


def test_kill_nine_loses_and_doubles_no_effect(url: str, tmp_path: Path) -> None:
    """Catches an effect without its record, a record without its effect, or one done twice (42)."""
    directory = tmp_path / "provider"
    directory.mkdir()
    fill(url, directory)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.faults.kill_machinery"),
            *(url, str(directory), str(ROUNDS), "7"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    with wired(url, directory) as book:
        tries = [one.attempts for one in book.machinery.list_work(Lane.OUTBOX, list(WorkStatus))]
        assert max(tries) > 1, "no worker was killed with work in its hands"
        time.sleep(0.2)
        while book.machinery.settle():
            pass
        for number in range(ORDERS):
            assert book.order(f"o{number}").lifecycle is Lifecycle.CONFIRMED
            notes = [
                getattr(one.event, "note_ref", "") for one in book.read.history(f"order-o{number}")
            ]
            assert [note for note in notes if note] == ["first", "second"]
            told = events_of(book, f"payment-p{number}")
            assert told == ["PaymentInitiated", "OperationRequested", "PaymentAuthorised"]
            assert events_of(book, f"order-x{number}") == ["OrderPlaced", "OrderExpired"]
        operations = {one.name for one in directory.iterdir()} - {"requests"}
        assert len(operations) == ORDERS
        assert set((directory / "requests").read_text().split()) == operations
        assert {one.status for one in book.machinery.list_work(Lane.OUTBOX, list(WorkStatus))} == {
            WorkStatus.DONE
        }
        assert list(book.read.verify()) == []
