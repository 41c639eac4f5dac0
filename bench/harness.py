"""
Interleaved measuring: warm-up, rounds A B A B, medians, and their ratios round by round.

Absolute figures swing with the machine; the arms of one round share its mood, so the ratios are
what holds.
"""

import argparse
import gc
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import fsync_floor
from bench.environment import Machine, fsync_us, machine
from bench.results import save

ROUNDS: Final = 5
WARM_UP_S: Final = 1.5
SAMPLE_S: Final = 2.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much to measure. ``is_quick`` only proves that it runs, its figures mean nothing;
    ``is_full`` takes the sizes of the targets where the default is less. ``fsync_floor_us``: see
    ``fsync_floor``.
    """

    rounds: int = ROUNDS
    sample_s: float = SAMPLE_S
    warm_up_s: float = WARM_UP_S
    is_quick: bool = False
    is_full: bool = False
    fsync_floor_us: int = fsync_floor.NVME_US

    def sized(self, default: int, quick: int) -> int:
        """Return a row count for this run."""
        return quick if self.is_quick else default


QUICK: Final = Settings(rounds=2, sample_s=0.1, warm_up_s=0.05, is_quick=True, fsync_floor_us=0)


class Arm(msgspec.Struct, frozen=True):
    """
    One side of a comparison. ``sample(seconds)`` works for that long and returns one figure in
    ``unit``.
    """

    name: str
    unit: str
    sample: Callable[[float], float]


Facts = dict[str, str | int | float]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """An arm's figures, one a round."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    values: list[float]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """
    Medians of two arms divided, with the spread of the same ratio within single rounds.

    ``target`` is the limit of the ratio, None where the figure is only stated; ``at_least`` tells
    its direction.
    """

    name: str
    ratio: float
    low: float
    high: float
    target: float | None
    at_least: bool
    holds: bool | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question."""

    benchmark: str
    question: str
    command_line: str
    arms: list[Measured]
    comparisons: list[Comparison]
    facts: Facts
    machine: Machine


class Ratio(msgspec.Struct, frozen=True):
    """Which arms to divide (above / below), by index, and what the ratio must keep."""

    name: str
    above: int
    below: int
    target: float | None = None
    at_least: bool = True


def interleave(arms: Sequence[Arm], settings: Settings) -> list[Measured]:
    """Warm every arm up, then take one sample of each a round."""
    for arm in arms:
        arm.sample(settings.warm_up_s)
    values: list[list[float]] = [[] for _ in arms]
    for number in range(settings.rounds):
        for index, arm in enumerate(arms):
            # Garbage of one arm must not be collected in the time of the next.
            gc.collect()
            values[index].append(arm.sample(settings.sample_s))
        _progress(number + 1, settings.rounds, arms, [found[-1] for found in values])
    return [measured(arm, found) for arm, found in zip(arms, values, strict=True)]


def measured(arm: Arm, values: Sequence[float]) -> Measured:
    """Return the statistics of an arm's samples."""
    return Measured(
        name=arm.name,
        unit=arm.unit,
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        values=list(values),
    )


def compare(arms: Sequence[Measured], ratios: Sequence[Ratio]) -> list[Comparison]:
    """Divide medians, and the samples of each round."""
    compared: list[Comparison] = []
    for ratio in ratios:
        above, below = arms[ratio.above], arms[ratio.below]
        value = above.median / below.median
        by_round = [one / other for one, other in zip(above.values, below.values, strict=True)]
        holds = None
        if ratio.target is not None:
            holds = value >= ratio.target if ratio.at_least else value <= ratio.target
        compared.append(
            Comparison(
                name=ratio.name,
                ratio=value,
                low=min(by_round),
                high=max(by_round),
                target=ratio.target,
                at_least=ratio.at_least,
                holds=holds,
            )
        )
    return compared


class Benchmark(msgspec.Struct, frozen=True):
    """A question and how it is answered: ``run`` returns arms, ratios and facts."""

    name: str
    question: str
    run: "Callable[[Settings], Answer]"


class Answer(msgspec.Struct, frozen=True):
    """What a benchmark found, before the machine and the command line are added."""

    arms: list[Measured]
    ratios: list[Ratio]
    facts: Facts


def answer(benchmark: Benchmark, settings: Settings, command_line: str) -> Report:
    """Run a benchmark and describe where it ran."""
    before_us = fsync_us()
    found = benchmark.run(settings)
    facts: Facts = {
        "rounds": settings.rounds,
        "seconds per sample": settings.sample_s,
        "fsync floor (us)": fsync_floor.current() or 0,
        "fsync measured before (us)": before_us,
        "fsync measured after (us)": fsync_us(),
        **found.facts,
    }
    return Report(
        benchmark=benchmark.name,
        question=benchmark.question,
        command_line=command_line,
        arms=found.arms,
        comparisons=compare(found.arms, found.ratios),
        facts=facts,
        machine=machine(),
    )


def settings_of(arguments: Sequence[str]) -> tuple[Settings, bool]:
    """Read the options that every benchmark has; returns the settings and whether to print JSON."""
    parser = argparse.ArgumentParser(description="Measure, print, and save to bench/results/.")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quick", action="store_true", help="only prove that it runs; not saved")
    parser.add_argument("--full", action="store_true", help="the sizes of the targets (longer)")
    parser.add_argument(
        "--fsync-us",
        type=int,
        default=None,
        help=f"least microseconds of an fsync, 0: as the disk is; default {fsync_floor.NVME_US}",
    )
    parser.add_argument("--rounds", type=int, default=None, help=f"default {ROUNDS}")
    parser.add_argument("--seconds", type=float, default=None, help="per sample")
    given = parser.parse_args(arguments)
    base = QUICK if given.quick else Settings()
    return Settings(
        rounds=given.rounds or base.rounds,
        sample_s=given.seconds or base.sample_s,
        warm_up_s=base.warm_up_s,
        is_quick=base.is_quick,
        is_full=given.full,
        fsync_floor_us=base.fsync_floor_us if given.fsync_us is None else given.fsync_us,
    ), given.json


def main(benchmark: Benchmark) -> None:
    """Run one benchmark from the command line."""
    settings, is_json = settings_of(sys.argv[1:])
    fsync_floor.run_with_floor(settings.fsync_floor_us)
    report = answer(benchmark, settings, command_line(benchmark.name))
    if not settings.is_quick:
        save(msgspec.to_builtins(report))
    print(msgspec.json.format(msgspec.json.encode(report)).decode() if is_json else table(report))


def command_line(name: str) -> str:
    """Return the command that repeats this run, without the path of the interpreter."""
    return shlex.join(["python", "-m", f"bench.bench_{name}", *sys.argv[1:]])


def table(report: Report) -> str:
    """Return a report as text."""
    lines = [report.question, f"  $ {report.command_line}"]
    width = max((len(arm.name) for arm in report.arms), default=0)
    for arm in report.arms:
        lines.append(
            f"  {arm.name:<{width}}  {figure(arm.median):>10} {arm.unit}"
            f"   ({figure(arm.low)} to {figure(arm.high)})"
        )
    for one in report.comparisons:
        verdict = ""
        if one.target is not None:
            sign = ">=" if one.at_least else "<="
            verdict = f", target {sign} {one.target:g}: {'holds' if one.holds else 'MISSED'}"
        lines.append(
            f"  ratio {one.name}: {one.ratio:.2f} (rounds {one.low:.2f} to {one.high:.2f}){verdict}"
        )
    lines += [f"  {name}: {value}" for name, value in report.facts.items()]
    return "\n".join(lines)


def figure(value: float) -> str:
    """Return a figure with three significant digits or as a whole number with separators."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _progress(number: int, rounds: int, arms: Sequence[Arm], found: Sequence[float]) -> None:
    if sys.stderr.isatty():
        pairs = zip(arms, found, strict=True)
        text = ", ".join(f"{arm.name} {figure(value)}" for arm, value in pairs)
        print(f"  round {number}/{rounds}: {text}", file=sys.stderr)


def benchmark_name(file: str) -> str:
    """Return a benchmark's name from its ``__file__``."""
    return Path(file).stem.removeprefix("bench_")
