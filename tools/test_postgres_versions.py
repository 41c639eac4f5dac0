"""Run every test that needs PostgreSQL on each version that the library claims.

python -m tools.test_postgres_versions [directory …]

Each directory holds initdb and postgres; they come before what is installed here, and the first of
a version counts. A line per version says how many tests passed. The exit status is 0 only when all
claimed versions ran and every test passed.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests.postgres_server import (
    BINARIES_VARIABLE,
    TEST_URL_VARIABLE,
    holds_a_server,
    installed_binaries,
    version_of,
)
from tests.source_tree import ROOT

CLAIMED: Final = ("15", "16", "17", "18")
MARKED: Final = "pg and not long"
UNSUCCESSFUL: Final = ("failures", "errors", "skipped")


def main(arguments: Sequence[str]) -> int:
    """Return 0 when every claimed version passed, else 1."""
    directories = [Path(argument).expanduser().resolve() for argument in arguments]
    for directory in directories:
        if not holds_a_server(directory):
            sys.exit(f"{directory} holds no initdb and postgres")
    found = by_version([*directories, *installed_binaries()])
    results = [report(version, found.get(version)) for version in CLAIMED]
    print(*(line for line, _ in results), sep="\n")
    return 0 if all(passed for _, passed in results) else 1


def by_version(directories: Sequence[Path]) -> dict[str, Path]:
    """Return the first directory of each major version."""
    found: dict[str, Path] = {}
    for directory in directories:
        found.setdefault(version_of(directory).partition(".")[0], directory)
    return found


def report(version: str, binaries: Path | None) -> tuple[str, bool]:
    """Run the tests on one version; return the line about it, and whether it passed."""
    if binaries is None:
        return f"PostgreSQL {version}: NOT RUN, no directory of its initdb and postgres", False
    name = f"PostgreSQL {version_of(binaries)}"
    print(f"{name} of {binaries}", flush=True)
    with tempfile.TemporaryDirectory(prefix="orderledger-versions-") as folder:
        results = Path(folder) / "results.xml"
        status = _run_tests(binaries, results)
        if not results.exists():
            return f"{name}: NOT RUN, pytest ended with status {status}", False
        counts = dict(count(results))
    text = ", ".join(f"{number} {what}" for what, number in counts.items())
    return f"{name}: {text}", status == 0


def _run_tests(binaries: Path, results: Path) -> int:
    # With CI set, a server that does not start is a failure and no skipped test.
    environment = {**os.environ, "CI": "true", BINARIES_VARIABLE: str(binaries)}
    environment.pop(TEST_URL_VARIABLE, None)
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-m", MARKED]
    command.append(f"--junitxml={results}")
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def count(results: Path) -> Iterator[tuple[str, int]]:
    """Yield how many tests passed, failed, had errors and were skipped, from pytest's XML."""
    suites = list(ElementTree.parse(results).iter("testsuite"))
    numbers = {
        name: sum(int(suite.attrib[name]) for suite in suites) for name in ("tests", *UNSUCCESSFUL)
    }
    yield "passed", numbers["tests"] - sum(numbers[name] for name in UNSUCCESSFUL)
    yield from ((name, numbers[name]) for name in UNSUCCESSFUL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
