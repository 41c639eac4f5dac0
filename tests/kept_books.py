"""
Decided books and shops that a database keeps: what a test decides on folded states must be what the
executor does on a real store.

While ``kept_in`` is in force every decided book has a real one beside it, which is given the same
commands and must write the same events or refuse for the same reason, and every shop is opened
there. In the end each is read again by a process that knows nothing yet: see ``Keeping.check``.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any, Final, Protocol

import pytest

from orderledger.book import Book
from orderledger.commands.decision import Change, Changes, Command
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.folds import fold_of
from orderledger.ledger.ids import utc_now
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from tests.seeding import Fact, Seeder

PAGE: Final = 10_000
_firsts: Final = count(10**6, 10**6)
"""Where the ids of what is appended to a book begin: books of one database share no id."""
Clock = Callable[[], datetime]
OpenStore = Callable[[Clock | None], EventStore]
"""Opens an empty book; the clock gives recorded_at, None is the store's own."""


class Decided(Protocol):
    """What decides on folded states: its clock, and the states per stream."""

    @property
    def now(self) -> datetime: ...

    @property
    def states(self) -> Mapping[str, Any]: ...


class Rows:
    """What the rows of a store come to: states and balances, folded apart from the executor."""

    def __init__(self, store: EventStore) -> None:
        self._store: Final = store
        self._position = 0
        self.states: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.posted: dict[tuple[str, str], int] = {}
        """Signed minor units per account and currency, of the posted layer."""

    def follow(self) -> list[tuple[Change, datetime]]:
        """Fold what was written since, and return it with its instants."""
        found: list[tuple[Change, datetime]] = []
        for row in self._store.read(self._position, limit=PAGE):
            event, entry = decode_event(row.topic, row.payload), decode_entry(row.postings)
            fold = fold_of(row.stream)
            self.states[row.stream] = fold.apply(self.states.get(row.stream, fold.initial), event)
            self.versions[row.stream] = row.version
            for leg in entry.postings:
                if leg.layer is Layer.POSTED:
                    key = (leg.account, leg.currency)
                    self.posted[key] = self.posted.get(key, 0) + leg.minor
            found.append((Change(row.stream, event, entry), row.occurred_at))
            self._position = row.position or 0
        return found


class KeptBook:
    """A real book that is given what a decided one is given, and must agree at every step."""

    def __init__(self, store: EventStore, decided: Decided) -> None:
        self.decided: Final = decided
        self._store: Final = store
        self._book: Final = Book(store, clock=lambda: decided.now)
        self._rows: Final = Rows(store)
        self._seeder: Final = Seeder(store, first=next(_firsts), versions=self._rows.versions)
        self._executed: Changes | None = None

    def execute(self, command: Command, changes: Changes) -> None:
        """Execute a command that was decided; what is written must be what was decided."""
        self._book.execute(command)
        given = command.occurred_at or self.decided.now
        expected = [(one.stream, one.event, one.entry, one.occurred_at or given) for one in changes]
        found = [(one.stream, one.event, one.entry, at) for one, at in self._rows.follow()]
        assert found == expected, f"the executor makes something else of {command}"
        self._executed = changes

    def refuse(self, command: Command, error: OrderLedgerError) -> None:
        """Execute a command that was refused: it must be for the same reason, without a row."""
        with pytest.raises(type(error)) as caught:
            self._book.execute(command)
        assert getattr(caught.value, "reason", "") == getattr(error, "reason", "")
        assert self._rows.follow() == []

    def take(self, changes: Changes) -> None:
        """Append what no command made: history, and what a test decided by itself."""
        if changes is self._executed:
            return
        for one in changes:
            at = one.occurred_at or self.decided.now
            self._seeder.append(Fact(one.stream, one.event, one.entry, at))
        self._rows.follow()

    def check(self) -> None:
        """Assert that what is folded from the rows is what was decided."""
        self._rows.follow()
        for stream, state in self.decided.states.items():
            assert self._rows.states.get(stream, fold_of(stream).initial) == state, stream


class Keeping:
    """The stores that one example opened, and the decided books that they keep."""

    def __init__(self, open_store: OpenStore) -> None:
        self._open_store: Final = open_store
        self._stores: Final[list[EventStore]] = []
        self._books: Final[list[KeptBook]] = []

    @property
    def is_empty(self) -> bool:
        """Tell whether the example opened no book, so that nothing was shown."""
        return not self._stores

    def store(self, clock: Clock | None = None) -> EventStore:
        """Open an empty book."""
        self._stores.append(self._open_store(clock))
        return self._stores[-1]

    def book(self, decided: Decided) -> KeptBook:
        """Keep a decided book."""
        self._books.append(KeptBook(self.store(), decided))
        return self._books[-1]

    def check(self) -> None:
        """
        Assert of each book that its rows are what was decided, that the executor reads from the
        database the states which the rows fold to, that the trial balance is that of the rows and
        zero, and that verification finds nothing.
        """
        for kept in self._books:
            kept.check()
        for store in self._stores:
            _check(store)

    def close(self) -> None:
        """Close every store."""
        for store in self._stores:
            store.close()


def _check(store: EventStore) -> None:
    rows = Rows(store)
    rows.follow()
    book = Book(store)
    for stream, state in rows.states.items():
        found = book._executor.state(stream)
        assert (found.version, found.state) == (rows.versions[stream], state), stream
    trial = book.read.trial_balance()
    assert trial.is_balanced
    balances = {(one.account, one.currency): one.debit - one.credit for one in trial.rows}
    assert balances == {key: minor for key, minor in rows.posted.items() if minor}
    findings = list(book.read.verify())
    assert findings == [], findings


_in_force: list[Keeping] = []


@contextmanager
def kept_in(open_store: OpenStore) -> Iterator[Keeping]:
    """Have what is opened inside kept by stores of this kind; checked at the end, if it is got."""
    keeping = Keeping(open_store)
    _in_force.append(keeping)
    try:
        yield keeping
        keeping.check()
    finally:
        _in_force.pop()
        keeping.close()


def new_store(clock: Clock | None = None) -> EventStore:
    """Open an empty book where books are kept now: in memory unless ``kept_in`` is in force."""
    if _in_force:
        return _in_force[-1].store(clock)
    return MemoryStore(clock=clock or utc_now)


def kept_beside(decided: Decided) -> KeptBook | None:
    """Open a real book beside a decided one, if ``kept_in`` is in force."""
    return _in_force[-1].book(decided) if _in_force else None
