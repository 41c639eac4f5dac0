"""The fold of a dispute is total: whatever was stored, in any order, folds without an error."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orderledger.ledger.dispute_fold import EVOLVE
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.disputes import INITIAL, deadlines_of, running
from tests.model.random_commands import Maker


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_any_events_in_any_order_fold(seed: int, count: int) -> None:
    """A state that cannot be read any more because two reports crossed."""
    source = random.Random(seed)
    maker = Maker(source)
    state: Any = INITIAL
    for _ in range(count):
        event = maker.struct(source.choice(list(EVOLVE)))
        if getattr(event, "at", None) is not None and event.at.tzinfo is None:
            continue
        state = EVOLVE[type(event)](state, event)
        assert len(deadlines_of(state)) in (0, len(running(state)))
        assert isinstance(state.respondent, Party)
        assert sum(state.award.values()) >= 0 or state.rulings or state.settlement
        assert state.executed is not None
