"""
A ruling before it is issued: what it would do, were it issued now, final and executed.

It is issued on a fork of the book, its appeal window passes there, and it is executed there, each
by the command that does it on the book. So the entries are those that the book would make.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from orderledger.commands.dispute_commands import OfDispute, PerformDisputeDeadline
from orderledger.commands.requests import Actor
from orderledger.commands.risk_hook import RiskHook
from orderledger.commands.ruling_commands import ExecuteRuling, IssueRuling
from orderledger.commands.ruling_execution import NO_TERMS, ExecutionTerms
from orderledger.ledger import accounts, streams
from orderledger.ledger.as_of import LogAsOf
from orderledger.ledger.dispute_events import DeadlineKind
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_ruling_events import (
    RulingExecutionLegDone,
    RulingExecutionLegFailed,
    RulingExecutionStarted,
)
from orderledger.ledger.dispute_stages import DECIDED, Stage
from orderledger.ledger.disputes import DisputeState, running
from orderledger.ledger.errors import (
    InvalidInput,
    NotFound,
    OrderLedgerError,
    Rejected,
    StorageError,
    Unavailable,
)
from orderledger.ledger.hypothetical import MARK, Edits
from orderledger.ledger.journal import Layer
from orderledger.ledger.order_events import RefundAllocated
from orderledger.ledger.orders import OrderState
from orderledger.ledger.ports import StoredEvent

from .course import Course, OpenFork
from .diff_balances import BalanceChange
from .history import RecordedEvent, recorded
from .what_if import BalanceAt, Touched

ISSUE: Final = "issue"
FINAL: Final = "final"
EXECUTE: Final = "execute"


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ends and why: ``step`` is ISSUE, FINAL or EXECUTE, ``reason`` the domain's."""

    step: str
    error: str
    reason: str
    message: str


class AppealWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Until when the ruling can be appealed, and the rule that says so."""

    deadline_id: str
    until: datetime
    rule_ref: str


class SimulatedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a party would receive, in minor units of the order's currency, and the events that do it.

    Not ``is_done``: ``reason`` and ``message`` are those of the order's refusal.
    """

    leg_id: str
    party: Party
    amount: int
    is_done: bool
    reason: str = ""
    message: str = ""
    events: tuple[RecordedEvent, ...] = ()


class TenderRefund(msgspec.Struct, frozen=True, kw_only=True):
    """What of the buyer's refund would go back to a payment."""

    payment_id: str
    tender: str
    amount: int


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a ruling would do. It did not happen.

    ``events`` are all that would be written, in order; those of the legs are among them.
    ``balances`` are the posted balances of the order's escrow, of the seller, of the dispute's
    reserve, and of whatever else would move. ``refused`` is None if it would be executed; a leg
    that the order refuses leaves the dispute executing.
    """

    hypothetical: str = MARK
    is_hypothetical: bool = True
    book: str
    position: int
    dispute_id: str
    ruling_id: str
    order_id: str
    currency: str
    at: datetime
    stage: Stage
    final_at: datetime | None
    appeal: AppealWindow | None
    legs: tuple[SimulatedLeg, ...]
    refunds: tuple[TenderRefund, ...]
    balances: tuple[BalanceChange, ...]
    events: tuple[RecordedEvent, ...]
    refused: Refused | None

    @property
    def is_executed(self) -> bool:
        """Whether every leg would be done."""
        return self.stage is Stage.EXECUTED


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a ruling is simulated: at what time by the clock, on which terms, under which policy, and
    who gives the commands.
    """

    at: datetime
    actor: Actor
    terms: ExecutionTerms = NO_TERMS
    risk: RiskHook | None = None


def simulate_ruling(
    log: LogAsOf,
    ruling: IssueRuling,
    around: Circumstances,
    open_fork: OpenFork,
    balance_at: BalanceAt,
) -> Simulation:
    """
    Return what a ruling would do if it were issued now, nobody appealed, and it were executed.

    What refuses it is in the answer. Raises NotFound for a dispute that was not filed, and
    InvalidInput for a malformed command.
    """
    course = Course(log, open_fork, around.at, around.risk)
    try:
        run = _Run(course, ruling, around)
        run.go()
        return run.simulation(log, balance_at)
    finally:
        course.close()


class _Run:
    """A ruling on its way through a fork: the commands, what they wrote, and what refused one."""

    def __init__(self, course: Course, ruling: IssueRuling, around: Circumstances) -> None:
        self._course: Final = course
        self._ruling: Final = ruling
        self._around: Final = around
        self._final_at: datetime | None = None
        self._appeal: AppealWindow | None = None
        self._executed: Sequence[StoredEvent] = ()
        self._refused: Refused | None = None
        if not self._dispute.exists:
            dispute_id = ruling.dispute_id
            raise NotFound(f"there is no dispute {dispute_id}", dispute_id=dispute_id)

    @property
    def _dispute(self) -> DisputeState:
        state: DisputeState = self._course.state(streams.dispute(self._ruling.dispute_id))
        return state

    def go(self) -> None:
        """Issue the ruling, let its appeal window pass, and execute it, as far as that goes."""
        if self._give(ISSUE, self._ruling) is None:
            return
        windows = [one for one in running(self._dispute) if one.kind is DeadlineKind.APPEAL]
        self._final_at = self._course.now
        for window in windows:
            self._appeal = AppealWindow(
                deadline_id=window.deadline_id, until=window.due_at, rule_ref=window.rule_ref
            )
            self._final_at = self._course.now = max(self._course.now, window.due_at)
            passed = PerformDisputeDeadline(
                dispute_id=self._ruling.dispute_id,
                deadline_id=window.deadline_id,
                occurred_at=window.due_at,
            )
            if self._give(FINAL, passed) is None:
                return
        command = ExecuteRuling(dispute_id=self._ruling.dispute_id, terms=self._around.terms)
        self._executed = self._give(EXECUTE, command) or ()

    def _give(self, step: str, command: OfDispute) -> Sequence[StoredEvent] | None:
        try:
            return self._course.give(command, self._around.actor)
        except (InvalidInput, StorageError, Unavailable):
            raise
        except OrderLedgerError as error:
            self._refused = Refused(
                step=step,
                error=type(error).__name__,
                reason=error.reason.value if isinstance(error, Rejected) else "",
                message=error.message,
            )
            return None

    def simulation(self, log: LogAsOf, balance_at: BalanceAt) -> Simulation:
        """Return what came of it."""
        dispute, written = self._dispute, self._course.fork.written
        order: OrderState = self._course.state(streams.order(dispute.order_id))
        shown = (
            accounts.escrow(order.order_id),
            accounts.seller(dispute.seller),
            accounts.dispute_reserve(dispute.dispute_id),
        )
        touched = Touched(log, Edits(), self._course.fork)
        found = touched.balances(balance_at, Layer.POSTED)
        moved = {(one.account, one.currency) for one in found}
        still = [name for name in shown if (name, order.currency) not in moved]
        unmoved = [_unmoved(name, order.currency, balance_at) for name in still]
        return Simulation(
            book=log.book,
            position=log.point.position,
            dispute_id=dispute.dispute_id,
            ruling_id=self._ruling.ruling_id,
            order_id=order.order_id,
            currency=order.currency,
            at=self._around.at,
            stage=dispute.stage,
            final_at=self._final_at if dispute.stage in DECIDED else None,
            appeal=self._appeal,
            legs=tuple(_legs(dispute, self._executed)),
            refunds=tuple(_refunds(order, written)),
            balances=tuple(sorted([*found, *unmoved], key=lambda one: (one.account, one.currency))),
            events=tuple([recorded(row) for row in written]),
            refused=self._refused,
        )


def _unmoved(account: str, currency: str, balance_at: BalanceAt) -> BalanceChange:
    minor = balance_at(account, currency, Layer.POSTED)
    return BalanceChange(account=account, currency=currency, before=minor, after=minor, entries=())


def _legs(dispute: DisputeState, rows: Sequence[StoredEvent]) -> Iterator[SimulatedLeg]:
    """Yield the legs of an execution, each with the events between the leg before and its end."""
    events: list[RecordedEvent] = []
    for row in rows:
        one = recorded(row)
        events.append(one)
        match one.event:
            case RulingExecutionStarted():
                events = []
            case RulingExecutionLegDone(leg_id=leg_id):
                yield _leg(dispute, leg_id, events)
                events = []
            case RulingExecutionLegFailed(leg_id=leg_id, cause=cause):
                reason, _, message = cause.partition(": ")
                failed = _leg(dispute, leg_id, events)
                yield msgspec.structs.replace(failed, is_done=False, reason=reason, message=message)
                events = []
            case _:
                pass


def _leg(dispute: DisputeState, leg_id: str, events: Sequence[RecordedEvent]) -> SimulatedLeg:
    leg = dispute.legs[leg_id]
    return SimulatedLeg(
        leg_id=leg_id, party=leg.party, amount=leg.amount, is_done=True, events=tuple(events)
    )


def _refunds(order: OrderState, rows: Sequence[StoredEvent]) -> Iterator[TenderRefund]:
    for row in rows:
        event = recorded(row).event
        if isinstance(event, RefundAllocated):
            for part in event.parts:
                yield TenderRefund(
                    payment_id=part.payment_id,
                    tender=order.tenders.get(part.payment_id, ""),
                    amount=part.amount,
                )
