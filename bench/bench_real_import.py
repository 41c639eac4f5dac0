"""How fast is a real shop's whole year imported, and in how much memory?"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

import orderledger
from bench.databases import durability, event_count, server
from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Measured,
    Ratio,
    Settings,
    benchmark_name,
    main,
    measured,
)

DATA_VARIABLE: Final = "ORDERLEDGER_TEST_DATA"
USUAL_DIRECTORY: Final = Path(__file__).parent.parent.parent / "shared" / "data"
FILE_NAME: Final = "online_retail.csv.gz"
RSS_LIMIT_MB: Final = 300
QUICK_LINES: Final = 300
_PROGRAM: Final = "from orderledger.cli import main; main()"


class Imported(msgspec.Struct, frozen=True):
    """One run of the command line."""

    lines: int
    seconds: float
    rss_mb: float


def run(settings: Settings) -> Answer:
    """Run `orderledger import online-retail` once per engine, in a process of its own."""
    source = Path(os.environ.get(DATA_VARIABLE) or USUAL_DIRECTORY) / FILE_NAME
    if not source.exists():
        return Answer(
            [], [], {"skipped": f"no data: name the directory of {FILE_NAME} in {DATA_VARIABLE}"}
        )
    arms: list[Measured] = []
    facts: Facts = {"rounds": 1, "seconds per sample": "the whole file"}
    with (
        tempfile.TemporaryDirectory() as directory,
        server() as databases,
        databases.fresh_database() as url,
    ):
        file = _beginning(source, Path(directory)) if settings.is_quick else source
        orderledger.migrate(url)
        sqlite = f"sqlite:///{Path(directory) / 'book.db'}"
        for engine, target in (("SQLite", sqlite), ("PostgreSQL", url)):
            found = _import(file, target)
            with orderledger.open(target) as book:
                events = book.store.head().size
            for unit, value in (
                ("lines/s", found.lines / found.seconds),
                ("events/s", events / found.seconds),
                ("MB RSS", found.rss_mb),
            ):
                arms.append(measured(Arm(f"{engine} import", unit, lambda _: 0.0), [value]))
            facts[f"{engine} lines"] = found.lines
            facts[f"{engine} events"] = events
            facts[f"{engine} seconds"] = round(found.seconds, 1)
        facts["events of ours"] = event_count(url)
        facts |= durability(url)
    limit = measured(Arm("limit", "MB RSS", lambda _: 0.0), [RSS_LIMIT_MB])
    ratios = [
        Ratio("SQLite memory / 300 MB", 2, 6, target=1.0, at_least=False),
        Ratio("PostgreSQL memory / 300 MB", 5, 6, target=1.0, at_least=False),
    ]
    return Answer([*arms, limit], ratios, facts)


def _beginning(source: Path, directory: Path) -> Path:
    import gzip

    target = directory / "beginning.csv"
    with gzip.open(source, "rt", encoding="utf-8", newline="") as read:
        lines = [next(read) for _ in range(QUICK_LINES)]
    target.write_text("".join(lines), encoding="utf-8", newline="")
    return target


def _import(file: Path, target: str) -> Imported:
    command = [sys.executable, "-c", _PROGRAM, "import", "online-retail", str(file)]
    command += ["--url", target, "--json", "--quiet"]
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        output.seek(0)
        summary = json.load(output)
    # Linux counts in KiB.
    return Imported(int(summary["lines"]), seconds, usage.ru_maxrss / 1024)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
