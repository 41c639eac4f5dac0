"""The library's own cases, on a database that a fixture of the test module provides."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)
from eventsourcing.utils import Environment

from orderledger.ledger.stores.eventsourcing_factory import LedgerFactory
from orderledger.ledger.stores.eventsourcing_recorders import (
    LedgerAggregateRecorder,
    LedgerApplicationRecorder,
    LedgerProcessRecorder,
    LedgerTrackingRecorder,
)


class OnBook:
    """Gives every case an empty book on the engine of its module."""

    factory: LedgerFactory

    @pytest.fixture(autouse=True)
    def _open(self, ledger_factory: LedgerFactory) -> Iterator[None]:
        self.factory = ledger_factory
        yield
        ledger_factory.close()


class EventCases(OnBook, AggregateRecorderTestCase):
    """The aggregate recorder of events."""

    def create_recorder(self) -> AggregateRecorder:
        return self.factory.aggregate_recorder()


class SnapshotCases(OnBook, AggregateRecorderTestCase):
    """The aggregate recorder of snapshots."""

    def create_recorder(self) -> AggregateRecorder:
        return self.factory.aggregate_recorder("snapshots")


class ApplicationCases(OnBook, ApplicationRecorderTestCase[ApplicationRecorder]):
    """The application recorder with UUIDs."""

    def create_recorder(self) -> ApplicationRecorder:
        return self.factory.application_recorder()


class TextIdCases(ApplicationCases):
    """The application recorder with names of streams."""

    def new_originator_id(self) -> str:
        return f"cart/{uuid4()}"


class TrackingCases(OnBook, TrackingRecorderTestCase):
    """The tracking recorder."""

    def create_recorder(self) -> TrackingRecorder:
        return self.factory.tracking_recorder()


class ProcessCases(OnBook, ProcessRecorderTestCase):
    """The process recorder."""

    def create_recorder(self) -> ProcessRecorder:
        return self.factory.process_recorder()


class NonInterleavingCases(OnBook, NonInterleavingNotificationIDsBaseCase):
    """Two appends of 1,000 events at once."""

    def create_recorder(self) -> ApplicationRecorder:
        return self.factory.application_recorder()


class SpecialTrackingRecorder(LedgerTrackingRecorder):
    """A host's own tracking recorder."""


class FactoryCases(InfrastructureFactoryTestCase[LedgerFactory]):
    """The factory, made from the environment."""

    @pytest.fixture(autouse=True)
    def _environment(self, ledger_environment: dict[str, str]) -> None:
        self.env = Environment("", ledger_environment)

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return LedgerAggregateRecorder

    def expected_application_recorder_class(self) -> type[ApplicationRecorder]:
        return LedgerApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        return LedgerTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return SpecialTrackingRecorder

    def expected_process_recorder_class(self) -> type[ProcessRecorder]:
        return LedgerProcessRecorder
