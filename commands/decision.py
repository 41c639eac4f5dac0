"""
What a decider takes and returns, and the registry that maps a command to its decider.

A decider is a pure function ``decide(command, states, now) -> Changes``: no I/O, clock,
randomness or float; the same arguments give the same changes. It reads the states it needs through
``States``; the executor (``handle.py``) loads what is missing and runs it again, appends the
changes, and makes every stream that was read but not written a check of the append, so that
concurrent commands have a serial order.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol, TypeVar

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.accounts_state import AccountState, JournalState
from orderledger.ledger.alerts import AlertState
from orderledger.ledger.approvals import ApprovalState
from orderledger.ledger.bank_statements import StatementState
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.events import Event
from orderledger.ledger.fulfilments import FulfilmentState
from orderledger.ledger.inbox import InboxState
from orderledger.ledger.instants import Instant
from orderledger.ledger.journal import EMPTY, Entry
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payments import PaymentState
from orderledger.ledger.payouts import PayoutState
from orderledger.ledger.periods import PeriodsState
from orderledger.ledger.projection_skips import SkipsState
from orderledger.ledger.returns import ReturnState
from orderledger.ledger.sellers import SellerState, StandingState
from orderledger.ledger.settlements import SettlementState
from orderledger.ledger.stored_value import StoredValueState
from orderledger.ledger.work_discards import DiscardsState


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """
    Base of every command: an intention in the imperative, or a report of what happened outside.

    ``occurred_at`` is when it happened in the world, if that is not now (imports, notifications).
    ``is_observation`` marks the reports, which are always recorded, whatever they contradict.
    """

    is_observation: ClassVar[bool] = False

    occurred_at: Instant | None = None

    def streams(self) -> tuple[str, ...]:
        """Return the streams that the decider will read, for loading them in one query."""
        return ()

    def creates(self) -> tuple[str, ...]:
        """
        Return the streams among them that this command starts, as a rule.

        They are taken to be empty without a look; where one is not, the append conflicts, and the
        command is decided again on what is there. It saves a round trip, never a check.
        """
        return ()


class Reported(msgspec.Struct, frozen=True, gc=False):
    """When a report said its entry was effective, and the closed period that instant lies in."""

    at: Instant
    period: str


class Change(msgspec.Struct, frozen=True, gc=False):
    """
    One event to append to a stream, with its postings and when it occurred.

    ``occurred_at`` None means the command's own, or else now. ``reported`` is what was said where
    the entry could not take effect then; deciders leave it to ``decide_periods.dated``.
    """

    stream: str
    event: Event
    entry: Entry = EMPTY
    occurred_at: Instant | None = None
    reported: Reported | None = None


Changes = tuple[Change, ...]


class MissingState(Exception):
    """Control flow inside the executor: the decider needs streams that are not loaded yet."""

    def __init__(self, *names: str) -> None:
        self.streams: Final[tuple[str, ...]] = names


class Readable(Protocol):
    """Where a decider's states come from: KeyError for a stream that is not loaded."""

    def __getitem__(self, stream: str, /) -> Any: ...


class States:
    """
    The folded states a decider may read. A stream without events gives the initial state.

    ``read`` collects the streams that were looked at: the append is conditional on all of them.
    """

    def __init__(self, loaded: Readable) -> None:
        self._loaded = loaded
        self.read: set[str] = set()

    def _get(self, stream: str) -> Any:
        self.read.add(stream)
        try:
            return self._loaded[stream]
        except KeyError:
            raise MissingState(stream) from None

    def gather(self, names: Iterable[str]) -> None:
        """Have many streams loaded in one query that the decider is about to look at."""
        missing: list[str] = []
        for name in names:
            self.read.add(name)
            try:
                self._loaded[name]
            except KeyError:
                missing.append(name)
        if missing:
            raise MissingState(*missing)

    def any_kind(self, stream: str) -> Any:
        """Return the state of a stream by its name, of whatever kind it is."""
        return self._get(stream)

    def order(self, order_id: str) -> OrderState:
        state: OrderState = self._get(streams.order(order_id))
        return state

    def payment(self, payment_id: str) -> PaymentState:
        state: PaymentState = self._get(streams.payment(payment_id))
        return state

    def fulfilment(self, fulfilment_id: str) -> FulfilmentState:
        state: FulfilmentState = self._get(streams.fulfilment(fulfilment_id))
        return state

    def return_(self, return_id: str) -> ReturnState:
        state: ReturnState = self._get(streams.return_(return_id))
        return state

    def stored_value(self, account_id: str) -> StoredValueState:
        state: StoredValueState = self._get(streams.stored_value(account_id))
        return state

    def seller(self, seller_id: str, currency: str) -> SellerState:
        state: SellerState = self._get(streams.seller(seller_id, currency))
        return state

    def standing(self, seller_id: str) -> StandingState:
        state: StandingState = self._get(streams.standing(seller_id))
        return state

    def payout(self, payout_id: str) -> PayoutState:
        state: PayoutState = self._get(streams.payout(payout_id))
        return state

    def account(self, name: str) -> AccountState:
        state: AccountState = self._get(streams.account(name))
        return state

    def journal(self, entry_id: str) -> JournalState:
        state: JournalState = self._get(streams.journal(entry_id))
        return state

    def periods(self) -> PeriodsState:
        state: PeriodsState = self._get(streams.PERIODS)
        return state

    def inbox(self, provider: str, notification_id: str) -> InboxState:
        state: InboxState = self._get(streams.inbox(provider, notification_id))
        return state

    def settlement(self, provider: str, batch: str) -> SettlementState:
        state: SettlementState = self._get(streams.settlement(provider, batch))
        return state

    def dispute(self, dispute_id: str) -> DisputeState:
        state: DisputeState = self._get(streams.dispute(dispute_id))
        return state

    def bank_statement(self, bank: str, statement: str) -> StatementState:
        state: StatementState = self._get(streams.bank_statement(bank, statement))
        return state

    def approval(self, approval_id: str) -> ApprovalState:
        state: ApprovalState = self._get(streams.approval(approval_id))
        return state

    def alert(self, alert_id: str) -> AlertState:
        state: AlertState = self._get(streams.alert(alert_id))
        return state

    def projection(self, model: str) -> SkipsState:
        state: SkipsState = self._get(streams.projection(model))
        return state

    def work(self, lane: str) -> DiscardsState:
        state: DiscardsState = self._get(streams.work(lane))
        return state


C = TypeVar("C", bound=Command)
Decide = Callable[[C, States, datetime], Changes]
_deciders: dict[type[Command], Decide[Any]] = {}


def decides(command: type[C]) -> Callable[[Decide[C]], Decide[C]]:
    """Register the decorated pure function as the decider of a command."""

    def register(function: Decide[C]) -> Decide[C]:
        if command in _deciders:
            raise ValueError(f"{command.__name__} has two deciders")
        _deciders[command] = function
        return function

    return register


def decide(command: Command, states: States, now: datetime) -> Changes:
    """Run the registered decider; raises Rejected, InvalidInput or NotFound."""
    return _deciders[type(command)](command, states, now)


def deciders() -> Mapping[type[Command], Decide[Any]]:
    """Return every registered command with its decider."""
    return _deciders


__all__ = [
    "Change",
    "Changes",
    "Command",
    "MissingState",
    "Reported",
    "States",
    "decide",
    "deciders",
    "decides",
]
