"""Closing, listing, reopening and verifying periods at the command line."""

import json
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import orderledger
from orderledger.commands import model as m
from tests.cli.test_cli import run

OCTOBER = datetime(2025, 10, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a book with an entry in October 2025, named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    with orderledger.open("sqlite:///book.db") as made:
        legs = (
            m.PostingInput("assets:bank:main", "EUR", 700),
            m.PostingInput("equity:opening", "EUR", -700),
        )
        made.execute(
            m.PostEntry(entry_id="e1", description="x", postings=legs, occurred_at=OCTOBER)
        )
    return tmp_path / "book.db"


def answer(line: str, status: int = 0) -> Any:
    done = run(f"{line} --json --quiet")
    assert done.exit_code == status, done.output
    return json.loads(done.stdout) if done.stdout else None


def error(line: str, status: int) -> str:
    done = run(f"{line} --json")
    assert done.exit_code == status, done.output
    assert done.stdout == ""
    return done.stderr


def test_a_month_is_closed_listed_and_reopened() -> None:
    """Catches bounds, a trial balance or an actor that are not those of what was recorded."""
    planned = answer("period close 2025-10")
    assert planned == {
        "period": "2025-10",
        "done": False,
        "start": "2025-10-01T00:00:00Z",
        "end": "2025-11-01T00:00:00Z",
    }
    assert answer("period list") == []
    closed = answer("period close 2025-10 --yes --actor ann")
    assert (closed["done"], closed["closed_by"], closed["accounts"]) == (True, "staff ann", 2)
    assert closed["totals"][0] == {
        "class": "assets:bank",
        "currency": "EUR",
        "layer": "posted",
        "accounts": 1,
        "debit_minor": 700,
        "credit_minor": 0,
        "debit": "7.00",
        "credit": "0.00",
    }
    assert "already" in error("period close 2025-10 --yes", 1)
    assert answer("period reopen 2025-10 --reason late") == {"period": "2025-10", "done": False}
    assert "never closed" in error("period verify 2025-09", 1)
    assert answer("period verify 2025-10") == []
    reopened = answer("period reopen 2025-10 --reason late --actor bob --yes")
    assert (reopened["reopened_by"], reopened["reason"]) == ("staff bob", "late")
    answer("period close 2025-10 --yes")
    listed = answer("period list")
    assert [one["reason"] for one in listed] == ["late", None]
    assert listed[1]["closed_by"] == "system orderledger"
    assert run("period list --table").exit_code == 0
    assert all(one["result"] == "ok" for one in answer("verify"))


def test_bounds_that_are_given() -> None:
    """Catches a calendar that is taken although the bounds are said, or guessed for other ids."""
    assert "--end" in error("period close q4 --yes", 2)
    assert "--end" in error("period close 2025-13 --yes", 2)
    assert "not both" in error("period close 2025-10 --start 2025-10-01 --from-last", 2)
    assert "after its start" in error("period close x --start 2025-11-01 --end 2025-11-01 --yes", 2)
    # The entry lies before November: either October comes first, or November takes all.
    assert "effective at 2025-10-09" in error("period close 2025-11 --yes", 1)
    closed = answer("period close 2025-11 --from-last --yes")
    assert (closed["start"], closed["end"]) == (None, "2025-12-01T00:00:00Z")
    closed = answer("period close december --end 2025-12-31T12:00+01:00 --yes")
    assert closed["start"] == "2025-12-01T00:00:00Z"
    assert closed["end"] == "2025-12-31T11:00:00Z"
    assert answer("period close 2025")["end"] == "2026-01-01T00:00:00Z"
    assert answer("period close 2025-12")["end"] == "2026-01-01T00:00:00Z"
    assert "overlaps" in error("period close 2025 --yes", 1)
    assert "no closed period" in error("period reopen 2025-12 --reason x --yes", 1)
    assert "reason" in error("period reopen december --yes", 2)
    assert "without a reason" in error("period reopen december --reason ' ' --yes", 2)
    assert "december first" in error("period reopen 2025-11 --reason x --yes", 1)
    assert "is no month" not in error("period close 2999-01 --start 2025-12-31T11:00Z --yes", 1)


def test_what_was_moved_is_seen_in_the_history() -> None:
    """Catches a report whose own instant nobody can see any more."""
    with orderledger.open("sqlite:///book.db") as book:
        line = m.LineInput("1", "POT", "anna", 1, Decimal("5.00"))
        book.execute(m.PlaceOrder(order_id="o1", buyer_ref="b", currency="EUR", lines=(line,)))
        book.execute(
            m.InitiatePayment(
                payment_id="p1",
                order_id="o1",
                provider="adyen",
                method="card",
                amount=500,
                currency="EUR",
            )
        )
        book.execute(m.Authorise(payment_id="p1", op_id="a", amount=500, currency="EUR"))
        answer("period close 2025-10 --yes")
        book.execute(m.RecordSucceeded(payment_id="p1", op_id="a", occurred_at=OCTOBER))
    for line_ in ("payment history p1", "order history o1"):
        moved = [one for one in answer(line_) if one["postings"]]
        assert moved[0]["occurred_at"] == "2025-11-01T00:00:00Z"
        assert moved[0]["context"]["reported_at"] == "2025-10-09T00:00:00Z"
        assert moved[0]["context"]["adjusts"] == "2025-10"
        table = run(f"{line_} --table").stdout
        assert "2025-10-09 00:00:00" in table
        assert "adjusts" in table


def test_verify_finds_what_was_done_past_the_engine(book: Path) -> None:
    """Catches a verification that always says sound."""
    answer("period close 2025-10 --yes")
    with sqlite3.connect(book) as connection:
        connection.execute("UPDATE orderledger_books SET closed_until = NULL")
    connection.close()
    (found,) = answer("period verify", 1)
    assert found["code"] == "period_guard_wrong"
    found = [one["code"] for one in answer("verify", 1) if "code" in one]
    assert found == ["period_guard_wrong"]
