"""
Write down what the guards of a freshly migrated PostgreSQL schema are: ``guards.json``.

Run after every change of a migration. A test makes a schema anew and compares.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from orderledger.ledger.stores.audit_postgres import GUARDS_FILE, PostgresAudit
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from tests.postgres_server import open_databases

TARGET: Final = Path(__file__).parents[1] / "ledger" / "sql" / "postgres" / GUARDS_FILE


def fresh_guards(url: str) -> Mapping[str, str]:
    """Return the guards of an empty database once every migration was applied to it."""
    migrate(url)
    store = PostgresStore(url)
    try:
        return PostgresAudit(store.connections, store.book_id).present()
    finally:
        store.close()


def rendered(guards: Mapping[str, str]) -> str:
    """Return the text of the file."""
    return (
        msgspec.json.format(msgspec.json.encode(guards, order="sorted"), indent=2).decode() + "\n"
    )


def main() -> None:
    """Write the file."""
    databases = open_databases()
    try:
        with databases.fresh_database() as url:
            TARGET.write_text(rendered(fresh_guards(url)), "utf-8")
    finally:
        databases.close()
    print(f"wrote {TARGET.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
