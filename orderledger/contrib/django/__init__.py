"""
orderledger in a Django project: one book per process, and commands in the request's transaction.

    INSTALLED_APPS = [..., "orderledger.contrib.django"]
    ORDERLEDGER_DATABASE = "default"    # the alias whose database holds the book
    ORDERLEDGER_BOOK = "main"
    # ORDERLEDGER_URL = "postgresql://…"  only where the book is in another database

The tables are prepared by ``manage.py orderledger migrate``. See docs/transactions.md.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from orderledger.book import Book
from orderledger.book import open as open_book
from orderledger.commands.decision import Command
from orderledger.commands.requests import SYSTEM, Actor, Receipt
from orderledger.ledger.errors import InvalidInput

__all__ = ["alias", "book", "close", "execute_in_transaction", "url"]

_LIBPQ_OPTIONS: Final = (
    *("connect_timeout", "keepalives", "options", "service", "sslcert", "sslkey", "sslmode"),
    *("sslrootcert", "target_session_attrs"),
)
"""Entries of OPTIONS that libpq understands; Django's own (pool, isolation_level) stay behind."""


class HostConnection(Protocol):
    """What is used of Django's database wrapper, which has no types of its own."""

    in_atomic_block: bool
    connection: object
    settings_dict: Mapping[str, Any]

    def ensure_connection(self) -> None: ...

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None: ...


_lock: Final = threading.Lock()
_books: Final[dict[int, Book]] = {}


def alias() -> str:
    """Return the alias of the database that holds the book: ORDERLEDGER_DATABASE or default."""
    return str(getattr(settings, "ORDERLEDGER_DATABASE", DEFAULT_DB_ALIAS))


def url() -> str:
    """Return ORDERLEDGER_URL, or else the URL of the alias' database as it is now."""
    given = getattr(settings, "ORDERLEDGER_URL", "")
    return str(given) if given else _url_of(_host().settings_dict)


def book() -> Book:
    """
    Return this process's book, opened at the first call; threads share it.

    A forked worker opens its own: connections must not cross a fork. Raises SchemaMismatch before
    ``manage.py orderledger migrate``.
    """
    with _lock:
        found = _books.get(os.getpid())
        if found is None:
            name = getattr(settings, "ORDERLEDGER_BOOK", None)
            found = _books[os.getpid()] = open_book(url(), book=name)
        return found


def close() -> None:
    """Close this process's book, if it was opened; the next ``book()`` opens it again."""
    with _lock:
        found = _books.pop(os.getpid(), None)
    if found is not None:
        found.close()


def execute_in_transaction(
    command: Command,
    key: str,
    *,
    actor: Actor = SYSTEM,
    expected: Mapping[str, int] | None = None,
) -> Receipt:
    """
    Execute a command in the open ``transaction.atomic()`` of the alias.

    Its events are committed or rolled back with the block, and get their positions right after
    the commit; the receipt has none yet, ``book().wait(receipt)`` gives them then. A refused
    command leaves the block usable. Raises InvalidInput outside of a block, and what
    ``Book.execute`` raises.
    """
    connection = _host()
    if not connection.in_atomic_block:
        raise InvalidInput(
            f"there is no transaction.atomic() of the database {alias()!r} to join; use "
            "book().execute() for a command of its own",
            database=alias(),
        )
    connection.ensure_connection()
    receipt = book().execute(
        command, key=key, actor=actor, expected=expected, connection=connection.connection
    )
    # Robust: the events are committed then, whatever becomes of their positions now.
    connection.on_commit(lambda: book().wait(receipt), robust=True)
    return receipt


def _host() -> HostConnection:
    return cast(HostConnection, connections[alias()])


def _url_of(database: Mapping[str, Any]) -> str:
    engine, name = str(database["ENGINE"]), str(database["NAME"])
    if engine.endswith("sqlite3"):
        return f"sqlite:///{Path(name).absolute()}"
    if not engine.endswith(("postgresql", "postgis")):
        raise InvalidInput(
            f"the book cannot be in a database of {engine}; name one in ORDERLEDGER_URL",
            engine=engine,
        )
    given: Mapping[str, Any] = database.get("OPTIONS") or {}
    # As parameters, since HOST may be the directory of a socket.
    parameters = {
        "user": database.get("USER"),
        "password": database.get("PASSWORD"),
        "host": database.get("HOST"),
        "port": database.get("PORT"),
        **{key: value for key, value in given.items() if key in _LIBPQ_OPTIONS},
    }
    said = {key: value for key, value in parameters.items() if value not in ("", None)}
    return f"postgresql:///{quote(name, safe='')}?{urlencode(said, quote_via=quote)}"
