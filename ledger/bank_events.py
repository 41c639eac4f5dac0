"""
Events of one statement of a bank account: what the bank says came in and went out.

Amounts of lines are signed as the bank states them: positive came in. They are minor units of the
statement's currency.
"""

from enum import StrEnum

import msgspec

from .events import Event, topic
from .instants import Instant
from .settlement_events import BreakAction


class BankLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """
    One line of a bank statement. ``external_id`` is the bank's id of it, if its files have one.

    ``booked_at`` is the first instant of the booking date, in UTC.
    """

    line_no: int
    amount: int
    booked_at: Instant
    reference: str = ""
    external_id: str = ""


class BankBreakKind(StrEnum):
    """Why a line, or a statement, does not agree with the book."""

    UNKNOWN_REFERENCE = "unknown_reference"
    AMOUNT_DIFF = "amount_diff"
    DUPLICATE = "duplicate"
    SUM_DIFF = "sum_diff"


class BankSubject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """
    What a bank line may show: ``kind`` says of what kind, ``id`` and ``line_no`` which one.

    ``settlement``: the payout that line ``line_no`` of the batch ``id`` (provider/batch) states.
    ``seller_payout`` and ``seller_payout_returned``: the payout ``id`` to a seller, as it leaves
    the account, and as it comes back.
    """

    kind: str
    id: str
    line_no: int = 0


class ShownPart(msgspec.Struct, frozen=True, gc=False):
    """A subject, or a part of one, that a bank line shows; ``amount`` is signed like the line."""

    subject: BankSubject
    amount: int


@topic("bank.statement_received.v1")
class BankStatementReceived(Event, frozen=True, kw_only=True):
    """
    A statement arrived. ``sha256`` is the hex hash of its bytes; opening + lines = closing.

    ``closing`` None: nobody states one, and nothing is checked. A difference of up to ``tolerance``
    minor units between a line and what it shows is a fee of the bank.
    """

    bank: str
    statement: str
    sha256: str
    currency: str
    line_count: int
    opening: int = 0
    closing: int | None = None
    tolerance: int = 0


@topic("bank.line_recorded.v1")
class BankLineRecorded(Event, frozen=True, kw_only=True):
    """A line as the bank has it. It posts nothing: what it shows was posted by its own event."""

    line: BankLine


@topic("bank.line_matched.v1")
class BankLineMatched(Event, frozen=True, kw_only=True):
    """A line shows what the book knows; ``difference``, signed, went to the fees of the bank."""

    line_no: int
    parts: tuple[ShownPart, ...]
    rule: str
    difference: int = 0
    by: str = ""


@topic("bank.break_raised.v1")
class BankBreakRaised(Event, frozen=True, kw_only=True):
    """``amount`` is signed: what the bank has and the book has not. ``line_no`` 0: all lines."""

    break_id: str
    kind: BankBreakKind
    amount: int
    line_no: int = 0
    detail: str = ""


@topic("bank.break_resolved.v1")
class BankBreakResolved(Event, frozen=True, kw_only=True):
    """``account`` is where the amount was booked, if it was."""

    break_id: str
    kind: BankBreakKind
    action: BreakAction
    by: str
    reason: str
    account: str = ""
