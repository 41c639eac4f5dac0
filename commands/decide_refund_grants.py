"""
Decisions on what a buyer gets back: grant, allocate to payments, withdraw, pay in another way.

The operations that move the money belong to the payments; here is the entitlement and its limit.
"""

from collections.abc import Sequence
from datetime import datetime

from orderledger.ledger import limits, recipes_order, recipes_payment
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.freezes import of_refund
from orderledger.ledger.journal import Entry, merge
from orderledger.ledger.money import allocate, cumulative_part
from orderledger.ledger.order_events import (
    SURPLUS_SOURCES,
    MovedLine,
    PaymentPart,
    RefundAllocated,
    RefundGranted,
    RefundGrantWithdrawn,
    RefundLine,
    RefundSettledExternally,
    RefundSource,
)
from orderledger.ledger.order_refunds import Grant, GrantStatus
from orderledger.ledger.order_totals import refund_of
from orderledger.ledger.orders import ENDED, Lifecycle, OrderState
from orderledger.ledger.payment_operations import FAILED
from orderledger.ledger.payments import owed_again, refund_operations
from orderledger.ledger.tenders import Tender, charged_back_by, charged_by, tenders_of

from . import order_guards as guards
from .chargeback_guards import check_grant_not_charged_back
from .decide_payment_guards import check_uncontested
from .decision import Changes, States, decides
from .dispute_guards import require_undisputed
from .escrow_follow import borne_otherwise
from .freezing import settled_freezes
from .order_commands import (
    AllocateRefund,
    AllocationStrategy,
    GrantRefund,
    RefundByAlternativeMeans,
    WithdrawRefund,
)
from .order_cover import check_not_requested, open_claims, surplus
from .refund_funding import funded_by

_GRANTABLE = frozenset(Lifecycle) - {Lifecycle.NONE, Lifecycle.DRAFT, Lifecycle.REJECTED}


@decides(GrantRefund)
def grant_refund(command: GrantRefund, states: States, now: datetime) -> Changes:
    """
    Promise a refund.

    Refused in this order: ALREADY_EXISTS, WRONG_STATE (also for the source ``ruling``, which only
    ``ExecuteRuling`` gives: such a refund passes the dispute's guard), NOT_FOUND (line),
    QUANTITY_EXCEEDS_AVAILABLE, DISPUTE_OPEN (its ruling decides on the line),
    AMOUNT_EXCEEDS_AVAILABLE (shipping), AMOUNT_NOT_POSITIVE, AMOUNT_MISMATCH (expected total),
    AMOUNT_EXCEEDS_AVAILABLE (charged + goodwill less what open disputes claim, or surplus).
    """
    _check_grant(command)
    order = guards.existing(states, command.order_id)
    before = order.grants.get(command.refund_id)
    if before is not None:
        if _is_same(before, command):
            return ()
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"order {order.order_id} already has a refund {command.refund_id}",
            order_id=order.order_id,
            refund_id=command.refund_id,
        )
    guards.require(order, "grant a refund", _GRANTABLE)
    _check_source(command)
    lines = _lines(order, command.lines)
    require_undisputed(order, [moved.line_id for moved in command.lines])
    _check_shipping(order, command.shipping)
    total = sum([line.net + line.tax for line in lines]) + command.shipping + command.adjustment
    _check_total(command, order, total)
    _check_limit(command, order, total, tenders_of(order, states.payment))
    event = RefundGranted(
        refund_id=command.refund_id,
        total=total,
        reason=command.reason,
        source=command.source,
        lines=lines,
        shipping=command.shipping,
        adjustment=command.adjustment,
    )
    return (guards.change(command.order_id, event),)


def _check_grant(command: GrantRefund) -> None:
    guards.check_id("refund_id", command.refund_id)
    guards.check_text("reason", command.reason)
    limits.check_count("lines of a refund", len(command.lines), limits.ORDER_LINES_MAX)
    guards.check_unique("line_id", [moved.line_id for moved in command.lines])
    for moved in command.lines:
        guards.check_quantity(f"quantity of line {moved.line_id}", moved.quantity)
    guards.check_amount("shipping", command.shipping, minimum=0)
    guards.check_amount("adjustment", command.adjustment, minimum=-limits.AMOUNT_MINOR_MAX)
    if command.total is not None:
        guards.check_amount("total", command.total)
    if command.source in SURPLUS_SOURCES and (command.lines or command.shipping):
        raise InvalidCommand(
            f"a refund of source {command.source} gives a surplus back: it has an adjustment, no "
            "lines and no shipping",
            refund_id=command.refund_id,
            source=command.source.value,
        )


def _check_source(command: GrantRefund) -> None:
    if command.source is RefundSource.RULING:
        raise Rejected(
            Reason.WRONG_STATE,
            f"refund {command.refund_id} of order {command.order_id} cannot be granted by hand as "
            "what a ruling awarded: execute the dispute's ruling (ExecuteRuling), or name another "
            "source",
            order_id=command.order_id,
            refund_id=command.refund_id,
            source=command.source.value,
        )


def _is_same(grant: Grant, command: GrantRefund) -> bool:
    return (
        tuple([MovedLine(line.line_id, line.quantity) for line in grant.lines]) == command.lines
        and grant.shipping == command.shipping
        and grant.adjustment == command.adjustment
        and grant.source is command.source
        and command.total in (None, grant.total)
    )


def _lines(order: OrderState, wanted: Sequence[MovedLine]) -> tuple[RefundLine, ...]:
    lines: list[RefundLine] = []
    for moved in wanted:
        line = order.lines.get(moved.line_id)
        if line is None:
            raise guards.unknown_line(order, moved.line_id)
        left = line.refundable_quantity
        if moved.quantity > left:
            raise guards.too_many(order, moved.line_id, moved.quantity, left, "refunded")
        lines.append(refund_of(line, moved.quantity, order.currency))
    return tuple(lines)


def _check_shipping(order: OrderState, shipping: int) -> None:
    granted = sum([grant.shipping for grant in order.grants.values() if grant.is_live])
    left = sum([charge.charged for charge in order.shipping]) - granted
    if shipping > left:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"order {order.order_id} has {left} of shipping left to refund, not {shipping}",
            order_id=order.order_id,
            amount=shipping,
            available=left,
        )


def _check_total(command: GrantRefund, order: OrderState, total: int) -> None:
    if total <= 0:
        raise Rejected(
            Reason.AMOUNT_NOT_POSITIVE,
            f"refund {command.refund_id} of order {order.order_id} sums to {total}",
            order_id=order.order_id,
            refund_id=command.refund_id,
            amount=total,
        )
    if command.total is not None and command.total != total:
        raise Rejected(
            Reason.AMOUNT_MISMATCH,
            f"refund {command.refund_id} of order {order.order_id} was expected to be "
            f"{command.total}, its parts sum to {total}",
            order_id=order.order_id,
            refund_id=command.refund_id,
            expected=command.total,
            computed=total,
        )


def _check_limit(
    command: GrantRefund, order: OrderState, total: int, tenders: tuple[Tender, ...]
) -> None:
    charged = charged_by(tenders) - charged_back_by(tenders)
    limit = charged + order.goodwill_approved - order.granted - open_claims(order)
    if command.source in SURPLUS_SOURCES:
        limit = min(limit, surplus(order, tenders))
    if total > limit:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"refund {command.refund_id} of {total} exceeds the {max(0, limit)} "
            f"{order.currency} minor units that order {order.order_id} may still give back",
            order_id=order.order_id,
            refund_id=command.refund_id,
            amount=total,
            available=max(0, limit),
        )


def _existing_grant(order: OrderState, refund_id: str) -> Grant:
    grant = order.grants.get(refund_id)
    if grant is None:
        raise Rejected(
            Reason.NOT_FOUND,
            f"order {order.order_id} has no refund {refund_id}",
            order_id=order.order_id,
            refund_id=refund_id,
        )
    return grant


def _require_status(grant: Grant, action: str, *allowed: GrantStatus) -> None:
    if grant.status not in allowed:
        raise Rejected(
            Reason.WRONG_STATE,
            f"refund {grant.refund_id} is {grant.status}; to {action} it must be "
            f"{' or '.join(allowed)}",
            refund_id=grant.refund_id,
            status=grant.status.value,
        )


@decides(AllocateRefund)
def allocate_refund(command: AllocateRefund, states: States, now: datetime) -> Changes:
    """
    Say which tenders give a refund back.

    Raises AMOUNT_MISMATCH if explicit parts do not sum to the grant, BOUND_TO_ANOTHER_ORDER for a
    payment that is not this order's, AMOUNT_EXCEEDS_AVAILABLE beyond what a tender can refund.
    """
    _check_parts(command)
    order = guards.existing(states, command.order_id)
    grant = _existing_grant(order, command.refund_id)
    if _is_allocated(grant, command):
        return ()
    _require_status(grant, "allocate it", GrantStatus.GRANTED)
    event = allocation(command, order, grant, tenders_of(order, states.payment))
    return (guards.change(command.order_id, event),)


def allocation(
    command: AllocateRefund, order: OrderState, grant: Grant, tenders: tuple[Tender, ...]
) -> RefundAllocated:
    """Return the allocation of a grant to tenders; raises what ``allocate_refund`` raises."""
    free = {one.tender_id: _free(order, grant, one) for one in tenders}
    if command.strategy is AllocationStrategy.EXPLICIT:
        parts = _explicit(command, order, grant, free)
    else:
        parts = _by_strategy(command, order, grant, tenders, free)
    return RefundAllocated(
        refund_id=command.refund_id, parts=parts, strategy=command.strategy.value
    )


def _check_parts(command: AllocateRefund) -> None:
    is_explicit = command.strategy is AllocationStrategy.EXPLICIT
    if bool(command.parts) != is_explicit:
        raise InvalidCommand(
            f"strategy {command.strategy} {'needs' if is_explicit else 'takes no'} parts",
            refund_id=command.refund_id,
        )
    limits.check_count("parts of a refund", len(command.parts), limits.ORDER_PARTS_MAX)
    guards.check_unique("payment_id", [part.payment_id for part in command.parts])
    for part in command.parts:
        guards.check_amount(f"part of payment {part.payment_id}", part.amount)


def _is_allocated(grant: Grant, command: AllocateRefund) -> bool:
    if grant.status is not GrantStatus.ALLOCATED or grant.strategy != command.strategy.value:
        return False
    given = {part.payment_id: part.amount for part in command.parts}
    return not given or given == grant.allocations


def _free(order: OrderState, grant: Grant, tender: Tender) -> int:
    """Return what a tender can refund that no other grant's allocation waits for."""
    waiting = 0
    for other in order.grants.values():
        if other.refund_id == grant.refund_id or not other.is_live:
            continue
        allotted = other.allocations.get(tender.tender_id, 0)
        if allotted and other.outstanding:
            waiting += max(0, allotted - tender.claimed.get(other.refund_id, 0))
    return max(0, tender.refundable - waiting)


def _explicit(
    command: AllocateRefund, order: OrderState, grant: Grant, free: dict[str, int]
) -> tuple[PaymentPart, ...]:
    total = sum([part.amount for part in command.parts])
    if total != grant.total:
        raise Rejected(
            Reason.AMOUNT_MISMATCH,
            f"refund {grant.refund_id} is {grant.total}, its parts sum to {total}",
            refund_id=grant.refund_id,
            expected=grant.total,
            computed=total,
        )
    for part in command.parts:
        left = free.get(part.payment_id)
        if left is None:
            raise Rejected(
                Reason.BOUND_TO_ANOTHER_ORDER,
                f"payment {part.payment_id} does not belong to order {order.order_id}",
                order_id=order.order_id,
                payment_id=part.payment_id,
            )
        if part.amount > left:
            raise _too_much(order, part.payment_id, part.amount, left)
    return command.parts


def _too_much(order: OrderState, payment_id: str, amount: int, left: int) -> Rejected:
    return Rejected(
        Reason.AMOUNT_EXCEEDS_AVAILABLE,
        f"{payment_id or 'the payments'} of order {order.order_id} can refund {left} "
        f"{order.currency} minor units, not {amount}",
        order_id=order.order_id,
        payment_id=payment_id,
        amount=amount,
        available=left,
    )


def _by_strategy(
    command: AllocateRefund,
    order: OrderState,
    grant: Grant,
    tenders: tuple[Tender, ...],
    free: dict[str, int],
) -> tuple[PaymentPart, ...]:
    available = sum(free.values())
    if grant.total > available:
        raise _too_much(order, "", grant.total, available)
    if command.strategy is AllocationStrategy.PROPORTIONAL:
        amounts = allocate(grant.total, [free[one.tender_id] for one in tenders])
        return _parts([(one.tender_id, part) for one, part in zip(tenders, amounts, strict=True)])
    vouchers = [one.tender_id for one in tenders if one.method in command.voucher_tenders]
    others = [one.tender_id for one in tenders if one.method not in command.voucher_tenders]
    is_first = command.strategy is AllocationStrategy.VOUCHER_FIRST
    left = grant.total
    taken: list[tuple[str, int]] = []
    for tender_id in (*vouchers, *others) if is_first else (*others, *vouchers):
        part = min(left, free[tender_id])
        left -= part
        taken.append((tender_id, part))
    return _parts(taken)


def _parts(amounts: list[tuple[str, int]]) -> tuple[PaymentPart, ...]:
    return tuple([PaymentPart(tender_id, amount) for tender_id, amount in amounts if amount])


@decides(WithdrawRefund)
def withdraw_refund(command: WithdrawRefund, states: States, now: datetime) -> Changes:
    """
    Take a grant back.

    Raises OPERATION_IN_FLIGHT once an operation was requested for it, WRONG_STATE where a ruling
    awarded it, or where an order that is over would be left with money that nobody is entitled to.
    """
    guards.check_text("reason", command.reason)
    order = guards.existing(states, command.order_id)
    grant = _existing_grant(order, command.refund_id)
    if grant.status is GrantStatus.WITHDRAWN:
        return ()
    _require_status(grant, "withdraw it", GrantStatus.GRANTED, GrantStatus.ALLOCATED)
    if of_refund(order.freezes, grant.refund_id) is not None:
        raise Rejected(
            Reason.WRONG_STATE,
            f"refund {grant.refund_id} of order {order.order_id} was awarded by a ruling; only a "
            "ruling that takes its place takes it back",
            order_id=order.order_id,
            refund_id=grant.refund_id,
        )
    tenders = tenders_of(order, states.payment)
    check_not_requested(order, grant, tenders)
    event = RefundGrantWithdrawn(refund_id=command.refund_id, reason=command.reason, by=command.by)
    if order.lifecycle in ENDED and surplus(guards.after(order, event), tenders):
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {order.order_id} is {order.lifecycle}; without refund {grant.refund_id} its "
            "money would belong to nobody. Reinstate it, or grant another refund",
            order_id=order.order_id,
            refund_id=grant.refund_id,
        )
    return (guards.change(command.order_id, event),)


@decides(RefundByAlternativeMeans)
def refund_by_alternative_means(
    command: RefundByAlternativeMeans, states: States, now: datetime
) -> Changes:
    """
    Pay what failed from the bank, at most what is outstanding.

    What failed after success is a liability already, in the currency of its payment; for what was
    declined those bear it again who would bear another attempt. Raises WRONG_STATE unless
    something of the refund failed, OPERATION_IN_FLIGHT while another attempt runs,
    INSUFFICIENT_FUNDS if nothing of what failed is left to pay.
    """
    guards.check_text("reference", command.reference)
    guards.check_id("bank", command.bank)
    order = guards.existing(states, command.order_id)
    grant = _existing_grant(order, command.refund_id)
    if grant.status is GrantStatus.SETTLED and grant.settled_externally:
        return ()
    if not (grant.status is GrantStatus.PROCESSING and grant.failed_ops):
        # Processing counts where one of its payments failed, whatever another one did since.
        allowed = (GrantStatus.FAILED, GrantStatus.FAILED_AFTER_SUCCESS)
        _require_status(grant, "pay it otherwise", *allowed)
    for tender in tenders_of(order, states.payment):
        running = tender.claimed.get(grant.refund_id, 0) - grant.settled.get(tender.tender_id, 0)
        if running > 0:
            raise Rejected(
                Reason.OPERATION_IN_FLIGHT,
                f"another attempt of refund {grant.refund_id} runs on {tender.tender_id}",
                order_id=order.order_id,
                refund_id=grant.refund_id,
                payment_id=tender.tender_id,
            )
    for payment_id in grant.allocations:
        check_grant_not_charged_back(grant, states.payment(payment_id))
    owed = min(grant.owed_again, grant.outstanding)
    declined = min(_declined(grant, states), grant.outstanding - owed)
    amount = owed + declined
    if amount == 0:
        raise Rejected(
            Reason.INSUFFICIENT_FUNDS,
            f"nothing of refund {grant.refund_id} that failed is left to pay; request the rest",
            order_id=order.order_id,
            refund_id=grant.refund_id,
        )
    event = RefundSettledExternally(
        refund_id=command.refund_id,
        amount=amount,
        method=command.method,
        reference=command.reference,
        by=command.by,
    )
    paid = _owed_paid_out(command, order, grant, owed, states)
    settled = guards.change(command.order_id, event, merge(paid))
    if not declined:
        return (settled, *settled_freezes(guards.after(order, event)))
    funding = funded_by(order, grant, declined)
    requested = recipes_payment.refund_requested(order.order_id, funding.parts, order.currency)
    out = recipes_order.refund_paid_out(order.order_id, command.bank, declined, order.currency)
    borne = borne_otherwise(order, grant.refund_id, funding, command.reference)
    later = guards.after(order, event, *[one.event for one in borne])
    return (
        guards.change(command.order_id, event, merge((*paid, requested, out))),
        *borne,
        *settled_freezes(later),
    )


def _declined(grant: Grant, states: States) -> int:
    """Return what of the grant's allocations failed before success, in the order's currency."""
    total = 0
    for payment_id, allotted in grant.allocations.items():
        operations = refund_operations(states.payment(payment_id), grant.refund_id)
        if any(op.status in FAILED for op in operations):
            owed = max(0, grant.owed.get(payment_id, 0))
            total += max(0, allotted - grant.settled.get(payment_id, 0) - owed)
    return total


def _owed_paid_out(
    command: RefundByAlternativeMeans, order: OrderState, grant: Grant, amount: int, states: States
) -> tuple[Entry, ...]:
    """Return the entries that pay what failed after success, each in its payment's currency."""
    entries: list[Entry] = []
    for payment_id, owed in grant.owed.items():
        part = min(amount, max(0, owed))
        if part == 0:
            continue
        amount -= part
        payment = states.payment(payment_id)
        check_uncontested(payment, grant.refund_id)
        minor, currency = part, order.currency
        if payment.fx is not None:
            whole = owed_again(payment, grant.refund_id)
            full = max(owed, payment.in_order_currency(whole))
            minor = cumulative_part(whole, full, full - owed, full - owed + part)
            currency = payment.currency
        entries.append(recipes_order.refund_paid_out(order.order_id, command.bank, minor, currency))
    return tuple(entries)
