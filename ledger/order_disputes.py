"""
Disputes on their order's own stream: notices that bind filings, completion and refunds together.

A dispute's steps are in its own stream. That it was opened and how it ended stands here too, so
that two filings about one line, or a filing and a completion, cannot both succeed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .dispute_content import ClaimedLine, DisputeOutcome
from .dispute_parties import Party
from .events import Event, topic


@topic("order.dispute_opened.v1")
class DisputeOpened(Event, frozen=True):
    """A dispute about these lines was filed; named again, its claims were joined by others."""

    dispute_id: str
    claimant: Party
    claims: tuple[ClaimedLine, ...]


@topic("order.dispute_closed.v1")
class DisputeClosed(Event, frozen=True):
    """The dispute ended; ``may_refile``: its lines may be disputed for the same amount again."""

    dispute_id: str
    outcome: DisputeOutcome
    may_refile: bool = False


class DisputeNotice(msgspec.Struct, frozen=True):
    """A dispute as its order knows it; ``outcome`` None while it is open."""

    claimant: Party
    claims: Mapping[str, int] = {}
    outcome: DisputeOutcome | None = None
    may_refile: bool = False

    @property
    def claimed(self) -> int:
        """The amount in dispute."""
        return sum(self.claims.values())

    @property
    def is_open(self) -> bool:
        """Neither ended nor executed."""
        return self.outcome is None

    @property
    def takes_up(self) -> bool:
        """Its claims are in dispute or were decided, so that nobody can claim them again."""
        return self.outcome in (None, DisputeOutcome.SETTLED, DisputeOutcome.RULED)


Disputes = Mapping[str, DisputeNotice]


def open_disputes(disputes: Disputes) -> tuple[str, ...]:
    """Return the ids of the open disputes, the first filed first."""
    return tuple([dispute_id for dispute_id, one in disputes.items() if one.is_open])


def disputes_of(disputes: Disputes, line_id: str) -> tuple[str, ...]:
    """Return the ids of the open disputes about a line; there is one at most by command."""
    return tuple([key for key, one in disputes.items() if one.is_open and line_id in one.claims])


def taken_up(disputes: Disputes, line_id: str) -> int:
    """Return what of a line is claimed by open disputes, or was decided by others."""
    return sum([one.claims.get(line_id, 0) for one in disputes.values() if one.takes_up])


def all_taken_up(disputes: Disputes) -> int:
    """Return what of the whole order is claimed by open disputes, or was decided by others."""
    return sum([one.claimed for one in disputes.values() if one.takes_up])


def has_ruling(disputes: Disputes) -> bool:
    """Tell whether a dispute of the order ended by a ruling."""
    return any(one.outcome is DisputeOutcome.RULED for one in disputes.values())


def _opened(state: Any, event: DisputeOpened) -> Any:
    claims = {claim.line_id: claim.amount for claim in event.claims}
    notice = DisputeNotice(event.claimant, claims)
    return msgspec.structs.replace(state, disputes={**state.disputes, event.dispute_id: notice})


def _closed(state: Any, event: DisputeClosed) -> Any:
    notice = state.disputes.get(event.dispute_id)
    if notice is None:
        return state
    ended = msgspec.structs.replace(notice, outcome=event.outcome, may_refile=event.may_refile)
    return msgspec.structs.replace(state, disputes={**state.disputes, event.dispute_id: ended})


EVOLVE: Final[Mapping[type[Event], Callable[[Any, Any], Any]]] = {
    DisputeOpened: _opened,
    DisputeClosed: _closed,
}
"""The part of an order's fold that is about disputes."""
