"""
A book in which everything that can be tampered with is there, and how it is read again.

A marketplace's trouble, entries beyond two tiles, stored value, a constrained account, a closed
period, effects, deadlines and queued commands, read models at the head, snapshots of a stream and a
model, a checkpoint outside.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from orderledger.commands import model as m
from orderledger.commands.account_commands import ConstrainAccount, PostEntry, PostingInput
from orderledger.commands.decision import States
from orderledger.commands.effects import Call, Effect, Execute
from orderledger.commands.order_commands import AddNote
from orderledger.commands.period_commands import ClosePeriod
from orderledger.commands.reactors import Happened, Reactor
from orderledger.ledger.account_events import ConstraintKind
from orderledger.ledger.checkpoints import SignedCheckpoint
from orderledger.ledger.ports import EventStore
from orderledger.ledger.provider_ports import Notify
from orderledger.ledger.value_events import ValueKind, ValueSource
from orderledger.machinery import Wiring
from orderledger.reading import Reading
from orderledger.replay.checkpoints import checkpoint_of
from orderledger.replay.findings import Finding
from orderledger.replay.signing import SigningKey
from orderledger.testing.fakes import FakeWorld
from orderledger.verifying import Scope
from tests.model.shop import item
from tests.projections.market_book import MarketBook

KEY: Final = SigningKey("ledger.shop.example", bytes(range(32)))
SIZE_MIN: Final = 600
"""More than two tiles of 256."""
LIMITED: Final = "assets:bank:petty"
SUSPENSE: Final = "equity:opening"
SAVED_STREAM: Final = "order-o1"
SAVED_MODEL: Final = "orders"
JANUARY_ENDS: Final = datetime.fromisoformat("2026-02-01T00:00:00+00:00")


class Welcome(Reactor):
    """Notes that an order was placed, and tells its buyer."""

    name = "welcome"
    topics = frozenset({"order.placed.v1"})

    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        order = states.order(happened.entity_id)
        note = AddNote(order_id=order.order_id, note_ref=f"at {happened.position}", by="welcome")
        return (Execute(note), Call(Notify(recipient_ref=order.buyer_ref, template="placed")))


def fill(store: EventStore) -> None:
    """Live through it all; read models are at the head afterwards."""
    market = MarketBook(store)
    world = FakeWorld()
    market.book.wire(Wiring(ports=world.ports, reactors=(Welcome(),)))
    market.book.keep_to(None)
    for runner in market.book.machinery.reactors.values():
        runner.start()
    _value(market)
    _limit(market)
    market.now = JANUARY_ENDS + timedelta(days=150)
    market.run(ClosePeriod(period="2026-01", end=JANUARY_ENDS))
    _act(market)
    petty = 0
    while market.store.head().size < SIZE_MIN:
        petty += 1
        legs = (PostingInput(LIMITED, "USD", petty), PostingInput(SUSPENSE, "USD", -petty))
        market.run(PostEntry(entry_id=f"petty-{petty}", description="petty", postings=legs))
    market.place(item("a", "12"), order_id="o9")
    for runner in market.book.machinery.reactors.values():
        runner.drain()
    models = market.book.read.models
    for name in models.names:
        models.catch_up(name)
    market.book.snapshots.take(SAVED_STREAM)
    assert len(list(market.book.snapshots.take_model(SAVED_MODEL))) == 1
    market.book.read.close()


def _value(market: MarketBook) -> None:
    market.run_all(
        m.IssueValue(
            account_id="sv1",
            holder="b1",
            kind=ValueKind.STORE_CREDIT,
            lot_id="lot-1",
            amount=500,
            currency="USD",
            source=ValueSource.GOODWILL,
        ),
        m.RedeemValue(
            account_id="sv1", redemption_id="rd-1", amount=50, currency="USD", order_id="o5"
        ),
    )


def _limit(market: MarketBook) -> None:
    no_credit = ConstraintKind.NO_CREDIT_BALANCE
    market.run(ConstrainAccount(account=LIMITED, kind=no_credit))


def _act(market: MarketBook) -> None:
    """Have effects done and refused, deadlines fired, and a command queued."""
    market.place(item("a", "10"), order_id="o7")
    market.book.machinery.settle()
    market.book.machinery.collect()
    for order_id in ("o7", "o5"):
        note = AddNote(order_id=order_id, note_ref="queued", by="ann")
        market.book.enqueue(note, key=f"queued-{order_id}")


def held(store: EventStore) -> SignedCheckpoint:
    """Return what was signed of a book and kept elsewhere."""
    checkpoint = checkpoint_of(store)
    return SignedCheckpoint(checkpoint, ()).with_signature(KEY.sign(checkpoint))


def verified(
    store: EventStore, kept: SignedCheckpoint, *, is_deep: bool = False, resume: Path | None = None
) -> list[Finding]:
    """Return everything that a verification finds, the checkpoint and the reactor known."""
    scope = Scope(
        is_deep=is_deep,
        held=(kept,),
        trusted=(KEY.verifier,),
        reactors=(Welcome(),),
        resume=resume,
    )
    reading = Reading(store)
    try:
        return list(reading.verify(scope=scope))
    finally:
        reading.close()
