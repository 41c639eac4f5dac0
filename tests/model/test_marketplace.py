"""
The engine against an independent model of the whole marketplace: orders with tax and coupons,
payments from abroad, refunds, disputes with mediators and outside bodies, chargebacks, payouts,
stored value and settlement batches to their closing, in any order, compared after every step.
"""

from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

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
TestMarketplace = MarketplaceMachine.TestCase
TestMarketplace.settings = SHORT


@pytest.mark.long
def test_marketplace_at_length() -> None:
    """Catches what needs longer histories than the short run has."""
    run_state_machine_as_test(MarketplaceMachine, settings=AT_LENGTH)
