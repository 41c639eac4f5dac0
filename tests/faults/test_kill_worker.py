"""kill -9 of `orderledger work` while it holds a lease: it is seen, and its work taken over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orderledger
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.machinery_status import State
from orderledger.testing.fakes import FakeWorld
from tests.faults.hanging_shop import CALLED, RULES_SOON
from tests.machinery.shop import events_of, place
from tests.machinery.test_outbox import Welcome


@contextmanager
def working(url: str, called: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the worker of a shop whose messages never arrive."""
    command = [sys.executable, "-c", "from orderledger.cli import main; main()", "work", "--with"]
    worker = subprocess.Popen(
        [*command, "tests.faults.hanging_shop:wiring"],
        env={**os.environ, "ORDERLEDGER_URL": url, CALLED: str(called)},
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"not within 60 s: {what}"
        time.sleep(0.05)


def test_a_killed_worker_is_seen_and_its_work_taken_over(tmp_path: Path) -> None:
    """Catches a dead process that no status shows, or whose lease nobody takes."""
    url, called = f"sqlite:///{tmp_path / 'book.db'}", tmp_path / "called"
    with orderledger.open(url) as book:
        book.wire(Wiring(reactors=(Welcome(),)))
        book.machinery.settle()
        book.execute(place())
    with working(url, called) as worker:
        until(called.exists, "it has the message in hand")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    later = timedelta(minutes=2)
    with orderledger.open(url, clock=lambda: datetime.now(UTC) + later) as book:
        parts = {one.part: one for one in book.read.status().parts}
        assert parts["worker:1"].state is State.SILENT
        assert f"/{worker.pid}/" in parts["worker:1"].last_seen_of
        assert parts["outbox"].state is State.SILENT
        assert parts["outbox"].lag == 1, "what it had in hand is due again"
        world = FakeWorld()
        book.wire(Wiring(ports=world.ports, reactors=(Welcome(),), rules=RULES_SOON))
        book.machinery.settle()
        assert len(world.notification.sent) == 1
        (message,) = [
            one
            for one in book.machinery.list_work(Lane.OUTBOX, [WorkStatus.DONE])
            if one.kind == "call:Notify"
        ]
        assert message.attempts == 2, "it was taken over"
        assert events_of(book, "order-o1") == ["OrderPlaced", "OrderNoted"]
