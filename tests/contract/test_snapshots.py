"""What every store of snapshots does: the last one by position, whole, and never another's."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from orderledger.ledger.as_of import LogAsOf, Point
from orderledger.ledger.errors import InvalidInput, OrderLedgerError
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import Header, SnapshotKind, SnapshotStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.snapshots import snapshots_of
from tests.contract.engines import Engine, SqlEngine

AT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
STREAM, MODEL = SnapshotKind.STREAM, SnapshotKind.MODEL


@pytest.fixture
def snapshots(store: EventStore) -> Iterator[SnapshotStore]:
    """The snapshots of an empty book on every engine."""
    opened = snapshots_of(store)
    yield opened
    opened.close()


def header(subject: str, position: int, **fields: Any) -> Header:
    return msgspec.structs.replace(
        Header(
            kind=STREAM,
            subject=subject,
            version=position + 100,
            position=position,
            leaf_hash=bytes([position]) * 32,
            fingerprint=b"f" * 32,
            codec="c",
            erasure_epoch=0,
            body_hash=bytes([position, 1]) * 16,
            size=3,
            taken_at=AT,
        ),
        **fields,
    )


def test_a_header_and_its_body_come_back(snapshots: SnapshotStore) -> None:
    """Catches a column that is lost, cut off or another's."""
    big = bytes(range(256)) * 5_000
    one = header("order-é/1", 2**40 % 250, version=2**40, size=2**40, erasure_epoch=7)
    snapshots.put(one, big, {})
    assert snapshots.headers(STREAM, "order-é/1") == [one]
    assert snapshots.body(one) == big
    assert snapshots.newest(STREAM, ["order-é/1", "order-x"]) == {"order-é/1": one}
    assert snapshots.newest(STREAM, []) == {}
    assert snapshots.newest(MODEL, ["order-é/1"]) == {}


def test_the_last_at_or_before_a_position(snapshots: SnapshotStore) -> None:
    """Catches a state from the future, or one far older than need be."""
    for subject, positions in {"a": (3, 9, 5), "b": (4,), "c": (200,)}.items():
        for position in positions:
            snapshots.put(header(subject, position), b"x", {})
    for until, expected in {
        None: {"a": 9, "b": 4, "c": 200},
        9: {"a": 9, "b": 4},
        8: {"a": 5, "b": 4},
        4: {"a": 3, "b": 4},
        2: {},
    }.items():
        found = snapshots.newest(STREAM, ["c", "a", "b", "a"], until=until)
        assert {subject: one.position for subject, one in found.items()} == expected
    assert [one.position for one in snapshots.headers(STREAM, "a")] == [3, 5, 9]


def test_one_of_the_same_place_is_replaced(snapshots: SnapshotStore) -> None:
    """Catches a snapshot that can never be healed, or a body that goes with the wrong header."""
    old, new = header("a", 3), header("a", 3, body_hash=b"n" * 32, version=9)
    snapshots.put(old, b"old", {})
    snapshots.put(new, b"new", {})
    assert snapshots.headers(STREAM, "a") == [new]
    assert (snapshots.body(old), snapshots.body(new)) == (None, b"new")
    snapshots.drop([old])
    assert snapshots.body(new) == b"new", "dropped what had replaced it"
    snapshots.drop([new, new])
    assert snapshots.headers(STREAM, "a") == []


def test_pages_of_headers(snapshots: SnapshotStore) -> None:
    """Catches a listing that skips or repeats a snapshot, or mixes the kinds."""
    expected = [header(subject, position) for subject in ("a", "ab", "b") for position in (1, 2, 3)]
    for one in reversed(expected):
        snapshots.put(one, b"x", {})
    of_model = header("a", 7, kind=MODEL)
    snapshots.put(of_model, b"m", {})
    assert snapshots.page(MODEL) == [of_model]
    found: list[Header] = []
    after = ("", 0)
    while page := snapshots.page(STREAM, after=after, limit=2):
        found += page
        after = (page[-1].subject, page[-1].position)
    assert found == expected


def test_parts_are_kept_once_per_subject(snapshots: SnapshotStore) -> None:
    """Catches a part that one snapshot's end takes from another, or one that is never freed."""
    first, second = b"1" * 32, b"2" * 32
    of_a, of_b = header("a", 1, kind=MODEL), header("b", 1, kind=MODEL)
    snapshots.put(of_a, b"", {first: b"one", second: b"two"})
    snapshots.put(of_b, b"", {first: b"of b"})
    assert [snapshots.part("a", one) for one in (first, second)] == [b"one", b"two"]
    assert [snapshots.part("b", one) for one in (first, second)] == [b"of b", None]
    snapshots.drop([of_a])
    assert snapshots.part("a", first) == b"one"
    snapshots.put(of_a, b"names", {})
    assert snapshots.sweep("a", lambda body: [second] if body == b"names" else [first]) == 1
    assert [snapshots.part("a", one) for one in (first, second)] == [None, b"two"]
    assert snapshots.part("b", first) == b"of b"
    # One that was damaged is mended by whoever writes it again.
    snapshots.put(of_a, b"", {second: b"again"})
    assert snapshots.part("a", second) == b"again"


def test_a_snapshot_never_names_a_part_that_is_not_there(snapshots: SnapshotStore) -> None:
    """Catches one that is written on top of parts which another process swept meanwhile."""
    first, second, third = b"1" * 32, b"2" * 32, b"3" * 32
    one, other = header("a", 1, kind=MODEL), header("a", 2, kind=MODEL)
    assert snapshots.put(one, b"", {first: b"one"})
    assert not snapshots.put(other, b"", {second: b"two"}, {first, third})
    assert snapshots.headers(MODEL, "a") == [one]
    assert snapshots.part("a", second) is None, "nothing of it was written"
    assert snapshots.put(other, b"", {second: b"two"}, {first})
    assert snapshots.headers(MODEL, "a") == [one, other]


def test_books_have_snapshots_of_their_own(engine: Engine) -> None:
    """Catches one tenant's state in another's order of the same name."""
    here, there = snapshots_of(engine.open("here")), snapshots_of(engine.open("there"))
    here.put(header("a", 1), b"mine", {b"p" * 32: b"mine"})
    assert there.headers(STREAM, "a") == there.page(STREAM) == []
    assert there.part("a", b"p" * 32) is None
    there.drop([header("a", 1)])
    there.sweep("a", lambda _: [])
    assert (here.body(header("a", 1)), here.part("a", b"p" * 32)) == (b"mine", b"mine")
    again = snapshots_of(engine.open("here"))
    assert again.headers(STREAM, "a") == [header("a", 1)]


def test_a_store_without_a_place_for_them(store: EventStore) -> None:
    """Catches snapshots of the past written as if they were of now."""
    with pytest.raises(InvalidInput, match="LogAsOf has no snapshots"):
        snapshots_of(LogAsOf(store, Point(0)))


def test_the_database_refuses_a_snapshot_of_nothing(sql_engine: SqlEngine) -> None:
    """Catches a header that was never sealed."""
    opened = snapshots_of(sql_engine.open())
    refused: tuple[dict[str, Any], ...] = (
        {"position": 0},
        {"version": 0},
        {"body_hash": b""},
        {"leaf_hash": b"short"},
    )
    for broken in refused:
        with pytest.raises(OrderLedgerError):
            opened.put(msgspec.structs.replace(header("a", 1), **broken), b"x", {})
    assert opened.page(STREAM) == []
    opened.put(header("a", 1), b"x", {})
    opened.close()
    with pytest.raises(OrderLedgerError, match="closed"):
        opened.page(STREAM)


def test_memory_keeps_them_with_the_events() -> None:
    """Catches snapshots that are gone with the object that took them."""
    store = MemoryStore()
    snapshots_of(store).put(header("a", 1), b"x", {})
    assert snapshots_of(store).body(header("a", 1)) == b"x"
