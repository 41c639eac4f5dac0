"""Laws of orders: totals, allocation, partials, grants, versions, escrow; random lives."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orderledger.commands.decision import Command
from orderledger.commands.order_commands import (
    AllocateRefund,
    AllocationStrategy,
    CancelLine,
    CancelOrder,
    ConfirmOrderChange,
    DeclineOrderChange,
    FinishCancellation,
    GrantRefund,
    HoldFunds,
    MeetReleaseCondition,
    ProposeOrderChange,
    RecordGoodwill,
    ReleaseFunds,
    WithdrawRefund,
)
from orderledger.commands.payment_commands import RecordDeclined, RecordReversed
from orderledger.ledger.errors import NotFound, Rejected
from orderledger.ledger.escrow_shares import shares_of
from orderledger.ledger.folds import fold_of
from orderledger.ledger.order_content import (
    AdjustmentAdd,
    AdjustmentRemove,
    Discount,
    Funder,
    ItemAdd,
    ItemRemove,
    ItemUpdate,
    LineInput,
    Reinstate,
    ShippingAdd,
    ShippingCharge,
    ShippingRemove,
    Tax,
    Tip,
    WriteOff,
)
from orderledger.ledger.order_events import (
    MovedLine,
    MoveKind,
    OrderChangeConfirmed,
    OrderLineCancelled,
    RefundSource,
)
from orderledger.ledger.order_totals import allocate_discounts, at_quantity, gross, priced
from orderledger.ledger.orders import ENDED, INITIAL, OrderState
from tests.order_book import OrderBook, check_order

PRICES = st.decimals(min_value=0, max_value=500, places=2) | st.decimals(
    min_value=0, max_value=3, places=4
)
FUNDERS = st.sampled_from(list(Funder))
SELLERS = st.sampled_from(["s1", "s2"])


@st.composite
def lines(draw: st.DrawFn, line_id: str) -> LineInput:
    """A priced line whose discounts and included tax never exceed it."""
    quantity = draw(st.integers(1, 9))
    line = LineInput(line_id, "sku", draw(SELLERS), quantity, draw(PRICES))
    left = priced(line, "USD").amount
    discounts: list[Discount] = []
    for number in range(draw(st.integers(0, 2))):
        amount = draw(st.integers(0, left))
        if amount:
            discounts.append(Discount(f"d{number}", amount, draw(FUNDERS)))
            left -= amount
    included = draw(st.integers(0, left))
    taxes = (Tax("VAT", included, included=True), Tax("NY", draw(st.integers(0, 900))))
    return LineInput(
        line_id, "sku", line.seller, quantity, line.unit_price, tuple(discounts), taxes
    )


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """Lines, shipping, tips and order discounts of one order."""
    chosen = tuple([draw(lines(name)) for name in "abc"[: draw(st.integers(1, 3))]])
    left = sum([gross(priced(line, "USD")) for line in chosen])
    nets = [priced(line, "USD").net for line in chosen]
    discount = draw(st.integers(0, min(left, min(nets)) if nets else 0))
    return {
        "lines": chosen,
        "shipping": (ShippingCharge("x", draw(SELLERS), draw(st.integers(0, 2000))),),
        "tips": (Tip("s1", 300),) if draw(st.booleans()) else (),
        "discounts": (Discount("code", discount, draw(FUNDERS)),) if discount else (),
    }


@given(st.lists(lines("x"), min_size=1, max_size=8), st.integers(0, 10**6), st.randoms())
def test_order_discounts_are_exact_fair_and_independent_of_order(
    found: list[LineInput], wanted: int, random: Any
) -> None:
    """A discount whose parts do not sum up, leave a line below zero, or depend on the listing."""
    named = [
        priced(
            LineInput(f"l{number}", one.sku, one.seller, one.quantity, one.unit_price),
            "USD",
        )
        for number, one in enumerate(found)
    ]
    whole = sum([line.amount for line in named])
    amount = min(wanted, whole)
    if amount == 0:
        return
    discounted = allocate_discounts(named, (Discount("code", amount),))
    assert sum([line.discount for line in discounted]) == amount
    for line in discounted:
        assert line.net >= 0
        assert abs(Fraction(amount * line.amount, whole) - line.discount) < 1
    shuffled = list(named)
    random.shuffle(shuffled)
    again = {
        line.line_id: line for line in allocate_discounts(shuffled, (Discount("code", amount),))
    }
    assert again == {line.line_id: line for line in discounted}


@given(lines("a"), st.data())
def test_partials_of_a_line_come_back_whole(line: LineInput, data: st.DataObject) -> None:
    """Cents lost or made when a line is cancelled or refunded unit by unit (invariant 10)."""
    base = priced(line, "USD")
    steps = [at_quantity(base, number, "USD") for number in range(base.quantity + 1)]
    assert (steps[0].charged, steps[-1].charged) == (0, base.charged)
    for one in steps:
        assert one.net >= 0
        assert one.amount - one.discount == one.net + sum(
            [tax.amount for tax in one.tax if tax.included]
        )


STEPS = st.lists(st.tuples(st.sampled_from(["grant", "cancel", "withdraw"]), st.integers(1, 3)))


@given(lines("a"), STEPS)
def test_refunds_of_all_units_sum_to_the_line(
    line: LineInput, steps: list[tuple[str, int]]
) -> None:
    """A cent that no sequence of grants, withdrawals and cancellations gives back."""
    book = OrderBook()
    book.confirmed(line, "z 1 x 1.00")
    book.pay("p1", book.order().total)
    live: list[str] = []
    withdrawn = False
    for number, (step, quantity) in enumerate([*steps, ("grant", 0)]):
        state = book.order().lines["a"]
        if step == "withdraw":
            if live:
                refund_id = live.pop(quantity % len(live))
                book.run(WithdrawRefund(order_id="o1", refund_id=refund_id, reason="mistake"))
                withdrawn = True
        elif step == "cancel":
            units = min(quantity, state.cancellable)
            if units:
                refusal = book.refusal(CancelLine(order_id="o1", line_id="a", quantity=units))
                # Only a withdrawal in the middle can leave grants that fewer units do not match.
                assert refusal == "" or (refusal == "amount_exceeds_available" and withdrawn)
        else:
            units = min(quantity or state.refundable_quantity, state.refundable_quantity)
            command = GrantRefund(
                order_id="o1",
                refund_id=f"r{number}",
                reason="returned",
                source=RefundSource.RETURN,
                lines=(MovedLine("a", max(1, units)),),
            )
            if units and book.refusal(command) == "":
                live.append(f"r{number}")
    state = book.order().lines["a"]
    if state.refundable_quantity == 0:
        assert state.granted == state.charged


class OrderLife(RuleBasedStateMachine):
    """
    Random commands on one order against a plain model of quantities and totals.

    The book checks every event's fold, every entry's balance and the order invariants as it goes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook()
        self.live: dict[str, int] = {}
        self.granted: dict[str, dict[str, int]] = {}
        self.version = 0
        self.number = 0
        self.history: dict[int, Any] = {}

    @initialize(content=contents(), part=st.sampled_from([0, 2, 4, 4]))
    def place_and_confirm(self, content: dict[str, Any], part: int) -> None:
        """Most is about money that was paid."""
        chosen = content.pop("lines")
        self.book.confirmed(*chosen, **content)
        self.live = {line.line_id: line.quantity for line in chosen}
        self.version = 1
        self._check_discounts(chosen, content["discounts"])
        self.pay(part)

    def _check_discounts(
        self, chosen: tuple[LineInput, ...], discounts: tuple[Discount, ...]
    ) -> None:
        """Invariant 9: each line bears its share of the order's discount, and none is left."""
        left = {line.line_id: gross(priced(line, "USD")) for line in chosen}
        for whole in discounts:
            parts = {
                key: sum([one.amount for one in line.line.discounts if one.source_id == "code"])
                for key, line in self.order.lines.items()
            }
            assert sum(parts.values()) == whole.amount
            for key, part in parts.items():
                exact = Fraction(whole.amount * left[key], sum(left.values()))
                assert abs(part - exact) < 1
                assert part <= left[key]

    def next(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def run_if_allowed(self, command: Command) -> bool:
        try:
            self.book.run(command)
        except (Rejected, NotFound):
            return False
        return True

    @property
    def order(self) -> OrderState:
        return self.book.order()

    @rule(part=st.integers(1, 4))
    def pay(self, part: int) -> None:
        owed = self.order.due - sum(self.order.payments.values())
        amount = owed * part // 4
        if self.order.accepts_payment and amount > 0:
            self.book.pay(self.next("p"), amount)

    @rule(line_id=st.sampled_from("abcd"), quantity=st.integers(1, 9))
    def cancel_units(self, line_id: str, quantity: int) -> None:
        command = CancelLine(
            order_id="o1", line_id=line_id, quantity=quantity, refund_id=self.next("c")
        )
        if self.run_if_allowed(command):
            self.live[line_id] -= quantity
            self.version += 1

    @precondition(lambda self: self.order.payments)
    @rule(line_id=st.sampled_from("aaabcd"), few=st.integers(1, 9), shipping=st.integers(0, 99))
    def grant(self, line_id: str, few: int, shipping: int) -> None:
        left = self.order.lines[line_id].refundable_quantity if line_id in self.order.lines else 0
        quantity = few if shipping > 90 else max(1, few * left // 9)
        refund_id = self.next("r")
        command = GrantRefund(
            order_id="o1",
            refund_id=refund_id,
            reason="returned",
            source=RefundSource.RETURN,
            lines=(MovedLine(line_id, quantity),),
            shipping=shipping % 3,
        )
        if self.run_if_allowed(command):
            self.granted[refund_id] = {line_id: quantity}

    @rule(amount=st.integers(-500, 500), source=st.sampled_from(list(RefundSource)))
    def adjust(self, amount: int, source: RefundSource) -> None:
        refund_id = self.next("r")
        command = GrantRefund(
            order_id="o1", refund_id=refund_id, reason="x", source=source, adjustment=amount
        )
        if self.run_if_allowed(command):
            self.granted[refund_id] = {}

    @rule(amount=st.integers(1, 500))
    def approve_goodwill(self, amount: int) -> None:
        self.run_if_allowed(
            RecordGoodwill(
                order_id="o1",
                goodwill_id=self.next("g"),
                amount=amount,
                reason="sorry",
                by="u1",
                approver="u2",
            )
        )

    def grants(self, *statuses: str) -> list[str]:
        return sorted([key for key, one in self.order.grants.items() if one.status in statuses])

    @precondition(lambda self: self.grants("granted"))
    @rule(data=st.data(), strategy=st.sampled_from(list(AllocationStrategy)[1:]))
    def allocate(self, data: st.DataObject, strategy: AllocationStrategy) -> None:
        refund_id = data.draw(st.sampled_from(sorted(self.order.grants)))
        self.run_if_allowed(AllocateRefund(order_id="o1", refund_id=refund_id, strategy=strategy))

    @precondition(lambda self: self.grants("granted", "allocated"))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        refund_id = data.draw(st.sampled_from(sorted(self.order.grants)))
        if self.run_if_allowed(
            WithdrawRefund(order_id="o1", refund_id=refund_id, reason="mistake")
        ):
            self.granted.pop(refund_id, None)

    @precondition(lambda self: self.grants("allocated"))
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "declined", "reversed"]))
    def refund(self, data: st.DataObject, outcome: str) -> None:
        ready = self.grants("allocated")
        refund_id = data.draw(st.sampled_from(sorted(ready)))
        for payment_id, amount in self.order.grants[refund_id].allocations.items():
            op_id = f"refund-{refund_id}-{payment_id}"
            if self.book.refusal(self.book.refunding(payment_id, refund_id, amount)):
                continue
            if outcome == "declined":
                self.book.run(RecordDeclined(payment_id=payment_id, op_id=op_id, code="no"))
                continue
            self.book.succeed(payment_id, op_id)
            if outcome == "reversed":
                self.book.run(RecordReversed(payment_id=payment_id, op_id=op_id, cause="late"))

    @rule(line_id=st.sampled_from("abcd"), quantity=st.integers(1, 9))
    def ship(self, line_id: str, quantity: int) -> None:
        line = self.order.lines.get(line_id)
        if line is not None and quantity <= line.shippable:
            self.book.move(MoveKind.SHIPPED, (line_id, quantity))

    @rule(line=lines("d"), kind=st.integers(0, 8), quantity=st.integers(1, 9), price=PRICES)
    def change(self, line: LineInput, kind: int, quantity: int, price: Decimal) -> None:
        actions = (
            ItemAdd(line),
            ItemRemove("b"),
            ItemUpdate("a", quantity),
            ItemUpdate("a", quantity, price, (), ()),
            ShippingAdd(ShippingCharge(f"y{quantity}", "s2", quantity)),
            ShippingRemove("x"),
            WriteOff("a", quantity),
            AdjustmentAdd(Discount("late", quantity)),
            AdjustmentRemove("code"),
            Reinstate("a", quantity),
        )
        change_id = self.next("ch")
        proposal = ProposeOrderChange(
            order_id="o1",
            change_id=change_id,
            base_version=self.order.version,
            actions=(actions[kind],),
        )
        before = self.order
        if not self.run_if_allowed(proposal):
            return
        confirm = ConfirmOrderChange(order_id="o1", change_id=change_id, refund_id=self.next("r"))
        if quantity == 9:
            self.book.run(
                DeclineOrderChange(order_id="o1", change_id=change_id, reason="no", by="b1")
            )
            return
        delta = before.open_change or self.order.open_change
        assert delta is not None
        self.book.run(confirm)
        assert self.order.total == before.total + delta.delta
        self.live = {key: one.live for key, one in self.order.lines.items()}
        self.version += 1

    @rule()
    def hold_funds(self) -> None:
        self.book.run(HoldFunds(order_id="o1"))
        assert self.order.escrow_held == self.book.escrow()
        for one in self.order.slices.values():
            assert one.available >= 0

    @rule(seller=SELLERS, part=st.integers(1, 3))
    def release(self, seller: str, part: int) -> None:
        self.run_if_allowed(MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"))
        share = shares_of(self.order).get(seller)
        command = ReleaseFunds(
            order_id="o1",
            release_id=self.next("rel"),
            seller=seller,
            commission_rate=Decimal("0.12"),
            rate_version="v1",
            amount=None if part == 3 or share is None else max(1, share.total * part // 3),
            commission_tax_rate=Decimal("0.2"),
            commission_tax_jurisdiction="US",
        )
        if self.run_if_allowed(command):
            assert self.order.escrow_held == self.book.escrow()

    @precondition(lambda self: self.number > 12)
    @rule()
    def cancel(self) -> None:
        if not self.run_if_allowed(CancelOrder(order_id="o1", reason="buyer", by="b1")):
            return
        self.book.run(FinishCancellation(order_id="o1", refund_id=self.next("r")))
        kept = sum(
            [
                self.book.states[f"payment-{key}"].captured
                - self.book.states[f"payment-{key}"].refunded
                for key in self.order.payments
            ]
        )
        assert self.order.refund_outstanding >= kept

    @invariant()
    def quantities_and_version_follow_the_model(self) -> None:
        order = self.order
        assert {key: line.live for key, line in order.lines.items()} == self.live
        assert order.version == self.version
        wanted: dict[str, int] = {}
        for one in self.granted.values():
            for line_id, quantity in one.items():
                wanted[line_id] = wanted.get(line_id, 0) + quantity
        for line_id, line in order.lines.items():
            assert line.granted_quantity == wanted.get(line_id, 0)
        if order.lifecycle in ENDED:
            assert order.due == 0

    @invariant()
    def old_versions_stay_as_they_were(self) -> None:
        totals = self.order.totals
        assert self.history.setdefault(self.version, totals) == totals

    def teardown(self) -> None:
        """Every version can be rebuilt from the stream (invariant 14)."""
        state = INITIAL
        fold = fold_of("order-o1")
        seen = {}
        for stream, event in self.book.events:
            if stream == "order-o1":
                before = state.version
                state = fold.apply(state, event)
                check_order(state)
                if isinstance(event, OrderChangeConfirmed | OrderLineCancelled):
                    assert state.version == before + 1
                seen[state.version] = state.totals
        for version, totals in self.history.items():
            if version:
                assert seen[version] == totals
        assert state == self.book.order()


OrderLife.TestCase.settings = settings(stateful_step_count=30, deadline=timedelta(seconds=5))
TestOrderLife = OrderLife.TestCase
