"""
Checkpoints of a book: signed, published outside the database, cosigned, and held against the log.

At a target stand ``checkpoint``, the newest note, and for each size ``checkpoints/{size}``, the
note, and ``proofs/{size}``, the proof that its log continues that of the note before. So whoever
keeps what was the newest once can follow every step from there, with no database.

A signer signs no two heads that are not consistent: beside its key it keeps the newest note that it
signed for each log, and signs another only with a proof that it continues that one.
"""

import binascii
import fcntl
import os
from base64 import b64decode, b64encode
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from orderledger.ledger.checkpoints import (
    Checkpoint,
    SignedCheckpoint,
    VerifierKey,
    origin_of,
    parse_checkpoint,
)
from orderledger.ledger.errors import InvalidInput, LogForked, NotFound
from orderledger.ledger.hypothetical import require_real
from orderledger.ledger.merkle_proofs import LogTree, is_consistent
from orderledger.ledger.ports import EventStore

from .checkpoint_targets import NEWEST, CheckpointTarget, DirectoryTarget
from .findings import Check, Finding, Severity
from .signing import SigningKey, holds

_NOTES: Final = "checkpoints"
_PROOFS: Final = "proofs"
_SIZE_DIGITS: Final = 12
"""Sizes are written with as many digits, so that names sort as the sizes do."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What was published: ``is_new`` unless the newest checkpoint was of this size already."""

    signed: SignedCheckpoint
    is_new: bool
    targets: tuple[str, ...]


class SignerMemory:
    """
    What a key has signed last, for each log, in a directory beside the key.

    It must be as safe from loss as the key: without it a signer no longer knows what it said.
    """

    def __init__(self, key_file: Path) -> None:
        self._path: Final = key_file.with_name(key_file.name + ".signed")
        self._files: Final = DirectoryTarget(self._path)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Let one process at a time sign with the key."""
        self._path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def newest(self, origin: str) -> SignedCheckpoint | None:
        """Return the newest note that was signed for a log."""
        return _read(self._files, self._name(origin))

    def keep(self, signed: SignedCheckpoint) -> None:
        """Write down a note; it is durable when this returns."""
        self._files.write(self._name(signed.checkpoint.origin), signed.note)

    def _name(self, origin: str) -> str:
        return sha256(origin.encode()).hexdigest()[:32]


def tree_of(store: EventStore) -> LogTree:
    """
    Return the tree over a book's log, read as it is asked for.

    Raises InvalidInput for a hypothetical book, which nothing is proved of.
    """
    require_real(store, "a proof")
    tiles: dict[int, Sequence[bytes]] = {}

    def nodes(level: int, start: int, count: int) -> Sequence[bytes]:
        if level == 0:
            found = store.leaf_hashes(start, count)
        else:
            if len(tiles.get(level, ())) < start + count:
                tiles[level] = store.tiles(level)
            found = tiles[level][start : start + count]
        if len(found) != count:
            raise LogForked(
                f"book {store.book} lacks {count - len(found)} nodes of level {level} from "
                f"{start} on, below its head: run `orderledger verify`",
                book=store.book,
                level=level,
                start=start,
            )
        return found

    return LogTree(nodes)


def origin(store: EventStore) -> str:
    """
    Return the name of a book's log.

    Raises NotFound where it has no events yet, InvalidInput for a hypothetical book.
    """
    require_real(store, "a checkpoint")
    first = store.leaf_hashes(0, 1)
    if not first:
        raise NotFound(f"book {store.book} has no events, and so no checkpoint", book=store.book)
    return origin_of(store.book, first[0])


def checkpoint_of(store: EventStore, size: int | None = None) -> Checkpoint:
    """
    Return the checkpoint of a book's log at a size, by default at its head.

    Raises NotFound for a book without events, InvalidInput for a size beyond the head.
    """
    name, head = origin(store), store.head().size
    wanted = head if size is None else size
    if not 0 < wanted <= head:
        raise InvalidInput(
            f"there is no checkpoint at {wanted}: book {store.book} has positions 1 to {head}",
            position=wanted,
            head=head,
        )
    return Checkpoint(name, wanted, tree_of(store).root(wanted))


def newest_at(target: CheckpointTarget) -> SignedCheckpoint | None:
    """Return the newest checkpoint at a target; raises InvalidInput where it is none."""
    return _read(target, NEWEST)


def _read(target: CheckpointTarget, name: str) -> SignedCheckpoint | None:
    text = target.read(name)
    if text is None:
        return None
    try:
        return parse_checkpoint(text)
    except InvalidInput as error:
        raise InvalidInput(
            f"{target.where}/{name}: {error.message}", target=target.where
        ) from error


def publish(
    store: EventStore,
    key: SigningKey,
    memory: SignerMemory,
    targets: Sequence[CheckpointTarget],
) -> Published:
    """
    Sign the head of a book and write it to every target; safe to run again after any failure.

    Raises LogForked, and signs nothing, where the log does not continue what the key signed before
    or what stands at a target; InvalidInput where a target holds another book's checkpoints, or
    some that this key did not sign.
    """
    with memory.locked():
        name, size, tree = origin(store), store.head().size, tree_of(store)
        new = Checkpoint(name, size, tree.root(size))
        before = [_held(target, name, key.verifier) for target in targets]
        for held in (memory.newest(name), *before):
            if held is not None:
                _require_continued(tree, held.checkpoint, new)
        signed = SignedCheckpoint(new, ()).with_signature(key.sign(new))
        memory.keep(signed)
        is_new = False
        for target, held in zip(targets, before, strict=True):
            if held is None or held.checkpoint.size < size:
                _put(target, held, signed, tree)
                is_new = True
    return Published(signed=signed, is_new=is_new, targets=tuple([one.where for one in targets]))


def _held(target: CheckpointTarget, name: str, key: VerifierKey) -> SignedCheckpoint | None:
    held = newest_at(target)
    if held is None:
        return None
    if held.checkpoint.origin != name:
        raise InvalidInput(
            f"{target.where} holds checkpoints of {held.checkpoint.origin}, this book's log is "
            f"{name}: give each book a target of its own",
            target=target.where,
            held=held.checkpoint.origin,
            origin=name,
        )
    if not holds(key, held):
        raise InvalidInput(
            f"the newest checkpoint at {target.where} was not signed by {key.text}: publish with "
            "the key that signed it, or to another target",
            target=target.where,
            key=key.text,
        )
    return held


def _require_continued(tree: LogTree, held: Checkpoint, new: Checkpoint) -> None:
    if held.size > new.size:
        raise LogForked(
            f"the log of {new.origin} has {new.size} events, but a checkpoint of {held.size} was "
            "signed: it lost its end. Nothing was signed; restore what is missing",
            origin=new.origin,
            size=new.size,
            signed_size=held.size,
        )
    root = tree.root(held.size)
    if root != held.root:
        raise LogForked(
            f"the first {held.size} events of {new.origin} have the root {root.hex()}, a "
            f"checkpoint with {held.root.hex()} was signed: history was rewritten. Nothing was "
            "signed; run `orderledger verify` with the checkpoints",
            origin=new.origin,
            signed_size=held.size,
            root=root.hex(),
            signed_root=held.root.hex(),
        )


def _put(
    target: CheckpointTarget, held: SignedCheckpoint | None, signed: SignedCheckpoint, tree: LogTree
) -> None:
    size = signed.checkpoint.size
    old = 0 if held is None else held.checkpoint.size
    proof = "".join([b64encode(one).decode() + "\n" for one in tree.consistency(old, size)])
    # The newest comes last: what it needs is there when it can be seen.
    target.write(f"{_PROOFS}/{size:0{_SIZE_DIGITS}}", f"old {old}\n{proof}")
    target.write(f"{_NOTES}/{size:0{_SIZE_DIGITS}}", signed.note)
    target.write(NEWEST, signed.note)


def cosign(
    target: CheckpointTarget,
    operator: VerifierKey,
    key: SigningKey,
    memory: SignerMemory,
    at: datetime,
) -> SignedCheckpoint:
    """
    Add a counterparty's signature to the newest checkpoint at a target, and return it.

    The counterparty needs no database: it follows the published proofs from the checkpoint that it
    cosigned last. The first time it takes the newest as it is. Raises NotFound where nothing is
    published, InvalidInput where the operator's signature is missing or wrong, LogForked where the
    newest does not continue what was cosigned before.
    """
    newest = newest_at(target)
    if newest is None:
        raise NotFound(f"no checkpoint is published at {target.where}", target=target.where)
    if not holds(operator, newest):
        raise InvalidInput(
            f"the newest checkpoint at {target.where} has no right signature of {operator.text}",
            target=target.where,
            key=operator.text,
        )
    with memory.locked():
        held = memory.newest(newest.checkpoint.origin)
        if held is not None:
            _follow(target, operator, held.checkpoint, newest.checkpoint)
        signed = newest.with_signature(key.cosign(newest.checkpoint, at))
        memory.keep(signed)
        target.write(f"{_NOTES}/{signed.checkpoint.size:0{_SIZE_DIGITS}}", signed.note)
        target.write(NEWEST, signed.note)
    return signed


def _follow(
    target: CheckpointTarget, operator: VerifierKey, held: Checkpoint, newest: Checkpoint
) -> None:
    """Follow the published proofs from what was cosigned to the newest; raises LogForked."""
    reached = held
    for step, old, proof in _steps(target, operator, held.size, newest.size):
        is_next = old == reached.size and step.origin == reached.origin
        if not is_next or not is_consistent(
            (reached.size, reached.root), (step.size, step.root), proof
        ):
            raise LogForked(
                f"the checkpoint of {step.size} events at {target.where} does not continue that "
                f"of {reached.size}, which was cosigned or follows from what was: history was "
                "rewritten, or the published proofs were",
                target=target.where,
                size=step.size,
                cosigned_size=held.size,
            )
        reached = step
    if reached != newest:
        raise LogForked(
            f"from the checkpoint of {held.size} events, which was cosigned, the proofs at "
            f"{target.where} lead to {reached.size} events with root {reached.root.hex()}, not "
            f"to the newest, {newest.size} with {newest.root.hex()}",
            target=target.where,
            size=newest.size,
            cosigned_size=held.size,
        )


def _steps(
    target: CheckpointTarget, operator: VerifierKey, after: int, until: int
) -> Iterator[tuple[Checkpoint, int, tuple[bytes, ...]]]:
    """Yield each published checkpoint of these sizes, the old size and proof that lead to it."""
    for name in target.names(_NOTES):
        if not name.isdecimal() or not after < int(name) <= until:
            continue
        signed = _read(target, f"{_NOTES}/{name}")
        if signed is None or not holds(operator, signed) or signed.checkpoint.size != int(name):
            raise InvalidInput(
                f"{target.where}/{_NOTES}/{name} is no checkpoint of that size by {operator.name}",
                target=target.where,
            )
        old, proof = _proof(target, f"{_PROOFS}/{name}")
        yield signed.checkpoint, old, proof


def _proof(target: CheckpointTarget, name: str) -> tuple[int, tuple[bytes, ...]]:
    first, *lines = (target.read(name) or "").splitlines() or [""]
    try:
        old = int(first.removeprefix("old "))
        return old, tuple([b64decode(line, validate=True) for line in lines])
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(
            f"{target.where}/{name} is no proof: `old SIZE`, then hashes in base64",
            target=target.where,
        ) from error


def held_at(target: CheckpointTarget) -> list[SignedCheckpoint]:
    """Return every checkpoint at a target, by size; raises InvalidInput where one is none."""
    found = [_read(target, f"{_NOTES}/{name}") for name in target.names(_NOTES)]
    return [one for one in found if one is not None]


def verify_checkpoints(
    store: EventStore, held: Sequence[SignedCheckpoint], trusted: Sequence[VerifierKey]
) -> Iterator[Finding]:
    """
    Yield what is wrong between a book and checkpoints of it that were kept outside.

    Each must have a right signature by one of the ``trusted`` keys, which are ours or those of
    whoever cosigned. A log that was cut off or rewritten is found here, however well its own hashes
    agree; between which checkpoints it was rewritten is told.
    """
    size, tree = store.head().size, tree_of(store)
    name = origin(store) if size else ""
    reached = 0
    for signed in sorted(held, key=lambda one: one.checkpoint.size):
        one = signed.checkpoint
        what = f"the checkpoint of {one.size} events of {one.origin}"
        if not any(holds(key, signed) for key in trusted):
            names = ", ".join([found.name for found in signed.signatures]) or "nobody"
            yield _found(
                Check.CHECKPOINT_UNSIGNED,
                f"{what} has no right signature by a trusted key; it is signed by {names}",
            )
        elif one.size > size:
            yield _found(
                Check.LOG_CUT_OFF,
                f"{what} is signed, but the log ends at position {size}: events {size + 1} to "
                f"{one.size} are missing",
                size + 1,
            )
        elif one.origin != name:
            yield _found(Check.CHECKPOINT_FOREIGN, f"{what} is not of this log, which is {name}")
        else:
            problem = _rewritten(tree, signed, what, reached)
            if problem is not None:
                yield problem
                return
            reached = one.size


def _rewritten(tree: LogTree, signed: SignedCheckpoint, what: str, reached: int) -> Finding | None:
    one = signed.checkpoint
    try:
        root = tree.root(one.size)
    except LogForked as cause:
        text = f"{what} cannot be held against the log: {cause.message}"
        return _found(Check.LOG_REWRITTEN, text, reached + 1)
    if root == one.root:
        return None
    return _found(
        Check.LOG_REWRITTEN,
        f"{what} has the root {one.root.hex()}, the log has {root.hex()} there: an event from "
        f"position {reached + 1} to {one.size} is not the one that was signed",
        reached + 1,
    )


def _found(code: Check, text: str, position: int | None = None) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, text=text, position=position)
