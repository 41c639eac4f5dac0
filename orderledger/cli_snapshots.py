"""Commands about snapshots: what spares reading long histories, and is never believed unchecked."""

from collections import Counter
from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common, fail
from .cli_tables import Columns, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderledger.ledger.snapshot_ports import Header

_HEADERS: Final = Columns(
    ("kind", "subject", "version", "position", "size", "taken_at", "code"),
    numeric=("version", "position", "size"),
)
_FINDINGS: Final = Columns(
    ("code", "severity", "subject", "position", "text"), numeric=("position",)
)


@click.group()
def snapshot() -> None:
    """
    Save the states of long streams, so that nobody reads them from their beginning.

    A snapshot changes no answer: one that does not agree with the log and with the code that runs
    is passed over, and replaced by the next one. All of them may be deleted at any time.
    """


@snapshot.command("list")
@click.argument("subject", required=False)
@common
def list_(session: Session, subject: str | None) -> None:
    """
    Print the snapshots, or those of one SUBJECT: a stream such as order-o1, or a read model.

    `code` begins the fingerprint of the code that folded it.
    """
    session.rows((_row(header) for header in _headers(session, subject)), _HEADERS)


@snapshot.command("take")
@click.argument("stream", required=False)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="The rows of this read model instead; may be repeated, `all` is every one.",
)
@common
def take(session: Session, stream: str | None, models: tuple[str, ...]) -> None:
    """
    Take a snapshot of one STREAM, or of all that are due.

    Without STREAM every stream is looked at, and its snapshots that are not valid any more are
    replaced: run it after an upgrade. With --model the rows of a read model are saved at every
    position that its policy names, and at the head. Prints the snapshots that were taken; of one
    STREAM its last one, though nothing came since.
    """
    if models:
        if stream is not None:
            raise click.UsageError("give a STREAM or --model, not both")
        names = session.snapshots.models.names if "all" in models else models
        taken_of = (session.snapshots.take_model(name) for name in names)
        session.rows((_row(header) for headers in taken_of for header in headers), _HEADERS)
        return
    if stream is not None:
        taken = session.snapshots.take(stream)
        session.record({**_row(taken.header), "is_new": taken.is_new})
        return
    session.rows((_row(header) for header in session.snapshots.take_by_policy()), _HEADERS)


@snapshot.command("verify")
@click.argument("subject", required=False)
@click.option(
    "--sample", type=click.IntRange(min=1), help="Check so many, chosen at random; default: all."
)
@common
def verify(session: Session, subject: str | None, sample: int | None) -> int:
    """
    Fold anew what was snapshotted, and compare.

    Prints the snapshots that are not right, of one SUBJECT or of all. Those of other code, which an
    upgrade leaves, are warnings: `snapshot take` replaces them. Exit status: 0 all are right,
    1 findings, 2 could not run.
    """
    from orderledger.ledger.errors import OrderLedgerError

    found: Counter[str] = Counter()

    def rows() -> "Iterator[Row]":
        headers = _headers(session, subject)
        for one in session.snapshots.check(headers if sample is None else _some(headers, sample)):
            found["checked"] += 1
            if one.reason is not None:
                found["wrong"] += 1
                yield {
                    "code": f"snapshot_{one.reason.value}",
                    "severity": "warning" if one.is_outdated else "error",
                    "kind": one.header.kind,
                    "subject": one.header.subject,
                    "position": one.header.position,
                    "text": one.text,
                }

    try:
        session.rows(rows(), _FINDINGS)
    except OrderLedgerError as error:
        fail(error, status=2)
    session.talk(f"{found['wrong']} of {found['checked']} snapshots are not right")
    return 1 if found["wrong"] else 0


def _headers(session: Session, subject: str | None) -> "Iterator[Header]":
    from orderledger.ledger.snapshot_ports import SnapshotKind

    for kind in SnapshotKind:
        if subject is None:
            yield from session.snapshots.headers(kind)
        else:
            yield from session.snapshots.store.headers(kind, subject)


def _some(headers: "Iterator[Header]", count: int) -> "list[Header]":
    """Return so many of the headers, each as likely as any other, in their order."""
    from random import SystemRandom

    chance, chosen = SystemRandom(), list[tuple[int, "Header"]]()
    for number, header in enumerate(headers):
        if len(chosen) < count:
            chosen.append((number, header))
        elif (place := chance.randrange(number + 1)) < count:
            chosen[place] = (number, header)
    return [header for _, header in sorted(chosen, key=lambda one: one[0])]


def _row(header: "Header") -> Row:
    return {
        "kind": header.kind,
        "subject": header.subject,
        "version": header.version,
        "position": header.position,
        "size": header.size,
        "taken_at": header.taken_at,
        "code": header.fingerprint.hex()[:12],
    }
