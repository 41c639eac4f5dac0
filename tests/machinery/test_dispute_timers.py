"""Deadlines of disputes by the sweeper: each once, at its own instant, however late it comes by."""

from datetime import timedelta

from orderledger.commands.dispute_commands import AcceptDispute
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
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
