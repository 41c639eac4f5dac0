"""The migration applier on PostgreSQL: once, in order, by one process, never a changed file."""

import multiprocessing

import psycopg
import pytest

from orderledger.ledger import merkle
from orderledger.ledger import migrate as applier
from orderledger.ledger.errors import SchemaMismatch
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import check, migrate
from tests.contract.batches import event, one

pytestmark = pytest.mark.pg


def _migrate_and_open(url: str) -> int:
    count = len(migrate(url))
    store = PostgresStore(url, "shared")
    store.close()
    return count


def test_eight_processes_start_at_once(pg_url: str) -> None:
    """Catches a migration that runs twice, or a process that starts on half a schema."""
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        counts = pool.map(_migrate_and_open, [pg_url] * 8, chunksize=1)
    assert sorted(counts) == [0] * 7 + [len(applier.available("postgres"))]
    with psycopg.connect(pg_url) as connection:
        assert connection.execute("SELECT name FROM orderledger.books").fetchall() == [("shared",)]
    check(pg_url)
    assert migrate(pg_url) == []


def test_phases_are_applied_apart(pg_url: str) -> None:
    """Catches a post migration that runs while the old release still does."""
    applied = migrate(pg_url, "pre")
    assert {migration.phase for migration in applied} == {"pre"}
    check(pg_url)
    assert all(migration.phase == "post" for migration in migrate(pg_url))


def test_a_changed_file_is_refused(pg_url: str) -> None:
    """Catches an edited migration: two databases of one version with different tables."""
    migrate(pg_url)
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "UPDATE orderledger.schema_migrations SET checksum = '0' WHERE number = 2"
        )
    for call in (migrate, check, PostgresStore):
        with pytest.raises(SchemaMismatch, match="0002_guards is not the file"):
            call(pg_url)


def test_a_newer_database_is_refused(pg_url: str) -> None:
    """Catches old code that writes to tables it does not know."""
    migrate(pg_url)
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "INSERT INTO orderledger.schema_migrations (number, slug, checksum)"
            " VALUES (9000, 'from_the_future', '0')"
        )
    for call in (migrate, check, PostgresStore):
        with pytest.raises(SchemaMismatch, match="newer release"):
            call(pg_url)


def test_a_failing_file_leaves_nothing(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a migration that stops half-way and cannot be run again."""
    known = applier.available("postgres")
    broken = applier.Migration(
        9999, "broken", "pre", "0", "CREATE TABLE orderledger.half (); SELECT 1 / 0;"
    )
    with monkeypatch.context() as patched:
        patched.setattr(applier, "available", lambda _: [*known, broken])
        with pytest.raises(Exception, match="division by zero"):
            migrate(pg_url)
    with psycopg.connect(pg_url) as connection:
        assert connection.execute("SELECT to_regclass('orderledger.half')").fetchone() == (None,)
    assert migrate(pg_url) == []
    store = PostgresStore(pg_url)
    assert store.append(one("k", event("s/1", 1))).first_position == 1
    store.close()


def test_a_book_goes_on_under_new_functions(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a migration after which a running process or an existing book cannot append."""
    known = applier.available("postgres")
    with monkeypatch.context() as patched:
        before = [migration for migration in known if migration.number < 21]
        patched.setattr(applier, "available", lambda _: before)
        migrate(pg_url)
        running = PostgresStore(pg_url)
    events = [event("s/1", version) for version in range(1, 251)]
    assert running.append(one("many", *events)).first_position == 1
    with psycopg.connect(pg_url) as holder:
        holder.execute("SELECT 1 FROM orderledger.heads FOR NO KEY UPDATE")
        assert running.append(one("waits", event("s/2", 1))).first_position is None
    assert [migration.number for migration in migrate(pg_url)] == [
        migration.number for migration in known if migration.number >= 21
    ]
    opened = PostgresStore(pg_url)
    # Both the process that was running and a new one, up to and over the end of a tile.
    for number, store in enumerate((running, opened) * 3):
        appended = store.append(one(f"after {number}", event("s/2", number + 2)))
        assert appended.first_position == 252 + number
    assert (running.sequence(), opened.pending()) == (0, 0)
    assert opened.tiles(1) == [merkle.subtree_root(opened.leaf_hashes(0, 256))]
    running.close()
    opened.close()


def test_file_names_are_checked() -> None:
    """Catches a file that is never applied because its name has a typing error."""
    for engine in ("postgres", "sqlite"):
        numbers = [migration.number for migration in applier.available(engine)]
        assert numbers == sorted(set(numbers))
        assert numbers
