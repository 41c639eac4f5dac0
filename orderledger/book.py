"""
A book: one independent ledger in one database. The only place that wires the parts together.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from orderledger.commands import deciders as _deciders
from orderledger.commands.decision import Command
from orderledger.commands.group_commit import Result
from orderledger.commands.handle import Executor
from orderledger.commands.projection_commands import SkipProjectedEvent
from orderledger.commands.queueing import Ticket
from orderledger.commands.requests import SYSTEM, Actor, Envelope, Receipt
from orderledger.commands.risk_hook import Asking, RiskHook, approval_request
from orderledger.commands.ruling_commands import IssueRuling
from orderledger.commands.ruling_execution import NO_TERMS, ExecutionTerms
from orderledger.commands.states import CACHE_STREAMS
from orderledger.commands.work_commands import DiscardWork
from orderledger.config import locate
from orderledger.databases import open_store, prepare
from orderledger.ledger import ids, streams
from orderledger.ledger.bank_statements import StatementState
from orderledger.ledger.errors import InvalidCommand, InvalidInput, NotFound, Rejected
from orderledger.ledger.limits import TEXT_LENGTH_MAX
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.ports import EventStore
from orderledger.ledger.risk_rules import RiskPolicy
from orderledger.ledger.settlements import SettlementState
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Machinery, Swept, Wiring
from orderledger.projections.base import read_gapless
from orderledger.projections.models import ReadModel
from orderledger.proving import Proving
from orderledger.reading import Reading
from orderledger.snapshots.policy import POLICIES, Policy
from orderledger.snapshotting import Snapshots
from orderledger.velocity import VelocityRows
from orderledger.worker import BookWorker, Pace

if TYPE_CHECKING:
    # Imported where a ruling is simulated: few programs do.
    from orderledger.replay.ruling_simulation import Simulation


class Book:
    """
    One book, open for commands and reading. Share it between threads; make one per process.

    Use it as a context manager, or call ``close``.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        clock: Callable[[], datetime] = ids.utc_now,
        cache_streams: int = CACHE_STREAMS,
        models: Sequence[ReadModel] = (),
        snapshot_policies: Mapping[str, Policy] = POLICIES,
    ) -> None:
        assert _deciders.__all__, "importing them has registered the deciders"
        self.store: Final = store
        self.snapshots: Final = Snapshots(
            store, clock=clock, policies=snapshot_policies, models=models
        )
        """Saved states, which spare folding long streams from their beginning."""
        self._executor: Final = Executor(
            store, clock=clock, cache_streams=cache_streams, snapshots=self.snapshots
        )
        self._clock: Final = clock
        self.read: Final = Reading(store, models=models, clock=clock, snapshots=self.snapshots)
        """Balances, journal, accounts, histories and verification of this book."""
        self.proving: Final = Proving(store, self._executor.execute)
        """Checkpoints and dossiers: what this book can prove of itself."""
        self.machinery: Final = Machinery(
            store,
            self._executor,
            lambda: self.read.models,
            work=lambda: self.read.work,
            clock=clock,
        )

    @property
    def name(self) -> str:
        """The book's name."""
        return self.store.book

    def execute(
        self,
        command: Command,
        *,
        key: str | None = None,
        actor: Actor = SYSTEM,
        expected: Mapping[str, int] | None = None,
        connection: object | None = None,
    ) -> Receipt:
        """
        Execute one command and return its receipt once it is durable.

        ``key`` makes it idempotent: the same key and command give the stored result, whatever
        crashed between. ``expected`` maps streams to the version they must have. ``connection``
        joins the host's own open transaction (psycopg or sqlite3): the events commit or roll back
        with it, and the receipt has no positions yet.

        Raises InvalidInput, IdempotencyConflict, ConcurrencyConflict, NotFound, Rejected,
        Unavailable or another StorageError; see ``orderledger.errors``.
        """
        envelope = Envelope(command=command, key=key, actor=actor, expected=expected or {})
        if connection is not None:
            return self._executor.execute_joined(envelope, connection)
        return self._executor.execute(envelope)

    def execute_envelope(self, envelope: Envelope) -> Receipt:
        """Execute a command with its whole envelope (correlation, causation, source)."""
        return self._executor.execute(envelope)

    def execute_many(
        self,
        commands: Iterable[Command | Envelope],
        *,
        atomic: bool = False,
        dry_run: bool = False,
    ) -> list[Result]:
        """
        Execute commands in order; return receipts or errors in the same order.

        Independent by default: each succeeds or fails alone. ``atomic``: all or none; the first
        error is raised. ``dry_run``: the same results, nothing written.
        """
        envelopes = [_enveloped(one) for one in commands]
        if dry_run:
            return self._executor.rehearse(envelopes)
        if atomic:
            return list(self._executor.execute_atomic(envelopes))
        return self._executor.execute_many(envelopes)

    def submit(
        self, command: Command | Envelope, *, key: str | None = None, actor: Actor = SYSTEM
    ) -> "Future[Receipt]":
        """
        Queue a command and return a future of its receipt; many may be in flight.

        ``key`` and ``actor`` go with a bare command; an Envelope has its own.
        """
        return self._executor.submit(_enveloped(command, key, actor))

    def execute_async(
        self, command: Command | Envelope, *, key: str | None = None, actor: Actor = SYSTEM
    ) -> Awaitable[Receipt]:
        """Await a command's receipt in asyncio; see ``submit``."""
        return self._executor.execute_async(_enveloped(command, key, actor))

    def wait(
        self, receipt: Receipt, *, model: str | None = None, timeout_s: float = 10.0
    ) -> Receipt:
        """
        Return the receipt with positions and recorded_at; raises NotFound if uncommitted.

        With ``model`` it also waits until that read model shows what the command wrote, and raises
        Unavailable after ``timeout_s`` seconds.
        """
        placed = self._executor.positions(receipt)
        if model is not None and placed.positions:
            self.read.models.wait(model, placed.positions[-1], timeout_s=timeout_s)
        return placed

    def wire(self, wiring: Wiring) -> "Book":
        """
        Give the book the ports and reactors to act with, before a worker runs; return the book.

        Without them nothing acts on the world: commands are executed and deadlines fire, as far as
        they need no port.
        """
        self.machinery.wire(wiring)
        return self

    def enqueue(
        self, command: Command | Envelope, *, key: str | None = None, actor: Actor = SYSTEM
    ) -> Ticket:
        """
        Write a command for a worker to execute, and return its ticket at once.

        It is durable when this returns, and is executed once under ``key``; ``ticket`` tells what
        came of it. Commands that name a common stream are executed in the order in which they were
        accepted. Raises InvalidInput for a malformed command, IdempotencyConflict where the key is
        another queued command's.
        """
        return self.machinery.enqueue(_enveloped(command, key, actor))

    async def enqueue_async(
        self, command: Command | Envelope, *, key: str | None = None, actor: Actor = SYSTEM
    ) -> Ticket:
        """Await ``enqueue`` in asyncio."""
        from asyncio import to_thread

        return await to_thread(self.enqueue, command, key=key, actor=actor)

    def ticket(self, key: str) -> Ticket:
        """Return a queued command and what came of it; raises NotFound."""
        return self.machinery.ticket(key)

    def sweep(self, now: datetime | None = None) -> Swept:
        """
        Fire every deadline that has come by ``now``, by default the clock's time.

        Each fires once, whoever sweeps and whatever clocks and restarts do: as a command under a
        key of its own, with the deadline as its instant, however late the sweep. A deadline that
        something else came before fires not at all; one that the domain refuses is tried again, is
        listed by `orderledger timer list`, and holds up no other.
        """
        return self.machinery.sweep(now)

    def worker(
        self,
        *,
        pace: Pace = Pace(),  # noqa: B008  # frozen
        takes_snapshots: bool = False,
    ) -> BookWorker:
        """
        Return what does all the work of the book, to be run in a thread of its own.

        With ``takes_snapshots`` it saves the rows of the read models as the log grows, so that
        they are soon there as of any instant.
        """
        return BookWorker(
            self.machinery,
            self.read.models,
            clock=self._clock,
            pace=pace,
            snapshots=self.snapshots if takes_snapshots else None,
        )

    def work(self) -> None:
        """
        Do all the work of the book until interrupted: read models, reactors, timers, outbox, queue.

        Any number of workers may run, in any process. A part that fails is tried again and stops no
        other; `orderledger status` shows how each does. For another thread: ``worker``.
        """
        self.worker().run()

    def discard(self, lane: Lane, key: str, *, reason: str, actor: Actor = SYSTEM) -> Receipt:
        """
        Acknowledge that work which failed will not be performed, for good; it is an event.

        Raises NotFound, and InvalidInput without a reason or where the work did not fail.
        """
        found = self.machinery.find(lane, key)
        if found.status not in (WorkStatus.DEAD, WorkStatus.REFUSED, WorkStatus.DISCARDED):
            raise InvalidInput(
                f"{lane.value} {key!r} is {found.status.value}: only what failed is given up",
                key=key,
                status=found.status.value,
            )
        command = DiscardWork(
            lane=lane.value,
            key=key,
            reason=reason,
            error=found.error.replace("\x00", "\\x00")[:TEXT_LENGTH_MAX],
        )
        receipt = self.execute(command, actor=actor)
        self.machinery.work.discard(lane, key, reason, receipt.recorded_at or self._clock())
        return receipt

    def keep_to(self, policy: RiskPolicy | None) -> None:
        """
        Have the guarded commands of this process keep to a risk policy from now on, or to none.

        It may be changed while commands run; each keeps to the one that it began with or to the
        next. Raises InvalidInput for a rule of no command.
        """
        hook = None if policy is None else RiskHook(policy, VelocityRows(self.read.models))
        self._executor.risk = hook

    def simulate_ruling(
        self, ruling: IssueRuling, *, terms: ExecutionTerms = NO_TERMS, actor: Actor = SYSTEM
    ) -> "Simulation":
        """
        Return what a ruling would do, before it is issued; nothing of it is written.

        It is issued now, becomes final when its appeal window is over, and is executed then on
        ``terms``, each on a fork of the book by the command that would do it, under the same risk
        policy. What refuses it is in the answer. Raises NotFound for a dispute that was not filed,
        InvalidInput for a malformed command.
        """
        from orderledger.replay.ruling_simulation import Circumstances

        around = Circumstances(at=self._clock(), actor=actor, terms=terms, risk=self._executor.risk)
        return self.read.simulate_ruling(ruling, around)

    def request_approval(
        self,
        command: Command,
        *,
        requested_by: str,
        reason: str,
        expires_at: datetime,
        actor: Actor = SYSTEM,
    ) -> Receipt:
        """
        Ask for a second person's word on exactly this command.

        For a command that the risk policy refuses with APPROVAL_REQUIRED; once another person has
        granted it (``GrantApproval``), give the same command again under a new key. Raises what
        else refuses the command, and InvalidInput for one that needs no approval now.
        """
        (found,) = self.execute_many([Envelope(command=command, actor=actor)], dry_run=True)
        if isinstance(found, Receipt):
            raise InvalidInput(
                f"{type(command).__name__} needs no approval now: execute it",
                command=type(command).__name__,
            )
        if not isinstance(found, Rejected) or "approval_id" not in found.facts:
            raise found
        asking = Asking(requested_by=requested_by, reason=reason, expires_at=expires_at)
        return self.execute(approval_request(command, found, asking), actor=actor)

    def skip_parked(
        self,
        model: str,
        stream: str,
        *,
        reason: str,
        actor: Actor = SYSTEM,
        key: str | None = None,
    ) -> Receipt:
        """
        Acknowledge that a read model leaves out, for good, the event for which it parked a stream.

        It is recorded as an event of ``projection-{model}``, and takes effect with the model's next
        redrive or rebuild, which projects the later events of the stream. Raises NotFound where the
        live generation does not have the stream parked now, Rejected where the event was skipped
        before, InvalidInput without a reason or for a model of entries: nothing is left out of
        balances.
        """
        if self.read.models.model(model).entries_only:
            raise InvalidInput(
                f"read model {model} answers for money: no entry is left out of it; one that "
                "cannot be read is damage, see `orderledger verify`, and comes from a backup",
                model=model,
                stream=stream,
            )
        for parked in self.read.models.parked(model):
            if parked.stream == stream:
                break
        else:
            raise NotFound(
                f"read model {model} does not have {stream} parked; only the event that is parked "
                f"now can be skipped: see `orderledger projection parked {model}`",
                model=model,
                stream=stream,
            )
        (event,) = read_gapless(self.store, parked.position - 1, parked.position, 1)
        command = SkipProjectedEvent(
            model=model,
            stream=stream,
            version=event.version,
            position=parked.position,
            event_id=str(event.event_id),
            topic=event.topic,
            reason=reason,
            error=parked.error.replace("\x00", "\\x00")[:TEXT_LENGTH_MAX],
        )
        return self.execute(command, key=key, actor=actor)

    def order(self, order_id: str) -> OrderState:
        """Return the order's state now, from its events; raises NotFound."""
        state: OrderState = self._state(
            streams.order(order_id), f"order {order_id}", order_id=order_id
        )
        return state

    def payment(self, payment_id: str) -> PaymentState:
        """Return the payment's state now, from its events; raises NotFound."""
        state: PaymentState = self._state(
            streams.payment(payment_id), f"payment {payment_id}", payment_id=payment_id
        )
        return state

    def settlement(self, provider: str, batch: str) -> SettlementState:
        """Return a settlement batch's state now, from its events; raises NotFound."""
        stream, what = streams.settlement(provider, batch), f"settlement {provider}/{batch}"
        state: SettlementState = self._state(stream, what, provider=provider, batch=batch)
        return state

    def bank_statement(self, bank: str, statement: str) -> StatementState:
        """Return a bank statement's state now, from its events; raises NotFound."""
        stream = streams.bank_statement(bank, statement)
        what = f"bank statement {bank}/{statement}"
        state: StatementState = self._state(stream, what, bank=bank, statement=statement)
        return state

    def _state(self, stream: str, what: str, **facts: str) -> Any:
        found = self._executor.state(stream)
        if not found.version:
            raise NotFound(f"book {self.name} has no {what}", **facts)
        return found.state

    def close(self) -> None:
        """Finish what is queued and release the database."""
        self._executor.close()
        self.read.close()
        self.snapshots.close()
        self.store.close()

    def __enter__(self) -> "Book":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _enveloped(one: Command | Envelope, key: str | None = None, actor: Actor = SYSTEM) -> Envelope:
    if not isinstance(one, Envelope):
        return Envelope(command=one, key=key, actor=actor)
    if key is not None or actor != SYSTEM:
        raise InvalidCommand("give key and actor in the Envelope or beside a command, not both")
    return one


def open(
    url: str | None = None,
    *,
    book: str | None = None,
    clock: Callable[[], datetime] = ids.utc_now,
    cache_streams: int = CACHE_STREAMS,
    models: Sequence[ReadModel] = (),
) -> Book:
    """
    Open a book by URL (default: ``ORDERLEDGER_URL``, ``ORDERLEDGER_BOOK``).

    A SQLite file is created and prepared when absent. PostgreSQL must have been prepared with
    ``orderledger migrate``; otherwise SchemaMismatch. ``cache_streams`` bounds the folded streams
    kept in memory; ``models`` are read models of your own. Raises InvalidInput for an unusable URL,
    Unavailable when the database does not answer.
    """
    store = open_store(locate(url, book))
    return Book(store, clock=clock, cache_streams=cache_streams, models=models)


def migrate(url: str | None = None) -> None:
    """Prepare or upgrade the database of a URL; safe to call again and from several processes."""
    prepare(locate(url))
