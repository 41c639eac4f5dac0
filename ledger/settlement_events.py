"""
Events of one settlement batch: what a provider says it did with our balance, line by line.

A line repeats what the provider states, sign included, as seen from our balance with it: positive
is money that came in, negative is money that went out. Amounts are minor units as ISO 4217 counts
them, whatever the provider's file has.
"""

from decimal import Decimal
from enum import StrEnum

import msgspec

from .events import Event, topic
from .instants import Instant


class LineType(StrEnum):
    """What a line is about, in our words; the provider's own word stays in ``raw_kind``."""

    PAYMENT = "payment"
    PAYMENT_REVERSED = "payment_reversed"
    """A payment that was captured and did not come after all."""
    REFUND = "refund"
    REFUND_REVERSED = "refund_reversed"
    CHARGEBACK = "chargeback"
    CHARGEBACK_REVERSED = "chargeback_reversed"
    SECOND_CHARGEBACK = "second_chargeback"
    CHARGEBACK_FEE = "chargeback_fee"
    FEE = "fee"
    PAYOUT = "payout"
    """The provider paid us: money left the balance for the bank."""
    PAYOUT_RETURNED = "payout_returned"
    PAID_OUT = "paid_out"
    """The provider paid a third party from our balance: a credit to a customer."""
    PAID_OUT_REVERSED = "paid_out_reversed"
    TOP_UP = "top_up"
    """We paid into the balance from the bank."""
    RESERVE = "reserve"
    """Withheld from the balance, or given free again."""
    CONVERSION = "conversion"
    """One side of an exchange between two balances with the provider."""
    TRANSFER = "transfer"
    """Carried from or to another batch of the same balance."""
    ADJUSTMENT = "adjustment"
    """Anything else; a person says what it is."""


class NamedFee(msgspec.Struct, frozen=True, gc=False):
    """A part of a line's fee: positive is a cost, negative is given back."""

    name: str
    amount: int


class SettlementLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """
    One line of a settlement file.

    ``gross`` is in ``gross_currency``, that of the payment; ``fees`` and ``net`` are in
    ``currency``, that of the balance. Where the two differ the provider converted at ``fx_rate``.
    ``provider_ref`` is the reference of the payment at the provider, ``modification_ref`` that of
    the capture, refund or payout itself, ``merchant_ref`` what we called it. ``external_id`` is
    the provider's id of the line, if its files have one.
    """

    line_no: int
    type: LineType
    raw_kind: str
    gross: int
    gross_currency: str
    net: int
    currency: str
    fees: tuple[NamedFee, ...] = ()
    provider_ref: str = ""
    modification_ref: str = ""
    merchant_ref: str = ""
    external_id: str = ""
    fx_rate: Decimal | None = None
    occurred_at: Instant | None = None

    @property
    def fee(self) -> int:
        """The sum of the stated fees, in ``currency``."""
        return sum([one.amount for one in self.fees])

    @property
    def is_converted(self) -> bool:
        return self.gross_currency != self.currency

    @property
    def processed(self) -> int:
        """What the gross became in ``currency``, before fees."""
        return self.net + self.fee if self.is_converted else self.gross

    @property
    def residue(self) -> int:
        """What gross − fees − net leaves unexplained; 0 in a file whose totals are right."""
        return self.processed - self.fee - self.net


class StatedBalance(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    What a file, or whoever imports it, says of a balance with the provider; None: nothing is said.

    ``payout`` is what was paid to the bank, positive, returned payouts subtracted.
    """

    currency: str
    opening: int | None = None
    closing: int | None = None
    payout: int | None = None


class BatchBalance(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    opening + net = payout + closing + difference, per currency of the batch.

    ``net`` sums the lines that are no payouts; ``difference`` is what a person accepted or booked.
    """

    currency: str
    opening: int
    net: int
    payout: int
    closing: int
    difference: int = 0


class FeeLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The fee that is expected at most for a line: a share of the gross in 1/10,000, and fixed."""

    basis_points: int
    fixed: int = 0


class BreakKind(StrEnum):
    """Why a line, or a batch, does not agree with the book."""

    UNKNOWN_REFERENCE = "unknown_reference"
    AMOUNT_DIFF = "amount_diff"
    CURRENCY_DIFF = "currency_diff"
    DUPLICATE = "duplicate"
    MISSING_IN_FILE = "missing_in_file"
    FEE_UNEXPECTED = "fee_unexpected"
    UNBOOKED_ADJUSTMENT = "unbooked_adjustment"
    PAYOUT_SUM_DIFF = "payout_sum_diff"


class BreakAction(StrEnum):
    """How a break ended: matched after all, booked to an account, or accepted as it is."""

    MATCHED = "matched"
    BOOKED = "booked"
    ACCEPTED = "accepted"


class MatchedPart(msgspec.Struct, frozen=True, gc=False):
    """An operation of a payment, or a part of one, that a line settles; ``amount`` is positive."""

    payment_id: str
    op_id: str
    amount: int


@topic("settlement.file_received.v1")
class SettlementFileReceived(Event, frozen=True, kw_only=True):
    """
    A provider's file arrived. ``sha256`` is the hex hash of its bytes.

    ``bank`` is where payouts arrive, ``tolerance`` the difference in minor units that is posted to
    the variance account without asking.
    """

    provider: str
    batch: str
    sha256: str
    format: str
    line_count: int
    bank: str
    tolerance: int = 0
    fee_limit: FeeLimit | None = None
    balances: tuple[StatedBalance, ...] = ()


@topic("settlement.line_recorded.v1")
class SettlementLineRecorded(Event, frozen=True, kw_only=True):
    """A line as the file has it. It posts what no operation did: fees, payouts, reserves."""

    line: SettlementLine


@topic("settlement.line_matched.v1")
class SettlementLineMatched(Event, frozen=True, kw_only=True):
    """
    A line settles operations that the book knows; ``rule`` says how they were found.

    ``variance`` is what the line has beyond them, within the tolerance or by somebody's decision.
    """

    line_no: int
    parts: tuple[MatchedPart, ...]
    rule: str
    variance: int = 0
    by: str = ""


@topic("settlement.break_raised.v1")
class SettlementBreakRaised(Event, frozen=True, kw_only=True):
    """
    A line or the batch does not agree with the book. ``line_no`` 0: it is about no line.

    ``amount`` is signed like a line: what the provider's balance has and ours has not. Where
    ``account`` is named, it was posted with the line and stands there, debit positive. ``part`` is
    the operation that it is about, if one is known.
    """

    break_id: str
    kind: BreakKind
    amount: int
    currency: str
    line_no: int = 0
    account: str = ""
    part: MatchedPart | None = None
    detail: str = ""


@topic("settlement.break_resolved.v1")
class SettlementBreakResolved(Event, frozen=True, kw_only=True):
    """A break ended; ``account`` is where the amount was booked, if it was."""

    break_id: str
    kind: BreakKind
    action: BreakAction
    by: str
    reason: str
    account: str = ""


@topic("settlement.batch_balanced.v1")
class SettlementBatchBalanced(Event, frozen=True, kw_only=True):
    """Every line is recorded, no break is open, and the balances add up."""

    balances: tuple[BatchBalance, ...]


@topic("settlement.batch_closed.v1")
class SettlementBatchClosed(Event, frozen=True, kw_only=True):
    """A person signed the batch off."""

    by: str


@topic("settlement.payout_arrived.v1")
class SettlementPayoutArrived(Event, frozen=True, kw_only=True):
    """A bank statement shows the payout, or the return of one, that a line stands for."""

    line_no: int
    bank: str
    statement: str
    bank_line: int
    amount: int
