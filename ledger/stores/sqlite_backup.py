"""
A copy of a SQLite file while others write to it: one consistent state, whole or not there.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ..errors import InvalidInput, NotFound, SchemaMismatch, StorageError
from .sqlite_files import translated
from .sqlite_schema import is_prepared

_PAGES: Final = 2_048
"""Pages of 4 KiB between two calls of ``progress``: 8 MiB."""


@contextmanager
def backed_up(
    source: Path, target: Path, progress: Callable[[int, int], None]
) -> Generator[tuple[Path, Sequence[str]]]:
    """
    Copy a file, lend the copy and the names of its books, and name it if nobody objects.

    The copy is the state at one moment, whoever writes meanwhile, and nobody waits for it: it is
    made within one reading transaction, so that the write-ahead log grows as long as that takes.
    It is read through for damage, and flushed to the disk, before it is given its name.
    ``progress`` is told the pages done, and of how many.

    Raises NotFound, SchemaMismatch where the file has no tables of ours, InvalidInput where the
    target exists (a backup never takes the place of another), StorageError for damage and where
    the target cannot be written, DatabaseFull.
    """
    if not source.exists():
        raise NotFound(f"there is no file {source}", path=str(source))
    if target.exists():
        raise InvalidInput(
            f"{target} exists; a backup never takes the place of another file", path=str(target)
        )
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    _begin(part, target)
    try:
        with translated():
            _copy(source, part, progress)
            books = _checked(part)
        yield part, books
        with part.open("rb+") as copied:
            os.fsync(copied.fileno())
        _give_name(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _begin(part: Path, target: Path) -> None:
    """Make the file of this copy: another thread's to the same target is not ours to delete."""
    try:
        part.open("xb").close()
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> StorageError:
    return StorageError(
        f"the backup {target} cannot be written: {error.strerror}", path=str(target)
    )


def _copy(source: Path, part: Path, progress: Callable[[int, int], None]) -> None:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reading,
        closing(sqlite3.connect(part)) as copied,
    ):
        reading.isolation_level = None
        # Held to the end: without it every step would see a state of its own, and a copy that
        # others write beside would begin anew again and again.
        reading.execute("BEGIN")
        if not is_prepared(reading):
            raise SchemaMismatch(f"{source} has no tables of this library", path=str(source))
        # It is flushed once, at the end; until then it has no name that anybody trusts.
        copied.execute("PRAGMA synchronous = OFF")
        copied.execute("PRAGMA journal_mode = OFF")
        reading.backup(
            copied, pages=_PAGES, progress=lambda _, left, pages: progress(pages - left, pages)
        )


def _checked(part: Path) -> list[str]:
    # Immutable: reading it must not leave a write-ahead log beside it.
    with closing(sqlite3.connect(f"{part.absolute().as_uri()}?immutable=1", uri=True)) as copied:
        ((found, *_), *_) = copied.execute("PRAGMA integrity_check(1)").fetchall()
        if found != "ok":
            raise StorageError(
                f"the database file is damaged, and so would be its backup: {found}; keep older "
                "backups, and run `orderledger verify`",
                damage=found,
            )
        names = copied.execute("SELECT name FROM orderledger_books ORDER BY name").fetchall()
    return [name for (name,) in names]


def _give_name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)
    except FileExistsError as error:
        raise InvalidInput(f"{target} was made meanwhile", path=str(target)) from error
    except OSError:  # a file system without links
        part.rename(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
