"""
The commands that must see every committed entry while no append is in flight.

Rare and exclusive, so they go past the group commit: the store calls back under its lock.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from orderledger.ledger.errors import InvalidCommand
from orderledger.ledger.journal import Layer
from orderledger.ledger.periods import PeriodsState
from orderledger.ledger.ports import (
    AppendConflict,
    Appended,
    Batch,
    CutRequest,
    EventStore,
    LedgerCut,
)
from orderledger.ledger.streams import PERIODS

from .account_commands import Constraining
from .attempt import Attempt, Surroundings
from .decide_accounts import constrain
from .decide_periods import close, reopen
from .deciding import Decided, Decider, Prepared
from .decision import Changes, States
from .failures import exhausted
from .period_commands import ClosePeriod, Exclusive, Periodic
from .receipts import Receipts
from .requests import Envelope, Receipt
from .states import StateCache


class ExclusiveCommands:
    """
    Executes such commands on one book, each in a transaction of its own.

    ``surroundings`` gives what an attempt needs, with the constraints read anew.
    """

    def __init__(
        self,
        store: EventStore,
        cache: StateCache,
        receipts: Receipts,
        surroundings: Callable[[], Surroundings],
    ) -> None:
        self._store: Final = store
        self._cache: Final = cache
        self._receipts: Final = receipts
        self._surroundings: Final = surroundings

    def execute(self, prepared: Prepared) -> Receipt:
        """Return the command's receipt, or that of its key; raises its refusal, which is stored."""
        receipt = self._receipts.replayed(prepared, self._receipts.known((prepared,)))
        if receipt is not None:
            return receipt
        one = _One(prepared, self._cache, self._surroundings)
        try:
            appended = self._append(one)
        except AppendConflict as conflict:
            receipt = self._receipts.replayed(prepared, self._receipts.known((prepared,)))
            if receipt is not None:
                return receipt
            raise exhausted(prepared, conflict.moved) from conflict
        decided = one.remembered()
        if decided.refusal is not None:
            raise decided.refusal
        return self._receipts.receipt(prepared, decided, appended, 0)

    def _append(self, one: "_One") -> Appended:
        command = one.prepared.command
        if isinstance(command, Periodic):
            request = CutRequest()
            if isinstance(command, ClosePeriod):
                request = CutRequest(before=command.end, none_before=command.start)
            return self._store.change_periods(request, one.of_periods)
        assert isinstance(command, Constraining), f"{type(command).__name__} shares a transaction"
        return self._store.constrain(command.account, one.of_account)


class _One:
    """One such command: the callbacks of the store, and what they decided."""

    def __init__(
        self, prepared: Prepared, cache: StateCache, surroundings: Callable[[], Surroundings]
    ) -> None:
        self.prepared: Final = prepared
        self._cache: Final = cache
        self._surroundings: Final = surroundings
        self._made: tuple[Decided, Attempt] | None = None

    def of_account(self, opening: Mapping[tuple[str, str], int], generation: int) -> Batch:
        """Decide on the account's balance over every committed event."""
        del generation
        command = self.prepared.command
        assert isinstance(command, Constraining)
        net = {(Layer(layer), currency): minor for (layer, currency), minor in opening.items()}

        def decider(_: object, states: States, __: datetime) -> Changes:
            return constrain(command, states.account(command.account), net)

        return self._decide(decider)

    def of_periods(self, cut: LedgerCut) -> tuple[Batch, datetime | None]:
        """Decide on the entries of the book; also return until when it is closed then."""
        command = self.prepared.command
        assert isinstance(command, Periodic)

        def decider(_: object, states: States, now: datetime) -> Changes:
            if isinstance(command, ClosePeriod):
                return close(command, states.periods(), cut, now)
            return reopen(command, states.periods())

        batch = self._decide(decider)
        assert self._made is not None
        written = self._made[0].written.get(PERIODS)
        if written is None:
            return batch, None
        state: PeriodsState = written.state
        return batch, state.closed_until

    def remembered(self) -> Decided:
        """Return what was decided, once it is committed."""
        assert self._made is not None, "the store did not ask"
        decided, attempt = self._made
        self._cache.remember(attempt.changed)
        return decided

    def _decide(self, decider: Decider) -> Batch:
        prepared = self.prepared
        fresh = {*prepared.streams, *prepared.envelope.expected}
        self._cache.forget(fresh)
        attempt = Attempt(self._surroundings(), (prepared,))
        decided = attempt.decide(prepared, decider)
        self._made = (decided, attempt)
        batch = attempt.batch((decided,))
        # What is read under the lock cannot move before it is let go. A check would lock the
        # stream's slot after the head, against the order of appends, which now wait for the head.
        checks = {name: version for name, version in batch.checks.items() if name not in fresh}
        return msgspec.structs.replace(batch, checks=checks)


def shareable(envelope: Envelope) -> Envelope:
    """Refuse the commands that cannot share a transaction with others."""
    if isinstance(envelope.command, Exclusive):
        name = type(envelope.command).__name__
        raise InvalidCommand(
            f"{name} runs alone: give it to execute, without a connection", command=name
        )
    return envelope
