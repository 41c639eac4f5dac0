"""Verification and histories on PostgreSQL, where committed events may wait for their position."""

from collections.abc import Iterator

import psycopg
import pytest

from orderledger.ledger.ports import Batch, EventStore
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.projections.balances import Postings
from orderledger.projections.models import fingerprint
from orderledger.reading import Reading
from orderledger.replay.findings import Check
from tests.cli.seeded_book import hold, seed
from tests.seeding import START, Seeder, ticking, transfer


@pytest.fixture
def store(pg_url: str) -> Iterator[PostgresStore]:
    """Give the seeded book with 300 entries more."""
    migrate(pg_url)
    opened = PostgresStore(pg_url, clock=ticking())
    seed(opened)
    hold(opened)
    facts = [transfer(1, START, entry_id=f"e{number}") for number in range(300)]
    Seeder(opened, first=10_000).append_many(facts)
    yield opened
    opened.close()


class Joined:
    """Makes a seeder append inside a host's open transaction."""

    def __init__(self, store: EventStore, connection: object) -> None:
        self.book = store.book
        self._store = store
        self._connection = connection

    def append(self, batch: Batch) -> object:
        """Append without sequencing."""
        return self._store.append(batch, connection=self._connection)


def test_events_that_wait_are_no_fault(store: PostgresStore) -> None:
    """Catches false alarms about a host's transaction that committed a moment ago."""
    reading = Reading(store)
    with psycopg.connect(store.url) as connection:
        joined = Joined(store, connection)
        Seeder(joined, first=90_000).append(  # type: ignore[arg-type]  # only append is used
            transfer(5, START, entry_id="joined")
        )
    assert reading.status().pending == 1
    assert [one.position for one in reading.history("journal-joined")] == [None]
    assert list(reading.verify()) == []
    # A balance asked for now knows of it: reading gives what waits its position first.
    assert reading.balance("assets:bank:main") == {"USD": 7_083 + 305}
    assert reading.status().pending == 0
    assert list(reading.verify()) == []
    reading.close()


POSTINGS_TABLE = f"rm_1_1_{fingerprint(Postings())}_postings"
FAULTS = {
    "payload": (
        (
            "UPDATE orderledger.events SET payload = replace(payload, 'seeded', 'forged') "
            "WHERE stream = 'journal-e99'"
        ),
        {Check.LEAF_HASH_WRONG},
    ),
    "place deleted": (
        "DELETE FROM orderledger.log WHERE position = 200",
        {Check.POSITION_GAP, Check.EVENT_OUTSIDE_LOG},
    ),
    "event deleted": (
        "DELETE FROM orderledger.events WHERE stream = 'payment-p1' AND version = 3",
        {Check.POSITION_GAP, Check.VERSION_GAP},
    ),
    "tile": (
        "UPDATE orderledger.tiles SET root = sha256('x') WHERE index = 0",
        {Check.TILE_WRONG},
    ),
    "recorded_at": (
        (
            "UPDATE orderledger.log SET recorded_at = recorded_at - interval '1 day' "
            "WHERE position = 300"
        ),
        {Check.LEAF_HASH_WRONG, Check.RECORDED_NOT_INCREASING},
    ),
    "line": (
        f"UPDATE orderledger_read.{POSTINGS_TABLE} SET minor = minor + 1 WHERE position = 300",
        {Check.JOURNAL_LINES_WRONG},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(store: PostgresStore, fault: str) -> None:
    """Catches a check that works on SQLite only."""
    script, expected = FAULTS[fault]
    reading = Reading(store)
    reading.balances.catch_up()
    with psycopg.connect(store.url) as connection:
        for table in ("events", "log", "tiles"):
            connection.execute(f"ALTER TABLE orderledger.{table} DISABLE TRIGGER ALL".encode())
        connection.execute(script.encode())
    assert {finding.code for finding in reading.verify()} >= expected
    reading.close()
