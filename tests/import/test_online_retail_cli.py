"""`orderledger import online-retail`: statuses, output, standard input."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import orderledger
from orderledger.cli import main
from orderledger.importers.online_retail_rows import STDIN
from tests.imported_book import events, retail_file, sqlite_url

LINES = ("100 10001 6 2.55 17850", "100 POST 1 18.00 17850", "C101 10001 -1 2.55 17850")


def _run(*arguments: str, content: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["import", "online-retail", *arguments], input=content)


def test_it_prints_the_account_as_json(tmp_path: Path) -> None:
    """Catches output that a program cannot read, and lines that are not accounted for."""
    path = retail_file(tmp_path / "shop.csv", *LINES)
    result = _run(path, "--url", sqlite_url(tmp_path / "book.db"), "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["lines"], summary["invoices"], summary["exact"]) == (3, 2, "30.75")
    assert sum(one["lines"] for one in summary["categories"].values()) == 3
    assert result.stderr == ""


def test_it_prints_the_account_for_people(tmp_path: Path) -> None:
    """Catches a report wider than a terminal."""
    path = retail_file(tmp_path / "shop.csv", *LINES)
    result = _run(path, "--url", sqlite_url(tmp_path / "book.db"), "--table")
    assert result.exit_code == 0
    assert "30.75" in result.stdout
    assert all(len(line) <= 100 for line in result.stdout.splitlines() if str(path) not in line)


def test_it_reads_standard_input(tmp_path: Path) -> None:
    """Catches `-` taken for a file name."""
    content = Path(retail_file(tmp_path / "shop.csv", *LINES)).read_bytes()
    url = sqlite_url(tmp_path / "book.db")
    result = _run(STDIN, "--url", url, "--json", content=content)
    assert (result.exit_code, json.loads(result.stdout)["lines"]) == (0, 3)


def test_checking_writes_nothing(tmp_path: Path) -> None:
    """Catches a dry run that creates the book or its events."""
    path = retail_file(tmp_path / "shop.csv", *LINES)
    result = _run(path, "--check", "--url", sqlite_url(tmp_path / "book.db"), "--json")
    summary = json.loads(result.stdout)
    assert (summary["is_check"], summary["lines"], summary["events"]) == (True, 3, 0)
    assert not (tmp_path / "book.db").exists()


@pytest.mark.parametrize("is_check", [True, False])
def test_a_malformed_line_ends_with_status_2(tmp_path: Path, *, is_check: bool) -> None:
    """Catches a broken file that looks imported to a script."""
    path = retail_file(tmp_path / "shop.csv", *LINES, "102 10001 x 1.00 1")
    url = sqlite_url(tmp_path / "book.db")
    result = _run(path, "--url", url, *(["--check"] if is_check else []))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "error: line 5: Quantity 'x' is not a whole number" in result.stderr
    if not is_check:
        assert "run the same command again" in result.stderr
        with orderledger.open(url) as book:
            # Invoices that are still open at the bad line may be incomplete.
            assert events(book) == []


def test_a_conflict_ends_with_status_3(tmp_path: Path) -> None:
    """Catches a changed file reported as success."""
    url = sqlite_url(tmp_path / "book.db")
    assert _run(retail_file(tmp_path / "a.csv", *LINES), "--url", url).exit_code == 0
    changed = retail_file(tmp_path / "b.csv", "100 10001 7 2.55 17850", *LINES[1:])
    result = _run(changed, "--url", url)
    assert (result.exit_code, result.stdout) == (3, "")


def _on_a_terminal(*arguments: str) -> bytes:
    """Run the command with a terminal as stderr and return what it shows there."""
    ours, theirs = pty.openpty()
    program = "from orderledger.cli import main; main()"
    command = [sys.executable, "-c", program, "import", "online-retail", *arguments]
    try:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, timeout=60, check=True)
        os.set_blocking(ours, False)
        try:
            return os.read(ours, 10_000)
        except BlockingIOError:
            return b""
    finally:
        os.close(ours)
        os.close(theirs)


def test_progress_shows_on_a_terminal_only(tmp_path: Path) -> None:
    """Catches a bar that fills log files, or that --quiet does not silence."""
    path = retail_file(
        tmp_path / "shop.csv", *[f"{number} 10001 1 1.00 1" for number in range(100, 6_000)]
    )
    assert b"lines/s" in _on_a_terminal(path, "--check")
    assert _on_a_terminal(path, "--check", "--quiet") == b""
