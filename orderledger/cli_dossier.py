"""Commands about dossiers: one file that proves what happened to an order or in a dispute."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_checkpoints import public_keys, trusted
from .cli_export import write_whole
from .cli_output import Session, common
from .cli_periods import actor
from .cli_settlement import person
from .cli_tables import Columns

if TYPE_CHECKING:
    from orderledger.replay.verify_dossier import Finding


@click.group()
def dossier() -> None:
    """
    Hand out what happened to an order or in a dispute, provably all of it.

    One file, as data or as a page. Whoever gets it can verify it without database, network and this
    program.
    """


@dossier.command("export")
@click.argument("kind", type=click.Choice(("order", "dispute")))
@click.argument("entity_id", metavar="ID")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--html", "is_page", is_flag=True, help="Write a page to read that holds the data.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign the head of the book with this private key.",
)
@click.option(
    "--checkpoint",
    "places",
    multiple=True,
    metavar="TARGET",
    help="Show the checkpoints published at a target; may be repeated.",
)
@click.option(
    "--withhold",
    multiple=True,
    metavar="TOPIC|STREAM:VERSION",
    help="Leave out what these events say, and show its SHA-256; may be repeated.",
)
@click.option("--reason", default="dossier", show_default=True, help="Why it is made.")
@actor
@common
def export(
    session: Session, kind: str, entity_id: str, file: Path, *, is_page: bool, **given: Any
) -> None:
    """
    Write the dossier of an order or a dispute to FILE.

    It closes the streams of the order with an event each, unless nothing has happened since they
    were closed for it. With --key it is signed at once. Without, publish a checkpoint, have it
    cosigned, and export again with --checkpoint: the newest one must be later than the dossier.
    """
    from orderledger.proving import DossierTerms
    from orderledger.replay.dossier_page import page_of

    made = session.proving.dossier(
        kind,
        entity_id,
        DossierTerms(
            reason=given["reason"],
            actor=person(given["actor_id"]),
            key_file=given["key_file"],
            targets=given["places"],
            withhold=given["withhold"],
        ),
    )
    write_whole(file, [page_of(made.text) if is_page else made.text])
    signers = [one.name for one in made.checkpoint.signatures]
    session.record(
        {
            "subject": made.subject,
            "file": str(file),
            "position": made.position,
            "events": made.events,
            "withheld": list(made.withheld),
            "checkpoint": made.checkpoint.checkpoint.size,
            "signed_by": signers,
        }
    )
    if not signers:
        session.talk("nobody has signed it: it proves nothing to somebody who does not trust you")


@dossier.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@trusted
@common
def verify(session: Session, file: Path, trusted: tuple[str, ...]) -> int:
    """
    Verify a dossier; no database is needed.

    As the offline verifier does, and whether a page shows what its data say. Every --trust must
    have signed the newest checkpoint. Exit status: 0 sound, 1 a check failed, 2 could not run.
    """
    from orderledger.ledger.errors import InvalidInput
    from orderledger.replay import verify_dossier

    keys = [" ".join([one.text for one in public_keys([text])]) for text in trusted]
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is no dossier: it is not UTF-8 ({error})") from error
    findings = verify_dossier.verify(text, keys)
    status, verdict = verify_dossier.verdict_of(findings, is_trusting=bool(keys))
    if status == 0 and text.startswith("<!"):
        findings.append(_compared(text))
        status, verdict = verify_dossier.verdict_of(findings, is_trusting=bool(keys))
    session.rows(
        [{"status": one.status, "check": one.check, "text": one.text} for one in findings],
        Columns(("status", "check", "text")),
    )
    session.talk(verdict)
    return status


def _compared(text: str) -> "Finding":
    """Make the page again from its data, and tell whether it is the same."""
    from orderledger.replay.dossier_page import GENERATOR, page_of
    from orderledger.replay.verify_dossier import FAILED, OK, OPEN, Finding

    if f'content="{GENERATOR}"' not in text:
        return Finding(OPEN, "page", "made by another version: what it shows cannot be compared")
    if page_of(text) != text:
        return Finding(FAILED, "page", "it does not show what its data say: it was altered")
    return Finding(OK, "page", "it shows what its data say")


@dossier.command("verifier")
@click.argument("file", metavar="FILE|-")
@common
def verifier(session: Session, file: str) -> None:
    """
    Write the offline verifier to FILE, or to stdout (-).

    One file of Python that needs nothing of this program. Hand it out once, apart from any dossier,
    and let whoever gets it read it.
    """
    from orderledger.replay import verify_dossier

    text = Path(verify_dossier.__file__).read_text("utf-8")
    if file == "-":
        click.echo(text, nl=False)
        return
    write_whole(Path(file), [text])
    session.record({"file": file})
    session.talk("it needs Python 3.11, and for signatures the package cryptography")
