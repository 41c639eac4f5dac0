"""The envelope names the rule book that an event was decided under, on every engine."""

from orderledger.book import Book
from orderledger.ledger.ports import EventStore
from orderledger.reading import Reading
from tests.dispute_shop import DisputeShop


def test_what_a_rule_book_decided_names_it(store: EventStore) -> None:
    """Catches a ruling, a freeze or a default of which nobody can tell by which rules it was."""
    shop = DisputeShop(store)
    for step in shop.steps():
        step()
    reading = Reading(store)
    edition = reading.dispute("d1").rule_book.edition
    dispute = {one.context.rulebook_version for one in reading.history("dispute-d1")}
    assert dispute == {edition}
    of_order = {
        type(one.event).__name__: one.context.rulebook_version
        for one in reading.history("order-o1")
    }
    assert of_order["OrderPlaced"] is None, "no rule book decides what is sold"
    assert of_order["DisputeOpened"] == edition
    assert of_order["FundsFrozen"] == edition
    assert list(Book(store).read.verify()) == []
