"""A web server that opens its book first and forks its workers then."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import orderledger
from orderledger import Book
from orderledger.ledger.ports import Appended, Batch
from tests.commands.entries import post

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
PATIENCE_S = 30
CHILDREN = 3
EACH = 20


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Book]:
    """An open book whose connections and background threads have been used."""
    url = f"sqlite:///{tmp_path / 'book.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("pg_url")
    orderledger.migrate(url)
    with orderledger.open(url) as opened:
        opened.submit(post("before")).result(PATIENCE_S)
        opened.execute(post("before-too"))
        yield opened


def in_a_child(work: Callable[[], None]) -> int:
    """Fork; return the child's process id. It ends by itself, at the latest after a while."""
    child = os.fork()
    if child:
        return child
    signal.alarm(PATIENCE_S)
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def statuses(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_every_worker_executes_and_submits(book: Book) -> None:
    """Catches a worker that waits for ever for its parent's threads, or reads others' answers."""

    def work(name: int) -> None:
        for number in range(EACH):
            receipt = book.execute(post(f"w{name}-{number}"), key=f"w{name}-{number}")
            assert dict(receipt.streams) == {f"journal-w{name}-{number}": 1}
        future = book.submit(post(f"w{name}-later"))
        assert dict(future.result(PATIENCE_S).streams) == {f"journal-w{name}-later": 1}

    children = [in_a_child(partial(work, name)) for name in range(CHILDREN)]
    work(99)
    assert statuses(children) == [0] * CHILDREN
    assert book.submit(post("after")).result(PATIENCE_S).event_ids
    assert book.store.head().size == 2 + (CHILDREN + 1) * (EACH + 1) + 1


def test_a_worker_does_not_inherit_a_batch(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a child that waits for what a thread of its parent was writing at the fork."""
    began, go_on = threading.Event(), threading.Event()
    append = book.store.append

    def held(batch: Batch, **joined: object) -> Appended:
        if batch.appends[0].key == "held":
            began.set()
            assert go_on.wait(PATIENCE_S)
        return append(batch, **joined)

    monkeypatch.setattr(book.store, "append", held)
    writer = threading.Thread(target=lambda: book.execute(post("held"), key="held"), daemon=True)
    writer.start()
    assert began.wait(PATIENCE_S)
    queued = book.submit(post("queued"))

    def work() -> None:
        assert book.submit(post("later")).result(PATIENCE_S).event_ids
        assert book.execute(post("now")).event_ids

    assert statuses([in_a_child(work)]) == [0]
    go_on.set()
    writer.join(PATIENCE_S)
    assert queued.result(PATIENCE_S).event_ids
    # What was queued at the fork ran once, in the parent.
    names = ("held", "queued", "later", "now")
    assert [len(book.store.load({f"journal-{name}": 0})) for name in names] == [1, 1, 1, 1]
