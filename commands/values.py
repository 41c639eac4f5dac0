"""
The values that commands are made of: lines, taxes, policies, rule books, what is chosen among.

``orderledger.commands.model`` has them too, beside the commands.
"""

from orderledger.ledger.account_events import (
    ConstraintKind,
)
from orderledger.ledger.bank_events import (
    BankLine,
    BankSubject,
)
from orderledger.ledger.chargeback_events import (
    ChargebackReport,
    EvidenceDocument,
)
from orderledger.ledger.chargeback_stages import (
    ChargebackFact,
    ChargebackStage,
    Liability,
)
from orderledger.ledger.dispute_content import (
    Answer,
    AppealOutcome,
    ClaimedLine,
    EvidenceItem,
    Remedy,
    VoteReveal,
)
from orderledger.ledger.dispute_parties import (
    Allocation,
    Party,
)
from orderledger.ledger.fulfilment_events import (
    DeliveryFailure,
    InspectionOutcome,
    ReceivedLine,
    ReceptionOutcome,
    ReturnLine,
    ReturnResolution,
)
from orderledger.ledger.inbox_events import (
    Observation,
)
from orderledger.ledger.journal import (
    Layer,
)
from orderledger.ledger.order_content import (
    AdjustmentAdd,
    AdjustmentRemove,
    Discount,
    Funder,
    ItemAdd,
    ItemRemove,
    ItemUpdate,
    LineInput,
    OrderTerms,
    Reinstate,
    ShippingAdd,
    ShippingCharge,
    ShippingRemove,
    StockReservation,
    Surcharge,
    SurchargeAdd,
    Tax,
    Tip,
    Totals,
    WriteOff,
)
from orderledger.ledger.order_events import (
    BuyerCap,
    MovedLine,
    PaymentPart,
    RefundSource,
)
from orderledger.ledger.payment_events import (
    Capabilities,
    CaptureMode,
    FxQuote,
)
from orderledger.ledger.payment_operations import (
    Component,
    FundingPart,
    OperationKind,
    Outcome,
    Recovery,
)
from orderledger.ledger.rule_books import (
    ClaimCap,
    EvidenceSilence,
    ExternalRules,
    NegotiationSilence,
    ResponseSilence,
    RuleBook,
)
from orderledger.ledger.seller_events import (
    ReserveTerms,
    Standing,
)
from orderledger.ledger.settlement_events import (
    BreakAction,
    BreakKind,
    FeeLimit,
    LineType,
    NamedFee,
    SettlementLine,
    StatedBalance,
)
from orderledger.ledger.value_events import (
    ValueKind,
    ValueSource,
)

from .order_commands import (
    AllocationStrategy,
    ConversionTerms,
    CoverPolicy,
    LatePolicy,
    StockPolicy,
)

__all__ = [
    "AdjustmentAdd",
    "AdjustmentRemove",
    "Allocation",
    "AllocationStrategy",
    "Answer",
    "AppealOutcome",
    "BankLine",
    "BankSubject",
    "BreakAction",
    "BreakKind",
    "BuyerCap",
    "Capabilities",
    "CaptureMode",
    "ChargebackFact",
    "ChargebackReport",
    "ChargebackStage",
    "ClaimCap",
    "ClaimedLine",
    "Component",
    "ConstraintKind",
    "ConversionTerms",
    "CoverPolicy",
    "DeliveryFailure",
    "Discount",
    "EvidenceDocument",
    "EvidenceItem",
    "EvidenceSilence",
    "ExternalRules",
    "FeeLimit",
    "Funder",
    "FundingPart",
    "FxQuote",
    "InspectionOutcome",
    "ItemAdd",
    "ItemRemove",
    "ItemUpdate",
    "LatePolicy",
    "Layer",
    "Liability",
    "LineInput",
    "LineType",
    "MovedLine",
    "NamedFee",
    "NegotiationSilence",
    "Observation",
    "OperationKind",
    "OrderTerms",
    "Outcome",
    "Party",
    "PaymentPart",
    "ReceivedLine",
    "ReceptionOutcome",
    "Recovery",
    "RefundSource",
    "Reinstate",
    "Remedy",
    "ReserveTerms",
    "ResponseSilence",
    "ReturnLine",
    "ReturnResolution",
    "RuleBook",
    "SettlementLine",
    "ShippingAdd",
    "ShippingCharge",
    "ShippingRemove",
    "Standing",
    "StatedBalance",
    "StockPolicy",
    "StockReservation",
    "Surcharge",
    "SurchargeAdd",
    "Tax",
    "Tip",
    "Totals",
    "ValueKind",
    "ValueSource",
    "VoteReveal",
    "WriteOff",
]
