"""Payouts decided at the same time on every engine: the same money is paid once."""

import threading
from concurrent.futures import ThreadPoolExecutor

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger import accounts
from orderledger.ledger.errors import Rejected
from orderledger.payout_proposals import seen_balance
from tests.contract.engines import Engine
from tests.model.shop import NOW, Shop, balances_of
from tests.projections.test_sellers import earn

RACERS = 4


def race(engine: Engine, commands: list[Command]) -> list[str]:
    """Execute each command by a book of its own at once; return "" or the refusal of each."""
    barrier = threading.Barrier(len(commands))
    books = [Book(engine.open(), clock=lambda: NOW) for _ in commands]

    def run(number: int) -> str:
        barrier.wait(timeout=30)
        try:
            books[number].execute(commands[number])
        except Rejected as refused:
            return refused.reason.value
        return ""

    with ThreadPoolExecutor(len(commands)) as pool:
        found = list(pool.map(run, range(len(commands))))
    for book in books if engine.name != "memory" else ():
        book.close()
    return found


def schedule(payout_id: str, order_id: str, seen: m.SeenBalance) -> m.SchedulePayout:
    return m.SchedulePayout(
        payout_id=payout_id,
        seller="s1",
        currency="USD",
        bank="main",
        seen=seen,
        entries=(m.ReleasedSlice(order_id, "rel-s1"),),
    )


def test_one_payout_of_a_release_wins(engine: Engine) -> None:
    """Two payouts on two machines that both pay the same release (invariant 20)."""
    shop = Shop(engine.open())
    earn(shop, "o1", "100")
    seen = seen_balance(shop.book.read, "s1", "USD")
    found = race(engine, [schedule(f"y{number}", "o1", seen) for number in range(RACERS)])
    assert sorted(found) == ["", *["already_paid_out"] * (RACERS - 1)]
    winner = f"y{found.index('')}"
    sent = m.InitiatePayout(payout_id=winner, seen=seen_balance(shop.book.read, "s1", "USD"))
    assert race(engine, [sent] * RACERS) == [""] * RACERS
    balances = balances_of(engine.open())
    assert balances[("posted", accounts.payouts(winner), "USD")] == -9_000
    assert ("posted", accounts.seller("s1"), "USD") not in balances


def test_one_payout_on_a_balance_wins(engine: Engine) -> None:
    """Payouts of different releases that are all decided on the same balance."""
    shop = Shop(engine.open())
    for number in range(RACERS):
        earn(shop, f"o{number}", "10")
    seen = seen_balance(shop.book.read, "s1", "USD")
    commands: list[Command] = [
        schedule(f"y{number}", f"o{number}", seen) for number in range(RACERS)
    ]
    found = race(engine, commands)
    assert sorted(found) == ["", *["stale_base_version"] * (RACERS - 1)]


def test_a_refund_and_a_payout_at_once(engine: Engine) -> None:
    """A payout of money that a refund took at the same moment: one of the two comes first."""
    shop = Shop(engine.open())
    earn(shop, "o1", "100")
    shop.grant("f1", 5_000)
    shop.allocate("f1")
    refund = m.RequestRefund(
        payment_id="pay-o1", op_id="f1", amount=5_000, currency="USD", refund_id="f1"
    )
    payout = schedule("y1", "o1", seen_balance(shop.book.read, "s1", "USD"))
    assert race(engine, [refund, payout]) == ["", ""]
    amount = shop.book.read.payout("y1").amount
    assert amount in (9_000, 4_500)
    sent = m.InitiatePayout(payout_id="y1", seen=seen_balance(shop.book.read, "s1", "USD"))
    refusal = shop.refusal(sent)
    assert refusal == ("" if amount == 4_500 else "amount_exceeds_available")
