"""
Commands of an order: what callers may ask of it, and what they may report about it.

Amounts are integers in minor units of the order's currency; unit prices are exact decimals in
major units. ``Record…`` commands report what happened outside and are not refused for
contradicting the order.
"""

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.instants import Instant
from orderledger.ledger.order_content import (
    DEFAULT_TERMS,
    ChangeAction,
    Discount,
    LineInput,
    OrderTerms,
    ShippingCharge,
    StockReservation,
    Surcharge,
    Tip,
    Totals,
)
from orderledger.ledger.order_events import (
    BuyerCap,
    MovedLine,
    PaymentPart,
    RefundSource,
)

from .decision import Command


class StockPolicy(StrEnum):
    """What placing an order demands of stock."""

    RESERVED = "reserved"
    BACKORDER = "backorder"
    UNTRACKED = "untracked"


class CoverPolicy(StrEnum):
    """Which money must be there before an order is confirmed."""

    AUTHORISED = "authorised"
    CHARGED = "charged"
    ON_ACCOUNT = "on_account"


class LatePolicy(StrEnum):
    """What to do about a payment that succeeds on an order that is over."""

    REFUND = "refund"
    VOID = "void"
    REINSTATE = "reinstate"
    MANUAL = "manual"


class AllocationStrategy(StrEnum):
    """In which order the payments of an order give a refund back."""

    EXPLICIT = "explicit"
    VOUCHER_FIRST = "voucher_first"
    VOUCHER_LAST = "voucher_last"
    PROPORTIONAL = "proportional"


class OrderCommand(Command, frozen=True, kw_only=True):
    """Base of the commands that go to one order."""

    order_id: str

    def streams(self) -> tuple[str, ...]:
        return (streams.order(self.order_id),)


class CreateOrder(OrderCommand, frozen=True, kw_only=True):
    """Draft an order, with or without lines."""

    buyer_ref: str
    currency: str
    channel: str = ""
    quote_id: str = ""
    quoted_at: Instant | None = None
    valid_until: Instant | None = None
    lines: tuple[LineInput, ...] = ()

    def creates(self) -> tuple[str, ...]:
        return self.streams()


class AddLine(OrderCommand, frozen=True, kw_only=True):
    """Add a line to a draft."""

    line: LineInput


class SetAddress(OrderCommand, frozen=True, kw_only=True):
    """Set where to deliver: a reference to encrypted data, never an address in clear."""

    address_ref: str


class AcceptPriceChange(OrderCommand, frozen=True, kw_only=True):
    """Confirm a new quote for a draft; ``lines`` replaces the lines whose price changed."""

    old_quote_id: str
    new_quote_id: str
    quoted_at: Instant | None = None
    valid_until: Instant | None = None
    lines: tuple[LineInput, ...] = ()


class PlaceOrder(OrderCommand, frozen=True, kw_only=True):
    """
    Place a draft, or a whole order at once when there is none.

    ``discounts`` are on the whole order and are allocated to its lines. ``expected`` is what the
    buyer was shown: any difference refuses the order. With a draft, its buyer, currency, quote
    and lines apply, and ``lines`` adds to them. ``terms`` say how long timers wait and who bears a
    chargeback's loss.
    """

    buyer_ref: str = ""
    currency: str = ""
    channel: str = ""
    lines: tuple[LineInput, ...] = ()
    shipping: tuple[ShippingCharge, ...] = ()
    discounts: tuple[Discount, ...] = ()
    surcharges: tuple[Surcharge, ...] = ()
    tips: tuple[Tip, ...] = ()
    expected: Totals | None = None
    address_ref: str = ""
    quote_id: str = ""
    quoted_at: Instant | None = None
    valid_until: Instant | None = None
    payment_due_at: Instant | None = None
    buyer_cap: BuyerCap | None = None
    stock_policy: StockPolicy = StockPolicy.UNTRACKED
    reservations: tuple[StockReservation, ...] = ()
    terms: OrderTerms = DEFAULT_TERMS

    def creates(self) -> tuple[str, ...]:
        # Whoever places a draft leaves the currency to it.
        return self.streams() if self.currency else ()


class RejectOrder(OrderCommand, frozen=True, kw_only=True):
    """Refuse an order before it is placed, so that it counts."""

    reason: str


class HoldOrder(OrderCommand, frozen=True, kw_only=True):
    """Stop a placed order from being confirmed. ``rule_id`` names the hold."""

    rule_id: str
    reason: str
    by: str
    score: Decimal | None = None


class ReleaseHold(OrderCommand, frozen=True, kw_only=True):
    """Lift one hold."""

    rule_id: str
    reason: str
    by: str


class ConfirmOrder(OrderCommand, frozen=True, kw_only=True):
    """
    Confirm a placed order that its payments cover.

    ``minimum`` lowers what must be covered from the amount due to a deposit.
    """

    policy: CoverPolicy = CoverPolicy.AUTHORISED
    minimum: int | None = None


class ExpireOrder(OrderCommand, frozen=True, kw_only=True):
    """Timer: the order was not paid by ``due_at``."""

    due_at: Instant


class CancelOrder(OrderCommand, frozen=True, kw_only=True):
    """Begin to cancel an order of which nothing was shipped."""

    reason: str
    by: str


class FinishCancellation(OrderCommand, frozen=True, kw_only=True):
    """
    Complete a cancellation once every authorisation is voided.

    What was captured is granted back under ``refund_id``.
    """

    refund_id: str


class CompleteOrder(OrderCommand, frozen=True, kw_only=True):
    """Close an order whose lines are all settled; not before ``return_window_until``."""

    return_window_until: Instant | None = None
    by: str = ""


class ReopenOrder(OrderCommand, frozen=True, kw_only=True):
    """Open a completed order again for a late return, dispute or chargeback."""

    cause: str
    cause_event: str = ""


class ReinstateOrder(OrderCommand, frozen=True, kw_only=True):
    """Bring a cancelled or expired order back, given stock for it."""

    cause: str
    stock_reservation: str


class AddNote(OrderCommand, frozen=True, kw_only=True):
    """Attach a reference to encrypted text."""

    note_ref: str
    by: str


class RecordGoodwill(OrderCommand, frozen=True, kw_only=True):
    """Approve a grant of up to ``amount`` beyond what was charged; needs two people."""

    goodwill_id: str
    amount: int
    reason: str
    by: str
    approver: str


class ProposeOrderChange(OrderCommand, frozen=True, kw_only=True):
    """Propose typed changes of the content as of ``base_version``."""

    change_id: str
    base_version: int
    actions: tuple[ChangeAction, ...]
    by: str = ""


class ConfirmOrderChange(OrderCommand, frozen=True, kw_only=True):
    """Apply the open change; a surplus of charged money is granted under ``refund_id``."""

    change_id: str
    refund_id: str = ""


class DeclineOrderChange(OrderCommand, frozen=True, kw_only=True):
    """The other party does not want the open change."""

    change_id: str
    reason: str
    by: str


class CancelOrderChange(OrderCommand, frozen=True, kw_only=True):
    """The proposer takes the open change back."""

    change_id: str
    reason: str
    by: str


class CancelLine(OrderCommand, frozen=True, kw_only=True):
    """
    Cancel units that were not shipped; a surplus of charged money is granted under ``refund_id``.

    ``shipping`` is what the cancellation takes off the shipping charges.
    """

    line_id: str
    quantity: int
    reason: str = ""
    shipping: int = 0
    refund_id: str = ""


class SplitOrder(OrderCommand, frozen=True, kw_only=True):
    """Move units to a new order; only while no payment is linked. Shipping stays here."""

    new_order_id: str
    lines: tuple[MovedLine, ...]

    def streams(self) -> tuple[str, ...]:
        return (streams.order(self.order_id), streams.order(self.new_order_id))

    def creates(self) -> tuple[str, ...]:
        return (streams.order(self.new_order_id),)


class RecordStockReserved(OrderCommand, frozen=True, kw_only=True):
    """Report units set aside."""

    is_observation: ClassVar[bool] = True

    reservation: StockReservation


class RecordStockReleased(OrderCommand, frozen=True, kw_only=True):
    """Report a reservation given up."""

    is_observation: ClassVar[bool] = True

    reservation_id: str
    line_id: str
    quantity: int


class RecordStockReservationFailed(OrderCommand, frozen=True, kw_only=True):
    """Report that units could not be set aside."""

    is_observation: ClassVar[bool] = True

    reservation_id: str
    line_id: str
    quantity: int
    reason: str = ""


class RecordOrderCancelled(OrderCommand, frozen=True, kw_only=True):
    """Report a cancellation that happened elsewhere, even of goods already shipped."""

    is_observation: ClassVar[bool] = True

    reason: str
    by: str


class RecordRefundGranted(OrderCommand, frozen=True, kw_only=True):
    """
    Report a refund that was promised elsewhere, even without a purchase that it belongs to.

    ``currency`` is used when the order is unknown.
    """

    is_observation: ClassVar[bool] = True

    refund_id: str
    amount: int
    currency: str
    reason: str
    source: RefundSource = RefundSource.RETURN
    lines: tuple[MovedLine, ...] = ()


class RecordLatePayment(OrderCommand, frozen=True, kw_only=True):
    """
    Report a payment success on an order that is over, with the policy to apply.

    REFUND grants it back under ``refund_id``; REINSTATE needs ``stock_reservation``.
    """

    is_observation: ClassVar[bool] = True

    payment_id: str
    op_id: str
    amount: int
    policy: LatePolicy = LatePolicy.REFUND
    refund_id: str = ""
    stock_reservation: str = ""


class ResolveOrderAnomaly(OrderCommand, frozen=True, kw_only=True):
    """Close an anomaly of the order's stream, naming what was done about it."""

    anomaly_id: str
    by: str
    resolution: str
    compensations: tuple[str, ...] = ()


class GrantRefund(OrderCommand, frozen=True, kw_only=True):
    """
    Promise money back: for units of lines, shipping, and a signed adjustment.

    Net and tax of the lines are computed; ``total`` is what the caller expects them to sum to.
    """

    refund_id: str
    reason: str
    source: RefundSource
    lines: tuple[MovedLine, ...] = ()
    shipping: int = 0
    adjustment: int = 0
    total: int | None = None


class AllocateRefund(OrderCommand, frozen=True, kw_only=True):
    """
    Say which payments give a granted refund back.

    ``parts`` is for EXPLICIT only. ``voucher_tenders`` are the tenders counted as vouchers: the
    methods of payments, and the kinds of stored value (``store_credit``, ``gift_card``,
    ``loyalty``).
    """

    refund_id: str
    strategy: AllocationStrategy = AllocationStrategy.VOUCHER_LAST
    parts: tuple[PaymentPart, ...] = ()
    voucher_tenders: tuple[str, ...] = ("voucher", "gift_card", "store_credit", "loyalty")


class WithdrawRefund(OrderCommand, frozen=True, kw_only=True):
    """Take a grant back before any operation was requested for it."""

    refund_id: str
    reason: str
    by: str = ""


class RefundByAlternativeMeans(OrderCommand, frozen=True, kw_only=True):
    """
    Pay what failed of a refund in another way, from our bank account ``bank``.

    What failed after success is owed already, in its payment's currency; what was declined is
    taken again from escrow, or from those it was released to. ``reference`` is the transfer's.
    """

    refund_id: str
    method: str
    reference: str
    bank: str
    by: str


class HoldFunds(OrderCommand, frozen=True, kw_only=True):
    """Assign captured money of the linked payments to the sellers' slices, as far as not yet."""


class MeetReleaseCondition(OrderCommand, frozen=True, kw_only=True):
    """Say that a seller's slice may be released: delivered, and the window is over."""

    seller: str
    cause: str


class ConversionTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The seller's currency and how many major units of it one of the order's is worth."""

    currency: str
    rate: Decimal


class ReleaseFunds(OrderCommand, frozen=True, kw_only=True):
    """
    Release a seller's slice, whole or up to ``amount``.

    ``commission_rate`` is on the items. ``commission_tax_rate`` is on the commission and charged
    to the seller. With ``conversion`` the seller and the commission are credited in its currency.
    """

    release_id: str
    seller: str
    commission_rate: Decimal
    rate_version: str
    amount: int | None = None
    commission_tax_rate: Decimal = Decimal(0)
    commission_tax_jurisdiction: str = ""
    conversion: ConversionTerms | None = None
