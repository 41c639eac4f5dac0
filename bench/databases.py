"""
Databases to measure on: a server of our own with fsync, and files beside it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg

import orderledger
from bench import fsync_floor
from orderledger import Book
from tests.postgres_server import TEST_URL_VARIABLE, Databases, PostgresServer

# Durability as PostgreSQL ships it; only sizes are set, so that no arm is measured while a
# checkpoint of another one runs.
SIZES: Final = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_connections": "300",
}
DURABILITY: Final = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")


class FlooredServer(PostgresServer):
    """A server whose fsync takes as long as that of this process."""

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), **fsync_floor.inherited()}


@contextlib.contextmanager
def server() -> Iterator[Databases]:
    """Give the configured server, else one of our own with fsync on."""
    configured = os.environ.get(TEST_URL_VARIABLE)
    if configured:
        yield Databases(configured)
        return
    with FlooredServer(fsync=True, settings=SIZES) as started:
        yield started


@contextlib.contextmanager
def postgres_book(url: str) -> Iterator[Book]:
    """Prepare a database and open its book."""
    orderledger.migrate(url)
    with orderledger.open(url) as book:
        yield book


@contextlib.contextmanager
def sqlite_book() -> Iterator[Book]:
    """Open a book in a new file."""
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{Path(directory) / 'book.db'}"
        orderledger.migrate(url)
        with orderledger.open(url) as book:
            yield book


def durability(url: str) -> dict[str, str]:
    """Return the server's version and the settings that decide what a commit costs."""
    with psycopg.connect(url) as connection:
        found: dict[str, str] = {}
        for name in ("server_version", *DURABILITY):
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            found[name] = str(row[0]) if row else ""
    return found


def event_count(url: str) -> int:
    """Return how many events a migrated PostgreSQL database holds."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM orderledger.events").fetchone()
    return int(row[0]) if row else 0
