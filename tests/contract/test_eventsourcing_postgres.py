"""The recorder cases that `eventsourcing` ships, on our recorders on PostgreSQL."""

import time

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent, Tracking
from psycopg.conninfo import make_conninfo

from orderledger.ledger.stores.eventsourcing_factory import LedgerFactory
from orderledger.ledger.stores.eventsourcing_postgres import Factory
from orderledger.ledger.stores.models import models_of
from orderledger.ledger.stores.postgres_schema import migrate
from tests.contract import eventsourcing_cases as cases
from tests.seeding import balances_of

MODULE = "orderledger.ledger.stores.eventsourcing_postgres"


@pytest.fixture
def ledger_environment(pg_url: str) -> dict[str, str]:
    migrate(pg_url)
    return {"PERSISTENCE_MODULE": MODULE, "ORDERLEDGER_URL": pg_url}


@pytest.fixture
def ledger_factory(ledger_environment: dict[str, str]) -> LedgerFactory:
    return Factory(ledger_environment)


def test_one_grant_is_enough(pg_url: str, ledger_environment: dict[str, str]) -> None:
    """Catches an application whose role may append but not track, take snapshots or read sums."""
    role = f"kitchen_{time.time_ns()}"
    with psycopg.connect(pg_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            owner.execute(f"SELECT orderledger.grant_application('{role}')".encode())
            url = make_conninfo(pg_url, user=role)
            made = Factory({**ledger_environment, "ORDERLEDGER_URL": url})
            recorder = made.process_recorder()
            stored = StoredEvent("a/1", 1, "a", b"{}")
            assert recorder.insert_events([stored], tracking=Tracking("up", 1)) == [1]
            snapshots = made.aggregate_recorder("snapshots")
            snapshots.insert_events([stored])
            assert snapshots.select_events("a/1") == [stored]
            store = made.datastore.store
            models = models_of(store)
            assert balances_of(store, models).catch_up() == 1
            models.close()
            made.close()
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())


class TestEvents(cases.EventCases):
    """An aggregate recorder that accepts a conflict or forgets an event."""


class TestSnapshots(cases.SnapshotCases):
    """A snapshot that is not found, or of another version."""


class TestApplication(cases.ApplicationCases):
    """A notification log with a gap, a repetition or another order."""


class TestTextIds(cases.TextIdCases):
    """A stream's name that is taken for a UUID."""


class TestTracking(cases.TrackingCases):
    """A notification that is processed twice."""


class TestProcess(cases.ProcessCases):
    """Events without the tracking that they belong to, or the other way round."""


class TestNonInterleaving(cases.NonInterleavingCases):
    """Two appends whose positions are mixed."""


class TestFactory(cases.FactoryCases):
    """A recorder or mapper that the environment cannot choose."""

    def expected_factory_class(self) -> type[LedgerFactory]:
        return Factory
