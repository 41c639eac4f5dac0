"""Faults in the events, planted with the guards out of the way; test_tampering has all kinds."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from orderledger.ledger.journal import Layer
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.models import models_of
from orderledger.projections.balances import Postings
from orderledger.projections.models import fingerprint
from orderledger.projections.read_models import ReadModels
from orderledger.replay.findings import Check, Finding
from orderledger.replay.verify import verify
from orderledger.replay.verify_journal import verify_journal
from tests.seeding import START, Seeder, balances_of, memory_store, sqlite_store, transfer

EVENTS = 600
"""More than two tiles of 256."""
_TABLES = re.compile(r"\b(events|log|tiles|books|generations)\b")
"""The scripts below name our tables without their prefix."""
_POSTINGS = f"orderledger_rm_1_1_{fingerprint(Postings())}_postings"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with a book of 600 events in 200 streams, its journal lines up to date."""
    path = tmp_path_factory.mktemp("sound") / "book.db"
    store = sqlite_store(path)
    _fill(store)
    assert balances_of(store).catch_up() == EVENTS
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def _fill(store: EventStore) -> None:
    seeder = Seeder(store)
    facts = [
        transfer(
            number + 1,
            START + timedelta(minutes=number),
            entry_id=f"e{number % 200}",
            layer=Layer.HELD if number % 7 == 0 else Layer.POSTED,
        )
        for number in range(EVENTS)
    ]
    for start in range(0, EVENTS, 100):
        seeder.append_many(facts[start : start + 100])


def _findings(path: Path) -> list[Finding]:
    store = sqlite_store(path)
    try:
        return [*verify(store), *verify_journal(_models(store))]
    finally:
        store.close()


def _models(store: EventStore) -> ReadModels:
    return ReadModels(store, models_of(store), (Postings(),))


@pytest.fixture
def damaged(sound: Path, tmp_path: Path) -> Callable[[str], list[Finding]]:
    """Give a function that changes a copy of the book behind the guards and verifies it."""

    def damage(script: str) -> list[Finding]:
        path = tmp_path / "damaged.db"
        shutil.copy(sound, path)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            for (name,) in names.fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            named = _TABLES.sub(r"orderledger_\1", script).replace("lines_table", _POSTINGS)
            connection.executescript(named)
        connection.close()
        return _findings(path)

    return damage


def test_a_sound_book_has_no_findings(sound: Path) -> None:
    """Catches false alarms, which teach people to ignore the true ones."""
    assert _findings(sound) == []


def test_a_sound_book_in_memory_has_no_findings() -> None:
    """Catches a check that holds on one engine only."""
    store = memory_store()
    _fill(store)
    models = _models(store)
    assert list(verify_journal(models)) == []
    models.catch_up("balances", batch_events=7)
    assert [*verify(store), *verify_journal(models)] == []


def test_verification_reports_progress(sound: Path) -> None:
    """Catches a verification of an hour that shows nothing until it ends."""
    seen: list[tuple[str, int, int]] = []
    store = sqlite_store(sound)
    list(verify(store, lambda *one: seen.append(one)))
    store.close()
    assert ("log", EVENTS, EVENTS) in seen
    assert ("streams", EVENTS, EVENTS) in seen


EVENT_300 = "(SELECT row_id FROM log WHERE position = 300)"
FAULTS = {
    "payload replaced": (
        (
            f"UPDATE events SET payload = replace(payload, 'seeded', 'forged') "
            f"WHERE row_id = {EVENT_300}"
        ),
        {Check.LEAF_HASH_WRONG},
    ),
    "payload cut off": (
        f"UPDATE events SET payload = '{{\"entry_id\"' WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG, Check.EVENT_UNDECODABLE, Check.EVENT_NOT_FOLDED},
    ),
    "field of another type": (
        f"UPDATE events SET payload = replace(payload, '\"e99\"', '99') WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG, Check.EVENT_UNDECODABLE, Check.EVENT_NOT_FOLDED},
    ),
    "unknown topic": (
        f"UPDATE events SET topic = 'journal.invented.v1' WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG, Check.EVENT_UNDECODABLE, Check.EVENT_NOT_FOLDED},
    ),
    "topic of another kind of stream": (
        (
            "UPDATE events SET topic = 'order.noted.v1', "
            f'payload = \'{{"note_ref":"n","by":"b"}}\' WHERE row_id = {EVENT_300}'
        ),
        {Check.LEAF_HASH_WRONG, Check.EVENT_NOT_FOLDED},
    ),
    "context cut off": (
        f"UPDATE events SET context = '{{' WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG, Check.CONTEXT_UNDECODABLE},
    ),
    "actor changed": (
        (
            f"UPDATE events SET context = replace(context, '\"7\"', '\"8\"') "
            f"WHERE row_id = {EVENT_300}"
        ),
        {Check.LEAF_HASH_WRONG},
    ),
    "occurred_at moved": (
        (
            "UPDATE events SET occurred_at = '2025-01-01T00:00:00.000000+00:00' "
            f"WHERE row_id = {EVENT_300}"
        ),
        {Check.LEAF_HASH_WRONG, Check.JOURNAL_LINES_WRONG},
    ),
    "appended_at moved": (
        (
            "UPDATE events SET appended_at = '2025-01-01T00:00:00.000000+00:00' "
            f"WHERE row_id = {EVENT_300}"
        ),
        {Check.LEAF_HASH_WRONG},
    ),
    "event id changed": (
        f"UPDATE events SET event_id = zeroblob(16) WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG},
    ),
    "command id changed": (
        f"UPDATE events SET command_id = zeroblob(16) WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG},
    ),
    "event id unreadable": (
        f"UPDATE events SET event_id = x'00' WHERE row_id = {EVENT_300}",
        {Check.ROW_UNREADABLE, Check.LOG_EVENT_MISMATCH},
    ),
    "occurred_at unreadable": (
        "UPDATE events SET occurred_at = 'yesterday' WHERE row_id = " + EVENT_300,
        {Check.ROW_UNREADABLE, Check.LOG_EVENT_MISMATCH},
    ),
    "one leg changed": (
        (
            "UPDATE events SET postings = replace(postings, ' 300', ' 301') "
            f"WHERE row_id = {EVENT_300}"
        ),
        {Check.LEAF_HASH_WRONG, Check.ENTRY_UNBALANCED, Check.TOTALS_NOT_ZERO},
    ),
    "both legs changed": (
        f"UPDATE events SET postings = replace(postings, '300', '301') WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG, Check.JOURNAL_LINES_WRONG},
    ),
    "postings are not postings": (
        f"UPDATE events SET postings = 'all my money' WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG, Check.ENTRY_UNBALANCED},
    ),
    "postings removed": (
        f"UPDATE events SET postings = '' WHERE row_id = {EVENT_300}",
        {Check.LEAF_HASH_WRONG, Check.JOURNAL_LINES_WRONG},
    ),
    "event deleted": (
        f"DELETE FROM events WHERE row_id = {EVENT_300}",
        {Check.POSITION_GAP, Check.VERSION_GAP},
    ),
    "event and its place deleted": (
        f"DELETE FROM events WHERE row_id = {EVENT_300}; DELETE FROM log WHERE position = 300",
        {Check.POSITION_GAP, Check.VERSION_GAP, Check.TILE_WRONG},
    ),
    "place deleted": (
        "DELETE FROM log WHERE position = 599",
        {Check.POSITION_GAP, Check.EVENT_OUTSIDE_LOG},
    ),
    "last places deleted": (
        "DELETE FROM log WHERE position > 590",
        {Check.EVENT_OUTSIDE_LOG, Check.CHECKPOINT_DIVERGED},
    ),
    "end of the log cut off below a tile": (
        (
            "DELETE FROM events WHERE row_id IN (SELECT row_id FROM log WHERE position > 500);"
            "DELETE FROM log WHERE position > 500; DELETE FROM lines_table WHERE position > 500;"
            "UPDATE generations SET position = 0"
        ),
        {Check.TILE_COUNT_WRONG},
    ),
    "two events swapped": (
        (
            "UPDATE log SET position = -1 WHERE position = 300;"
            "UPDATE log SET position = 300 WHERE position = 301;"
            "UPDATE log SET position = 301 WHERE position = -1"
        ),
        {Check.LEAF_HASH_WRONG, Check.RECORDED_NOT_INCREASING, Check.TILE_WRONG},
    ),
    "two versions of a stream swapped": (
        (
            "UPDATE events SET version = 9 WHERE stream = 'journal-e99' AND version = 2;"
            "UPDATE events SET version = 2 WHERE stream = 'journal-e99' AND version = 3;"
            "UPDATE events SET version = 3 WHERE stream = 'journal-e99' AND version = 9"
        ),
        {Check.LEAF_HASH_WRONG, Check.ORDER_DISAGREES},
    ),
    "recorded_at moved back": (
        "UPDATE log SET recorded_at = '2025-01-01T00:00:00.000000+00:00' WHERE position = 300",
        {Check.LEAF_HASH_WRONG, Check.RECORDED_NOT_INCREASING},
    ),
    "recorded_at the same twice": (
        (
            "UPDATE log SET recorded_at = "
            "(SELECT recorded_at FROM log WHERE position = 299) WHERE position = 300"
        ),
        {Check.LEAF_HASH_WRONG, Check.RECORDED_NOT_INCREASING},
    ),
    "leaf hash changed": (
        "UPDATE log SET leaf_hash = zeroblob(32) WHERE position = 300",
        {Check.LEAF_HASH_WRONG, Check.TILE_WRONG},
    ),
    "last leaf hash changed": (
        "UPDATE log SET leaf_hash = zeroblob(32) WHERE position = 600",
        {Check.LEAF_HASH_WRONG, Check.CHECKPOINT_DIVERGED},
    ),
    "tile changed": (
        "UPDATE tiles SET root = zeroblob(32) WHERE tile_index = 1",
        {Check.TILE_WRONG},
    ),
    "tile deleted": ("DELETE FROM tiles WHERE tile_index = 1", {Check.TILE_WRONG}),
    "tile invented": (
        "INSERT INTO tiles SELECT book_id, 1, 2, zeroblob(32) FROM books",
        {Check.TILE_COUNT_WRONG},
    ),
    "tile of a level too high": (
        "INSERT INTO tiles SELECT book_id, 2, 0, zeroblob(32) FROM books",
        {Check.TILE_COUNT_WRONG},
    ),
    "version skipped": (
        "UPDATE events SET version = 9 WHERE stream = 'journal-e5' AND version = 3",
        {Check.VERSION_GAP, Check.LEAF_HASH_WRONG},
    ),
    "moved to another stream": (
        f"UPDATE events SET stream = 'journal-other' WHERE row_id = {EVENT_300}",
        {Check.VERSION_GAP, Check.LEAF_HASH_WRONG},
    ),
    "moved to a stream of no known kind": (
        f"UPDATE events SET stream = 'nonsense-1', version = 1 WHERE row_id = {EVENT_300}",
        {Check.EVENT_NOT_FOLDED, Check.LEAF_HASH_WRONG},
    ),
    "event inserted outside the log": (
        (
            "INSERT INTO events SELECT 9999, book_id, zeroblob(16), stream, 4, topic, occurred_at, "
            "appended_at, command_id, context, postings, payload FROM events "
            "WHERE stream = 'journal-e5' AND version = 3"
        ),
        {Check.EVENT_OUTSIDE_LOG},
    ),
    "journal line changed": (
        "UPDATE lines_table SET minor_low = minor_low + 1 WHERE position = 300 AND line_no = 1",
        {Check.JOURNAL_LINES_WRONG},
    ),
    "journal line deleted": (
        "DELETE FROM lines_table WHERE position = 300 AND line_no = 2",
        {Check.JOURNAL_LINES_WRONG},
    ),
    "journal line on another account": (
        "UPDATE lines_table SET account = 'assets:bank:m' WHERE position = 300 AND line_no = 1",
        {Check.JOURNAL_LINES_WRONG},
    ),
    "journal line in another layer": (
        "UPDATE lines_table SET layer = 'held' WHERE position = 300",
        {Check.JOURNAL_LINES_WRONG},
    ),
    "journal line invented": (
        (
            "INSERT INTO lines_table SELECT 9999, line_no, account, currency, layer, "
            "minor_high, minor_mid, minor_low, effective_at, recorded_at FROM lines_table "
            "WHERE position = 300"
        ),
        {Check.JOURNAL_LINES_WRONG},
    ),
    "checkpoint beyond the head": (
        "UPDATE generations SET position = 601",
        {Check.CHECKPOINT_DIVERGED},
    ),
    "checkpoint of another history": (
        "UPDATE generations SET leaf_hash = zeroblob(32)",
        {Check.CHECKPOINT_DIVERGED},
    ),
    "checkpoint moved back": (
        (
            "UPDATE generations SET position = 599, "
            "leaf_hash = (SELECT leaf_hash FROM log WHERE position = 599)"
        ),
        {Check.JOURNAL_LINES_WRONG},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, damaged: Callable[[str], list[Finding]]) -> None:
    """Catches a check that never fires, or that names another fault than the one there is."""
    script, expected = FAULTS[fault]
    found = damaged(script)
    assert {finding.code for finding in found} >= expected, found
    assert len(found) < 20


def test_a_finding_names_the_place(damaged: Callable[[str], list[Finding]]) -> None:
    """Catches a finding that does not say where to look."""
    script, _ = FAULTS["payload replaced"]
    (finding,) = damaged(script)
    assert (finding.position, finding.stream) == (300, "journal-e99")
