"""Threads that start at one barrier: one winner, and positions without a gap."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from orderledger.ledger.codec import key_hash
from orderledger.ledger.ports import AppendConflict, EventStore
from tests.contract.batches import event, everything, expected_leaf, one

RACERS = 64


def race(count: int, attempt: Callable[[int], object]) -> list[object]:
    """Run ``attempt(0..count-1)`` at once; return results, a conflict as its error."""
    barrier = threading.Barrier(count)

    def run(number: int) -> object:
        barrier.wait(timeout=30)
        try:
            return attempt(number)
        except AppendConflict as conflict:
            return conflict

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_one_winner_per_version(store: EventStore) -> None:
    """Two of 64 callers who both believe that they wrote version 1."""
    for version in (1, 2, 3):
        results = race(
            RACERS,
            lambda number, version=version: store.append(  # type: ignore[misc]  # bound default
                one(f"{version}/{number}", event("s/1", version))
            ),
        )
        losers = [found for found in results if isinstance(found, AppendConflict)]
        assert len(losers) == RACERS - 1
        assert all(loser.moved == {"s/1": version} for loser in losers)
        assert all(loser.duplicates == frozenset() for loser in losers)
    events = everything(store)
    assert [(found.position, found.version) for found in events] == [(1, 1), (2, 2), (3, 3)]


def test_one_winner_per_key(store: EventStore) -> None:
    """A double click that is executed twice."""
    results = race(RACERS, lambda number: store.append(one("the key", event(f"s/{number}", 1))))
    losers = [found for found in results if isinstance(found, AppendConflict)]
    assert len(losers) == RACERS - 1
    assert {loser.duplicates for loser in losers} == {frozenset({key_hash("main", "the key")})}
    assert len(everything(store)) == 1


def test_independent_streams_all_win(store: EventStore) -> None:
    """A writer that loses an event, or positions with a gap or out of a stream's order."""
    per_racer = 5

    def attempt(number: int) -> object:
        for version in range(1, per_racer + 1):
            store.append(one(f"{number}/{version}", event(f"s/{number}", version)))
        return None

    assert race(32, attempt) == [None] * 32
    events = everything(store)
    assert [found.position for found in events] == list(range(1, 32 * per_racer + 1))
    for number in range(32):
        versions = [found.version for found in events if found.stream == f"s/{number}"]
        assert versions == list(range(1, per_racer + 1))
    times = [found.recorded_at for found in events if found.recorded_at is not None]
    assert times == sorted(set(times))
    leaves = [expected_leaf("main", found) for found in events]
    assert list(store.leaf_hashes(0, len(events))) == leaves


def test_write_skew_is_refused(store: EventStore) -> None:
    """Two commands that each read what the other writes, and both succeed."""
    for round_number in range(20):
        left, right = f"left/{round_number}", f"right/{round_number}"
        store.append(one(f"setup/{round_number}", event(left, 1), event(right, 1)))

        def attempt(
            number: int, left: str = left, right: str = right, round_number: int = round_number
        ) -> object:
            mine, other = (left, right) if number else (right, left)
            key = f"{round_number}/{number}"
            return store.append(one(key, event(mine, 2), checks={other: 1}))

        results = race(2, attempt)
        assert sum(isinstance(found, AppendConflict) for found in results) >= 1
        written = len(store.load({left: 1, right: 1}))
        assert written == sum(not isinstance(found, AppendConflict) for found in results)


def test_write_skew_on_streams_that_do_not_exist(store: EventStore) -> None:
    """Two commands that each check that the other's stream does not exist, and both create."""
    for round_number in range(20):
        names = (f"left/{round_number}", f"right/{round_number}")

        def attempt(
            number: int, names: tuple[str, str] = names, round_number: int = round_number
        ) -> object:
            mine, other = names[number], names[1 - number]
            return store.append(one(f"{round_number}/{number}", event(mine, 1), checks={other: 0}))

        results = race(2, attempt)
        assert sum(isinstance(found, AppendConflict) for found in results) >= 1
