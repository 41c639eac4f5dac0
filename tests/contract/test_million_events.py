"""A market of a million events: every read model, twice on each engine, gives the same bytes."""

import itertools
import os
from datetime import datetime
from pathlib import Path

import pytest

import orderledger
from orderledger import Book
from orderledger.demo_scenarios import interleaved, stories
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.models import models_of
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.replay.building import Slots
from orderledger.replay.filling import Progress
from orderledger.replay.rebuild import rebuild_all, verify
from tests.seeding import START

EVENTS = int(os.environ.get("ORDERLEDGER_TEST_EVENTS", "1000000"))
ORDERS_AT_ONCE = 1_000


def _stands_still() -> datetime:
    return START


def _lived(store: EventStore) -> None:
    """Let the marketplace have days, one after the other, until there are events enough."""
    book = Book(store, clock=_stands_still)
    for seed in itertools.count(1):
        steps = [step.envelope for step in interleaved(stories(seed, ORDERS_AT_ONCE))]
        assert len(book.execute_many(steps)) == len(steps)
        while store.sequence():
            pass
        if store.head().size >= EVENTS:
            return


def _silent(names: object) -> Progress:
    return lambda position, head: None


def _checksums(store: EventStore) -> tuple[int, dict[str, str]]:
    """Follow live, rebuild twice, and return the head and the checksum of each model."""
    models = ReadModels(store, models_of(store), SHIPPED)
    for name in models.names:
        models.catch_up(name)
        assert list(models.parked(name)) == []
    first = list(rebuild_all(models, models.names, _silent, Slots(at_once=4)))
    second = list(rebuild_all(models, models.names, _silent, Slots(at_once=1)))
    assert {one.compared_at for one in first + second} == {store.head().size}
    found = {one.model: one.checksum for one in first}
    assert found == {one.model: one.checksum for one in second}
    assert [verify(models, name).problem for name in models.names] == [None] * len(models.names)
    models.store.close()
    return store.head().size, found


@pytest.mark.long
@pytest.mark.pg
def test_both_engines_hold_the_same_rows_of_a_million_events(tmp_path: Path, pg_url: str) -> None:
    """Catches a row that depends on the engine, on batches, or on who was rebuilt together."""
    on_file = SqliteStore(tmp_path / "book.db", clock=_stands_still)
    _lived(on_file)
    orderledger.migrate(pg_url)
    on_server = PostgresStore(pg_url, clock=_stands_still)
    _lived(on_server)
    size, expected = _checksums(on_file)
    assert size >= EVENTS
    assert _checksums(on_server) == (size, expected)
