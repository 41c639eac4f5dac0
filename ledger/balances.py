"""
Balances on two clocks: what was effective by one instant, as far as recorded by another.

The pure rule; the read model that keeps it up to date is ``projections/balances.py``.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from .journal import Layer


class BalanceRow(msgspec.Struct, frozen=True, gc=False):
    """
    One leg with both its clocks: ``effective_at`` is the world's, ``recorded_at`` the engine's.

    ``minor`` is signed, debit positive.
    """

    account: str
    currency: str
    minor: int
    effective_at: datetime
    recorded_at: datetime
    layer: Layer = Layer.POSTED


def balance(
    rows: Iterable[BalanceRow],
    account: str,
    effective_to: datetime | None = None,
    recorded_to: datetime | None = None,
) -> dict[tuple[Layer, str], int]:
    """
    Return an account's balance per (layer, currency), debit positive, up to both instants.

    Both bounds are inclusive and either may be left out. A back-dated row counts from its
    effective instant on, but only for those who ask as of a time when it was recorded. Currencies
    without a row are absent. Cost: O(rows).
    """
    sums: dict[tuple[Layer, str], int] = {}
    for row in rows:
        if row.account != account:
            continue
        if effective_to is not None and row.effective_at > effective_to:
            continue
        if recorded_to is not None and row.recorded_at > recorded_to:
            continue
        key = (row.layer, row.currency)
        sums[key] = sums.get(key, 0) + row.minor
    return sums
