"""Filing a dispute and admitting it: windows, amounts, lines, and what the order is told."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from orderledger.commands.dispute_commands import (
    AcceptDispute,
    MergeDispute,
    RejectDispute,
    Respond,
    SubmitEvidence,
    WithdrawDispute,
)
from orderledger.commands.order_commands import (
    CancelLine,
    CancelOrder,
    CompleteOrder,
    GrantRefund,
    HoldFunds,
    MeetReleaseCondition,
    ReleaseFunds,
    ReopenOrder,
)
from orderledger.commands.ruling_commands import ExecuteRuling
from orderledger.ledger.dispute_content import Answer
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.order_axes import DisputeStatus, axes_of
from orderledger.ledger.order_events import MovedLine, MoveKind, OrderReopened, RefundSource
from orderledger.ledger.rule_books import ClaimCap, hash_of
from orderledger.ledger.tenders import tenders_of
from tests.decided_book import START
from tests.dispute_book import HOUR, RULES, DisputeBook, file, item, rules


@pytest.fixture
def book() -> DisputeBook:
    return DisputeBook()


def axis(book: DisputeBook) -> DisputeStatus:
    order = book.order()
    return axes_of(order, tenders_of(order, lambda key: book.states[f"payment-{key}"])).dispute


def withdraw(dispute_id: str = "d1") -> WithdrawDispute:
    return WithdrawDispute(dispute_id=dispute_id, by="b1", reason="found it")


def test_a_filing_keeps_the_rule_book_and_tells_the_order(book: DisputeBook) -> None:
    """Rules that change with the code, or an order that does not know it is contested."""
    assert book.did(file(evidence=(item("e1"),))) == ["DisputeFiled", "DisputeOpened"]
    state = book.dispute()
    assert (state.stage, state.claimed, state.respondent) == (Stage.FILED, 1000, Party.SELLER)
    assert state.filed is not None
    assert (state.filed.rule_book, state.rule_book_hash) == (RULES, hash_of(RULES))
    assert state.evidence["e1"].party is Party.BUYER
    assert axis(book) is DisputeStatus.OPEN
    assert book.run(file(evidence=(item("e1"),))) == ()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (file(order_id="none", reason=" "), "InvalidCommand"),
        (file("d" * 61), "InvalidCommand"),
        (file(claimant=Party.PLATFORM), "InvalidCommand"),
        (file("d1", ("a", 0)), "InvalidCommand"),
        (file("d1", ("a", 1), ("a", 2)), "InvalidCommand"),
        (file(evidence=(item("e1"), item("e1", b"x"))), "InvalidCommand"),
        (file(rule_book=rules(quorum=1)), "InvalidCommand"),
        (file(order_id="none"), "NotFound"),
        (file("d1", ("x", 9_999)), "not_found"),
        (file("d1", ("c", 9_999)), "not_found"),
        (file("d1", ("a", 9_999), delivered_at=START - 720 * HOUR), "window_closed"),
        (file("d1", delivered_at=None, placed_at=START - 720 * HOUR), "window_closed"),
        (file("d1", ("a", 3_001)), "amount_exceeds_available"),
        (file("d1", ("a", 2_000), ("b", 2_001)), "amount_exceeds_available"),
        (file(rule_book=rules(caps=(ClaimCap("USD", 999),))), "amount_exceeds_available"),
        (file(rule_book=rules(caps=(ClaimCap("EUR", 999), ClaimCap("USD", 1_000)))), ""),
        (file("d1", ("a", 3_000), ("b", 2_000)), ""),
        (file("d1", delivered_at=START - 719 * HOUR), ""),
        (file("d1", delivered_at=START, placed_at=START - 9_999 * HOUR), ""),
    ],
)
def test_refusals_of_a_filing_in_their_order(book: DisputeBook, command: Any, reason: str) -> None:
    """A claim beyond its lines, its window or its cap that is heard, or a good one that is not."""
    assert book.refusal(command) == reason


def test_the_same_id_with_other_terms_is_refused(book: DisputeBook) -> None:
    """A second filing under a known id that is taken for a repetition."""
    book.run(file())
    for other in (
        file("d1", ("a", 999)),
        file(reason="other"),
        file(claimant=Party.SELLER),
        file(rule_book=rules(version=4)),
        file(delivered_at=None),
    ):
        assert book.refusal(other) == "operation_already_used"


def test_one_open_dispute_per_line(book: DisputeBook) -> None:
    """Two disputes that claim the same line at once."""
    book.run(file())
    assert book.refusal(file("d2", ("b", 100), ("a", 1))) == "dispute_open"
    assert book.refusal(file("d2", ("b", 2_000))) == ""
    assert book.refusal(file("d3", ("c", 5_000), seller="s2")) == ""


def test_what_was_granted_or_decided_cannot_be_claimed_again(book: DisputeBook) -> None:
    """A buyer who is given the price of one line twice: by a refund and by a dispute."""
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id="g1",
            reason="kind",
            source=RefundSource.PRICE,
            lines=(MovedLine("a", 1),),
        )
    )
    assert book.refusal(file("d1", ("a", 2_001))) == "amount_exceeds_available"
    book.run(file("d1", ("a", 1_500)))
    book.run(AcceptDispute(dispute_id="d1", by="clerk"))
    book.run(Respond(dispute_id="d1", answer=Answer.ACCEPT))
    book.run(ExecuteRuling(dispute_id="d1"))
    assert book.refusal(file("d2", ("a", 501))) == "amount_exceeds_available"
    assert book.refusal(file("d2", ("a", 500))) == ""


def test_a_refund_without_lines_leaves_less_of_the_whole_to_claim(book: DisputeBook) -> None:
    """A claim on a line that together with a refund is more than the whole order cost."""
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id="g1",
            reason="kind",
            source=RefundSource.PRICE,
            adjustment=9_500,
        )
    )
    assert book.refusal(file("d1", ("a", 501))) == "amount_exceeds_available"
    assert book.refusal(file("d1", ("a", 500))) == ""


@pytest.mark.parametrize(
    ("may_refile", "claimant", "line", "reason"),
    [
        (False, Party.BUYER, "a", "dispute_not_refilable"),
        (False, Party.BUYER, "b", ""),
        (False, Party.SELLER, "a", ""),
        (True, Party.BUYER, "a", ""),
    ],
)
def test_a_withdrawn_scope(
    book: DisputeBook, may_refile: bool, claimant: Party, line: str, reason: str
) -> None:
    """A dispute that is filed again and again, or a rule book that is not asked."""
    book.run(file(rule_book=rules(may_refile=may_refile)))
    book.run(withdraw())
    assert book.run(withdraw()) == ()
    assert (book.stage, axis(book)) == (Stage.CLOSED, DisputeStatus.NONE)
    again = file("d2", (line, 500), claimant=claimant, rule_book=rules(may_refile=True))
    assert book.refusal(again) == reason


def test_an_inadmissible_dispute_may_be_filed_again(book: DisputeBook) -> None:
    """A buyer shut out because a form was incomplete."""
    book.run(file())
    reject = RejectDispute(dispute_id="d1", by="clerk", reason="no reason given")
    assert book.did(reject) == ["DisputeDeclinedInadmissible", "DisputeClosed"]
    assert book.run(reject) == ()
    assert book.refusal(AcceptDispute(dispute_id="d1", by="clerk")) == "wrong_state"
    assert book.refusal(file("d2")) == ""


def test_admission_freezes_once_and_is_nobodys_own(book: DisputeBook) -> None:
    """A dispute whose money is gone when it is ruled, or a seller who admits his own."""
    book.run(file())
    for party in ("b1", "s1"):
        accept = AcceptDispute(dispute_id="d1", by=party)
        assert book.refusal(accept) == "conflict_of_interest"
    accept = AcceptDispute(dispute_id="d1", by="clerk")
    assert book.did(accept)[-4:] == [
        *("FundsFrozen", "DisputeAccepted", "DeadlineSet", "DeadlineSet")
    ]
    assert book.run(accept) == ()
    assert book.dispute().frozen == 1_000
    assert book.order().slices["s1"].frozen == {"d1": 1_000}
    book.run(withdraw())
    assert book.order().slices["s1"].frozen == {}


def test_a_disputed_order_stays_as_it_is(book: DisputeBook) -> None:
    """An order completed, cancelled or refunded past the dispute that decides about it."""
    book.run(file())
    for command in (
        CompleteOrder(order_id="o1", by="clerk"),
        CancelOrder(order_id="o1", reason="x", by="clerk"),
        CancelLine(order_id="o1", line_id="a", quantity=1, reason="x"),
        GrantRefund(
            order_id="o1",
            refund_id="g1",
            reason="x",
            source=RefundSource.PRICE,
            lines=(MovedLine("a", 1),),
        ),
    ):
        if isinstance(command, CompleteOrder):
            lines = (("a", 3), ("b", 1), ("c", 1))
            book.move(MoveKind.SHIPPED, *lines)
            book.move(MoveKind.DELIVERED, *lines)
            assert book.refusal(command) == "dispute_open"
            book.states["order-o1"] = _unshipped(book)
            continue
        assert book.refusal(command) == "dispute_open", command
    book.run(withdraw())
    assert book.refusal(CancelLine(order_id="o1", line_id="a", quantity=1, reason="x")) == ""


def _unshipped(book: DisputeBook) -> Any:
    order = book.order()
    lines = {key: replace(line, shipped=0, delivered=0) for key, line in order.lines.items()}
    return replace(order, lines=lines)


def test_a_late_dispute_reopens_a_completed_order(book: DisputeBook) -> None:
    """A dispute about an order that stays completed, so that nobody looks at it."""
    lines = (("a", 3), ("b", 1), ("c", 1))
    book.move(MoveKind.SHIPPED, *lines)
    book.move(MoveKind.DELIVERED, *lines)
    book.run(HoldFunds(order_id="o1"))
    for seller in ("s1", "s2"):
        book.run(MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"))
        book.run(
            ReleaseFunds(
                order_id="o1",
                release_id=f"rel-{seller}",
                seller=seller,
                commission_rate=Decimal(0),
                rate_version="1",
            )
        )
    book.run(CompleteOrder(order_id="o1", by="clerk"))
    assert book.did(file()) == ["DisputeFiled", "OrderReopened", "DisputeOpened"]
    assert any(
        isinstance(event, OrderReopened) and event.cause_event == "dispute-d1"
        for _, event in book.events
    )
    book.run(AcceptDispute(dispute_id="d1", by="clerk"))
    assert book.balance("liabilities:dispute_reserve:d1") == -1_000
    book.run(withdraw())
    assert book.balance("liabilities:dispute_reserve:d1") == 0
    assert book.refusal(ReopenOrder(order_id="o1", cause="x", cause_event="y")) == "wrong_state"


def test_two_filings_are_joined(book: DisputeBook) -> None:
    """Claims that vanish when two disputes are heard together, or count twice."""
    book.run(file("d1", ("a", 1_000)))
    book.run(file("d2", ("b", 500), evidence=(item("e2"),)))
    book.run(SubmitEvidence(dispute_id="d2", party=Party.SELLER, item=item("e3")))
    merge = MergeDispute(dispute_id="d2", into_dispute_id="d1", by="clerk")
    book.run(merge)
    assert book.run(merge) == ()
    lead = book.dispute()
    assert (lead.claimed, dict(lead.claims)) == (1_500, {"a": 1_000, "b": 500})
    assert {key: one.party for key, one in lead.evidence.items()} == {
        "e2": Party.BUYER,
        "e3": Party.SELLER,
    }
    assert book.dispute("d2").stage is Stage.CLOSED
    assert book.refusal(file("d3", ("b", 1))) == "dispute_open"
    book.run(AcceptDispute(dispute_id="d1", by="clerk"))
    assert book.dispute().frozen == 1_500


def test_only_equal_filings_are_joined(book: DisputeBook) -> None:
    """A dispute heard under rules that it was not filed by, or against somebody else."""
    book.run(file("d1", ("a", 1_000)))
    book.run(file("d2", ("b", 500), claimant=Party.SELLER))
    book.run(file("d3", ("c", 500), seller="s2"))
    for other in ("d2", "d3", "d1"):
        merge = MergeDispute(dispute_id=other, into_dispute_id="d1", by="clerk")
        assert book.refusal(merge) == "wrong_state"
    book.run(AcceptDispute(dispute_id="d1", by="clerk"))
    merge = MergeDispute(dispute_id="d2", into_dispute_id="d1", by="clerk")
    assert book.refusal(merge) == "wrong_state"
