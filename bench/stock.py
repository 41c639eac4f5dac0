"""
The other side: stock eventsourcing with its own recorders, saving one event of the same content.

Its transcoder, recorder and pool are the library's defaults but for sizes: the pool holds a
connection per thread, the largest wait is lifted, nothing else is asked of it. With
``db_functions`` PostgreSQL appends through the library's stored function, which is one round trip
and takes no table lock (so a reader can miss events); "stock at its best" is the faster of both.
"""

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from bench.postings import PLATFORM

_POOL_MAX: Final = 64
# Some thousand inserts in one pipeline of its recorder never come back.
_SAVED_AT_ONCE: Final = 500


class StockEntry(Aggregate):
    """The same entry as an aggregate whose creation is its one event."""

    @event("Posted")
    def __init__(self, description: str, legs: list[dict[str, Any]]) -> None:
        self.description = description
        self.legs = legs


def stock_entry(amount: int) -> StockEntry:
    """Return an unsaved entry with one pending event."""
    return StockEntry(
        description="benchmark entry",
        legs=[
            {"account": PLATFORM, "currency": "GBP", "minor": amount},
            {"account": "liabilities:seller:s1", "currency": "GBP", "minor": -amount},
        ],
    )


class StockAccount(Aggregate):
    """An account of entries as an aggregate: what each adds up to, and how many there were."""

    @event("Opened")
    def __init__(self, account: str) -> None:
        self.account = account
        self.balances: dict[str, int] = {}
        self.entries = 0

    @event("Posted")
    def post(self, entry_id: str, currency: str, minor: int) -> None:
        """Add what an entry moves on the account."""
        self.balances[currency] = self.balances.get(currency, 0) + minor
        self.entries += 1


def save_account(application: Application[Any], events: int) -> UUID:
    """Save an account of so many events and return its id."""
    account = StockAccount(PLATFORM)
    for number in range(events - 1):
        account.post(f"e{number}", "GBP", 12_345)
        if number % _SAVED_AT_ONCE == 0:
            application.save(account)
    application.save(account)
    return account.id


def saving(application: Application[Any]) -> Callable[[], Any]:
    """Return a call that saves one fresh entry."""
    save = application.save
    return lambda: save(stock_entry(12_345))


def postgres_environment(url: str, *, pool: int, db_functions: bool) -> dict[str, str]:
    """Return stock's settings for a server's URL."""
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0]
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": unquote(parts.path.lstrip("/")),
        "POSTGRES_HOST": host,
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": parts.username or "postgres",
        "POSTGRES_PASSWORD": parts.password or "unused",
        "POSTGRES_POOL_SIZE": str(min(pool, _POOL_MAX)),
        "POSTGRES_MAX_OVERFLOW": "0",
        "POSTGRES_CONNECT_TIMEOUT": "120",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "yes" if db_functions else "no",
    }


@contextlib.contextmanager
def stock_postgres(
    url: str, *, pool: int, db_functions: bool = False
) -> Iterator[Application[Any]]:
    """Open a stock application on an empty database, every connection of its pool open."""
    environment = postgres_environment(url, pool=pool, db_functions=db_functions)
    with _application(environment) as application:
        yield application


@contextlib.contextmanager
def stock_sqlite() -> Iterator[Application[Any]]:
    """Open a stock application on a new file (WAL; synchronous is SQLite's default, FULL)."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(Path(directory) / "stock.db"),
            "SQLITE_LOCK_TIMEOUT": "120",
        }
        with _application(environment) as application:
            # The factory has no setting for them, and 64 threads would time out on the pool.
            pool: Any = application.factory.datastore.pool  # type: ignore[attr-defined]  # per engine
            pool.pool_size = _POOL_MAX
            pool.pool_timeout = 120.0
            yield application


@contextlib.contextmanager
def _application(environment: dict[str, str]) -> Iterator[Application[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        application: Application[Any] = Application(env=environment)
    try:
        yield application
    finally:
        application.close()
