"""
The stages and statuses of a chargeback, and which report leads from where to where: data.

Money moves from stage ``chargeback`` on; at an inquiry it does not. Source of the vocabulary: the
stages and statuses of Hyperswitch (PreDispute, Dispute, PreArbitration × Opened, Expired, Accepted,
Cancelled, Challenged, Won, Lost), Adyen's dispute flow ("the stage is not final").
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec


class ChargebackStage(StrEnum):
    """How far the buyer's bank has taken it, the earliest first."""

    INQUIRY = "inquiry"
    CHARGEBACK = "chargeback"
    SECOND_CHARGEBACK = "second_chargeback"
    PRE_ARBITRATION = "pre_arbitration"
    ARBITRATION = "arbitration"


class ChargebackFact(StrEnum):
    """
    What is said of a chargeback at a stage; the two about fees move no stage.

    CANCELLED is also "prevented", DEFENCE_ENDED also "expired".
    """

    OPENED = "opened"
    EVIDENCE_SUBMITTED = "evidence_submitted"
    WON = "won"
    LOST = "lost"
    ACCEPTED = "accepted"
    CANCELLED = "cancelled"
    DEFENCE_ENDED = "defence_ended"
    FEE_CHARGED = "fee_charged"
    FEE_RETURNED = "fee_returned"


class ChargebackStatus(StrEnum):
    """Where a chargeback stands. Only an arbitration is final."""

    NONE = "none"
    INQUIRY = "inquiry"
    OPEN = "open"
    UNDER_REVIEW = "under_review"
    WON_PROVISIONAL = "won_provisional"
    LOST = "lost"
    CLOSED = "closed"
    WON_FINAL = "won_final"
    LOST_FINAL = "lost_final"


class Liability(StrEnum):
    """Who bears what is lost: the sellers whose goods the payment paid for, or the platform."""

    SELLER = "seller"
    PLATFORM = "platform"


CONTESTED: Final = frozenset({ChargebackStatus.OPEN, ChargebackStatus.UNDER_REVIEW})
"""The provider has taken the money, and it may come back."""
UNDECIDED: Final = CONTESTED | {ChargebackStatus.INQUIRY}
"""The buyer's bank asks or contests, and nothing is decided."""
RETURNED: Final = frozenset(
    {ChargebackStatus.WON_PROVISIONAL, ChargebackStatus.WON_FINAL, ChargebackStatus.CLOSED}
)
"""The provider has given the money back."""
LOST: Final = frozenset({ChargebackStatus.LOST, ChargebackStatus.LOST_FINAL})

_STAGES: Final = tuple(ChargebackStage)
_FACT = ChargebackFact
_STATUS = ChargebackStatus

_OF_MONEY: Final = {
    _FACT.OPENED: _STATUS.OPEN,
    _FACT.EVIDENCE_SUBMITTED: _STATUS.UNDER_REVIEW,
    _FACT.WON: _STATUS.WON_PROVISIONAL,
    _FACT.LOST: _STATUS.LOST,
    _FACT.ACCEPTED: _STATUS.LOST,
    _FACT.DEFENCE_ENDED: _STATUS.LOST,
    _FACT.CANCELLED: _STATUS.CLOSED,
}

STATUS_OF: Final[Mapping[ChargebackStage, Mapping[ChargebackFact, ChargebackStatus]]] = (
    MappingProxyType(
        {
            ChargebackStage.INQUIRY: MappingProxyType(
                {
                    _FACT.OPENED: _STATUS.INQUIRY,
                    _FACT.EVIDENCE_SUBMITTED: _STATUS.UNDER_REVIEW,
                    _FACT.WON: _STATUS.CLOSED,
                    _FACT.ACCEPTED: _STATUS.CLOSED,
                    _FACT.DEFENCE_ENDED: _STATUS.CLOSED,
                    _FACT.CANCELLED: _STATUS.CLOSED,
                }
            ),
            ChargebackStage.CHARGEBACK: MappingProxyType(_OF_MONEY),
            ChargebackStage.SECOND_CHARGEBACK: MappingProxyType(_OF_MONEY),
            ChargebackStage.PRE_ARBITRATION: MappingProxyType(_OF_MONEY),
            ChargebackStage.ARBITRATION: MappingProxyType(
                {
                    **_OF_MONEY,
                    _FACT.WON: _STATUS.WON_FINAL,
                    _FACT.LOST: _STATUS.LOST_FINAL,
                    _FACT.ACCEPTED: _STATUS.LOST_FINAL,
                    _FACT.DEFENCE_ENDED: _STATUS.LOST_FINAL,
                }
            ),
        }
    )
)
"""Stages × facts → the status that a fact means at a stage; what is missing cannot be."""

Node = tuple[ChargebackStage, ChargebackStatus]
"""Where a chargeback stands: its stage and its status there."""
Move = tuple[ChargebackStage, ChargebackFact]
"""What is reported, of which stage."""

START: Final[Node] = (ChargebackStage.INQUIRY, ChargebackStatus.NONE)

_OUTCOMES: Final = (
    _FACT.WON,
    _FACT.LOST,
    _FACT.ACCEPTED,
    _FACT.CANCELLED,
    _FACT.DEFENCE_ENDED,
)
_REVIEWED: Final = (_FACT.WON, _FACT.LOST, _FACT.ACCEPTED, _FACT.CANCELLED)


def _moves(*moves: Move) -> Mapping[Move, Node]:
    return MappingProxyType(
        {(stage, fact): (stage, STATUS_OF[stage][fact]) for stage, fact in moves}
    )


def _here(stage: ChargebackStage, facts: Sequence[ChargebackFact]) -> list[Move]:
    return [(stage, fact) for fact in facts if fact in STATUS_OF[stage]]


def _opened(*stages: ChargebackStage) -> list[Move]:
    return [(stage, _FACT.OPENED) for stage in stages]


def _decided(stage: ChargebackStage) -> list[Move]:
    """An arbitration may be reported by its decision alone."""
    arbitration = ChargebackStage.ARBITRATION
    return [] if stage is arbitration else [(arbitration, _FACT.WON), (arbitration, _FACT.LOST)]


def _table() -> Mapping[Node, Mapping[Move, Node]]:
    rows: dict[Node, Mapping[Move, Node]] = {
        START: _moves(
            *_opened(ChargebackStage.INQUIRY, ChargebackStage.CHARGEBACK),
            (ChargebackStage.CHARGEBACK, _FACT.CANCELLED),
        )
    }
    for index, stage in enumerate(_STAGES):
        is_inquiry = stage is ChargebackStage.INQUIRY
        later = _STAGES[1:2] if is_inquiry else _STAGES[index + 1 :]
        beyond_second = [one for one in later if one is not ChargebackStage.SECOND_CHARGEBACK]
        begun = STATUS_OF[stage][_FACT.OPENED]
        rows[stage, begun] = _moves(
            *_here(stage, (_FACT.EVIDENCE_SUBMITTED, *_OUTCOMES)), *_opened(*later)
        )
        rows[stage, _STATUS.UNDER_REVIEW] = _moves(*_here(stage, _REVIEWED), *_opened(*later))
        rows[stage, _STATUS.CLOSED] = _moves(*(_opened(*later) if is_inquiry else []))
        if is_inquiry:
            continue
        won, lost = STATUS_OF[stage][_FACT.WON], STATUS_OF[stage][_FACT.LOST]
        rows[stage, won] = _moves(*_opened(*later), *_decided(stage))
        rows[stage, lost] = _moves(*_opened(*beyond_second), *_decided(stage))
    return MappingProxyType(rows)


TRANSITIONS: Final[Mapping[Node, Mapping[Move, Node]]] = _table()
"""
Stages × statuses → the reports that are regular there, and where each leads.

Any other report is recorded too, with an anomaly: where the chargeback stands then follows from
all reports together, see ``standing``.
"""


class ReportedFact(msgspec.Struct, frozen=True, gc=False):
    """
    One report of a chargeback. ``amount`` 0: it states none; ``sequence`` -1: it has none.

    ``is_concluded``: the engine's own conclusion when the time was over, not anybody's word.
    """

    stage: ChargebackStage
    fact: ChargebackFact
    amount: int = 0
    sequence: int = -1
    is_concluded: bool = False

    @property
    def status(self) -> ChargebackStatus:
        return STATUS_OF[self.stage].get(self.fact, ChargebackStatus.NONE)


_WEIGHT: Final[Mapping[ChargebackFact, int]] = MappingProxyType(
    {
        _FACT.OPENED: 0,
        _FACT.EVIDENCE_SUBMITTED: 1,
        _FACT.CANCELLED: 3,
        _FACT.WON: 4,
        _FACT.DEFENCE_ENDED: 5,
        _FACT.ACCEPTED: 6,
        _FACT.LOST: 7,
    }
)
"""Without a provider's sequence a loss counts: money that may not be there would be paid out."""
_CONCLUDED_WEIGHT: Final = 2
_FIRST_OUTCOME: Final = _CONCLUDED_WEIGHT


def stage_rank(stage: ChargebackStage) -> int:
    """Return the place of a stage, the inquiry's is 0."""
    return _STAGES.index(stage)


def standing(reports: Sequence[ReportedFact]) -> ReportedFact | None:
    """
    Return the report that says where a chargeback stands: a function of the set of all reports.

    The latest stage counts, and there an outcome before evidence and that before the opening. Of
    several outcomes the last one by the provider's sequence, if all have one; else a loss.
    """
    if not reports:
        return None
    last = max([stage_rank(one.stage) for one in reports])
    here = [one for one in reports if stage_rank(one.stage) == last]
    outcomes = [one for one in here if _weight(one) >= _FIRST_OUTCOME]
    found = outcomes or here
    if outcomes and all(one.sequence >= 0 for one in outcomes):
        return max(found, key=lambda one: (one.sequence, _weight(one), one.amount))
    return max(found, key=lambda one: (_weight(one), one.sequence, one.amount))


def _weight(one: ReportedFact) -> int:
    return _CONCLUDED_WEIGHT if one.is_concluded else _WEIGHT[one.fact]
