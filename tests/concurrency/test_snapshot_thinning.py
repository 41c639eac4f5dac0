"""Processes that take and thin a read model's snapshots at once: none loses a part of another's."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec
import pytest

import orderledger
from orderledger import Book
from orderledger.ledger.snapshot_ports import Header, SnapshotKind
from orderledger.ledger.stores.snapshots import snapshots_of
from orderledger.snapshots import rows as saved_rows
from orderledger.snapshots.policy import ModelPolicy
from tests.projections.books import fill, post

NAME: Final = "timeline"
OFTEN: Final = ModelPolicy(every=4, share=10**6, keep=2)
ROUNDS: Final = 12
TAKERS: Final = 2
HEADER: Final = Header(
    kind=SnapshotKind.MODEL,
    subject=NAME,
    version=1,
    position=1,
    leaf_hash=bytes(32),
    fingerprint=bytes(32),
    codec=saved_rows.ROWS,
    erasure_epoch=0,
    body_hash=bytes(32),
    size=0,
    taken_at=datetime(2026, 3, 1, tzinfo=UTC),
)


def test_a_snapshot_written_during_a_sweep_keeps_its_parts(url: str) -> None:
    """Catches a sweep that deletes what was named between its look and its end."""
    here, there = orderledger.open(url), orderledger.open(url)
    ours, theirs = snapshots_of(here.store), snapshots_of(there.store)
    first, second = b"1" * 32, b"2" * 32
    ours.put(HEADER, b"", {first: b"one"})
    later = msgspec.structs.replace(HEADER, position=2)
    written: list[bool] = []

    def write() -> None:
        written.append(theirs.put(later, b"", {second: b"two"}))

    writer = threading.Thread(target=write, daemon=True)

    def named(_: bytes) -> Iterator[bytes]:
        # The look has begun: whoever writes now comes before its end, or waits for it.
        writer.start()
        writer.join(0.3)
        yield first

    ours.sweep(NAME, named)
    writer.join(30)
    assert written == [True]
    assert (ours.part(NAME, first), ours.part(NAME, second)) == (b"one", b"two")
    here.close()
    there.close()


def test_whoever_takes_and_thins_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a snapshot that is damaged as soon as it is taken, and a taker that gives up."""
    monkeypatch.setattr(saved_rows, "CHUNK_ROWS", 3)
    book = orderledger.open(url)
    fill(book.store)
    takers = [orderledger.open(url) for _ in range(TAKERS)]
    problems: list[BaseException] = []
    begun = threading.Barrier(TAKERS + 1)

    def take(taker: Book) -> None:
        taker.snapshots.models.policy = OFTEN
        try:
            for _ in range(ROUNDS):
                begun.wait(60)
                taken = list(taker.snapshots.take_model(NAME))
                assert taken or taker.snapshots.store.newest(SnapshotKind.MODEL, [NAME])
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            problems.append(error)
            begun.abort()

    threads = [threading.Thread(target=take, args=(one,), daemon=True) for one in takers]
    for thread in threads:
        thread.start()
    try:
        for number in range(ROUNDS):
            book.execute_many([post(100 + 7 * number + one) for one in range(7)])
            begun.wait(60)
    except threading.BrokenBarrierError:
        pass
    for thread in threads:
        thread.join(60)
    assert problems == []
    headers = list(book.snapshots.headers(SnapshotKind.MODEL))
    assert [one.reason for one in book.snapshots.check(headers)] == [None] * len(headers)
    assert headers[-1].position == book.store.head().size
    for one in (book, *takers):
        one.close()
