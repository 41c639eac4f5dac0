"""The PostgreSQL fixture itself: a broken fixture makes every durability test lie."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests import postgres_server
from tests.postgres_server import Databases, PostgresServer


def test_databases_are_separate(pg_server: Databases) -> None:
    """Catches tests that see each other's rows."""
    with pg_server.fresh_database() as first, pg_server.fresh_database() as second:
        assert first != second
        with psycopg.connect(first) as connection:
            connection.execute("CREATE TABLE only_here (id int)")
        with psycopg.connect(second) as connection:
            row = connection.execute("SELECT to_regclass('only_here')").fetchone()
            assert row == (None,)


def test_template_is_prepared_once(pg_server: Databases) -> None:
    """Catches a template prepared anew for every test, which costs seconds over a suite."""
    calls = []

    def prepare(url: str) -> None:
        calls.append(url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE prepared (id int)")

    for _ in range(2):
        with (
            pg_server.fresh_database(pg_server.template("once", prepare)) as url,
            psycopg.connect(url) as connection,
        ):
            assert connection.execute("SELECT count(*) FROM prepared").fetchone() == (0,)
    assert len(calls) == 1


def test_committed_rows_survive_a_kill(pg_crash_server: PostgresServer) -> None:
    """Catches a crash server without fsync, or one whose restart makes a new cluster."""
    with pg_crash_server.fresh_database() as url:
        with psycopg.connect(url) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            connection.execute("CREATE TABLE kept (id int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        with psycopg.connect(url) as open_one:
            pg_crash_server.kill()
            with pytest.raises(psycopg.OperationalError):
                open_one.execute("SELECT 1")
        pg_crash_server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT id FROM kept").fetchone() == (7,)
        pg_crash_server.restart()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT id FROM kept").fetchone() == (7,)


@pytest.mark.pg
def test_server_dies_with_its_test_run() -> None:
    """Catches a server that outlives a killed run and fills the machine."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the parent-death signal exists on Linux only")
    if postgres_server.find_binaries() is None:
        pytest.skip("POSTGRESQL IS NOT TESTED: no binaries")
    program = (
        "import time; from tests.postgres_server import PostgresServer; s = PostgresServer();"
        "print(s.pid, s.directory, flush=True); time.sleep(60)"
    )
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root
    ) as run:
        assert run.stdout is not None
        pid, directory = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _is_running(int(pid)):
        assert time.monotonic() < deadline, f"postgres {pid} still runs"
        time.sleep(0.05)
    # The next run sweeps what this one left, once it is old enough to be nobody's.
    os.utime(directory, (0, 0))
    postgres_server.sweep_stale_directories()
    assert not Path(directory).exists()


def test_sweeping_spares_a_live_server(pg_crash_server: PostgresServer) -> None:
    """Catches one run deleting the data of another that runs at the same time."""
    os.utime(pg_crash_server.directory, (0, 0))
    postgres_server.sweep_stale_directories()
    assert (pg_crash_server.data / "PG_VERSION").exists()


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
