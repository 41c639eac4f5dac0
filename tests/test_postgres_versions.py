"""The run over all PostgreSQL versions: one that lies about a version is worse than none."""

import sys
from pathlib import Path

import pytest

from tests import postgres_server
from tests.postgres_server import BINARIES_VARIABLE, PostgresMissing, version_of
from tests.source_tree import ROOT
from tools import test_postgres_versions as versions

RESULTS = (
    '<testsuites><testsuite tests="9" failures="{failures}" errors="1" skipped="2"/></testsuites>'
)


def _binaries(folder: Path, version: str) -> Path:
    """Make a directory whose server can only tell its version."""
    folder.mkdir()
    for program in ("initdb", "postgres"):
        path = folder / program
        path.write_text(f"#!{sys.executable}\nprint('postgres (PostgreSQL) {version}')\n")
        path.chmod(0o755)
    return folder


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record on which versions the tests would run, instead of running them."""
    found: list[str] = []

    def run(binaries: Path, results: Path) -> int:
        found.append(version_of(binaries))
        results.write_text(RESULTS.format(failures=int(found[-1] == "17.2")))
        return int(found[-1] == "17.2")

    monkeypatch.setattr(versions, "_run_tests", run)
    monkeypatch.setattr(versions, "installed_binaries", list)
    return found


def test_a_named_directory_is_used_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches tests that run on the installed version under the name of another."""
    named = _binaries(tmp_path / "bin", "16.9")
    monkeypatch.setenv(BINARIES_VARIABLE, str(named))
    assert postgres_server.find_binaries.__wrapped__() == named
    monkeypatch.setenv(BINARIES_VARIABLE, str(tmp_path))
    with pytest.raises(PostgresMissing, match="holds no initdb"):
        postgres_server.find_binaries.__wrapped__()


def test_every_claimed_version_runs_once_and_has_a_line(
    tmp_path: Path, ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a version that is left out, run twice, or taken from the wrong directory."""
    names = ("18.6", "15.18", "16.14", "17.10", "17.2", "14.1")
    assert versions.main([str(_binaries(tmp_path / name, name)) for name in names]) == 0
    assert ran == ["15.18", "16.14", "17.10", "18.6"]
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[1] == "PostgreSQL 16.14: 6 passed, 0 failures, 1 errors, 2 skipped"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("15.1", "16.1", "18.1"), "PostgreSQL 17: NOT RUN"),
        (("15.1", "16.1", "17.2", "18.1"), "PostgreSQL 17.2: 5 passed, 1 failures"),
    ],
)
def test_a_claim_that_was_not_kept_fails(
    tmp_path: Path,
    ran: list[str],
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, ...],
    line: str,
) -> None:
    """Catches a green run in which a version was missing or failed."""
    assert versions.main([str(_binaries(tmp_path / name, name)) for name in names]) == 1
    assert ran == list(names)
    assert line in capsys.readouterr().out


def test_a_directory_without_a_server_is_refused(tmp_path: Path) -> None:
    """Catches a mistyped directory in whose place an installed server is tested."""
    with pytest.raises(SystemExit, match="holds no initdb"):
        versions.main([str(tmp_path)])


@pytest.mark.parametrize("page", ["README.md", "docs/postgres.md"])
def test_the_pages_claim_what_is_run(page: str) -> None:
    """Catches a page that promises a version on which nothing ran."""
    first, *_, last = versions.CLAIMED
    assert f"PostgreSQL {first} to {last}" in (ROOT / page).read_text("utf-8")
