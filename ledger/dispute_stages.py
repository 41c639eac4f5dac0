"""
The stages of a dispute, and the one table that says which event leads from where to where.

The diagram in docs/disputes.md is made from it, and every guard reads it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from . import dispute_events as e
from . import dispute_ruling_events as r
from .dispute_events import DeadlineKind
from .events import Event


class Stage(StrEnum):
    """Where a dispute is. NONE: nothing was filed."""

    NONE = "none"
    FILED = "filed"
    NEGOTIATING = "negotiating"
    EVIDENCE = "evidence"
    MEDIATION = "mediation"
    ARBITRATION = "arbitration"
    EXTERNAL = "external"
    RULED = "ruled"
    APPEAL = "appeal"
    FINAL = "final"
    AGREED = "agreed"
    EXECUTING = "executing"
    EXECUTED = "executed"
    CLOSED = "closed"


class Transition(msgspec.Struct, frozen=True):
    """From which stages an event is in order; ``target`` None: it leaves the stage as it is."""

    sources: frozenset[Stage]
    target: Stage | None = None


def _from(*sources: Stage, to: Stage | None = None) -> Transition:
    return Transition(frozenset(sources), to)


_S: Final = Stage
HEARD: Final = (_S.EVIDENCE, _S.MEDIATION, _S.ARBITRATION)
"""Stages in which the evidence windows run."""
BEFORE_RULING: Final = (_S.FILED, _S.NEGOTIATING, *HEARD, _S.EXTERNAL)
UNDECIDED: Final = (*BEFORE_RULING, _S.RULED, _S.APPEAL)
ENDED: Final = frozenset({_S.EXECUTED, _S.CLOSED})
"""Stages in which a dispute is over and its order no longer contested."""
DECIDED: Final = frozenset({_S.FINAL, _S.AGREED, _S.EXECUTING, _S.EXECUTED})
"""Stages in which the division of the amount is fixed."""
_ANY: Final = tuple(stage for stage in Stage if stage is not _S.NONE)
_OPEN: Final = tuple(stage for stage in _ANY if stage not in ENDED)

TRANSITIONS: Final[Mapping[type[Event], Transition]] = {
    e.DisputeFiled: _from(_S.NONE, to=_S.FILED),
    e.DisputeAccepted: _from(_S.FILED, to=_S.NEGOTIATING),
    e.DisputeDeclinedInadmissible: _from(_S.FILED, to=_S.CLOSED),
    e.DisputeMerged: _from(_S.FILED, to=_S.CLOSED),
    e.DisputeJoined: _from(_S.FILED),
    e.RespondentAnswered: _from(_S.NEGOTIATING),
    e.SettlementOffered: _from(_S.NEGOTIATING),
    e.SettlementAgreed: _from(_S.NEGOTIATING, _S.MEDIATION, to=_S.AGREED),
    e.DisputeEscalated: _from(_S.NEGOTIATING, to=_S.EVIDENCE),
    e.DisputeLapsed: _from(_S.NEGOTIATING, to=_S.CLOSED),
    e.EvidenceRequested: _from(*HEARD),
    e.EvidenceSubmitted: _from(*_ANY),
    e.EvidenceStruck: _from(_S.FILED, _S.NEGOTIATING, *HEARD, _S.APPEAL),
    e.EvidenceWindowClosed: _from(*HEARD),
    e.MediationStarted: _from(_S.EVIDENCE, to=_S.MEDIATION),
    e.MediationProposalMade: _from(_S.MEDIATION),
    e.ProposalAnswered: _from(_S.MEDIATION),
    e.MediationFailed: _from(_S.MEDIATION, to=_S.ARBITRATION),
    r.ArbitrationOpened: _from(_S.EVIDENCE, to=_S.ARBITRATION),
    r.ArbitratorsAssigned: _from(_S.ARBITRATION, _S.APPEAL),
    r.ArbitratorRecused: _from(_S.ARBITRATION, _S.APPEAL),
    r.VoteCast: _from(_S.ARBITRATION, _S.APPEAL),
    r.RulingIssued: _from(_S.ARBITRATION, to=_S.RULED),
    r.DefaultRulingIssued: _from(_S.NEGOTIATING, _S.EVIDENCE, _S.EXTERNAL, to=_S.RULED),
    r.DisputeReferredToExternalBody: _from(_S.ARBITRATION, to=_S.EXTERNAL),
    r.ExternalOptedIn: _from(_S.EXTERNAL),
    r.ExternalAwardReceived: _from(_S.EXTERNAL, to=_S.RULED),
    r.AppealFiled: _from(_S.RULED, _S.APPEAL, to=_S.APPEAL),
    r.AppealDecided: _from(_S.APPEAL, to=_S.FINAL),
    r.RulingBecameFinal: _from(_S.RULED, to=_S.FINAL),
    r.RulingAmended: _from(_S.FINAL, _S.EXECUTING, _S.EXECUTED, to=_S.FINAL),
    r.RulingExecutionStarted: _from(_S.FINAL, _S.AGREED, to=_S.EXECUTING),
    r.RulingExecutionLegDone: _from(_S.EXECUTING),
    r.RulingExecutionLegFailed: _from(_S.EXECUTING),
    r.RulingExecuted: _from(_S.EXECUTING, to=_S.EXECUTED),
    e.DisputeWithdrawn: _from(*BEFORE_RULING, to=_S.CLOSED),
    e.DisputeSuperseded: _from(*UNDECIDED, _S.FINAL, _S.AGREED, to=_S.CLOSED),
    e.DisputeSuspended: _from(*_OPEN),
    e.DisputeResumed: _from(*_ANY),
    e.DeadlineSet: _from(_S.NEGOTIATING, *HEARD, _S.EXTERNAL, _S.RULED),
    e.DeadlineExtended: _from(_S.NEGOTIATING, *HEARD, _S.EXTERNAL, _S.RULED),
    e.DeadlineMissed: _from(_S.NEGOTIATING, *HEARD, _S.EXTERNAL, _S.RULED),
}
"""Event → where it is in order, and where it leads. A report elsewhere is recorded and leads
nowhere."""

ALIVE_IN: Final[Mapping[DeadlineKind, frozenset[Stage]]] = {
    DeadlineKind.RESPONSE: frozenset({_S.NEGOTIATING}),
    DeadlineKind.NEGOTIATION: frozenset({_S.NEGOTIATING}),
    DeadlineKind.EVIDENCE: frozenset(HEARD),
    DeadlineKind.MEDIATOR: frozenset({_S.EVIDENCE}),
    DeadlineKind.MEDIATION: frozenset({_S.MEDIATION}),
    DeadlineKind.ANSWER: frozenset({_S.MEDIATION}),
    DeadlineKind.RULING: frozenset({_S.ARBITRATION}),
    DeadlineKind.OPT_IN: frozenset({_S.EXTERNAL}),
    DeadlineKind.APPEAL: frozenset({_S.RULED}),
}
"""In which stages a deadline runs: a step into any other stage ends it."""
