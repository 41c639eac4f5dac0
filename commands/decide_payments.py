"""
Decisions on payments: initiate, require an action, credit a customer, resolve an anomaly.

The guards apply in the order malformed, not found, already done, state, amounts. An operation is
only requested here: the provider is called after the request is stored, and what it answers is
recorded by ``decide_operations``.
"""

from datetime import datetime
from fractions import Fraction

from orderledger.ledger import accounts, streams
from orderledger.ledger.anomalies import AnomalyResolved
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidCommand, NotFound, Reason, Rejected
from orderledger.ledger.order_events import PaymentLinked
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_events import (
    CaptureMode,
    OperationRequested,
    PaymentActionRequired,
    PaymentInitiated,
)
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.payments import PaymentLifecycle, PaymentState

from .decide_payment_guards import (
    Request,
    amount_due,
    check_amount,
    check_currency,
    check_op_id,
    existing_order,
    existing_payment,
    is_known,
    refused,
    wrong_state,
)
from .decision import Change, Changes, States, decides
from .order_guards import check_price_of_currency
from .payment_commands import (
    CreditCustomer,
    InitiatePayment,
    RequireAction,
    ResolvePaymentAnomaly,
)


@decides(InitiatePayment)
def initiate(command: InitiatePayment, states: States, now: datetime) -> Changes:
    """Bind a payment to an order; both streams say so in one append."""
    check_amount(command.amount, command.currency)
    accounts.psp(command.provider)  # Raises now what every later report would.
    _check_conversion(command)
    order = existing_order(states, command.order_id)
    event = PaymentInitiated(
        payment_id=command.payment_id,
        order_id=command.order_id,
        provider=command.provider,
        method=command.method,
        capture_mode=command.capture_mode,
        amount=command.amount,
        currency=command.currency,
        quote_id=command.quote_id,
        order_version=order.version,
        expires_at=command.expires_at,
        capabilities=command.capabilities,
        fx=command.fx,
    )
    if _is_initiated(states.payment(command.payment_id), event):
        return ()
    _check_order_takes(order, command)
    linked = command.fx.order_amount if command.fx else command.amount
    due = amount_due(states, order, command.payment_id, now)
    if linked > due and not command.is_over_tender:
        raise Rejected(
            Reason.AMOUNT_EXCEEDS_AVAILABLE,
            f"payment {command.payment_id} of {linked} {order.currency} minor units is more than "
            f"the {due} that order {command.order_id} still lacks",
            payment_id=command.payment_id,
            order_id=command.order_id,
            amount=linked,
            available=due,
        )
    link = PaymentLinked(payment_id=command.payment_id, amount=linked, tender=command.method)
    return (
        Change(streams.payment(command.payment_id), event),
        Change(streams.order(command.order_id), link),
    )


def _check_conversion(command: InitiatePayment) -> None:
    """The quoted amounts must agree with the quoted rate to one minor unit."""
    quote = command.fx
    if quote is None:
        return
    check_amount(quote.order_amount, quote.order_currency)
    if quote.order_currency == command.currency:
        raise InvalidCommand(
            f"payment {command.payment_id} is in {command.currency} as its order is; a quote is "
            "for another currency",
            payment_id=command.payment_id,
            currency=command.currency,
        )
    check_price_of_currency("rate of the quote", quote.rate)
    places = exponent(command.currency) - exponent(quote.order_currency)
    converted = round(Fraction(quote.rate) * quote.order_amount * Fraction(10) ** places)
    if abs(converted - command.amount) > 1:
        raise InvalidCommand(
            f"{quote.order_amount} {quote.order_currency} minor units at {quote.rate} are "
            f"{converted} {command.currency} minor units, not {command.amount}",
            amount=command.amount,
            converted=converted,
        )


def _is_initiated(state: PaymentState, event: PaymentInitiated) -> bool:
    if not state.exists:
        return False
    same = (
        state.order_id == event.order_id
        and state.provider == event.provider
        and state.method == event.method
        and state.capture_mode is event.capture_mode
        and state.amount == event.amount
        and state.currency == event.currency
        and state.quote_id == event.quote_id
        and state.expires_at == event.expires_at
        and state.capabilities == event.capabilities
        and state.fx == event.fx
    )
    if same:
        return True
    if state.order_id != event.order_id:
        raise refused(
            state,
            Reason.BOUND_TO_ANOTHER_ORDER,
            f"it cannot pay order {event.order_id} too",
            {"other_order_id": event.order_id},
        )
    raise refused(state, Reason.ALREADY_EXISTS, "it exists with other content; use a new id")


def _check_order_takes(order: OrderState, command: InitiatePayment) -> None:
    facts = {"payment_id": command.payment_id, "order_id": command.order_id}
    if not order.accepts_payment:
        raise Rejected(
            Reason.WRONG_STATE,
            f"order {command.order_id} is {order.lifecycle.value} and takes no payment",
            lifecycle=order.lifecycle.value,
            **facts,
        )
    if command.payment_id in order.redeemed:
        # Refunds are allocated to tenders by id, and escrow is followed by it.
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"order {command.order_id} has a redemption {command.payment_id}; give the payment "
            "another id",
            **facts,
        )
    if command.capture_mode is CaptureMode.MULTI and not command.capabilities.multicapture:
        raise Rejected(
            Reason.NOT_SUPPORTED_BY_PROVIDER,
            f"provider {command.provider} does not declare multicapture for {command.method}",
            provider=command.provider,
            **facts,
        )
    if command.quote_id != order.quote_id:
        raise Rejected(
            Reason.QUOTE_MISMATCH,
            f"payment {command.payment_id} is for quote {command.quote_id!r}, order "
            f"{command.order_id} is at quote {order.quote_id!r}",
            quote_id=command.quote_id,
            order_quote_id=order.quote_id,
            **facts,
        )
    if command.order_version is not None and command.order_version != order.version:
        raise Rejected(
            Reason.STALE_BASE_VERSION,
            f"payment {command.payment_id} is for version {command.order_version} of order "
            f"{command.order_id}, which is at version {order.version}",
            order_version=command.order_version,
            current_version=order.version,
            **facts,
        )
    stands_for = command.fx.order_currency if command.fx else command.currency
    if stands_for != order.currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"order {command.order_id} is in {order.currency}, not in {stands_for}; a payment in "
            "another currency needs a quote",
            currency=order.currency,
            other_currency=stands_for,
            **facts,
        )


@decides(RequireAction)
def require_action(command: RequireAction, states: States, now: datetime) -> Changes:
    """Note what the buyer must do; only before anything was authorised."""
    state = existing_payment(states, command)
    if state.lifecycle not in (PaymentLifecycle.INITIATED, PaymentLifecycle.REQUIRES_ACTION):
        raise wrong_state(state, "no action of the buyer can be required any more")
    event = PaymentActionRequired(kind=command.kind, url=command.url, expires_at=command.expires_at)
    return (Change(streams.payment(command.payment_id), event),)


@decides(CreditCustomer)
def credit_customer(command: CreditCustomer, states: States, now: datetime) -> Changes:
    """Request a payment to the customer that refers to no charge; a second person must approve."""
    check_amount(command.amount, command.currency)
    check_op_id(command.op_id)
    state = states.payment(command.payment_id)
    if state.exists:
        existing_payment(states, command)
    elif not command.provider:
        raise NotFound(
            f"there is no payment {command.payment_id}, and no provider to make it with",
            payment_id=command.payment_id,
        )
    else:
        accounts.psp(command.provider)
    request = Request(
        op_id=command.op_id,
        kind=OperationKind.CREDIT,
        currency=command.currency,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
    )
    if state.exists and is_known(state, request):
        return ()
    _check_approved(command)
    capabilities = state.capabilities if state.exists else command.capabilities
    if not capabilities.credit:
        raise Rejected(
            Reason.NOT_SUPPORTED_BY_PROVIDER,
            f"payment {command.payment_id}: the provider does not declare credits",
            payment_id=command.payment_id,
        )
    stream = streams.payment(command.payment_id)
    opening: Changes = ()
    if state.exists:
        check_currency(state, command.currency)
    else:
        opening = (Change(stream, _credit_payment(command)), *_credit_link(command, states))
    event = OperationRequested(
        op_id=command.op_id,
        kind=OperationKind.CREDIT,
        amount=command.amount,
        currency=command.currency,
        idempotency_key=request.key,
        reason=command.reason,
        approver=command.approver,
    )
    return (*opening, Change(stream, event))


def _check_approved(command: CreditCustomer) -> None:
    facts = {"payment_id": command.payment_id, "amount": command.amount}
    if not command.approver:
        raise Rejected(
            Reason.APPROVAL_REQUIRED,
            f"a credit of {command.amount} on payment {command.payment_id} needs an approver",
            **facts,
        )
    if not command.actor or command.approver == command.actor:
        raise Rejected(
            Reason.FOUR_EYES_REQUIRED,
            f"{command.actor!r} cannot both ask for and approve the credit on payment "
            f"{command.payment_id}",
            **facts,
        )


def _credit_payment(command: CreditCustomer) -> PaymentInitiated:
    return PaymentInitiated(
        payment_id=command.payment_id,
        order_id=command.order_id,
        provider=command.provider,
        method=command.method,
        capture_mode=CaptureMode.MANUAL,
        amount=command.amount,
        currency=command.currency,
        capabilities=command.capabilities,
    )


def _credit_link(command: CreditCustomer, states: States) -> Changes:
    """
    The order knows the payment, over nothing: it brings nothing, yet what a provider might report
    as captured on it must reach the order's slices.
    """
    if not command.order_id:
        return ()
    order = existing_order(states, command.order_id)
    facts = {"payment_id": command.payment_id, "order_id": command.order_id}
    if command.currency != order.currency:
        raise Rejected(
            Reason.CURRENCY_MISMATCH,
            f"order {command.order_id} is in {order.currency}, not in {command.currency}; give "
            "the credit without the order",
            **facts,
        )
    if command.payment_id in order.redeemed:
        raise Rejected(
            Reason.OPERATION_ALREADY_USED,
            f"order {command.order_id} has a redemption {command.payment_id}",
            **facts,
        )
    link = PaymentLinked(payment_id=command.payment_id, amount=0, tender=command.method)
    return (Change(streams.order(command.order_id), link),)


@decides(ResolvePaymentAnomaly)
def resolve_anomaly(command: ResolvePaymentAnomaly, states: States, now: datetime) -> Changes:
    """Close an open anomaly; closing one that is not open is done already."""
    state = existing_payment(states, command)
    if command.anomaly_id not in state.anomalies:
        return ()
    event = AnomalyResolved(
        anomaly_id=command.anomaly_id,
        by=command.by,
        resolution=command.resolution,
        compensations=command.compensations,
    )
    return (Change(streams.payment(command.payment_id), event),)
