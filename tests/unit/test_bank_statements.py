"""A bank statement: what its lines show, its breaks, and that its sums hold."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orderledger.commands import decide_bank_subjects
from orderledger.commands import model as m
from orderledger.commands.decide_bank_subjects import Arrival, Expected, shows
from orderledger.commands.decision import Change, Changes, States
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.bank_statements import StatementState, StatementStatus
from orderledger.ledger.money import Money
from orderledger.ledger.recipes_settlement import bank_booked
from tests.model.shop import anomalies_of
from tests.settlement_book import BANK, SHA, SettledShop, line

FEES = "expenses:bank_fees"
DAY = datetime(2026, 3, 4, tzinfo=UTC)


def payout(line_no: int, batch: str = "b1") -> m.BankSubject:
    return m.BankSubject("settlement", f"psp/{batch}", line_no)


class BankShop(SettledShop):
    """The provider pays into bank ``main``; the statement is ``main/s1``."""

    def paid_out(self, *amounts: int, batch: str = "b1") -> None:
        """Have the provider pay amounts out, under the references PO-1, PO-2 …"""
        self.begin(len(amounts), batch)
        for number, amount in enumerate(amounts, 1):
            kind = "payout" if amount > 0 else "payout_returned"
            one = line(number, kind, -amount, modification_ref=f"PO-{number}")
            self.record(one, batch=batch)

    def statement(self, line_count: int, **fields: Any) -> None:
        given: dict[str, Any] = {"sha256": SHA, "currency": "USD", **fields}
        self.run(m.ImportBankStatement(bank="main", statement="s1", line_count=line_count, **given))

    def booked(
        self, line_no: int, amount: int, reference: str, *candidates: m.BankSubject, **fields: Any
    ) -> None:
        one = m.BankLine(
            line_no=line_no, amount=amount, booked_at=DAY, reference=reference, **fields
        )
        self.run(m.RecordBankLine(bank="main", statement="s1", line=one, candidates=candidates))

    @property
    def bank(self) -> StatementState:
        return self.book.bank_statement("main", "s1")

    def bank_breaks(self) -> dict[str, int]:
        return {one.break_id: one.amount for one in self.bank.open_breaks()}

    def end(self, break_id: str, action: str, account: str = "") -> str:
        return self.refusal(
            m.ResolveBankBreak(
                bank="main",
                statement="s1",
                break_id=break_id,
                action=m.BreakAction(action),
                account=account,
                by="ann",
                reason="looked into it",
            )
        )


def test_a_payout_arrives_and_is_not_posted_again() -> None:
    """Catches a payout that is debited to the bank by its settlement and by the bank's line."""
    shop = BankShop()
    shop.paid_out(11_938)
    shop.statement(1, opening=100, closing=12_038)
    for _ in range(2):
        shop.booked(1, 11_938, "TRANSFER PO-1 REF 99", payout(1))
    assert shop.posted(BANK, FEES) == (11_938, 0)
    assert shop.bank.status is StatementStatus.BALANCED
    known = shop.settlement().line(1)
    assert known is not None
    assert known.arrived == 11_938


def test_the_bank_keeps_a_fee() -> None:
    """Catches a payout that arrives short and stays expected, or a fee that is lost."""
    shop = BankShop()
    shop.paid_out(10_000)
    shop.statement(1, tolerance=20)
    shop.booked(1, 9_985, "PO-1", payout(1))
    assert shop.posted(BANK, FEES) == (9_985, 15)
    assert shop.bank_breaks() == {}


def test_more_than_the_tolerance_is_a_break() -> None:
    """Catches a payout that arrives half and is taken for the whole."""
    shop = BankShop()
    shop.paid_out(10_000)
    shop.statement(1, tolerance=20)
    shop.booked(1, 5_000, "PO-1", payout(1))
    assert shop.bank_breaks() == {"amount_diff/1": -5_000}
    assert shop.posted(BANK) == (10_000,)
    by_hand = m.MatchBankLine(
        bank="main", statement="s1", line_no=1, by="ann", subjects=(payout(1),), tolerance=5_000
    )
    small = m.MatchBankLine(
        bank="main", statement="s1", line_no=1, by="ann", subjects=(payout(1),), tolerance=1
    )
    assert shop.refusal(small) == "amount_mismatch"
    shop.run(by_hand)
    shop.run(by_hand)
    assert shop.posted(BANK, FEES) == (5_000, 5_000)
    assert shop.bank_breaks() == {}


def test_the_only_payout_of_an_amount() -> None:
    """Catches two payouts of one amount of which a line without a reference takes any."""
    shop = BankShop()
    shop.paid_out(700, 900, 900)
    shop.statement(2)
    every = (payout(1), payout(2), payout(3))
    shop.booked(1, 700, "no reference", *every)
    shop.booked(2, 900, "no reference", *every)
    assert shop.bank_breaks() == {"unknown_reference/2": 900}
    assert [part.subject.line_no for part in shop.bank.line(1).parts] == [1]  # type: ignore[union-attr]  # recorded


def test_several_payouts_in_one_line() -> None:
    """Catches n:1: a bank that books two payouts as one amount."""
    shop = BankShop()
    shop.paid_out(700, 900)
    shop.statement(1)
    shop.booked(1, 1_600, "PO-1 PO-2", payout(1), payout(2))
    assert shop.bank_breaks() == {}
    assert len(shop.bank.line(1).parts) == 2  # type: ignore[union-attr]  # recorded


def test_a_reference_is_a_word() -> None:
    """Catches PO-1 found in PO-17."""
    shop = BankShop()
    shop.paid_out(700)
    shop.statement(1)
    shop.booked(1, 300, "PO-17", payout(1))
    assert shop.bank_breaks() == {"unknown_reference/1": 300}


def test_a_payout_arrives_once() -> None:
    """Catches a payout that two lines of the bank show."""
    shop = BankShop()
    shop.paid_out(700)
    shop.statement(2)
    shop.booked(1, 700, "PO-1", payout(1))
    shop.booked(2, 700, "PO-1", payout(1))
    assert shop.bank_breaks() == {"unknown_reference/2": 700}


def test_what_comes_in_is_not_what_goes_out() -> None:
    """Catches a returned payout that money coming in under its reference seems to show."""
    shop = BankShop()
    shop.paid_out(-500)
    shop.statement(1, tolerance=1_000)
    shop.booked(1, 500, "PO-1", payout(1))
    assert shop.bank_breaks() == {"unknown_reference/1": 500}


def test_a_payout_comes_back() -> None:
    """Catches a returned payout that is taken for one that arrives (hard case 28)."""
    shop = BankShop()
    shop.paid_out(500, -500)
    shop.statement(2)
    shop.booked(1, 500, "PO-1", payout(1), payout(2))
    shop.booked(2, -500, "PO-2 returned", payout(1), payout(2))
    assert shop.bank_breaks() == {}
    assert shop.posted(BANK) == (0,)


def test_a_line_that_nothing_explains_is_booked() -> None:
    """Catches a charge of the bank that never gets into the books."""
    shop = BankShop()
    shop.statement(2)
    shop.booked(1, -1_200, "account fee")
    shop.booked(2, 0, "information")
    assert shop.bank_breaks() == {"unknown_reference/1": -1_200}
    assert shop.end("unknown_reference/1", "booked") == "InvalidCommand"
    assert shop.end("unknown_reference/1", "matched") == "wrong_state"
    assert shop.end("unknown_reference/1", "booked", FEES) == ""
    assert shop.end("unknown_reference/1", "booked", FEES) == ""
    assert shop.end("unknown_reference/1", "accepted") == "operation_already_used"
    assert shop.end("unknown_reference/9", "accepted") == "NotFound"
    assert shop.posted(BANK, FEES) == (-1_200, 1_200)
    assert shop.bank.status is StatementStatus.BALANCED


def test_a_line_with_a_known_id_is_a_duplicate() -> None:
    """Catches a line that an export has twice."""
    shop = BankShop()
    shop.statement(2)
    shop.booked(1, 5, "a", external_id="x1")
    shop.booked(2, 5, "a", external_id="x1")
    assert shop.bank_breaks() == {"unknown_reference/1": 5, "duplicate/2": 5}


def test_a_statement_that_does_not_add_up() -> None:
    """Catches a statement with a line missing: opening + lines is not closing."""
    shop = BankShop()
    shop.statement(1, opening=100, closing=90)
    shop.booked(1, -30, "x")
    assert shop.bank_breaks() == {"unknown_reference/1": -30, "sum_diff": 20}


def test_another_file_or_line_for_a_statement() -> None:
    """Catches two files mixed into one statement."""
    shop = BankShop()
    shop.statement(1)
    other = m.ImportBankStatement(
        bank="main", statement="s1", sha256="b" * 64, currency="USD", line_count=1
    )
    assert shop.refusal(other) == "already_exists"
    shop.booked(1, 5, "a")
    shop.booked(1, 6, "a")
    assert anomalies_of(shop.store) == ["BankLineDiffers"]
    beyond = m.RecordBankLine(
        bank="main", statement="s1", line=m.BankLine(line_no=2, amount=1, booked_at=DAY)
    )
    assert shop.refusal(beyond) == "InvalidCommand"


def test_another_part_registers_what_a_line_may_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a seam that a payout to a seller could not use: it posts when it arrives."""
    monkeypatch.setattr(decide_bank_subjects, "_kinds", dict(decide_bank_subjects._kinds))

    def expect(
        subject: m.BankSubject, statement: StatementState, states: States
    ) -> Expected | None:
        return Expected(-9_800, (subject.id,)) if statement.bank == "main" else None

    def arrive(subject: m.BankSubject, arrival: Arrival, states: States) -> Changes:
        posted = bank_booked("main", "liabilities:payouts:p1", Money(arrival.amount, "USD"))
        event = AnomalyRaised(kind="x", refs=(subject.id,))
        return (Change(f"bank-main/{arrival.statement.statement}", event, posted),)

    shows("wire", expect, arrive)
    with pytest.raises(ValueError, match="registered twice"):
        shows("wire", expect, arrive)
    shop = BankShop()
    shop.statement(1)
    shop.booked(1, -9_800, "payout p1", m.BankSubject("wire", "p1"))
    assert shop.posted(BANK, "liabilities:payouts:p1") == (-9_800, 9_800)
    assert shop.bank_breaks() == {}
