"""
Verification of the snapshots of a book: each is what its events make.

It stands here and not with the other checks since nothing that replays may know of the models and
folds that a book was opened with.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from orderledger.ledger.errors import OrderLedgerError, Unavailable
from orderledger.ledger.snapshot_ports import SnapshotKind
from orderledger.replay.findings import Check, Finding, error
from orderledger.replay.progress import Progress, silent
from orderledger.snapshots.rejections import Rejection
from orderledger.snapshotting import Checked, Snapshots

_CODES: Final[Mapping[Rejection, Check]] = MappingProxyType(
    {
        Rejection.OTHER_LOG: Check.SNAPSHOT_OTHER_LOG,
        Rejection.MISPLACED: Check.SNAPSHOT_MISPLACED,
        Rejection.DAMAGED: Check.SNAPSHOT_DAMAGED,
        Rejection.DIFFERS: Check.SNAPSHOT_DIFFERS,
        Rejection.UNAVAILABLE: Check.SNAPSHOT_UNAVAILABLE,
    }
)


class SnapshotCheck:
    """
    Yields which snapshots are not right; ``looked_at`` counts those that were compared.

    Those that an upgrade or an erasure outdated are used by nobody: ``skipped`` counts them.
    """

    def __init__(self, snapshots: Snapshots, progress: Progress = silent) -> None:
        self._snapshots: Final = snapshots
        self._progress: Final = progress
        self._outdated = 0
        self.looked_at = 0

    @property
    def skipped(self) -> str:
        """How many were not compared, and why; empty if all were."""
        if not self._outdated:
            return ""
        return f"made by other code or before an erasure: {self._outdated}"

    def __iter__(self) -> Iterator[Finding]:
        for kind in SnapshotKind:
            try:
                yield from self._of_kind(kind)
            except Unavailable:
                raise
            except OrderLedgerError as cause:
                yield error(
                    Check.SNAPSHOT_UNAVAILABLE,
                    f"the {kind.value} snapshots cannot be read, and those behind are not "
                    f"compared: {cause.message}",
                )

    def _of_kind(self, kind: SnapshotKind) -> Iterator[Finding]:
        for one in self._snapshots.check(self._snapshots.headers(kind)):
            if one.is_outdated:
                self._outdated += 1
                continue
            self.looked_at += 1
            self._progress("snapshots", self.looked_at, self.looked_at)
            if one.reason is not None:
                yield _finding(one, one.reason)


def _finding(one: Checked, reason: Rejection) -> Finding:
    header = one.header
    stream = header.subject if header.kind is SnapshotKind.STREAM else None
    return error(_CODES[reason], one.text, stream=stream, position=header.position)
