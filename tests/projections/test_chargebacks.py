"""The read model of chargebacks against the folded payments."""

from datetime import timedelta

from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.chargebacks import ChargebackFeeRow, ChargebackRow
from orderledger.projections.customers import CustomerRow
from orderledger.projections.orders import OrderRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from tests.contested_shop import DUE, contested
from tests.model.shop import NOW


def test_rows_say_where_each_chargeback_stands() -> None:
    """Catches a deadline, an amount or a fee that whoever answers chargebacks would not see."""
    shop = contested()
    models = ReadModels(shop.store, MemoryModels(), SHIPPED)
    models.catch_up("chargebacks")
    lost, waiting, inquiry = list(models.select(ChargebackRow))
    assert (lost.stage, lost.status, lost.reason_code) == (
        "second_chargeback",
        "lost",
        "fraudulent",
    )
    assert (lost.amount, lost.contested, lost.lost, lost.reversed) == (4_000, 0, 4_000, 4_000)
    assert (lost.fee, lost.liability, lost.provider_ref) == (0, "seller", "dp_1")
    assert (lost.opened_at, lost.last_at) == (NOW + timedelta(days=1), NOW + timedelta(days=3))
    assert (waiting.status, waiting.evidence_due_by, waiting.is_answered) == ("open", DUE, False)
    assert (inquiry.stage, inquiry.status, inquiry.contested) == ("inquiry", "inquiry", 0)
    fees = [
        (row.chargeback_id, row.currency, row.amount) for row in models.select(ChargebackFeeRow)
    ]
    assert fees == [("cb1", "EUR", 20), ("cb1", "USD", 0)]
    payment = shop.payment()
    for row in (lost, waiting, inquiry):
        one = payment.chargebacks[row.chargeback_id]
        assert (row.contested, row.lost, row.amount) == (one.contested, one.lost, one.amount)


def test_the_order_shows_as_charged_back() -> None:
    """Catches an order whose row looks paid although the bank has the money."""
    shop = contested()
    models = ReadModels(shop.store, MemoryModels(), SHIPPED)
    models.catch_up("orders")
    (row,) = list(models.select(OrderRow))
    assert (row.dispute_status, row.charge_status) == ("charged_back", "partial")
    # 10,000 charged, 1,000 refunded as granted, 4,000 gone for good; 2,000 may come back.
    assert row.balance == -4_000


def test_a_customer_did_not_spend_what_the_bank_took_back() -> None:
    """Catches a buyer who counts as a good one for money that was charged back."""
    shop = contested()
    models = ReadModels(shop.store, MemoryModels(), SHIPPED)
    models.catch_up("customers")
    (row,) = list(models.select(CustomerRow))
    assert (row.charged, row.refunded) == (6_000, 1_000)
