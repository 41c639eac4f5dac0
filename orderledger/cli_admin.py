"""Commands about a book as a whole, its database and this installation."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import click

from .cli_checkpoints import public_keys, trusted
from .cli_output import Session, common, fail
from .cli_tables import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orderledger.ledger.checkpoints import SignedCheckpoint, VerifierKey
    from orderledger.replay.findings import Checked

    from .cli_tables import Row

_CHECKS: Final = Columns(
    ("check", "result", "code", "position", "stream", "text"),
    numeric=("position",),
    giving_way=("code", "stream", "position"),
)


@click.command()
@click.option(
    "--checkpoint",
    "places",
    multiple=True,
    metavar="TARGET",
    help="Hold the log against the checkpoints at a target too, or one in a file.",
)
@trusted
@click.option(
    "--deep",
    "is_deep",
    is_flag=True,
    help="Read every row of every read model too, and make each again beside it; check snapshots.",
)
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep how far it is in a file, and go on from there if it is there.",
)
@common
def verify(
    session: Session,
    places: tuple[str, ...],
    trusted: tuple[str, ...],
    is_deep: bool,
    resume: Path | None,
) -> int:
    """
    Check everything that is stored.

    Read-only. Prints a line per check, with how much it looked at, and before it a line for each
    thing that is wrong, with its place; docs/verify.md says of each what it means and what to do. A
    log that was cut off or rewritten whole is found by --checkpoint alone, with the public keys
    that you --trust. Exit status: 0 sound, 1 findings, 2 could not run.
    """
    from orderledger.ledger.errors import OrderLedgerError
    from orderledger.replay.findings import AREA_OF, Checked
    from orderledger.verifying import Scope

    found: Counter[str] = Counter()

    def rows() -> "Iterator[Row]":
        keys = public_keys(trusted)
        held = _held(places, keys) if places else ()
        scope = Scope(is_deep=is_deep, held=held, trusted=keys, resume=resume)
        for one in session.reading.verification(session.progress(), scope):
            if isinstance(one, Checked):
                yield _line(one)
                continue
            found[one.code.value] += 1
            yield {
                "check": AREA_OF[one.code],
                "result": one.severity,
                "code": one.code,
                "stream": one.stream,
                "position": one.position,
                "text": one.text,
            }

    try:
        session.rows(rows(), _CHECKS)
    except OrderLedgerError as error:
        fail(error, status=2)
    if not found:
        session.talk("sound: no findings")
        return 0
    summary = ", ".join(f"{count} {code}" for code, count in sorted(found.items()))
    session.talk(f"findings: {summary}")
    return 1


def _line(one: "Checked") -> "Row":
    return {
        "check": one.area,
        "result": "failed" if one.found else "ok",
        "looked_at": one.looked_at,
        "of": one.of,
        "found": one.found,
        "text": f"{one.looked_at:,} {one.of}" + (f"; {one.skipped}" if one.skipped else ""),
    }


def _held(places: "Sequence[str]", keys: "Sequence[VerifierKey]") -> "list[SignedCheckpoint]":
    """Return the checkpoints in files and at targets; raises InvalidInput where there is none."""
    from orderledger.ledger.checkpoints import parse_checkpoint
    from orderledger.ledger.errors import InvalidInput
    from orderledger.replay.checkpoint_targets import target_of
    from orderledger.replay.checkpoints import held_at

    if not keys:
        raise InvalidInput("--checkpoint needs the public keys that you --trust")
    held: list[SignedCheckpoint] = []
    for place in places:
        path = Path(place)
        found = (
            [parse_checkpoint(path.read_text("utf-8", "replace"))]
            if path.is_file()
            else held_at(target_of(place))
        )
        if not found:
            raise InvalidInput(f"there is no checkpoint at {place}", target=place)
        held.extend(found)
    return held


@click.command()
@common
def migrate(session: Session) -> None:
    """
    Create or upgrade the tables.

    Safe to run again and from several places at once. Prints the migrations that were applied now.
    """
    from orderledger.databases import prepare

    done = prepare(session.location())
    session.rows(
        ({"number": one.number, "name": one.slug, "phase": one.phase} for one in done),
        Columns(("number", "name", "phase"), numeric=("number",)),
    )
    session.talk(f"{len(done)} migrations applied" if done else "the schema is current")


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command("show")
@common
def config_show(session: Session) -> None:
    """
    Show every setting and where it came from.

    An option goes before the environment, and that before the default.
    """
    import os

    url, book = session.given
    settings = (("url", url, "ORDERLEDGER_URL", ""), ("book", book, "ORDERLEDGER_BOOK", "main"))
    rows: list[Row] = []
    for name, given, variable, default in settings:
        from_environment = os.environ.get(variable, "")
        value = given or from_environment or default
        source = "option" if given else f"environment {variable}" if from_environment else "default"
        rows.append(
            {"setting": name, "value": _printable(without_password(value)), "source": source}
        )
    session.rows(rows, Columns(("setting", "value", "source")))


def _printable(text: str) -> str:
    """Replace the bytes of a command line that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


@click.group()
def schema() -> None:
    """JSON Schema of events and commands."""


@schema.command("export")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 if anything differs.")
@common
def schema_export(session: Session, directory: Path, check: bool) -> int:
    """
    Write the JSON Schemas into DIRECTORY.

    One file per event and command. Files of events and commands that are no more are deleted.
    Prints what changed.
    """
    from orderledger import schemas

    changed = schemas.differences(directory) if check else schemas.export(directory)
    session.rows(({"file": name} for name in changed), Columns(("file",)))
    if not changed:
        session.talk(f"{directory} is current")
    return 1 if check and changed else 0


@click.command()
@common
def version(session: Session) -> None:
    """Show the versions of package and storage."""
    from orderledger import __version__

    session.record(
        {
            "orderledger": __version__,
            "schema_version_sqlite": schema_version("sqlite"),
            "schema_version_postgres": schema_version("postgres"),
        }
    )


def schema_version(engine: str) -> int:
    """Return the number of the last migration that this release ships for an engine."""
    from orderledger.ledger.migrate import available

    return available("sqlite" if engine == "sqlite" else "postgres")[-1].number


def without_password(url: str) -> str:
    """Return a URL that may be printed."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
