"""Settlements and bank statements at the command line."""

from pathlib import Path
from typing import Any

import pytest

import orderledger
from orderledger.commands.payout_commands import InitiatePayout
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.payout_proposals import PayoutTarget, propose_payout, seen_balance
from tests.cli.test_cli import run
from tests.cli.test_cli_periods import answer, error
from tests.contract.test_settlement_import import GROSS, file_of, lines_in, sold
from tests.settlement_book import SettledShop, line


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a book that captured the worked example at Adyen, named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    store = SqliteStore(tmp_path / "book.db")
    sold(store, "adyen")
    store.close()
    return tmp_path


def balance(account: str) -> int:
    (row,) = answer(f"account balance {account}")
    found: int = row["minor"]
    return found


def test_a_month_end(folder: Path) -> None:
    """Catches a command that does not lead an accountant from a file to a closed batch."""
    extra = line(3, "adjustment", -70, raw_kind="ManualCorrected")
    path = file_of("adyen", folder, [*lines_in("adyen"), extra])
    (missing,) = answer("settlement missing adyen --older-than 0", 1)
    assert (missing["operation"], missing["missing_minor"]) == ("buy-p1", GROSS)
    checked = answer(f"settlement import {path} --provider adyen --check")
    assert (checked["settlement"], checked["lines"], checked["done"]) == ("adyen/7", 3, False)
    done = answer(f"settlement import {path} --provider adyen --closing '-0.70 USD'", 1)
    assert done["breaks"] == {"unbooked_adjustment": 1}
    assert done["status"] == "matching"
    again = answer(f"settlement import {path} --provider adyen --closing '-0.70 USD'", 1)
    assert (again["new_lines"], again["lines"]) == (0, 3)
    assert answer("settlement missing adyen --older-than 0") == []
    (batch,) = answer("settlement list --status matching")
    assert (batch["settlement"], batch["open"]) == ("adyen/7", 1)
    (found,) = answer("settlement breaks adyen/7", 1)
    assert (found["break"], found["amount"], found["age_days"]) == (
        "unbooked_adjustment/3",
        "-0.70",
        0,
    )
    assert answer("settlement match adyen/7", 1)["ended"] == 0
    planned = answer("settlement close adyen/7")
    assert (planned["done"], planned["status"]) == (False, "matching")
    assert "1 breaks are open" in error("settlement close adyen/7 --yes", 1)
    how = "--action booked --account expenses:bad_debt --reason 'agreed by mail' --actor ann"
    resolved = answer(f"settlement resolve adyen/7 unbooked_adjustment/3 {how}")
    assert (resolved["status"], resolved["breaks"]) == ("balanced", {})
    assert answer("settlement breaks") == []
    (kept,) = answer("settlement breaks --all")
    assert (kept["by"], kept["reason"], kept["open"]) == ("ann", "agreed by mail", False)
    closed = answer("settlement close adyen/7 --yes --actor ann")
    assert (closed["done"], closed["status"]) == (True, "closed")
    shown = answer("settlement show adyen/7")
    assert shown["closed_by"] == "ann"
    assert shown["balances"][0]["payout_minor"] == 11_938
    lines = answer("settlement show adyen/7 --lines")
    assert [one["settles"] for one in lines] == ["p1 buy-p1", None, None]
    assert balance("assets:psp:adyen") == -70


def test_tables_for_a_person(folder: Path) -> None:
    """Catches a table that cannot be drawn, or money without its decimals."""
    path = file_of("adyen", folder)
    run(f"settlement import {path} --provider adyen --quiet")
    shown = run("settlement show adyen/7 --table").stdout
    assert "opening 0.00 + net 119.38 = payout 119.38 + closing 0.00" in shown
    assert "119.38" in run("settlement show adyen/7 --lines --table").stdout
    assert "adyen/7" in run("settlement list --table").stdout
    assert run(f"settlement import {path} --provider adyen --table").exit_code == 0


def test_what_is_missing_is_reported_and_matched(folder: Path) -> None:
    """Catches an operation that a later batch settles and that stays a break."""
    empty = folder / "empty.csv"
    empty.write_text("type,gross,currency\n", "utf-8")
    name = "--provider generic --account adyen --batch 6"
    assert answer(f"settlement import {empty} {name}")["status"] == "balanced"
    assert len(answer("settlement missing adyen --older-than 0 --report 6", 1)) == 1
    (found,) = answer("settlement breaks adyen/6", 1)
    assert found["break"] == "missing_in_file/p1/buy-p1"
    answer(f"settlement import {file_of('adyen', folder)} --provider adyen")
    assert answer("settlement match adyen/6")["ended"] == 1


def test_a_line_is_matched_by_hand(folder: Path) -> None:
    """Catches a match at the command line that names another operation than was said."""
    path = folder / "file.csv"
    path.write_text("type,gross,currency,reference\npayment,123.20,USD,odd\n", "utf-8")
    name = "--provider generic --account adyen --batch 6 --tolerance 2 --fee-limit 290+30"
    assert answer(f"settlement import {path} {name}", 1)["breaks"] == {"unknown_reference": 1}
    by_hand = "settlement match adyen/6 --line 1 --operation p1:buy-p1"
    assert "give a tolerance of 5" in error(by_hand, 1)
    assert answer(f"{by_hand} --tolerance 5")["status"] == "balanced"
    assert balance("assets:psp:adyen") == 12_320


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--provider nobody", "'nobody' is not one of"),
        ("--provider generic", "names no batch"),
        ("--provider generic --batch 6 --fee-limit x", "is not like 290+30"),
        ("--provider generic --batch 6 --opening x", "x"),
        ("--provider adyen", "line 1: column 'Psp Reference' is missing in the header"),
    ],
)
def test_wrong_words(folder: Path, words: str, said: str) -> None:
    """Catches a wrong option that imports something else instead."""
    path = folder / "file.csv"
    path.write_text("type,gross,currency\nfee,-1,USD\n", "utf-8")
    assert said in error(f"settlement import {path} {words}", 2)
    with orderledger.open("sqlite:///book.db") as book:
        book.read.models.catch_up("settlements")
        assert list(book.read.models.find(book.read.models.table("settlements"), {})) == []


def test_wrong_words_of_a_match(folder: Path) -> None:
    """Catches a match without an operation that tries the rules instead."""
    answer(f"settlement import {file_of('adyen', folder)} --provider adyen")
    assert "name the --operation" in error("settlement match adyen/7 --line 1", 2)
    assert "PAYMENT:OPERATION" in error("settlement match adyen/7 --line 1 --operation x", 2)


def bank_file(folder: Path, amount: str) -> Path:
    path = folder / "bank.csv"
    path.write_text(
        f"booked_on,amount,currency,reference\n2026-03-04,{amount},USD,PO-7\n"
        "2026-03-05,-12.00,USD,account fee\n",
        "utf-8",
    )
    return path


def test_a_bank_statement(folder: Path) -> None:
    """Catches a command that does not lead from a bank's file to a statement that agrees."""
    answer(f"settlement import {file_of('adyen', folder)} --provider adyen")
    path = bank_file(folder, "119.00")
    words = "--statement 2026-03 --opening '1.00 USD' --closing '108.00 USD'"
    done: Any = answer(f"bank import {path} {words}", 1)
    assert done["breaks"] == {"amount_diff": 1, "unknown_reference": 1}
    found = {one["break"]: one["amount"] for one in answer("bank breaks main/2026-03", 1)}
    assert found == {"amount_diff/1": "-0.38", "unknown_reference/2": "-12.00"}
    by_hand = "bank match main/2026-03 --line 1 --payout adyen/7:2"
    assert "differ by -38" in error(by_hand, 1)
    assert answer(f"{by_hand} --tolerance 38", 1)["matched"] == 1
    assert "is not PROVIDER/BATCH:LINE" in error("bank match main/2026-03 --line 1 --payout x", 2)
    how = "--action booked --account expenses:bank_fees --reason fees"
    resolved = answer(f"bank resolve main/2026-03 unknown_reference/2 {how}")
    assert resolved["status"] == "balanced"
    assert answer("bank breaks") == []
    assert [one["open"] for one in answer("bank breaks --all")] == [False, False]
    shown = answer("bank show main/2026-03")
    assert [one["shows"] for one in shown] == ["settlement adyen/7", None]
    assert balance("assets:bank:main") == 11_938 - 38 - 1_200
    assert "PO-7" in run("bank show main/2026-03 --table").stdout
    assert run("bank breaks --all --table").exit_code == 0


def test_payouts_to_sellers_on_a_statement(folder: Path) -> None:
    """Catches a payout that the bank's file shows and that nobody can find, or match by hand."""
    store = SqliteStore(folder / "book.db")
    shop = SettledShop(store)
    shop.release(rate="0")
    target = PayoutTarget(seller="s1", currency="USD", bank="main", minimum=1)
    shop.run(propose_payout(shop.book.read, "y1", target))
    seen = seen_balance(shop.book.read, "s1", "USD")
    shop.run(InitiatePayout(payout_id="y1", seen=seen))
    store.close()
    path = folder / "bank.csv"
    path.write_text(
        "booked_on,amount,currency,reference\n2026-03-04,-123.25,USD,SEPA y1\n"
        "2026-03-06,123.00,USD,back\n",
        "utf-8",
    )
    done: Any = answer(f"bank import {path} --statement 2026-03", 1)
    assert (done["matched"], done["breaks"]) == (1, {"unknown_reference": 1})
    assert answer("payout show y1")["status"] == "paid"
    assert balance("assets:bank:main") == -12_325
    assert "name what the line shows" in error("bank match main/2026-03 --line 2", 2)
    by_hand = "bank match main/2026-03 --line 2 --returned y1"
    assert "differ by -25" in error(by_hand, 1)
    assert answer(f"{by_hand} --tolerance 25")["status"] == "balanced"
    assert answer("payout show y1")["status"] == "returned"
    assert balance("assets:bank:main") == -25
    shown = answer("bank show main/2026-03")
    assert [one["shows"] for one in shown] == ["seller_payout y1", "seller_payout_returned y1"]
    again = "bank match main/2026-03 --line 1 --seller-payout y1"
    assert answer(again)["status"] == "balanced"
