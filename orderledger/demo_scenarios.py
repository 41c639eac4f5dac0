"""
The demo's day: which stories are told, and how each of them goes.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from random import Random
from typing import Final

from msgspec.structs import replace

from orderledger.commands.fulfilment_commands import (
    ApproveReturn,
    CloseReturn,
    InspectReturn,
    ReceiveReturn,
    RequestReturn,
)
from orderledger.commands.order_commands import (
    CancelOrder,
    ConfirmOrderChange,
    CoverPolicy,
    ExpireOrder,
    FinishCancellation,
    GrantRefund,
    ProposeOrderChange,
)
from orderledger.commands.payment_commands import (
    QueryOperation,
    RecordReversed,
    RecordUnknown,
    ResolveOperation,
    RetryNotification,
    RetryRefund,
    Void,
)
from orderledger.commands.value_commands import IssueValue, RedeemValue
from orderledger.ledger import accounts
from orderledger.ledger.fulfilment_events import (
    InspectionOutcome,
    ReceivedLine,
    ReturnLine,
    ReturnResolution,
)
from orderledger.ledger.money import apply_rate
from orderledger.ledger.order_content import ItemUpdate
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.payment_operations import FundingPart, Outcome
from orderledger.ledger.value_events import ValueKind, ValueSource

from .demo_story import CARD, COMMISSION, CURRENCY, WALLET, Step, Story

_WINDOW: Final = datetime(2026, 12, 31, tzinfo=UTC)
_INTERLEAVED: Final = 8
"""Orders whose stories run at the same time."""


def _by_card(story: Story) -> str:
    """Place, authorise, confirm; return the payment."""
    story.place()
    payment_id = story.initiate(story.total)
    story.authorise(payment_id, story.total)
    story.succeeded(payment_id, story.part("auth"), story.total)
    story.confirm()
    return payment_id


def _by_wallet(story: Story) -> str:
    """Place, charge at once, confirm; return the payment."""
    story.place()
    payment_id = story.initiate(story.total, provider=WALLET)
    op_id = story.purchase(payment_id, story.total)
    story.succeeded(payment_id, op_id, story.total)
    story.confirm(CoverPolicy.CHARGED)
    return payment_id


def _captured(story: Story) -> str:
    payment_id = _by_card(story)
    op_id = story.capture(payment_id, story.total, 1, is_final=True)
    story.succeeded(payment_id, op_id, story.total)
    return payment_id


def _finished(story: Story) -> None:
    story.ship(story.lines, 1)
    story.release()
    story.complete()


def plain(story: Story) -> None:
    """Paid by card, captured when it leaves, delivered, paid out of escrow."""
    _captured(story)
    _finished(story)


def partial_captures(story: Story) -> None:
    """Each line leaves in a parcel of its own, and is captured with it."""
    payment_id = _by_card(story)
    left = story.total
    for number, line in enumerate(story.lines, 1):
        is_last = number == len(story.lines)
        amount = left if is_last else story.line_amount(line)
        left -= amount
        op_id = story.capture(payment_id, amount, number, is_final=is_last)
        story.succeeded(payment_id, op_id, amount)
        story.ship((line,), number)
    story.release()
    story.complete()


def split_tender(story: Story) -> None:
    """Store credit for a goodwill pays a part, a card the rest."""
    account_id = story.part("credit")
    credit = story.chance.randrange(100, min(2_000, story.total // 2))
    story.do(
        IssueValue(
            account_id=account_id,
            holder=story.part("buyer"),
            kind=ValueKind.STORE_CREDIT,
            lot_id=story.part("lot"),
            amount=credit,
            currency=CURRENCY,
            source=ValueSource.GOODWILL,
        )
    )
    story.place()
    redeem = RedeemValue(
        account_id=account_id,
        redemption_id=story.part("redemption"),
        amount=credit,
        currency=CURRENCY,
        order_id=story.order_id,
    )
    story.do(redeem)
    rest = story.total - credit
    payment_id = story.initiate(rest)
    story.authorise(payment_id, rest)
    story.succeeded(payment_id, story.part("auth"), rest)
    story.confirm()
    op_id = story.capture(payment_id, rest, 1, is_final=True)
    story.succeeded(payment_id, op_id, rest)
    _finished(story)


def duplicate_notifications(story: Story) -> None:
    """The provider delivers its success four times, twice after the order is finished."""
    story.place()
    payment_id = story.initiate(story.total, provider=WALLET)
    op_id = story.purchase(payment_id, story.total)
    fields = {"op_id": op_id, "provider_ref": f"ref-{op_id}", "amount": story.total}
    story.notify(payment_id, Outcome.SUCCEEDED, fields)
    story.notify_again(payment_id, Outcome.SUCCEEDED, fields)
    story.confirm(CoverPolicy.CHARGED)
    _finished(story)
    story.notify_again(payment_id, Outcome.SUCCEEDED, fields)
    # The same under another notification id: only its content can tell.
    story.notify(payment_id, Outcome.SUCCEEDED, fields)


def out_of_order(story: Story) -> None:
    """The provider's checkout captures, and its reports arrive capture first."""
    story.place()
    payment_id = story.initiate(story.total, provider=WALLET)
    amount = {"amount": story.total, "currency": CURRENCY}
    capture = {"kind": "capture", "provider_ref": story.part("c"), **amount, "is_final": True}
    authorise = {"kind": "authorise", "provider_ref": story.part("a"), **amount}
    story.notify(payment_id, Outcome.SUCCEEDED, capture)
    story.notify(payment_id, Outcome.SUCCEEDED, authorise)
    story.confirm(CoverPolicy.CHARGED)
    _finished(story)


def early_notification(story: Story) -> None:
    """A notification comes before its payment is known: it is parked and applied later."""
    payment_id = story.part("wallet")
    fields = {"kind": "purchase", "provider_ref": story.part("p"), "amount": story.total}
    story.notify(payment_id, Outcome.SUCCEEDED, fields)
    story.place()
    story.initiate(story.total, provider=WALLET)
    story.do(RetryNotification(provider=WALLET, notification_id=f"{story.order_id}.1"))
    story.confirm(CoverPolicy.CHARGED)
    _finished(story)


def cancelled_before_capture(story: Story) -> None:
    """The buyer changes their mind: the authorisation is voided, nothing was ever charged."""
    payment_id = _by_card(story)
    story.do(CancelOrder(order_id=story.order_id, reason="changed my mind", by="buyer"))
    op_id = story.part("void")
    void = Void(payment_id=payment_id, order_id=story.order_id, op_id=op_id, currency=CURRENCY)
    story.do(void)
    story.notify(payment_id, Outcome.SUCCEEDED, {"op_id": op_id, "amount": story.total})
    finish = FinishCancellation(order_id=story.order_id, refund_id=story.part("refund"))
    story.do(finish)


def cancelled_after_capture(story: Story) -> None:
    """Charged, then cancelled: the money is granted back and refunded from escrow."""
    payment_id = _by_wallet(story)
    story.do(CancelOrder(order_id=story.order_id, reason="out of stock", by="seller"))
    refund_id = story.part("refund")
    story.do(FinishCancellation(order_id=story.order_id, refund_id=refund_id))
    op_id = story.refund(payment_id, refund_id, story.total)
    story.succeeded(payment_id, op_id, story.total)
    # Nobody may pay the buyer a second time.
    again = GrantRefund(
        order_id=story.order_id,
        refund_id=story.part("again"),
        reason="asked twice",
        source=RefundSource.GOODWILL,
        adjustment=story.total,
    )
    story.do(again, is_refused=True)


def returned(story: Story) -> None:
    """One unit comes back after the sellers were paid: they and the commission bear the refund."""
    payment_id = _captured(story)
    story.ship(story.lines, 1)
    story.release()
    line = story.lines[0]
    refund_id, return_id = story.part("refund"), story.part("return")
    order_id = story.order_id
    story.do(
        RequestReturn(
            return_id=return_id,
            order_id=order_id,
            lines=(ReturnLine(line.line_id, 1, "too small"),),
            window_until=_WINDOW,
        )
    )
    story.do(ApproveReturn(return_id=return_id, order_id=order_id, by="seller"))
    received = (ReceivedLine(line.line_id, ok=1),)
    story.do(
        ReceiveReturn(
            return_id=return_id, order_id=order_id, reception_id=return_id, lines=received
        )
    )
    story.do(
        InspectReturn(
            return_id=return_id, order_id=order_id, outcome=InspectionOutcome.ACCEPTED, by="seller"
        )
    )
    amount = _grant_unit(story, refund_id, RefundSource.RETURN)
    closed = CloseReturn(
        return_id=return_id,
        order_id=order_id,
        resolution=ReturnResolution.REFUND,
        refund_id=refund_id,
    )
    story.do(closed)
    commission = apply_rate(amount, COMMISSION)
    funding = (
        FundingPart(accounts.seller(line.seller), amount - commission),
        FundingPart(accounts.COMMISSION_REFUNDED, commission),
    )
    op_id = story.refund(payment_id, refund_id, amount, funding)
    story.succeeded(payment_id, op_id, amount)
    story.complete()


def _grant_unit(story: Story, refund_id: str, source: RefundSource) -> int:
    """Grant the price of one unit of the first line; return it."""
    line = story.lines[0]
    story.do(
        GrantRefund(
            order_id=story.order_id,
            refund_id=refund_id,
            reason="one unit",
            source=source,
            lines=(MovedLine(line.line_id, 1),),
        )
    )
    return story.unit(line)


def refund_retried(story: Story) -> None:
    """The refund is declined, tried again, and succeeds."""
    payment_id, refund_id, amount = _refunded_unit(story)
    story.declined(payment_id, f"{refund_id}-1", "account_closed")
    _retry(story, payment_id, refund_id, amount)
    story.release()
    story.complete()


def refund_bounced(story: Story) -> None:
    """The refund succeeds, bounces a day later, is still owed, and is issued again."""
    payment_id, refund_id, amount = _refunded_unit(story)
    op_id = f"{refund_id}-1"
    story.succeeded(payment_id, op_id, amount)
    story.at += timedelta(days=1)
    reversal = RecordReversed(payment_id=payment_id, op_id=op_id, cause="account closed")
    story.do(reversal)
    _retry(story, payment_id, refund_id, amount)
    story.release()
    story.complete()


def _refunded_unit(story: Story) -> tuple[str, str, int]:
    payment_id = _captured(story)
    story.ship(story.lines, 1)
    refund_id = story.part("refund")
    amount = _grant_unit(story, refund_id, RefundSource.PRICE)
    story.refund(payment_id, refund_id, amount)
    return payment_id, refund_id, amount


def _retry(story: Story, payment_id: str, refund_id: str, amount: int) -> None:
    op_id = f"{refund_id}-2"
    story.do(
        RetryRefund(
            payment_id=payment_id,
            order_id=story.order_id,
            op_id=op_id,
            amount=amount,
            currency=CURRENCY,
            refund_id=refund_id,
        )
    )
    story.succeeded(payment_id, op_id, amount)


def refund_in_credit(story: Story) -> None:
    """The buyer takes store credit in place of the refund."""
    _captured(story)
    story.ship(story.lines, 1)
    refund_id = story.part("refund")
    amount = _grant_unit(story, refund_id, RefundSource.PRICE)
    story.do(
        IssueValue(
            account_id=story.part("credit"),
            holder=story.part("buyer"),
            kind=ValueKind.STORE_CREDIT,
            lot_id=story.part("lot"),
            amount=amount,
            currency=CURRENCY,
            source=ValueSource.REFUND,
            order_id=story.order_id,
            refund_id=refund_id,
        )
    )
    story.release()
    story.complete()


def changed(story: Story) -> None:
    """The buyer takes one unit less; what was charged too much goes back."""
    payment_id = _by_wallet(story)
    line = story.lines[0]
    change_id, refund_id = story.part("change"), story.part("refund")
    fewer = ItemUpdate(line.line_id, line.quantity - 1)
    propose = ProposeOrderChange(
        order_id=story.order_id, change_id=change_id, base_version=1, actions=(fewer,), by="buyer"
    )
    story.do(propose)
    confirm = ConfirmOrderChange(order_id=story.order_id, change_id=change_id, refund_id=refund_id)
    story.do(confirm)
    amount = story.unit(line)
    op_id = story.refund(payment_id, refund_id, amount)
    story.succeeded(payment_id, op_id, amount)
    story.ship((replace(line, quantity=line.quantity - 1), *story.lines[1:]), 1)
    story.release()
    story.complete()


def unknown_outcome(story: Story) -> None:
    """A capture times out. Nobody guesses: it is looked up, or decided by two people."""
    payment_id = _by_card(story)
    op_id = story.capture(payment_id, story.total, 1, is_final=True)
    story.do(RecordUnknown(payment_id=payment_id, op_id=op_id, cause="timeout after 30 s"))
    story.do(QueryOperation(payment_id=payment_id, op_id=op_id, result="no answer"))
    if story.chance.random() < 0.5:
        story.succeeded(payment_id, op_id, story.total)
    else:
        story.do(
            ResolveOperation(
                payment_id=payment_id,
                op_id=op_id,
                outcome=Outcome.SUCCEEDED,
                actor="staff-1",
                approver="staff-2",
                reason="seen in the provider's console",
                provider_ref=f"ref-{op_id}",
            )
        )
    _finished(story)


def paid_too_late(story: Story) -> None:
    """Declined, expired, and then the money comes after all: it is sent back."""
    due_at = story.at + timedelta(minutes=30)
    story.place(payment_due_at=due_at)
    payment_id = story.initiate(story.total, provider=WALLET)
    op_id = story.purchase(payment_id, story.total)
    # Without the provider's sequence, two reports of one reference would contradict each other.
    story.declined(payment_id, op_id, "insufficient_funds", sequence=1)
    story.do(ExpireOrder(order_id=story.order_id, due_at=due_at))
    story.succeeded(payment_id, op_id, story.total, sequence=2)
    refund_id = story.part("refund")
    story.do(
        GrantRefund(
            order_id=story.order_id,
            refund_id=refund_id,
            reason="paid after it had expired",
            source=RefundSource.LATE_PAYMENT,
            adjustment=story.total,
        )
    )
    refund_op = story.refund(payment_id, refund_id, story.total)
    story.succeeded(payment_id, refund_op, story.total)


def under_way(story: Story) -> None:
    """Paid and not delivered yet when the day ends: escrow holds the money."""
    _captured(story)


SCENARIOS: Final[Mapping[str, tuple[int, Callable[[Story], None]]]] = {
    "paid by card, delivered": (30, plain),
    "captured parcel by parcel": (10, partial_captures),
    "store credit and card": (9, split_tender),
    "notified again and again": (7, duplicate_notifications),
    "notified capture first": (5, out_of_order),
    "notified before the payment": (4, early_notification),
    "cancelled, authorisation voided": (6, cancelled_before_capture),
    "cancelled, charge refunded": (5, cancelled_after_capture),
    "returned after the release": (7, returned),
    "refund declined, retried": (4, refund_retried),
    "refund bounced, issued again": (3, refund_bounced),
    "refund taken as store credit": (3, refund_in_credit),
    "changed after payment": (4, changed),
    "outcome unknown, resolved": (4, unknown_outcome),
    "paid too late, sent back": (3, paid_too_late),
    "still under way": (3, under_way),
}
"""What the printed counts call a scenario, how often it comes relative to the others, its story."""
PROVIDERS: Final = (CARD, WALLET)


def stories(seed: int, orders: int) -> list[Story]:
    """Return the stories of a day; every scenario occurs where there are orders enough."""
    names = list(SCENARIOS)
    chance = Random(seed)
    weights = [SCENARIOS[name][0] for name in names]
    chosen = [*names, *chance.choices(names, weights, k=max(0, orders - len(names)))][:orders]
    chance.shuffle(chosen)
    told: list[Story] = []
    for number, name in enumerate(chosen, 1):
        story = Story(seed, number, name)
        SCENARIOS[name][1](story)
        told.append(story)
    return told


def interleaved(told: list[Story]) -> Iterator[Step]:
    """Yield the steps of all stories, those of some orders in turn, each story in its order."""
    for first in range(0, len(told), _INTERLEAVED):
        group = [story.steps for story in told[first : first + _INTERLEAVED]]
        for turn in zip_longest(*group):
            yield from [step for step in turn if step is not None]
