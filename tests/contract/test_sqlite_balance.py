"""The balance guard of 0021: its quick look at two legs lets pass what the sums of 0001 do."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderledger.ledger.migrate import available
from tests.contract.test_guards import BALANCED_ENTRIES, UNBALANCED

INSERT = (
    "INSERT INTO orderledger_events VALUES (1, 1, zeroblob(16), 's', 1, 't', ?1, ?1, zeroblob(16), "
    "'', ?2, '')"
)
INSTANT = "2026-03-01T12:00:00.000000+00:00"
AMOUNTS = [
    *["1", "-1", "0", "-0", "01", "-01", "+1", "--1", "1-1", "-", "", "1.0", "1A", "٣", "²"],
    *["5", "-5", "12325", "-12325", "9" * 29, "-" + "9" * 29],
    *["9" * 30, "-" + "9" * 30, "1" + "0" * 30, "-1" + "0" * 30],
]
ACCOUNTS = [
    *["assets:a", "liabilities:b-c", "income:-1", "expenses:é", "assets:a\tb", "assets:\x00"],
    *["other:x", "assets", "-assets:a", "assets:*", "assets:[a]", 'assets:"', "assets:\\"],
]
CURRENCIES = ["GBP", "GB-P", "-GBP", "G*P", "[A-Z]BP", "gbp", "PTS5", "", "?BP", "É"]
GAPS = ["\n", "\n\n", "\r\n", " ", ""]
BREAKS = "".join(sorted(set('posted held\n -0159:GBP"\\*[]\t\r\x00\x7f')))


@pytest.fixture(scope="module")
def guards() -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Give a database with the guard of 0001, and one of this release."""
    migrations = available("sqlite")
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as first,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as current,
    ):
        first.executescript(migrations[0].script)
        for migration in migrations:
            current.executescript(migration.script)
        yield first, current


def _accepts(connection: sqlite3.Connection, postings: str) -> bool:
    connection.execute("BEGIN")
    try:
        connection.execute(INSERT, (INSTANT, postings))
    except (sqlite3.IntegrityError, sqlite3.OperationalError):
        return False
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return True


@st.composite
def _entries(draw: st.DrawFn) -> str:
    """Two legs that mostly balance, of which something may be odd, with a character changed."""
    layer, currency, amount = "posted", "GBP", draw(st.sampled_from(["1", "7", "12325"]))
    odd = draw(
        st.sets(st.sampled_from(["layer", "account", "currency", "amount", "gap"]), max_size=2)
    )
    legs: list[str] = []
    for minor in draw(st.sampled_from([(amount, f"-{amount}"), (f"-{amount}", amount)])):
        layer = draw(st.sampled_from(["posted", "held", "other"])) if "layer" in odd else layer
        account = draw(st.sampled_from(ACCOUNTS)) if "account" in odd else "assets:a"
        currency = draw(st.sampled_from(CURRENCIES)) if "currency" in odd else currency
        shown = draw(st.sampled_from(AMOUNTS)) if "amount" in odd else minor
        legs.append(f"{layer} {account} {currency} {shown}")
    text = (draw(st.sampled_from(GAPS)) if "gap" in odd else "\n").join(legs)
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(BREAKS)) + text[at + draw(st.integers(0, 1)) :]
    return text


@given(postings=_entries())
def test_the_quick_look_agrees_with_the_sums(
    guards: tuple[sqlite3.Connection, sqlite3.Connection], postings: str
) -> None:
    """Catches an entry that the look at two legs lets pass and the sums refuse, or the reverse."""
    first, current = guards
    assert _accepts(current, postings) == _accepts(first, postings)


def test_every_pair_agrees_with_the_sums(
    guards: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    """Catches two amounts, currencies or accounts that only look like each other's opposite."""
    first, current = guards
    signs = [("5", "-5"), ("-5", "5"), ("5", "5")]
    legs = [("assets:a", "GBP", "GBP", one, other) for one in AMOUNTS for other in AMOUNTS]
    for one, other in signs:
        legs += [
            ("assets:a", left, right, one, other) for left in CURRENCIES for right in CURRENCIES
        ]
        legs += [(account, "GBP", "GBP", one, other) for account in ACCOUNTS]
    pairs = [
        f"posted {account} {left} {one}\nposted assets:b {right} {other}"
        for account, left, right, one, other in legs
    ]
    texts = [*pairs, *UNBALANCED.values(), *BALANCED_ENTRIES.values()]
    assert [text for text in texts if _accepts(current, text) != _accepts(first, text)] == []
    assert sum(_accepts(current, text) for text in texts) > 20


def test_two_opposite_legs_are_not_summed(
    guards: tuple[sqlite3.Connection, sqlite3.Connection],
) -> None:
    """Catches a look that never accepts, which every other test would pass: it costs the most."""
    first, current = guards
    for layer in ("posted", "held"):
        for minor in ("1", "-12325", "9" * 30, "-" + "9" * 30):
            text = f"{layer} assets:a GBP {minor}\n{layer} income:b GBP {-int(minor)}"
            assert _steps(current, text) < _steps(first, text) * 3 / 4


def _steps(connection: sqlite3.Connection, postings: str) -> int:
    """Return how many steps SQLite's machine takes to insert an entry."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    connection.set_progress_handler(count, 1)
    assert _accepts(connection, postings)
    connection.set_progress_handler(None, 1)
    return taken
