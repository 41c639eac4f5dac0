"""`orderledger demo`: the same day for the same seed, and a book that verifies whatever happens."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

import orderledger
from orderledger import demo_run
from orderledger.cli import main
from orderledger.demo_run import Check, Day
from orderledger.demo_scenarios import SCENARIOS, interleaved, stories

ORDERS = 40


def _demo(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", "--orders", str(ORDERS), *arguments])


def _day(*arguments: str) -> Day:
    result = _demo("--json", *arguments)
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.stdout, type=Day)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty directory, without a book from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORDERLEDGER_URL", raising=False)
    monkeypatch.delenv("ORDERLEDGER_BOOK", raising=False)
    return tmp_path


def test_the_same_seed_gives_the_same_events(directory: Path) -> None:
    """Catches a day that depends on the clock, on the crash or on an unseeded choice."""
    first = _day("--seed", "5", "--url", "sqlite:///a.db")
    second = _day("--seed", "5", "--url", "sqlite:///b.db")
    other = _day("--seed", "6", "--url", "sqlite:///c.db")
    assert first.topics == second.topics
    assert first.balances == second.balances
    assert other.topics != first.topics


def test_a_process_dies_and_nothing_is_lost_or_doubled(directory: Path) -> None:
    """Catches a demo whose crash does not happen, or whose restart begins from nothing."""
    day = _day()
    crash = day.crash
    assert crash is not None
    assert 0 < crash.acknowledged < day.commands
    assert crash.acknowledged_stored == crash.acknowledged
    assert crash.in_flight_stored in (0, crash.in_flight)
    assert day.known == crash.acknowledged_stored + crash.in_flight_stored
    assert day.is_sound
    assert all(check.ok for check in day.checks)
    assert len(day.checks) == 7


def test_every_scenario_happens_as_told(directory: Path) -> None:
    """Catches a scenario that is never told, or one that is refused half way."""
    day = _day()
    assert set(day.scenarios) == set(SCENARIOS)
    assert day.surprises == []
    assert day.refused > 0
    for topic in (
        *("payment.operation_outcome_unknown.v1", "inbox.notification_parked.v1"),
        *("inbox.notification_deduplicated.v1", "order.refund_failed.v1"),
        *("order.change_confirmed.v1", "order.late_payment_detected.v1", "value.redeemed.v1"),
        *("payment.authorisation_voided.v1", "return.received.v1"),
    ):
        assert day.topics.get(topic), topic


def test_stories_do_not_depend_on_their_number_of_orders() -> None:
    """Catches keys that mean another command when the day is told again after a crash."""
    first = [step.envelope for step in interleaved(stories(3, ORDERS))]
    second = [step.envelope for step in interleaved(stories(3, ORDERS))]
    assert first == second
    assert len({envelope.key for envelope in first}) == len(first)


def test_a_second_demo_uses_a_book_of_its_own(directory: Path) -> None:
    """Catches a second `make demo` that fails, or mixes two days in one book."""
    assert _day().book == "demo"
    assert _day().book == "demo-2"
    assert [path.name for path in directory.glob("*.db")] == ["orderledger-demo.db"]


def test_a_book_in_use_is_refused(directory: Path) -> None:
    """Catches a demo written into a shop's book."""
    _day("--book", "shop")
    result = _demo("--book", "shop")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--continue" in result.stderr
    again = _day("--book", "shop", "--continue")
    assert again.known == again.commands


def test_the_story_fits_a_terminal(directory: Path) -> None:
    """Catches a table that wraps, and a story without its order, balance or checks."""
    result = _demo()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    for part in ("Trial balance", "One order from beginning to end", "Checks", "SIGKILL"):
        assert part in result.stdout


def test_nothing_is_printed_when_quiet(directory: Path) -> None:
    """Catches talk in a script that only wants the status."""
    result = _demo("--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_a_failing_check_ends_with_status_1(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a demo that reports success over a book that does not verify."""

    def fails(store: object, told: object, day: Day, events_expected: int) -> None:
        day.checks = [Check("the trial balance is zero", ok=False, detail="0.01")]

    monkeypatch.setattr(demo_run, "_check", fails)
    result = _demo()
    assert result.exit_code == 1
    assert "FAILED  the trial balance is zero: 0.01" in result.stdout


def test_passwords_are_not_printed() -> None:
    """Catches a password of the database in the story that people paste into tickets."""
    assert demo_run.shown("postgresql://me:secret@host/db") == "postgresql://me:…@host/db"
    assert demo_run.shown("sqlite:///a.db") == "sqlite:///a.db"


def test_the_demo_runs_on_postgresql(pg_url: str) -> None:
    """Catches a demo that works on the embedded engine only."""
    here = _day("--url", "sqlite:///here.db")
    there = _day("--url", pg_url)
    assert there.topics == here.topics
    assert there.balances == here.balances


def test_every_order_and_payment_can_be_shown(directory: Path) -> None:
    """Catches a state that the command line cannot write, in whatever way the day bent it."""
    _day("--url", "sqlite:///a.db")
    with orderledger.open("sqlite:///a.db", book="demo") as book:
        names = [*book.store.streams("order-"), *book.store.streams("payment-")]
    for name in names:
        kind, _, entity = name.partition("-")
        for form in ("--json", "--table"):
            shown = CliRunner().invoke(
                main, [kind, "show", entity, "--url", "sqlite:///a.db", "--book", "demo", form]
            )
            assert shown.exit_code == 0, (name, form, shown.output, shown.exception)
