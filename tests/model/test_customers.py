"""Customers against the independent model of a market, after every step of random histories."""

from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, precondition, rule

from orderledger.commands import model as m
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.customers import CustomerEventRow, CustomerRow, Customers
from orderledger.projections.read_models import ReadModels
from tests.model.market_machine import MarketMachine, orders
from tests.model.shop import balances_of, item

OPEN: Final = ("placed", "confirmed", "cancelling")
BUYERS: Final = {"o1": "b1", "o2": "b2"}


class CustomersMachine(MarketMachine):
    """A market whose two orders are of two buyers, followed as it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.models = ReadModels(self.store, MemoryModels(), [Customers()])
        self.follower = self.models.follower("customers")

    @precondition(lambda self: len(self.model.orders) < len(BUYERS))
    @rule(order_id=orders)
    def place(self, order_id: str) -> None:
        self.give(
            m.PlaceOrder(
                order_id=order_id,
                buyer_ref=BUYERS[order_id],
                currency="USD",
                lines=(item("a", "25", quantity=2), item("b", "13.33", quantity=3, seller="s2")),
            )
        )

    @invariant()
    def customers_agree(self) -> None:
        """Spent and refunded are the model's own sums, and the history sums to them."""
        self.store.sequence()
        self.follower.catch_up(batch_events=3)
        assert not self.follower.parked
        shown = {row.buyer_ref: row for row in self.models.select(CustomerRow)}
        assert set(shown) == {BUYERS[order_id] for order_id in self.model.orders}
        for order_id, order in self.model.orders.items():
            row = shown[BUYERS[order_id]]
            restored = self.model.redeemed(order_id)[1]
            given_back = sum(self.model.done(one, "refund") for one in order["payments"])
            assert row.charged == self.model.charged(order_id)
            assert row.refunded == given_back + restored
            assert row.open_count == (order["state"] in OPEN)
            assert row.cancelled_count == (order["state"] == "cancelled")
            live = [one for one in order["grants"].values() if not one["withdrawn"]]
            assert row.refund_outstanding == sum(
                self.model.outstanding(order_id, one) for one in live
            )
            told = list(self.models.select(CustomerEventRow, buyer_ref=row.buyer_ref))
            assert sum(one.charged for one in told) == row.charged
            assert sum(one.refunded for one in told) == row.refunded
            assert {one.order_id for one in told} == {order_id}

    @invariant()
    def the_journal_agrees(self) -> None:
        """What buyers paid less what they got back is what the accounts outside the shop lost."""
        posted: dict[str, int] = {}
        for (layer, account, _), minor in balances_of(self.store).items():
            if layer == "posted":
                posted[account.rpartition(":")[0]] = minor
        value = posted.get("liabilities:store_credit", 0) + self.model.value["issued"]
        kept = sum(row.charged - row.refunded for row in self.models.select(CustomerRow))
        assert kept == posted.get("assets:psp", 0) + value


TestCustomers: Any = CustomersMachine.TestCase
TestCustomers.settings = settings(
    max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)
