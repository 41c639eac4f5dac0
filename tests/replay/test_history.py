"""Histories: decoded events with their envelope, merged over the streams of one order."""

from pathlib import Path

import pytest

from orderledger.commands.requests import Actor, Source
from orderledger.ledger.errors import CorruptEvent, NotFound
from orderledger.ledger.order_events import OrderConfirmed
from orderledger.ledger.payment_events import PaymentCaptured
from orderledger.ledger.ports import EventStore
from orderledger.reading import Reading
from orderledger.replay.history import history, linked_streams, order_history, payment_history
from orderledger.replay.verify import verify
from tests.cli.seeded_book import hold, seed
from tests.seeding import CONTEXT, START, Seeder, memory_store, sqlite_store, transfer


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> EventStore:
    """Give the seeded book."""
    made: EventStore = memory_store()
    if request.param == "sqlite":
        made = sqlite_store(tmp_path / "book.db")
    seed(made)
    return made


def test_an_order_is_told_with_its_payments_and_parcels(store: EventStore) -> None:
    """Catches a history that leaves out a stream, or tells it out of order."""
    events = list(order_history(store, "o1"))
    assert [one.position for one in events] == list(range(1, 11))
    assert {one.stream for one in events} == {"order-o1", "payment-p1", "fulfilment-f1"}
    assert linked_streams(store, "o1") == ("payment-p1", "fulfilment-f1")


def test_an_event_is_told_with_its_envelope(store: EventStore) -> None:
    """Catches a history that cannot say who did it, when, and what it did to the accounts."""
    captured = list(payment_history(store, "p1"))[-1]
    assert isinstance(captured.event, PaymentCaptured)
    assert captured.context.actor == Actor("gateway", "adyen")
    assert captured.context.source is Source.GATEWAY
    assert captured.context.provider_event_id == "evt_1"
    assert captured.recorded_at is not None
    assert captured.recorded_at != captured.occurred_at
    assert sum(leg.minor for leg in captured.entry.postings) == 0
    assert len(captured.entry.postings) == 4


def test_one_stream_alone(store: EventStore) -> None:
    """Catches a stream's history that starts late or mixes streams."""
    events = list(history(store, "order-o1"))
    assert [one.version for one in events] == [1, 2, 3, 4]
    assert isinstance(events[2].event, OrderConfirmed)
    assert list(history(store, "order-nope")) == []


def test_what_is_not_there_is_said(store: EventStore) -> None:
    """Catches an empty history for an order that never was."""
    with pytest.raises(NotFound, match="no order nope"):
        order_history(store, "nope")
    with pytest.raises(NotFound, match="no payment nope"):
        payment_history(store, "nope")


def test_a_broken_context_is_named() -> None:
    """Catches a decoding error that does not say where the row is."""
    store = memory_store()
    Seeder(store).append(transfer(1, START, entry_id="e1"), context=CONTEXT[:-1])
    with pytest.raises(CorruptEvent, match="stream journal-e1, version 1"):
        list(history(store, "journal-e1"))


def test_reading_folds_what_is_stored(store: EventStore) -> None:
    """Catches a reading side that shows another state than the events give."""
    reading = Reading(store)
    assert reading.order("o1").total == 12_325
    assert reading.payment("p1").captured == 7_325
    assert [one.position for one in reading.order_history("o1")] == list(range(1, 11))
    assert reading.balance("liabilities:escrow:o1") == {"USD": -7_325}
    assert reading.status().balances_lag == 0
    hold(store)
    assert list(reading.verify()) == list(verify(store)) == []
    with pytest.raises(NotFound):
        reading.order("nope")
    with pytest.raises(NotFound):
        reading.payment("nope")
    reading.close()
