"""
A book's journal as plain-text accounting: what is written, in which order, in constant memory.

The accounts that are used, then every entry in log order, then a balance assertion for each account
and currency. Entries are read from the events themselves and the assertions from the balances, so
that the reader of the text (``bean-check``, ``hledger check``) adds up the one and compares it with
the other. The same selection with the same ``recorded_to`` gives the same bytes for ever.

Two dialects write it: ``beancount`` and ``hledger``.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final, Protocol

import msgspec

from orderledger.commands.requests import Context
from orderledger.ledger import streams
from orderledger.ledger.account_events import JournalEntryPosted, JournalEntryReversed
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import CorruptEvent, InvalidInput
from orderledger.ledger.hypothetical import require_real
from orderledger.ledger.instants import EARLIEST, in_utc
from orderledger.ledger.journal import Layer, Posting, decode_entry
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.read_ports import AccountSum
from orderledger.projections.balances import Balances
from orderledger.projections.base import read_gapless

from .progress import Progress, silent

PAGE_EVENTS: Final = 1_000
_context_decoder: Final = msgspec.json.Decoder(Context)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """
    Which entries: effective from ``start`` to ``effective_to``, recorded by ``recorded_to``.

    All bounds are inclusive. What was effective before ``start`` is carried over as one opening
    entry.
    """

    start: datetime | None = None
    effective_to: datetime | None = None
    recorded_to: datetime | None = None


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the text is of: a book, up to the last ``position`` that is included.

    ``recorded_at`` is that of this position, None for an empty book. The bounds are in UTC.
    """

    book: str
    position: int
    recorded_at: datetime | None
    start: datetime | None
    effective_to: datetime | None


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """
    One entry with what was stored around it.

    ``facts`` are names and values in the order in which they are written; ``words`` say what
    happened: the description of a manual entry, or the topic of the event. ``posted`` legs are in
    force, ``held`` ones are told and not posted.
    """

    on: date
    words: str
    facts: Sequence[tuple[str, str]]
    posted: Sequence[Posting]
    held: Sequence[Posting]


class Dialect(Protocol):
    """How one program wants it written. Every text ends with a line feed, or is empty."""

    def head(self, cover: Cover) -> str: ...

    def account(self, name: str, currencies: Sequence[str], since: date) -> str: ...

    def commodity(self, currency: str, since: date) -> str: ...

    def transaction(self, one: Transaction) -> str: ...

    def opening(self, on: date) -> str: ...

    def leg(self, leg: Posting) -> str: ...

    def assertion(self, account: str, sums: Sequence[AccountSum], last: date) -> str: ...


class Export:
    """
    One run over a book. ``chunks`` is the text; the figures are known when it has been taken.

    Raises InvalidInput for a selection that ends before it starts, and for a hypothetical book.
    """

    def __init__(
        self,
        events: EventStore,
        balances: Balances,
        dialect: Dialect,
        selection: Selection,
        progress: Progress = silent,
    ) -> None:
        require_real(events, "an export")
        self._events: Final = events
        self._balances: Final = balances
        self._dialect: Final = dialect
        self._progress: Final = progress
        self._start: Final = _in_utc(selection.start, "start")
        self._end: Final = _in_utc(selection.effective_to, "effective_to")
        if self._start is not None and self._end is not None and self._end < self._start:
            raise InvalidInput(
                f"an export from {self._start.isoformat()} to {self._end.isoformat()} ends before "
                "it starts",
                start=self._start.isoformat(),
                effective_to=self._end.isoformat(),
            )
        self.position: Final = balances.until(selection.recorded_to)
        self.transactions = 0
        self.accounts = 0
        self._last: date | None = None if self._start is None else self._start.date()

    def chunks(self) -> Iterator[str]:
        """Yield the text piece by piece."""
        yield self._dialect.head(self._cover())
        yield from self._accounts()
        yield from self._opening()
        yield from self._transactions()
        yield from self._assertions()

    def _cover(self) -> Cover:
        found = self._events.read(self.position - 1, until=self.position) if self.position else ()
        return Cover(
            book=self._events.book,
            position=self.position,
            recorded_at=_in_utc(found[0].recorded_at, "recorded_at") if found else None,
            start=self._start,
            effective_to=self._end,
        )

    def _accounts(self) -> Iterator[str]:
        """Yield each account at its first use, then each commodity at its own."""
        commodities: dict[str, date] = {}
        for name, group in groupby(self._sums(self._end), attrgetter("account")):
            sums = list(group)
            for one in sums:
                since = self._first_use(one)
                commodities[one.currency] = min(since, commodities.get(one.currency, since))
            self.accounts += 1
            first = min(self._first_use(one) for one in sums)
            yield self._dialect.account(name, [one.currency for one in sums], first)
        for currency, since in sorted(commodities.items()):
            yield self._dialect.commodity(currency, since)

    def _first_use(self, one: AccountSum) -> date:
        first = one.first_effective_at.astimezone(UTC)
        return (first if self._start is None else max(first, self._start)).date()

    def _opening(self) -> Iterator[str]:
        """Yield one entry with the balances before the start: they sum to zero as every entry."""
        if self._start is None or self._start == EARLIEST:
            return
        is_open = False
        for one in self._sums(self._start - timedelta.resolution):
            if not one.minor:
                continue
            if not is_open:
                is_open = True
                yield self._dialect.opening(self._start.date())
            yield self._dialect.leg(Posting(one.account, one.currency, one.minor))

    def _transactions(self) -> Iterator[str]:
        position = 0
        while position < self.position:
            page = read_gapless(self._events, position, self.position, PAGE_EVENTS)
            for event in page:
                effective_at = event.occurred_at.astimezone(UTC)
                if event.postings and self._is_selected(effective_at):
                    yield self._dialect.transaction(self._transaction(event, effective_at))
            position += len(page)
            self._progress("export", position, self.position)

    def _is_selected(self, effective_at: datetime) -> bool:
        return (self._start is None or self._start <= effective_at) and (
            self._end is None or effective_at <= self._end
        )

    def _transaction(self, event: StoredEvent, effective_at: datetime) -> Transaction:
        one = transaction(event, effective_at)
        if one.posted:
            self.transactions += 1
            self._last = one.on if self._last is None else max(one.on, self._last)
        return one

    def _assertions(self) -> Iterator[str]:
        if self._last is None:
            return
        yield "\n"
        for name, group in groupby(self._sums(self._end), attrgetter("account")):
            yield self._dialect.assertion(name, list(group), self._last)

    def _sums(self, effective_to: datetime | None) -> Iterator[AccountSum]:
        return self._balances.sums(
            until=self.position, layer=Layer.POSTED, effective_to=effective_to
        )


def transaction(event: StoredEvent, effective_at: datetime) -> Transaction:
    """Return a stored entry as it is written; raises CorruptEvent or UnbalancedEntry."""
    try:
        context = _context_decoder.decode(event.context)
    except msgspec.DecodeError as error:
        raise CorruptEvent(
            f"the context of stream {event.stream}, version {event.version} cannot be decoded: "
            f"{error}",
            stream=event.stream,
            version=event.version,
        ) from error
    legs = decode_entry(event.postings).postings
    words, own = _own_words(event)
    facts = [
        ("position", str(event.position)),
        ("recorded_at", _said(event.recorded_at)),
        ("effective_at", _said(effective_at)),
        ("stream", event.stream),
        ("version", str(event.version)),
        ("topic", event.topic),
        ("event_id", str(event.event_id)),
        *own,
        ("reported_at", _said(context.reported_at)),
        ("adjusts", context.adjusts or ""),
    ]
    return Transaction(
        on=effective_at.date(),
        words=words,
        facts=[fact for fact in facts if fact[1]],
        posted=[leg for leg in legs if leg.layer is Layer.POSTED],
        held=[leg for leg in legs if leg.layer is Layer.HELD],
    )


def _own_words(event: StoredEvent) -> tuple[str, list[tuple[str, str]]]:
    """Return what a manual entry says of itself; of any other event, its topic."""
    if streams.kind_of(event.stream) != "journal":
        return event.topic, []
    match decode_event(event.topic, event.payload):
        case JournalEntryPosted(entry_id=entry_id, description=description, adjusts=adjusts):
            own = [("entry_id", entry_id), ("adjusts_entry", adjusts or "")]
            return description or event.topic, own
        case JournalEntryReversed(entry_id=entry_id, reversal_id=reversal_id, reason=reason):
            return reason or event.topic, [("entry_id", entry_id), ("reversal_id", reversal_id)]
        case _:
            return event.topic, []


def said(instant: datetime) -> str:
    """Write an instant in UTC, with what it has of microseconds: ``2026-01-05T12:00:00Z``."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _said(instant: datetime | None) -> str:
    return "" if instant is None else said(instant)


def _in_utc(instant: datetime | None, field: str) -> datetime | None:
    return None if instant is None else in_utc(instant, field)
