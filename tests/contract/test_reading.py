"""Reading: order, bounds, pages and what an empty answer means."""

import tracemalloc

import pytest

from orderledger.ledger.errors import Unavailable
from orderledger.ledger.ids import new_id
from orderledger.ledger.ports import EventStore, Head
from tests.contract.batches import batch, command, event, everything, fill, one, settle
from tests.contract.engines import Engine


def test_an_empty_book(store: EventStore) -> None:
    """A first start that fails, or an empty answer that is not empty."""
    assert store.head() == Head(0, None)
    assert list(store.read(0)) == []
    assert list(store.load({})) == []
    assert list(store.load({"s/1": 0, "s/2": 0})) == []
    assert list(store.stream("s/1")) == []
    assert list(store.streams("")) == []
    assert list(store.leaf_hashes(0, 10)) == []
    assert list(store.tiles(1)) == []
    assert store.positions([]) == {}
    assert store.commands([]) == {}
    assert store.constraints().generation == 0
    assert (store.sequence(), store.pending()) == (0, 0)


def test_load_is_ordered_and_starts_after_versions(store: EventStore) -> None:
    """A fold that gets events twice, in another order, or of a stream it did not ask for."""
    fill(store, "order/b", range(1, 6))
    fill(store, "order/a", range(1, 4))
    fill(store, "order/c", range(1, 3))
    found = store.load({"order/b": 3, "order/a": 0, "order/x": 0, 'odd"\\name': 0})
    assert [(one.stream, one.version) for one in found] == [
        ("order/a", 1),
        ("order/a", 2),
        ("order/a", 3),
        ("order/b", 4),
        ("order/b", 5),
    ]


def test_load_ends_each_stream_at_the_limit(store: EventStore) -> None:
    """A limit over all streams, after which a fold takes those behind for finished."""
    fill(store, "order/b", range(1, 6))
    fill(store, "order/a", range(1, 4))
    found = store.load({"order/b": 1, "order/a": 0, "order/x": 0}, limit=3)
    assert [(one.stream, one.version) for one in found] == [
        ("order/a", 1),
        ("order/a", 2),
        ("order/a", 3),
        ("order/b", 2),
        ("order/b", 3),
        ("order/b", 4),
    ]


def test_names_of_streams_are_any_text(store: EventStore) -> None:
    """A quote, a wildcard or another script in an id that ends up in a pattern or in SQL."""
    names = ['a"b', "a%b", "a'b", "a*b", "a\\b", "a_b", "ä/东京", "🎉/1", "{a,b}"]
    store.append(one("k", *(event(name, 1) for name in names)))
    assert list(store.streams("")) == sorted(names)
    for name in names:
        assert list(store.streams(name)) == [name]
        assert [found.stream for found in store.load({name: 0})] == [name]
    assert {found.stream for found in store.load(dict.fromkeys(names, 0))} == set(names)


def test_lists_streams_by_prefix_in_pages(store: EventStore) -> None:
    """A listing that skips or repeats a stream at a page border, or crosses its prefix."""
    names = [f"order/{number:03}" for number in range(25)]
    store.append(one("k", *(event(name, 1) for name in [*names, "ordera", "order", "payment/1"])))
    store.append(one("k2", *(event(name, 2) for name in names)))
    found: list[str] = []
    while page := store.streams("order/", after=found[-1] if found else "", limit=7):
        assert len(page) <= 7
        found.extend(page)
    assert found == names
    assert list(store.streams("order/", after="zzz")) == []
    assert list(store.streams("order/", after="a", limit=1)) == ["order/000"]


def test_reads_the_log_between_positions(store: EventStore) -> None:
    """A projection that skips or repeats an event at a page border."""
    fill(store, "s/1", range(1, 31))
    assert [one.position for one in store.read(0, limit=4)] == [1, 2, 3, 4]
    assert [one.position for one in store.read(10, until=13)] == [11, 12, 13]
    assert [one.position for one in store.read(10, until=13, limit=2)] == [11, 12]
    assert list(store.read(30)) == []
    assert list(store.read(20, until=10)) == []
    assert len(everything(store)) == 30


def test_a_stream_has_its_positions(store: EventStore) -> None:
    """A history that shows events without their place, or beyond the version asked for."""
    fill(store, "s/1", range(1, 4))
    fill(store, "s/2", range(1, 4))
    fill(store, "s/1", range(4, 7))
    found = list(store.stream("s/1", after=1, until=5))
    assert [(one.version, one.position) for one in found] == [(2, 2), (3, 3), (4, 7), (5, 8)]
    assert found[0].recorded_at is not None
    assert found == [one for one in everything(store) if one in found]


def test_a_huge_stream_is_iterated_in_constant_memory(store: EventStore) -> None:
    """A stream of a million events that is fetched whole before its first event is seen."""
    payload = '{"note":"' + "x" * 2_000 + '"}'
    for start in range(1, 6_001, 1_000):
        events = [event("s/1", version, payload=payload) for version in range(start, start + 1_000)]
        store.append(one(f"k{start}", *events))
    settle(store)
    if type(store).__name__ == "MemoryStore":
        assert sum(1 for _ in store.stream("s/1")) == 6_000
        return
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.stream("s/1")) == 6_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The whole stream has 12 MB of payload.
    assert peak < 8_000_000


def test_positions_of_events(store: EventStore) -> None:
    """A receipt that waits for ever, or gets the place of another event."""
    first, second = event("s/1", 1), event("s/2", 1)
    store.append(batch(command("k", first, second)))
    settle(store)
    found = store.positions([second.event_id, new_id(), first.event_id])
    assert {key: place for key, (place, _) in found.items()} == {
        first.event_id: 1,
        second.event_id: 2,
    }
    assert found[second.event_id][1] == store.head().recorded_at


def test_another_opening_of_the_book_sees_it(engine: Engine) -> None:
    """Two processes on one database that do not see each other's events."""
    one_store, other = engine.open(), engine.open()
    fill(one_store, "s/1", range(1, 4))
    assert other.head() == one_store.head()
    fill(other, "s/1", range(4, 6))
    assert len(everything(one_store)) == 5


def test_a_closed_store_is_unavailable(store: EventStore) -> None:
    """A call after close that hangs, or fails with an error nobody catches."""
    store.append(one("k", event("s/1", 1)))
    store.close()
    store.close()
    with pytest.raises(Unavailable):
        store.head()
    with pytest.raises(Unavailable):
        store.append(one("k2", event("s/1", 2)))
    with pytest.raises(Unavailable):
        store.load({"s/1": 0})
