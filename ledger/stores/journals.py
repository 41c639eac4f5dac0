"""The journal lines that belong to an event store: same database, same book."""

from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.ports import EventStore
from orderledger.ledger.read_ports import JournalStore

from .journal_memory import MemoryJournal
from .memory import MemoryStore


def journal_of(store: EventStore) -> JournalStore:
    """
    Open the journal lines beside a store's events; close them before the store.

    For a store in memory each call gives new, empty lines. Raises InvalidInput for a store that
    is none of ours. Drivers are imported only for the engine at hand.
    """
    if isinstance(store, MemoryStore):
        return MemoryJournal()
    from .sqlite import SqliteStore

    if isinstance(store, SqliteStore):
        from .journal_sqlite import SqliteJournal

        return SqliteJournal(store.file, store.book_id)
    from .postgres import PostgresStore

    if isinstance(store, PostgresStore):
        from .journal_postgres import PostgresJournal

        return PostgresJournal(store.url, store.book)
    raise InvalidInput(f"{type(store).__name__} has no read models; pass a JournalStore of yours")
