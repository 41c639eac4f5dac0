"""A market with the same history each time, and its dossiers: for what makes and checks them."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from orderledger.ledger.codec import key_hash
from orderledger.ledger.ports import Batch, EventStore, NewAppend, NewEvent, StoredEvent
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.replay.signing import SigningKey, write_key
from orderledger.replay.verify_dossier import FAILED, canonical, verify
from tests.projections.market_book import MarketBook
from tests.seeding import ticking

KEY = SigningKey("ledger.shop.example", bytes(range(32)))
STRANGER = SigningKey("ledger.shop.example", bytes(range(1, 33)))
AUDITOR = SigningKey("auditor.example", bytes(range(2, 34)))
Document = dict[str, Any]


def market(book: str = "main") -> MarketBook:
    """Return a market in memory, each event recorded at a second of its own."""
    return MarketBook(MemoryStore(book, clock=ticking()))


def key_file(folder: Path, key: SigningKey = KEY) -> Path:
    """Write a key, and return where."""
    path = folder / f"{key.name}-{key.seed[0]}.key"
    if not path.exists():
        write_key(key, path)
    return path


def failures(text: str, key: SigningKey = KEY) -> list[str]:
    """Return which checks of a dossier fail, with what they say."""
    found = verify(text, [key.verifier.text])
    return [f"{one.check}: {one.text}" for one in found if one.status == FAILED]


def changed(text: str, change: Callable[[Document], object]) -> str:
    """Return a dossier that somebody changed, well-formed as before."""
    document = json.loads(text)
    change(document)
    return canonical(document)


def copy(source: EventStore, target: EventStore, now: list[datetime]) -> None:
    """Append the history of one store to another, id by id; ``now`` is the target's clock."""
    rows = source.read(0, limit=100_000)
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end].command_id != rows[start].command_id:
            _append(source.book, target, rows[start:end], now)
            start = end


def _append(
    book: str, target: EventStore, rows: Sequence[StoredEvent], now: list[datetime]
) -> None:
    first = rows[0]
    key = str(first.command_id)
    events = tuple(
        [
            NewEvent(
                row.event_id,
                row.stream,
                row.version,
                row.topic,
                row.occurred_at,
                row.payload,
                row.postings,
                row.context,
            )
            for row in rows
        ]
    )
    assert first.recorded_at is not None
    now[0] = first.recorded_at
    target.append(
        Batch(
            (
                NewAppend(
                    first.command_id,
                    key,
                    key_hash(book, key),
                    b"",
                    "Copied",
                    False,
                    "{}",
                    "",
                    events,
                ),
            ),
            first.appended_at,
        )
    )
    while target.sequence():
        pass
