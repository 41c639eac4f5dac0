"""
A dispute while one command decides on it, and what its deadlines do when they pass.

Windows are half open: an instant that is a deadline's own is too late. Every command first performs
the deadlines that passed before it, as a prompt timer would have, so that a late timer changes no
answer and each deadline acts once.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from orderledger.ledger import dispute_events as e
from orderledger.ledger import dispute_ruling_events as r
from orderledger.ledger import streams
from orderledger.ledger.dispute_content import (
    DisputeOutcome,
    RulingContent,
    hash_of_ruling,
)
from orderledger.ledger.dispute_events import DeadlineKind, DisputeEvent
from orderledger.ledger.dispute_fold import EVOLVE
from orderledger.ledger.dispute_parties import Party, other_side, split
from orderledger.ledger.dispute_stages import Stage
from orderledger.ledger.disputes import Running, running
from orderledger.ledger.errors import NotFound
from orderledger.ledger.events import Event
from orderledger.ledger.order_chargebacks import contesting
from orderledger.ledger.order_disputes import DisputeClosed
from orderledger.ledger.rule_books import (
    EvidenceSilence,
    NegotiationSilence,
    ResponseSilence,
    later,
)

from .decision import Change, Changes, Command, States
from .dispute_commands import OfDispute
from .dispute_funds import freed_from


class Hearing:
    """
    The state of a dispute after the steps decided so far, and their changes.

    ``at`` is the instant of the steps, ``performing`` the deadline that is performed. Entries are
    effective when they are decided, never at the instant of a deadline that passed before: its
    accounting period may be closed.
    """

    def __init__(self, dispute_id: str, states: States, command: Command, now: datetime) -> None:
        said = min(command.occurred_at or now, now)
        self.stream: Final = streams.dispute(dispute_id)
        self.state = states.dispute(dispute_id)
        self.states: Final = states
        self.at = max(self.state.as_of, said)
        self.changes: Changes = ()
        self.performing = ""
        self._entries_at: Final = None if command.occurred_at is None else now

    def step(self, event: Event) -> None:
        """Append an event to the dispute's stream."""
        self.state = EVOLVE[type(event)](self.state, event)
        self.changes = (*self.changes, Change(self.stream, event, occurred_at=self.at))

    def on_order(self, *events: Event) -> None:
        """Append notices to the order's stream."""
        stream = streams.order(self.state.order_id)
        made = [Change(stream, event, occurred_at=self.at) for event in events]
        self.changes = (*self.changes, *made)

    def move(self, changes: Changes) -> None:
        """Append changes that move money."""
        dated = [
            Change(one.stream, one.event, one.entry, one.occurred_at or self._entries_at)
            for one in changes
        ]
        self.changes = (*self.changes, *dated)


def heard(command: OfDispute, states: States, now: datetime) -> Hearing:
    """
    Return the dispute of a command, the deadlines performed that passed before it.

    Raises NotFound for a dispute that was not filed.
    """
    state = states.dispute(command.dispute_id)
    if not state.exists:
        raise NotFound(f"there is no dispute {command.dispute_id}", dispute_id=command.dispute_id)
    hearing = Hearing(command.dispute_id, states, command, now)
    perform_until(hearing, hearing.at)
    return hearing


def perform_until(hearing: Hearing, until: datetime) -> None:
    """Perform every deadline that is due by an instant, each at its own, the earliest first."""
    at = hearing.at
    while not hearing.state.is_suspended:
        due = [one for one in running(hearing.state) if one.due_at <= until]
        if not due:
            break
        hearing.at = max(hearing.state.as_of, due[0].due_at)
        _perform(hearing, due[0])
    hearing.at = max(at, hearing.state.as_of)


def _perform(hearing: Hearing, one: Running) -> None:
    hearing.step(
        e.DeadlineMissed(at=hearing.at, deadline_id=one.deadline_id, kind=one.kind, party=one.party)
    )
    hearing.performing = one.deadline_id
    PASSED[one.kind](hearing, one)
    hearing.performing = ""


def suspend_while_contested(hearing: Hearing) -> None:
    """
    Stop a dispute for the chargebacks that contest a payment of its order already.

    One that is opened later stops it by itself (``chargeback_disputes``).
    """
    order = hearing.states.order(hearing.state.order_id)
    for chargeback_id in contesting(order.chargebacks):
        if chargeback_id not in hearing.state.suspended_by:
            hearing.step(e.DisputeSuspended(at=hearing.at, by=chargeback_id))


def set_deadline(
    hearing: Hearing, kind: DeadlineKind, hours: int, rule: str, party: Party | None = None
) -> None:
    """Set a deadline some hours from now, by a field of the rule book."""
    rule_ref = hearing.state.rule_book.reference(rule)
    set_deadline_at(hearing, kind, later(hearing.at, hours), rule_ref, party)


def set_deadline_at(
    hearing: Hearing, kind: DeadlineKind, due_at: datetime, rule_ref: str, party: Party | None
) -> None:
    """Set a deadline, by whatever ``rule_ref`` names."""
    hearing.step(
        e.DeadlineSet(
            at=hearing.at,
            deadline_id=_next_id(hearing, kind),
            kind=kind,
            due_at=due_at,
            rule_ref=rule_ref,
            party=party,
        )
    )


def extend(hearing: Hearing, one: Running, due_at: datetime, by: str, reason: str) -> None:
    """Give a running deadline another end, and with it another id."""
    hearing.step(
        e.DeadlineExtended(
            at=hearing.at,
            deadline_id=one.deadline_id,
            new_deadline_id=_next_id(hearing, one.kind),
            due_at=due_at,
            by=by,
            reason=reason,
        )
    )


def _next_id(hearing: Hearing, kind: DeadlineKind) -> str:
    return f"{kind}/{hearing.state.deadline_count + 1}"


def escalate(hearing: Hearing, party: Party | None, rule: str) -> None:
    """Go from the negotiation to the evidence: both sides' windows begin."""
    rules = hearing.state.rule_book
    hearing.step(e.DisputeEscalated(at=hearing.at, party=party, rule_ref=rules.reference(rule)))
    claimant, respondent = hearing.state.claimant, hearing.state.respondent
    windows = (
        (claimant, rules.claimant_evidence_hours, "claimant_evidence_hours"),
        (respondent, rules.respondent_evidence_hours, "respondent_evidence_hours"),
    )
    for side, hours, field in windows:
        set_deadline(hearing, DeadlineKind.EVIDENCE, hours, field, side)


def close_window(hearing: Hearing, party: Party, *, is_waived: bool) -> None:
    """Close one side's evidence window; once both are closed in this stage, go on."""
    brought = any(
        one.party is party and not one.is_struck for one in hearing.state.evidence.values()
    )
    hearing.step(
        e.EvidenceWindowClosed(
            at=hearing.at,
            party=party,
            is_missed=not brought and not is_waived,
            is_waived=is_waived,
        )
    )
    if hearing.state.stage is Stage.EVIDENCE and hearing.state.is_evidence_closed:
        _evidence_is_in(hearing)


def _evidence_is_in(hearing: Hearing) -> None:
    rules, closed = hearing.state.rule_book, hearing.state.evidence_closed
    silent = [side for side, is_missed in closed.items() if is_missed]
    claimant = hearing.state.claimant
    for side, rule, field in (
        (claimant, rules.claimant_evidence_silence, "claimant_evidence_silence"),
        (other_side(claimant), rules.respondent_evidence_silence, "respondent_evidence_silence"),
    ):
        if silent == [side] and rule is EvidenceSilence.AWARD_OTHER_SIDE:
            award_by_default(hearing, other_side(side), field)
            return
    if rules.mediation_hours:
        waits = any(one.kind is DeadlineKind.MEDIATOR for one in hearing.state.deadlines.values())
        if not waits:
            set_deadline(hearing, DeadlineKind.MEDIATOR, rules.mediation_hours, "mediation_hours")
        return
    open_arbitration(hearing, "evidence_closed")


def open_arbitration(hearing: Hearing, cause: str) -> None:
    """Go from the evidence to the arbitration, without a mediation."""
    hearing.step(r.ArbitrationOpened(at=hearing.at, cause=cause))
    await_ruling(hearing)


def fail_mediation(hearing: Hearing, cause: str) -> None:
    """Go from the mediation to the arbitration."""
    hearing.step(e.MediationFailed(at=hearing.at, cause=cause))
    await_ruling(hearing)


def await_ruling(hearing: Hearing) -> None:
    """Set the target for the ruling, if the rules have one."""
    hours = hearing.state.rule_book.ruling_hours
    if hours:
        set_deadline(hearing, DeadlineKind.RULING, hours, "ruling_hours")


def award_by_default(
    hearing: Hearing, side: Party, field: str, *, is_binding: bool = False
) -> None:
    """Award one side the whole amount because the rule book says so."""
    state = hearing.state
    rule_ref = state.rule_book.reference(field)
    allocations = split(side, state.claimed, state.claimed)
    content = RulingContent(
        dispute_id=state.dispute_id,
        ruling_id=f"default/{len(state.rulings) + 1}",
        allocations=allocations,
        remedy=state.remedy,
        reasons=field,
        rule_refs=(rule_ref,),
        evidence=(),
        by=r.BY_RULE,
    )
    hearing.step(
        r.DefaultRulingIssued(
            at=hearing.at,
            ruling_id=content.ruling_id,
            allocations=allocations,
            remedy=state.remedy,
            rule_ref=rule_ref,
            deadline_id=hearing.performing,
            ruling_hash=hash_of_ruling(content),
            is_binding=is_binding,
        )
    )
    await_appeal(hearing, is_binding=is_binding)


def await_appeal(hearing: Hearing, *, is_binding: bool = False) -> None:
    """Open the appeal window of the ruling that stands, or make it final where there is none."""
    rules = hearing.state.rule_book
    if rules.offers_appeal and not is_binding:
        set_deadline(hearing, DeadlineKind.APPEAL, rules.appeal_hours, "appeal_hours")
        return
    hearing.step(r.RulingBecameFinal(at=hearing.at, ruling_id=hearing.state.ruling_id))


def close(hearing: Hearing, event: DisputeEvent, outcome: DisputeOutcome, cause: str) -> None:
    """End the dispute without an execution: the freeze is lifted and the order is told."""
    hearing.step(event)
    state = hearing.state
    hearing.move(freed_from(state, hearing.states, cause))
    lets_go = outcome in (DisputeOutcome.WITHDRAWN, DisputeOutcome.LAPSED)
    may_refile = state.rule_book.may_refile if lets_go else outcome is DisputeOutcome.INADMISSIBLE
    hearing.on_order(
        DisputeClosed(dispute_id=state.dispute_id, outcome=outcome, may_refile=may_refile)
    )


def _response_passed(hearing: Hearing, _one: Running) -> None:
    silence = hearing.state.rule_book.response_silence
    if silence is ResponseSilence.ESCALATE:
        escalate(hearing, None, "response_silence")
    elif silence is ResponseSilence.AWARD_CLAIMANT:
        award_by_default(hearing, hearing.state.claimant, "response_silence")


def _negotiation_passed(hearing: Hearing, _one: Running) -> None:
    rules = hearing.state.rule_book
    if rules.negotiation_silence is NegotiationSilence.ESCALATE:
        escalate(hearing, None, "negotiation_hours")
        return
    lapsed = e.DisputeLapsed(at=hearing.at, rule_ref=rules.reference("negotiation_silence"))
    close(hearing, lapsed, DisputeOutcome.LAPSED, "dispute lapsed")


def _evidence_passed(hearing: Hearing, one: Running) -> None:
    if one.party is not None:
        close_window(hearing, one.party, is_waived=False)


def _mediator_passed(hearing: Hearing, _one: Running) -> None:
    open_arbitration(hearing, "no_mediator")


def _mediation_passed(hearing: Hearing, one: Running) -> None:
    fail_mediation(hearing, one.kind.value)


def _ruling_passed(_hearing: Hearing, _one: Running) -> None:
    """A target that was missed is on record; only the panel can rule."""


def _opt_in_passed(hearing: Hearing, _one: Running) -> None:
    rules, opted = hearing.state.rule_book.external, hearing.state.opted_in
    if opted:
        award_by_default(hearing, next(iter(opted)), "external.opt_in_hours", is_binding=True)
    elif rules is not None:
        award_by_default(hearing, rules.neither, "external.neither", is_binding=True)


def _appeal_passed(hearing: Hearing, _one: Running) -> None:
    hearing.step(r.RulingBecameFinal(at=hearing.at, ruling_id=hearing.state.ruling_id))


PASSED: Final[Mapping[DeadlineKind, Callable[[Hearing, Running], None]]] = {
    DeadlineKind.RESPONSE: _response_passed,
    DeadlineKind.NEGOTIATION: _negotiation_passed,
    DeadlineKind.EVIDENCE: _evidence_passed,
    DeadlineKind.MEDIATOR: _mediator_passed,
    DeadlineKind.MEDIATION: _mediation_passed,
    DeadlineKind.ANSWER: _mediation_passed,
    DeadlineKind.RULING: _ruling_passed,
    DeadlineKind.OPT_IN: _opt_in_passed,
    DeadlineKind.APPEAL: _appeal_passed,
}
"""What happens when a deadline passes."""
