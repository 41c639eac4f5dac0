"""
One chargeback as folded from the events of its payment: its stage, its status and its amounts.

Where it stands and what it moved follow from the set of everything reported of it, so no order of
the reports gives other amounts.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from . import chargeback_events as e
from .chargeback_stages import (
    CONTESTED,
    LOST,
    START,
    ChargebackFact,
    ChargebackStage,
    ChargebackStatus,
    Liability,
    Node,
    ReportedFact,
    standing,
)
from .events import Event
from .payment_operations import FundingPart


class Flow(msgspec.Struct, frozen=True, gc=False):
    """
    What moved between the provider and us for one chargeback, in minor units.

    ``amount`` is what is or was contested at the last stage; ``contested`` may come back, ``lost``
    does not: all of a loss, or the rest where less came back than was taken. ``reversed`` came
    back, over all stages, and ``gained`` beyond what was taken. ``at_stake`` is what a
    later stage is about that states no amount, and ``appealable`` what of the loss it contests.
    """

    amount: int = 0
    contested: int = 0
    lost: int = 0
    reversed: int = 0
    gained: int = 0
    at_stake: int = 0
    appealable: int = 0

    @property
    def out(self) -> int:
        """What the provider has taken and not given back."""
        return self.contested + self.lost


NO_FLOW: Final = Flow()


def flow_of(reports: Sequence[ReportedFact]) -> Flow:
    """
    Return what a set of reports moved: the same for every order of them.

    A stage takes its amount once. A stage that follows one whose money came back takes again; one
    that follows a loss, or an open stage, contests what is taken already.
    """
    flow = NO_FLOW
    for stage in ChargebackStage:
        here = [one for one in reports if one.stage is stage]
        found = standing(here)
        if found is not None:
            flow = _after_stage(flow, found, _stated(here))
    return flow


def _stated(here: Sequence[ReportedFact]) -> int:
    """
    Return what a stage contests as far as its reports say, 0 if they do not.

    Of several statements that with the highest sequence counts, or the largest.
    """
    stated = [one for one in here if one.amount]
    opened = [one for one in stated if one.fact is ChargebackFact.OPENED]
    ranked = [(one.sequence, one.amount) for one in opened or stated]
    return max(ranked)[1] if ranked else 0


def _after_stage(before: Flow, found: ReportedFact, stated: int) -> Flow:
    if found.stage is ChargebackStage.INQUIRY:
        return Flow(stated, at_stake=stated)
    # Without an amount of its own a stage is about the same as the one before.
    taken = amount = stated or before.at_stake
    settled = before.lost
    if before.appealable:
        # What was lost is contested once more; a smaller amount leaves the rest lost.
        settled -= min(before.appealable, amount)
    status = found.status
    if status in CONTESTED:
        return Flow(amount, taken, settled, before.reversed, before.gained, taken)
    if status in LOST:
        return Flow(amount, 0, settled + taken, before.reversed, before.gained, taken, taken)
    is_stated = found.fact in (ChargebackFact.WON, ChargebackFact.CANCELLED)
    back = found.amount if is_stated and found.amount else taken
    return Flow(
        amount,
        0,
        settled + max(0, taken - back),
        before.reversed + min(back, taken),
        before.gained + max(0, back - taken),
        back,
    )


class Chargeback(msgspec.Struct, frozen=True, kw_only=True):
    """
    A chargeback; amounts in minor units of its payment's currency.

    ``reports`` is all that was said of it, ``seen`` the keys of that. ``due`` maps stages to the
    end of their defence, ``documents`` to what was handed in, ``credits`` operations to refunds of
    the same payment. Fees map ids to currency and amount. ``parts`` is who bears the loss by the
    liability ``assigned_to``, and ``owed`` what of it paid refunds that were owed again.
    ``is_from_file``: lines of settlements have shown it, and no report has named it yet;
    ``aliases`` are what reports call it then.
    """

    chargeback_id: str = ""
    reports: tuple[ReportedFact, ...] = ()
    seen: tuple[str, ...] = ()
    provider_ref: str = ""
    reason_code: str = ""
    due: Mapping[ChargebackStage, datetime] = {}
    documents: Mapping[ChargebackStage, tuple[e.EvidenceDocument, ...]] = {}
    credits: Mapping[str, e.CreditIssued] = {}
    fees_charged: Mapping[str, tuple[str, int]] = {}
    fees_returned: Mapping[str, tuple[str, int]] = {}
    liability: Liability = Liability.SELLER
    assigned_to: Liability | None = None
    parts: tuple[FundingPart, ...] = ()
    owed: Mapping[str, int] = {}
    is_from_file: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        """Something was reported of it that counts."""
        return bool(self.reports)

    @property
    def node(self) -> Node:
        """Its stage and its status there."""
        found = standing(self.reports)
        return START if found is None else (found.stage, found.status)

    @property
    def stage(self) -> ChargebackStage:
        return self.node[0]

    @property
    def status(self) -> ChargebackStatus:
        return self.node[1]

    @property
    def flow(self) -> Flow:
        """What moved, as a function of everything reported."""
        return flow_of(self.reports)

    @property
    def amount(self) -> int:
        """What is or was contested at the stage where it stands."""
        return self.flow.amount

    @property
    def contested(self) -> int:
        """What is taken and may come back."""
        return self.flow.contested

    @property
    def lost(self) -> int:
        """What is taken and does not come back."""
        return self.flow.lost

    @property
    def reversed(self) -> int:
        """What was taken and came back, over all stages."""
        return self.flow.reversed

    @property
    def evidence_due_by(self) -> datetime | None:
        """Until when the stage where it stands can be defended; None: no end is known."""
        return self.due.get(self.stage)

    @property
    def fees(self) -> Mapping[str, int]:
        """Fees charged less returned, by currency."""
        sums: dict[str, int] = {}
        for sign, moved in ((1, self.fees_charged), (-1, self.fees_returned)):
            for currency, amount in moved.values():
                sums[currency] = sums.get(currency, 0) + sign * amount
        return {currency: minor for currency, minor in sums.items() if minor}

    def borne_by(self, account: str) -> int:
        """Return what an account bears of the loss."""
        return sum([part.amount for part in self.parts if part.account == account])


INITIAL: Final = Chargeback()


def named_in(chargebacks: Mapping[str, Chargeback], name: str) -> str | None:
    """Return the id of the chargeback that has a name, its id or an alias; None: nobody has."""
    if name in chargebacks:
        return name
    for chargeback_id, one in chargebacks.items():
        if name in one.aliases:
            return chargeback_id
    return None


_FACTS: Final[Mapping[type[Event], ChargebackFact]] = {
    e.ChargebackInquiryOpened: ChargebackFact.OPENED,
    e.ChargebackOpened: ChargebackFact.OPENED,
    e.SecondChargebackOpened: ChargebackFact.OPENED,
    e.PreArbitrationOpened: ChargebackFact.OPENED,
    e.ChargebackStageChanged: ChargebackFact.OPENED,
    e.ChargebackEvidenceSubmitted: ChargebackFact.EVIDENCE_SUBMITTED,
    e.ChargebackWon: ChargebackFact.WON,
    e.ChargebackLost: ChargebackFact.LOST,
    e.ChargebackAccepted: ChargebackFact.ACCEPTED,
    e.ChargebackCancelled: ChargebackFact.CANCELLED,
    e.ChargebackDefencePeriodEnded: ChargebackFact.DEFENCE_ENDED,
}


def fact_of(event: e.ChargebackReported) -> ChargebackFact:
    """Return what an event reports."""
    if isinstance(event, e.ArbitrationDecided):
        return ChargebackFact.WON if event.is_won else ChargebackFact.LOST
    return _FACTS[type(event)]


def _reported(before: Chargeback, event: e.ChargebackReported) -> Chargeback:
    is_concluded = isinstance(event, e.ChargebackDefencePeriodEnded) and event.due_at is not None
    said = ReportedFact(event.stage, fact_of(event), event.amount, event.sequence, is_concluded)
    return replace(
        before,
        chargeback_id=event.chargeback_id,
        reports=(*before.reports, said),
        seen=(*before.seen, event.key),
        provider_ref=before.provider_ref or event.provider_ref,
        liability=before.liability if event.liability is None else event.liability,
        is_from_file=False,
    )


def _begun(before: Chargeback, event: e.ChargebackBegun) -> Chargeback:
    after = _reported(before, event)
    if event.settlement:
        after = replace(after, is_from_file=before.is_from_file or not before.exists)
    due = dict(before.due)
    if event.evidence_due_by is not None:
        known = due.get(event.stage)
        # A provider extends the time; whichever report comes first, the later end holds.
        due[event.stage] = (
            event.evidence_due_by if known is None else max(known, event.evidence_due_by)
        )
    return replace(after, due=due, reason_code=event.reason_code or before.reason_code)


def _submitted(before: Chargeback, event: e.ChargebackEvidenceSubmitted) -> Chargeback:
    handed = (*before.documents.get(event.stage, ()), *event.documents)
    return replace(_reported(before, event), documents={**before.documents, event.stage: handed})


def _assigned(before: Chargeback, event: e.ChargebackLossAssigned) -> Chargeback:
    owed = {one.refund_id: one.amount for one in event.owed}
    return replace(before, assigned_to=event.liability, parts=event.parts, owed=owed)


def _liable(before: Chargeback, event: e.ChargebackLiabilityChanged) -> Chargeback:
    return replace(before, liability=event.liability)


def _named(before: Chargeback, event: e.ChargebackNamed) -> Chargeback:
    return replace(before, is_from_file=False, aliases=(*before.aliases, event.alias))


def _credited(before: Chargeback, event: e.ChargebackCreditEvidenceAttached) -> Chargeback:
    known = {one.op_id: one for one in event.credits}
    return replace(before, credits={**before.credits, **known})


def _fee_charged(before: Chargeback, event: e.ChargebackFeeCharged) -> Chargeback:
    return replace(
        before,
        chargeback_id=event.chargeback_id,
        fees_charged=_with_fee(before.fees_charged, event),
    )


def _with_fee(
    before: Mapping[str, tuple[str, int]], event: e.ChargebackFee
) -> Mapping[str, tuple[str, int]]:
    """Of contradicting reports of one fee the larger counts, whichever came first."""
    said = (event.currency, event.amount)
    return {**before, event.fee_id: max(said, before.get(event.fee_id, said))}


def _fee_returned(before: Chargeback, event: e.ChargebackFeeReturned) -> Chargeback:
    return replace(
        before,
        chargeback_id=event.chargeback_id,
        fees_returned=_with_fee(before.fees_returned, event),
    )


def _kept(before: Chargeback, event: e.ChargebackReportKept) -> Chargeback:
    return replace(before, chargeback_id=event.chargeback_id, seen=(*before.seen, event.key))


EVOLVE: Final[Mapping[type[Event], Callable[[Chargeback, Any], Chargeback]]] = {
    e.ChargebackInquiryOpened: _begun,
    e.ChargebackOpened: _begun,
    e.SecondChargebackOpened: _begun,
    e.PreArbitrationOpened: _begun,
    e.ChargebackStageChanged: _begun,
    e.ChargebackEvidenceSubmitted: _submitted,
    e.ChargebackWon: _reported,
    e.ChargebackLost: _reported,
    e.ChargebackAccepted: _reported,
    e.ChargebackCancelled: _reported,
    e.ChargebackDefencePeriodEnded: _reported,
    e.ArbitrationDecided: _reported,
    e.ChargebackLossAssigned: _assigned,
    e.ChargebackLiabilityChanged: _liable,
    e.ChargebackNamed: _named,
    e.ChargebackCreditEvidenceAttached: _credited,
    e.ChargebackFeeCharged: _fee_charged,
    e.ChargebackFeeReturned: _fee_returned,
    e.ChargebackReportKept: _kept,
}
"""One function per event of a chargeback: ``EVOLVE[type(event)](chargeback, event)``."""
