"""Audits at the command line: of what is refused, of a command, and as a report for people."""

import json
import os
from pathlib import Path

import pytest

from orderledger import Book
from orderledger.commands.requests import Actor
from orderledger.ledger.errors import Rejected
from tests.cli.running import run
from tests.cli.seeded_book import seed
from tests.commands.entries import post, reverse
from tests.projections.market_book import MarketBook
from tests.seeding import sqlite_store, ticking
from tests.source_tree import ROOT

GOLDEN = ROOT / "tests" / "golden" / "cli" / "audit-order.html"
UPDATE = "ORDERLEDGER_UPDATE_GOLDEN"


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the seeded book, named by the environment, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    store.close()
    return tmp_path


def test_a_report_is_as_committed(book: Path) -> None:
    """Catches a page that changed without anybody looking at it."""
    found = run(*["audit", "order", "o1", "--html", "report.html"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == {
        "file": "report.html",
        "subject": "order o1",
        "position": 12,
    }
    text = (book / "report.html").read_text("utf-8")
    if os.environ.get(UPDATE):
        GOLDEN.write_text(text, "utf-8")
    assert text == GOLDEN.read_text("utf-8"), f"set {UPDATE}=1 to accept the new page, and look"
    to_stdout = run(*["audit", "order", "o1", "--html", "-"])
    assert to_stdout.stdout == text


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ("audit order nobody", 1, "stream order-nobody has no events by position 12"),
        ("audit order o1 --at 0", 1, "stream order-o1 has no events by position 0"),
        ("audit order o1 --at 99", 2, "position 99 is not in the log of book main"),
        ("audit order o1 --at 2001-01-01", 2, "is before the book"),
        ("audit account assets:nowhere", 1, "no account assets:nowhere was ever posted to"),
        ("audit actor ann", 2, "actor 'ann' is not like staff:7"),
        ("audit actor staff:ann", 1, "has nothing of actor staff:ann by position 12"),
        ("audit actor staff:ann --table", 1, "has nothing of actor staff:ann by position 12"),
        ("audit command nope", 1, "book main has no command with the key or id nope"),
        ("audit order nobody --html x.html", 1, "stream order-nobody has no events"),
        ("audit order o1 --html nowhere/x.html", 2, "nowhere/x.html cannot be written"),
    ],
)
def test_what_cannot_be_told_is_one_clear_line(words: str, status: int, why: str) -> None:
    """Catches an empty audit, or half of one, where there is none."""
    found = run(*words.split())
    assert (found.exit_code, found.stdout) == (status, ""), found.output
    assert why in found.stderr
    assert not Path("x.html").exists()


def test_a_command_and_its_refusal_are_told(book: Path) -> None:
    """Catches a refusal that only the caller ever saw."""
    with Book(sqlite_store(book / "shop.db"), clock=ticking()) as made:
        made.execute(post("e1", 100), key="open")
        with pytest.raises(Rejected):
            made.execute(reverse("e1", "r1", 101), key="too-much", actor=Actor("staff", "ann"))
        made.store.close()
    url = ("--url", "sqlite:///shop.db")
    (event,) = json.loads(run("audit", "command", "open", *url).stdout)
    assert (event["command"], event["key"], event["stream"]) == ("PostEntry", "open", "journal-e1")
    assert [one["amount"] for one in event["postings"]] == ["1.00", "-1.00"]
    (refused,) = json.loads(run("audit", "actor", "staff:ann", *url).stdout)
    assert refused["is_refusal"] is True
    assert refused["actor"] == {"type": "staff", "id": "ann"}
    assert refused["decided_on"] == {"journal-e1": 1}
    assert refused["reason"] == "already_reversed"
    assert json.loads(run("audit", "command", refused["command_id"], *url).stdout) == [refused]
    table = run("audit", "command", "too-much", "--table", *url).stdout
    for word in ("refused: already_reversed", "staff ann", "too-much", "ReverseEntry"):
        assert word in table


def test_a_dispute_is_told_with_its_rules(tmp_path: Path) -> None:
    """Catches a dispute whose audit does not say by which rule book it was heard."""
    store = sqlite_store(tmp_path / "market.db")
    MarketBook(store)
    store.close()
    url = ("--url", f"sqlite:///{tmp_path}/market.db")
    entries = json.loads(run("audit", "dispute", "d1", *url).stdout)
    assert entries[0]["topic"] == "dispute.filed.v1"
    assert entries[0]["rules"]["rule_book"] == "house, version 3"
    assert [one["version"] for one in entries] == list(range(1, len(entries) + 1))
    assert {one["command"] for one in entries} >= {"FileDispute", "IssueRuling", "ExecuteRuling"}
    table = run("audit", "dispute", "d1", "--table", *url).stdout
    assert "because reason forged; by clerk" in table
