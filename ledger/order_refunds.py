"""
Granted refunds of one order as folded: what the buyer is entitled to, and how far it is settled.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from .order_events import (
    SURPLUS_SOURCES,
    RefundAllocated,
    RefundFailed,
    RefundGranted,
    RefundLine,
    RefundRoutedAsVoid,
    RefundSettled,
    RefundSettledExternally,
    RefundSource,
)
from .ruling_events import RefundGrantReduced


class GrantStatus(StrEnum):
    """Where a granted refund stands; PROCESSING is partly settled."""

    GRANTED = "granted"
    ALLOCATED = "allocated"
    PROCESSING = "processing"
    SETTLED = "settled"
    FAILED = "failed"
    FAILED_AFTER_SUCCESS = "failed_after_success"
    WITHDRAWN = "withdrawn"


class Grant(msgspec.Struct, frozen=True):
    """
    A granted refund. Amounts in minor units.

    ``allocations`` and ``settled`` map payments to amounts; ``failed_ops`` are the operations that
    failed. ``owed`` maps payments to what failed after success and was not issued again; below
    zero where the provider repeated by itself what was issued again. ``undone`` maps operations
    whose success was taken back to their amounts. ``goodwill`` of the total is the platform's,
    because the ruling that granted it was superseded when it was paid.
    """

    refund_id: str
    total: int
    source: RefundSource
    reason: str = ""
    lines: tuple[RefundLine, ...] = ()
    shipping: int = 0
    adjustment: int = 0
    status: GrantStatus = GrantStatus.GRANTED
    strategy: str = ""
    allocations: Mapping[str, int] = {}
    settled: Mapping[str, int] = {}
    settled_externally: int = 0
    settled_ops: Mapping[str, int] = {}
    failed_ops: tuple[str, ...] = ()
    owed: Mapping[str, int] = {}
    undone: Mapping[str, int] = {}
    goodwill: int = 0

    @property
    def owed_again(self) -> int:
        """What failed after success and now waits as a liability: at most what was not paid."""
        owed = sum([amount for amount in self.owed.values() if amount > 0])
        return max(0, min(owed, self.total - self.settled_total))

    @property
    def attempts(self) -> int:
        """Operations of this refund that reached an outcome."""
        return len(self.settled_ops) + len(self.failed_ops)

    @property
    def settled_total(self) -> int:
        """What has reached the buyer, through payments or otherwise."""
        return sum(self.settled.values()) + self.settled_externally

    @property
    def outstanding(self) -> int:
        """What has not reached the buyer yet; 0 once withdrawn."""
        if self.status is GrantStatus.WITHDRAWN:
            return 0
        return max(0, self.total - self.settled_total)

    @property
    def is_live(self) -> bool:
        """Not withdrawn."""
        return self.status is not GrantStatus.WITHDRAWN

    @property
    def lowers_due(self) -> bool:
        """It reduces what the buyer owes, rather than paying back a surplus."""
        return self.source not in SURPLUS_SOURCES


Grants = Mapping[str, Grant]


def new_grant(event: RefundGranted) -> Grant:
    """Return the grant that the event makes."""
    return Grant(
        event.refund_id,
        event.total,
        event.source,
        event.reason,
        event.lines,
        event.shipping,
        event.adjustment,
    )


def allocated(grant: Grant, event: RefundAllocated) -> Grant:
    parts: dict[str, int] = {}
    for part in event.parts:
        parts[part.payment_id] = parts.get(part.payment_id, 0) + part.amount
    return msgspec.structs.replace(
        grant, status=GrantStatus.ALLOCATED, strategy=event.strategy, allocations=parts
    )


def reduced(grant: Grant, event: RefundGrantReduced) -> Grant:
    """Fold that a grant is no more than what was paid of it."""
    after = msgspec.structs.replace(
        grant,
        total=event.total,
        lines=event.lines,
        adjustment=event.adjustment,
        goodwill=event.goodwill,
        allocations={part.payment_id: part.amount for part in event.allocations},
    )
    return _with_status(after, GrantStatus.PROCESSING)


def settled(grant: Grant, event: RefundSettled | RefundRoutedAsVoid) -> Grant:
    """Fold a part that reached the buyer; the same operation counts once."""
    if event.op_id in grant.settled_ops:
        return grant
    amount = grant.settled.get(event.payment_id, 0) + event.amount
    undone = dict(grant.undone)
    # Only what is issued again, or succeeds again by itself, pays what failed after success.
    paid = undone.pop(event.op_id, 0)
    if isinstance(event, RefundSettled) and event.is_reissue:
        paid = event.amount
    after = msgspec.structs.replace(
        grant,
        settled={**grant.settled, event.payment_id: amount},
        settled_ops={**grant.settled_ops, event.op_id: event.amount},
        failed_ops=tuple([op for op in grant.failed_ops if op != event.op_id]),
        owed=_owing(grant, event.payment_id, -paid),
        undone=undone,
    )
    return _with_status(after, GrantStatus.PROCESSING)


def _owing(grant: Grant, payment_id: str, change: int) -> Mapping[str, int]:
    if change == 0:
        return grant.owed
    return {**grant.owed, payment_id: grant.owed.get(payment_id, 0) + change}


def failed(grant: Grant, event: RefundFailed) -> Grant:
    """Fold a failed part; after a success its amount is owed again."""
    operations = dict(grant.settled_ops)
    undone = operations.pop(event.op_id, 0)
    amounts = dict(grant.settled)
    if undone:
        amounts[event.payment_id] = amounts.get(event.payment_id, 0) - undone
    known = event.op_id in grant.failed_ops
    status = GrantStatus.FAILED_AFTER_SUCCESS if undone else GrantStatus.FAILED
    return _with_status(
        msgspec.structs.replace(
            grant,
            settled=amounts,
            settled_ops=operations,
            failed_ops=grant.failed_ops if known else (*grant.failed_ops, event.op_id),
            owed=_owing(grant, event.payment_id, undone),
            undone={**grant.undone, event.op_id: undone} if undone else grant.undone,
        ),
        status,
    )


def settled_externally(grant: Grant, event: RefundSettledExternally) -> Grant:
    owed = dict(grant.owed)
    left = event.amount
    for payment_id, amount in grant.owed.items():
        part = max(0, min(left, amount))
        owed[payment_id] = amount - part
        left -= part
    after = msgspec.structs.replace(
        grant, settled_externally=grant.settled_externally + event.amount, owed=owed
    )
    return _with_status(after, GrantStatus.PROCESSING)


def _with_status(grant: Grant, otherwise: GrantStatus) -> Grant:
    if grant.status is GrantStatus.WITHDRAWN:
        status = GrantStatus.WITHDRAWN
    elif grant.settled_total >= grant.total:
        status = GrantStatus.SETTLED
    elif grant.owed_again:
        status = GrantStatus.FAILED_AFTER_SUCCESS
    else:
        status = otherwise
    return msgspec.structs.replace(grant, status=status)
