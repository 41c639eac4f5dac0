"""
Backups of whole databases by the engine's own means, and what proves that they are whole.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from orderledger.config import Location
from orderledger.databases import copied_file, open_store
from orderledger.ledger.errors import IntegrityViolation, InvalidInput
from orderledger.replay.checkpoints import tree_of


class BackedUp(msgspec.Struct, frozen=True):
    """One book of a backup: the last position in it, and the RFC 6962 root over its events."""

    book: str
    position: int
    root: bytes


def back_up(
    location: Location, target: Path, progress: Callable[[int, int], None] = lambda done, of: None
) -> list[BackedUp]:
    """
    Copy a SQLite file with all its books to a new file, while others write; return its books.

    The copy is one consistent state. Each of its books is compared with the one it was taken of:
    the same root over the same events. Raises InvalidInput for another engine or a target that
    exists, NotFound, SchemaMismatch, StorageError for damage, and IntegrityViolation where a book
    of the copy is not what was copied.
    """
    if location.engine != "sqlite":
        raise InvalidInput(
            "this backs up SQLite files; PostgreSQL has pg_basebackup and its write-ahead log, see "
            "docs/recovery.md"
        )
    with copied_file(location, target, progress) as (copy, books):
        return [_compared(location, copy, book) for book in books]


def _compared(location: Location, copy: Path, book: str) -> BackedUp:
    copied = open_store(msgspec.structs.replace(location, path=str(copy), book=book))
    try:
        position = copied.head().size
        root = tree_of(copied).root(position)
    finally:
        copied.close()
    source = open_store(msgspec.structs.replace(location, book=book), must_exist=True)
    try:
        if tree_of(source).root(position) != root:
            raise IntegrityViolation(
                f"book {book} of the backup has another root over its {position} events "
                f"than the book in {location.path}; somebody writes them past this library",
                book=book,
                position=position,
            )
    finally:
        source.close()
    return BackedUp(book, position, root)
