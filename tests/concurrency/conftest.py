"""What the tests of concurrency share: a database that several processes may open."""

from pathlib import Path

import pytest

import orderledger


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.pg)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a prepared database."""
    made = f"sqlite:///{tmp_path / 'book.db'}"
    if request.param == "postgres":
        made = request.getfixturevalue("pg_url")
    orderledger.migrate(made)
    return made
