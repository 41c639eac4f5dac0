"""A read model that can be told what it cannot read, and what to compare it with."""

from collections.abc import Collection, Sequence
from typing import Any

from orderledger import Book
from orderledger.ledger.account_events import JournalEntryPosted, JournalEntryReversed
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.model_ports import Key, ModelStore, Row, Table
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.projections.compare import Summed, summed
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel, Recorded, Rows, fingerprint
from orderledger.projections.read_models import ReadModels
from orderledger.projections.skips import skipped_of
from tests.projections.toy_models import ENTRIES, TOTALS, Entries


class Picky(ReadModel):
    """
    Totals by account and a row per entry: some rows of many streams, some from the state of one.

    ``cannot_read`` are positions at which it raises, after it has touched rows. It is no part of
    the declaration, so that mending it leaves the version as it is.
    """

    name = "picky"
    tables = (TOTALS, ENTRIES)
    topics = frozenset({"journal.entry_posted.v1", "journal.entry_reversed.v1"})
    folds = frozenset({"journal"})

    def __init__(self, cannot_read: Collection[int] = ()) -> None:
        self.cannot_read: Collection[int] = cannot_read

    def project(self, recorded: Recorded, rows: Rows) -> None:
        assert isinstance(recorded.event, JournalEntryPosted | JournalEntryReversed)
        for leg in decode_entry(recorded.postings).postings:
            before: Any = rows.get(TOTALS, (leg.account, leg.currency)) or (0, 0, 0, 0)
            row = (leg.account, leg.currency, before[2] + leg.minor, before[3] + 1)
            rows.put(TOTALS, (*row, recorded.recorded_at))
        rows.touch(ENTRIES, (recorded.entity_id,))
        if recorded.position in self.cannot_read:
            raise ValueError(f"cannot read position {recorded.position}")

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        return Entries().derive(table, key, rows)


def book_with(model: ReadModel) -> Book:
    """Return an empty book in memory that has one read model more than the shipped ones."""
    return Book(MemoryStore("main"), models=[model])


def from_nothing(models: ReadModels, name: str, store: ModelStore, until: int) -> Summed:
    """Make a model in another store in one go, with its skips as they are now."""
    model = models.model(name)
    tables = tuple(model.tables)
    skipped = skipped_of(models.events, name)
    made = store.create(name, model.version, fingerprint(model), tables, skipped)
    follower = Follower(models.events, store, model, made)
    follower.catch_up(until, batch_events=max(until, 1))
    return summed(store, follower.generation, tables)


def live_rows(models: ReadModels, name: str) -> tuple[int, Summed]:
    """Return the position of the live generation and what its stored rows come to."""
    live = models.live(name)
    assert live is not None
    found = summed(models.store, live, tuple(models.model(name).tables))
    assert found.digest == live.digest, "rows and checkpoint agree"
    return live.position, found


def parked_at(models: ReadModels, name: str) -> Sequence[tuple[str, int]]:
    return [(one.stream, one.position) for one in models.parked(name)]
