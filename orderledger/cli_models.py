"""Commands that look after read models."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

import click

from .cli_output import Session, common
from .cli_rows import rows as show_rows
from .cli_tables import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderledger.commands.requests import Actor
    from orderledger.projections.compare import RowDifference
    from orderledger.projections.read_models import ModelStatus
    from orderledger.replay.building import Slots
    from orderledger.replay.rebuild import Redriven, Verified

    from .cli_tables import Row

_STATUS: Final = Columns(
    ("model", "generation", "position", "lag", "parked", "skipped", "building", "problem"),
    numeric=("generation", "position", "lag", "parked", "skipped", "building"),
    giving_way=("problem",),
)
_MODELS: Final = Columns(("model", "version", "tables"), numeric=("version",))
_PARKED: Final = Columns(
    ("position", "stream", "topic", "parked_at", "skip", "error"),
    numeric=("position",),
    giving_way=("error", "skip", "topic"),
)
_REDRIVEN: Final = Columns(
    ("stream", "was_at", "came_back", "position", "topic", "error"),
    numeric=("was_at", "position"),
    giving_way=("error", "topic"),
)
_SKIPS: Final = Columns(
    ("position", "stream", "version", "topic", "recorded_at", "actor", "in_effect", "reason"),
    numeric=("position", "version"),
    giving_way=("reason", "topic"),
)
_DIFFERENCES: Final = Columns(
    ("table", "key", "column", "before", "after"), giving_way=("before", "after")
)
_REBUILT: Final = Columns(
    ("model", "done", "generation", "position", "rows", "compared_at", "checksum"),
    numeric=("generation", "position", "rows", "compared_at"),
    giving_way=("checksum",),
)
_WAIT_S: Final = 600.0


F = TypeVar("F", bound=Callable[..., object])


def _turn(function: F) -> F:
    """Give a command the options --at-once and --wait: how it waits for its turn to build."""
    at_once = click.option(
        "--at-once",
        type=click.IntRange(min=1),
        help="Models of the book that may be built at once; one more waits. Default: 2.",
    )
    wait = click.option(
        "--wait",
        "patience_s",
        type=click.FloatRange(min=0),
        default=_WAIT_S,
        metavar="SECONDS",
        help="How long to wait for other rebuilds to end. Default: 600.",
    )
    return at_once(wait(function))


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
        "skipped": one.skipped,
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
@click.option(
    "--batch-limit",
    "limit_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End the process where a batch takes longer; 0 for never. Default: 60.",
)
@common
def run(session: Session, names: tuple[str, ...], limit_s: float | None) -> None:
    """
    Follow read models until interrupted; all of them without NAMES.

    Several workers may run at once, here and elsewhere. What cannot be followed now is said on
    stderr once, and tried again. Ends at SIGTERM or SIGINT after the batch at hand. Have it started
    again when it ends otherwise: an event at which it does so over and over is found and parked.
    """
    import logging
    import signal

    from orderledger.projections.watchdog import BATCH_LIMIT_S, Watchdog
    from orderledger.projections.worker import Worker

    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    worker = Worker(session.reading.models, names)

    def end(number: int, frame: object) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    session.talk("following; interrupt to end")
    limit_s = BATCH_LIMIT_S if limit_s is None else limit_s
    with Watchdog(worker, limit_s) if limit_s else nullcontext():
        worker.run()


@projection.command("rebuild")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@_turn
@common
def rebuild(
    session: Session, names: tuple[str, ...], yes: bool, at_once: int | None, patience_s: float
) -> None:
    """
    Make read models again from the events, beside the ones that serve.

    Readers notice nothing. The same version must come to the same rows, or the swap is refused
    and `projection diff` shows them. Interrupted, it goes on where it stopped. Of one model one
    rebuild runs at a time, of a book a few models at once: see --at-once. NAMES that run at once
    read the events once.
    """
    from orderledger.replay.rebuild import rebuild_all

    models, slots = session.reading.models, _slots(session, at_once, patience_s)
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
        made_all = rebuild_all(
            models, names, lambda together: _bar(session, ", ".join(together)), slots
        )
        for made in made_all:
            yield {
                "model": made.model,
                "done": True,
                "generation": made.generation,
                "position": made.position,
                "rows": made.rows,
                "compared_at": made.compared_at,
                "checksum": made.checksum,
            }

    session.rows(rows(), _REBUILT)


def _slots(session: Session, at_once: int | None, patience_s: float) -> "Slots":
    from orderledger.replay.building import REBUILDS_MAX, Slots

    return Slots(
        at_once=REBUILDS_MAX if at_once is None else at_once, wait_s=patience_s, say=session.talk
    )


def _counter(session: Session, what: str) -> Callable[[int], None]:
    """Return what shows how many rows were read; how many there are is known at the end."""
    show = session.progress()
    return lambda rows: show(what, rows, None)


def _counted(session: Session, what: str, rows: int) -> None:
    session.progress()(what, rows, rows)


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
        for one in differing(models, name, _counter(session, f"diff {name}")):
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
    found: list[Verified] = []
    for name in names or models.names:
        found.append(verified(models, name, _counter(session, f"verify {name}")))
        _counted(session, f"verify {name}", found[-1].rows)
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

    Mend what it says, or skip the event, and redrive the model. `skip` tells who acknowledged the
    event already: a redrive goes on after it. Exit status 1 if there are any.
    """
    from orderledger.replay.acknowledged import skips as skips_of

    models = session.reading.models
    found = models.parked(name)
    skips = {one.position: f"{one.actor}: {one.reason}" for one in skips_of(models, name)}
    session.rows(
        (
            {
                "position": one.position,
                "stream": one.stream,
                "topic": one.topic,
                "parked_at": one.parked_at,
                "skip": skips.get(one.position),
                "error": one.error,
            }
            for one in found
        ),
        _PARKED,
    )
    return 1 if found else 0


@projection.command("redrive")
@click.argument("name")
@click.argument("streams", nargs=-1)
@_turn
@common
def redrive(
    session: Session, name: str, streams: tuple[str, ...], at_once: int | None, patience_s: float
) -> int:
    """
    Bring parked streams back, once what parked them was mended or skipped; all without STREAMS.

    The model is made again beside the live one, as by `projection rebuild`, and swapped in if any
    of these streams gets further now; every stream that can be read comes back with it. Exit status
    1 if any of them is still parked.
    """
    return _redrive(session, name, streams, _slots(session, at_once, patience_s))


def _redrive(session: Session, name: str, streams: tuple[str, ...], slots: "Slots") -> int:
    from orderledger.replay.rebuild import redrive as redriven

    done = redriven(session.reading.models, name, streams, _bar(session, name), slots)
    session.rows((_redriven_row(one) for one in done.streams), _REDRIVEN)
    if not done.streams:
        session.talk(f"{name} leaves out no stream; nothing was done")
    elif done.rebuilt is None:
        session.talk(
            f"{name} was not swapped: every stream fails as before; mend its projector, or "
            f"acknowledge with `orderledger projection skip {name} STREAM --reason TEXT`"
        )
    else:
        session.talk(f"{name} serves generation {done.rebuilt.generation}")
    return 0 if done.came_back else 1


def _redriven_row(one: "Redriven") -> "Row":
    return {
        "stream": one.stream,
        "was_at": one.was_at,
        "came_back": one.came_back,
        "position": one.position,
        "topic": one.topic,
        "error": one.error,
    }


@projection.command("skip")
@click.argument("name")
@click.argument("stream")
@click.option("--reason", required=True, help="Why the model may do without this event.")
@click.option("--actor", help="Who says so, as TYPE:ID; default: system:orderledger.")
@click.option("--key", help="Idempotency key, for a retry.")
@click.option("--redrive", "is_redriven", is_flag=True, help="Redrive the stream at once.")
@common
def skip(
    session: Session, name: str, stream: str, reason: str, **options: str | bool | None
) -> int:
    """
    Acknowledge that a read model leaves out the event for which STREAM is parked, for good.

    The skip is recorded as an event. It takes effect with the next redrive or rebuild, which goes
    on with the later events of the stream; they may be parked in their turn. Only the event that is
    parked now can be skipped, and there is no way back.
    """
    from orderledger.commands.requests import SYSTEM

    actor, key = options["actor"], options["key"]
    receipt = session.book.skip_parked(
        name,
        stream,
        reason=reason,
        actor=SYSTEM if actor is None else _actor(str(actor)),
        key=None if key is None else str(key),
    )
    if options["is_redriven"]:
        return _redrive(session, name, (stream,), _slots(session, None, _WAIT_S))
    session.talk(f"it takes effect with `orderledger projection redrive {name} {stream}`")
    (skips_stream,) = receipt.streams
    session.record(
        {
            "model": name,
            "stream": stream,
            "recorded_in": skips_stream,
            "version": receipt.streams[skips_stream],
        }
    )
    return 0


def _actor(text: str) -> "Actor":
    from orderledger.commands.requests import Actor

    kind, _, actor_id = text.partition(":")
    if not kind or not actor_id:
        raise click.BadParameter(f"{text!r} is no actor like staff:ann", param_hint="--actor")
    return Actor(kind, actor_id)


@projection.command("skips")
@click.argument("name")
@common
def skips(session: Session, name: str) -> None:
    """
    List the events that a read model leaves out by acknowledgement: who, when and why.

    What is not in effect yet takes effect with the next redrive or rebuild.
    """
    from orderledger.replay.acknowledged import skips as skips_of

    session.rows(
        (
            {
                "position": one.position,
                "stream": one.stream,
                "version": one.version,
                "topic": one.topic,
                "recorded_at": one.recorded_at,
                "actor": one.actor,
                "in_effect": one.in_effect,
                "reason": one.reason,
                "error": one.error,
            }
            for one in skips_of(session.reading.models, name)
        ),
        _SKIPS,
    )
