"""A read model as it was is the same from a snapshot as from the first event, on every engine."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from orderledger import Book
from orderledger.databases import open_models
from orderledger.ledger.as_of import LogAsOf, Point
from orderledger.ledger.errors import IntegrityViolation, NotFound, OrderLedgerError
from orderledger.ledger.model_ports import Column, Key, Kind, Row, Table, TableChanges
from orderledger.ledger.ports import EventStore
from orderledger.ledger.snapshot_ports import Header, SnapshotKind
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models_saved import SavedModels
from orderledger.ledger.stores.snapshots import snapshots_of
from orderledger.projections.orders import OrderRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.reading import Reading
from orderledger.snapshots import rows as saved_rows
from orderledger.snapshots.bodies import sealed
from orderledger.snapshots.policy import ModelPolicy
from orderledger.snapshots.rejections import Rejection
from orderledger.snapshotting import Snapshots
from orderledger.worker_parts import saving
from tests.contract.engines import Engine
from tests.projections.books import day, fill
from tests.projections.market_book import MarketBook
from tests.projections.poisoned import Picky
from tests.seeding import START

NAMES = [model.name for model in SHIPPED]
OFTEN = ModelPolicy(every=60, share=10**6, keep=4)
MODEL = SnapshotKind.MODEL


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut tables into many parts, though the book is small."""
    monkeypatch.setattr(saved_rows, "CHUNK_ROWS", 5)
    monkeypatch.setattr(saved_rows, "CHUNKS_READ", 3)


@pytest.fixture
def store(engine: Engine) -> EventStore:
    """Give a day of sales and a marketplace in trouble."""
    made = engine.open()
    Book(made).execute_many(day()[:150])
    MarketBook(made)
    return made


def take(snapshots: Snapshots, *names: str) -> list[Header]:
    snapshots.models.policy = OFTEN
    taken = [snapshots.models.take(name) for name in names or NAMES]
    return list(itertools.chain(*taken))


def rows(reading: Reading, name: str) -> dict[str, list[Row]]:
    models = reading.models
    models.catch_up(name)
    tables = models.model(name).tables
    return {table.name: list(models.find(table, {})) for table in tables}


def test_every_model_as_of_any_position(store: EventStore, engine: Engine) -> None:
    """Catches a row of the past that a snapshot changed, or one that it hid."""
    snapshots = Snapshots(store)
    take(snapshots)
    head, rng = store.head().size, random.Random(3)
    count = 3 if engine.name == "memory" else 1
    for position in [1, head, *rng.sample(range(1, head), count)]:
        quick = Reading(store, snapshots=snapshots).as_of(position)
        plain = Reading(store).as_of(position)
        for name in NAMES:
            assert rows(quick, name) == rows(plain, name), f"{name} as of {position}"
            live, other = quick.models.live(name), plain.models.live(name)
            assert live is not None
            assert other is not None
            assert (live.position, live.leaf_hash, live.digest) == (
                other.position,
                other.leaf_hash,
                other.digest,
            )
        assert quick.trial_balance() == plain.trial_balance()
    assert snapshots.rejected == {}


def test_rows_are_found_like_in_memory(store: EventStore) -> None:
    """Catches a lookup by a key, a part of it or another column that misses a row."""
    snapshots = Snapshots(store)
    take(snapshots)
    head = store.head().size
    quick, plain = (
        Reading(store, snapshots=snapshots).as_of(head - 7),
        Reading(store).as_of(head - 7),
    )
    for name in NAMES:
        quick.models.catch_up(name)
        plain.models.catch_up(name)
        for table in quick.models.model(name).tables:
            _compare_lookups(quick.models, plain.models, table)
    assert quick.models.get(OrderRow, "o2") == plain.models.get(OrderRow, "o2") is not None
    assert quick.models.get(OrderRow, "none") is None


def _compare_lookups(quick: ReadModels, plain: ReadModels, table: Table) -> None:
    everything = list(plain.find(table, {}))
    for row in random.Random(table.name).sample(everything, min(4, len(everything))):
        key = table.key_of(row)
        names = [column.name for column in table.columns]
        wanted: list[dict[str, Any]] = [
            dict(zip(table.key_names[:count], key, strict=False))
            for count in range(1, table.key_count + 1)
        ]
        wanted += [{name: value} for name, value in zip(names, row, strict=True)]
        for where in wanted:
            for after in (None, key, table.key_of(everything[0])):
                found = list(quick.find(table, where, after=after))
                assert found == list(plain.find(table, where, after=after)), (table.name, where)


def test_what_did_not_change_is_kept_once(store: EventStore) -> None:
    """Catches snapshots that each take as much room as the whole model."""
    snapshots = Snapshots(store)
    taken = take(snapshots, "timeline")
    assert len(taken) > 3
    kept = snapshots_of(store)
    headers = list(kept.headers(MODEL, "timeline"))
    assert len(headers) == OFTEN.keep
    assert headers[-1].position == store.head().size
    named = [list(saved_rows.hashes_of(kept.body(one) or b"")) for one in headers]
    distinct = set(itertools.chain(*named))
    assert len(distinct) < sum(map(len, named)) * 2 / 3
    for part_hash in distinct:
        assert kept.part("timeline", part_hash) is not None
    dropped = headers[:-1]
    kept.drop(dropped)
    assert kept.sweep("timeline", saved_rows.hashes_of) == len(distinct) - len(set(named[-1]))
    assert take(snapshots, "timeline") == []


def test_what_one_begins_at_may_go_while_it_is_taken(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a snapshot on top of parts that another process thinned, or none at all."""
    snapshots, kept = Snapshots(store), snapshots_of(store)
    put = snapshots.store.put
    refused: list[int] = []

    def raced(header: Header, body: bytes, parts: Any, named: Any = frozenset()) -> bool:
        if named and not refused:
            kept.drop(kept.headers(MODEL, "timeline"))
            kept.sweep("timeline", saved_rows.hashes_of)
            refused.append(header.position)
            assert not put(header, body, parts, named)
            return False
        return put(header, body, parts, named)

    monkeypatch.setattr(snapshots.store, "put", raced)
    taken = take(snapshots, "timeline")
    assert refused == [120]
    assert [one.position for one in taken[:3]] == [60, 60, 120]
    headers = kept.headers(MODEL, "timeline")
    assert headers[-1].position == store.head().size
    assert [one.reason for one in snapshots.check(headers)] == [None] * OFTEN.keep


def test_taken_again_only_what_came(store: EventStore) -> None:
    """Catches a policy that takes one at every look, or never."""
    snapshots = Snapshots(store)
    snapshots.models.policy = OFTEN
    assert snapshots.models.is_due("orders")
    due = list(snapshots.models.take("orders", only_if_due=True))
    assert [one.position for one in due] == list(range(60, store.head().size, 60))
    assert not snapshots.models.is_due("orders")
    assert [one.position for one in take(snapshots, "orders")] == [store.head().size]
    assert take(snapshots, "orders") == []
    with pytest.raises(NotFound, match="no read model teapots"):
        take(snapshots, "teapots")


def test_a_worker_takes_them(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a worker that never takes one, or that tries for ever to take what it may not."""
    book = Book(store)
    book.snapshots.models.policy = ModelPolicy(every=300)
    rounds = saving(book.machinery, book.snapshots)
    while rounds.look():
        pass
    kept = snapshots_of(store)
    assert {name: [one.position for one in kept.headers(MODEL, name)] for name in NAMES} == {
        name: [300] for name in NAMES
    }
    kept.drop(kept.headers(MODEL, "stock"))
    calls: list[str] = []

    def none(name: str, *, only_if_due: bool) -> Iterator[Header]:
        calls.append(name)
        yield from ()

    # As if a stream were parked.
    monkeypatch.setattr(book.snapshots.models, "take", none)
    assert rounds.look()
    with pytest.raises(OrderLedgerError, match="projection parked stock"):
        rounds.look()
    assert calls == ["stock"]


def test_a_worker_says_that_none_is_taken_and_goes_on_when_it_may() -> None:
    """Catches a model that parks a stream and has no snapshots, unseen or for good."""
    store = MemoryStore()
    fill(store)
    picky = Picky(cannot_read={20})
    book = Book(store, models=[picky])
    book.snapshots.models.policy = ModelPolicy(every=60)
    rounds = saving(book.machinery, book.snapshots)

    def work_off() -> None:
        while rounds.look():
            pass

    with pytest.raises(OrderLedgerError, match=r"taken of picky: .* projection parked picky"):
        work_off()
    assert snapshots_of(store).headers(MODEL, "picky") == []
    with pytest.raises(OrderLedgerError, match="taken of picky"):
        rounds.look()
    book.read.models.catch_up("picky")
    (parked,) = book.read.models.parked("picky")
    book.skip_parked("picky", parked.stream, reason="not for us")
    assert rounds.look()
    assert [one.position for one in snapshots_of(store).headers(MODEL, "picky")] == [60]
    assert not rounds.look()


def test_none_is_taken_while_a_stream_is_parked() -> None:
    """Catches rows that lack a stream being kept as if they were whole."""
    store = MemoryStore()
    fill(store)
    picky = Picky(cannot_read={20})
    snapshots = Snapshots(store, models=(picky,))
    assert take(snapshots, "picky") == []
    assert snapshots_of(store).headers(MODEL, "picky") == []
    picky.cannot_read = ()
    assert [one.position for one in take(snapshots, "picky")] == [60, store.head().size]


def test_rows_that_leave_something_out_are_for_when_that_was_known() -> None:
    """Catches an event that is left out of a past in which nobody had acknowledged that yet."""
    store = MemoryStore()
    fill(store)
    picky = Picky(cannot_read={20})
    book = Book(store, models=[picky])
    book.read.models.catch_up("picky")
    (parked,) = book.read.models.parked("picky")
    before = store.head().size
    book.skip_parked("picky", parked.stream, reason="not for us")
    taken = take(book.snapshots, "picky")
    assert [one.position for one in taken] == [60, before + 1]
    for position in (30, 60, before, before + 1):
        quick = book.read.as_of(position)
        plain = Reading(store, models=[picky]).as_of(position)
        assert rows(quick, "picky") == rows(plain, "picky")
        assert list(quick.models.parked("picky")) == [
            msgspec.structs.replace(one, parked_at=quick.models.parked("picky")[0].parked_at)
            for one in plain.models.parked("picky")
        ]
    # The one at 60 knows of the skip, and was not used for a past that did not.
    assert book.snapshots.rejected == {Rejection.OTHER_CODE: 2}
    assert [one.reason for one in book.snapshots.check(taken)] == [None, None]


def as_of_orders(store: EventStore, snapshots: Snapshots | None, position: int) -> Any:
    return rows(Reading(store, snapshots=snapshots).as_of(position), "orders")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("fingerprint", Rejection.OTHER_CODE),
        ("codec", Rejection.OTHER_CODE),
        ("epoch", Rejection.OTHER_ERASURES),
        ("leaf", Rejection.OTHER_LOG),
        ("beyond", Rejection.OTHER_LOG),
        ("body", Rejection.DAMAGED),
        ("unsealed", Rejection.DAMAGED),
        ("garbage", Rejection.DAMAGED),
    ],
)
def test_what_is_not_right_is_passed_over_and_replaced(
    store: EventStore, how: str, reason: Rejection
) -> None:
    """Catches rows of other code, of another log or of a torn page."""
    snapshots, kept = Snapshots(store), snapshots_of(store)
    *_, good = take(snapshots, "orders")
    head = good.position
    body = kept.body(good)
    assert body is not None
    replace = msgspec.structs.replace
    bad = {
        "fingerprint": lambda: sealed(replace(good, fingerprint=bytes(32)), body),
        "codec": lambda: sealed(replace(good, codec="pickle"), body),
        "epoch": lambda: sealed(replace(good, erasure_epoch=1), body),
        "leaf": lambda: sealed(replace(good, leaf_hash=bytes(32)), body),
        "beyond": lambda: sealed(replace(good, leaf_hash=b"x" * 32), body),
        "body": lambda: good,
        "unsealed": lambda: replace(good, size=1),
        "garbage": lambda: sealed(good, body[:-4]),
    }[how]()
    kept.put(bad, body[:-4] if how in ("body", "garbage") else body, {})
    expected = as_of_orders(store, None, head)
    fresh = Snapshots(store)
    assert as_of_orders(store, fresh, head) == expected
    assert fresh.rejected == {reason: 1}
    (found,) = fresh.check([bad])
    assert (found.reason, f"orders at position {head}" in found.text) == (reason, True)
    # Replaced by the next one that is taken.
    assert take(fresh, "orders")[-1].position == head
    assert [one.reason for one in fresh.check(kept.headers(MODEL, "orders"))] == [None] * 4


def test_a_lost_or_damaged_part_changes_no_answer(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an answer with rows missing, or an error, because a part is not there any more."""
    snapshots, kept = Snapshots(store), snapshots_of(store)
    *_, last = take(snapshots, "orders")
    hashes = list(saved_rows.hashes_of(kept.body(last) or b""))
    expected = as_of_orders(store, None, last.position)
    for damage in (None, b"x"):
        monkeypatch.setattr(snapshots.store, "part", _damaged(snapshots, hashes[-2], damage))
        assert [one.reason for one in snapshots.check([last])] == [Rejection.DAMAGED]
        assert as_of_orders(store, snapshots, last.position) == expected
        assert last not in kept.headers(MODEL, "orders"), "nobody meets it again"
        monkeypatch.undo()
        monkeypatch.setattr(saved_rows, "CHUNK_ROWS", 5)
        assert take(snapshots, "orders")[-1].position == last.position
        *_, last = kept.headers(MODEL, "orders")
        assert [one.reason for one in snapshots.check([last])] == [None]


def _damaged(snapshots: Snapshots, lost: bytes, instead: bytes | None) -> Any:
    part = snapshots.store.part

    def read(subject: str, part_hash: bytes) -> bytes | None:
        return instead if part_hash == lost else part(subject, part_hash)

    return read


def test_rows_that_the_events_do_not_give_are_found(store: EventStore) -> None:
    """Catches rows that somebody wrote to his own taste, with every hash right."""
    snapshots, kept = Snapshots(store), snapshots_of(store)
    *_, last = take(snapshots, "payments")
    model = snapshots.models.model("payments")
    view = LogAsOf(store, Point(last.position))
    resumed = SavedModels(snapshots.models, last.position)
    models = ReadModels(view, resumed, SHIPPED)
    live = models.caught_up("payments").generation
    (table, *_) = model.tables
    row = resumed.page(live, table, None, 1)[0]
    other = {table.name: saved_rows.Change({}, {table.key_of(row)})}
    base, _ = resumed.changes(live)
    assert isinstance(base, saved_rows.SavedModel)
    written = saved_rows.write(model.tables, base, other, live.digest)
    kept.put(sealed(last, written.body), written.body, written.parts)
    (found,) = snapshots.check(kept.headers(MODEL, "payments")[-1:])
    assert found.reason is Rejection.DIFFERS
    assert f"payments at position {last.position}" in found.text


def test_what_had_not_happened_is_never_from_a_snapshot(store: EventStore) -> None:
    """Catches a snapshot of what was recorded that answers about what had happened."""
    snapshots = Snapshots(store)
    take(snapshots, "orders")
    middle = store.read(store.head().size // 2, limit=1)[0].occurred_at
    then = Reading(store, snapshots=snapshots).as_of(effective_to=middle)
    assert rows(then, "orders") == rows(Reading(store).as_of(effective_to=middle), "orders")
    live = then.models.live("orders")
    assert live is not None
    saved = open_models(LogAsOf(store, Point(5)), snapshots)
    assert isinstance(saved, SavedModels)
    gaps = open_models(LogAsOf(store, Point(5, middle)), snapshots)
    assert not isinstance(gaps, SavedModels)


TABLE = Table(
    "kept",
    (Column("a", Kind.TEXT), Column("n", Kind.INTEGER), Column("v", Kind.AMOUNT, is_optional=True)),
    key_count=2,
)


TEMPLATE = Header(
    kind=MODEL,
    subject="kept",
    version=1,
    position=1,
    leaf_hash=bytes(32),
    fingerprint=bytes(32),
    codec=saved_rows.ROWS,
    erasure_epoch=0,
    body_hash=b"",
    size=0,
    taken_at=START,
)


class OneSnapshot:
    """A snapshot of rows, whoever asks."""

    def __init__(self, rows_of_it: dict[Key, Row]) -> None:
        self._rows = rows_of_it

    def nearest_rows(self, *_: object) -> saved_rows.SavedModel:
        store = snapshots_of(MemoryStore())
        written = saved_rows.write(
            (TABLE,), None, {"kept": saved_rows.Change(self._rows)}, bytes(32)
        )
        header = sealed(TEMPLATE, written.body)
        store.put(header, written.body, written.parts)
        index = saved_rows.read_index(store, header, (TABLE,))
        return saved_rows.SavedModel(store, header, index, dict)


def test_what_changed_since_hides_what_was_saved() -> None:
    """Catches a row that comes back from a snapshot after it was deleted or written again."""
    saved: dict[Key, Row] = {("a", n): ("a", n, n) for n in range(30)}
    store = SavedModels(OneSnapshot(saved), 1)
    made = store.create("kept", 1, "f", (TABLE,))
    assert (made.position, made.digest) == (TEMPLATE.position, bytes(32))

    def advance(**changes: Any) -> None:
        (before,) = store.generations("kept")
        after = msgspec.structs.replace(before, position=before.position + 1)
        assert store.advance(before, after, (TABLE,), {"kept": TableChanges(**changes)}, ())

    advance(deleted=[("a", 3), ("a", 29)], updated=[("a", 4, 0)], inserted=[("b", 1, 1)])
    advance(inserted=[("a", 29, -1)])
    expected = {**saved, ("a", 4): ("a", 4, 0), ("b", 1): ("b", 1, 1), ("a", 29): ("a", 29, -1)}
    del expected[("a", 3)]
    (now,) = store.generations("kept")
    everything = [expected[key] for key in sorted(expected, key=str)]
    assert sorted(store.stored(now, "kept")) == sorted(everything)
    assert store.page(now, TABLE, None, 99) == store.stored(now, "kept")
    assert store.fetch(now, TABLE, [*saved, ("b", 1), ("c", 1)]) == expected
    for key in [*saved, ("b", 1)]:
        found = store.find(now, TABLE, {"a": key[0], "n": key[1]}, None, 9)
        assert list(found) == ([expected[key]] if key in expected else [])
    for refused in (
        {"inserted": [("a", 5, 1)]},
        {"updated": [("a", 3, 1)]},
        {"deleted": [("a", 3)]},
        {"deleted": [("c", 3)]},
    ):
        with pytest.raises(IntegrityViolation, match="other rows than at its checkpoint"):
            advance(**refused)


def test_writing_on_top_of_what_was_written() -> None:
    """Catches a row that is lost, doubled or out of order where parts are cut and joined."""
    rng = random.Random(1)
    snapshots = snapshots_of(MemoryStore())
    expected: dict[Key, Row] = {}
    base: saved_rows.SavedModel | None = None
    for position in range(1, 60):
        change: dict[Key, Row] = {}
        for _ in range(rng.randrange(12)):
            key = (rng.choice("äabcz"), rng.randrange(40))
            change[key] = (*key, rng.choice([None, 10**29, -5]))
        known: list[Any] = sorted(expected)
        gone = set(rng.sample(known, min(len(known), rng.randrange(9)))) - set(change)
        expected = {key: row for key, row in expected.items() if key not in gone} | change
        written = saved_rows.write((TABLE,), base, {"kept": saved_rows.Change(change, gone)}, b"")
        header = sealed(msgspec.structs.replace(TEMPLATE, position=position), written.body)
        snapshots.put(header, written.body, written.parts)
        index = saved_rows.read_index(snapshots, header, (TABLE,))
        base = saved_rows.SavedModel(snapshots, header, index, dict)
        keys: list[Any] = sorted(expected)
        assert list(base.rows(TABLE, None)) == [expected[key] for key in keys]
        for after in rng.sample(keys, min(3, len(keys))):
            assert list(base.rows(TABLE, after)) == [expected[k] for k in keys if k > after]
        asked = [*keys, ("a", 99), ("", 0), ("zz", 1)]
        assert base.fetch(TABLE, asked) == expected
