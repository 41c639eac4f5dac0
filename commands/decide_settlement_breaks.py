"""
Decisions of people on what does not agree: match a line by hand, resolve a break, look for what is
missing.
"""

from datetime import datetime
from typing import Final

from orderledger.ledger import recipes_settlement
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.journal import EMPTY, Entry
from orderledger.ledger.limits import (
    AMOUNT_MINOR_MAX,
    SETTLEMENT_CANDIDATES_MAX,
    check_count,
    check_total,
)
from orderledger.ledger.money import Money
from orderledger.ledger.payment_operations import SETTLED, OperationKind, OperationStatus
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.recipes_settlement import CHARGEBACKS
from orderledger.ledger.settlement_events import (
    BreakAction,
    BreakKind,
    MatchedPart,
    SettlementBreakRaised,
    SettlementBreakResolved,
    SettlementLine,
    SettlementLineMatched,
)
from orderledger.ledger.settlements import LineState, SettlementState, SettlementStatus

from .decide_settlement_chargebacks import settle_chargeback
from .decide_settlement_lines import Settling
from .decide_settlement_matches import BY_HAND, KINDS, REVERSALS, Found, Match, amount_of, match
from .decide_settlements import existing_settlement
from .decision import Changes, States, decides
from .reconciliation_guards import check_booked_account, check_person, ended_again
from .settlement_commands import MatchLine, ReportMissingOperation, ResolveBreak

_MATCHABLE: Final = (
    BreakKind.UNKNOWN_REFERENCE,
    BreakKind.AMOUNT_DIFF,
    BreakKind.CURRENCY_DIFF,
    BreakKind.DUPLICATE,
)
_OUTGOING: Final = frozenset({OperationKind.REFUND, OperationKind.CREDIT})


@decides(MatchLine)
def match_line(command: MatchLine, states: States, now: datetime) -> Changes:
    """Match a line with an open break, by hand or by the rules tried again."""
    check_person(command.by)
    check_count("operations", len(command.operations), SETTLEMENT_CANDIDATES_MAX)
    check_count("candidates", len(command.candidates), SETTLEMENT_CANDIDATES_MAX)
    if not 0 <= command.tolerance <= AMOUNT_MINOR_MAX:
        raise InvalidCommand(f"tolerance {command.tolerance} is out of range", field="tolerance")
    state = existing_settlement(states, command)
    known = state.line(command.line_no)
    if known is None:
        raise NotFound(
            f"settlement {state.settlement_id} has no line {command.line_no}",
            settlement=state.settlement_id,
            line=command.line_no,
        )
    if known.parts:
        return _again(command, known)
    raised = _open_break(state, known.line)
    settling = Settling(states, state)
    if known.line.type in CHARGEBACKS:
        return _match_chargeback(command, raised, settling, now)
    if command.operations:
        found = _by_hand(command, known.line, states)
    else:
        payments = [states.payment(one) for one in dict.fromkeys(command.candidates)]
        found = match(known.line, payments)
        if not found.found or _is_known_difference(raised, found):
            return ()
    settling.resolve(raised.break_id, command.by, f"matched by {found.rule}")
    settling.settle(known.line, found, max(state.tolerance, command.tolerance), command.by)
    return settling.complete()


def _match_chargeback(
    command: MatchLine, raised: SettlementBreakRaised, settling: Settling, now: datetime
) -> Changes:
    """Try again whether a chargeback is known by now that has moved what its line says."""
    if command.operations:
        raise InvalidCommand("a chargeback is no operation: name candidates", field="operations")
    payments = [settling.states.payment(one) for one in dict.fromkeys(command.candidates)]
    known = settling.state.line(command.line_no)
    assert known is not None, "a break of a line has its line"
    if not settle_chargeback(settling, known.line, payments, (command, now), command.by):
        return ()
    settling.resolve(raised.break_id, command.by, "the chargeback is known")
    return settling.complete()


def _again(command: MatchLine, known: LineState) -> Changes:
    wanted = {(one.payment_id, one.op_id) for one in command.operations}
    if not wanted or wanted == {(one.payment_id, one.op_id) for one in known.parts}:
        return ()
    raise Rejected(
        Reason.WRONG_STATE,
        f"line {command.line_no} of settlement {command.provider}/{command.batch} settles "
        f"{', '.join(f'{one.payment_id} {one.op_id}' for one in known.parts)} already",
        line=command.line_no,
    )


def _open_break(state: SettlementState, line: SettlementLine) -> SettlementBreakRaised:
    """Return the open break of a line that a match would end."""
    if line.type in CHARGEBACKS or (line.type in KINDS and amount_of(line) > 0):
        for kind in _MATCHABLE:
            one = state.break_of(f"{kind.value}/{line.line_no}")
            is_repeated = one is not None and kind is BreakKind.DUPLICATE and not one.raised.part
            if one is not None and one.resolved is None and not is_repeated:
                return one.raised
    raise Rejected(
        Reason.WRONG_STATE,
        f"line {line.line_no} of settlement {state.settlement_id} ({line.raw_kind}) has no open "
        "break that a match would end: resolve it instead",
        settlement=state.settlement_id,
        line=line.line_no,
    )


def _is_known_difference(raised: SettlementBreakRaised, found: Match) -> bool:
    """Tell whether the rules find only what the break says already."""
    if raised.part is None or len(found.found) != 1:
        return False
    one, part = found.found[0], raised.part
    is_same = (one.payment.payment_id, one.op.op_id) == (part.payment_id, part.op_id)
    return is_same and (one.left == part.amount or one.left <= 0)


def _by_hand(command: MatchLine, line: SettlementLine, states: States) -> Match:
    found: list[Found] = []
    for name in dict.fromkeys(command.operations):
        payment = states.payment(name.payment_id)
        op = payment.operations.get(name.op_id)
        if op is None:
            raise NotFound(
                f"payment {name.payment_id} has no operation {name.op_id}",
                payment_id=name.payment_id,
                op_id=name.op_id,
            )
        found.append(Found(payment, op, line.type in REVERSALS))
    for one in found:
        _check_by_hand(line, one, is_alone=len(found) == 1)
    left = sum([one.left for one in found])
    difference = amount_of(line) - left
    if abs(difference) > command.tolerance:
        raise Rejected(
            Reason.AMOUNT_MISMATCH,
            f"line {line.line_no} has {amount_of(line)} {line.gross_currency}, the operations have "
            f"{left} left: give a tolerance of {abs(difference)}, or other operations",
            line=line.line_no,
            amount=amount_of(line),
            left=left,
        )
    return Match(tuple(found), BY_HAND)


def _check_by_hand(line: SettlementLine, found: Found, *, is_alone: bool) -> None:
    payment, op = found.payment, found.op
    facts = {"payment_id": payment.payment_id, "op_id": op.op_id, "line": line.line_no}
    what = f"operation {op.op_id} of payment {payment.payment_id}"
    if op.kind not in KINDS[line.type]:
        raise Rejected(
            Reason.WRONG_STATE, f"{what} is a {op.kind.value}, not a {line.type.value}", **facts
        )
    if payment.currency != line.gross_currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"{what} is in {payment.currency}, the line in {line.gross_currency}: resolve the "
            "break by booking it",
            **facts,
        )
    if found.left <= 0:
        raise Rejected(
            Reason.WRONG_STATE,
            f"{what} was settled by other lines; match another operation, or book the break",
            **facts,
        )
    if not found.is_certain and not is_alone:
        raise Rejected(
            Reason.WRONG_STATE,
            f"{what} is {op.status.value}: an operation that a line resolves is matched alone",
            **facts,
        )


@decides(ResolveBreak)
def resolve_break(command: ResolveBreak, states: States, now: datetime) -> Changes:
    """End a break as a person decides."""
    check_person(command.by, command.reason)
    state = existing_settlement(states, command)
    known = state.break_of(command.break_id)
    if known is None:
        raise NotFound(
            f"settlement {state.settlement_id} has no break {command.break_id}",
            settlement=state.settlement_id,
            break_id=command.break_id,
        )
    raised = known.raised
    if known.resolved is not None:
        return ended_again(command, known.resolved)
    is_needed = command.action is BreakAction.BOOKED and raised.kind is not BreakKind.CURRENCY_DIFF
    check_booked_account(command.account, is_needed=is_needed)
    settling = Settling(states, state)
    if command.action is BreakAction.MATCHED:
        _check_settled(command, raised, states)
    event = SettlementBreakResolved(
        break_id=raised.break_id,
        kind=raised.kind,
        action=command.action,
        by=command.by,
        reason=command.reason,
        account=command.account,
    )
    settling.add(event, _booked(command, raised, state))
    if command.action is not BreakAction.MATCHED:
        _end_line(settling, command, raised, states)
    return settling.complete()


def _check_settled(command: ResolveBreak, raised: SettlementBreakRaised, states: States) -> None:
    part = raised.part
    if raised.kind is not BreakKind.MISSING_IN_FILE or part is None:
        raise Rejected(
            Reason.WRONG_STATE,
            f"break {raised.break_id} is about a line: match the line (MatchLine)",
            break_id=raised.break_id,
        )
    shown = states.payment(part.payment_id).reconciled_amount(part.op_id)
    if shown < part.amount:
        raise Rejected(
            Reason.WRONG_STATE,
            f"settlements have shown {shown} of {part.amount} of operation {part.op_id} of payment "
            f"{part.payment_id}",
            break_id=raised.break_id,
            shown=shown,
        )


def _booked(command: ResolveBreak, raised: SettlementBreakRaised, state: SettlementState) -> Entry:
    if command.action is not BreakAction.BOOKED or raised.kind is BreakKind.CURRENCY_DIFF:
        return EMPTY
    amount = Money(raised.amount, raised.currency)
    return recipes_settlement.booked(state.provider, command.account, amount, raised.account)


def _end_line(
    settling: Settling, command: ResolveBreak, raised: SettlementBreakRaised, states: States
) -> None:
    """Settle the operation that the break was about, so that it is not looked for any more."""
    part, known = raised.part, settling.state.line(raised.line_no)
    if part is None or raised.kind is BreakKind.DUPLICATE:
        return
    if raised.kind is BreakKind.MISSING_IN_FILE:
        if command.action is BreakAction.BOOKED:
            settling.reconcile(part, 0, is_reversal=False)
        return
    if known is None:
        return
    event = SettlementLineMatched(
        line_no=raised.line_no, parts=(part,), rule=BY_HAND, by=command.by
    )
    posted = EMPTY
    if raised.kind is BreakKind.AMOUNT_DIFF:
        posted = recipes_settlement.line_converted(known.line, settling.state.provider)
    elif command.action is BreakAction.BOOKED:
        payment = states.payment(part.payment_id)
        posted = _between_currencies(settling.state.provider, known.line, payment, part)
    settling.record_match(known.line, event, posted)


def _between_currencies(
    provider: str, line: SettlementLine, payment: PaymentState, part: MatchedPart
) -> Entry:
    """Post that what the payment has in one currency is what the line has in another."""
    is_negative = line.gross < 0
    source = Money(-part.amount if is_negative else part.amount, payment.currency)
    return recipes_settlement.converted(provider, source, Money(line.processed, line.currency))


@decides(ReportMissingOperation)
def report_missing(command: ReportMissingOperation, states: States, now: datetime) -> Changes:
    """Raise a break for an operation that succeeded and that no settlement has shown."""
    state = existing_settlement(states, command)
    payment = states.payment(command.payment_id)
    op = payment.operations.get(command.op_id)
    if op is None:
        raise NotFound(
            f"payment {command.payment_id} has no operation {command.op_id}",
            payment_id=command.payment_id,
            op_id=command.op_id,
        )
    if payment.provider != state.provider:
        raise InvalidCommand(
            f"payment {command.payment_id} is of provider {payment.provider}, not {state.provider}",
            payment_id=command.payment_id,
        )
    found = Found(payment, op, is_reversal=False)
    break_id = f"{BreakKind.MISSING_IN_FILE.value}/{command.payment_id}/{command.op_id}"
    is_missing = op.status is OperationStatus.SUCCEEDED and found.left > 0
    if op.kind not in SETTLED or not is_missing or state.break_of(break_id) is not None:
        return ()
    if state.status is SettlementStatus.CLOSED:
        raise Rejected(
            Reason.WRONG_STATE,
            f"settlement {state.settlement_id} is closed: report it to an open batch",
            settlement=state.settlement_id,
        )
    check_total("the operation", found.left)
    settling = Settling(states, state)
    settling.add(
        SettlementBreakRaised(
            break_id=break_id,
            kind=BreakKind.MISSING_IN_FILE,
            amount=found.left if op.kind in _OUTGOING else -found.left,
            currency=payment.currency,
            part=MatchedPart(command.payment_id, command.op_id, found.left),
            detail=f"{op.kind.value} {op.provider_ref or op.op_id} is in no settlement",
        )
    )
    return settling.complete()
