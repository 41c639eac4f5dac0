"""A dispute on every engine: the same course, and one winner where two file at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import deadlines_of
from orderledger.ledger.errors import OrderLedgerError, Rejected
from orderledger.ledger.ports import EventStore
from orderledger.reading import Reading
from tests.dispute_book import HOUR, file
from tests.dispute_shop import DisputeShop


def test_a_whole_course(store: EventStore) -> None:
    """A dispute that ends otherwise on one engine than in memory."""
    here, there = DisputeShop(store), DisputeShop()
    for step, other in zip(here.steps(), there.steps(), strict=True):
        step()
        other()
    states = [Reading(shop.store).dispute("d1") for shop in (here, there)]
    assert states[0] == states[1]
    assert states[0].stage is Stage.EXECUTED
    assert here.order() == there.order()


def _together(store: EventStore, commands: list[Command], shop: DisputeShop) -> list[str]:
    barrier = threading.Barrier(len(commands))

    def run(command: Command) -> str:
        book = Book(store, clock=lambda: shop.now)
        barrier.wait(timeout=30)
        try:
            book.execute(command)
        except Rejected as refusal:
            return refusal.reason.value
        except OrderLedgerError as error:
            return type(error).__name__
        return ""

    with ThreadPoolExecutor(len(commands)) as pool:
        return sorted(pool.map(run, commands))


def test_one_of_many_filings_about_a_line(store: EventStore) -> None:
    """Two disputes that both see the line free, and claim it twice."""
    shop = DisputeShop(store)
    when = {"placed_at": shop.now - HOUR, "delivered_at": None}
    filings: list[Command] = [file(f"d{number}", **when) for number in range(6)]
    assert _together(store, filings, shop) == ["", *["dispute_open"] * 5]


def test_a_deadline_is_performed_once_by_many_sweepers(store: EventStore) -> None:
    """A default award that two sweepers both make (invariant 43)."""
    shop = DisputeShop(store)
    shop.run(file(placed_at=shop.now - HOUR, delivered_at=None))
    shop.run(m.AcceptDispute(dispute_id="d1", by="clerk"))
    reading = Reading(store)
    (first, _) = deadlines_of(reading.dispute("d1"))
    shop.now = first.due_at
    sweeps: list[Command] = [
        m.PerformDisputeDeadline(
            dispute_id="d1", deadline_id=first.deadline_id, occurred_at=first.due_at
        )
    ] * 6
    assert _together(store, sweeps, shop) == [""] * 6
    told = [one for one in reading.history("dispute-d1") if "deadline_missed" in one.topic]
    assert [one.occurred_at for one in told] == [first.due_at]
