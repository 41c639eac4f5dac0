"""Chargebacks on every engine: the same money, and the same states after opening it again."""

from orderledger import Book
from orderledger.ledger import accounts
from orderledger.ledger.ports import EventStore
from tests.contested_shop import contested
from tests.model.shop import balances_of


def test_the_engines_agree_on_what_was_lost(store: EventStore) -> None:
    """Catches an engine on which a chargeback's events do not fold, or sum to other balances."""
    memory = contested()
    shop = contested(store)
    assert balances_of(store) == balances_of(memory.store)
    again = Book(store)
    assert again.payment("p1") == memory.payment()
    assert again.order("o1") == memory.order()
    assert shop.balance(accounts.disputes("cb1")) == 0
    assert shop.balance(accounts.disputes("cb2")) == 2_000
