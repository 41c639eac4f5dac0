"""
A state machine that drives a book and an independent model, compared after every step.

The model is ``market_model``; what it knows and the engine does not agree with is a failure of one
of the two. Releases and coupons are in ``test_flows``; value is restored only for a granted refund.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.commands.handle import Executor
from orderledger.commands.order_commands import AllocationStrategy
from orderledger.ledger import streams
from orderledger.ledger.errors import IdempotencyConflict, OrderLedgerError
from orderledger.ledger.order_events import MovedLine, PaymentPart, RefundSource
from orderledger.ledger.order_totals import totals_of
from orderledger.ledger.orders import OrderState
from orderledger.ledger.payment_events import Capabilities, CaptureMode
from orderledger.replay.verify import verify
from tests.kept_books import new_store
from tests.model.market_model import IN_FLIGHT, Market
from tests.model.shop import Shop, balances_of, item

ORDERS: Final = ("o1", "o2")
FAILED: Final = ("declined", "aborted", "reversed")
PAYMENTS: Final = ("p1", "p2", "p3")
REFUNDS: Final = ("r1", "r2", "r3")
AMOUNTS: Final = (1, 500, 1_000, 2_500, 3_333, 5_000, 9_000)
REPORTS: Final = {
    "succeeded": m.RecordSucceeded,
    "pending": m.RecordPending,
    "unknown": m.RecordUnknown,
    "declined": m.RecordDeclined,
    "aborted": m.RecordAborted,
    "reversed": m.RecordReversed,
}
orders = st.sampled_from(ORDERS)
payments = st.sampled_from(PAYMENTS)
refunds = st.sampled_from(REFUNDS)
amounts = st.sampled_from(AMOUNTS)
numbers = st.integers(1, 4)


class MarketMachine(RuleBasedStateMachine):
    """Drives a book and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.store = new_store()
        self.shop = Shop(self.store)
        self.model = Market()
        self.given: list[tuple[Command, str, Any]] = []
        self.pairs = 0

    # -- giving commands -----------------------------------------------------------------------

    def give(self, command: Command) -> None:
        """Execute a command with a key and compare the verdict with the model's."""
        expected = self.model.verdict(command)
        key = f"k{len(self.given)}"
        refusal = self.shop.refusal(command, key)
        if expected is not None:
            assert (not refusal) == expected, (command, refusal or "accepted", expected)
        if not refusal:
            self.model.effect(command)
        self.given.append((command, key, refusal))

    @initialize(stage=st.sampled_from((0, 1, 2, 3, 4, 5, 6, 6, 7, 7)))
    def begin(self, stage: int) -> None:
        """Begin somewhere in the life of an order: random steps alone seldom get far."""
        if stage == 0:
            return
        self.place("o1")
        self.initiate("o1", "p1", 2 if stage in (5, 7) else 1)
        if stage >= 2:
            self._open(m.Authorise, "p1")
        if stage in (5, 7):
            self.initiate("o1", "p2", 2)
            self._open(m.Purchase, "p2")
        if stage >= 3:
            self.give(m.ConfirmOrder(order_id="o1"))
        if stage >= 4:
            amount = self.model.payments["p1"]["amount"]
            capture = m.Capture(
                payment_id="p1", op_id="c", amount=amount, currency="USD", auth_op="p1-open"
            )
            self.give(capture)
            self._report("p1", "c", "succeeded", 1)
        for quantity, refund_id in ((1, "r1"), (2, "r2")) if stage >= 6 else ():
            self._grant_line("o1", refund_id, "b", quantity)
            self._advance("o1", f"o1-{refund_id}", 1)

    def _open(self, kind: Any, payment_id: str) -> None:
        op_id = f"{payment_id}-open"
        amount = self.model.payments[payment_id]["amount"]
        self.give(kind(payment_id=payment_id, op_id=op_id, amount=amount, currency="USD"))
        self._report(payment_id, op_id, "succeeded", 1)

    @precondition(lambda self: len(self.model.orders) < len(ORDERS))
    @rule(order_id=orders)
    def place(self, order_id: str) -> None:
        self.give(
            m.PlaceOrder(
                order_id=order_id,
                buyer_ref="b1",
                currency="USD",
                lines=(item("a", "25", quantity=2), item("b", "13.33", quantity=3, seller="s2")),
            )
        )

    @precondition(lambda self: self.model.orders)
    @rule(order_id=orders, payment_id=payments, share=st.sampled_from((1, 1, 1, 2, 3)))
    def initiate(self, order_id: str, payment_id: str, share: int) -> None:
        if order_id not in self.model.orders:
            return
        self.give(
            m.InitiatePayment(
                payment_id=payment_id,
                order_id=order_id,
                provider="psp",
                method="card",
                amount=max(1, self.model.total(order_id) // share),
                currency="USD",
                capture_mode=CaptureMode.MULTI,
                capabilities=Capabilities(multicapture=True, captures_max=50),
            )
        )

    @precondition(lambda self: self.model.payments)
    @rule(
        data=st.data(), number=numbers, kind=st.sampled_from((m.Authorise, m.Authorise, m.Purchase))
    )
    def open_payment(self, data: st.DataObject, number: int, kind: Any) -> None:
        payment_id = self._payment(data)
        amount = data.draw(st.sampled_from((self.model.payments[payment_id]["amount"],) * 3 + (1,)))
        op_id = f"{payment_id}-open{number}"
        self.give(kind(payment_id=payment_id, op_id=op_id, amount=amount, currency="USD"))

    @precondition(lambda self: self.model.payments)
    @rule(data=st.data(), number=numbers, amount=amounts, final=st.booleans())
    def capture(self, data: st.DataObject, number: int, amount: int, final: bool) -> None:
        payment_id = self._payment(data)
        auth_op = self._authorisation(data, payment_id)
        if auth_op:
            left = self.model.auth(payment_id, auth_op)["left"]
            self.give(
                m.Capture(
                    payment_id=payment_id,
                    op_id=f"{payment_id}-capture{number}",
                    amount=data.draw(st.sampled_from((amount, max(1, left)))),
                    currency="USD",
                    is_final=final,
                    auth_op=auth_op,
                )
            )

    @precondition(lambda self: self.model.payments)
    @rule(data=st.data(), number=numbers, amount=st.sampled_from((None, None, 500, 9_000)))
    def void(self, data: st.DataObject, number: int, amount: int | None) -> None:
        payment_id = self._payment(data)
        auth_op = self._authorisation(data, payment_id)
        if auth_op:
            self.give(
                m.Void(
                    payment_id=payment_id,
                    op_id=f"{payment_id}-void{number}",
                    currency="USD",
                    amount=amount,
                    auth_op=auth_op,
                )
            )

    def _payment(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(sorted(self.model.payments))))

    def _authorisation(self, data: st.DataObject, payment_id: str) -> str:
        ops = self.model.payments[payment_id]["ops"].values()
        found = sorted(op["id"] for op in ops if op["kind"] == "authorise")
        return str(data.draw(st.sampled_from(found))) if found else ""

    @precondition(lambda self: any(one["ops"] for one in self.model.payments.values()))
    @rule(
        data=st.data(),
        outcome=st.sampled_from(("succeeded",) * 6 + tuple(REPORTS)),
        attempt=st.sampled_from((1, 1, 1, 2)),
    )
    def report(self, data: st.DataObject, outcome: str, attempt: int) -> None:
        """Report an outcome of a known operation: in any order, again, or against the last one."""
        ops = [
            (payment_id, op_id)
            for payment_id, payment in sorted(self.model.payments.items())
            for op_id in sorted(payment["ops"])
        ]
        waiting = [
            (payment_id, op_id)
            for payment_id, op_id in ops
            if self.model.payments[payment_id]["ops"][op_id]["status"] in IN_FLIGHT
        ]
        is_answer = bool(waiting) and data.draw(st.integers(0, 3)) > 0
        payment_id, op_id = data.draw(st.sampled_from(waiting if is_answer else ops))
        self._report(payment_id, op_id, outcome, attempt)

    def _report(self, payment_id: str, op_id: str, outcome: str, attempt: int) -> None:
        command = REPORTS[outcome](payment_id=payment_id, op_id=op_id, attempt=attempt)
        key = f"k{len(self.given)}"
        self.shop.run(command, key)
        self.model.report(payment_id, op_id, outcome, attempt)
        self.given.append((command, key, ""))

    @precondition(lambda self: self.model.orders)
    @rule(
        data=st.data(),
        what=st.sampled_from(("confirm", "confirm", "confirm", "cancel", "finish", "finish")),
    )
    def move_order(self, data: st.DataObject, what: str) -> None:
        order_id = self._order(data)
        if what == "confirm":
            self.give(m.ConfirmOrder(order_id=order_id))
        elif what == "cancel":
            self.give(m.CancelOrder(order_id=order_id, reason="x", by="ann"))
        else:
            self.give(m.FinishCancellation(order_id=order_id, refund_id=f"{order_id}-cancelled"))

    def _order(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(sorted(self.model.orders))))

    @precondition(lambda self: self.model.orders)
    @rule(data=st.data(), line_id=st.sampled_from("ab"), quantity=st.integers(1, 3))
    def cancel_line(self, data: st.DataObject, line_id: str, quantity: int) -> None:
        order_id = self._order(data)
        self.give(
            m.CancelLine(
                order_id=order_id,
                line_id=line_id,
                quantity=quantity,
                refund_id=f"{order_id}-line{len(self.given)}",
            )
        )

    @precondition(lambda self: self.model.orders)
    @rule(data=st.data(), line_id=st.sampled_from("ab"), quantity=st.integers(1, 3), number=numbers)
    def ship(self, data: st.DataObject, line_id: str, quantity: int, number: int) -> None:
        order_id = self._order(data)
        name = f"{order_id}-f{number}"
        if name in self.model.fulfilments:
            self.give(m.DispatchFulfilment(fulfilment_id=name, order_id=order_id, carrier="dhl"))
        else:
            self.give(
                m.CreateFulfilment(
                    fulfilment_id=name,
                    order_id=order_id,
                    lines=(MovedLine(line_id, quantity),),
                    location="here",
                )
            )

    # -- refunds and value -------------------------------------------------------------------------

    @precondition(lambda self: self.model.orders)
    @rule(
        data=st.data(),
        refund_id=refunds,
        line_id=st.sampled_from("ab"),
        quantity=st.sampled_from((1, 1, 1, 2, 4)),
    )
    def grant(self, data: st.DataObject, refund_id: str, line_id: str, quantity: int) -> None:
        self._grant_line(self._order(data), refund_id, line_id, quantity)

    def _grant_line(self, order_id: str, refund_id: str, line_id: str, quantity: int) -> None:
        self.give(
            m.GrantRefund(
                order_id=order_id,
                refund_id=f"{order_id}-{refund_id}",
                reason="returned",
                source=RefundSource.RETURN,
                lines=(MovedLine(line_id, quantity),),
            )
        )

    def _grant(self, data: st.DataObject) -> tuple[str, dict[str, Any]]:
        grants = [
            (order_id, grant)
            for order_id, order in sorted(self.model.orders.items())
            for _, grant in sorted(order["grants"].items())
        ]
        chosen = data.draw(st.integers(0, len(grants) - 1))
        return grants[chosen]

    @precondition(lambda self: any(one["grants"] for one in self.model.orders.values()))
    @rule(data=st.data(), number=numbers)
    def advance(self, data: st.DataObject, number: int) -> None:
        """Do what comes next for a grant: allocate it to whoever can pay, or request it."""
        order_id, grant = self._grant(data)
        self._advance(order_id, grant["id"], number)

    def _advance(self, order_id: str, refund_id: str, number: int) -> None:
        grant = self.model.orders[order_id]["grants"][refund_id]
        for payment_id in self.model.orders[order_id]["payments"]:
            can_pay = self.model.free(order_id, refund_id, payment_id) >= grant["total"]
            if not grant["is_allocated"] and can_pay:
                self._allocate(order_id, refund_id, (PaymentPart(payment_id, grant["total"]),))
                return
            if payment_id in grant["allocated"]:
                ops = self.model.grant_ops(order_id, refund_id, payment_id)
                is_failed = any(op["status"] in FAILED for op in ops)
                kind = m.RetryRefund if is_failed else m.RequestRefund
                amount = grant["allocated"][payment_id]
                self._request(kind, payment_id, refund_id, amount, number)

    @precondition(lambda self: any(one["grants"] for one in self.model.orders.values()))
    @rule(data=st.data(), spread=st.booleans())
    def allocate(self, data: st.DataObject, spread: bool) -> None:
        order_id, grant = self._grant(data)
        redemptions = self.model.value["redemptions"].items()
        tenders = [
            *self.model.orders[order_id]["payments"],
            *[name for name, one in redemptions if one["order"] == order_id],
        ]
        if not tenders:
            return
        first = data.draw(st.sampled_from(tenders))
        parts = [PaymentPart(first, grant["total"])]
        others = [one for one in tenders if one != first]
        if spread and others and grant["total"] > 1:
            half = grant["total"] // 2
            parts = [PaymentPart(first, grant["total"] - half), PaymentPart(others[0], half)]
        self._allocate(order_id, grant["id"], tuple(parts))

    def _allocate(self, order_id: str, refund_id: str, parts: tuple[PaymentPart, ...]) -> None:
        self.give(
            m.AllocateRefund(
                order_id=order_id,
                refund_id=refund_id,
                strategy=AllocationStrategy.EXPLICIT,
                parts=parts,
            )
        )

    @precondition(lambda self: any(one["grants"] for one in self.model.orders.values()))
    @rule(data=st.data(), number=numbers, retry=st.booleans(), amount=amounts)
    def request(self, data: st.DataObject, number: int, retry: bool, amount: int) -> None:
        _, grant = self._grant(data)
        allocated = [one for one in grant["allocated"] if one in self.model.payments]
        if not allocated:
            return
        payment_id = data.draw(st.sampled_from(sorted(allocated)))
        whole = grant["allocated"][payment_id]
        kind = m.RetryRefund if retry else m.RequestRefund
        chosen = data.draw(st.sampled_from((whole, whole, min(whole, amount))))
        self._request(kind, payment_id, grant["id"], chosen, number)

    def _request(
        self, kind: Any, payment_id: str, refund_id: str, amount: int, number: int
    ) -> None:
        op_id = f"{refund_id}-{payment_id}-{number}"
        self.give(
            kind(
                payment_id=payment_id,
                op_id=op_id,
                amount=amount,
                currency="USD",
                refund_id=refund_id,
            )
        )

    @precondition(lambda self: any(one["grants"] for one in self.model.orders.values()))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        order_id, grant = self._grant(data)
        if data.draw(st.integers(0, 2)):
            return
        self.give(m.WithdrawRefund(order_id=order_id, refund_id=grant["id"], reason="x"))

    @precondition(lambda self: self.model.value["issued"] < 9_000)
    @rule(amount=amounts)
    def issue(self, amount: int) -> None:
        source: Any = "goodwill"
        kind: Any = "store_credit"
        self.give(
            m.IssueValue(
                account_id="v1",
                holder="b1",
                kind=kind,
                lot_id=f"lot{len(self.given)}",
                amount=amount,
                currency="USD",
                source=source,
            )
        )

    @precondition(lambda self: self.model.orders and self.model.value["issued"])
    @rule(data=st.data(), number=numbers, amount=amounts)
    def redeem(self, data: st.DataObject, number: int, amount: int) -> None:
        self.give(
            m.RedeemValue(
                account_id="v1",
                redemption_id=f"z{number}",
                amount=amount,
                currency="USD",
                order_id=self._order(data),
            )
        )

    @precondition(lambda self: self.model.value["redemptions"])
    @rule(data=st.data(), amount=amounts)
    def restore(self, data: st.DataObject, amount: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.value["redemptions"])))
        redemption = self.model.value["redemptions"][name]
        grants = sorted(self.model.orders[redemption["order"]]["grants"].items())
        if not grants:
            return
        refund_id, grant = grants[data.draw(st.integers(0, len(grants) - 1))]
        self.give(
            m.RestoreValue(
                account_id="v1",
                restore_id=f"x{len(self.given)}",
                redemption_id=name,
                order_id=redemption["order"],
                refund_id=refund_id,
                amount=data.draw(st.sampled_from((amount, grant["allocated"].get(name, amount)))),
            )
        )

    # -- retries and pairs -------------------------------------------------------------------------

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """Give a command again with its key: the stored outcome, and nothing written (32)."""
        command, key, refusal = data.draw(st.sampled_from(self.given))
        before = self.store.head().size
        if refusal:
            assert self.shop.refusal(command, key) == refusal
        else:
            assert self.shop.run(command, key).replayed
        assert self.store.head().size == before

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def reuse_key(self, data: st.DataObject) -> None:
        """Give another command with a known key: a conflict, and nothing written."""
        _, key, _ = data.draw(st.sampled_from(self.given))
        before = self.store.head().size
        with pytest.raises(IdempotencyConflict):
            self.shop.run(m.AddNote(order_id="o1", note_ref="other", by="bob"), key)
        assert self.store.head().size == before

    @precondition(lambda self: self.model.payments)
    @rule(data=st.data())
    def pair(self, data: st.DataObject) -> None:
        """Queue two commands that contend: the outcomes are those of one order (44)."""
        payment_id = self._payment(data)
        order_id = self.model.payments[payment_id]["order"]
        auth_op = self._authorisation(data, payment_id) or "none"
        self.pairs += 1
        name = f"{payment_id}-pair{self.pairs}"
        fields: dict[str, Any] = {"payment_id": payment_id, "currency": "USD", "auth_op": auth_op}
        left = max(1, self.model.auth(payment_id, auth_op)["left"])
        choices: Sequence[Command] = (
            m.Capture(op_id=f"{name}c", amount=left, **fields),
            m.Capture(op_id=f"{name}d", amount=left, is_final=False, **fields),
            m.Void(op_id=f"{name}v", **fields),
            m.CancelOrder(order_id=order_id, reason="x", by="ann"),
            m.ConfirmOrder(order_id=order_id),
        )
        two = data.draw(st.lists(st.sampled_from(choices), min_size=2, max_size=2, unique_by=id))
        futures = [self.shop.book.submit(one) for one in two]
        accepted = [not isinstance(future.exception(30), OrderLedgerError) for future in futures]
        serial = [self._serially([two[index] for index in order]) for order in ((0, 1), (1, 0))]
        serial[1][0].reverse()
        agreeing = [after for outcome, after in serial if outcome == accepted]
        assert agreeing, (two, accepted, serial)
        self.model = agreeing[0]

    def _serially(self, commands: Sequence[Command]) -> tuple[list[bool], Market]:
        market = copy.deepcopy(self.model)
        outcome: list[bool] = []
        for command in commands:
            is_accepted = market.verdict(command)
            assert is_accepted is not None
            if is_accepted:
                market.effect(command)
            outcome.append(is_accepted)
        return outcome, market

    # -- what must hold --------------------------------------------------------------------------

    @invariant()
    def accounts_agree(self) -> None:
        """Invariants 17 and 19 against the model's own balances."""
        found = balances_of(self.store)
        assert {key[:2]: minor for key, minor in found.items()} == self.model.balances()
        sums: dict[str, int] = {}
        for (layer, _, _), minor in found.items():
            sums[layer] = sums.get(layer, 0) + minor
        assert not any(sums.values())

    @invariant()
    def payments_agree(self) -> None:
        """Invariants 1 to 6."""
        for payment_id in self.model.payments:
            state = self.shop.payment(payment_id)
            mine = self.model
            assert state.captured == mine.captured(payment_id)
            assert state.capture_in_flight == mine.flying(payment_id, "capture")
            assert state.void_in_flight == mine.flying(payment_id, "void")
            assert state.refunded == mine.done(payment_id, "refund")
            assert state.refund_in_flight == mine.flying(payment_id, "refund")
            assert state.capturable == mine.capturable(payment_id)
            assert state.refundable == mine.refundable(payment_id)
            assert state.held == mine.held(payment_id)
            statuses = {op_id: op.status.value for op_id, op in state.operations.items()}
            ops = self.model.payments[payment_id]["ops"].items()
            assert statuses == {op_id: op["status"] for op_id, op in ops}
            if not mine.breached:
                assert not state.exposure
                assert not state.over_captured

    @invariant()
    def orders_agree(self) -> None:
        """Invariants 8 and 11 to 13, 18 and 19."""
        for order_id, mine in self.model.orders.items():
            order = self.shop.order(order_id)
            assert order.lifecycle.value == mine["state"]
            assert order.total == self.model.total(order_id)
            assert order.due == self.model.due(order_id)
            assert order.granted == self.model.granted(order_id)
            assert order.escrow_held == self.shop.escrow(order_id)
            self._check_lines(order, mine)
            for refund_id, grant in mine["grants"].items():
                theirs = order.grants[refund_id]
                assert theirs.total == grant["total"]
                assert theirs.is_live != grant["withdrawn"]
                assert theirs.outstanding == (
                    0 if grant["withdrawn"] else self.model.outstanding(order_id, grant)
                )
            if not self.model.breached:
                assert order.granted <= self.model.charged(order_id)
                assert all(one.available >= 0 for one in order.slices.values())

    def _check_lines(self, order: OrderState, mine: dict[str, Any]) -> None:
        lines = [line.line for line in order.lines.values()]
        assert totals_of(lines) == order.totals
        for line_id, line in order.lines.items():
            known = mine["lines"][line_id]
            counted = (line.live, line.shipped, line.allocated, line.granted_quantity)
            assert counted == tuple(
                [known[name] for name in ("live", "shipped", "allocated", "granted")]
            )
            assert line.granted <= line.charged

    @invariant()
    def value_agrees(self) -> None:
        """Invariant 23."""
        if self.model.value["issued"]:
            state = self.shop.book._executor.state(streams.stored_value("v1")).state
            assert state.balance == self.model.value_balance() >= 0

    def teardown(self) -> None:
        """A book that was written this way is sound, and folds to the same from scratch."""
        assert list(verify(self.store)) == []
        other = Executor(self.store)
        for name in self.store.streams("", after="", limit=1_000):
            assert other.state(name) == self.shop.book._executor.state(name)
