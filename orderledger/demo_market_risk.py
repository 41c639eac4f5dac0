"""
Risk in the marketplace month: a refund that two people must want, an alert, an order that is held.
"""

from collections.abc import Callable, Mapping
from typing import Final

from orderledger.commands.decision import Command
from orderledger.commands.order_commands import (
    ConfirmOrder,
    CoverPolicy,
    GrantRefund,
    ReleaseHold,
)
from orderledger.commands.requests import Envelope
from orderledger.commands.risk_commands import GrantApproval, RequestApproval, ResolveAlert
from orderledger.commands.risk_hook import Asking, approval_request
from orderledger.ledger.errors import Rejected
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.risk_rules import (
    AmountRule,
    Effect,
    Measure,
    RiskPolicy,
    Subject,
    VelocityRule,
)
from orderledger.projections.alerts import AlertRow

from .demo_market_sales import Sale, sold
from .demo_market_world import CURRENCY, SUSPICIOUS_FROM, Case, Tale

APPROVE_ABOVE: Final = 40_000
"""Refunds above so many cents need a second person."""
_ORDERS_A_DAY: Final = 2
POLICY: Final = RiskPolicy(
    version="2026-03",
    amounts=(
        AmountRule(
            rule_id="large-refund",
            command="GrantRefund",
            currency=CURRENCY,
            approve_above=APPROVE_ABOVE,
        ),
    ),
    velocities=(
        VelocityRule(
            rule_id="orders-a-day",
            command="PlaceOrder",
            subject=Subject.SELLER,
            measure=Measure.ORDERS,
            currency=CURRENCY,
            window_hours=24,
            count_max=_ORDERS_A_DAY,
            effect=Effect.ALERT,
        ),
    ),
)
"""What the month's book keeps to; only ``hurry`` brings the read model it looks at up to date."""


def approved(case: Case) -> Tale:
    """A refund above the limit: refused, asked for, granted by another person, and given."""
    yield case.on(8)
    sale = sold(case, "ada", price=APPROVE_ABOVE)
    sale.deliver()
    yield case.after(days=1)
    grant = GrantRefund(
        order_id=case.id,
        refund_id=case.part("large"),
        reason="two broken chairs",
        source=RefundSource.PRICE,
        lines=(MovedLine("line-0", 2),),
    )
    case.refused(grant)
    until = case.after(days=1)
    asking = Asking(requested_by="clerk", reason="the photos are clear", expires_at=until)
    case.do(lambda: _request(case, grant, asking))
    case.do(lambda: _grant(case, grant, asking))
    case.do(grant)
    case.settle()
    sale.meet()


def _refusal(case: Case, command: Command) -> Rejected:
    (found,) = case.book.execute_many([Envelope(command=command)], dry_run=True)
    assert isinstance(found, Rejected), "the policy wants an approval"
    return found


def _request(case: Case, command: Command, asking: Asking) -> RequestApproval:
    return approval_request(command, _refusal(case, command), asking)


def _grant(case: Case, command: Command, asking: Asking) -> GrantApproval:
    approval_id = str(_refusal(case, command).facts["approval_id"])
    return GrantApproval(
        approval_id=approval_id, granted_by="head-of-refunds", expires_at=asking.expires_at
    )


def hurry(case: Case) -> Tale:
    """A third order for one seller within a day raises an alert, which somebody looks into."""
    yield case.on(9)
    for number in range(_ORDERS_A_DAY + 1):
        case.book.read.models.catch_up("risk_velocity")
        sale = sold(case, "hanna", suffix=f"-{number}")
        sale.deliver()
        sale.meet()
    yield case.after(hours=5)
    case.do(lambda: _resolve(case, "hanna"))


def _resolve(case: Case, seller: str) -> ResolveAlert:
    models = case.book.read.models
    models.catch_up("alerts")
    found = next(row for row in models.select(AlertRow) if row.subject == seller)
    return ResolveAlert(alert_id=found.alert_id, by="clerk", resolution="a street market, no fraud")


def held(case: Case) -> Tale:
    """A large order is held until a person has looked at it; then it is confirmed by itself."""
    yield case.on(10)
    sale = Sale(case, "chiara", price=SUSPICIOUS_FROM)
    sale.place()
    case.settle()
    sale.purchase()
    case.refused(ConfirmOrder(order_id=case.id, policy=CoverPolicy.CHARGED))
    yield case.after(hours=3)
    case.do(lambda: _release(case))
    case.settle()
    yield case.after(days=1)
    sale.deliver()
    sale.meet()


def _release(case: Case) -> ReleaseHold:
    (rule_id,) = case.book.order(case.id).holds
    return ReleaseHold(order_id=case.id, rule_id=rule_id, reason="a known buyer", by="clerk")


RISK: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "refund that needs two people": (1, approved),
    "alert on a seller's orders": (1, hurry),
    "order held for its amount": (1, held),
}
"""By what the policy says: how many, and their story."""
