"""An import that is run again, refused half way or killed ends as one that ran through."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import orderledger
from orderledger.importers import online_retail_import
from orderledger.importers.file_error import ImportFileError
from orderledger.importers.online_retail_import import import_file, plan_invoices
from orderledger.importers.online_retail_rows import open_source, read_rows
from orderledger.importers.online_retail_summary import Tally
from orderledger.ledger.errors import IdempotencyConflict, Rejected
from tests.imported_book import balances, events, retail_file, sqlite_url, topics

Content = list[tuple[str, int, str, str, str, str]]
KILL_TIMEOUT_S = 60


def made_up(seed: int, invoices: int) -> list[str]:
    """Return the lines of a shop that never was: sales, cancellations, charges, write-offs."""
    chance = random.Random(seed)
    lines: list[str] = []
    for number in range(100_000, 100_000 + invoices):
        customer = chance.choice(["-", *map(str, range(1, 30))])
        kind = chance.random()
        if kind < 0.1:
            lines.append(f"{number} {chance.randrange(10_000, 10_050)} -{number % 7 + 1} 0.0 -")
            continue
        sign, letter = ("-", "C") if kind < 0.3 else ("", "")
        for _ in range(chance.randrange(1, 12)):
            code = chance.choice(["POST", "M", *map(str, range(10_000, 10_040))])
            price = f"{chance.randrange(0, 500) / 100:.2f}" if sign == "" else "1.25"
            lines.append(
                f"{letter}{number} {code} {sign}{chance.randrange(1, 20)} {price} {customer}"
            )
    return lines


def content(book: orderledger.Book) -> Content:
    """Return all that two runs must have in common, event by event in the order of streams."""
    return sorted(
        (
            event.stream,
            event.version,
            event.topic,
            event.payload,
            event.postings,
            event.occurred_at.isoformat(),
        )
        for event in events(book)
    )


def test_a_second_run_adds_nothing(tmp_path: Path) -> None:
    """Catches keys that differ from run to run, and a re-run that pays twice."""
    path = retail_file(tmp_path / "shop.csv", *made_up(1, 300))
    with orderledger.open(sqlite_url(tmp_path / "book.db")) as book:
        first = import_file(book, path)
        before, size = content(book), book.store.head().size
        second = import_file(book, path)
        assert content(book) == before
        assert book.store.head().size == size == first.events
    assert (second.events, second.commands_known) == (0, first.commands)
    assert second.categories == first.categories


def test_a_second_run_is_recognised_by_the_keys_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a fast path that hides a command whose key is not recognised."""
    path = retail_file(tmp_path / "shop.csv", *made_up(2, 60))
    with orderledger.open(sqlite_url(tmp_path / "book.db")) as book:
        first = import_file(book, path)
        before = content(book)
        monkeypatch.setattr(
            online_retail_import._Execution, "_without_known", lambda self, plans: plans
        )
        second = import_file(book, path)
        assert content(book) == before
    assert (second.events, second.commands_known) == (0, first.commands)


def test_what_came_before_a_bad_line_is_kept(tmp_path: Path) -> None:
    """Catches a bad line that loses what was read before it, or lets in half an invoice."""
    lines = made_up(3, 200)
    path = tmp_path / "shop.csv"
    retail_file(path, *lines)
    whole = path.read_bytes()
    broken = whole.split(b"\r\n")
    broken[400] = b"not,a,line"
    path.write_bytes(b"\r\n".join(broken))
    with orderledger.open(sqlite_url(tmp_path / "a.db")) as book:
        with pytest.raises(ImportFileError, match="line 401"):
            import_file(book, str(path))
        kept = book.store.head().size
        assert kept > 0
        path.write_bytes(whole)
        import_file(book, str(path))
        assert book.store.head().size > kept
        resumed = content(book)
    with orderledger.open(sqlite_url(tmp_path / "b.db")) as book:
        import_file(book, str(path))
        assert content(book) == resumed


def test_another_content_under_a_known_number_is_a_conflict(tmp_path: Path) -> None:
    """Catches a corrected file whose changed invoice is silently taken for the old one."""
    with orderledger.open(sqlite_url(tmp_path / "book.db")) as book:
        import_file(book, retail_file(tmp_path / "a.csv", "100 10001 1 2.00 1"))
        before = content(book)
        with pytest.raises(IdempotencyConflict):
            import_file(book, retail_file(tmp_path / "b.csv", "100 10001 2 2.00 1"))
        assert content(book) == before


def test_an_invoice_that_is_known_in_part_is_completed(tmp_path: Path) -> None:
    """Catches an invoice passed over because its last command is there, without one before."""
    path = retail_file(tmp_path / "shop.csv", "100 10001 1 2.00 1", "A101 B 1 2.00 -")
    with open_source(path) as source:
        plans = list(plan_invoices(read_rows(source), Tally(path)))
    with orderledger.open(sqlite_url(tmp_path / "book.db")) as book:
        for envelope in plans[0].envelopes:
            if envelope.key != "online-retail/100/condition":
                book.execute_many([envelope])
        with pytest.raises(Rejected, match="condition"):
            import_file(book, path)
    with orderledger.open(sqlite_url(tmp_path / "other.db")) as book:
        done = plans[0].envelopes[:-2]
        book.execute_many(done)
        summary = import_file(book, path)
        assert summary.commands_known == len(done)
        assert book.order("100").released == 200


def _start(path: str, url: str) -> "subprocess.Popen[bytes]":
    program = "from orderledger.cli import main; main()"
    command = [sys.executable, "-c", program, "import", "online-retail", path, "--url", url]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    """Catches a crash between two transactions after which an invoice is lost or doubled."""
    path = retail_file(tmp_path / "shop.csv", *made_up(4, 1_000))
    url = sqlite_url(tmp_path / "killed.db")
    with orderledger.open(url) as book:
        process = _start(path, url)
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while book.store.head().size < 1_000 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
        left = book.store.head().size
    with orderledger.open(url) as book:
        summary = import_file(book, path)
        assert summary.commands_known > 0
        assert book.store.head().size == left + summary.events
        resumed, sums, counts = content(book), balances(book), topics(book)
    with orderledger.open(sqlite_url(tmp_path / "whole.db")) as book:
        import_file(book, path)
        assert (balances(book), topics(book)) == (sums, counts)
        assert content(book) == resumed


def test_balances_are_those_of_the_file(tmp_path: Path) -> None:
    """Catches money made or lost on a mixture of every kind of line."""
    path = retail_file(tmp_path / "shop.csv", *made_up(5, 400))
    with orderledger.open(sqlite_url(tmp_path / "book.db")) as book:
        summary = import_file(book, path)
        sums = balances(book)
        assert sums["assets:psp:imported"] == summary.minor
        assert not [name for name in sums if ":escrow:" in name or ":refunds:" in name]
        money = [minor for name, minor in sums.items() if "stock" not in name]
        assert sum(money) == 0
