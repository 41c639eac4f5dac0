"""
Decisions on filing a dispute and admitting it.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import dispute_events as e
from orderledger.ledger import limits, streams
from orderledger.ledger.dispute_content import ClaimedLine, DisputeOutcome
from orderledger.ledger.dispute_events import DeadlineKind
from orderledger.ledger.dispute_parties import other_side
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.order_disputes import (
    DisputeNotice,
    DisputeOpened,
    all_taken_up,
    taken_up,
)
from orderledger.ledger.order_events import OrderReopened, RefundSource
from orderledger.ledger.orders import Lifecycle, OrderState
from orderledger.ledger.rule_books import check_rule_book, hash_of, later

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_commands import AcceptDispute, FileDispute, RejectDispute
from .dispute_funds import frozen_for
from .dispute_hearing import Hearing, close, heard, set_deadline, suspend_while_contested

DISPUTABLE: Final = frozenset({Lifecycle.PLACED, Lifecycle.CONFIRMED, Lifecycle.COMPLETED})
"""Lifecycles of an order about which there is money to dispute."""
_TERMS: Final = (
    *("order_id", "seller", "claimant", "claims", "remedy", "reason"),
    *("placed_at", "delivered_at", "rule_book", "evidence"),
)


@decides(FileDispute)
def file(command: FileDispute, states: States, now: datetime) -> Changes:
    """
    File a dispute, and tell its order. It stands still while a chargeback contests a payment.

    Refused in this order: OPERATION_ALREADY_USED, WRONG_STATE, NOT_FOUND (line of the seller),
    DISPUTE_OPEN, DISPUTE_NOT_REFILABLE, WINDOW_CLOSED, AMOUNT_EXCEEDS_AVAILABLE.
    """
    _check(command)
    order = order_guards.existing(states, command.order_id)
    state = states.dispute(command.dispute_id)
    if state.exists:
        if state.filed is not None and guards.repeats(command, state.filed, *_TERMS):
            return ()
        raise guards.used(state, "the filing", command.dispute_id)
    order_guards.require(order, "dispute it", DISPUTABLE)
    _check_lines(command, order)
    hearing = Hearing(command.dispute_id, states, command, now)
    begins = command.delivered_at or command.placed_at
    filing_until = later(begins, command.rule_book.filing_hours)
    if hearing.at >= filing_until:
        raise Rejected(
            Reason.WINDOW_CLOSED,
            f"disputes about order {order.order_id} could be filed until "
            f"{filing_until.isoformat()}, by {command.rule_book.reference('filing_hours')}",
            order_id=order.order_id,
            filing_until=filing_until.isoformat(),
        )
    claimed = sum([claim.amount for claim in command.claims])
    _check_amounts(command, order, claimed)
    hearing.step(_filed(command, hearing.at, order, filing_until))
    if order.lifecycle is Lifecycle.COMPLETED:
        cause = streams.dispute(command.dispute_id)
        hearing.on_order(OrderReopened(cause="dispute", cause_event=cause))
    hearing.on_order(
        DisputeOpened(
            dispute_id=command.dispute_id, claimant=command.claimant, claims=command.claims
        )
    )
    suspend_while_contested(hearing)
    return hearing.changes


def _filed(
    command: FileDispute, at: datetime, order: OrderState, filing_until: datetime
) -> e.DisputeFiled:
    return e.DisputeFiled(
        at=at,
        dispute_id=command.dispute_id,
        order_id=command.order_id,
        currency=order.currency,
        buyer_ref=order.buyer_ref,
        seller=command.seller,
        claimant=command.claimant,
        respondent=other_side(command.claimant),
        claims=command.claims,
        claimed=sum([claim.amount for claim in command.claims]),
        remedy=command.remedy,
        reason=command.reason,
        placed_at=command.placed_at,
        delivered_at=command.delivered_at,
        filing_until=filing_until,
        rule_book=command.rule_book,
        rule_book_hash=hash_of(command.rule_book),
        evidence=command.evidence,
    )


def _check(command: FileDispute) -> None:
    guards.check_dispute_id(command.dispute_id)
    order_guards.check_id("seller", command.seller)
    guards.check_side(command.claimant)
    guards.check_reason("reason", command.reason)
    check_rule_book(command.rule_book)
    guards.check_evidence(command.evidence)
    if not command.claims:
        raise InvalidCommand("claims are missing: name the disputed lines", field="claims")
    limits.check_count("claims", len(command.claims), limits.ORDER_LINES_MAX)
    order_guards.check_unique("line_id", [claim.line_id for claim in command.claims])
    for claim in command.claims:
        order_guards.check_amount(f"claim on line {claim.line_id}", claim.amount)


def _check_lines(command: FileDispute, order: OrderState) -> None:
    for claim in command.claims:
        line = order.lines.get(claim.line_id)
        if line is None or line.line.seller != command.seller:
            raise Rejected(
                Reason.NOT_FOUND,
                f"order {order.order_id} has no line {claim.line_id} of seller {command.seller}; a "
                "dispute is about lines of one seller",
                order_id=order.order_id,
                line_id=claim.line_id,
                seller=command.seller,
            )
    guards.require_undisputed(order, [claim.line_id for claim in command.claims])
    for dispute_id, notice in order.disputes.items():
        _check_refilable(command, order, dispute_id, notice)


def _check_refilable(
    command: FileDispute, order: OrderState, dispute_id: str, notice: DisputeNotice
) -> None:
    again = [claim.line_id for claim in command.claims if claim.line_id in notice.claims]
    given_up = notice.outcome in (DisputeOutcome.WITHDRAWN, DisputeOutcome.LAPSED)
    if again and given_up and not notice.may_refile and notice.claimant is command.claimant:
        raise Rejected(
            Reason.DISPUTE_NOT_REFILABLE,
            f"dispute {dispute_id} about line {again[0]} of order {order.order_id} is "
            f"{notice.outcome}; by its rule book it cannot be filed again",
            order_id=order.order_id,
            dispute_id=dispute_id,
            line_id=again[0],
        )


def disputable(order: OrderState, line_id: str) -> int:
    """
    Return what can still be claimed of a line, in minor units.

    Its charge less what was granted back of it and what other disputes are about or have decided.
    The refunds of rulings are part of the last.
    """
    granted = sum(
        [
            part.net + part.tax
            for grant in order.grants.values()
            if grant.is_live and grant.source is not RefundSource.RULING
            for part in grant.lines
            if part.line_id == line_id
        ]
    )
    return max(0, order.lines[line_id].charged - granted - taken_up(order.disputes, line_id))


def disputable_in_all(order: OrderState) -> int:
    """Return what can still be claimed of the whole order; see ``disputable``."""
    granted = sum(
        [
            grant.total
            for grant in order.grants.values()
            if grant.is_live and grant.lowers_due and grant.source is not RefundSource.RULING
        ]
    )
    return max(0, order.total - granted - all_taken_up(order.disputes))


def _check_amounts(command: FileDispute, order: OrderState, claimed: int) -> None:
    for claim in command.claims:
        left = disputable(order, claim.line_id)
        if claim.amount > left:
            raise _too_much(order, f"line {claim.line_id}", claim, left)
    whole = ClaimedLine(",".join([claim.line_id for claim in command.claims]), claimed)
    left = disputable_in_all(order)
    if claimed > left:
        raise _too_much(order, "the whole", whole, left)
    cap = command.rule_book.cap_in(order.currency)
    if cap is not None and claimed > cap:
        raise _too_much(
            order, f"a claim by rule book {command.rule_book.reference('caps')}", whole, cap
        )


def _too_much(order: OrderState, what: str, claim: ClaimedLine, left: int) -> Rejected:
    return Rejected(
        Reason.AMOUNT_EXCEEDS_AVAILABLE,
        f"{claim.amount} {order.currency} minor units are claimed; {left} can be, of {what} of "
        f"order {order.order_id}",
        order_id=order.order_id,
        lines=claim.line_id,
        amount=claim.amount,
        available=left,
    )


@decides(AcceptDispute)
def accept(command: AcceptDispute, states: States, now: datetime) -> Changes:
    """Admit a dispute, freeze the amount and begin the negotiation."""
    hearing = heard(command, states, now)
    if hearing.state.accepted_at is not None:
        return hearing.changes
    guards.require_stage(hearing.state, e.DisputeAccepted, "accept it")
    guards.require_running(hearing.state, "accept it")
    guards.require_impartial(hearing.state, command.by, "admit it")
    changes, found = frozen_for(hearing.state, states)
    hearing.move(changes)
    hearing.step(e.DisputeAccepted(at=hearing.at, by=command.by, frozen=found))
    rules = hearing.state.rule_book
    respondent = hearing.state.respondent
    set_deadline(hearing, DeadlineKind.RESPONSE, rules.response_hours, "response_hours", respondent)
    set_deadline(hearing, DeadlineKind.NEGOTIATION, rules.negotiation_hours, "negotiation_hours")
    suspend_while_contested(hearing)
    return hearing.changes


@decides(RejectDispute)
def reject(command: RejectDispute, states: States, now: datetime) -> Changes:
    """Decline to hear a dispute."""
    guards.check_reason("reason", command.reason)
    hearing = heard(command, states, now)
    state = hearing.state
    if state.stage is Stage.CLOSED and state.outcome is DisputeOutcome.INADMISSIBLE:
        return hearing.changes
    guards.require_stage(state, e.DisputeDeclinedInadmissible, "decline it")
    guards.require_impartial(state, command.by, "decline it")
    event = e.DisputeDeclinedInadmissible(at=hearing.at, by=command.by, reason=command.reason)
    close(hearing, event, DisputeOutcome.INADMISSIBLE, "dispute inadmissible")
    return hearing.changes
