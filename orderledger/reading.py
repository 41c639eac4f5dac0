"""
Everything that reads a book and writes nothing to it: states, histories, balances, verification.

The balances' own rows are the exception: reading balances catches them up with the log.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orderledger.databases import journal_of, open_fork, open_models, open_work
from orderledger.ledger import streams
from orderledger.ledger.as_of import NOW, AsOf, LogAsOf, locate
from orderledger.ledger.codec import decode_event
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.folds import fold_of
from orderledger.ledger.ids import utc_now
from orderledger.ledger.journal import Layer
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.payouts import PayoutState
from orderledger.ledger.ports import EventStore
from orderledger.ledger.read_ports import AccountTotal
from orderledger.ledger.sellers import SellerState
from orderledger.ledger.work_ports import WorkStore
from orderledger.machinery_status import PartStatus, parts_of
from orderledger.projections.balances import NAME as BALANCES
from orderledger.projections.balances import (
    Account,
    Balances,
    JournalEntry,
    JournalFilter,
    Statement,
    StatementRequest,
    TrialBalance,
    Uncleared,
)
from orderledger.projections.models import ReadModel
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.replay import history as _history
from orderledger.replay.as_of import StateAsOf, state_as_of
from orderledger.replay.audit import Audit, Subject, SubjectKind
from orderledger.replay.diff import Diff, diff
from orderledger.replay.diff_balances import BalanceChange, diff_balances
from orderledger.replay.explain import Explanation
from orderledger.replay.findings import Finding
from orderledger.replay.history import RecordedEvent
from orderledger.replay.period_list import PeriodRecord, periods
from orderledger.replay.plain_text import Dialect, Export, Selection
from orderledger.replay.progress import Progress, silent
from orderledger.replay.verify import Verification
from orderledger.replay.verify_periods import verify_periods
from orderledger.snapshotting import Snapshots
from orderledger.velocity import MODEL as VELOCITY
from orderledger.velocity import VelocityRows
from orderledger.verifying import WHOLE, Beside, Scope, verification

if TYPE_CHECKING:
    # Both bring the deciders, which reading needs nowhere else.
    from orderledger.commands.ruling_commands import IssueRuling
    from orderledger.replay.ruling_simulation import Circumstances, Simulation
    from orderledger.replay.scenarios import Scenario
    from orderledger.replay.what_if import WhatIf


class BookStatus(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where a book stands, from a handful of small reads.

    ``balances_position`` is how far the balances are and ``balances_lag`` how many events they
    lack: they catch up when they are read. Where they belong to another history both are None and
    ``balances_error`` says so. ``closed_until`` is the end of the last closed period. ``parts``
    tell how the machinery does; see ``PartStatus``.
    """

    book: str
    head: int
    recorded_at: datetime | None
    pending: int
    constrained_accounts: int
    closed_until: datetime | None
    balances_position: int | None
    balances_lag: int | None
    balances_error: str | None = None
    parts: tuple[PartStatus, ...] = ()

    @property
    def red(self) -> tuple[PartStatus, ...]:
        """The parts of the machinery that somebody should look at."""
        return tuple([part for part in self.parts if part.is_red])


class Reading:
    """
    The reading side of one book, on its event store. Safe to share between threads.

    Balances, journals and statements take ``effective_to`` (what had happened by then)
    and ``recorded_to`` (what was known by then), both inclusive. ``models`` are read models of the
    host's own, beside the shipped ones. ``snapshots`` spare folding long streams from their
    beginning, and change no answer.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        models: Sequence[ReadModel] = (),
        clock: Callable[[], datetime] = utc_now,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._store: Final = store
        self._clock: Final = clock
        self._snapshots: Final = snapshots
        self._work: WorkStore | None = None
        self._own_models: Final = tuple(models)
        self._balances: Balances | None = None
        self._models: ReadModels | None = None
        self._lock: Final = threading.Lock()

    def as_of(
        self,
        position: int | None = None,
        *,
        recorded_to: datetime | None = None,
        effective_to: datetime | None = None,
    ) -> "Reading":
        """
        Return the book as it was: entities, histories, read models and balances, to be read only.

        At a ``position`` of the log or at a time by which things were recorded, inclusive, by
        default now; ``effective_to`` leaves out what happened later. Read models are made anew in
        memory when they are first asked for, from their last snapshot before it on; balances of one
        account are quicker by ``recorded_to`` of the present book. Close it when done. Raises
        InvalidInput for a position that the log does not have and for a time before the book.
        """
        wanted = AsOf(position=position, recorded_to=recorded_to, effective_to=effective_to)
        then = LogAsOf(self._store, locate(self._store, wanted))
        return Reading(
            then,
            models=self._own_models,
            clock=self._clock,
            # They hold whatever had been recorded, also what had not happened.
            snapshots=None if then.has_gaps else self._snapshots,
        )

    def state_as_of(self, stream: str, as_of: AsOf = NOW) -> StateAsOf:
        """
        Return the folded state of any stream as it was; see ``StateAsOf``.

        Raises NotFound where it had no events by then.
        """
        return state_as_of(self._store, stream, locate(self._store, as_of))

    def diff(self, model: str, before: AsOf, after: AsOf = NOW) -> Diff:
        """
        Return what differs in a read model between two instants, field by field, with causes.

        Cost: see ``replay.diff``. Raises NotFound for an unknown model.
        """
        points = [locate(self._store, one) for one in (before, after)]
        store = open_models(LogAsOf(self._store, points[0]))
        return diff(self._store, store, self.models.model(model), points[0], points[1])

    def diff_balances(
        self, before: AsOf, after: AsOf = NOW, *, prefix: str = "", layer: Layer = Layer.POSTED
    ) -> list[BalanceChange]:
        """
        Return the accounts whose entries differ between two instants, and those entries.

        The instants may differ on either clock, or both; see ``BalanceChange``.
        """
        points = [locate(self._store, one) for one in (before, after)]
        return diff_balances(self.balances, points[0], points[1], prefix=prefix, layer=layer)

    def explain(
        self, account: str, currency: str, as_of: AsOf = NOW, *, layer: Layer = Layer.POSTED
    ) -> Explanation:
        """Return a balance as of an instant, and every entry that it sums; see ``Explanation``."""
        point = locate(self._store, as_of)
        return Explanation(self.balances, account, currency, layer, point)

    def what_if(self, scenario: "Scenario") -> "WhatIf":
        """
        Return what would be different if a scenario were so: edits, and commands given on them.

        In memory; nothing of it is written. It is marked as hypothetical, and is no proof of
        anything. Cost: the streams that it touches, and the log once more for each read model that
        it compares. Raises InvalidInput, naming the field, for a scenario that does not fit the
        book.
        """
        from orderledger.commands.risk_hook import RiskHook
        from orderledger.replay.scenarios import policy_of
        from orderledger.replay.what_if import Around, what_if

        log, policy = self._log_at(scenario.at), policy_of(scenario)
        then = ReadModels(log, open_models(log), SHIPPED)
        if policy is not None and policy.velocities:
            then.catch_up(VELOCITY)
        around = Around(
            open_fork=open_fork,
            open_models=open_models,
            model=self.models.model,
            balance_at=self._balance_at(log),
            risk=None if policy is None else RiskHook(policy, VelocityRows(then)),
        )
        return what_if(log, scenario, around)

    def simulate_ruling(self, ruling: "IssueRuling", around: "Circumstances") -> "Simulation":
        """
        Return what a ruling would do if it were issued, final and executed; see ``Simulation``.

        In memory; nothing of it is written. Raises NotFound for a dispute that was not filed.
        """
        from orderledger.replay.ruling_simulation import simulate_ruling

        log = self._log_at(None)
        return simulate_ruling(log, ruling, around, open_fork, self._balance_at(log))

    def _log_at(self, position: int | None) -> LogAsOf:
        while self._store.sequence():
            pass
        return LogAsOf(self._store, locate(self._store, AsOf(position=position)))

    def _balance_at(self, log: LogAsOf) -> Callable[[str, str, Layer], int]:
        return lambda account, currency, layer: self.balances.balance_at(
            account, currency, layer, log.point
        )

    def audit(self, kind: SubjectKind | str, subject_id: str, as_of: AsOf = NOW) -> Audit:
        """
        Return everything recorded about a subject as of an instant: iterate over it.

        ``kind`` is order (with its payments, fulfilments, returns and disputes), payment, dispute,
        account, actor (``TYPE:ID``) or command (a key or an id). Refusals are told up to
        ``recorded_to``, up to the instant of ``position``, or by default up to now. An audit of an
        actor reads the whole log, and one that tells refusals the record of every command. Raises
        NotFound for a subject of which nothing is recorded by then.
        """
        try:
            subject = Subject(SubjectKind(kind), subject_id)
        except ValueError as error:
            kinds = ", ".join(SubjectKind)
            raise InvalidInput(f"there is no audit of a {kind}: of {kinds}", kind=kind) from error
        log = LogAsOf(self._store, locate(self._store, as_of))
        refused_to = as_of.recorded_to
        if refused_to is None and (as_of.position is not None or isinstance(self._store, LogAsOf)):
            refused_to = log.head().recorded_at
        return Audit(log, subject, lambda: self.balances, refused_to)

    # -- entities ------------------------------------------------------------------------------

    def order(self, order_id: str) -> OrderState:
        """Return the order folded from its events as committed now; raises NotFound."""
        state: OrderState = self._folded(streams.order(order_id), "order", order_id)
        return state

    def payment(self, payment_id: str) -> PaymentState:
        """Return the payment folded from its events as committed now; raises NotFound."""
        state: PaymentState = self._folded(streams.payment(payment_id), "payment", payment_id)
        return state

    def payout(self, payout_id: str) -> PayoutState:
        """Return the payout folded from its events as committed now; raises NotFound."""
        state: PayoutState = self._folded(streams.payout(payout_id), "payout", payout_id)
        return state

    def seller(self, seller_id: str, currency: str) -> SellerState:
        """
        Return a seller's stream in one currency folded as committed now; raises NotFound.

        It knows payouts, reserve and penalties. What the seller is owed is a balance, and a row of
        ``seller_payables``.
        """
        stream = streams.seller(seller_id, currency)
        state: SellerState = self._folded(stream, "seller", f"{seller_id}/{currency}")
        return state

    def dispute(self, dispute_id: str) -> DisputeState:
        """Return the dispute folded from its events as committed now; raises NotFound."""
        state: DisputeState = self._folded(streams.dispute(dispute_id), "dispute", dispute_id)
        return state

    def history(self, stream: str) -> Iterator[RecordedEvent]:
        """Iterate over one stream's events in order, in constant memory; none if it has none."""
        return _history.history(self._store, stream)

    def order_history(self, order_id: str) -> Iterator[RecordedEvent]:
        """
        Iterate over the events of an order and of its payments, fulfilments, returns and disputes.

        In log order; raises NotFound.
        """
        return _history.order_history(self._store, order_id)

    def payment_history(self, payment_id: str) -> Iterator[RecordedEvent]:
        """Iterate over a payment's events in order; raises NotFound."""
        return _history.payment_history(self._store, payment_id)

    def _folded(self, stream: str, kind: str, entity_id: str) -> Any:
        fold = fold_of(stream)
        state, version = fold.initial, 0
        if self._snapshots is not None:
            store = self._store
            until = store.point.position if isinstance(store, LogAsOf) else None
            for found in self._snapshots.nearest((stream,), until=until).values():
                state, version = found.state, found.version
        for row in self._store.stream(stream, after=version):
            state, version = fold.apply(state, decode_event(row.topic, row.payload)), row.version
        if not version:
            raise NotFound(
                f"book {self._store.book} has no {kind} {entity_id}", **{f"{kind}_id": entity_id}
            )
        return state

    # -- balances ------------------------------------------------------------------------------

    @property
    def balances(self) -> Balances:
        """The balances, opened at first use."""
        models = self.models
        with self._lock:
            if self._balances is None:
                self._balances = Balances(models, journal_of(models.store))
            return self._balances

    def balance(
        self,
        account: str,
        currency: str = "",
        *,
        effective_to: datetime | None = None,
        recorded_to: datetime | None = None,
        layer: Layer = Layer.POSTED,
    ) -> dict[str, int]:
        """Return signed minor units per currency, debit positive; see ``Balances.balance``."""
        return self.balances.balance(
            account, currency, effective_to=effective_to, recorded_to=recorded_to, layer=layer
        )

    def balances_below(
        self,
        prefix: str,
        *,
        effective_to: datetime | None = None,
        recorded_to: datetime | None = None,
        layer: Layer = Layer.POSTED,
    ) -> Sequence[AccountTotal]:
        """Return the balances of an account and all below it; see ``Balances.balances_below``."""
        return self.balances.balances_below(
            prefix, effective_to=effective_to, recorded_to=recorded_to, layer=layer
        )

    def trial_balance(
        self,
        *,
        effective_to: datetime | None = None,
        recorded_to: datetime | None = None,
        layer: Layer = Layer.POSTED,
    ) -> TrialBalance:
        """Return every account whose balance is not zero, and the column sums."""
        return self.balances.trial_balance(
            effective_to=effective_to, recorded_to=recorded_to, layer=layer
        )

    def accounts(
        self, prefix: str = "", *, recorded_to: datetime | None = None
    ) -> Sequence[Account]:
        """Return every account in use, or those at and below a prefix, by name."""
        return self.balances.accounts(prefix, recorded_to=recorded_to)

    def clearing(
        self, *, effective_to: datetime | None = None, recorded_to: datetime | None = None
    ) -> Sequence[Uncleared]:
        """Return every account that must be zero and is not; see ``Balances.clearing``."""
        return self.balances.clearing(effective_to=effective_to, recorded_to=recorded_to)

    def journal(self, wanted: JournalFilter | None = None) -> Iterator[JournalEntry]:
        """Iterate over journal entries in log order, in constant memory."""
        return self.balances.journal(wanted or JournalFilter())

    def statement(self, wanted: StatementRequest) -> Statement:
        """Return an account's statement: opening + lines = closing over [start, end)."""
        return self.balances.statement(wanted)

    def export(
        self, dialect: Dialect, selection: Selection | None = None, progress: Progress = silent
    ) -> Export:
        """
        Return the journal as plain-text accounting, written as its ``chunks`` are taken.

        In constant memory. ``dialect`` is ``Beancount()`` or ``Hledger()`` of ``replay``.
        """
        return Export(self._store, self.balances, dialect, selection or Selection(), progress)

    def periods(self) -> Sequence[PeriodRecord]:
        """Return every closing of an accounting period, also those that were taken back."""
        return periods(self._store)

    # -- read models -----------------------------------------------------------------------------

    @property
    def models(self) -> ReadModels:
        """The read models of the book, the host's own among them; opened at first use."""
        with self._lock:
            if self._models is None:
                self._models = ReadModels(
                    self._store,
                    open_models(self._store, self._snapshots),
                    (*SHIPPED, *self._own_models),
                )
            return self._models

    @property
    def work(self) -> WorkStore:
        """The work of the book, opened at first use."""
        with self._lock:
            if self._work is None:
                self._work = open_work(self._store)
            return self._work

    # -- the whole book --------------------------------------------------------------------------

    def status(self) -> BookStatus:
        """Return where the book stands; cheap at any size, and catches nothing up."""
        found, constraints = self.models.status(BALANCES), self._store.constraints()
        # One look, after the balances' own: its size and its instant belong together.
        head = self._store.head()
        return BookStatus(
            book=self._store.book,
            head=head.size,
            recorded_at=head.recorded_at,
            pending=self._store.pending(),
            constrained_accounts=len(constraints.accounts),
            closed_until=constraints.closed_until,
            balances_position=None if found.problem else found.position,
            balances_lag=None if found.problem else head.size - found.position,
            balances_error=found.problem,
            parts=parts_of(
                self._store, self.work, self.models, self._saved().due_models, self._clock()
            ),
        )

    def verify(self, progress: Progress = silent, scope: Scope = WHOLE) -> Iterator[Finding]:
        """
        Yield everything that is wrong with what is stored: see docs/verify.md for each check.

        Read-only and in constant memory; a sound book yields nothing.
        """
        for one in self.verification(progress, scope):
            if isinstance(one, Finding):
                yield one

    def verification(self, progress: Progress = silent, scope: Scope = WHOLE) -> Verification:
        """Return what ``verify`` does, with a ``Checked`` for each check once it was made."""
        beside: Beside | None = None
        if not isinstance(self._store, LogAsOf):
            beside = Beside(self.work, self._saved())
        return verification(self._store, self.models, beside, scope, progress)

    def _saved(self) -> Snapshots:
        """Return the snapshots of the book, though nobody told of any."""
        return self._snapshots or Snapshots(self._store, clock=self._clock, models=self._own_models)

    def verify_periods(
        self, period: str | None = None, progress: Progress = silent
    ) -> Iterator[Finding]:
        """Yield what is wrong with the closed periods alone, or with one; see ``verify``."""
        return verify_periods(self._store, progress, period=period)

    def close(self) -> None:
        """Release what this object opened; the event store belongs to its owner."""
        with self._lock:
            if self._models is not None:
                self._models.store.close()
            if self._work is not None:
                self._work.close()
