"""
Where the book is: explicit argument, then environment, then default; no configuration file.

``ORDERLEDGER_URL``: ``sqlite:///shop.db`` (relative), ``sqlite:////var/lib/shop.db`` (absolute) or
``postgresql://user@host/database`` (libpq's ``PG*`` variables fill what the URL leaves out).
``ORDERLEDGER_BOOK``: the book's name, ``main`` by default.
"""

import os
import re
from typing import Final

import msgspec

from orderledger.ledger.errors import InvalidInput

BOOK_GRAMMAR: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


class Location(msgspec.Struct, frozen=True):
    """A database and a book in it. ``path`` is the file for SQLite, empty for PostgreSQL."""

    engine: str
    url: str
    book: str
    path: str = ""


def locate(url: str | None = None, book: str | None = None) -> Location:
    """Resolve arguments, environment and defaults; raises InvalidInput for what cannot be read."""
    _check_text("url", url)
    _check_text("book", book)
    url = url or os.environ.get("ORDERLEDGER_URL", "")
    book = book or os.environ.get("ORDERLEDGER_BOOK", "") or "main"
    if BOOK_GRAMMAR.fullmatch(book) is None:
        raise InvalidInput(
            f"book name {book!r} must be 1 to 63 of a-z 0-9 _ . - and start with a letter or digit",
            book=book,
        )
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        if rest[1:] == ":memory:" or rest[1:].startswith("file:"):
            raise InvalidInput(
                f"{url!r} is not a file that several connections share; name one, or use "
                "orderledger.testing.memory_book for a book that ends with the process",
                url=url,
            )
        return Location("sqlite", url, book, path=rest[1:])
    if scheme in ("postgresql", "postgres") and rest:
        return Location("postgres", url, book)
    if not url:
        raise InvalidInput(
            "no book is named: give --url sqlite:///file.db or postgresql://… (in a program, as "
            "first argument), or set ORDERLEDGER_URL",
            url=url,
        )
    raise InvalidInput(
        f"cannot open {url!r}: give sqlite:///file.db or postgresql://… as argument or in "
        "ORDERLEDGER_URL",
        url=url,
    )


def _check_text(field: str, given: object) -> None:
    if given is not None and not isinstance(given, str):
        raise InvalidInput(f"{field} is {given!r:.80}; it must be a text", field=field)
    if isinstance(given, str) and any("\ud800" <= one <= "\udfff" for one in given):
        raise InvalidInput(f"{field} {given!r:.80} is not UTF-8", field=field)
