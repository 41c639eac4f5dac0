"""
What a host needs to pay its sellers: the balance to decide on, and a payout of all that is payable.

Both look at the read model ``sellers``, caught up. The commands check everything again: where the
seller's stream moved in between they are refused (``stale_base_version``), and the host proposes
anew.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from orderledger.commands.payout_commands import ReleasedSlice, SchedulePayout
from orderledger.commands.seller_commands import SeenBalance
from orderledger.ledger.errors import NotFound
from orderledger.ledger.limits import PAYOUT_ENTRIES_MAX
from orderledger.projections.sellers import SellerPayableRow, SellerReleaseRow
from orderledger.reading import Reading

_MODEL: Final = "sellers"


class PayoutTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to pay from which bank account, and what at least must be exceeded, in minor units."""

    seller: str
    currency: str
    bank: str
    minimum: int = 0


def seen_balance(reading: Reading, seller: str, currency: str) -> SeenBalance:
    """
    Return what a seller is owed now, as commands on payouts and reserves want it.

    Catches the read model up first. Raises NotFound for a seller who never was owed anything.
    """
    reading.models.catch_up(_MODEL)
    row = reading.models.get(SellerPayableRow, seller, currency)
    if row is None:
        raise NotFound(
            f"seller {seller} was never owed anything in {currency}",
            seller=seller,
            currency=currency,
        )
    return SeenBalance(row.balance, row.seller_version)


def payable_releases(
    reading: Reading, seller: str, currency: str, *, limit: int = PAYOUT_ENTRIES_MAX
) -> tuple[ReleasedSlice, ...]:
    """
    Return the releases of a seller that a payout would pay something for, by order.

    Catches the read model up first.
    """
    reading.models.catch_up(_MODEL)
    return tuple(islice(_payable(reading, seller, currency), limit))


def _payable(reading: Reading, seller: str, currency: str) -> Iterator[ReleasedSlice]:
    rows = reading.models.select(SellerReleaseRow, seller=seller, currency=currency)
    for row in rows:
        if row.payable > 0:
            yield ReleasedSlice(row.order_id, row.release_id)


def propose_payout(reading: Reading, payout_id: str, target: PayoutTarget) -> SchedulePayout:
    """
    Return the command that pays a seller all that is payable now, at most 1000 releases at once.

    Raises NotFound for a seller who never was owed anything. The command is refused with
    ``insufficient_funds`` where not more than the minimum is left after debts and reserve: try
    again after later releases.
    """
    # The balance last: a release that came in between is then in it.
    entries = payable_releases(reading, target.seller, target.currency)
    return SchedulePayout(
        payout_id=payout_id,
        seller=target.seller,
        currency=target.currency,
        bank=target.bank,
        seen=seen_balance(reading, target.seller, target.currency),
        entries=entries,
        minimum=target.minimum,
    )
