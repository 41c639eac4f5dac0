"""
The disputes of the marketplace month that others decide: a panel, an appeal, an outside body.
"""

from collections.abc import Callable, Mapping
from typing import Final

from orderledger.commands.dispute_commands import StrikeEvidence
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
from orderledger.ledger.dispute_content import AppealOutcome, Remedy, VoteReveal, seal
from orderledger.ledger.dispute_parties import Allocation, Party

from .demo_market_disputes import Contest
from .demo_market_world import Case, Tale

_PANEL: Final = ("ann", "bob", "cid")
_HIGHER: Final = ("dan", "eve", "fay")
_COURT: Final = "arbitral-court"
_RULES: Final = ("market-panel 4.2",)
Division = tuple[Allocation, ...]


def _salt(contest: Contest, arbitrator: str) -> str:
    return f"{contest.dispute_id}/{arbitrator}/sealed-until-ruled"


def _vote(contest: Contest, division: Division, people: tuple[str, ...]) -> tuple[VoteReveal, ...]:
    """Have people vote in secret for a division; return what opens their votes."""
    for person in people:
        commitment = seal(contest.dispute_id, person, division, _salt(contest, person))
        contest.case.do(
            CastVote(
                dispute_id=contest.dispute_id,
                vote_id=f"vote-{person}",
                arbitrator=person,
                commitment=commitment,
            )
        )
    return tuple([VoteReveal(one, division, _salt(contest, one)) for one in people])


def _seat(contest: Contest, people: tuple[str, ...]) -> None:
    contest.case.do(AssignPanel(dispute_id=contest.dispute_id, arbitrators=people, by="clerk"))


def _rule(contest: Contest, division: Division, *dissenting: VoteReveal) -> None:
    """Rule by the votes of two; every other vote that was cast is opened with theirs."""
    people = ("ann", "bob")
    votes = (*_vote(contest, division, people), *dissenting)
    contest.case.do(
        IssueRuling(
            dispute_id=contest.dispute_id,
            ruling_id="ruling-1",
            allocations=division,
            remedy=Remedy.REFUND,
            reasons="the photo shows a break that good packing would have prevented",
            rule_refs=_RULES,
            evidence_relied_on=("photo-1",),
            votes=votes,
            by=people[0],
        )
    )


def _to_the_panel(contest: Contest, day: int) -> Tale:
    """Hear a dispute until its panel of three is seated."""
    yield from contest.into_evidence(day)
    yield contest.case.after(hours=5)
    contest.submit(Party.SELLER, "packing-1")
    contest.close_evidence()
    yield contest.case.after(hours=12)
    _seat(contest, _PANEL)


def panel(case: Case) -> Tale:
    """
    Late evidence, some of it struck out; one of the panel is recused and replaced; two of three
    agree; nobody appeals, and the ruling is executed.
    """
    yield case.on(2)
    contest = Contest(case)
    yield from _to_the_panel(contest, 4)
    contest.submit(Party.SELLER, "late-1")
    contest.submit(Party.SELLER, "late-2")
    case.do(
        StrikeEvidence(
            dispute_id=contest.dispute_id, evidence_id="late-2", reason="forged", by="clerk"
        )
    )
    yield case.after(hours=6)
    dispute_id = contest.dispute_id
    case.do(Recuse(dispute_id=dispute_id, arbitrator="cid", reason="knows the seller", by="clerk"))
    _seat(contest, ("ann", "bob", "gil"))
    yield case.after(hours=6)
    division = contest.division(75, 5)
    (dissenting,) = _vote(contest, contest.division(0), ("gil",))
    case.refused(
        IssueRuling(
            dispute_id=dispute_id,
            ruling_id="ruling-0",
            allocations=division,
            remedy=Remedy.REFUND,
            reasons="by one who was recused",
            rule_refs=_RULES,
            votes=(),
            by="cid",
        )
    )
    _rule(contest, division, dissenting)
    # Not final before the time for an appeal is over.
    case.refused(ExecuteRuling(dispute_id=dispute_id))
    yield case.after(days=4)
    contest.execute()
    contest.end()


def _appeal(contest: Contest, party: Party) -> None:
    contest.case.do(
        Appeal(
            dispute_id=contest.dispute_id,
            appeal_id="appeal-1",
            ruling_id="ruling-1",
            party=party,
            grounds="the photo is of another vase",
            new_evidence=(contest.evidence("expertise-1"),),
        )
    )


def _decide(contest: Contest, outcome: AppealOutcome, division: Division) -> None:
    _seat(contest, _HIGHER)
    votes = _vote(contest, division, ("dan", "eve"))
    contest.case.do(
        DecideAppeal(
            dispute_id=contest.dispute_id,
            ruling_id="ruling-2",
            supersedes="ruling-1",
            outcome=outcome,
            allocations=division,
            remedy=Remedy.REFUND,
            reasons="the expertise was heard",
            rule_refs=_RULES,
            evidence_relied_on=("expertise-1",),
            votes=votes,
            by="dan",
        )
    )


def appeal_upheld(case: Case) -> Tale:
    """The seller appeals; other arbitrators keep the ruling, and it is final at once."""
    yield case.on(3)
    contest = Contest(case, is_released=True)
    yield from _to_the_panel(contest, 5)
    yield case.after(hours=8)
    division = contest.division(60)
    _rule(contest, division)
    yield case.after(days=1)
    _appeal(contest, Party.SELLER)
    yield case.after(days=1)
    _decide(contest, AppealOutcome.UPHELD, division)
    contest.execute()
    contest.end()


def appeal_overturned(case: Case) -> Tale:
    """The buyer appeals; the ruling is overturned, and nobody can appeal again."""
    yield case.on(4)
    contest = Contest(case)
    yield from _to_the_panel(contest, 6)
    yield case.after(hours=8)
    _rule(contest, contest.division(0))
    yield case.after(days=1)
    _appeal(contest, Party.BUYER)
    yield case.after(days=1)
    _decide(contest, AppealOutcome.OVERTURNED, contest.division(100))
    case.refused(
        Appeal(
            dispute_id=contest.dispute_id,
            appeal_id="appeal-2",
            ruling_id="ruling-2",
            party=Party.SELLER,
            grounds="once more",
        )
    )
    contest.execute()
    contest.end()


def overturned_after_execution(case: Case) -> Tale:
    """
    The ruling was executed when it turns out to be wrong: two people put another in its place, and
    executing that sets off what was paid.
    """
    yield case.on(3)
    contest = Contest(case)
    yield from _to_the_panel(contest, 5)
    yield case.after(hours=8)
    _rule(contest, contest.division(20))
    yield case.after(days=4)
    contest.execute()
    yield case.after(days=2)
    case.do(
        AmendRuling(
            dispute_id=contest.dispute_id,
            ruling_id="ruling-2",
            supersedes="ruling-1",
            allocations=contest.division(80),
            cause="the carrier admitted the damage",
            by="clerk",
            approver="head-of-disputes",
        )
    )
    contest.execute()
    contest.end()


def external(case: Case) -> Tale:
    """Both sides opt in and pay an outside body, whose award binds."""
    yield case.on(5)
    contest = Contest(case)
    yield from _to_the_panel(contest, 7)
    yield case.after(hours=6)
    case_ref = f"AC-{contest.dispute_id}"
    case.do(
        ReferExternally(dispute_id=contest.dispute_id, body=_COURT, case_ref=case_ref, by="clerk")
    )
    for party in (Party.BUYER, Party.SELLER):
        yield case.after(hours=8)
        opted = OptInExternally(
            dispute_id=contest.dispute_id, party=party, payment_ref=f"receipt-{party.value}"
        )
        case.do(opted)
    yield case.after(days=3)
    award = RecordExternalAward(
        dispute_id=contest.dispute_id,
        award_id="award-1",
        body=_COURT,
        case_ref=case_ref,
        allocations=contest.division(40),
    )
    case.do(award)
    contest.execute()
    contest.end()


RULINGS: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "dispute ruled by a panel": (1, panel),
    "appeal upheld": (1, appeal_upheld),
    "appeal overturning a ruling": (1, appeal_overturned),
    "executed ruling overturned": (1, overturned_after_execution),
    "award of an outside body": (1, external),
}
"""By who decided it: how many disputes, and their story."""
