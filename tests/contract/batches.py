"""Short ways to write a batch, and the other side of the store's hashes, computed here."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from orderledger.ledger.codec import HashedColumns, content_hash, key_hash, leaf_hash
from orderledger.ledger.ids import new_id
from orderledger.ledger.merkle import TILE, subtree_root
from orderledger.ledger.ports import Batch, EventStore, NewAppend, NewEvent, StoredEvent

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
BALANCED = "posted assets:psp:adyen GBP 12325\nposted liabilities:escrow:o1 GBP -12325"


def event(
    stream: str,
    version: int,
    *,
    postings: str = "",
    payload: str = '{"note":"n"}',
    topic: str = "test.noted.v1",
) -> NewEvent:
    return NewEvent(
        event_id=new_id(),
        stream=stream,
        version=version,
        topic=topic,
        occurred_at=START + timedelta(seconds=version),
        payload=payload,
        postings=postings,
    )


def command(key: str, *events: NewEvent, book: str = "main", refused: bool = False) -> NewAppend:
    return NewAppend(
        command_id=new_id(),
        key=key,
        key_hash=key_hash(book, key),
        fingerprint=b"fingerprint of " + key.encode(),
        command="Note",
        refused=refused,
        reply='{"key":"' + key + '"}',
        context='{"actor":"tester"}',
        events=events,
    )


def batch(
    *appends: NewAppend, checks: dict[str, int] | None = None, generation: int | None = None
) -> Batch:
    return Batch(
        appends=appends,
        appended_at=START,
        checks=checks or {},
        constraint_generation=generation,
    )


def one(key: str, *events: NewEvent, checks: dict[str, int] | None = None) -> Batch:
    """Return a batch of a single command."""
    return batch(command(key, *events), checks=checks)


def fill(store: EventStore, stream: str, versions: range, *, per_append: int = 50) -> None:
    """Append versions to a stream, and see to it that they have positions."""
    for start in range(versions.start, versions.stop, per_append):
        stop = min(start + per_append, versions.stop)
        events = [event(stream, version) for version in range(start, stop)]
        store.append(batch(command(f"{store.book}/{stream}/{start}", *events, book=store.book)))
    settle(store)


def settle(store: EventStore) -> None:
    """Give every committed event its position."""
    while store.pending():
        store.sequence()


def everything(store: EventStore) -> list[StoredEvent]:
    """Return the whole log, read in pages."""
    settle(store)
    found: list[StoredEvent] = []
    while page := store.read(len(found), limit=97):
        found.extend(page)
    return found


def expected_leaf(book: str, stored: StoredEvent) -> bytes:
    """Compute the leaf hash of a stored event from its columns."""
    assert stored.position is not None
    assert stored.recorded_at is not None
    content = content_hash(
        book,
        HashedColumns(
            event_id=stored.event_id,
            stream=stored.stream,
            version=stored.version,
            topic=stored.topic,
            occurred_at=stored.occurred_at,
            appended_at=stored.appended_at,
            command_id=stored.command_id,
            context=stored.context,
            postings=stored.postings,
            payload=stored.payload,
        ),
    )
    return leaf_hash(stored.position, stored.recorded_at, content)


def expected_tiles(leaves: Sequence[bytes]) -> list[bytes]:
    """Compute the complete tile roots of level 1."""
    return [
        subtree_root(leaves[start : start + TILE])
        for start in range(0, len(leaves) - TILE + 1, TILE)
    ]
