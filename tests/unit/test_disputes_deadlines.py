"""Deadlines: performed once and at their own instant, extended, stopped, and late timers."""

from datetime import timedelta
from typing import Any

import pytest

from orderledger.commands.dispute_commands import (
    AcceptDispute,
    CloseEvidence,
    Escalate,
    ExtendDisputeDeadline,
    PerformDisputeDeadline,
    ResolveDisputeAnomaly,
    Respond,
    ResumeDispute,
    SubmitEvidence,
    SupersedeDispute,
    SuspendDispute,
)
from orderledger.commands.ruling_commands import (
    Appeal,
    ExecuteRuling,
    IssueRuling,
    RecordExternalAward,
)
from orderledger.ledger.dispute_content import Answer, DisputeOutcome
from orderledger.ledger.dispute_events import DeadlineMissed, DeadlineSet
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import deadlines_of
from tests.dispute_book import HOUR, START, DisputeBook, file, item, rules, ruling, shares


@pytest.fixture
def book() -> DisputeBook:
    return DisputeBook()


def perform(deadline_id: str, **fields: Any) -> PerformDisputeDeadline:
    return PerformDisputeDeadline(dispute_id="d1", deadline_id=deadline_id, **fields)


def suspend(by: str = "cb1") -> SuspendDispute:
    return SuspendDispute(dispute_id="d1", by=by)


def resume(by: str = "cb1") -> ResumeDispute:
    return ResumeDispute(dispute_id="d1", by=by)


def test_a_deadline_says_by_which_rule(book: DisputeBook) -> None:
    """A deadline that nobody can check against the rule book in force then."""
    book.negotiating()
    found = [event for _, event in book.events if isinstance(event, DeadlineSet)]
    assert [(one.deadline_id, one.rule_ref, one.party) for one in found] == [
        ("response/1", "house/3:response_hours", Party.SELLER),
        ("negotiation/2", "house/3:negotiation_hours", None),
    ]
    assert [one.kind for one in deadlines_of(book.dispute())] == ["response", "negotiation"]


def test_a_deadline_is_performed_once_and_not_before(book: DisputeBook) -> None:
    """A timer that fires early, or twice."""
    book.negotiating().at(hours=47)
    assert book.refusal(perform("response/1")) == "not_yet_due"
    early = perform("response/1", occurred_at=START + 48 * HOUR)
    assert book.refusal(early) == "not_yet_due"
    book.at(hours=2)
    assert book.did(early) == ["DeadlineMissed"]
    assert book.run(early) == ()
    assert book.run(perform("none/9")) == ()


def test_a_backdated_timer_does_not_act_before_its_instant(book: DisputeBook) -> None:
    """A sweeper that names an instant before the deadline and performs it all the same."""
    book.negotiating().at(hours=60)
    assert book.refusal(perform("response/1", occurred_at=START + 47 * HOUR)) == "not_yet_due"


def test_a_late_timer_changes_no_answer(book: DisputeBook) -> None:
    """An answer in time or too late depending on when the sweeper came by."""
    prompt = DisputeBook().negotiating()
    prompt.perform()
    prompt.perform()
    prompt.at(hours=1)
    book.negotiating().at(hours=97)
    answer = Respond(dispute_id="d1", answer=Answer.CONTEST)
    assert prompt.refusal(answer) == book.refusal(answer) == "wrong_state"
    submit = SubmitEvidence(dispute_id="d1", party=Party.BUYER, item=item("e1"))
    prompt.run(submit)
    assert book.did(submit)[-1] == "EvidenceSubmitted"
    assert book.dispute() == prompt.dispute()


def test_a_whole_course_of_silence_in_one_late_look(book: DisputeBook) -> None:
    """Deadlines that follow from deadlines and are counted from the sweeper's clock."""
    prompt = DisputeBook().negotiating()
    while deadlines_of(prompt.dispute()):
        prompt.perform()
    book.negotiating().at(hours=10_000)
    while deadlines_of(book.dispute()):
        book.perform()
    assert book.dispute() == prompt.dispute()
    assert book.stage is Stage.ARBITRATION
    missed = [event for _, event in book.events if isinstance(event, DeadlineMissed)]
    assert [one.kind.value for one in missed] == [
        *("response", "negotiation", "evidence", "evidence", "mediator", "ruling"),
    ]
    hours = [(one.at - START) // HOUR for one in missed]
    assert hours == [48, 96, 168, 192, 392, 492]


def test_time_that_is_given(book: DisputeBook) -> None:
    """An extension that lets the old deadline fire too, or shortens it."""
    book.negotiating()

    def extend(hours: int, deadline_id: str = "response/1", by: str = "clerk") -> Any:
        return ExtendDisputeDeadline(
            dispute_id="d1",
            deadline_id=deadline_id,
            due_at=START + hours * HOUR,
            by=by,
            reason="holiday",
        )

    assert book.refusal(extend(48)) == "window_closed"
    assert book.refusal(extend(60, by="s1")) == "conflict_of_interest"
    book.run(extend(60))
    assert book.due() == {"response/3": 60, "negotiation/2": 96}
    assert book.refusal(extend(70)) == "not_found"
    book.at(hours=48)
    assert book.run(perform("response/1")) == ()
    book.at(hours=12)
    assert book.refusal(extend(70, "response/3")) == "not_found"
    assert book.did(perform("response/3")) == ["DeadlineMissed"]


def test_suspension_stops_the_clock(book: DisputeBook) -> None:
    """A deadline that passes while a chargeback keeps everybody from acting."""
    book.negotiating().at(hours=10)
    book.run(suspend())
    assert book.run(suspend()) == ()
    book.run(suspend("cb2"))
    assert deadlines_of(book.dispute()) == ()
    book.at(hours=500)
    assert book.run(perform("response/1")) == ()
    for command in (
        Respond(dispute_id="d1", answer=Answer.CONTEST),
        Escalate(dispute_id="d1", party=Party.BUYER),
    ):
        assert book.refusal(command) == "dispute_suspended"
    book.run(SubmitEvidence(dispute_id="d1", party=Party.BUYER, item=item("e1")))
    assert not book.dispute().evidence["e1"].is_late
    assert book.did(resume()) == ["DisputeResumed"]
    assert deadlines_of(book.dispute()) == ()
    assert book.did(resume("cb2")) == ["DisputeResumed", "DeadlineExtended", "DeadlineExtended"]
    assert book.run(resume("cb2")) == ()
    assert book.due() == {"response/3": 38, "negotiation/4": 86}


def test_what_passed_before_the_suspension_has_passed(book: DisputeBook) -> None:
    """A respondent saved by a chargeback that came after the deadline."""
    book.negotiating().at(hours=50)
    assert book.did(suspend()) == ["DeadlineMissed", "DisputeSuspended"]


def test_no_ruling_for_the_buyer_while_the_bank_may_pay_him(book: DisputeBook) -> None:
    """A buyer who is paid by the bank and by the ruling (interplay rule a)."""
    book.arbitrating().vote(shares(1, 999), shares(1, 999))
    book.run(suspend())
    assert book.refusal(IssueRuling(**ruling(shares(1, 999), shares(1, 999)))) == (
        "dispute_suspended"
    )
    division = shares(0, 1000)
    book.at(hours=7).vote(division, division)
    book.run(IssueRuling(**ruling(division, division)))
    assert (book.stage, deadlines_of(book.dispute())) == (Stage.RULED, ())
    appeal = Appeal(
        dispute_id="d1",
        appeal_id="x1",
        ruling_id="r1",
        party=Party.BUYER,
        grounds="no",
        new_evidence=(item("new"),),
    )
    book.at(hours=1_000)
    assert book.refusal(appeal) == "dispute_suspended"
    book.run(resume())
    assert list(book.due().values()) == [240]
    assert book.refusal(appeal) == ""


def test_no_execution_while_suspended(book: DisputeBook) -> None:
    """A final ruling that pays the buyer while his bank does too."""
    book.ruled()
    book.perform()
    book.run(suspend())
    assert book.refusal(ExecuteRuling(dispute_id="d1")) == "dispute_suspended"
    book.run(resume())
    assert book.refusal(ExecuteRuling(dispute_id="d1")) == ""
    assert book.refusal(suspend()) == "wrong_state"


def test_a_lost_chargeback_supersedes(book: DisputeBook) -> None:
    """Money that stays frozen for a dispute which the bank has decided."""
    book.ruled()
    book.perform()
    book.run(suspend())
    command = SupersedeDispute(dispute_id="d1", by="cb1", reason="chargeback lost")
    assert book.did(command) == ["DisputeSuperseded", "FundsUnfrozen", "DisputeClosed"]
    assert book.run(command) == ()
    assert book.dispute().outcome is DisputeOutcome.SUPERSEDED
    assert book.refusal(ExecuteRuling(dispute_id="d1")) == "wrong_state"
    assert book.run(resume()) != ()


def test_steps_never_run_backwards(book: DisputeBook) -> None:
    """A backdated acceptance whose deadlines are over at once, against a side that knew nothing."""
    book.run(file())
    accept = AcceptDispute(dispute_id="d1", by="clerk", occurred_at=START - timedelta(days=900))
    book.run(accept)
    assert book.due() == {"response/1": 48, "negotiation/2": 96}


def test_a_step_is_never_in_the_future(book: DisputeBook) -> None:
    """A command that lets a deadline pass by claiming to come from next year."""
    book.negotiating()
    ahead = START + timedelta(days=365)
    book.run(Respond(dispute_id="d1", answer=Answer.CONTEST, occurred_at=ahead))
    assert book.stage is Stage.NEGOTIATING
    assert book.dispute().as_of == START


def test_deciding_without_mediation_or_target(book: DisputeBook) -> None:
    """A rule book without options whose deadlines are set all the same."""
    book.in_evidence(
        rule_book=rules(
            mediation_hours=0, answer_hours=0, ruling_hours=0, appeal_hours=0, appeals_per_party=0
        )
    )
    for party in (Party.BUYER, Party.SELLER):
        book.run(CloseEvidence(dispute_id="d1", party=party))
    assert (book.stage, book.due()) == (Stage.ARBITRATION, {})


def test_an_anomaly_is_resolved_once(book: DisputeBook) -> None:
    """An anomaly of a dispute that nobody can close."""
    book.run(
        RecordExternalAward(
            dispute_id="d1", award_id="w1", body="court", case_ref="c", allocations=shares(1)
        )
    )
    (key,) = book.dispute().anomalies
    command = ResolveDisputeAnomaly(dispute_id="d1", anomaly_id=key, by="ann", resolution="typo")
    assert book.did(command) == ["AnomalyResolved"]
    assert book.dispute().anomalies == ()
    assert book.refusal(command) == "not_found"
