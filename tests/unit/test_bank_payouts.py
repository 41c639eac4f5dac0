"""Payouts to sellers on a bank statement: posted once, whoever reports them first."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.commands.bank_commands import ImportBankStatement, MatchBankLine, RecordBankLine
from orderledger.commands.payout_commands import (
    CancelPayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutReturned,
)
from orderledger.ledger import accounts, streams
from orderledger.ledger.bank_statements import StatementState
from orderledger.ledger.payouts import PayoutStatus
from tests.sellers_book import SellersBook

BANK = accounts.bank("main")
FEES = accounts.BANK_FEES
DAY = datetime(2026, 3, 4, tzinfo=UTC)
PAID = RecordPayoutPaid(payout_id="p1", bank_ref="wire-1")
BACK = RecordPayoutReturned(payout_id="p1", bank_ref="wire-2", reason="closed", fee=35)


class BankBook(SellersBook):
    """Payout p1 of 10.00 to s1 from account main, and statement main/s1 with room for lines."""

    def __init__(self) -> None:
        super().__init__()
        self.earn("o1", 1000)
        self.schedule("p1", "o1")
        self.run(
            ImportBankStatement(
                bank="main",
                statement="s1",
                sha256="a" * 64,
                currency="USD",
                line_count=9,
                tolerance=40,
            )
        )

    def line(self, line_no: int, amount: int, reference: str = "p1", *payouts: str) -> None:
        """Report a line with both subjects of payouts, p1 by default, as candidates."""
        candidates = [
            m.BankSubject(kind, one)
            for one in payouts or ("p1",)
            for kind in ("seller_payout", "seller_payout_returned")
        ]
        line = m.BankLine(line_no=line_no, amount=amount, booked_at=DAY, reference=reference)
        self.run(
            RecordBankLine(bank="main", statement="s1", line=line, candidates=tuple(candidates))
        )

    @property
    def statement(self) -> StatementState:
        state: StatementState = self.states[streams.bank_statement("main", "s1")]
        return state

    def breaks(self) -> list[str]:
        return [one.break_id for one in self.statement.open_breaks()]

    def stands(self) -> tuple[int, int, int, str]:
        """Return bank, bank fees, what the seller is owed, and the payout's status."""
        return (
            self.balance(BANK),
            self.balance(FEES),
            self.payable(),
            self.payout().status.value,
        )


@pytest.fixture
def book() -> BankBook:
    made = BankBook()
    made.initiate()
    return made


def test_a_line_reports_what_nobody_did(book: BankBook) -> None:
    """Catches a payout that stays in transit although the bank has paid it, or is paid twice."""
    for _ in range(2):
        book.line(1, -1000, "TRANSFER p1 / s1")
    assert book.stands() == (-1000, 0, 0, "paid")
    book.run(PAID)
    book.run(PAID)
    assert book.stands() == (-1000, 0, 0, "paid")
    assert book.payout().anomalies == ()
    book.run(RecordPayoutPaid(payout_id="p1", bank_ref="wire-9"))
    assert len(book.payout().anomalies) == 1
    book.line(2, -1000)
    assert book.breaks() == ["unknown_reference/2"]
    assert book.balance(BANK) == -1000


def test_a_line_shows_what_was_reported_once(book: BankBook) -> None:
    """Catches a payout that its report and the statement both post, or that two lines show."""
    book.run(PAID)
    book.line(1, -1000, "no name")
    assert book.payout().sent_seen == 1000
    book.line(2, -1000, "wire-1")
    assert book.stands() == (-1000, 0, 0, "paid")
    assert book.breaks() == ["unknown_reference/2"]


def test_the_bank_takes_a_fee(book: BankBook) -> None:
    """Catches a fee of the bank that becomes the seller's, or is lost."""
    book.line(1, -1015)
    assert book.stands() == (-1015, 15, 0, "paid")
    assert book.payout().anomalies == ()


@pytest.mark.parametrize("is_reported_first", [True, False])
def test_a_return_is_posted_once(book: BankBook, is_reported_first: bool) -> None:
    """Catches hard case 28 by two channels: money that comes back twice, or not at all."""
    book.line(1, -1000)
    if is_reported_first:
        book.run(BACK)
    book.line(2, 965, "p1 returned")
    assert book.stands() == (-35, 35, 1000, "returned")
    book.run(BACK)
    book.line(3, 965, "p1 returned")
    assert book.stands() == (-35, 35, 1000, "returned")
    assert book.breaks() == ["unknown_reference/3"]
    assert book.payout().anomalies == ()


def test_what_the_bank_took_back_is_seen(book: BankBook) -> None:
    """Catches a failure after the debit whose two lines stay breaks."""
    book.run(PAID)
    book.run(RecordPayoutFailed(payout_id="p1", bank_ref="f", reason="blocked"))
    book.line(1, -1000, "out")
    book.line(2, 1000, "in")
    assert book.breaks() == []
    assert book.stands() == (0, 0, 1000, "failed")


def test_money_that_comes_in_is_no_return_by_its_amount(book: BankBook) -> None:
    """Catches a buyer's transfer that is taken for a payout that came back."""
    book.line(1, -1000)
    book.line(2, 1000, "something else")
    assert book.breaks() == ["unknown_reference/2"]
    assert book.payout().status is PayoutStatus.PAID


def test_a_payout_that_was_given_up_is_paid_by_its_name_alone() -> None:
    """Catches a cancelled payout that some debit of the same amount seems to pay."""
    book = BankBook()
    book.run(CancelPayout(payout_id="p1", reason="no"))
    book.line(1, -1000, "rent")
    assert book.breaks() == ["unknown_reference/1"]
    assert book.payout().status is PayoutStatus.CANCELLED
    book.line(2, -1000, "p1")
    assert book.stands() == (-1000, 0, 0, "paid")
    assert len(book.payout().anomalies) == 1


def test_several_payouts_in_one_line(book: BankBook) -> None:
    """Catches a batch debit that shows none of its payouts, or one that was given up with them."""
    book.earn("o2", 500)
    book.schedule("p2", "o2")
    book.initiate("p2")
    book.line(1, -1500, "p1 p2", "p1", "p2")
    assert book.breaks() == []
    assert (book.balance(BANK), book.payable()) == (-1500, 0)
    book.earn("o3", 300)
    book.earn("o4", 400)
    for payout_id, order_id in (("p3", "o3"), ("p4", "o4")):
        book.schedule(payout_id, order_id)
        book.run(CancelPayout(payout_id=payout_id, reason="no"))
    book.line(2, -700, "p3 p4", "p3", "p4")
    assert book.breaks() == ["unknown_reference/2"]
    subjects = tuple([m.BankSubject("seller_payout", one) for one in ("p3", "p4")])
    by_hand: dict[str, Any] = {"bank": "main", "statement": "s1", "line_no": 2, "by": "ann"}
    assert book.refusal(MatchBankLine(subjects=subjects, **by_hand)) == "wrong_state"


def test_another_account_shows_nothing(book: BankBook) -> None:
    """Catches a payout from one account that the statement of another shows."""
    book.run(
        ImportBankStatement(
            bank="other", statement="s1", sha256="b" * 64, currency="USD", line_count=1
        )
    )
    line = m.BankLine(line_no=1, amount=-1000, booked_at=DAY, reference="p1")
    subject = m.BankSubject("seller_payout", "p1")
    book.run(RecordBankLine(bank="other", statement="s1", line=line, candidates=(subject,)))
    assert book.payout().status is PayoutStatus.IN_TRANSIT
