"""
The second pass of a verification: stream by stream, for versions, folds and what states must hold.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from orderledger.ledger.account_events import Direction, JournalEntryPosted
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import (
    IntegrityViolation,
    OrderLedgerError,
    Unavailable,
    UnknownTopic,
)
from orderledger.ledger.events import is_old
from orderledger.ledger.folds import Fold, fold_of
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.ports import EventStore, LoadedEvent, StoredEvent
from orderledger.ledger.streams import kind_of

from .findings import Check, Finding, error
from .invariants import LAWS, OWED, Law, Settled, beside, limited, named_otherwise
from .progress import PAGE_EVENTS, Progress, silent
from .sums import BucketSums, keyed
from .verify_log import MODULUS, balance_key, is_of_an_application, placed_hash

_ACCOUNT: Final = "account"


class StreamsState(msgspec.Struct):
    """Where the pass is: behind the stream ``after``. Sums as ``BucketSums`` writes them."""

    after: str = ""
    is_over: bool = False
    streams: int = 0
    count: int = 0
    old: int = 0
    laws: int = 0
    unplaced: int = 0
    first_unplaced: tuple[str, int] | None = None
    set_hash: bytes = bytes(32)
    balances: bytes = b""
    accounts: int = 0


class StreamPass:
    """
    Contiguous versions, one order, every event accepted by its fold, and the laws of the states.

    After the iteration ``state`` describes the placed events up to the size as ``LogPass`` does,
    and ``balances`` what the states say that accounts hold.
    """

    def __init__(
        self,
        store: EventStore,
        size: int,
        progress: Progress = silent,
        *,
        state: StreamsState | None = None,
    ) -> None:
        self._store: Final = store
        self._size: Final = size
        self._progress: Final = progress
        self.state: Final = state or StreamsState()
        self.balances: Final = BucketSums(self.state.balances)
        self._set_hash = int.from_bytes(self.state.set_hash, "big")
        self._versions: dict[str, int] = {}

    def saved(self) -> StreamsState:
        """Return the state to go on from; between two pages."""
        self.state.set_hash = self._set_hash.to_bytes(32, "big")
        self.state.balances = self.balances.encoded()
        return self.state

    @property
    def seen(self) -> tuple[int, int]:
        """How many placed events were seen, and the sum of their hashes."""
        return self.state.count, self._set_hash

    def pages(self) -> Iterator[Iterator[Finding]]:
        """Yield the findings of one page after another; between two ``saved`` may be called."""
        while not self.state.is_over:
            yield self._next_page()
            self._progress("streams", self.state.count, self._size)

    def __iter__(self) -> Iterator[Finding]:
        for page in self.pages():
            yield from page

    def _next_page(self) -> Iterator[Finding]:
        names = self._store.streams("", after=self.state.after, limit=PAGE_EVENTS)
        self._versions = {}
        for name in names:
            try:
                yield from self._stream(name)
            except Unavailable:
                raise
            except (OrderLedgerError, ValueError, TypeError) as cause:
                yield error(
                    Check.ROW_UNREADABLE, f"stream {name} cannot be read: {cause}", stream=name
                )
        yield from self._beyond_the_log()
        self.state.streams += len(names)
        self.state.is_over = len(names) < PAGE_EVENTS
        self.state.after = names[-1] if names else ""

    def _stream(self, name: str) -> Iterator[Finding]:
        folding = Folding(name, self._size)
        state = self.state
        version = position = 0
        # -1: an application of the other library may start at version 0.
        last = -1
        for row in self._store.stream(name, after=last):
            if row.position is None:
                self._note_unplaced(row)
            elif row.position <= self._size:
                state.count += 1
                self._set_hash = (self._set_hash + placed_hash(row)) % MODULUS
                if row.position <= position:
                    yield _of(
                        row,
                        Check.ORDER_DISAGREES,
                        f"version {row.version} of stream {name} stands at position "
                        f"{row.position}, version {version} at {position}",
                    )
                position = row.position
            state.old += is_old(row.topic)
            yield from folding.add(row)
            if row.version != version + 1 and not (row.version == 0 and is_of_an_application(row)):
                yield _of(
                    row,
                    Check.VERSION_GAP,
                    f"stream {name} has version {row.version} after {version}",
                )
            version = last = row.version
        self._versions[name] = last
        yield from folding.finish()
        yield from self._laws(folding, position)

    def _laws(self, folding: "Folding", position: int) -> Iterator[Finding]:
        name, settled = folding.stream, folding.settled
        if settled is None or not position:
            return
        kind = kind_of(name)
        if other := named_otherwise(name, settled.state):
            yield error(
                Check.STREAM_OF_ANOTHER,
                f"the events of stream {name} say that they are of {other}",
                stream=name,
                position=position,
            )
        for law in LAWS.get(kind, ()):
            self.state.laws += 1
            broken = _broken(law, settled)
            if broken and (raised := self._raised_beside(kind, settled)):
                excused = msgspec.structs.replace(settled, raised=settled.raised | raised)
                broken = _broken(law, excused)
            if broken:
                at = self._first_broken(name, law) or position
                said = (law.__doc__ or "").partition(":")
                for text in broken:
                    yield error(
                        Check.INVARIANT_BROKEN,
                        f"invariant {said[0]} of stream {name} does not hold: {text}",
                        stream=name,
                        position=at,
                    )
        self._sum_owed(kind, settled.state)

    def _raised_beside(self, kind: str, settled: Settled) -> frozenset[str]:
        """Return the kinds of anomaly that the streams beside one raised; read when it matters."""
        raised: set[str] = set()
        for name in beside(kind, settled.state):
            folding = Folding(name, self._size)
            for row in self._store.stream(name, after=-1):
                for _ in folding.add(row):
                    pass  # told when this stream's turn comes
            if folding.settled is not None:
                raised |= folding.settled.raised
        return frozenset(raised)

    def _sum_owed(self, kind: str, state: Any) -> None:
        for account, layer, currency, minor in OWED[kind](state) if kind in OWED else ():
            bucket, factor = keyed(balance_key("domain", account, layer.value, currency))
            self.balances.add(bucket, minor * factor)
        if kind == _ACCOUNT:
            self.state.accounts += 1
            for account, layer, currency, minor in limited(state):
                bucket, factor = keyed(balance_key("limited", account, layer.value, currency))
                self.balances.add(bucket, minor * factor)

    def _first_broken(self, name: str, law: Law) -> int | None:
        """Fold a stream once more and return the position from which on a law does not hold."""
        folding = Folding(name, self._size)
        found: int | None = None
        for row in self._store.stream(name, after=-1):
            for _ in folding.add(row):
                return found
            if folding.settled is None or not any(law(folding.settled)):
                found = None
            elif found is None:
                found = row.position
        return found

    def _beyond_the_log(self) -> Iterator[Finding]:
        """Look for events that reading with positions leaves out, on engines without a queue."""
        try:
            rest = self._store.load(self._versions)
            placed = self._store.positions([row.event_id for row in rest])
        except Unavailable:
            raise
        except (OrderLedgerError, ValueError, TypeError) as cause:
            text = f"events without a place cannot be read: {cause}"
            yield error(Check.ROW_UNREADABLE, text)
            return
        for row in rest:
            if row.event_id not in placed:
                self._note_unplaced(row)

    def _note_unplaced(self, row: StoredEvent | LoadedEvent) -> None:
        self.state.unplaced += 1
        self.state.first_unplaced = self.state.first_unplaced or (row.stream, row.version)


class Folding:
    """
    Folds one stream and tells what its fold does not accept.

    ``settled`` is the state after the last event at a position up to the size.
    """

    def __init__(self, stream: str, size: int) -> None:
        self.stream: Final = stream
        self._size: Final = size
        self._fold: Fold | None = None
        self._unknown_kind = ""
        try:
            self._fold = fold_of(stream)
        except IntegrityViolation as cause:
            self._unknown_kind = cause.message
        self._state: Any = self._fold.initial if self._fold is not None else None
        self._at_size: Any = self._state
        self._raised: frozenset[str] = frozenset()
        self._is_folded = False
        self._foreign: StoredEvent | None = None

    @property
    def settled(self) -> Settled | None:
        """The state as of the size, None for a stream that is not ours."""
        if self._fold is None or not self._is_folded:
            return None
        return Settled(self.stream, self._at_size, self._raised)

    def add(self, row: StoredEvent) -> Iterator[Finding]:
        """Take the next event; yield what is wrong with it."""
        try:
            event = decode_event(row.topic, row.payload)
        except OrderLedgerError as cause:
            yield from self._undecodable(row, cause)
            return
        if type(event) is JournalEntryPosted:
            yield from _legs_of_entry(row, event)
        if self._fold is None:
            yield from self._of_unknown_kind(row)
            return
        try:
            self._state = self._fold.apply(self._state, event)
        except Exception as cause:  # noqa: BLE001  an evolve function may raise anything
            yield _not_folded(row, cause)
            return
        self._is_folded = True
        if row.position is not None and row.position <= self._size:
            self._at_size = self._state
            if type(event) is AnomalyRaised:
                self._raised |= {event.kind}

    def _undecodable(self, row: StoredEvent, cause: OrderLedgerError) -> Iterator[Finding]:
        if isinstance(cause, UnknownTopic) and is_of_an_application(row):
            self._foreign = self._foreign or row
            return
        if is_old(row.topic):
            text = f"the {row.topic} event is not lifted to its current form: {cause.message}"
            yield _of(row, Check.UPCAST_FAILED, text)
        else:
            yield _of(row, Check.EVENT_UNDECODABLE, cause.message)
        if self._fold is None:
            yield from self._of_unknown_kind(row)
        else:
            yield _not_folded(row, cause)

    def _of_unknown_kind(self, row: StoredEvent) -> Iterator[Finding]:
        if self._unknown_kind and not is_of_an_application(row):
            yield error(Check.EVENT_NOT_FOLDED, self._unknown_kind, stream=self.stream)
            # Said once for the stream.
            self._unknown_kind = ""

    def finish(self) -> Iterator[Finding]:
        """Yield an event that makes a stream of ours unreadable; whole streams may be foreign."""
        row = self._foreign
        if row is not None and self._is_folded:
            yield _of(
                row,
                Check.EVENT_NOT_FOLDED,
                f"version {row.version} of stream {self.stream} is of the topic {row.topic}, "
                "which an application of its own wrote into a stream of this library",
            )


def fold_findings(stream: str, rows: Iterable[StoredEvent]) -> Iterator[Finding]:
    """Fold a stream's events and yield those that its fold does not accept."""
    folding = Folding(stream, 0)
    for row in rows:
        yield from folding.add(row)
    yield from folding.finish()


def _broken(law: Law, settled: Settled) -> list[str]:
    try:
        return list(law(settled))
    except (ArithmeticError, LookupError, TypeError, ValueError, OrderLedgerError) as cause:
        return [f"its state cannot be checked: {cause!r}"]


def _legs_of_entry(row: StoredEvent, event: JournalEntryPosted) -> Iterator[Finding]:
    """Compare the legs that an entry names with what was posted."""
    sums: dict[tuple[str, str, str], int] = {}
    for leg in event.legs:
        key = (leg.layer.value, leg.account, leg.currency)
        sign = 1 if leg.direction is Direction.DEBIT else -1
        sums[key] = sums.get(key, 0) + sign * leg.amount
    try:
        posted = decode_entry(row.postings).postings
    except OrderLedgerError:
        return  # a finding of the log's pass
    for one in posted:
        key = (one.layer.value, one.account, one.currency)
        sums[key] = sums.get(key, 0) - one.minor
    off = [f"{key[1]} by {minor} {key[2]}" for key, minor in sums.items() if minor]
    if off:
        yield _of(
            row,
            Check.ENTRY_NOT_OF_EVENT,
            f"what entry {event.entry_id} says and what was posted for it differ in minor units: "
            f"{', '.join(off)}",
        )


def _not_folded(row: StoredEvent, cause: Exception) -> Finding:
    return _of(
        row,
        Check.EVENT_NOT_FOLDED,
        f"version {row.version} of stream {row.stream} is not accepted by its fold: {cause!r}",
    )


def _of(row: StoredEvent, code: Check, text: str) -> Finding:
    return error(code, text, stream=row.stream, position=row.position)
