"""Invariant 35: folding a snapshot and what came after it is folding everything."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orderledger.ledger.codec import decode_event
from orderledger.ledger.events import Event
from orderledger.ledger.folds import FOLDS, fold_of
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.streams import kind_of
from orderledger.snapshots.bodies import decode_state, encode_state
from orderledger.snapshots.policy import Policy, Tail, is_due, thinned
from tests.golden_folds import plain
from tests.projections.books import day_in_memory
from tests.projections.market_book import MarketBook


@cache
def streams() -> Mapping[str, Sequence[Event]]:
    """Return the events of every stream of two rich books."""
    found: dict[str, list[Event]] = {}
    market = MemoryStore()
    MarketBook(market)
    books: tuple[EventStore, ...] = (day_in_memory().store, market)
    for number, store in enumerate(books):
        for row in store.read(0, limit=100_000):
            name = f"{row.stream}#{number}"
            found.setdefault(name, []).append(decode_event(row.topic, row.payload))
    return found


def folded(stream: str, events: Sequence[Event], state: Any) -> Any:
    for event in events:
        state = fold_of(stream).apply(state, event)
    return state


@given(st.data())
def test_a_snapshot_and_its_tail_are_the_whole(data: st.DataObject) -> None:
    """Catches a state that goes on otherwise once it was written and read again."""
    stream = data.draw(st.sampled_from(sorted(streams())))
    events = streams()[stream]
    # Read again at several places, as a stream that lives long is.
    cuts = sorted(data.draw(st.sets(st.integers(0, len(events)), min_size=1, max_size=4)))
    state = FOLDS[kind_of(stream)].initial
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        codec, body = encode_state(state)
        state = folded(stream, events[begin:end], decode_state(codec, type(state), body))
    assert plain(state) == plain(folded(stream, events, FOLDS[kind_of(stream)].initial))


@given(st.lists(st.integers(1, 10**9), unique=True).map(sorted), st.integers(1, 12))
def test_what_is_kept(places: list[int], keep: int) -> None:
    """Catches snapshots without end, a lost newest one, and one that is dropped twice."""
    dropped = thinned(places, keep)
    kept = [one for one in places if one not in dropped]
    assert set(dropped) <= set(places)
    assert len(kept) == min(len(places), keep)
    assert kept[-1:] == places[-1:]
    assert not thinned(kept, keep)


@given(st.integers(1, 60), st.integers(2, 12))
def test_what_is_kept_of_a_growing_stream_is_spread(count: int, keep: int) -> None:
    """Catches a past that is far from any snapshot."""
    kept: list[int] = []
    for number in range(1, count + 1):
        kept.append(number * 10)
        kept = [one for one in kept if one not in thinned(kept, keep)]
    gaps = [after - before for before, after in zip([0, *kept], kept, strict=False)]
    assert max(gaps) <= max(10, 3 * count * 10 // keep)


@given(
    st.builds(
        Policy,
        every=st.integers(1, 50),
        on_close=st.integers(1, 50),
        aged=st.integers(1, 50),
    ),
    st.integers(0, 200),
    st.integers(0, 60),
)
def test_when_one_is_due(policy: Policy, events: int, days: int) -> None:
    """Catches a stream that becomes due only by chance, or without anything new."""
    age = timedelta(days=days)
    tail = Tail("payout-1", events, age, FOLDS["payout"].initial)
    assert is_due(policy, tail) == (
        events >= policy.every or (events >= policy.aged and age >= policy.max_age)
    )
    assert events >= policy.shortest or not is_due(policy, tail)
