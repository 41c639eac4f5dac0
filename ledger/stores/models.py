"""The read models that belong to an event store: same database, same book."""

from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.model_ports import ModelStore
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import RowSnapshots

from .engines import as_postgres
from .memory import MemoryStore
from .models_memory import MemoryModels
from .models_saved import SavedModels


def models_of(store: EventStore, saved: RowSnapshots | None = None) -> ModelStore:
    """
    Open the read models beside a store's events; close them before the store.

    For a store in memory, and for a log as it was, each call gives new, empty ones; those of a log
    up to a position begin at what is ``saved``. Raises InvalidInput for a store that is none of
    ours. Drivers are imported only for the engine at hand.
    """
    if saved is not None and isinstance(store, LogAsOf) and not store.has_gaps:
        return SavedModels(saved, store.point.position)
    if isinstance(store, MemoryStore | LogAsOf):
        return MemoryModels()
    from .sqlite import SqliteStore

    if isinstance(store, SqliteStore):
        from .models_sqlite import SqliteModels

        return SqliteModels(store.file, store.book_id)
    postgres = as_postgres(store)
    if postgres is not None:
        from .models_postgres import PostgresModels

        return PostgresModels(postgres.url, postgres.book)
    raise InvalidInput(f"{type(store).__name__} has no read models; pass a ModelStore of yours")
