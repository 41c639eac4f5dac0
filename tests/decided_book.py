"""
A book without a store: commands are decided on folded states and applied in memory.

Every change must fold, every entry must balance, and the sum of all accounts is zero after each
command; so each test that uses it checks the closure of deciders (invariant 45) and the ledger
(invariant 17) as it goes. ``tests/kept_books.py`` has a real book do the same beside it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

from orderledger.commands.account_commands import CloseAccount, ConstrainAccount, FreezeAccount
from orderledger.commands.decide_accounts import constrain
from orderledger.commands.decision import (
    Change,
    Changes,
    Command,
    MissingState,
    States,
    decide,
)
from orderledger.ledger import streams
from orderledger.ledger.codec import decode_event, encode_event
from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.events import Event
from orderledger.ledger.folds import fold_of
from orderledger.ledger.journal import Entry, Layer, Posting, entry
from orderledger.ledger.order_content import OrderLine, Totals
from orderledger.ledger.order_events import OrderConfirmed, OrderPlaced
from tests.kept_books import kept_beside

for _area in ("accounts", "escrow", "fulfilment", "returns", "stored_value", "value_issue"):
    import_module(f"orderledger.commands.decide_{_area}")

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class DecidedBook:
    """States per stream, the postings in order, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = START
        self.states: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.postings: list[Posting] = []
        self.events: list[tuple[str, Event]] = []
        self._kept = kept_beside(self)

    def given(self, stream: str, *events: Event) -> None:
        """Apply events as they stand, as history that nobody decides any more."""
        if self._kept is not None:
            self._kept.take(tuple([Change(stream, event) for event in events]))
        for event in events:
            self._apply(stream, event)

    def run(self, command: Command) -> Changes:
        """Decide a command and apply its changes; raises what the decider raises."""
        try:
            changes = self._decided(command)
        except OrderLedgerError as error:
            if self._kept is not None:
                self._kept.refuse(command, error)
            raise
        if self._kept is not None:
            self._kept.execute(command, changes)
        return self.take(changes)

    def _decided(self, command: Command) -> Changes:
        loaded = _Loaded(self.states)
        while True:
            try:
                return decide(command, States(loaded), self.now)
            except MissingState as missing:
                loaded.extra.update({one: fold_of(one).initial for one in missing.streams})

    def constrain(self, command: ConstrainAccount | FreezeAccount | CloseAccount) -> Changes:
        """Decide a constraint on the balances as they are."""
        stream = streams.account(command.account)
        state = self.states.get(stream, fold_of(stream).initial)
        return self.take(constrain(command, state, self.net(command.account)))

    def refusal(self, command: Command) -> str:
        """Return the reason or the error's name with which a command is refused; "" if it runs."""
        try:
            self.run(command)
        except OrderLedgerError as error:
            return str(getattr(error, "reason", type(error).__name__))
        return ""

    def net(self, account: str) -> dict[tuple[Layer, str], int]:
        """Return an account's balance per layer and currency, debit positive."""
        sums: dict[tuple[Layer, str], int] = {}
        for leg in self.postings:
            if leg.account == account:
                key = (leg.layer, leg.currency)
                sums[key] = sums.get(key, 0) + leg.minor
        return {key: minor for key, minor in sums.items() if minor}

    def balance(self, account: str, currency: str = "USD") -> int:
        """Return the posted balance, debit positive."""
        return self.net(account).get((Layer.POSTED, currency), 0)

    def post(self, posted: Entry) -> None:
        """Post an entry by itself."""
        self.postings += posted.postings
        assert_balanced(self.postings)

    def post_text(self, text: str) -> None:
        """Post legs written as ``account currency minor`` per line, debit positive."""
        rows = (line.split() for line in text.strip().splitlines())
        self.post(
            entry(*(Posting(account, currency, int(minor)) for account, currency, minor in rows))
        )

    def kinds(self) -> list[str]:
        """Return the names of all events so far, in order."""
        return [type(event).__name__ for _, event in self.events]

    def take(self, changes: Changes) -> Changes:
        """Apply changes that somebody decided."""
        if self._kept is not None:
            self._kept.take(changes)
        for change in changes:
            self._apply(change.stream, change.event)
            self.postings += change.entry.postings
        assert_balanced(self.postings)
        return changes

    def _apply(self, stream: str, event: Event) -> None:
        topic, payload = encode_event(event)
        stored = decode_event(topic, payload)
        assert stored == event, f"{topic} does not survive storage"
        fold = fold_of(stream)
        self.states[stream] = fold.apply(self.states.get(stream, fold.initial), stored)
        self.versions[stream] = self.versions.get(stream, 0) + 1
        self.events.append((stream, event))


class _Loaded(Mapping[str, Any]):
    def __init__(self, states: Mapping[str, Any]) -> None:
        self._states = states
        self.extra: dict[str, Any] = {}

    def __getitem__(self, stream: str) -> Any:
        return self._states[stream] if stream in self._states else self.extra[stream]

    def __iter__(self) -> Any:
        return iter({**self.extra, **self._states})

    def __len__(self) -> int:
        return len({**self.extra, **self._states})


def assert_balanced(postings: list[Posting]) -> None:
    """Assert that all accounts together are zero per layer and currency."""
    sums: dict[tuple[Layer, str], int] = {}
    for leg in postings:
        sums[(leg.layer, leg.currency)] = sums.get((leg.layer, leg.currency), 0) + leg.minor
    assert not any(sums.values()), f"the book does not balance: {sums}"


def placed_order(
    order_id: str = "o1", *, currency: str = "USD", **quantities: int
) -> tuple[OrderPlaced, OrderConfirmed]:
    """Return the events of a confirmed order with lines of 1000 minor units a piece."""
    lines = tuple(
        OrderLine(
            line_id=line_id,
            sku=f"sku-{line_id}",
            seller="s1",
            quantity=quantity,
            unit_price=Decimal(10),
            amount=1000 * quantity,
            net=1000 * quantity,
        )
        for line_id, quantity in quantities.items()
    )
    items = sum(line.amount for line in lines)
    placed = OrderPlaced(
        order_id=order_id,
        buyer_ref="b1",
        channel="web",
        currency=currency,
        lines=lines,
        totals=Totals(items=items, discount=0, tax=0, shipping=0, surcharge=0, tip=0, grand=items),
    )
    return placed, OrderConfirmed(policy="on_account", authorised=0, charged=0, required=0)
