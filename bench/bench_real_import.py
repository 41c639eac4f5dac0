"""How fast is a real shop's whole year imported, and in how much memory?"""

import os
import tempfile
from pathlib import Path
from typing import Final

import orderledger
from bench.command_line import ran
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
            found = ran("import", "online-retail", str(file), target=target)
            lines = int(found.answer["lines"])
            with orderledger.open(target) as book:
                events = book.store.head().size
            for unit, value in (
                ("lines/s", lines / found.seconds),
                ("events/s", events / found.seconds),
                ("MB RSS", found.rss_mb),
            ):
                arms.append(measured(Arm(f"{engine} import", unit, lambda _: 0.0), [value]))
            facts[f"{engine} lines"] = lines
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


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
