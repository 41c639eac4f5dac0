"""The same log gives the same rows on every engine, whoever makes them and how often."""

from datetime import datetime

import pytest

from orderledger import Book
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models import models_of
from orderledger.projections.compare import summed
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.replay.rebuild import rebuild, verify
from tests.contract.engines import Engine
from tests.projections.books import day
from tests.projections.market_book import MarketBook
from tests.seeding import START

NAMES = [model.name for model in SHIPPED]


def _stands_still() -> datetime:
    """Give one instant: then every engine records the same ones, a microsecond apart."""
    return START


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    """The checksums in memory, per model."""
    return _checksums(_lived(MemoryStore(clock=_stands_still)))


def _lived(store: EventStore) -> EventStore:
    """Give a day of sales, then disputes, chargebacks, payouts, a settlement, alerts."""
    results = Book(store, clock=_stands_still).execute_many(day())
    assert len(results) == len(day())
    MarketBook(store)
    return store


def _checksums(store: EventStore) -> dict[str, str]:
    models = ReadModels(store, models_of(store), SHIPPED)
    found: dict[str, str] = {}
    for name in NAMES:
        models.catch_up(name, batch_events=97)
        live = models.live(name)
        assert live is not None
        for table in models.model(name).tables:
            assert models.store.page(live, table, None, 1), f"{table.name} proves nothing"
        found[name] = summed(models.store, live, tuple(models.model(name).tables)).checksum.hex()
        assert list(models.parked(name)) == []
        again = rebuild(models, name)
        assert again.checksum == found[name]
        assert again.compared_at == store.head().size
        assert verify(models, name).problem is None
    models.store.close()
    return found


def test_every_engine_holds_the_same_rows(engine: Engine, expected: dict[str, str]) -> None:
    """Catches a value, an order or a key that one engine keeps otherwise than another."""
    assert _checksums(_lived(engine.open(clock=_stands_still))) == expected
