"""
Running the marketplace month: its stories, the worker at its end, and what came of it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from orderledger.book import Book
from orderledger.config import Location
from orderledger.databases import open_store
from orderledger.ledger.errors import InvalidInput
from orderledger.ledger.ports import EventStore

from .demo_market_case import statement_of, told_case
from .demo_market_chargebacks import CHARGEBACKS
from .demo_market_checks import Export, check, exported
from .demo_market_disputes import DISPUTES
from .demo_market_machinery import MACHINERY, run_worker, work_done
from .demo_market_orders import ORDERS
from .demo_market_payouts import PAYOUTS
from .demo_market_risk import POLICY, RISK
from .demo_market_rulings import RULINGS
from .demo_market_settlement import SETTLEMENT
from .demo_market_world import LAST, Case, Clock, Market, Tale
from .demo_run import Check, shown

STORIES: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    **MACHINERY,
    **ORDERS,
    **DISPUTES,
    **RULINGS,
    **CHARGEBACKS,
    **PAYOUTS,
    **RISK,
    **SETTLEMENT,
}
"""Every path of the month: how often it is gone, and its story."""
EXAMPLE: Final = "panel-0"
"""The story whose dispute is worth reading."""
SELLER: Final = "elena"
"""Whose statement is shown: paid, in debt, and paid again."""
_PAGE: Final = 2_000
_FIRST_KEY: Final = "opening-0/001"


class Month(msgspec.Struct, kw_only=True):
    """
    What happened. ``balances`` are by currency and group of accounts, debit positive in minor
    units; ``case`` and ``statement`` are rows of what the month shows at its end.
    """

    url: str
    book: str
    seed: int
    stories: dict[str, int] = {}
    commands: int = 0
    known: int = 0
    refused: int = 0
    surprises: list[str] = []
    events: int = 0
    topics: dict[str, int] = {}
    anomalies: dict[str, int] = {}
    work: dict[str, int] = {}
    balances: dict[str, dict[str, int]] = {}
    case: list[tuple[str, str]] = []
    statement: list[tuple[str, str, int, int]] = []
    exports: list[Export] = []
    checks: list[Check] = []

    @property
    def is_sound(self) -> bool:
        """Tell whether everything that was checked holds."""
        return all(one.ok for one in self.checks)


def run(location: Location, seed: int, directory: Path) -> Month:
    """Play the whole month in a book, export it to a directory, and check what is left."""
    month = Month(url=shown(location.url), book=location.book, seed=seed)
    clock = Clock()
    market = Market(open_store(location, clock=clock), seed, clock)
    with market.book as book:
        _check_same_month(book.store, market)
        book.keep_to(POLICY)
        # The reactors begin here: what was before calls for nothing.
        market.settle()
        _play(market, month)
        run_worker(market)
        month.work = work_done(market)
        month.commands, month.known = market.counts["commands"], market.counts["known"]
        month.refused, month.surprises = market.counts["refused"], market.surprises
        _count(book.store, month)
        month.balances = _balances(book)
        month.case = list(told_case(book, f"m{seed}-{EXAMPLE}-dispute"))
        month.statement = list(statement_of(book, SELLER))
        month.exports = [exported(book, directory, one) for one in ("beancount", "hledger")]
        month.checks = check(market, month.exports)
    return month


def _check_same_month(store: EventStore, market: Market) -> None:
    """Refuse a book in which something else stands, another seed's month for instance."""
    if store.head().size and not market.knows(f"demo-market/{market.seed}/{_FIRST_KEY}"):
        raise InvalidInput(
            f"book {store.book} has other events than a month of seed {market.seed}; name another "
            "one",
            book=store.book,
            seed=market.seed,
        )


def _play(market: Market, month: Month) -> None:
    tales: list[Tale] = []
    for kind, (number, tell) in STORIES.items():
        month.stories[kind] = number
        name = tell.__name__.replace("_", "-")
        tales.extend([tell(Case(market, f"{name}-{index}")) for index in range(number)])
    market.play(tales)
    market.pass_until(LAST)
    market.book.machinery.settle()


def _count(store: EventStore, month: Month) -> None:
    """Count the events of the book by topic, and the anomalies by kind."""
    topics: Counter[str] = Counter()
    anomalies: Counter[str] = Counter()
    position = 0
    while rows := store.read(position, limit=_PAGE):
        topics.update([row.topic for row in rows])
        found = [row for row in rows if row.topic == "anomaly.raised.v2"]
        anomalies.update([str(msgspec.json.decode(row.payload)["kind"]) for row in found])
        position += len(rows)
    month.events = position
    month.topics = dict(sorted(topics.items()))
    month.anomalies = dict(anomalies.most_common())


def _balances(book: Book) -> dict[str, dict[str, int]]:
    """Sum accounts that are one per order, buyer or case; keep the others by name."""
    sums: dict[str, dict[str, int]] = {}
    for row in book.read.trial_balance().rows:
        parts = row.account.split(":")
        is_many = parts[1] in ("escrow", "refunds", "store_credit", "loyalty", "disputes")
        name = f"{parts[0]}:{parts[1]}:…" if is_many else row.account
        one = sums.setdefault(row.currency, {})
        one[name] = one.get(name, 0) + row.debit - row.credit
    return {
        currency: {name: minor for name, minor in sorted(one.items()) if minor}
        for currency, one in sorted(sums.items())
    }
