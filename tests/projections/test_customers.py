"""Customers: the same money as the orders and the journal have, and a history that sums to it."""

from collections import Counter, defaultdict
from typing import Any

import pytest

from orderledger import Book
from orderledger.commands import model as m
from orderledger.commands.order_commands import AllocationStrategy
from orderledger.ledger.codec import decode_event
from orderledger.ledger.journal import decode_entry
from orderledger.ledger.order_events import PaymentPart
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.ledger.streams import id_of, kind_of
from orderledger.projections.customers import CustomerEventRow, CustomerOrderRow, CustomerRow
from orderledger.projections.orders import OrderRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.testing import memory_book
from tests.cli.seeded_book import seed
from tests.model.shop import Shop, item
from tests.projections.books import day_in_memory
from tests.seeding import memory_store

Buyer = tuple[str, str]
OPEN = ("placed", "confirmed", "cancelling")


def models_of(store: EventStore) -> ReadModels:
    """Give orders and customers of a book, caught up in ragged batches."""
    models = ReadModels(store, MemoryModels(), SHIPPED)
    for name in ("orders", "customers"):
        models.catch_up(name, batch_events=29)
        assert list(models.parked(name)) == []
    return models


def of(models: ReadModels, buyer: str, currency: str = "USD") -> CustomerRow:
    found = models.get(CustomerRow, buyer, currency)
    assert found is not None
    return found


def history(models: ReadModels, buyer: str) -> list[tuple[Any, ...]]:
    """Return a buyer's history: what, reference, amount, charged and refunded."""
    return [
        (row.what, row.reference, row.amount, row.charged, row.refunded)
        for row in models.select(CustomerEventRow, buyer_ref=buyer)
    ]


@pytest.fixture(params=["day", "seeded"])
def lived(request: pytest.FixtureRequest) -> EventStore:
    """Give a book that has lived: a marketplace's day, or the few events of the command line's."""
    if request.param == "day":
        return day_in_memory().store
    store = memory_store()
    seed(store)
    store.sequence()
    return store


def test_customers_are_the_sums_of_their_orders(lived: EventStore) -> None:
    """Catches a buyer who spent another amount than the buyer's orders say."""
    models = models_of(lived)
    sums: dict[Buyer, Counter[str]] = defaultdict(Counter)
    placed: dict[Buyer, list[tuple[Any, str]]] = defaultdict(list)
    for order in models.select(OrderRow):
        one = sums[order.buyer_ref, order.currency]
        one["charged"] += order.charged
        one["refunded"] += order.refunded
        one["rejected_count"] += order.lifecycle == "rejected"
        if order.placed_at is not None:
            placed[order.buyer_ref, order.currency].append((order.placed_at, order.order_id))
            one["order_count"] += 1
            one["open_count"] += order.lifecycle in OPEN
            for word in ("completed", "cancelled", "expired"):
                one[f"{word}_count"] += order.lifecycle == word
    shown = {(row.buyer_ref, row.currency): row for row in models.select(CustomerRow)}
    assert set(shown) == {buyer for buyer, one in sums.items() if any(one.values())}
    for buyer, row in shown.items():
        assert {name: getattr(row, name) for name in sums[buyer]} == sums[buyer]
        times = [at for at, _ in placed[buyer]]
        assert (row.first_placed_at, row.last_placed_at) == (min(times), max(times))
        assert (row.last_placed_at, row.last_order_id) in placed[buyer]


def test_the_history_sums_to_the_customers(lived: EventStore) -> None:
    """Catches money that moved and is told nowhere, or told twice."""
    models = models_of(lived)
    sums: dict[Buyer, Counter[str]] = defaultdict(Counter)
    for row in models.select(CustomerEventRow):
        sums[row.buyer_ref, row.currency]["charged"] += row.charged
        sums[row.buyer_ref, row.currency]["refunded"] += row.refunded
        moved = row.charged or row.refunded
        assert not moved or row.amount == abs(row.refunded or row.charged)
        assert (row.what in ("charged", "refunded")) <= (row.charged + row.refunded > 0)
        assert (row.what in ("charge_reversed", "refund_reversed")) <= (moved < 0)
    for one in models.select(CustomerRow):
        found = sums[one.buyer_ref, one.currency]
        assert (one.charged, one.refunded) == (found["charged"], found["refunded"])


def test_customers_agree_with_the_journal(lived: EventStore) -> None:
    """Catches amounts that the accounts do not have: what came in less what went out, by buyer."""
    models = models_of(lived)
    owner = {one.order_id: one.buyer_ref for one in models.select(OrderRow)}
    net: Counter[Buyer] = Counter()
    for order_id, currency, minor in _paid(lived):
        net[owner[order_id], currency] += minor
    for row in models.select(CustomerRow):
        assert row.charged - row.refunded == net.pop((row.buyer_ref, row.currency), 0)
    assert not net


def _paid(store: EventStore) -> list[tuple[str, str, int]]:
    """Return what the postings of each event took from a buyer: (order, currency, minor units)."""
    orders: dict[str, str] = {}
    found: list[tuple[str, str, int]] = []
    for row in store.read(0, limit=100_000):
        event: Any = decode_event(row.topic, row.payload)
        if row.topic.startswith("payment.initiated"):
            orders[row.stream] = event.order_id
        order_id = orders.get(row.stream, "")
        if kind_of(row.stream) == "order":
            order_id = id_of(row.stream)
        elif row.topic.startswith("value.") and getattr(event, "source", "refund") == "refund":
            order_id = getattr(event, "order_id", "")
        for leg in decode_entry(row.postings).postings:
            is_money = leg.account.startswith(
                ("assets:psp:", "assets:bank:", "liabilities:store_credit:")
            )
            if order_id and is_money and leg.layer == "posted":
                found.append((order_id, leg.currency, leg.minor))
    return found


def test_a_refund_that_fails_after_success_is_not_refunded() -> None:
    """Catches money that came back to the shop and still counts as the buyer's."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(10_000)
    shop.grant("r1", 4_000)
    shop.allocate("r1")
    op_id = shop.request("r1", 4_000)
    before = models_of(shop.store)
    assert (of(before, "b1").refunded, of(before, "b1").refund_outstanding) == (0, 4_000)
    shop.succeed(op_id)
    paid = models_of(shop.store)
    assert (of(paid, "b1").refunded, of(paid, "b1").refund_outstanding) == (4_000, 0)
    shop.run(m.RecordReversed(payment_id="p1", op_id=op_id))
    models = models_of(shop.store)
    row = of(models, "b1")
    assert (row.charged, row.refunded, row.refund_outstanding) == (10_000, 0, 4_000)
    assert history(models, "b1") == [
        ("placed", "", 10_000, 0, 0),
        ("confirmed", "", 0, 0, 0),
        ("charged", "p1", 10_000, 10_000, 0),
        ("refund_granted", "r1", 4_000, 0, 0),
        ("refunded", "r1", 4_000, 0, 4_000),
        ("refund_reversed", "r1", 4_000, 0, -4_000),
        ("refund_failed", "r1", 4_000, 0, 0),
    ]


def test_stored_value_is_spent_and_given_back() -> None:
    """Catches a redemption that is no spending, or one given back that lowers what was spent."""
    shop = Shop()
    shop.issue(3_000)
    shop.place(item("a", "100"))
    shop.run(
        m.RedeemValue(
            account_id="v1", redemption_id="z1", amount=3_000, currency="USD", order_id="o1"
        )
    )
    shop.pay(7_000)
    shop.grant("r1", 3_000)
    shop.run(
        m.AllocateRefund(
            order_id="o1",
            refund_id="r1",
            strategy=AllocationStrategy.EXPLICIT,
            parts=(PaymentPart("z1", 3_000),),
        )
    )
    shop.run(
        m.RestoreValue(
            account_id="v1",
            restore_id="x1",
            redemption_id="z1",
            order_id="o1",
            refund_id="r1",
            amount=3_000,
        )
    )
    models = models_of(shop.store)
    row = of(models, "b1")
    assert (row.charged, row.refunded, row.refund_outstanding) == (10_000, 3_000, 0)
    told = [(what, charged, refunded) for what, _, _, charged, refunded in history(models, "b1")]
    assert ("charged", 3_000, 0) in told
    # Between the two events of the one command the redemption is undone and not yet a refund.
    assert told[-2:] == [("value_returned", -3_000, 0), ("refunded", 3_000, 3_000)]


def test_a_draft_belongs_to_who_places_it() -> None:
    """Catches a guest whose history keeps what the buyer who signed in must see."""
    book = memory_book()
    book.execute(m.CreateOrder(order_id="o1", buyer_ref="guest-9", currency="USD"))
    book.execute(m.CreateOrder(order_id="o2", buyer_ref="guest-9", currency="USD"))
    book.execute(m.CancelOrder(order_id="o2", reason="x", by="guest-9"))
    assert list(models_of(book.store).select(CustomerRow)) == [], "a draft counts for nobody"
    for refund_id in ("r1", "r2", "r3"):
        report = m.RecordRefundGranted(
            order_id="o1", refund_id=refund_id, amount=500, currency="USD", reason="elsewhere"
        )
        book.execute(report)
    before = models_of(book.store)
    assert history(before, "guest-9")[-3:] == [
        ("refund_granted", refund_id, 500, 0, 0) for refund_id in ("r1", "r2", "r3")
    ]
    assert of(before, "guest-9").refund_outstanding == 1_500
    book.execute(m.PlaceOrder(order_id="o1", buyer_ref="b1", lines=(item("a", "10"),)))
    models = models_of(book.store)
    assert {row.order_id for row in models.select(CustomerEventRow, buyer_ref="guest-9")} == {"o2"}
    assert [what for what, *_ in history(models, "b1")] == [*["refund_granted"] * 3, "placed"]
    assert [row.buyer_ref for row in models.select(CustomerRow)] == ["b1"]
    rows = list(models.select(CustomerEventRow, buyer_ref="b1"))
    assert [row.previous_position for row in rows] == [0, *[row.position for row in rows[:-1]]]


def test_a_refund_known_before_its_order_comes_to_the_buyer() -> None:
    """Catches a refund of another system that stays with nobody once its order is there."""
    book = memory_book()
    report = m.RecordRefundGranted(
        order_id="o1", refund_id="r1", amount=500, currency="USD", reason="elsewhere"
    )
    book.execute(report)
    before = models_of(book.store)
    assert of(before, "").refund_outstanding == 500
    assert of(before, "").order_count == 0
    book.execute(
        m.PlaceOrder(order_id="o1", buyer_ref="b1", currency="USD", lines=(item("a", "10"),))
    )
    models = models_of(book.store)
    assert [row.buyer_ref for row in models.select(CustomerRow)] == ["b1"]
    assert of(models, "b1").refund_outstanding == 500
    assert [what for what, *_ in history(models, "b1")] == ["refund_granted", "placed"]


def test_orders_are_counted_under_what_they_have_come_to() -> None:
    """Catches an order that counts twice, or that a buyer who came back still has cancelled."""
    book = memory_book()
    for number in (1, 2, 3):
        _place(book, f"o{number}")
    book.execute(m.CancelOrder(order_id="o1", reason="x", by="b1"))
    book.execute(m.FinishCancellation(order_id="o1", refund_id="r1"))
    book.execute(m.SplitOrder(order_id="o2", new_order_id="o2b", lines=(m.MovedLine("a", 1),)))
    models = models_of(book.store)
    row = of(models, "b1")
    assert (row.order_count, row.open_count, row.cancelled_count) == (4, 3, 1)
    assert row.last_order_id == "o2b"
    told = [one[:3] for one in history(models, "b1")]
    assert ("split", "o2b", 1_000) in told
    assert ("placed", "o2", 1_000) in told


def _place(book: Book, order_id: str) -> None:
    line = item("a", "10", quantity=2)
    book.execute(m.PlaceOrder(order_id=order_id, buyer_ref="b1", currency="USD", lines=(line,)))


def test_what_an_order_adds_is_kept_once_per_order(lived: EventStore) -> None:
    """Catches an order whose contribution is lost: the next event would count it again."""
    models = models_of(lived)
    kept = {row.order_id: row for row in models.select(CustomerOrderRow)}
    for order in models.select(OrderRow):
        one = kept.pop(order.order_id)
        assert (one.charged, one.refunded) == (order.charged, order.refunded)
        assert (one.buyer_ref, one.lifecycle) == (order.buyer_ref, order.lifecycle)
    assert not kept
