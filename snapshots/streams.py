"""
Snapshots of the states of streams: the last valid one, a new one, and whether one is right.

Nothing here can change an answer. A snapshot is used where its header agrees with the running code
and with the log, and its body with its header; else it is passed over, counted, and replaced by
the next one that is taken.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.folds import FOLDS, fold_of
from orderledger.ledger.forks import in_child
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.snapshot_ports import FoldedStream, Header, SnapshotKind, SnapshotStore
from orderledger.ledger.streams import kind_of

from .bodies import CODECS, EPOCH, Unreadable, decode_state, encode_state, seal, sealed
from .policy import POLICIES, Policy, Tail, is_due, policy_of, thinned
from .rejections import NotUsed, Rejection, Rejections, place_of, require_code, require_log

REMEMBERED: Final = 50_000
"""Streams whose last snapshot a process remembers; beyond it those noted longest ago are asked."""

_logger: Final = logging.getLogger("orderledger")


class Taken(msgspec.Struct, frozen=True):
    """The snapshot that a stream has now, and whether it was taken just now."""

    header: Header
    is_new: bool


class _Known(msgspec.Struct, frozen=True):
    """What a process knows of a stream's last snapshot; version 0: there may be none."""

    version: int = 0
    taken_at: datetime | None = None


class _Fold(msgspec.Struct, frozen=True):
    """A stream folded to its last event in the log, and what it was folded from."""

    base: Header | None
    void: tuple[Header, ...]
    version: int
    position: int
    began_at: datetime | None
    state: Any


class StreamSnapshots:
    """
    The snapshots of one book's streams. Safe to share between threads.

    ``clock`` tells when a snapshot is taken: an age of the policy is measured with it.
    """

    def __init__(
        self,
        events: EventStore,
        store: SnapshotStore,
        *,
        clock: Callable[[], datetime],
        policies: Mapping[str, Policy] = POLICIES,
        rejections: Rejections | None = None,
    ) -> None:
        self._events: Final = events
        self._store: Final = store
        self._clock: Final = clock
        self._policies: Final = policies
        self._renew_lock()
        in_child(self._renew_lock)
        self._known: Final[dict[str, _Known]] = {}
        self._due: Final[dict[str, None]] = {}
        self._rejections: Final = rejections or Rejections()

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    # -- reading ---------------------------------------------------------------------------------

    def nearest(
        self, streams: Iterable[str], *, until: int | None = None
    ) -> Mapping[str, FoldedStream]:
        """Return, for streams that have one, the last valid snapshot at or before a position."""
        found: dict[str, FoldedStream] = {}
        try:
            newest = self._store.newest(SnapshotKind.STREAM, list(streams), until=until)
            for stream, header in newest.items():
                one, _, _ = self._valid(stream, header)
                if one is not None:
                    found[stream] = one
        except OrderLedgerError as error:
            self._rejections.count(
                Rejection.UNAVAILABLE, f"the snapshots cannot be read: {error.message}"
            )
        return found

    def _valid(
        self, stream: str, newest: Header
    ) -> tuple[FoldedStream | None, Header | None, tuple[Header, ...]]:
        """Return the last valid snapshot from a header on backwards, and the invalid ones."""
        void: list[Header] = []
        for header in self._backwards(stream, newest):
            try:
                return self.read(header), header, tuple(void)
            except NotUsed as rejected:
                void.append(header)
                self._rejections.count(rejected.reason, rejected.text)
        return None, None, tuple(void)

    def _backwards(self, stream: str, newest: Header) -> Iterator[Header]:
        yield newest
        for header in reversed(self._store.headers(SnapshotKind.STREAM, stream)):
            if header.position < newest.position:
                yield header

    def read(self, header: Header) -> FoldedStream:
        """Return what a snapshot holds; raises NotUsed where it is not to be used."""
        kind = kind_of(header.subject)
        if kind not in FOLDS:
            raise NotUsed(
                Rejection.OTHER_CODE, f"{place_of(header)} is of a kind this code does not know"
            )
        require_code(header, _fingerprint(kind), CODECS)
        row = self._event_at(header)
        body = self._store.body(header)
        if body is None or seal(header, body) != header.body_hash:
            raise NotUsed(
                Rejection.DAMAGED, f"{place_of(header)} has a body of another hash, or none"
            )
        try:
            state = decode_state(header.codec, FOLDS[kind].state_type, body)
        except Unreadable as error:
            raise NotUsed(
                Rejection.DAMAGED, f"{place_of(header)} cannot be read: {error}"
            ) from error
        return FoldedStream(header.version, header.position, row.event_id, state)

    def _event_at(self, header: Header) -> StoredEvent:
        require_log(self._events, header)
        for row in self._events.read(header.position - 1, until=header.position, limit=1):
            if (row.stream, row.version) == (header.subject, header.version):
                return row
        raise NotUsed(
            Rejection.MISPLACED,
            f"{place_of(header)} claims version {header.version}, which is not what the log has "
            "there",
        )

    # -- taking ----------------------------------------------------------------------------------

    def committed(self, states: Iterable[tuple[str, int, Any]]) -> bool:
        """Note streams that were written; see ``StateSnapshots``."""
        is_some = False
        for stream, version, state in states:
            policy = policy_of(self._policies, stream)
            if version < policy.shortest:
                continue
            known = self._known.get(stream, _Known())
            age = timedelta(0) if known.taken_at is None else self._clock() - known.taken_at
            if is_due(policy, Tail(stream, version - known.version, age, state)):
                with self._lock:
                    self._due[stream] = None
                # As if it were taken: it is asked again after as many events.
                self._know(stream, _Known(version, known.taken_at))
                is_some = True
        return is_some

    def take_due(self) -> None:
        """Take the snapshots that have become due; what fails is logged, and taken later."""
        while stream := self._next_due():
            try:
                self.take(stream, only_if_due=True)
            except Exception as error:  # noqa: BLE001  # what it is of is committed, and stays so
                _logger.warning("no snapshot of %s is taken now: %s", stream, error)

    def _next_due(self) -> str:
        with self._lock:
            stream = next(iter(self._due), "")
            self._due.pop(stream, None)
            return stream

    def take(self, stream: str, *, only_if_due: bool = False) -> Taken | None:
        """
        Take a snapshot of a stream at its last event in the log.

        Where nothing came since the last valid one, it is that one. None for a stream without
        events, and with ``only_if_due`` for one that has none and for which the policy asks none.
        Snapshots of the stream that are not valid are deleted, and so are those beyond what the
        policy keeps.
        """
        policy = policy_of(self._policies, stream)
        found = self._fold(stream)
        self._store.drop(found.void)
        taken = None if found.base is None else Taken(found.base, is_new=False)
        if self._is_wanted(stream, found, policy) if only_if_due else self._has_more(found):
            taken = Taken(self._write(stream, found), is_new=True)
            self._thin(stream, policy.keep)
        if taken is not None:
            self._know(stream, _Known(taken.header.version, taken.header.taken_at))
        return taken

    @staticmethod
    def _has_more(found: _Fold) -> bool:
        return found.version > (found.base.version if found.base else 0)

    def _is_wanted(self, stream: str, found: _Fold, policy: Policy) -> bool:
        if not self._has_more(found):
            return False
        since = found.base.taken_at if found.base else found.began_at
        age = timedelta(0) if since is None else self._clock() - since
        events = found.version - (found.base.version if found.base else 0)
        # What cannot be used is replaced at once: it was worth having before.
        return bool(found.void) or is_due(policy, Tail(stream, events, age, found.state))

    def _fold(self, stream: str) -> _Fold:
        newest = self._store.newest(SnapshotKind.STREAM, (stream,)).get(stream)
        one, base, void = self._valid(stream, newest) if newest else (None, None, ())
        fold = fold_of(stream)
        version, position, state = 0, 0, fold.initial
        if one is not None:
            version, position, state = one.version, one.position, one.state
        began_at: datetime | None = None
        for row in self._events.stream(stream, after=version):
            if row.position is None:
                break
            began_at = began_at or row.recorded_at
            state = fold.apply(state, decode_event(row.topic, row.payload))
            version, position = row.version, row.position
        return _Fold(base, void, version, position, began_at, state)

    def _write(self, stream: str, found: _Fold) -> Header:
        codec, body = encode_state(found.state)
        (leaf_hash,) = self._events.leaf_hashes(found.position - 1, 1)
        header = Header(
            kind=SnapshotKind.STREAM,
            subject=stream,
            version=found.version,
            position=found.position,
            leaf_hash=leaf_hash,
            fingerprint=_fingerprint(kind_of(stream)),
            codec=codec,
            erasure_epoch=EPOCH,
            body_hash=b"",
            size=len(body),
            taken_at=self._clock(),
        )
        header = sealed(header, body)
        self._store.put(header, body, {})
        return header

    def _thin(self, stream: str, keep: int) -> None:
        headers = {one.version: one for one in self._store.headers(SnapshotKind.STREAM, stream)}
        self._store.drop([headers[version] for version in thinned(sorted(headers), keep)])

    def _know(self, stream: str, known: _Known) -> None:
        with self._lock:
            self._known.pop(stream, None)
            self._known[stream] = known
            if len(self._known) > REMEMBERED:
                for one in list(self._known)[: REMEMBERED // 2]:
                    del self._known[one]

    # -- checking --------------------------------------------------------------------------------

    def check(self, header: Header) -> None:
        """
        Fold a stream from its first event and compare; raises NotUsed where they differ.

        In constant memory. Raises CorruptEvent where an event cannot be read.
        """
        found = self.read(header)
        fold = fold_of(header.subject)
        version, state = 0, fold.initial
        for row in self._events.stream(header.subject, until=header.version):
            state = fold.apply(state, decode_event(row.topic, row.payload))
            version = row.version
        if (version, state) != (header.version, found.state):
            raise NotUsed(
                Rejection.DIFFERS,
                f"{place_of(header)} is not what its {header.version} events fold to; somebody "
                "wrote it past this library, or the fold was changed without raising its version",
            )


def _fingerprint(kind: str) -> bytes:
    # Not before the first snapshot: what describes the structs takes a moment to import.
    from .fingerprints import fold_fingerprint

    return fold_fingerprint(kind)
