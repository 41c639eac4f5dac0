"""
The ports to the world: what the machinery asks of providers, and what they answer.

Every request carries an ``idempotency_key``: the same key always means the same intention, so that
an adapter that is asked twice (a worker died between the call and its record) answers as the first
time and does nothing more. An adapter raises ``NotSent`` where the provider certainly did not get
the request, which is then tried again later; any other error means that nobody knows.
"""

from datetime import datetime
from typing import Protocol

import msgspec

from .errors import Unavailable
from .order_events import MovedLine
from .payment_operations import OperationKind, Outcome


class NotSent(Unavailable):
    """The provider certainly did not get the request; it is tried again later."""


class OutcomeUnknown(Unavailable):
    """The provider may have got the request; nobody knows what came of it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is asked of a provider. ``idempotency_key`` "": that of the effect."""

    idempotency_key: str = ""


# -- payment gateway ---------------------------------------------------------------------------


class GatewayRequest(Request, frozen=True, kw_only=True):
    """
    An operation of a payment. ``amount`` is in minor units of ``currency``.

    ``parent_op`` is our id of the operation that this one refers to (the authorisation that is
    captured), ``parent_ref`` the provider's. The key is one per operation and attempt, whoever
    asks.
    """

    payment_id: str
    op_id: str
    provider: str
    amount: int
    currency: str
    method: str = ""
    parent_op: str = ""
    parent_ref: str = ""


class AuthoriseRequest(GatewayRequest, frozen=True, kw_only=True):
    """Reserve the amount; with ``captures`` also take it (a purchase)."""

    captures: bool = False


class AdjustRequest(GatewayRequest, frozen=True, kw_only=True):
    """Set an authorisation to the new absolute amount."""


class CaptureRequest(GatewayRequest, frozen=True, kw_only=True):
    """Take what was authorised; ``is_final`` releases the rest."""

    is_final: bool = True


class VoidRequest(GatewayRequest, frozen=True, kw_only=True):
    """Give up what was authorised and not captured."""


class RefundRequest(GatewayRequest, frozen=True, kw_only=True):
    """Give back what was captured; without a ``parent_ref`` a credit that refers to nothing."""


class QueryRequest(GatewayRequest, frozen=True, kw_only=True):
    """Ask what became of an operation of a ``kind``, by its key or the provider's reference."""

    kind: OperationKind
    provider_ref: str = ""


class GatewayResult(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the gateway says of an operation; any ``Outcome`` but reversed and expired.

    ``amount`` None: as requested. ``detail`` is the code, the cause or the reason. To a query
    about an operation that the provider never got it answers aborted.
    """

    outcome: Outcome
    provider_ref: str = ""
    amount: int | None = None
    currency: str = ""
    expires_at: datetime | None = None
    detail: str = ""
    is_retryable: bool = False
    sequence: int = -1


class PaymentGateway(Protocol):
    """A payment provider. Each method answers a repeated key as it answered it first."""

    def authorise(self, request: AuthoriseRequest) -> GatewayResult: ...

    def adjust(self, request: AdjustRequest) -> GatewayResult: ...

    def capture(self, request: CaptureRequest) -> GatewayResult: ...

    def void(self, request: VoidRequest) -> GatewayResult: ...

    def refund(self, request: RefundRequest) -> GatewayResult: ...

    def query(self, request: QueryRequest) -> GatewayResult:
        """Say what became of an operation; a query has no effect."""
        ...


# -- bank ---------------------------------------------------------------------------------------


class PayOutRequest(Request, frozen=True, kw_only=True):
    """
    Pay a seller from one of our accounts. ``amount`` is in minor units of ``currency``.

    The key is the payout's own. Where the seller's account is, the adapter knows by ``seller``.
    """

    payout_id: str
    seller: str
    bank: str
    amount: int
    currency: str


class PayOutQuery(Request, frozen=True, kw_only=True):
    """
    Ask what became of a payout, by its key or the bank's reference.

    ``amount`` is in minor units of ``currency``.
    """

    payout_id: str
    seller: str
    bank: str
    amount: int
    currency: str
    bank_ref: str = ""


class BankAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the bank says of a payout: succeeded, pending, declined, aborted or unknown.

    ``amount`` None: as requested. ``detail`` is the reason. To a query about a payout that the bank
    never got, and will not make any more, it answers aborted: the money is the seller's again.
    """

    outcome: Outcome
    bank_ref: str = ""
    amount: int | None = None
    detail: str = ""


class Bank(Protocol):
    """Who pays sellers. It answers a repeated key as it answered it first."""

    def pay_out(self, request: PayOutRequest) -> BankAnswer: ...

    def query(self, request: PayOutQuery) -> BankAnswer:
        """Say what became of a payout; a query has no effect. Unknown: it cannot be found out."""
        ...


# -- inventory ---------------------------------------------------------------------------------


class ReserveStock(Request, frozen=True, kw_only=True):
    """Set units of an article aside for a line of an order."""

    order_id: str
    line_id: str
    sku: str
    quantity: int
    reservation_id: str
    until: datetime | None = None


class ReleaseStock(Request, frozen=True, kw_only=True):
    """Give a reservation up, whole; one that is not there is given up already."""

    order_id: str
    reservation_id: str


class StockAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it was done; ``reason`` says why not."""

    is_done: bool
    reason: str = ""


class Inventory(Protocol):
    """Where the stock is counted."""

    def reserve(self, request: ReserveStock) -> StockAnswer: ...

    def release(self, request: ReleaseStock) -> StockAnswer: ...


# -- risk assessment ---------------------------------------------------------------------------


class AssessOrder(Request, frozen=True, kw_only=True):
    """Judge an order before it is confirmed. ``amount`` is in minor units of ``currency``."""

    order_id: str
    buyer_ref: str
    amount: int
    currency: str


class RiskAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the order must be held for a person to look at it, by which rule and why."""

    is_suspicious: bool
    rule_id: str = "risk"
    reason: str = ""


class RiskAssessment(Protocol):
    """Who judges orders."""

    def assess(self, request: AssessOrder) -> RiskAnswer: ...


# -- logistics ---------------------------------------------------------------------------------


class ShipRequest(Request, frozen=True, kw_only=True):
    """Have a carrier fetch a consignment."""

    fulfilment_id: str
    order_id: str
    location: str
    lines: tuple[MovedLine, ...]


class ShipAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who carries it; an empty ``carrier`` means that it was not taken, and ``reason`` why."""

    carrier: str
    tracking: str = ""
    reason: str = ""


class Logistics(Protocol):
    """Who carries consignments."""

    def ship(self, request: ShipRequest) -> ShipAnswer: ...


# -- notification ------------------------------------------------------------------------------


class Notify(Request, frozen=True, kw_only=True):
    """Tell somebody something; ``recipient_ref`` is a reference, never an address in clear."""

    recipient_ref: str
    template: str
    facts: dict[str, str] = {}


class NotifyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The sender's reference of the message."""

    message_ref: str = ""


class Notification(Protocol):
    """Who sends mail and messages."""

    def notify(self, request: Notify) -> NotifyAnswer: ...


# -- evidence blobs ----------------------------------------------------------------------------


class EvidenceBlobs(Protocol):
    """
    Where the bytes of evidence lie, by their SHA-256 in hex: the name proves the content.

    It is used beside commands, not as an effect of events.
    """

    def put(self, content: bytes) -> str:
        """Keep bytes and return their hash; the same bytes a second time change nothing."""
        ...

    def get(self, sha256: str) -> bytes:
        """Return the bytes of a hash; raises NotFound."""
        ...


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The adapters of a book; a port that is None is not connected."""

    payment_gateway: PaymentGateway | None = None
    bank: Bank | None = None
    inventory: Inventory | None = None
    risk_assessment: RiskAssessment | None = None
    logistics: Logistics | None = None
    notification: Notification | None = None
