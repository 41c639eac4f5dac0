"""
The snapshots of a book: what spares folding long streams and long logs from their beginning.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any, Final

import msgspec

from orderledger.databases import open_snapshots
from orderledger.ledger.errors import InvalidInput, NotFound, Unavailable
from orderledger.ledger.folds import FOLDS
from orderledger.ledger.forks import in_child
from orderledger.ledger.ids import utc_now
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import (
    FoldedStream,
    Header,
    SavedRows,
    SnapshotKind,
    SnapshotStore,
)
from orderledger.ledger.streams import kind_of
from orderledger.machinery_status import DueSnapshots
from orderledger.model_snapshots import ModelSnapshots, Remade
from orderledger.projections.models import ReadModel
from orderledger.projections.shipped import SHIPPED
from orderledger.snapshots.policy import POLICIES, Policy
from orderledger.snapshots.rejections import NotUsed, Rejection, Rejections, place_of
from orderledger.snapshots.streams import StreamSnapshots, Taken

PAGE: Final = 1_000


class Checked(msgspec.Struct, frozen=True):
    """A snapshot that was compared with what it is of; without ``reason`` it is right."""

    header: Header
    reason: Rejection | None = None
    text: str = ""

    @property
    def is_outdated(self) -> bool:
        """Whether it was right once: an upgrade or an erasure came between."""
        return self.reason in (Rejection.OTHER_CODE, Rejection.OTHER_ERASURES)


class Snapshots:
    """
    The snapshots of one book, opened at first use. Safe to share between threads.

    Deleting all of them changes no answer. ``policies`` say when streams are given one, by kind;
    ``models`` are read models of the host's own, beside the shipped ones.
    """

    def __init__(
        self,
        events: EventStore,
        *,
        clock: Callable[[], datetime] = utc_now,
        policies: Mapping[str, Policy] = POLICIES,
        models: Sequence[ReadModel] = (),
    ) -> None:
        self._events: Final = events
        self._clock: Final = clock
        self._policies: Final = policies
        self._own_models: Final = tuple(models)
        self._renew_lock()
        in_child(self._renew_lock)
        self._opened: SnapshotStore | None = None
        self._streams: StreamSnapshots | None = None
        self._models: ModelSnapshots | None = None
        self._is_without = False
        self._rejections: Final = Rejections()

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    @property
    def store(self) -> SnapshotStore:
        """Where they are kept; raises InvalidInput for a store of events that has no place."""
        with self._lock:
            if self._opened is None:
                self._opened = open_snapshots(self._events)
            return self._opened

    @property
    def streams(self) -> StreamSnapshots:
        """Those of the streams."""
        store = self.store
        with self._lock:
            if self._streams is None:
                self._streams = StreamSnapshots(
                    self._events,
                    store,
                    clock=self._clock,
                    policies=self._policies,
                    rejections=self._rejections,
                )
            return self._streams

    @property
    def models(self) -> ModelSnapshots:
        """Those of the read models."""
        store = self.store
        with self._lock:
            if self._models is None:
                self._models = ModelSnapshots(
                    self._events,
                    store,
                    (*SHIPPED, *self._own_models),
                    clock=self._clock,
                    rejections=self._rejections,
                )
            return self._models

    @property
    def rejected(self) -> Mapping[Rejection, int]:
        """How often this process passed over a snapshot, by reason."""
        return self._rejections.counts

    # -- for whoever folds -----------------------------------------------------------------------

    def nearest(
        self, streams: Iterable[str], *, until: int | None = None
    ) -> Mapping[str, FoldedStream]:
        """Return the last valid snapshots of streams; see ``StateSnapshots``."""
        found = self._found()
        return {} if found is None else found.nearest(streams, until=until)

    def nearest_rows(
        self, model: str, fingerprint: str, skipped: Sequence[int], until: int
    ) -> SavedRows | None:
        """Return the rows of a model's last valid snapshot; see ``RowSnapshots``."""
        if self._found() is None:
            return None
        return self.models.nearest_rows(model, fingerprint, skipped, until)

    def committed(self, states: Iterable[tuple[str, int, Any]]) -> bool:
        """Note streams that were written; see ``StateSnapshots``."""
        found = self._found()
        return found is not None and found.committed(states)

    def take_due(self) -> None:
        """Take the snapshots that have become due; see ``StateSnapshots``."""
        found = self._found()
        if found is not None:
            found.take_due()

    def _found(self) -> StreamSnapshots | None:
        """Return those of the streams, None where the store of events is a host's own."""
        if self._streams is None and not self._is_without:
            try:
                return self.streams
            except InvalidInput:
                self._is_without = True
        return self._streams

    # -- for operators ---------------------------------------------------------------------------

    def headers(self, kind: SnapshotKind) -> Iterator[Header]:
        """Iterate over the headers of a kind, by subject and position."""
        after = ("", 0)
        while page := self.store.page(kind, after=after, limit=PAGE):
            yield from page
            after = (page[-1].subject, page[-1].position)

    def take(self, stream: str) -> Taken:
        """
        Take a snapshot of a stream at its last event in the log; raises NotFound.

        Where nothing came since its last one, that one is returned.
        """
        self._sequence()
        taken = self.streams.take(stream) if kind_of(stream) in FOLDS else None
        if taken is None:
            raise NotFound(
                f"stream {stream} of book {self._events.book} has no events in the log",
                stream=stream,
            )
        return taken

    def take_by_policy(self) -> Iterator[Header]:
        """
        Take snapshots of all streams that are due for one, and yield their headers.

        Those that are not valid any more are replaced. Cost: the last snapshot of every stream is
        read, and what came since is folded.
        """
        self._sequence()
        after = ""
        while page := self._events.streams("", after=after, limit=PAGE):
            for stream in page:
                taken = self.streams.take(stream, only_if_due=True)
                if taken is not None and taken.is_new:
                    yield taken.header
            after = page[-1]

    def take_model(self, name: str, *, only_if_due: bool = False) -> Iterator[Header]:
        """
        Take snapshots of the rows of a read model up to the head, and yield their headers.

        At every position that its policy names, so that any instant is near one, and unless
        ``only_if_due`` at the head. Raises NotFound for a model that is not there.
        """
        self._sequence()
        return self.models.take(name, only_if_due=only_if_due)

    def due_models(self) -> DueSnapshots:
        """Tell how many read models are due for a snapshot, of those that have one."""
        return self.models.due()

    def check(self, headers: Iterable[Header]) -> Iterator[Checked]:
        """
        Compare snapshots with what they are of, each folded anew from the first event.

        Read-only, and in constant memory. One that is gone or replaced when it is looked at is left
        out. Raises Unavailable when the database stops answering.
        """
        with closing(Remade(self._events, self._clock)) as remade:
            for header in headers:
                checked = self._checked(header, remade)
                if checked.reason is None or self._is_there(header):
                    yield checked

    def _checked(self, header: Header, remade: Remade) -> Checked:
        try:
            if header.kind is SnapshotKind.MODEL:
                self.models.check(header, remade)
            else:
                self.streams.check(header)
        except NotUsed as rejected:
            return Checked(header, rejected.reason, rejected.text)
        except Unavailable:
            raise
        except Exception as cause:  # noqa: BLE001  an evolve function may raise anything
            text = f"{place_of(header)} cannot be compared with the events that it is of: {cause}"
            return Checked(header, Rejection.UNAVAILABLE, text)
        return Checked(header)

    def _is_there(self, header: Header) -> bool:
        return header in self.store.headers(header.kind, header.subject)

    def _sequence(self) -> None:
        while self._events.sequence():
            pass

    def close(self) -> None:
        """Release what was opened; the store of events belongs to its owner."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
