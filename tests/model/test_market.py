"""
The engine against an independent model: random commands and reports, compared after every step.
"""

from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.market_machine import MarketMachine

SHORT: Final = settings(
    max_examples=200, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
TestMarket = MarketMachine.TestCase
TestMarket.settings = SHORT


@pytest.mark.long
def test_market_at_length() -> None:
    """Catches what needs longer histories than the short run has."""
    run_state_machine_as_test(
        MarketMachine, settings=settings(SHORT, max_examples=1_500, stateful_step_count=80)
    )
