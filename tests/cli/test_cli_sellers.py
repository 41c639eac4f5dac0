"""Sellers and payouts at the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import run
from tests.model.shop import Shop
from tests.projections.test_sellers import earn, give_back, pay_out
from tests.seeding import sqlite_store


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a book in which s1 was paid once and came to owe, named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    shop = Shop(sqlite_store(tmp_path / "book.db"))
    earn(shop, "o1", "100")
    pay_out(shop, "y1")
    give_back(shop, "o1", "f1", 2_000)
    earn(shop, "o2", "50")
    shop.book.close()
    return tmp_path / "book.db"


def answer(line: str, status: int = 0) -> Any:
    done = run(f"{line} --json --quiet")
    assert done.exit_code == status, done.output
    return json.loads(done.stdout) if done.stdout else None


def catch_up() -> None:
    assert run("projection catch-up sellers payouts seller_standing --quiet").exit_code == 0


def test_what_sellers_are_owed() -> None:
    """Catches rows that are old without a word, or a seller nobody knows who is owed nothing."""
    late = run("seller list --table")
    assert "events behind the head" in late.stderr
    catch_up()
    (row,) = answer("seller list --currency USD")
    assert (row["released"], row["refunded"], row["paid_out"]) == (13_500, 1_800, 9_000)
    assert (row["balance"], row["available"]) == (2_700, 2_700)
    assert answer("seller list --currency EUR") == []
    assert run("seller list --currency usd").exit_code == 2
    shown = answer("seller show s1")
    assert shown["payables"] == [row]
    assert shown["standing"]["earned_standing"] == "good"
    assert "balance 27.00" in run("seller show s1 --table").stdout
    assert run("seller show s9").exit_code == 1


def test_a_sellers_statement_sums_up_and_stays() -> None:
    """Catches a statement that does not sum, or that later events change."""
    line = "seller statement s1 USD --from 2026-01-05 --to 2026-01-06"
    found = answer(line)
    assert [one["amount"] for one in found["lines"]] == [9_000, -9_000, -1_800, 4_500]
    assert [one["event"].split(".")[1] for one in found["lines"]] == [
        "funds_released",
        "initiated",
        "operation_requested",
        "funds_released",
    ]
    assert found["opening"] + sum([one["amount"] for one in found["lines"]]) == found["closing"]
    assert found["closing"] == 2_700
    known = f"{line} --recorded-to {found['recorded_to']}"
    before = run(f"{known} --json").stdout
    shop = Shop(sqlite_store(Path("book.db")))
    earn(shop, "o3", "70")
    shop.book.close()
    assert run(f"{known} --json").stdout == before
    assert answer(line)["closing"] == 9_000
    table = run(f"{line} --table").stdout
    assert "opening" in table
    assert "-18.00" in table


def test_a_payout_is_shown_and_listed() -> None:
    """Catches a payout whose amount nobody can explain."""
    shown = answer("payout show y1")
    assert (shown["status"], shown["amount"], shown["sum"]["entries"]) == ("paid", 9_000, 9_000)
    assert shown["reports"] == [{"kind": "paid", "bank_ref": "b-y1", "amount": 9_000}]
    assert "o1 rel-s1: 90.00 USD" in run("payout show y1 --table").stdout
    assert run("payout show y9").exit_code == 1
    catch_up()
    assert [row["payout_id"] for row in answer("payout list --seller s1 --status paid")] == ["y1"]
    assert answer("payout list --status failed") == []
    assert run("payout list --status lost").exit_code == 2
