"""From the decision of a dispute to the money at the buyer and the seller, without a person."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from orderledger import Book
from orderledger.commands.chargeback_commands import RecordChargeback
from orderledger.commands.dispute_commands import AcceptDispute, Escalate, FileDispute, Respond
from orderledger.commands.order_commands import ConfirmOrder
from orderledger.commands.payment_commands import RecordProviderOperation, RecordReversed
from orderledger.commands.process_disputes import Rulings
from orderledger.commands.process_orders import Refunds, ReleaseTerms
from orderledger.commands.process_payments import PaymentOperations
from orderledger.commands.ruling_commands import AmendRuling, AssignPanel, CastVote, IssueRuling
from orderledger.ledger.dispute_content import Answer, seal
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.order_refunds import GrantStatus
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.work_ports import Lane, WorkStatus
from orderledger.machinery import Wiring
from orderledger.testing.fakes import Failure, FakeWorld
from tests.chargebacks_book import opened, report
from tests.dispute_book import SALT, file, rules, ruling, shares
from tests.machinery.shop import (
    START,
    Clock,
    events_of,
    initiate,
    open_book,
    place,
    purchase,
    run,
    succeeded,
    work_in,
)

TERMS = ReleaseTerms(commission_rate=Decimal("0.10"), rate_version="2026")
SELLER, COMMISSION = "liabilities:seller:s1", "income:commission"


def filing(**fields: Any) -> FileDispute:
    given = {"placed_at": START - timedelta(hours=1), "delivered_at": None, **fields}
    return file("d1", ("a", 1_000), **given)


def disputed(**fields: Any) -> tuple[Book, Clock, FakeWorld]:
    """Return a shop that runs by itself, with 20.00 paid and 10.00 of it in dispute."""
    clock, world = Clock(), FakeWorld()
    reactors = (PaymentOperations(), Refunds(), Rulings(TERMS))
    book = open_book(clock)
    run(book, place(), initiate(), purchase(), succeeded("p1", "buy"), ConfirmOrder(order_id="o1"))
    book.wire(Wiring(ports=world.ports, reactors=reactors))
    book.machinery.settle()
    run(book, filing(**fields), AcceptDispute(dispute_id="d1", by="clerk"))
    return book, clock, world


def refused(book: Book) -> list[str]:
    return [one.error for one in work_in(book, Lane.OUTBOX, WorkStatus.REFUSED, WorkStatus.DEAD)]


def owed(book: Book, account: str) -> int:
    return -book.read.balance(account).get("USD", 0)


def test_an_agreement_ends_with_the_money_at_the_buyer() -> None:
    """Catches a settlement that nobody executes, or a refund of it that nobody sends, or twice."""
    book, _, world = disputed()
    run(book, Respond(dispute_id="d1", answer=Answer.ACCEPT))
    for _ in range(2):
        book.machinery.settle()
    assert book.read.dispute("d1").stage is Stage.EXECUTED
    (grant,) = book.order("o1").grants.values()
    assert (grant.total, grant.status) == (1_000, GrantStatus.SETTLED)
    (sent,) = world.gateway.effects.values()
    assert (type(sent).__name__, book.payment("p1").refunded) == ("RefundRequest", 1_000)
    assert refused(book) == []
    assert list(book.read.verify()) == []


def test_a_ruling_is_executed_when_it_is_final() -> None:
    """Catches a ruling that is executed before the time for an appeal is over, or never."""
    book, clock, _ = disputed(rule_book=rules(mediation_hours=0, answer_hours=0))
    division = shares(600, 300, 100)
    run(book, Respond(dispute_id="d1", answer=Answer.CONTEST))
    clock.move(hours=24)
    run(book, Escalate(dispute_id="d1", party=Party.BUYER))
    clock.move(hours=96)
    book.machinery.settle()
    run(book, AssignPanel(dispute_id="d1", arbitrators=("ann", "bob", "cid"), by="clerk"))
    for person in ("ann", "bob"):
        vote = CastVote(
            dispute_id="d1",
            vote_id=f"v-{person}",
            arbitrator=person,
            commitment=seal("d1", person, division, SALT),
        )
        run(book, vote)
    run(book, IssueRuling(**ruling(division, division)))
    clock.move(hours=239)
    book.machinery.settle()
    assert book.read.dispute("d1").stage is Stage.RULED
    clock.move(hours=1)
    book.machinery.settle()
    assert book.read.dispute("d1").stage is Stage.EXECUTED
    assert book.payment("p1").refunded == 600
    assert (owed(book, SELLER), owed(book, COMMISSION)) == (270, 30)
    assert owed(book, "income:arbitration_fees") == 100
    amendment = AmendRuling(
        dispute_id="d1",
        ruling_id="r2",
        supersedes="r1",
        allocations=shares(700, 300),
        cause="the fee was not due",
        by="ann2",
        approver="bob2",
    )
    run(book, amendment)
    book.machinery.settle()
    assert book.payment("p1").refunded == 700
    assert refused(book) == []
    assert list(book.read.verify()) == []


def test_a_contested_payment_delays_the_execution() -> None:
    """Catches a buyer who is paid by the ruling and by the bank, or by neither after a win."""
    book, _, _ = disputed()
    contested: RecordChargeback = opened(2_000)
    run(book, Respond(dispute_id="d1", answer=Answer.ACCEPT), contested)
    book.machinery.settle()
    assert book.read.dispute("d1").stage is Stage.AGREED
    assert book.order("o1").grants == {}
    run(book, report("won"))
    book.machinery.settle()
    assert book.read.dispute("d1").stage is Stage.EXECUTED
    assert book.payment("p1").refunded == 1_000
    # It was agreed before the chargeback came; when its turn came that could not be done any more.
    (said,) = refused(book)
    assert "is suspended by cb1" in said


def test_a_refund_without_an_answer_is_asked_about() -> None:
    """Catches a ruling's refund that is sent twice, or lost, because the provider timed out."""
    book, clock, world = disputed()
    world.gateway.fail(Failure.LATE)
    run(book, Respond(dispute_id="d1", answer=Answer.ACCEPT))
    book.machinery.settle()
    assert book.payment("p1").refund_in_flight == 1_000
    clock.move(minutes=5)
    book.machinery.settle()
    assert book.payment("p1").refunded == 1_000
    assert len(world.gateway.effects) == 1
    assert "RulingExecuted" in events_of(book, "dispute-d1")


def test_a_leg_that_was_refused_is_tried_again() -> None:
    """Catches an execution that stays half done after the payment can give money back again."""
    book, _, _ = disputed()
    elsewhere = RecordProviderOperation(
        payment_id="p1",
        kind=OperationKind.REFUND,
        provider_ref="by-hand",
        amount=1_500,
        currency="USD",
    )
    run(book, elsewhere, Respond(dispute_id="d1", answer=Answer.ACCEPT))
    book.machinery.settle()
    assert book.read.dispute("d1").stage is Stage.EXECUTING
    (op_id,) = [op.op_id for op in book.payment("p1").operations.values() if op.kind == "refund"]
    run(book, RecordReversed(payment_id="p1", op_id=op_id, provider_ref="by-hand"))
    book.machinery.settle()
    assert book.read.dispute("d1").stage is Stage.EXECUTED
    assert book.payment("p1").refunded == 1_000
    assert refused(book) == []
