"""The journal as plain-text accounting, on every engine, read by the programs themselves."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.instants import EARLIEST, LATEST
from orderledger.ledger.journal import Layer
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.reading import Reading
from orderledger.replay.beancount import Beancount
from orderledger.replay.hledger import Hledger
from orderledger.replay.plain_text import Dialect, Selection
from tests.contract.engines import Engine
from tests.export_book import CLOSED, HOSTILE, ODD_ACCOUNTS, fill
from tests.plain_text_readers import (
    Sums,
    assertions_of,
    bean_check,
    hledger_check,
    legs_of,
    without_zeros,
)
from tests.seeding import START, Seeder, memory_store, ticking, transfer

DIALECTS: list[Dialect] = [Beancount(), Hledger()]
MIDDLE = datetime(2026, 1, 5, 13, tzinfo=UTC)
SELECTIONS = {
    "all": Selection(),
    "from": Selection(start=MIDDLE),
    "to": Selection(effective_to=MIDDLE),
    "from-to": Selection(start=CLOSED, effective_to=MIDDLE),
    "nothing-before": Selection(start=EARLIEST),
    "nothing-after": Selection(start=datetime(2400, 1, 1, tzinfo=UTC)),
}


@pytest.fixture
def reading(engine: Engine) -> Iterator[Reading]:
    """Give the reading side of the filled book on each engine."""
    store = engine.open(clock=ticking())
    fill(store)
    opened = Reading(store)
    yield opened
    opened.close()


@cache
def in_memory() -> Reading:
    """Return the reading side of that book in memory; nobody writes to it."""
    store: EventStore = MemoryStore()
    fill(store)
    return Reading(store)


def text_of(reading: Reading, dialect: Dialect, selection: Selection = SELECTIONS["all"]) -> str:
    return "".join(reading.export(dialect, selection).chunks())


def complaint(text: str, dialect: Dialect, directory: Path) -> str:
    path = directory / "exported"
    path.write_text(text, "utf-8")
    return bean_check(path) if isinstance(dialect, Beancount) else hledger_check(path)


def trial_balance(reading: Reading, selection: Selection) -> Sums:
    found = reading.trial_balance(
        effective_to=selection.effective_to, recorded_to=selection.recorded_to
    )
    return {(row.account, row.currency): row.debit - row.credit for row in found.rows}


@pytest.mark.parametrize("dialect", DIALECTS, ids=["beancount", "hledger"])
def test_the_text_is_sound_and_is_the_trial_balance(
    reading: Reading, dialect: Dialect, tmp_path: Path
) -> None:
    """Catches an entry that is lost, doubled or changed on its way out, on any engine."""
    text = text_of(reading, dialect)
    assert complaint(text, dialect, tmp_path) == ""
    is_beancount = isinstance(dialect, Beancount)
    expected = trial_balance(reading, Selection())
    assert {currency for _, currency in expected} >= {"EUR", "USD", "JPY", "KWD", "PTSGOLD"}
    assert without_zeros(legs_of(text, is_beancount=is_beancount)) == expected
    assert without_zeros(assertions_of(text, is_beancount=is_beancount)) == expected


@pytest.mark.parametrize("dialect", DIALECTS, ids=["beancount", "hledger"])
@pytest.mark.parametrize("name", SELECTIONS)
def test_a_part_carries_over_what_was_before(dialect: Dialect, name: str, tmp_path: Path) -> None:
    """Catches a part that does not begin with the balances before it, or ends with others."""
    selection = SELECTIONS[name]
    text = text_of(in_memory(), dialect, selection)
    assert complaint(text, dialect, tmp_path) == ""
    is_beancount = isinstance(dialect, Beancount)
    expected = trial_balance(in_memory(), selection)
    assert without_zeros(legs_of(text, is_beancount=is_beancount)) == expected
    assert without_zeros(assertions_of(text, is_beancount=is_beancount)) == expected


@pytest.mark.parametrize("dialect", DIALECTS, ids=["beancount", "hledger"])
def test_one_minor_unit_more_is_found(dialect: Dialect, tmp_path: Path) -> None:
    """Catches an export whose checks forgive: tolerances of the reader, assertions of nothing."""
    text = text_of(in_memory(), dialect)
    account = "Assets:Bank:Kuwait" if isinstance(dialect, Beancount) else "assets:bank:kuwait"
    leg, changed = f"{account}  12.345 KWD", f"{account}  12.346 KWD"
    assert text.count(leg) == 1
    assert complaint(text.replace(leg, changed), dialect, tmp_path) != ""
    both = text.replace("-12.345 KWD\n", "-12.346 KWD\n", 1).replace(leg, changed)
    assert complaint(both, dialect, tmp_path) != ""


def test_the_same_recorded_to_gives_the_same_bytes(engine: Engine) -> None:
    """Catches a text that depends on what was recorded later, or on the day it is written."""
    store = engine.open(clock=ticking())
    seeder = Seeder(store)
    seeder.append(transfer(100, START, entry_id="e1"))
    seeder.append(transfer(-30, START - timedelta(days=9), entry_id="e2"))
    store.sequence()
    known = store.head().recorded_at
    reading = Reading(store)
    first = text_of(reading, Beancount())
    seeder.append(transfer(7, START - timedelta(days=20), entry_id="e3", account="assets:bank:new"))
    store.sequence()
    assert text_of(reading, Beancount()) != first
    assert text_of(reading, Beancount(), Selection(recorded_to=known)) == first
    assert text_of(reading, Beancount(), Selection(recorded_to=known)) == first
    reading.close()


def test_every_entry_says_where_it_comes_from() -> None:
    """Catches metadata that is missing, or a word of a user that becomes a directive."""
    text = text_of(in_memory(), Beancount())
    late = _block(text, 'entry_id: "late-1"')
    assert [line.split(":")[0].strip() for line in late[1:11]] == [
        *("position", "recorded_at", "effective_at", "stream", "version", "topic", "event_id"),
        *("entry_id", "reported_at", "adjusts"),
    ]
    assert late[0].startswith("2025-11-01 * ")
    assert late[9:] == [
        '  reported_at: "2025-10-09T00:00:00Z"',
        '  adjusts: "2025-10"',
        "  Assets:Bank:Main  4.80 EUR",
        "  Expenses:Gateway-fees  0.20 EUR",
        "  Assets:Psp:Adyen  -5.00 EUR",
    ]
    assert '  adjusts_entry: "wrong"' in _block(text, 'entry_id: "right"')
    reversal = _block(text, 'reversal_id: "r1"')
    assert '  entry_id: "wrong"' in reversal
    assert "  Assets:Bank:Main  -0.77 EUR" in reversal
    assert "; held: assets:bank:main 7.00 EUR" in text.splitlines()
    for dialect in DIALECTS:
        exported = text_of(in_memory(), dialect)
        assert exported.count("Assets:Stolen") == 2  # in the words of two entries
        assert HOSTILE.splitlines()[1] not in exported.splitlines()


def _block(text: str, fact: str) -> list[str]:
    """Return the lines of the one entry that has a fact."""
    (found,) = [block for block in text.split("\n\n") if f"  {fact}\n" in block]
    return found.splitlines()


def test_each_account_opens_once_with_its_own_name() -> None:
    """Catches two accounts that become one in beancount, or one whose name cannot be told."""
    lines = text_of(in_memory(), Beancount()).splitlines()
    names = {
        later.removeprefix('  account: "').rstrip('"'): line.split()[2]
        for line, later in pairwise(lines)
        if " open " in line and later.startswith("  account:")
    }
    used = {one.account for one in in_memory().accounts() if one.account != "assets:bank:kuwait"}
    held_only = used - set(names)
    assert set(ODD_ACCOUNTS) <= set(names)
    assert all(not in_memory().balance(one, layer=Layer.POSTED) for one in held_only)
    assert len(set(names.values())) == len(names)


def test_a_selection_that_ends_before_it_starts_is_refused() -> None:
    """Catches an empty text that looks like a book without entries."""
    with pytest.raises(InvalidInput):
        in_memory().export(Beancount(), Selection(start=MIDDLE, effective_to=CLOSED))


@pytest.mark.parametrize("dialect", DIALECTS, ids=["beancount", "hledger"])
def test_an_empty_book_and_the_ends_of_the_calendar(dialect: Dialect, tmp_path: Path) -> None:
    """Catches a text that its reader refuses because nothing, or something very old, is in it."""
    store = memory_store()
    reading = Reading(store)
    assert complaint(text_of(reading, dialect), dialect, tmp_path) == ""
    seeder = Seeder(store)
    seeder.append(transfer(5, EARLIEST, entry_id="old"))
    seeder.append(transfer(5, LATEST - timedelta(days=1), entry_id="young"))
    assert complaint(text_of(reading, dialect), dialect, tmp_path) == ""
    seeder.append(transfer(5, LATEST, entry_id="youngest"))
    if isinstance(dialect, Beancount):
        with pytest.raises(InvalidInput, match="effective-to"):
            text_of(reading, dialect)
    else:
        assert complaint(text_of(reading, dialect), dialect, tmp_path) == ""
    reading.close()
