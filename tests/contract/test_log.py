"""The log: recorded_at, leaf hashes, tiles and the sequencer's side of the port."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pytest

from orderledger.ledger.merkle import subtree_root, tree_root
from orderledger.ledger.ports import EventStore
from tests.contract.batches import (
    START,
    event,
    everything,
    expected_leaf,
    expected_tiles,
    fill,
    one,
)
from tests.contract.engines import Engine


def test_recorded_at_increases_whatever_the_clock_does(engine: Engine) -> None:
    """Two events at one instant, or a later one recorded earlier, after a clock was set back."""
    day = timedelta(days=1)
    ticks: Iterator[datetime] = iter(
        [START, START, START - day, START + day, START - day, START + day, START + 2 * day]
    )
    store = engine.open(clock=lambda: next(ticks))
    for number in range(7):
        store.append(one(f"k{number}", event("s/1", 2 * number + 1), event("s/1", 2 * number + 2)))
    times = [found.recorded_at for found in everything(store) if found.recorded_at is not None]
    assert len(times) == 14
    assert times == sorted(set(times))
    assert times[0] == START
    assert times[5] == START + timedelta(microseconds=5)
    assert times[6] == START + day
    assert times[12] == START + 2 * day
    assert store.head().recorded_at == times[-1]


@pytest.mark.parametrize("per_append", [1, 7, 300])
def test_leaves_and_tiles_are_those_of_the_log(store: EventStore, per_append: int) -> None:
    """A proof that no verifier accepts: a stored hash that is not the hash of the stored row."""
    size = 300 if per_append == 1 else 800
    fill(store, "s/1", range(1, size + 1), per_append=per_append)
    events = everything(store)
    assert [found.version for found in events] == list(range(1, size + 1))
    leaves = [expected_leaf("main", found) for found in events]
    assert list(store.leaf_hashes(0, size + 10)) == leaves
    assert list(store.leaf_hashes(100, 50)) == leaves[100:150]
    assert list(store.tiles(1)) == expected_tiles(leaves)
    assert list(store.tiles(2)) == []

    def nodes(level: int, start: int, count: int) -> Sequence[bytes]:
        stored = store.tiles(level)[start : start + count] if level else None
        return store.leaf_hashes(start, count) if stored is None else stored

    for part in (1, 2, 255, 256, 257, size):
        assert tree_root(part, nodes) == subtree_root(leaves[:part])


def test_sequencing_again_changes_nothing(store: EventStore) -> None:
    """A second sequencer that gives an event another position."""
    fill(store, "s/1", range(1, 6))
    before = everything(store)
    assert store.sequence() == 0
    assert store.pending() == 0
    assert everything(store) == before
