"""A ruling that is simulated does what it does when it is issued, and nothing before that."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger.as_of import Point
from orderledger.ledger.dispute_content import seal
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import deadlines_of
from orderledger.ledger.errors import InvalidInput, NotFound
from orderledger.ledger.hypothetical import MARK
from orderledger.ledger.journal import Layer
from orderledger.ledger.risk_rules import AmountRule, RiskPolicy
from orderledger.replay.ruling_simulation import Simulation
from tests.chargebacks_book import opened
from tests.dispute_book import HOUR, SALT, file, rules, ruling, shares
from tests.dispute_shop import DisputeShop
from tests.model.shop import item

TERMS = m.ExecutionTerms(commission_rate=Decimal("0.12"), rate_version="v1")
CLAIM = 1_000


class Case(DisputeShop):
    """Order o1 of 50.00, disputed, its panel seated: everything but the ruling."""

    def arbitrating(self, claim: int = CLAIM, **rule_fields: Any) -> "Case":
        book = rules(mediation_hours=0, answer_hours=0, **rule_fields)
        filing: Any = {"placed_at": self.now - HOUR, "delivered_at": None, "rule_book": book}
        self.run(file("d1", ("a", claim), **filing))
        self.run(m.AcceptDispute(dispute_id="d1", by="clerk"))
        self.run(m.Respond(dispute_id="d1", answer=m.Answer.CONTEST))
        self.now += 24 * HOUR
        self.run(m.Escalate(dispute_id="d1", party=m.Party.BUYER))
        self.run(m.CloseEvidence(dispute_id="d1", party=m.Party.BUYER))
        self.run(m.CloseEvidence(dispute_id="d1", party=m.Party.SELLER))
        self.run(m.AssignPanel(dispute_id="d1", arbitrators=("ann", "bob", "cid"), by="clerk"))
        return self

    def voted(self, division: tuple[m.Allocation, ...]) -> m.IssueRuling:
        """Have two vote for a division; return the ruling for it."""
        for person in ("ann", "bob"):
            sealed = seal("d1", person, division, SALT)
            self.run(
                m.CastVote(
                    dispute_id="d1",
                    vote_id=f"v-{person}",
                    arbitrator=person,
                    commitment=sealed,
                )
            )
        return m.IssueRuling(**ruling(division, division))

    def rows(self, after: int = 0) -> list[Any]:
        return list(self.store.read(after, limit=10_000))

    def issue_and_execute(self, command: m.IssueRuling, terms: m.ExecutionTerms) -> None:
        """Do what was simulated, at the same times by the clock."""
        self.run(command)
        for due in deadlines_of(self.book.read.dispute("d1")):
            self.now = max(self.now, due.due_at)
            self.run(
                m.PerformDisputeDeadline(
                    dispute_id="d1", deadline_id=due.deadline_id, occurred_at=due.due_at
                )
            )
        self.run(m.ExecuteRuling(dispute_id="d1", terms=terms))


def _contents(rows: Any) -> list[Any]:
    return [
        (row.position, row.stream, row.version, row.topic, row.payload, row.postings)
        for row in rows
    ]


def _told(found: Simulation) -> list[Any]:
    from orderledger.ledger.codec import encode_event
    from orderledger.ledger.journal import encode_entry

    return [
        (one.position, one.stream, one.version, *encode_event(one.event), encode_entry(one.entry))
        for one in found.events
    ]


@settings(max_examples=25, deadline=None)
@given(
    claim=st.integers(1, 3_000),
    parts=st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100)),
    appeals=st.booleans(),
    is_released=st.booleans(),
    refunded=st.sampled_from((0, 700)),
    terms=st.sampled_from((TERMS, m.ExecutionTerms(is_goodwill=True))),
)
def test_what_is_simulated_is_what_happens(  # one course, varied
    claim: int,
    parts: tuple[int, int, int],
    appeals: bool,
    is_released: bool,
    refunded: int,
    terms: m.ExecutionTerms,
) -> None:
    """Catches an entry, a leg, a tender or a balance of the simulation that is another in fact."""
    case = Case()
    if refunded:
        case.refund("r0", refunded)
    if is_released:
        case.release()
    case.arbitrating(claim, **({} if appeals else {"appeal_hours": 0, "appeals_per_party": 0}))
    whole = sum(parts) or 1
    buyer, platform = claim * parts[0] // whole, claim * parts[2] // whole
    command = case.voted(shares(buyer, claim - buyer - platform, platform))
    before = case.rows()
    found = case.book.simulate_ruling(command, terms=terms)
    assert case.rows() == before, "simulating wrote to the book"
    assert case.book.simulate_ruling(command, terms=terms).events[0].event == found.events[0].event
    assert found.is_hypothetical
    assert found.hypothetical == MARK
    assert (found.appeal is None) != appeals

    case.issue_and_execute(command, terms)
    assert _told(found) == _contents(case.rows(len(before)))
    dispute, order = case.book.read.dispute("d1"), case.book.read.order("o1")
    assert found.stage is dispute.stage
    assert found.final_at == dispute.stage_since or dispute.stage is not Stage.FINAL
    assert {leg.leg_id: leg.is_done for leg in found.legs} == {
        key: leg.is_done for key, leg in dispute.legs.items()
    }
    grant = order.grants.get("d1:r1:buyer")
    assert {one.payment_id: one.amount for one in found.refunds} == (
        dict(grant.allocations) if grant else {}
    )
    head = Point(case.store.head().size)
    for one in found.balances:
        now = case.book.read.balances.balance_at(one.account, one.currency, Layer.POSTED, head)
        assert one.after == now, one.account
    told = {one.account for one in found.balances}
    assert {"liabilities:escrow:o1", "liabilities:seller:s1"} <= told


def _simulated(case: Case, command: m.IssueRuling) -> tuple[str, str]:
    found = case.book.simulate_ruling(command)
    assert found.refused is not None
    assert found.legs == ()
    return found.refused.step, found.refused.reason


def test_what_cannot_be_is_told_with_its_reason() -> None:
    """Catches a ruling that is shown as if it could be issued, or an error without its step."""
    case = Case()
    case.arbitrating()
    division = shares(600, 400)
    unvoted = m.IssueRuling(**ruling(division, division))
    assert _simulated(case, unvoted) == ("issue", "not_found")
    command = case.voted(division)
    assert _simulated(case, m.IssueRuling(**ruling(division))) == ("issue", "quorum_missing")
    with pytest.raises(NotFound, match="there is no dispute d9"):
        case.book.simulate_ruling(m.IssueRuling(**ruling(division, dispute_id="d9")))
    with pytest.raises(InvalidInput):
        case.book.simulate_ruling(m.IssueRuling(**ruling(division, division, reasons=7)))
    assert case.book.simulate_ruling(command).is_executed
    case.run(opened(500, "chargeback", payment_id="p1", reason_code="fraudulent"))
    found = case.book.simulate_ruling(command)
    assert found.refused is not None
    assert found.refused.step in ("issue", "execute")
    assert found.refused.reason in ("dispute_suspended", "chargeback_open")
    assert not found.is_executed


def test_a_leg_that_the_order_refuses_is_told() -> None:
    """Catches a simulation that ends with the first leg that cannot be executed."""
    case = Case()
    case.arbitrating(3_000)
    command = case.voted(shares(2_000, 1_000))
    told: Any = {"order_id": "o1", "refund_id": "r0", "reason": "kind", "currency": "USD"}
    case.run(m.RecordRefundGranted(amount=4_500, **told))
    found = case.book.simulate_ruling(command)
    legs = {leg.party: leg for leg in found.legs}
    assert not legs[m.Party.BUYER].is_done
    assert legs[m.Party.BUYER].reason == "amount_exceeds_available"
    assert "may still give back 500 USD minor units" in legs[m.Party.BUYER].message
    assert legs[m.Party.SELLER].is_done
    assert found.stage is Stage.EXECUTING
    case.issue_and_execute(command, m.ExecutionTerms())
    assert _told(found) == _contents(case.rows(found.position))


def test_it_is_held_to_the_risk_policy() -> None:
    """Catches a simulation that says yes where the policy asks for a second person."""
    case = Case()
    case.arbitrating()
    command = case.voted(shares(600, 400))
    rule = AmountRule(rule_id="big", command="ExecuteRuling", currency="USD", refuse_above=1)
    case.book.keep_to(RiskPolicy(version="1", amounts=(rule,)))
    assert _simulated(case, command) == ("execute", "risk_limit_exceeded")


def test_two_orders_do_not_disturb_each_other() -> None:
    """Catches a simulation that reads or moves what belongs to another order."""
    case = Case()
    case.place(item("a", "80"), order_id="o2")
    case.pay(8_000, "p2", order_id="o2")
    case.arbitrating()
    found = case.book.simulate_ruling(case.voted(shares(600, 400)), terms=TERMS)
    assert not [one.account for one in found.balances if one.account.endswith(":o2")]
    assert {one.stream for one in found.events} == {"dispute-d1", "order-o1"}


def test_a_closed_period_is_kept() -> None:
    """Catches a fork that forgets what the book is closed to, and dates an entry inside it."""

    def closing(case: Case) -> Command:
        return m.ClosePeriod(period="2026-01", end=case.now - 30 * HOUR)

    case = Case()
    case.arbitrating()
    command = case.voted(shares(600, 400))
    case.run(closing(case))
    found = case.book.simulate_ruling(command, terms=TERMS)
    case.issue_and_execute(command, TERMS)
    assert _told(found) == _contents(case.rows(found.position))
