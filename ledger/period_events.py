"""
Events of a book's accounting periods (stream ``periods-main``).
"""

import msgspec

from .events import Event, topic
from .instants import Instant
from .journal import Layer


class ClassTotal(msgspec.Struct, frozen=True):
    """
    The trial balance of one class of the chart in one currency and layer.

    ``account_class`` is the prefix of the chart's row. ``debit`` and ``credit`` are the sums of the
    debit and of the credit balances, in minor units; ``account_count`` is how many accounts have a
    balance.
    """

    account_class: str
    currency: str
    layer: Layer
    debit: int
    credit: int
    account_count: int


@topic("period.closed.v1")
class PeriodClosed(Event, frozen=True, kw_only=True):
    """
    The books are closed for every entry effective before ``end``.

    The period is [start, end) of the world's clock; ``start`` None is the beginning of the book.
    The trial balance is over every entry effective before ``end`` among the events up to
    ``position``, which is the one before this event's own: no entry before ``end`` comes later
    unless the period is reopened. ``totals`` sum it up by class, ``trial_balance_hash`` is SHA-256
    (hex) over all of its ``account_count`` lines; see ``ledger/trial_balance.py``.
    """

    period: str
    start: Instant | None
    end: Instant
    position: int
    totals: tuple[ClassTotal, ...]
    account_count: int
    trial_balance_hash: str


@topic("period.reopened.v1")
class PeriodReopened(Event, frozen=True, kw_only=True):
    """The last closed period, [start, end), takes entries again."""

    period: str
    start: Instant | None
    end: Instant
    reason: str
