"""
Which fold belongs to which kind of stream: the initial state and one evolve function per event.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from . import (
    accounts_state,
    dispute_fold,
    disputes,
    fulfilments,
    inbox,
    orders,
    payments,
    periods,
    projection_skips,
    returns,
    stored_value,
    work_discards,
)
from .errors import IntegrityViolation
from .events import Event
from .streams import kind_of

Evolve = Callable[[Any, Any], Any]


class Fold(msgspec.Struct, frozen=True):
    """
    How a kind of stream is folded: ``evolve[type(event)](state, event)``, from ``initial``.

    Evolve functions are total over every event ever stored and never raise.
    """

    initial: Any
    evolve: Mapping[type[Event], Evolve]

    def apply(self, state: Any, event: Event) -> Any:
        """Return the state after an event; raises IntegrityViolation for a foreign event."""
        try:
            return self.evolve[type(event)](state, event)
        except KeyError:
            raise IntegrityViolation(
                f"a {type(event).__name__} does not belong in a stream folded to "
                f"{type(state).__name__}",
                event=type(event).__name__,
                state=type(state).__name__,
            ) from None


FOLDS: Final[Mapping[str, Fold]] = {
    "order": Fold(orders.INITIAL, orders.EVOLVE),
    "payment": Fold(payments.INITIAL, payments.EVOLVE),
    "fulfilment": Fold(fulfilments.INITIAL, fulfilments.EVOLVE),
    "return": Fold(returns.INITIAL, returns.EVOLVE),
    "storedvalue": Fold(stored_value.INITIAL, stored_value.EVOLVE),
    "account": Fold(accounts_state.INITIAL, accounts_state.EVOLVE),
    "journal": Fold(accounts_state.JOURNAL_INITIAL, accounts_state.JOURNAL_EVOLVE),
    "inbox": Fold(inbox.INITIAL, inbox.EVOLVE),
    "periods": Fold(periods.INITIAL, periods.EVOLVE),
    "dispute": Fold(disputes.INITIAL, dispute_fold.EVOLVE),
    "projection": Fold(projection_skips.INITIAL, projection_skips.EVOLVE),
    "work": Fold(work_discards.INITIAL, work_discards.EVOLVE),
}


def fold_of(stream: str) -> Fold:
    """Return the fold of a stream by its kind; raises IntegrityViolation for an unknown kind."""
    try:
        return FOLDS[kind_of(stream)]
    except KeyError:
        raise IntegrityViolation(
            f"stream {stream!r} is of no kind this code knows", stream=stream
        ) from None
