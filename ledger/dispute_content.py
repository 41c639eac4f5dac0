"""
What a dispute is made of: claims, evidence, votes, and what a ruling says, with their hashes.

Evidence itself is kept by the host; the ledger keeps its SHA-256, so that nobody can swap it.
"""

from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from typing import Final

import msgspec

from .codec import encode_json
from .dispute_parties import Allocation, Party, by_party

EVIDENCE_MAX: Final = 1_000
"""Pieces of evidence of one dispute."""
SALT_LENGTH_MIN: Final = 16
"""Characters of a vote's salt: without it a sealed vote could be found by trying amounts."""


class Remedy(StrEnum):
    """What is to happen besides the division of the money."""

    REFUND = "refund"
    RETURN_AND_REFUND = "return_and_refund"
    REPLACEMENT = "replacement"
    RELEASE = "release"
    NONE = "none"


class Answer(StrEnum):
    """How the respondent meets a claim. ACCEPT settles it: the claimant gets all of it."""

    ACCEPT = "accept"
    CONTEST = "contest"
    OFFER = "offer"


class DisputeOutcome(StrEnum):
    """How a dispute ended."""

    INADMISSIBLE = "inadmissible"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    MERGED = "merged"
    SUPERSEDED = "superseded"
    SETTLED = "settled"
    RULED = "ruled"


class AppealOutcome(StrEnum):
    """What an appeal does to the ruling it is against."""

    UPHELD = "upheld"
    MODIFIED = "modified"
    OVERTURNED = "overturned"


class ClaimedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is claimed of one order line, in minor units of the order's currency; > 0."""

    line_id: str
    amount: int


class EvidenceItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A piece of evidence that the host keeps: its kind, SHA-256 in hexadecimal, bytes and place.

    ``uri`` says where, in the host's own terms; it should need the host's rights to be read.
    """

    evidence_id: str
    kind: str
    sha256: str
    size: int
    uri: str = ""

    def is_of(self, content: bytes) -> bool:
        """Tell whether these are the bytes that were submitted."""
        return len(content) == self.size and sha256(content).hexdigest() == self.sha256


class VoteReveal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An arbitrator's vote, opened with the ruling: the division it is for, and its salt."""

    arbitrator: str
    allocations: tuple[Allocation, ...]
    salt: str


class RulingContent(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a ruling's hash covers; ``evidence`` are ids with the hashes of the bytes."""

    dispute_id: str
    ruling_id: str
    allocations: tuple[Allocation, ...]
    remedy: Remedy
    reasons: str
    rule_refs: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]
    by: str
    supersedes: str = ""


def hash_of_ruling(content: RulingContent) -> str:
    """Return the SHA-256 of a ruling's canonical JSON, in hexadecimal."""
    return sha256(encode_json(content).encode()).hexdigest()


def seal(dispute_id: str, arbitrator: str, allocations: Iterable[Allocation], salt: str) -> str:
    """
    Return the commitment of a sealed vote: SHA-256 in hexadecimal of a canonical JSON array.

    The dispute and the arbitrator are in it, so that nobody can cast another's vote unread.
    """
    amounts = [(party.value, amount) for party, amount in by_party(allocations).items() if amount]
    return sha256(encode_json([dispute_id, arbitrator, amounts, salt]).encode()).hexdigest()


def same_division(left: Iterable[Allocation], right: Iterable[Allocation]) -> bool:
    """Tell whether two divisions give every party the same; naming nobody is giving nothing."""
    one, other = by_party(left), by_party(right)
    return all(one.get(party, 0) == other.get(party, 0) for party in Party)
