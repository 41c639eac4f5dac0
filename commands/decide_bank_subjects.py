"""
What a line of a bank statement may show, kind by kind: how much is expected, and what it means.

The seam for other parts: each kind of subject registers two functions, so that the rules of
matching know none of them. Here is the payout of a provider; payouts to sellers are in
``decide_bank_payouts``.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.bank_events import BankLine, BankSubject
from orderledger.ledger.bank_statements import StatementState
from orderledger.ledger.settlement_events import SettlementPayoutArrived
from orderledger.ledger.settlements import PAYOUTS

from .decision import Change, Changes, States

SETTLEMENT: Final = "settlement"


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An amount, signed as the bank has it, that a line of a statement shows of a subject."""

    amount: int
    statement: StatementState
    line: BankLine


class Expected(msgspec.Struct, frozen=True, gc=False):
    """
    What is still to arrive for a subject: ``amount`` signed as the bank will have it, and the
    ``references`` by which a line may name it.

    ``is_surprising``: nobody said that it would; its amount alone does not show it, and it is shown
    alone.
    """

    amount: int
    references: tuple[str, ...] = ()
    is_surprising: bool = False


Expect = Callable[[BankSubject, StatementState, States], Expected | None]
"""Return what a subject has still to arrive on a statement's account; None: nothing."""
Arrive = Callable[[BankSubject, Arrival, States], Changes]
"""Return what it means that an amount of a subject arrived; it posts what is not posted yet."""
_kinds: dict[str, tuple[Expect, Arrive]] = {}


def shows(kind: str, expect: Expect, arrive: Arrive) -> None:
    """Register a kind of subject; raises ValueError if it is there already."""
    if kind in _kinds:
        raise ValueError(f"bank subject {kind} is registered twice")
    _kinds[kind] = (expect, arrive)


def expected_of(subject: BankSubject, statement: StatementState, states: States) -> Expected | None:
    """Return what is still to arrive for a subject; None for a kind that nobody registered."""
    known = _kinds.get(subject.kind)
    return None if known is None else known[0](subject, statement, states)


def arrived(subject: BankSubject, arrival: Arrival, states: States) -> Changes:
    """Return the changes of a subject's own stream when a line shows it."""
    return _kinds[subject.kind][1](subject, arrival, states)


def _expect_payout(
    subject: BankSubject, statement: StatementState, states: States
) -> Expected | None:
    provider, slash, batch = subject.id.partition("/")
    if not slash:
        return None
    state = states.settlement(provider, batch)
    known = state.line(subject.line_no)
    if known is None or known.line.type not in PAYOUTS or state.bank != statement.bank:
        return None
    line = known.line
    if line.currency != statement.currency:
        return None
    names = (line.modification_ref, line.provider_ref, line.merchant_ref, state.settlement_id)
    return Expected(-line.processed - known.arrived, tuple([one for one in names if one]))


def _payout_arrived(subject: BankSubject, arrival: Arrival, states: States) -> Changes:
    """Note on the batch that its payout arrived; it was posted when the payout was recorded."""
    provider, _, batch = subject.id.partition("/")
    event = SettlementPayoutArrived(
        line_no=subject.line_no,
        bank=arrival.statement.bank,
        statement=arrival.statement.statement,
        bank_line=arrival.line.line_no,
        amount=arrival.amount,
    )
    return (Change(streams.settlement(provider, batch), event),)


shows(SETTLEMENT, _expect_payout, _payout_arrived)
