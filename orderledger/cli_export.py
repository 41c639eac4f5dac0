"""Commands that write a book's journal for other programs: plain-text accounting."""

import contextlib
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .cli_accounts import effective_to, recorded_to
from .cli_output import LOWER, Session, common

if TYPE_CHECKING:
    from orderledger.replay.plain_text import Dialect

_FILE: Final = click.argument("file", metavar="FILE|-")
_START: Final = click.option(
    "--from",
    "start",
    type=LOWER,
    help="Only what was effective from then on, with the balances before carried over.",
)


@click.group("export")
def export() -> None:
    """Write the journal for other programs."""


def _dialects() -> "dict[str, Callable[[], Dialect]]":
    from orderledger.replay.beancount import Beancount
    from orderledger.replay.hledger import Hledger

    return {"beancount": Beancount, "hledger": Hledger}


@export.command("beancount")
@_FILE
@_START
@effective_to
@recorded_to
@common
def beancount(session: Session, file: str, **when: datetime | None) -> None:
    """
    Write the journal for beancount.

    To FILE, which is there whole or not at all, or to stdout (-). Account names are in beancount's
    grammar, their own beside them; holds are comments; balance assertions stand at the end. The
    same --recorded-to gives the same bytes for ever.
    """
    _write(session, "beancount", file, when)


@export.command("hledger")
@_FILE
@_START
@effective_to
@recorded_to
@common
def hledger(session: Session, file: str, **when: datetime | None) -> None:
    """
    Write the journal for hledger.

    To FILE, which is there whole or not at all, or to stdout (-). Account names stay as they are;
    holds are comments; balance assertions stand at the end. The same --recorded-to gives the same
    bytes for ever.
    """
    _write(session, "hledger", file, when)


def _write(session: Session, name: str, file: str, when: dict[str, datetime | None]) -> None:
    from orderledger.replay.plain_text import Selection

    run = session.reading.export(_dialects()[name](), Selection(**when), session.progress())
    if file == "-":
        for chunk in run.chunks():
            click.echo(chunk, nl=False)
        return
    write_whole(Path(file), run.chunks())
    session.record(
        {
            "file": file,
            "position": run.position,
            "accounts": run.accounts,
            "transactions": run.transactions,
        }
    )


def write_whole(path: Path, chunks: Iterable[str]) -> None:
    """
    Write a text file so that it is there whole or, whatever fails, as it was before.

    What is not a regular file is refused: a device cannot be put in place of another.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise click.UsageError(f"{path} is no regular file; - writes to stdout")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as written:
            written.writelines(chunks)
            written.flush()
            os.fsync(written.fileno())
        part.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error
        raise
