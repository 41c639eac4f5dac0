"""
What a folded stream must hold, one function per law: the numbers are those of docs/invariants.md.

A report of a provider or a bank is always recorded, and may break a bound; then an anomaly was
raised beside it. So each law holds, or its anomaly was raised. A law says nothing of a book without
its history: it is held to the state alone, and to which anomalies were ever raised beside it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from orderledger.ledger import accounts, recipes_journal, streams
from orderledger.ledger.accounts_state import AccountState
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.journal import Layer
from orderledger.ledger.order_totals import is_sound, totals_of
from orderledger.ledger.orders import ACTIVE, OrderState
from orderledger.ledger.payment_state import PaymentState
from orderledger.ledger.payouts import PayoutState
from orderledger.ledger.sellers import SellerState
from orderledger.ledger.settlements import SettlementState, SettlementStatus, balance_of
from orderledger.ledger.stored_value import StoredValueState
from orderledger.ledger.streams import id_of, kind_of
from orderledger.ledger.value_events import ValueKind


class Settled(msgspec.Struct, frozen=True):
    """
    A stream as folded: its state, and the kinds of anomaly that it ever raised.

    What a report of a payment breaks in its order is raised in the stream of the payment: those of
    ``beside`` count where the stream's own do not excuse it.
    """

    stream: str
    state: Any
    raised: frozenset[str]


Law = Callable[[Settled], Iterator[str]]
"""From a folded stream to what is wrong with it, in words."""


def _captured_within_authorised(one: Settled) -> Iterator[str]:
    """1: captures do not exceed what was authorised."""
    state: PaymentState = one.state
    if state.over_captured and "OverCapture" not in one.raised:
        yield (
            f"{state.over_captured} {state.currency} minor units were captured beyond what was "
            "authorised, and no anomaly says so"
        )


def _returned_within_captured(one: Settled) -> Iterator[str]:
    """2: refunds and chargebacks do not exceed what was captured."""
    state: PaymentState = one.state
    if state.exposure and "Exposure" not in one.raised:
        yield (
            f"{state.exposure} {state.currency} minor units were given back beyond the "
            f"{state.captured} captured, and no anomaly says so"
        )


def _amounts_of_payment(one: Settled) -> Iterator[str]:
    """4: no amount of a payment is below zero."""
    state: PaymentState = one.state
    for name in ("captured", "refunded", "refund_in_flight", "capture_in_flight", "voided"):
        if getattr(state, name) < 0:
            yield f"{name} is {getattr(state, name)} {state.currency} minor units"


def _total_is_its_parts(one: Settled) -> Iterator[str]:
    """8: the total is Σ lines + shipping + tax + surcharges − discounts."""
    state: OrderState = one.state
    if state.version == 0 or state.lifecycle not in ACTIVE:
        return
    lines = [line.line for line in state.lines.values()]
    parts = totals_of(lines, state.shipping, state.surcharges, state.tips)
    if parts != state.totals:
        yield (
            f"the total is {state.totals.grand} {state.currency} minor units, its parts come to "
            f"{parts.grand}, or differ among themselves"
        )


def _lines_are_sound(one: Settled) -> Iterator[str]:
    """9: discounts and included tax leave no line below zero."""
    state: OrderState = one.state
    for line_id, line in state.lines.items():
        if not is_sound(line.line):
            yield f"the net of line {line_id} is {line.line.net} {state.currency} minor units"


def _units_of_lines(one: Settled) -> Iterator[str]:
    """11: no count of a line is below zero."""
    state: OrderState = one.state
    for line_id, line in state.lines.items():
        for name in ("cancelled", "shipped", "delivered", "return_requested", "granted_quantity"):
            if getattr(line, name) < 0:
                yield f"line {line_id} has {getattr(line, name)} units {name}"


def _settled_within_grant(one: Settled) -> Iterator[str]:
    """13: what reached the buyer of a grant is no more than was granted."""
    state: OrderState = one.state
    for refund_id, grant in state.grants.items():
        if grant.is_live and grant.settled_total > grant.total and not one.raised:
            yield (
                f"{grant.settled_total} {state.currency} minor units of refund {refund_id} reached "
                f"the buyer, {grant.total} were granted, and no anomaly says so"
            )


def _slices_hold(one: Settled) -> Iterator[str]:
    """18: a slice of the escrow holds no less than nothing, and what is frozen is in it."""
    state: OrderState = one.state
    for slice_id, held in state.slices.items():
        if held.available < 0:
            if "EscrowOverdrawn" not in one.raised:
                yield (
                    f"slice {slice_id or 'of the whole order'} holds {held.available} "
                    f"{state.currency} minor units, and no anomaly says so"
                )
        elif held.frozen_total > held.available and "FreezeShort" not in one.raised:
            yield (
                f"{held.frozen_total} {state.currency} minor units of slice {slice_id} are frozen, "
                f"it holds {held.available}, and no anomaly says so"
            )


def _payout_is_its_entries(one: Settled) -> Iterator[str]:
    """20: what a payout pays is the sum of its entries, what is carried and what is kept back."""
    state: PayoutState = one.state
    entries, parts = sum([entry.amount for entry in state.entries]), state.sum
    if entries != parts.entries:
        yield f"the entries come to {entries} {state.currency} minor units, not {parts.entries}"
    due = parts.entries + parts.carried - parts.debt_recovered - parts.reserve
    if due != parts.amount:
        yield f"it pays {parts.amount} {state.currency} minor units, its parts come to {due}"


def _entry_in_one_payout(one: Settled) -> Iterator[str]:
    """20: no release is paid by two live payouts."""
    state: SellerState = one.state
    paid_by: dict[tuple[str, str], str] = {}
    for payout_id, claim in state.payouts.items():
        for entry in claim.entries if claim.is_live else ():
            other = paid_by.setdefault((entry.order_id, entry.release_id), payout_id)
            if other != payout_id:
                yield (
                    f"release {entry.release_id} of order {entry.order_id} is in the payouts "
                    f"{other} and {payout_id}, which are both live"
                )


def _batch_adds_up(one: Settled) -> Iterator[str]:
    """22: opening + Σ net = payout + closing, as the lines have it."""
    state: SettlementState = one.state
    if state.status not in (SettlementStatus.BALANCED, SettlementStatus.CLOSED):
        return
    for stated in state.balances:
        summed = balance_of(state, stated.currency)
        if stated != summed:
            yield (
                f"its balance in {stated.currency} was recorded as net {stated.net}, payout "
                f"{stated.payout}, difference {stated.difference}; its lines come to {summed.net}, "
                f"{summed.payout}, {summed.difference}"
            )


def _value_is_its_lots(one: Settled) -> Iterator[str]:
    """23: issued + restored − redeemed − expired = what the lots have left ≥ 0."""
    state: StoredValueState = one.state
    left = sum([lot.remaining for lot in state.lots.values()])
    if state.balance != left or any(lot.remaining < 0 for lot in state.lots.values()):
        yield f"its balance is {state.balance} {state.currency}, its lots have {left} left"


def _ruling_divides_the_claim(one: Settled) -> Iterator[str]:
    """25: a ruling divides the amount in dispute, no more and no less."""
    state: DisputeState = one.state
    for ruling_id, ruling in state.rulings.items():
        divided = sum([part.amount for part in ruling.allocations])
        if divided != state.claimed:
            yield (
                f"ruling {ruling_id} divides {divided} {state.currency} minor units, "
                f"{state.claimed} are in dispute"
            )


def _executed_within_award(one: Settled) -> Iterator[str]:
    """25: no party is given more than it was awarded."""
    state: DisputeState = one.state
    for party, amount in state.executed.items():
        if amount > state.award.get(party, 0):
            yield (
                f"{amount} {state.currency} minor units were given to the {party.value}, "
                f"{state.award.get(party, 0)} were awarded"
            )


def _one_final_ruling(one: Settled) -> Iterator[str]:
    """27: one ruling is final."""
    state: DisputeState = one.state
    final = [ruling_id for ruling_id, ruling in state.rulings.items() if ruling.is_final]
    if len(final) > 1:
        yield f"the rulings {', '.join(final)} are all final"


LAWS: Final[Mapping[str, tuple[Law, ...]]] = {
    "payment": (_captured_within_authorised, _returned_within_captured, _amounts_of_payment),
    "order": (
        _total_is_its_parts,
        _lines_are_sound,
        _units_of_lines,
        _settled_within_grant,
        _slices_hold,
    ),
    "payout": (_payout_is_its_entries,),
    "seller": (_entry_in_one_payout,),
    "settlement": (_batch_adds_up,),
    "storedvalue": (_value_is_its_lots,),
    "dispute": (_ruling_divides_the_claim, _executed_within_award, _one_final_ruling),
}
"""The laws of a kind of stream."""


def beside(kind: str, state: Any) -> tuple[str, ...]:
    """Return the streams whose reports may have broken a law of a stream of this kind."""
    if kind != "order":
        return ()
    order: OrderState = state
    return tuple([streams.payment(payment_id) for payment_id in order.payments])


_OWN_ID: Final[Mapping[str, str]] = {
    "order": "order_id",
    "payment": "payment_id",
    "fulfilment": "fulfilment_id",
    "return": "return_id",
    "payout": "payout_id",
    "dispute": "dispute_id",
    "storedvalue": "account_id",
    "account": "account",
}


def named_otherwise(stream: str, state: Any) -> str:
    """Return what a state calls itself where that is not what its stream is called, else ""."""
    name = _OWN_ID.get(kind_of(stream))
    own = getattr(state, name) if name is not None else ""
    return own if own not in ("", id_of(stream)) else ""


Owed = tuple[str, Layer, str, int]
"""What the ledger must have: account, layer, currency and minor units, debit positive."""


def _of_order(state: OrderState) -> Iterator[Owed]:
    if not state.order_id:
        return
    yield accounts.escrow(state.order_id), Layer.POSTED, state.currency, -state.escrow_held
    for (freeze_id, _), freeze in state.freezes.items():
        for part in freeze.reserve.values():
            account = accounts.dispute_reserve(freeze_id)
            yield account, Layer.POSTED, part.currency, -part.minor


def _of_payment(state: PaymentState) -> Iterator[Owed]:
    if state.order_id:
        yield accounts.escrow(state.order_id), Layer.HELD, state.currency, -state.held


def _of_value(state: StoredValueState) -> Iterator[Owed]:
    if state.exists:
        is_points = state.kind is ValueKind.LOYALTY
        account = recipes_journal.value_account(state.holder, points=is_points)
        yield account, Layer.POSTED, state.currency, -state.balance


def _of_seller(state: SellerState) -> Iterator[Owed]:
    if state.seller:
        account = accounts.rolling_reserve(state.seller)
        yield account, Layer.POSTED, state.currency, -state.reserved


OWED: Final[Mapping[str, Callable[[Any], Iterator[Owed]]]] = {
    "order": _of_order,
    "payment": _of_payment,
    "storedvalue": _of_value,
    "seller": _of_seller,
}
"""19, 23: what the states of a kind of stream say that accounts hold."""

KEPT: Final = (
    "liabilities:escrow:",
    accounts.DISPUTE_RESERVE,
    "liabilities:store_credit:",
    "liabilities:loyalty:",
    "liabilities:rolling_reserve:",
)
"""The accounts that ``OWED`` accounts for, all of them and in full."""


def limited(state: AccountState) -> Iterator[Owed]:
    """Yield what the stream of a constrained account says that it holds."""
    for layer, by_currency in state.balances.items():
        for currency, minor in by_currency.items():
            yield state.account, Layer(layer), currency, minor
