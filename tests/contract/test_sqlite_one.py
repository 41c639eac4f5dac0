"""The short path of an append on SQLite, Appender._write_one, beside the general one."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.ports import Appended, Batch, NewAppend, NewEvent
from orderledger.ledger.stores import sqlite_append
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.ledger.stores.sqlite_append import only_event
from tests.contract.batches import (
    BALANCED,
    START,
    batch,
    command,
    event,
    everything,
    expected_leaf,
    one,
)

TABLES = ("events", "log", "tiles", "commands", "constrained_accounts", "books")
Step = Callable[[SqliteStore], object]


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    """Give two stores on files of their own, whose clocks stand still."""
    short = SqliteStore(tmp_path / "short.db", clock=lambda: START)
    general = SqliteStore(tmp_path / "general.db", clock=lambda: START)
    yield short, general
    short.close()
    general.close()


def _rows(store: SqliteStore) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(store.path)) as connection:
        return {
            table: connection.execute(f"SELECT * FROM orderledger_{table}").fetchall()
            for table in TABLES
        }


def _outcome(step: Step, store: SqliteStore) -> object:
    """Return what a step gives, an error as its type and facts."""
    try:
        return step(store)
    except OrderLedgerError as error:
        facts = getattr(error, "moved", None), getattr(error, "duplicates", None)
        return type(error), facts, getattr(error, "stale_constraints", None), str(error)


def _appending(made: Batch) -> Step:
    return lambda store: store.append(made)


def _joining(made: Batch) -> Step:
    def step(store: SqliteStore) -> Appended:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as host:
            host.row_factory = sqlite3.Row
            host.execute("BEGIN IMMEDIATE")
            appended = store.append(made, connection=host)
            host.execute("COMMIT")
            return appended

    return step


def _constraining(account: str) -> Step:
    made = command(f"constrain {account}", event("c/1", 1))
    return lambda store: store.constrain(account, lambda _, g: batch(made, generation=g))


def _steps() -> list[Step]:
    unbalanced = "posted assets:b GBP 1\nposted income:d GBP 1"
    later = event("s/1", 2)
    at_once = NewEvent(later.event_id, "s/1", 2, "t", START, "{}", BALANCED)
    return [
        _appending(one("new", event("s/1", 1, postings=BALANCED))),
        _appending(one("next, at the same instant", at_once)),
        _appending(one("from zero", event("z/1", 0))),
        _appending(one("after zero", event("z/1", 1))),
        _appending(one("taken version", event("s/1", 2))),
        _appending(one("new", event("s/2", 1))),
        _appending(one("new", event("s/1", 9))),
        _appending(one("taken id", at_once)),
        _appending(one("gap", event("s/1", 4))),
        _appending(one("gap in a new stream", event("s/3", 2))),
        _appending(one("unbalanced", event("s/4", 1, postings=unbalanced))),
        _joining(one("joined", event("s/6", 1))),
        _joining(one("joined", event("s/6", 2))),
        _joining(one("gap", event("s/6", 4))),
        _constraining("assets:psp:adyen"),
        _appending(batch(command("stale", event("s/8", 1)), generation=0)),
        _appending(batch(command("current", event("s/8", 1)), generation=1)),
        _appending(one("many", *[event("s/10", version) for version in range(1, 245)])),
        *[_appending(one(f"tile {n}", event(f"t/{n}", 1))) for n in range(8)],
    ]


def test_both_paths_write_the_same(
    twins: tuple[SqliteStore, SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a rule or a column that the path for one event treats otherwise."""
    short, general = twins
    used: list[bool] = []

    def spying(made: Batch) -> tuple[NewAppend, NewEvent] | None:
        found = only_event(made)
        used.append(found is not None)
        return found

    def never(_: Batch) -> None:
        return None

    for step in _steps():
        monkeypatch.setattr(sqlite_append, "only_event", spying)
        expected = _outcome(step, short)
        monkeypatch.setattr(sqlite_append, "only_event", never)
        assert _outcome(step, general) == expected
        assert _rows(short) == _rows(general)
    assert used.count(True) > 20
    assert len(_rows(short)["tiles"]) == 1


def test_only_a_batch_of_one_event_is_short() -> None:
    """Catches a batch whose checks or further events the short path would drop."""
    made = one("k", event("s/1", 1))
    assert only_event(made) == (made.appends[0], made.appends[0].events[0])
    assert only_event(one("k", event("s/1", 1), checks={"s/2": 1})) is None
    assert only_event(one("k", event("s/1", 1), event("s/1", 2))) is None
    assert only_event(one("k")) is None
    assert only_event(batch()) is None
    assert only_event(batch(command("a", event("s/1", 1)), command("b"))) is None


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 127, 128, 129, 200])
def test_rows_are_written_in_order_and_once(tmp_path: Path, count: int) -> None:
    """Catches a batch cut into statements of several rows, of which one is lost or out of place."""
    store = SqliteStore(tmp_path / "book.db")
    made = batch(*[command(f"k {n}", event(f"s/{n}", 1), event(f"s/{n}", 2)) for n in range(count)])
    store.append(made)
    written = [found.event_id for append in made.appends for found in append.events]
    events = everything(store)
    assert [found.event_id for found in events] == written
    assert store.leaf_hashes(0, 1000) == [expected_leaf("main", found) for found in events]
    assert set(store.commands([append.key_hash for append in made.appends])) == {
        append.key_hash for append in made.appends
    }
    store.close()


def test_recorded_at_runs_over_the_second(tmp_path: Path) -> None:
    """Catches a batch whose rows pass a full second, and get an instant of the second before."""
    nearly = START.replace(microsecond=999_998)
    store = SqliteStore(tmp_path / "book.db", clock=lambda: nearly)
    store.append(one("k", *[event("s/1", version) for version in range(1, 5)]))
    recorded = [found.recorded_at for found in store.read(0)]
    assert recorded == [nearly + timedelta(microseconds=n) for n in range(4)]
    store.close()
