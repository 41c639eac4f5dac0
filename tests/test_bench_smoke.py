"""The benchmarks run: at the smallest size, on the engines that are here."""

import contextlib
import importlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import databases, harness, results
from bench.callers import asyncio_rate, futures_rate, median_ms, threads_rate
from bench.run_all import NAMES
from tests.postgres_server import Databases
from tools import render_bench

WITHOUT_SERVER = {"import_time", "sqlite_callers"}


def _answer(name: str) -> harness.Report:
    module: Any = importlib.import_module(f"bench.bench_{name}")
    report = harness.answer(module.BENCHMARK, harness.QUICK, f"python -m bench.bench_{name}")
    # What is printed and saved must survive both forms.
    assert json.loads(msgspec.json.encode(report))["benchmark"] == name
    assert report.question.splitlines()[0] in harness.table(report)
    return report


@pytest.mark.parametrize("name", sorted(WITHOUT_SERVER))
def test_a_benchmark_runs(name: str) -> None:
    """Catches a benchmark that no longer fits the library, found on the day figures are due."""
    assert all(min(arm.values) > 0 for arm in _answer(name).arms)


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_SERVER))
def test_a_benchmark_on_postgres_runs(
    name: str, pg_server: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a benchmark that no longer fits the library, found on the day figures are due."""

    @contextlib.contextmanager
    def shared() -> Iterator[Databases]:
        yield pg_server

    module: Any = importlib.import_module(f"bench.bench_{name}")
    monkeypatch.setattr(module, "server", shared)
    report = _answer(name)
    if "skipped" not in report.facts:
        assert all(min(arm.values) > 0 for arm in report.arms)


def test_the_ratio_is_of_medians_and_its_spread_of_rounds() -> None:
    """Catches a ratio computed from the wrong side, or a spread that mixes rounds."""
    fast = harness.measured(harness.Arm("a", "x/s", lambda _: 0.0), [20.0, 30.0, 100.0])
    slow = harness.measured(harness.Arm("b", "x/s", lambda _: 0.0), [10.0, 10.0, 40.0])
    (one,) = harness.compare([fast, slow], [harness.Ratio("a / b", 0, 1, target=3.5)])
    assert (one.ratio, one.low, one.high, one.holds) == (3.0, 2.0, 3.0, False)
    (other,) = harness.compare([slow, fast], [harness.Ratio("b / a", 0, 1, 0.4, at_least=False)])
    assert other.holds


def test_arms_take_turns() -> None:
    """Catches measuring one side first and the other later, on what is then another machine."""
    order: list[str] = []

    def arm(name: str) -> harness.Arm:
        def sample(_: float) -> float:
            order.append(name)
            return 1.0

        return harness.Arm(name, "", sample)

    harness.interleave([arm("a"), arm("b")], harness.Settings(rounds=3))
    assert order == ["a", "b"] * 4


def test_callers_count_what_was_done() -> None:
    """Catches a rate that counts calls which did not happen."""
    lock = threading.Lock()
    calls = 0

    def call() -> None:
        nonlocal calls
        with lock:
            calls += 1

    rate = threads_rate(call, 4, 0.05)
    assert 0 < rate <= calls / 0.05
    assert median_ms(call, 0.01) >= 0


def test_a_failing_call_fails_the_benchmark() -> None:
    """Catches errors that are counted as speed."""

    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        threads_rate(broken, 2, 0.05)

    async def broken_too() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio_rate(broken_too, 2, 0.05)
    with pytest.raises(ValueError, match="broken"):
        futures_rate(_failed_future, 2, 0.05)


def _failed_future() -> Any:
    from concurrent.futures import Future

    future: Future[None] = Future()
    future.set_exception(ValueError("broken"))
    return future


def test_results_are_kept_by_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a run of one benchmark that throws away the day's other results."""
    monkeypatch.setattr(results, "DIRECTORY", tmp_path)
    machine = {"cpu_count": 2, "memory_gib": 8, "system": "Linux-x86_64"}
    facts = {"fsync floor (us)": 150}
    results.save({"benchmark": "b", "machine": machine, "facts": facts})
    path = results.save({"benchmark": "a", "machine": machine, "facts": facts})
    assert [report["benchmark"] for report in results.load(path).values()] == ["a", "b"]


def test_the_newest_report_of_each_benchmark_is_shown(tmp_path: Path) -> None:
    """Catches a run of one benchmark after which the tables have no other any more."""
    days: dict[str, dict[str, Any]] = {
        "2026-01-01-here": {"a@0us": {"n": 1}, "b@0us": {"n": 1}},
        "2026-01-02-here": {"b@0us": {"n": 2}},
    }
    for day, reports in days.items():
        (tmp_path / f"{day}.json").write_text(json.dumps(reports))
    assert render_bench.newest(tmp_path) == [
        {"n": 1, "source": "2026-01-01-here.json"},
        {"n": 2, "source": "2026-01-02-here.json"},
    ]


def test_tables_are_replaced_between_the_markers() -> None:
    """Catches rendering that eats the text around the tables, or adds them twice."""
    page = f"before\n{render_bench.START}\nold\n{render_bench.END}\nafter\n"
    once = render_bench.replaced(page, "new")
    assert once == f"before\n{render_bench.START}\nnew\n{render_bench.END}\nafter\n"
    assert render_bench.replaced(once, "new") == once


def test_databases_are_measured_with_durability_on() -> None:
    """Catches figures taken with fsync off."""
    assert not {"fsync", "synchronous_commit", "full_page_writes"} & set(databases.SIZES)
