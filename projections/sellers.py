"""
What each seller is owed, and why: releases, refunds, reserve, freezes and payouts.

SQL views: ``seller_payables``, ``seller_releases``, ``seller_reserves``.

The money is counted from the postings on the seller's account, so that the columns sum to its
balance whoever posted.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from msgspec.structs import astuple, replace

from orderledger.ledger import accounts, streams
from orderledger.ledger import seller_events as s
from orderledger.ledger.account_events import JournalEntryPosted, JournalKind
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.model_ports import Key, Row, Table
from orderledger.ledger.order_events import FundsReleased
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payouts import PayoutState
from orderledger.ledger.seller_position import credited, owed
from orderledger.ledger.sellers import SellerState

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table("seller_payables", key_count=2, indexes=(("balance",),))
class SellerPayableRow(TableRow, frozen=True):
    """
    One row per seller and currency, amounts in minor units of ``currency``.

    released − refunded − frozen − reserved − penalties + written_off + adjusted − in_transit −
    paid_out = balance: what ``liabilities:seller:{s}`` owes the seller, below zero the seller's
    ``debt``. ``refunded`` went back to buyers after the release, ``reserved`` is in the rolling
    reserve; ``frozen`` is what disputes and chargebacks took aside and did not give back.
    ``adjusted`` is what any other entry did. ``scheduled`` payouts have not left the balance yet;
    ``available`` is the balance without them, at least zero.

    ``seller_version`` counts the events of the seller's stream by then: with ``balance`` it is
    what a payout is decided on (``SeenBalance``).
    """

    seller: str
    currency: str
    released: Amount
    refunded: Amount
    frozen: Amount
    reserved: Amount
    penalties: Amount
    written_off: Amount
    adjusted: Amount
    in_transit: Amount
    paid_out: Amount
    balance: Amount
    scheduled: Amount
    available: Amount
    debt: Amount
    seller_version: int
    last_at: datetime


@table("seller_releases", key_count=2, indexes=(("seller", "currency", "payable"),))
class SellerReleaseRow(TableRow, frozen=True):
    """
    One row per release of an order, amounts in minor units of ``currency``.

    ``amount`` was credited to the seller, ``claimed`` is in payouts that did not fail, the last of
    which is ``payout_id``. ``payable`` is what a payout would pay for it now: not claimed, not
    refunded, not frozen.
    """

    order_id: str
    release_id: str
    seller: str
    currency: str
    amount: Amount
    claimed: Amount
    payable: Amount
    payout_id: str
    released_at: datetime


@table("seller_reserves", key_count=3, indexes=(("matures_at",),))
class SellerReserveRow(TableRow, frozen=True):
    """
    One row per amount that was taken to the rolling reserve, in minor units of ``currency``.

    ``remaining`` has not gone back to the seller.
    """

    seller: str
    currency: str
    reserve_id: str
    payout_id: str
    amount: Amount
    remaining: Amount
    matures_at: datetime


@table("seller_release_times", key_count=2)
class SellerReleaseTimeRow(TableRow, frozen=True):
    """Working rows: what a folded order and seller do not keep of a release."""

    order_id: str
    release_id: str
    payout_id: str
    released_at: datetime


_PAYABLES: Final = SellerPayableRow.table
_RELEASES: Final = SellerReleaseRow.table
_RESERVES: Final = SellerReserveRow.table
_TIMES: Final = SellerReleaseTimeRow.table
_SELLER: Final = accounts.seller("x").removesuffix("x")
_PAYOUT: Final = accounts.payouts("x").removesuffix("x")
_FREEZES: Final = ("order.funds_frozen.", "order.funds_unfrozen.")
_REFUNDING: Final = frozenset({"order", "payment", "storedvalue"})
"""Kinds of stream whose entries on a seller's account, releases and freezes apart, are refunds."""


class Sellers(ReadModel):
    """The read model ``sellers``."""

    name = "sellers"
    version = 1
    tables = (_PAYABLES, _RELEASES, _RESERVES, _TIMES)
    folds = frozenset({"order", "payout", "seller"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Count the event's postings on sellers' accounts, and touch the releases it concerns."""
        if _SELLER in recorded.postings or _PAYOUT in recorded.postings:
            _count(recorded, rows)
        if recorded.kind == "order":
            _touch_releases(recorded, rows)
        elif recorded.kind == "seller":
            _follow_seller(recorded, rows)

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return the row of a release or of a reserve."""
        if table is _RESERVES:
            return _reserve(key, rows)
        return _release(key, rows)


def _count(recorded: Recorded, rows: Rows) -> None:
    """Add an event's postings to the sellers' rows."""
    moved: dict[tuple[str, str], dict[str, int]] = {}
    column = _column(recorded)
    for leg in decode_entry(recorded.postings).postings:
        if leg.layer is not Layer.POSTED:
            continue
        if leg.account.startswith(_SELLER):
            key = (leg.account.removeprefix(_SELLER), leg.currency)
            sums = moved.setdefault(key, {})
            sums[column] = sums.get(column, 0) - leg.minor
        elif leg.account.startswith(_PAYOUT) and recorded.kind == "payout":
            payout = cast(PayoutState, rows.state(recorded.stream))
            sums = moved.setdefault((payout.seller, leg.currency), {})
            # What is in transit has left the account already, but is not paid out yet.
            sums["in_transit"] = sums.get("in_transit", 0) - leg.minor
            sums["paid_out"] = sums.get("paid_out", 0) - leg.minor
    for (seller, currency), sums in moved.items():
        _change(recorded, rows, seller, currency, sums)


def _column(recorded: Recorded) -> str:
    """Return the column that counts an event's postings on a seller's account."""
    event = recorded.event
    match event:
        case FundsReleased():
            return "released"
        case s.ReserveTaken() | s.ReserveReleased():
            return "reserved"
        case s.PenaltyImposed() | s.PenaltyLifted():
            return "penalties"
        case JournalEntryPosted(kind=JournalKind.DEBT_WRITE_OFF):
            return "written_off"
        case _:
            pass
    if recorded.kind == "payout":
        return "paid_out"
    if recorded.topic.startswith(_FREEZES):
        return "frozen"
    return "refunded" if recorded.kind in _REFUNDING else "adjusted"


_CREDITS: Final = frozenset({"released", "written_off", "adjusted", "in_transit"})
"""Columns that grow when the seller's account is credited; the others grow when it is debited."""


def _change(
    recorded: Recorded, rows: Rows, seller: str, currency: str, sums: Mapping[str, int]
) -> None:
    """Write a seller's row with amounts (credit positive) added to its columns."""
    found = rows.get(_PAYABLES, (seller, currency))
    nothing = (seller, currency, *(0,) * 14, recorded.occurred_at)
    before = SellerPayableRow(*cast(Any, found if found is not None else nothing))
    changed = {
        name: getattr(before, name) + (minor if name in _CREDITS else -minor)
        for name, minor in sums.items()
    }
    after = replace(before, **changed)
    state = cast(SellerState, rows.state(streams.seller(seller, currency)))
    balance = (
        after.released
        - after.refunded
        - after.frozen
        - after.reserved
        - after.penalties
        + after.written_off
        + after.adjusted
        - after.in_transit
        - after.paid_out
    )
    after = replace(
        after,
        balance=balance,
        scheduled=state.scheduled,
        available=max(0, balance - state.scheduled),
        debt=max(0, -balance),
        seller_version=state.version,
        last_at=max(before.last_at, recorded.occurred_at),
    )
    rows.put(_PAYABLES, astuple(after))


def _touch_releases(recorded: Recorded, rows: Rows) -> None:
    """Have every release of an order looked at again: any of its events may change its worth."""
    event, order_id = recorded.event, recorded.entity_id
    if isinstance(event, FundsReleased):
        rows.put(_TIMES, (order_id, event.release_id, "", recorded.occurred_at))
    order = cast(OrderState, rows.state(recorded.stream))
    for release_id in order.releases:
        rows.touch(_RELEASES, (order_id, release_id))


def _follow_seller(recorded: Recorded, rows: Rows) -> None:
    """Follow an event of a seller's stream: its version, reserves, and what payouts claim."""
    seller, currency = streams.seller_of(recorded.stream)
    event = recorded.event
    _change(recorded, rows, seller, currency, {})
    if isinstance(event, s.ReserveTaken | s.ReserveReleased):
        rows.touch(_RESERVES, (seller, currency, event.reserve_id))
    elif isinstance(event, s.PayoutClaimed | s.PayoutFreed):
        state = cast(SellerState, rows.state(recorded.stream))
        claim = state.payouts.get(event.payout_id)
        for entry in claim.entries if claim is not None else ():
            key = (entry.order_id, entry.release_id)
            times = rows.get(_TIMES, key)
            if times is not None and isinstance(event, s.PayoutClaimed):
                rows.put(_TIMES, (*key, event.payout_id, times[3]))
            order = cast(OrderState, rows.state(streams.order(entry.order_id)))
            for release_id in order.releases:
                rows.touch(_RELEASES, (entry.order_id, release_id))


def _reserve(key: Key, rows: Rows) -> Row | None:
    seller, currency, reserve_id = (str(one) for one in key)
    state = cast(SellerState, rows.state(streams.seller(seller, currency)))
    one = state.reserves.get(reserve_id)
    if one is None:
        return None
    return (seller, currency, reserve_id, one.payout_id, one.amount, one.left, one.matures_at)


def _release(key: Key, rows: Rows) -> Row | None:
    order_id, release_id = str(key[0]), str(key[1])
    order = cast(OrderState, rows.state(streams.order(order_id)))
    release, times = order.releases.get(release_id), rows.get(_TIMES, key)
    if release is None or times is None:
        return None
    got = credited(release, order.currency)
    state = cast(SellerState, rows.state(streams.seller(release.slice_id, got.currency)))
    claimed = state.claimed_of(order_id, release_id)
    return (
        order_id,
        release_id,
        release.slice_id,
        got.currency,
        got.minor,
        claimed,
        payable_of(order, state, release_id),
        times[2] if claimed else "",
        times[3],
    )


def payable_of(order: OrderState, state: SellerState, release_id: str) -> int:
    """
    Return what a payout would pay for a release if it named all releases of the order.

    The earlier releases come first, as they do in a payout that names them in this order.
    """
    seller = order.releases[release_id].slice_id
    currency = credited(order.releases[release_id], order.currency).currency
    left = owed(order, seller, currency) - state.claimed_of_order(order.order_id)
    for one in order.releases.values():
        got = credited(one, order.currency)
        if (one.slice_id, got.currency) != (seller, currency):
            continue
        claimed = state.claimed_of(order.order_id, one.release_id)
        payable = max(0, min(got.minor - claimed, left))
        if one.release_id == release_id:
            return payable
        left -= payable
    return 0
