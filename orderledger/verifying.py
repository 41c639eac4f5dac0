"""
Everything that a verification of a book looks at, put together.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from orderledger.commands.reactors import Reactor
from orderledger.databases import open_audit, scratch_models
from orderledger.ledger.checkpoints import SignedCheckpoint, VerifierKey
from orderledger.ledger.ports import EventStore
from orderledger.ledger.work_ports import WorkStore
from orderledger.projections.read_models import ReadModels
from orderledger.replay.findings import Area
from orderledger.replay.progress import Progress, silent
from orderledger.replay.verify import Around, Other, Verification
from orderledger.snapshotting import Snapshots

from .verify_snapshots import SnapshotCheck
from .verify_work import WorkCheck


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much of a book to verify.

    ``is_deep``: read every row of every read model, and make each again from the events beside it,
    in a temporary file; fold again what every snapshot is of. ``held``: checkpoints kept outside,
    each signed by one of the keys ``trusted``. ``resume``: a file that keeps how far the
    verification is, so that one that was interrupted goes on from there. ``reactors``: hold the
    work that is not done yet to what these call for.
    """

    is_deep: bool = False
    held: Sequence[SignedCheckpoint] = ()
    trusted: Sequence[VerifierKey] = ()
    resume: Path | None = None
    reactors: Sequence[Reactor] = ()


WHOLE = Scope()


class Beside(msgspec.Struct, frozen=True):
    """What stands beside the events and the read models of a book as it is now."""

    work: WorkStore
    snapshots: Snapshots


def verification(
    store: EventStore,
    models: ReadModels,
    beside: Beside | None,
    scope: Scope = WHOLE,
    progress: Progress = silent,
) -> Verification:
    """
    Return every check of a book, made as it is iterated over; see ``Verification``.

    A book as it was has nothing ``beside``.
    """
    audit = open_audit(store)
    others: list[Other] = []
    if beside is not None:
        check = WorkCheck(store, beside.work, audit, scope.reactors)
        others.append(Other(Area.EFFECTS, "pieces of work", check))
        if scope.is_deep:
            snapshots = SnapshotCheck(beside.snapshots, progress)
            others.append(Other(Area.SNAPSHOTS, "snapshots", snapshots))
    around = Around(
        audit=audit,
        models=models,
        scratch=scratch_models if scope.is_deep else None,
        held=scope.held,
        trusted=scope.trusted,
        others=others,
    )
    return Verification(store, around, progress, resume=scope.resume)
