"""
Checks that the deciders of disputes share: malformed input, existence, stage, conflicts, sums.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from orderledger.ledger import accounts, limits
from orderledger.ledger.dispute_content import EVIDENCE_MAX, EvidenceItem
from orderledger.ledger.dispute_parties import Allocation, Party
from orderledger.ledger.dispute_stages import TRANSITIONS
from orderledger.ledger.disputes import DisputeState
from orderledger.ledger.errors import InvalidCommand, LimitExceeded, Reason, Rejected
from orderledger.ledger.events import Event
from orderledger.ledger.order_chargebacks import contesting
from orderledger.ledger.order_disputes import disputes_of, open_disputes
from orderledger.ledger.orders import OrderState

from .decision import Command
from .order_guards import check_amount, check_id, check_text, check_unique

SHA256: Final = re.compile(r"[0-9a-f]{64}")
EVIDENCE_BYTES_MAX: Final = 2**50
"""Bytes of one piece of evidence: a size beyond it is a mistake."""
DISPUTE_ID_MAX: Final = 60
RULING_ID_MAX: Final = 40
"""Characters of a dispute's and a ruling's id: together they name refunds and releases."""
LIST_MAX: Final = 200
"""Rules that a ruling names, or items of one request for evidence."""


def check_reason(what: str, text: str) -> None:
    """Raise for a text that is blank or too long: a decision must say why."""
    check_text(what, text)
    if not text.strip():
        raise InvalidCommand(f"{what} is empty: a decision must say it", field=what)


def check_dispute_id(dispute_id: str) -> None:
    """Raise InvalidCommand for an id from which no refund, reserve or release could be named."""
    accounts.dispute_reserve(dispute_id)
    if len(dispute_id) > DISPUTE_ID_MAX:
        raise InvalidCommand(
            f"dispute id {dispute_id!r} has more than {DISPUTE_ID_MAX} characters",
            field="dispute_id",
        )


def check_ruling_id(what: str, ruling_id: str) -> None:
    """Raise InvalidCommand for an id that could not be part of a refund's."""
    check_id(what, ruling_id)
    if len(ruling_id) > RULING_ID_MAX or ":" in ruling_id:
        raise InvalidCommand(
            f"{what} {ruling_id!r} must have at most {RULING_ID_MAX} characters and no colon",
            field=what,
        )


def check_side(party: Party) -> None:
    """Raise InvalidCommand for a party that is no side of a dispute."""
    if party is Party.PLATFORM:
        raise InvalidCommand("the platform is no side of a dispute", field="party")


def check_evidence(items: Sequence[EvidenceItem]) -> None:
    """Raise if a piece of evidence is malformed or named twice."""
    limits.check_count("pieces of evidence", len(items), EVIDENCE_MAX)
    check_unique("evidence_id", [item.evidence_id for item in items])
    for item in items:
        check_id("evidence_id", item.evidence_id)
        check_id("kind", item.kind)
        check_text("uri", item.uri)
        check_hash("sha256", item.sha256)
        if not 0 <= item.size <= EVIDENCE_BYTES_MAX:
            raise InvalidCommand(
                f"evidence {item.evidence_id} has {item.size} bytes; it must be from 0 to "
                f"{EVIDENCE_BYTES_MAX}",
                evidence_id=item.evidence_id,
                size=item.size,
            )


def check_hash(what: str, value: str) -> None:
    """Raise InvalidCommand for what is no SHA-256 in lower-case hexadecimal."""
    if SHA256.fullmatch(value) is None:
        raise InvalidCommand(
            f"{what} {value!r:.100} is no SHA-256: 64 hexadecimal digits in lower case", field=what
        )


def check_allocations(allocations: Sequence[Allocation]) -> None:
    """Raise if a division names a party twice or has a negative amount."""
    check_unique("party", [one.party.value for one in allocations])
    for one in allocations:
        check_amount(f"allocation to {one.party}", one.amount, minimum=0)


def check_list(what: str, values: Sequence[str], *, required: bool = False) -> None:
    """Raise for a list that is too long, or empty where it must not be, or has an odd text."""
    limits.check_count(what, len(values), LIST_MAX)
    for value in values:
        check_reason(what, value)
    if required and not values:
        raise InvalidCommand(f"{what} are missing", field=what)


def require_room(dispute: DisputeState, more: int) -> None:
    """Raise LimitExceeded if the list of evidence would become too long."""
    if len(dispute.evidence) + more > EVIDENCE_MAX:
        raise LimitExceeded(
            f"dispute {dispute.dispute_id} has {len(dispute.evidence)} pieces of evidence, the "
            f"limit is {EVIDENCE_MAX}",
            dispute_id=dispute.dispute_id,
            limit=EVIDENCE_MAX,
        )


def require_stage(dispute: DisputeState, event: type[Event], action: str) -> None:
    """Raise WRONG_STATE unless the table of stages has the event here."""
    sources = TRANSITIONS[event].sources
    if dispute.stage not in sources:
        raise Rejected(
            Reason.WRONG_STATE,
            f"dispute {dispute.dispute_id} is {dispute.stage}; to {action} it must be "
            f"{' or '.join(sorted(sources))}",
            dispute_id=dispute.dispute_id,
            stage=dispute.stage.value,
        )


def require_running(dispute: DisputeState, action: str) -> None:
    """Raise DISPUTE_SUSPENDED while something outside stops the dispute."""
    if dispute.is_suspended:
        raise Rejected(
            Reason.DISPUTE_SUSPENDED,
            f"dispute {dispute.dispute_id} is suspended by {', '.join(dispute.suspended_by)}; "
            f"nobody can {action} until that is over",
            dispute_id=dispute.dispute_id,
            suspended_by=list(dispute.suspended_by),
        )


def require_uncontested(dispute: DisputeState, order: OrderState, action: str) -> None:
    """Raise DISPUTE_SUSPENDED while a chargeback on the order may pay the buyer as well."""
    taking = contesting(order.chargebacks)
    if taking:
        raise Rejected(
            Reason.DISPUTE_SUSPENDED,
            f"{', '.join(taking)} contests what was paid for order {order.order_id}; nobody can "
            f"{action} of dispute {dispute.dispute_id} until the bank has decided",
            dispute_id=dispute.dispute_id,
            order_id=order.order_id,
            chargebacks=list(taking),
        )


def require_impartial(dispute: DisputeState, person: str, role: str) -> None:
    """Raise CONFLICT_OF_INTEREST if a side of the dispute would decide on it."""
    if person in dispute.parties:
        raise conflict(dispute, person, "is a party", role)


def conflict(dispute: DisputeState, person: str, why: str, role: str) -> Rejected:
    """Return the refusal of somebody who must not decide."""
    return Rejected(
        Reason.CONFLICT_OF_INTEREST,
        f"{person} {why} and cannot {role} in dispute {dispute.dispute_id}; another must",
        dispute_id=dispute.dispute_id,
        person=person,
    )


def require_whole(dispute: DisputeState, allocations: Sequence[Allocation]) -> None:
    """Raise TOTALS_DO_NOT_ADD_UP unless a division is one of exactly the amount in dispute."""
    total = sum([one.amount for one in allocations])
    if total != dispute.claimed:
        raise Rejected(
            Reason.TOTALS_DO_NOT_ADD_UP,
            f"the allocations sum to {total} {dispute.currency} minor units; {dispute.claimed} are "
            f"in dispute {dispute.dispute_id}",
            dispute_id=dispute.dispute_id,
            total=total,
            claimed=dispute.claimed,
        )


def repeats(command: Command, known: object, *fields: str) -> bool:
    """Tell whether a command says of these fields what is known already."""
    return all(getattr(command, name) == getattr(known, name) for name in fields)


def used(dispute: DisputeState, what: str, used_id: str) -> Rejected:
    """Return the refusal of an id that was used with other terms."""
    return Rejected(
        Reason.OPERATION_ALREADY_USED,
        f"{what} {used_id} of dispute {dispute.dispute_id} has other terms; use a new id",
        dispute_id=dispute.dispute_id,
        id=used_id,
    )


def unknown(dispute: DisputeState, what: str, wanted: str) -> Rejected:
    """Return the refusal of an id that the dispute does not have."""
    return Rejected(
        Reason.NOT_FOUND,
        f"dispute {dispute.dispute_id} has no {what} {wanted}",
        dispute_id=dispute.dispute_id,
        id=wanted,
    )


def require_undisputed(order: OrderState, line_ids: Iterable[str]) -> None:
    """Raise DISPUTE_OPEN if an open dispute is about one of these lines."""
    for line_id in line_ids:
        found = disputes_of(order.disputes, line_id)
        if found:
            raise Rejected(
                Reason.DISPUTE_OPEN,
                f"line {line_id} of order {order.order_id} is in dispute {', '.join(found)}; that "
                "must end first",
                order_id=order.order_id,
                line_id=line_id,
                disputes=list(found),
            )


def require_no_dispute(order: OrderState, action: str) -> None:
    """Raise DISPUTE_OPEN if any dispute about an order is open."""
    found = open_disputes(order.disputes)
    if found:
        raise Rejected(
            Reason.DISPUTE_OPEN,
            f"dispute {', '.join(found)} about order {order.order_id} is open; to {action} it must "
            "end first",
            order_id=order.order_id,
            disputes=list(found),
        )
