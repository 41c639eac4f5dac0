"""The read models that belong to an event store: same database, same book."""

from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.model_ports import ModelStore
from orderledger.ledger.ports import EventStore

from .memory import MemoryStore
from .models_memory import MemoryModels


def models_of(store: EventStore) -> ModelStore:
    """
    Open the read models beside a store's events; close them before the store.

    For a store in memory, and for a log as it was, each call gives new, empty ones. Raises
    InvalidInput for a store that is none of ours. Drivers are imported only for the engine at hand.
    """
    if isinstance(store, MemoryStore | LogAsOf):
        return MemoryModels()
    from .sqlite import SqliteStore

    if isinstance(store, SqliteStore):
        from .models_sqlite import SqliteModels

        return SqliteModels(store.file, store.book_id)
    from .postgres import PostgresStore

    if isinstance(store, PostgresStore):
        from .models_postgres import PostgresModels

        return PostgresModels(store.url, store.book)
    raise InvalidInput(f"{type(store).__name__} has no read models; pass a ModelStore of yours")
