"""Rulings: who may rule, on which votes and evidence, and how appeals and awards end it."""

from typing import Any

import pytest

from orderledger.commands.dispute_commands import (
    AnswerProposal,
    CloseEvidence,
    ProposeResolution,
    StartMediation,
    StrikeEvidence,
    SubmitEvidence,
)
from orderledger.commands.order_commands import (
    GrantRefund,
    RecordRefundGranted,
    WithdrawRefund,
)
from orderledger.commands.ruling_commands import (
    AmendRuling,
    Appeal,
    AssignPanel,
    CastVote,
    DecideAppeal,
    ExecuteRuling,
    IssueRuling,
    OptInExternally,
    RecordExternalAward,
    Recuse,
    ReferExternally,
)
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.dispute_content import AppealOutcome, VoteReveal, seal
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.order_axes import DisputeStatus, axes_of
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.tenders import tenders_of
from tests.dispute_book import SALT, DisputeBook, item, rules, ruling, shares

FOR, AGAINST = shares(600, 400), shares(0, 1000)
SECOND = ("dan", "eve", "fay")


@pytest.fixture
def book() -> DisputeBook:
    return DisputeBook()


def issue(*divisions: Any, **fields: Any) -> IssueRuling:
    return IssueRuling(**ruling(*divisions, **fields))


def panel(*people: str, by: str = "clerk") -> AssignPanel:
    return AssignPanel(dispute_id="d1", arbitrators=people, by=by)


def recuse(person: str) -> Recuse:
    return Recuse(dispute_id="d1", arbitrator=person, reason="knows the seller", by="clerk")


def test_a_ruling_on_sealed_votes(book: DisputeBook) -> None:
    """A ruling whose votes, evidence or hash nobody can check afterwards."""
    book.arbitrating().vote(FOR, AGAINST, FOR)
    assert all(len(vote) == 64 for vote in book.dispute().panel.votes.values())
    made = issue(FOR, AGAINST, FOR, evidence_relied_on=("of-buyer",))
    assert book.did(made) == ["RulingIssued", "DeadlineSet"]
    assert book.run(made) == ()
    assert book.refusal(issue(FOR, AGAINST, FOR)) == "operation_already_used"
    standing = book.dispute().ruling
    assert standing is not None
    assert (book.stage, len(standing.ruling_hash), standing.is_final) == (Stage.RULED, 64, False)
    assert book.dispute().award == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"reasons": " "}, "InvalidCommand"),
        ({"rule_refs": ()}, "InvalidCommand"),
        ({"ruling_id": "a:b"}, "InvalidCommand"),
        ({"by": "b1"}, "conflict_of_interest"),
        ({"by": "s1"}, "conflict_of_interest"),
        ({"by": "zoe"}, "conflict_of_interest"),
        ({"evidence_relied_on": ("none",)}, "not_found"),
        ({"evidence_relied_on": ("struck",)}, "wrong_state"),
        ({"allocations": shares(600, 401)}, "totals_do_not_add_up"),
        ({"allocations": shares(600, 300)}, "totals_do_not_add_up"),
        ({"allocations": shares(-1, 1001)}, "InvalidCommand"),
        ({"allocations": shares(1001)}, "totals_do_not_add_up"),
        ({"votes": (VoteReveal("ann", FOR, SALT),)}, "quorum_missing"),
        ({"votes": (VoteReveal("ann", FOR, SALT), VoteReveal("bob", FOR, "x"))}, "unsealed"),
        ({"votes": (VoteReveal("ann", AGAINST, SALT), VoteReveal("bob", FOR, SALT))}, "unsealed"),
        ({"votes": (VoteReveal("ann", FOR, SALT), VoteReveal("cid", FOR, SALT))}, "not_found"),
        ({"allocations": AGAINST}, "quorum_missing"),
        ({}, ""),
    ],
)
def test_refusals_of_a_ruling(book: DisputeBook, fields: dict[str, Any], reason: str) -> None:
    """A ruling by a party, on struck evidence, of other sums, or that nobody voted for."""
    book.arbitrating()
    book.run(SubmitEvidence(dispute_id="d1", party=Party.BUYER, item=item("struck")))
    book.run(StrikeEvidence(dispute_id="d1", evidence_id="struck", reason="x", by="clerk"))
    book.vote(FOR, FOR)
    wanted = {"unsealed": "vote_not_as_sealed"}.get(reason, reason)
    assert book.refusal(issue(FOR, FOR, **fields)) == wanted


def test_a_vote_with_a_guessable_salt_does_not_count(book: DisputeBook) -> None:
    """Sealed votes that the others read by trying amounts."""
    book.arbitrating().vote(FOR)
    sealed = seal("d1", "bob", FOR, "1")
    book.run(CastVote(dispute_id="d1", vote_id="w", arbitrator="bob", commitment=sealed))
    votes = (VoteReveal("ann", FOR, SALT), VoteReveal("bob", FOR, "1"))
    assert book.refusal(issue(FOR, FOR, votes=votes)) == "vote_not_as_sealed"


def test_no_majority_and_a_second_vote(book: DisputeBook) -> None:
    """A split panel that can never vote again, or a ruling of its minority."""
    book.arbitrating().vote(FOR, AGAINST)
    assert book.refusal(issue(FOR, AGAINST)) == "quorum_missing"
    book.vote(FOR, people=("bob",))
    assert book.refusal(issue(FOR, FOR)) == ""


def test_every_vote_that_was_cast_is_opened(book: DisputeBook) -> None:
    """A presiding arbitrator who leaves out the votes against."""
    book.arbitrating().vote(FOR, FOR, AGAINST)
    assert book.refusal(issue(FOR, FOR)) == "quorum_missing"
    assert book.refusal(issue(FOR, FOR, AGAINST)) == ""


def test_votes_of_the_panel_only(book: DisputeBook) -> None:
    """A vote that anybody casts, or that changes under its id."""
    book.arbitrating().vote(FOR)
    vote = CastVote(
        dispute_id="d1", vote_id="v0", arbitrator="ann", commitment=seal("d1", "ann", FOR, SALT)
    )
    assert book.run(vote) == ()
    other = CastVote(dispute_id="d1", vote_id="v0", arbitrator="ann", commitment="0" * 64)
    assert book.refusal(other) == "operation_already_used"
    for person in ("zoe", "b1"):
        cast = CastVote(dispute_id="d1", vote_id="w", arbitrator=person, commitment="0" * 64)
        assert book.refusal(cast) == "conflict_of_interest"
    malformed = CastVote(dispute_id="d1", vote_id="w", arbitrator="ann", commitment="600")
    assert book.refusal(malformed) == "InvalidCommand"


def test_who_may_sit(book: DisputeBook) -> None:
    """A panel with a party or of another size, or one that is changed until it suits."""
    book.closed_evidence()
    assert book.refusal(panel("ann", "bob", "s1")) == "conflict_of_interest"
    assert book.refusal(panel("ann", "bob", "b1")) == "conflict_of_interest"
    assert book.refusal(panel("ann", "bob", "cid", by="s1")) == "conflict_of_interest"
    assert book.refusal(panel("ann", "bob")) == "quorum_missing"
    assert book.refusal(panel("ann", "bob", "bob")) == "InvalidCommand"
    book.run(panel("ann", "bob", "cid"))
    assert book.run(panel("cid", "bob", "ann")) == ()
    assert book.refusal(panel("ann", "bob", "dan")) == "wrong_state"


def test_a_recused_arbitrator_neither_votes_nor_rules(book: DisputeBook) -> None:
    """A ruling that stands on somebody who had to leave."""
    book.arbitrating().vote(FOR, FOR)
    book.run(recuse("ann"))
    assert book.run(recuse("ann")) == ()
    assert book.refusal(recuse("zoe")) == "not_found"
    assert book.refusal(issue(FOR, FOR)) == "conflict_of_interest"
    assert book.refusal(issue(FOR, FOR, by="bob")) == "not_found"
    assert book.refusal(issue(FOR, people=("bob",))) == "quorum_missing"
    assert book.refusal(panel("ann", "bob", "cid")) == "conflict_of_interest"
    book.run(panel("dan", "bob", "cid"))
    book.vote(FOR, people=("dan",))
    assert book.refusal(issue(FOR, FOR, people=("dan", "bob"))) == ""


def test_no_ruling_while_evidence_may_come(book: DisputeBook) -> None:
    """A side that is ruled on before its time to speak is over (invariant 26)."""
    book.in_evidence()
    book.run(StartMediation(dispute_id="d1", mediator="max", by="clerk"))
    division = shares(1, 999)
    book.run(
        ProposeResolution(
            dispute_id="d1", proposal_id="p1", allocations=division, remedy=ruling(FOR)["remedy"]
        )
    )
    book.run(AnswerProposal(dispute_id="d1", proposal_id="p1", party=Party.BUYER, accept=False))
    assert book.stage is Stage.ARBITRATION
    assert book.refusal(panel("ann", "max", "cid")) == "conflict_of_interest"
    book.run(panel("ann", "bob", "cid"))
    book.vote(FOR, FOR)
    assert book.refusal(issue(FOR, FOR)) == "evidence_window_open"
    book.run(CloseEvidence(dispute_id="d1", party=Party.BUYER))
    assert book.refusal(issue(FOR, FOR)) == "evidence_window_open"
    book.run(CloseEvidence(dispute_id="d1", party=Party.SELLER))
    assert book.refusal(issue(FOR, FOR)) == ""


def appeal(party: Party = Party.SELLER, appeal_id: str = "x1", **fields: Any) -> Appeal:
    given: dict[str, Any] = {
        "ruling_id": "r1",
        "grounds": "the photo is old",
        "new_evidence": (item(f"new-{party}-{appeal_id}"),),
        **fields,
    }
    return Appeal(dispute_id="d1", appeal_id=appeal_id, party=party, **given)


def decide(outcome: AppealOutcome, *divisions: Any, **fields: Any) -> DecideAppeal:
    given = ruling(*divisions, ruling_id="r2", **{"people": SECOND, **fields})
    return DecideAppeal(outcome=outcome, supersedes=given.pop("supersedes", "r1"), **given)


def test_an_appeal_and_its_decision(book: DisputeBook) -> None:
    """Two final rulings in one dispute, or an appeal decided by whom it is against."""
    book.ruled()
    assert book.did(appeal()) == ["EvidenceSubmitted", "AppealFiled"]
    assert book.run(appeal()) == ()
    assert book.refusal(appeal(grounds="other")) == "operation_already_used"
    assert book.refusal(appeal(appeal_id="x2")) == "already_exists"
    assert book.did(appeal(Party.BUYER, "x3")) == ["EvidenceSubmitted", "AppealFiled"]
    assert book.due() == {}
    for people in (("ann", "dan", "eve"), ("b1", "dan", "eve")):
        assert book.refusal(panel(*people)) == "conflict_of_interest"
    book.run(panel(*SECOND))
    book.vote(AGAINST, AGAINST, people=SECOND)
    upheld = decide(AppealOutcome.UPHELD, AGAINST, AGAINST)
    assert book.refusal(upheld) == "amount_mismatch"
    overturned = decide(AppealOutcome.OVERTURNED, AGAINST, AGAINST)
    assert book.did(overturned) == ["AppealDecided"]
    assert book.run(overturned) == ()
    assert book.stage is Stage.FINAL
    assert book.dispute().award == {Party.BUYER: 0, Party.SELLER: 1000, Party.PLATFORM: 0}
    assert [key for key, one in book.dispute().rulings.items() if one.is_final] == ["r2"]
    assert book.refusal(appeal(Party.BUYER, "x4", ruling_id="r2")) == "ruling_final"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ruling_id": "r9"}, "not_found"),
        ({"new_evidence": ()}, "evidence_required"),
        ({"new_evidence": (item("again", b"of-buyer"),)}, "evidence_required"),
        ({"new_evidence": (item("of-buyer", b"x"),)}, "operation_already_used"),
        ({"grounds": ""}, "InvalidCommand"),
        ({}, ""),
    ],
)
def test_refusals_of_an_appeal(book: DisputeBook, fields: dict[str, Any], reason: str) -> None:
    """An appeal that only repeats what was heard."""
    assert book.ruled().refusal(appeal(**fields)) == reason


def test_an_appeal_needs_new_evidence_by_the_rule_book_only(book: DisputeBook) -> None:
    """A rule of one book that holds for all."""
    book.ruled(rule_book=rules(appeal_needs_new_evidence=False))
    assert book.refusal(appeal(new_evidence=())) == ""


def test_the_window_of_an_appeal(book: DisputeBook) -> None:
    """An appeal after finality, whether or not a timer has said so (invariant 27)."""
    book.ruled().at(hours=239)
    assert book.refusal(appeal()) == ""
    late = DisputeBook().ruled()
    late.at(hours=240)
    assert late.refusal(appeal()) == "ruling_final"
    assert late.stage is Stage.RULED
    late.perform()
    assert late.refusal(appeal()) == "ruling_final"


def test_a_cross_appeal_keeps_to_the_window_too(book: DisputeBook) -> None:
    """A side that appeals after the window because the other one had appealed in time."""
    book.ruled()
    book.run(appeal())
    book.at(hours=240)
    assert book.refusal(appeal(Party.BUYER, "x2")) == "window_closed"


def test_execution_ends_the_dispute_once(book: DisputeBook) -> None:
    """A ruling executed twice, or an order that stays contested after it."""
    book.ruled()
    execute = ExecuteRuling(dispute_id="d1")
    assert book.refusal(execute) == "wrong_state"
    book.perform()
    book.run(execute)
    assert book.run(execute) == ()
    assert (book.stage, book.dispute().executed) == (
        Stage.EXECUTED,
        {Party.BUYER: 600, Party.SELLER: 400},
    )
    assert book.order().granted == 600
    order = book.order()
    axes = axes_of(order, tenders_of(order, lambda key: book.states[f"payment-{key}"]))
    assert axes.dispute is DisputeStatus.RULED


@pytest.mark.parametrize(("buyer", "goodwill"), [(200, 400), (900, 0), (600, 0)])
def test_an_amended_ruling_is_executed_once_more(
    book: DisputeBook, buyer: int, goodwill: int
) -> None:
    """A buyer who gets both divisions, or a seller who bears what the platform decided wrongly."""
    book.ruled()
    book.perform()
    book.run(ExecuteRuling(dispute_id="d1"))
    refund_id = "d1:r1:buyer"
    book.succeed("p1", book.refund("p1", refund_id, 600))
    book.run(amend(allocations=shares(buyer, 1000 - buyer)))
    stages = [book.stage]
    book.run(ExecuteRuling(dispute_id="d1"))
    assert book.run(ExecuteRuling(dispute_id="d1")) == ()
    assert [*stages, book.stage] == [Stage.FINAL, Stage.EXECUTED]
    assert book.dispute().executed == {Party.BUYER: buyer, Party.SELLER: 1000 - buyer}
    assert book.order().granted == max(buyer, 600)
    assert book.balance("expenses:goodwill") == goodwill


def test_a_leg_that_fails_is_tried_again(book: DisputeBook) -> None:
    """An execution that is given up because one leg was refused, or that does the others twice."""
    book.ruled()
    book.perform()
    book.run(
        RecordRefundGranted(
            order_id="o1", refund_id="g1", reason="kind", currency="USD", amount=9_500
        )
    )
    events = book.did(ExecuteRuling(dispute_id="d1"))
    assert "RulingExecutionLegFailed" in events
    assert "RulingExecuted" not in events
    book.run(WithdrawRefund(order_id="o1", refund_id="g1", reason="mistake"))
    stages = [book.stage]
    book.run(ExecuteRuling(dispute_id="d1"))
    assert [*stages, book.stage] == [Stage.EXECUTING, Stage.EXECUTED]
    assert sum(event == "RulingExecutionLegDone" for event in book.kinds()) == 2


def test_a_ruling_that_cannot_be_executed_is_amended(book: DisputeBook) -> None:
    """A dispute that never ends, because one leg of its ruling can never be done."""
    book.ruled()
    book.perform()
    book.run(
        RecordRefundGranted(
            order_id="o1", refund_id="g1", reason="kind", currency="USD", amount=9_500
        )
    )
    assert "RulingExecutionLegFailed" in book.did(ExecuteRuling(dispute_id="d1"))
    book.run(amend(allocations=shares(500, 500)))
    book.run(ExecuteRuling(dispute_id="d1"))
    assert book.stage is Stage.EXECUTED
    assert book.order().grants["d1:r3:buyer"].total == 500
    assert book.order().granted == 10_000


def test_a_refund_waits_for_what_a_dispute_claims(book: DisputeBook) -> None:
    """Invariant 29: a buyer who gets by a price reduction what he claims in a dispute."""
    book.negotiating()
    given: dict[str, Any] = {"order_id": "o1", "reason": "kind", "source": RefundSource.PRICE}
    too_much = GrantRefund(refund_id="g1", adjustment=9_001, **given)
    assert book.refusal(too_much) == "amount_exceeds_available"
    book.run(GrantRefund(refund_id="g2", adjustment=9_000, **given))


def refer(**fields: Any) -> ReferExternally:
    given: dict[str, Any] = {"body": "court", "case_ref": "c-1", "by": "clerk", **fields}
    return ReferExternally(dispute_id="d1", **given)


def opt_in(party: Party) -> OptInExternally:
    return OptInExternally(dispute_id="d1", party=party, payment_ref=f"paid-{party}")


@pytest.mark.parametrize(
    ("opted", "buyer"), [((), 1000), ((Party.BUYER,), 1000), ((Party.SELLER,), 0)]
)
def test_who_does_not_pay_the_outside_body_loses(
    book: DisputeBook, opted: tuple[Party, ...], buyer: int
) -> None:
    """A default award to the side that let the window pass (Upwork's rule)."""
    book.arbitrating()
    book.run(refer())
    assert book.run(refer()) == ()
    for party in opted:
        book.run(opt_in(party))
    assert list(book.due().values()) == [168]
    assert book.perform() == ["DeadlineMissed", "DefaultRulingIssued", "RulingBecameFinal"]
    award = book.dispute().award
    assert (award[Party.BUYER], award[Party.SELLER]) == (buyer, 1000 - buyer)


def award(**fields: Any) -> RecordExternalAward:
    given: dict[str, Any] = {
        "award_id": "w1",
        "body": "court",
        "case_ref": "c-1",
        "allocations": FOR,
        **fields,
    }
    return RecordExternalAward(dispute_id="d1", **given)


def anomalies(book: DisputeBook) -> list[str]:
    return [event.kind for _, event in book.events if isinstance(event, AnomalyRaised)]


def test_an_award_binds(book: DisputeBook) -> None:
    """An outside award that can still be appealed inside, or a default after both paid."""
    book.arbitrating()
    book.run(refer())
    book.run(opt_in(Party.BUYER))
    book.run(opt_in(Party.SELLER))
    assert book.run(opt_in(Party.SELLER)) == ()
    assert book.due() == {}
    assert book.did(award()) == ["ExternalAwardReceived", "RulingBecameFinal"]
    assert (book.stage, book.dispute().award[Party.BUYER]) == (Stage.FINAL, 600)
    assert book.run(award()) == ()
    assert anomalies(book) == []


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"case_ref": "c-2"}, "AwardOfAnotherCase"),
        ({"body": "other"}, "AwardOfAnotherCase"),
        ({"allocations": shares(600, 401)}, "AwardDoesNotAddUp"),
    ],
)
def test_an_award_that_contradicts_is_kept(
    book: DisputeBook, fields: dict[str, Any], kind: str
) -> None:
    """A report that is refused and lost, or one of another case that moves money."""
    book.arbitrating()
    book.run(refer())
    assert book.did(award(**fields)) == ["ExternalAwardReceived", "AnomalyRaised"]
    assert (anomalies(book), book.stage) == ([kind], Stage.EXTERNAL)
    assert book.run(award(**fields)) == ()


def test_an_award_nobody_waits_for(book: DisputeBook) -> None:
    """An award of an unknown or a decided dispute that is refused, or that changes it."""
    book.run(award())
    assert anomalies(book) == ["AwardForUnknownDispute"]
    book.ruled()
    book.run(award(award_id="w2"))
    assert anomalies(book)[-1] == "AwardWhileRuled"
    book.run(award(award_id="w2", case_ref="other"))
    assert anomalies(book)[-1] == "AwardReportedOtherwise"
    assert book.stage is Stage.RULED


def test_no_outside_body_without_the_rule(book: DisputeBook) -> None:
    """A referral that the rule book does not offer."""
    book.arbitrating(rule_book=rules(external=None))
    assert book.refusal(refer()) == "wrong_state"


def amend(**fields: Any) -> AmendRuling:
    given: dict[str, Any] = {
        "ruling_id": "r3",
        "supersedes": "r1",
        "allocations": shares(200, 800),
        "cause": "the parcel turned up",
        "by": "clerk",
        "approver": "head",
        **fields,
    }
    return AmendRuling(dispute_id="d1", **given)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"approver": "clerk"}, "four_eyes_required"),
        ({"approver": ""}, "four_eyes_required"),
        ({"by": "s1"}, "conflict_of_interest"),
        ({"supersedes": "r9"}, "not_found"),
        ({"allocations": shares(200, 801)}, "totals_do_not_add_up"),
        ({"ruling_id": "r1"}, "operation_already_used"),
        ({}, ""),
    ],
)
def test_refusals_of_an_amendment(book: DisputeBook, fields: dict[str, Any], reason: str) -> None:
    """A final division that one person changes, or into other sums."""
    book.ruled()
    assert book.refusal(amend()) == "wrong_state"
    book.perform()
    assert book.refusal(amend(**fields)) == reason


def test_an_amendment_takes_the_place_of_the_ruling(book: DisputeBook) -> None:
    """Two final rulings after an amendment."""
    book.ruled()
    book.perform()
    book.run(amend())
    assert book.run(amend()) == ()
    assert book.dispute().award[Party.BUYER] == 200
    assert [key for key, one in book.dispute().rulings.items() if one.is_final] == ["r3"]
