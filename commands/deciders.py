"""
Every decider, registered by importing this module; whoever executes commands imports it.
"""

from . import (
    decide_accounts,
    decide_authorisations,
    decide_escrow,
    decide_fulfilment,
    decide_inbox,
    decide_observations,
    decide_observed_events,
    decide_operations,
    decide_order_changes,
    decide_order_lifecycle,
    decide_order_reports,
    decide_orders,
    decide_payment_guards,
    decide_payments,
    decide_projections,
    decide_refund_grants,
    decide_refund_operations,
    decide_returns,
    decide_stored_value,
    decide_value_issue,
)

__all__ = [
    "decide_accounts",
    "decide_authorisations",
    "decide_escrow",
    "decide_fulfilment",
    "decide_inbox",
    "decide_observations",
    "decide_observed_events",
    "decide_operations",
    "decide_order_changes",
    "decide_order_lifecycle",
    "decide_order_reports",
    "decide_orders",
    "decide_payment_guards",
    "decide_payments",
    "decide_projections",
    "decide_refund_grants",
    "decide_refund_operations",
    "decide_returns",
    "decide_stored_value",
    "decide_value_issue",
]
