"""Every command of the command line, against committed output of a book with fixed ids."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orderledger import cli, cli_output
from orderledger.config import locate
from orderledger.databases import open_store
from orderledger.ledger.approvals import ApprovalStatus
from orderledger.ledger.chargeback_stages import ChargebackStatus
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.errors import (
    EXIT_STATUS,
    ConcurrencyConflict,
    CorruptEvent,
    DatabaseFull,
    InvalidMoney,
    NotFound,
    Reason,
    Rejected,
    SchemaMismatch,
)
from tests.cli.seeded_book import hold, seed
from tests.seeding import sqlite_store
from tests.source_tree import ROOT

GOLDEN = ROOT / "tests" / "golden" / "cli"
UPDATE = "ORDERLEDGER_UPDATE_GOLDEN"
COMMANDS = {
    "status": "status",
    "order-show": "order show o1",
    "order-history": "order history o1",
    "payment-show": "payment show p1",
    "payment-history": "payment history p1",
    "account-balance": "account balance assets:psp:adyen",
    "account-balance-held": "account balance liabilities:escrow:o1 --layer held",
    "account-balance-below": "account balance assets: --effective-to 2026-01-06",
    "account-balance-known": (
        "account balance assets:psp:adyen --recorded-to 2026-01-01T12:00:06Z --currency USD"
    ),
    "account-list": "account list",
    "account-list-below": "account list liabilities",
    "account-statement": (
        "account statement assets:psp:adyen --currency USD --from 2026-01-06 --to 2026-02-01"
    ),
    "account-clearing": "account clearing",
    "account-clearing-then": "account clearing --effective-to 2026-01-06",
    "trial-balance": "trial-balance",
    "trial-balance-then": "trial-balance --effective-to 2026-01-06 --recorded-to 2026-01-01",
    "trial-balance-held": "trial-balance --layer held",
    "journal": "journal",
    "journal-account": "journal --account assets:psp:adyen --from 9 --to 2026-01-31",
    "approval-list": "approval list",
    "alert-list": "alert list",
    "export-beancount": "export beancount -",
    "export-hledger": "export hledger - --from 2026-01-07 --recorded-to 2026-02-01",
    "period-close": "period close 2026-01",
    "period-list": "period list",
    "period-reopen": "period reopen 2026-01 --reason late",
    "period-verify": "period verify",
    "verify": "verify",
    "projection-list": "projection list",
    "projection-status": "projection status",
    "projection-catch-up": "projection catch-up",
    "projection-verify": "projection verify orders payments",
    "projection-parked": "projection parked orders",
    "projection-rows": "projection rows orders",
    "projection-redrive": "projection redrive orders",
    "projection-skips": "projection skips orders",
    "projection-rebuild": "projection rebuild balances orders",
    "projection-rebuild-yes": "projection rebuild balances orders refunds --yes",
    "projection-rollback": "projection rollback orders",
    "timer-list": "timer list",
    "timer-run": "timer run",
    "timer-failed": "timer failed --all",
    "outbox-list": "outbox list",
    "queue-list": "queue list",
    "reactor-list": "reactor list",
    "replay-order": "replay order o1 --at 2",
    "replay-payment": "replay payment p1 --at 2026-01-01T12:00:08Z",
    "replay-account": "replay account assets:psp:adyen --at 6 --effective-to 2026-01-06",
    "replay-projection": "replay projection orders --at 3",
    "diff-orders": "diff orders 2 5",
    "diff-balances": "diff balances 0 --below assets",
    "explain": "explain assets:psp:adyen",
    "audit-order": "audit order o1 --at 7",
    "audit-payment": "audit payment p1",
    "audit-account": "audit account assets:psp:adyen",
    "audit-actor": "audit actor gateway:adyen",
    "migrate": "migrate",
    "config-show": "config show",
}


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the seeded book as book.db in the current directory, named by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERLEDGER_URL", "sqlite:///book.db")
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    store = sqlite_store(tmp_path / "book.db")
    seed(store)
    store.close()
    return tmp_path / "book.db"


@pytest.fixture
def sound(book: Path) -> Path:
    """Give the seeded book with what it leaves out, so that a verification finds nothing."""
    store = sqlite_store(book)
    hold(store)
    store.close()
    return book


def run(line: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(cli.main, shlex.split(line), prog_name="orderledger")


def _transcript(line: str) -> str:
    parts = []
    for form in ("--table", "--json"):
        done = run(f"{line} {form}")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        stdout = "".join(text.rstrip() + "\n" for text in done.stdout.splitlines())
        # Another migration is no other answer.
        stdout = re.sub(r'(schema_version"?:? +)\d+', r"\1N", stdout)
        stdout = re.sub(r'\d+(?= guards|,"of":"guards")', "N", stdout)
        parts.append(f"$ orderledger {line} {form}\n{stdout}{done.stderr}[{done.exit_code}]\n")
    return "\n".join(parts)


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("name", COMMANDS)
def test_output_is_as_committed(name: str) -> None:
    """Catches an answer, a column or a field that changed without anybody looking."""
    path = GOLDEN / f"{name}.txt"
    found = _transcript(COMMANDS[name])
    if os.environ.get(UPDATE):
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8"), f"set {UPDATE}=1 to accept the new output"


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _leaves(child, (*path, name))
    else:
        yield path


ELSEWHERE = {
    # tests/cli/test_cli_settlement.py
    *(("bank", verb) for verb in ("breaks", "import", "match", "resolve", "show")),
    *(("settlement", verb) for verb in ("breaks", "close", "import", "list", "match")),
    *(("settlement", verb) for verb in ("missing", "resolve", "show")),
    *(("checkpoint", verb) for verb in ("cosign", "key", "publish", "show")),
    ("backup",),
    *(("snapshot", verb) for verb in ("list", "take", "verify")),
    *(("dossier", verb) for verb in ("export", "verifier", "verify")),
    ("approval", "show"),
    ("audit", "command"),
    ("audit", "dispute"),
    ("chargeback", "list"),
    ("chargeback", "show"),
    ("demo",),
    ("replay", "dispute"),
    ("what-if",),
    ("dispute", "simulate"),
    ("dispute", "list"),
    ("dispute", "show"),
    ("import", "online-retail"),
    ("payout", "list"),
    ("payout", "show"),
    ("outbox", "discard"),
    ("outbox", "redrive"),
    ("projection", "diff"),
    ("projection", "run"),
    ("projection", "skip"),
    ("queue", "discard"),
    ("queue", "redrive"),
    ("schema", "export"),
    ("seller", "list"),
    ("seller", "show"),
    ("seller", "statement"),
    ("timer", "discard"),
    ("timer", "redrive"),
    ("version",),
    ("work",),
}


def test_every_command_has_committed_output() -> None:
    """Catches a command that nobody has ever run in a test."""
    tested = {tuple(line.split()[: len(path)]) for line in COMMANDS.values() for path in _all()}
    assert set(_all()) - tested == ELSEWHERE


def _all() -> list[tuple[str, ...]]:
    return list(_leaves(cli.main))


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        ("approval list --status", ApprovalStatus),
        ("chargeback list --status", ChargebackStatus),
        ("dispute list --stage", Stage),
    ],
)
def test_every_status_can_be_asked_for(line: str, statuses: type[StrEnum]) -> None:
    """Catches a status that is new to the ledger and that a list does not know."""
    group, verb, option = line.split()
    found = cli.main.commands[group]
    assert isinstance(found, click.Group)
    (kind,) = [one.type for one in found.commands[verb].params if option in one.opts]
    assert isinstance(kind, click.Choice)
    assert set(kind.choices) == {one.value for one in statuses} - {"none"}


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.startswith("export")])
def test_json_can_be_read(name: str) -> None:
    """Catches a comma or a line of talk that ends up inside the JSON."""
    json.loads(run(f"{COMMANDS[name]} --json").stdout)


@pytest.mark.usefixtures("book")
def test_output_that_is_no_terminal_is_json() -> None:
    """Catches a pipe that receives a table drawn with box characters."""
    assert run("trial-balance").stdout == run("trial-balance --json").stdout


@pytest.mark.usefixtures("sound")
def test_quiet_says_nothing_but_the_answer() -> None:
    """Catches talk that a cron job mails every night."""
    assert run("verify").stderr == "sound: no findings\n"
    assert run("verify --quiet").stderr == ""


ERRORS = {
    "order show nope": (1, "error: book main has no order nope\n"),
    "order history nope": (1, "error: book main has no order nope\n"),
    "payment show nope": (1, "error: book main has no payment nope\n"),
    "account balance assets:nope": (1, "error: no account assets:nope was ever posted to\n"),
    "journal --account x": (2, "error: account 'x' is not root:segment"),
    "status --url nonsense": (2, "error: cannot open 'nonsense'"),
    "status --url sqlite:///absent.db": (1, "error: there is no file absent.db"),
    "status --url sqlite:///:memory:": (2, "error: 'sqlite:///:memory:' is not a file"),
    "status --url postgresql://h/d?nope=1": (2, "error: the PostgreSQL URL cannot be read: inv"),
    "status --url postgresql://h:port/d": (2, "error: the port 'port' of the PostgreSQL URL"),
    "status --url postgresql://h:70000/d": (2, "error: the port '70000' of the PostgreSQL URL"),
    "status --book Ä": (2, "error: book name 'Ä' must be"),
    "order show": (2, "error: Missing argument 'ID'."),
    "unknown": (2, "error: No such command 'unknown'."),
    "status --nope": (2, "error: No such option"),
    "trial-balance --effective-to soon": (2, "error: Invalid value for '--effective-to': 'soon'"),
    "trial-balance --effective-to 9999-12-31T23:00-10:00": (2, "error: effective_to is 9999-12-31"),
    "account balance assets:psp:adyen --currency usd": (2, "error: currency 'usd' is neither"),
    "journal --from soon": (2, "error: Invalid value: 'soon' is no instant"),
    "settlement show adyen": (2, "error: 'adyen' is not like adyen/42"),
    "settlement show adyen/9": (1, "error: book main has no settlement adyen/9"),
    "bank show main/9": (1, "error: book main has no bank statement main/9"),
    "projection rebuild nope": (1, "error: there is no read model nope; there are alerts"),
    "projection status --url sqlite:///absent.db": (1, "error: there is no file absent.db"),
    "projection rollback orders --yes": (1, "error: read model orders has no previous generation"),
    "projection diff orders": (1, "error: read model orders has no second generation to compare"),
}


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("line", ERRORS)
def test_an_error_is_one_clear_line_and_a_status(line: str) -> None:
    """Catches a traceback, a status of 0 for a failure, or an error on stdout."""
    done = run(line)
    status, message = ERRORS[line]
    assert done.stderr.startswith(message), done.stderr
    assert done.stdout == ""
    assert done.exit_code == status
    assert "Traceback" not in done.output


def test_a_noun_alone_shows_its_verbs() -> None:
    """Catches a group that answers a half command with one garbled line, or with success."""
    done = run("order")
    assert "  history" in done.output
    assert "error:" not in done.output
    assert done.exit_code == 2


def test_text_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a buyer's name that clears the screen of whoever looks at the order."""
    session = cli_output.Session(url=None, book=None, is_json=False, is_quiet=False)
    session.record({"buyer": "a\x1b[2Jb\x9bc\nd"})
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_exit_status_is_that_of_the_nearest_class() -> None:
    """Catches a conflict that a script takes for a refusal."""
    expected = {
        Rejected(Reason.WRONG_STATE, "no"): 1,
        NotFound("no"): 1,
        InvalidMoney("no"): 2,
        ConcurrencyConflict("s", 1, 2): 3,
        DatabaseFull("no"): 4,
        SchemaMismatch("no"): 4,
        CorruptEvent("no"): 1,
    }
    assert {type(e): cli_output.exit_status(e) for e in expected} == {
        type(error): status for error, status in expected.items()
    }
    assert set(EXIT_STATUS.values()) == {1, 2, 3, 4}


def test_findings_are_status_1_and_a_broken_run_is_2(sound: Path) -> None:
    """Catches a nightly verification that reports success on a book that was tampered with."""
    with sqlite3.connect(sound) as connection:
        connection.execute("DROP TRIGGER orderledger_events_no_update")
        connection.execute("UPDATE orderledger_events SET context = replace(context, '7', '8')")
    connection.close()
    found = run("verify")
    assert found.exit_code == 1
    codes = {one["code"] for one in json.loads(found.stdout) if "code" in one}
    assert codes == {"leaf_hash_wrong", "guard_missing", "command_wrong"}
    pattern = r"findings: \d+ command_wrong, 1 guard_missing, \d+ leaf_hash_wrong\n"
    assert re.fullmatch(pattern, found.stderr)
    assert run("verify --url sqlite:///absent.db").exit_code == 2
    sound.write_bytes(b"not a database, but long enough to have a header" * 100)
    assert run("verify").exit_code == 2


def test_a_model_of_another_history_is_named(book: Path) -> None:
    """Catches a status that hides why no balance can be read, or a rebuild that does not help."""
    assert run("trial-balance").exit_code == 0
    with sqlite3.connect(book) as connection:
        connection.execute("UPDATE orderledger_generations SET position = 99")
    connection.close()
    broken = run("trial-balance")
    assert (broken.exit_code, broken.stdout) == (1, "")
    assert "orderledger projection rebuild balances" in broken.stderr
    status = json.loads(run("status").stdout)
    assert status["balances_position"] is None
    assert "beyond the head" in status["balances_error"]
    assert run("projection rebuild balances --yes").exit_code == 0
    assert run("trial-balance").exit_code == 0


@pytest.mark.usefixtures("book")
def test_passwords_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a password in a screenshot or a log."""
    monkeypatch.setenv("ORDERLEDGER_URL", "postgresql://shop:s3cret@db.example/shop")
    shown = run("config show").stdout
    assert "s3cret" not in shown
    assert "postgresql://shop:***@db.example/shop" in shown


def test_reading_does_not_create_a_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a typing error in a path that answers with an empty, healthy new book."""
    monkeypatch.chdir(tmp_path)
    assert run("status --url sqlite:///typo.db").exit_code == 1
    assert list(tmp_path.iterdir()) == []
    made = run("migrate --url sqlite:///new.db --json")
    assert json.loads(made.stdout)[0]["number"] == 1
    assert json.loads(run("migrate --url sqlite:///new.db").stdout) == []
    assert run("status --url sqlite:///new.db").exit_code == 0


def test_schemas_are_exported_and_checked(tmp_path: Path) -> None:
    """Catches an export that misses a type, or a check that passes on stale files."""
    directory = tmp_path / "schemas"
    assert run(f"schema export --check {directory}").exit_code == 1
    assert run(f"schema export {directory}").exit_code == 0
    assert run(f"schema export --check {directory}").exit_code == 0
    assert run(f"schema export {directory}").stdout == "[]\n"
    schema = json.loads((directory / "events" / "payment.captured.v1.json").read_text())
    assert schema["title"] == "payment.captured.v1"
    (directory / "events" / "payment.captured.v1.json").write_text("{}")
    (directory / "events" / "payment.invented.v1.json").write_text("{}")
    (directory / "commands" / "PlaceOrder.json").unlink()
    checked = run(f"schema export --check {directory}")
    assert checked.exit_code == 1
    assert [one["file"] for one in json.loads(checked.stdout)] == [
        "commands/PlaceOrder.json is missing",
        "events/payment.captured.v1.json differs",
        "events/payment.invented.v1.json belongs to no event or command",
    ]
    assert run(f"schema export {directory}").exit_code == 0
    assert run(f"schema export --check {directory}").exit_code == 0


def test_version_names_package_and_storage() -> None:
    """Catches a version that a bug report cannot be matched with."""
    found = json.loads(run("version").stdout)
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["orderledger"])
    assert found["schema_version_sqlite"] >= 2


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "orderledger"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("book")
def test_the_installed_program_runs() -> None:
    """Catches an entry point that is wrong, though every command works in tests."""
    found = _process("account", "balance", "assets:bank:main", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)[0]["amount"] == "70.83"
    missing = _process("order", "show", "nope")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "error: book main has no order nope\n"
    assert _process("--help").returncode == 0


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("line", ["order history o1", "order show o1 --table", "journal --table"])
def test_a_closed_pipe_is_no_error(line: str) -> None:
    """Catches a traceback after `orderledger journal | head -1`, or its status of findings."""
    program = Path(sys.executable).parent / "orderledger"
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(str(program))} {line} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("order show o1 --table >&-", 0, ""),
        ("status >&-", 0, ""),
        ("verify 2>&-", 0, ""),
        ("verify >&- 2>/dev/full", 0, ""),
        ("order show nope 2>/dev/full", 1, ""),
        ("order show 2>/dev/full", 2, ""),
        ("status >/dev/full", 2, "error: the answer cannot be written: No space left on device"),
        ("order history o1 --table >/dev/full", 2, "error: the answer cannot be written: No"),
        ("schema export /dev/null/x", 2, "error: /dev/null/x"),
        ("import online-retail - <&-", 2, "error: line 0: file '-' cannot be read"),
        (
            "order show o1 --url $'sqlite:///\\xff.db'",
            2,
            "error: url 'sqlite:///\\udcff.db' is not",
        ),
        ("account list $'\\xff'", 2, "error: account '\\udcff' is not root:segment"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_the_status_holds(
    line: str, status: int, message: str
) -> None:
    """Catches a traceback, or a sound book that a full disk for the log turns into findings."""
    program = shlex.quote(str(Path(sys.executable).parent / "orderledger"))
    done = subprocess.run(
        ["bash", "-c", f"{program} {line}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status
    last = done.stderr.splitlines()[-1] if done.stderr else ""
    assert last.startswith(message), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("form", ["--table", "--json"])
def test_any_locale_can_print_any_answer(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Catches a table with a multiplication sign that an ASCII terminal turns into a traceback."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    found = _process("order", "show", "o1", form)
    assert (found.returncode, found.stderr) == (0, "")


def test_help_imports_no_engine() -> None:
    """Catches an import that makes every `--help` and every completion slow."""
    script = (
        "import sys; from orderledger import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'msgspec', 'rich', 'psycopg', 'sqlite3', 'eventsourcing', 'structlog'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_database_that_does_not_answer_is_status_4() -> None:
    """Catches a script that takes an outage for an empty book."""
    done = run("status --url postgresql://127.0.0.1:1/nowhere")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("error: PostgreSQL: connection failed")
    assert done.stderr.count("\n") == 1


def test_the_commands_work_on_postgres(pg_url: str) -> None:
    """Catches a command that was only ever run on SQLite."""
    unprepared = run(f"status --url {pg_url}")
    assert unprepared.exit_code == 4
    assert "orderledger migrate" in unprepared.stderr
    assert run(f"migrate --url {pg_url}").exit_code == 0
    store = open_store(locate(pg_url))
    seed(store)
    store.close()
    for name in ("order-show", "account-balance-below", "trial-balance"):
        expected = (GOLDEN / f"{name}.txt").read_text("utf-8").partition("--json\n")[2]
        found = run(f"{COMMANDS[name]} --url {pg_url}")
        assert f"{found.stdout}{found.stderr}[{found.exit_code}]\n" == expected
    store = open_store(locate(pg_url))
    hold(store)
    store.close()
    assert run(f"verify --deep --url {pg_url}").exit_code == 0
