"""
A rule book: the windows, defaults and limits by which a dispute is heard, as data.

The whole book stands in the event that files a dispute, with its hash. What a deadline was then is
known for ever, whatever a later version of the book or of this code says. Durations are hours of
the clock; a host that counts business days puts the hours of its own calendar into a book.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

import msgspec

from .codec import encode_json
from .dispute_parties import Party
from .errors import InvalidCommand
from .instants import after
from .limits import AMOUNT_MINOR_MAX, check_count
from .streams import ID_GRAMMAR

HOURS_MAX: Final = 24 * 366 * 10
"""The longest window, ten years: a longer one is a mistake in its unit."""
PANEL_MAX: Final = 15
"""Arbitrators of one panel."""
CAPS_MAX: Final = 200
"""Currencies for which a book caps claims; there are fewer than 200."""
_VERSION_MAX: Final = 10**9


class ResponseSilence(StrEnum):
    """What happens when the respondent lets the response deadline pass."""

    WAIT = "wait"
    ESCALATE = "escalate"
    AWARD_CLAIMANT = "award_claimant"


class NegotiationSilence(StrEnum):
    """What happens when a negotiation ends without an agreement and nobody escalated."""

    ESCALATE = "escalate"
    CLOSE = "close"


class EvidenceSilence(StrEnum):
    """What happens when one side alone brought no evidence until its window closed."""

    CONTINUE = "continue"
    AWARD_OTHER_SIDE = "award_other_side"


class ClaimCap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The largest claim in a currency, in its minor units."""

    currency: str
    amount: int


class ExternalRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    External arbitration: both sides opt in and pay within the window, or the book decides.

    If only one did, it is awarded the whole amount; ``neither`` is awarded it if nobody did.
    """

    opt_in_hours: int
    neither: Party = Party.BUYER


class RuleBook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The rules of one kind of dispute.

    ``filing_hours`` count from the delivery, or from the placing of an order that has not arrived.
    From acceptance count ``response_hours``, ``escalation_from_hours`` (a side may escalate) and
    ``negotiation_hours`` (then ``negotiation_silence``). Each side has its own evidence window from
    the escalation. ``mediation_hours`` 0 offers no mediation; ``answer_hours`` is the time for a
    mediator's proposal. A ruling takes ``quorum`` votes of ``panel_size`` arbitrators and is due
    within ``ruling_hours`` (0: no target). ``appeals_per_party`` is 0 or 1. ``caps`` limit claims.
    ``may_refile``: lines whose dispute was withdrawn or lapsed may be disputed again.
    """

    rule_book_id: str
    version: int
    filing_hours: int
    response_hours: int
    response_silence: ResponseSilence
    escalation_from_hours: int
    negotiation_hours: int
    negotiation_silence: NegotiationSilence
    claimant_evidence_hours: int
    respondent_evidence_hours: int
    claimant_evidence_silence: EvidenceSilence = EvidenceSilence.CONTINUE
    respondent_evidence_silence: EvidenceSilence = EvidenceSilence.CONTINUE
    mediation_hours: int = 0
    answer_hours: int = 0
    panel_size: int = 1
    quorum: int = 1
    ruling_hours: int = 0
    appeal_hours: int = 0
    appeals_per_party: int = 0
    appeal_needs_new_evidence: bool = True
    caps: tuple[ClaimCap, ...] = ()
    may_refile: bool = False
    external: ExternalRules | None = None

    @property
    def offers_appeal(self) -> bool:
        """A ruling waits for an appeal before it is final."""
        return self.appeals_per_party > 0 and self.appeal_hours > 0

    def cap_in(self, currency: str) -> int | None:
        """Return the largest claim in a currency, None without a limit."""
        return next((cap.amount for cap in self.caps if cap.currency == currency), None)

    @property
    def edition(self) -> str:
        """The book and its version, as the envelope of what it decided has it: ``book/version``."""
        return f"{self.rule_book_id}/{self.version}"

    def reference(self, rule: str) -> str:
        """Return how a deadline or a default refers to a rule: ``book/version:rule``."""
        return f"{self.edition}:{rule}"


def hash_of(book: RuleBook) -> str:
    """Return the SHA-256 of the book's canonical JSON, in hexadecimal."""
    return sha256(encode_json(book).encode()).hexdigest()


def later(at: datetime, hours: int) -> datetime:
    """Return an instant some hours later, the last one there is where that would be beyond it."""
    return after(at, timedelta(hours=hours))


_WINDOWS: Final = (
    *("filing_hours", "response_hours", "escalation_from_hours", "negotiation_hours"),
    *("claimant_evidence_hours", "respondent_evidence_hours"),
    *("mediation_hours", "answer_hours", "ruling_hours", "appeal_hours"),
)
_REQUIRED: Final = frozenset(_WINDOWS[:6]) - {"escalation_from_hours"}


def check_rule_book(book: RuleBook) -> None:
    """Raise InvalidCommand, naming the field, for a book by which no dispute could be heard."""
    if ID_GRAMMAR.fullmatch(book.rule_book_id) is None:
        raise _unusable(book, "rule_book_id", "is outside the grammar of ids")
    _check_range(book, "version", book.version, 1, _VERSION_MAX)
    for name in _WINDOWS:
        _check_range(book, name, getattr(book, name), int(name in _REQUIRED), HOURS_MAX)
    _check_range(book, "panel_size", book.panel_size, 1, PANEL_MAX)
    _check_range(book, "quorum", book.quorum, book.panel_size // 2 + 1, book.panel_size)
    _check_range(book, "appeals_per_party", book.appeals_per_party, 0, 1)
    _check_order(book)
    _check_caps(book)
    if book.external is not None:
        hours = book.external.opt_in_hours
        _check_range(book, "external.opt_in_hours", hours, 1, HOURS_MAX)
        if book.external.neither is Party.PLATFORM:
            raise _unusable(book, "external.neither", "must be a side of the dispute")


def _check_order(book: RuleBook) -> None:
    if book.response_hours > book.negotiation_hours:
        raise _unusable(book, "response_hours", "ends after the negotiation does")
    if book.escalation_from_hours > book.negotiation_hours:
        raise _unusable(book, "escalation_from_hours", "ends after the negotiation does")
    if (book.mediation_hours > 0) != (book.answer_hours > 0):
        raise _unusable(book, "answer_hours", "goes with mediation_hours: both or neither")
    if book.answer_hours > book.mediation_hours:
        raise _unusable(book, "answer_hours", "is longer than the mediation")
    if (book.appeals_per_party > 0) != (book.appeal_hours > 0):
        raise _unusable(book, "appeal_hours", "goes with appeals_per_party: both or neither")


def _check_caps(book: RuleBook) -> None:
    check_count("claim caps", len(book.caps), CAPS_MAX)
    if len({cap.currency for cap in book.caps}) < len(book.caps):
        raise _unusable(book, "caps", "name a currency twice")
    for cap in book.caps:
        _check_range(book, f"cap in {cap.currency}", cap.amount, 1, AMOUNT_MINOR_MAX)


def _check_range(book: RuleBook, field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _unusable(book, field, f"is {value}, it must be from {least} to {most}")


def _unusable(book: RuleBook, field: str, problem: str) -> InvalidCommand:
    return InvalidCommand(
        f"rule book {book.rule_book_id!r:.130}: {field} {problem}",
        rule_book_id=book.rule_book_id,
        field=field,
    )
