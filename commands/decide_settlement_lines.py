"""
One command on a settlement batch as its changes come about: what a line posts and what it settles.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from orderledger.ledger import recipes_settlement, streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.events import Event
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.journal import EMPTY, Entry, merge
from orderledger.ledger.money import Money
from orderledger.ledger.operation_reports import standing
from orderledger.ledger.payment_events import OperationReconciled
from orderledger.ledger.payment_operations import FAILED, Operation, OperationStatus, Outcome
from orderledger.ledger.payments import EVOLVE as PAYMENT_EVOLVE
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.settlement_events import (
    BreakAction,
    BreakKind,
    MatchedPart,
    SettlementBatchBalanced,
    SettlementBreakRaised,
    SettlementBreakResolved,
    SettlementLine,
    SettlementLineMatched,
)
from orderledger.ledger.settlements import (
    EVOLVE,
    SettlementState,
    SettlementStatus,
    balance_of,
    operation_key,
)

from .decide_observations import observe
from .decide_observed_events import reports_with
from .decide_settlement_matches import BY_PARTS, OUTGOING, REVERSALS, Found, Match, amount_of
from .decision import Change, Changes, States

ENGINE: Final = "engine"
"""Who resolves a break that later lines explain."""


class Difference(msgspec.Struct, frozen=True, gc=False):
    """What a break is about: an amount, why, and where it stands or what it concerns."""

    amount: Money
    detail: str
    account: str = ""
    part: MatchedPart | None = None


class Settling:
    """The changes of one command on a batch, each on the state that the ones before it left."""

    def __init__(self, states: States, state: SettlementState) -> None:
        self.states: Final = states
        self.state = state
        self.was_complete: Final = _is_complete(state)
        self._changes: list[Change] = []

    def add(self, event: Event, posted: Entry = EMPTY) -> None:
        """Append an event to the batch's stream."""
        before = self.state
        self.state = EVOLVE[type(event)](before, event)
        stream = streams.settlement(self.state.provider, self.state.batch)
        self._changes.append(Change(stream, event, posted))

    def raise_break(self, kind: BreakKind, line: SettlementLine, said: Difference) -> None:
        """Append a break of a line."""
        self.add(
            SettlementBreakRaised(
                break_id=f"{kind.value}/{line.line_no}",
                kind=kind,
                line_no=line.line_no,
                amount=said.amount.minor,
                currency=said.amount.currency,
                account=said.account,
                part=said.part,
                detail=said.detail,
            )
        )

    def settle(self, line: SettlementLine, match: Match, tolerance: int, by: str = "") -> None:
        """
        Let a line settle what the rules found, or raise a break that says why it does not.

        An operation that nobody knew to have succeeded (or to have come back) is resolved first.
        """
        found, *others = match.found
        if others:
            parts = tuple([_part(one, one.left) for one in match.found])
            difference = amount_of(line) - sum([part.amount for part in parts])
            self._matched(
                line,
                SettlementLineMatched(
                    line_no=line.line_no,
                    parts=parts,
                    rule=match.rule,
                    variance=_signed(line, difference),
                    by=by,
                ),
            )
            return
        if found.payment.currency != line.gross_currency:
            self._break_currency(line, found)
            return
        found = self._resolved(line, found)
        if found.left <= 0:
            detail = f"{found.payment.payment_id} {found.op.op_id} was settled by other lines"
            said = Difference(
                Money(line.processed, line.currency), detail, part=_part(found, amount_of(line))
            )
            self.raise_break(BreakKind.DUPLICATE, line, said)
            return
        self._settle_one(line, found, Match((found,), match.rule), tolerance, by)

    def _settle_one(
        self, line: SettlementLine, found: Found, match: Match, tolerance: int, by: str
    ) -> None:
        difference = amount_of(line) - found.left
        is_shown = found.is_certain
        if is_shown and abs(difference) <= tolerance:
            self._matched(
                line,
                SettlementLineMatched(
                    line_no=line.line_no,
                    parts=(_part(found, found.left),),
                    rule=match.rule,
                    variance=_signed(line, difference),
                    by=by,
                ),
            )
            return
        if is_shown and difference < 0 and self._settle_parts(line, found, tolerance):
            return
        detail = f"{found.payment.payment_id} {found.op.op_id} has {found.left} left to settle"
        if not is_shown:
            detail = f"{found.payment.payment_id} {found.op.op_id} is {found.op.status.value}"
        said = Difference(
            Money(_signed(line, difference), line.gross_currency),
            detail,
            part=_part(found, found.left),
        )
        self.raise_break(BreakKind.AMOUNT_DIFF, line, said)

    def _settle_parts(self, line: SettlementLine, found: Found, tolerance: int) -> bool:
        """Settle one operation by this line and those that had shown a part of it before."""
        key = operation_key(_part(found, 1))
        numbers = self.state.waiting.get(key) or ()
        known = [self.state.line(number) for number in numbers]
        earlier = [one.line for one in known if one is not None]
        before = sum([amount_of(other) for other in earlier])
        difference = before + amount_of(line) - found.left
        if not earlier or abs(difference) > tolerance:
            return False
        for other in earlier:
            self.resolve(f"{BreakKind.AMOUNT_DIFF.value}/{other.line_no}", ENGINE, "shown in parts")
            self._matched(
                other,
                SettlementLineMatched(
                    line_no=other.line_no, parts=(_part(found, amount_of(other)),), rule=BY_PARTS
                ),
            )
        self._matched(
            line,
            SettlementLineMatched(
                line_no=line.line_no,
                parts=(_part(found, found.left - before),),
                rule=BY_PARTS,
                variance=_signed(line, difference),
            ),
        )
        return True

    def resolve(self, break_id: str, by: str, reason: str) -> None:
        """Append that a break is matched, if it is open."""
        known = self.state.break_of(break_id)
        if known is None or known.resolved is not None:
            return
        self.add(
            SettlementBreakResolved(
                break_id=break_id,
                kind=known.raised.kind,
                action=BreakAction.MATCHED,
                by=by,
                reason=reason,
            )
        )

    def _matched(self, line: SettlementLine, event: SettlementLineMatched) -> None:
        provider = self.state.provider
        varied = recipes_settlement.varied(provider, Money(event.variance, line.gross_currency))
        converted = recipes_settlement.line_converted(line, provider)
        self.record_match(line, event, merge((varied, converted)))

    def record_match(
        self, line: SettlementLine, event: SettlementLineMatched, posted: Entry = EMPTY
    ) -> None:
        """Append a match, and to each payment that a settlement has shown its operation."""
        for part in event.parts:
            self.reconcile(part, line.line_no, is_reversal=_is_reversal(line))
        self.add(event, posted)

    def reconcile(self, part: MatchedPart, line_no: int, *, is_reversal: bool) -> None:
        """Append to a payment that this batch settles one of its operations."""
        event = OperationReconciled(
            op_id=part.op_id,
            settlement=self.state.settlement_id,
            line_no=line_no,
            amount=part.amount,
            is_reversal=is_reversal,
        )
        self._changes.append(Change(streams.payment(part.payment_id), event))

    def take_in(self, payment: PaymentState, changes: Changes) -> PaymentState:
        """Append what an observation made of a payment, and return the payment after it."""
        after = _folded(payment, changes)
        if after is not payment:
            self._changes.extend(changes)
        return after

    def _break_currency(self, line: SettlementLine, found: Found) -> None:
        detail = (
            f"{found.payment.payment_id} {found.op.op_id} is {found.amount} "
            f"{found.payment.currency}, the line has {line.gross} {line.gross_currency}"
        )
        said = Difference(
            Money(line.processed, line.currency), detail, part=_part(found, max(1, found.left))
        )
        self.raise_break(BreakKind.CURRENCY_DIFF, line, said)

    def _resolved(self, line: SettlementLine, found: Found) -> Found:
        """
        Resolve an operation by what the line says of it, unless that is known.

        The provider's settlement is its last word: after a failure that it had reported and that
        would undo it, the success counts as another attempt.
        """
        op, payment = found.op, found.payment
        if found.is_certain or (found.is_reversal and op.status is not OperationStatus.SUCCEEDED):
            return found
        seen = Observation(
            payment_id=payment.payment_id,
            outcome=Outcome.REVERSED if found.is_reversal else Outcome.SUCCEEDED,
            kind=op.kind.value,
            op_id=op.op_id,
            provider_ref=line.modification_ref or line.provider_ref,
            amount=amount_of(line),
            currency=payment.currency,
            processed_amount=abs(line.processed) if line.is_converted else 0,
            processed_currency=line.currency if line.is_converted else "",
            detail=f"settlement {self.state.settlement_id}, line {line.line_no}",
        )
        changes = observe(_as_last_word(seen, op), self.states)
        self._changes.extend(changes)
        after = _folded(payment, changes)
        return Found(after, after.operations[op.op_id], found.is_reversal)

    def complete(self) -> Changes:
        """
        Return the changes, with the balance of the batch once every line is in and no break open.
        """
        if not self.was_complete and _is_complete(self.state):
            for currency in self.state.currencies:
                self._check_sum(currency)
        is_open = self.state.status in (SettlementStatus.PARSED, SettlementStatus.MATCHING)
        if is_open and self.state.open_count == 0:
            found = [balance_of(self.state, currency) for currency in self.state.currencies]
            self.add(SettlementBatchBalanced(balances=tuple(found)))
        return tuple(self._changes)

    def _check_sum(self, currency: str) -> None:
        balance = balance_of(self.state, currency)
        if not balance.difference:
            return
        paid_out = self.state.sums[currency].payout if currency in self.state.sums else 0
        detail = (
            f"opening {balance.opening} + net {balance.net} is not payout {balance.payout} + "
            f"closing {balance.closing}; the lines pay out {paid_out}"
        )
        self.add(
            SettlementBreakRaised(
                break_id=f"{BreakKind.PAYOUT_SUM_DIFF.value}/{currency}",
                kind=BreakKind.PAYOUT_SUM_DIFF,
                amount=-balance.difference,
                currency=currency,
                detail=detail,
            )
        )

    def anomaly(self, kind: AnomalyKind, *refs: str, detail: str) -> None:
        """Raise an anomaly on the batch, unless the same is open."""
        event = AnomalyRaised(kind=kind, refs=refs, severity="error", detail=detail)
        if event.key not in self.state.anomalies:
            self.add(event)


def _folded(payment: PaymentState, changes: Sequence[Change]) -> PaymentState:
    own = streams.payment(payment.payment_id)
    for change in changes:
        if change.stream == own:
            payment = PAYMENT_EVOLVE[type(change.event)](payment, change.event)
    return payment


def _part(found: Found, amount: int) -> MatchedPart:
    return MatchedPart(found.payment.payment_id, found.op.op_id, amount)


def _signed(line: SettlementLine, amount: int) -> int:
    return -amount if line.type in OUTGOING else amount


def _as_last_word(seen: Observation, op: Operation) -> Observation:
    """
    Return what a settlement says of an operation with the attempt that lets it count.

    That is the attempt of the reports there are, which is not the operation's own: a refund asked
    for again is the second attempt to pay it, and the first report of it may be undone by a report
    that names no attempt.
    """
    attempt = max([one.attempt for one in op.reports], default=seen.attempt)
    seen = msgspec.structs.replace(seen, attempt=attempt)
    if op.status in FAILED and not standing(reports_with(op, seen, seen.amount or 0)):
        return msgspec.structs.replace(seen, attempt=attempt + 1)
    return seen


def _is_reversal(line: SettlementLine) -> bool:
    return line.type in REVERSALS


def _is_complete(state: SettlementState) -> bool:
    return state.exists and state.lines.size == state.line_count
