"""What disputes and chargebacks come to, per day and cause, against the rows of each of them."""

from collections import Counter
from datetime import timedelta

import pytest

from orderledger.ledger.stores.memory import MemoryStore
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.chargebacks import ChargebackRow
from orderledger.projections.disputes import DisputeRow
from orderledger.projections.indicators import ContestOutcomeRow, StepLatencyRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from tests.chargebacks_book import report
from tests.projections.market_book import MarketBook

Counts = Counter[tuple[str, str, str, str]]


@pytest.fixture
def market() -> MarketBook:
    return MarketBook(MemoryStore())


def _models(market: MarketBook) -> ReadModels:
    models = ReadModels(market.store, MemoryModels(), SHIPPED)
    for name in ("chargebacks", "disputes", "indicators"):
        models.catch_up(name, batch_events=7)
    return models


def _counted(models: ReadModels) -> Counts:
    return Counter(
        {
            (row.day, row.kind, row.outcome, row.cause): row.contests
            for row in models.select(ContestOutcomeRow)
        }
    )


def _listed(models: ReadModels) -> Counts:
    disputes = [
        (row.filed_at.date().isoformat(), "dispute", row.outcome or "open", row.reason)
        for row in models.select(DisputeRow)
    ]
    chargebacks = [
        (row.opened_at.date().isoformat(), "chargeback", row.status, row.reason_code)
        for row in models.select(ChargebackRow)
    ]
    return Counter([*disputes, *chargebacks])


def test_each_contest_counts_once_under_what_it_has_come_to(market: MarketBook) -> None:
    """Catches a dispute or chargeback counted twice, under an old outcome, or not at all."""
    models = _models(market)
    before = _counted(models)
    assert before == _listed(models)
    assert before["2026-01-16", "chargeback", "open", "not_received"] == 1
    # Days later, and told in the wrong order: it counts on its first day, as its row has it.
    market.now += timedelta(days=3)
    for fact in ("won", "lost"):
        market.run(report(fact, chargeback_id="cb2", payment_id="p2"))
    models = _models(market)
    after = _counted(models)
    assert after == _listed(models)
    assert after.total() == before.total()
    assert ("2026-01-16", "chargeback", "open", "not_received") not in after
    assert after["2026-01-16", "chargeback", "lost", "not_received"] == 1


def test_steps_of_contests_and_payouts_are_measured_once(market: MarketBook) -> None:
    """Catches a step that is measured again by a repetition, or from a start that was no start."""
    market.now += timedelta(seconds=3)
    for _ in range(2):
        market.run(report("lost", chargeback_id="cb2", payment_id="p2"))
    rows = [row for row in _models(market).select(StepLatencyRow) if row.step != "purchase"]
    steps: Counter[str] = Counter()
    for row in rows:
        steps[row.step] += row.count
    # cb1 was decided twice, cb2 once; cb9 and the inquiry never took the money by a report.
    assert (steps["chargeback"], steps["dispute"], steps["payout"]) == (3, 1, 2)
    assert [row.count for row in rows if row.step == "chargeback" and row.up_to_us == 1 << 22] == [
        1
    ]
