"""The engines and an empty store on each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orderledger.ledger.ports import EventStore
from tests.contract.engines import (
    Engine,
    MemoryEngine,
    PostgresEngine,
    SqlEngine,
    SqliteEngine,
)

SQL_ENGINES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgres", id="postgres", marks=pytest.mark.pg),
]


def _make(name: str, request: pytest.FixtureRequest) -> Engine:
    if name == "memory":
        return MemoryEngine()
    if name == "sqlite":
        folder: Path = request.getfixturevalue("tmp_path")
        return SqliteEngine(folder / "book.db")
    return PostgresEngine(request.getfixturevalue("pg_url"))


@pytest.fixture(params=[pytest.param("memory", id="memory"), *SQL_ENGINES])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty database of every kind."""
    made = _make(request.param, request)
    yield made
    made.close()


@pytest.fixture(params=SQL_ENGINES)
def sql_engine(request: pytest.FixtureRequest) -> Iterator[SqlEngine]:
    """An empty database that can be reached past our code."""
    made = _make(request.param, request)
    assert isinstance(made, SqliteEngine | PostgresEngine)
    yield made
    made.close()


@pytest.fixture
def store(engine: Engine) -> EventStore:
    """The book `main` of an empty database."""
    return engine.open()
