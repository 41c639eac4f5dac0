"""
The state of a stored value account: lots of store credit, gift card money or points.

Value is spent from the lot that expires first; a lot without an expiry is spent last.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from .anomalies import AnomalyRaised, AnomalyResolved, open_anomalies
from .events import Event
from .value_events import (
    LotPart,
    ValueExpired,
    ValueIssued,
    ValueKind,
    ValueRedeemed,
    ValueRestored,
)


class Lot(msgspec.Struct, frozen=True):
    """One issue of value: what was issued, what is left of it, and until when it can be spent."""

    lot_id: str
    issued: int
    remaining: int
    expires_at: datetime | None
    sequence: int
    """The order of issue, which decides between lots that expire together."""

    def is_spendable(self, at: datetime) -> bool:
        """Tell whether the lot can pay at an instant; at its expiry it no longer can."""
        return self.remaining > 0 and (self.expires_at is None or at < self.expires_at)


class Redemption(msgspec.Struct, frozen=True):
    """
    A payment with stored value, per lot, and what of it was given back.

    ``order_amount`` and ``order_restored`` count the same in the order's currency.
    """

    order_id: str
    amount: int
    order_amount: int
    order_currency: str
    lots: tuple[LotPart, ...]
    restored: tuple[LotPart, ...] = ()
    order_restored: int = 0

    @property
    def restored_amount(self) -> int:
        return sum(part.amount for part in self.restored)


class StoredValueState(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is known of a stored value account, in minor units of its currency or in points.

    ``issued + restored − redeemed − expired = balance >= 0`` after every command.
    """

    account_id: str = ""
    holder: str = ""
    kind: ValueKind = ValueKind.STORE_CREDIT
    currency: str = ""
    issued: int = 0
    redeemed: int = 0
    restored: int = 0
    expired: int = 0
    lots: Mapping[str, Lot] = {}
    redemptions: Mapping[str, Redemption] = {}
    restores: Mapping[str, ValueRestored] = {}
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.account_id != ""

    @property
    def balance(self) -> int:
        return self.issued + self.restored - self.redeemed - self.expired

    def expired_lots(self, parts: tuple[LotPart, ...], at: datetime) -> tuple[str, ...]:
        """Return the lots of these parts whose expiry has come."""
        found: list[str] = []
        for part in parts:
            lot = self.lots.get(part.lot_id)
            if lot is not None and lot.expires_at is not None and lot.expires_at <= at:
                found.append(part.lot_id)
        return tuple(found)

    def spendable(self, at: datetime) -> int:
        """Return what can be redeemed at an instant: the balance less lots past their expiry."""
        return sum(lot.remaining for lot in self.lots.values() if lot.is_spendable(at))

    def draw(self, amount: int, at: datetime) -> tuple[LotPart, ...]:
        """
        Return the parts of the lots that pay an amount: first to expire first, then oldest first.

        The caller has checked ``amount <= spendable(at)``.
        """
        parts: list[LotPart] = []
        left = amount
        for lot in sorted(self.lots.values(), key=_expiry_order):
            if left == 0:
                break
            if lot.is_spendable(at):
                taken = min(left, lot.remaining)
                parts.append(LotPart(lot.lot_id, taken))
                left -= taken
        return tuple(parts)


INITIAL: Final = StoredValueState()


def _expiry_order(lot: Lot) -> tuple[bool, str, int]:
    # All instants are UTC, so that their ISO text orders as they do, and None needs no stand-in.
    expires = "" if lot.expires_at is None else lot.expires_at.isoformat(timespec="microseconds")
    return (lot.expires_at is None, expires, lot.sequence)


def give_back(redemption: Redemption, amount: int) -> tuple[LotPart, ...]:
    """
    Return the lots that take an amount back, the last drawn first.

    The last drawn lot expires last, so that the buyer keeps the value for longest. The caller has
    checked ``amount <= redemption.amount − redemption.restored_amount``.
    """
    already: dict[str, int] = {}
    for part in redemption.restored:
        already[part.lot_id] = already.get(part.lot_id, 0) + part.amount
    parts: list[LotPart] = []
    left = amount
    for part in reversed(redemption.lots):
        taken = min(left, part.amount - already.get(part.lot_id, 0))
        if taken > 0:
            parts.append(LotPart(part.lot_id, taken))
            left -= taken
    return tuple(parts)


def _shift(lots: Mapping[str, Lot], parts: tuple[LotPart, ...], *, sign: int) -> dict[str, Lot]:
    shifted = dict(lots)
    for part in parts:
        lot = shifted.get(part.lot_id)
        if lot is not None:
            shifted[part.lot_id] = msgspec.structs.replace(
                lot, remaining=lot.remaining + sign * part.amount
            )
    return shifted


def _issued(state: StoredValueState, event: ValueIssued) -> StoredValueState:
    lot = Lot(event.lot_id, event.amount, event.amount, event.expires_at, len(state.lots))
    return msgspec.structs.replace(
        state,
        account_id=event.account_id,
        holder=state.holder or event.holder,
        kind=event.kind,
        currency=state.currency or event.currency,
        issued=state.issued + event.amount,
        lots={**state.lots, event.lot_id: lot},
    )


def _redeemed(state: StoredValueState, event: ValueRedeemed) -> StoredValueState:
    redemption = Redemption(
        event.order_id, event.amount, event.order_amount, event.order_currency, event.lots
    )
    return msgspec.structs.replace(
        state,
        redeemed=state.redeemed + event.amount,
        lots=_shift(state.lots, event.lots, sign=-1),
        redemptions={**state.redemptions, event.redemption_id: redemption},
    )


def _restored(state: StoredValueState, event: ValueRestored) -> StoredValueState:
    redemptions = dict(state.redemptions)
    redemption = redemptions.get(event.redemption_id)
    if redemption is not None:
        redemptions[event.redemption_id] = msgspec.structs.replace(
            redemption,
            restored=redemption.restored + event.lots,
            order_restored=redemption.order_restored + event.order_amount,
        )
    lots = _shift(state.lots, event.lots, sign=1)
    for lot_id in event.extended_lots:
        if lot_id in lots:
            extended = msgspec.structs.replace(lots[lot_id], expires_at=event.extended_until)
            lots[lot_id] = extended
    return msgspec.structs.replace(
        state,
        restored=state.restored + event.amount,
        lots=lots,
        redemptions=redemptions,
        restores={**state.restores, event.restore_id: event},
    )


def _expired(state: StoredValueState, event: ValueExpired) -> StoredValueState:
    return msgspec.structs.replace(
        state,
        expired=state.expired + event.amount,
        lots=_shift(state.lots, (LotPart(event.lot_id, event.amount),), sign=-1),
    )


def _anomaly(state: StoredValueState, event: AnomalyRaised | AnomalyResolved) -> StoredValueState:
    return msgspec.structs.replace(state, anomalies=open_anomalies(state.anomalies, event))


EVOLVE: Final[dict[type[Event], Callable[[Any, Any], StoredValueState]]] = {
    ValueIssued: _issued,
    ValueRedeemed: _redeemed,
    ValueRestored: _restored,
    ValueExpired: _expired,
    AnomalyRaised: _anomaly,
    AnomalyResolved: _anomaly,
}
