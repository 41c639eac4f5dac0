"""Random commands and reports on one payment, against a model of plain dictionaries."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orderledger.commands.decision import Command
from orderledger.commands.payment_commands import (
    Authorise,
    Capture,
    ExpireAuthorisation,
    InitiatePayment,
    RecordAborted,
    RecordDeclined,
    RecordPending,
    RecordProviderCapture,
    RecordReversed,
    RecordSucceeded,
    RecordUnknown,
    RequestRefund,
    RetryRefund,
    Void,
)
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.payment_events import Capabilities, CaptureMode, SuccessEvent
from orderledger.ledger.payments import PaymentLifecycle
from tests.payments_book import Book

TOTAL = 10_000
FLYING = ("requested", "pending", "unknown")
AMOUNT = st.integers(1, TOTAL)


class PaymentMachine(RuleBasedStateMachine):
    """The model knows operations as dictionaries; amounts and balances are sums over them."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.model: dict[str, dict[str, Any]] = {}
        self.expired = False
        self.observed_only = False

    @initialize()
    def start(self) -> None:
        self.book.place(TOTAL)
        self.book.run(
            InitiatePayment(
                payment_id="p1",
                order_id="o1",
                provider="adyen",
                method="card",
                amount=TOTAL,
                currency="EUR",
                quote_id="q1",
                capture_mode=CaptureMode.MULTI,
                capabilities=Capabilities(multicapture=True, captures_max=1_000),
            ),
            Authorise(payment_id="p1", op_id="a1", amount=TOTAL, currency="EUR"),
        )
        self.model["a1"] = {
            "kind": "authorise",
            "amount": TOTAL,
            "status": "requested",
            "settled": 0,
        }
        self.book.grant("g1", 10 * TOTAL)

    def sum(self, kind: str, *statuses: str) -> int:
        field = "amount" if statuses == FLYING else "settled"
        return sum(
            op[field]
            for op in self.model.values()
            if op["kind"] == kind and op["status"] in statuses
        )

    def done(self, kind: str) -> int:
        return self.sum(kind, "succeeded")

    @property
    def room(self) -> int:
        return self.done("authorise") - self.done("void") - self.done("capture")

    @property
    def capturable(self) -> int:
        room = 0 if self.expired else self.room
        return max(0, room - self.sum("capture", *FLYING))

    @property
    def refundable(self) -> int:
        return self.done("capture") - self.done("refund") - self.sum("refund", *FLYING)

    def refunds(self, *statuses: str, reissue: bool = False) -> int:
        """Return what refunds in these states are of: in flight what was asked, then settled."""
        return sum(
            op["amount"] if op["status"] in FLYING else op["settled"]
            for op in self.model.values()
            if op["kind"] == "refund"
            and op.get("reissue", False) is reissue
            and op["status"] in statuses
        )

    @property
    def brought(self) -> int:
        """What was captured; what was taken back of it relieves nobody of a refund."""
        gross = self.sum("capture", "succeeded", "reversed")
        return max(self.done("capture"), min(gross, TOTAL))

    @property
    def funded(self) -> int:
        """What the order bears of refunds that stand or may: what the payment brought, once."""
        return min(self.refunds(*FLYING, "succeeded"), self.brought)

    @property
    def owed(self) -> int:
        """What the order bears of refunds that failed after success: at most what is left."""
        return min(self.refunds("reversed"), self.brought - self.funded)

    @property
    def beyond(self) -> int:
        """What the buyer got, or may get, beyond that."""
        again = self.refunds(*FLYING, "succeeded", reissue=True)
        return self.refunds(*FLYING, "succeeded") - self.funded + max(0, again - self.owed)

    @property
    def owed_again(self) -> int:
        return max(0, self.owed - self.refunds(*FLYING, "succeeded", reissue=True))

    def _request(self, kind: str, command: Command, op: dict[str, Any], *, allowed: bool) -> None:
        op_id = getattr(command, "op_id", "")
        before = self.book.payment()
        try:
            events = self.book.run(command)
        except Rejected:
            assert not allowed, f"{command} was refused"
            assert self.book.payment() is before
            return
        assert allowed, f"{command} was let through"
        assert events
        assert self.book.run(command) == []
        self.model[op_id] = {"kind": kind, "status": "requested", "settled": 0, **op}

    @rule(amount=AMOUNT)
    def capture(self, amount: int) -> None:
        op_id = f"c{len(self.model)}"
        command = Capture(
            payment_id="p1", op_id=op_id, amount=amount, currency="EUR", is_final=False
        )
        free = self.capturable - self.sum("void", *FLYING)
        is_open = self.model["a1"]["status"] == "succeeded" and not self.expired
        self._request("capture", command, {"amount": amount}, allowed=is_open and amount <= free)

    @rule(amount=AMOUNT)
    def void(self, amount: int) -> None:
        command = Void(payment_id="p1", op_id=f"v{len(self.model)}", amount=amount, currency="EUR")
        is_open = self.model["a1"]["status"] == "succeeded" and not self.expired
        free = max(0, self.room) - self.sum("void", *FLYING)
        allowed = is_open and amount <= free and not self.sum("capture", *FLYING)
        self._request("void", command, {"amount": amount}, allowed=allowed)

    @rule(amount=AMOUNT)
    def refund(self, amount: int) -> None:
        again = self.owed_again
        limit = min(again, self.refundable) if again else self.refundable
        build = RetryRefund if again else RequestRefund
        command = build(
            payment_id="p1",
            op_id=f"r{len(self.model)}",
            amount=amount,
            currency="EUR",
            refund_id="g1",
        )
        op = {"amount": amount, "reissue": again > 0}
        self._request("refund", command, op, allowed=amount <= limit)

    @precondition(lambda self: self.model["a1"]["status"] == "succeeded" and not self.expired)
    @rule()
    def expire(self) -> None:
        command = ExpireAuthorisation(payment_id="p1", due_at=self.book.now)
        if self.sum("capture", *FLYING):
            with pytest.raises(Rejected) as caught:
                self.book.run(command)
            assert caught.value.reason is Reason.OPERATION_IN_FLIGHT
            return
        self.book.run(command)
        self.expired = True

    @precondition(lambda self: self._with(*FLYING))
    @rule(data=st.data(), off=st.sampled_from([0, 0, 0, -1, 3]))
    def succeed(self, data: st.DataObject, off: int) -> None:
        op_id = data.draw(st.sampled_from(self._with(*FLYING)))
        op = self.model[op_id]
        amount = max(1, op["amount"] + off)
        report = RecordSucceeded(payment_id="p1", op_id=op_id, provider_ref=op_id, amount=amount)
        self.book.run(report)
        assert self.book.run(report) == []
        self.observed_only = self.observed_only or off != 0
        op.update(status="succeeded", settled=amount)

    @precondition(lambda self: self._with(*FLYING))
    @rule(data=st.data(), how=st.sampled_from(["pending", "unknown", "declined", "aborted"]))
    def report(self, data: st.DataObject, how: str) -> None:
        build = {
            "pending": RecordPending,
            "unknown": RecordUnknown,
            "declined": RecordDeclined,
            "aborted": RecordAborted,
        }[how]
        op_id = data.draw(st.sampled_from(self._with(*FLYING)))
        seen = f"{how} {op_id}"
        op = self.model[op_id]
        self.book.run(build(payment_id="p1", op_id=op_id))
        if seen not in op.setdefault("seen", set()) and (how, op["status"]) != (
            "pending",
            "pending",
        ):
            op["status"] = how
        op["seen"].add(seen)

    @precondition(lambda self: self._with("succeeded"))
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        op_id = data.draw(st.sampled_from(self._with("succeeded")))
        self.book.run(RecordReversed(payment_id="p1", op_id=op_id, provider_ref=op_id))
        self.observed_only = True
        self.model[op_id]["status"] = "reversed"

    @rule(amount=AMOUNT)
    def provider_captures(self, amount: int) -> None:
        reference = f"x{len(self.model)}"
        report = RecordProviderCapture(
            payment_id="p1", provider_ref=reference, amount=amount, currency="EUR"
        )
        self.book.run(report, report)
        self.observed_only = True
        self.model[f"~capture:{reference}"] = {
            "kind": "capture",
            "amount": amount,
            "settled": amount,
            "status": "succeeded",
        }

    def _with(self, *statuses: str) -> list[str]:
        return sorted(
            op_id
            for op_id, op in self.model.items()
            if op["status"] in statuses and not op_id.startswith("~")
        )

    @invariant()
    def the_accumulators_are_sums_over_the_operations(self) -> None:
        if not self.model:
            return
        payment = self.book.payment()
        assert {op_id: op.status.value for op_id, op in payment.operations.items()} == {
            op_id: op["status"] for op_id, op in self.model.items()
        }
        assert payment.captured == self.done("capture")
        assert payment.capture_in_flight == self.sum("capture", *FLYING)
        assert payment.void_in_flight == self.sum("void", *FLYING)
        assert payment.refunded == self.done("refund")
        assert payment.refund_in_flight == self.sum("refund", *FLYING)
        assert payment.capturable == self.capturable
        assert payment.refundable == max(0, self.refundable)
        assert payment.exposure == max(0, -self.refundable)

    @invariant()
    def the_balances_follow_the_accumulators(self) -> None:
        """Invariant 17, and recipes 1, 2, 3, 6, 10, 12, 13 as one equation per account."""
        if not self.model:
            return
        funded, beyond = self.funded + self.owed, self.beyond
        captured, refunded = self.done("capture"), self.done("refund")
        posted = self.book.posted()
        assert posted.get("assets:psp:adyen", 0) == captured - refunded
        assert posted.get("liabilities:escrow:o1", 0) == funded - captured
        assert posted.get("liabilities:refunds:o1", 0) == refunded - funded - beyond
        assert posted.get("assets:receivables:o1", 0) == beyond
        assert sum(posted.values()) == 0
        assert self.book.held() == (0 if self.expired else max(0, self.room))
        assert self.book.order().escrow_held == captured - funded

    @invariant()
    def commands_alone_break_no_bound(self) -> None:
        """Invariants 1 to 4; a breach by a report is an anomaly that stays open."""
        if not self.model:
            return
        payment = self.book.payment()
        if not self.observed_only:
            net = (
                payment.authorised
                + payment.authorised_adjustment
                - payment.voided
                - payment.authorisation_expired
            )
            assert 0 <= payment.captured + payment.capture_in_flight <= max(net, 0)
            assert payment.exposure == payment.over_captured == 0
            assert payment.voided <= payment.authorised
        for kind, breach in (
            ("Exposure", payment.exposure),
            ("OverCapture", payment.over_captured),
        ):
            raised = self.book.kinds().count(kind)
            assert raised == payment.anomalies.count(f"{kind}:p1") <= 1
            assert raised or not breach
        assert payment.lifecycle is not PaymentLifecycle.NONE

    @invariant()
    def an_operation_succeeds_once(self) -> None:
        """Invariant 5: one success per operation and attempt, however often it is told."""
        told = [
            (event.op_id, event.attempt)
            for _, event, _ in self.book.events
            if isinstance(event, SuccessEvent)
        ]
        assert len(told) == len(set(told))

    @invariant()
    def settled_refunds_are_what_operations_did(self) -> None:
        """Invariant 13, the operation's side."""
        if self.model:
            grant = self.book.order().grants["g1"]
            assert grant.settled_total == self.done("refund")


TestPayments = PaymentMachine.TestCase
