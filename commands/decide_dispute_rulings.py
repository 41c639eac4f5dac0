"""
Decisions of the arbitration: the panel, its sealed votes, its ruling, and appeals against it.
"""

from collections.abc import Sequence
from datetime import datetime

from orderledger.ledger import dispute_events as e
from orderledger.ledger import dispute_ruling_events as r
from orderledger.ledger import limits
from orderledger.ledger.dispute_content import AppealOutcome, hash_of_ruling, same_division
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import DisputeState, Panel, Ruling
from orderledger.ledger.errors import Reason, Rejected
from orderledger.ledger.rule_books import PANEL_MAX

from . import dispute_guards as guards
from . import order_guards
from .decision import Changes, States, decides
from .dispute_hearing import Hearing, await_appeal, heard, open_arbitration
from .dispute_votes import check_ruling, content_of, require_ruling
from .ruling_commands import Appeal, AssignPanel, CastVote, DecideAppeal, IssueRuling, Recuse


def _panel_of(state: DisputeState) -> Panel:
    return state.appeal_panel if state.stage is Stage.APPEAL else state.panel


@decides(AssignPanel)
def assign(command: AssignPanel, states: States, now: datetime) -> Changes:
    """Seat a panel; the evidence being in, the arbitration may begin with it."""
    limits.check_count("arbitrators", len(command.arbitrators), PANEL_MAX)
    order_guards.check_unique("arbitrators", command.arbitrators)
    for person in command.arbitrators:
        order_guards.check_id("arbitrator", person)
    hearing = heard(command, states, now)
    if set(_panel_of(hearing.state).members) == set(command.arbitrators) != set():
        return hearing.changes
    guards.require_running(hearing.state, "assign a panel")
    if hearing.state.stage is Stage.EVIDENCE and hearing.state.is_evidence_closed:
        open_arbitration(hearing, "panel_assigned")
    state = hearing.state
    guards.require_stage(state, r.ArbitratorsAssigned, "assign a panel")
    guards.require_impartial(state, command.by, "assign its panel")
    _check_panel(command.arbitrators, state)
    hearing.step(
        r.ArbitratorsAssigned(
            at=hearing.at,
            arbitrators=command.arbitrators,
            quorum=state.rule_book.quorum,
            by=command.by,
            is_appeal=state.stage is Stage.APPEAL,
        )
    )
    return hearing.changes


def _check_panel(arbitrators: Sequence[str], state: DisputeState) -> None:
    size = state.rule_book.panel_size
    if len(arbitrators) != size:
        raise Rejected(
            Reason.QUORUM_MISSING,
            f"{len(arbitrators)} arbitrators are named; a panel of dispute {state.dispute_id} has "
            f"{size} by rule book {state.rule_book.reference('panel_size')}",
            dispute_id=state.dispute_id,
            arbitrators=len(arbitrators),
            panel_size=size,
        )
    panel = _panel_of(state)
    for person in arbitrators:
        guards.require_impartial(state, person, "sit on its panel")
        if person == state.mediator:
            raise guards.conflict(state, person, "mediated the dispute", "rule on it")
        if person in panel.recused:
            raise guards.conflict(state, person, "was recused", "sit again")
        if state.stage is Stage.APPEAL and person in state.panel.ever:
            raise guards.conflict(state, person, "sat on the first panel", "decide the appeal")
    dropped = [one for one in panel.members if one not in arbitrators]
    if dropped:
        raise Rejected(
            Reason.WRONG_STATE,
            f"{', '.join(dropped)} would be dropped from the panel of dispute {state.dispute_id}; "
            "an arbitrator leaves by a recusal",
            dispute_id=state.dispute_id,
            arbitrators=dropped,
        )


@decides(Recuse)
def recuse(command: Recuse, states: States, now: datetime) -> Changes:
    """Take an arbitrator off the panel."""
    guards.check_reason("reason", command.reason)
    hearing = heard(command, states, now)
    state = hearing.state
    panel = _panel_of(state)
    if command.arbitrator in panel.recused:
        return hearing.changes
    guards.require_stage(state, r.ArbitratorRecused, "recuse an arbitrator")
    if command.arbitrator not in panel.members:
        raise guards.unknown(state, "arbitrator", command.arbitrator)
    hearing.step(
        r.ArbitratorRecused(
            at=hearing.at,
            arbitrator=command.arbitrator,
            reason=command.reason,
            by=command.by,
            is_appeal=state.stage is Stage.APPEAL,
        )
    )
    return hearing.changes


@decides(CastVote)
def cast_vote(command: CastVote, states: States, now: datetime) -> Changes:
    """Take a sealed vote of somebody on the panel."""
    order_guards.check_id("vote_id", command.vote_id)
    guards.check_hash("commitment", command.commitment)
    hearing = heard(command, states, now)
    state = hearing.state
    known = state.panel.cast.get(command.vote_id) or state.appeal_panel.cast.get(command.vote_id)
    if known is not None:
        if known == (command.arbitrator, command.commitment):
            return hearing.changes
        raise guards.used(state, "vote", command.vote_id)
    guards.require_stage(state, r.VoteCast, "vote")
    guards.require_impartial(state, command.arbitrator, "vote on it")
    if command.arbitrator not in _panel_of(state).members:
        raise guards.conflict(state, command.arbitrator, "is not on the panel", "vote")
    hearing.step(
        r.VoteCast(
            at=hearing.at,
            vote_id=command.vote_id,
            arbitrator=command.arbitrator,
            commitment=command.commitment,
            is_appeal=state.stage is Stage.APPEAL,
        )
    )
    return hearing.changes


@decides(IssueRuling)
def issue(command: IssueRuling, states: States, now: datetime) -> Changes:
    """Rule on the votes that are opened; see ``require_ruling`` for what is refused."""
    check_ruling(command)
    hearing = heard(command, states, now)
    state = hearing.state
    if command.ruling_id in state.rulings:
        _check_same(command, state)
        return hearing.changes
    guards.require_stage(state, r.RulingIssued, "rule on it")
    require_ruling(command, state, state.panel)
    hearing.step(
        r.RulingIssued(
            at=hearing.at,
            ruling_id=command.ruling_id,
            allocations=command.allocations,
            remedy=command.remedy,
            reasons=command.reasons,
            rule_refs=command.rule_refs,
            evidence_relied_on=command.evidence_relied_on,
            by=command.by,
            votes=command.votes,
            ruling_hash=hash_of_ruling(content_of(command, state)),
        )
    )
    await_appeal(hearing)
    return hearing.changes


def _check_same(
    command: IssueRuling | DecideAppeal, state: DisputeState, supersedes: str = ""
) -> None:
    known = all(one in state.evidence for one in command.evidence_relied_on)
    before = state.rulings[command.ruling_id].ruling_hash
    if not known or before != hash_of_ruling(content_of(command, state, supersedes)):
        raise guards.used(state, "ruling", command.ruling_id)


@decides(Appeal)
def appeal(command: Appeal, states: States, now: datetime) -> Changes:
    """
    Contest the ruling that stands.

    Refused in this order: OPERATION_ALREADY_USED, RULING_FINAL, WRONG_STATE, DISPUTE_SUSPENDED,
    NOT_FOUND (ruling), WINDOW_CLOSED, ALREADY_EXISTS (the side appealed), EVIDENCE_REQUIRED.
    """
    order_guards.check_id("appeal_id", command.appeal_id)
    guards.check_side(command.party)
    guards.check_reason("grounds", command.grounds)
    guards.check_evidence(command.new_evidence)
    hearing = heard(command, states, now)
    known = hearing.state.appeals.get(command.appeal_id)
    if known is not None:
        ids = tuple([item.evidence_id for item in command.new_evidence])
        terms = (command.ruling_id, command.party, command.grounds, ids)
        if (known.ruling_id, known.party, known.grounds, known.new_evidence) == terms:
            return hearing.changes
        raise guards.used(hearing.state, "appeal", command.appeal_id)
    _require_appealable(command, hearing)
    for item in command.new_evidence:
        hearing.step(
            e.EvidenceSubmitted(at=hearing.at, party=command.party, item=item, is_late=True)
        )
    hearing.step(
        r.AppealFiled(
            at=hearing.at,
            appeal_id=command.appeal_id,
            ruling_id=command.ruling_id,
            party=command.party,
            grounds=command.grounds,
            new_evidence=tuple([item.evidence_id for item in command.new_evidence]),
        )
    )
    return hearing.changes


def _require_appealable(command: Appeal, hearing: Hearing) -> None:
    state = hearing.state
    ruling = state.rulings.get(command.ruling_id)
    if ruling is not None and ruling.is_final:
        raise _is_final(state, ruling)
    guards.require_stage(state, r.AppealFiled, "appeal")
    guards.require_running(state, "appeal")
    if ruling is None:
        raise guards.unknown(state, "ruling", command.ruling_id)
    if state.appeal_until is None or hearing.at >= state.appeal_until:
        raise Rejected(
            Reason.WINDOW_CLOSED,
            f"the window for appeals in dispute {state.dispute_id} ended{_until(state)}; what "
            "comes to light later is for an amendment (AmendRuling)",
            dispute_id=state.dispute_id,
            ruling_id=command.ruling_id,
        )
    if any(one.party is command.party for one in state.appeals.values()):
        raise Rejected(
            Reason.ALREADY_EXISTS,
            f"the {command.party} appealed in dispute {state.dispute_id} already; each side may "
            "once",
            dispute_id=state.dispute_id,
            party=command.party.value,
        )
    _require_new_evidence(command, state)


def _until(state: DisputeState) -> str:
    return "" if state.appeal_until is None else f" at {state.appeal_until.isoformat()}"


def _require_new_evidence(command: Appeal, state: DisputeState) -> None:
    if state.rule_book.appeal_needs_new_evidence and not command.new_evidence:
        raise Rejected(
            Reason.EVIDENCE_REQUIRED,
            f"an appeal in dispute {state.dispute_id} needs new evidence by rule book "
            f"{state.rule_book.reference('appeal_needs_new_evidence')}",
            dispute_id=state.dispute_id,
        )
    hashes = {one.item.sha256 for one in state.evidence.values()}
    for item in command.new_evidence:
        if item.evidence_id in state.evidence:
            raise guards.used(state, "evidence", item.evidence_id)
        if item.sha256 in hashes:
            raise Rejected(
                Reason.EVIDENCE_REQUIRED,
                f"evidence {item.evidence_id} is not new: its bytes are on the list of dispute "
                f"{state.dispute_id} already",
                dispute_id=state.dispute_id,
                evidence_id=item.evidence_id,
            )
    guards.require_room(state, len(command.new_evidence))


def _is_final(state: DisputeState, ruling: Ruling) -> Rejected:
    return Rejected(
        Reason.RULING_FINAL,
        f"ruling {ruling.ruling_id} of dispute {state.dispute_id} is final; only an amendment "
        "takes its place (AmendRuling)",
        dispute_id=state.dispute_id,
        ruling_id=ruling.ruling_id,
    )


@decides(DecideAppeal)
def decide_appeal(command: DecideAppeal, states: States, now: datetime) -> Changes:
    """Decide the appeals; the division is final with it."""
    check_ruling(command)
    hearing = heard(command, states, now)
    state = hearing.state
    if command.ruling_id in state.rulings:
        _check_same(command, state, command.supersedes)
        return hearing.changes
    before = state.rulings.get(command.supersedes)
    if before is None:
        raise guards.unknown(state, "ruling", command.supersedes)
    if before.is_final:
        raise _is_final(state, before)
    guards.require_stage(state, r.AppealDecided, "decide an appeal")
    require_ruling(command, state, state.appeal_panel)
    _check_outcome(command, before)
    hearing.step(
        r.AppealDecided(
            at=hearing.at,
            ruling_id=command.ruling_id,
            supersedes=command.supersedes,
            outcome=command.outcome,
            allocations=command.allocations,
            remedy=command.remedy,
            reasons=command.reasons,
            rule_refs=command.rule_refs,
            evidence_relied_on=command.evidence_relied_on,
            by=command.by,
            votes=command.votes,
            ruling_hash=hash_of_ruling(content_of(command, state, command.supersedes)),
        )
    )
    return hearing.changes


def _check_outcome(command: DecideAppeal, before: Ruling) -> None:
    is_same = same_division(command.allocations, before.allocations)
    if is_same != (command.outcome is AppealOutcome.UPHELD):
        raise Rejected(
            Reason.AMOUNT_MISMATCH,
            f"the appeal in dispute {command.dispute_id} is {command.outcome}, yet its division is "
            f"{'' if is_same else 'not '}that of ruling {before.ruling_id}; give one that fits",
            dispute_id=command.dispute_id,
            ruling_id=before.ruling_id,
            outcome=command.outcome.value,
        )
