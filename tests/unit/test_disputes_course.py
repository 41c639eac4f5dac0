"""The course of a dispute before its ruling: answers, offers, evidence, mediation, and silence."""

from typing import Any

import pytest

from orderledger.commands.dispute_commands import (
    AcceptOffer,
    AnswerProposal,
    CloseEvidence,
    Escalate,
    MakeOffer,
    ProposeResolution,
    RequestEvidence,
    Respond,
    StartMediation,
    StrikeEvidence,
    SubmitEvidence,
    WithdrawDispute,
)
from orderledger.commands.ruling_commands import AssignPanel
from orderledger.ledger.dispute_content import Answer, DisputeOutcome, Remedy
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.rule_books import EvidenceSilence, NegotiationSilence, ResponseSilence
from tests.decided_book import START
from tests.dispute_book import HOUR, DisputeBook, item, rules, shares

BUYER, SELLER = Party.BUYER, Party.SELLER


@pytest.fixture
def book() -> DisputeBook:
    return DisputeBook()


def respond(answer: Answer = Answer.CONTEST, **fields: Any) -> Respond:
    return Respond(dispute_id="d1", answer=answer, **fields)


def offer(offer_id: str = "f1", party: Party = SELLER, amount: int = 400, hours: int = 24) -> Any:
    return MakeOffer(
        dispute_id="d1",
        offer_id=offer_id,
        party=party,
        amount=amount,
        remedy=Remedy.REFUND,
        expires_at=START + hours * HOUR,
    )


def take(offer_id: str = "f1", party: Party = BUYER) -> AcceptOffer:
    return AcceptOffer(dispute_id="d1", offer_id=offer_id, party=party)


def waive(party: Party) -> CloseEvidence:
    return CloseEvidence(dispute_id="d1", party=party)


def submit(evidence_id: str, party: Party = BUYER, content: bytes = b"") -> SubmitEvidence:
    return SubmitEvidence(dispute_id="d1", party=party, item=item(evidence_id, content))


def test_a_respondent_who_accepts_settles(book: DisputeBook) -> None:
    """An accepted claim that is heard on, or that gives the claimant less."""
    book.negotiating()
    accept = respond(Answer.ACCEPT)
    assert book.did(accept) == ["RespondentAnswered", "SettlementAgreed"]
    assert (book.stage, book.dispute().award) == (Stage.AGREED, {BUYER: 1000, SELLER: 0})
    assert book.due() == {}
    assert book.run(accept) == ()
    assert book.refusal(respond()) == "operation_already_used"


def test_an_answer_meets_its_deadline_and_stands(book: DisputeBook) -> None:
    """A silence rule that hits a respondent who answered."""
    book.negotiating()
    assert book.due() == {"response/1": 48, "negotiation/2": 96}
    book.run(respond(statement="as described"))
    assert book.due() == {"negotiation/2": 96}
    assert book.run(respond(statement="as described")) == ()
    assert book.refusal(respond(statement="other")) == "operation_already_used"


def test_an_answer_may_be_an_offer(book: DisputeBook) -> None:
    """An offer inside an answer that is lost, or changed under the same answer."""
    book.negotiating()
    given = {"offer_id": "f1", "amount": 300, "expires_at": START + 9 * HOUR}
    assert book.refusal(respond(Answer.CONTEST, **given)) == "InvalidCommand"
    assert book.refusal(respond(Answer.OFFER)) == "InvalidCommand"
    made = respond(Answer.OFFER, **given)
    assert book.did(made) == ["RespondentAnswered", "SettlementOffered"]
    assert book.run(made) == ()
    other = respond(Answer.OFFER, **{**given, "amount": 301})
    assert book.refusal(other) == "operation_already_used"
    book.run(take())
    assert book.dispute().award == {BUYER: 300, SELLER: 700}


def test_offers(book: DisputeBook) -> None:
    """A side that accepts its own offer, an expired one, or one beyond the claim."""
    book.negotiating()
    assert book.refusal(offer(amount=1001)) == "amount_exceeds_available"
    assert book.refusal(offer(hours=0)) == "window_closed"
    assert book.refusal(offer(party=Party.PLATFORM)) == "InvalidCommand"
    assert book.refusal(take()) == "not_found"
    book.run(offer())
    assert book.run(offer()) == ()
    assert book.refusal(offer(amount=401)) == "operation_already_used"
    assert book.refusal(take(party=SELLER)) == "conflict_of_interest"
    book.run(offer("f2", BUYER, 900, hours=30))
    book.at(hours=24)
    assert book.refusal(take()) == "window_closed"
    book.run(take("f2", SELLER))
    assert book.dispute().award == {BUYER: 900, SELLER: 100}
    assert book.run(take("f2", SELLER)) == ()
    assert book.refusal(offer("f3")) == "wrong_state"


@pytest.mark.parametrize(("hours", "reason"), [(23, "not_yet_due"), (24, ""), (95, ""), (96, "")])
def test_the_earliest_escalation(book: DisputeBook, hours: int, reason: str) -> None:
    """A side that escalates before the other could answer."""
    book.negotiating().at(hours=hours)
    assert book.refusal(Escalate(dispute_id="d1", party=SELLER)) == reason
    if not reason:
        assert book.stage is Stage.EVIDENCE
        assert book.run(Escalate(dispute_id="d1", party=BUYER)) == ()


@pytest.mark.parametrize(
    ("fields", "events", "stage"),
    [
        ({}, ["DeadlineMissed"], Stage.NEGOTIATING),
        (
            {"response_silence": ResponseSilence.ESCALATE},
            ["DeadlineMissed", "DisputeEscalated", "DeadlineSet", "DeadlineSet"],
            Stage.EVIDENCE,
        ),
        (
            {"response_silence": ResponseSilence.AWARD_CLAIMANT},
            ["DeadlineMissed", "DefaultRulingIssued", "DeadlineSet"],
            Stage.RULED,
        ),
        (
            {
                "response_silence": ResponseSilence.AWARD_CLAIMANT,
                "appeals_per_party": 0,
                "appeal_hours": 0,
            },
            ["DeadlineMissed", "DefaultRulingIssued", "RulingBecameFinal"],
            Stage.FINAL,
        ),
    ],
)
def test_a_silent_respondent(
    book: DisputeBook, fields: dict[str, Any], events: list[str], stage: Stage
) -> None:
    """A silence that decides otherwise than the rule book says."""
    book.negotiating(rule_book=rules(**fields))
    assert book.perform() == events
    assert book.stage is stage
    if stage is Stage.FINAL:
        assert book.dispute().award == {BUYER: 1000, SELLER: 0}


def test_a_negotiation_that_nobody_escalates(book: DisputeBook) -> None:
    """A dispute that freezes money for ever because both sides lost interest."""
    book.negotiating(rule_book=rules(negotiation_silence=NegotiationSilence.CLOSE))
    book.run(respond())
    assert book.perform() == ["DeadlineMissed", "DisputeLapsed", "FundsUnfrozen", "DisputeClosed"]
    assert (book.stage, book.dispute().outcome) == (Stage.CLOSED, DisputeOutcome.LAPSED)
    assert book.order().slices["s1"].frozen == {}


def test_each_side_has_its_own_window(book: DisputeBook) -> None:
    """Evidence refused because it is late, or a window that closes for the other side too."""
    book.in_evidence()
    assert book.due() == {"evidence/3": 72, "evidence/4": 96}
    book.run(submit("e1"))
    assert book.run(submit("e1")) == ()
    assert book.refusal(submit("e1", content=b"swapped")) == "operation_already_used"
    assert book.perform() == ["DeadlineMissed", "EvidenceWindowClosed"]
    book.run(submit("e2"))
    book.run(submit("e3", SELLER))
    late = {key: one.is_late for key, one in book.dispute().evidence.items()}
    assert late == {"e1": False, "e2": True, "e3": False}
    assert book.dispute().evidence_closed == {BUYER: False}
    assert book.refusal(submit("e4", Party.PLATFORM)) == ""


def test_evidence_is_its_bytes() -> None:
    """A document that is swapped after it was submitted (invariant 30)."""
    one = item("e1", b"a photo")
    assert one.is_of(b"a photo")
    assert not one.is_of(b"a phot0")
    assert not one.is_of(b"a photo ")


@pytest.mark.parametrize(
    ("fields", "brought", "stage", "award"),
    [
        ({}, (), Stage.EVIDENCE, {}),
        ({"mediation_hours": 0, "answer_hours": 0}, (), Stage.ARBITRATION, {}),
        ({"respondent": True}, (BUYER,), Stage.RULED, {BUYER: 1000, SELLER: 0}),
        ({"respondent": True}, (SELLER,), Stage.EVIDENCE, {}),
        ({"respondent": True, "claimant": True}, (), Stage.EVIDENCE, {}),
        ({"claimant": True}, (SELLER,), Stage.RULED, {SELLER: 1000, BUYER: 0}),
    ],
)
def test_sides_that_bring_no_evidence(
    book: DisputeBook,
    fields: dict[str, Any],
    brought: tuple[Party, ...],
    stage: Stage,
    award: dict[Party, int],
) -> None:
    """A default against a side that brought evidence, or for one that brought none either."""
    given = {
        f"{key}_evidence_silence" if value is True else key: EvidenceSilence.AWARD_OTHER_SIDE
        if value is True
        else value
        for key, value in fields.items()
    }
    book.in_evidence(rule_book=rules(**given))
    for party in brought:
        book.run(submit(f"of-{party}", party))
    book.perform()
    book.perform()
    assert book.stage is stage
    ruling = book.dispute().ruling
    assert ({one.party: one.amount for one in ruling.allocations} if ruling else {}) == award


def test_waiving_is_no_silence(book: DisputeBook) -> None:
    """A side that has nothing to add and loses by default for saying so."""
    silence = {"respondent_evidence_silence": EvidenceSilence.AWARD_OTHER_SIDE}
    book.in_evidence(rule_book=rules(**silence))
    book.run(submit("e1"))
    assert book.did(waive(SELLER)) == ["EvidenceWindowClosed"]
    assert book.run(waive(SELLER)) == ()
    assert book.did(waive(BUYER)) == ["EvidenceWindowClosed", "DeadlineSet"]
    assert (book.stage, list(book.due())) == (Stage.EVIDENCE, ["mediator/5"])


def test_struck_evidence_stays_on_the_list(book: DisputeBook) -> None:
    """Evidence that disappears, or a party that strikes out what hurts it."""
    book.in_evidence()
    book.run(submit("e1"))
    strike = StrikeEvidence(dispute_id="d1", evidence_id="e1", reason="forged", by="clerk")
    assert book.refusal(StrikeEvidence(**{**_fields(strike), "by": "s1"})) == "conflict_of_interest"
    assert book.refusal(StrikeEvidence(**{**_fields(strike), "evidence_id": "x"})) == "not_found"
    book.run(strike)
    assert book.run(strike) == ()
    assert (list(book.dispute().evidence), book.dispute().evidence["e1"].struck) == (
        ["e1"],
        "forged",
    )


def _fields(command: Any) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__struct_fields__}


def test_a_request_gives_time(book: DisputeBook) -> None:
    """A side that is asked for something it may no longer bring."""
    book.in_evidence()

    def ask(request_id: str, hours: int, party: Party = BUYER) -> RequestEvidence:
        due_at = book.now + hours * HOUR
        return RequestEvidence(
            dispute_id="d1",
            request_id=request_id,
            party=party,
            items=("receipt",),
            due_at=due_at,
            by="clerk",
        )

    assert book.refusal(ask("q1", 0)) == "window_closed"
    assert book.did(ask("q1", 10)) == ["EvidenceRequested"]
    assert book.run(ask("q1", 10)) == ()
    assert book.refusal(ask("q1", 11)) == "operation_already_used"
    assert book.did(ask("q2", 80)) == ["EvidenceRequested", "DeadlineExtended"]
    assert book.due() == {"evidence/5": 80, "evidence/4": 96}
    book.run(waive(BUYER))
    assert book.did(ask("q3", 20)) == ["EvidenceRequested", "DeadlineSet"]
    assert book.dispute().evidence_closed == {}
    assert book.due() == {"evidence/6": 20, "evidence/4": 96}


def mediate(mediator: str = "max") -> StartMediation:
    return StartMediation(dispute_id="d1", mediator=mediator, by="clerk")


def propose(proposal_id: str = "p1", buyer: int = 500) -> ProposeResolution:
    return ProposeResolution(
        dispute_id="d1",
        proposal_id=proposal_id,
        allocations=shares(buyer, 500),
        remedy=Remedy.REFUND,
    )


def answer(party: Party, accept: bool = True) -> AnswerProposal:
    return AnswerProposal(dispute_id="d1", proposal_id="p1", party=party, accept=accept)


def test_a_mediation_that_both_accept(book: DisputeBook) -> None:
    """A settlement on one side's word, or a mediator who is a party."""
    book.closed_evidence()
    assert book.refusal(mediate("s1")) == "conflict_of_interest"
    book.run(mediate())
    assert book.run(mediate()) == ()
    assert book.refusal(propose(buyer=501)) == "totals_do_not_add_up"
    assert book.refusal(answer(BUYER)) == "not_found"
    book.run(propose())
    assert book.run(propose()) == ()
    assert book.refusal(propose("p2")) == "wrong_state"
    assert list(book.due()) == ["answer/7", "mediation/6"]
    book.run(answer(BUYER))
    assert book.stage is Stage.MEDIATION
    assert book.run(answer(BUYER)) == ()
    assert book.refusal(answer(BUYER, accept=False)) == "operation_already_used"
    assert book.did(answer(SELLER)) == ["ProposalAnswered", "SettlementAgreed"]
    assert (book.stage, book.dispute().award) == (
        Stage.AGREED,
        {BUYER: 500, SELLER: 500, Party.PLATFORM: 0},
    )


@pytest.mark.parametrize("how", ["rejected", "answer", "mediation"])
def test_a_mediation_that_fails(book: DisputeBook, how: str) -> None:
    """A mediation without an end, or whose proposal binds a side that kept silent."""
    book.closed_evidence()
    book.run(mediate())
    if how != "mediation":
        book.run(propose())
        book.run(answer(BUYER, accept=how != "rejected"))
    if how != "rejected":
        assert book.perform() == ["DeadlineMissed", "MediationFailed", "DeadlineSet"]
    assert (book.stage, next(iter(book.due())).split("/")[0]) == (Stage.ARBITRATION, "ruling")
    assert book.refusal(answer(SELLER)) in ("wrong_state", "not_found")


def test_nobody_mediates(book: DisputeBook) -> None:
    """A dispute that waits for a mediator for ever, or a book without mediation that has one."""
    book.closed_evidence()
    assert book.perform() == ["DeadlineMissed", "ArbitrationOpened", "DeadlineSet"]
    other = DisputeBook().in_evidence(rule_book=rules(mediation_hours=0, answer_hours=0))
    assert other.refusal(mediate()) == "wrong_state"


def test_a_panel_may_be_seated_without_a_mediation(book: DisputeBook) -> None:
    """An operator who must let the time for a mediator pass."""
    panel = AssignPanel(dispute_id="d1", arbitrators=("ann", "bob", "cid"), by="clerk")
    book.in_evidence()
    assert book.refusal(panel) == "wrong_state"
    book.run(waive(BUYER))
    book.run(waive(SELLER))
    assert book.did(panel) == ["ArbitrationOpened", "DeadlineSet", "ArbitratorsAssigned"]


def test_withdrawal_ends_with_the_ruling(book: DisputeBook) -> None:
    """A claimant who withdraws a dispute that was decided against him."""
    withdraw = WithdrawDispute(dispute_id="d1", by="b1", reason="enough")
    book.ruled(buyer=0, seller=1000)
    assert book.refusal(withdraw) == "wrong_state"
