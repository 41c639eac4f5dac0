"""A settlement batch: what its lines post and settle, its breaks, and that its sums hold."""

from decimal import Decimal

import pytest

from orderledger.commands import model as m
from orderledger.commands.decide_settlement_matches import KINDS
from orderledger.ledger import accounts
from orderledger.ledger.errors import InvalidCommand, NotFound
from orderledger.ledger.payment_operations import OperationStatus
from orderledger.ledger.settlement_events import (
    SettlementBatchBalanced,
    SettlementBreakResolved,
    SettlementLineMatched,
)
from orderledger.ledger.settlements import TRANSITIONS, SettlementStatus
from tests.model.shop import anomalies_of
from tests.settlement_book import BANK, FEES, PSP, SHA, VARIANCE, SettledShop, line


def sold(amount: int = 12_325) -> SettledShop:
    shop = SettledShop()
    shop.sale(amount)
    return shop


def test_the_worked_example_in_lines() -> None:
    """Catches a settlement that leaves another bank balance than recipe 7 does: 11938, 387, 0."""
    shop = sold()
    shop.begin(2)
    shop.record(line(1, "payment", 12_325, 387, provider_ref="ref-buy-p1"), "p1")
    assert shop.posted(PSP, FEES, BANK) == (11_938, 387, 0)
    shop.record(line(2, "payout", -11_938))
    assert shop.posted(PSP, FEES, BANK, VARIANCE) == (0, 387, 11_938, 0)
    state = shop.settlement()
    assert state.status is SettlementStatus.BALANCED
    assert state.balances == (m_balance(0, 11_938, 11_938, 0),)
    shop.run(m.CloseBatch(provider="psp", batch="b1", by="ann"))
    assert shop.settlement().status is SettlementStatus.CLOSED
    assert not anomalies_of(shop.store)


def m_balance(opening: int, net: int, payout: int, closing: int) -> object:
    from orderledger.ledger.settlement_events import BatchBalance

    return BatchBalance("USD", opening, net, payout, closing)


def test_two_captures_are_two_lines() -> None:
    """Catches the second capture of a payment taken for a repeat of the first."""
    shop = SettledShop()
    shop.begin(2)
    shop.sale(7_325, "p1", "o1")
    shop.sale(5_000, "p2", "o2")
    shop.record(line(1, "payment", 7_325, provider_ref="ref-buy-p1"), "p1")
    shop.record(line(2, "payment", 5_000, provider_ref="ref-buy-p2"), "p2")
    assert shop.breaks() == {}
    assert shop.payment("p1").reconciled_amount("buy-p1") == 7_325
    assert shop.payment("p2").reconciled_amount("buy-p2") == 5_000


def test_the_same_file_and_line_again_change_nothing() -> None:
    """Catches an import that posts a fee twice when it is run twice."""
    shop = sold()
    for _ in range(2):
        shop.begin(2)
        shop.record(line(1, "payment", 12_325, 387, provider_ref="ref-buy-p1"), "p1")
        shop.record(line(2, "payout", -11_938))
    assert shop.posted(PSP, FEES, BANK) == (0, 387, 11_938)
    assert len(shop.events_of("settlement-psp/b1")) == 5


def test_another_file_for_a_batch_is_refused() -> None:
    """Catches a corrected file that is mixed with the lines of the first."""
    shop = sold()
    shop.begin(2)
    other = m.ImportSettlementFile(
        provider="psp", batch="b1", sha256="b" * 64, format="generic", line_count=2, bank="main"
    )
    assert shop.refusal(other) == "already_exists"


def test_another_content_of_a_line_is_an_anomaly() -> None:
    """Catches a line whose amount is changed by a second report."""
    shop = sold()
    shop.begin(2)
    shop.record(line(1, "payment", 12_325, 387, provider_ref="ref-buy-p1"), "p1")
    shop.record(line(1, "payment", 12_325, 400, provider_ref="ref-buy-p1"), "p1")
    shop.record(line(1, "payment", 12_325, 400, provider_ref="ref-buy-p1"), "p1")
    assert shop.posted(FEES) == (387,)
    assert anomalies_of(shop.store) == ["SettlementLineDiffers"]


def test_lines_of_no_batch_or_outside_of_it() -> None:
    """Catches a line that is recorded for a file that nobody received."""
    shop = sold()
    one = m.RecordSettlementLine(provider="psp", batch="b1", line=line(1, "fee", -5))
    with pytest.raises(NotFound):
        shop.run(one)
    shop.begin(1)
    with pytest.raises(InvalidCommand, match="line 2 is not one of the 1 lines"):
        shop.record(line(2, "fee", -5))


# type, gross, fee -> psp, gateway fees, bank, reserve, fx, variance
POSTINGS = """
fee            -100   0   -100  100     0    0    0  0
fee              40   0     40  -40     0    0    0  0
payout        -1000   0  -1000    0  1000    0    0  0
payout        -1000  25  -1025   25  1000    0    0  0
payout_returned 700   0    700    0  -700    0    0  0
top_up          300   0    300    0  -300    0    0  0
reserve        -200   0   -200    0     0  200    0  0
reserve         200   0    200    0     0 -200    0  0
conversion     -500   0   -500    0     0    0  500  0
transfer       -900   0      0    0     0    0    0  0
adjustment      -70   0      0    0     0    0    0  0
chargeback    -5000 1500     0    0     0    0    0  0
payment        5000 100   -100  100     0    0    0  0
refund        -5000  30    -30   30     0    0    0  0
"""


@pytest.mark.parametrize("row", POSTINGS.strip().splitlines())
def test_what_a_line_posts_by_itself(row: str) -> None:
    """Catches a type of line that posts to another account, or what its operation has posted."""
    kind, gross, fee, *expected = row.split()
    shop = SettledShop()
    shop.begin(2)
    shop.record(line(1, kind, int(gross), int(fee)))
    reserve = "assets:psp_reserve:psp"
    found = shop.posted(PSP, FEES, BANK, reserve, "equity:fx", VARIANCE)
    assert found == tuple([int(one) for one in expected])


def test_a_line_resolves_an_operation_of_unknown_outcome() -> None:
    """Catches a timeout that stays unknown although the provider's file has the money (case 5)."""
    shop = SettledShop()
    shop.begin(1)
    shop.place(*one_item(5_000))
    shop.initiate(5_000)
    shop.run(m.Purchase(payment_id="p1", op_id="buy", amount=5_000, currency="USD"))
    shop.run(m.RecordUnknown(payment_id="p1", op_id="buy", cause="timeout"))
    before = shop.posted(PSP)
    shop.record(line(1, "payment", 5_000, 175, provider_ref="x9", merchant_ref="o1"), "p1")
    op = shop.payment().operations["buy"]
    assert (op.status, op.settled, op.provider_ref) == (OperationStatus.SUCCEEDED, 5_000, "x9")
    assert (before, shop.posted(PSP, FEES)) == ((0,), (4_825, 175))
    assert shop.escrow() == 5_000
    assert shop.settlement().status is SettlementStatus.BALANCED


def one_item(amount: int) -> tuple[m.LineInput, ...]:
    return (m.LineInput("a", "sku-a", "s1", 1, Decimal(amount) / 100),)


def test_a_declined_operation_that_was_settled_succeeded_after_all() -> None:
    """Catches money at the provider that a failure reported under the same reference hides."""
    shop = SettledShop()
    shop.begin(1)
    shop.place(*one_item(5_000))
    shop.initiate(5_000)
    shop.run(m.Purchase(payment_id="p1", op_id="buy", amount=5_000, currency="USD"))
    shop.run(m.RecordDeclined(payment_id="p1", op_id="buy", provider_ref="x9", code="05"))
    shop.record(line(1, "payment", 5_000, provider_ref="x9", merchant_ref="o1"), "p1")
    assert shop.payment().operations["buy"].status is OperationStatus.SUCCEEDED
    assert shop.posted(PSP) == (5_000,)
    assert "LateSuccess" in anomalies_of(shop.store)
    assert shop.breaks() == {}


def test_an_unknown_operation_settled_with_another_amount() -> None:
    """Catches the requested amount posted where the provider's own file has another."""
    shop = SettledShop()
    shop.begin(1)
    shop.place(*one_item(5_000))
    shop.initiate(5_000)
    shop.run(m.Purchase(payment_id="p1", op_id="buy", amount=5_000, currency="USD"))
    shop.run(m.RecordPending(payment_id="p1", op_id="buy", provider_ref="x9"))
    shop.record(line(1, "payment", 4_900, provider_ref="x9"), "p1")
    assert shop.posted(PSP) == (4_900,)
    assert anomalies_of(shop.store) == ["AmountMismatch"]
    assert shop.breaks() == {}


def test_a_refund_and_its_return() -> None:
    """Catches a refund posted again by its line, or a returned refund that stays refunded."""
    shop = sold(10_000)
    shop.refund("r1", 3_000)
    shop.begin(3)
    shop.record(line(1, "payment", 10_000, provider_ref="ref-buy-p1"), "p1")
    shop.record(
        line(2, "refund", -3_000, 25, provider_ref="pay", modification_ref="ref-r1-p1"), "p1"
    )
    assert shop.posted(PSP, FEES) == (6_975, 25)
    shop.record(line(3, "refund_reversed", 3_000, modification_ref="ref-r1-p1"), "p1")
    assert shop.payment().operations["r1-p1"].status is OperationStatus.REVERSED
    assert shop.posted(PSP, "liabilities:refunds:o1") == (9_975, -3_000)
    assert shop.settlement().status is SettlementStatus.BALANCED


def test_an_unknown_reference_is_booked_by_a_person() -> None:
    """Catches money of nobody that is dropped, or that is posted before anybody looked."""
    shop = sold()
    shop.begin(1)
    shop.record(line(1, "payment", 900, 30, provider_ref="who"), "p1")
    assert shop.breaks() == {"unknown_reference/1": 900}
    assert shop.posted(PSP) == (12_325 - 30,)
    close = m.CloseBatch(provider="psp", batch="b1", by="ann")
    assert shop.refusal(close) == "wrong_state"
    shop.resolve("unknown_reference/1", "booked", "liabilities:unclear")
    assert shop.posted(PSP, "liabilities:unclear") == (12_325 + 870, -900)
    assert shop.settlement().status is SettlementStatus.BALANCED


def test_a_tolerated_difference_goes_to_the_variance_account() -> None:
    """Catches a cent of difference that stops a batch, or that stays on the provider's account."""
    shop = sold()
    shop.begin(2, tolerance=2)
    shop.record(line(1, "payment", 12_324, provider_ref="ref-buy-p1"), "p1")
    shop.record(line(2, "payout", -12_324))
    assert shop.posted(PSP, VARIANCE, BANK) == (0, 1, 12_324)
    assert shop.payment().reconciled_amount("buy-p1") == 12_325


@pytest.mark.parametrize("action", ["booked", "accepted"])
def test_another_amount_is_a_break(action: str) -> None:
    """Catches a difference beyond the tolerance that is let through."""
    shop = sold()
    shop.begin(1, tolerance=2)
    shop.record(line(1, "payment", 12_300, provider_ref="ref-buy-p1"), "p1")
    assert shop.breaks() == {"amount_diff/1": -25}
    shop.resolve("amount_diff/1", action, "expenses:bad_debt" if action == "booked" else "")
    expected = (12_300, 25) if action == "booked" else (12_325, 0)
    assert shop.posted(PSP, "expenses:bad_debt") == expected
    assert shop.payment().reconciled_amount("buy-p1") == 12_325


def test_one_operation_in_several_lines() -> None:
    """Catches 1:n: parts of a capture that stay breaks although they add up."""
    shop = sold(10_000)
    shop.begin(3)
    shop.record(line(1, "payment", 4_000, provider_ref="ref-buy-p1"), "p1")
    assert shop.breaks() == {"amount_diff/1": -6_000}
    shop.record(line(2, "payment", 3_500, provider_ref="ref-buy-p1"), "p1")
    shop.record(line(3, "payment", 2_500, provider_ref="ref-buy-p1"), "p1")
    assert shop.breaks() == {}
    assert [one.amount for one in shop.payment().reconciled["buy-p1"]] == [4_000, 3_500, 2_500]
    assert shop.settlement().status is SettlementStatus.BALANCED


def test_several_operations_in_one_line() -> None:
    """Catches n:1: a line that settles two captures of a payment at once."""
    shop = SettledShop()
    shop.place(*one_item(10_000))
    shop.initiate(
        10_000,
        capture_mode="multi",
        capabilities=m.Capabilities(multicapture=True, captures_max=5),
    )
    shop.run(m.Authorise(payment_id="p1", op_id="auth", amount=10_000, currency="USD"))
    shop.succeed("auth")
    for op_id, amount in (("c1", 6_000), ("c2", 4_000)):
        shop.run(
            m.Capture(payment_id="p1", op_id=op_id, amount=amount, currency="USD", is_final=False)
        )
        shop.succeed(op_id)
    shop.begin(1)
    shop.record(line(1, "payment", 10_000, provider_ref="ref-auth"), "p1")
    known = shop.settlement().line(1)
    assert known is not None
    assert {one.op_id: one.amount for one in known.parts} == {"c1": 6_000, "c2": 4_000}
    assert shop.breaks() == {}


def test_an_amount_does_not_match_an_operation_of_another_reference() -> None:
    """Catches a double charge taken for the charge that the book knows."""
    shop = sold(5_000)
    shop.begin(2)
    shop.record(line(1, "payment", 5_000, provider_ref="second", merchant_ref="o1"), "p1")
    assert shop.breaks() == {"unknown_reference/1": 5_000}
    shop.record(line(2, "payment", 5_000, provider_ref="ref-buy-p1", merchant_ref="o1"), "p1")
    assert shop.breaks() == {"unknown_reference/1": 5_000}


def test_a_repeated_line_is_a_duplicate_and_posts_nothing() -> None:
    """Catches a fee that a line repeated in the file posts twice."""
    shop = sold()
    shop.begin(3)
    for number in (1, 2):
        shop.record(line(number, "payment", 12_325, 387, provider_ref="ref-buy-p1"), "p1")
    assert shop.breaks() == {"duplicate/2": 11_938}
    assert shop.posted(FEES) == (387,)
    shop.record(line(3, "fee", -10, external_id="txn1"))
    shop.resolve("duplicate/2", "accepted")
    assert shop.posted(FEES) == (397,)


def test_an_operation_in_two_batches_is_a_duplicate() -> None:
    """Catches one capture that two files settle."""
    shop = sold()
    for batch in ("b1", "b2"):
        shop.begin(1, batch)
        one = line(1, "payment", 12_325, provider_ref="ref-buy-p1")
        shop.record(one, "p1", batch=batch)
    assert (shop.breaks("b1"), shop.breaks("b2")) == ({}, {"duplicate/1": 12_325})


def test_totals_of_a_line_that_do_not_add_up() -> None:
    """Catches gross − fees ≠ net that is lost: psp must follow the net."""
    shop = sold()
    shop.begin(1)
    shop.record(line(1, "payment", 12_325, 387, net=11_900, provider_ref="ref-buy-p1"), "p1")
    assert shop.posted(PSP, FEES, VARIANCE) == (11_900, 387, 38)
    assert shop.breaks() == {"fee_unexpected/1": 38}
    shop.resolve("fee_unexpected/1", "booked", "assets:claims:psp")
    assert shop.posted(PSP, VARIANCE, "assets:claims:psp") == (11_900, 0, 38)


def test_a_fee_beyond_the_limit() -> None:
    """Catches a fee of twice the contract that nobody sees."""
    shop = sold(10_000)
    shop.begin(1, fee_limit=m.FeeLimit(290, 30))
    shop.record(line(1, "payment", 10_000, 500, provider_ref="ref-buy-p1"), "p1")
    assert shop.breaks() == {"fee_unexpected/1": 180}
    shop.resolve("fee_unexpected/1", "booked", "assets:claims:psp")
    assert shop.posted(PSP, FEES, "assets:claims:psp") == (9_500, 320, 180)


@pytest.mark.parametrize(("kind", "gross"), [("payment", -500), ("refund", 500), ("payment", 0)])
def test_a_negative_amount_is_kept_and_posts_nothing(kind: str, gross: int) -> None:
    """Catches a payment of −5.00 that is posted as one of 5.00 (hard case 33)."""
    shop = sold(500)
    shop.begin(1)
    shop.record(line(1, kind, gross, provider_ref="ref-buy-p1"), "p1")
    assert shop.posted(PSP) == (500,)
    assert shop.breaks() == ({"unbooked_adjustment/1": gross} if gross else {})


def test_a_payment_settled_in_another_currency() -> None:
    """Catches euros that stay on the provider's account after it has turned them into dollars."""
    shop = SettledShop(currency="EUR")
    shop.sale(10_000)
    shop.begin(2)
    converted = line(
        1,
        "payment",
        10_000,
        net=10_500,
        fees=(m.NamedFee("markup", 337),),
        gross_currency="EUR",
        fx_rate=Decimal("1.0837"),
        provider_ref="ref-buy-p1",
    )
    shop.record(converted, "p1")
    assert shop.posted(PSP, "equity:fx", currency="EUR") == (0, 10_000)
    assert shop.posted(PSP, FEES, "equity:fx") == (10_500, 337, -10_837)
    shop.record(line(2, "payout", -10_500))
    assert shop.posted(PSP, BANK) == (0, 10_500)
    assert [one.currency for one in shop.settlement().balances] == ["USD"]


def test_another_currency_than_the_payment_s_is_booked_between_the_two() -> None:
    """Catches a line in dollars that clears a payment in euros by its number alone."""
    shop = SettledShop(currency="EUR")
    shop.sale(10_000)
    shop.begin(1)
    shop.record(line(1, "payment", 10_800, provider_ref="ref-buy-p1"), "p1")
    assert shop.breaks() == {"currency_diff/1": 10_800}
    shop.resolve("currency_diff/1", "booked")
    assert shop.posted(PSP, "equity:fx", currency="EUR") == (0, 10_000)
    assert shop.posted(PSP, "equity:fx") == (10_800, -10_800)


def test_a_batch_whose_balance_does_not_add_up() -> None:
    """Catches a file that is cut short: opening + net is not payout + closing."""
    shop = sold()
    shop.begin(2, balances=(m.StatedBalance("USD", opening=100, closing=0),))
    shop.record(line(1, "payment", 12_325, provider_ref="ref-buy-p1"), "p1")
    shop.record(line(2, "payout", -12_400))
    assert shop.breaks() == {"payout_sum_diff/USD": -25}
    shop.resolve("payout_sum_diff/USD", "booked", "assets:claims:psp")
    assert shop.posted(PSP, "assets:claims:psp") == (-100, 25)
    (balance,) = shop.settlement().balances
    assert (balance.payout, balance.difference) == (12_400, 25)


def test_a_stated_payout_other_than_the_lines_pay() -> None:
    """Catches a payout that the summary of a file states and its lines do not."""
    shop = SettledShop()
    shop.begin(1, balances=(m.StatedBalance("USD", payout=90),))
    shop.record(line(1, "payout", -100))
    assert shop.breaks() == {"payout_sum_diff/USD": -10}


def test_an_empty_file_is_balanced_at_once() -> None:
    """Catches a day without lines that stays open for ever."""
    shop = SettledShop()
    shop.begin(0, balances=(m.StatedBalance("USD", opening=5, closing=5),))
    assert shop.settlement().status is SettlementStatus.BALANCED
    shop.begin(0, "b2", balances=(m.StatedBalance("USD", opening=5, closing=6),))
    assert shop.breaks("b2") == {"payout_sum_diff/USD": 1}


def test_what_is_missing_is_found_later() -> None:
    """Catches a capture that no file ever has, and a break that a later file does not end."""
    shop = sold()
    shop.begin(0)
    missing = m.ReportMissingOperation(provider="psp", batch="b1", payment_id="p1", op_id="buy-p1")
    shop.run(missing)
    shop.run(missing)
    name = "missing_in_file/p1/buy-p1"
    assert shop.breaks() == {name: -12_325}
    end = m.ResolveBreak(
        provider="psp",
        batch="b1",
        break_id=name,
        action=m.BreakAction.MATCHED,
        by="ann",
        reason="came in b2",
    )
    assert shop.refusal(end) == "wrong_state"
    shop.begin(1, "b2")
    shop.record(line(1, "payment", 12_325, provider_ref="ref-buy-p1"), "p1", batch="b2")
    shop.run(end)
    assert shop.settlement().status is SettlementStatus.BALANCED


def test_what_stays_missing_is_written_off() -> None:
    """Catches a written-off capture that is reported missing again and again."""
    shop = sold()
    shop.begin(0)
    shop.run(m.ReportMissingOperation(provider="psp", batch="b1", payment_id="p1", op_id="buy-p1"))
    shop.resolve("missing_in_file/p1/buy-p1", "booked", "expenses:bad_debt")
    assert shop.posted(PSP, "expenses:bad_debt") == (0, 12_325)
    shop.begin(0, "b2")
    shop.run(m.ReportMissingOperation(provider="psp", batch="b2", payment_id="p1", op_id="buy-p1"))
    assert shop.breaks("b2") == {}


def by_hand(line_no: int, *op_ids: str, **fields: object) -> m.MatchLine:
    names = tuple([m.OperationName("p1", op_id) for op_id in op_ids])
    given: dict[str, object] = {"provider": "psp", "batch": "b1", "by": "ann", **fields}
    return m.MatchLine(line_no=line_no, operations=names, **given)  # type: ignore[arg-type]  # test


def test_a_line_is_matched_by_hand() -> None:
    """Catches a match by hand that ignores the amount, the kind or what is settled already."""
    shop = sold(5_000)
    shop.begin(2)
    shop.record(line(1, "payment", 4_990, provider_ref="other"))
    assert shop.refusal(by_hand(1, "buy-p1")) == "amount_mismatch"
    assert shop.refusal(by_hand(1, "nothing")) == "NotFound"
    assert shop.refusal(by_hand(2, "buy-p1")) == "NotFound"
    shop.run(by_hand(1, "buy-p1", tolerance=10))
    shop.run(by_hand(1, "buy-p1", tolerance=10))
    assert shop.posted(PSP, VARIANCE) == (4_990, 10)
    assert shop.breaks() == {}
    shop.record(line(2, "refund", -5_000, provider_ref="x"))
    assert shop.refusal(by_hand(2, "buy-p1")) == "wrong_state"
    stream = shop.events_of("settlement-psp/b1")
    matched = [one for one in stream if isinstance(one, SettlementLineMatched)]
    assert [(one.rule, one.by, one.variance) for one in matched] == [("by_hand", "ann", -10)]


def test_the_rules_are_tried_again_when_the_operation_is_known() -> None:
    """Catches a line that stays unknown although its payment was recorded the day after."""
    shop = SettledShop()
    shop.begin(1)
    shop.record(line(1, "payment", 5_000, provider_ref="ref-buy-p1"))
    again = by_hand(1, candidates=("p1",))
    assert shop.run(again).event_ids == ()
    shop.sale(5_000)
    shop.run(again)
    assert shop.settlement().status is SettlementStatus.BALANCED
    resolved = [
        one
        for one in shop.events_of("settlement-psp/b1")
        if isinstance(one, SettlementBreakResolved)
    ]
    assert [one.action.value for one in resolved] == ["matched"]
    assert shop.posted(PSP) == (5_000,)


def test_a_break_is_resolved_once() -> None:
    """Catches a break that is booked twice, or to two accounts."""
    shop = SettledShop()
    shop.begin(1)
    shop.record(line(1, "adjustment", -70))
    for _ in range(2):
        shop.resolve("unbooked_adjustment/1", "booked", "expenses:x")
    assert shop.posted(PSP, "expenses:x") == (-70, 70)
    other = m.ResolveBreak(
        provider="psp",
        batch="b1",
        break_id="unbooked_adjustment/1",
        action=m.BreakAction.BOOKED,
        account="expenses:y",
        by="bob",
        reason="no",
    )
    assert shop.refusal(other) == "operation_already_used"


@pytest.mark.parametrize(
    ("action", "account", "expected"),
    [
        ("booked", "", "InvalidCommand"),
        ("booked", "nonsense", "InvalidAccount"),
        ("booked", "liabilities:escrow:o1", "InvalidAccount"),
        ("accepted", "expenses:x", "InvalidCommand"),
        ("matched", "", "wrong_state"),
    ],
)
def test_what_a_resolution_needs(action: str, account: str, expected: str) -> None:
    """Catches a resolution without an account, or one that parts escrow from its slices."""
    shop = SettledShop()
    shop.begin(1)
    shop.record(line(1, "adjustment", -70))
    command = m.ResolveBreak(
        provider="psp",
        batch="b1",
        break_id="unbooked_adjustment/1",
        action=m.BreakAction(action),
        account=account,
        by="ann",
        reason="x",
    )
    assert shop.refusal(command) == expected


def test_a_settlement_is_recorded_by_lines_or_by_its_totals() -> None:
    """Catches one payout posted twice: by RecordSettlement and by the lines of its file."""
    shop = sold()
    totals = {"provider": "psp", "bank": "main", "gross": 12_325, "fee": 387, "currency": "USD"}
    shop.run(m.RecordSettlement(entry_id="psp/b1", **totals))  # type: ignore[arg-type]  # test
    begin = m.ImportSettlementFile(
        provider="psp", batch="b1", sha256=SHA, format="generic", line_count=1, bank="main"
    )
    assert shop.refusal(begin) == "already_exists"
    shop.begin(1, "b2")
    shop.run(m.RecordSettlement(entry_id="psp/b2", **totals))  # type: ignore[arg-type]  # test
    assert anomalies_of(shop.store) == ["ConflictingSettlement"]
    assert shop.posted(PSP, BANK) == (0, 11_938)


def test_a_closed_batch_takes_no_missing_operation() -> None:
    """Catches a batch that was signed off and is open again."""
    shop = sold()
    shop.begin(0)
    shop.run(m.CloseBatch(provider="psp", batch="b1", by="ann"))
    missing = m.ReportMissingOperation(provider="psp", batch="b1", payment_id="p1", op_id="buy-p1")
    assert shop.refusal(missing) == "wrong_state"


def test_every_status_and_type_is_decided() -> None:
    """Catches a status or a type of line that somebody adds and no table knows."""
    assert set(TRANSITIONS) == set(SettlementStatus)
    assert SettlementBatchBalanced in TRANSITIONS[SettlementStatus.MATCHING]
    from orderledger.ledger.recipes_settlement import CHARGEBACKS, COUNTER_ACCOUNTS

    rest = {m.LineType.TRANSFER, m.LineType.ADJUSTMENT}
    assert {*KINDS, *COUNTER_ACCOUNTS, *CHARGEBACKS, *rest} == set(m.LineType)
    assert accounts.classify("assets:psp_reserve:psp").prefix == "assets:psp_reserve"
