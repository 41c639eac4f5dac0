"""
Decisions on the file and the lines of a bank statement.

A line shows what it names: 1. the subjects whose references stand in its text, if one of them, or
all together, have its amount; 2. the only subject with exactly its amount.
"""

import re
from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger import accounts, streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.bank_events import (
    BankBreakKind,
    BankBreakRaised,
    BankBreakResolved,
    BankLine,
    BankLineMatched,
    BankLineRecorded,
    BankStatementReceived,
    BankSubject,
    ShownPart,
)
from orderledger.ledger.bank_statements import EVOLVE, StatementState
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.journal import EMPTY, Entry
from orderledger.ledger.limits import (
    AMOUNT_MINOR_MAX,
    SETTLEMENT_CANDIDATES_MAX,
    SETTLEMENT_LINES_MAX,
    TEXT_LENGTH_MAX,
    check_count,
    check_total,
)
from orderledger.ledger.money import Money
from orderledger.ledger.recipes_settlement import bank_booked
from orderledger.ledger.settlement_events import BreakAction

from .bank_commands import (
    ImportBankStatement,
    MatchBankLine,
    OfStatement,
    RecordBankLine,
    ResolveBankBreak,
)
from .decide_bank_subjects import Arrival, arrived, expected_of
from .decision import Change, Changes, States, decides
from .dispute_guards import check_hash
from .reconciliation_guards import (
    check_booked_account,
    check_line_no,
    check_person,
    check_same_file,
    ended_again,
)

BY_REFERENCE: Final = "reference"
BY_AMOUNT: Final = "amount"
BY_SUM: Final = "sum"
BY_HAND: Final = "by_hand"
_MATCHABLE: Final = (BankBreakKind.UNKNOWN_REFERENCE, BankBreakKind.AMOUNT_DIFF)


class _Open(msgspec.Struct, frozen=True, gc=False):
    """A subject of which something is still to arrive."""

    subject: BankSubject
    amount: int
    is_named: bool
    is_surprising: bool


class _Statement:
    """The changes of one command on a statement, each on the state the ones before it left."""

    def __init__(self, states: States, state: StatementState) -> None:
        self.states: Final = states
        self.state = state
        self._was_complete: Final = state.is_complete
        self._changes: list[Change] = []

    def add(self, event: Event, posted: Entry = EMPTY) -> None:
        before = self.state
        self.state = EVOLVE[type(event)](before, event)
        stream = streams.bank_statement(self.state.bank, self.state.statement)
        self._changes.append(Change(stream, event, posted))

    def raise_break(self, kind: BankBreakKind, line: BankLine, amount: int, detail: str) -> None:
        self.add(
            BankBreakRaised(
                break_id=f"{kind.value}/{line.line_no}",
                kind=kind,
                amount=amount,
                line_no=line.line_no,
                detail=detail,
            )
        )

    def show(self, line: BankLine, found: list[_Open], rule: str, by: str = "") -> None:
        """Let a line show subjects; what is left is what the bank kept."""
        parts = tuple([ShownPart(one.subject, one.amount) for one in found])
        for part in parts:
            arrival = Arrival(part.amount, self.state, line)
            self._changes.extend(arrived(part.subject, arrival, self.states))
        difference = line.amount - sum([part.amount for part in parts])
        amount = Money(difference, self.state.currency)
        event = BankLineMatched(
            line_no=line.line_no, parts=parts, rule=rule, difference=difference, by=by
        )
        self.add(event, bank_booked(self.state.bank, accounts.BANK_FEES, amount))

    def complete(self) -> Changes:
        """Return the changes, with a break once every line is in and the sums do not hold."""
        state = self.state
        if state.is_complete and not self._was_complete and state.difference:
            self.add(
                BankBreakRaised(
                    break_id=BankBreakKind.SUM_DIFF.value,
                    kind=BankBreakKind.SUM_DIFF,
                    amount=-state.difference,
                    detail=f"opening {state.opening} + lines {state.net} is not {state.closing}",
                )
            )
        return tuple(self._changes)


@decides(ImportBankStatement)
def import_statement(command: ImportBankStatement, states: States, now: datetime) -> Changes:
    """Begin a statement; the same file again changes nothing, another one for it is refused."""
    _check_statement(command)
    state = states.bank_statement(command.bank, command.statement)
    if state.exists:
        known, what = state.statement_id, f"statement {state.statement_id}"
        check_same_file(what, state.sha256, command.sha256, statement=known)
        return ()
    statement = _Statement(states, state)
    statement.add(
        BankStatementReceived(
            bank=command.bank,
            statement=command.statement,
            sha256=command.sha256,
            currency=command.currency,
            line_count=command.line_count,
            opening=command.opening,
            closing=command.closing,
            tolerance=command.tolerance,
        )
    )
    return statement.complete()


def _existing(states: States, command: OfStatement) -> StatementState:
    state = states.bank_statement(command.bank, command.statement)
    if not state.exists or state.bank != command.bank:
        raise NotFound(
            f"there is no bank statement {command.bank}/{command.statement}",
            bank=command.bank,
            statement=command.statement,
        )
    return state


@decides(RecordBankLine)
def record_line(command: RecordBankLine, states: States, now: datetime) -> Changes:
    """Record a line with what it shows; a repeat changes nothing."""
    check_count("candidates", len(command.candidates), SETTLEMENT_CANDIDATES_MAX)
    _check_line(command.line)
    state = _existing(states, command)
    line = command.line
    check_line_no(f"statement {state.statement_id}", line.line_no, state.line_count)
    statement = _Statement(states, state)
    known = state.line(line.line_no)
    if known is not None:
        if known.line != line:
            _differs(statement, known.line, line)
        return statement.complete()
    first = state.known_ids.get(line.external_id) if line.external_id else None
    statement.add(BankLineRecorded(line=line))
    if first is not None:
        detail = f"it has the id of line {first}"
        statement.raise_break(BankBreakKind.DUPLICATE, line, line.amount, detail)
    elif line.amount:
        _match(statement, line, command.candidates)
    return statement.complete()


def _differs(statement: _Statement, known: BankLine, line: BankLine) -> None:
    anomaly = AnomalyRaised(
        kind=AnomalyKind.BANK_LINE_DIFFERS,
        refs=(str(line.line_no),),
        severity="error",
        detail=f"it was recorded with {known.amount}, now it has {line.amount}",
    )
    if anomaly.key not in statement.state.anomalies:
        statement.add(anomaly)


def _match(statement: _Statement, line: BankLine, candidates: tuple[BankSubject, ...]) -> None:
    found = _open_subjects(statement, line, candidates)
    tolerance = statement.state.tolerance
    named = [one for one in found if one.is_named]
    near = [one for one in named if abs(line.amount - one.amount) <= tolerance]
    exact = [one for one in found if one.amount == line.amount and not one.is_surprising]
    summed = sum([one.amount for one in named])
    if len(near) == 1:
        statement.show(line, near, BY_REFERENCE)
    elif _is_plain(named) and len(named) > 1 and abs(line.amount - summed) <= tolerance:
        statement.show(line, named, BY_SUM)
    elif not named and len(exact) == 1:
        statement.show(line, exact, BY_AMOUNT)
    elif len(named) == 1:
        detail = f"{named[0].subject.id} has {named[0].amount} still to arrive"
        difference = line.amount - named[0].amount
        statement.raise_break(BankBreakKind.AMOUNT_DIFF, line, difference, detail)
    else:
        detail = f"nothing that is expected fits {line.reference or 'it'}"
        statement.raise_break(BankBreakKind.UNKNOWN_REFERENCE, line, line.amount, detail)


def _open_subjects(
    statement: _Statement, line: BankLine, candidates: tuple[BankSubject, ...]
) -> list[_Open]:
    found: list[_Open] = []
    for subject in dict.fromkeys(candidates):
        expected = expected_of(subject, statement.state, statement.states)
        # What is expected to come in is not shown by what went out.
        if expected is None or expected.amount * line.amount <= 0:
            continue
        is_named = any(_names(line.reference, one) for one in expected.references)
        found.append(_Open(subject, expected.amount, is_named, expected.is_surprising))
    return found


def _is_plain(found: list[_Open]) -> bool:
    """Tell whether subjects may be shown together: what surprises changes what others expect."""
    return len(found) == 1 or not any(one.is_surprising for one in found)


def _names(text: str, reference: str) -> bool:
    """Tell whether a reference stands in a text as a word: 7 is not in PO-17."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(reference)}(?![A-Za-z0-9])", text) is not None


@decides(MatchBankLine)
def match_line(command: MatchBankLine, states: States, now: datetime) -> Changes:
    """Match a line with an open break by hand."""
    check_person(command.by)
    check_count("subjects", len(command.subjects), SETTLEMENT_CANDIDATES_MAX)
    if not 0 <= command.tolerance <= AMOUNT_MINOR_MAX or not command.subjects:
        raise InvalidCommand("name what the line shows, and a tolerance of 0 or more")
    state = _existing(states, command)
    known = state.line(command.line_no)
    if known is None:
        raise NotFound(
            f"statement {state.statement_id} has no line {command.line_no}",
            line=command.line_no,
        )
    if known.parts:
        if {one.subject for one in known.parts} == set(command.subjects):
            return ()
        raise Rejected(
            Reason.WRONG_STATE,
            f"line {command.line_no} of statement {state.statement_id} shows "
            f"{', '.join(one.subject.id for one in known.parts)} already; a line is matched once",
            line=command.line_no,
        )
    statement = _Statement(states, state)
    raised = _open_break(state, command.line_no)
    found = _open_subjects(statement, known.line, command.subjects)
    if len(found) != len(set(command.subjects)):
        raise Rejected(
            Reason.WRONG_STATE,
            f"nothing of line {command.line_no}'s sign is to arrive of one of the subjects on "
            f"account {state.bank} in {state.currency}",
            line=command.line_no,
        )
    if not _is_plain(found):
        surprising = [one.subject.id for one in found if one.is_surprising]
        raise Rejected(
            Reason.WRONG_STATE,
            f"nobody said that {', '.join(surprising)} would be on the statement: report it first, "
            "or match it alone",
            line=command.line_no,
        )
    difference = known.line.amount - sum([one.amount for one in found])
    if abs(difference) > command.tolerance:
        raise Rejected(
            Reason.AMOUNT_MISMATCH,
            f"line {command.line_no} has {known.line.amount}, the subjects differ by {difference}: "
            "give a tolerance, or other subjects",
            line=command.line_no,
            difference=difference,
        )
    statement.add(
        BankBreakResolved(
            break_id=raised.break_id,
            kind=raised.kind,
            action=BreakAction.MATCHED,
            by=command.by,
            reason="matched by hand",
        )
    )
    statement.show(known.line, found, BY_HAND, command.by)
    return statement.complete()


def _open_break(state: StatementState, line_no: int) -> BankBreakRaised:
    for kind in _MATCHABLE:
        one = state.break_of(f"{kind.value}/{line_no}")
        if one is not None and one.resolved is None:
            return one.raised
    raise Rejected(
        Reason.WRONG_STATE,
        f"line {line_no} of statement {state.statement_id} has no open break that a "
        "match would end",
        line=line_no,
    )


@decides(ResolveBankBreak)
def resolve_break(command: ResolveBankBreak, states: States, now: datetime) -> Changes:
    """End a break as a person decides."""
    check_person(command.by, command.reason)
    state = _existing(states, command)
    known = state.break_of(command.break_id)
    if known is None:
        raise NotFound(
            f"statement {state.statement_id} has no break {command.break_id}",
            break_id=command.break_id,
        )
    if known.resolved is not None:
        return ended_again(command, known.resolved)
    if command.action is BreakAction.MATCHED:
        raise Rejected(
            Reason.WRONG_STATE,
            f"break {command.break_id} is matched by naming what its line shows (MatchBankLine)",
            break_id=command.break_id,
        )
    raised = known.raised
    check_booked_account(command.account, is_needed=command.action is BreakAction.BOOKED)
    statement = _Statement(states, state)
    posted = EMPTY
    if command.account:
        posted = bank_booked(state.bank, command.account, Money(raised.amount, state.currency))
    statement.add(
        BankBreakResolved(
            break_id=raised.break_id,
            kind=raised.kind,
            action=command.action,
            by=command.by,
            reason=command.reason,
            account=command.account,
        ),
        posted,
    )
    return statement.complete()


def _check_statement(command: ImportBankStatement) -> None:
    accounts.bank(command.bank)
    exponent(command.currency)
    check_hash("sha256", command.sha256)
    check_count("lines of a statement", command.line_count, SETTLEMENT_LINES_MAX)
    if "/" in command.bank:
        raise InvalidCommand(f"bank {command.bank} has a slash", bank=command.bank)
    if command.line_count < 0 or command.tolerance < 0:
        raise InvalidCommand("line_count and tolerance are never negative")
    for amount in (command.opening, command.closing or 0):
        check_total("a balance", abs(amount))


def _check_line(line: BankLine) -> None:
    check_total("a bank line", abs(line.amount))
    longest = max(len(line.reference), len(line.external_id))
    check_count("characters of a text", longest, TEXT_LENGTH_MAX)
