"""The infrastructure factory of ``eventsourcing`` over a book, shared by both engines."""

from abc import abstractmethod
from typing import Final, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Mapper,
    ProcessRecorder,
    Transcoder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic

from .eventsourcing_mapper import OrderLedgerMapper
from .eventsourcing_recorders import (
    Datastore,
    LedgerAggregateRecorder,
    LedgerApplicationRecorder,
    LedgerProcessRecorder,
    LedgerSnapshotRecorder,
    LedgerTrackingRecorder,
)

TAggregateID = TypeVar("TAggregateID", bound=UUID | str)

URL: Final = "ORDERLEDGER_URL"
BOOK: Final = "ORDERLEDGER_BOOK"


class LedgerFactory(InfrastructureFactory[LedgerTrackingRecorder]):
    """
    Makes recorders on the book ``ORDERLEDGER_BOOK`` (default ``main``) at ``ORDERLEDGER_URL``.

    As for every setting of the library, a prefix of the application's name selects one of several:
    ``SHOP_ORDERLEDGER_BOOK=shop``. Raises OSError where the URL is missing.
    """

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        url = self.env.get(URL)
        if not url:
            keys = ", ".join(self.env.create_keys(URL))
            raise OSError(f"the environment has no database URL under any of: {keys}")
        self.datastore: Final = self.open_datastore(url, self.env.get(BOOK) or "main")

    @abstractmethod
    def open_datastore(self, url: str, book: str) -> Datastore:
        """Open the book."""

    def mapper(
        self,
        transcoder: Transcoder | None = None,
        mapper_class: type[Mapper[TAggregateID]] | None = None,
    ) -> Mapper[TAggregateID]:
        """Make a mapper; OrderLedgerMapper unless another is named."""
        if mapper_class is None and not self.env.get(self.MAPPER_TOPIC):
            mapper_class = OrderLedgerMapper[TAggregateID]
        return super().mapper(transcoder, mapper_class)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        """Make a recorder of events, or of snapshots, which have a table of their own."""
        if purpose == "events":
            return LedgerAggregateRecorder(self.datastore)
        return LedgerSnapshotRecorder(self.datastore, purpose)

    def application_recorder(self) -> ApplicationRecorder:
        """Make a recorder; ``APPLICATION_RECORDER_TOPIC`` names a subclass of ours."""
        topic = self.env.get(self.APPLICATION_RECORDER_TOPIC)
        made = _resolved(topic, LedgerApplicationRecorder) if topic else LedgerApplicationRecorder
        return made(self.datastore)

    def tracking_recorder(
        self, tracking_recorder_class: type[LedgerTrackingRecorder] | None = None
    ) -> LedgerTrackingRecorder:
        """Make a recorder; ``TRACKING_RECORDER_TOPIC`` names a subclass of ours."""
        topic = self.env.get(self.TRACKING_RECORDER_TOPIC)
        if tracking_recorder_class is None and topic:
            tracking_recorder_class = _resolved(topic, LedgerTrackingRecorder)
        return (tracking_recorder_class or LedgerTrackingRecorder)(self.datastore)

    def process_recorder(self) -> ProcessRecorder:
        """Make a recorder; ``PROCESS_RECORDER_TOPIC`` names a subclass of ours."""
        topic = self.env.get(self.PROCESS_RECORDER_TOPIC)
        made = _resolved(topic, LedgerProcessRecorder) if topic else LedgerProcessRecorder
        return made(self.datastore)

    def close(self) -> None:
        """Close the book's connections; the recorders cannot be used afterwards."""
        self.datastore.close()


TRecorder = TypeVar("TRecorder")


def _resolved(topic: str, base: type[TRecorder]) -> type[TRecorder]:
    found: object = resolve_topic(topic)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"{topic} is not a subclass of {base.__name__}")
    return found
