"""Fixtures and settings that every test shares."""

import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres_server
from tests.postgres_server import Databases, PostgresMissing, PostgresServer

PACKAGES = ("eventsourcing", "psycopg", "msgspec", "hypothesis")
PG_FIXTURES = {"pg_server", "pg_url", "pg_crash_server"}
WORKERS_MAX = 5  # each has a PostgreSQL of its own
EXAMPLES = {"dev": 50, "ci": 500, "nightly": 20_000}

for _name, _examples in EXAMPLES.items():
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,  # a slow machine is no failure; the timeout of the whole test is
        derandomize="CI" in os.environ,  # the same commit must not pass once and fail once
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("ORDERLEDGER_HYPOTHESIS", "dev"))


def _versions() -> str:
    found = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgres": postgres_server.describe(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }
    return ", ".join(f"{name} {version}" for name, version in found.items())


def pytest_report_header() -> str:
    """Print the versions that a failure depends on."""
    return _versions()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Print them with -q too, where pytest leaves its header out."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and session.config.get_verbosity() < 0:
        reporter.write_line(_versions())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a PostgreSQL fixture, so that -m "not pg" needs no server."""
    for item in items:
        if PG_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.pg)


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: tests wait for the disk and for processes of their own."""
    return min((os.cpu_count() or 1) + 1, WORKERS_MAX)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[Databases]:
    """Share one server, started at the first use, without fsync unless it is an external one."""
    postgres_server.sweep_stale_directories()
    try:
        databases = postgres_server.open_databases()
    except PostgresMissing as error:
        _without_postgres(error)
    else:
        yield databases
        databases.close()


@pytest.fixture
def pg_url(request: pytest.FixtureRequest, pg_server: Databases) -> Iterator[str]:
    """Give the URL of a fresh, empty database.

    A test that asks for it by name alone must carry the mark: -m pg would leave it out unseen.
    """
    assert request.node.get_closest_marker("pg"), "mark the parameter with pytest.mark.pg"
    with pg_server.fresh_database() as url:
        yield url


@pytest.fixture
def pg_crash_server() -> Iterator[PostgresServer]:
    """Give a server of one's own, with fsync, to kill and restart."""
    try:
        server = PostgresServer(fsync=True)
    except PostgresMissing as error:
        _without_postgres(error)
    else:
        with server:
            yield server


def _without_postgres(error: PostgresMissing) -> None:
    # In continuous integration a skipped engine looks like a tested one.
    if os.environ.get("CI"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(f"POSTGRESQL IS NOT TESTED: {error}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly when an engine, or a program that reads what we write, was left out."""
    skipped = terminalreporter.stats.get("skipped", [])
    unread = sum("HLEDGER IS NOT TESTED" in str(report.longrepr) for report in skipped)
    if unread:
        terminalreporter.write_line(f"WARNING: {unread} tests skipped, HLEDGER IS NOT TESTED")
    count = sum("POSTGRESQL IS NOT TESTED" in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"WARNING: {count} tests skipped, POSTGRESQL IS NOT TESTED: {PostgresMissing.__doc__}"
        )
