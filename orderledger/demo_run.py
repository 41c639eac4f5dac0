"""
Running the demo's day: until the crash, after it, and the checks of what is left.
"""

import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from orderledger.book import Book
from orderledger.commands.account_commands import RecordSettlement
from orderledger.commands.requests import Context
from orderledger.config import Location
from orderledger.databases import open_store
from orderledger.ledger import accounts
from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.journal import Layer
from orderledger.ledger.money import apply_rate
from orderledger.ledger.ports import EventStore
from orderledger.reading import Reading

from .demo_crash import BATCH, batches, run_and_kill
from .demo_scenarios import PROVIDERS, interleaved, stories
from .demo_story import CURRENCY, NOW, Step, Story

CRASH_AT: Final = 0.45
"""Share of the day's batches after which the process is killed."""
EXAMPLE: Final = "refund bounced, issued again"
_PAGE: Final = 2_000
_FEE_RATE: Final = Decimal("0.015")
_PASSWORD: Final = re.compile(r"(//[^:/@]*):[^@]*@")
_context: Final = msgspec.json.Decoder(Context)


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the killed process left. ``in_flight`` commands were being appended; of them
    ``in_flight_stored`` are in the book: none or all.
    """

    acknowledged: int
    acknowledged_stored: int
    in_flight: int
    in_flight_stored: int


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold, and whether it does."""

    name: str
    ok: bool
    detail: str = ""


class Day(msgspec.Struct, kw_only=True):
    """What happened. ``balances`` are debit positive in cents, by group of accounts."""

    url: str
    book: str
    seed: int
    orders: int
    scenarios: dict[str, int] = {}
    commands: int = 0
    known: int = 0
    refused: int = 0
    surprises: list[str] = []
    crash: Crash | None = None
    events: int = 0
    topics: dict[str, int] = {}
    anomalies: dict[str, int] = {}
    balances: dict[str, int] = {}
    checks: list[Check] = []
    example: str = ""

    @property
    def is_sound(self) -> bool:
        """Tell whether everything that was checked holds."""
        return all(check.ok for check in self.checks)


def run(location: Location, seed: int, orders: int) -> Day:
    """Run the whole day: crash, restart, settlement, checks."""
    told = stories(seed, orders)
    steps = list(interleaved(told))
    day = Day(
        url=_PASSWORD.sub(r"\1:…@", location.url), book=location.book, seed=seed, orders=len(told)
    )
    day.scenarios = dict(Counter(story.kind for story in told).most_common())
    day.example = _example(told)
    last = max(1, round(len(steps) / BATCH * CRASH_AT))
    acknowledged = run_and_kill(location, seed, orders, last)
    with Book(open_store(location), clock=lambda: NOW) as book:
        day.crash = _left_behind(book.store, steps, acknowledged)
        day.known = _stored(book.store, steps)
        events_expected = _restart(book, steps, day)
        _settle(book, day)
        _look(book.store, day)
        _check(book.store, told, day, events_expected)
    return day


def shown(url: str) -> str:
    """Return a URL without its password."""
    return _PASSWORD.sub(r"\1:…@", url)


def _example(told: Sequence[Story]) -> str:
    """Return the order whose history is worth reading."""
    return next(story.order_id for story in told if story.kind == EXAMPLE)


def _key(step: Step) -> str:
    assert step.envelope.key is not None, "every step of a story has a key"
    return step.envelope.key


def _left_behind(store: EventStore, steps: Sequence[Step], acknowledged: int) -> Crash:
    done, in_flight = steps[:acknowledged], steps[acknowledged : acknowledged + BATCH]
    return Crash(
        acknowledged=len(done),
        acknowledged_stored=_stored(store, done),
        in_flight=len(in_flight),
        in_flight_stored=_stored(store, in_flight),
    )


def _stored(store: EventStore, steps: Sequence[Step]) -> int:
    found = 0
    for first in range(0, len(steps), _PAGE):
        page = steps[first : first + _PAGE]
        found += len(store.commands([key_hash(store.book, _key(step)) for step in page]))
    return found


def _restart(book: Book, steps: Sequence[Step], day: Day) -> int:
    """Tell the day again from its beginning; return how many events its commands made in all."""
    events = 0
    for batch in batches(iter(steps)):
        results = book.execute_many([step.envelope for step in batch])
        for step, result in zip(batch, results, strict=True):
            day.commands += 1
            if isinstance(result, OrderLedgerError):
                day.refused += 1
                if not step.is_refused:
                    day.surprises.append(f"{_key(step)}: {result.message}")
                continue
            if step.is_refused:
                day.surprises.append(f"{_key(step)}: it was expected to be refused")
            events += len(result.event_ids)
    return events


def _settle(book: Book, day: Day) -> None:
    """The providers pay out what they captured, less their fee."""
    reading = Reading(book.store)
    owed = {name: _of(reading, accounts.psp(name)) for name in PROVIDERS}
    reading.close()
    for provider, gross in owed.items():
        if gross <= 0:
            continue
        command = RecordSettlement(
            occurred_at=NOW,
            entry_id=f"settlement-{day.seed}-{provider}",
            provider=provider,
            bank="main",
            gross=gross,
            fee=apply_rate(gross, _FEE_RATE),
            currency=CURRENCY,
        )
        book.execute(command, key=f"demo-settlement/{day.seed}/{provider}")


def _of(reading: Reading, account: str) -> int:
    return sum(
        [total.minor for total in reading.balances_below(account) if total.layer is Layer.POSTED]
    )


def _look(store: EventStore, day: Day) -> None:
    """Count what the commands of this day's stories wrote."""
    topics: Counter[str] = Counter()
    anomalies: Counter[str] = Counter()
    position = 0
    while rows := store.read(position, limit=_PAGE):
        for row in rows:
            if not _context.decode(row.context).key.startswith(f"demo/{day.seed}/"):
                continue
            topics[row.topic] += 1
            if row.topic == "anomaly.raised.v2":
                anomalies[str(msgspec.json.decode(row.payload)["kind"])] += 1
        position += len(rows)
    day.topics = dict(sorted(topics.items()))
    day.anomalies = dict(anomalies.most_common())
    day.events = sum(topics.values())


def _check(store: EventStore, told: Sequence[Story], day: Day, events_expected: int) -> None:
    """Prove that the book is sound and that the crash cost nothing."""
    reading = Reading(store)
    balance = reading.trial_balance()
    day.balances = _grouped([(row.account, row.debit - row.credit) for row in balance.rows])
    residue = sum(total.debit - total.credit for total in balance.totals)
    findings = [finding.text for finding in reading.verify()]
    under_way = {story.order_id for story in told if story.kind == "still under way"}
    own = {story.order_id for story in told}
    open_accounts = [
        total.account
        for prefix in ("liabilities:escrow", "liabilities:refunds")
        for total in reading.balances_below(prefix)
        if total.minor and total.account.rpartition(":")[2] in own - under_way
    ]
    reading.close()
    crash = day.crash
    assert crash is not None, "the day had its crash"
    lost = crash.acknowledged - crash.acknowledged_stored
    torn = crash.in_flight_stored not in (0, crash.in_flight)
    doubled = day.events - events_expected
    day.checks = [
        Check("the trial balance is zero", balance.is_balanced and not residue),
        Check("verification finds nothing", not findings, "; ".join(findings[:3])),
        Check(
            "escrow and refunds of closed orders are zero",
            not open_accounts,
            ", ".join(open_accounts[:3]),
        ),
        Check("the crash lost nothing acknowledged", not lost, f"{lost} lost" if lost else ""),
        Check("the crash tore no transaction", not torn),
        Check("the restart doubled nothing", not doubled, f"{doubled} events" if doubled else ""),
        Check("every command did as told", not day.surprises, "; ".join(day.surprises[:3])),
    ]


def _grouped(rows: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Sum accounts that are one per order or buyer; keep the others by name."""
    sums: dict[str, int] = {}
    for account, minor in rows:
        parts = account.split(":")
        is_many = parts[1] in ("escrow", "refunds", "store_credit")
        name = f"{parts[0]}:{parts[1]}:…" if is_many else account
        sums[name] = sums.get(name, 0) + minor
    return {name: minor for name, minor in sorted(sums.items()) if minor}
