"""
A state machine that drives a marketplace and its plain model side by side: orders and their money.

Every command's verdict, the legs it posts and all balances are compared with the model's. What is
contested is in ``marketplace_contests``, sellers and the end of a run in ``marketplace_run``.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.commands.order_commands import AllocationStrategy
from orderledger.ledger import accounts, streams
from orderledger.ledger.journal import Layer, decode_entry
from orderledger.ledger.order_content import Discount, Funder, LineInput, Tax
from orderledger.ledger.order_events import MovedLine, PaymentPart, RefundSource
from orderledger.ledger.payment_events import Capabilities, CaptureMode, FxQuote
from tests.kept_books import new_store
from tests.model import marketplace_prices as prices
from tests.model.marketplace_abroad import EUROS
from tests.model.marketplace_model import FAILED, IN_FLIGHT, Legs
from tests.model.marketplace_prices import RATE
from tests.model.marketplace_sellers import Marketplace
from tests.model.shop import NOW, Shop, item

PLAIN: Final = item("a", "20.05", quantity=3)
OTHER: Final = item("b", "19.97", quantity=2, seller="s2")
ON_TOP: Final = (Tax("US-CA", 383), Tax("US-CA-LA", 113))
INCLUDED: Final = (Tax("DE", 637, included=True),)
COUPON: Final = Discount("welcome", 601, Funder.PLATFORM)
REBATE: Final = Discount("spring", 299)
SHAPES: Final[dict[str, tuple[LineInput, ...]]] = {
    "one": (PLAIN,),
    "two": (PLAIN, OTHER),
    "taxed": (replace(PLAIN, tax=ON_TOP), replace(OTHER, tax=INCLUDED)),
    "off": (replace(PLAIN, discounts=(COUPON, REBATE)),),
    "all": (replace(PLAIN, tax=ON_TOP, discounts=(REBATE,)), replace(OTHER, tax=INCLUDED)),
}
SHAPE_NAMES: Final = ("one", "one", "two", *SHAPES)
"""Names to draw from: plain prices are most of them, for there everything is exact."""
numbers = st.integers(0, 10**6)


class MarketplaceBase(RuleBasedStateMachine):
    """Gives commands to both sides, and knows what there is to give them about."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.store = new_store()
        self.shop = Shop(self.store)
        self.shop.book = Book(self.store, clock=self._clock)
        self.read = self.shop.book.read
        self.model = Marketplace(self.shop.order, self.read.dispute, self.read.payout)
        self.model.now = NOW
        self.count = 0
        self.position = 0
        self.sums: Legs = {}
        self.observed: list[Command] = []
        self.is_sound = True

    def _clock(self) -> datetime:
        return self.now

    def fresh(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def pick(self, number: int, among: Any) -> Any:
        found = sorted(among)
        return found[number % len(found)]

    def legs(self) -> Legs:
        """Return what was posted since the last look, per account and layer."""
        self.store.sequence()
        size = self.store.head().size
        legs: Legs = {}
        while self.position < size:
            page = self.store.read(self.position, until=size, limit=1_000)
            self.position += len(page)
            for row in page:
                for leg in decode_entry(row.postings).postings:
                    name = leg.account if leg.layer is Layer.POSTED else f"held:{leg.account}"
                    name += "" if leg.currency == "USD" else f"@{leg.currency}"
                    legs[name] = legs.get(name, 0) + leg.minor
        for account, minor in legs.items():
            self.sums[account] = self.sums.get(account, 0) + minor
        return {account: minor for account, minor in legs.items() if minor}

    def give(self, command: Command) -> bool:
        """Execute a command; compare the verdict and the legs with the model's."""
        self.count += 1
        self.is_sound = False
        self.model.now = self.now
        expected = self.model.verdict(command)
        refusal = self.shop.refusal(command, f"k{self.count}")
        if expected is not None:
            assert (not refusal) == expected, (refusal or "accepted", command)
        legs = self.legs()
        if refusal:
            assert not legs
            assert not command.is_observation, (command, refusal)
            self.is_sound = True
            return False
        self.model.effect(command, legs)
        if command.is_observation:
            self.observed.append(command)
        self.is_sound = True
        return True

    # -- time and repetition -------------------------------------------------------------------

    @rule(hours=st.sampled_from((1, 24, 25, 50, 100, 250)))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @precondition(lambda self: self.observed)
    @rule(number=numbers)
    def tell_again(self, number: int) -> None:
        """A report that comes again changes nothing (invariant 33)."""
        command = self.observed[number % len(self.observed)]
        self.count += 1
        assert not self.shop.refusal(command, f"k{self.count}")
        assert not self.legs()

    # -- orders --------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.orders) < 4)
    @rule(shape=st.sampled_from(SHAPE_NAMES))
    def place(self, shape: str) -> None:
        self._place(shape)

    def _place(self, shape: str) -> str:
        order_id = self.fresh("o")
        of: dict[str, Any] = {"order_id": order_id, "buyer_ref": "b1", "currency": "USD"}
        coupons = (COUPON, REBATE) if shape == "all" else ()
        self.give(m.PlaceOrder(lines=SHAPES[shape], discounts=coupons, **of))
        policy: Any = "on_account"
        self.give(m.ConfirmOrder(order_id=order_id, policy=policy))
        return order_id

    def orders(self, *, paid: bool) -> list[str]:
        return [
            name
            for name, one in self.model.orders.items()
            if self.model.is_paid(one) == paid and one["state"] == "confirmed"
        ]

    def unpaid(self) -> list[str]:
        return [name for name in self.orders(paid=False) if not self.model.orders[name]["payment"]]

    @precondition(lambda self: self.unpaid())
    @rule(
        number=numbers,
        split=st.booleans(),
        is_told=st.sampled_from((True, True, True, False)),
        rate=st.sampled_from((None, None, "0.9217", "1.3")),
    )
    def pay(self, number: int, split: bool, is_told: bool, rate: str | None) -> None:
        """Initiate and purchase what is due, or authorise and capture it; perhaps in euros."""
        order_id = self.pick(number, self.unpaid())
        self._pay(order_id, split=split, is_told=is_told, rate=rate)

    def _pay(
        self, order_id: str, *, split: bool = False, is_told: bool = True, rate: str | None = None
    ) -> None:
        order = self.model.orders[order_id]
        amount = prices.grand(order) - self.model.redeemed(order_id)
        payment_id = f"p-{order_id}"
        fx, currency = None, "USD"
        if rate is not None:
            fx = FxQuote(f"q-{order_id}", amount, "USD", Decimal(rate))
            currency, amount = "EUR", prices.half_even(amount * int(Decimal(rate) * 10**4), 10**4)
        self.give(
            m.InitiatePayment(
                payment_id=payment_id,
                order_id=order_id,
                provider="psp",
                method="card",
                amount=amount,
                currency=currency,
                fx=fx,
                capture_mode=CaptureMode.MULTI,
                capabilities=Capabilities(multicapture=True, captures_max=50),
            )
        )
        terms: dict[str, Any] = {"payment_id": payment_id, "amount": amount, "currency": currency}
        if split:
            self.give(m.Authorise(op_id=f"auth-{order_id}", **terms))
            self.succeed(payment_id, f"auth-{order_id}")
            op_id = f"capture-{order_id}"
            self.give(m.Capture(op_id=op_id, **terms))
        else:
            op_id = f"buy-{order_id}"
            self.give(m.Purchase(op_id=op_id, **terms))
        if is_told:
            self.succeed(payment_id, op_id)

    def succeed(self, payment_id: str, op_id: str) -> None:
        ref = f"ref-{op_id}"
        self.give(m.RecordSucceeded(payment_id=payment_id, op_id=op_id, provider_ref=ref))

    def operations(self, *statuses: str) -> list[tuple[str, str]]:
        """Return payment and operation of all that stand so."""
        found: list[tuple[str, str]] = []
        for order_id, order in self.model.orders.items():
            ops = dict(order["payment"]["ops"]) if order["payment"] else {}
            for grant in order["grants"].values():
                ops |= grant["ops"]
            found += [(f"p-{order_id}", key) for key, op in ops.items() if op["status"] in statuses]
        return found

    @precondition(lambda self: self.operations(*IN_FLIGHT))
    @rule(number=numbers, what=st.sampled_from(("succeeded",) * 4 + ("declined", "unknown")))
    def report(self, number: int, what: str) -> None:
        payment_id, op_id = self.pick(number, self.operations(*IN_FLIGHT))
        is_refund = self.model.op_of(payment_id, op_id)["kind"] == "refund"
        if what == "unknown":
            self.give(m.RecordUnknown(payment_id=payment_id, op_id=op_id, cause="timeout"))
        elif what == "declined" and is_refund:
            ref = f"no-{op_id}"
            self.give(m.RecordDeclined(payment_id=payment_id, op_id=op_id, provider_ref=ref))
        else:
            self.succeed(payment_id, op_id)

    @precondition(lambda self: self.orders(paid=True))
    @rule(number=numbers)
    def deliver(self, number: int) -> None:
        order_id = self.pick(number, self.orders(paid=True))
        lines = self.model.orders[order_id]["lines"].items()
        moved = tuple([MovedLine(key, line["quantity"]) for key, line in lines])
        self.deliver_lines(order_id, moved)

    def deliver_lines(self, order_id: str, moved: tuple[MovedLine, ...]) -> None:
        of: dict[str, Any] = {"fulfilment_id": f"f-{order_id}", "order_id": order_id}
        if self.give(m.CreateFulfilment(lines=moved, location="here", **of)):
            self.give(m.DispatchFulfilment(carrier="dhl", **of))
            self.give(m.RecordDelivered(**of))

    @precondition(lambda self: self.orders(paid=True))
    @rule(number=numbers)
    def complete(self, number: int) -> None:
        self.give(m.CompleteOrder(order_id=self.pick(number, self.orders(paid=True))))

    @precondition(lambda self: self.orders(paid=True))
    @rule(number=numbers, amount=st.sampled_from((None, None, None, 1_001, 3_333, 9_000)))
    def release(self, number: int, amount: int | None) -> None:
        order_id = self.pick(number, self.orders(paid=True))
        order = self.model.orders[order_id]
        seller = self.pick(number, order["parts"])
        if self.model.redeemed(order_id):
            amount = None
        if number % 7:
            self._meet(order_id, seller)
        self._release(order_id, seller, amount)

    def _meet(self, order_id: str, seller: str) -> None:
        self.give(m.MeetReleaseCondition(order_id=order_id, seller=seller, cause="delivered"))

    def _release(self, order_id: str, seller: str, amount: int | None = None) -> bool:
        return self.give(
            m.ReleaseFunds(
                order_id=order_id,
                release_id=self.fresh("rel"),
                seller=seller,
                commission_rate=RATE,
                rate_version="v1",
                amount=amount,
            )
        )

    # -- refunds -------------------------------------------------------------------------------

    @precondition(lambda self: self.orders(paid=True))
    @rule(number=numbers, quantity=st.sampled_from((1, 1, 2, 3)))
    def grant(self, number: int, quantity: int) -> None:
        order_id = self.pick(number, self.orders(paid=True))
        line_id = self.pick(number // 7, self.model.orders[order_id]["lines"])
        self._grant(order_id, line_id, quantity)

    def _grant(self, order_id: str, line_id: str, quantity: int) -> str:
        refund_id = self.fresh("r")
        self.give(
            m.GrantRefund(
                order_id=order_id,
                refund_id=refund_id,
                reason="returned",
                source=RefundSource.RETURN,
                lines=(MovedLine(line_id, quantity),),
            )
        )
        return refund_id

    def grants(self) -> list[tuple[str, str]]:
        return [
            (order_id, refund_id)
            for order_id, order in self.model.orders.items()
            for refund_id, grant in order["grants"].items()
            if not grant["withdrawn"]
        ]

    @precondition(lambda self: self.grants())
    @rule(number=numbers, by_value=st.booleans())
    def advance(self, number: int, by_value: bool) -> None:
        """Do what comes next for a grant."""
        order_id, refund_id = self.pick(number, self.grants())
        self._advance(order_id, refund_id, by_value=by_value)

    def _advance(self, order_id: str, refund_id: str, *, by_value: bool = False) -> bool:
        order = self.model.orders[order_id]
        grant = order["grants"][refund_id]
        redemptions = [
            key for key, one in self.model.redemptions.items() if one["order"] == order_id
        ]
        if not grant["allocated"]:
            first = redemptions[0] if redemptions and by_value else f"p-{order_id}"
            return self._allocate(order_id, refund_id, first)
        done = False
        for tender, amount in grant["allocated"].items():
            if tender in redemptions:
                done |= self._restore(order_id, refund_id, (tender, amount - grant["restored"]))
            else:
                owed = self.model.owed_again(grant)
                done |= self._request(order_id, refund_id, owed or amount)
        return done

    def _allocate(self, order_id: str, refund_id: str, tender: str) -> bool:
        total = self.model.orders[order_id]["grants"][refund_id]["total"]
        return self.give(
            m.AllocateRefund(
                order_id=order_id,
                refund_id=refund_id,
                strategy=AllocationStrategy.EXPLICIT,
                parts=(PaymentPart(tender, total),),
            )
        )

    def _restore(self, order_id: str, refund_id: str, what: tuple[str, int]) -> bool:
        tender, amount = what
        return amount > 0 and self.give(
            m.RestoreValue(
                account_id="v1",
                restore_id=self.fresh("x"),
                redemption_id=tender,
                order_id=order_id,
                refund_id=refund_id,
                amount=amount,
                expires_at=self.now + timedelta(days=90),
            )
        )

    def _request(self, order_id: str, refund_id: str, amount: int) -> bool:
        order = self.model.orders[order_id]
        grant = order["grants"][refund_id]
        is_failed = any(op["status"] in FAILED for op in grant["ops"].values())
        kind: Any = m.RetryRefund if is_failed else m.RequestRefund
        terms: dict[str, Any] = {"amount": amount, "currency": "USD"}
        if self.model.is_abroad(order):
            terms = self._in_euros(order, grant, amount)
        return self.give(
            kind(
                payment_id=f"p-{order_id}",
                op_id=self.fresh("back"),
                refund_id=refund_id,
                **terms,
            )
        )

    def _in_euros(self, order: Any, grant: Any, amount: int) -> dict[str, Any]:
        """Return the terms of a refund of so many dollars, or of euros that are owed again."""
        if self.model.owed_again(grant):
            return {"amount": amount, "currency": "EUR"}
        euros = max(1, self.model.euros_for(order, amount))
        return {"amount": euros, "currency": "EUR", "order_amount": amount}

    def paid_refunds(self) -> list[tuple[str, str]]:
        found = self.operations("succeeded")
        return [key for key in found if self.model.op_of(*key)["kind"] == "refund"]

    @precondition(lambda self: self.paid_refunds())
    @rule(number=numbers)
    def fail_after_success(self, number: int) -> None:
        payment_id, op_id = self.pick(number, self.paid_refunds())
        ref = f"undo-{op_id}"
        self.give(m.RecordReversed(payment_id=payment_id, op_id=op_id, provider_ref=ref))

    @precondition(lambda self: self.grants())
    @rule(number=numbers)
    def withdraw_grant(self, number: int) -> None:
        order_id, refund_id = self.pick(number, self.grants())
        self.give(m.WithdrawRefund(order_id=order_id, refund_id=refund_id, reason="x"))

    # -- stored value --------------------------------------------------------------------------

    @precondition(lambda self: self.model.value["issued"] < 9_000)
    @rule(amount=st.sampled_from((500, 2_500)), days=st.sampled_from((None, 5)))
    def issue(self, amount: int, days: int | None) -> None:
        terms: Any = {"source": "goodwill", "kind": "store_credit"}
        self.give(
            m.IssueValue(
                account_id="v1",
                holder="b1",
                lot_id=self.fresh("lot"),
                amount=amount,
                currency="USD",
                expires_at=None if days is None else self.now + timedelta(days=days),
                **terms,
            )
        )

    @precondition(lambda self: self.unpaid() and self.model.value["issued"])
    @rule(number=numbers, amount=st.sampled_from((300, 2_000, 9_000)))
    def redeem(self, number: int, amount: int) -> None:
        order_id = self.pick(number, self.unpaid())
        if len(self.model.orders[order_id]["parts"]) == 1 and not self.model.redeemed(order_id):
            redemption_id = self.fresh("z")
            of: dict[str, Any] = {"order_id": order_id, "account_id": "v1", "currency": "USD"}
            self.give(m.RedeemValue(redemption_id=redemption_id, amount=amount, **of))

    @precondition(lambda self: self.model.value["lots"])
    @rule(number=numbers)
    def expire(self, number: int) -> None:
        lot_id = self.pick(number, self.model.value["lots"])
        self.give(m.ExpireValue(account_id="v1", lot_id=lot_id))

    # -- what must hold ------------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        """What is asserted of the states that are read, after every step."""
        self.is_sound = False
        for check in self.checks():
            check()
        self.is_sound = True

    def checks(self) -> list[Callable[[], None]]:
        return [self.accounts_agree, self.orders_agree, self.payments_agree, self.value_agrees]

    def accounts_agree(self) -> None:
        """Invariant 17: every balance is the model's, and all of them together are zero."""
        assert {key: minor for key, minor in self.sums.items() if minor} == self.model.sums
        for currency in {name.partition("@")[2] for name in self.sums}:
            mine = [one for name, one in self.sums.items() if name.partition("@")[2] == currency]
            assert sum(mine) == 0
        self.position_agrees()

    def position_agrees(self) -> None:
        """The currency position is what was paid abroad, and what that is worth at its quote."""
        abroad = self.model.abroad()
        fx = f"{accounts.FX_POSITION}{EUROS}"
        assert self.model.has(fx) == sum(self.model.euros_left(one) for one in abroad)
        dollars = sum(one.get("dollars", 0) for one in abroad)
        assert self.model.has(accounts.FX_POSITION) == -dollars
        for one in abroad:
            if self.model.is_all_back(one):
                assert one["dollars"] == 0

    def orders_agree(self) -> None:
        """Invariants 12, 13, 18, 19, 21 and 28."""
        for order_id, mine in self.model.orders.items():
            order = self.shop.order(order_id)
            slices = order.slices.values()
            held = sum(one.available for one in slices)
            assert held == order.escrow_held == self.model.has(accounts.escrow(order_id))
            assert all(0 <= one.frozen_total <= one.available for one in slices)
            self._check_reserves(order)
            for line_id, line in mine["lines"].items():
                theirs = order.lines[line_id]
                assert theirs.granted == line["granted"] <= theirs.charged
            for refund_id, grant in mine["grants"].items():
                theirs_too = order.grants[refund_id]
                assert theirs_too.total == grant["total"]
                assert theirs_too.is_live != grant["withdrawn"]
            for seller, part in mine["parts"].items():
                if seller in order.slices:
                    assert order.slices[seller].available == self.model.available(part)
                    assert dict(order.slices[seller].frozen) == part["frozen"]

    def _check_reserves(self, order: Any) -> None:
        held: dict[str, int] = {}
        for one in order.freezes.values():
            held[one.freeze_id] = held.get(one.freeze_id, 0) + one.in_reserve
        for freeze_id, minor in held.items():
            assert self.model.has(accounts.dispute_reserve(freeze_id)) == minor >= 0

    def payments_agree(self) -> None:
        """Invariants 1 to 3, 6 and 29."""
        for order_id, mine in self.model.orders.items():
            if not mine["payment"]:
                continue
            state = self.shop.payment(f"p-{order_id}")
            assert state.captured == self.model.captured(mine) <= mine["payment"]["amount"]
            assert state.refunded == self.model.refunds(mine, "succeeded")
            assert state.refund_in_flight == self.model.refunds(mine, *IN_FLIGHT)
            assert state.refundable == self.model.refundable(mine)
            gone = self.model.refunds(mine, *IN_FLIGHT, "succeeded") + self.model.taken_back(mine)
            assert state.exposure == max(0, gone - self.model.captured(mine))
            if state.exposure:
                assert len([key for key in state.anomalies if key.startswith("Exposure:")]) == 1

    def value_agrees(self) -> None:
        """Invariant 23."""
        if self.model.value["issued"]:
            state = self.shop.book._executor.state(streams.stored_value("v1")).state
            assert state.balance == self.model.value_balance() >= 0
