"""
PostgreSQL's own recovery, rehearsed: a base backup, archived write-ahead log, a lost disk.

The commands are those of docs/recovery.md.
"""

import shutil
import time
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

import orderledger
from orderledger.ledger.codec import key_hash
from tests.cli.running import answer, run
from tests.commands.entries import post
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.pg
PATIENCE_S = 60
STEP_S = 0.05
"""Between what is before and after an instant: commits have times of microseconds."""


@pytest.fixture
def server(pg_crash_server: PostgresServer) -> PostgresServer:
    """Give a durable server that archives its write-ahead log."""
    archive = pg_crash_server.directory / "archive"
    archive.mkdir()
    shutil.chown(archive, **_owner(pg_crash_server))
    command = f"test ! -f {archive}/%f && cp %p {archive}/%f"
    pg_crash_server.settings |= {"archive_mode": "on", "archive_command": command}
    pg_crash_server.restart()
    return pg_crash_server


def _owner(server: PostgresServer) -> dict[str, int]:
    status = server.directory.stat()
    return {"user": status.st_uid, "group": status.st_gid}


def execute(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(statement.encode()).fetchone()
    return found[0] if found is not None else None


def archive_all(server: PostgresServer, url: str) -> None:
    """Have the segment in use archived, and wait until it is."""
    name = execute(url, "SELECT pg_walfile_name(pg_switch_wal())")
    for _ in range(int(PATIENCE_S / STEP_S)):
        if (server.directory / "archive" / str(name)).exists():
            return
        time.sleep(STEP_S)
    pytest.fail(f"segment {name} was not archived in {PATIENCE_S} s")


def write(url: str, *names: str) -> None:
    with orderledger.open(url) as book:
        for name in names:
            book.execute(post(name), key=name)


def lose_the_disk(server: PostgresServer) -> None:
    server.kill()
    shutil.rmtree(server.data)


def restore(server: PostgresServer, url: str, **target: str) -> None:
    """Put the base backup in place, and recover to a target from the archive."""
    shutil.copytree(server.directory / "base", server.data)
    for path in (server.data, *server.data.rglob("*")):
        shutil.chown(path, **_owner(server))
    server.data.chmod(0o700)
    (server.data / "recovery.signal").touch()
    server.settings |= {
        "restore_command": f"cp {server.directory}/archive/%f %p",
        "recovery_target_action": "promote",
        **target,
    }
    server.start()
    for _ in range(int(PATIENCE_S / STEP_S)):
        if execute(url, "SELECT pg_is_in_recovery()") is False:
            return
        time.sleep(STEP_S)
    pytest.fail(f"the server did not leave recovery in {PATIENCE_S} s")


def known(url: str, *names: str) -> list[str]:
    with orderledger.open(url) as book:
        found = book.store.commands([key_hash("main", name) for name in names])
        return [name for name in names if key_hash("main", name) in found]


@pytest.mark.timeout(240)
def test_a_lost_disk_comes_back_as_of_an_instant(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a recovery that loses what was archived, brings what came later, or hides a loss."""
    with server.fresh_database() as url:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ORDERLEDGER_URL", url)
        orderledger.migrate(url)
        write(url, "before-1", "before-2")
        server.run("pg_basebackup", "-h", str(server.directory), "-U", "postgres",
                   "-D", str(server.directory / "base"), "-c", "fast")  # fmt: skip
        server.run("pg_verifybackup", str(server.directory / "base"))
        write(url, "after-1", "after-2")
        time.sleep(STEP_S)
        instant = execute(url, "SELECT now()")
        assert isinstance(instant, datetime)
        time.sleep(STEP_S)
        write(url, "mistake")
        keys = answer("checkpoint", "key", "ledger.shop.example", "book.key")
        published = answer("checkpoint", "publish", "--key", "book.key", "--to", "outside")
        archive_all(server, url)
        write(url, "not-archived")
        head = orderledger_head(url)

        lose_the_disk(server)
        restore(server, url, recovery_target_time=instant.isoformat())

        names = ("before-1", "before-2", "after-1", "after-2", "mistake", "not-archived")
        assert known(url, *names) == list(names[:4])
        assert answer("verify")[-1]["result"] == "ok"
        # What was published outside tells that the book lost its end.
        trust = ("--checkpoint", "outside", "--trust", keys["operator_key"])
        found = answer("verify", *trust, status=1)
        assert published["size"] > orderledger_head(url)
        assert any(
            one["result"] == "error" and str(published["size"]) in one["text"] for one in found
        ), found

        # A caller who never learnt what became of a command sends it again, with its key.
        write(url, "mistake", "not-archived")
        assert known(url, *names) == list(names)
        assert answer("verify")[-1]["result"] == "ok"
        assert orderledger_head(url) == head

        # To the end of what was archived: all but what nothing had archived.
        lose_the_disk(server)
        server.settings.pop("recovery_target_time")
        restore(server, url, recovery_target_timeline="1")
        assert known(url, *names) == list(names[:5])
        assert answer("verify", *trust)[-1]["result"] == "ok"


def orderledger_head(url: str) -> int:
    with orderledger.open(url) as book:
        while book.store.sequence():
            pass
        return book.store.head().size


def test_the_archive_is_not_left_behind_unseen(server: PostgresServer) -> None:
    """Catches an archive that fails while nobody looks: the server's own count tells it."""
    server.settings["archive_command"] = "false"
    server.restart()
    with server.fresh_database() as url:
        orderledger.migrate(url)
        write(url, "one")
        execute(url, "SELECT pg_switch_wal()")
        for _ in range(int(PATIENCE_S / STEP_S)):
            if execute(url, "SELECT failed_count FROM pg_stat_archiver"):
                break
            time.sleep(STEP_S)
        assert execute(url, "SELECT failed_count FROM pg_stat_archiver")
        assert run("verify", "--url", url).exit_code == 0
