"""
Closes, reopens, commands and reports against a model that knows nothing of the engine.

The model keeps a list of entries with the instant at which each must be effective, and a stack of
closed periods; every trial balance is summed from that list by hand.
"""

import hashlib
import itertools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.ledger.errors import NotFound, Reason, Rejected
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.sqlite import SqliteStore

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=12)
days = st.integers(-2, 14).map(lambda day: START + timedelta(days=day))
accounts = st.sampled_from(["assets:bank:a", "assets:bank:b", "income:x"])
amounts = st.one_of(st.integers(1, 5), st.sampled_from([10**24, 2**63])).flatmap(
    lambda minor: st.sampled_from([minor, -minor])
)
names = st.sampled_from(["p1", "p2", "p3", "p4"])


class Periods(RuleBasedStateMachine):
    """Two books on one store: each learns of what the other closed from the store alone."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count()
        self.entries: list[tuple[datetime, tuple[tuple[str, int], ...]]] = []
        self.closed: list[tuple[str, datetime | None, datetime]] = []
        self.ever: set[str] = set()
        self.now = NOW

    @initialize(is_sqlite=st.sampled_from([False, False, False, True]))
    def open(self, is_sqlite: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        store: EventStore = MemoryStore()
        other = store
        if is_sqlite:
            path = Path(self.folder.name) / "book.db"
            store, other = SqliteStore(path), SqliteStore(path)
        self.stores = (store, other)
        self.books = [Book(one, clock=lambda: self.now) for one in self.stores]

    @property
    def open_from(self) -> datetime | None:
        return self.closed[-1][2] if self.closed else None

    def _holds(self, at: datetime) -> str:
        return next(name for name, _, end in self.closed if at < end)

    def _refused(self, which: int, command: m.ClosePeriod | m.ReopenPeriod, reason: Reason) -> None:
        with pytest.raises(Rejected) as caught:
            self.books[which].execute(command)
        assert caught.value.reason is reason

    @rule(which=st.integers(0, 1), account=accounts, minor=amounts, at=st.none() | days)
    def post(self, which: int, account: str, minor: int, at: datetime | None) -> None:
        entry_id = f"e{next(self.numbers)}"
        legs = (m.PostingInput(account, "EUR", minor), m.PostingInput("equity:x", "EUR", -minor))
        command = m.PostEntry(entry_id=entry_id, description="x", postings=legs, occurred_at=at)
        effective = at or max(self.now, self.open_from or self.now)
        if at is not None and self.open_from is not None and at < self.open_from:
            with pytest.raises(Rejected) as caught:
                self.books[which].execute(command)
            assert caught.value.reason is Reason.PERIOD_CLOSED
            assert caught.value.facts["period"] == self._holds(at)
            return
        self.books[which].execute(command)
        self.entries.append((effective, ((account, minor), ("equity:x", -minor))))

    @rule(which=st.integers(0, 1), gross=st.integers(2, 9), at=days)
    def report(self, which: int, gross: int, at: datetime) -> None:
        entry_id = f"s{next(self.numbers)}"
        command = m.RecordSettlement(
            entry_id=entry_id,
            provider="x",
            bank="a",
            gross=gross,
            fee=1,
            currency="EUR",
            occurred_at=at,
        )
        book = self.books[which]
        book.execute(command)
        (found,) = book.read.history(f"journal-{entry_id}")
        is_moved = self.open_from is not None and at < self.open_from
        if is_moved:
            assert (found.context.reported_at, found.context.adjusts) == (at, self._holds(at))
        else:
            assert (found.context.reported_at, found.context.adjusts) == (None, None)
        effective = (is_moved and self.open_from) or at
        assert found.occurred_at == effective
        legs = (
            ("assets:bank:a", gross - 1),
            ("expenses:gateway_fees", 1),
            ("assets:psp:x", -gross),
        )
        self.entries.append((effective, legs))

    @rule(which=st.integers(0, 1), name=names, start=st.none() | days, length=st.integers(1, 5))
    def close(self, which: int, name: str, start: datetime | None, length: int) -> None:
        end = (start or self.open_from or START) + timedelta(days=length)
        command = m.ClosePeriod(period=name, start=start, end=end)
        open_from = self.open_from
        if any(name == one for one, _, _ in self.closed):
            self._refused(which, command, Reason.PERIOD_CLOSED)
        elif start is not None and (
            start != open_from
            if open_from is not None
            else any(at < start for at, _ in self.entries)
        ):
            self._refused(which, command, Reason.PERIOD_ORDER)
        elif end > self.now:
            self._refused(which, command, Reason.NOT_YET_DUE)
        else:
            self.books[which].execute(command)
            self.closed.append((name, open_from if open_from is not None else start, end))
            self.ever.add(name)
            self._check_closing(name, end)

    @precondition(lambda self: self.closed)
    @rule(which=st.integers(0, 1), length=st.integers(1, 3))
    def close_next(self, which: int, length: int) -> None:
        """Close what follows, which a random start seldom hits."""
        free = next((one for one in ("p1", "p2", "p3", "p4") if not self._is_closed(one)), None)
        if free is not None:
            self.close(which, free, self.open_from, length)

    def _is_closed(self, name: str) -> bool:
        return any(name == one for one, _, _ in self.closed)

    def _check_closing(self, name: str, end: datetime) -> None:
        sums: dict[str, int] = {}
        for at, legs in self.entries:
            for account, minor in legs if at < end else ():
                sums[account] = sums.get(account, 0) + minor
        lines = [f"{account} EUR posted {minor}\n" for account, minor in sums.items() if minor]
        found = self.books[0].read.periods()[-1]
        assert (found.period, found.end) == (name, end)
        text = "".join(sorted(lines))
        assert found.trial_balance_hash == hashlib.sha256(text.encode()).hexdigest()
        assert sum(one.debit for one in found.totals) == sum(one.credit for one in found.totals)
        assert sum(one.debit for one in found.totals) == sum(max(one, 0) for one in sums.values())

    @rule(which=st.integers(0, 1), name=names)
    def reopen(self, which: int, name: str) -> None:
        command = m.ReopenPeriod(period=name, reason="because")
        if not self._is_closed(name):
            if name in self.ever:
                self._refused(which, command, Reason.WRONG_STATE)
            else:
                with pytest.raises(NotFound):
                    self.books[which].execute(command)
        elif self.closed[-1][0] != name:
            self._refused(which, command, Reason.PERIOD_ORDER)
        else:
            self.books[which].execute(command)
            self.closed.pop()

    @rule(hours=st.integers(-30, 30))
    def let_the_clock_be(self, hours: int) -> None:
        """Set the clock, back too: it may lag behind what is closed."""
        self.now = NOW + timedelta(hours=hours)

    @invariant()
    def the_list_is_the_stack(self) -> None:
        if not hasattr(self, "books"):
            return
        listed = [one for one in self.books[1].read.periods() if one.is_closed]
        assert [(one.period, one.start, one.end) for one in listed] == self.closed
        assert self.stores[0].constraints().closed_until == self.open_from

    def teardown(self) -> None:
        if not hasattr(self, "books"):
            return
        assert list(self.books[0].read.verify()) == []
        for store in self.stores:
            store.close()
        self.folder.cleanup()


Periods.TestCase.settings = settings(stateful_step_count=25)
TestPeriods = Periods.TestCase
