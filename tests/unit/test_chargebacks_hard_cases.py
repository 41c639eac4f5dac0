"""Hard cases 14 to 17 of the field by name, and 10, 11 and 13 where chargebacks touch them."""

from datetime import timedelta
from typing import Any

import pytest

from orderledger.commands.order_commands import (
    CompleteOrder,
    GrantRefund,
    RefundByAlternativeMeans,
    WithdrawRefund,
)
from orderledger.commands.payment_commands import (
    RecordAborted,
    RecordDeclined,
    RecordProviderOperation,
    RecordReversed,
    RetryRefund,
)
from orderledger.commands.value_commands import IssueValue
from orderledger.ledger import accounts
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.chargeback_events import ChargebackCreditEvidenceAttached
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.order_axes import axes_of
from orderledger.ledger.order_events import MoveKind, RefundSource
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.tenders import tenders_of
from orderledger.ledger.value_events import ValueKind, ValueSource
from tests.chargebacks_book import PSP, SELLER, ChargebackBook, opened, report

RECEIVABLE = accounts.receivable("o1")
ESCROW = accounts.escrow("o1")


@pytest.fixture
def book() -> ChargebackBook:
    return ChargebackBook().sold_lines("a 1 x 100.00")


def evidence(book: ChargebackBook) -> list[tuple[str, int, bool]]:
    """Return every refund that was attached as evidence: operation, amount, in flight."""
    return [
        (credit.op_id, credit.amount, credit.is_in_flight)
        for _, event in book.events
        if isinstance(event, ChargebackCreditEvidenceAttached)
        for credit in event.credits
    ]


def axes(book: ChargebackBook) -> tuple[str, str, int]:
    """Return the order's charge and dispute axes and its balance."""
    found = axes_of(book.order(), tenders_of(book.order(), lambda key: book.payment(key)))
    return found.charge.value, found.dispute.value, found.balance


def test_hard_case_14_a_dispute_on_a_refunded_payment(book: ChargebackBook) -> None:
    """Catches a buyer who gets the money by refund and by chargeback without anybody noticing."""
    book.refunded("r1", 10_000)
    book.run(opened(10_000))
    assert evidence(book) == [("refund-r1-p1", 10_000, False)]
    assert book.payment().exposure == 10_000
    assert book.anomalies() == ["Exposure"]
    (detail,) = [one.detail for _, one in book.events if isinstance(one, AnomalyRaised)]
    assert "possible double payment: 10000 refunded, 10000 charged back" in detail
    book.run(report("lost"))
    assert book.posted() == {RECEIVABLE: 10_000, PSP: -10_000}
    assert book.anomalies() == ["Exposure"]


def test_hard_case_14_a_part_was_refunded(book: ChargebackBook) -> None:
    """Catches a seller who bears twice what the buyer got twice."""
    book.refunded("r1", 4_000)
    book.run(opened(10_000))
    book.run(report("lost"))
    assert book.posted() == {RECEIVABLE: 4_000, PSP: -4_000}
    assert book.payment().exposure == 4_000


def test_hard_case_14_a_refund_in_flight_counts_too(book: ChargebackBook) -> None:
    """Catches a refund under way that is no evidence, or whose failure leaves a residue."""
    book.granted("r1", 4_000)
    op_id = book.refund("p1", "r1", 4_000)
    book.run(opened(10_000))
    assert evidence(book) == [(op_id, 4_000, True)]
    book.run(report("lost"))
    assert book.balance(RECEIVABLE) == 4_000
    book.run(RecordDeclined(payment_id="p1", op_id=op_id))
    # The refund gave its money back to escrow: the seller's goods are lost in full now.
    assert book.posted() == {}
    assert book.payment().exposure == 0


def test_hard_case_14_the_refund_in_flight_succeeds(book: ChargebackBook) -> None:
    """Catches evidence that does not tell that a refund has arrived."""
    book.granted("r1", 4_000)
    op_id = book.refund("p1", "r1", 4_000)
    book.run(opened(10_000))
    book.succeed("p1", op_id)
    assert evidence(book) == [(op_id, 4_000, True), (op_id, 4_000, False)]


def test_hard_case_14_a_refund_nobody_asked_for_after_the_loss(book: ChargebackBook) -> None:
    """Catches an escrow in debt because the refund was reported after the loss."""
    book.run(opened(10_000))
    book.run(report("lost"))
    seen = RecordProviderOperation(
        payment_id="p1",
        kind=OperationKind.REFUND,
        provider_ref="X1",
        amount=4_000,
        currency="USD",
    )
    book.run(seen)
    assert book.posted() == {RECEIVABLE: 4_000, PSP: -4_000}
    assert book.anomalies() == ["UnrequestedOperation", "Exposure"]


def test_hard_case_15_amounts_are_explicit(book: ChargebackBook) -> None:
    """Catches a lost dispute of a part that counts as a full refund (woocommerce-payments#6196)."""
    book.refunded("r1", 3_000)
    book.run(opened(2_500))
    book.run(report("lost"))
    assert (book.payment().refunded, book.payment().chargeback_lost) == (3_000, 2_500)
    assert book.payment().refundable == 4_500
    assert book.balance(ESCROW) == -4_500
    assert axes(book) == ("partial", "charged_back", -2_500)


def test_hard_case_15_more_than_the_charge(book: ChargebackBook) -> None:
    """Catches a report that is refused, or cut to the charge, because rates have moved."""
    book.run(opened(10_700))
    assert book.payment().exposure == 700
    assert book.anomalies() == ["Exposure"]
    assert book.balance(PSP) == -700
    book.run(report("lost"))
    assert book.posted() == {RECEIVABLE: 700, PSP: -700}
    assert book.anomalies() == ["Exposure"]


def test_hard_case_16_b_a_refund_while_it_is_contested(book: ChargebackBook) -> None:
    """Catches a refund of what the buyer's bank has taken already (WCPay #7960)."""
    book.granted("r1", 6_000)
    book.run(opened(5_000))
    with pytest.raises(Rejected) as refusal:
        book.refund("p1", "r1", 6_000)
    assert refusal.value.reason is Reason.CHARGEBACK_OPEN
    facts = refusal.value.facts
    assert (facts["amount"], facts["available"], facts["contested"]) == (6_000, 5_000, 5_000)
    assert facts["chargebacks"] == ["cb1"]
    book.refund("p1", "r1", 5_000)
    book.run(report("won"))
    assert book.payment().refundable == 5_000


def test_hard_case_16_nothing_is_released_while_it_is_contested(book: ChargebackBook) -> None:
    """Catches a seller who is paid while the bank has the money."""
    book.run(opened(10_000))
    with pytest.raises(Rejected) as refusal:
        book.release("s1")
    assert refusal.value.reason is Reason.FUNDS_FROZEN
    assert axes(book) == ("none", "open", 0)
    book.run(report("won"))
    book.release("s1")
    assert book.balance(SELLER) == -8_800


def test_hard_case_17_reversed_then_a_second_chargeback(book: ChargebackBook) -> None:
    """Catches a win that counts as final: the bank may take the money again."""
    book.release("s1")
    sold = book.posted()
    book.run(opened(10_000, evidence_due_by=book.now + timedelta(days=7)))
    book.run(report("won"))
    assert book.posted() == sold
    assert book.chargeback().status == "won_provisional"
    book.run(opened(10_000, "second_chargeback"))
    assert book.balance(accounts.disputes("cb1")) == 10_000
    assert book.balance(accounts.dispute_reserve("cb1/second_chargeback")) == -8_800
    assert book.chargeback().status == "open"
    book.run(report("lost", "arbitration"))
    assert book.chargeback().status == "lost_final"
    assert book.posted() == {accounts.COMMISSION: -1_200, accounts.COMMISSION_REFUNDED: 1_200}
    assert book.open_accounts() == {}
    # The arbitration had not been announced to us, so it is told as a decision of its own.
    assert book.anomalies() == ["ChargebackContradiction"]


def test_hard_case_17_lost_then_won_in_arbitration(book: ChargebackBook) -> None:
    """Catches a loss that stays on the seller when the card scheme decides for us."""
    book.release("s1")
    sold = book.posted()
    book.run(opened(10_000))
    book.run(report("lost"))
    book.run(opened(10_000, "pre_arbitration"))
    assert book.balance(accounts.disputes("cb1")) == 10_000
    book.run(report("opened", "arbitration"))
    book.run(report("won", "arbitration"))
    assert book.posted() == sold
    assert (book.chargeback().status, book.anomalies()) == ("won_final", [])
    book.run(report("lost", "arbitration"))
    assert book.chargeback().status == "lost_final"
    assert book.anomalies() == ["ChargebackContradiction"]


def test_hard_case_10_refund_and_chargeback_never_beyond_the_charge(book: ChargebackBook) -> None:
    """Catches commands that give back more than was charged, a piece here and a piece there."""
    book.granted("r1", 10_000)
    for number in range(4):
        book.run(opened(1_000, chargeback_id=f"cb{number}"))
        book.run(report("lost" if number % 2 else "won", chargeback_id=f"cb{number}"))
    assert book.payment().refundable == 8_000
    with pytest.raises(Rejected):
        book.refund("p1", "r1", 8_001)
    book.succeed("p1", book.refund("p1", "r1", 8_000))
    assert (book.payment().refundable, book.payment().exposure) == (0, 0)
    assert book.posted() == {}


def test_hard_case_11_a_refund_failed_after_success_and_the_bank_paid(
    book: ChargebackBook,
) -> None:
    """Catches a liability to the buyer that stays, or is paid anew, although the bank paid it."""
    book.refunded("r1", 4_000)
    book.run(RecordReversed(payment_id="p1", op_id="refund-r1-p1", provider_ref="back"))
    assert book.balance(accounts.refunds("o1")) == -4_000
    book.run(opened(6_000))
    book.run(report("lost"))
    assert book.posted() == {PSP: 4_000, ESCROW: -4_000}
    retry = RetryRefund(
        payment_id="p1", op_id="again", refund_id="r1", amount=4_000, currency="USD"
    )
    assert book.refusal(retry) == "amount_exceeds_available"
    assert book.posted() == {PSP: 4_000, ESCROW: -4_000}
    assert book.anomalies() == []


def by_bank(refund_id: str = "r1") -> RefundByAlternativeMeans:
    return RefundByAlternativeMeans(
        order_id="o1", refund_id=refund_id, method="iban", reference="x", by="ann", bank="main"
    )


def in_value(amount: int, refund_id: str = "r1") -> IssueValue:
    return IssueValue(
        account_id="v1",
        kind=ValueKind.STORE_CREDIT,
        source=ValueSource.REFUND,
        lot_id="l1",
        holder="b1",
        amount=amount,
        currency="USD",
        order_id="o1",
        refund_id=refund_id,
    )


def test_hard_case_11_no_other_means_pay_what_the_bank_has_paid(book: ChargebackBook) -> None:
    """Catches a failed refund that is paid from the bank, or in value, after a chargeback."""
    book.refunded("r1", 4_000)
    book.run(RecordReversed(payment_id="p1", op_id="refund-r1-p1", provider_ref="back"))
    book.granted("r2", 5_000)
    book.run(RecordDeclined(payment_id="p1", op_id=book.refund("p1", "r2", 5_000)))
    book.run(GrantRefund(**grant("r3", 1_000)))
    book.run(opened(9_500))
    others = [by_bank(), by_bank("r2"), in_value(4_000), in_value(1_000, "r3")]
    assert [book.refusal(one) for one in others] == ["chargeback_open"] * 4
    with pytest.raises(Rejected, match="wait until the bank has decided") as waiting:
        book.run(by_bank())
    assert "withdraw" not in waiting.value.message, "what failed cannot be withdrawn"
    book.run(report("lost"))
    assert [book.refusal(one) for one in others] == ["chargeback_open"] * 4
    with pytest.raises(Rejected, match="the buyer has it from the bank"):
        book.run(by_bank())
    assert book.balance(accounts.refunds("o1")) == 0


def test_hard_case_11_other_means_pay_once_it_was_won(book: ChargebackBook) -> None:
    """Catches a buyer who never gets a failed refund because there had been a chargeback."""
    book.refunded("r1", 4_000)
    book.run(RecordReversed(payment_id="p1", op_id="refund-r1-p1", provider_ref="back"))
    book.run(opened(10_000))
    book.run(report("won"))
    assert book.refusal(by_bank()) == ""
    assert book.balance(accounts.refunds("o1")) == 0


def grant(refund_id: str, amount: int) -> dict[str, Any]:
    return {
        "order_id": "o1",
        "refund_id": refund_id,
        "reason": "r",
        "source": RefundSource.PRICE,
        "adjustment": amount,
    }


def test_hard_case_13_a_chargeback_after_the_payout(book: ChargebackBook) -> None:
    """Catches a seller's debt that is hidden because the money has left already."""
    book.release("s1")
    book.post_text(f"{SELLER} USD 8800\nassets:bank:main USD -8800")
    book.run(opened(10_000))
    book.run(report("lost"))
    assert book.balance(SELLER) == 8_800
    assert book.open_accounts() == {}


def test_a_grant_that_the_bank_paid_can_be_withdrawn(book: ChargebackBook) -> None:
    """Catches an entitlement that nobody can pay and nobody can end."""
    book.granted("r1", 10_000)
    book.run(opened(10_000))
    book.run(report("lost"))
    assert book.refusal(WithdrawRefund(order_id="o1", refund_id="r1", reason="paid", by="x")) == ""
    assert axes(book) == ("none", "charged_back", -10_000)


def test_a_completed_order_is_opened_again() -> None:
    """Catches a completed order that hides a chargeback."""
    book = ChargebackBook().sold_lines("a 1 x 100.00")
    book.move(MoveKind.SHIPPED, ("a", 1))
    book.move(MoveKind.DELIVERED, ("a", 1))
    book.release("s1")
    book.run(CompleteOrder(order_id="o1", by="system"))
    book.run(opened(10_000))
    assert book.order().lifecycle == "confirmed"
    assert axes(book) == ("none", "open", 0)
    book.run(report("won"))
    assert book.refusal(CompleteOrder(order_id="o1", by="system")) == ""


def test_a_chargeback_before_the_capture_is_known(book: ChargebackBook) -> None:
    """Catches reports that lose their amounts because a webhook was slow."""
    early = ChargebackBook()
    early.confirmed("a 1 x 100.00")
    early.authorise("p1", 10_000)
    early.run(opened(10_000))
    early.run(report("lost"))
    early.capture("p1", 10_000)
    book.run(opened(10_000))
    book.run(report("lost"))
    assert early.posted() == book.posted() == {}
    assert early.anomalies() == ["Exposure"]


CONTRADICTIONS: list[tuple[str, list[tuple[str, str]], str, int]] = [
    ("won before opened", [("won", "chargeback"), ("opened", "chargeback")], "won_provisional", 0),
    ("lost before opened", [("lost", "chargeback"), ("opened", "chargeback")], "lost", 900),
    (
        "lost after the arbitration was won",
        [("opened", "chargeback"), ("won", "arbitration"), ("lost", "chargeback")],
        "won_final",
        0,
    ),
    (
        "won and lost",
        [("opened", "chargeback"), ("won", "chargeback"), ("lost", "chargeback")],
        "lost",
        900,
    ),
    (
        "lost and won",
        [("opened", "chargeback"), ("lost", "chargeback"), ("won", "chargeback")],
        "lost",
        900,
    ),
    (
        "second before the first",
        [("opened", "second_chargeback"), ("won", "chargeback")],
        "open",
        0,
    ),
    ("lost at an inquiry", [("opened", "inquiry"), ("lost", "inquiry")], "inquiry", 0),
]


@pytest.mark.parametrize(
    ("facts", "status", "lost"),
    [case[1:] for case in CONTRADICTIONS],
    ids=[case[0] for case in CONTRADICTIONS],
)
def test_a_contradiction_is_kept_with_an_anomaly(
    book: ChargebackBook, facts: list[tuple[str, str]], status: str, lost: int
) -> None:
    """Catches a report that is dropped, refused, or believed although another says otherwise."""
    for fact, stage in facts:
        fields: dict[str, Any] = {"amount": 900} if fact == "opened" else {}
        book.run(report(fact, stage, **fields))
    assert book.chargeback().status == status
    assert book.payment().chargeback_lost == lost
    assert "ChargebackContradiction" in book.anomalies()


def test_the_providers_own_sequence_decides(book: ChargebackBook) -> None:
    """Catches a loss that counts although the provider says that the win came later."""
    book.run(opened(900, sequence=1))
    book.run(report("won", sequence=7))
    book.run(report("lost", sequence=5))
    assert (book.chargeback().status, book.payment().chargeback_lost) == ("won_provisional", 0)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"amount": 0}, "NonPositiveAmount"),
        ({"amount": -5}, "NonPositiveAmount"),
        ({"amount": 10**24 + 1}, "AmountBeyondLimit"),
        ({"amount": 900, "currency": "JPY"}, "CurrencyMismatch"),
    ],
)
def test_an_impossible_amount_is_kept_and_posts_nothing(
    book: ChargebackBook, fields: dict[str, Any], kind: str
) -> None:
    """Catches evidence that is lost, or an entry in a wrong currency or direction."""
    before = book.posted()
    seen = report("opened", **fields)
    book.run(seen)
    assert book.posted() == before
    assert book.anomalies() == [kind]
    assert book.run(seen) == ()


def test_aborted_refund_frees_the_part_it_reserved(book: ChargebackBook) -> None:
    """Catches an exposure that stays although the refund was never made."""
    book.granted("r1", 10_000)
    op_id = book.refund("p1", "r1", 10_000)
    book.run(opened(10_000))
    assert book.payment().exposure == 10_000
    book.run(RecordAborted(payment_id="p1", op_id=op_id))
    assert book.payment().exposure == 0
    book.run(report("lost"))
    assert book.posted() == {}
