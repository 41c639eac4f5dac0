"""How fast is a settlement file of 100,000 lines imported, and in how much memory?"""

import csv
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Final

import orderledger
from bench.command_line import ran
from bench.databases import durability, event_count, server
from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Measured,
    Settings,
    benchmark_name,
    main,
    measured,
)
from orderledger import Book
from orderledger.commands.decision import Command
from orderledger.commands.order_commands import PlaceOrder
from orderledger.commands.payment_commands import InitiatePayment, Purchase, RecordSucceeded
from orderledger.ledger.order_content import LineInput

LINES: Final = 100_000
QUICK_LINES: Final = 30
PROVIDER: Final = "psp"
PRICE: Final = Decimal("10.00")
FEE: Final = Decimal("0.30")
ORDERS_AT_ONCE: Final = 250
_FORMAT: Final = ("--provider", "generic", "--account", PROVIDER)


def run(settings: Settings) -> Answer:
    """Run `orderledger settlement import` once per engine, a payment a line, in its own process."""
    lines = settings.sized(LINES, QUICK_LINES)
    arms: list[Measured] = []
    facts: Facts = {"rounds": 1, "seconds per sample": "the whole file", "lines": lines}
    with (
        tempfile.TemporaryDirectory() as directory,
        server() as databases,
        databases.fresh_database() as url,
    ):
        file = _file(Path(directory) / "settled.csv", lines)
        orderledger.migrate(url)
        sqlite = f"sqlite:///{Path(directory) / 'book.db'}"
        for engine, target in (("SQLite", sqlite), ("PostgreSQL", url)):
            with orderledger.open(target) as book:
                _sell(book, lines)
                before = book.store.head().size
            found = ran("settlement", "import", str(file), *_FORMAT, target=target)
            matched = found.answer["matched"]
            assert matched == lines, f"{matched} of {lines} lines settled a payment"
            with orderledger.open(target) as book:
                events = book.store.head().size - before
            for unit, value in (
                ("lines/s", lines / found.seconds),
                ("events/s", events / found.seconds),
                ("MB RSS", found.rss_mb),
            ):
                arms.append(measured(Arm(f"{engine} import", unit, lambda _: 0.0), [value]))
            facts[f"{engine} events"] = events
            facts[f"{engine} seconds"] = round(found.seconds, 1)
        facts["events of ours"] = event_count(url)
        facts |= durability(url)
    return Answer(arms, [], facts)


def _file(file: Path, lines: int) -> Path:
    """Write a file that settles each payment once, in the order in which they were made."""
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["type", "gross", "fee", "currency", "reference", "id", "batch"])
        for number in range(lines):
            rows.writerow(["payment", PRICE, FEE, "EUR", f"ref-{number}", f"line-{number}", "b1"])
    return file


def _sell(book: Book, orders: int) -> None:
    """Fill a book with paid orders of one line, one payment each."""
    for first in range(0, orders, ORDERS_AT_ONCE):
        some = range(first, min(first + ORDERS_AT_ONCE, orders))
        book.execute_many([command for number in some for command in _paid(number)])
    while book.store.sequence():
        pass


def _paid(number: int) -> tuple[Command, ...]:
    order_id, payment_id = f"o{number}", f"p{number}"
    line = LineInput("1", "MUG", f"s{number % 100}", 1, PRICE)
    amount = int(PRICE * 100)
    return (
        PlaceOrder(order_id=order_id, buyer_ref=f"b{number}", currency="EUR", lines=(line,)),
        InitiatePayment(
            payment_id=payment_id,
            order_id=order_id,
            provider=PROVIDER,
            method="card",
            amount=amount,
            currency="EUR",
        ),
        Purchase(payment_id=payment_id, op_id="buy", amount=amount, currency="EUR"),
        RecordSucceeded(payment_id=payment_id, op_id="buy", provider_ref=f"ref-{number}"),
    )


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
