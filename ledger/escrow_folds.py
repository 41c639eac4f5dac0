"""
The events of an order's escrow, folded: what they do to its slices, freezes, tenders and releases.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from . import freezes, order_escrow
from . import order_events as e
from .escrow_events import FundsFrozen, FundsRecovered, FundsUnfrozen, ReservePart
from .events import Event
from .freezes import Freezes
from .order_escrow import Escrowed, Slice
from .payment_operations import FundingPart
from .ruling_events import (
    ArbitrationFeeReturned,
    ArbitrationFeeTaken,
    FreezeSettled,
    RulingRefundPromised,
)

if TYPE_CHECKING:
    # The state has these folds in its table of events.
    from .orders import OrderState


def _on_slice(state: "OrderState", slice_id: str, after: Slice) -> "OrderState":
    """Return the order with a slice as it is after an event, its freezes within what it holds."""
    kept = freezes.within(after)
    return replace(
        state,
        slices={**state.slices, slice_id: kept},
        freezes=freezes.with_losses(state.freezes, after, kept),
    )


def _held(state: "OrderState", event: e.FundsHeld) -> "OrderState":
    after = order_escrow.held(state.slice_of(event.slice_id), event)
    after = freezes.restored(state.freezes, after, event.refund_id, event.amount)
    return _by_payment(_on_slice(state, event.slice_id, after), event)


def _returned(state: "OrderState", event: e.FundsReturned) -> "OrderState":
    after = order_escrow.returned(state.slice_of(event.slice_id), event)
    after = freezes.drawn(state.freezes, after, event.refund_id, event.amount)
    return _by_payment(_on_slice(state, event.slice_id, after), event)


def _by_payment(state: "OrderState", event: e.FundsHeld | e.FundsReturned) -> "OrderState":
    if not event.payment_id:
        return state
    one = state.escrowed.get(event.payment_id) or Escrowed()
    moved = order_escrow.by_tender(one, event)
    return replace(state, escrowed={**state.escrowed, event.payment_id: moved})


def _condition_met(state: "OrderState", event: e.ReleaseConditionMet) -> "OrderState":
    met = replace(state.slice_of(event.slice_id), condition_met=True)
    return replace(state, slices={**state.slices, event.slice_id: met})


def _released(state: "OrderState", event: e.FundsReleased) -> "OrderState":
    after = order_escrow.released(state.slice_of(event.slice_id), event)
    moved = _on_slice(state, event.slice_id, after)
    return replace(moved, releases={**moved.releases, event.release_id: event})


def _recovered(state: "OrderState", event: FundsRecovered) -> "OrderState":
    key = (event.tender_id, event.op_id)
    before = state.recovered.get(key, ())
    left = _drawn(state, state.freezes, before, -1)
    return replace(
        state,
        recovered={**state.recovered, key: event.parts},
        freezes=_drawn(state, left, event.parts, 1),
    )


def _drawn(
    state: "OrderState", before: Freezes, parts: tuple[FundingPart, ...], sign: int
) -> Freezes:
    """Return the freezes after parts of a refund came out of their reserves, or back (sign -1)."""
    after = dict(before)
    for part in parts:
        code, minor = part.debited(state.currency)
        for key, freeze in after.items():
            if part.account == freezes.account_of(freeze) and part.slice_id == freeze.slice_id:
                moved = ReservePart(code, sign * minor, sign * part.amount)
                left = freezes.without(freeze.reserve, (moved,))
                after[key] = replace(freeze, reserve=left)
    return after


def _frozen(state: "OrderState", event: FundsFrozen) -> "OrderState":
    after = freezes.frozen(state.slice_of(event.slice_id), event)
    key = (event.freeze_id, event.slice_id)
    moved = replace(state, freezes={**state.freezes, key: freezes.new_freeze(event)})
    return _on_slice(moved, event.slice_id, after)


def _given_up(state: "OrderState", event: FundsUnfrozen | FreezeSettled) -> "OrderState":
    key = (event.freeze_id, event.slice_id)
    before = state.freezes.get(key)
    if before is None:
        return state
    after = freezes.less(state.slice_of(event.slice_id), event.freeze_id, event.escrowed)
    return replace(
        state,
        slices={**state.slices, event.slice_id: after},
        freezes={**state.freezes, key: freezes.given_up(before, event)},
    )


def _promised(state: "OrderState", event: RulingRefundPromised) -> "OrderState":
    key = (event.freeze_id, event.slice_id)
    before = state.freezes.get(key)
    if before is None:
        return state
    after = replace(
        before,
        refund_id=event.refund_id,
        promised=event.amount,
        is_goodwill=event.is_goodwill,
    )
    return replace(state, freezes={**state.freezes, key: after})


def _fee_taken(state: "OrderState", event: ArbitrationFeeTaken) -> "OrderState":
    taken = order_escrow.fee_taken(state.slice_of(event.slice_id), event.escrowed)
    after = _fee_moved(state, event, freezes.less(taken, event.freeze_id, event.escrowed), 1)
    return replace(after, fees={**state.fees, event.fee_id: event})


def _fee_returned(state: "OrderState", event: ArbitrationFeeReturned) -> "OrderState":
    fee = state.fees.get(event.fee_id)
    if fee is None:
        return state
    back = order_escrow.fee_returned(state.slice_of(fee.slice_id), fee.escrowed)
    after = _fee_moved(state, fee, freezes.less(back, fee.freeze_id, -fee.escrowed), -1)
    return replace(after, fees={key: one for key, one in state.fees.items() if key != fee.fee_id})


def _fee_moved(
    state: "OrderState", fee: ArbitrationFeeTaken, after: Slice, sign: int
) -> "OrderState":
    """Return the order whose slice and reserve gave a fee (sign 1) or got it back (sign -1)."""
    moved = _on_slice(state, fee.slice_id, after)
    key = (fee.freeze_id, fee.slice_id)
    freeze = moved.freezes.get(key)
    if freeze is None:
        return moved
    parts = tuple([ReservePart(p.currency, sign * p.minor, sign * p.amount) for p in fee.reserve])
    left = replace(freeze, reserve=freezes.without(freeze.reserve, parts))
    return replace(moved, freezes={**moved.freezes, key: left})


EVOLVE: Final[Mapping[type[Event], Callable[["OrderState", Any], "OrderState"]]] = {
    e.FundsHeld: _held,
    e.ReleaseConditionMet: _condition_met,
    e.FundsReleased: _released,
    e.FundsReturned: _returned,
    FundsRecovered: _recovered,
    FundsFrozen: _frozen,
    FundsUnfrozen: _given_up,
    FreezeSettled: _given_up,
    RulingRefundPromised: _promised,
    ArbitrationFeeTaken: _fee_taken,
    ArbitrationFeeReturned: _fee_returned,
}
"""The part of ``orders.EVOLVE`` that is about escrow."""
