"""
Balances, the trial balance, the journal and statements of one book, on both clocks.

``recorded_to`` asks what was known then, ``effective_to`` what had happened by then; both are
inclusive and either may be left out. Every answer is as of one position of the log: the model
catches up with the head first, and later events do not leak into the answer.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar, cast

import msgspec

from orderledger.ledger.accounts import check, check_prefix, classify
from orderledger.ledger.as_of import Point, position_at
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import (
    IntegrityViolation,
    InvalidInput,
    NotFound,
    SchemaMismatch,
)
from orderledger.ledger.instants import EARLIEST, in_utc
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.model_ports import Generation, LogTable, Row
from orderledger.ledger.ports import StoredEvent
from orderledger.ledger.read_ports import (
    AccountSum,
    AccountTotal,
    Journal,
    JournalLine,
    LineSelection,
)

from .balance_answers import (
    Account,
    CurrencyTotal,
    EntryLine,
    JournalEntry,
    JournalFilter,
    Statement,
    StatementLine,
    StatementRequest,
    TrialBalance,
    TrialBalanceRow,
    Uncleared,
)
from .follow import BATCH_EVENTS
from .models import ReadModel, Recorded, Rows
from .read_models import ReadModels
from .tables import Amount, TableRow, table

NAME: Final = "balances"
PAGE_LINES: Final = 1_000
_MICROSECOND: Final = timedelta(microseconds=1)

Answer = TypeVar("Answer")


@table(
    "postings",
    key_count=2,
    # Covers every question about accounts: the sums never touch the table.
    indexes=(("account", "currency", "layer", "effective_at", "position", "line_no", "minor"),),
    is_log=True,
)
class PostingRow(TableRow, frozen=True):
    """
    One row per posting of the log, ``line_no`` counting the legs of an entry from 1.

    ``minor`` is in signed minor units of ``currency``, debit positive; ``effective_at`` is the
    world's clock, ``recorded_at`` the engine's.
    """

    position: int
    line_no: int
    account: str
    currency: str
    layer: str
    minor: Amount
    effective_at: datetime
    recorded_at: datetime


POSTINGS: Final = cast(LogTable, PostingRow.table)


class Postings(ReadModel):
    """The read model ``balances``: one row per posting, with both clocks."""

    name = NAME
    version = 1
    tables = (POSTINGS,)
    entries_only = True

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Append the lines of an entry."""
        for row in entry_rows(
            recorded.postings, recorded.position, recorded.occurred_at, recorded.recorded_at
        ):
            rows.append(POSTINGS, row)


def entry_rows(
    postings: str, position: int, effective_at: datetime, recorded_at: datetime
) -> list[Row]:
    """Return the rows of an entry; raises CorruptEvent or UnbalancedEntry."""
    return [
        (
            position,
            number,
            leg.account,
            leg.currency,
            leg.layer.value,
            leg.minor,
            effective_at,
            recorded_at,
        )
        for number, leg in enumerate(decode_entry(postings).postings, 1)
    ]


class Balances:
    """
    Answers about one book's accounts; catches up with the log before each answer.

    An answer is complete or refused: where a stream is parked (its entry cannot be read), only what
    was recorded before it is told.
    """

    def __init__(self, models: ReadModels, journal: Journal) -> None:
        self._models: Final = models
        self._events: Final = models.events
        self._journal: Final = journal

    def catch_up(self, *, batch_events: int = BATCH_EVENTS) -> int:
        """
        Bring the model up to the head and return that position.

        First gives positions to what is committed and waits for one (a host's transaction leaves
        its events so): an answer given now must know of money that has moved. Raises
        CheckpointDiverged where the model was made from another history.
        """
        return self._models.catch_up(NAME, batch_events=batch_events)

    def balance(
        self,
        account: str,
        currency: str = "",
        *,
        effective_to: datetime | None = None,
        recorded_to: datetime | None = None,
        layer: Layer = Layer.POSTED,
    ) -> dict[str, int]:
        """
        Return the account's balance per currency, in signed minor units, debit positive.

        An account that was not posted to by then has none; with ``currency`` the result always has
        that one, zero if need be.
        """
        if currency:
            exponent(currency)
        selection = LineSelection(
            until=self.until(recorded_to),
            account=check(account),
            currency=currency,
            layer=layer,
            effective_to=_in_utc(effective_to, "effective_to"),
        )
        found = {total.currency: total.minor for total in self._totals(selection)}
        return {currency: 0, **found} if currency else found

    def balances_below(
        self,
        prefix: str,
        *,
        effective_to: datetime | None = None,
        recorded_to: datetime | None = None,
        layer: Layer = Layer.POSTED,
    ) -> Sequence[AccountTotal]:
        """
        Return the balances of an account and all accounts below it, zero ones included.

        ``prefix`` is whole segments: ``liabilities:seller`` or only ``liabilities``. Sorted by
        account and currency.
        """
        return self._totals(
            LineSelection(
                until=self.until(recorded_to),
                below=check_prefix(prefix),
                layer=layer,
                effective_to=_in_utc(effective_to, "effective_to"),
            )
        )

    def trial_balance(
        self,
        *,
        effective_to: datetime | None = None,
        recorded_to: datetime | None = None,
        layer: Layer = Layer.POSTED,
    ) -> TrialBalance:
        """Return every account whose balance is not zero, and the sums; see ``TrialBalance``."""
        until = self.until(recorded_to)
        selection = LineSelection(
            until=until, layer=layer, effective_to=_in_utc(effective_to, "effective_to")
        )
        rows: list[TrialBalanceRow] = []
        sums: dict[str, tuple[int, int]] = {}
        for total in self._totals(selection):
            debit, credit = max(total.minor, 0), max(-total.minor, 0)
            before = sums.get(total.currency, (0, 0))
            sums[total.currency] = (before[0] + debit, before[1] + credit)
            if total.minor:
                rows.append(
                    TrialBalanceRow(
                        account=total.account,
                        currency=total.currency,
                        debit=debit,
                        credit=credit,
                    )
                )
        return TrialBalance(
            position=until,
            recorded_to=recorded_to,
            effective_to=effective_to,
            layer=layer,
            rows=tuple(rows),
            totals=tuple(
                CurrencyTotal(currency=currency, debit=debit, credit=credit)
                for currency, (debit, credit) in sorted(sums.items())
            ),
        )

    def accounts(
        self, prefix: str = "", *, recorded_to: datetime | None = None
    ) -> Sequence[Account]:
        """Return every account in use, or those below a prefix, by name. Both layers count."""
        selection = LineSelection(until=self.until(recorded_to), below=check_prefix(prefix))
        return [
            Account(
                account=use.account,
                side=classify(use.account).side,
                must_be_zero=classify(use.account).must_be_zero,
                line_count=use.line_count,
                first_effective_at=use.first_effective_at,
                last_effective_at=use.last_effective_at,
                first_position=use.first_position,
                last_position=use.last_position,
            )
            for use in self._ask(lambda live: self._journal.uses(live, selection))
        ]

    def clearing(
        self, *, effective_to: datetime | None = None, recorded_to: datetime | None = None
    ) -> Sequence[Uncleared]:
        """
        Return every account that must be zero and is not, by account and currency.

        Cost: the sums of all accounts, and the lines of those that it returns.
        """
        until = self.until(recorded_to)
        selection = LineSelection(
            until=until, layer=Layer.POSTED, effective_to=_in_utc(effective_to, "effective_to")
        )
        return [
            self._uncleared(total, selection)
            for total in self._totals(selection)
            if total.minor and classify(total.account).must_be_zero
        ]

    def _uncleared(self, total: AccountTotal, selection: LineSelection) -> Uncleared:
        balance, since = 0, None
        own = msgspec.structs.replace(selection, account=total.account, currency=total.currency)
        for line in self._lines_by_effect(own):
            if balance == 0:
                since = line
            balance += line.minor
        if since is None or balance != total.minor:
            raise IntegrityViolation(
                f"the lines of {total.account} come to {balance} {total.currency} minor units, "
                f"their sum is {total.minor}; run `orderledger verify`",
                account=total.account,
                currency=total.currency,
            )
        return Uncleared(
            account=total.account,
            currency=total.currency,
            subject=total.account.removeprefix(f"{classify(total.account).prefix}:"),
            minor=total.minor,
            since=since.effective_at,
            position=since.position,
        )

    def balance_at(self, account: str, currency: str, layer: Layer, point: Point) -> int:
        """
        Return one balance as of a point of the log, in signed minor units, debit positive.

        Zero where nothing was posted by then. Raises InvalidInput for a position beyond the head.
        """
        exponent(currency)
        until = self.until(None, point.position)
        if point.position > until:
            raise InvalidInput(
                f"position {point.position} is beyond the head of book {self._events.book} at "
                f"{until}",
                position=point.position,
                head=until,
            )
        selection = LineSelection(
            until=until,
            account=check(account),
            currency=currency,
            layer=layer,
            effective_to=_in_utc(point.effective_to, "effective_to"),
        )
        return sum([total.minor for total in self._totals(selection)])

    def journal(self, wanted: JournalFilter) -> Iterator[JournalEntry]:
        """
        Iterate over entries in log order, a page at a time, in constant memory.

        An entry that touches the account is given whole, with its other legs.
        """
        return map(_entry, self.events(wanted))

    def events(self, wanted: JournalFilter) -> Iterator[StoredEvent]:
        """Iterate over the stored events of the entries that ``journal`` gives."""
        first = _position(wanted.first_position, "first_position")
        last = wanted.last_position
        until = self.until(
            wanted.recorded_to, None if last is None else _position(last, "last_position")
        )
        selection = LineSelection(
            until=until,
            account=check(wanted.account) if wanted.account else "",
            effective_from=_in_utc(wanted.effective_from, "effective_from"),
            effective_to=_in_utc(wanted.effective_to, "effective_to"),
        )
        if first > until:
            return
        after = (max(first, 1), 0)
        while True:
            page = self._page(selection, after)
            yield from self._events_at(sorted({line.position for line in page}))
            if len(page) < PAGE_LINES:
                return
            # The rest of the last entry's lines may stand on the next page; it is given already.
            after = (page[-1].position + 1, 0)

    def statement(self, wanted: StatementRequest) -> Statement:
        """Return the statement of one account; its lines are held in memory."""
        start, end = in_utc(wanted.start, "start"), in_utc(wanted.end, "end")
        exponent(wanted.currency)
        if end < start:
            raise InvalidInput(
                f"a statement from {wanted.start} to {wanted.end} ends before it starts",
                start=str(wanted.start),
                end=str(wanted.end),
            )
        until = self.until(wanted.recorded_to)
        recorded_to = wanted.recorded_to or self._recorded_at(until)
        whole = LineSelection(
            until=until,
            account=check(wanted.account),
            currency=wanted.currency,
            layer=wanted.layer,
            effective_to=_before(start),
        )
        # Nothing is before the first instant of all.
        totals = () if start == EARLIEST else self._totals(whole)
        opening = sum(total.minor for total in totals)
        balance = opening
        lines: list[StatementLine] = []
        # [start, end): the bounds of a selection are inclusive and instants have microseconds.
        selection = msgspec.structs.replace(whole, effective_from=start, effective_to=_before(end))
        for line in self._lines_by_effect(selection) if start < end else ():
            balance += line.minor
            lines.append(
                StatementLine(
                    position=line.position,
                    line_no=line.line_no,
                    effective_at=line.effective_at,
                    recorded_at=line.recorded_at,
                    minor=line.minor,
                    balance=balance,
                )
            )
        return Statement(
            account=wanted.account,
            currency=wanted.currency,
            layer=wanted.layer,
            start=wanted.start,
            end=wanted.end,
            recorded_to=recorded_to,
            opening=opening,
            lines=tuple(lines),
            closing=balance,
        )

    def sums(
        self,
        *,
        until: int,
        layer: Layer,
        effective_from: datetime | None = None,
        effective_to: datetime | None = None,
    ) -> Iterator[AccountSum]:
        """
        Iterate over the sums per account and currency, in that order, a page at a time.

        Over what was recorded at ``until`` or before: a position that ``until`` gave. Accounts
        whose sum is zero are included, those without a line are not.
        """
        selection = LineSelection(
            until=until,
            layer=layer,
            effective_from=_in_utc(effective_from, "effective_from"),
            effective_to=_in_utc(effective_to, "effective_to"),
        )
        after = ("", "")
        while True:
            page = self._sums_page(selection, after)
            yield from page
            if len(page) < PAGE_LINES:
                return
            after = (page[-1].account, page[-1].currency)

    def _sums_page(self, selection: LineSelection, after: tuple[str, str]) -> Sequence[AccountSum]:
        return self._ask(lambda live: self._journal.sums(live, selection, after, PAGE_LINES))

    def until(self, recorded_to: datetime | None, last_position: int | None = None) -> int:
        """
        Catch up with the head and return the last position recorded by an instant, or the head.

        No position beyond ``last_position`` is returned.

        Raises IntegrityViolation where an entry up to there cannot be read.
        """
        follower = self._models.caught_up(NAME)
        until = follower.generation.position
        if recorded_to is not None:
            until = min(until, position_at(self._events, in_utc(recorded_to, "recorded_to")))
        if last_position is not None:
            until = min(until, last_position)
        for stream, position in follower.parked.items():
            if position <= until:
                raise IntegrityViolation(
                    f"the balances lack stream {stream} from position {position} on, where an "
                    "entry cannot be read: see `orderledger projection parked balances`; what was "
                    "recorded before it can be asked for",
                    stream=stream,
                    position=position,
                )
        return until

    def _ask(self, question: Callable[[Generation], Answer]) -> Answer:
        """Ask the generation that serves; again where it was swapped out and dropped meanwhile."""
        while True:
            live = self._models.live(NAME)
            if live is None:
                raise NotFound(f"the balances of book {self._events.book} are not made yet")
            try:
                return question(live)
            except SchemaMismatch:
                if self._models.live(NAME) == live:
                    raise

    def _recorded_at(self, position: int) -> datetime | None:
        found = self._events.read(position - 1, until=position, limit=1) if position else ()
        return found[0].recorded_at if found else None

    def _totals(self, selection: LineSelection) -> Sequence[AccountTotal]:
        return self._ask(lambda live: self._journal.totals(live, selection))

    def _page(self, selection: LineSelection, after: tuple[int, int]) -> Sequence[JournalLine]:
        return self._ask(lambda live: self._journal.lines(live, selection, after, PAGE_LINES))

    def _page_by_effect(
        self, selection: LineSelection, after: tuple[datetime, int, int] | None
    ) -> Sequence[JournalLine]:
        return self._ask(
            lambda live: self._journal.lines_by_effect(live, selection, after, PAGE_LINES)
        )

    def _lines_by_effect(self, selection: LineSelection) -> Iterator[JournalLine]:
        after: tuple[datetime, int, int] | None = None
        while True:
            page = self._page_by_effect(selection, after)
            yield from page
            if len(page) < PAGE_LINES:
                return
            after = (page[-1].effective_at, page[-1].position, page[-1].line_no)

    def _events_at(self, positions: Sequence[int]) -> Iterator[StoredEvent]:
        """Read events in runs: neighbours in one query, without reading far more than is wanted."""
        wanted = set(positions)
        start = 0
        while start < len(positions):
            stop = start + 1
            while stop < len(positions) and positions[stop] - positions[stop - 1] <= _RUN_GAP:
                stop += 1
            first, last = positions[start], positions[stop - 1]
            for event in self._events.read(first - 1, until=last, limit=last - first + 1):
                if event.position in wanted:
                    yield event
            start = stop


_RUN_GAP: Final = 8
"""Positions between two wanted events that cost less to read along than a query of their own."""


def _entry(event: StoredEvent) -> JournalEntry:
    if event.position is None or event.recorded_at is None:
        raise ValueError(f"event {event.event_id} has no position yet")
    return JournalEntry(
        position=event.position,
        recorded_at=event.recorded_at,
        effective_at=event.occurred_at,
        stream=event.stream,
        version=event.version,
        topic=event.topic,
        lines=tuple(
            EntryLine(leg.account, leg.currency, leg.layer, leg.minor)
            for leg in decode_entry(event.postings).postings
        ),
    )


def _in_utc(instant: datetime | None, field: str) -> datetime | None:
    return None if instant is None else in_utc(instant, field)


def _before(instant: datetime) -> datetime:
    return max(instant, EARLIEST + _MICROSECOND) - _MICROSECOND


def _position(value: int, field: str) -> int:
    if type(value) is not int:
        raise InvalidInput(f"{field} is {value!r:.80}; it must be an integer", field=field)
    return value


__all__ = [
    "Account",
    "Balances",
    "CurrencyTotal",
    "EntryLine",
    "JournalEntry",
    "JournalFilter",
    "PostingRow",
    "Postings",
    "Statement",
    "StatementLine",
    "StatementRequest",
    "TrialBalance",
    "TrialBalanceRow",
    "Uncleared",
]
