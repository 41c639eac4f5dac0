"""
The first pass of a verification: the log in its order, for hashes, positions and double entry.

Beside what it finds it sums up, in memory that does not grow, which events it saw, which commands
wrote them and what they did to the accounts that the domain accounts for; the other passes and the
command records must come to the same.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from orderledger.commands.requests import Context, Source
from orderledger.ledger.codec import (
    content_hash,
    leaf_hash,
    microseconds,
)
from orderledger.ledger.errors import OrderLedgerError, Unavailable
from orderledger.ledger.journal import Posting, decode_entry
from orderledger.ledger.merkle import TILE, subtree_root
from orderledger.ledger.ports import EventStore, StoredEvent

from .findings import Check, Finding, error
from .invariants import KEPT
from .progress import PAGE_EVENTS, Progress, silent
from .sums import BUCKETS, BucketSums, keyed

MODULUS: Final = 2**256
"""Sums of hashes wrap here: two sets of events have the same sum only if they are the same."""
_NO_COMMAND: Final = UUID(int=0)
_context_decoder: Final = msgspec.json.Decoder(Context)
_MANUAL: Final = "journal-"


class OpenCommand(msgspec.Struct):
    """A command whose events are being read: they stand together in the log."""

    command_id: UUID = _NO_COMMAND
    key: str = ""
    appended_at: datetime | None = None
    event_ids: list[UUID] = []
    streams: dict[str, int] = {}


class LogState(msgspec.Struct):
    """Where the pass is; enough to go on from ``position``. Sums as ``BucketSums`` writes them."""

    position: int = 0
    count: int = 0
    entries: int = 0
    set_hash: bytes = bytes(32)
    recorded_at: datetime | None = None
    totals: dict[str, str] = {}
    open_tiles: dict[int, list[bytes]] = {}
    tiles_made: dict[int, int] = {}
    command: OpenCommand = msgspec.field(default_factory=OpenCommand)
    commands: bytes = b""
    balances: bytes = b""


def command_hash(command: OpenCommand) -> int:
    """Return the hash of what a command wrote: its key, its events in order, where they left off"""
    at = 0 if command.appended_at is None else microseconds(command.appended_at)
    streams = [f"{stream}\x00{version}" for stream, version in command.streams.items()]
    if len(streams) > 1:
        streams.sort()
    said = "\x00".join([command.key, str(at), *streams]).encode()
    ids = b"".join([one.bytes for one in command.event_ids])
    return int.from_bytes(sha256(command.command_id.bytes + ids + said).digest(), "big")


def bucket_of(command_id: UUID) -> int:
    """Return the bucket in which a command is summed."""
    return command_id.int % BUCKETS


def context_of(row: StoredEvent) -> Context | None:
    """Return the context of an event, or None where it cannot be decoded."""
    try:
        return _context_decoder.decode(row.context)
    except msgspec.DecodeError:
        return None


def is_of_an_application(row: StoredEvent) -> bool:
    """Tell whether an application of ``eventsourcing`` appended the event without a command."""
    context = context_of(row)
    return context is not None and context.source is Source.EVENTSOURCING


def commands_of(
    rows: Sequence[tuple[StoredEvent, Context | None]], open_one: OpenCommand
) -> Iterator[OpenCommand]:
    """Add rows in log order to the command that is open; yield each that is complete by then."""
    for row, context in rows:
        if row.command_id != open_one.command_id:
            if open_one.event_ids:
                yield msgspec.structs.replace(open_one)
            open_one.command_id = row.command_id
            open_one.key = "" if context is None else context.key
            open_one.appended_at = row.appended_at
            open_one.event_ids, open_one.streams = [], {}
        if context is None or context.source is not Source.EVENTSOURCING:
            open_one.event_ids.append(row.event_id)
            open_one.streams[row.stream] = row.version


class LogPass:
    """
    Positions, clocks, hashes, tiles, entries and totals, in log order.

    After the iteration ``state`` describes what was seen, ``commands`` what commands wrote it and
    ``balances`` what is on the accounts that others account for. ``limited`` are the constrained
    accounts.
    """

    def __init__(
        self,
        store: EventStore,
        size: int,
        progress: Progress = silent,
        *,
        state: LogState | None = None,
        limited: frozenset[str] = frozenset(),
    ) -> None:
        self._store: Final = store
        self._size: Final = size
        self._progress: Final = progress
        self._limited: Final = limited
        self.state: Final = state or LogState()
        self.commands: Final = BucketSums(self.state.commands)
        self.balances: Final = BucketSums(self.state.balances)
        self._totals: Final = {key: int(value) for key, value in self.state.totals.items()}
        self._set_hash = int.from_bytes(self.state.set_hash, "big")
        self._tiles: Final = _TileCheck(store, self.state)

    def saved(self) -> LogState:
        """Return the state to go on from; between two pages."""
        state = self.state
        state.set_hash = self._set_hash.to_bytes(32, "big")
        state.totals = {key: str(value) for key, value in self._totals.items()}
        state.commands, state.balances = self.commands.encoded(), self.balances.encoded()
        return state

    @property
    def seen(self) -> tuple[int, int]:
        """How many events were seen, and the sum of their hashes; see ``placed_hash``."""
        return self.state.count, self._set_hash

    def pages(self) -> Iterator[Iterator[Finding]]:
        """Yield the findings of one page after another; between two ``saved`` may be called."""
        while self.state.position < self._size:
            yield self._next_page()
            self._progress("log", self.state.position, self._size)
        yield self._finish()

    def __iter__(self) -> Iterator[Finding]:
        for page in self.pages():
            yield from page

    def _next_page(self) -> Iterator[Finding]:
        position = self.state.position
        until = min(position + PAGE_EVENTS, self._size)
        try:
            rows = self._store.read(position, until=until, limit=PAGE_EVENTS)
            leaves = self._store.leaf_hashes(position, until - position)
        except Unavailable:
            raise
        except (OrderLedgerError, ValueError, TypeError) as cause:
            yield from self._one_by_one(position, until, cause)
        else:
            yield from self._page(position, until, rows, leaves)
        self.state.position = until

    def _finish(self) -> Iterator[Finding]:
        if self.state.command.event_ids:
            self._sum_command(self.state.command)
            self.state.command = OpenCommand()
        yield from self._tiles.finish(self._size)
        for key, residue in sorted(self._totals.items()):
            if residue:
                layer, currency = key.split(" ")
                yield error(
                    Check.TOTALS_NOT_ZERO,
                    f"the {layer} postings in {currency} sum to {residue} minor units over the "
                    "whole book, not to zero",
                )

    def _one_by_one(self, after: int, until: int, error_: Exception) -> Iterator[Finding]:
        """Find which rows of a page cannot be read, and check the others."""
        for position in range(after + 1, until + 1):
            try:
                rows = self._store.read(position - 1, until=position, limit=1)
                leaves = self._store.leaf_hashes(position - 1, 1)
            except (OrderLedgerError, ValueError, TypeError) as cause:
                yield error(
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
                yield error(
                    Check.POSITION_GAP,
                    f"the log has {len(leaves)} leaf hashes for positions {after + 1} to {until}",
                    position=after + 1,
                )
        for offset, position in enumerate(range(after + 1, until + 1)):
            row = by_position.get(position)
            leaf = leaves[offset] if offset < len(leaves) else b""
            yield from self._tiles.add(leaf)
            if row is None:
                yield error(
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
        state, recorded_at = self.state, row.recorded_at
        state.count += 1
        self._set_hash = (self._set_hash + placed_hash(row)) % MODULUS
        if recorded_at is None or (
            state.recorded_at is not None and recorded_at <= state.recorded_at
        ):
            yield _of(
                row,
                Check.RECORDED_NOT_INCREASING,
                f"recorded_at {recorded_at} is not after {state.recorded_at} of the event before",
            )
        state.recorded_at = recorded_at or state.recorded_at
        if recorded_at is not None and recomputed_leaf(self._store.book, row) != leaf:
            yield _of(
                row,
                Check.LEAF_HASH_WRONG,
                f"the stored leaf hash of position {position} is not that of the stored columns: "
                "one of them was changed after it was recorded",
            )
        try:
            context = _context_decoder.decode(row.context)
        except msgspec.DecodeError as cause:
            context = None
            text = f"the context cannot be decoded: {cause}"
            yield _of(row, Check.CONTEXT_UNDECODABLE, text)
        for command in commands_of(((row, context),), state.command):
            self._sum_command(command)
        if row.postings:
            yield from self._entry(row)

    def _sum_command(self, command: OpenCommand) -> None:
        self.commands.add(bucket_of(command.command_id), command_hash(command))

    def _entry(self, row: StoredEvent) -> Iterator[Finding]:
        self.state.entries += 1
        try:
            legs = decode_entry(row.postings).postings
        except OrderLedgerError as cause:
            yield _of(row, Check.ENTRY_UNBALANCED, cause.message)
            self._add_anyway(row)
            return
        totals, limited = self._totals, self._limited
        for leg in legs:
            key = f"{leg.layer.value} {leg.currency}"
            totals[key] = totals.get(key, 0) + leg.minor
            if leg.account.startswith(KEPT) and not row.stream.startswith(_MANUAL):
                self._sum_balance("domain", leg)
            if leg.account in limited:
                self._sum_balance("limited", leg)

    def _sum_balance(self, whose: str, leg: Posting) -> None:
        bucket, factor = keyed(balance_key(whose, leg.account, leg.layer.value, leg.currency))
        self.balances.add(bucket, leg.minor * factor)

    def _add_anyway(self, row: StoredEvent) -> None:
        """Add the legs of an entry that was refused, so that the totals tell by how much."""
        for line in row.postings.split("\n"):
            words = line.split(" ")
            if len(words) == 4 and words[3].removeprefix("-").isdigit():
                key = f"{words[0]} {words[2]}"
                self._totals[key] = self._totals.get(key, 0) + int(words[3])


def balance_key(whose: str, account: str, layer: str, currency: str) -> str:
    """Return the key of a balance: who accounts for it ("domain" or "limited"), and of what."""
    return f"{whose} {account} {layer} {currency}"


class _TileCheck:
    """Compares every stored tile with its recomputation, one open tile per level in memory."""

    def __init__(self, store: EventStore, state: LogState) -> None:
        self._store = store
        self._state = state
        self._stored: dict[int, Sequence[bytes]] = {}

    def add(self, node: bytes, level: int = 0) -> Iterator[Finding]:
        nodes = self._state.open_tiles.setdefault(level, [])
        nodes.append(node)
        if len(nodes) < TILE:
            return
        root = subtree_root(nodes)
        self._state.open_tiles[level] = []
        index = self._state.tiles_made.get(level + 1, 0)
        self._state.tiles_made[level + 1] = index + 1
        stored = self._tiles(level + 1)
        if index >= len(stored) or stored[index] != root:
            first = index * TILE ** (level + 1) + 1
            yield error(
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
            stored = len(self._tiles(level))
            # Writers may have completed tiles since the pass began.
            expected = max(size, self._store.head().size) // TILE**level
            if stored > expected:
                yield error(
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


def placed_hash(row: StoredEvent) -> int:
    """Return a hash of an event id and its position, to add up over a set of events."""
    place = (row.position or 0).to_bytes(8, "big")
    return int.from_bytes(sha256(row.event_id.bytes + place).digest(), "big")


def recomputed_leaf(book: str, row: StoredEvent) -> bytes:
    """Return the leaf hash that the stored columns of a sequenced event must have."""
    if row.position is None or row.recorded_at is None:
        raise ValueError(f"event {row.event_id} has no position yet")
    return leaf_hash(row.position, row.recorded_at, content_hash(book, row))


def _of(row: StoredEvent, code: Check, text: str) -> Finding:
    return error(code, text, stream=row.stream, position=row.position)
