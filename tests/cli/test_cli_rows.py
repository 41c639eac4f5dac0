"""Rows of read models on the command line, as committed, from both engines."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import orderledger
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.postgres import PostgresStore
from tests.cli.seeded_book import seed
from tests.cli.test_cli import GOLDEN, UPDATE, _transcript, run
from tests.seeding import sqlite_store, ticking

ROWS = {
    "rows-orders": "projection rows orders",
    "rows-order-lines": "projection rows order_lines",
    "rows-customers": "projection rows customers --where buyer_ref=buyer-1 --where currency=USD",
    "rows-customer-events": "projection rows customer_events --limit 2",
    "rows-after": "projection rows customer_events --after buyer-1 --after 6",
    "rows-operations": "projection rows payment_operations --where status=succeeded",
    "rows-booleans": "projection rows orders --where is_held=yes",
    "rows-instants": "projection rows orders --where placed_at=2026-01-05T13:00:00+01:00",
    "rows-amounts": "projection rows orders --where total=12325 --where ended_at=",
    "rows-none": "projection rows anomalies",
}


def _live(monkeypatch: pytest.MonkeyPatch, store: EventStore, url: str) -> None:
    """Fill a book, make its models, and name it by the environment."""
    seed(store)
    while store.sequence():
        pass
    store.close()
    monkeypatch.setenv("ORDERLEDGER_URL", url)
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    assert run("projection catch-up").exit_code == 0


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the seeded book as a file, its models caught up."""
    monkeypatch.chdir(tmp_path)
    _live(monkeypatch, sqlite_store(tmp_path / "book.db"), "sqlite:///book.db")
    return tmp_path / "book.db"


@pytest.fixture
def postgres_book(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the same book on PostgreSQL."""
    orderledger.migrate(pg_url)
    _live(monkeypatch, PostgresStore(pg_url, clock=ticking()), pg_url)


def _compare(name: str) -> None:
    path, found = GOLDEN / f"{name}.txt", _transcript(ROWS[name])
    if os.environ.get(UPDATE):
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8"), f"set {UPDATE}=1 to accept the new output"


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_as_committed(name: str) -> None:
    """Catches a column, an amount or a note that changed without anybody looking."""
    _compare(name)
    json.loads(run(f"{ROWS[name]} --json").stdout)


@pytest.mark.usefixtures("postgres_book")
def test_rows_are_the_same_on_postgresql() -> None:
    """Catches a value that one engine shows, compares or orders otherwise."""
    for name in ROWS:
        _compare(name)


def _rows(line: str) -> Any:
    return json.loads(run(f"projection rows {line} --json").stdout)


@pytest.mark.usefixtures("book")
def test_paging_by_what_the_note_says_gives_every_row_once() -> None:
    """Catches a note whose --after loses or repeats a row."""
    whole, seen, after = _rows("order_steps"), [], ""
    while True:
        done = run(f"projection rows order_steps --limit 3 {after} --json")
        seen += json.loads(done.stdout)
        assert len(seen) <= len(whole)
        if not done.stderr:
            break
        note, _, after = done.stderr.strip().partition(" with ")
        assert note == "more rows follow; go on"
    assert seen == whole
    assert len(whole) > 6


@pytest.mark.usefixtures("book")
def test_json_has_exact_amounts_and_stable_types() -> None:
    """Catches an amount as a float or with decimals, or a boolean as a word."""
    (order,) = _rows("orders")
    assert (order["total"], type(order["total"])) == (12_325, int)
    assert order["is_held"] is False
    assert order["ended_at"] is None
    assert order["placed_at"] == "2026-01-05T12:00:00Z"


ERRORS = {
    "nope": (1, "error: there is no table nope; there are alerts, anomalies, approvals, "),
    "orders --where nope=1": (2, "error: table orders has no column nope; it has order_id, "),
    "orders --where total=12.50": (2, "error: column total of table orders holds an amount in "),
    "orders --where total=": (2, "error: column total of table orders holds an amount in minor"),
    "orders --where line_count=9223372036854775808": (2, "error: column line_count of table ord"),
    "orders --where is_held=maybe": (2, "error: column is_held of table orders holds true or "),
    "orders --where placed_at=soon": (2, "error: column placed_at of table orders holds an inst"),
    "orders --where total": (2, "error: Invalid value for '--where': 'total' is not COLUMN=VAL"),
    "orders --where total=1 --where total=2": (2, "error: Invalid value for '--where': 'total=2'"),
    "order_steps --after o1": (2, "error: Invalid value for '--after': the key of order_steps is"),
    "order_steps --after o1 --after x": (2, "error: column position of table order_steps holds"),
    "orders --limit 0": (2, "error: Invalid value for '--limit': 0 is not in the range x>=1."),
}


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("line", ERRORS)
def test_a_question_that_cannot_be_asked_says_why(line: str) -> None:
    """Catches a mistyped question that is answered with no rows."""
    done = run(f"projection rows {line}")
    status, message = ERRORS[line]
    assert (done.exit_code, done.stdout) == (status, "")
    assert done.stderr.startswith(message), done.stderr


def test_what_the_rows_lack_is_said(book: Path) -> None:
    """Catches an answer from yesterday that looks like one from now."""
    assert run("projection rows orders").stderr == ""
    with closing(sqlite3.connect(book)) as file, file:
        file.execute(
            "UPDATE orderledger_generations SET position = 7, leaf_hash = ("
            "SELECT leaf_hash FROM orderledger_log WHERE position = 7) WHERE model = 'orders'"
        )
    behind = run("projection rows orders")
    head = json.loads(run("status --json").stdout)["head"]
    assert behind.exit_code == 0
    assert behind.stderr == f"orders is at position 7, {head - 7} events behind the head\n"
    assert run("projection rows orders --quiet").stderr == ""
    with closing(sqlite3.connect(book)) as file, file:
        file.execute(
            "INSERT INTO orderledger_parked (book_id, model, number, stream, position, topic, "
            "error, parked_at) SELECT book_id, model, number, 'order-o1', 6, 'order.confirmed.v1', "
            "'ValueError: no', '2026-01-01T00:00:00.000000+00:00' FROM orderledger_generations "
            "WHERE model = 'orders'"
        )
    assert "orders leaves out 1 streams: see `orderledger projection parked orders`" in (
        run("projection rows orders").stderr
    )


def test_rows_of_another_history_are_a_finding(book: Path) -> None:
    """Catches rows of a restored backup that are shown as if nothing were wrong."""
    with closing(sqlite3.connect(book)) as file, file:
        file.execute("UPDATE orderledger_generations SET position = 99 WHERE model = 'orders'")
    done = run("projection rows orders --quiet")
    assert done.exit_code == 1
    assert done.stderr.startswith("warning: read model orders is at position 99, beyond the head")
    assert len(json.loads(done.stdout)) == 1


def test_rows_of_another_version_say_so(book: Path) -> None:
    """Catches rows that an older release made, shown as this one's."""
    with closing(sqlite3.connect(book)) as file, file:
        ((name, fingerprint),) = file.execute(
            "SELECT t.name, g.fingerprint FROM sqlite_schema AS t, orderledger_generations AS g "
            "WHERE g.model = 'anomalies' "
            "AND t.name = 'orderledger_rm_1_1_' || g.fingerprint || '_anomalies'"
        ).fetchall()
        file.execute(f"ALTER TABLE {name} RENAME TO {name.replace(fingerprint, '0123456789ab')}")
        file.execute(
            "UPDATE orderledger_generations SET fingerprint = '0123456789ab' "
            "WHERE model = 'anomalies'"
        )
    done = run("projection rows anomalies")
    assert done.stdout == "[]\n"
    assert done.stderr.startswith("anomalies was made by another version of its code: run `order")
