"""
What the marketplace month shows at its end: one dispute as a case to be read, a seller's statement.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from orderledger.book import Book
from orderledger.ledger import accounts, streams
from orderledger.ledger.dispute_parties import Allocation, Party
from orderledger.ledger.money import format_minor
from orderledger.projections.balance_answers import StatementRequest
from orderledger.projections.balances import JournalFilter

from .demo_market_world import CURRENCY, FIRST, LAST


def money(minor: int) -> str:
    """Return an amount of the month's currency, with a separator of thousands."""
    whole, _, cents = format_minor(abs(minor), CURRENCY).rpartition(".")
    return f"{'-' if minor < 0 else ''}{int(whole):,}.{cents}"


def _division(allocations: tuple[Allocation, ...]) -> str:
    parts = [f"{money(one.amount)} to the {one.party.value}" for one in allocations if one.amount]
    return ", ".join(parts)


def _side(party: Party | None) -> str:
    return "the rules" if party is None else f"the {party.value}"


def _day(at: datetime) -> str:
    return at.strftime("%d %b %H:%M")


Words = Callable[[Any], str]
"""From an event of a dispute to a sentence; the events' types stand in ``ledger``."""

_WORDS: Final[Mapping[str, Words]] = {
    "dispute.filed.v1": lambda e: (
        f"The {e.claimant.value} claims {money(e.claimed)} of {e.seller} in order {e.order_id}: "
        f"{e.reason}. Rules: {e.rule_book.rule_book_id}/{e.rule_book.version}."
    ),
    "dispute.accepted.v1": lambda e: f"{e.by} hears it; {money(e.frozen)} are frozen.",
    "dispute.deadline_set.v1": lambda e: (
        f"  until {_day(e.due_at)}: {e.kind.value}"
        f"{f' of the {e.party.value}' if e.party else ''} ({e.rule_ref})"
    ),
    "dispute.deadline_missed.v1": lambda e: f"  the time for {e.kind.value} is over",
    "dispute.respondent_answered.v1": lambda e: (
        f"The respondent's answer: {e.answer.value}. {e.statement!r}"
    ),
    "dispute.escalated.v1": lambda e: f"{_side(e.party)} asks for a decision.",
    "dispute.evidence_submitted.v1": lambda e: (
        f"{_side(e.party)} brings {e.item.evidence_id}, {e.item.size} bytes, SHA-256 "
        f"{e.item.sha256[:12]}…{', LATE' if e.is_late else ''}"
    ),
    "dispute.evidence_struck.v1": lambda e: (
        f"{e.by} strikes {e.evidence_id} out: {e.reason}; it stays on the list."
    ),
    "dispute.evidence_window_closed.v1": lambda e: (
        f"{_side(e.party)} {'waives more evidence' if e.is_waived else 'is out of time'}."
    ),
    "dispute.arbitration_opened.v1": lambda _: "The arbitration begins.",
    "dispute.arbitrators_assigned.v1": lambda e: (
        f"The panel: {', '.join(e.arbitrators)}; {e.quorum} votes are needed."
    ),
    "dispute.arbitrator_recused.v1": lambda e: f"{e.arbitrator} is recused: {e.reason}.",
    "dispute.vote_cast.v1": lambda e: f"{e.arbitrator} votes, sealed: {e.commitment[:12]}…",
    "dispute.ruling_issued.v1": lambda e: (
        f"Ruling {e.ruling_id} by {e.by}: {_division(e.allocations)}. {e.reasons}. By "
        f"{', '.join(e.rule_refs)}, on {', '.join(e.evidence_relied_on)}; opened votes: "
        f"{'; '.join(f'{one.arbitrator} for {_division(one.allocations)}' for one in e.votes)}."
    ),
    "dispute.ruling_became_final.v1": lambda e: f"{e.ruling_id} is final: nobody appealed.",
    "dispute.ruling_execution_started.v1": lambda e: (
        f"Execution: {', '.join(f'{money(leg.amount)} to the {leg.party.value}' for leg in e.legs)}"
    ),
    "dispute.ruling_execution_leg_done.v1": lambda e: f"  done: {e.operation_ref}",
    "dispute.ruling_executed.v1": lambda _: "The ruling is executed, the dispute is over.",
}


def told_case(book: Book, dispute_id: str) -> Iterator[tuple[str, str]]:
    """Yield a dispute's history as instants and sentences."""
    for seen in book.read.history(streams.dispute(dispute_id)):
        words = _WORDS.get(seen.topic)
        text = seen.topic if words is None else words(seen.event)
        yield _day(seen.occurred_at), text


def statement_of(book: Book, seller: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield a seller's statement: instant, event, amount and balance, what is owed positive."""
    account = accounts.seller(seller)
    found = book.read.statement(
        StatementRequest(account=account, currency=CURRENCY, start=FIRST, end=LAST)
    )
    wanted = JournalFilter(account=account, effective_from=FIRST, effective_to=LAST)
    topics = {entry.position: (entry.topic, entry.stream) for entry in book.read.journal(wanted)}
    yield "", "opening", 0, -found.opening
    for line in found.lines:
        topic, stream = topics[line.position]
        what = f"{topic.rpartition('.')[0]}  {stream}"
        yield _day(line.effective_at), what, -line.minor, -line.balance
    yield "", "closing", 0, -found.closing
