"""Deadlines of disputes by the sweeper: each once, at its own instant, however late it comes by."""

from datetime import timedelta

import pytest

from orderledger.commands.dispute_commands import AcceptDispute, WithdrawDispute
from orderledger.commands.order_commands import ExpireOrder
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.orders import Lifecycle
from orderledger.projections.deadlines import DeadlineRow
from tests.dispute_book import file, rules
from tests.machinery.shop import START, Clock, initiate, open_book, place, purchase, run, succeeded

HOUR = timedelta(hours=1)


def test_a_dispute_runs_its_course_by_sweeps_alone() -> None:
    """Catches a kind of deadline that no timer performs, or a sweep whose lateness shows."""
    clock = Clock()
    book = open_book(clock)
    run(book, place(), initiate(), purchase(), succeeded("p1", "buy"))
    line = next(iter(book.order("o1").lines.values()))
    filing = file(
        "d1",
        (line.line.line_id, 100),
        seller=line.line.seller,
        placed_at=START,
        delivered_at=None,
        rule_book=rules(mediation_hours=0, answer_hours=0),
    )
    run(book, filing, AcceptDispute(dispute_id="d1", by="clerk"))
    kinds = [row.kind for row in book.machinery.deadlines() if row.stream == "dispute-d1"]
    assert kinds == ["response", "negotiation"]
    clock.move(hours=1_000)
    while book.sweep().performed:
        pass
    state = book.read.dispute("d1")
    assert state.stage is Stage.ARBITRATION
    assert state.evidence_closed == {Party.BUYER: True, Party.SELLER: True}
    told = [
        (one.occurred_at - START) // HOUR
        for one in book.read.history("dispute-d1")
        if "deadline_missed" in one.topic
    ]
    assert told == [48, 96, 168, 192, 292]
    rows: list[DeadlineRow] = [
        row for row in book.machinery.deadlines() if row.stream == "dispute-d1"
    ]
    assert rows == []


def test_a_disputed_order_does_not_expire() -> None:
    """Catches an order that goes from under its dispute, or one that never expires after it."""
    clock = Clock()
    book = open_book(clock)
    due_at = START + timedelta(hours=1)
    run(book, place(payment_due_at=due_at), file(placed_at=START, delivered_at=None))
    expire = ExpireOrder(order_id="o1", due_at=due_at)
    clock.move(hours=2)
    with pytest.raises(Rejected) as refused:
        run(book, expire)
    assert refused.value.reason is Reason.DISPUTE_OPEN
    assert book.sweep().found == 0
    run(book, WithdrawDispute(dispute_id="d1", by="b1", reason="sorry"))
    assert book.sweep().performed == 1
    assert book.order("o1").lifecycle is Lifecycle.EXPIRED
