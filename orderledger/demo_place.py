"""
Where a demo writes: a book that is prepared and, unless it is to be gone on with, empty.
"""

import os
from contextlib import closing
from itertools import count

from orderledger.config import Location, locate
from orderledger.databases import open_store, prepare
from orderledger.ledger.errors import InvalidInput


def place_of(url: str | None, book: str | None, default: str, *, is_continued: bool) -> Location:
    """
    Return a book by URL and name; without a name the first of ``default``, ``default-2`` … that
    is empty, or the first of them to go on with it.

    ``url`` None: the environment's, or a file named after ``default``. Raises InvalidInput for a
    named book that is in use.
    """
    base = url or os.environ.get("ORDERLEDGER_URL") or f"sqlite:///orderledger-{default}.db"
    name = book or os.environ.get("ORDERLEDGER_BOOK")
    if name is not None:
        location = locate(base, name)
        prepare(location)
        if not is_continued and size_of(location):
            raise InvalidInput(
                f"book {name} is not empty; name another one, or give --continue to use it",
                book=name,
            )
        return location
    prepare(locate(base, default))
    names = (default if number == 1 else f"{default}-{number}" for number in count(1))
    locations = (locate(base, one) for one in names)
    if is_continued:
        return next(locations)
    return next(location for location in locations if not size_of(location))


def size_of(location: Location) -> int:
    """Return the number of events in a book."""
    with closing(open_store(location)) as store:
        return store.head().size
