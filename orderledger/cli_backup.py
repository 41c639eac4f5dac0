"""The command that backs up a SQLite file while it is in use."""

from pathlib import Path

import click

from .cli_output import Session, common
from .cli_tables import Columns


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@common
def backup(session: Session, file: Path) -> None:
    """
    Copy the SQLite file, with all its books, to a new FILE while others write to it.

    The copy is the state at one moment. FILE is there whole and flushed to the disk, or not at all,
    and is never written over another. Prints each book with its last position and root. PostgreSQL
    has means of its own: see docs/recovery.md.
    """
    from orderledger.backups import back_up

    show = session.progress()
    found = back_up(session.location(), file, lambda done, of: show("pages", done, of))
    session.rows(
        [{"book": one.book, "position": one.position, "root": one.root.hex()} for one in found],
        Columns(("book", "position", "root"), numeric=("position",)),
    )
    session.talk(f"backed up to {file}; `orderledger verify --url sqlite:///{file}` verifies it")
