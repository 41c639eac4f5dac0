"""
The engine against an independent model: random commands and reports, compared after every step.
"""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.model.market_machine import MarketMachine

SHORT: Final = settings(
    max_examples=200, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestMarket = MarketMachine.TestCase
TestMarket.settings = SHORT


@pytest.fixture
def sqlite_market(tmp_path: Path) -> type[MarketMachine]:
    """Return the machine on SQLite, a new file for each run."""

    class OnSqlite(MarketMachine):
        count = 0

        def make_store(self) -> EventStore:
            OnSqlite.count += 1
            return SqliteStore(str(tmp_path / f"market{OnSqlite.count}.db"), "main")

    return OnSqlite


def test_market_on_sqlite(sqlite_market: type[MarketMachine]) -> None:
    """Catches a store that answers otherwise than the one in memory."""
    run_state_machine_as_test(
        sqlite_market, settings=settings(SHORT, max_examples=8, stateful_step_count=20)
    )


@pytest.mark.long
def test_market_at_length() -> None:
    """Catches what needs longer histories than the short run has."""
    run_state_machine_as_test(
        MarketMachine, settings=settings(SHORT, max_examples=1_500, stateful_step_count=80)
    )
