"""Rows for tests of what reads: events with postings, at fixed ids and times."""

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from orderledger.commands.idempotency import encode_reply
from orderledger.ledger.account_events import (
    Direction,
    JournalEntryPosted,
    JournalKind,
    JournalLeg,
)
from orderledger.ledger.codec import encode_event, key_hash
from orderledger.ledger.events import Event
from orderledger.ledger.journal import EMPTY, Entry, Layer, encode_entry, entry
from orderledger.ledger.journal import Posting as Leg
from orderledger.ledger.model_ports import ModelStore
from orderledger.ledger.ports import Batch, EventStore, NewAppend, NewEvent
from orderledger.ledger.stores.journals import journal_of
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models import models_of
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.projections.balances import Balances, Postings
from orderledger.projections.read_models import ReadModels

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONTEXT = '{"actor":{"type":"staff","id":"7"},"key":"seed"}'
CASH = "assets:bank:main"
OPENING = "equity:opening"


def ticking(
    start: datetime = START, step: timedelta = timedelta(seconds=1)
) -> Callable[[], datetime]:
    """Return a clock that moves on by a step at each look."""
    ticks = itertools.count()
    return lambda: start + step * next(ticks)


def balances_of(store: EventStore, models: ModelStore | None = None) -> Balances:
    """Return the balances of a book, with the read models beside its events."""
    models = models or models_of(store)
    return Balances(ReadModels(store, models, (Postings(),)), journal_of(models))


class Fact(msgspec.Struct, frozen=True):
    """An event to append, with its postings and its instant."""

    stream: str
    event: Event
    entry: Entry = EMPTY
    occurred_at: datetime = START


def transfer(
    amount: int,
    occurred_at: datetime,
    *,
    entry_id: str,
    currency: str = "USD",
    account: str = CASH,
    layer: Layer = Layer.POSTED,
) -> Fact:
    """Return a manual entry that debits an account (credits it for a negative amount)."""
    legs = (Leg(account, currency, amount, layer), Leg(OPENING, currency, -amount, layer))
    return posted(entry(*legs), occurred_at, entry_id=entry_id)


def posted(value: Entry, occurred_at: datetime, *, entry_id: str) -> Fact:
    """Return a manual entry with these legs."""
    legs = tuple(
        JournalLeg(
            leg.account,
            leg.currency,
            abs(leg.minor),
            Direction.CREDIT if leg.minor < 0 else Direction.DEBIT,
            leg.layer,
        )
        for leg in value.postings
    )
    event = JournalEntryPosted(
        entry_id=entry_id, kind=JournalKind.MANUAL, description="seeded", legs=legs
    )
    return Fact(f"journal-{entry_id}", event, value, occurred_at)


class Seeder:
    """
    Appends facts to a store, each call one atomic append, with counted ids.

    ``versions`` are those that streams have; share it with who else appends.
    """

    def __init__(
        self, store: EventStore, *, first: int = 1, versions: dict[str, int] | None = None
    ) -> None:
        self._store = store
        self._ids = itertools.count(first)
        self._versions = {} if versions is None else versions
        self._keys: set[str] = set()

    def append(self, *facts: Fact, context: str = CONTEXT) -> None:
        """Append facts atomically, at their streams' next versions."""
        self._store.append(Batch((self._made(facts, context),), START))

    def append_many(self, facts: Sequence[Fact]) -> None:
        """Append facts in one transaction, each as a command of its own."""
        appends = tuple(self._made((fact,), CONTEXT) for fact in facts)
        self._store.append(Batch(appends, START))

    def _made(self, facts: Sequence[Fact], context: str) -> NewAppend:
        events = []
        for fact in facts:
            version = self._versions[fact.stream] = self._versions.get(fact.stream, 0) + 1
            topic, payload = encode_event(fact.event)
            events.append(
                NewEvent(
                    self._id(),
                    fact.stream,
                    version,
                    topic,
                    fact.occurred_at,
                    payload,
                    encode_entry(fact.entry),
                )
            )
        command_id = self._id()
        said = _key_of(context)
        # A key is a command's own, and its events say which.
        key = said if said not in ("seed", *self._keys) else f"{said}-{command_id}"
        self._keys.add(key)
        written = {fact.stream: self._versions[fact.stream] for fact in facts}
        return NewAppend(
            command_id,
            key,
            key_hash(self._store.book, key),
            b"f" * 32,
            "Seed",
            False,
            encode_reply(written, tuple([event.event_id for event in events])),
            context.replace(f'"key":"{said}"', f'"key":"{key}"'),
            tuple(events),
        )

    def _id(self) -> UUID:
        return UUID(int=(0x019B0000 << 96) | (0x7 << 76) | (0b10 << 62) | next(self._ids))


def _key_of(context: str) -> str:
    try:
        return str(msgspec.json.decode(context)["key"])
    except msgspec.DecodeError:
        return "seed"


def memory_store() -> MemoryStore:
    """Return an empty book in memory whose clock ticks by seconds."""
    return MemoryStore(clock=ticking())


def sqlite_store(path: object) -> SqliteStore:
    """Return an empty book in a file whose clock ticks by seconds."""
    return SqliteStore(str(path), clock=ticking())
