"""The work that belongs to an event store: same database, same book."""

from typing import Final
from weakref import WeakKeyDictionary

from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.hypothetical import is_hypothetical
from orderledger.ledger.ports import EventStore
from orderledger.ledger.work_ports import WorkStore

from .engines import as_postgres
from .memory import MemoryStore
from .work_memory import MemoryWork

_in_memory: Final[WeakKeyDictionary[MemoryStore, MemoryWork]] = WeakKeyDictionary()


def work_of(store: EventStore) -> WorkStore:
    """
    Open the work beside a store's events; close it before the store.

    For a store in memory every call gives the same. Raises InvalidInput for a store that is none
    of ours. Drivers are imported only for the engine at hand.
    """
    if is_hypothetical(store):
        raise InvalidInput(
            f"{store.book} is hypothetical: it acts on nothing and has no work", book=store.book
        )
    if isinstance(store, MemoryStore):
        return _in_memory.setdefault(store, MemoryWork())
    from .sqlite import SqliteStore

    if isinstance(store, SqliteStore):
        from .work_sqlite import SqliteWork

        return SqliteWork(store.file, store.book_id)
    postgres = as_postgres(store)
    if postgres is not None:
        from .work_postgres import PostgresWork

        return PostgresWork(postgres.url, postgres.book)
    raise InvalidInput(f"{type(store).__name__} has no work; pass a WorkStore of yours")
