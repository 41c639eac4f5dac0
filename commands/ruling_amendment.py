"""
An award that takes the place of one that was executed, in whole or in part: recipe 22.

What the first posted is reversed where it can be: its fee goes back to where it came from, and what
its refund has not paid is taken back. Then the second is executed on what is there. What the first
paid to the buyer counts for the second; what is beyond it the platform bears as goodwill, and those
who bore it are made whole. A release of the first is not reversed: what the second takes of it
comes back as from any release, commission with it. All of it is one append.
"""

from msgspec.structs import replace

from orderledger.ledger import accounts, recipes_freeze
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.escrow_events import FundsRecovered
from orderledger.ledger.journal import Entry, merge
from orderledger.ledger.order_events import FundsHeld, PaymentPart, RefundGrantWithdrawn
from orderledger.ledger.order_refunds import Grant
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_operations import Component, FundingPart, Recovery, scaled
from orderledger.ledger.recipes_payment import refund_requested
from orderledger.ledger.ruling_events import (
    ArbitrationFeeReturned,
    FreezeSettled,
    RefundGrantReduced,
    RulingRefundPromised,
)
from orderledger.ledger.tenders import Tender

from .decision import Changes
from .escrow_follow import borne_otherwise
from .freezing import given_up, lifting, needed_for_refund, undrawn
from .order_guards import after as after_events
from .order_guards import change
from .refund_funding import funded_by
from .ruling_execution import (
    Award,
    Execution,
    ExecutionTerms,
    leg_id,
    pay_seller,
    promise,
    refund_lines,
    take_fee,
)
from .ruling_reserve import beyond


def amend(
    order: OrderState,
    earlier: tuple[str, ...],
    award: Award,
    terms: ExecutionTerms,
    tenders: tuple[Tender, ...],
) -> Changes:
    """
    Return what executes an award in place of those of ``earlier`` rulings of its dispute, the
    first first.

    Raises Rejected OPERATION_IN_FLIGHT while a refund of an earlier ruling has no outcome, or
    failed after success and was not paid again; otherwise what ``execute_leg`` raises.
    """
    run = Execution(order, award)
    grants = _grants(order, [replace(award, ruling_id=one) for one in earlier])
    for grant in grants:
        _check_settled(order, grant, tenders)
    _return_fees(run)
    run.paid = sum([grant.settled_total for grant in grants])
    goodwill = max(0, run.paid - award.of(Party.BUYER))
    for grant in reversed(grants):
        borne = min(goodwill, grant.settled_total)
        goodwill -= borne
        _set_off(run, grant, borne, earlier)
    _clear_promise(run)
    if run.to_grant:
        promise(run, terms, tenders)
    if award.of(Party.PLATFORM):
        take_fee(run)
    if award.of(Party.SELLER):
        pay_seller(run, terms)
    _give_up_the_rest(run)
    return run.changes


def _grants(order: OrderState, earlier: list[Award]) -> list[Grant]:
    ids = [leg_id(one, Party.BUYER) for one in earlier]
    return [order.grants[one] for one in ids if one in order.grants and order.grants[one].is_live]


def _check_settled(order: OrderState, grant: Grant, tenders: tuple[Tender, ...]) -> None:
    claimed = sum([one.claimed.get(grant.refund_id, 0) for one in tenders])
    if grant.owed_again or claimed > sum(grant.settled.values()):
        raise Rejected(
            Reason.OPERATION_IN_FLIGHT,
            f"refund {grant.refund_id} of order {order.order_id} is under way or has failed after "
            "success; another ruling takes its place once it is settled",
            order_id=order.order_id,
            refund_id=grant.refund_id,
        )


def _return_fees(run: Execution) -> None:
    order = run.order
    for fee in order.fees.values():
        if (fee.freeze_id, fee.slice_id) == (run.award.freeze_id, run.award.seller):
            event = ArbitrationFeeReturned(fee_id=fee.fee_id, cause=run.award.ruling_id)
            taken = recipes_freeze.arbitration_fee(order.order_id, fee, order.currency)
            run.add(change(order.order_id, event, taken.reversed()))


def _set_off(run: Execution, grant: Grant, goodwill: int, earlier: tuple[str, ...]) -> None:
    """Bring an earlier ruling's grant to what it paid, of which ``goodwill`` is the platform's."""
    order = run.order
    paid = grant.settled_total
    if paid == 0:
        cause = f"ruling {run.award.ruling_id}"
        taken_back = RefundGrantWithdrawn(refund_id=grant.refund_id, reason=cause)
        run.add(change(order.order_id, taken_back))
        return
    if paid == grant.total and goodwill == grant.goodwill:
        return
    _promised(run, grant.refund_id, paid + run.frozen)
    reduced = _reduced(run, grant, goodwill)
    moved = goodwill - grant.goodwill
    if moved > 0:
        _make_whole(run, reduced, moved, _borne_by(run.order, run.award, grant, earlier))
    elif moved < 0:
        _take_again(run, reduced, -moved)
    else:
        run.add(change(order.order_id, reduced))


def _reduced(run: Execution, grant: Grant, goodwill: int) -> RefundGrantReduced:
    nothing = RefundGrantReduced(
        refund_id=grant.refund_id,
        total=0,
        lines=(),
        adjustment=0,
        goodwill=0,
        allocations=(),
        cause=f"ruling {run.award.ruling_id}",
    )
    without = after_events(run.order, nothing)
    paid = grant.settled_total
    lines, rest = refund_lines(without, run.award.line_ids, paid - goodwill)
    return replace(
        nothing,
        total=paid,
        lines=lines,
        adjustment=rest,
        goodwill=goodwill,
        allocations=tuple([PaymentPart(key, minor) for key, minor in grant.settled.items()]),
    )


def _borne_by(
    order: OrderState, award: Award, grant: Grant, earlier: tuple[str, ...]
) -> list[FundingPart]:
    """Return who bears besides escrow what a grant has paid, less what they were made whole for."""
    amended = [_amending(ruling_id, grant.refund_id) for ruling_id in earlier]
    found: dict[tuple[str, Component, str], FundingPart] = {}
    for (tender_id, op_id), parts in order.recovered.items():
        is_own = tender_id in grant.settled and op_id in grant.settled_ops
        if not (is_own or (tender_id == "" and op_id in amended)):
            continue
        for part in parts:
            if part.slice_id != award.seller or part.recovery is None:
                continue
            key = (part.account, part.recovery.component, part.recovery.release_id)
            before = found.get(key)
            found[key] = part if before is None else _sum(before, part)
    return [part for part in found.values() if part.amount]


def _amending(ruling_id: str, refund_id: str) -> str:
    """Return the id under which a ruling changes who bears an earlier one's refund."""
    return f"{ruling_id}:{refund_id}"


def _sum(one: FundingPart, other: FundingPart) -> FundingPart:
    terms = one.recovery
    if terms is not None and other.recovery is not None:
        terms = replace(terms, amount=terms.amount + other.recovery.amount)
    return FundingPart(one.account, one.amount + other.amount, one.slice_id, terms)


def _make_whole(
    run: Execution, reduced: RefundGrantReduced, amount: int, borne: list[FundingPart]
) -> None:
    """
    Give back what those bore who paid too much, in the opposite order: the releases first, then
    escrow; what neither bore is the seller's.
    """
    order, seller = run.order, run.award.seller
    within = max(0, min(amount, sum([part.amount for part in borne])))
    parts = [_negated(part) for part in scaled(tuple(borne), within)] if within else []
    escrowed = min(amount - within, run.slice.refunds.get(reduced.refund_id, 0))
    rest = amount - within - escrowed
    if rest:
        debt = Recovery(Component.DEBT)
        parts.append(FundingPart(accounts.seller(seller), -rest, seller, debt))
    own = FundingPart(accounts.escrow(order.order_id), -escrowed)
    entry = _posted(order, (own, *parts), amount)
    run.add(change(order.order_id, reduced, entry))
    if escrowed:
        held = FundsHeld(slice_id=seller, amount=escrowed, refund_id=reduced.refund_id)
        run.add(change(order.order_id, held))
    if parts:
        op_id = _amending(run.award.ruling_id, reduced.refund_id)
        run.add(
            change(order.order_id, FundsRecovered(tender_id="", op_id=op_id, parts=tuple(parts)))
        )


def _negated(part: FundingPart) -> FundingPart:
    terms = part.recovery
    if terms is not None:
        terms = replace(terms, amount=-terms.amount)
    return FundingPart(part.account, -part.amount, part.slice_id, terms)


def _take_again(run: Execution, reduced: RefundGrantReduced, amount: int) -> None:
    """Take what the platform bore from those who bear it after all."""
    order = run.order
    later = after_events(order, reduced)
    funding = funded_by(later, later.grants[reduced.refund_id], amount)
    run.add(change(order.order_id, reduced, _posted(order, funding.parts, -amount)))
    op_id = _amending(run.award.ruling_id, reduced.refund_id)
    run.add(*borne_otherwise(run.order, reduced.refund_id, funding, op_id))


def _posted(order: OrderState, parts: tuple[FundingPart, ...], goodwill: int) -> Entry:
    """Return the entry of parts that bear less (below zero) as the platform bears more."""
    over = recipes_freeze.over_refund(order.order_id, goodwill, order.currency)
    return merge((refund_requested(order.order_id, parts, order.currency), over))


def _clear_promise(run: Execution) -> None:
    if run.freeze.refund_id:
        _promised(run, "", 0)


def _promised(run: Execution, refund_id: str, amount: int) -> None:
    event = RulingRefundPromised(
        freeze_id=run.award.freeze_id,
        slice_id=run.award.seller,
        refund_id=refund_id,
        amount=amount,
    )
    run.add(change(run.order.order_id, event))


def _give_up_the_rest(run: Execution) -> None:
    """Lift the freeze, or give up what it kept and does not need any more if it was lifted."""
    order, one = run.order, run.freeze
    if not one.is_lifted:
        event = lifting(order, one, f"ruling {run.award.ruling_id} executed")
        run.add(*given_up(order, event))
        return
    kept = min(run.frozen, undrawn(order, one))
    reserve = beyond(one.reserve, needed_for_refund(order, one))
    if run.frozen > kept or reserve:
        settled = FreezeSettled(
            freeze_id=one.freeze_id,
            slice_id=one.slice_id,
            escrowed=run.frozen - kept,
            reserve=reserve,
        )
        run.add(*given_up(order, settled))
