"""Exporting a journal at the command line: the file, stdout, and what fails on the way."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderledger.cli_export import write_whole
from tests.cli.seeded_book import seed
from tests.cli.test_cli import run
from tests.plain_text_readers import bean_check
from tests.seeding import sqlite_store


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory with a seeded book, named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    store.close()
    return tmp_path


def _names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir() if not one.name.startswith("book.db"))


def test_a_file_is_written_and_written_again(directory: Path) -> None:
    """Catches a file that differs from stdout, from itself, or leaves its parts behind."""
    done = run("export beancount out.beancount")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "file": "out.beancount",
        "position": 12,
        "accounts": 6,
        "transactions": 3,
    }
    written = (directory / "out.beancount").read_bytes()
    assert bean_check(directory / "out.beancount") == ""
    assert run("export beancount -").stdout_bytes == written
    assert run("export beancount out.beancount").exit_code == 0
    assert (directory / "out.beancount").read_bytes() == written
    assert _names(directory) == ["out.beancount"]


def test_a_failure_leaves_the_old_file(directory: Path) -> None:
    """Catches half a journal in the place of a whole one, which may even pass its check."""

    def failing() -> Iterator[str]:
        yield "half"
        raise KeyboardInterrupt

    (directory / "out").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_whole(directory / "out", failing())
    assert (directory / "out").read_text() == "old"
    assert _names(directory) == ["out"]
    (directory / "folder").mkdir()
    for line in ("export hledger folder", "export hledger /dev/null", "export hledger no/such"):
        done = run(line)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert run("export hledger - --from 2026-02-01 --effective-to 2026-01-01").exit_code == 2


def test_a_link_stays_a_link(directory: Path) -> None:
    """Catches an export that puts a file in place of the link to where it belongs."""
    (directory / "real").write_text("old")
    (directory / "link").symlink_to("real")
    assert run("export hledger link").exit_code == 0
    assert (directory / "link").is_symlink()
    assert (directory / "real").read_text().startswith("; Journal of the orderledger book main")
