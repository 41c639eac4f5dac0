"""The timer of a chargeback's defence, by the sweeper."""

from datetime import timedelta

from orderledger.commands.order_commands import ConfirmOrder
from tests.chargebacks_book import opened, report
from tests.machinery.shop import (
    START,
    Clock,
    authorise,
    capture,
    events_of,
    initiate,
    open_book,
    place,
    run,
    succeeded,
)

DAY = timedelta(days=1)


def test_a_chargeback_that_nobody_answers_is_lost_at_its_instant() -> None:
    """Catches money that stays contested for ever, or a loss dated by the sweeper's clock."""
    clock = Clock()
    book = open_book(clock)
    run(book, place(), initiate(), authorise(), succeeded("p1", "auth"))
    run(book, ConfirmOrder(order_id="o1"), capture(), succeeded("p1", "capture"))
    due_at = START + 7 * DAY
    run(book, opened(1_000, chargeback_id="cb/1", evidence_due_by=due_at))
    run(book, opened(500, chargeback_id="cb2", evidence_due_by=due_at))
    run(book, report("won", chargeback_id="cb2"))
    (deadline,) = book.machinery.deadlines()
    assert (deadline.kind, deadline.due_at) == ("chargeback_defence", due_at)
    clock.move(days=30)
    assert book.sweep().performed == 1
    assert book.payment("p1").chargebacks["cb/1"].status == "lost"
    (event,) = [one for one in book.read.history("payment-p1") if "defence" in one.topic]
    assert event.occurred_at == due_at
    assert "ChargebackLossAssigned" in events_of(book, "payment-p1")
    assert list(book.machinery.deadlines()) == []
    assert book.sweep().performed == 0
