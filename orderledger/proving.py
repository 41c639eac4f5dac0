"""
What a book can prove of itself to somebody who trusts neither it nor its operator.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from orderledger.ledger.checkpoints import Checkpoint, SignedCheckpoint, VerifierKey
from orderledger.ledger.ports import EventStore
from orderledger.replay import checkpoints
from orderledger.replay.checkpoint_targets import target_of
from orderledger.replay.checkpoints import Published, SignerMemory
from orderledger.replay.findings import Finding
from orderledger.replay.signing import read_key


class Proving:
    """The proofs of one book, on its event store. Reads only; safe to share between threads."""

    def __init__(self, store: EventStore) -> None:
        self._store: Final = store

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
