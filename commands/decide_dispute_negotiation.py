"""
Decisions in the negotiation of a dispute: answer, offers, agreement, escalation.
"""

from datetime import datetime

from orderledger.ledger import dispute_events as e
from orderledger.ledger.dispute_content import Answer
from orderledger.ledger.dispute_events import SettlementBasis
from orderledger.ledger.dispute_parties import split
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected
from orderledger.ledger.rule_books import later

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_commands import AcceptOffer, Escalate, MakeOffer, Respond
from .dispute_hearing import Hearing, escalate, heard


@decides(Respond)
def respond(command: Respond, states: States, now: datetime) -> Changes:
    """Answer a claim; accepting it settles the dispute, and an offer is put to the claimant."""
    _check_answer(command)
    hearing = heard(command, states, now)
    state = hearing.state
    offer = _offer_in(command, state)
    if state.answer is not None:
        if (state.answer.answer, state.answer.statement) != (command.answer, command.statement):
            raise guards.used(state, "the answer", state.answer.answer.value)
        if offer is not None:
            _check_same(state, state.offers.get(offer.offer_id), offer)
        return hearing.changes
    guards.require_stage(state, e.RespondentAnswered, "answer it")
    guards.require_running(state, "answer it")
    hearing.step(
        e.RespondentAnswered(at=hearing.at, answer=command.answer, statement=command.statement)
    )
    if command.answer is Answer.ACCEPT:
        hearing.step(
            e.SettlementAgreed(
                at=hearing.at,
                basis=SettlementBasis.ANSWER,
                allocations=split(state.claimant, state.claimed, state.claimed),
                remedy=state.remedy,
            )
        )
    elif offer is not None:
        _put(hearing, offer)
    return hearing.changes


def _offer_in(command: Respond, state: DisputeState) -> MakeOffer | None:
    if command.expires_at is None:
        return None
    return MakeOffer(
        dispute_id=command.dispute_id,
        offer_id=command.offer_id,
        party=state.respondent,
        amount=command.amount,
        remedy=command.remedy,
        expires_at=command.expires_at,
        occurred_at=command.occurred_at,
    )


def _check_answer(command: Respond) -> None:
    order_guards.check_text("statement", command.statement)
    if (command.answer is Answer.OFFER) != (command.expires_at is not None):
        raise InvalidCommand(
            "an answer has the fields of an offer exactly if it is one", field="expires_at"
        )
    if command.answer is Answer.OFFER:
        order_guards.check_id("offer_id", command.offer_id)
        order_guards.check_amount("offer", command.amount, minimum=0)
    elif command.offer_id or command.amount:
        raise InvalidCommand(f"the answer {command.answer} makes no offer", field="offer_id")


@decides(MakeOffer)
def make_offer(command: MakeOffer, states: States, now: datetime) -> Changes:
    """Put an offer to the other side; raises AMOUNT_EXCEEDS_AVAILABLE beyond the claim."""
    order_guards.check_id("offer_id", command.offer_id)
    order_guards.check_amount("offer", command.amount, minimum=0)
    guards.check_side(command.party)
    hearing = heard(command, states, now)
    known = hearing.state.offers.get(command.offer_id)
    if known is not None:
        _check_same(hearing.state, known, command)
        return hearing.changes
    guards.require_stage(hearing.state, e.SettlementOffered, "make an offer")
    guards.require_running(hearing.state, "make an offer")
    _put(hearing, command)
    return hearing.changes


def _check_same(state: DisputeState, known: e.SettlementOffered | None, command: MakeOffer) -> None:
    terms = ("party", "amount", "remedy", "expires_at")
    if known is None or not guards.repeats(command, known, *terms):
        raise guards.used(state, "offer", command.offer_id)


def _put(hearing: Hearing, command: MakeOffer) -> None:
    state = hearing.state
    if command.offer_id in state.offers:
        raise guards.used(state, "offer", command.offer_id)
    if command.amount > state.claimed:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"{command.amount} {state.currency} minor units are offered; {state.claimed} are in "
            f"dispute {state.dispute_id}",
            dispute_id=state.dispute_id,
            amount=command.amount,
            available=state.claimed,
        )
    if command.expires_at <= hearing.at:
        raise _expired(state, command.offer_id, command.expires_at)
    hearing.step(
        e.SettlementOffered(
            at=hearing.at,
            offer_id=command.offer_id,
            number=len(state.offers) + 1,
            party=command.party,
            amount=command.amount,
            remedy=command.remedy,
            expires_at=command.expires_at,
        )
    )


def _expired(state: DisputeState, offer_id: str, expires_at: datetime) -> Rejected:
    return Rejected(
        Reason.WINDOW_CLOSED,
        f"offer {offer_id} in dispute {state.dispute_id} expires at {expires_at.isoformat()}, "
        "which is over; make another one",
        dispute_id=state.dispute_id,
        offer_id=offer_id,
        expires_at=expires_at.isoformat(),
    )


@decides(AcceptOffer)
def accept_offer(command: AcceptOffer, states: States, now: datetime) -> Changes:
    """Accept the other side's offer before it expires."""
    guards.check_side(command.party)
    hearing = heard(command, states, now)
    state = hearing.state
    offer = state.offers.get(command.offer_id)
    if offer is None:
        raise guards.unknown(state, "offer", command.offer_id)
    agreed = state.settlement
    if agreed is not None and agreed.reference == offer.offer_id:
        return hearing.changes
    guards.require_stage(state, e.SettlementAgreed, "accept an offer")
    guards.require_running(state, "accept an offer")
    if offer.party is command.party:
        raise guards.conflict(state, command.party.value, "made the offer", "accept it")
    if hearing.at >= offer.expires_at:
        raise _expired(state, offer.offer_id, offer.expires_at)
    hearing.step(
        e.SettlementAgreed(
            at=hearing.at,
            basis=SettlementBasis.OFFER,
            reference=offer.offer_id,
            allocations=split(state.claimant, offer.amount, state.claimed),
            remedy=offer.remedy,
        )
    )
    return hearing.changes


@decides(Escalate)
def escalate_dispute(command: Escalate, states: States, now: datetime) -> Changes:
    """Ask for a decision; raises NOT_YET_DUE before the rule book's earliest instant."""
    guards.check_side(command.party)
    hearing = heard(command, states, now)
    state = hearing.state
    if state.stage in (Stage.EVIDENCE, Stage.MEDIATION, Stage.ARBITRATION):
        return hearing.changes
    guards.require_stage(state, e.DisputeEscalated, "escalate it")
    guards.require_running(state, "escalate it")
    earliest = later(state.accepted_at or state.as_of, state.rule_book.escalation_from_hours)
    if hearing.at < earliest:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"dispute {state.dispute_id} can be escalated from {earliest.isoformat()} by rule book "
            f"{state.rule_book.reference('escalation_from_hours')}",
            dispute_id=state.dispute_id,
            earliest=earliest.isoformat(),
        )
    escalate(hearing, command.party, "escalation_from_hours")
    return hearing.changes
