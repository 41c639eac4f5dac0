"""
The machinery of the marketplace month at work: what providers do wrong, the queue, and a worker.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Final

from orderledger.commands.account_commands import PostEntry, PostingInput
from orderledger.commands.order_commands import AddNote
from orderledger.commands.payment_commands import RetryRefund
from orderledger.ledger import accounts
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.testing.fakes import Failure
from orderledger.worker import Pace

from .demo_market_sales import Sale, sold
from .demo_market_world import BANK, CAPITAL, CURRENCY, Case, Market, Tale

NOTES: Final = 6
"""Commands that are queued at the month's end for the worker."""
_PATIENCE_S: Final = 20
_PACE: Final = Pace(busy_rest_s=0.001, idle_rest_s=0.01)


def opening(case: Case) -> Tale:
    """What the market has in the bank when the month begins."""
    legs = (
        PostingInput(accounts.bank(BANK), CURRENCY, CAPITAL),
        PostingInput(accounts.OPENING, CURRENCY, -CAPITAL),
    )
    case.do(PostEntry(entry_id=case.part("capital"), description="own funds", postings=legs))
    yield case.after(minutes=1)


def out_of_reach(case: Case) -> Tale:
    """The gateway is out of reach: the outbox tries again by itself, and the order is confirmed."""
    yield case.on(11)
    sale = Sale(case, "hanna")
    sale.place()
    if case.is_new():
        case.market.world.gateway.fail(Failure.NOT_SENT)
    sale.purchase()
    yield case.after(hours=1)
    # Nothing happened since: it is time that lets the outbox try again.
    case.market.stir()
    case.settle()
    sale.deliver()
    sale.meet()


def refund_declined(case: Case) -> Tale:
    """The provider declines a refund; it is tried again on the same grant, and succeeds."""
    yield case.on(12)
    sale = sold(case, "hanna")
    sale.deliver()
    yield case.after(days=1)
    if case.is_new():
        case.market.world.gateway.fail(Failure.DECLINED)
    refund_id = sale.refund_unit()
    yield case.after(hours=3)
    case.do(
        RetryRefund(
            payment_id=sale.payment_id,
            order_id=case.id,
            op_id=case.part("retry"),
            amount=sale.line_amount() // 2,
            currency=CURRENCY,
            refund_id=refund_id,
        )
    )
    case.settle()
    sale.meet()


def run_worker(market: Market) -> None:
    """Queue notes on orders and let a worker do all the work of the book until none is left."""
    case = Case(market, "plain-0")
    for number in range(NOTES):
        note = AddNote(order_id=case.id, note_ref=f"vault:note-{number}", by="clerk")
        market.book.enqueue(note, key=case.key(f"note-{number}"))
    worker = market.book.worker(pace=_PACE)
    thread = threading.Thread(target=worker.run, name="demo-worker")
    thread.start()
    keys = [case.key(f"note-{number}") for number in range(NOTES)]
    try:
        for key in keys:
            _wait(market, key)
    finally:
        worker.stop()
        thread.join(_PATIENCE_S)


def _wait(market: Market, key: str) -> None:
    """Wait until a queued command was answered."""
    pause = threading.Event()
    for _ in range(_PATIENCE_S * 50):
        if market.book.ticket(key).status is not WorkStatus.WAITING:
            return
        pause.wait(0.02)


def work_done(market: Market) -> dict[str, int]:
    """Return how many pieces of work stand how: ``lane, status`` → count."""
    found: dict[str, int] = {}
    for lane in Lane:
        for work in market.book.machinery.list_work(lane, tuple(WorkStatus)):
            name = f"{lane.value}, {work.status.value}"
            found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


MACHINERY: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "own funds": (1, opening),
    "gateway out of reach": (1, out_of_reach),
    "refund declined, tried again": (1, refund_declined),
}
"""By what the machinery meets: how many, and their story."""
