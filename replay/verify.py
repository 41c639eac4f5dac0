"""
Verification of a book: read-only, streaming, in memory that does not grow with the book.

Two passes over the events: in log order for hashes, positions and double entry, then stream by
stream for versions and folds; then the journal lines against the events. Nothing here raises for
what it finds; what makes it impossible to go on (the database does not answer) is raised.
Events that an application of the ``eventsourcing`` library appended itself (their context says so,
and the leaf hash covers it) may have topics and streams that only that application knows: these
are checked for everything else.
Not covered without a checkpoint kept outside the database: a log whose tail was cut off and whose
tiles agree with what is left, or a log that was rewritten whole.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from orderledger.commands.requests import Context, Source
from orderledger.ledger.codec import HashedColumns, content_hash, decode_event, leaf_hash
from orderledger.ledger.errors import (
    IntegrityViolation,
    OrderLedgerError,
    Unavailable,
    UnknownTopic,
)
from orderledger.ledger.folds import Fold, fold_of
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.merkle import TILE, subtree_root
from orderledger.ledger.ports import EventStore, StoredEvent

from .findings import Check, Finding, Severity

PAGE_EVENTS: Final = 1_000
MODULUS: Final = 2**256
"""Sums of hashes wrap here: two sets of events have the same sum only if they are the same."""

Progress = Callable[[str, int, int], None]
"""Called with the name of the pass, how much is done and how much there is."""
_context_decoder: Final = msgspec.json.Decoder(Context)


def silent(name: str, done: int, whole: int) -> None:
    """Report no progress."""


class LogPass:
    """
    The first pass: positions, clocks, hashes, tiles, entries and totals, in log order.

    After the iteration ``set_hash`` and ``count`` describe the set of (event id, position) seen.
    """

    def __init__(self, store: EventStore, size: int, progress: Progress = silent) -> None:
        self._store: Final = store
        self._size: Final = size
        self._progress: Final = progress
        self._totals: Final[dict[tuple[str, str], int]] = {}
        self._recorded_at: datetime | None = None
        self._tiles: Final = _TileCheck(store)
        self.set_hash = 0
        self.count = 0

    def __iter__(self) -> Iterator[Finding]:
        position = 0
        while position < self._size:
            until = min(position + PAGE_EVENTS, self._size)
            try:
                rows = self._store.read(position, until=until, limit=PAGE_EVENTS)
                leaves = self._store.leaf_hashes(position, until - position)
            except Unavailable:
                raise
            except (OrderLedgerError, ValueError, TypeError) as error:
                yield from self._one_by_one(position, until, error)
            else:
                yield from self._page(position, until, rows, leaves)
            position = until
            self._progress("log", position, self._size)
        yield from self._tiles.finish(self._size)
        for (layer, currency), residue in sorted(self._totals.items()):
            if residue:
                yield _error(
                    Check.TOTALS_NOT_ZERO,
                    f"the {layer} postings in {currency} sum to {residue} minor units over the "
                    "whole book, not to zero",
                )

    def _one_by_one(self, after: int, until: int, error: Exception) -> Iterator[Finding]:
        """Find which rows of a page cannot be read, and check the others."""
        for position in range(after + 1, until + 1):
            try:
                rows = self._store.read(position - 1, until=position, limit=1)
                leaves = self._store.leaf_hashes(position - 1, 1)
            except (OrderLedgerError, ValueError, TypeError) as cause:
                yield _error(
                    Check.ROW_UNREADABLE,
                    f"the row at position {position} cannot be read: {cause}",
                    position=position,
                )
                continue
            yield from self._page(position - 1, position, rows, leaves)

    def _page(
        self, after: int, until: int, rows: Sequence[StoredEvent], leaves: Sequence[bytes]
    ) -> Iterator[Finding]:
        by_position = {row.position: row for row in rows}
        if len(leaves) != until - after:
            # Leaves are given without their positions, so a missing one shifts those behind it.
            found = {position for position in by_position if position is not None}
            leaves = self._leaves_one_by_one(after, until)
            if len(found) == until - after:
                yield _error(
                    Check.POSITION_GAP,
                    f"the log has {len(leaves)} leaf hashes for positions {after + 1} to {until}",
                    position=after + 1,
                )
        for offset, position in enumerate(range(after + 1, until + 1)):
            row = by_position.get(position)
            leaf = leaves[offset] if offset < len(leaves) else b""
            yield from self._tiles.add(leaf)
            if row is None:
                yield _error(
                    Check.POSITION_GAP,
                    f"position {position} has no event, the head is at {self._size}",
                    position=position,
                )
                continue
            yield from self._row(row, position, leaf)

    def _leaves_one_by_one(self, after: int, until: int) -> list[bytes]:
        leaves: list[bytes] = []
        for position in range(after + 1, until + 1):
            # The row exists at this position or there is no leaf that belongs to it.
            if self._store.read(position - 1, until=position, limit=1):
                leaves.extend(self._store.leaf_hashes(position - 1, 1))
            else:
                leaves.append(b"")
        return leaves

    def _row(self, row: StoredEvent, position: int, leaf: bytes) -> Iterator[Finding]:
        self.count += 1
        self.set_hash = (self.set_hash + placed_hash(row)) % MODULUS
        recorded_at = row.recorded_at
        if recorded_at is None or (
            self._recorded_at is not None and recorded_at <= self._recorded_at
        ):
            yield _error(
                Check.RECORDED_NOT_INCREASING,
                f"recorded_at {recorded_at} is not after {self._recorded_at} of the event before",
                row,
            )
        self._recorded_at = recorded_at or self._recorded_at
        if recorded_at is not None and recomputed_leaf(self._store.book, row) != leaf:
            yield _error(
                Check.LEAF_HASH_WRONG,
                f"the stored leaf hash of position {position} is not that of the stored columns: "
                "one of them was changed after it was recorded",
                row,
            )
        yield from self._content(row)

    def _content(self, row: StoredEvent) -> Iterator[Finding]:
        try:
            decode_event(row.topic, row.payload)
        except OrderLedgerError as error:
            if not (isinstance(error, UnknownTopic) and is_of_an_application(row)):
                yield _error(Check.EVENT_UNDECODABLE, error.message, row)
        try:
            _context_decoder.decode(row.context)
        except msgspec.DecodeError as error:
            yield _error(Check.CONTEXT_UNDECODABLE, f"the context cannot be decoded: {error}", row)
        try:
            legs = decode_entry(row.postings).postings
        except OrderLedgerError as error:
            yield _error(Check.ENTRY_UNBALANCED, error.message, row)
            self._add_anyway(row)
            return
        for leg in legs:
            key = (leg.layer.value, leg.currency)
            self._totals[key] = self._totals.get(key, 0) + leg.minor

    def _add_anyway(self, row: StoredEvent) -> None:
        """Add the legs of an entry that was refused, so that the totals tell by how much."""
        for line in row.postings.split("\n"):
            words = line.split(" ")
            if len(words) == 4 and words[3].removeprefix("-").isdigit():
                key = (words[0], words[2])
                self._totals[key] = self._totals.get(key, 0) + int(words[3])


class _TileCheck:
    """Compares every stored tile with its recomputation, one open tile per level in memory."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._open: dict[int, list[bytes]] = {}
        self._made: dict[int, int] = {}
        self._stored: dict[int, Sequence[bytes]] = {}

    def add(self, node: bytes, level: int = 0) -> Iterator[Finding]:
        nodes = self._open.setdefault(level, [])
        nodes.append(node)
        if len(nodes) < TILE:
            return
        root = subtree_root(nodes)
        self._open[level] = []
        index = self._made.get(level + 1, 0)
        self._made[level + 1] = index + 1
        stored = self._tiles(level + 1)
        if index >= len(stored) or stored[index] != root:
            first = index * TILE ** (level + 1) + 1
            yield _error(
                Check.TILE_WRONG,
                f"tile {index} of level {level + 1} is "
                f"{'missing' if index >= len(stored) else 'not the root of its nodes'}; it covers "
                f"the log from position {first}",
                position=first,
            )
        yield from self.add(root, level + 1)

    def finish(self, size: int) -> Iterator[Finding]:
        level = 1
        while True:
            expected = size // TILE**level
            stored = len(self._tiles(level))
            if stored > expected:
                yield _error(
                    Check.TILE_COUNT_WRONG,
                    f"there are {stored} tiles of level {level}, {expected} belong to {size} "
                    "events: the log lost its end",
                    position=size or None,
                )
            if not stored and not expected:
                return
            level += 1

    def _tiles(self, level: int) -> Sequence[bytes]:
        # 32 bytes per 256 events: 4 MB for a book of 32 million.
        if level not in self._stored:
            self._stored[level] = self._store.tiles(level)
        return self._stored[level]


class StreamPass:
    """
    The second pass: contiguous versions, one order, and every event accepted by its fold.

    ``set_hash`` and ``count`` describe the placed events up to the size, as in ``LogPass``.
    """

    def __init__(self, store: EventStore, size: int, progress: Progress = silent) -> None:
        self._store: Final = store
        self._size: Final = size
        self._progress: Final = progress
        self.set_hash = 0
        self.count = 0
        self.unplaced = 0
        self.first_unplaced: StoredEvent | None = None
        self._versions: dict[str, int] = {}

    def __iter__(self) -> Iterator[Finding]:
        after = ""
        while True:
            names = self._store.streams("", after=after, limit=PAGE_EVENTS)
            self._versions = {}
            for name in names:
                try:
                    yield from self._stream(name)
                except Unavailable:
                    raise
                except (OrderLedgerError, ValueError, TypeError) as error:
                    yield _stream_error(
                        Check.ROW_UNREADABLE, f"stream {name} cannot be read: {error}", name
                    )
            yield from self._beyond_the_log()
            self._progress("streams", self.count, self._size)
            if len(names) < PAGE_EVENTS:
                return
            after = names[-1]

    def _stream(self, name: str) -> Iterator[Finding]:
        folding = _Folding(name)
        version = position = 0
        # -1: an application of the other library may start at version 0.
        last = -1
        for row in self._store.stream(name, after=last):
            if row.position is None:
                self._note_unplaced(row)
            elif row.position <= self._size:
                self.count += 1
                self.set_hash = (self.set_hash + placed_hash(row)) % MODULUS
                if row.position <= position:
                    yield _error(
                        Check.ORDER_DISAGREES,
                        f"version {row.version} of stream {name} stands at position "
                        f"{row.position}, version {version} at {position}",
                        row,
                    )
                position = row.position
            yield from folding.add(row)
            if row.version != version + 1 and not (row.version == 0 and is_of_an_application(row)):
                yield _error(
                    Check.VERSION_GAP,
                    f"stream {name} has version {row.version} after {version}",
                    row,
                )
            version = last = row.version
        yield from folding.finish()
        self._versions[name] = last

    def _beyond_the_log(self) -> Iterator[Finding]:
        """Look for events that reading with positions leaves out, on engines without a queue."""
        try:
            rest = self._store.load(self._versions)
            placed = self._store.positions([row.event_id for row in rest])
        except Unavailable:
            raise
        except (OrderLedgerError, ValueError, TypeError) as error:
            yield _error(Check.ROW_UNREADABLE, f"events without a place cannot be read: {error}")
            return
        for row in rest:
            if row.event_id not in placed:
                self._note_unplaced(row)

    def _note_unplaced(self, row: StoredEvent) -> None:
        self.unplaced += 1
        self.first_unplaced = self.first_unplaced or row


class _Folding:
    """Folds one stream and tells what its fold does not accept."""

    def __init__(self, stream: str) -> None:
        self._stream: Final = stream
        self._fold: Fold | None = None
        self._unknown_kind = ""
        try:
            self._fold = fold_of(stream)
        except IntegrityViolation as error:
            self._unknown_kind = error.message
        self._state: Any = self._fold.initial if self._fold is not None else None
        self._is_folded = False
        self._foreign: StoredEvent | None = None

    def add(self, row: StoredEvent) -> Iterator[Finding]:
        if self._fold is None:
            if self._unknown_kind and not is_of_an_application(row):
                yield _stream_error(Check.EVENT_NOT_FOLDED, self._unknown_kind, self._stream)
                # Said once for the stream.
                self._unknown_kind = ""
            return
        try:
            event = decode_event(row.topic, row.payload)
            self._state = self._fold.apply(self._state, event)
            self._is_folded = True
        except Exception as error:  # noqa: BLE001  an evolve function may raise anything
            if isinstance(error, UnknownTopic) and is_of_an_application(row):
                self._foreign = self._foreign or row
                return
            yield _error(
                Check.EVENT_NOT_FOLDED,
                f"version {row.version} of stream {self._stream} is not accepted by its fold: "
                f"{error!r}",
                row,
            )

    def finish(self) -> Iterator[Finding]:
        """Yield an event that makes a stream of ours unreadable; whole streams may be foreign."""
        row = self._foreign
        if row is not None and self._is_folded:
            yield _error(
                Check.EVENT_NOT_FOLDED,
                f"version {row.version} of stream {self._stream} is of the topic {row.topic}, "
                "which an application of its own wrote into a stream of this library",
                row,
            )


def fold_findings(stream: str, rows: Iterable[StoredEvent]) -> Iterator[Finding]:
    """Fold a stream's events and yield those that its fold does not accept."""
    folding = _Folding(stream)
    for row in rows:
        yield from folding.add(row)
    yield from folding.finish()


def is_of_an_application(row: StoredEvent) -> bool:
    """Tell whether an application of ``eventsourcing`` appended the event without a command."""
    try:
        return _context_decoder.decode(row.context).source is Source.EVENTSOURCING
    except msgspec.DecodeError:
        return False


def placed_hash(row: StoredEvent) -> int:
    """Return a hash of an event id and its position, to add up over a set of events."""
    place = (row.position or 0).to_bytes(8, "big")
    return int.from_bytes(sha256(row.event_id.bytes + place).digest(), "big")


def recomputed_leaf(book: str, row: StoredEvent) -> bytes:
    """Return the leaf hash that the stored columns of a sequenced event must have."""
    if row.position is None or row.recorded_at is None:
        raise ValueError(f"event {row.event_id} has no position yet")
    columns = HashedColumns(
        row.event_id,
        row.stream,
        row.version,
        row.topic,
        row.occurred_at,
        row.appended_at,
        row.command_id,
        row.context,
        row.postings,
        row.payload,
    )
    return leaf_hash(row.position, row.recorded_at, content_hash(book, columns))


def verify(store: EventStore, progress: Progress = silent) -> Iterator[Finding]:
    """
    Yield everything that is wrong with a book's events, as of its head now.

    Read-only; writers may go on meanwhile. ``orderledger.reading`` adds the journal lines. Raises
    Unavailable when the database stops answering.
    """
    size = store.head().size
    log = LogPass(store, size, progress)
    yield from log
    pending_before = store.pending()
    streams = StreamPass(store, size, progress)
    yield from streams
    if (log.count, log.set_hash) != (streams.count, streams.set_hash):
        yield _error(
            Check.LOG_EVENT_MISMATCH,
            f"the log places {log.count} events up to position {size}, the streams have "
            f"{streams.count} there, or other ones: the two are not one to one",
        )
    # Those that were pending before may have been sequenced meanwhile, and others have come.
    waiting = max(pending_before, store.pending())
    if streams.unplaced > waiting:
        yield _error(
            Check.EVENT_OUTSIDE_LOG,
            f"{streams.unplaced} events have no position and {waiting} wait for one: the others "
            "are outside the log",
            streams.first_unplaced,
        )


def _error(
    code: Check, text: str, row: StoredEvent | None = None, *, position: int | None = None
) -> Finding:
    return Finding(
        code=code,
        severity=Severity.ERROR,
        text=text,
        stream=row.stream if row is not None else None,
        position=row.position if row is not None else position,
    )


def _stream_error(code: Check, text: str, stream: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, text=text, stream=stream)
