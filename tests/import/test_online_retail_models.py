"""Every read model of the real year, twice on each engine: the same bytes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import orderledger
from orderledger import Book
from orderledger.importers.online_retail_import import CACHE_STREAMS, import_file
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.models import models_of
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.replay.rebuild import rebuild
from tests.online_retail_oracle import data_file

pytestmark = [
    pytest.mark.skipif(data_file() is None, reason="the Online Retail file is not here"),
    pytest.mark.long,
    pytest.mark.pg,
]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _checksums(store: EventStore) -> dict[str, str]:
    """Import the file at one instant, and return the checksums of two rebuilds of every model."""
    with Book(store, clock=lambda: NOW, cache_streams=CACHE_STREAMS) as book:
        import_file(book, str(data_file()))
        models = ReadModels(store, models_of(store), SHIPPED)
        found: dict[str, str] = {}
        for name in models.names:
            models.catch_up(name)
            assert list(models.parked(name)) == []
            first, second = rebuild(models, name), rebuild(models, name)
            assert first.checksum == second.checksum
            assert first.compared_at == second.compared_at == store.head().size
            found[name] = first.checksum
        models.store.close()
        return found


def test_the_year_gives_the_same_rows_twice_on_both_engines(tmp_path: Path, pg_url: str) -> None:
    """Catches a row that depends on the engine, on batches, or on when it was made."""
    orderledger.migrate(pg_url)
    on_file = _checksums(SqliteStore(tmp_path / "book.db", clock=lambda: NOW))
    on_server = _checksums(PostgresStore(pg_url, clock=lambda: NOW))
    assert on_file == on_server
