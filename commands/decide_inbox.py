"""
Decisions on provider notifications: keep first, then apply, park or reject.

A notification's stream is its own, so its provider and id can be taken in only once. The events
that it causes are appended together with it.
"""

from datetime import datetime

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.anomalies import AnomalyKind, AnomalyRaised
from orderledger.ledger.chargeback_events import ChargebackReport
from orderledger.ledger.errors import InvalidCommand, InvalidInput, NotFound
from orderledger.ledger.events import topic_of
from orderledger.ledger.inbox import InboxStatus
from orderledger.ledger.inbox_events import (
    GatewayNotificationReceived,
    NotificationApplied,
    NotificationDeduplicated,
    NotificationParked,
    NotificationRejected,
    Observation,
)
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.streams import ID_GRAMMAR

from .chargeback_disputes import Moment
from .decide_chargebacks import observe_chargeback
from .decide_observations import find, observe
from .decision import Change, Changes, States, decides
from .payment_commands import ReceiveNotification, RetryNotification


@decides(ReceiveNotification)
def receive(command: ReceiveNotification, states: States, now: datetime) -> Changes:
    """Keep a notification and apply what it says; one that is known changes nothing."""
    state = states.inbox(command.provider, command.notification_id)
    if command.body_sha256 in state.hashes:
        return ()
    stream = streams.inbox(command.provider, command.notification_id)
    received = GatewayNotificationReceived(
        provider=command.provider,
        notification_id=command.notification_id,
        kind=command.kind,
        body_sha256=command.body_sha256,
        signature_ok=command.signature_ok,
        refs=command.refs,
        raw_ref=command.raw_ref,
        interpreted=command.interpreted,
        chargeback=command.chargeback,
    )
    kept = Change(stream, received)
    if not command.signature_ok:
        return (kept, Change(stream, NotificationRejected(why="the signature is not valid")))
    if state.exists and InboxStatus.REJECTED is not state.status:
        return (kept, *_second_body(command, stream, state.hashes[0]))
    seen = command.interpreted or command.chargeback
    if seen is None:
        return (kept, Change(stream, NotificationRejected(why="it could not be interpreted")))
    if command.interpreted is not None and command.chargeback is not None:
        why = "it says to be about an operation and about a chargeback"
        return (kept, Change(stream, NotificationRejected(why=why)))
    return (kept, *_apply(stream, seen, states, (command, now)))


def _second_body(command: ReceiveNotification, stream: str, first: str) -> Changes:
    """Another body under a known id is kept and not applied: the two contradict each other."""
    anomaly = AnomalyRaised(
        kind=AnomalyKind.NOTIFICATION_CONTENT_DIFFERS,
        refs=(command.provider, command.notification_id, command.body_sha256),
        detail=f"the first body has the hash {first}",
        severity="error",
    )
    why = "its id was used before with another content"
    return (Change(stream, NotificationRejected(why=why)), Change(stream, anomaly))


def _apply(
    stream: str, seen: Observation | ChargebackReport, states: States, moment: Moment
) -> Changes:
    """Return the outcome of an interpreted notification, followed by what it causes."""
    if ID_GRAMMAR.fullmatch(seen.payment_id) is None:
        missing = seen.payment_id or seen.provider_ref or seen.order_id or "payment"
        return (Change(stream, NotificationParked(missing_ref=missing)),)
    try:
        caused = (
            observe(seen, states)
            if isinstance(seen, Observation)
            else observe_chargeback(seen, states, moment)
        )
    except NotFound:
        return (Change(stream, NotificationParked(missing_ref=seen.payment_id)),)
    except InvalidInput as error:
        # The notification is evidence, whatever it says; losing it would lose the money's trace.
        return (Change(stream, NotificationRejected(why=f"it cannot be applied: {error}")),)
    if not caused:
        of = _known_as(states.payment(seen.payment_id), seen)
        return (Change(stream, NotificationDeduplicated(of=of)),)
    names = tuple([f"{change.stream} {topic_of(type(change.event))}" for change in caused])
    return (Change(stream, NotificationApplied(events=names)), *caused)


def _known_as(state: PaymentState, seen: Observation | ChargebackReport) -> str:
    if isinstance(seen, ChargebackReport):
        return f"{streams.payment(state.payment_id)} {seen.chargeback_id} {seen.fact.value}"
    op = find(state, seen)
    what = op.op_id if op is not None else seen.kind
    return f"{streams.payment(state.payment_id)} {what} {seen.outcome.value}".strip()


@decides(RetryNotification)
def retry(command: RetryNotification, states: States, now: datetime) -> Changes:
    """Apply a parked notification if its subject exists by now; otherwise it stays parked."""
    state = states.inbox(command.provider, command.notification_id)
    if not state.exists:
        raise NotFound(
            f"there is no notification {command.notification_id} of {command.provider}",
            provider=command.provider,
            notification_id=command.notification_id,
        )
    seen = state.interpreted or state.chargeback
    if state.status is not InboxStatus.PARKED or seen is None:
        return ()
    if command.payment_id:
        if seen.payment_id not in ("", command.payment_id):
            raise InvalidCommand(
                f"notification {command.notification_id} is about payment {seen.payment_id}, not "
                f"{command.payment_id}",
                notification_id=command.notification_id,
                payment_id=seen.payment_id,
            )
        seen = _about(seen, command.payment_id)
    stream = streams.inbox(command.provider, command.notification_id)
    changes = _apply(stream, seen, states, (command, now))
    return () if isinstance(changes[0].event, NotificationParked) else changes


def _about(seen: Observation | ChargebackReport, payment_id: str) -> Observation | ChargebackReport:
    return msgspec.structs.replace(seen, payment_id=payment_id)
