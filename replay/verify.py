"""
Verification of a book: read-only, streaming, in memory that does not grow with the book.

Two passes over the events: in log order for hashes, positions and double entry, then stream by
stream for versions, folds and the laws of states; then what stands around the events: command
records, guards, read models. Nothing here raises for what it finds; what makes it impossible to go
on (the database does not answer) is raised.
Events that an application of the ``eventsourcing`` library appended itself (their context says so,
and the leaf hash covers it) may have topics and streams that only that application knows: these
are checked for everything else.
Not covered without a checkpoint kept outside the database: a log whose tail was cut off and whose
tiles agree with what is left, or a log that was rewritten whole.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.audit_ports import Audit
from orderledger.ledger.checkpoints import SignedCheckpoint, VerifierKey
from orderledger.ledger.ports import EventStore
from orderledger.projections.read_models import ReadModels

from .checkpoints import verify_checkpoints
from .filling import paused_collector
from .findings import AREA_OF, Area, Check, Checked, Finding, error
from .progress import Progress, silent
from .resuming import Resuming
from .verify_balances import verify_balances
from .verify_commands import CommandCheck
from .verify_guards import verify_books, verify_constraints, verify_guards, verify_unique
from .verify_journal import verify_journal
from .verify_log import LogPass
from .verify_models import Rebuilds, Scratch, verify_models
from .verify_periods import verify_periods
from .verify_streams import StreamPass

NO_DATABASE: Final = "there is no database around the events"
Told = Iterator[Finding | Checked]


class Counted(Protocol):
    """
    Yields findings; ``looked_at`` counts what it has looked at, ``skipped`` says what it left out.
    """

    @property
    def looked_at(self) -> int: ...

    @property
    def skipped(self) -> str: ...

    def __iter__(self) -> Iterator[Finding]: ...


class Other(msgspec.Struct, frozen=True):
    """A check that is made last, by who knows of it, and of what it looks at how many."""

    area: Area
    of: str
    check: Counted


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """
    What stands around the events, None for what is not there to be checked.

    ``scratch`` asks for the deep check: it opens a place where read models are made again. ``held``
    are checkpoints kept outside, of which one of the keys ``trusted`` must have signed each.
    """

    audit: Audit | None = None
    models: ReadModels | None = None
    scratch: Scratch | None = None
    held: Sequence[SignedCheckpoint] = ()
    trusted: Sequence[VerifierKey] = ()
    others: Sequence[Other] = ()


class Verification:
    """
    Every check of a book as of its head now: an iterator of findings, and of a ``Checked`` for
    each check once it is over.

    Writers may go on meanwhile. With ``resume`` the state of the two passes is kept in that file,
    and a verification that was interrupted goes on from there, as of the head that it began with;
    the file is gone when it is over. Raises Unavailable when the database stops answering.
    """

    def __init__(
        self,
        store: EventStore,
        around: Around,
        progress: Progress = silent,
        *,
        resume: Path | None = None,
    ) -> None:
        self._store: Final = store
        self._around: Final = around
        self._progress: Final = progress
        self._resuming: Final = Resuming(store, resume)
        self._found: Final[Counter[Area]] = Counter()

    def __iter__(self) -> Told:
        for one in self._all():
            if isinstance(one, Finding):
                self._found[AREA_OF[one.code]] += 1
            yield one

    def _all(self) -> Told:
        around, size = self._around, self._resuming.size
        if around.held:
            yield from verify_checkpoints(self._store, around.held, around.trusted)
            yield self._checked(Area.HELD, len(around.held), "checkpoints")
        yield from self._events(size)
        if around.audit is not None:
            yield from verify_unique(around.audit)
            yield self._checked(Area.UNIQUE, size, "events")
            yield from verify_books(around.audit)
            yield self._checked(Area.BOOKS, 1, "database")
            yield from verify_guards(around.audit)
            yield self._checked(Area.GUARDS, len(around.audit.guards().expected), "guards")
        if not isinstance(self._store, LogAsOf):
            yield from verify_constraints(self._store)
            count = len(self._store.constraints().accounts)
            yield self._checked(Area.CONSTRAINTS, count, "accounts")
            yield from verify_periods(self._store, self._progress)
            yield self._checked(Area.PERIODS, size, "events")
        if around.models is not None:
            yield from self._read_models(around.models)
        for other in around.others:
            yield from other.check
            check = other.check
            yield self._checked(other.area, check.looked_at, other.of, check.skipped)
        self._resuming.over()

    def _events(self, size: int) -> Told:
        store, resuming = self._store, self._resuming
        is_past = isinstance(store, LogAsOf)
        of_limited = frozenset[str]() if is_past else store.constraints().accounts
        log = LogPass(store, size, self._progress, state=resuming.log, limited=of_limited)
        yield from resuming.findings
        for page in log.pages():
            yield from resuming.kept(_taken(page))
            resuming.save(log=log.saved)
        resuming.save(log=log.saved, is_due=True)
        pending_before = store.pending()
        streams = StreamPass(store, size, self._progress, state=resuming.streams)
        for page in streams.pages():
            yield from resuming.kept(_taken(page))
            resuming.save(streams=streams.saved)
        yield from self._placed(size, log, streams, pending_before)
        for area, count, of in _looked_at(size, log, streams):
            yield self._checked(area, count, of)
        yield from verify_balances(store, size, log.balances, streams.balances, of_limited)
        yield self._checked(Area.BALANCES, streams.state.streams, "streams")
        if self._around.audit is not None:
            commands = CommandCheck(store, size, self._around.audit, log.commands, self._progress)
            yield from commands
            yield self._checked(Area.COMMANDS, commands.looked_at, "records")

    def _placed(
        self, size: int, log: LogPass, streams: StreamPass, pending_before: int
    ) -> Iterator[Finding]:
        if log.seen != streams.seen:
            yield error(
                Check.LOG_EVENT_MISMATCH,
                f"the log places {log.seen[0]} events up to position {size}, the streams have "
                f"{streams.seen[0]} there, or other ones: the two are not one to one",
            )
        # Those that were pending before may have been sequenced meanwhile, and others have come.
        waiting = max(pending_before, self._store.pending())
        state = streams.state
        if state.unplaced > waiting:
            stream, version = state.first_unplaced or ("", 0)
            yield error(
                Check.EVENT_OUTSIDE_LOG,
                f"{state.unplaced} events have no position and {waiting} wait for one: the others "
                f"are outside the log, the first is version {version} of stream {stream}",
                stream=stream,
            )

    def _read_models(self, models: ReadModels) -> Told:
        yield from verify_models(models)
        yield self._checked(Area.MODELS, len(models.names), "models")
        yield from verify_journal(models, self._progress)
        live = models.live("balances")
        yield self._checked(Area.JOURNAL, 0 if live is None else live.position, "events")
        if self._around.scratch is None:
            return
        with self._around.scratch() as scratch:
            rebuilds = Rebuilds(models, scratch, self._progress)
            for name in models.names:
                if name not in self._resuming.rebuilt:
                    yield from self._resuming.kept(rebuilds.of(name))
                    self._resuming.has_rebuilt(name)
        skipped = f"made by other code: {', '.join(rebuilds.skipped)}" if rebuilds.skipped else ""
        yield self._checked(Area.REBUILDS, rebuilds.looked_at, "rows", skipped)

    def _checked(self, area: Area, looked_at: int, of: str, skipped: str = "") -> Checked:
        found = self._found[area]
        return Checked(area=area, looked_at=looked_at, of=of, found=found, skipped=skipped)


def _taken(page: Iterator[Finding]) -> Sequence[Finding]:
    """Return what is wrong with a page; events and states form no cycles to collect meanwhile."""
    with paused_collector() as look:
        found = list(page)
        look()
    return found


def _looked_at(size: int, log: LogPass, streams: StreamPass) -> Iterator[tuple[Area, int, str]]:
    of_log, of_streams = log.state, streams.state
    yield Area.ROWS, of_log.count, "events"
    yield Area.UPCASTERS, of_streams.old, "events of an old form"
    yield Area.POSITIONS, size, "positions"
    yield Area.LEAVES, of_log.count, "leaf hashes"
    yield Area.TREE, sum(of_log.tiles_made.values()), "tiles"
    yield Area.ENTRIES, of_log.entries, "entries"
    yield Area.VERSIONS, of_streams.streams, "streams"
    yield Area.FOLDS, of_streams.count, "events"
    yield Area.INVARIANTS, of_streams.laws, "laws of states"


def verify(
    store: EventStore, progress: Progress = silent, around: Around | None = None
) -> Iterator[Finding]:
    """
    Yield everything that is wrong with a book as of its head now, and with what is around it.

    Without ``around`` the events alone, the accounts that appends are held to and the periods.
    """
    for one in Verification(store, around or Around(), progress):
        if isinstance(one, Finding):
            yield one
