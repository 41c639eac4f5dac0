"""
When a snapshot is due, and which are kept: pure rules over numbers of events and instants.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import msgspec

from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.orders import ENDED, Lifecycle
from orderledger.ledger.payouts import PayoutStatus
from orderledger.ledger.settlements import SettlementStatus
from orderledger.ledger.streams import kind_of


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """
    When a stream of a kind is given another snapshot, by the events since its last one.

    After ``every`` events; after ``on_close`` when its state has come to an end; after ``aged``
    when the last one, or the first event, is ``max_age`` old. ``keep`` of a stream are kept.
    """

    every: int = 200
    on_close: int = 50
    aged: int = 50
    max_age: timedelta = timedelta(days=30)
    keep: int = 6

    @property
    def shortest(self) -> int:
        """Fewer events since the last snapshot than this make none due, whatever happened."""
        return min(self.every, self.on_close, self.aged)


class Tail(msgspec.Struct, frozen=True):
    """What a stream has since its last snapshot: how many events, for how long, and its state."""

    stream: str
    events: int
    age: timedelta
    state: Any


DEFAULT: Final = Policy()
POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        # Many small events and a small state: reading the events is cheap, and so is a snapshot.
        "account": Policy(every=1_000, on_close=200, aged=200, keep=12),
    }
)
"""The kinds of stream with a policy of their own; all others have ``DEFAULT``."""

_PAID_OUT: Final = frozenset({PayoutStatus.PAID, PayoutStatus.RETURNED, PayoutStatus.CANCELLED})
_ENDS: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "order": lambda state: state.lifecycle in ENDED or state.lifecycle is Lifecycle.COMPLETED,
        "dispute": lambda state: state.stage is Stage.CLOSED,
        "payout": lambda state: state.status in _PAID_OUT,
        "settlement": lambda state: state.status is SettlementStatus.CLOSED,
        "alert": lambda state: state.resolved is not None,
    }
)


class ModelPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """
    At which positions the rows of a read model are saved.

    After another ``every`` events, or a ``share`` of the log where that is more: so that saving
    costs the same per event however long the log is. ``keep`` of a model are kept.
    """

    every: int = 15_000
    share: int = 64
    keep: int = 80

    def next_after(self, position: int) -> int:
        """Return the position of the snapshot that follows one at a position, or the first."""
        return position + max(self.every, position // self.share)


MODELS: Final = ModelPolicy()


def policy_of(policies: Mapping[str, Policy], stream: str) -> Policy:
    """Return the policy of a stream by its kind."""
    return policies.get(kind_of(stream), DEFAULT)


def is_over(stream: str, state: Any) -> bool:
    """Tell whether a stream has come to an end, after which few events follow."""
    ends = _ENDS.get(kind_of(stream))
    return ends is not None and ends(state)


def is_due(policy: Policy, tail: Tail) -> bool:
    """Tell whether a stream is due for a snapshot."""
    if tail.events < policy.shortest:
        return False
    if tail.events >= policy.every:
        return True
    if tail.events >= policy.aged and tail.age >= policy.max_age:
        return True
    return tail.events >= policy.on_close and is_over(tail.stream, tail.state)


def thinned(places: Sequence[int], keep: int) -> Sequence[int]:
    """
    Return which of ascending places to drop so that at most ``keep`` remain, evenly spread.

    Again and again the one whose neighbours are nearest to each other, so that whoever asks for
    any place has little to read from the one before it. The last one stays.
    """
    kept, dropped = list(places), list[int]()
    while len(kept) > max(keep, 1):
        before = [0, *kept]
        gaps = [kept[number + 1] - before[number] for number in range(len(kept) - 1)]
        dropped.append(kept.pop(gaps.index(min(gaps))))
    return sorted(dropped)
