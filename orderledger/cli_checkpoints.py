"""Commands about checkpoints: signed statements of what a book's history is, kept outside it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orderledger.ledger.checkpoints import SignedCheckpoint, VerifierKey

key_file: Final = click.option(
    "--key",
    "key_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The private key, a file of `checkpoint key`.",
)
trusted: Final = click.option(
    "--trust",
    "trusted",
    multiple=True,
    metavar="PUBLIC_KEY",
    help="A public key whose signature counts, or a file of such keys; may be repeated.",
)


@click.group()
def checkpoint() -> None:
    """
    Sign what a book's history is, and have others sign it.

    A checkpoint says how long the log is and what its Merkle root is. Whoever holds one can tell
    later whether anything before it was changed, left out or put in, even by the operator.
    """


@checkpoint.command("key")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@common
def key(session: Session, name: str, file: Path) -> None:
    """
    Make a private key in FILE, and its public keys in FILE.pub.

    NAME is whose it is, such as ledger.shop.example. Hand out FILE.pub: `operator_key` is for
    checkpoints that you publish, `cosigner_key` for those of others that you cosign.
    """
    from orderledger.replay.signing import new_key, write_key

    made = new_key(name)
    write_key(made, file)
    Path(f"{file}.pub").write_text(f"{made.verifier.text}\n{made.cosigner.text}\n", "utf-8")
    session.record(
        {
            "name": made.name,
            "file": str(file),
            "operator_key": made.verifier.text,
            "cosigner_key": made.cosigner.text,
        }
    )
    session.talk(
        f"keep {file} and the directory {file}.signed, once it is there, away from the database, "
        "and safe from loss"
    )


@checkpoint.command("publish")
@key_file
@click.option(
    "--to",
    "places",
    required=True,
    multiple=True,
    metavar="TARGET",
    help="A directory or URL out of the database's reach; may be repeated.",
)
@common
def publish(session: Session, key_file: Path, places: tuple[str, ...]) -> None:
    """
    Sign the head of the book and write it to every TARGET.

    Refuses, and signs nothing, where the log does not continue what was signed before. Run it on a
    schedule; again after any failure.
    """
    found = session.proving.publish(key_file, places)
    row = {**_row(found.signed), "is_new": found.is_new, "targets": list(found.targets)}
    session.record(row)


@checkpoint.command("show")
@click.argument("target", required=False)
@click.option("--at", "position", type=int, help="Without TARGET: at this position of the book.")
@trusted
@common
def show(
    session: Session, target: str | None, position: int | None, trusted: tuple[str, ...]
) -> None:
    """
    Print the newest checkpoint at a TARGET, or the book's own.

    That of the book is computed now and signed by nobody. At a TARGET, `trusted` tells which of the
    keys given with --trust have signed it.
    """
    from orderledger.ledger.checkpoints import SignedCheckpoint
    from orderledger.ledger.errors import InvalidInput, NotFound
    from orderledger.replay.checkpoint_targets import target_of
    from orderledger.replay.checkpoints import newest_at
    from orderledger.replay.signing import cosigned_at, holds

    if target is None:
        session.record(_row(SignedCheckpoint(session.proving.checkpoint(position), ())))
        return
    if position is not None:
        raise InvalidInput("give a TARGET or --at, not both")
    found = newest_at(target_of(target))
    if found is None:
        raise NotFound(f"no checkpoint is published at {target}", target=target)
    row = _row(found)
    for one in public_keys(trusted):
        at = cosigned_at(one, found)
        seen = "" if at is None else f", seen {at.isoformat()}"
        row[f"signature of {one.name}"] = (
            f"right{seen}" if holds(one, found) else "missing or wrong"
        )
    session.record(row)


@checkpoint.command("cosign")
@click.argument("target")
@key_file
@click.option(
    "--operator",
    required=True,
    metavar="PUBLIC_KEY",
    help="The public key of whoever publishes there, or its file.",
)
@common
def cosign(session: Session, target: str, key_file: Path, operator: str) -> None:
    """
    Add your signature to the newest checkpoint at a TARGET.

    For a counterparty, such as an auditor; it needs no database. Refuses where the log does not
    continue what you cosigned there before.
    """
    from orderledger.ledger.checkpoints import ED25519
    from orderledger.ledger.errors import InvalidInput
    from orderledger.replay.checkpoint_targets import target_of
    from orderledger.replay.checkpoints import SignerMemory
    from orderledger.replay.checkpoints import cosign as cosign_at
    from orderledger.replay.signing import read_key

    operators = [one for one in public_keys([operator]) if one.kind == ED25519]
    if len(operators) != 1:
        raise InvalidInput(f"{operator} has {len(operators)} keys of an operator, not one")
    signed = cosign_at(
        target_of(target),
        operators[0],
        read_key(key_file),
        SignerMemory(key_file),
        datetime.now(UTC),
    )
    session.record(_row(signed))


def public_keys(texts: "Sequence[str]") -> "list[VerifierKey]":
    """Read keys, and files of keys, as they are given to an option; raises InvalidInput."""
    from orderledger.ledger.checkpoints import parse_key

    lines: list[str] = []
    for text in texts:
        path = Path(text)
        is_file = len(text) < 256 and path.is_file()
        lines += path.read_text("utf-8", "replace").splitlines() if is_file else [text]
    return [parse_key(line) for line in lines]


def _row(signed: "SignedCheckpoint") -> dict[str, object]:
    one = signed.checkpoint
    return {
        "origin": one.origin,
        "size": one.size,
        "root": one.root.hex(),
        "signed_by": [found.name for found in signed.signatures],
    }
