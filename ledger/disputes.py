"""
The state of one dispute, and its open deadlines.

Its fold is in ``dispute_fold``, its stages in ``dispute_stages``. Amounts are in minor units of the
order's currency.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from . import dispute_events as e
from . import dispute_ruling_events as r
from .deadlines import Deadline
from .dispute_content import AppealOutcome, DisputeOutcome, EvidenceItem, Remedy
from .dispute_events import DeadlineKind
from .dispute_parties import Allocation, Party, by_party, other_side
from .dispute_stages import DECIDED, ENDED, Stage
from .instants import EARLIEST
from .rule_books import EvidenceSilence, NegotiationSilence, ResponseSilence, RuleBook

NO_RULES: Final = RuleBook(
    rule_book_id="",
    version=0,
    filing_hours=0,
    response_hours=0,
    response_silence=ResponseSilence.WAIT,
    escalation_from_hours=0,
    negotiation_hours=0,
    negotiation_silence=NegotiationSilence.CLOSE,
    claimant_evidence_hours=0,
    respondent_evidence_hours=0,
    claimant_evidence_silence=EvidenceSilence.CONTINUE,
)
"""The rules of a dispute that was not filed."""


class Running(msgspec.Struct, frozen=True):
    """An open deadline; ``set_at`` is since when it runs to this end."""

    deadline_id: str
    kind: DeadlineKind
    party: Party | None
    set_at: datetime
    due_at: datetime
    rule_ref: str


class Evidence(msgspec.Struct, frozen=True):
    """A piece of evidence on the list, which only grows; ``struck`` says why it does not count."""

    item: EvidenceItem
    party: Party
    submitted_at: datetime
    is_late: bool = False
    struck: str = ""
    is_struck: bool = False


class Proposal(msgspec.Struct, frozen=True):
    """A mediator's proposal and how the sides answered it."""

    made: e.MediationProposalMade
    answers: Mapping[Party, bool] = {}


class Panel(msgspec.Struct, frozen=True):
    """
    Arbitrators of one round: ``members`` sit, ``recused`` left.

    ``votes`` are commitments by member, ``cast`` all votes ever cast, by id.
    """

    members: tuple[str, ...] = ()
    recused: tuple[str, ...] = ()
    votes: Mapping[str, str] = {}
    cast: Mapping[str, tuple[str, str]] = {}
    quorum: int = 0

    @property
    def ever(self) -> frozenset[str]:
        """Everybody who sat on it."""
        return frozenset((*self.members, *self.recused))


class Ruling(msgspec.Struct, frozen=True):
    """A ruling, whoever made it; ``supersedes`` is the ruling whose place it takes."""

    ruling_id: str
    at: datetime
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    ruling_hash: str
    supersedes: str = ""
    outcome: AppealOutcome | None = None
    is_final: bool = False


class Leg(msgspec.Struct, frozen=True):
    """A step of the execution; ``failures`` counts attempts that did not succeed."""

    leg_id: str
    party: Party
    amount: int
    is_done: bool = False
    operation_ref: str = ""
    failures: int = 0


class DisputeState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    What is known of a dispute.

    ``claimed`` is the amount in dispute, Σ ``claims``. ``as_of`` is when the last step took effect:
    none takes effect before it. ``frozen`` is what was frozen when the dispute was accepted.
    ``evidence_closed`` names the sides whose window is closed, and whether they missed it.
    ``appeal_until`` is the end of the appeal window of the ruling that stands. ``legs`` are those
    of the last execution; ``executions`` are all that began, by the award's id on the order.
    """

    stage: Stage = Stage.NONE
    dispute_id: str = ""
    order_id: str = ""
    currency: str = ""
    buyer_ref: str = ""
    seller: str = ""
    claimant: Party = Party.BUYER
    claims: Mapping[str, int] = {}
    claimed: int = 0
    remedy: Remedy = Remedy.NONE
    reason: str = ""
    filed: e.DisputeFiled | None = None
    rule_book: RuleBook = NO_RULES
    rule_book_hash: str = ""
    as_of: datetime = EARLIEST
    stage_since: datetime = EARLIEST
    accepted_at: datetime | None = None
    frozen: int = 0
    answer: e.RespondentAnswered | None = None
    offers: Mapping[str, e.SettlementOffered] = {}
    settlement: e.SettlementAgreed | None = None
    evidence: Mapping[str, Evidence] = {}
    requests: Mapping[str, e.EvidenceRequested] = {}
    evidence_closed: Mapping[Party, bool] = {}
    mediator: str = ""
    proposals: Mapping[str, Proposal] = {}
    panel: Panel = Panel()
    appeal_panel: Panel = Panel()
    rulings: Mapping[str, Ruling] = {}
    ruling_id: str = ""
    appeals: Mapping[str, r.AppealFiled] = {}
    appeal_until: datetime | None = None
    referral: r.DisputeReferredToExternalBody | None = None
    opted_in: Mapping[Party, str] = {}
    external_awards: Mapping[str, r.ExternalAwardReceived] = {}
    legs: Mapping[str, Leg] = {}
    executions: tuple[str, ...] = ()
    deadlines: Mapping[str, Running] = {}
    deadline_count: int = 0
    suspended_by: tuple[str, ...] = ()
    suspended_at: datetime | None = None
    joined: tuple[str, ...] = ()
    outcome: DisputeOutcome | None = None
    anomalies: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """It was filed; an award may be reported of one that was not."""
        return self.stage is not Stage.NONE

    @property
    def is_open(self) -> bool:
        """Filed, and neither closed nor executed."""
        return self.exists and self.stage not in ENDED

    @property
    def is_suspended(self) -> bool:
        """Something outside, as a rule a chargeback, stops it: its deadlines, and any ruling or
        execution in the buyer's favour."""
        return self.suspended_by != ()

    @property
    def respondent(self) -> Party:
        """The side that is claimed from."""
        return other_side(self.claimant)

    @property
    def parties(self) -> frozenset[str]:
        """The ids of the two sides: nobody of them mediates or rules."""
        return frozenset((self.buyer_ref, self.seller))

    @property
    def ruling(self) -> Ruling | None:
        """The ruling that stands, final or not."""
        return self.rulings.get(self.ruling_id)

    @property
    def award(self) -> Mapping[Party, int]:
        """The division to be executed, of the final ruling or the settlement; else empty."""
        if self.stage not in DECIDED:
            return {}
        if self.settlement is not None and not self.rulings:
            return by_party(self.settlement.allocations)
        return by_party(self.ruling.allocations) if self.ruling is not None else {}

    @property
    def executed(self) -> Mapping[Party, int]:
        """What the legs of the last execution that are done gave to each party."""
        sums: dict[Party, int] = {}
        for leg in self.legs.values():
            if leg.is_done:
                sums[leg.party] = sums.get(leg.party, 0) + leg.amount
        return sums

    @property
    def is_evidence_closed(self) -> bool:
        """Both sides' windows are closed."""
        return len(self.evidence_closed) == 2


INITIAL: Final = DisputeState()


def deadlines_of(state: DisputeState) -> tuple[Deadline, ...]:
    """Return the open deadlines, the earliest first; none while the dispute is suspended."""
    if state.is_suspended:
        return ()
    return tuple([Deadline(one.deadline_id, one.kind.value, one.due_at) for one in running(state)])


def running(state: DisputeState) -> tuple[Running, ...]:
    """Return the open deadlines in the order in which they are performed, suspended or not."""
    order = list(DeadlineKind)
    return tuple(
        sorted(
            state.deadlines.values(),
            key=lambda one: (one.due_at, order.index(one.kind), one.deadline_id),
        )
    )
