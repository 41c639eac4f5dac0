"""Commands that look after read models."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common
from .cli_rows import rows as show_rows
from .cli_tables import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderledger.projections.compare import RowDifference
    from orderledger.projections.read_models import ModelStatus

    from .cli_tables import Row

_STATUS: Final = Columns(
    ("model", "generation", "position", "lag", "parked", "building", "problem"),
    numeric=("generation", "position", "lag", "parked", "building"),
    giving_way=("problem",),
)
_MODELS: Final = Columns(("model", "version", "tables"), numeric=("version",))
_PARKED: Final = Columns(
    ("position", "stream", "topic", "parked_at", "error"),
    numeric=("position",),
    giving_way=("error", "topic"),
)
_DIFFERENCES: Final = Columns(
    ("table", "key", "column", "before", "after"), giving_way=("before", "after")
)
_REBUILT: Final = Columns(
    ("model", "done", "generation", "position", "rows", "compared_at", "checksum"),
    numeric=("generation", "position", "rows", "compared_at"),
    giving_way=("checksum",),
)


@click.group()
def projection() -> None:
    """
    Look after read models.

    A read model is made from the events and can be made again at any time. Readers see the live
    generation; a rebuild makes another beside it and swaps when both agree.
    """


projection.add_command(show_rows)


@projection.command("list")
@common
def list_(session: Session) -> None:
    """List the read models that come with the library, and their tables."""
    models = session.reading.models
    session.rows(
        (
            {
                "model": name,
                "version": models.model(name).version,
                "tables": ", ".join(table.name for table in models.model(name).tables),
            }
            for name in models.names
        ),
        _MODELS,
    )


@projection.command("status")
@common
def status(session: Session) -> int:
    """
    Show how far each read model is.

    Catches nothing up. Exit status 1 where a model was made from another history.
    """
    models = session.reading.models
    found = [models.status(name) for name in models.names]
    session.rows((_status_row(one) for one in found), _STATUS)
    return 1 if any(one.problem for one in found) else 0


def _status_row(one: "ModelStatus") -> "Row":
    return {
        "model": one.model,
        "version": one.version,
        "generation": one.generation,
        "position": one.position,
        "head": one.head,
        "lag": one.lag,
        "is_current": one.is_current,
        "parked": one.parked,
        "building": one.building,
        "problem": one.problem,
    }


@projection.command("catch-up")
@click.argument("names", nargs=-1)
@common
def catch_up(session: Session, names: tuple[str, ...]) -> None:
    """Bring read models up to the head once; all of them without NAMES."""
    models = session.reading.models
    session.rows(
        ({"model": name, "position": models.catch_up(name)} for name in names or models.names),
        Columns(("model", "position"), numeric=("position",)),
    )


@projection.command("run")
@click.argument("names", nargs=-1)
@common
def run(session: Session, names: tuple[str, ...]) -> None:
    """
    Follow read models until interrupted; all of them without NAMES.

    Several workers may run at once, here and elsewhere. What cannot be followed now is said on
    stderr once, and tried again. Ends at SIGTERM or SIGINT after the batch at hand.
    """
    import logging
    import signal

    from orderledger.projections.worker import Worker

    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    worker = Worker(session.reading.models, names)

    def end(number: int, frame: object) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    session.talk("following; interrupt to end")
    worker.run()


@projection.command("rebuild")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@common
def rebuild(session: Session, names: tuple[str, ...], yes: bool) -> None:
    """
    Make read models again from the events, beside the ones that serve.

    Readers notice nothing. The same version must come to the same rows, or the swap is refused
    and `projection diff` shows them. Interrupted, it goes on where it stopped.
    """
    from orderledger.replay.rebuild import rebuild as rebuilt

    models = session.reading.models
    for name in names:
        models.model(name)
    if not yes:
        session.talk(
            f"would make {', '.join(names)} again from {models.events.head().size} events; give "
            "--yes to do it"
        )
        session.rows(({"model": name, "done": False} for name in names), Columns(("model", "done")))
        return

    def rows() -> "Iterator[Row]":
        for name in names:
            made = rebuilt(models, name, _bar(session, name))
            yield {
                "model": name,
                "done": True,
                "generation": made.generation,
                "position": made.position,
                "rows": made.rows,
                "compared_at": made.compared_at,
                "checksum": made.checksum,
            }

    session.rows(rows(), _REBUILT)


def _bar(session: Session, name: str) -> Callable[[int, int], None]:
    show = session.progress()
    return lambda position, head: show(f"rebuild {name}", position, head)


@projection.command("rollback")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@common
def rollback(session: Session, name: str, yes: bool) -> None:
    """Let the generation before the last rebuild serve again, once it has caught up."""
    from orderledger.replay.rebuild import rollback as rolled_back

    models = session.reading.models
    previous = models.previous(name)
    if not yes:
        what = f"generation {previous.number}" if previous else "nothing: there is no previous one"
        session.talk(f"would bring back {what} of {name}; give --yes to do it")
        session.record({"model": name, "done": False})
        return
    live = rolled_back(models, name)
    session.record(
        {"model": name, "done": True, "generation": live.number, "position": live.position}
    )


@projection.command("diff")
@click.argument("name")
@common
def diff(session: Session, name: str) -> int:
    """
    Show where the live generation and the newest other one differ, column by column.

    After a refused rebuild: the live one is `before`, the rebuilt one `after`. Exit status 1 if
    anything differs.
    """
    from orderledger.replay.rebuild import diff as differing

    models = session.reading.models
    columns = {
        table.name: [column.name for column in table.columns] for table in models.model(name).tables
    }
    any_differs = False

    def rows() -> "Iterator[Row]":
        nonlocal any_differs
        for one in differing(models, name):
            any_differs = True
            yield from _changed(one, columns[one.table])

    session.rows(rows(), _DIFFERENCES)
    return int(any_differs)


def _changed(one: "RowDifference", columns: list[str]) -> "Iterator[Row]":
    key = " ".join([str(value) for value in one.key])
    if one.before is None or one.after is None:
        missing = "before" if one.before is None else "after"
        yield {
            "table": one.table,
            "key": key,
            "column": "",
            "before": "" if missing == "before" else "a row",
            "after": "" if missing == "after" else "a row",
        }
        return
    for name, before, after in zip(columns, one.before, one.after, strict=True):
        if before != after:
            yield {"table": one.table, "key": key, "column": name, "before": before, "after": after}


@projection.command("verify")
@click.argument("names", nargs=-1)
@common
def verify(session: Session, names: tuple[str, ...]) -> int:
    """
    Check that the stored rows are those that were computed; all models without NAMES.

    Read-only: every row is read and its digest compared with the checkpoint's. Exit status 1 if
    any model was changed by hand, lost rows, or belongs to another history.
    """
    from orderledger.replay.rebuild import verify as verified

    models = session.reading.models
    found = [verified(models, name) for name in names or models.names]
    session.rows(
        (
            {
                "model": one.model,
                "position": one.position,
                "rows": one.rows,
                "checksum": one.checksum,
                "problem": one.problem,
            }
            for one in found
        ),
        Columns(
            ("model", "position", "rows", "checksum", "problem"),
            numeric=("position", "rows"),
            giving_way=("checksum", "problem"),
        ),
    )
    return 1 if any(one.problem for one in found) else 0


@projection.command("parked")
@click.argument("name")
@common
def parked(session: Session, name: str) -> int:
    """
    List the streams that a read model leaves out, from the event on that it could not apply.

    Mend what it says and rebuild the model. Exit status 1 if there are any.
    """
    found = session.reading.models.parked(name)
    session.rows(
        (
            {
                "position": one.position,
                "stream": one.stream,
                "topic": one.topic,
                "parked_at": one.parked_at,
                "error": one.error,
            }
            for one in found
        ),
        _PARKED,
    )
    return 1 if found else 0
