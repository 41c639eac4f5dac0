"""
A provider that gives a refund back twice: the buyer owes it, those who funded it paid once.
"""

from itertools import permutations

import pytest

from orderledger.commands import model as m
from orderledger.ledger import accounts
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.payment_operations import FundingPart
from orderledger.ledger.payments import owed_again
from tests.chargebacks_book import opened
from tests.chargebacks_book import report as chargeback_report
from tests.model.shop import Shop, anomalies_of, balances_of, item

SOLD = 10_000
RECEIVABLE = accounts.receivable("o1")
ESCROW = accounts.escrow("o1")


def declined_and_again(*, is_released: bool, amount: int = SOLD) -> Shop:
    """Return a sale whose refund x1 was declined and is requested again as x2."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(SOLD)
    if is_released:
        shop.release("s1")
    shop.grant("r1", amount)
    shop.allocate("r1")
    shop.request("r1", amount, op_id="x1")
    said(shop, "x1 declined")
    shop.request("r1", amount, op_id="x2", kind=m.RetryRefund)
    return shop


def said(shop: Shop, report: str) -> None:
    """Record a report such as "x1 succeeded"; every one has a place in the provider's sequence."""
    op_id, what = report.split()
    sequence = {"declined": 1, "succeeded": 2, "reversed": 3}[what]
    kind = {
        "declined": m.RecordDeclined,
        "succeeded": m.RecordSucceeded,
        "reversed": m.RecordReversed,
    }[what]
    shop.run(kind(payment_id="p1", op_id=op_id, provider_ref=f"ref-{op_id}", sequence=sequence))
    assert_escrow_is_the_slices(shop)


def assert_escrow_is_the_slices(shop: Shop) -> None:
    order = shop.order()
    escrow = -posted(shop).get(ESCROW, 0)
    assert escrow == order.escrow_held == sum(one.available for one in order.slices.values())
    assert escrow >= 0


def posted(shop: Shop) -> dict[str, int]:
    return {account: minor for (_, account, _), minor in balances_of(shop.store).items()}


AFTERWARDS = {
    "income:commission": -1_200,
    "income:commission_refunded": 1_200,
}


def given_back(*, is_released: bool, times: int) -> dict[str, int]:
    """Return the balances of a whole refund that the provider made so many times."""
    found = {"assets:psp:psp": SOLD - SOLD * times, RECEIVABLE: SOLD * (times - 1)}
    if is_released:
        found |= AFTERWARDS
    return {account: minor for account, minor in found.items() if minor}


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "in escrow"])
@pytest.mark.parametrize("reports", list(permutations(["x1 succeeded", "x2 succeeded"])))
def test_the_buyer_owes_what_the_provider_gave_back_twice(
    reports: tuple[str, ...], is_released: bool
) -> None:
    """Catches a seller, or escrow, that pays for the provider's second refund (21, 29, 34)."""
    shop = declined_and_again(is_released=is_released)

    for report in reports:
        said(shop, report)

    assert posted(shop) == given_back(is_released=is_released, times=2)
    assert shop.payment().exposure == SOLD
    raised = anomalies_of(shop.store)
    assert sorted(raised) == ["Exposure", "LateSuccess", "RefundBeyondGrant"]


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "in escrow"])
@pytest.mark.parametrize("taken_back", ["x1", "x2"])
def test_one_of_the_two_taken_back_leaves_what_one_gives(
    taken_back: str, is_released: bool
) -> None:
    """Catches a debt to the buyer, or of them, that stays when one of two refunds failed (34)."""
    reports = ["x1 succeeded", "x2 succeeded", f"{taken_back} reversed"]
    seen = 0
    for order in permutations(reports):
        if order.index(f"{taken_back} succeeded") > order.index(reports[2]):
            continue
        shop = declined_and_again(is_released=is_released)
        for report in order:
            said(shop, report)
        assert posted(shop) == given_back(is_released=is_released, times=1), order
        assert owed_again(shop.payment(), "r1") == 0
        assert shop.order().grants["r1"].owed_again == 0
        seen += 1
    assert seen == 3


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "in escrow"])
def test_both_taken_back_are_owed_once(is_released: bool) -> None:
    """Catches a refund that is owed twice because the provider took two of it back (29)."""
    reports = ["x1 succeeded", "x2 succeeded", "x1 reversed", "x2 reversed"]
    for order in permutations(reports):
        if any(
            order.index(f"{op_id} succeeded") > order.index(f"{op_id} reversed")
            for op_id in ("x1", "x2")
        ):
            continue
        shop = declined_and_again(is_released=is_released)
        for report in order:
            said(shop, report)
        found = posted(shop)
        assert found.pop(accounts.refunds("o1")) == -SOLD, order
        assert found.pop("assets:psp:psp") == SOLD, order
        assert found == (AFTERWARDS if is_released else {})
        assert owed_again(shop.payment(), "r1") == SOLD
        assert shop.order().grants["r1"].owed_again == SOLD
        shop.succeed(shop.request("r1", SOLD, op_id="x3", kind=m.RetryRefund))
        assert posted(shop) == given_back(is_released=is_released, times=1), order


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "in escrow"])
def test_what_was_issued_again_and_succeeds_by_itself_too_is_owed_by_the_buyer(
    is_released: bool,
) -> None:
    """Catches a second payment of what was owed that leaves a negative debt to the buyer (29)."""
    shop = declined_and_again(is_released=is_released)
    said(shop, "x2 succeeded")
    said(shop, "x2 reversed")
    shop.succeed(shop.request("r1", SOLD, op_id="x3", kind=m.RetryRefund))

    said(shop, "x1 succeeded")

    assert posted(shop) == given_back(is_released=is_released, times=2)


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "in escrow"])
def test_a_part_beyond_what_was_captured_is_owed_by_the_buyer(is_released: bool) -> None:
    """Catches a cap that takes all of an operation, or none, where a part of it is beyond (29)."""
    shop = declined_and_again(is_released=is_released, amount=6_000)
    said(shop, "x2 succeeded")
    said(shop, "x1 succeeded")

    found = posted(shop)

    assert found[RECEIVABLE] == 2_000
    assert found["assets:psp:psp"] == -2_000
    assert found.get(ESCROW, 0) == 0
    assert found.get("liabilities:seller:s1", 0) == 0
    if is_released:
        assert found["income:commission_refunded"] == 1_200


def test_funding_by_escrow_counts_last_when_the_escrow_was_released_since() -> None:
    """Catches an older funding by escrow that counts although a release emptied it (19)."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.pay(SOLD)
    shop.grant("r1", SOLD, source=RefundSource.GOODWILL)
    shop.allocate("r1")
    shop.request("r1", SOLD, op_id="x1", funding=(FundingPart(ESCROW, SOLD),))
    said(shop, "x1 declined")
    shop.release("s1")
    shop.request("r1", SOLD, op_id="x2", kind=m.RetryRefund)

    said(shop, "x1 succeeded")
    said(shop, "x2 succeeded")

    payment = shop.payment()
    assert [part.account for part in payment.operations["x1"].funding] == [ESCROW]
    assert posted(shop) == {
        "assets:psp:psp": -SOLD,
        RECEIVABLE: SOLD,
        "expenses:goodwill": SOLD,
        "liabilities:seller:s1": -8_800,
        "income:commission": -1_200,
    }


def test_a_capture_that_is_taken_back_relieves_nobody_of_a_refund() -> None:
    """Catches a seller who is credited a refund again because its payment was taken back."""
    shop = declined_and_again(is_released=True)
    said(shop, "x2 succeeded")
    taken_back = m.RecordReversed(
        payment_id="p1", op_id="buy-p1", provider_ref="ref-buy-p1", sequence=3
    )

    shop.run(taken_back)

    assert posted(shop) == AFTERWARDS | {"assets:psp:psp": -SOLD, ESCROW: SOLD}


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "in escrow"])
def test_a_lost_chargeback_besides_two_refunds_is_owed_by_the_buyer_too(is_released: bool) -> None:
    """Catches money of the payment that is counted twice, for refunds and for a loss (29, 34)."""
    for order in permutations(["x1 succeeded", "x2 succeeded", "lost"]):
        shop = declined_and_again(is_released=is_released)
        for report in order:
            if report == "lost":
                shop.run(opened(SOLD))
                shop.run(chargeback_report("lost"))
                assert_escrow_is_the_slices(shop)
            else:
                said(shop, report)

        assert posted(shop) == given_back(is_released=is_released, times=3), order
