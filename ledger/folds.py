"""
Which fold belongs to which kind of stream: the initial state and one evolve function per event.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from . import (
    accounts_state,
    alerts,
    approvals,
    bank_statements,
    dispute_fold,
    disputes,
    fulfilments,
    inbox,
    orders,
    payments,
    payouts,
    periods,
    projection_skips,
    returns,
    sellers,
    settlements,
    stored_value,
    work_discards,
)
from .attestation_events import StreamAttested
from .errors import IntegrityViolation
from .events import Event, topic_of
from .streams import kind_of

Evolve = Callable[[Any, Any], Any]


class Fold(msgspec.Struct, frozen=True):
    """
    How a kind of stream is folded: ``evolve[type(event)](state, event)``, from ``initial``.

    Evolve functions are total over every event ever stored and never raise. ``version`` is raised
    whenever stored events would fold to another state than before: snapshots of it are void then.
    """

    initial: Any
    evolve: Mapping[type[Event], Evolve]
    version: int = 1

    @property
    def state_type(self) -> type[Any]:
        """The struct of the states."""
        found: type[Any] = self.initial.__class__
        return found

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


_OWN: Final[Mapping[str, Fold]] = {
    "order": Fold(orders.INITIAL, orders.EVOLVE),
    "payment": Fold(payments.INITIAL, payments.EVOLVE),
    "fulfilment": Fold(fulfilments.INITIAL, fulfilments.EVOLVE),
    "return": Fold(returns.INITIAL, returns.EVOLVE),
    "storedvalue": Fold(stored_value.INITIAL, stored_value.EVOLVE),
    "seller": Fold(sellers.INITIAL, sellers.EVOLVE),
    "standing": Fold(sellers.STANDING_INITIAL, sellers.STANDING_EVOLVE),
    "payout": Fold(payouts.INITIAL, payouts.EVOLVE),
    "account": Fold(accounts_state.INITIAL, accounts_state.EVOLVE),
    "journal": Fold(accounts_state.JOURNAL_INITIAL, accounts_state.JOURNAL_EVOLVE),
    "inbox": Fold(inbox.INITIAL, inbox.EVOLVE),
    "periods": Fold(periods.INITIAL, periods.EVOLVE),
    "settlement": Fold(settlements.INITIAL, settlements.EVOLVE),
    "dispute": Fold(disputes.INITIAL, dispute_fold.EVOLVE),
    "bank": Fold(bank_statements.INITIAL, bank_statements.EVOLVE),
    "approval": Fold(approvals.INITIAL, approvals.EVOLVE),
    "alert": Fold(alerts.INITIAL, alerts.EVOLVE),
    "projection": Fold(projection_skips.INITIAL, projection_skips.EVOLVE),
    "work": Fold(work_discards.INITIAL, work_discards.EVOLVE),
}


def _attested(state: Any, _event: StreamAttested) -> Any:
    return state


FOLDS: Final[Mapping[str, Fold]] = {
    kind: Fold(fold.initial, {**fold.evolve, StreamAttested: _attested})
    for kind, fold in _OWN.items()
}
"""The fold of each kind of stream: its own events, and the one that any stream may have."""


def folded() -> Mapping[str, type[Event]]:
    """
    Return every topic that streams are folded by with its struct, sorted by topic.

    For read models, which gather their topics by area: unlike ``events.topics`` it does not depend
    on what happens to be imported by then.
    """
    found = {topic_of(struct): struct for fold in FOLDS.values() for struct in fold.evolve}
    return dict(sorted(found.items()))


def fold_of(stream: str) -> Fold:
    """Return the fold of a stream by its kind; raises IntegrityViolation for an unknown kind."""
    try:
        return FOLDS[kind_of(stream)]
    except KeyError:
        raise IntegrityViolation(
            f"stream {stream!r} is of no kind this code knows", stream=stream
        ) from None
