"""The postings that belong to a store of read models: same database, same book."""

from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.model_ports import ModelStore
from orderledger.ledger.read_ports import Journal

from .engines import as_postgres_models
from .journal_memory import MemoryJournal
from .models_memory import MemoryModels


def journal_of(models: ModelStore) -> Journal:
    """
    Return what answers questions about the postings that a store of read models keeps.

    It uses the store's connections and needs no closing. Raises InvalidInput for a store that is
    none of ours. Drivers are imported only for the engine at hand.
    """
    if isinstance(models, MemoryModels):
        return MemoryJournal(models)
    from .models_sqlite import SqliteModels

    if isinstance(models, SqliteModels):
        from .journal_sqlite import SqliteJournal

        return SqliteJournal(models.file, models.book_id)
    postgres = as_postgres_models(models)
    if postgres is not None:
        from .journal_postgres import PostgresJournal

        return PostgresJournal(postgres.connections, postgres.book_id)
    raise InvalidInput(f"{type(models).__name__} has no journal; pass a Journal of yours")
