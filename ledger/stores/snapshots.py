"""The snapshots that belong to an event store: same database, same book."""

from typing import Final
from weakref import WeakKeyDictionary

from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import SnapshotStore

from .engines import as_postgres
from .memory import MemoryStore
from .snapshots_memory import MemorySnapshots

_in_memory: Final[WeakKeyDictionary[MemoryStore, MemorySnapshots]] = WeakKeyDictionary()


def snapshots_of(store: EventStore) -> SnapshotStore:
    """
    Open the snapshots beside a store's events; close them before the store.

    For a store in memory every call gives the same. Raises InvalidInput for a store that is none
    of ours. Drivers are imported only for the engine at hand.
    """
    if isinstance(store, MemoryStore):
        return _in_memory.setdefault(store, MemorySnapshots())
    from .sqlite import SqliteStore

    if isinstance(store, SqliteStore):
        from .snapshots_sqlite import SqliteSnapshots

        return SqliteSnapshots(store.file, store.book_id)
    postgres = as_postgres(store)
    if postgres is not None:
        from .snapshots_postgres import PostgresSnapshots

        return PostgresSnapshots(postgres.connections, postgres.book_id)
    raise InvalidInput(f"{type(store).__name__} has no snapshots; pass a SnapshotStore of yours")
