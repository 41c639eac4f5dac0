"""
Decisions on chargebacks: what a provider reports of them, and what we answer.

Reports are never refused. Where a chargeback stands, and what it moved, follows from all reports
together, so any order of them ends in the same balances; one that does not fit is recorded with an
anomaly.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from orderledger.ledger import chargeback_events as e
from orderledger.ledger import limits
from orderledger.ledger.anomalies import AnomalyKind
from orderledger.ledger.chargeback_stages import (
    CONTESTED,
    LOST,
    RETURNED,
    STATUS_OF,
    TRANSITIONS,
    ChargebackFact,
    ChargebackStage,
    ChargebackStatus,
    Liability,
)
from orderledger.ledger.chargebacks import INITIAL, Chargeback, named_in
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, Reason, Rejected, UnknownCurrency
from orderledger.ledger.instants import in_utc
from orderledger.ledger.limits import AMOUNT_MINOR_MAX
from orderledger.ledger.payments import PaymentState

from .chargeback_commands import (
    AcceptChargeback,
    AssignChargebackLoss,
    EndChargebackDefence,
    OfChargeback,
    RecordChargeback,
    SubmitChargebackEvidence,
)
from .chargeback_disputes import Moment, interruptions
from .decide_payment_guards import existing_payment, found_payment
from .decision import Changes, States, decides
from .order_guards import check_id, check_text
from .payment_record import PaymentRecord, finished

_FEES: Final = frozenset({ChargebackFact.FEE_CHARGED, ChargebackFact.FEE_RETURNED})
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@decides(RecordChargeback)
def record_chargeback(command: RecordChargeback, states: States, now: datetime) -> Changes:
    """Take in what a provider reports of a chargeback; a repeat changes nothing."""
    return observe_chargeback(command.report, states, (command, now))


def observe_chargeback(
    seen: e.ChargebackReport, states: States, moment: Moment, settlement: str = ""
) -> Changes:
    """
    Return what a report adds to the history; () if it says nothing new.

    ``settlement`` names the batch and line whose amount it is, where a file reports it. Raises
    NotFound if there is no such payment, InvalidCommand for an id outside the grammar.
    """
    check_id("chargeback_id", seen.chargeback_id)
    state = found_payment(states, seen.payment_id)
    record = PaymentRecord(states, state)
    seen = _by_its_name(record, seen)
    if seen.order_id and seen.order_id != state.order_id:
        detail = f"report names order {seen.order_id}, the payment is for {state.order_id}"
        record.anomaly(AnomalyKind.BOUND_TO_ANOTHER_ORDER, seen.order_id, detail=detail)
    if seen.fact in _FEES:
        _observe_fee(record, seen, seen.amount, seen.currency)
    else:
        _observe_fact(record, seen, settlement)
        if seen.fee:
            _observe_fee(record, seen, seen.fee, seen.fee_currency or seen.currency)
    return _concluded(record, state, moment)


def _concluded(record: PaymentRecord, before: PaymentState, moment: Moment) -> Changes:
    interrupted = interruptions(record.states, before, record.state, moment)
    return finished(record, before, interrupted)


def _key(seen: e.ChargebackReport) -> str:
    """Return the key by which a repeat of a report is known."""
    amount = "" if seen.amount is None else seen.amount
    due_by = seen.evidence_due_by
    return (
        f"{seen.stage.value} {seen.fact.value} {seen.provider_ref} {amount} {seen.currency} "
        f"{seen.sequence} {'' if due_by is None else due_by.isoformat()}"
    )


def _by_its_name(record: PaymentRecord, seen: e.ChargebackReport) -> e.ChargebackReport:
    """
    Return the report under the id by which its chargeback is known.

    A file calls a chargeback by a reference of its own. The first report under an unknown name is
    about the one that a file opened, if there is one alone whose reference or amount it has: else
    its money would be taken twice. Where there are two of one amount, each is opened by its line.
    """
    known = record.state.chargebacks
    name = named_in(known, seen.chargeback_id)
    if name is None:
        shown = {key: one for key, one in known.items() if one.is_from_file}
        found = [key for key in shown if key == seen.provider_ref]
        found = found or [key for key, one in shown.items() if _may_be(seen, one)]
        if len(found) != 1:
            return seen
        name = found[0]
        record.add(e.ChargebackNamed(chargeback_id=name, alias=seen.chargeback_id))
    return replace(seen, chargeback_id=name)


def _may_be(seen: e.ChargebackReport, one: Chargeback) -> bool:
    """Tell whether a report's amount is that of a chargeback, as far as it states what is taken."""
    is_of_return = seen.fact in (ChargebackFact.WON, ChargebackFact.CANCELLED, *_FEES)
    return is_of_return or seen.amount in (None, one.amount)


def _observe_fact(record: PaymentRecord, seen: e.ChargebackReport, settlement: str) -> None:
    one = record.state.chargebacks.get(seen.chargeback_id, INITIAL)
    key = _key(seen)
    if key in one.seen:
        return
    impossible = _impossible(record.state, seen)
    if impossible is not None:
        _keep(record, seen, key, *impossible)
        return
    if not one.exists and seen.liability is None:
        seen = replace(seen, liability=_agreed(record))
    event = _event(seen, one, key)
    if settlement and isinstance(event, e.ChargebackBegun):
        event = replace(event, settlement=settlement)
    record.add(event)
    _observe_contradiction(record, seen, one)


def _agreed(record: PaymentRecord) -> Liability | None:
    """Return who bears a loss by the terms of the payment's order; None: the seller, as ever."""
    if not record.state.order_id:
        return None
    liability = record.states.order(record.state.order_id).terms.chargeback_liability
    return None if liability is Liability.SELLER else liability


def _impossible(state: PaymentState, seen: e.ChargebackReport) -> tuple[str, AnomalyKind] | None:
    """Return why a report cannot be and the kind of its anomaly."""
    if seen.amount is not None and seen.amount <= 0:
        return "the amount is not positive", AnomalyKind.NON_POSITIVE_AMOUNT
    if seen.amount is not None and seen.amount > AMOUNT_MINOR_MAX:
        return "the amount is beyond what can be posted", AnomalyKind.AMOUNT_BEYOND_LIMIT
    if seen.currency and seen.currency != state.currency:
        return f"the payment is in {state.currency}", AnomalyKind.CURRENCY_MISMATCH
    if seen.fact not in STATUS_OF[seen.stage]:
        return (
            f"{seen.fact.value} means nothing at the {seen.stage.value}",
            AnomalyKind.CHARGEBACK_CONTRADICTION,
        )
    return None


def _keep(
    record: PaymentRecord, seen: e.ChargebackReport, key: str, why: str, kind: AnomalyKind
) -> None:
    event = e.ChargebackReportKept(
        chargeback_id=seen.chargeback_id,
        key=key,
        fact=seen.fact,
        stage=seen.stage,
        why=why,
        amount=seen.amount or 0,
        currency=seen.currency,
        provider_ref=seen.provider_ref,
    )
    record.add(event)
    detail = f"{seen.stage.value} {seen.fact.value} {seen.amount} {seen.currency}: {why}"
    record.anomaly(kind, seen.chargeback_id, key, detail=detail, severity="error")


_OPENINGS: Final[Mapping[ChargebackStage, Callable[..., e.ChargebackBegun]]] = {
    ChargebackStage.INQUIRY: e.ChargebackInquiryOpened,
    ChargebackStage.CHARGEBACK: e.ChargebackOpened,
    ChargebackStage.SECOND_CHARGEBACK: e.SecondChargebackOpened,
    ChargebackStage.PRE_ARBITRATION: e.PreArbitrationOpened,
    ChargebackStage.ARBITRATION: e.ChargebackStageChanged,
}
_EVENTS: Final[Mapping[ChargebackFact, Callable[..., e.ChargebackReported]]] = {
    ChargebackFact.EVIDENCE_SUBMITTED: e.ChargebackEvidenceSubmitted,
    ChargebackFact.WON: e.ChargebackWon,
    ChargebackFact.LOST: e.ChargebackLost,
    ChargebackFact.ACCEPTED: e.ChargebackAccepted,
    ChargebackFact.CANCELLED: e.ChargebackCancelled,
    ChargebackFact.DEFENCE_ENDED: e.ChargebackDefencePeriodEnded,
}
_DECISIONS: Final = frozenset({ChargebackFact.WON, ChargebackFact.LOST})


def _event(seen: e.ChargebackReport, one: Chargeback, key: str) -> e.ChargebackReported:
    fields: dict[str, Any] = {
        "chargeback_id": seen.chargeback_id,
        "key": key,
        "stage": seen.stage,
        "provider_ref": seen.provider_ref,
        "sequence": seen.sequence,
        "amount": seen.amount or 0,
        "currency": seen.currency,
        "liability": seen.liability,
        "detail": seen.detail,
    }
    if seen.fact is ChargebackFact.OPENED:
        return _OPENINGS[seen.stage](
            reason_code=seen.reason_code,
            evidence_due_by=seen.evidence_due_by,
            previous_stage=one.stage if one.exists else None,
            **fields,
        )
    if seen.stage is ChargebackStage.ARBITRATION and seen.fact in _DECISIONS:
        return e.ArbitrationDecided(is_won=seen.fact is ChargebackFact.WON, **fields)
    if seen.fact is ChargebackFact.EVIDENCE_SUBMITTED:
        fields["documents"] = seen.documents
    return _EVENTS[seen.fact](**fields)


def _observe_contradiction(
    record: PaymentRecord, seen: e.ChargebackReport, before: Chargeback
) -> None:
    """A report that does not fit what was known before is an anomaly, and so are its amounts."""
    after = record.state.chargebacks[seen.chargeback_id]
    said = [one for one in before.reports if (one.stage, one.fact) == (seen.stage, seen.fact)]
    who = (seen.chargeback_id, seen.stage.value, seen.fact.value)
    stage, status = before.node
    if not said and (seen.stage, seen.fact) not in TRANSITIONS.get((stage, status), {}):
        was = f"{status.value} at the {stage.value}" if before.exists else "not known"
        is_other = (after.status, after.flow.out) != (status, before.flow.out)
        record.anomaly(
            AnomalyKind.CHARGEBACK_CONTRADICTION,
            *who,
            detail=f"it was {was}; it is {after.status.value} at the {after.stage.value}",
            severity="error" if is_other else "warning",
        )
    amounts = {one.amount for one in said} - {0}
    if seen.amount and amounts - {seen.amount}:
        detail = f"{', '.join(map(str, sorted(amounts)))} and {seen.amount} were reported"
        record.anomaly(AnomalyKind.CONFLICTING_AMOUNT, *who, detail=detail, severity="error")
    elif seen.amount and _is_other_amount(seen, after):
        detail = f"{after.amount} is contested, {seen.amount} was reported as {seen.fact.value}"
        record.anomaly(AnomalyKind.AMOUNT_MISMATCH, *who, detail=detail, severity="error")
    is_of_money = after.stage is not ChargebackStage.INQUIRY
    if is_of_money and after.status in CONTESTED | LOST and not after.flow.out:
        record.anomaly(AnomalyKind.CHARGEBACK_WITHOUT_AMOUNT, seen.chargeback_id, severity="error")


def _is_other_amount(seen: e.ChargebackReport, after: Chargeback) -> bool:
    """Tell whether an outcome states an amount that its stage cannot have."""
    amount = seen.amount or 0
    status = STATUS_OF[seen.stage][seen.fact]
    if seen.stage is not after.stage or not after.amount:
        return False
    return (status in LOST and amount != after.amount) or (
        status in RETURNED and amount > after.amount
    )


def _observe_fee(
    record: PaymentRecord, seen: e.ChargebackReport, amount: int | None, currency: str
) -> None:
    """A fee is told apart by the provider's reference of it, else by its stage."""
    code = currency or record.state.currency
    is_returned = seen.fact is ChargebackFact.FEE_RETURNED
    is_own = seen.fact in _FEES
    fee_id = (seen.provider_ref if is_own else "") or seen.stage.value
    one = record.state.chargebacks.get(seen.chargeback_id, INITIAL)
    known = (one.fees_returned if is_returned else one.fees_charged).get(fee_id)
    if known == (code, amount):
        return
    if amount is None or not 0 < amount <= AMOUNT_MINOR_MAX or not _is_currency(code):
        key = f"fee {fee_id} {amount} {code}"
        if key not in one.seen:
            _keep(
                record,
                seen,
                key,
                "the fee is not a positive amount",
                AnomalyKind.NON_POSITIVE_AMOUNT,
            )
        return
    if known is not None:
        detail = f"{known[1]} {known[0]} and {amount} {code} were reported as fee {fee_id}"
        record.anomaly(
            AnomalyKind.CONFLICTING_AMOUNT,
            seen.chargeback_id,
            fee_id,
            detail=detail,
            severity="error",
        )
        if known >= (code, amount):
            return
    build = e.ChargebackFeeReturned if is_returned else e.ChargebackFeeCharged
    record.add(build(chargeback_id=seen.chargeback_id, fee_id=fee_id, amount=amount, currency=code))


def _is_currency(code: str) -> bool:
    try:
        exponent(code)
    except UnknownCurrency:
        return False
    return True


# -- what we answer ------------------------------------------------------------------------------


def _existing(state: PaymentState, command: OfChargeback) -> Chargeback:
    name = named_in(state.chargebacks, command.chargeback_id)
    one = state.chargebacks.get(name or "")
    if one is None or not one.exists:
        raise Rejected(
            Reason.NOT_FOUND,
            f"payment {state.payment_id} has no chargeback {command.chargeback_id}",
            payment_id=state.payment_id,
            chargeback_id=command.chargeback_id,
        )
    return one


def _wrong_status(state: PaymentState, one: Chargeback, message: str) -> Rejected:
    return Rejected(
        Reason.WRONG_STATE,
        f"chargeback {one.chargeback_id} of payment {state.payment_id} is {one.status.value} at "
        f"the {one.stage.value}: {message}",
        payment_id=state.payment_id,
        chargeback_id=one.chargeback_id,
        status=one.status.value,
        stage=one.stage.value,
    )


@decides(SubmitChargebackEvidence)
def submit_evidence(command: SubmitChargebackEvidence, states: States, now: datetime) -> Changes:
    """
    Hand in the defence of a stage.

    Raises NOT_FOUND; OPERATION_ALREADY_USED if another defence of the stage was handed in;
    WRONG_STATE unless the stage waits for one; WINDOW_CLOSED after its end.
    """
    _check_documents(command)
    check_text("submitted_by", command.submitted_by)
    state = existing_payment(states, command)
    one = _existing(state, command)
    handed = one.documents.get(one.stage)
    if handed:
        if handed == command.documents:
            return ()
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"evidence of chargeback {one.chargeback_id} was handed in at the {one.stage.value}: "
            "it is submitted once and cannot be replaced",
            payment_id=state.payment_id,
            chargeback_id=one.chargeback_id,
            stage=one.stage.value,
        )
    if one.status not in (ChargebackStatus.INQUIRY, ChargebackStatus.OPEN):
        raise _wrong_status(state, one, "no evidence is asked for")
    at = command.occurred_at or now
    due_at = one.evidence_due_by
    if due_at is not None and at >= due_at:
        raise Rejected(
            Reason.WINDOW_CLOSED,
            f"evidence of chargeback {one.chargeback_id} of payment {state.payment_id} was due by "
            f"{due_at.isoformat()}, it is {at.isoformat()}; if the bank gives more time, record "
            "its report with the new date first",
            payment_id=state.payment_id,
            chargeback_id=one.chargeback_id,
            due_at=due_at.isoformat(),
            at=at.isoformat(),
        )
    record = PaymentRecord(states, state)
    record.add(
        e.ChargebackEvidenceSubmitted(
            chargeback_id=one.chargeback_id,
            key=f"{one.stage.value} submitted",
            stage=one.stage,
            documents=command.documents,
            submitted_by=command.submitted_by,
        )
    )
    return _concluded(record, state, (command, now))


def _check_documents(command: SubmitChargebackEvidence) -> None:
    if not command.documents:
        raise InvalidCommand("a defence has at least one document", field="documents")
    limits.check_count("documents of a defence", len(command.documents), limits.ORDER_PARTS_MAX)
    for one in command.documents:
        check_id("kind of a document", one.kind)
        if _SHA256.fullmatch(one.sha256) is None:
            raise InvalidCommand(
                f"sha256 {one.sha256!r:.80} of a {one.kind} is not 64 hex digits in lower case",
                field="documents",
                sha256=one.sha256,
            )


@decides(AcceptChargeback)
def accept(command: AcceptChargeback, states: States, now: datetime) -> Changes:
    """Give in; raises NOT_FOUND, WRONG_STATE unless something is contested."""
    check_text("accepted_by", command.accepted_by)
    state = existing_payment(states, command)
    one = _existing(state, command)
    if any(
        said.fact is ChargebackFact.ACCEPTED and said.stage is one.stage for said in one.reports
    ):
        return ()
    if one.status not in CONTESTED or one.stage is ChargebackStage.INQUIRY:
        raise _wrong_status(state, one, "nothing is contested; an inquiry is settled by a refund")
    record = PaymentRecord(states, state)
    record.add(
        e.ChargebackAccepted(
            chargeback_id=one.chargeback_id,
            key=f"{one.stage.value} accepted here",
            stage=one.stage,
            liability=command.liability,
            accepted_by=command.accepted_by,
        )
    )
    return _concluded(record, state, (command, now))


@decides(EndChargebackDefence)
def end_defence(command: EndChargebackDefence, states: States, now: datetime) -> Changes:
    """
    Conclude that a chargeback is lost because nobody answered until the end of its defence.

    Nothing where the deadline is gone: answered, moved, or the stage is another. Raises NOT_FOUND,
    NOT_YET_DUE.
    """
    due_at = in_utc(command.due_at, "due_at")
    state = existing_payment(states, command)
    one = _existing(state, command)
    is_open = one.status is ChargebackStatus.OPEN and one.stage is command.stage
    is_inquiry = one.stage is ChargebackStage.INQUIRY
    if not is_open or is_inquiry or one.evidence_due_by != due_at:
        return ()
    at = command.occurred_at or now
    if at < due_at:
        raise Rejected(
            Reason.NOT_YET_DUE,
            f"the defence of chargeback {one.chargeback_id} ends at {due_at.isoformat()}, it is "
            f"{at.isoformat()}",
            payment_id=state.payment_id,
            chargeback_id=one.chargeback_id,
            due_at=due_at.isoformat(),
            now=at.isoformat(),
        )
    record = PaymentRecord(states, state)
    record.add(
        e.ChargebackDefencePeriodEnded(
            chargeback_id=one.chargeback_id,
            key=f"{one.stage.value} time over",
            stage=one.stage,
            due_at=due_at,
        )
    )
    return _concluded(record, state, (command, now))


@decides(AssignChargebackLoss)
def assign_loss(command: AssignChargebackLoss, states: States, now: datetime) -> Changes:
    """Decide anew who bears a loss; raises NOT_FOUND, WRONG_STATE while nothing is lost."""
    check_text("reason", command.reason)
    check_text("by", command.by)
    state = existing_payment(states, command)
    one = _existing(state, command)
    if not one.lost:
        raise _wrong_status(state, one, "nothing of it is lost")
    if one.liability is command.liability:
        return ()
    record = PaymentRecord(states, state)
    record.add(
        e.ChargebackLiabilityChanged(
            chargeback_id=one.chargeback_id,
            liability=command.liability,
            reason=command.reason,
            by=command.by,
        )
    )
    return _concluded(record, state, (command, now))
