"""
Commands on bank statements: a file of a bank account, its lines, and what they show.
"""

from typing import ClassVar

from orderledger.ledger import streams
from orderledger.ledger.bank_events import BankLine, BankSubject
from orderledger.ledger.settlement_events import BreakAction

from .decision import Command


class OfStatement(Command, frozen=True, kw_only=True):
    """Any command on one statement of a bank account."""

    bank: str
    statement: str

    def streams(self) -> tuple[str, ...]:
        return (streams.bank_statement(self.bank, self.statement),)


class ImportBankStatement(OfStatement, frozen=True, kw_only=True):
    """
    Begin a statement with its file; its lines follow one by one.

    The same file again changes nothing; another file for the same statement is refused. Where a
    ``closing`` is given, opening + lines = closing is checked.
    """

    sha256: str
    currency: str
    line_count: int
    opening: int = 0
    closing: int | None = None
    tolerance: int = 0

    def creates(self) -> tuple[str, ...]:
        return (streams.bank_statement(self.bank, self.statement),)


class RecordBankLine(OfStatement, frozen=True, kw_only=True):
    """
    Report one line of a statement that was received; its number makes it recognisable.

    ``candidates`` are what it may show; which of them it does is decided on their states.
    """

    is_observation: ClassVar[bool] = True

    line: BankLine
    candidates: tuple[BankSubject, ...] = ()


class MatchBankLine(OfStatement, frozen=True, kw_only=True):
    """
    Match a line that has an open break with what it shows, whatever the rules say.

    A difference up to ``tolerance`` minor units is a fee of the bank.
    """

    line_no: int
    by: str
    subjects: tuple[BankSubject, ...]
    tolerance: int = 0


class ResolveBankBreak(OfStatement, frozen=True, kw_only=True):
    """
    End a break: BOOKED posts its amount between the bank and ``account``, ACCEPTED posts nothing,
    since the statement is wrong or the amount was posted elsewhere.
    """

    break_id: str
    action: BreakAction
    by: str
    reason: str
    account: str = ""
