"""The recorder cases that `eventsourcing` ships, on our recorders on SQLite."""

from pathlib import Path

import pytest

from orderledger.ledger.stores.eventsourcing_factory import LedgerFactory
from orderledger.ledger.stores.eventsourcing_sqlite import Factory
from tests.contract import eventsourcing_cases as cases

MODULE = "orderledger.ledger.stores.eventsourcing_sqlite"


@pytest.fixture
def ledger_environment(tmp_path: Path) -> dict[str, str]:
    return {"PERSISTENCE_MODULE": MODULE, "ORDERLEDGER_URL": f"sqlite:///{tmp_path}/book.db"}


@pytest.fixture
def ledger_factory(ledger_environment: dict[str, str]) -> LedgerFactory:
    return Factory(ledger_environment)


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
