"""
What the award of a dispute does to its order: refund, fee and release, out of what was frozen.

An award divides the amount in dispute, and each party's part is a leg: to the buyer a granted
refund, allocated to the order's tenders (``RequestRefund`` pays it as any other); to the platform
its fee; to the seller a release, and the reserve as far as the others do not need it. Each leg is
executed once, in any order; one that is refused changes nothing and can be tried again. ``finish``
lifts the freeze. Pure functions on the order, for the decider of the dispute.

Source: recipes 8, 11, 20 and 21. Recipe 20 shows the seller's part m without a commission: here it
is released on the order's own terms, as recipe 8 releases it, and without terms as it stands. For a
refund after the release recipe 11 tells what each account bears; of the seller's part of it the
dispute's reserve comes first, as recipe 21 says. So a ruling leaves commission and tax as a refund
of the same amount does.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from orderledger.ledger import recipes_freeze, recipes_order
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.escrow_events import ReservePart
from orderledger.ledger.escrow_recovery import given_back
from orderledger.ledger.escrow_shares import PartKey, shares_of
from orderledger.ledger.freezes import Freeze
from orderledger.ledger.money import allocate
from orderledger.ledger.order_content import Beneficiary
from orderledger.ledger.order_escrow import Slice
from orderledger.ledger.order_events import RefundGranted, RefundLine, RefundSource
from orderledger.ledger.orders import OrderState
from orderledger.ledger.release_recovery import Releases
from orderledger.ledger.ruling_events import (
    ArbitrationFeeTaken,
    FreezeSettled,
    RulingRefundPromised,
)
from orderledger.ledger.tenders import Tender, charged_by

from .decide_escrow import release_of, remaining_of
from .decide_refund_grants import allocation
from .decision import Change, Changes
from .freezing import freeze, given_up, lifting, needed_for_refund, undrawn
from .order_commands import AllocateRefund, AllocationStrategy, ConversionTerms, ReleaseFunds
from .order_guards import after as after_events
from .order_guards import change
from .ruling_reserve import beyond, taken_of


class Award(msgspec.Struct, frozen=True, kw_only=True):
    """
    A final division of the amount in dispute; amounts in minor units of the order's currency.

    ``ruling_id`` is unique among the order's disputes, ``freeze_id`` is the dispute's, and
    ``line_ids`` are the seller's lines it is about.
    """

    ruling_id: str
    freeze_id: str
    seller: str
    line_ids: tuple[str, ...]
    shares: Mapping[Party, int]

    def of(self, party: Party) -> int:
        """What a party receives."""
        return self.shares.get(party, 0)

    @property
    def total(self) -> int:
        """The amount in dispute."""
        return sum(self.shares.values())


class ExecutionTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How an award is executed: the terms of the seller's release, as ``ReleaseFunds`` has them, and
    to which tenders the refund goes.

    ``is_goodwill``: what neither freeze nor releases have of the refund the platform bears;
    otherwise the seller comes to owe it.
    """

    commission_rate: Decimal = Decimal(0)
    rate_version: str = ""
    commission_tax_rate: Decimal = Decimal(0)
    commission_tax_jurisdiction: str = ""
    conversion: ConversionTerms | None = None
    strategy: AllocationStrategy = AllocationStrategy.VOUCHER_LAST
    is_goodwill: bool = False


NO_TERMS: Final = ExecutionTerms()
"""A release without a commission."""


def leg_id(award: Award, party: Party) -> str:
    """Return the id of a leg, which is also that of the refund, fee or release it makes."""
    return f"{award.ruling_id}:{party.value}"


def legs_of(award: Award) -> tuple[Party, ...]:
    """Return the parties that receive something; each is one leg."""
    return tuple([party for party in Party if award.of(party) > 0])


class Execution:
    """
    An order while an award is executed on it: each step sees what the ones before it left.

    ``paid`` of the buyer's part was paid for a ruling whose place the award takes.
    """

    def __init__(self, order: OrderState, award: Award) -> None:
        self.order = order
        self.award: Final = award
        self.paid = 0
        self._changes: list[Change] = []
        if (award.freeze_id, award.seller) not in order.freezes:
            # A settlement or an award of somebody else may come before anything was frozen.
            self.add(*freeze(order, award.freeze_id, award.seller, award.total, "ruling"))

    def add(self, *changes: Change) -> None:
        """Append changes of the order's stream."""
        self._changes.extend(changes)
        self.order = after_events(self.order, *[one.event for one in changes])

    @property
    def changes(self) -> Changes:
        return tuple(self._changes)

    @property
    def freeze(self) -> Freeze:
        return self.order.freezes[self.award.freeze_id, self.award.seller]

    @property
    def slice(self) -> Slice:
        return self.order.slice_of(self.award.seller)

    @property
    def frozen(self) -> int:
        """What is frozen in escrow now."""
        return self.slice.frozen.get(self.award.freeze_id, 0)

    def is_done(self, party: Party) -> bool:
        """Tell whether the order has had a party's leg."""
        one = leg_id(self.award, party)
        return {
            Party.BUYER: one in self.order.grants,
            Party.PLATFORM: one in self.order.fees,
            Party.SELLER: one in self.order.releases,
        }[party]

    @property
    def to_grant(self) -> int:
        """What the buyer's leg has still to grant."""
        if self.is_done(Party.BUYER):
            return 0
        return max(0, self.award.of(Party.BUYER) - self.paid)

    @property
    def due_to_buyer(self) -> int:
        """What the buyer's refund may still draw on the freeze."""
        return self.to_grant or undrawn(self.order, self.freeze)

    @property
    def due_to_platform(self) -> int:
        """What the fee may still draw on it."""
        return 0 if self.is_done(Party.PLATFORM) else self.award.of(Party.PLATFORM)


def execute_leg(
    order: OrderState,
    award: Award,
    party: Party,
    terms: ExecutionTerms,
    tenders: tuple[Tender, ...],
) -> Changes:
    """
    Return what one leg of an award does; nothing if it was done.

    Raises Rejected AMOUNT_EXCEEDS_AVAILABLE if the order was not charged enough to give the buyer
    his part, or its tenders cannot give it back now.
    """
    run = Execution(order, award)
    if award.of(party) and not run.is_done(party):
        if party is Party.BUYER:
            promise(run, terms, tenders)
        elif party is Party.PLATFORM:
            take_fee(run)
        else:
            pay_seller(run, terms)
    return run.changes


def finish(order: OrderState, award: Award) -> Changes:
    """Lift the freeze once every leg is done: free again but for what the refund may draw."""
    run = Execution(order, award)
    if not run.freeze.is_lifted:
        event = lifting(run.order, run.freeze, f"ruling {award.ruling_id} executed")
        run.add(*given_up(run.order, event))
    return run.changes


def promise(run: Execution, terms: ExecutionTerms, tenders: tuple[Tender, ...]) -> None:
    """Grant and allocate the buyer's refund, and reserve the freeze for it."""
    order, award, amount = run.order, run.award, run.to_grant
    room = charged_by(tenders) + order.goodwill_approved - order.granted
    if amount > room:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"ruling {award.ruling_id} gives the buyer {amount}, and order {order.order_id} may "
            f"still give back {max(0, room)} {order.currency} minor units of what was charged; "
            "amend the ruling, or approve goodwill for the rest (RecordGoodwill)",
            order_id=order.order_id,
            ruling_id=award.ruling_id,
            amount=amount,
            available=max(0, room),
        )
    grant = granted(run, amount)
    refund_id = grant.refund_id
    run.add(change(order.order_id, grant))
    command = AllocateRefund(order_id=order.order_id, refund_id=refund_id, strategy=terms.strategy)
    allocated = allocation(command, run.order, run.order.grants[refund_id], tenders)
    promised = RulingRefundPromised(
        freeze_id=award.freeze_id,
        slice_id=award.seller,
        refund_id=refund_id,
        amount=amount,
        is_goodwill=terms.is_goodwill,
    )
    run.add(change(order.order_id, allocated), change(order.order_id, promised))


def granted(run: Execution, amount: int) -> RefundGranted:
    """Return the buyer's refund: of the lines in dispute, and beyond them of the seller's items."""
    lines, rest = refund_lines(run.order, run.award.line_ids, amount)
    return RefundGranted(
        refund_id=leg_id(run.award, Party.BUYER),
        total=amount,
        reason=f"ruling {run.award.ruling_id}",
        source=RefundSource.RULING,
        lines=lines,
        adjustment=rest,
    )


def refund_lines(
    order: OrderState, line_ids: tuple[str, ...], amount: int
) -> tuple[tuple[RefundLine, ...], int]:
    """
    Divide an amount among lines by what each still charges, net and tax alike; and return the rest
    beyond all of them.

    A line is named even if nothing of it is left: it says which seller bears the rest. No units are
    granted back, so that a later return gives back what is left of the price.
    """
    lines = [order.lines[one] for one in line_ids if one in order.lines]
    weights: list[int] = []
    for line in lines:
        weights.append(max(0, line.line.net - line.granted_net))
        weights.append(max(0, line.line.tax_total - line.granted_tax))
    within = min(amount, sum(weights))
    parts = allocate(within, weights) if within else (0,) * len(weights)
    found = [
        RefundLine(line.line.line_id, 0, parts[2 * index], parts[2 * index + 1], 0)
        for index, line in enumerate(lines)
    ]
    return tuple(found), amount - within


def take_fee(run: Execution) -> None:
    """Recipes 20 and 21 for the platform: escrow first, then the reserve, then the seller."""
    order, award = run.order, run.award
    amount = award.of(Party.PLATFORM)
    escrowed = max(0, min(amount, run.frozen - run.due_to_buyer))
    reserve = taken_of(run.freeze.reserve, amount - escrowed)
    lacks = amount - escrowed - sum([part.amount for part in reserve])
    debt: tuple[ReservePart, ...] = ()
    if lacks:
        owed = Releases(order, award.seller).debt(lacks, order.currency)
        debt = (ReservePart(*owed.debited(order.currency), lacks),)
    event = ArbitrationFeeTaken(
        fee_id=leg_id(award, Party.PLATFORM),
        freeze_id=award.freeze_id,
        slice_id=award.seller,
        amount=amount,
        escrowed=escrowed,
        reserve=reserve,
        debt=debt,
    )
    entry = recipes_freeze.arbitration_fee(order.order_id, event, order.currency)
    run.add(change(order.order_id, event, entry))


def pay_seller(run: Execution, terms: ExecutionTerms) -> None:
    """
    Release what of the freeze is in escrow and nobody else's, at most the seller's part, and give
    back what is in the reserve and nobody else's.
    """
    order, award = run.order, run.award
    keep = run.due_to_buyer + run.due_to_platform
    free = max(0, min(run.frozen - keep, award.of(Party.SELLER)))
    reserve = beyond(run.freeze.reserve, _needed(run, keep))
    if free or reserve:
        event = FreezeSettled(
            freeze_id=award.freeze_id, slice_id=award.seller, escrowed=free, reserve=reserve
        )
        run.add(change(order.order_id, event, recipes_freeze.seller_share_unfrozen(event)))
    release(run, free, terms)


def _needed(run: Execution, keep: int) -> Mapping[str, ReservePart]:
    """Return what the legs that are not paid yet may need of the reserve."""
    left = keep - min(run.frozen, keep)
    if not (run.to_grant or run.due_to_platform):
        return needed_for_refund(run.order, run.freeze)
    return {part.currency: part for part in taken_of(run.freeze.reserve, left)}


def _first_of_lines(
    amount: int, items: int, parts: dict[PartKey, int]
) -> tuple[int, dict[PartKey, int]]:
    """Return the items and parts that an amount is divided among, those of lines in full first."""
    of_lines = {key: part for key, part in parts.items() if key[0] == Beneficiary.TAX.value}
    others = {key: part for key, part in parts.items() if key not in of_lines}
    within = items + sum(of_lines.values())
    if amount <= within:
        return items, of_lines
    rest = allocate(amount - within, list(others.values()))
    return items, {**of_lines, **dict(zip(others, rest, strict=True))}


def release(run: Execution, amount: int, terms: ExecutionTerms) -> None:
    """
    Recipe 8 in proportion: release up to an amount of what the slice still owes once the other legs
    are done, so that it does not matter which of them comes first. A dispute is about lines, so
    items and their tax come before what else the slice owes.
    """
    award = run.award
    order = run.order
    if run.to_grant:
        order = after_events(order, granted(run, run.to_grant))
    share = shares_of(order).get(award.seller)
    if share is None or amount == 0:
        return
    items, parts = remaining_of(share, run.slice, given_back(order, run.slice))
    items = max(0, items - run.due_to_platform)
    amount = min(amount, items + sum(parts.values()))
    if amount == 0:
        return
    command = ReleaseFunds(
        order_id=order.order_id,
        release_id=leg_id(award, Party.SELLER),
        seller=award.seller,
        amount=amount,
        commission_rate=terms.commission_rate,
        rate_version=terms.rate_version,
        commission_tax_rate=terms.commission_tax_rate,
        commission_tax_jurisdiction=terms.commission_tax_jurisdiction,
        conversion=terms.conversion,
    )
    event = release_of(command, order, amount, *_first_of_lines(amount, items, parts))
    run.add(
        change(order.order_id, event, recipes_order.released(order.order_id, event, order.currency))
    )
