"""Hypotheses and simulated rulings at the command line, as committed, and what they refuse."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.ledger.hypothetical import MARK
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.cli.test_cli import GOLDEN, UPDATE, _transcript, run
from tests.dispute_book import shares
from tests.replay.test_ruling_simulation import Case
from tests.seeding import ticking

COMMANDS = {
    "what-if": "what-if late.json",
    "what-if-at": "what-if gone.json --at 7",
    "dispute-simulate": "dispute simulate d1 --ruling ruling.json --terms terms.json",
    "dispute-simulate-refused": "dispute simulate d1 --ruling unvoted.json",
}
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def _write(name: str, value: object) -> None:
    Path(name).write_bytes(msgspec.json.encode(value))


@pytest.fixture(autouse=True)
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a book whose dispute waits for its ruling, scenarios and rulings beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    store = SqliteStore(tmp_path / "book.db", clock=ticking())
    case = Case(store)
    case.arbitrating()
    ruling = case.voted(shares(600, 300, 100))
    now = case.now
    store.close()
    fields: dict[str, Any] = msgspec.to_builtins(ruling)
    _write("ruling.json", {key: value for key, value in fields.items() if key != "dispute_id"})
    _write("unvoted.json", {**fields, "votes": fields["votes"][:1]})
    _write("terms.json", {"commission_rate": "0.12", "rate_version": "2026"})
    swap = {"stream": "dispute-d1", "field": "rule_book.appeal_hours", "value": 24}
    give = {"command": "IssueRuling", "fields": fields, "at": now}
    _write("late.json", {"title": "a day to appeal", "swap": [swap], "commands": [give]})
    _write("gone.json", {"omit": [{"position": 6}], "models": ["orders", "payments"]})
    # The command line takes the machine's clock.
    defaults = {**(Book.__init__.__kwdefaults__ or {}), "clock": lambda: now}
    monkeypatch.setattr(Book.__init__, "__kwdefaults__", defaults)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_as_committed(name: str) -> None:
    """Catches a change of what people and programs read that nobody looked at."""
    # Ids of the book are others each time, and so are those that follow on them.
    path, found = GOLDEN / f"{name}.txt", ID.sub("<id>", _transcript(COMMANDS[name]))
    if os.environ.get(UPDATE):
        path.write_text(found, "utf-8")
    assert path.read_text("utf-8") == found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_answer_begins_with_the_mark(name: str) -> None:
    """Catches an answer that somebody could take for what happened."""
    assert run(f"{COMMANDS[name]} --table").stdout.startswith(f"{MARK}\n")
    text = run(f"{COMMANDS[name]} --json").stdout
    assert text.lstrip("{ \n").startswith(f'"hypothetical": "{MARK}"')
    assert json.loads(text)["is_hypothetical"] is True


def test_a_ruling_that_would_not_be_executed_is_status_1() -> None:
    """Catches a script that takes a refused ruling for one that can be issued."""
    assert run(COMMANDS["dispute-simulate"]).exit_code == 0
    assert run(COMMANDS["dispute-simulate-refused"]).exit_code == 1


def test_nothing_is_written(case: Path) -> None:
    """Catches an event of a hypothesis that ends up in the book."""
    store = SqliteStore(case / "book.db")
    before = list(store.read(0, limit=1_000))
    for line in COMMANDS.values():
        run(line)
    assert list(store.read(0, limit=1_000)) == before
    store.close()


@pytest.mark.parametrize(
    ("line", "write", "status", "why"),
    [
        ("what-if none.json", None, 2, "none.json' does not exist"),
        ("what-if bad.json", lambda: _write("bad.json", {"omits": []}), 2, "unknown field `omits`"),
        ("what-if bad.json", lambda: Path("bad.json").write_text("{"), 2, "cannot be read"),
        (
            "what-if bad.json",
            lambda: Path("bad.json").write_bytes(b'{"title":"\xff"}'),
            2,
            "cannot",
        ),
        ("what-if gone.json --at 999", None, 2, "position 999 is not in the log"),
        ("what-if gone.json --at 5", None, 2, "omit[0].position is 6: book main is forked at 5"),
        (
            "what-if bad.json --at 5",
            lambda: _write("bad.json", {"at": 6, "omit": [{"position": 1}]}),
            2,
            "bad.json forks at 6, --at says 5",
        ),
        ("dispute simulate d9 --ruling ruling.json", None, 1, "there is no dispute d9"),
        ("dispute simulate d9 --ruling unvoted.json", None, 2, "of another dispute than d9"),
        ("dispute simulate d1 --ruling terms.json", None, 2, "terms.json cannot be read"),
        (
            "dispute simulate d1 --ruling ruling.json --terms ruling.json",
            None,
            2,
            "ruling.json cannot be read: Object contains unknown field",
        ),
    ],
)
def test_a_question_that_makes_no_sense_is_told(
    line: str, write: Callable[[], object] | None, status: int, why: str
) -> None:
    """Catches half an answer, a traceback, or an error that does not say where it is."""
    if write is not None:
        write()
    found = run(line)
    assert (found.exit_code, found.stdout) == (status, ""), found.output
    assert why in found.stderr


def test_the_ruling_is_that_of_the_command() -> None:
    """Catches a file format that reads a field of the ruling otherwise than the command has it."""
    found = json.loads(run("dispute simulate d1 --ruling ruling.json --json").stdout)
    issued = found["events"][0]["event"]
    given = json.loads(Path("ruling.json").read_bytes())
    assert {name: issued[name] for name in ("allocations", "votes", "reasons")} == {
        name: given[name] for name in ("allocations", "votes", "reasons")
    }
    assert found["legs"][0]["party"] == m.Party.BUYER.value
