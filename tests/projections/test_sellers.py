"""Sellers and payouts: columns that sum to the ledger's balance, and what a payout would pay."""

from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.commands.freeze_commands import FreezeFunds, UnfreezeFunds
from orderledger.ledger import accounts
from orderledger.ledger.chargeback_stages import Liability
from orderledger.ledger.errors import NotFound, Rejected
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.payout_proposals import (
    PayoutTarget,
    payable_releases,
    propose_payout,
    seen_balance,
)
from orderledger.projections.payouts import PayoutEntryRow, PayoutRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.seller_standing import SellerStandingRow, counts_of
from orderledger.projections.sellers import (
    SellerPayableRow,
    SellerReleaseRow,
    SellerReserveRow,
)
from orderledger.projections.shipped import SHIPPED
from tests.chargebacks_book import opened, report
from tests.dispute_book import file, rules, shares
from tests.dispute_shop import DisputeShop
from tests.model.shop import Shop, balances_of, item
from tests.projections.books import day_in_memory

NAMES = ("sellers", "payouts", "seller_standing")
USD: dict[str, Any] = {"seller": "s1", "currency": "USD"}


def earn(shop: Shop, order_id: str, price: str, **fields: Any) -> None:
    """Sell one article and release it to s1, as release rel-s1."""
    shop.place(item("a", price), order_id=order_id)
    amount = shop.order(order_id).total
    shop.pay(amount, f"pay-{order_id}", order_id=order_id)
    shop.release("s1", "0.1", order_id=order_id, **fields)


def give_back(shop: Shop, order_id: str, refund_id: str, amount: int) -> str:
    """Request a refund of a part of an order; return its operation."""
    payment_id, op_id = f"pay-{order_id}", f"op-{refund_id}"
    shop.grant(refund_id, amount, order_id=order_id)
    shop.run(m.AllocateRefund(order_id=order_id, refund_id=refund_id))
    shop.run(
        m.RequestRefund(
            payment_id=payment_id, op_id=op_id, amount=amount, currency="USD", refund_id=refund_id
        )
    )
    return op_id


def pay_out(shop: Shop, payout_id: str, *, until: str = "paid") -> None:
    shop.run(propose_payout(shop.book.read, payout_id, PayoutTarget(bank="main", **USD)))
    if until == "scheduled":
        return
    shop.run(m.InitiatePayout(payout_id=payout_id, seen=seen_balance(shop.book.read, "s1", "USD")))
    if until == "paid":
        shop.run(m.RecordPayoutPaid(payout_id=payout_id, bank_ref=f"b-{payout_id}"))


def lived() -> Shop:
    """Give a book in which everything happened that a seller's row counts."""
    shop = Shop()
    shop.run(m.SetReserve(terms=m.ReserveTerms(Decimal("0.1"), 30), **USD))
    earn(shop, "o1", "100")
    pay_out(shop, "y1")
    earn(shop, "o2", "50")
    give_back(shop, "o1", "f1", 2_000)
    shop.run(m.ImposePenalty(penalty_id="n1", rule_ref="rules/1", amount=300, **USD))
    pay_out(shop, "y2", until="initiated")
    earn(shop, "o3", "40")
    shop.run(FreezeFunds(order_id="o3", freeze_id="d1", seller="s1", amount=1_000, cause="dispute"))
    pay_out(shop, "y3", until="scheduled")
    earn(shop, "o4", "30")
    shop.run(
        m.PostEntry(
            entry_id="e1",
            description="a service of the marketplace",
            postings=(
                m.PostingInput(accounts.seller("s1"), "USD", 100),
                m.PostingInput("income:services", "USD", -100),
            ),
        )
    )
    shop.run(m.SuspendSeller(seller="s1", reason="look", by="ann"))
    return shop


def models_of(shop: Shop, batch_events: int) -> ReadModels:
    models = ReadModels(shop.store, MemoryModels(), SHIPPED)
    for name in NAMES:
        models.catch_up(name, batch_events=batch_events)
        assert list(models.parked(name)) == []
    return models


def check_sums(models: ReadModels, balances: dict[tuple[str, str, str], int]) -> int:
    """Assert that each row has the ledger's balance and sums to it; return how many there are."""
    count = 0
    for row in models.select(SellerPayableRow):
        count += 1
        owed = -balances.get(("posted", accounts.seller(row.seller), row.currency), 0)
        assert row.balance == owed
        assert row.debt == max(0, -owed)
        assert row.available == max(0, owed - row.scheduled)
        kept = row.refunded + row.frozen + row.reserved + row.penalties
        paid = row.in_transit + row.paid_out
        assert row.balance == row.released - kept + row.written_off + row.adjusted - paid
        reserve = accounts.rolling_reserve(row.seller)
        assert row.reserved == -balances.get(("posted", reserve, row.currency), 0)
    accounts_owed = {key for key in balances if key[1].startswith("liabilities:seller:")}
    assert count >= len(accounts_owed)
    return count


def test_the_columns_of_a_seller() -> None:
    """A column that counts what belongs to another, or misses an entry."""
    models = models_of(lived(), 7)
    row = models.get(SellerPayableRow, "s1", "USD")
    assert row is not None
    assert row.released == 9_000 + 4_500 + 3_600 + 2_700
    assert (row.refunded, row.frozen, row.penalties, row.adjusted) == (1_800, 1_000, 300, -100)
    assert row.reserved == 900 + 450 + 260
    assert (row.paid_out, row.in_transit) == (8_100, 1_950)
    assert row.scheduled == 2_340
    assert row.balance == 4_940
    assert row.seller_version == 10
    assert check_sums(models, balances_of(lived().store)) == 1


@pytest.mark.parametrize("batch_events", [1, 5, 1_000])
def test_rows_do_not_depend_on_the_batches(batch_events: int) -> None:
    """Rows that differ by where a batch ended, so that a rebuild would refuse to serve."""
    shop = lived()
    found, other = models_of(shop, batch_events), models_of(shop, 3)
    rows = (
        *(SellerPayableRow, SellerReleaseRow, SellerReserveRow),
        *(PayoutRow, PayoutEntryRow, SellerStandingRow),
    )
    for row_type in rows:
        ours = list(found.select(row_type))
        assert ours == list(other.select(row_type))
        assert ours, row_type.__name__


def test_what_is_payable_is_what_a_payout_pays() -> None:
    """A release that a host is told to pay and the engine refuses, or that nobody ever pays."""
    shop = lived()
    models = models_of(shop, 11)
    rows = {row.order_id: row for row in models.select(SellerReleaseRow, seller="s1")}
    found = {name: (row.amount, row.claimed, row.payable) for name, row in rows.items()}
    assert found == {
        "o1": (9_000, 9_000, 0),
        "o2": (4_500, 4_500, 0),
        "o3": (3_600, 2_600, 0),
        "o4": (2_700, 0, 2_700),
    }
    assert rows["o3"].payout_id == "y3"
    shop.run(UnfreezeFunds(order_id="o3", freeze_id="d1"))
    shop.run(m.ReinstateSeller(seller="s1", reason="fine", by="bob"))
    wanted = payable_releases(shop.book.read, "s1", "USD")
    assert [one.order_id for one in wanted] == ["o3", "o4"]
    pay_out(shop, "y4", until="scheduled")
    entries = shop.book.read.payout("y4").entries
    assert [(one.order_id, one.amount) for one in entries] == [("o3", 1_000), ("o4", 2_700)]


def test_payouts_and_their_entries() -> None:
    """A payout whose sum, instants or entries are not those of its events."""
    shop = lived()
    shop.run(m.CancelPayout(payout_id="y3", reason="x"))
    models = models_of(shop, 9)
    rows = {row.payout_id: row for row in models.select(PayoutRow)}
    assert {name: row.status for name, row in rows.items()} == {
        "y1": "paid",
        "y2": "in_transit",
        "y3": "cancelled",
    }
    y2 = rows["y2"]
    assert (y2.entries, y2.debt_recovered, y2.reserve, y2.amount) == (4_500, 2_100, 450, 1_950)
    assert y2.initiated_at is not None
    assert y2.closed_at is None
    entries = list(models.select(PayoutEntryRow))
    assert [(one.payout_id, one.order_id, one.is_live) for one in entries] == [
        ("y1", "o1", True),
        ("y2", "o2", True),
        ("y3", "o3", False),
    ]
    reserves = {row.reserve_id: row.remaining for row in models.select(SellerReserveRow)}
    assert reserves == {"payout/y1": 900, "payout/y2": 450, "payout/y3": 0}


def test_a_day_of_a_marketplace_sums_to_its_ledger() -> None:
    """A kind of entry on a seller's account that no column counts."""
    book = day_in_memory()
    shop = Shop(book.store)
    assert check_sums(models_of(shop, 50), balances_of(book.store)) > 3


def test_a_proposal_for_nobody_and_of_a_debt() -> None:
    """A payout that is proposed to a seller who is owed nothing."""
    shop = Shop()
    with pytest.raises(NotFound):
        seen_balance(shop.book.read, "s9", "USD")
    earn(shop, "o1", "10")
    pay_out(shop, "y1")
    give_back(shop, "o1", "f1", 500)
    with pytest.raises(Rejected, match="carried over"):
        pay_out(shop, "y2")
    row = shop.book.read.models.get(SellerPayableRow, "s1", "USD")
    assert row is not None
    assert (row.balance, row.debt, row.available) == (-450, 450, 0)


def test_the_record_of_a_seller() -> None:
    """A count that a standing is decided on and that is not what happened."""
    shop = lived()
    shop.run(m.ChangeSellerStanding(seller="s1", score=9_000, standing=m.Standing.GOOD))
    row = models_of(shop, 13).get(SellerStandingRow, "s1")
    assert row is not None
    assert (row.standing, row.score, row.is_suspended, row.reason) == ("good", 9_000, True, "look")
    assert (row.order_count, row.dispute_count, row.refund_count) == (4, 0, 0)
    assert (row.earned_standing, row.earned_score) == ("good", 10_000)
    assert counts_of(row).order_count == 4


def record_of(shop: Shop, batch_events: int = 7) -> tuple[int, int, int]:
    """Return what s1 is charged with: disputes admitted and lost, chargebacks lost."""
    row = models_of(shop, batch_events).get(SellerStandingRow, "s1")
    assert row is not None
    assert counts_of(row).dispute_count == row.dispute_lost_count + row.chargeback_lost_count
    return (row.dispute_count, row.dispute_lost_count, row.chargeback_lost_count)


def test_disputes_count_by_how_they_ended() -> None:
    """A seller who loses standing by a complaint that came to nothing, or keeps it after a loss."""
    shop = DisputeShop()
    seen: list[tuple[int, int, int]] = []
    for step in shop.steps():
        step()
        seen.append(record_of(shop))
    assert (seen[1], seen[-2], seen[-1]) == ((1, 0, 0), (1, 0, 0), (1, 1, 0))
    again = file("d2", ("b", 500), placed_at=shop.now, delivered_at=None, rule_book=rules())
    shop.run(again)
    assert record_of(shop) == (1, 1, 0)
    shop.run(m.AcceptDispute(dispute_id="d2", by="clerk"))
    shop.run(m.WithdrawDispute(dispute_id="d2", by="b1", reason="found it"))
    assert record_of(shop) == (2, 1, 0)
    amendment = m.AmendRuling(
        dispute_id="d1",
        ruling_id="r2",
        supersedes="r1",
        allocations=shares(0, 1_000),
        cause="forged photo",
        by="eve",
        approver="fay",
    )
    shop.run(amendment)
    shop.run(m.ExecuteRuling(dispute_id="d1"))
    assert record_of(shop) == record_of(shop, 1) == (2, 0, 0)


def test_chargebacks_count_against_who_bears_them() -> None:
    """A seller who is charged with a chargeback that was won, or that the platform bears."""
    shop = Shop()
    earn(shop, "o1", "100")
    for number, liability in ((1, None), (2, Liability.SELLER), (3, Liability.PLATFORM)):
        given = {"chargeback_id": f"cb{number}", "payment_id": "pay-o1"}
        shop.run(opened(1_000, liability=liability, **given))
        shop.run(report("won" if number == 1 else "lost", **given))
    assert record_of(shop) == (0, 0, 1)
    assign = m.AssignChargebackLoss(
        payment_id="pay-o1",
        chargeback_id="cb2",
        liability=Liability.PLATFORM,
        reason="our mistake",
        by="ann",
    )
    shop.run(assign)
    assert record_of(shop) == record_of(shop, 1) == (0, 0, 0)


def test_a_report_that_a_constraint_forbids_is_recorded() -> None:
    """A report of the bank that is lost, or a stream that no longer folds, because of a freeze."""
    shop = Shop()
    shop.run(m.SetReserve(terms=m.ReserveTerms(Decimal("0.1"), 30), **USD))
    earn(shop, "o1", "100")
    pay_out(shop, "y1", until="initiated")
    shop.run(m.FreezeAccount(account=accounts.rolling_reserve("s1"), reason="audit"))
    shop.run(m.RecordPayoutFailed(payout_id="y1", bank_ref="b1"))
    state = shop.book.read.seller("s1", "USD")
    assert state.reserved == 0
    (key,) = state.anomalies
    assert key.startswith("AccountConstraintBreached")
    resolve = m.ResolveSellerAnomaly(anomaly_id=key, by="ann", resolution="audited", **USD)
    shop.run(resolve)
    assert shop.book.read.seller("s1", "USD").anomalies == ()
    assert shop.refusal(resolve) == "not_found"
    row = models_of(shop, 5).get(SellerPayableRow, "s1", "USD")
    assert row is not None
    assert row.seller_version == shop.book.read.seller("s1", "USD").version
