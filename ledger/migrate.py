"""
The migration applier of both engines: plain SQL files, checksummed, each applied once.

Files are ``sql/<engine>/NNNN_slug.<phase>.sql``. ``pre`` files run before processes of the new
release start, and the running ones keep working beside them; ``post`` files run when no process of
the old release is left. The engines' own parts (connection, lock, transaction) stand behind
``MigrationConnection`` in ``ledger/stores``.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from importlib.resources import files
from typing import Final, Literal, Protocol

import msgspec

from .errors import SchemaMismatch

Engine = Literal["postgres", "sqlite"]
Phase = Literal["pre", "post"]

_NAME: Final = re.compile(r"(?P<number>[0-9]{4})_(?P<slug>[a-z0-9_]+)\.(?P<phase>pre|post)\.sql")


class Migration(msgspec.Struct, frozen=True):
    """One SQL file. ``checksum`` is the SHA-256 of its bytes, in hex."""

    number: int
    slug: str
    phase: str
    checksum: str
    script: str


class AppliedMigration(msgspec.Struct, frozen=True):
    """
    One row of the database's table ``schema_migrations``.

    On SQLite, where there is no schema of its own, it is called ``orderledger_schema_migrations``.
    """

    number: int
    slug: str
    checksum: str


class MigrationConnection(Protocol):
    """What the applier needs of a database."""

    def locked(self) -> AbstractContextManager[None]:
        """
        Hold a lock that every process migrating this database takes.

        On entering, also create the table ``schema_migrations`` where it is missing.
        """
        ...

    def applied(self) -> Sequence[AppliedMigration]:
        """Return the applied migrations; none where ``schema_migrations`` does not exist."""
        ...

    def run(self, migration: Migration) -> None:
        """Run the script and insert its row into ``schema_migrations``, in one transaction."""
        ...


def available(engine: Engine) -> Sequence[Migration]:
    """Return the migrations that this release ships for an engine, in order."""
    found: dict[int, Migration] = {}
    for entry in files("orderledger.ledger").joinpath("sql", engine).iterdir():
        match = _NAME.fullmatch(entry.name)
        if match is None:
            if entry.name[:1].isdigit():
                raise ValueError(f"{entry.name} is not named NNNN_slug.pre.sql or .post.sql")
            continue
        script = entry.read_bytes()
        number = int(match["number"])
        if number in found:
            raise ValueError(f"two {engine} migrations have the number {number}")
        found[number] = Migration(
            number, match["slug"], match["phase"], sha256(script).hexdigest(), script.decode()
        )
    return [found[number] for number in sorted(found)]


def apply(
    connection: MigrationConnection, engine: Engine, phase: Phase | None = None
) -> Sequence[Migration]:
    """
    Apply the missing migrations of a phase (None: both, in order) and return them.

    Idempotent and safe when several processes start at once: one applies, the others wait for its
    lock and find nothing to do. Each file is one transaction. Raises SchemaMismatch when the
    database is newer than this release or an applied file has changed since.
    """
    known = available(engine)
    done: list[Migration] = []
    # Without this look the lock would serialise every start of every process.
    if not _missing(known, _verified(known, connection.applied()), phase):
        return done
    with connection.locked():
        for migration in _missing(known, _verified(known, connection.applied()), phase):
            connection.run(migration)
            done.append(migration)
    return done


def require_current(connection: MigrationConnection, engine: Engine) -> None:
    """
    Raise SchemaMismatch unless every ``pre`` migration of this release is applied, and no other.

    ``post`` migrations may be outstanding: they clean up after the last process of an old release.
    """
    known = available(engine)
    missing = _missing(known, _verified(known, connection.applied()), "pre")
    if missing:
        names = ", ".join(f"{one.number:04}_{one.slug}" for one in missing)
        raise SchemaMismatch(
            f"the {engine} schema lacks the migrations {names}; run `orderledger migrate`",
            missing=[one.number for one in missing],
        )


def _verified(
    known: Sequence[Migration], applied: Sequence[AppliedMigration]
) -> Mapping[int, AppliedMigration]:
    by_number = {migration.number: migration for migration in known}
    for row in applied:
        migration = by_number.get(row.number)
        if migration is None:
            raise SchemaMismatch(
                f"the database has the migration {row.number:04}_{row.slug}, which this release "
                "does not know: it is of a newer release; upgrade this process",
                number=row.number,
                slug=row.slug,
            )
        if migration.checksum != row.checksum:
            raise SchemaMismatch(
                f"the migration {row.number:04}_{row.slug} is not the file that was applied "
                f"(SHA-256 {migration.checksum}, applied was {row.checksum}); "
                "restore the file: an applied migration never changes",
                number=row.number,
                slug=row.slug,
            )
    return {row.number: row for row in applied}


def _missing(
    known: Sequence[Migration], applied: Mapping[int, AppliedMigration], phase: Phase | None
) -> Sequence[Migration]:
    return [
        migration
        for migration in known
        if migration.number not in applied and (phase is None or migration.phase == phase)
    ]
