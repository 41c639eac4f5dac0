"""
Verification of what the ledger and the domain must both say: escrow, reserves, stored value, holds.

The log's pass has summed the postings of these accounts, the streams' pass what the folded states
say of them. Only where the sums of a bucket differ are its accounts compared one by one.
"""

from collections.abc import Iterator
from typing import Any, Final

from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import OrderLedgerError, Unavailable
from orderledger.ledger.folds import fold_of
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.ports import EventStore, StoredEvent

from .findings import Check, Finding, error
from .invariants import KEPT, OWED, Owed, limited
from .progress import PAGE_EVENTS
from .sums import BucketSums, keyed
from .verify_log import balance_key

_BUCKETS_AT_ONCE: Final = 16
_BUCKETS_LOOKED_AT: Final = 64
_KINDS: Final = (*OWED, "account")


class _Sides:
    """What the two sides say of the accounts in some buckets, and where to look."""

    def __init__(self, buckets: frozenset[int]) -> None:
        self._buckets: Final = buckets
        self.posted: Final[dict[str, int]] = {}
        self.folded: Final[dict[str, int]] = {}
        self.positions: Final[dict[str, int]] = {}
        self.streams: Final[dict[str, str]] = {}

    def post(self, key: str, minor: int, position: int | None) -> None:
        if keyed(key)[0] in self._buckets:
            self.posted[key] = self.posted.get(key, 0) + minor
            self.positions[key] = position or 0

    def fold(self, owed: Owed, whose: str, stream: str) -> None:
        account, layer, currency, minor = owed
        key = balance_key(whose, account, layer.value, currency)
        if keyed(key)[0] in self._buckets:
            self.folded[key] = self.folded.get(key, 0) + minor
            self.streams[key] = stream

    def differing(self) -> Iterator[Finding]:
        for key in sorted(self.posted.keys() | self.folded.keys()):
            posted, folded = self.posted.get(key, 0), self.folded.get(key, 0)
            if posted == folded:
                continue
            _, account, layer, currency = key.split(" ")
            yield error(
                Check.BALANCE_DISAGREES,
                f"the {layer} postings of {account} come to {posted} {currency} minor units, the "
                f"states that account for it to {folded}",
                stream=self.streams.get(key),
                position=self.positions.get(key),
            )


def verify_balances(
    store: EventStore,
    size: int,
    posted: BucketSums,
    folded: BucketSums,
    of_limited: frozenset[str],
) -> Iterator[Finding]:
    """Yield the accounts on which the two sides differ; reads nothing where their sums agree."""
    differing = posted.differing(folded)
    for at in range(0, min(len(differing), _BUCKETS_LOOKED_AT), _BUCKETS_AT_ONCE):
        sides = _Sides(frozenset(differing[at : at + _BUCKETS_AT_ONCE]))
        _post(store, size, sides, of_limited)
        for kind in _KINDS:
            _fold(store, size, sides, kind)
        yield from sides.differing()
    if len(differing) > _BUCKETS_LOOKED_AT:
        yield error(
            Check.BALANCE_DISAGREES,
            f"{len(differing)} of the sums of accounts differ, and only the accounts of "
            f"{_BUCKETS_LOOKED_AT} were compared: there is more than what was named",
        )


def _post(store: EventStore, size: int, sides: _Sides, of_limited: frozenset[str]) -> None:
    position = 0
    while position < size:
        until = min(position + PAGE_EVENTS, size)
        for row in _rows(store, position, until):
            for leg in _legs(row):
                rest = (leg.account, leg.layer.value, leg.currency)
                if leg.account.startswith(KEPT) and not row.stream.startswith("journal-"):
                    sides.post(balance_key("domain", *rest), leg.minor, row.position)
                if leg.account in of_limited:
                    sides.post(balance_key("limited", *rest), leg.minor, row.position)
        position = until


def _legs(row: StoredEvent) -> Any:
    try:
        return decode_entry(row.postings).postings
    except OrderLedgerError:
        return ()  # a finding of the log's pass


def _rows(store: EventStore, after: int, until: int) -> Iterator[StoredEvent]:
    try:
        yield from store.read(after, until=until, limit=until - after)
    except Unavailable:
        raise
    except (OrderLedgerError, ValueError, TypeError):
        if until - after == 1:
            return  # a finding of the log's pass
        middle = (after + until) // 2
        yield from _rows(store, after, middle)
        yield from _rows(store, middle, until)


def _fold(store: EventStore, size: int, sides: _Sides, kind: str) -> None:
    after, prefix = "", f"{kind}-"
    while True:
        names = store.streams(prefix, after=after, limit=PAGE_EVENTS)
        for name in names:
            owed, whose = (limited, "limited") if kind == "account" else (OWED[kind], "domain")
            for one in owed(_state(store, size, name)):
                sides.fold(one, whose, name)
        if len(names) < PAGE_EVENTS:
            return
        after = names[-1]


def _state(store: EventStore, size: int, name: str) -> Any:
    """Fold a stream up to the size, passing over what cannot be folded."""
    fold = fold_of(name)
    state = fold.initial
    try:
        for row in store.stream(name):
            if row.position is not None and row.position <= size:
                try:
                    state = fold.apply(state, decode_event(row.topic, row.payload))
                except OrderLedgerError:
                    continue
    except Unavailable:
        raise
    except (OrderLedgerError, ValueError, TypeError):
        return state
    return state
