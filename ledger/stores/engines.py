"""Which engine an object of ours is on, told without importing the drivers of the others."""

import sys
from typing import TYPE_CHECKING

from orderledger.ledger.model_ports import ModelStore
from orderledger.ledger.ports import EventStore

if TYPE_CHECKING:
    from .models_postgres import PostgresModels
    from .postgres import PostgresStore


def as_postgres(store: EventStore) -> "PostgresStore | None":
    """Return a store as one on PostgreSQL, None where it is none."""
    if not _is_imported("postgres"):
        return None
    from .postgres import PostgresStore

    return store if isinstance(store, PostgresStore) else None


def as_postgres_models(store: ModelStore) -> "PostgresModels | None":
    """Return a store of read models as one on PostgreSQL, None where it is none."""
    if not _is_imported("models_postgres"):
        return None
    from .models_postgres import PostgresModels

    return store if isinstance(store, PostgresModels) else None


def _is_imported(module: str) -> bool:
    # While nobody has, nothing can be of its classes, and its driver need not be installed.
    return f"{__package__}.{module}" in sys.modules
