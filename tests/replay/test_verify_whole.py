"""A verification as a whole: no false alarm on books of every sort, and one that is interrupted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from orderledger import Book
from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.stores.audit_postgres import GUARDS_FILE
from orderledger.replay.findings import Area, Checked, Finding
from orderledger.replay.verify import Verification
from orderledger.verifying import Scope
from tests.projections.books import day, fill
from tests.projections.market_book import MarketBook
from tests.replay.forger import Forger, SqliteDatabase
from tests.seeding import START, Seeder, sqlite_store, transfer
from tools.generate_guards import TARGET, fresh_guards, rendered


def _a_day(path: Path) -> Book:
    book = Book(sqlite_store(path))
    book.execute_many(day())
    return book


def _a_market(path: Path) -> Book:
    return MarketBook(sqlite_store(path)).book


def _entries(path: Path) -> Book:
    store = sqlite_store(path)
    fill(store)
    return Book(store)


@pytest.mark.parametrize("made", [_a_day, _a_market, _entries])
def test_a_sound_book_has_no_findings(made: Callable[[Path], Book], tmp_path: Path) -> None:
    """Catches a false alarm, with read models at the head and behind it."""
    book = made(tmp_path / "book.db")
    assert list(book.read.verify()) == []
    for name in book.read.models.names:
        book.read.models.catch_up(name)
    assert list(book.read.verify(scope=Scope(is_deep=True))) == []
    book.close()


def test_each_check_has_a_line(tmp_path: Path) -> None:
    """Catches a check that is made and not told of, or told of twice."""
    book = _entries(tmp_path / "book.db")
    made = list(book.read.verification(scope=Scope(is_deep=True)))
    areas = [one.area for one in made if isinstance(one, Checked)]
    assert sorted(areas) == sorted(set(Area) - {Area.HELD})
    book.close()


def _long(path: Path) -> None:
    store = sqlite_store(path)
    facts = [transfer(1, START, entry_id=f"e{number}") for number in range(25_000)]
    Seeder(store).append_many(facts)
    store.close()


def _interrupted(verification: Verification, after: str) -> list[Finding]:
    """Take what is found until a pass has gone some way, and stop there."""
    found: list[Finding] = []
    with pytest.raises(InterruptedError, match=after):
        found.extend(one for one in verification if isinstance(one, Finding))
    return found


def test_a_verification_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Catches one that begins anew, forgets what it found, or sums up only a part."""
    path, state = tmp_path / "book.db", tmp_path / "state"
    _long(path)
    forger = Forger(SqliteDatabase(path))
    with forger.past_the_guards():
        forger.replace(5, "payload", "seeded", "forged")
    forger.close()
    seen: list[int] = []

    def stop(name: str, done: int, whole: int) -> None:
        if name == "log" and done == 22_000:
            raise InterruptedError(name)

    def watch(name: str, done: int, whole: int) -> None:
        if name == "log":
            seen.append(done)

    book = Book(sqlite_store(path))
    scope = Scope(resume=state)
    first = _interrupted(book.read.verification(stop, scope), "log")
    again = [one for one in book.read.verification(watch, scope) if isinstance(one, Finding)]
    assert seen[0] == 21_000, "it goes on behind the page that it had written down"
    assert first == again == list(book.read.verify())
    assert not state.exists()
    book.close()


def test_a_state_of_another_log_is_refused(tmp_path: Path) -> None:
    """Catches a verification that trusts what it saw of another history."""
    path, state = tmp_path / "book.db", tmp_path / "state"
    book = _entries(path)

    def stop(name: str, done: int, whole: int) -> None:
        if name == "streams":
            raise InterruptedError(name)

    scope = Scope(resume=state)
    _interrupted(book.read.verification(stop, scope), "streams")
    assert state.exists()
    book.close()
    forger = Forger(SqliteDatabase(path))
    with forger.past_the_guards():
        forger.replace(5, "payload", "entry", "other")
        forger.agree(5)
    forger.close()
    book = Book(sqlite_store(path))
    with pytest.raises(InvalidInput, match="are not those that"):
        list(book.read.verification(scope=scope))
    state.write_bytes(b"nothing of ours")
    with pytest.raises(InvalidInput, match="is no state of a verification"):
        list(book.read.verification(scope=scope))
    book.close()


def test_the_guards_written_down_are_those_of_the_migrations(pg_url: str) -> None:
    """Catches a migration whose guards nobody would miss: run `python -m tools.generate_guards`."""
    assert TARGET.name == GUARDS_FILE
    assert TARGET.read_text("utf-8") == rendered(fresh_guards(pg_url))
