"""The risk policy on every engine: limits, approvals that are used once, velocity, alerts."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.account_commands import PostingInput
from orderledger.commands.decision import Command
from orderledger.commands.group_commit import Result
from orderledger.commands.order_commands import CoverPolicy
from orderledger.commands.requests import Receipt
from orderledger.ledger.approvals import ApprovalStatus
from orderledger.ledger.errors import InvalidInput, Reason, Rejected
from orderledger.ledger.order_content import LineInput
from orderledger.ledger.risk_rules import (
    AmountRule,
    Effect,
    Measure,
    RiskPolicy,
    Subject,
    VelocityRule,
)
from orderledger.projections.alerts import AlertRow
from orderledger.projections.approvals import ApprovalRow
from orderledger.projections.risk_velocity import RiskVelocityRow
from tests.contract.engines import Engine, MemoryEngine
from tests.model.shop import item

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
ON_ACCOUNT = CoverPolicy.ON_ACCOUNT
LATER = NOW + timedelta(hours=4)
AMOUNTS = (
    AmountRule(
        rule_id="entries", command="PostEntry", currency="EUR", approve_above=100, refuse_above=900
    ),
    AmountRule(rule_id="refunds", command="GrantRefund", currency="EUR", approve_above=500),
)


def velocity(rule_id: str, effect: Effect, **fields: Any) -> VelocityRule:
    given: dict[str, Any] = {
        "command": "PlaceOrder",
        "subject": Subject.BUYER,
        "measure": Measure.ORDERS,
        "currency": "EUR",
        "window_hours": 2,
        **fields,
    }
    return VelocityRule(rule_id=rule_id, effect=effect, **given)


POLICY = RiskPolicy(
    version="2026-03",
    amounts=AMOUNTS,
    velocities=(
        velocity("many-orders", Effect.HOLD, count_max=2),
        velocity("much-of-one", Effect.ALERT, subject=Subject.SELLER, sum_max=25_000),
    ),
)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(engine: Engine, clock: Clock) -> Iterator[Book]:
    """Give a book with the policy, on each engine."""
    opened = kept(engine, clock)
    yield opened
    opened.close()


@pytest.fixture
def plain(clock: Clock) -> Iterator[Book]:
    """Give such a book in memory: for what no engine decides."""
    opened = kept(MemoryEngine(), clock)
    yield opened
    opened.close()


def kept(engine: Engine, clock: Clock, policy: RiskPolicy = POLICY) -> Book:
    made = Book(engine.open(clock=clock), clock=clock)
    made.keep_to(policy)
    return made


def entry(minor: int, entry_id: str = "e1") -> m.PostEntry:
    legs = (
        PostingInput("assets:bank:main", "EUR", minor),
        PostingInput("equity:opening", "EUR", -minor),
    )
    return m.PostEntry(entry_id=entry_id, description="x", postings=legs)


def place(order_id: str, *lines: LineInput, buyer: str = "b1") -> m.PlaceOrder:
    return m.PlaceOrder(
        order_id=order_id, buyer_ref=buyer, currency="EUR", lines=lines or (item("a", "100"),)
    )


def goodwill(amount: int) -> m.RecordGoodwill:
    return m.RecordGoodwill(
        order_id="o1", goodwill_id="g", amount=amount, reason="x", by="ann", approver="bob"
    )


def refused(book: Book, command: Command) -> Rejected:
    with pytest.raises(Rejected) as refusal:
        book.execute(command)
    return refusal.value


def approve(book: Book, command: Command, by: str = "bob") -> str:
    """Ask for an approval as ann, have it granted, and return its id."""
    approval_id = str(refused(book, command).facts["approval_id"])
    book.request_approval(command, requested_by="ann", reason="quarter end", expires_at=LATER)
    book.execute(m.GrantApproval(approval_id=approval_id, granted_by=by, expires_at=LATER))
    return approval_id


def status(book: Book, approval_id: str) -> str:
    book.read.models.catch_up("approvals")
    row = book.read.models.get(ApprovalRow, approval_id)
    return "" if row is None else row.status


def test_limits_on_amounts_are_exact(plain: Book) -> None:
    """Catches a limit that is off by one, or that holds for another currency or command."""
    plain.execute(entry(100))
    error = refused(plain, entry(101, "e2"))
    assert error.reason is Reason.APPROVAL_REQUIRED
    assert (error.facts["rule_id"], error.facts["limit"]) == ("entries", 100)
    assert error.facts["status"] == "none"
    assert refused(plain, entry(901, "e3")).reason is Reason.RISK_LIMIT_EXCEEDED
    legs = (
        PostingInput("assets:bank:main", "USD", 5_000),
        PostingInput("equity:opening", "USD", -5_000),
    )
    plain.execute(m.PostEntry(entry_id="e4", description="x", postings=legs))
    # What has happened is never held up.
    plain.execute(
        m.RecordSettlement(
            entry_id="s1", provider="psp", bank="main", gross=90_000, fee=0, currency="EUR"
        )
    )


def test_a_refund_is_measured_by_what_it_grants(plain: Book) -> None:
    """Catches a limit that a command without an amount of its own walks around."""
    plain.execute(place("o1"))
    plain.execute(m.ConfirmOrder(order_id="o1", policy=ON_ACCOUNT))
    plain.execute(
        m.RecordGoodwill(
            order_id="o1", goodwill_id="g", amount=9_000, reason="x", by="ann", approver="bob"
        )
    )
    grant = m.GrantRefund(
        order_id="o1", refund_id="r1", reason="x", source=m.RefundSource.GOODWILL, adjustment=501
    )
    approve(plain, grant)
    plain.execute(grant)
    assert plain.order("o1").granted == 501


def test_an_approved_command_runs_once(book: Book, clock: Clock) -> None:
    """Catches an approval that stays open after its use, or that lets another command run."""
    command = entry(500)
    approval_id = approve(book, command)
    assert refused(book, entry(501)).facts["approval_id"] != approval_id
    assert refused(book, entry(500, "e2")).reason is Reason.APPROVAL_REQUIRED
    receipt = book.execute(command)
    assert f"approval-{approval_id}" in receipt.streams
    assert status(book, approval_id) == ApprovalStatus.USED
    assert book.read.balance("assets:bank:main") == {"EUR": 500}
    taken_back = m.DenyApproval(approval_id=approval_id, denied_by="bob", reason="x")
    assert refused(book, taken_back).reason is Reason.WRONG_STATE
    granted = m.GrantApproval(approval_id=approval_id, granted_by="bob", expires_at=LATER)
    assert refused(book, granted).reason is Reason.WRONG_STATE
    assert list(book.read.verify()) == []


def test_two_people_decide_in_time(plain: Book, clock: Clock) -> None:
    """Catches one person alone, a word given too late, or one that was taken back."""
    command = entry(500)
    approval_id = str(refused(plain, command).facts["approval_id"])
    grant = m.GrantApproval(approval_id=approval_id, granted_by="bob", expires_at=LATER)
    with pytest.raises(Exception, match="nobody asked"):
        plain.execute(grant)
    plain.request_approval(command, requested_by="ann", reason="x", expires_at=LATER)
    assert refused(plain, command).facts["status"] == "requested"
    own = m.GrantApproval(approval_id=approval_id, granted_by="ann", expires_at=LATER)
    assert refused(plain, own).reason is Reason.FOUR_EYES_REQUIRED
    with pytest.raises(InvalidInput, match="needs no approval"):
        plain.request_approval(entry(5, "e5"), requested_by="ann", reason="x", expires_at=LATER)
    clock.now = LATER
    assert refused(plain, grant).reason is Reason.WINDOW_CLOSED
    assert refused(plain, command).facts["status"] == "expired"
    until = LATER + timedelta(hours=1)
    plain.request_approval(command, requested_by="ann", reason="x", expires_at=until)
    plain.execute(m.GrantApproval(approval_id=approval_id, granted_by="bob", expires_at=until))
    again = m.DenyApproval(approval_id=approval_id, denied_by="bob", reason="not so")
    clock.now = until
    assert refused(plain, command).facts["status"] == "expired"
    clock.now = until - timedelta.resolution
    plain.execute(again)
    assert refused(plain, command).facts["status"] == "denied"


def test_a_forged_request_is_refused(plain: Book) -> None:
    """Catches an approval asked for under another command's id, or while one is open."""
    good: dict[str, Any] = {
        "command": "PostEntry",
        "amount": 1,
        "currency": "EUR",
        "reason": "x",
        "expires_at": LATER,
    }
    text = "ab" * 32
    for approval_id, fingerprint in (("ff" * 16, text), (text[:32], "zz" * 32), (text, text)):
        with pytest.raises(Exception, match="fingerprint"):
            plain.execute(
                m.RequestApproval(
                    approval_id=approval_id, fingerprint=fingerprint, requested_by="ann", **good
                )
            )
    command = entry(500)
    approval_id = str(refused(plain, command).facts["approval_id"])
    # Whose beginning is the command's and whose end is another's.
    forged = m.RequestApproval(
        approval_id=approval_id, fingerprint=f"{approval_id}{'0' * 32}", requested_by="ann", **good
    )
    plain.execute(forged)
    plain.execute(m.GrantApproval(approval_id=approval_id, granted_by="bob", expires_at=LATER))
    assert refused(plain, command).reason is Reason.APPROVAL_REQUIRED
    ask = m.RequestApproval(approval_id=text[:32], fingerprint=text, requested_by="ann", **good)
    plain.execute(ask)
    assert plain.execute(ask).event_ids == ()
    other = m.RequestApproval(approval_id=text[:32], fingerprint=text, requested_by="eve", **good)
    assert refused(plain, other).reason is Reason.ALREADY_EXISTS


def _race(books: list[Book], command: Command) -> list[Result]:
    barrier, results = threading.Barrier(len(books)), list[Result]()

    def run(book: Book) -> None:
        barrier.wait()
        try:
            results.append(book.execute(command))
        except Rejected as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_uses_of_one_approval_have_one_winner(engine: Engine, clock: Clock) -> None:
    """Catches one approval that pays twice because two processes used it at the same moment."""
    books = [kept(engine, clock) for _ in range(4)]
    for number in range(5):
        command = entry(500, f"e{number}")
        approval_id = approve(books[0], command)
        results = _race(books, command)
        # The entry has an id of its own: who comes second finds it posted and writes nothing.
        written = [one for one in results if isinstance(one, Receipt) and one.event_ids]
        assert len(written) == 1
        assert all(isinstance(one, Receipt) for one in results)
        topics = [row.topic for row in books[0].store.stream(f"approval-{approval_id}")]
        assert topics.count("approval.used.v1") == 1
    assert books[0].read.balance("assets:bank:main") == {"EUR": 2_500}
    for one in books:
        one.close()


def test_an_approval_is_taken_back_or_used_not_both(engine: Engine, clock: Clock) -> None:
    """Catches a command that runs on an approval which was denied at the same moment."""
    books = [kept(engine, clock) for _ in range(2)]
    for number in range(5):
        command = entry(500, f"e{number}")
        approval_id = approve(books[0], command)
        denial = m.DenyApproval(approval_id=approval_id, denied_by="bob", reason="x")
        barrier, outcomes = threading.Barrier(2), dict[str, bool]()

        def run(
            book: Book, given: Command, barrier: Any = barrier, outcomes: Any = outcomes
        ) -> None:
            barrier.wait()
            try:
                book.execute(given)
                outcomes[type(given).__name__] = True
            except Rejected:
                outcomes[type(given).__name__] = False

        threads = [
            threading.Thread(target=run, args=pair)
            for pair in zip(books, (command, denial), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes.values()) == [False, True]
        assert status(books[0], approval_id) == ("used" if outcomes["PostEntry"] else "denied")
    for one in books:
        one.close()


def test_velocity_holds_an_order_and_says_what_it_knew(book: Book, clock: Clock) -> None:
    """Catches a rule that sees nothing, counts another buyer, or does not tell its source."""
    for number in range(2):
        book.execute(place(f"o{number}"))
    book.execute(place("other", buyer="b2"))
    book.execute(place("unseen"))
    assert book.order("unseen").holds == ()  # the read model does not know of the others yet
    known = book.read.models.catch_up("risk_velocity")
    receipt = book.execute(place("o3"))
    assert book.order("o3").holds == ("many-orders",)
    assert any(stream.startswith("alert-many-orders:") for stream in receipt.streams)
    assert refused(book, m.ConfirmOrder(order_id="o3", policy=ON_ACCOUNT)).reason is (
        Reason.ON_HOLD
    )
    book.read.models.catch_up("alerts")
    rows = {one.rule_id: one for one in book.read.models.select(AlertRow)}
    held = rows["many-orders"]
    assert (held.subject, held.count, held.amount, held.currency) == ("b1", 3, 30_000, "EUR")
    assert (held.known_position, held.stream, held.policy) == (known, "order-o3", "2026-03")
    assert (rows["much-of-one"].subject, rows["much-of-one"].amount) == ("s1", 40_000)
    resolve = m.ResolveAlert(alert_id=held.alert_id, by="ann", resolution="a known wholesaler")
    book.execute(resolve)
    assert book.execute(resolve).event_ids == ()
    book.read.models.catch_up("alerts")
    again = book.read.models.get(AlertRow, held.alert_id)
    assert again is not None
    assert (again.is_open, again.resolved_by, again.count) == (False, "ann", 3)
    book.execute(m.ReleaseHold(order_id="o3", rule_id="many-orders", reason="checked", by="ann"))
    book.execute(m.ConfirmOrder(order_id="o3", policy=ON_ACCOUNT))
    assert list(book.read.verify()) == []


def test_velocity_may_ask_for_a_second_person(clock: Clock) -> None:
    """Catches a rule whose approval cannot be asked for, or that one approval lifts for good."""
    rule = velocity("orders", Effect.APPROVAL, count_max=1)
    policy = RiskPolicy(version="1", velocities=(rule,))
    book = kept(MemoryEngine(), clock, policy)
    book.execute(place("o1"))
    book.read.models.catch_up("risk_velocity")
    free = place("o2", item("a", "0"))
    approve(book, free)
    book.execute(free)
    assert refused(book, place("o3")).reason is Reason.APPROVAL_REQUIRED
    book.execute(place("o4", buyer="b2"))
    book.close()


def test_a_window_ends(plain: Book, clock: Clock) -> None:
    """Catches a buyer who is held for what was long ago."""
    for number in range(3):
        plain.execute(place(f"o{number}"))
    plain.read.models.catch_up("risk_velocity")
    clock.now = NOW + timedelta(hours=3)
    plain.execute(place("late"))
    assert plain.order("late").holds == ()
    clock.now = NOW + timedelta(hours=2)
    plain.execute(place("within"))
    assert "many-orders" in plain.order("within").holds


def test_velocity_counts_payments_and_refunds(book: Book) -> None:
    """Catches a measure that is another's, or a seller who bears what was another's goods."""
    book.execute(place("o1", item("a", "10", quantity=2), item("b", "5", seller="s2")))
    book.execute(m.ConfirmOrder(order_id="o1", policy=ON_ACCOUNT))
    book.execute(
        m.InitiatePayment(
            payment_id="p1",
            order_id="o1",
            provider="psp",
            method="card",
            amount=900,
            currency="EUR",
        )
    )
    book.execute(
        m.RecordGoodwill(
            order_id="o1", goodwill_id="g", amount=2_000, reason="x", by="ann", approver="bob"
        )
    )
    book.execute(
        m.GrantRefund(
            order_id="o1",
            refund_id="r1",
            reason="x",
            source=m.RefundSource.RETURN,
            lines=(m.MovedLine("b", 1),),
        )
    )
    book.read.models.catch_up("risk_velocity")
    rows = [
        (one.subject_kind, one.subject, one.measure, one.count, one.amount)
        for one in book.read.models.select(RiskVelocityRow)
    ]
    assert rows == [
        ("buyer", "b1", "orders", 1, 2_500),
        ("buyer", "b1", "payments", 1, 900),
        ("buyer", "b1", "refunds", 1, 500),
        ("seller", "s1", "orders", 1, 2_000),
        ("seller", "s2", "orders", 1, 500),
        ("seller", "s2", "refunds", 1, 500),
    ]
