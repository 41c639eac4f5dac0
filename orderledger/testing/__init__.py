"""
For the tests of those who use orderledger: a book in memory.
"""

from collections.abc import Callable
from datetime import datetime

from orderledger.book import Book
from orderledger.ledger import ids
from orderledger.ledger.stores.memory import MemoryStore


def memory_book(name: str = "main", *, clock: Callable[[], datetime] = ids.utc_now) -> Book:
    """
    Open an empty book that lives in memory: the same decisions, no file, gone with the process.

    ``clock`` gives both now and recorded_at, so that a test can hold time still.
    """
    return Book(MemoryStore(name, clock=clock), clock=clock)


__all__ = ["memory_book"]
