"""Disputes, their deadlines and evidence as rows: the same as their states say, live or rebuilt."""

from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.ledger.codec import decode_event
from orderledger.ledger.disputes import deadlines_of
from orderledger.ledger.folds import fold_of
from orderledger.ledger.stores.models_memory import MemoryModels
from orderledger.projections.disputes import DisputeDeadlineRow, DisputeEvidenceRow, DisputeRow
from orderledger.projections.orders import OrderRow
from orderledger.projections.read_models import ReadModels
from orderledger.projections.shipped import SHIPPED
from orderledger.projections.timeline import OrderStepRow
from tests.dispute_book import file, shares
from tests.dispute_shop import DisputeShop

ROWS = (DisputeRow, DisputeDeadlineRow, DisputeEvidenceRow)


def models_of(shop: DisputeShop) -> ReadModels:
    shop.store.sequence()
    models = ReadModels(shop.store, MemoryModels(), SHIPPED)
    models.catch_up("disputes")
    assert list(models.parked("disputes")) == []
    return models


def state_of(shop: DisputeShop) -> Any:
    stream = "dispute-d1"
    fold = fold_of(stream)
    state = fold.initial
    for row in shop.store.stream(stream):
        state = fold.apply(state, decode_event(row.topic, row.payload))
    return state


def test_rows_follow_the_dispute_at_every_step() -> None:
    """A deadline that stays in the list after it passed, or a stage that is one step behind."""
    shop = DisputeShop()
    live = models_of(shop)
    row: DisputeRow | None = None
    for step in shop.steps():
        step()
        shop.store.sequence()
        live.catch_up("disputes")
        state = state_of(shop)
        row = live.get(DisputeRow, "d1")
        assert row is not None
        due = deadlines_of(state)
        assert [(one.deadline_id, one.due_at) for one in due] == sorted(
            [(one.deadline_id, one.due_at) for one in live.select(DisputeDeadlineRow)],
            key=lambda one: (one[1], one[0]),
        )
        assert (row.stage, row.is_suspended) == (state.stage, state.is_suspended)
        assert row.next_due_at == (due[0].due_at if due else None)
        rebuilt = models_of(shop)
        for kind in ROWS:
            assert list(live.select(kind)) == list(rebuilt.select(kind))
    assert row is not None
    assert row == DisputeRow(
        dispute_id="d1",
        order_id="o1",
        buyer_ref="b1",
        seller="s1",
        claimant="buyer",
        currency="USD",
        stage="executed",
        outcome="ruled",
        is_suspended=False,
        claimed=1000,
        frozen=1000,
        to_buyer=600,
        to_seller=400,
        to_platform=0,
        reason="not as described",
        remedy="refund",
        rule_book="house/3",
        evidence_count=2,
        filed_at=row.filed_at,
        stage_since=shop.now,
        next_due_at=None,
    )
    struck = {one.evidence_id: one.struck_reason for one in live.select(DisputeEvidenceRow)}
    assert struck == {"e1": "", "e2": "forged"}


def test_an_award_of_an_unknown_dispute_is_no_row() -> None:
    """A report under a wrong id that shows up as a dispute, or parks the model."""
    shop = DisputeShop()
    shop.run(
        m.RecordExternalAward(
            dispute_id="d9", award_id="w1", body="court", case_ref="c", allocations=shares(1)
        )
    )
    assert list(models_of(shop).select(DisputeRow)) == []


@pytest.mark.parametrize("is_released", [False, True])
def test_an_order_says_what_is_frozen(is_released: bool) -> None:
    """A column that shows what was frozen once, or only what is in escrow."""
    shop = DisputeShop()
    if is_released:
        shop.release()
    shop.run(file(placed_at=shop.now, delivered_at=None))
    shop.run(m.AcceptDispute(dispute_id="d1", by="clerk"))
    assert frozen_of(shop) == 1_000
    shop.run(m.WithdrawDispute(dispute_id="d1", by="b1", reason="found it"))
    assert frozen_of(shop) == 0


def frozen_of(shop: DisputeShop) -> int:
    models = models_of(shop)
    models.catch_up("orders")
    (row,) = models.select(OrderRow)
    return row.frozen


def test_an_order_tells_of_its_disputes() -> None:
    """A history of an order that leaves out what was disputed about it."""
    shop = DisputeShop()
    shop.run(file(placed_at=shop.now, delivered_at=None))
    models = models_of(shop)
    models.catch_up("timeline")
    steps = [one.topic for one in models.select(OrderStepRow, order_id="o1")]
    assert steps[-2:] == ["dispute.filed.v1", "order.dispute_opened.v1"]
    told = [one.topic for one in shop.book.read.order_history("o1")]
    assert "dispute.filed.v1" in told
