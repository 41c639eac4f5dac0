"""
Disputes, their open deadlines and their evidence. SQL views: ``disputes``, ``dispute_deadlines``,
``dispute_evidence``.
"""

from datetime import datetime
from typing import Final, cast

from orderledger.ledger import dispute_events as e
from orderledger.ledger import streams
from orderledger.ledger.dispute_parties import Party, by_party
from orderledger.ledger.dispute_stages import TRANSITIONS
from orderledger.ledger.disputes import DisputeState, deadlines_of
from orderledger.ledger.events import topic_of
from orderledger.ledger.model_ports import Key, Row, Table

from .models import ReadModel, Recorded, Rows
from .tables import Amount, TableRow, table


@table(
    "disputes",
    indexes=(("stage", "stage_since"), ("order_id",), ("seller",), ("next_due_at",)),
)
class DisputeRow(TableRow, frozen=True):
    """
    One row per dispute, amounts in minor units of ``currency``.

    ``claimed`` is the amount in dispute, ``frozen`` what of it there was to freeze. ``to_buyer``,
    ``to_seller`` and ``to_platform`` divide it by the ruling or settlement that stands, final or
    not; empty before. ``outcome`` is empty while the dispute is open, ``next_due_at`` where no
    deadline runs. ``rule_book`` is ``id/version``.
    """

    dispute_id: str
    order_id: str
    buyer_ref: str
    seller: str
    claimant: str
    currency: str
    stage: str
    outcome: str
    is_suspended: bool
    claimed: Amount
    frozen: Amount
    to_buyer: Amount | None
    to_seller: Amount | None
    to_platform: Amount | None
    reason: str
    remedy: str
    rule_book: str
    evidence_count: int
    filed_at: datetime
    stage_since: datetime
    next_due_at: datetime | None


DISPUTES: Final = DisputeRow.table


@table("dispute_deadlines", key_count=2, indexes=(("due_at",),))
class DisputeDeadlineRow(TableRow, frozen=True):
    """
    One row per deadline that runs; those of a suspended dispute are left out, for they stopped.

    ``party`` is empty where it is nobody's in particular. ``rule_ref`` is ``book/version:rule``, or
    the request for evidence that set it.
    """

    dispute_id: str
    deadline_id: str
    kind: str
    party: str
    due_at: datetime
    set_at: datetime
    rule_ref: str


DEADLINES: Final = DisputeDeadlineRow.table


@table("dispute_evidence", key_count=2)
class DisputeEvidenceRow(TableRow, frozen=True):
    """One row per piece of evidence; ``sha256`` and ``size`` are those of its bytes."""

    dispute_id: str
    evidence_id: str
    party: str
    kind: str
    sha256: str
    size: int
    uri: str
    submitted_at: datetime
    is_late: bool
    is_struck: bool
    struck_reason: str


EVIDENCE: Final = DisputeEvidenceRow.table


@table("dispute_deadlines_seen")
class DisputeDeadlinesSeenRow(TableRow, frozen=True):
    """Working rows: the deadlines that a dispute's last event left open, one a line."""

    dispute_id: str
    deadline_ids: str


_SEEN: Final = DisputeDeadlinesSeenRow.table


class Disputes(ReadModel):
    """The read model ``disputes``."""

    name = "disputes"
    version = 1
    tables = (DISPUTES, DEADLINES, EVIDENCE, _SEEN)
    topics = frozenset([topic_of(kind) for kind in TRANSITIONS])
    folds = frozenset({"dispute"})

    def project(self, recorded: Recorded, rows: Rows) -> None:
        """Touch the dispute, the deadlines that run now or did before, and new evidence."""
        dispute_id = recorded.entity_id
        rows.touch(DISPUTES, (dispute_id,))
        before = rows.get(_SEEN, (dispute_id,))
        state = cast(DisputeState, rows.state(recorded.stream))
        now = [one.deadline_id for one in deadlines_of(state)]
        was = str(before[1]).split("\n") if before is not None and before[1] else []
        if now != was:
            rows.put(_SEEN, (dispute_id, "\n".join(now)))
        for deadline_id in {**dict.fromkeys(was), **dict.fromkeys(now)}:
            rows.touch(DEADLINES, (dispute_id, deadline_id))
        for evidence_id in _evidence_in(recorded):
            rows.touch(EVIDENCE, (dispute_id, evidence_id))

    def derive(self, table: Table, key: Key, rows: Rows) -> Row | None:
        """Return a row as the dispute's state has it."""
        state = cast(DisputeState, rows.state(streams.dispute(str(key[0]))))
        if table is DISPUTES:
            return _dispute(key, state)
        return (_deadline if table is DEADLINES else _evidence)(key, state)


def _evidence_in(recorded: Recorded) -> list[str]:
    match recorded.event:
        case e.DisputeFiled(evidence=items):
            return [item.evidence_id for item in items]
        case e.EvidenceSubmitted(item=item):
            return [item.evidence_id]
        case e.EvidenceStruck(evidence_id=evidence_id):
            return [evidence_id]
        case _:
            return []


def _dispute(key: Key, state: DisputeState) -> Row | None:
    if state.filed is None:
        return None
    due = deadlines_of(state)
    standing = state.ruling or state.settlement
    shares = by_party(standing.allocations) if standing is not None else None
    return (
        key[0],
        state.order_id,
        state.buyer_ref,
        state.seller,
        state.claimant.value,
        state.currency,
        state.stage.value,
        state.outcome.value if state.outcome is not None else "",
        state.is_suspended,
        state.claimed,
        state.frozen,
        *[None if shares is None else shares.get(party, 0) for party in Party],
        state.reason,
        state.remedy.value,
        f"{state.rule_book.rule_book_id}/{state.rule_book.version}",
        len(state.evidence),
        state.filed.at,
        state.stage_since,
        due[0].due_at if due else None,
    )


def _deadline(key: Key, state: DisputeState) -> Row | None:
    one = state.deadlines.get(str(key[1]))
    if one is None or state.is_suspended:
        return None
    party = one.party.value if one.party is not None else ""
    return (*key, one.kind.value, party, one.due_at, one.set_at, one.rule_ref)


def _evidence(key: Key, state: DisputeState) -> Row | None:
    one = state.evidence.get(str(key[1]))
    if one is None:
        return None
    return (
        *key,
        one.party.value,
        one.item.kind,
        one.item.sha256,
        one.item.size,
        one.item.uri,
        one.submitted_at,
        one.is_late,
        one.is_struck,
        one.struck,
    )
