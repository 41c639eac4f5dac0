"""Several processes rebuild at once: one a model, a few a book, and none damages another."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

import orderledger
from orderledger.ledger.errors import RebuildUnderWay, Unavailable
from orderledger.ledger.model_ports import GenerationState
from orderledger.projections.read_models import ReadModels
from orderledger.replay import building
from orderledger.replay.building import Slots
from orderledger.replay.rebuild import rebuild, redrive, verify
from tests.projections.books import fill
from tests.projections.poisoned import Picky

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
NAMES = ("orders", "payments", "refunds", "timeline")
DONE, UNDER_WAY, UNAVAILABLE = 0, 40, 41
PATIENCE_S = 60


@pytest.fixture
def url(url: str) -> str:
    """A database with a book of journal entries and no read models."""
    with orderledger.open(url) as book:
        fill(book.store)
    return url


def start(url: str, act: Callable[[ReadModels], Any], begin: int) -> int:
    """Fork a process that acts once a byte can be read from ``begin``; return its id."""
    child = os.fork()
    if child:
        return child
    signal.alarm(PATIENCE_S)
    status = 1
    try:
        with orderledger.open(url, models=[Picky()]) as book:
            models = book.read.models
            os.read(begin, 1)
            act(models)
        status = DONE
    except RebuildUnderWay:
        status = UNDER_WAY
    except Unavailable:
        status = UNAVAILABLE
    finally:
        os._exit(status)


def ends_of(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def slowly(position: int, head: int) -> None:
    """Let the others come between two batches."""
    time.sleep(0.1)


def test_rebuilds_of_one_model_do_not_meet(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two processes that fill, drop or swap one generation between them."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 20)
    reader, writer = os.pipe()
    children = [
        start(url, lambda models: rebuild(models, "picky", slowly), reader) for _ in range(4)
    ]
    os.write(writer, b"go!!")
    # On a slow machine one may come when another is through.
    assert DONE in (ends := set(ends_of(children))) <= {DONE, UNDER_WAY}, ends
    with orderledger.open(url, models=[Picky()]) as book:
        models = book.read.models
        states = [one.state for one in models.store.generations("picky")]
        assert set(states) <= {GenerationState.LIVE, GenerationState.PREVIOUS}
        assert verify(models, "picky").problem is None
        assert rebuild(models, "picky").compared_at == book.store.head().size


def test_a_few_models_are_built_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a cap that processes of one book do not share, and one that starves the last."""
    monkeypatch.setattr(building, "BUILD_BATCH_EVENTS", 20)
    reader, writer = os.pipe()

    def rebuilding(name: str) -> Callable[[ReadModels], Any]:
        return lambda models: rebuild(models, name, slowly)

    children = [start(url, rebuilding(name), reader) for name in NAMES]
    os.write(writer, b"go!!")
    most = 0
    with orderledger.open(url) as book:
        store = book.read.models.store
        left = set(children)
        while left:
            most = max(most, len(store.holds()))
            for child in list(left):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    left.remove(child)
                    assert os.waitstatus_to_exitcode(status) == DONE
            time.sleep(0.01)
        assert most == building.REBUILDS_MAX
        for name in NAMES:
            assert verify(book.read.models, name).problem is None


def test_a_rebuild_and_a_redrive_do_not_meet(url: str) -> None:
    """Catches a redrive that gives up the generation which a rebuild fills, or the other way."""
    with orderledger.open(url, models=[Picky(cannot_read={7, 30})]) as book:
        book.read.models.catch_up("picky")
    reader, writer = os.pipe()
    children = [
        start(url, lambda models: rebuild(models, "picky", slowly), reader),
        start(url, lambda models: redrive(models, "picky", (), slowly), reader),
    ]
    os.write(writer, b"go")
    assert sorted(ends_of(children)) in ([DONE, UNDER_WAY], [DONE, DONE])
    with orderledger.open(url, models=[Picky()]) as book:
        models = book.read.models
        assert list(models.parked("picky")) == []
        assert verify(models, "picky").problem is None


def test_the_turn_of_a_killed_process_comes_back(url: str) -> None:
    """Catches a slot that dies with its owner."""
    reader, writer = os.pipe()

    def forever(position: int, head: int) -> None:
        time.sleep(PATIENCE_S)

    slots = Slots(lease_s=1.0)
    child = start(url, lambda models: rebuild(models, "orders", forever, slots), reader)
    os.write(writer, b"g")
    with orderledger.open(url, models=[Picky()]) as book:
        models = book.read.models
        deadline = time.monotonic() + PATIENCE_S
        while not models.store.holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(RebuildUnderWay, match=r"generation 1, since \d{4}-"):
            rebuild(models, "orders")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rebuild(models, "picky", slots=Slots(at_once=1, wait_s=PATIENCE_S))
        assert rebuild(models, "orders").generation == 1, "gone on with"
