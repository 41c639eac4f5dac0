"""
What the model of the whole marketplace found, shrunk: each test is a run that once went wrong.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.dispute_content import AppealOutcome, VoteReveal, seal
from orderledger.ledger.payment_events import FxQuote
from orderledger.ledger.rule_books import ResponseSilence
from tests.chargebacks_book import opened, report
from tests.dispute_book import SALT, rules, shares
from tests.model.found import paid
from tests.model.shop import NOW, Shop, item
from tests.settlement_book import line


def failed_after_success(*, charged_back: int) -> Shop:
    """Return a shop whose refund r1 of 10.00 failed after success before a chargeback was lost."""
    shop = paid(total="100", amount=10_000, released=True)
    shop.refund("r1", 1_000)
    reversed_ = m.RecordReversed(payment_id="p1", op_id="r1-p1", provider_ref="undone")
    shop.run(reversed_)
    shop.run(opened(charged_back))
    shop.run(report("lost"))
    return shop


def retry(amount: int) -> m.RetryRefund:
    return m.RetryRefund(
        payment_id="p1", op_id="again", amount=amount, currency="USD", refund_id="r1"
    )


def test_what_a_lost_chargeback_paid_is_not_refunded_again() -> None:
    """A buyer who was paid by the bank and by a retry of the same refund, at the seller's cost."""
    for charged_back in (1_000, 3_000):
        shop = failed_after_success(charged_back=charged_back)
        before = shop.balance(accounts.seller("s1"))
        assert shop.refusal(retry(1_000)) == "amount_exceeds_available"
        assert shop.refusal(retry(1)) == "amount_exceeds_available"
        assert shop.balance(accounts.seller("s1")) == before
        assert shop.balance(accounts.refunds("o1")) == 0


def test_what_a_lost_chargeback_left_unpaid_is_refunded() -> None:
    """A guard so strict that the rest of a refund is never paid."""
    shop = failed_after_success(charged_back=400)
    assert shop.balance(accounts.refunds("o1")) == -600
    assert shop.refusal(retry(601)) == "amount_exceeds_available"
    assert shop.refusal(retry(600)) == ""
    shop.succeed("again")
    assert shop.balance(accounts.refunds("o1")) == 0


def lost_while_in_flight() -> Shop:
    """Return a shop whose refund r1 of 20.05 was under way when the bank took all of 60.15."""
    shop = paid(total="60.15", amount=6_015, released=True)
    shop.grant("r1", 2_005)
    shop.allocate("r1")
    shop.request("r1", 2_005)
    shop.run(opened(6_015))
    shop.run(report("lost"))
    assert shop.balance(accounts.receivable("o1")) == 2_005
    return shop


def test_a_refund_that_is_declined_leaves_no_debt_of_the_buyer() -> None:
    """A buyer who owes what never reached them, as a bank took all and the refund failed."""
    shop = lost_while_in_flight()
    shop.run(m.RecordDeclined(payment_id="p1", op_id="r1-p1", provider_ref="no"))
    assert shop.balance(accounts.receivable("o1")) == 0
    assert shop.balance(accounts.refunds("o1")) == 0
    assert shop.balance(accounts.seller("s1")) == 0


def test_a_refund_that_failed_is_owed_again_once_the_chargeback_is_won() -> None:
    """A buyer who gets neither: the refund came back, and then the chargeback did."""
    shop = lost_while_in_flight()
    shop.succeed("r1-p1")
    shop.run(m.RecordReversed(payment_id="p1", op_id="r1-p1", provider_ref="undone"))
    assert shop.balance(accounts.refunds("o1")) == 0
    shop.run(report("won", stage="second_chargeback"))
    assert shop.balance(accounts.refunds("o1")) == -2_005
    assert shop.refusal(retry(2_005)) == ""
    shop.succeed("again")
    assert shop.balance(accounts.refunds("o1")) == 0
    assert shop.balance(accounts.receivable("o1")) == 0
    assert shop.balance(accounts.seller("s1")) == -3_529


def test_a_settled_refund_that_was_retried_can_still_fail() -> None:
    """A failure after success that is passed over, so the buyer never gets the refund."""
    shop = paid(total="60.15", amount=6_015, released=True)
    shop.grant("r1", 2_005)
    shop.allocate("r1")
    shop.request("r1", 2_005)
    shop.run(m.RecordDeclined(payment_id="p1", op_id="r1-p1", provider_ref="no"))
    shop.run(retry(2_005))
    batch: dict[str, Any] = {"provider": "psp", "batch": "b1"}
    file: dict[str, Any] = {"sha256": "0" * 64, "format": "generic", "bank": "main"}
    shop.run(m.ImportSettlementFile(line_count=1, **batch, **file))
    refund = line(1, "refund", -2_005, merchant_ref="p1", modification_ref="ref-again")
    shop.run(m.RecordSettlementLine(line=refund, candidates=("p1",), **batch))
    assert shop.balance("assets:psp:psp") == 4_010
    shop.run(m.RecordReversed(payment_id="p1", op_id="again", provider_ref="undone"))
    assert shop.balance("assets:psp:psp") == 6_015
    assert shop.balance(accounts.refunds("o1")) == -2_005


def paid_in_euros() -> Shop:
    """Return a shop with o1 of s1 and s2 over 100.09 USD, paid with 92.25 EUR."""
    shop = Shop()
    shop.place(item("a", "20.05", quantity=3), item("b", "19.97", quantity=2, seller="s2"))
    quote = FxQuote("q1", 10_009, "USD", Decimal("0.9217"))
    shop.pay(9_225, currency="EUR", fx=quote)
    for refund_id, line_id in (("r1", "a"), ("r2", "a"), ("r3", "b")):
        shop.grant(refund_id, 0, (line_id, 1))
        shop.allocate(refund_id)
    for refund_id, euros, dollars in (("r1", 1_848, 2_005), ("r2", 1_848, 2_005)):
        shop.succeed(shop.request(refund_id, euros, order_amount=dollars))
    shop.succeed(shop.request("r3", 1_840, order_amount=1_997))
    return shop


def test_refunds_in_another_currency_leave_sellers_what_is_due_to_them() -> None:
    """A cent of rounding in escrow that no release pays and no refund takes (invariant 19)."""
    shop = paid_in_euros()
    assert shop.escrow() == 4_002
    for seller in ("s1", "s2"):
        shop.release(seller)
    assert shop.escrow() == 0
    assert shop.balance(accounts.FX_POSITION) == 4_002
    assert shop.balance(accounts.FX_POSITION, "EUR") == -3_689


def test_a_bank_that_takes_the_rest_of_another_currency_leaves_no_debt_in_escrow() -> None:
    """A slice below zero, as the loss and the refunds before it round apart (invariant 18)."""
    shop = paid_in_euros()
    shop.run(opened(3_689, currency="EUR"))
    shop.run(report("lost"))
    assert shop.escrow() == 0
    assert all(one.available == 0 for one in shop.order().slices.values())


def filed(shop: Shop, amount: int, silence: ResponseSilence = ResponseSilence.WAIT) -> None:
    book = rules(
        mediation_hours=0,
        answer_hours=0,
        panel_size=1,
        quorum=1,
        appeal_needs_new_evidence=False,
        response_silence=silence,
    )
    shop.run(
        m.FileDispute(
            dispute_id="d1",
            order_id="o1",
            seller="s1",
            claimant=m.Party.BUYER,
            claims=(m.ClaimedLine("a", amount),),
            remedy=m.Remedy.REFUND,
            reason="broken",
            placed_at=NOW - timedelta(hours=1),
            rule_book=book,
        )
    )


def test_a_dispute_filed_while_a_chargeback_is_open_stands_still() -> None:
    """A ruling that pays what the bank may pay as well, as the chargeback came first (5b a)."""
    shop = paid()
    shop.run(opened(1_000))
    filed(shop, 500)
    assert shop.book.read.dispute("d1").suspended_by == ("cb1",)
    accept = m.AcceptDispute(dispute_id="d1", by="clerk")
    assert shop.refusal(accept) == "dispute_suspended"
    shop.run(report("won"))
    assert shop.refusal(accept) == ""


def test_a_dispute_filed_while_a_chargeback_is_open_ends_with_its_loss() -> None:
    """A dispute that goes on about what the bank has decided."""
    shop = paid()
    shop.run(opened(1_000))
    filed(shop, 500)
    shop.run(report("lost"))
    assert shop.book.read.dispute("d1").outcome == "superseded"


def test_a_loss_reported_before_its_opening_ends_the_dispute_too() -> None:
    """Reports in another order leave a dispute open, and its freeze, that the bank decided (34)."""
    for facts in (("opened", "lost"), ("lost", "opened")):
        shop = paid(released=True)
        filed(shop, 500)
        shop.run(m.AcceptDispute(dispute_id="d1", by="clerk"))
        assert shop.balance(accounts.dispute_reserve("d1")) == -500
        for fact in facts:
            shop.run(opened(10_000) if fact == "opened" else report("lost"))
        assert shop.book.read.dispute("d1").outcome == "superseded"
        assert shop.balance(accounts.dispute_reserve("d1")) == 0


def test_an_appeal_against_a_default_ruling_can_be_decided() -> None:
    """A dispute that nobody can end, and its money frozen for ever: it had no evidence window."""
    shop = paid()
    filed(shop, 500, ResponseSilence.AWARD_CLAIMANT)
    shop.run(m.AcceptDispute(dispute_id="d1", by="clerk"))
    later = NOW + timedelta(hours=50)
    shop.book = Book(shop.store, clock=lambda: later)
    of: dict[str, Any] = {"dispute_id": "d1"}
    shop.run(m.PerformDisputeDeadline(deadline_id="response/1", occurred_at=later, **of))
    ruling = shop.book.read.dispute("d1").ruling
    assert ruling is not None
    appeal: dict[str, Any] = {
        "appeal_id": "x1",
        "ruling_id": ruling.ruling_id,
        "grounds": "I was ill",
    }
    shop.run(m.Appeal(party=m.Party.SELLER, **of, **appeal))
    shop.run(m.AssignPanel(arbitrators=("dan",), by="clerk", **of))
    division = shares(0, 500)
    sealed = seal("d1", "dan", division, SALT)
    shop.run(m.CastVote(vote_id="v1", arbitrator="dan", commitment=sealed, **of))
    shop.run(
        m.DecideAppeal(
            dispute_id="d1",
            ruling_id="r2",
            supersedes=ruling.ruling_id,
            outcome=AppealOutcome.OVERTURNED,
            allocations=division,
            remedy=m.Remedy.NONE,
            reasons="the seller was ill",
            rule_refs=("4.2",),
            votes=(VoteReveal("dan", division, SALT),),
            by="dan",
        )
    )
    shop.run(m.ExecuteRuling(dispute_id="d1"))
    assert shop.book.read.dispute("d1").stage == "executed"
    assert shop.order().slices["s1"].frozen == {}
