"""
What a book can prove of itself to somebody who trusts neither it nor its operator.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from orderledger.commands.attestation_commands import AttestStreams
from orderledger.commands.requests import SYSTEM, Actor, Envelope, Receipt
from orderledger.ledger.checkpoints import Checkpoint, SignedCheckpoint, VerifierKey
from orderledger.ledger.errors import ConcurrencyConflict, Unavailable
from orderledger.ledger.ports import EventStore
from orderledger.replay import checkpoints, dossier
from orderledger.replay.checkpoint_targets import target_of
from orderledger.replay.checkpoints import Published, SignerMemory
from orderledger.replay.dossier import Dossier, Subject
from orderledger.replay.findings import Finding
from orderledger.replay.signing import read_key

_CLOSING_ATTEMPTS: Final = 20
"""Tries to close the streams of an order that others write to."""


class DossierTerms(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a dossier is made: why, and by whom; what signs it; what is left out.

    ``key_file`` signs the head of the book. Without it, ``targets`` hold published checkpoints, of
    which the newest must cover the dossier. With neither, nobody has signed what it proves.
    ``withhold`` are topics, or events as ``stream:version``, whose payload is left out.
    """

    reason: str = "dossier"
    actor: Actor = SYSTEM
    key_file: Path | None = None
    targets: tuple[str, ...] = ()
    withhold: tuple[str, ...] = ()


class Proving:
    """
    The proofs of one book, on its event store. Safe to share between threads.

    All but ``dossier`` only reads.
    """

    def __init__(self, store: EventStore, execute: Callable[[Envelope], Receipt]) -> None:
        self._store: Final = store
        self._execute: Final = execute

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """
        Return how long the log is and its RFC 6962 root, at the head or at an earlier size.

        Raises NotFound for a book without events, InvalidInput for a size beyond the head.
        """
        return checkpoints.checkpoint_of(self._store, size)

    def publish(self, key_file: Path, targets: Sequence[str]) -> Published:
        """
        Sign the head with the key in a file and write it to every target, a directory or URL.

        Raises LogForked, and signs nothing, where the log does not continue what the key signed
        before or what stands at a target; InvalidInput where a target is another book's or key's;
        Unavailable where one cannot be reached: run it again.
        """
        places = [target_of(one) for one in targets]
        key, memory = read_key(key_file), SignerMemory(key_file)
        return checkpoints.publish(self._store, key, memory, places)

    def verify(
        self, held: Sequence[SignedCheckpoint], trusted: Sequence[VerifierKey]
    ) -> Iterator[Finding]:
        """
        Yield what is wrong between the log and checkpoints of it that were kept outside.

        It looks at the hashes that the log stores; that these are those of the events is what
        ``Reading.verify`` shows. Only both together prove the events.
        """
        return checkpoints.verify_checkpoints(self._store, held, trusted)

    def dossier(self, kind: str, entity_id: str, terms: DossierTerms | None = None) -> Dossier:
        """
        Return the dossier of an ``order`` or a ``dispute``: its events, proved, and that it is all.

        Closes the streams of the order, each by an event, unless they are closed for this subject
        and nothing has happened since: so it may be made again, as with a newer checkpoint, without
        another event. Raises NotFound; InvalidInput for a checkpoint that is too old or another
        book's, and where nothing is as ``withhold`` says; LogForked.
        """
        given = terms or DossierTerms()
        subject, ends = self._closed(kind, entity_id, given)
        held = [one for place in given.targets for one in checkpoints.held_at(target_of(place))]
        if given.key_file is not None:
            held.append(self.publish(given.key_file, ()).signed)
        return dossier.make(self._store, subject, ends, held, given.withhold)

    def _closed(
        self, kind: str, entity_id: str, terms: DossierTerms
    ) -> tuple[Subject, Mapping[str, int]]:
        """Close the streams of a subject unless they are; return at which versions they end."""
        for _ in range(_CLOSING_ATTEMPTS):
            subject = dossier.subject_of(self._store, kind, entity_id)
            ends = dossier.closed(self._store, subject)
            if ends is not None:
                return subject, ends
            command = AttestStreams(subject=subject.stream, of=subject.streams, reason=terms.reason)
            order = {subject.streams[0]: subject.order_version}
            try:
                receipt = self._execute(
                    Envelope(command=command, actor=terms.actor, expected=order)
                )
            except ConcurrencyConflict:
                continue  # the order moved, and may name more by now
            while self._store.sequence():
                pass
            return subject, receipt.streams
        raise Unavailable(
            f"{kind} {entity_id} moved at each of {_CLOSING_ATTEMPTS} attempts to close it for its "
            "dossier: try again",
            **{f"{kind}_id": entity_id},
        )
