"""
A rebuild or a redrive killed before and after every write: the live rows are whole, the next one
finishes.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import orderledger
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.compare import summed
from orderledger.projections.models import ReadModel, Recorded, Rows
from orderledger.projections.read_models import ReadModels
from orderledger.replay import building
from orderledger.replay.building import Slots
from orderledger.replay.rebuild import rebuild, redrive, verify
from tests.projections.books import fill
from tests.projections.poisoned import Picky, from_nothing, live_rows
from tests.projections.toy_models import TOTALS, Totals

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
WRITES = frozenset({"create", "claim_build", "advance", "promote", "refuse", "drop", "release"})
BATCH = 20
QUICK = Slots(lease_s=0.1)
"""A killed build keeps the next one out for so long."""
PATIENCE_S = 30


class Deadly:
    """A store of read models that kills its process at the n-th write, before or after it."""

    def __init__(self, store: Any, at: int) -> None:
        self._store = store
        self._at = at
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in WRITES:
            return found

        def write(*arguments: Any, **options: Any) -> Any:
            self._count += 1
            if self._count * 2 - 1 == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
            done = found(*arguments, **options)
            if self._count * 2 == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return write


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with a book of journal entries and a model that is caught up."""
    made: str = f"sqlite:///{tmp_path / 'book.db'}"
    if request.param == "postgres":
        made = request.getfixturevalue("pg_url")
    orderledger.migrate(made)
    with orderledger.open(made, models=[Totals()]) as book:
        fill(book.store)
        book.read.models.catch_up("totals")
        # One rebuild before, so that there is an old generation to drop as well.
        rebuild(book.read.models, "totals")
    return made


def _in_a_child(url: str, at: int, model: ReadModel, act: Callable[[ReadModels], object]) -> int:
    """Act in a process that dies at a write; return its exit status, or minus the signal."""
    child = os.fork()
    if not child:
        signal.alarm(60)
        status = 1
        try:
            with orderledger.open(url, models=[model]) as book:
                models = book.read.models
                deadly: Any = Deadly(models.store, at)
                act(ReadModels(book.store, deadly, [model]))
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _wait_for_leases(models: ReadModels) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while models.store.holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_kill_nine_at_every_write_leaves_the_live_rows_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches rows that are half new, none at all, or a rebuild that never gets through again."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", BATCH)
    with orderledger.open(url, models=[Totals()]) as book:
        models = book.read.models
        live = models.live("totals")
        assert live is not None
        expected = summed(models.store, live, (TOTALS,))
        deaths = 0
        for at in range(1, 1_000):
            _wait_for_leases(models)
            status = _in_a_child(
                url, at, Totals(), lambda found: rebuild(found, "totals", slots=QUICK)
            )
            found = verify(models, "totals")
            assert found.problem is None
            assert found.checksum == expected.checksum.hex()
            if status == 0:
                break
            assert status == -signal.SIGKILL
            deaths += 1
        # Each killed rebuild leaves its batches to the next one: what remains are a few writes.
        assert deaths >= 6
        assert len(models.store.generations("totals")) <= 3
        rebuild(models, "totals")
        assert len(models.store.generations("totals")) == 2


def test_kill_nine_at_every_write_of_a_redrive(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a killed redrive that shows half of a stream, or a control that is gone on with."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", BATCH)
    model = Picky(cannot_read={7, 30, 65})
    with orderledger.open(url, models=[model]) as book:
        models = book.read.models
        models.catch_up("picky")
        mended = Picky(cannot_read={65})
        book.skip_parked("picky", book.store.read(29, until=30)[0].stream, reason="r")
        models.catch_up("picky")
        before = live_rows(models, "picky")
        deaths = 0
        for at in range(1, 1_000):
            _wait_for_leases(models)
            status = _in_a_child(
                url, at, mended, lambda found: redrive(found, "picky", slots=QUICK)
            )
            position, found = live_rows(models, "picky")
            assert verify(models, "picky").problem is None
            if status == 0:
                break
            assert status == -signal.SIGKILL
            deaths += 1
            # All of the old or all of the new: nothing in between.
            is_new = bool(models.live("picky").skipped)  # type: ignore[union-attr]  # it serves
            if not is_new:
                assert (position, found) == before
        assert deaths >= 8
        model.cannot_read = mended.cannot_read
        assert [one.position for one in models.parked("picky")] == [65]
        position, found = live_rows(models, "picky")
        assert found == from_nothing(models, "picky", MemoryModels(), position)
        assert len(models.store.generations("picky")) == 2


class Killing(Picky):
    """Ends its process at position 30."""

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.position == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        super().project(recorded, rows)


def test_an_event_that_kills_a_redrive_is_parked_in_the_end(url: str) -> None:
    """Catches a redrive that nobody survives, and the deaths forgotten when it is begun again."""
    with orderledger.open(url, models=[Picky(cannot_read={7, 30})]) as book:
        models = book.read.models
        models.catch_up("picky")
        first = models.parked("picky")[0].stream
        deaths = 0
        for attempt in range(20):
            _wait_for_leases(models)
            # What the first attempts parked for an error is mended when they have died a few times.
            model = Killing(cannot_read={7} if attempt < 3 else ())
            status = _in_a_child(url, 0, model, lambda found: redrive(found, "picky", slots=QUICK))
            if status == 0:
                break
            assert status == -signal.SIGKILL
            deaths += 1
        assert 4 <= deaths <= 8
        (parked,) = models.parked("picky")
        assert (parked.position, parked.error) == (30, "ended 4 workers by force")
        assert parked.stream != first
        assert verify(models, "picky").problem is None
        # Without its projector being mended, the event is left out.
        book.skip_parked("picky", parked.stream, reason="it kills")
        mended = ReadModels(book.store, models.store, [Killing()])
        assert redrive(mended, "picky", slots=QUICK).came_back
        assert mended.status("picky").skipped == 1


class Interrupted(Picky):
    """Somebody presses a key while position 30 is projected."""

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.position == 30:
            raise KeyboardInterrupt
        super().project(recorded, rows)


def test_an_interrupted_redrive_is_no_death(url: str) -> None:
    """Catches an innocent event that is parked because somebody pressed a key four times."""
    with orderledger.open(url, models=[Picky(cannot_read={7})]) as book:
        store = book.read.models.store
        book.read.models.catch_up("picky")
        for _ in range(6):
            with pytest.raises(KeyboardInterrupt):
                redrive(ReadModels(book.store, store, [Interrupted()]), "picky")
        mended = ReadModels(book.store, store, [Picky()])
        assert redrive(mended, "picky").came_back
        assert list(mended.parked("picky")) == []
