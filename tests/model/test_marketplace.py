"""
The engine against an independent model of the whole marketplace: orders with tax and coupons,
payments from abroad, refunds, disputes with mediators and outside bodies, chargebacks, payouts,
stored value and settlement batches to their closing, in any order, compared after every step.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.ledger.stores.sqlite import SqliteStore
from tests.model.marketplace_run import MarketplaceMachine

AT_LENGTH: Final = settings(
    max_examples=1_500,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SHORT: Final = settings(
    AT_LENGTH, max_examples=50, stateful_step_count=25, derandomize=True, database=None
)
FEW: Final = settings(SHORT, max_examples=4, stateful_step_count=20)
TestMarketplace = MarketplaceMachine.TestCase
TestMarketplace.settings = SHORT


def machine_on(open_store: Callable[[int], EventStore]) -> type[MarketplaceMachine]:
    """Return the machine on stores that are opened by number, a new one for each run."""

    class OnStore(MarketplaceMachine):
        count = 0

        def make_store(self) -> EventStore:
            OnStore.count += 1
            return open_store(OnStore.count)

    return OnStore


def test_marketplace_on_sqlite(tmp_path: Path) -> None:
    """Catches a store that answers otherwise than the one in memory."""
    machine = machine_on(lambda number: SqliteStore(str(tmp_path / f"{number}.db"), "main"))
    run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.pg
def test_marketplace_on_postgres(pg_url: str) -> None:
    """Catches the same of PostgreSQL, each run in a book of its own."""
    migrate(pg_url)
    machine = machine_on(lambda number: PostgresStore(pg_url, f"run{number}"))
    run_state_machine_as_test(machine, settings=FEW)


@pytest.mark.long
def test_marketplace_at_length() -> None:
    """Catches what needs longer histories than the short run has."""
    run_state_machine_as_test(MarketplaceMachine, settings=AT_LENGTH)
