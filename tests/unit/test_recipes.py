"""
The posting recipes of docs/money.md as a table that a bookkeeper can read, and its worked example.

Recipes 14 to 24 and 27 belong to disputes, payouts and reserves.
"""

from collections.abc import Callable
from decimal import Decimal

import pytest

from orderledger.ledger import recipes_journal, recipes_order, recipes_payment
from orderledger.ledger.journal import EMPTY, Entry, encode_entry
from orderledger.ledger.money import Money
from orderledger.ledger.order_content import Beneficiary, Commission, Conversion, ReleasePart
from orderledger.ledger.order_events import FundsReleased
from orderledger.ledger.payment_operations import FundingPart
from tests.decided_book import DecidedBook

WALLET = "liabilities:store_credit:b1"


def usd(minor: int) -> Money:
    return Money(minor, "USD")


def release(conversion: Conversion | None = None, commission_tax: int = 0) -> Entry:
    """Release the worked example: items 10000, shipping 1000, tax 825, tip 500."""
    event = FundsReleased(
        release_id="x1",
        slice_id="s1",
        amount=12325,
        items=10000,
        commission=Commission(
            Decimal("0.12"), "v1", 10000, 1200, commission_tax, Decimal("0.19"), "de"
        ),
        net=9800,
        parts=(
            ReleasePart(Beneficiary.SELLER_SHIPPING, "s1", 1000),
            ReleasePart(Beneficiary.TAX, "us-ca", 825),
            ReleasePart(Beneficiary.TIP, "s1", 500),
        ),
        conversion=conversion,
    )
    return recipes_order.released("o1", event, "USD" if conversion is None else "EUR")


FUNDING = (
    FundingPart("liabilities:seller:s1", 352),
    FundingPart("income:commission_refunded", 48),
    FundingPart("liabilities:tax:us-ca", 33),
)
ESCROW = (FundingPart("liabilities:escrow:o1", 433),)

# Each block: number and event, then its legs as stored (layer account currency amount), debits
# positive.
TABLE = """
1 authorised
    held assets:psp:p USD 12325
    held liabilities:escrow:o1 USD -12325
2 captured
    posted assets:psp:p USD 7325
    posted liabilities:escrow:o1 USD -7325
    held assets:psp:p USD -7325
    held liabilities:escrow:o1 USD 7325
3 voided
    held assets:psp:p USD -5000
    held liabilities:escrow:o1 USD 5000
4 platform coupon
    posted expenses:promo USD 500
    posted liabilities:escrow:o1 USD -500
5 store credit redeemed
    posted liabilities:store_credit:b1 USD 400
    posted liabilities:escrow:o1 USD -400
5 points redeemed
    posted liabilities:loyalty:b1 PTS 1000
    posted equity:fx PTS -1000
    posted equity:fx USD 400
    posted liabilities:escrow:o1 USD -400
6 capture reversed
    posted liabilities:escrow:o1 USD 5000
    posted assets:psp:p USD -5000
7 settlement
    posted assets:bank:main USD 11938
    posted expenses:gateway_fees USD 387
    posted assets:psp:p USD -12325
8 release on delivery
    posted liabilities:escrow:o1 USD 12325
    posted liabilities:seller:s1 USD -9800
    posted income:commission USD -1200
    posted liabilities:tax:us-ca USD -825
    posted liabilities:tips:s1 USD -500
9 tax on commission
    posted liabilities:escrow:o1 USD 12325
    posted liabilities:seller:s1 USD -9572
    posted income:commission USD -1200
    posted liabilities:tax:us-ca USD -825
    posted liabilities:tips:s1 USD -500
    posted liabilities:tax:de USD -228
10 refund before release
    posted liabilities:escrow:o1 USD 433
    posted liabilities:refunds:o1 USD -433
11 refund after release
    posted liabilities:seller:s1 USD 352
    posted income:commission_refunded USD 48
    posted liabilities:tax:us-ca USD 33
    posted liabilities:refunds:o1 USD -433
12 refund succeeded
    posted liabilities:refunds:o1 USD 433
    posted assets:psp:p USD -433
13 refund declined
    posted liabilities:seller:s1 USD -352
    posted income:commission_refunded USD -48
    posted liabilities:tax:us-ca USD -33
    posted liabilities:refunds:o1 USD 433
13 refund failed after success
    posted liabilities:refunds:o1 USD -433
    posted assets:psp:p USD 433
25 store credit issued as goodwill
    posted expenses:goodwill USD 400
    posted liabilities:store_credit:b1 USD -400
25 store credit issued instead of a refund
    posted liabilities:refunds:o1 USD 400
    posted liabilities:store_credit:b1 USD -400
25 store credit expired
    posted liabilities:store_credit:b1 USD 400
    posted income:breakage USD -400
26 debt written off
    posted expenses:bad_debt USD 700
    posted liabilities:seller:s1 USD -700
29 bank converts
    posted equity:fx EUR 10000
    posted assets:bank:main EUR -10000
    posted assets:bank:main USD 10900
    posted equity:fx USD -10900
29 gain realised
    posted equity:fx USD 100
    posted income:fx_gain USD -100
29 loss realised
    posted expenses:fx_loss USD 100
    posted equity:fx USD -100
29 no difference
30 tax remitted
    posted liabilities:tax:us-ca USD 825
    posted assets:bank:main USD -825
"""

RECIPES: dict[str, Callable[[], Entry]] = {
    "1 authorised": lambda: recipes_payment.authorised("p", "o1", 12325, "USD"),
    "2 captured": lambda: recipes_payment.captured("p", "o1", 7325, 7325, "USD"),
    "3 voided": lambda: recipes_payment.released("p", "o1", 5000, "USD"),
    "4 platform coupon": lambda: recipes_order.coupon_funded("o1", 500, "USD"),
    "5 store credit redeemed": lambda: recipes_journal.stored_value_redeemed(
        WALLET, "o1", usd(400), usd(400)
    ),
    "5 points redeemed": lambda: recipes_journal.stored_value_redeemed(
        recipes_journal.value_account("b1", points=True), "o1", Money(1000, "PTS"), usd(400)
    ),
    "6 capture reversed": lambda: recipes_payment.capture_reversed("p", "o1", 5000, 0, "USD"),
    "7 settlement": lambda: recipes_journal.settlement("p", "main", usd(12325), 387),
    "8 release on delivery": release,
    "9 tax on commission": lambda: release(commission_tax=228),
    "10 refund before release": lambda: recipes_payment.refund_requested("o1", ESCROW, "USD"),
    "11 refund after release": lambda: recipes_payment.refund_requested("o1", FUNDING, "USD"),
    "12 refund succeeded": lambda: recipes_payment.refund_succeeded("p", "o1", 433, "USD"),
    "13 refund declined": lambda: recipes_payment.refund_declined("o1", FUNDING, "USD"),
    "13 refund failed after success": lambda: recipes_payment.refund_reversed(
        "p", "o1", 433, "USD"
    ),
    "25 store credit issued as goodwill": lambda: recipes_journal.stored_value_issued(
        WALLET, "expenses:goodwill", usd(400)
    ),
    "25 store credit issued instead of a refund": lambda: recipes_journal.stored_value_issued(
        WALLET, "liabilities:refunds:o1", usd(400)
    ),
    "25 store credit expired": lambda: recipes_journal.stored_value_expired(WALLET, usd(400)),
    "26 debt written off": lambda: recipes_journal.debt_written_off("s1", usd(700)),
    "29 bank converts": lambda: recipes_journal.currency_converted(
        "main", Money(10000, "EUR"), usd(10900)
    ),
    "29 gain realised": lambda: recipes_journal.fx_result_realised(usd(10800), usd(10900)),
    "29 loss realised": lambda: recipes_journal.fx_result_realised(usd(10900), usd(10800)),
    "29 no difference": lambda: recipes_journal.fx_result_realised(usd(10900), usd(10900)),
    "30 tax remitted": lambda: recipes_journal.tax_remitted("us-ca", "main", usd(825)),
}


def _blocks() -> dict[str, list[str]]:
    blocks: dict[str, list[str]] = {}
    name = ""
    for line in TABLE.strip().splitlines():
        if line.startswith(" "):
            blocks[name].append(line.strip())
        else:
            name = line.strip()
            blocks[name] = []
    return blocks


def test_the_table_has_every_recipe() -> None:
    """A recipe that is in the code and in no table."""
    assert list(_blocks()) == list(RECIPES)


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipe(name: str) -> None:
    """A leg on the wrong account, on the wrong side, or left out."""
    posted = RECIPES[name]()
    merged: dict[str, int] = {}
    for leg in encode_entry(posted).splitlines():
        account, amount = leg.rsplit(" ", 1)
        merged[account] = merged.get(account, 0) + int(amount)
    wanted = dict(line.rsplit(" ", 1) for line in _blocks()[name])
    assert merged == {account: int(amount) for account, amount in wanted.items()}
    assert (posted == EMPTY) == (wanted == {})


def test_the_worked_example_step_by_step() -> None:
    """A cent that is lost between the buyer's card and the seller's bank."""
    book = DecidedBook()
    steps = [
        (recipes_payment.authorised("p", "o1", 12325, "USD"), {}),
        (
            recipes_payment.captured("p", "o1", 7325, 7325, "USD"),
            {"assets:psp:p": 7325, "liabilities:escrow:o1": -7325},
        ),
        (
            recipes_payment.captured("p", "o1", 5000, 5000, "USD"),
            {"assets:psp:p": 12325, "liabilities:escrow:o1": -12325},
        ),
        (
            recipes_journal.settlement("p", "main", usd(12325), 387),
            {"assets:bank:main": 11938, "expenses:gateway_fees": 387, "assets:psp:p": 0},
        ),
        (
            release(),
            {
                "liabilities:seller:s1": -9800,
                "income:commission": -1200,
                "liabilities:tax:us-ca": -825,
                "liabilities:tips:s1": -500,
                "liabilities:escrow:o1": 0,
            },
        ),
    ]
    for posted, wanted in steps:
        book.post(posted)
        assert {account: book.balance(account) for account in wanted} == wanted
    book.post_text("liabilities:seller:s1 USD 9800\nassets:bank:main USD -9800")
    assert book.balance("assets:bank:main") == 2138
    held = [minor for (layer, _), minor in book.net("assets:psp:p").items() if layer == "held"]
    assert held == []


def test_recipe_28_across_the_border() -> None:
    """A currency position that is not what the buyer paid against what the seller is owed."""
    terms = Conversion("USD", Decimal("1.08"), 11000, 11880, 1296)
    book = DecidedBook()
    book.post_text("assets:psp:p EUR 12325\nliabilities:escrow:o1 EUR -12325")
    book.post(release(terms))
    assert book.balance("liabilities:escrow:o1", "EUR") == 0
    position = book.balance("equity:fx", "EUR"), book.balance("equity:fx", "USD")
    owed = book.balance("liabilities:seller:s1") + book.balance("income:commission")
    assert position == (-11000, 11880)
    assert owed == -11880
