"""How long does `import orderledger` take, without the optional parts?"""

import subprocess
import sys
import time

from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Ratio,
    Settings,
    benchmark_name,
    interleave,
    main,
)

FRONT_DOOR = "import orderledger"
EVERYTHING_OF_A_BOOK = "import orderledger; orderledger.Book; orderledger.Envelope"
OPTIONAL = ("psycopg", "psycopg_pool", "click", "rich", "cryptography", "opentelemetry")


def run(settings: Settings) -> Answer:
    """Measure whole interpreters that import it, less those that import nothing."""
    arms = [
        Arm("import orderledger", "s", lambda _: _import_s(FRONT_DOOR)),
        Arm("and what opening a book needs", "s", lambda _: _import_s(EVERYTHING_OF_A_BOOK)),
        Arm("limit", "s", lambda _: 0.3),
    ]
    found = interleave(arms, settings)
    found_optional = _loaded(EVERYTHING_OF_A_BOOK)
    facts: Facts = {
        "optional packages that were imported": ", ".join(found_optional) or "none",
        "slowest (importtime, us)": ", ".join(_slowest()),
    }
    ratios = [
        Ratio("import orderledger / 0.3 s", 0, 2, target=1.0, at_least=False),
        Ratio("with everything a book needs / 0.3 s", 1, 2, target=1.0, at_least=False),
    ]
    return Answer(found, ratios, facts)


def _import_s(program: str) -> float:
    return max(_run_s(program) - _run_s("pass"), 0.001)


def _run_s(program: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - started


def _loaded(program: str) -> list[str]:
    code = f"{program}; import sys; print(*[n for n in {OPTIONAL!r} if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return ended.stdout.split()


def _slowest() -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", EVERYTHING_OF_A_BOOK],
        check=True,
        capture_output=True,
        text=True,
    )
    rows: list[tuple[int, str]] = []
    for line in ended.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|", 2)
        if own.strip().isdigit():
            rows.append((int(own), name.strip()))
    return [f"{name} {own}" for own, name in sorted(rows, reverse=True)[:5]]


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
