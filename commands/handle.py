"""
The executor: one verb for commands, on one book.

A batch of commands is decided on cached states, each command on the state that the ones before it
leave, and appended in one round trip. When the append conflicts, nothing of it was written; the
streams that moved are read again and the batch is decided anew, within a bound. Every stream that
was read but not written is a check of the append, so that concurrent commands have a serial order.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Final

from orderledger.ledger import ids
from orderledger.ledger.errors import (
    ConcurrencyConflict,
    NotFound,
    OrderLedgerError,
    Rejected,
    Unavailable,
)
from orderledger.ledger.forks import in_child
from orderledger.ledger.ports import (
    AppendConflict,
    Appended,
    ConstraintSet,
    EventStore,
    LockTimeout,
)
from orderledger.ledger.snapshot_ports import StateSnapshots
from orderledger.ledger.streams import PERIODS

from .attempt import Attempt, Surroundings
from .deciding import Decided, Prepared, Versioned, prepare
from .exclusive import ExclusiveCommands, shareable
from .failures import at_index, exhausted, failure
from .group_commit import Awaited, GroupCommit, Lead, Promised, Request, Result, deliver
from .observe import Handled, background_failed, command_handled, is_logged
from .period_commands import Exclusive
from .receipts import Receipts
from .requests import Envelope, Receipt
from .risk_hook import RiskHook
from .states import CACHE_STREAMS, StateCache

MAX_BATCH: Final = 1_000
"""Commands per transaction. Beyond it a batch costs more latency than it saves in commits."""
MAX_ATTEMPTS: Final = 20
"""Decisions per command before a conflict is reported: only a very hot stream gets near it."""
LOCK_PATIENCE: Final = 40
"""Tries of a command alone that meets a lock, each as long as the store's lock timeout."""
SEQUENCE_DELAY_S: Final = 0.005
"""Wait before sequencing what an append left pending: another appender usually does it sooner."""
ARCHIVE_EVERY: Final = 20_000
"""Commands of this process between two moves of their records to the archive."""
ARCHIVE_CHUNK: Final = 5_000
"""Records per transaction of such a move: some tens of milliseconds."""

_logger: Final = logging.getLogger("orderledger")


class Executor:
    """
    Executes commands against one book. Share it between threads; make one per process and book.

    ``clock`` gives the time that deciders see as now (timezone-aware UTC). ``cache_streams`` bounds
    the folded streams kept in memory; a long order takes up to a megabyte. ``snapshots`` spare
    folding long streams from their beginning.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        clock: Callable[[], datetime] = ids.utc_now,
        new_id: ids.IdSource = ids.new_id,
        cache_streams: int = CACHE_STREAMS,
        snapshots: StateSnapshots | None = None,
    ) -> None:
        self.risk: RiskHook | None = None
        """What guarded commands must keep to besides their own rules; may be replaced any time."""
        self._store: Final = store
        self._clock: Final = clock
        self._new_id: Final = new_id
        self._receipts: Final = Receipts(store)
        self._snapshots: Final = snapshots
        self._cache: Final = StateCache(store, new_id.observe, cache_streams, snapshots=snapshots)
        self._group: Final = GroupCommit(self._process, MAX_BATCH)
        self._constraints: ConstraintSet | None = None
        self._exclusive: Final = ExclusiveCommands(
            store, self._cache, self._receipts, self._fresh_surroundings
        )
        self._unarchived = 0
        self._failures = 0
        self._reset()
        in_child(self._reset)

    def _reset(self) -> None:
        self._sequencer = threading.Lock()
        self._turn = threading.Lock()
        # Apart from the threads that lead, or a few waiting commands would hold up all others.
        self._patient = ThreadPoolExecutor(8, thread_name_prefix="orderledger-waiting")
        # What the parent's append assumes may never come true here.
        self._cache.assume({})

    def execute(self, envelope: Envelope) -> Receipt:
        """
        Execute one command and return its receipt once it is durable.

        Raises InvalidInput, IdempotencyConflict, ConcurrencyConflict, NotFound, Rejected (also as
        replayed), Unavailable or another StorageError. After Unavailable the caller learns the
        truth by executing again with the same key.
        """
        if isinstance(envelope.command, Exclusive):
            return self._alone(self._prepare(envelope))
        request = Request(self._prepare(envelope))
        self._group.run((request,))
        return _receipt(request)

    def submit(self, envelope: Envelope) -> "Future[Receipt]":
        """
        Queue one command and return a future of its receipt; many may be in flight.

        The future cannot be cancelled: a command that is queued runs.
        """
        future: Future[Receipt] = Future()
        # From here on it cannot be cancelled: the command may be under way already.
        future.set_running_or_notify_cancel()
        self._group.queue(Promised(self._prepare(shareable(envelope)), future))
        return future

    async def execute_async(self, envelope: Envelope) -> Receipt:
        """
        Await the receipt of one command, like ``submit``.

        Cancelling the await gives up the receipt, not the command: once queued, it runs.
        """
        from asyncio import get_running_loop

        request = Awaited(self._prepare(shareable(envelope)), get_running_loop())
        self._group.queue(request)
        return await request

    def execute_many(self, envelopes: Iterable[Envelope]) -> list[Result]:
        """
        Execute commands in order, each for itself; return receipts or errors in the same order.

        They share transactions of up to 1,000 commands; one that fails does not stop the others.
        """
        prepared = [self._prepared_or_error(envelope) for envelope in envelopes]
        requests = [Request(one) for one in prepared if isinstance(one, Prepared)]
        if requests:
            self._group.run(requests)
        results = iter(requests)
        return [_result(next(results)) if isinstance(one, Prepared) else one for one in prepared]

    def execute_atomic(self, envelopes: Iterable[Envelope]) -> list[Receipt]:
        """
        Execute commands in order in one transaction: all of them, or none.

        The first error is raised (a malformed command, a refusal and a missing thing with the
        command's index in its facts), and nothing is written, not even the refusal. Commands whose
        key is known are replayed, the others run.
        """
        prepared: list[Prepared] = []
        for index, envelope in enumerate(envelopes):
            one = self._prepared_or_error(envelope)
            if isinstance(one, OrderLedgerError):
                raise at_index(one, index) from one
            prepared.append(one)
        for _ in range(MAX_ATTEMPTS):
            known = self._receipts.known(prepared)
            attempt = Attempt(self._surroundings(), prepared, presume_new=False)
            receipts: list[Receipt | None] = []
            todo: list[tuple[Prepared, Decided]] = []
            for index, one in enumerate(prepared):
                try:
                    receipts.append(self._receipts.replayed(one, known))
                    if receipts[-1] is None:
                        todo.append((one, attempt.decide_or_raise(one)))
                except OrderLedgerError as error:
                    raise at_index(error, index) from error
            try:
                made = iter(self._append(todo, attempt))
            except AppendConflict as conflict:
                self._forget(conflict)
                continue
            return [receipt or next(made) for receipt in receipts]
        raise Unavailable("an atomic group met conflicts on every attempt", attempts=MAX_ATTEMPTS)

    def rehearse(self, envelopes: Iterable[Envelope]) -> list[Result]:
        """Return what ``execute_many`` would return now, and write nothing (a dry run)."""
        given = [self._prepared_or_error(envelope) for envelope in envelopes]
        # No append will find out that these are old.
        self._constraints = None
        self._cache.forget((PERIODS,))
        prepared = [one for one in given if isinstance(one, Prepared)]
        known = self._receipts.known(prepared)
        attempt = Attempt(self._surroundings(), prepared, presume_new=False)
        results: list[Result] = []
        for one in given:
            if isinstance(one, OrderLedgerError):
                results.append(one)
                continue
            try:
                receipt = self._receipts.replayed(one, known)
                if receipt is None:
                    decided = attempt.decide_or_raise(one)
                    receipt = self._receipts.receipt(one, decided, Appended(None, None), 0)
                results.append(receipt)
            except OrderLedgerError as error:
                results.append(error)
        return results

    def execute_joined(self, envelope: Envelope, connection: object) -> Receipt:
        """
        Execute one command inside the host's open transaction on ``connection``.

        It commits or rolls back with the host, and its receipt has no positions yet. A refusal
        leaves the host's transaction usable; it is not recorded, since the host may roll back.
        """
        prepared = self._prepare(shareable(envelope))
        for _ in range(MAX_ATTEMPTS):
            receipt = self._receipts.replayed(
                prepared, self._receipts.known((prepared,), connection)
            )
            if receipt is not None:
                return receipt
            attempt = Attempt(self._surroundings(connection), (prepared,))
            decided = attempt.decide_or_raise(prepared)
            try:
                self._store.append(attempt.batch((decided,)), connection=connection)
            except AppendConflict as conflict:
                self._forget(conflict)
                continue
            return self._receipts.receipt(prepared, decided, Appended(None, None), 0)
        raise exhausted(prepared, {})

    def state(self, stream: str) -> Versioned:
        """Return the committed state of a stream now, with what other processes wrote."""
        return self._cache.fresh(stream)

    def positions(self, receipt: Receipt) -> Receipt:
        """
        Return the receipt with positions and recorded_at, sequencing what is pending if need be.

        Raises NotFound if its events are not committed (a host's transaction that is still open
        or was rolled back).
        """
        if receipt.positions is not None or not receipt.event_ids:
            return receipt
        placed = self._receipts.with_positions(receipt)
        if placed is None:
            self._sequence_all()
            placed = self._receipts.with_positions(receipt)
        if placed is None:
            raise NotFound(
                f"the events of command {receipt.command_id} are not committed",
                command_id=str(receipt.command_id),
                key=receipt.key,
            )
        return placed

    def close(self) -> None:
        """Refuse new commands and finish those that are queued."""
        self._group.close()
        self._patient.shutdown(wait=True)

    # -- one batch ---------------------------------------------------------------------------

    def _prepare(self, envelope: Envelope) -> Prepared:
        prepared = prepare(self._store.book, envelope, self._new_id())
        risk = self.risk
        if risk is None:
            return prepared
        return risk.looked_up(prepared, self._known_state, self._clock())

    def _known_state(self, stream: str) -> Any:
        return self._cache.get((stream,), ())[stream].state

    def _prepared_or_error(self, envelope: Envelope) -> Prepared | OrderLedgerError:
        """Prepare one of many commands; what is malformed is that one's error alone."""
        try:
            return self._prepare(shareable(envelope))
        except OrderLedgerError as error:
            return error

    def _process(self, requests: list[Request], lead: Lead | None) -> None:
        """
        Resolve every request of a batch, whatever happens: nobody may wait for ever.

        Without ``lead`` the batch goes beside the others, not in turn.
        """
        remaining = requests
        try:
            while remaining:
                remaining = self._attempt(remaining, lead)
        except OrderLedgerError as error:
            _fail([*requests, *(lead.taken if lead else ())], error)
        except BaseException as error:
            found = failure(error)
            found.__cause__ = error
            _fail([*requests, *(lead.taken if lead else ())], found)
            if not isinstance(error, Exception):
                raise

    def _attempt(self, requests: list[Request], lead: Lead | None) -> list[Request]:
        """
        Decide a batch and append it in turn; return the requests that need another attempt.

        While one batch is being written the next is decided, on the states that the first assumes.
        If the first fails, what was decided on it is decided anew; and were that overlooked, the
        version checks of the append would still refuse it.
        """
        failures = self._failures
        plan = self._decide(requests)
        if not plan.ready and not plan.errors:
            return plan.later
        with self._turn if lead else nullcontext():
            if lead and self._failures != failures:
                return requests
            if lead:
                # Who came while the batch before was being written comes along.
                more = lead.take()
                if more:
                    self._decide_into(plan, more)
            for request, error in plan.errors:
                self._resolve_error(request, error)
            if not plan.ready:
                return plan.later
            for request in plan.ready:
                request.attempts += 1
            try:
                receipts = self._append_in_turn(plan, lead)
            except AppendConflict as conflict:
                return self._after_conflict(plan.ready, conflict) + plan.later
            except LockTimeout:
                self._after_lock(plan.ready)
                return plan.later
        decided = zip(plan.decided, receipts, strict=True)
        results: list[Result] = [one.refusal or receipt for (_, one), receipt in decided]
        if is_logged():
            for request, result in zip(plan.ready, results, strict=True):
                _log(request, result)
        deliver(plan.ready, results)
        return plan.later

    def _decide(self, requests: list[Request]) -> "_Plan":
        attempt = Attempt(
            self._surroundings(),
            [request.prepared for request in requests],
            presume_new=not any(request.attempts for request in requests),
        )
        plan = _Plan(attempt)
        self._decide_into(plan, requests)
        return plan

    def _decide_into(self, plan: "_Plan", requests: list[Request]) -> None:
        attempt, taken = plan.attempt, plan.taken
        if plan.ready or plan.errors:
            attempt.extend([request.prepared for request in requests])
        for request in requests:
            prepared = request.prepared
            if prepared.key_hash in taken:
                # The same key twice in one batch: the second waits, and is then replayed.
                plan.later.append(request)
                continue
            try:
                plan.decided.append((prepared, attempt.decide(prepared)))
            except OrderLedgerError as error:
                plan.errors.append((request, error))
                continue
            taken.add(prepared.key_hash)
            plan.ready.append(request)

    def _append_in_turn(self, plan: "_Plan", lead: Lead | None) -> list[Receipt]:
        if lead is None:
            return self._append(plan.decided, plan.attempt)
        self._cache.assume(plan.attempt.changed)
        lead.pass_on()
        try:
            return self._append(plan.decided, plan.attempt)
        except BaseException:
            self._failures += 1
            raise
        finally:
            self._cache.assume({})

    def _resolve_error(self, request: Request, error: OrderLedgerError) -> None:
        if isinstance(error, ConcurrencyConflict):
            # A stored reply of the key comes before the caller's own expectation.
            self._resolve_known([request], otherwise=error)
        else:
            request.resolve(error)

    def _append(
        self, decided: Sequence[tuple[Prepared, Decided]], attempt: Attempt
    ) -> list[Receipt]:
        """Append decisions in one transaction; return a receipt for each, refused ones too."""
        if not decided:
            return []
        appended = self._store.append(attempt.batch([one for _, one in decided]))
        self._cache.remember(attempt.changed)
        receipts: list[Receipt] = []
        offset = 0
        for prepared, one in decided:
            receipts.append(self._receipts.receipt(prepared, one, appended, offset))
            offset += len(one.append.events)
        if offset and appended.first_position is None:
            self._sequence_soon()
        self._note(attempt.changed)
        self._unarchived += len(decided)
        if self._unarchived >= ARCHIVE_EVERY:
            self._unarchived = 0
            self._group.background(self._archive)
        return receipts

    def _after_conflict(self, requests: list[Request], conflict: AppendConflict) -> list[Request]:
        """Replay the known keys; return the others for another attempt, within the bound."""
        self._forget(conflict)
        known = [one for one in requests if one.prepared.key_hash in conflict.duplicates]
        if known:
            self._resolve_known(known, otherwise=None)
        again: list[Request] = []
        for request in requests:
            if request.result is not None:
                continue
            if request.attempts >= MAX_ATTEMPTS:
                request.resolve(exhausted(request.prepared, conflict.moved))
            else:
                again.append(request)
        return again

    def _after_lock(self, requests: list[Request]) -> None:
        """
        Let each command of a batch that met a lock go on alone, in the background.

        A host's open transaction may hold the lock for long: it delays only who needs the same.
        """
        for request in requests:
            if request.attempts >= LOCK_PATIENCE:
                request.resolve(
                    Unavailable(
                        "another open transaction holds what this command needs; retry it "
                        "with the same key",
                        key=request.prepared.key,
                        attempts=request.attempts,
                    )
                )
            else:
                self._patient.submit(self._process_patiently, request)

    def _process_patiently(self, request: Request) -> None:
        self._cache.forget(request.prepared.streams)
        self._process([request], None)

    def _resolve_known(self, requests: list[Request], otherwise: OrderLedgerError | None) -> None:
        """Resolve requests from the stored records of their keys; the others get ``otherwise``."""
        known = self._receipts.known([request.prepared for request in requests])
        for request in requests:
            try:
                receipt = self._receipts.replayed(request.prepared, known)
                if receipt is not None:
                    request.resolve(receipt)
                elif otherwise is not None:
                    request.resolve(otherwise)
            except OrderLedgerError as error:
                request.resolve(error)

    def _note(self, changed: Mapping[str, Versioned]) -> None:
        """Have the snapshots taken that became due, by a thread that no caller waits for."""
        if self._snapshots is None:
            return
        states = [(stream, one.version, one.state) for stream, one in changed.items()]
        try:
            is_due = self._snapshots.committed(states)
        except Exception as error:  # noqa: BLE001  # what was appended is, and its callers are told
            _logger.warning("snapshots that may be due are not noted: %r", error)
            return
        if is_due:
            self._group.background(self._snapshots.take_due)

    # -- shared state ------------------------------------------------------------------------

    def _alone(self, prepared: Prepared) -> Receipt:
        try:
            return self._exclusive.execute(prepared)
        finally:
            self._constraints = None

    def _fresh_surroundings(self) -> Surroundings:
        self._constraints = None
        return self._surroundings()

    def _forget(self, conflict: AppendConflict) -> None:
        self._cache.forget(conflict.moved)
        if conflict.stale_constraints:
            self._constraints = None

    def _surroundings(self, connection: object | None = None) -> Surroundings:
        risk = self.risk
        return Surroundings(
            self._cache,
            self._constraint_set(),
            self._new_id,
            self._clock(),
            connection,
            None if risk is None else risk.policy,
        )

    def _constraint_set(self) -> ConstraintSet:
        found = self._constraints
        if found is None:
            found = self._constraints = self._store.constraints()
        return found

    def _sequence_soon(self) -> None:
        """Give positions to pending events in the background, once for many appends."""
        if self._sequencer.acquire(blocking=False):
            self._group.background(self._sequence)

    def _sequence(self) -> None:
        time.sleep(SEQUENCE_DELAY_S)
        # Released first: an append that comes while we drain starts another round.
        self._sequencer.release()
        try:
            self._sequence_all()
        except OrderLedgerError as error:
            background_failed("sequence", self._store.book, error)

    def _sequence_all(self) -> None:
        while self._store.sequence():
            pass

    def _archive(self) -> None:
        """Keep the table of recent keys small; see ``EventStore.archive_commands``."""
        try:
            while self._store.archive_commands(self._clock(), limit=ARCHIVE_CHUNK) == ARCHIVE_CHUNK:
                pass
        except OrderLedgerError as error:
            background_failed("archive_commands", self._store.book, error)


class _Plan:
    """A batch decided: who may be appended, who failed, who waits for another of the batch."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt: Final = attempt
        self.ready: Final[list[Request]] = []
        self.decided: Final[list[tuple[Prepared, Decided]]] = []
        self.errors: Final[list[tuple[Request, OrderLedgerError]]] = []
        self.later: Final[list[Request]] = []
        self.taken: Final[set[bytes]] = set()


def _result(request: Request) -> Result:
    assert request.result is not None, "the group commit left a request unresolved"
    return request.result


def _receipt(request: Request) -> Receipt:
    result = _result(request)
    if isinstance(result, OrderLedgerError):
        raise result
    return result


def _fail(requests: Sequence[Request], error: OrderLedgerError) -> None:
    deliver(requests, [error] * len(requests))


def _log(request: Request, result: Result) -> None:
    streams: tuple[str, ...] = ()
    events = 0
    if isinstance(result, Receipt):
        outcome, streams, events = "accepted", tuple(result.streams), len(result.event_ids)
    else:
        outcome = result.reason.value if isinstance(result, Rejected) else type(result).__name__
    command_handled(
        Handled(
            type(request.prepared.command).__name__,
            request.prepared.key,
            outcome,
            streams,
            events,
            request.attempts,
        )
    )
