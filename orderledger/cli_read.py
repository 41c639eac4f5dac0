"""Commands that read one book: where it stands, its orders, its payments."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common, money
from .cli_tables import Chapter, Columns, Row, print_story, short_topic

if TYPE_CHECKING:
    from orderledger.ledger.orders import OrderState
    from orderledger.ledger.payments import PaymentState
    from orderledger.machinery_status import PartStatus
    from orderledger.replay.history import RecordedEvent

_HISTORY: Final = Columns(
    (
        *("position", "recorded_at", "occurred_at", "reported_at", "adjusts"),
        *("event", "stream", "version", "actor"),
    ),
    numeric=("position", "version"),
    giving_way=("version", "occurred_at", "adjusts", "reported_at", "actor"),
    words={
        "occurred_at": "occurred",
        "reported_at": "reported for",
        "adjusts": "adjusts",
        "actor": "by",
    },
)
_POSTINGS: Final = Columns(("layer", "account", "amount"), numeric=("amount",))
_OURSELVES: Final = ("system", "orderledger")
"""Who acts where the caller named nobody."""
_SAME_TIME: Final = timedelta(seconds=1)
"""A command is recorded within this; an event that occurred earlier is worth a column."""


@click.command()
@common
def status(session: Session) -> int:
    """
    Show where a book stands, and how its machinery does.

    Its head, what waits for a position, until when its periods are closed, how far the balances
    are, and each part of the worker: when it was last seen, what it has before it, since when the
    oldest of that waits, what is dead. Cheap at any size. The balances catch up when they are read,
    so a lag is no fault. Exit status 1 if a part is red: overdue, silent, failing, or with dead
    letters.
    """
    import msgspec

    from orderledger.cli_admin import schema_version, without_password

    location = session.location()
    found = session.reading.status()
    fields = msgspec.structs.asdict(found)
    if not session.is_json:
        fields["parts"] = "\n".join([_part_text(part) for part in found.parts])
    session.record(
        {
            "url": without_password(location.url),
            "engine": location.engine,
            **fields,
            "schema_version": schema_version(location.engine),
        }
    )
    for part in found.red:
        session.talk(f"{part.part} is {part.state}: {part.advice}")
    return 1 if found.red else 0


def _part_text(part: "PartStatus") -> str:
    told = [f"{part.part}: {part.state}"]
    if part.last_seen_at is not None:
        told.append(f"seen {part.last_seen_at:%Y-%m-%d %H:%M:%S}")
    if part.last_seen_of and part.is_red:
        told.append(f"of {part.last_seen_of}")
    if part.lag:
        told.append(f"{part.lag} to do")
    if part.oldest_due_at is not None:
        told.append(f"the oldest since {part.oldest_due_at:%Y-%m-%d %H:%M:%S}")
    told += [
        f"{count} {what}"
        for count, what in ((part.dead, "dead"), (part.refused, "refused"))
        if count
    ]
    if part.problem:
        told.append(part.problem)
    return ", ".join(told)


@click.group()
def order() -> None:
    """Look at orders."""


@order.command("show")
@click.argument("order_id", metavar="ID")
@common
def order_show(session: Session, order_id: str) -> None:
    """Show an order as it is now."""
    session.record(order_fields(session.reading.order(order_id), is_json=session.is_json))


@order.command("history")
@click.argument("order_id", metavar="ID")
@common
def order_history(session: Session, order_id: str) -> None:
    """
    Show what happened to an order, in log order.

    Includes the events of its payments, fulfilments, returns and disputes.
    """
    _show_history(session, session.reading.order_history(order_id))


@click.group()
def payment() -> None:
    """Look at payments."""


@payment.command("show")
@click.argument("payment_id", metavar="ID")
@common
def payment_show(session: Session, payment_id: str) -> None:
    """Show a payment as it is now."""
    session.record(payment_fields(session.reading.payment(payment_id), is_json=session.is_json))


@payment.command("history")
@click.argument("payment_id", metavar="ID")
@common
def payment_history(session: Session, payment_id: str) -> None:
    """Show what happened to a payment, in order."""
    _show_history(session, session.reading.payment_history(payment_id))


def _show_history(session: Session, events: Iterable["RecordedEvent"]) -> None:
    if session.is_json:
        session.rows((_event_json(one) for one in events), _HISTORY)
    else:
        print_story((_event_chapter(one) for one in events), _HISTORY, _POSTINGS)


def _event_chapter(one: "RecordedEvent") -> Chapter:
    actor = one.context.actor
    recorded_at = one.recorded_at
    is_late = recorded_at is None or abs(recorded_at - one.occurred_at) > _SAME_TIME
    head: Row = {
        "position": one.position,
        "recorded_at": recorded_at,
        "occurred_at": one.occurred_at if is_late else None,
        "reported_at": one.context.reported_at,
        "adjusts": one.context.adjusts,
        "event": short_topic(one.topic),
        "stream": one.stream,
        "version": one.version,
        "actor": "system" if (actor.type, actor.id) == _OURSELVES else f"{actor.type} {actor.id}",
    }
    return Chapter(head, posting_rows(one))


def posting_rows(one: "RecordedEvent") -> list[Row]:
    """Return the legs of an event's entry as the lines below it in a story."""
    return [
        {
            "layer": leg.layer.value,
            "account": leg.account,
            "amount": f"{money(leg.minor, leg.currency)} {leg.currency}",
        }
        for leg in one.entry.postings
    ]


def _event_json(one: "RecordedEvent") -> Row:
    return {
        "position": one.position,
        "recorded_at": one.recorded_at,
        "occurred_at": one.occurred_at,
        "stream": one.stream,
        "version": one.version,
        "topic": one.topic,
        "event": one.event,
        "postings": [
            {
                "account": leg.account,
                "layer": leg.layer,
                "currency": leg.currency,
                "minor": leg.minor,
                "amount": money(leg.minor, leg.currency),
            }
            for leg in one.entry.postings
        ],
        "context": one.context,
    }


def order_fields(state: "OrderState", *, is_json: bool) -> Row:
    """Return what is shown of an order: everything as JSON, a summary as a table."""
    return _order_json(state) if is_json else _order_table(state)


def payment_fields(state: "PaymentState", *, is_json: bool) -> Row:
    """Return what is shown of a payment: everything as JSON, a summary as a table."""
    return _payment_json(state) if is_json else _payment_table(state)


def _order_json(state: "OrderState") -> Row:
    import msgspec

    return {
        **msgspec.structs.asdict(state),
        "total": state.total,
        "due": state.due,
        "granted": state.granted,
        "refund_outstanding": state.refund_outstanding,
        "released": state.released,
    }


def _order_table(state: "OrderState") -> Row:
    def amount(minor: int) -> str:
        return f"{money(minor, state.currency)} {state.currency}" if state.currency else str(minor)

    lines = "\n".join(
        f"{line_id}: {line.live} × {line.line.unit_price} {line.line.sku} = {amount(line.charged)}"
        for line_id, line in state.lines.items()
    )
    return {
        "order": state.order_id,
        "state": state.lifecycle.value,
        "buyer": state.buyer_ref,
        "channel": state.channel,
        "lines": lines,
        "total": amount(state.total),
        "due": amount(state.due),
        "payments": "\n".join(f"{key}: {amount(value)}" for key, value in state.payments.items()),
        "granted": amount(state.granted),
        "refund outstanding": amount(state.refund_outstanding),
        "released": amount(state.released),
        "holds": ", ".join(state.holds),
        "open anomalies": ", ".join(state.anomalies),
    }


_PAYMENT_FIELDS: Final = (
    *("authorised", "authorised_adjustment", "voided", "authorisation_expired", "captured"),
    *("capture_in_flight", "void_in_flight", "capturable", "refunded", "refund_in_flight"),
    *("refundable", "chargeback_open", "chargeback_lost"),
    *("chargeback_reversed", "exposure"),
)


def _payment_json(state: "PaymentState") -> Row:
    import msgspec

    derived = {name: getattr(state, name) for name in _PAYMENT_FIELDS}
    return {
        **msgspec.structs.asdict(state),
        # A set has no order of its own; the same answer must always be the same bytes.
        "kept": sorted(state.kept),
        "lifecycle": state.lifecycle,
        "chargeback_axis": state.chargeback_axis,
        **derived,
    }


def _payment_table(state: "PaymentState") -> Row:
    def amount(minor: int) -> str:
        return f"{money(minor, state.currency)} {state.currency}" if state.currency else str(minor)

    operations = "\n".join(
        f"{one.op_id}: {one.kind.value} {amount(one.amount)} {one.status.value}"
        for one in state.operations.values()
    )
    return {
        "payment": state.payment_id,
        "order": state.order_id,
        "state": str(state.lifecycle),
        "provider": state.provider,
        "amount": amount(state.amount),
        **{
            name.replace("_", " "): amount(getattr(state, name))
            for name in _PAYMENT_FIELDS
            if getattr(state, name)
        },
        "operations": operations,
        "open anomalies": ", ".join(state.anomalies),
    }
