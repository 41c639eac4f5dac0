"""What stands around a store's events: same database, same book."""

from orderledger.ledger.audit_ports import Audit
from orderledger.ledger.ports import EventStore

from .engines import as_postgres
from .memory import MemoryStore


def audit_of(store: EventStore) -> Audit | None:
    """
    Open what a verification asks of the database beside a store's events.

    None for a store that keeps nothing beside them, as a log as it was. It uses the store's
    connections and needs no closing. Drivers are imported only for the engine at hand.
    """
    if isinstance(store, MemoryStore):
        from .audit_memory import MemoryAudit

        return MemoryAudit(store)
    from .sqlite import SqliteStore

    if isinstance(store, SqliteStore):
        from .audit_sqlite import SqliteAudit

        return SqliteAudit(store.file, store.book_id)
    postgres = as_postgres(store)
    if postgres is not None:
        from .audit_postgres import PostgresAudit

        return PostgresAudit(postgres.connections, postgres.book_id)
    return None
