"""Small read models for the tests of the framework: one by rows, one by states."""

from datetime import datetime
from typing import Any

from orderledger.ledger.account_events import JournalEntryPosted
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.streams import journal
from orderledger.projections.models import ReadModel, Recorded, Rows
from orderledger.projections.tables import Amount, TableRow, table


@table("totals", key_count=2)
class TotalRow(TableRow, frozen=True):
    account: str
    currency: str
    minor: Amount
    entries: int
    last_at: datetime


@table("entries", indexes=(("description",),))
class EntryRow(TableRow, frozen=True):
    entry_id: str
    description: str
    legs: int
    is_reversed: bool


TOTALS, ENTRIES = TotalRow.table, EntryRow.table


class Totals(ReadModel):
    """What was posted to each account, added up event by event."""

    name = "totals"
    version = 1
    tables = (TOTALS,)
    topics = frozenset({"journal.entry_posted.v1", "journal.entry_reversed.v1"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        for leg in decode_entry(recorded.postings).postings:
            before = rows.get(TOTALS, (leg.account, leg.currency))
            minor, entries = (before[2], before[3]) if before else (0, 0)
            assert isinstance(minor, int)
            assert isinstance(entries, int)
            row = (leg.account, leg.currency, minor + leg.minor, entries + 1, recorded.recorded_at)
            rows.put(TOTALS, row)


class Entries(ReadModel):
    """One row per journal entry, from the state of its stream."""

    name = "entries"
    version = 1
    tables = (ENTRIES,)
    topics = frozenset({"journal.entry_posted.v1", "journal.entry_reversed.v1"})
    folds = frozenset({"journal"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if (
            isinstance(recorded.event, JournalEntryPosted)
            and "poison" in recorded.event.description
        ):
            raise ValueError(f"cannot read {recorded.event.description!r}")
        rows.touch(ENTRIES, (recorded.entity_id,))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        state: Any = rows.state(journal(str(key[0])))
        return (key[0], state.description, len(state.legs), bool(state.reversals))
