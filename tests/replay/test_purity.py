"""
Replay calls nothing (R1, invariant 36): no clock, chance, file, socket, store, work or port.

Everything that answers about the past runs over a rich book while whatever reaches the world
raises. What raises is no Exception, so that nothing on the way can park or swallow it.
"""

import builtins
import hashlib
import io
import os
import pathlib
import random
import secrets
import socket
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn

import psycopg
import pytest

from orderledger import Book
from orderledger.commands import model as m
from orderledger.ledger import ids
from orderledger.ledger.as_of import AsOf
from orderledger.ledger.stores import works
from orderledger.ledger.stores.models_sqlite import SqliteModels
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.ledger.stores.work_memory import MemoryWork
from orderledger.ledger.stores.work_sqlite import SqliteWork
from orderledger.projections.shipped import SHIPPED
from orderledger.reading import Reading
from orderledger.replay.hledger import Hledger
from orderledger.replay.ruling_simulation import Circumstances
from orderledger.replay.scenarios import WHO, read_scenario
from tests.dispute_book import ruling, shares
from tests.projections.books import day
from tests.projections.market_book import MarketBook
from tests.seeding import START, ticking


class Impure(BaseException):
    """Something that replays reached for the world."""


def _raising(what: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise Impure(what)

    return refuse


def _refuse_clock() -> NoReturn:
    raise Impure("utc_now")


_refuse_clock.__globals__["Impure"] = Impure
SOURCES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "time": (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")),
    "ids": (ids, ("time_ns",)),
    "chance": (random, ("random", "randrange", "getrandbits", "choice", "Random", "SystemRandom")),
    "secrets": (secrets, ("token_bytes", "token_hex", "randbelow")),
    "os": (os, ("urandom", "open", "write", "replace", "rename", "remove", "mkdir", "system")),
    "uuid": (uuid, ("uuid1", "uuid4")),
    "files": (builtins, ("open",)),
    "io": (io, ("open", "FileIO")),
    "paths": (pathlib.Path, ("open", "write_text", "write_bytes", "read_text", "read_bytes")),
    "sockets": (socket, ("socket", "create_connection")),
    "processes": (subprocess, ("Popen", "run")),
    "sqlite": (sqlite3, ("connect",)),
    "postgres": (psycopg, ("connect",)),
    "events": (SqliteStore, ("append", "constrain", "change_periods", "archive_commands")),
    "models": (SqliteModels, ("create", "advance", "promote", "claim", "drop", "refuse")),
    "work": (works, ("work_of",)),
}


def _seal(patch: pytest.MonkeyPatch) -> None:
    """Have everything that reaches the world raise."""
    for name, (owner, attributes) in SOURCES.items():
        for attribute in attributes:
            patch.setattr(owner, attribute, _raising(f"{name}.{attribute}"))
    # Defaults of parameters hold the function itself: its code is replaced.
    assert isinstance(ids.utc_now, FunctionType)
    patch.setitem(ids.utc_now.__globals__, "Impure", Impure)
    patch.setattr(ids.utc_now, "__code__", _refuse_clock.__code__)
    patch.setattr(ids.IdSource, "__call__", _raising("new_id"))
    for kind in (SqliteWork, MemoryWork):
        for attribute, value in vars(kind).items():
            if callable(value) and attribute not in ("close", "__init__"):
                patch.setattr(kind, attribute, _raising(f"{kind.__name__}.{attribute}"))


@pytest.fixture
def sealed() -> Iterator[Callable[[], pytest.MonkeyPatch]]:
    """Give a function that seals the world until its result is undone, or the test ends."""
    patch = pytest.MonkeyPatch()

    def seal() -> pytest.MonkeyPatch:
        _seal(patch)
        return patch

    yield seal
    patch.undo()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Give a day of sales and a marketplace in a file, its balances caught up."""
    clock = ticking()
    made = SqliteStore(tmp_path / "book.db", "main", clock=clock)
    Book(made, clock=clock).execute_many(day())
    market = MarketBook(made)
    market.book.read.trial_balance()
    yield made
    made.close()


def _replayed(reading: Reading, store: SqliteStore) -> int:
    """Ask everything that is answered from the past; return how much was asked."""
    head, count = store.head().size, 0
    middle = store.read(head // 2, limit=1)[0]
    for stream in store.streams("", limit=10_000):
        count += reading.state_as_of(stream).version
    for asked in (AsOf(position=head), AsOf(position=head // 2, effective_to=middle.occurred_at)):
        then = reading.as_of(asked.position, effective_to=asked.effective_to)
        for model in SHIPPED:
            then.models.catch_up(model.name)
            assert list(then.models.parked(model.name)) == []
        count += len(then.trial_balance().rows)
        then.close()
    count += len(list(reading.as_of(head).order_history("o1")))
    assert list(reading.as_of(head).verify()) == []
    for model in SHIPPED:
        count += len(reading.diff(model.name, AsOf(position=head - 8)).rows)
    count += len(reading.diff_balances(AsOf(position=head // 2)))
    for total in reading.balances_below("liabilities")[:20]:
        count += len(list(reading.explain(total.account, total.currency)))
    text = "".join(reading.as_of(head).export(Hledger()).chunks())
    return count + len(text)


def _supposed(reading: Reading, issued: int) -> None:
    division = shares(600, 400)
    command = m.IssueRuling(**ruling(division, division))
    scenario = read_scenario(
        b'{"at":%d,"omit":[{"position":3}],"models":["orders","disputes","balances"],'
        b'"inject":[{"stream":"order-o1","topic":"order.completed.v1","payload":{}}],'
        b'"swap":[{"stream":"dispute-d1","field":"rule_book.ruling_hours","value":7}],'
        b'"commands":[{"command":"CompleteOrder","fields":{"order_id":"o1"}},'
        b'{"command":"ClosePeriod","fields":{"period":"p","end":"2026-01-02T00:00:00Z"}}]}'
        % (issued - 1)
    )
    assert len(reading.what_if(scenario).steps) == 2
    then = Reading(reading.as_of(issued - 1)._store, clock=_refuse_clock)
    found = then.simulate_ruling(command, Circumstances(at=START, actor=WHO))
    assert found.is_executed


def _file_hashes(folder: Path) -> dict[str, str]:
    return {
        one.name: hashlib.sha256(one.read_bytes()).hexdigest()
        for one in sorted(folder.iterdir())
        if not one.name.endswith("-shm")
    }


def test_replay_reaches_nothing(
    store: SqliteStore, tmp_path: Path, sealed: Callable[[], pytest.MonkeyPatch]
) -> None:
    """Catches a fold, a projector or an answer that asks the world, or writes to it."""
    reading = Reading(store)
    (issued,) = [
        row.position or 0
        for row in store.stream("dispute-d1")
        if row.topic == "dispute.ruling_issued.v1"
    ]
    # Once before: what is imported when it is first needed comes from files.
    expected = _replayed(reading, store)
    _supposed(reading, issued)
    before = _file_hashes(tmp_path)
    patch = sealed()
    found = _replayed(reading, store)
    _supposed(reading, issued)
    patch.undo()
    assert found == expected
    assert _file_hashes(tmp_path) == before
    reading.close()


def _calls() -> list[Any]:
    return list(_each())


def _each() -> Iterator[Any]:
    for name, (owner, attributes) in SOURCES.items():
        for attribute in attributes:
            yield pytest.param(owner, attribute, id=f"{name}.{attribute}")


@pytest.mark.parametrize(("owner", "attribute"), _calls())
def test_each_source_is_sealed(
    owner: Any, attribute: str, sealed: Callable[[], pytest.MonkeyPatch]
) -> None:
    """Catches a seal that lets through what it names, so that the test above shows nothing."""
    patch = sealed()
    try:
        getattr(owner, attribute)()
    except Impure:
        return
    finally:
        patch.undo()
    pytest.fail(f"{attribute} went through")


def test_clocks_and_ids_are_sealed_where_they_are_defaults(
    store: SqliteStore, sealed: Callable[[], pytest.MonkeyPatch]
) -> None:
    """Catches a clock that was bound before it was sealed: the way most of the code has it."""
    book = Book(store)
    patch = sealed()
    for ask in (
        ids.utc_now,
        ids.new_id,
        book._clock,
        lambda: book.execute(m.CompleteOrder(order_id="o1")),
    ):
        with pytest.raises(Impure):
            ask()
    patch.undo()
