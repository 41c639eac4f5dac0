"""Chargebacks, refunds and releases in any order against a model of plain numbers."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orderledger.commands.chargeback_commands import (
    AcceptChargeback,
    AssignChargebackLoss,
    SubmitChargebackEvidence,
)
from orderledger.commands.payment_commands import RecordDeclined
from orderledger.ledger import accounts
from orderledger.ledger.chargeback_events import EvidenceDocument
from orderledger.ledger.chargeback_stages import Liability
from tests.chargebacks_book import PSP, ChargebackBook, opened, report

CHARGE = 10_000
IDS = ("cb1", "cb2", "cb3")
STAGES = ("chargeback", "second_chargeback", "pre_arbitration")
AMOUNTS = st.sampled_from([1, 1_000, 3_333, 5_000, CHARGE, CHARGE + 700])
PROOF = (EvidenceDocument("receipt", "c" * 64),)


class Chargebacks(RuleBasedStateMachine):
    """
    The model knows no event and no account: per chargeback its amount and where it is (``open``,
    ``answered``, ``won``, ``lost``, ``closed``), per refund its amount and where it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.book = ChargebackBook()
        self.book.sold_lines("a 1 x 60.00 of s1", "b 1 x 40.00 of s2")
        self.cases: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.released: set[str] = set()
        self.fees = 0
        self.came_back = 0
        self.told: list[Any] = []

    def of(self, *states: str) -> int:
        return sum(case["amount"] for case in self.cases.values() if case["is"] in states)

    @property
    def given(self) -> int:
        return sum(one["amount"] for one in self.refunds.values() if one["is"] != "declined")

    @property
    def paid(self) -> int:
        return sum(one["amount"] for one in self.refunds.values() if one["is"] == "paid")

    @property
    def free(self) -> int:
        return CHARGE - self.given - self.of("open", "answered", "lost")

    def tell(self, command: Any) -> None:
        self.told.append(command)
        self.book.run(command)

    @rule(key=st.sampled_from(IDS), amount=AMOUNTS, fee=st.sampled_from([0, 15]))
    def opens(self, key: str, amount: int, fee: int) -> None:
        if key in self.cases:
            return
        self.cases[key] = {"amount": amount, "is": "open", "stage": 0}
        self.fees += fee
        self.tell(opened(amount, chargeback_id=key, fee=fee))

    @precondition(lambda self: self.cases)
    @rule(data=st.data(), outcome=st.sampled_from(["won", "lost", "cancelled"]))
    def ends(self, data: st.DataObject, outcome: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.cases)))
        case = self.cases[key]
        if case["is"] not in ("open", "answered"):
            return
        case["is"] = "closed" if outcome == "cancelled" else outcome
        if outcome != "lost":
            self.came_back += case["amount"]
        self.tell(report(outcome, STAGES[case["stage"]], chargeback_id=key))

    @precondition(lambda self: self.cases)
    @rule(data=st.data(), amount=AMOUNTS)
    def opens_again(self, data: st.DataObject, amount: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.cases)))
        case = self.cases[key]
        if case["is"] != "won" or case["stage"] == len(STAGES) - 1:
            return
        case.update(amount=amount, stage=case["stage"] + 1)
        case["is"] = "open"
        self.tell(opened(amount, STAGES[case["stage"]], chargeback_id=key))

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def tells_again(self, data: st.DataObject) -> None:
        """A notification that comes twice changes nothing (invariant 33)."""
        assert self.book.run(data.draw(st.sampled_from(self.told))) == ()

    @rule(key=st.sampled_from(IDS))
    def answers(self, key: str) -> None:
        command = SubmitChargebackEvidence(
            payment_id="p1", chargeback_id=key, documents=PROOF, submitted_by="ann"
        )
        case = self.cases.get(key, {"is": "none"})
        refusal = self.book.refusal(command)
        if case["is"] == "open":
            assert refusal == ""
            case["is"] = "answered"
        elif case["is"] == "none":
            assert refusal == "not_found"

    @rule(key=st.sampled_from(IDS))
    def accepts(self, key: str) -> None:
        case = self.cases.get(key, {"is": "none"})
        refusal = self.book.refusal(
            AcceptChargeback(payment_id="p1", chargeback_id=key, accepted_by="ann")
        )
        if case["is"] in ("open", "answered"):
            assert refusal == ""
            case["is"] = "lost"
        elif case["is"] == "won":
            assert refusal == "wrong_state"

    @rule(key=st.sampled_from(IDS), liability=st.sampled_from(list(Liability)))
    def assigns(self, key: str, liability: Liability) -> None:
        command = AssignChargebackLoss(
            payment_id="p1", chargeback_id=key, liability=liability, reason="r", by="ann"
        )
        is_lost = self.cases.get(key, {"is": "none"})["is"] == "lost"
        assert (self.book.refusal(command) == "") is is_lost
        if is_lost:
            self.cases[key]["is_ours"] = liability is Liability.PLATFORM

    @rule(amount=st.sampled_from([500, 2_000, 6_000, 9_999]))
    def refunds_a_part(self, amount: int) -> None:
        key = f"r{len(self.refunds)}"
        # What was declined is still allocated to the payment: it waits to be tried again.
        waiting = sum([one["amount"] for one in self.refunds.values() if one["is"] == "declined"])
        if amount > self.free - waiting:
            return
        order = self.book.order()
        if order.granted + amount > CHARGE - self.of("lost"):
            return
        self.book.granted(key, amount)
        self.book.refund("p1", key, amount)
        self.refunds[key] = {"amount": amount, "is": "asked"}

    @precondition(lambda self: self.refunds)
    @rule(data=st.data(), declined=st.booleans())
    def a_refund_ends(self, data: st.DataObject, declined: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.refunds)))
        one = self.refunds[key]
        if one["is"] != "asked":
            return
        op_id = f"refund-{key}-p1"
        if declined:
            self.book.run(RecordDeclined(payment_id="p1", op_id=op_id))
        else:
            self.book.succeed("p1", op_id)
        one["is"] = "declined" if declined else "paid"

    @rule(seller=st.sampled_from(["s1", "s2"]))
    def releases(self, seller: str) -> None:
        if seller in self.released or self.cases or self.refunds:
            return
        self.released.add(seller)
        self.book.release(seller)

    @invariant()
    def the_numbers_agree(self) -> None:
        payment, open_now, lost = self.book.payment(), self.of("open", "answered"), self.of("lost")
        assert payment.chargeback_open == open_now
        assert payment.chargeback_lost == lost
        assert payment.chargeback_reversed == self.came_back
        assert payment.refunded == self.paid
        assert payment.refundable == max(0, self.free)
        assert payment.exposure == max(0, -self.free)

    @invariant()
    def the_accounts_agree(self) -> None:
        book, open_now, lost = self.book, self.of("open", "answered"), self.of("lost")
        assert book.balance(PSP) == CHARGE - self.paid - open_now - lost - self.fees
        assert book.balance(accounts.DISPUTE_FEES) == self.fees
        in_disputes = sum([book.balance(accounts.disputes(key)) for key in IDS])
        assert in_disputes == open_now
        beyond = max(0, lost + self.given - CHARGE)
        assert book.balance(accounts.receivable("o1")) == beyond
        assert book.balance(accounts.refunds("o1")) == self.paid - self.given
        is_ours = any(case.get("is_ours") for case in self.cases.values())
        if lost >= CHARGE - self.given and not open_now and not is_ours:
            # All of the payment's money is gone: nothing is left in escrow or in a reserve. What
            # the platform bears of it the sellers still have.
            assert set(book.open_accounts()) <= {accounts.refunds("o1")}


TestChargebacks = Chargebacks.TestCase
TestChargebacks.settings = settings(max_examples=25, stateful_step_count=18)
