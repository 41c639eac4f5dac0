"""
From a location to what stands there: the event store of a book, and the schema it needs.

Drivers are imported only for the engine at hand.
"""

import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

from orderledger.config import Location
from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.audit_ports import Audit
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.hypothetical import Fork
from orderledger.ledger.ids import utc_now
from orderledger.ledger.migrate import Migration
from orderledger.ledger.model_ports import ModelStore
from orderledger.ledger.ports import EventStore
from orderledger.ledger.read_ports import Journal
from orderledger.ledger.snapshot_ports import ResumedModels, RowSnapshots, SnapshotStore
from orderledger.ledger.work_ports import WorkStore


def open_store(
    location: Location,
    *,
    must_exist: bool = False,
    clock: Callable[[], datetime] | None = None,
) -> EventStore:
    """
    Open the event store of a book; a SQLite file is created and prepared when absent.

    ``clock`` gives recorded_at; by default the machine's clock, or the server's.

    With ``must_exist`` a file that is absent is NotFound, and one without our tables
    SchemaMismatch: a mistyped path must not make a book.
    """
    if location.engine == "sqlite":
        if must_exist and not Path(location.path).exists():
            raise NotFound(
                f"there is no file {location.path}; `orderledger migrate` creates it",
                path=location.path,
            )
        from orderledger.ledger.stores.sqlite import SqliteStore

        return SqliteStore(
            location.path, location.book, must_be_ours=must_exist, clock=clock or utc_now
        )
    try:
        from orderledger.ledger.stores.postgres import PostgresStore
    except ModuleNotFoundError as error:
        raise _without_driver() from error
    return PostgresStore(location.url, location.book, clock=clock)


def open_fork(log: LogAsOf, clock: Callable[[], datetime]) -> Fork:
    """
    Open a fork of a book: commands may continue the log in memory, and nothing is written to it.

    ``clock`` gives recorded_at.
    """
    from orderledger.ledger.stores.fork import ForkStore

    return ForkStore(log, clock=clock)


def journal_of(models: ModelStore) -> Journal:
    """Return what answers questions about the postings that a store of read models keeps."""
    from orderledger.ledger.stores import journals

    return journals.journal_of(models)


def open_models(store: EventStore, saved: RowSnapshots | None = None) -> ModelStore:
    """
    Open the rows of the read models beside a store's events; close them before the store.

    Those of a book as it was begin at what is ``saved``, where they may.
    """
    from orderledger.ledger.stores.models import models_of

    return models_of(store, saved)


def open_resumed(store: LogAsOf, saved: RowSnapshots, skipped: Sequence[int]) -> ResumedModels:
    """
    Open the rows of the read models of a book as it was, which begin at what is saved.

    They leave out the positions ``skipped``, whatever had been acknowledged by then.
    """
    from orderledger.ledger.stores.models_saved import SavedModels

    return SavedModels(saved, store.point.position, skipped)


def open_audit(store: EventStore) -> Audit | None:
    """Open what a verification asks of the database beside a store's events; needs no closing."""
    from orderledger.ledger.stores.audits import audit_of

    return audit_of(store)


@contextmanager
def scratch_models() -> Generator[ModelStore]:
    """Open an empty place for the rows of read models, in a temporary file that is then deleted."""
    from orderledger.ledger.stores.models import models_of
    from orderledger.ledger.stores.sqlite import SqliteStore

    with tempfile.TemporaryDirectory(prefix="orderledger-") as folder:
        store = SqliteStore(Path(folder) / "rows.db", "scratch")
        models = models_of(store)
        try:
            yield models
        finally:
            models.close()
            store.close()


def open_work(store: EventStore) -> WorkStore:
    """Open the work beside a store's events; close it before the store."""
    from orderledger.ledger.stores.works import work_of

    return work_of(store)


def open_snapshots(store: EventStore) -> SnapshotStore:
    """Open the snapshots beside a store's events; close them before the store."""
    from orderledger.ledger.stores.snapshots import snapshots_of

    return snapshots_of(store)


def copied_file(
    location: Location, target: Path, progress: Callable[[int, int], None]
) -> AbstractContextManager[tuple[Path, Sequence[str]]]:
    """
    Copy a SQLite file while it is in use; lend the copy and the names of its books.

    It is given the name ``target`` at the end, if nothing was raised; see ``sqlite_backup``.
    """
    from orderledger.ledger.stores.sqlite_backup import backed_up

    return backed_up(Path(location.path), target, progress)


def prepare(location: Location) -> Sequence[Migration]:
    """
    Apply the migrations that the database lacks and return them, in order.

    Safe to call again and from several processes at once.
    """
    from orderledger.ledger.stores.prepare import migrate

    try:
        return migrate(location.engine, location.path or location.url)
    except ModuleNotFoundError as error:
        raise _without_driver() from error


def _without_driver() -> InvalidInput:
    return InvalidInput(
        "PostgreSQL needs psycopg: install orderledger with the extra, orderledger[postgres]"
    )
