"""
Events of an order's stream: what was ordered, what was granted back, what its escrow did.

Amounts are positive integers in minor units of the order's currency unless a field says otherwise.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from .events import Event, topic
from .order_content import (
    DEFAULT_TERMS,
    ChangeAction,
    Commission,
    Conversion,
    OrderLine,
    OrderTerms,
    ReleasePart,
    ShippingCharge,
    StockReservation,
    Surcharge,
    Tip,
    Totals,
)


class RefundSource(StrEnum):
    """Why a refund was granted."""

    RETURN = "return"
    RULING = "ruling"
    GOODWILL = "goodwill"
    PRICE = "price"
    CANCEL = "cancel"
    CHANGE = "change"
    OVERPAYMENT = "overpayment"
    LATE_PAYMENT = "late_payment"


SURPLUS_SOURCES: frozenset[RefundSource] = frozenset(
    {
        RefundSource.CANCEL,
        RefundSource.CHANGE,
        RefundSource.OVERPAYMENT,
        RefundSource.LATE_PAYMENT,
    }
)
"""
Grants of these sources give back money beyond an order total that already fell; they do not lower
what is due a second time. The other sources lower what is due: due = total − Σ those grants.
"""


class MoveKind(StrEnum):
    """Which counter of a line a movement of goods changes."""

    ALLOCATED = "allocated"
    UNALLOCATED = "unallocated"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    RETURN_REQUESTED = "return_requested"
    RETURN_CANCELLED = "return_cancelled"
    RETURNED_OK = "returned_ok"
    RETURNED_DAMAGED = "returned_damaged"
    LOST = "lost"
    WRITTEN_OFF = "written_off"


class MovedLine(msgspec.Struct, frozen=True):
    """A quantity of one line; ``quantity`` > 0."""

    line_id: str
    quantity: int


class BuyerCap(msgspec.Struct, frozen=True):
    """The buyer's limit and what was used of it before this order, in minor units."""

    limit: int
    used: int


class RefundLine(msgspec.Struct, frozen=True):
    """
    What is granted back for units of a line: net and tax are money, together the line's refund.

    ``discount`` is the discount that had been given on these units, already out of ``net``.
    """

    line_id: str
    quantity: int
    net: int
    tax: int
    discount: int


class PaymentPart(msgspec.Struct, frozen=True):
    """An amount of one payment."""

    payment_id: str
    amount: int


class Proration(msgspec.Struct, frozen=True):
    """What cancelled units take off the order: ``tax`` includes included tax."""

    net: int
    tax: int
    discount: int
    shipping: int


@topic("order.drafted.v1")
class OrderDrafted(Event, frozen=True):
    order_id: str
    buyer_ref: str
    channel: str
    currency: str
    quote_id: str = ""
    quoted_at: datetime | None = None
    valid_until: datetime | None = None
    lines: tuple[OrderLine, ...] = ()


@topic("order.line_added.v1")
class OrderLineAdded(Event, frozen=True):
    line: OrderLine


@topic("order.address_set.v1")
class OrderAddressSet(Event, frozen=True):
    """``address_ref`` refers to encrypted data; no address stands in an event in clear."""

    address_ref: str


@topic("order.price_change_accepted.v1")
class PriceChangeAccepted(Event, frozen=True):
    """``delta`` is signed: what the items cost more (less) than before, after discounts and tax."""

    old_quote_id: str
    new_quote_id: str
    delta: int
    lines: tuple[OrderLine, ...] = ()
    quoted_at: datetime | None = None
    valid_until: datetime | None = None


@topic("order.placed.v1")
class OrderPlaced(Event, frozen=True):
    """The whole content of the order; order discounts are already allocated to its lines."""

    order_id: str
    buyer_ref: str
    channel: str
    currency: str
    lines: tuple[OrderLine, ...]
    totals: Totals
    shipping: tuple[ShippingCharge, ...] = ()
    surcharges: tuple[Surcharge, ...] = ()
    tips: tuple[Tip, ...] = ()
    quote_id: str = ""
    quoted_at: datetime | None = None
    valid_until: datetime | None = None
    payment_due_at: datetime | None = None
    address_ref: str = ""
    stock_policy: str = ""
    buyer_cap_check: BuyerCap | None = None
    split_from: str = ""
    terms: OrderTerms = DEFAULT_TERMS


@topic("order.rejected.v1")
class OrderRejected(Event, frozen=True):
    order_id: str
    reason: str


@topic("order.held.v1")
class OrderHeld(Event, frozen=True):
    """Several holds may be in force; each is named by the rule that set it."""

    reason: str
    rule_id: str
    by: str
    score: Decimal | None = None


@topic("order.hold_released.v1")
class OrderHoldReleased(Event, frozen=True):
    rule_id: str
    reason: str
    by: str


@topic("order.confirmed.v1")
class OrderConfirmed(Event, frozen=True):
    """``authorised`` and ``charged``: the cover by the linked payments at this moment."""

    policy: str
    authorised: int
    charged: int
    required: int


@topic("order.expired.v1")
class OrderExpired(Event, frozen=True):
    """``voids`` are the authorisations that must now be voided."""

    due_at: datetime
    released_reservations: tuple[str, ...] = ()
    voids: tuple[PaymentPart, ...] = ()


@topic("order.cancellation_requested.v1")
class OrderCancellationRequested(Event, frozen=True):
    """``voids`` are the authorisations that must be voided before the cancellation is complete."""

    reason: str
    by: str
    cancellable_lines: tuple[MovedLine, ...] = ()
    voids: tuple[PaymentPart, ...] = ()


@topic("order.cancelled.v1")
class OrderCancelled(Event, frozen=True):
    """``refunds`` names the grants that give captured money back, ``voids`` what was voided."""

    reason: str
    by: str
    refunds: tuple[str, ...] = ()
    voids: tuple[PaymentPart, ...] = ()
    released_reservations: tuple[str, ...] = ()


@topic("order.change_proposed.v1")
class OrderChangeProposed(Event, frozen=True):
    """``delta`` is signed: the new grand total less the current one."""

    change_id: str
    base_version: int
    actions: tuple[ChangeAction, ...]
    delta: int
    by: str = ""


@topic("order.change_confirmed.v1")
class OrderChangeConfirmed(Event, frozen=True):
    """
    The new content: every line that changed or is new, whole; the charges whole; what was removed.
    """

    change_id: str
    new_version: int
    delta: int
    totals: Totals
    lines: tuple[OrderLine, ...] = ()
    removed: tuple[str, ...] = ()
    shipping: tuple[ShippingCharge, ...] = ()
    surcharges: tuple[Surcharge, ...] = ()
    written_off: tuple[MovedLine, ...] = ()
    reinstated: tuple[MovedLine, ...] = ()


@topic("order.change_declined.v1")
class OrderChangeDeclined(Event, frozen=True):
    change_id: str
    reason: str
    by: str


@topic("order.change_cancelled.v1")
class OrderChangeCancelled(Event, frozen=True):
    change_id: str
    reason: str
    by: str


@topic("order.line_cancelled.v1")
class OrderLineCancelled(Event, frozen=True):
    """``line`` is what remains of the line, ``totals`` what remains of the order."""

    line_id: str
    quantity: int
    proration: Proration
    line: OrderLine
    totals: Totals
    new_version: int
    reason: str = ""
    shipping: tuple[ShippingCharge, ...] | None = None


@topic("order.split.v1")
class OrderSplit(Event, frozen=True):
    """Units that went to another order, with what remains here."""

    new_order_id: str
    moved: tuple[MovedLine, ...]
    lines: tuple[OrderLine, ...]
    totals: Totals
    new_version: int


@topic("order.completed.v1")
class OrderCompleted(Event, frozen=True):
    by: str = ""


@topic("order.reopened.v1")
class OrderReopened(Event, frozen=True):
    cause: str
    cause_event: str = ""


@topic("order.reinstated.v1")
class OrderReinstated(Event, frozen=True):
    cause: str
    stock_reservation: str = ""


@topic("order.noted.v1")
class OrderNoted(Event, frozen=True):
    """``note_ref`` refers to encrypted text."""

    note_ref: str
    by: str


@topic("order.goodwill_recorded.v1")
class GoodwillRecorded(Event, frozen=True):
    """Approval to grant ``amount`` beyond what was charged."""

    goodwill_id: str
    amount: int
    reason: str
    by: str
    approver: str


@topic("order.stock_reserved.v1")
class StockReserved(Event, frozen=True):
    reservation: StockReservation


@topic("order.stock_released.v1")
class StockReleased(Event, frozen=True):
    reservation_id: str
    line_id: str
    quantity: int


@topic("order.stock_reservation_failed.v1")
class StockReservationFailed(Event, frozen=True):
    reservation_id: str
    line_id: str
    quantity: int
    reason: str = ""


@topic("order.late_payment_detected.v1")
class LatePaymentDetected(Event, frozen=True):
    """A payment succeeded on an order that was already over; ``policy`` says what follows."""

    payment_id: str
    op_id: str
    amount: int
    order_state: str
    policy: str


@topic("order.payment_linked.v1")
class PaymentLinked(Event, frozen=True):
    """
    A payment was initiated for this order; written with PaymentInitiated.

    ``tender`` names the method (card, voucher, store_credit …); a later refund's order of tenders
    goes by it. ``amount`` is in the order's currency.
    """

    payment_id: str
    amount: int
    tender: str = ""


@topic("order.value_applied.v1")
class ValueApplied(Event, frozen=True):
    """
    Stored value paid for this order; written with ValueRedeemed.

    The redemption is a tender like a payment: a refund may be allocated to its id. ``tender`` names
    its kind, by which a later refund's order of tenders knows it.
    """

    redemption_id: str
    account_id: str
    amount: int
    tender: str = "store_credit"


@topic("order.value_returned.v1")
class ValueReturned(Event, frozen=True):
    """Redeemed value went back to its account; written with ValueRestored."""

    redemption_id: str
    account_id: str
    amount: int


@topic("order.lines_moved.v1")
class OrderLinesMoved(Event, frozen=True):
    """Goods moved; written with the fulfilment or return event that ``cause`` names."""

    kind: MoveKind
    cause: str
    lines: tuple[MovedLine, ...]


@topic("order.refund_granted.v1")
class RefundGranted(Event, frozen=True):
    """
    The buyer is entitled to ``total`` = Σ (net + tax) of the lines + shipping + adjustment.

    ``adjustment`` is signed: a restocking fee is negative. ``currency`` is given only where the
    order does not say it: an imported refund of an unknown order, or in another currency.
    """

    refund_id: str
    total: int
    reason: str
    source: RefundSource
    lines: tuple[RefundLine, ...] = ()
    shipping: int = 0
    adjustment: int = 0
    currency: str = ""


@topic("order.refund_allocated.v1")
class RefundAllocated(Event, frozen=True):
    refund_id: str
    parts: tuple[PaymentPart, ...]
    strategy: str


@topic("order.refund_grant_withdrawn.v1")
class RefundGrantWithdrawn(Event, frozen=True):
    refund_id: str
    reason: str
    by: str = ""


@topic("order.refund_settled.v1")
class RefundSettled(Event, frozen=True):
    """A part reached the buyer; ``is_reissue``: it pays again what failed after success."""

    refund_id: str
    payment_id: str
    op_id: str
    amount: int
    is_reissue: bool = False


@topic("order.refund_failed.v1")
class RefundFailed(Event, frozen=True):
    """``after_success``: the provider took back a success; the amount is owed again."""

    refund_id: str
    payment_id: str
    op_id: str
    amount: int
    reason: str = ""
    after_success: bool = False


@topic("order.refund_settled_externally.v1")
class RefundSettledExternally(Event, frozen=True):
    refund_id: str
    amount: int
    method: str
    reference: str
    by: str


@topic("order.refund_routed_as_void.v1")
class RefundRoutedAsVoid(Event, frozen=True):
    """The amount was still only authorised and was voided in place of a refund."""

    refund_id: str
    payment_id: str
    op_id: str
    amount: int


@topic("order.funds_held.v1")
class FundsHeld(Event, frozen=True):
    """
    Captured money of the order became a seller's slice of its escrow.

    ``amount`` came from the buyer through the payment, ``promo`` from the platform's coupons
    (posted with this event); slice "" holds what was captured beyond every slice's share.
    A payment in another currency is exchanged into the order's here: ``paid_amount`` of
    ``paid_currency`` is all of it that this and the following slices' events bring. With a
    ``refund_id`` it is money that had left for a refund that failed.
    """

    slice_id: str
    amount: int
    payment_id: str = ""
    promo: int = 0
    paid_amount: int = 0
    paid_currency: str = ""
    refund_id: str = ""


@topic("order.release_condition_met.v1")
class ReleaseConditionMet(Event, frozen=True):
    slice_id: str
    cause: str


@topic("order.funds_released.v1")
class FundsReleased(Event, frozen=True):
    """
    ``amount`` left the slice: items + Σ parts = amount; ``net`` is what the seller is owed for
    it, before tax on the commission, in the slice's currency or, converted, in that of
    ``conversion``.
    """

    release_id: str
    slice_id: str
    amount: int
    items: int
    commission: Commission
    net: int
    parts: tuple[ReleasePart, ...] = ()
    conversion: Conversion | None = None


@topic("order.funds_returned.v1")
class FundsReturned(Event, frozen=True):
    """
    Money left the slice: back to the payment by a refund or a reversed capture (``amount``), or
    back to the platform that had funded a coupon (``promo``). See FundsHeld for ``paid_amount``.
    """

    slice_id: str
    amount: int
    cause: str = ""
    refund_id: str = ""
    payment_id: str = ""
    op_id: str = ""
    promo: int = 0
    paid_amount: int = 0
    paid_currency: str = ""
