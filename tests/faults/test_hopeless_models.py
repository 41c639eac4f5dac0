"""Projectors that loop for ever or use up the memory, in real processes: the others go on."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import orderledger
from orderledger.projections.models import ReadModel
from orderledger.projections.worker import Worker
from orderledger.replay.rebuild import redrive, verify
from tests.faults.hopeless_models import STREAM, Greedy, Gripping, Looping
from tests.projections.books import fill
from tests.projections.toy_models import TOTALS
from tests.source_tree import ROOT

LIMIT_S = 0.5
ROUNDS_MAX = 12
MEMORY_BYTES = 300 << 20
PATIENCE_S = 60


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    made: str = f"sqlite:///{tmp_path / 'book.db'}"
    if request.param == "postgres":
        made = request.getfixturevalue("pg_url")
    orderledger.migrate(made)
    with orderledger.open(made) as book:
        fill(book.store)
    return made


def follow_in_a_process(url: str, name: str) -> "subprocess.CompletedProcess[str]":
    """Follow a model until the process is ended, or stop it once the model is at the head."""
    program = [sys.executable, "-m", "tests.faults.hopeless_models", url, name, str(LIMIT_S)]
    child = subprocess.Popen(program, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    with orderledger.open(
        url,
        models=[
            Looping(),
        ],
    ) as book:
        head = book.store.head().size
        store = book.read.models.store
        for _ in range(int(PATIENCE_S / 0.1)):
            positions = [one.position for one in store.generations(name)]
            if child.poll() is not None or positions == [head]:
                break
            try:
                child.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    child.kill()
    _, said = child.communicate()
    return subprocess.CompletedProcess(program, child.returncode, "", said)


@pytest.mark.parametrize(
    ("url", "model"),
    [
        pytest.param("sqlite", Looping(), id="sqlite-looping"),
        pytest.param("postgres", Gripping(), id="postgres-gripping", marks=pytest.mark.pg),
        pytest.param("sqlite", Gripping(), id="sqlite-gripping", marks=pytest.mark.long),
        pytest.param(
            "postgres",
            Looping(),
            id="postgres-looping",
            marks=[pytest.mark.pg, pytest.mark.long],
        ),
    ],
    indirect=["url"],
)
def test_a_projector_that_never_ends_is_parked_in_the_end(url: str, model: ReadModel) -> None:
    """Catches a worker that hangs for ever, and with it every model that it follows."""
    ends: list[int] = []
    said = ""
    with orderledger.open(url, models=[model]) as book:
        models = book.read.models
        while not models.parked(model.name):
            done = follow_in_a_process(url, model.name)
            ends.append(done.returncode)
            if done.returncode == -signal.SIGKILL:
                break
            said += done.stderr
            assert done.returncode in (1, 4), done.stderr
            assert len(ends) < ROUNDS_MAX
        assert len(ends) >= 4
        assert "in project" in said, "it says where it stands"
        if model.name == "looping":
            assert "error: read model looping did not finish a batch at position" in said
        (parked,) = models.parked(model.name)
        assert (parked.stream, parked.error) == (STREAM, "ended 4 workers by force")
        models.catch_up(model.name)
        assert verify(models, model.name).problem is None
        # Somebody sees that the model can do without it.
        book.skip_parked(model.name, STREAM, reason="it never ends")
        assert redrive(models, model.name).came_back
        entries = {row[0]: row[3] for row in models.find(TOTALS, {})}
        # Twelve entries and two reversals (of e0 and e35) but for the entry that hangs.
        assert entries["liabilities:seller:s0"] == 12 + 2 - 1


def test_a_projector_that_uses_up_the_memory_is_parked(url: str) -> None:
    """Catches a worker that dies of one event where the projector could have been told."""
    child = os.fork()
    if not child:
        signal.alarm(PATIENCE_S)
        status = 1
        try:
            with orderledger.open(url, models=[Greedy()]) as book:
                worker = Worker(book.read.models, ["greedy"])
                pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
                limit = pages * resource.getpagesize() + MEMORY_BYTES
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                while worker.look():
                    pass
                worker.release()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with orderledger.open(url, models=[Greedy()]) as book:
        models = book.read.models
        (parked,) = models.parked("greedy")
        assert (parked.stream, parked.error) == (STREAM, "MemoryError: ")
        assert models.status("greedy").lag == 0
        assert verify(models, "greedy").problem is None


def test_the_command_ends_with_a_message(tmp_path: Path) -> None:
    """Catches a limit that the command line does not keep, or ends without a word."""
    made = f"sqlite:///{tmp_path / 'book.db'}"
    with orderledger.open(made) as book:
        fill(book.store)
    code = (
        "from orderledger.cli import main\n"
        "from orderledger.projections.shipped import SHIPPED\n"
        "def forever(self, recorded, rows):\n"
        "    while True: pass\n"
        "timeline = next(one for one in SHIPPED if one.name == 'timeline')\n"
        "type(timeline).topics = None\n"
        "type(timeline).project = forever\n"
        f"main(['projection', 'run', 'timeline', '--batch-limit', '0.5', '--url', {made!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 4
    said = done.stderr.splitlines()
    assert said[0] == "following; interrupt to end"
    assert said[1].startswith(
        "error: read model timeline did not finish a batch at position 0 within 0.5 s"
    )
    assert "in forever" in done.stderr
