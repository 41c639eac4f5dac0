"""What a person sees: tables at terminals of 80 and 100 columns, against committed output."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orderledger.cli_tables import Chapter, Columns, print_rows, print_story
from tests.cli.seeded_book import seed
from tests.seeding import sqlite_store
from tests.source_tree import ROOT

GOLDEN = ROOT / "tests" / "golden" / "cli"
UPDATE = "ORDERLEDGER_UPDATE_GOLDEN"
LINES = [
    "order history o1",
    "journal",
    "account list",
    "account statement assets:psp:adyen --currency USD --from 2026-01-06 --to 2026-02-01",
]
AT = datetime(2026, 11, 22, 18, 15, 52, 123456, tzinfo=UTC)


def _seen(
    directory: Path, columns: int, line: str, *, with_errors: bool = False, ends: int = 0
) -> str:
    """Return what a terminal that is so wide is sent, without its colours; see its exit code."""
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (50, columns))
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
        "ORDERLEDGER_URL": "sqlite:///book.db",
        "TERM": "xterm",
    }
    program = Path(sys.executable).parent / "orderledger"
    with subprocess.Popen(
        [program, *line.split()],
        cwd=directory,
        env=environment,
        stdout=terminal,
        stderr=terminal if with_errors else None,
    ) as process:
        os.close(terminal)
        received = b""
        while True:
            try:
                part = os.read(master, 65_536)
            except OSError:  # Linux's way to say that the other side is closed
                break
            if not part:
                break
            received += part
    os.close(master)
    assert process.returncode == ends
    text = re.sub(r"\x1b\[[0-9;]*m", "", received.decode()).replace("\r\n", "\n")
    return "".join(f"{one.rstrip()}\n" for one in text.splitlines())


@pytest.mark.parametrize("columns", [80, 100])
def test_tables_fit_the_terminal(tmp_path: Path, columns: int) -> None:
    """Catches timestamps and account names that are broken in the middle, which nobody can read."""
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    store.close()
    found = "\n".join(f"$ orderledger {one}\n{_seen(tmp_path, columns, one)}" for one in LINES)
    path = GOLDEN / f"terminal-{columns}.txt"
    if os.environ.get(UPDATE):
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8"), f"set {UPDATE}=1 to accept the new output"
    answers = [line for line in found.splitlines() if not line.startswith("$")]
    assert max(len(line) for line in answers) <= columns


def test_long_work_shows_how_far_it_is(tmp_path: Path) -> None:
    """Catches a rebuild or a check of hours at which nobody can tell whether it moves."""
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    store.close()
    for line, shown, ends in (
        ("projection rebuild orders balances --yes", "rebuild orders, balances: 12 of 12", 0),
        ("projection verify orders", "verify orders: 3 of 3", 0),
        ("verify", "log: 12 of 12", 1),  # the seeded entries are no order's own
    ):
        found = _seen(tmp_path, 100, line, with_errors=True, ends=ends)
        assert shown in found
        quiet = _seen(tmp_path, 100, f"{line} --quiet", with_errors=True, ends=ends)
        assert shown not in quiet


def test_a_cell_that_is_too_wide_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an account name that is cut off because the table has no room."""
    name = f"liabilities:escrow:{'x' * 200}"
    print_rows([{"account": name, "text": "word " * 50}], Columns(("account", "text")))
    shown = capsys.readouterr().out.splitlines()
    assert shown[2].startswith(name)
    assert len(shown) > 3
    print_story([Chapter({"account": name}, [{"at": AT}])], Columns(("account",)), Columns(("at",)))
    shown = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in shown[2:]] == [name, "2026-11-22 18:15:52"]


def test_text_of_a_buyer_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a line break in a name that looks like an event of its own."""
    heads = Columns(("actor", "at"), giving_way=("at",), words={"at": "at"})
    print_story([Chapter({"actor": "staff 7\n1 paid", "at": None})] * 2, heads, Columns(("x",)))
    shown = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in shown] == ["actor", shown[1], *["staff 7�1 paid"] * 2]
