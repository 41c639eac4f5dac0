"""Lines of chargebacks: nothing is posted twice, and what no report had is posted once."""

from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.commands.chargeback_commands import AcceptChargeback, RecordChargeback
from orderledger.ledger.chargeback_events import ChargebackOpened, ChargebackReport
from orderledger.ledger.chargeback_stages import ChargebackFact, ChargebackStage
from orderledger.ledger.settlements import SettlementStatus
from tests.settlement_book import PSP, SettledShop, line

FEES = "expenses:dispute_fees"


class ContestedShop(SettledShop):
    """A payment of 10,000 that was settled, and chargeback cb1 of it."""

    def settled(self, line_count: int) -> None:
        self.sale(10_000)
        self.begin(line_count)
        self.record(line(1, "payment", 10_000, provider_ref="ref-buy-p1"), "p1")

    def report(self, fact: str, stage: str = "chargeback", **fields: Any) -> None:
        given: dict[str, Any] = {"payment_id": "p1", "chargeback_id": "cb1", **fields}
        self.run(
            RecordChargeback(
                report=ChargebackReport(
                    fact=ChargebackFact(fact), stage=ChargebackStage(stage), **given
                )
            )
        )


@pytest.mark.parametrize("reported", [0, 1_500, 2_000])
def test_a_chargeback_is_not_posted_again(reported: int) -> None:
    """Catches an amount or a fee that the chargeback and its line both post."""
    shop = ContestedShop()
    shop.settled(2)
    shop.report("opened", amount=10_000, provider_ref="dp1", fee=reported, fee_currency="USD")
    one = line(2, "chargeback", -10_000, 1_500, provider_ref="pay", modification_ref="dp1")
    shop.record(one, "p1")
    assert shop.breaks() == {}
    assert shop.posted(PSP, FEES) == (-max(reported, 1_500), max(reported, 1_500))
    assert shop.settlement().status is SettlementStatus.BALANCED


def test_it_comes_back_and_is_taken_again() -> None:
    """Catches a reversal, or a second chargeback, that is shown before or beyond what happened."""
    shop = ContestedShop()
    shop.settled(4)
    shop.report("opened", amount=10_000)
    shop.record(line(2, "chargeback", -10_000, modification_ref="cb1"), "p1")
    back = line(3, "chargeback_reversed", 10_000, modification_ref="cb1")
    shop.record(back, "p1")
    assert shop.breaks() == {"unknown_reference/3": 10_000}
    shop.report("won")
    again = m.MatchLine(provider="psp", batch="b1", line_no=3, by="ann", candidates=("p1",))
    shop.run(again)
    assert shop.breaks() == {}
    shop.report("opened", "second_chargeback", amount=10_000)
    shop.record(line(4, "second_chargeback", -10_000, modification_ref="cb1"), "p1")
    assert shop.breaks() == {}
    assert shop.posted(PSP, "assets:disputes:cb1") == (0, 10_000)


def test_a_line_that_comes_first_waits_for_its_chargeback() -> None:
    """Catches a chargeback posted by its line and then by its own report."""
    shop = ContestedShop()
    shop.settled(2)
    shop.record(line(2, "chargeback", -4_000, 1_500, provider_ref="ref-buy-p1"), "p1")
    assert shop.breaks() == {"unknown_reference/2": -5_500}
    assert shop.posted(PSP) == (10_000,)
    shop.report("opened", amount=4_000, fee=1_500, fee_currency="USD")
    by_hand = m.MatchLine(
        provider="psp",
        batch="b1",
        line_no=2,
        by="ann",
        operations=(m.OperationName("p1", "buy-p1"),),
    )
    assert shop.refusal(by_hand) == "InvalidCommand"
    shop.run(m.MatchLine(provider="psp", batch="b1", line_no=2, by="ann", candidates=("p1",)))
    assert shop.posted(PSP, FEES, "assets:disputes:cb1") == (4_500, 1_500, 4_000)
    assert shop.settlement().status is SettlementStatus.BALANCED


def test_a_fee_of_its_own_line() -> None:
    """Catches PayPal's T0106 posted beside the fee that the chargeback's report had."""
    shop = ContestedShop()
    shop.settled(3)
    shop.report("opened", amount=4_000, fee=1_500, fee_currency="USD")
    shop.record(line(2, "chargeback_fee", -1_500, modification_ref="cb1"), "p1")
    assert shop.posted(FEES) == (1_500,)
    shop.record(line(3, "chargeback_fee", -700, modification_ref="cb1"), "p1")
    assert shop.posted(FEES) == (2_200,)
    assert shop.breaks() == {}


def test_more_than_was_taken_is_a_break() -> None:
    """Catches one chargeback that two lines take."""
    shop = ContestedShop()
    shop.settled(3)
    shop.report("opened", amount=4_000)
    shop.record(line(2, "chargeback", -4_000, modification_ref="cb1"), "p1")
    shop.record(line(3, "chargeback", -4_000, modification_ref="cb1", merchant_ref="x"), "p1")
    assert shop.breaks() == {"unknown_reference/3": -4_000}


DISPUTED = "assets:disputes:dp1"


def taken(line_no: int, amount: int = 4_000, fee: int = 0, **fields: Any) -> m.SettlementLine:
    """Return a line of chargeback dp1 of payment p1, as a file names them."""
    given: dict[str, Any] = {"provider_ref": "ref-buy-p1", "modification_ref": "dp1", **fields}
    return line(line_no, "chargeback", -amount, fee, **given)


@pytest.mark.parametrize(
    "reported",
    [
        {"chargeback_id": "dp1", "reason_code": "fraud"},
        {"chargeback_id": "cb1"},
        {"chargeback_id": "cb1", "amount": None},
        {"chargeback_id": "case-7", "provider_ref": "dp1", "sequence": 3},
    ],
)
def test_a_line_opens_what_nobody_reported(reported: dict[str, Any]) -> None:
    """Catches a line that is a break for ever, or a later notification that takes it again."""
    shop = ContestedShop()
    shop.settled(3)
    shop.record(taken(2, fee=1_500), "p1")
    assert shop.breaks() == {}
    assert shop.posted(PSP, FEES, DISPUTED) == (4_500, 1_500, 4_000)
    one = shop.book.payment("p1").chargebacks["dp1"]
    assert (one.status, one.contested, one.is_from_file) == ("open", 4_000, True)
    assert shop.book.order("o1").slices["s1"].frozen == {"dp1": 4_000}
    (begun,) = [
        found for found in shop.events_of("payment-p1") if isinstance(found, ChargebackOpened)
    ]
    assert begun.settlement == "psp/b1/2"
    before = shop.posted(PSP, FEES, DISPUTED)
    given = {"amount": 4_000, "fee": 1_500, "fee_currency": "USD", **reported}
    for _ in range(2):
        shop.report("opened", **given)
        assert shop.posted(PSP, FEES, DISPUTED) == before
    assert list(shop.book.payment("p1").chargebacks) == ["dp1"]
    shop.report("won", **{**reported, "amount": None})
    assert shop.posted(PSP, FEES, DISPUTED) == (8_500, 1_500, 0)
    assert shop.book.payment("p1").anomalies == ()
    shop.record(line(3, "chargeback_reversed", 4_000, modification_ref="dp1"), "p1")
    assert shop.settlement().status is SettlementStatus.BALANCED


def test_a_report_that_comes_first_is_not_opened_again() -> None:
    """Catches a file that takes what a notification had taken, whichever of them comes first."""
    shop = ContestedShop()
    shop.settled(3)
    shop.report("opened", amount=4_000)
    shop.record(taken(2), "p1")
    assert shop.posted("assets:disputes:cb1", DISPUTED) == (4_000, 0)
    shop.record(taken(3, modification_ref="dp2"), "p1")
    assert shop.posted("assets:disputes:cb1", "assets:disputes:dp2") == (4_000, 4_000)
    assert shop.breaks() == {}
    assert shop.posted(PSP) == (2_000,)


def test_two_of_one_amount_are_two() -> None:
    """Catches two chargebacks that a file and notifications count as one, or as three."""
    shop = ContestedShop()
    shop.settled(3)
    shop.record(taken(2), "p1")
    shop.report("opened", chargeback_id="case-1", amount=4_000)
    shop.report("opened", chargeback_id="case-2", amount=4_000)
    shop.record(taken(3, modification_ref="dp2"), "p1")
    chargebacks = shop.book.payment("p1").chargebacks
    assert {key: one.contested for key, one in chargebacks.items()} == {
        "dp1": 4_000,
        "case-2": 4_000,
    }
    assert shop.breaks() == {}


def test_a_line_takes_the_next_stage_of_what_is_known() -> None:
    """Catches a second chargeback, or one after an inquiry, that only its line shows."""
    shop = ContestedShop()
    shop.settled(3)
    shop.report("opened", "inquiry", amount=4_000)
    shop.record(line(2, "chargeback", -4_000, modification_ref="cb1"), "p1")
    assert shop.posted(PSP, "assets:disputes:cb1") == (6_000, 4_000)
    shop.report("won")
    assert shop.posted(PSP, "assets:disputes:cb1") == (10_000, 0)
    again = line(3, "second_chargeback", -4_000, provider_ref="ref-buy-p1", modification_ref="dp9")
    shop.record(again, "p1")
    assert shop.posted(PSP, "assets:disputes:cb1") == (6_000, 4_000)
    shop.report("opened", "second_chargeback", amount=4_000)
    assert shop.posted(PSP, "assets:disputes:cb1") == (6_000, 4_000)
    assert shop.breaks() == {}


@pytest.mark.parametrize("reference", ["", "ref-buy-p1", "a b", "x" * 121])
def test_a_line_that_names_no_chargeback_is_a_break(reference: str) -> None:
    """Catches a line that is refused, or a chargeback under a name that its reports cannot have."""
    shop = ContestedShop()
    shop.settled(2)
    shop.record(taken(2, modification_ref=reference), "p1")
    assert shop.breaks() == {"unknown_reference/2": -4_000}


def test_what_a_line_opened_is_answered_by_its_other_name() -> None:
    """Catches a chargeback that cannot be answered by the id that the provider's portal shows."""
    shop = ContestedShop()
    shop.settled(2)
    shop.record(taken(2), "p1")
    shop.report("opened", chargeback_id="case-1", amount=4_000)
    shop.run(AcceptChargeback(payment_id="p1", chargeback_id="case-1", accepted_by="ann"))
    assert shop.book.payment("p1").chargebacks["dp1"].status == "lost"
