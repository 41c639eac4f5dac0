"""A deep verification looks at snapshots: which are findings, and that it writes none."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from orderledger import Book
from orderledger.ledger.snapshot_ports import Header, SnapshotKind
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.snapshots import snapshots_of
from orderledger.replay.findings import Area, Check, Checked, Finding
from orderledger.snapshots.bodies import sealed
from orderledger.snapshots.policy import ModelPolicy
from orderledger.snapshots.rejections import Rejection
from orderledger.verifying import Scope
from tests.projections.market_book import MarketBook
from tests.replay.forger import Forger, SqliteDatabase
from tests.seeding import sqlite_store

DEEP = Scope(is_deep=True)
ORDER = "order-o1"


def market() -> Book:
    """Give a market with snapshots of a stream and, at each 40th event, of a model."""
    book = MarketBook(MemoryStore()).book
    book.snapshots.models.policy = ModelPolicy(every=40, share=10**6)
    book.snapshots.take(ORDER)
    list(book.snapshots.take_model("orders"))
    return book


def looked(book: Book) -> tuple[list[Finding], Checked]:
    """Return what a deep verification finds, and its line of the snapshots."""
    told = list(book.read.verification(scope=DEEP))
    (line,) = [one for one in told if isinstance(one, Checked) and one.area is Area.SNAPSHOTS]
    return [one for one in told if isinstance(one, Finding)], line


def test_all_snapshots_are_looked_at() -> None:
    """Catches one that is never compared, and a shallow verification that takes as long."""
    book = market()
    count = sum(len(list(book.snapshots.headers(kind))) for kind in SnapshotKind)
    assert count > 3
    found, line = looked(book)
    assert (found, line.looked_at, line.found, line.skipped) == ([], count, 0, "")
    areas = [one.area for one in book.read.verification() if isinstance(one, Checked)]
    assert Area.SNAPSHOTS not in areas


def test_an_outdated_snapshot_is_no_finding() -> None:
    """Catches an alarm after every upgrade."""
    book = market()
    kept = snapshots_of(book.store)
    for header in (
        *kept.headers(SnapshotKind.STREAM, ORDER),
        *kept.headers(SnapshotKind.MODEL, "orders")[-1:],
    ):
        body = kept.body(header) or b""
        kept.put(sealed(replace(header, fingerprint=bytes(32)), body), body, {})
    found, line = looked(book)
    assert found == []
    assert line.skipped == "made by other code or before an erasure: 2"


def test_checking_writes_nothing() -> None:
    """Catches a verification that mends what it was asked to tell of."""
    book = market()
    kept = snapshots_of(book.store)
    kept.sweep("orders", lambda _: ())
    before = list(book.snapshots.headers(SnapshotKind.MODEL))
    found, line = looked(book)
    assert {one.code for one in found} == {Check.SNAPSHOT_DAMAGED}
    assert [one.position for one in found] == [one.position for one in before]
    assert line.found == len(before)
    assert list(book.snapshots.headers(SnapshotKind.MODEL)) == before


def test_a_part_that_goes_while_it_is_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches rows made again from the events, compared with themselves and found right."""
    book = market()
    snapshots = book.snapshots
    *_, last = snapshots.headers(SnapshotKind.MODEL)
    asked: list[bytes] = []
    part = snapshots.store.part

    def once(subject: str, part_hash: bytes) -> bytes | None:
        asked.append(part_hash)
        return part(subject, part_hash) if asked.count(part_hash) == 1 else None

    monkeypatch.setattr(snapshots.store, "part", once)
    (found,) = snapshots.check([last])
    assert found.reason is Rejection.DAMAGED
    assert last in snapshots.headers(SnapshotKind.MODEL)


def test_what_is_deleted_meanwhile_is_no_finding() -> None:
    """Catches a false alarm where a writer thins snapshots while they are verified."""
    book = market()
    kept = snapshots_of(book.store)

    def thinned() -> Iterator[Header]:
        for kind in SnapshotKind:
            for header in list(book.snapshots.headers(kind)):
                kept.drop([header])
                yield header

    assert list(book.snapshots.check(thinned())) == []


def test_a_header_that_cannot_be_read(tmp_path: Path) -> None:
    """Catches a verification that ends there, and a state that is not there because of it."""
    path = tmp_path / "book.db"
    book = MarketBook(sqlite_store(path)).book
    book.snapshots.take(ORDER)
    state = book.read.order("o1")
    book.close()
    forger = Forger(SqliteDatabase(path))
    forger.update("orderledger.snapshots", {"taken_at": "x" * 32}, {"subject": ORDER})
    forger.close()
    book = Book(sqlite_store(path))
    found, _ = looked(book)
    assert [one.code for one in found] == [Check.SNAPSHOT_UNAVAILABLE]
    assert "order-o1" in found[0].text
    assert book.read.order("o1") == state
    assert book.snapshots.rejected == {Rejection.UNAVAILABLE: 1}
    book.close()
