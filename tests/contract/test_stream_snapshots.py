"""Snapshots of streams: used where they are right, passed over where not, and never an answer."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from orderledger import Book
from orderledger.commands import states
from orderledger.commands.account_commands import ConstrainAccount, PostEntry, PostingInput
from orderledger.commands.deciding import Versioned
from orderledger.commands.handle import Executor
from orderledger.commands.requests import Envelope
from orderledger.commands.states import StateCache
from orderledger.ledger.account_events import ConstraintKind
from orderledger.ledger.as_of import LogAsOf, Point
from orderledger.ledger.errors import NotFound, Unavailable
from orderledger.ledger.folds import FOLDS, fold_of
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import Header, SnapshotKind, SnapshotStore
from orderledger.ledger.stores.postgres_connections import Connections
from orderledger.ledger.stores.snapshots import snapshots_of
from orderledger.reading import Reading
from orderledger.replay.as_of import state_as_of
from orderledger.snapshots.bodies import encode_state, sealed
from orderledger.snapshots.policy import Policy
from orderledger.snapshots.rejections import Rejection
from orderledger.snapshots.streams import StreamSnapshots
from orderledger.snapshotting import Snapshots
from tests.contract.engines import Engine, PostgresEngine
from tests.projections.market_book import MarketBook

CASH, EQUITY = "assets:bank:a", "equity:opening"
STREAM = f"account-{CASH}"
AT = datetime(2026, 3, 1, tzinfo=UTC)
OFTEN = {"account": Policy(every=10, on_close=10, aged=10, keep=3)}

SELDOM = {"account": Policy(every=10_000, on_close=10_000, aged=10_000)}
"""For what takes snapshots itself: no other thread takes one meanwhile."""


def entry(number: int) -> PostEntry:
    legs = (PostingInput(CASH, "EUR", number + 1), PostingInput(EQUITY, "EUR", -number - 1))
    return PostEntry(entry_id=f"e{number}", description="x", postings=legs)


def open_book(store: EventStore, policies: Any = SELDOM) -> Book:
    return Book(store, clock=lambda: AT, snapshot_policies=policies)


def long_account(book: Book, entries: int, first: int = 0) -> None:
    """Post entries to an account that is constrained: its stream has an event for each."""
    if not first:
        book.execute(ConstrainAccount(account=CASH, kind=ConstraintKind.NO_CREDIT_BALANCE))
    for number in range(first, first + entries):
        book.execute(entry(number))
    while book.store.sequence():
        pass


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have snapshots asked for and streams read in pages, though the streams are short."""
    monkeypatch.setattr(states, "FIRST_EVENTS", 4)
    monkeypatch.setattr(states, "PAGE_EVENTS", 7)


@pytest.fixture
def store(engine: Engine) -> EventStore:
    return engine.open()


def positions(found: SnapshotStore) -> list[int]:
    return [one.version for one in found.headers(SnapshotKind.STREAM, STREAM)]


def test_streams_fold_to_the_same_from_snapshots(store: EventStore) -> None:
    """Catches a decision, a reading or a state of the past that a snapshot changed."""
    MarketBook(store)
    taken = StreamSnapshots(store, snapshots_of(store), clock=lambda: AT)
    names = store.streams("", limit=10_000)
    head = store.head().size
    rng = random.Random(5)
    for position in sorted(rng.sample(range(1, head), 12)):
        # As it would have been taken then.
        then = StreamSnapshots(
            LogAsOf(store, Point(position)), snapshots_of(store), clock=lambda: AT
        )
        for stream in names:
            then.take(stream)
    plain = StateCache(store, lambda _: None)
    quick = StateCache(store, lambda _: None, snapshots=taken)
    assert quick.load(names) == plain.load(names)
    for stream in names:
        assert quick.fresh(stream) == plain.fresh(stream)
        quick.forget([stream])
        plain.forget([stream])
    for position in sorted(rng.sample(range(1, head), 20)):
        for stream in rng.sample(list(names), 8):
            point = Point(position)
            assert _found(store, stream, point, taken) == _found(store, stream, point, None)
    snapshots = Snapshots(store)
    with_them, without = Reading(store, snapshots=snapshots), Reading(store)
    assert with_them.order("o2") == without.order("o2")
    assert with_them.as_of(head // 2).order("o1") == without.as_of(head // 2).order("o1")
    early = store.read(0, limit=1)[0].occurred_at
    assert with_them.as_of(effective_to=early).order("o1") == (
        without.as_of(effective_to=early).order("o1")
    )
    assert list(taken_all(taken, store)), "something was compared"
    assert not snapshots.rejected


def _found(store: EventStore, stream: str, point: Point, taken: StreamSnapshots | None) -> Any:
    try:
        return state_as_of(store, stream, point, taken)
    except NotFound as error:
        return error.message


def taken_all(taken: StreamSnapshots, store: EventStore) -> Iterator[Header]:
    for header in snapshots_of(store).page(SnapshotKind.STREAM, limit=10_000):
        taken.check(header)
        yield header


def test_they_are_taken_as_a_stream_grows(store: EventStore) -> None:
    """Catches a policy that nobody follows, or snapshots without end."""
    book = open_book(store, OFTEN)
    long_account(book, 60)
    book._executor.close()
    found = positions(snapshots_of(store))
    assert 1 <= len(found) <= 3
    assert found[-1] > 40


def test_a_long_stream_is_read_from_its_snapshot(engine: Engine) -> None:
    """Catches a snapshot that is taken and never used."""
    book = open_book(engine.open())
    long_account(book, 40)
    book.snapshots.take(STREAM)
    store = engine.open()
    seen: list[int] = []

    class Counting(StateCache):
        def _fold(self, states: Any, rows: Any) -> None:
            rows = list(rows)
            seen.append(len(rows))
            super()._fold(states, rows)

    ids: list[object] = []
    snapshots = Snapshots(store)
    cache = Counting(store, ids.append, snapshots=snapshots)
    assert cache.load([STREAM])[STREAM].version == 41
    last = list(store.stream(STREAM))[-1]
    assert (seen, ids[-1]) == ([4, 0], last.event_id), "ids of a stream must go on growing"
    long_account(book, 3, first=40)
    assert cache.fresh(STREAM).version == 44
    cache.forget([STREAM])
    assert cache.fresh(STREAM).version == 44
    assert seen == [4, 0, 3, 4, 3]


def test_a_short_stream_is_read_without_asking_for_a_snapshot(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a command on cold streams that pays a round trip for a snapshot that is not there."""
    book = open_book(engine.open())
    long_account(book, 2)
    cold = open_book(engine.open())
    asked: list[Sequence[str]] = []
    newest = cold.snapshots.store.newest

    def asking(kind: SnapshotKind, subjects: Sequence[str], **of: Any) -> Mapping[str, Header]:
        asked.append(subjects)
        return newest(kind, subjects, **of)

    monkeypatch.setattr(cold.snapshots.store, "newest", asking)
    cold.execute(entry(2))
    assert asked == []
    long_account(book, 1, first=3)
    again = open_book(engine.open())
    monkeypatch.setattr(again.snapshots.store, "newest", asking)
    again.execute(entry(4))
    # Of those that it reads this one alone is long.
    assert {tuple(subjects) for subjects in asked} == {(STREAM,)}


@pytest.mark.pg
def test_cold_streams_are_read_in_one_round_trip(
    pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a query beside that for the events, on the way of every command of a new process."""
    engine = PostgresEngine(pg_url)
    book = open_book(engine.open())
    for number in range(5):
        book.execute(entry(number))
    lent = 0
    session = Connections.session

    def counting(self: Connections) -> Any:
        nonlocal lent
        lent += 1
        return session(self)

    monkeypatch.setattr(Connections, "session", counting)
    cold = StateCache(book.store, lambda _: None, snapshots=book.snapshots)
    found = cold.load([f"journal-e{number}" for number in range(6)])
    assert [one.version for one in found.values()] == [1, 1, 1, 1, 1, 0]
    assert lent == 1
    engine.close()


@pytest.mark.parametrize("has_snapshots", [False, True])
def test_a_stream_of_any_length_is_read_whole(store: EventStore, has_snapshots: bool) -> None:
    """Catches a stream that ends, for whoever decides, where a page of it does."""
    book = open_book(store)
    snapshots = book.snapshots if has_snapshots else None
    for entries in range(30):
        long_account(book, 1 if entries else 0, first=entries)
        cache = StateCache(store, lambda _: None, snapshots=snapshots)
        whole = state_as_of(store, STREAM, Point(store.head().size))
        for _ in range(2):
            assert cache.fresh(STREAM) == Versioned(whole.version, whole.state)
        if entries % 8 == 5:
            book.snapshots.take(STREAM)


def broken(header: Header, body: bytes, how: str) -> tuple[Header, bytes]:
    """Return a snapshot with one thing wrong, its hash right where that is not the thing."""
    replace = msgspec.structs.replace
    other = bytes(32)
    made = {
        "fingerprint": lambda: sealed(replace(header, fingerprint=other), body),
        "codec": lambda: sealed(replace(header, codec="pickle"), body),
        "epoch": lambda: sealed(replace(header, erasure_epoch=1), body),
        "leaf": lambda: sealed(replace(header, leaf_hash=other), body),
        "beyond": lambda: sealed(replace(header, position=10**6), body),
        "version": lambda: sealed(replace(header, version=header.version - 1), body),
        "subject": lambda: sealed(replace(header, subject="account-liabilities:x"), body),
        "body": lambda: header,
        "unsealed": lambda: replace(header, size=header.size + 1),
        "garbage": lambda: sealed(header, body[:-4]),
    }[how]()
    return made, body[:-4] if how in ("body", "garbage") else body


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("fingerprint", Rejection.OTHER_CODE),
        ("codec", Rejection.OTHER_CODE),
        ("epoch", Rejection.OTHER_ERASURES),
        ("leaf", Rejection.OTHER_LOG),
        ("beyond", Rejection.OTHER_LOG),
        ("version", Rejection.MISPLACED),
        ("body", Rejection.DAMAGED),
        ("unsealed", Rejection.DAMAGED),
        ("garbage", Rejection.DAMAGED),
    ],
)
def test_what_is_not_right_is_passed_over_and_healed(
    store: EventStore, how: str, reason: Rejection
) -> None:
    """Catches a snapshot of other code, another log or a torn page that decides about money."""
    book = open_book(store)
    long_account(book, 25)
    kept = snapshots_of(store)
    good = book.snapshots.take(STREAM).header
    body = kept.body(good)
    assert body is not None
    kept.drop([one for one in kept.headers(SnapshotKind.STREAM, STREAM) if one != good])
    early = StreamSnapshots(LogAsOf(store, Point(good.position - 5)), kept, clock=lambda: AT)
    taken = early.take(STREAM)
    assert taken is not None
    before = taken.header
    expected = StateCache(store, lambda _: None).fresh(STREAM)
    kept.drop([good])
    bad, content = broken(good, body, how)
    kept.put(bad, content, {})
    fresh = Snapshots(store, clock=lambda: AT, policies=OFTEN)
    # The last one that is right serves; nothing else changes.
    assert fresh.nearest([STREAM])[STREAM].version == before.version
    assert fresh.rejected == {reason: 1}
    assert StateCache(store, lambda _: None, snapshots=fresh).fresh(STREAM) == expected
    assert [one.reason for one in fresh.check([before, bad])] == [None, reason]
    # Healed: by policy too, however few events came since.
    assert [one.version for one in fresh.take_by_policy()] == [good.version]
    assert [one.reason for one in fresh.check(fresh.headers(SnapshotKind.STREAM))] == [None, None]


def test_one_that_claims_another_state_is_found_by_folding(store: EventStore) -> None:
    """Catches a state that somebody wrote to his own taste, with every hash right."""
    book = open_book(store)
    long_account(book, 12)
    kept = snapshots_of(store)
    good = book.snapshots.take(STREAM).header
    state = msgspec.structs.replace(
        book.snapshots.streams.read(good).state, balances={"posted": {"EUR": 10**9}}
    )
    codec, body = encode_state(state)
    forged = sealed(msgspec.structs.replace(good, codec=codec, size=len(body)), body)
    kept.put(forged, body, {})
    (found,) = book.snapshots.check([forged])
    assert found.reason is Rejection.DIFFERS
    assert f"account-{CASH} at position {good.position}" in found.text


def test_deleting_all_changes_nothing(store: EventStore) -> None:
    """Catches an answer that is only in a snapshot."""
    book = open_book(store)
    long_account(book, 33)
    expected = StateCache(store, lambda _: None, snapshots=book.snapshots).fresh(STREAM)
    kept = snapshots_of(store)
    book.snapshots.take(STREAM)
    kept.drop(list(book.snapshots.headers(SnapshotKind.STREAM)))
    again = Executor(store, clock=lambda: AT, snapshots=Snapshots(store))
    assert again.state(STREAM) == expected
    again.execute(Envelope(command=entry(99)))
    assert again.state(STREAM).version == expected.version + 1


def test_a_failing_snapshot_fails_no_command(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a committed command that raises because its snapshot could not be written."""
    book = open_book(store, OFTEN)
    kept = book.snapshots.store

    def no_room(*_: object, **__: object) -> None:
        raise Unavailable("the disk is full")

    for name in ("put", "newest", "headers", "drop"):
        monkeypatch.setattr(kept, name, no_room)
    long_account(book, 30)
    assert book.snapshots.nearest([STREAM]) == {}
    assert book.snapshots.rejected[Rejection.UNAVAILABLE] >= 1
    monkeypatch.undo()
    assert positions(kept) == []
    long_account(book, 12, first=30)
    book._executor.close()
    assert positions(kept), "taken once it can be"


def test_many_are_thinned_and_old_ones_stay_useful(store: EventStore) -> None:
    """Catches a stream whose past has only the snapshots of its last hours."""
    book = open_book(store)
    long_account(book, 200)
    kept = snapshots_of(store)
    head = store.head().size
    for position in range(10, head, 10):
        StreamSnapshots(
            LogAsOf(store, Point(position)), kept, clock=lambda: AT, policies=OFTEN
        ).take(STREAM)
    found = positions(kept)
    assert len(found) == 3
    assert 50 <= found[0] <= 150


def test_nothing_is_taken_of_what_has_no_position(engine: Engine) -> None:
    """Catches a snapshot of events that a host's transaction may still take back."""
    store = engine.open()
    book = open_book(store)
    with pytest.raises(NotFound, match="has no events in the log"):
        book.snapshots.take(STREAM)
    with pytest.raises(NotFound, match="has no events in the log"):
        book.snapshots.take("teapot-1")
    assert list(book.snapshots.take_by_policy()) == []


@pytest.mark.pg
def test_a_snapshot_ends_where_the_log_does(pg_url: str) -> None:
    """Catches a state with events that wait for their position, under one that is another's."""
    engine = PostgresEngine(pg_url)
    store = engine.open()
    book = open_book(store)
    long_account(book, 5)
    snapshots = StreamSnapshots(store, snapshots_of(store), clock=lambda: AT)
    with engine.transaction() as connection:
        book.execute(entry(5), connection=connection)
        connection.commit()
    assert store.pending() > 0
    taken = snapshots.take(STREAM)
    assert taken is not None
    assert taken.header.version == 6
    snapshots.check(taken.header)
    while store.sequence():
        pass
    again = snapshots.take(STREAM)
    assert again is not None
    assert again.header.version == 7
    engine.close()


def test_age_is_a_reason_too(store: EventStore) -> None:
    """Catches a slow stream whose snapshot is never renewed."""
    policies = {"account": Policy(every=1_000, on_close=1_000, aged=10, max_age=timedelta(days=1))}
    now = AT
    clock: Callable[[], datetime] = lambda: now  # noqa: E731
    long_account(open_book(store), 15)
    snapshots = Snapshots(store, clock=clock, policies=policies)
    first = store.read(0, limit=1)[0].recorded_at
    assert first is not None
    now = first + timedelta(hours=1)
    assert list(snapshots.take_by_policy()) == []
    now = first + timedelta(days=2)
    assert [one.version for one in snapshots.take_by_policy()] == [16]
    assert list(snapshots.take_by_policy()) == []


def test_every_kind_has_a_fold_to_take(store: EventStore) -> None:
    """Catches a kind of stream that the policy crashes on."""
    for kind in FOLDS:
        assert fold_of(f"{kind}-1").initial is not None
        assert not StreamSnapshots(store, snapshots_of(store), clock=lambda: AT).committed(
            [(f"{kind}-1", 60, FOLDS[kind].initial)]
        )
        assert StreamSnapshots(store, snapshots_of(store), clock=lambda: AT).committed(
            [(f"{kind}-1", 10_000, FOLDS[kind].initial)]
        )
