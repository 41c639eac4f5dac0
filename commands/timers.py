"""
What is done when a deadline has come: by the kind of stream and of deadline, one effect. Pure.

A kind of deadline plugs in by one line in ``TIMERS``. The effect is made from the state as it is
when the timer fires; a deadline that the state no longer has is not fired.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from orderledger.ledger import open_deadlines as o
from orderledger.ledger import provider_ports as p
from orderledger.ledger.chargeback_stages import ChargebackStage
from orderledger.ledger.deadlines import Deadline
from orderledger.ledger.dispute_events import DeadlineKind
from orderledger.ledger.errors import IntegrityViolation
from orderledger.ledger.payment_deadlines import DEFENCE
from orderledger.ledger.sellers import RESERVE_MATURITY
from orderledger.ledger.streams import id_of, kind_of

from .chargeback_commands import EndChargebackDefence
from .decision import Command
from .dispute_commands import PerformDisputeDeadline
from .effects import Call, Effect, Execute, bounded_key
from .fulfilment_commands import AutoConfirmDelivery, ExpireReturn
from .gateway_requests import query_of
from .order_commands import CompleteOrder, ExpireOrder, MeetReleaseCondition
from .payment_commands import AlertAuthorisationExpiry, ExpireAuthorisation
from .process_payouts import payout_query
from .seller_commands import ReleaseReserve
from .value_commands import ExpireValue

Fire = Callable[[str, Deadline, Any], Command | p.Request]
"""From the id of the entity, its deadline and its state to what is done."""


def _payment_due(order_id: str, deadline: Deadline, _state: Any) -> Command:
    return ExpireOrder(order_id=order_id, due_at=deadline.due_at, occurred_at=deadline.due_at)


def _release(order_id: str, deadline: Deadline, _state: Any) -> Command:
    return MeetReleaseCondition(
        order_id=order_id,
        seller=deadline.deadline_id.partition("/")[2],
        cause=f"delivered, and nothing was said until {deadline.due_at.isoformat()}",
        occurred_at=deadline.due_at,
    )


def _completion(order_id: str, deadline: Deadline, _state: Any) -> Command:
    return CompleteOrder(
        order_id=order_id,
        return_window_until=deadline.due_at,
        by="timer",
        occurred_at=deadline.due_at,
    )


def _authorisation_expiry(payment_id: str, deadline: Deadline, _state: Any) -> Command:
    return ExpireAuthorisation(
        payment_id=payment_id,
        auth_op=_operation(deadline),
        due_at=deadline.due_at,
        occurred_at=deadline.due_at,
    )


def _authorisation_alert(payment_id: str, deadline: Deadline, _state: Any) -> Command:
    return AlertAuthorisationExpiry(
        payment_id=payment_id,
        auth_op=_operation(deadline),
        due_at=deadline.due_at,
        deadline_id=deadline.deadline_id,
        occurred_at=deadline.due_at,
    )


def _operation(deadline: Deadline) -> str:
    """Return the operation in ``kind/operation/rest``; its id may have slashes of its own."""
    return deadline.deadline_id.partition("/")[2].rpartition("/")[0]


def _chargeback_defence(payment_id: str, deadline: Deadline, _state: Any) -> Command:
    _, stage, _, chargeback_id = deadline.deadline_id.split("/", 3)
    return EndChargebackDefence(
        payment_id=payment_id,
        chargeback_id=chargeback_id,
        stage=ChargebackStage(stage),
        due_at=deadline.due_at,
        occurred_at=deadline.due_at,
    )


def _query(_payment_id: str, deadline: Deadline, state: Any) -> p.Request:
    op_id = _operation(deadline).rpartition("/")[0]
    return query_of(state, op_id)


def _query_payout(_payout_id: str, _deadline: Deadline, state: Any) -> p.Request:
    return payout_query(state)


def _auto_confirm(fulfilment_id: str, deadline: Deadline, state: Any) -> Command:
    return AutoConfirmDelivery(
        fulfilment_id=fulfilment_id,
        order_id=state.order_id,
        due_at=deadline.due_at,
        occurred_at=deadline.due_at,
    )


def _return_window(return_id: str, deadline: Deadline, state: Any) -> Command:
    return ExpireReturn(
        return_id=return_id,
        order_id=state.order_id,
        due_at=state.window_until,
        occurred_at=deadline.due_at,
    )


def _lot_expiry(account_id: str, deadline: Deadline, _state: Any) -> Command:
    return ExpireValue(
        account_id=account_id, lot_id=_operation(deadline), occurred_at=deadline.due_at
    )


def _reserve_maturity(_seller: str, deadline: Deadline, state: Any) -> Command:
    return ReleaseReserve(
        seller=state.seller,
        currency=state.currency,
        reserve_id=deadline.deadline_id,
        reason="matured",
        occurred_at=deadline.due_at,
    )


def _dispute(dispute_id: str, deadline: Deadline, _state: Any) -> Command:
    return PerformDisputeDeadline(
        dispute_id=dispute_id, deadline_id=deadline.deadline_id, occurred_at=deadline.due_at
    )


TIMERS: Final[Mapping[tuple[str, str], Fire]] = {
    ("order", o.PAYMENT_DUE): _payment_due,
    ("order", o.RELEASE): _release,
    ("order", o.COMPLETION): _completion,
    ("payment", o.AUTHORISATION_EXPIRY): _authorisation_expiry,
    ("payment", o.AUTHORISATION_ALERT): _authorisation_alert,
    ("payment", o.QUERY): _query,
    ("payment", DEFENCE): _chargeback_defence,
    ("fulfilment", o.AUTO_CONFIRM): _auto_confirm,
    ("return", o.RETURN_WINDOW): _return_window,
    ("storedvalue", o.LOT_EXPIRY): _lot_expiry,
    ("payout", o.QUERY): _query_payout,
    ("seller", RESERVE_MATURITY): _reserve_maturity,
    **{("dispute", kind.value): _dispute for kind in DeadlineKind},
}
"""What a deadline does, by the kind of its stream and its own."""

ASKS: Final[Mapping[tuple[str, str], str]] = {
    ("payment", o.QUERY): "payment_gateway",
    ("payout", o.QUERY): "bank",
}
"""The port that a deadline needs; without it the deadline waits."""


def timer_key(stream: str, deadline_id: str) -> str:
    """Return the key under which a deadline fires, once for all time."""
    return bounded_key(f"timer/{stream}/{deadline_id}")


def fire(stream: str, deadline: Deadline, state: Any) -> Effect:
    """Return what a deadline does now that it has come."""
    kind = kind_of(stream)
    found = TIMERS.get((kind, deadline.kind))
    if found is None:
        raise IntegrityViolation(
            f"this code does not know what to do about a deadline {deadline.kind} of {stream}",
            stream=stream,
            kind=deadline.kind,
        )
    made = found(id_of(stream), deadline, state)
    return Execute(made) if isinstance(made, Command) else Call(made)
