"""A corpus of tampering: every kind is found, under the right code, at the right place."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from zlib import crc32

import pytest

from orderledger.ledger.checkpoints import SignedCheckpoint
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.replay.findings import AREA_OF, Check
from tests.postgres_server import Databases
from tests.replay.forger import Database, Forger, PostgresDatabase, SqliteDatabase
from tests.replay.tampered_book import fill, held, verified
from tests.replay.tampering import COMMANDS, EVENTS, LOG, Expected, Kind
from tests.replay.tampering_around import AROUND, DOMAIN, MODELS
from tests.replay.tampering_snapshots import SNAPSHOTS
from tests.replay.tampering_work import WORK
from tests.replay.test_verify_periods import FAULTS as PERIOD_FAULTS

KINDS = (*EVENTS, *LOG, *COMMANDS, *DOMAIN, *AROUND, *MODELS, *WORK, *SNAPSHOTS)
KINDS_MIN = 60


@pytest.fixture(scope="module")
def sqlite_book(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SignedCheckpoint]:
    """Give a file with the book, and what was signed of it."""
    path = tmp_path_factory.mktemp("sound") / "book.db"
    store = SqliteDatabase(path).open()
    fill(store)
    kept = held(store)
    store.close()
    SqliteDatabase(path).run("PRAGMA wal_checkpoint(TRUNCATE)")
    return path, kept


@pytest.fixture(scope="module")
def postgres_book(pg_server: Databases) -> tuple[str, SignedCheckpoint]:
    """Give the name of a template with the book, and what was signed of it."""
    kept: list[SignedCheckpoint] = []

    def prepare(url: str) -> None:
        migrate(url)
        store = PostgresDatabase(url).open()
        fill(store)
        kept.append(held(store))
        store.close()

    return pg_server.template("tampered", prepare), kept[0]


@pytest.fixture
def book(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Database, SignedCheckpoint]]:
    """Give a copy of the book to tamper with, on an engine."""
    if engine == "sqlite":
        path, kept = request.getfixturevalue("sqlite_book")
        yield SqliteDatabase(Path(shutil.copy(path, tmp_path / "book.db"))), kept
        return
    template, kept = request.getfixturevalue("postgres_book")
    with request.getfixturevalue("pg_server").fresh_database(template) as url:
        yield PostgresDatabase(url), kept


def _cases() -> Iterator[object]:
    """Yield every kind on SQLite, and on PostgreSQL, where most take part in the long run only."""
    for kind in KINDS:
        name = kind.name.replace(" ", "-")
        yield pytest.param("sqlite", kind, id=f"sqlite-{name}")
        marks = [pytest.mark.pg]
        if crc32(kind.name.encode()) % 4:
            # Each copies a database, which takes seconds where the machine is busy.
            marks.append(pytest.mark.long)
        yield pytest.param("postgres", kind, id=f"postgres-{name}", marks=marks)


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def test_the_book_is_sound(book: tuple[Database, SignedCheckpoint]) -> None:
    """Catches false alarms, which teach people to ignore the true ones."""
    database, kept = book
    store = database.open()
    try:
        assert verified(store, kept, is_deep=True) == []
    finally:
        store.close()


@pytest.mark.parametrize(("engine", "kind"), _cases())
def test_tampering_is_found(kind: Kind, book: tuple[Database, SignedCheckpoint]) -> None:
    """Catches a way to change a book that nobody would ever know of."""
    database, kept = book
    forger = Forger(database)
    with ExitStack() as guards:
        if not kind.is_of_guards:
            guards.enter_context(forger.past_the_guards())
        kind.forge(forger)
    forger.close()
    store = database.open()
    try:
        found = verified(store, kept, is_deep=kind.is_deep)
    finally:
        store.close()
    shown = {Expected(one.code, one.position, one.stream) for one in found}
    for wanted in kind.expected:
        assert any(
            one.code is wanted.code
            and wanted.position in (None, one.position)
            and wanted.stream in (None, one.stream)
            for one in shown
        ), f"{wanted} is not among {shown}"


def test_there_are_many_kinds_and_every_check_has_one() -> None:
    """Catches a check that nobody has ever seen fire, and a corpus that shrinks."""
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= KINDS_MIN
    provoked = {wanted.code for kind in KINDS for wanted in kind.expected}
    of_periods = {code for _, codes, _ in PERIOD_FAULTS.values() for code in codes}
    # Of the checkpoint, and of a book that is only supposed; neither is of a book.
    by_others = {Check.CHECKPOINT_UNSIGNED, Check.EVENT_NOT_PROJECTED}
    assert provoked | of_periods | by_others == set(Check)
    assert set(AREA_OF) == set(Check)
