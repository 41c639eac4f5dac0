"""The postings of chargebacks, recipe by recipe, on the worked example of the books."""

from decimal import Decimal

import pytest

from orderledger.commands.chargeback_commands import AcceptChargeback, AssignChargebackLoss
from orderledger.ledger import accounts
from orderledger.ledger.chargeback_stages import Liability
from orderledger.ledger.order_content import OrderTerms
from orderledger.ledger.payment_events import FxQuote
from tests.chargebacks_book import PSP, SELLER, TOTAL, ChargebackBook, opened, report
from tests.order_book import item, platform

DISPUTES = accounts.disputes("cb1")
RESERVE = accounts.dispute_reserve("cb1")
ESCROW = accounts.escrow("o1")
LOSSES = accounts.CHARGEBACK_LOSSES
FEES = accounts.DISPUTE_FEES
PLATFORM = Liability.PLATFORM
OTHERS = {"liabilities:tax:NY": -825, "liabilities:tips:s1": -500}
COMMISSION = {accounts.COMMISSION: -1_200}


@pytest.fixture
def book() -> ChargebackBook:
    return ChargebackBook()


def test_an_inquiry_moves_nothing(book: ChargebackBook) -> None:
    """Catches money booked as gone while the bank only asks."""
    before = book.sold().posted()
    book.run(opened(TOTAL, "inquiry"))
    assert book.posted() == before
    assert book.payment().refundable == TOTAL
    assert book.payment().chargeback_axis == "inquiry"


def test_recipe_14_opened_with_its_fee(book: ChargebackBook) -> None:
    """Catches a fee that is counted as part of the amount, or forgotten."""
    book.sold().run(opened(TOTAL, fee=1_500))
    assert book.posted() == {DISPUTES: TOTAL, FEES: 1_500, PSP: -1_500, ESCROW: -TOTAL}
    assert book.chargeback().amount == TOTAL
    assert book.payment().refundable == 0


def test_recipe_15_freezes_what_the_seller_got(book: ChargebackBook) -> None:
    """Catches a seller who is paid out what the bank has taken back."""
    book.sold(released=True).run(opened(TOTAL))
    assert book.balance(SELLER) == 0
    assert book.balance(RESERVE) == -9_800
    freeze = book.order().freezes["cb1", "s1"]
    # S = D − k is 11,125; tax and tips went on to others, so the seller has less to freeze.
    assert (freeze.amount, freeze.reserved, freeze.shortfall) == (11_125, 9_800, 1_325)


def test_recipe_16_won_gives_everything_back_but_the_fee(book: ChargebackBook) -> None:
    """Catches a win that leaves the seller's share in the reserve, or books the fee as returned."""
    before = book.sold(released=True).posted()
    book.run(opened(TOTAL, fee=1_500))
    book.run(report("won"))
    assert book.posted() == {**before, FEES: 1_500, PSP: TOTAL - 1_500}
    assert book.chargeback().status == "won_provisional"
    book.run(report("fee_returned", amount=1_500))
    assert book.posted() == before


def test_recipe_17_lost_and_the_seller_is_liable(book: ChargebackBook) -> None:
    """Catches a commission that is kept on a sale that was undone, or given back twice."""
    book.sold(released=True).run(opened(TOTAL))
    book.run(report("lost"))
    assert book.posted() == {
        **OTHERS,
        **COMMISSION,
        accounts.COMMISSION_REFUNDED: 1_200,
        SELLER: 11_125 - 9_800,
    }
    assert book.order().slices["s1"].available == 0


def test_recipe_18_lost_and_the_platform_bears_it(book: ChargebackBook) -> None:
    """Catches a seller who pays for what the platform has taken on itself."""
    before = book.sold(released=True).posted()
    book.run(opened(TOTAL))
    book.run(report("lost", liability=PLATFORM))
    del before[PSP]
    assert book.posted() == {**before, LOSSES: TOTAL}


@pytest.mark.parametrize("said", [None, Liability.SELLER])
def test_recipe_18_the_platform_bears_it_by_the_orders_terms(said: Liability | None) -> None:
    """Catches a seller who pays for what the terms of the order put on the platform."""
    book = ChargebackBook()
    book.confirmed("a 1 x 100.00", terms=OrderTerms(chargeback_liability=PLATFORM))
    book.pay("p1", 10_000)
    book.release("s1")
    book.run(opened(10_000))
    assert book.chargeback().liability is PLATFORM
    book.run(report("lost", liability=said))
    losses = 0 if said else 10_000
    assert book.balance(LOSSES) == losses, "a report that says otherwise has the last word"


def test_recipe_19_lost_before_the_release(book: ChargebackBook) -> None:
    """Catches escrow that still shows money of a buyer who has it back."""
    book.sold().run(opened(TOTAL))
    book.run(report("lost"))
    assert book.posted() == {}
    assert book.order().slices["s1"].available == 0


def test_part_of_a_sale_reverses_its_part_of_the_commission(book: ChargebackBook) -> None:
    """Catches a commission reversed in full for a chargeback of a part."""
    book.sold_lines("a 1 x 100.00").release("s1")
    book.run(opened(2_500))
    book.run(report("lost"))
    assert book.posted() == {
        PSP: 7_500,
        **COMMISSION,
        accounts.COMMISSION_REFUNDED: 300,
        SELLER: -8_800 + 2_200,
    }


def test_two_partial_chargebacks_never_give_back_more_commission_than_was_taken(
    book: ChargebackBook,
) -> None:
    """Catches commission parts that are rounded one by one (invariant 21)."""
    book.sold_lines("a 1 x 100.01").release("s1", commission_rate=Decimal("0.0333"))
    for chargeback_id, amount in (("cb1", 3_333), ("cb2", 3_334), ("cb3", 3_334)):
        book.run(opened(amount, chargeback_id=chargeback_id))
        book.run(report("lost", chargeback_id=chargeback_id))
    assert book.posted() == {accounts.COMMISSION: -333, accounts.COMMISSION_REFUNDED: 333}


def test_partly_released_it_is_borne_in_proportion(book: ChargebackBook) -> None:
    """Catches a loss that only the rest in escrow bears, or only the seller."""
    book.sold_lines("a 1 x 100.00").release("s1", amount=4_000)
    book.run(opened(5_000))
    book.run(report("lost"))
    # 2,000 of what was released (480 commission on 4,000), 3,000 of the 6,000 in escrow.
    assert book.posted() == {
        PSP: 5_000,
        ESCROW: -3_000,
        accounts.COMMISSION: -480,
        accounts.COMMISSION_REFUNDED: 240,
        SELLER: -3_520 + 1_760,
    }


def test_every_seller_bears_the_part_of_his_goods(book: ChargebackBook) -> None:
    """Catches one seller who pays for the goods of another."""
    book.sold_lines("a 1 x 60.00 of s1", "b 1 x 30.00 of s2", "c 1 x 10.01 of s3")
    book.release("s2", commission_rate=Decimal(0))
    book.run(opened(5_000))
    frozen = {key[1]: one.amount for key, one in book.order().freezes.items()}
    assert sum(frozen.values()) == 5_000
    book.run(report("lost"))
    left = {key: one.available for key, one in book.order().slices.items()}
    assert left == {"s1": 6_000 - 3_000, "s2": 0, "s3": 1_001 - 500}
    assert book.balance(accounts.seller("s2")) == -3_000 + 1_500


def test_only_the_money_of_the_contested_payment_is_taken(book: ChargebackBook) -> None:
    """Catches a loss spread over slices that another payment of the order filled."""
    book.confirmed("a 1 x 60.00 of s1", "b 1 x 40.00 of s2")
    book.pay("p1", 2_000)
    book.release("s1", amount=1_200)
    book.pay("p2", 8_000)
    book.run(opened(2_000))
    book.run(report("lost"))
    assert book.balance(ESCROW) == -8_000
    assert book.balance(accounts.seller("s1")) == -1_056 + 1_056
    # The other payment had filled 4,800 and 3,200; the first one's 800 were in the slice of s2.
    assert {key: one.available for key, one in book.order().slices.items()} == {
        "s1": 4_800,
        "s2": 3_200,
    }


def test_a_partial_win_loses_the_rest(book: ChargebackBook) -> None:
    """Catches a win booked in full although less came back."""
    book.sold().run(opened(TOTAL))
    book.run(report("won", amount=10_000))
    assert book.posted() == {PSP: 10_000, ESCROW: -10_000}
    assert (book.payment().chargeback_lost, book.payment().chargeback_reversed) == (2_325, 10_000)
    book.run(opened(10_000, "second_chargeback"))
    book.run(report("lost", "second_chargeback"))
    assert book.posted() == {}


def test_more_may_come_back_than_was_taken(book: ChargebackBook) -> None:
    """Catches an entry that does not balance where exchange rates moved."""
    book.sold().run(opened(TOTAL))
    book.run(report("won", amount=TOTAL + 25))
    assert book.posted() == {PSP: TOTAL + 25, ESCROW: -TOTAL, LOSSES: -25}
    assert "AmountMismatch" in book.anomalies()


def test_cancelled_and_prevented_give_back(book: ChargebackBook) -> None:
    """Catches a cancelled chargeback whose money is not expected back."""
    before = book.sold(released=True).posted()
    book.run(opened(TOTAL))
    book.run(report("cancelled"))
    assert book.posted() == before
    book.run(report("cancelled", chargeback_id="cb2", amount=500))
    assert book.posted() == before
    assert book.chargeback("cb2").status == "closed"
    assert book.anomalies() == []


def test_who_bears_a_loss_can_be_decided_anew(book: ChargebackBook) -> None:
    """Catches a changed decision that leaves the first one's postings behind."""
    book.sold(released=True).run(opened(TOTAL))
    book.run(
        AcceptChargeback(
            payment_id="p1", chargeback_id="cb1", accepted_by="ops", liability=PLATFORM
        )
    )
    assert book.balance(LOSSES) == TOTAL
    again = assign(Liability.SELLER)
    book.run(again)
    assert book.balance(LOSSES) == 0
    assert book.balance(SELLER) == 11_125 - 9_800
    assert book.run(again) == ()
    book.run(assign(PLATFORM))
    assert (book.balance(LOSSES), book.balance(SELLER)) == (TOTAL, -9_800)


def assign(liability: Liability) -> AssignChargebackLoss:
    return AssignChargebackLoss(
        payment_id="p1", chargeback_id="cb1", liability=liability, reason="fraud", by="ops"
    )


def test_a_payment_in_another_currency(book: ChargebackBook) -> None:
    """Catches a loss that takes dollars out of an escrow that holds euros, or a residue of both."""
    book.confirmed("a 1 x 100.00 of s1", "b 1 x 33.33 of s2")
    quote = FxQuote("fx1", 13_333, "USD", Decimal("0.675"))
    book.pay("p1", 9_001, currency="EUR", fx=quote)
    book.release("s2")
    book.run(opened(9_001, currency="EUR"))
    book.run(report("lost"))
    assert book.open_accounts("USD") == book.open_accounts("EUR") == {}
    # The exchange that the capture made is undone, but for what the released part is worth now.
    assert book.balance(PSP, "EUR") == 0
    assert book.balance(accounts.seller("s2")) == 0
    assert book.balance(accounts.FX_POSITION) == book.balance(accounts.FX_POSITION, "EUR") == 0


def test_coupons_go_back_to_the_platform_with_the_money_in_escrow(book: ChargebackBook) -> None:
    """Catches a coupon that stays in the escrow of an order whose buyer has the money back."""
    book.sold_lines(item("a 1 x 100.00", discounts=(platform("c", 1_000),)))
    assert book.balance(ESCROW) == -10_000
    book.run(opened(9_000))
    book.run(report("lost"))
    assert book.posted() == {}
