"""Commands about the machinery: timers, outbox, queue, reactors, and the worker that runs them."""

import sys
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common
from .cli_tables import Columns, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderledger.ledger.work_ports import Work
    from orderledger.machinery import Wiring

_WORK: Final = Columns(
    ("number", "status", "kind", "streams", "attempts", "due_at", "key", "text"),
    numeric=("number", "attempts"),
    giving_way=("streams", "due_at", "attempts"),
)
_DEADLINES: Final = Columns(
    ("due_at", "kind", "stream", "status", "attempts", "opened_at", "text"),
    numeric=("attempts",),
    giving_way=("opened_at", "attempts", "status"),
)
_REACTORS: Final = Columns(
    ("reactor", "position", "lag", "started_at_position", "moved_at"),
    numeric=("position", "lag", "started_at_position"),
    giving_way=("moved_at", "started_at_position"),
)
_key: Final = click.argument("key")
_actor: Final = click.option(
    "--actor", "actor_id", help="Who does it; recorded as staff. Default: the system."
)
_reason: Final = click.option("--reason", required=True, help="Why; recorded with it.")
_confirmed: Final = click.option(
    "--yes", is_flag=True, help="Do it; without, only say what would be done."
)
_all: Final = click.option(
    "--all", "is_all", is_flag=True, help="What is done, gone and discarded too."
)


@click.group()
def timer() -> None:
    """
    Look after deadlines, and fire those that have come.

    `orderledger work` fires them by itself.
    """


@timer.command("list")
@click.option("--limit", type=click.IntRange(min=1), help="How many at most. Default: all.")
@click.option("--stream", help="Those of one stream, such as order-7.")
@common
def timer_list(session: Session, limit: int | None, stream: str | None) -> None:
    """List the open deadlines, the next to come first, and what became of those that have come."""
    machinery = session.book.machinery

    def rows() -> "Iterator[Row]":
        for row in islice(machinery.deadlines(stream), limit):
            work = machinery.fired(row)
            yield {
                "due_at": row.due_at,
                "kind": row.kind,
                "stream": row.stream,
                "deadline_id": row.deadline_id,
                "status": "open" if work is None else work.status.value,
                "attempts": 0 if work is None else work.attempts,
                "opened_at": row.opened_at,
                "text": "" if work is None else work.error,
            }

    session.rows(rows(), _DEADLINES)


@timer.command("run")
@common
def timer_run(session: Session) -> None:
    """Fire every deadline that has come, each once whoever else does."""
    swept = session.book.sweep()
    session.record({"found": swept.found, "performed": swept.performed})


@click.group()
def outbox() -> None:
    """Look after effects: what reactors called for, and what could not be done."""


@click.group()
def queue() -> None:
    """Look after queued commands."""


def _list(session: Session, lane: str, is_all: bool) -> None:
    from orderledger.ledger.work_ports import Lane, WorkStatus

    open_states = (WorkStatus.WAITING, WorkStatus.REFUSED, WorkStatus.DEAD)
    states = tuple(WorkStatus) if is_all else open_states
    found = session.book.machinery.list_work(Lane(lane), states)
    session.rows((_row(one) for one in found), _WORK)


def _redrive(session: Session, lane: str, key: str) -> None:
    from orderledger.ledger.work_ports import Lane

    session.record(_row(session.book.machinery.redrive(Lane(lane), key)))


def _can_discard(group: click.Group, lane: str, text: str) -> None:
    """Give a group the command that gives up work of a lane."""

    @group.command("discard", help=text)
    @_key
    @_reason
    @_actor
    @_confirmed
    @common
    def discard(session: Session, key: str, reason: str, actor_id: str | None, yes: bool) -> None:
        from orderledger.commands.requests import SYSTEM, Actor
        from orderledger.ledger.work_ports import Lane

        book, place = session.book, Lane(lane)
        if not yes:
            session.talk("would discard it; give --yes to do it")
            session.record({"done": False, **_row(book.machinery.find(place, key))})
            return
        actor = SYSTEM if actor_id is None else Actor("staff", actor_id)
        book.discard(place, key, reason=reason, actor=actor)
        session.record(_row(book.machinery.find(place, key)))


def _row(one: "Work") -> Row:
    return {
        "number": one.number,
        "status": one.status,
        "kind": one.kind,
        "streams": ", ".join(one.streams),
        "attempts": one.attempts,
        "due_at": one.due_at,
        "key": one.key,
        "text": one.error,
    }


@outbox.command("list")
@_all
@common
def outbox_list(session: Session, is_all: bool) -> None:
    """List the effects that wait, were refused or are dead, the oldest first."""
    _list(session, "outbox", is_all)


@outbox.command("redrive")
@_key
@common
def outbox_redrive(session: Session, key: str) -> None:
    """Have an effect tried again that is dead or was refused."""
    _redrive(session, "outbox", key)


@queue.command("list")
@_all
@common
def queue_list(session: Session, is_all: bool) -> None:
    """List the commands that wait, were refused or are dead, the oldest first."""
    _list(session, "queue", is_all)


@queue.command("redrive")
@_key
@common
def queue_redrive(session: Session, key: str) -> None:
    """Have a command tried again that is dead; a refusal stays the answer of its key."""
    _redrive(session, "queue", key)


@timer.command("redrive")
@_key
@common
def timer_redrive(session: Session, key: str) -> None:
    """Have a deadline fired again whose command is dead or stays refused."""
    _redrive(session, "timer", key)


@timer.command("failed")
@_all
@common
def timer_failed(session: Session, is_all: bool) -> None:
    """List the deadlines that have come and could not be fired yet, with their keys."""
    _list(session, "timer", is_all)


_can_discard(
    outbox, "outbox", "Give an effect up for good that is dead or was refused; it is an event."
)
_can_discard(
    queue, "queue", "Give a command up for good that is dead or was refused; it is an event."
)
_can_discard(
    timer,
    "timer",
    "Give a deadline up for good whose command is dead or stays refused; it is an event.",
)


@click.group()
def reactor() -> None:
    """Look after reactors: what acts on events."""


@reactor.command("list")
@common
def reactor_list(session: Session) -> None:
    """List the reactors that ever ran on this book, and how far each has read the log."""
    found = session.book.machinery.work.reactors()
    head = session.book.store.head().size
    session.rows(
        (
            {
                "reactor": one.reactor,
                "position": one.position,
                "lag": max(0, head - one.position),
                "started_at_position": one.started_at_position,
                "moved_at": one.moved_at,
            }
            for one in found.values()
        ),
        _REACTORS,
    )


@click.command()
@click.option(
    "--with",
    "wiring",
    metavar="MODULE:NAME",
    help="The Wiring of your ports and reactors, or a function that returns it.",
)
@click.option(
    "--snapshots",
    "takes_snapshots",
    is_flag=True,
    help="Save the rows of the read models as the log grows, for the book as it was.",
)
@common
def work(session: Session, wiring: str | None, takes_snapshots: bool) -> None:
    """
    Do all the work of a book until interrupted.

    Follows the read models, runs the reactors, fires deadlines, dispatches effects and executes
    queued commands, each part by itself. Several workers may run at once, here and elsewhere.
    Without --with nothing acts on the world. Ends at SIGTERM or SIGINT after what is at hand.
    """
    import logging
    import signal

    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    if wiring is not None:
        session.book.wire(_wiring(wiring))
    worker = session.book.worker(takes_snapshots=takes_snapshots)

    def end(number: int, frame: object) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    session.talk("working; interrupt to end")
    worker.run()


def _wiring(name: str) -> "Wiring":
    """Return what ``MODULE:NAME`` names; the current directory is looked through as by python."""
    from orderledger.machinery import Wiring

    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")
    try:
        found: object = getattr(import_module(module), attribute or "wiring")
    except (ImportError, AttributeError, ValueError) as error:
        raise click.UsageError(f"--with {name} names nothing: {error}") from error
    if callable(found):
        found = found()
    if not isinstance(found, Wiring):
        raise click.UsageError(f"--with {name} is {found!r:.80}, no Wiring")
    return found
