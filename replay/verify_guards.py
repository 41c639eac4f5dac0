"""
Verification of what stands around the events: guards, unique ids, books, constrained accounts.
"""

from collections.abc import Iterator
from typing import Final

from orderledger.ledger.audit_ports import Audit
from orderledger.ledger.ports import EventStore
from orderledger.ledger.streams import id_of

from .findings import Check, Finding, error

_LOOKS: Final = 5
_PAGE: Final = 1_000
_ALWAYS_NAMED: Final = ("trigger:", "rule:")
"""Kinds of which one that no migration made is a finding: it acts on our rows."""


def verify_guards(audit: Audit) -> Iterator[Finding]:
    """Yield the guards that are missing, that are another thing, and triggers that are not ours."""
    guards = audit.guards()
    for name, definition in guards.expected.items():
        found = guards.present.get(name)
        if found is None:
            yield error(
                Check.GUARD_MISSING,
                f"the database has no {_said(name)}, which the migrations made: what it refused "
                "may have happened since",
            )
        elif found != definition:
            yield error(
                Check.GUARD_ALTERED,
                f"the {_said(name)} is not as the migrations made it: what it refused may have "
                "happened since",
            )
    for name in guards.present.keys() - guards.expected.keys():
        if name.startswith(_ALWAYS_NAMED):
            yield error(
                Check.GUARD_ALTERED,
                f"the {_said(name)} was made by no migration, and acts on the ledger's own rows",
            )


def _said(name: str) -> str:
    return name.replace(":", " ", 1)


def verify_unique(audit: Audit) -> Iterator[Finding]:
    """Yield ids that stand twice where the database has them once."""
    for one in audit.duplicates():
        yield error(
            Check.DUPLICATE_ID,
            f"{one.column} {one.value} stands {one.count} times in {one.table}",
        )


def verify_books(audit: Audit) -> Iterator[Finding]:
    """Yield the tables that have rows of a book which does not exist."""
    for one in audit.strays():
        yield error(
            Check.ROWS_OF_NO_BOOK,
            f"table {one.table} has rows of book {one.book_id}, which the database does not have",
        )


def verify_constraints(store: EventStore) -> Iterator[Finding]:
    """
    Yield where the accounts that appends are held to are not those that events have constrained.

    Looks again where another process constrains one meanwhile.
    """
    for _ in range(_LOOKS):
        before = store.constraints()
        said = frozenset(_accounts(store))
        if store.constraints() == before:
            break
    else:
        return
    for account in sorted(said - before.accounts):
        yield error(
            Check.CONSTRAINTS_WRONG,
            f"account {account} was constrained by events, and appends are not held to it: its row "
            "was deleted past the engine",
            stream=f"account-{account}",
        )
    for account in sorted(before.accounts - said):
        yield error(
            Check.CONSTRAINTS_WRONG,
            f"appends are held to constraints of account {account}, which no event has: its row "
            "was written past the engine",
        )
    if before.accounts and not before.generation:
        yield error(
            Check.CONSTRAINTS_WRONG,
            f"the generation of the constraints is 0, with {len(before.accounts)} accounts "
            "constrained: it was changed past the engine",
        )


def _accounts(store: EventStore) -> Iterator[str]:
    after = ""
    while True:
        names = store.streams("account-", after=after, limit=_PAGE)
        yield from [id_of(name) for name in names]
        if len(names) < _PAGE:
            return
        after = names[-1]
