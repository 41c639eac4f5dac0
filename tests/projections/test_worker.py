"""The worker: it follows, it survives, and it says what it cannot do."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orderledger
from orderledger import Book
from orderledger.ledger.errors import StorageError, Unavailable
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.read_models import ReadModels
from orderledger.projections.worker import CLAIM_REST_S, PROBLEM_REST_S, Worker
from orderledger.replay.rebuild import rebuild
from orderledger.testing import memory_book
from tests.projections.books import fill, post
from tests.projections.toy_models import Entries, EntryRow, TotalRow, Totals


@pytest.fixture
def book() -> Iterator[Book]:
    with memory_book() as made:
        fill(made.store)
        yield made


@pytest.fixture
def models(book: Book) -> ReadModels:
    return ReadModels(book.store, MemoryModels(), [Totals(), Entries()])


def test_a_worker_follows_live_until_it_is_stopped(book: Book, models: ReadModels) -> None:
    """Catches a command that never shows, a swap that a worker does not notice, and no end."""
    worker = Worker(models)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    receipt = book.execute(post(300))
    assert receipt.positions is not None
    models.wait("entries", receipt.positions[-1], timeout_s=30)
    assert models.get(EntryRow, "e300") is not None
    rebuild(models, "entries")
    receipt = book.execute(post(301))
    assert receipt.positions is not None
    models.wait("entries", receipt.positions[-1], timeout_s=30)
    assert models.get(EntryRow, "e301") is not None
    worker.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert worker.problems == {}


def test_one_model_does_not_hold_up_the_others(
    book: Book, models: ReadModels, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a worker that ends, or logs without end, over one model of another version."""

    class Newer(Totals):
        version = 2

    models.catch_up("totals")
    newer = ReadModels(book.store, models.store, [Newer(), Entries()])
    now = 0.0
    worker = Worker(newer, clock=lambda: now)
    with caplog.at_level(logging.ERROR, logger="orderledger"):
        assert worker.look()
        assert not worker.look()
        assert "made by version 1" in worker.problems["totals"].error.message
        now += PROBLEM_REST_S
        assert not worker.look()
    assert len([one for one in caplog.records if "is not followed" in one.message]) == 1
    assert newer.live("entries").position == book.store.head().size  # type: ignore[union-attr]  # followed
    rebuild(newer, "totals")
    now += PROBLEM_REST_S
    book.execute(post(400))
    assert worker.look()
    assert worker.problems == {}


def test_a_database_that_is_away_is_waited_for(models: ReadModels) -> None:
    """Catches a worker that ends when the database restarts."""
    store: Any = models.store
    worker = Worker(models, ["totals"], clock=lambda: 0.0)

    def away(*arguments: object) -> bool:
        raise Unavailable("the server is restarting")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "advance", away)
        assert not worker.look()
        assert worker.problems["totals"].error.message == "the server is restarting"
    worker.problems.clear()
    assert worker.look()
    assert list(models.select(TotalRow))


def test_parked_streams_are_said(
    book: Book, models: ReadModels, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a stream that is left out and nobody is told."""
    worker = Worker(models)
    worker.look()
    book.execute(post(900, "poison"))
    with caplog.at_level(logging.ERROR, logger="orderledger"):
        worker.look()
        worker.look()
    assert [one.getMessage() for one in caplog.records] == [
        "read model entries parked 1 streams; see `orderledger projection parked entries`"
    ]


def test_only_the_named_models_are_followed(models: ReadModels) -> None:
    """Catches two workers that both do all the work."""
    Worker(models, ["totals"]).look()
    assert models.live("entries") is None
    assert models.live("totals") is not None


def test_a_second_worker_waits_and_then_takes_over(book: Book, models: ReadModels) -> None:
    """Catches work done twice, and models that nobody follows once a worker is gone."""
    first = Worker(models, ["totals"])
    assert first.look()
    book.execute(post(500))
    now = 0.0
    second = Worker(models, ["totals"], clock=lambda: now)
    assert not second.look(), "the first one has the lease"
    first.release()
    assert not second.look(), "it does not ask all the time"
    now += CLAIM_REST_S
    assert second.look()
    live = models.live("totals")
    assert live is not None
    assert live.position == book.store.head().size


class Killer(Totals):
    """Ends its process at one event."""

    name = "killer"

    def project(self, recorded: Any, rows: Any) -> None:
        if recorded.stream == "journal-e30":
            os.kill(os.getpid(), signal.SIGKILL)
        super().project(recorded, rows)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_an_event_that_kills_its_worker_is_parked_in_the_end(tmp_path: Path) -> None:
    """Catches a model that stands still for ever at an event that nobody survives."""
    url = f"sqlite:///{tmp_path / 'book.db'}"
    with orderledger.open(url, models=[Killer()]) as book:
        fill(book.store)
        models = book.read.models
        deaths = 0
        while not models.parked("killer"):
            child = os.fork()
            if not child:
                with orderledger.open(url, models=[Killer()]) as own:
                    worker = Worker(own.read.models, ["killer"], lease_s=0.0)
                    while worker.look():
                        pass
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status in (0, -signal.SIGKILL)
            deaths += status != 0
            assert deaths < 12
        (parked,) = models.parked("killer")
        assert (parked.stream, parked.topic) == ("journal-e30", "journal.entry_posted.v1")
        assert parked.error == "ended 4 workers by force"
        models.catch_up("killer")
        entries = {row.account: row.entries for row in models.select(TotalRow)}
        # Twelve entries and two reversals (of e0 and e35) but for the entry that kills.
        assert entries["liabilities:seller:s0"] == 12 + 2 - 1


def test_a_log_that_cannot_be_read_now_is_waited_for(
    models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a worker that ends because the sequencer met an error."""

    def away() -> int:
        raise StorageError("the server said something else")

    with monkeypatch.context() as patched:
        patched.setattr(models.events, "sequence", away)
        assert not Worker(models).look()
    assert Worker(models).look()
