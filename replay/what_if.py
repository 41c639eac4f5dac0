"""
What if: a book forked at a position, with edits and commands of a scenario; and the difference.

Nothing of it is written anywhere: the fork reads the book and keeps what is new in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from orderledger.commands.risk_hook import RiskHook
from orderledger.ledger import accounts
from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.codec import decode_event
from orderledger.ledger.errors import (
    InvalidInput,
    NotFound,
    OrderLedgerError,
    Rejected,
    StorageError,
    Unavailable,
    UnbalancedEntry,
)
from orderledger.ledger.folds import fold_of
from orderledger.ledger.hypothetical import MARK, EditedLog, Edits, Fork
from orderledger.ledger.instants import EARLIEST
from orderledger.ledger.journal import Layer, Posting, decode_entry
from orderledger.ledger.model_ports import Generation, ModelStore
from orderledger.ledger.orders import OrderState
from orderledger.ledger.ports import EventStore, StoredEvent
from orderledger.ledger.streams import id_of, kind_of, order
from orderledger.projections.compare import differences
from orderledger.projections.follow import Follower
from orderledger.projections.models import ReadModel, fingerprint
from orderledger.projections.seller_standing import SellerStanding
from orderledger.projections.skips import skipped_of

from .causes import cause_of
from .course import Course, OpenFork
from .diff import RowChange, row_change
from .diff_balances import Account, BalanceChange, Moved
from .findings import Check, Finding, Severity
from .history import RecordedEvent, recorded
from .scenarios import Given, Scenario, edits_of, standing_policy_of, steps_of
from .verify_streams import fold_findings

POSTED: Final = Layer.POSTED
_ESCROW: Final = accounts.escrow("x").removesuffix("x")


class StepOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    What came of a command: its events; or its refusal, with ``error`` the name of its class and
    ``reason`` that of the domain.
    """

    command: str
    at: datetime
    events: tuple[RecordedEvent, ...] = ()
    error: str = ""
    reason: str = ""
    message: str = ""


class ChangedField(msgspec.Struct, frozen=True):
    """A field of a state, as it is and as it would be."""

    name: str
    before: Any
    after: Any


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """
    A stream whose state is another, and the versions of the two; 0 where it has no events.

    A state that cannot be folded is told among the findings, and shows as absent.
    """

    stream: str
    version_before: int
    version_after: int
    fields: tuple[ChangedField, ...]


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """
    The difference between a book as of a position and what a scenario supposes.

    It did not happen. ``balances`` are posted, ``held`` those of holds. Positions in ``entries``
    are those of the hypothetical log, but for entries that fall away, which have the book's.
    ``rows`` are of the read models that were asked for. ``findings`` are what is wrong with the
    hypothesis and not with the book.
    """

    hypothetical: str = MARK
    is_hypothetical: bool = True
    book: str
    title: str
    position: int
    steps: tuple[StepOutcome, ...]
    balances: tuple[BalanceChange, ...]
    held: tuple[BalanceChange, ...]
    rows: tuple[RowChange, ...]
    states: tuple[StateChange, ...]
    findings: tuple[Finding, ...]


BalanceAt = Callable[[str, str, Layer], int]
"""Returns a balance of the book where it is forked, in signed minor units, debit positive."""


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What a what-if needs of the book's front door."""

    open_fork: OpenFork
    open_models: Callable[[EventStore], ModelStore]
    model: Callable[[str], ReadModel]
    """Returns a read model by name; raises NotFound."""
    balance_at: BalanceAt
    risk: RiskHook | None = None
    """What guarded commands are held to."""


def what_if(log: LogAsOf, scenario: Scenario, around: Around) -> WhatIf:
    """
    Return what would be different if a scenario were so, on a log as of a position.

    A command that is refused is told as such, and the next one is given. Raises InvalidInput,
    naming the field, for a scenario that does not fit the book; NotFound for an unknown model.
    """
    edits, steps = edits_of(log, scenario), steps_of(scenario)
    models = _models(scenario, around)
    if not (steps or edits.first or bytes(scenario.standing)):
        raise InvalidInput("the scenario supposes nothing: it has no edit, command or standing")
    edited = EditedLog(log, edits) if edits.first else log
    instants = _instants(edited, steps)
    course = Course(edited, around.open_fork, instants[0] if instants else EARLIEST, around.risk)
    try:
        outcomes = [_taken(course, one, at) for one, at in zip(steps, instants, strict=True)]
    finally:
        course.close()
    touched = Touched(log, edits, course.fork)
    compared = [_compared(log, course.fork, pair, around) for pair in models]
    return WhatIf(
        book=log.book,
        title=scenario.title,
        position=log.point.position,
        steps=tuple(outcomes),
        balances=touched.balances(around.balance_at, Layer.POSTED),
        held=touched.balances(around.balance_at, Layer.HELD),
        rows=tuple([row for rows, _ in compared for row in rows]),
        states=tuple(_states(log, course.fork, [*touched.streams, *scenario.streams])),
        findings=(
            *_findings(log, course.fork, touched, around.balance_at),
            *[one for _, parked in compared for one in parked],
        ),
    )


def _models(scenario: Scenario, around: Around) -> list[tuple[ReadModel, ReadModel]]:
    """Return the read models to be compared, each as it is and as it is supposed to be."""
    policy = standing_policy_of(scenario)
    names = list(scenario.models)
    if policy is not None and SellerStanding.name not in names:
        names.append(SellerStanding.name)
    found = [around.model(name) for name in names]
    return [
        (one, SellerStanding(policy) if policy and one.name == SellerStanding.name else one)
        for one in found
    ]


def _instants(log: LogAsOf, steps: Sequence[Given]) -> list[datetime]:
    """Return what the clock says at each command."""
    found: list[datetime] = []
    at = log.head().recorded_at
    for number, step in enumerate(steps):
        if step.at is not None and found and step.at < found[-1]:
            raise InvalidInput(
                f"commands[{number}].at is {step.at}, before that of the command before it"
            )
        at = step.at or at
        if at is None:
            raise InvalidInput(f"commands[{number}].at is missing: book {log.book} has no events")
        found.append(at)
    return found


def _taken(course: Course, step: Given, at: datetime) -> StepOutcome:
    course.now = at
    name = type(step.command).__name__
    try:
        rows = course.give(step.command, step.actor)
    except (Unavailable, StorageError):
        raise
    except OrderLedgerError as error:
        reason = error.reason.value if isinstance(error, Rejected) else ""
        return StepOutcome(
            command=name, at=at, error=type(error).__name__, reason=reason, message=error.message
        )
    return StepOutcome(command=name, at=at, events=tuple([recorded(row) for row in rows]))


class Touched:
    """The events in which a hypothesis differs from the book: those it lacks, those it adds."""

    def __init__(self, log: LogAsOf, edits: Edits, fork: Fork) -> None:
        self._gone: Final[list[StoredEvent]] = []
        self.added: Final[list[StoredEvent]] = []
        edited = fork.log
        for position in sorted({*edits.omitted, *edits.replaced}):
            self._gone.extend(log.read(position - 1, until=position, limit=1))
            if position in edits.replaced and isinstance(edited, EditedLog):
                place = edited.place_of(position)
                self.added.extend(edited.read(place - 1, until=place, limit=1))
        if isinstance(edited, EditedLog):
            self.added.extend(edited.injected)
        self.added.extend(fork.written)

    @property
    def streams(self) -> list[str]:
        """The streams that are touched, by name."""
        return sorted({row.stream for row in (*self._gone, *self.added)})

    @property
    def accounts(self) -> set[Account]:
        """The accounts that are touched in the posted layer, with the currency."""
        return {key for key, entries in self._moved(Layer.POSTED).items() if entries}

    def _moved(self, layer: Layer) -> dict[Account, list[Moved]]:
        found: dict[Account, list[Moved]] = {}
        for rows, sign in ((self._gone, -1), (self.added, 1)):
            for row in rows:
                sums: dict[Account, int] = {}
                for leg in legs_of(row):
                    if leg.layer is layer:
                        key = (leg.account, leg.currency)
                        sums[key] = sums.get(key, 0) + leg.minor
                for key, minor in sums.items():
                    moved = Moved(minor=sign * minor, cause=cause_of(row))
                    found.setdefault(key, []).append(moved)
        return found

    def balances(self, balance_at: BalanceAt, layer: Layer) -> tuple[BalanceChange, ...]:
        """Return the accounts whose entries differ, by account and currency."""
        found: list[BalanceChange] = []
        for (account, currency), entries in sorted(self._moved(layer).items()):
            before = balance_at(account, currency, layer)
            after = before + sum([one.minor for one in entries])
            if after == before and _cancel(entries):
                continue
            found.append(
                BalanceChange(
                    account=account,
                    currency=currency,
                    before=before,
                    after=after,
                    entries=tuple(entries),
                )
            )
        return tuple(found)


def _cancel(entries: Sequence[Moved]) -> bool:
    """Tell whether what falls away comes back the same, as it does where only a payload differs."""
    sums: dict[tuple[str, int], int] = {}
    for one in entries:
        key = (one.cause.stream, abs(one.minor))
        sums[key] = sums.get(key, 0) + one.minor
    return not any(sums.values())


def legs_of(row: StoredEvent) -> Sequence[Posting]:
    """Return the legs of an entry as they are written, whether they balance or not."""
    try:
        return decode_entry(row.postings).postings
    except UnbalancedEntry:
        words = [line.split(" ") for line in row.postings.split("\n")]
        return [
            Posting(account, currency, int(minor), Layer(layer))
            for layer, account, currency, minor in words
        ]


# -- findings ------------------------------------------------------------------------------------


def _findings(
    log: LogAsOf, fork: Fork, touched: Touched, balance_at: BalanceAt
) -> Iterator[Finding]:
    """Yield what is wrong with the hypothesis, and not with the book as it is."""
    for stream in touched.streams:
        known = {one.text for one in fold_findings(stream, log.stream(stream))}
        for one in fold_findings(stream, fork.stream(stream)):
            if one.text not in known:
                yield one
    for row in touched.added:
        try:
            decode_entry(row.postings)
        except OrderLedgerError as error:
            yield _finding(Check.ENTRY_UNBALANCED, error.message, row.stream, row.position)
    yield from _escrow_findings(log, fork, touched, balance_at)


def _escrow_findings(
    log: LogAsOf, fork: Fork, touched: Touched, balance_at: BalanceAt
) -> Iterator[Finding]:
    """Invariants 18 and 19: the slices of an order are its escrow account, and hold no debt."""
    changes = {(one.account, one.currency): one for one in touched.balances(balance_at, POSTED)}
    streams = {one for one in touched.streams if kind_of(one) == "order"}
    streams.update(
        [order(name.removeprefix(_ESCROW)) for name, _ in touched.accounts if _is_escrow(name)]
    )
    for stream in sorted(streams):
        before, after = _order_of(log, stream), _order_of(fork, stream)
        currency = after.currency or before.currency
        if not currency:
            continue
        account = accounts.escrow(id_of(stream))
        change = changes.get((account, currency))
        real = -balance_at(account, currency, POSTED)
        supposed = real if change is None else -change.after
        if after.escrow_held != supposed and before.escrow_held == real:
            yield _finding(
                Check.BALANCE_DISAGREES,
                f"the slices of order {id_of(stream)} hold {after.escrow_held} {currency} minor "
                f"units, its escrow account has {supposed}",
                stream,
            )
        if supposed < 0 <= real:
            yield _finding(
                Check.INVARIANT_BROKEN,
                f"the escrow of order {id_of(stream)} owes {-supposed} {currency} minor units",
                stream,
            )


def _is_escrow(account: str) -> bool:
    return account.startswith(_ESCROW)


def _order_of(store: EventStore, stream: str) -> OrderState:
    found: OrderState = _folded(store, stream)[1] or OrderState()
    return found


def _finding(code: Check, text: str, stream: str, position: int | None = None) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, text=text, stream=stream, position=position)


# -- states and rows -----------------------------------------------------------------------------


def _states(log: LogAsOf, fork: Fork, streams: Iterable[str]) -> Iterator[StateChange]:
    for stream in dict.fromkeys(streams):
        before, after = _folded(log, stream), _folded(fork, stream)
        if not (before[0] or after[0]):
            raise NotFound(
                f"streams: {stream} has no events by position {log.point.position}, in the book or "
                "in the scenario",
                stream=stream,
            )
        if fields := _fields(before[1], after[1]):
            yield StateChange(
                stream=stream,
                version_before=before[0],
                version_after=after[0],
                fields=tuple(fields),
            )


def _folded(store: EventStore, stream: str) -> tuple[int, Any]:
    """Return the version and state of a stream; no state where there is none or it cannot be."""
    fold = fold_of(stream)
    version, state = 0, fold.initial
    for row in store.stream(stream):
        version = row.version
        try:
            state = fold.apply(state, decode_event(row.topic, row.payload))
        except Exception:  # noqa: BLE001  # an evolve function may raise anything; it is a finding
            return version, None
    return version, state if version else None


def _fields(before: Any, after: Any) -> list[ChangedField]:
    names = (before if before is not None else after).__struct_fields__ if before or after else ()
    pairs = [(one, getattr(before, one, None), getattr(after, one, None)) for one in names]
    return [ChangedField(*one) for one in pairs if one[1] != one[2]]


def _compared(
    log: LogAsOf, fork: Fork, pair: tuple[ReadModel, ReadModel], around: Around
) -> tuple[list[RowChange], list[Finding]]:
    """Return the rows of a read model that differ, and what of the hypothesis it cannot project."""
    model, supposed = pair
    store = around.open_models(fork)
    skipped = skipped_of(log, model.name)
    before = _filled(log, store, model, skipped)
    after = _filled(fork, store, supposed, _places(fork.log, skipped))
    tables = {table.name: table for table in model.tables}
    rows = [
        change
        for one in differences(store, before, after, tuple(model.tables))
        if (change := row_change(tables[one.table], one.key, one.before, one.after)) is not None
    ]
    known = {one.stream for one in store.parked(before)}
    parked = [
        _finding(
            Check.EVENT_NOT_PROJECTED,
            f"read model {model.name} leaves out {one.stream}: {one.error}",
            one.stream,
            one.position,
        )
        for one in store.parked(after)
        if one.stream not in known
    ]
    return rows, parked


def _places(log: LogAsOf, positions: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(log, EditedLog):
        return tuple(positions)
    return tuple([log.place_of(position) for position in positions])


def _filled(
    events: EventStore, store: ModelStore, model: ReadModel, skipped: Sequence[int]
) -> Generation:
    made = store.create(model.name, model.version, fingerprint(model), tuple(model.tables), skipped)
    at = events.head().recorded_at or EARLIEST
    follower = Follower(events, store, model, made, clock=lambda: at)
    follower.catch_up()
    return follower.generation
