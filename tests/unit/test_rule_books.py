"""Rule books: what is refused as unusable, and the published practice that presets model."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orderledger.ledger.codec import encode_json
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.errors import InvalidCommand
from orderledger.ledger.instants import LATEST
from orderledger.ledger.rule_book_presets import (
    B2B_TRADE,
    CONSUMER_GUARANTEE,
    CONSUMER_IMPORT,
    FREELANCE_ESCROW,
    PRESETS,
    WALLET_INQUIRY,
)
from orderledger.ledger.rule_books import ClaimCap, ExternalRules, check_rule_book, hash_of, later
from tests.dispute_book import RULES, rules

DAY = 24


@pytest.mark.parametrize("book", PRESETS, ids=lambda book: str(book.rule_book_id))
def test_presets_are_usable(book: Any) -> None:
    """A preset by which no dispute could be filed."""
    check_rule_book(book)
    assert hash_of(book) == hash_of(book)


def test_presets_have_ids_and_hashes_of_their_own() -> None:
    """Two presets that history cannot tell apart."""
    assert len({book.rule_book_id for book in PRESETS}) == len(PRESETS)
    assert len({hash_of(book) for book in PRESETS}) == len(PRESETS)


def test_presets_model_what_was_published() -> None:
    """A figure of published practice that somebody changed without a new version."""
    assert (B2B_TRADE.escalation_from_hours, B2B_TRADE.negotiation_hours) == (3 * DAY, 6 * DAY)
    assert (CONSUMER_IMPORT.escalation_from_hours, CONSUMER_IMPORT.negotiation_hours) == (
        3 * DAY,
        15 * DAY,
    )
    assert CONSUMER_GUARANTEE.appeal_hours == 30 * DAY
    assert WALLET_INQUIRY.negotiation_hours == 20 * DAY
    assert (FREELANCE_ESCROW.mediation_hours, FREELANCE_ESCROW.answer_hours) == (30 * DAY, 2 * DAY)
    assert FREELANCE_ESCROW.external == ExternalRules(opt_in_hours=7 * DAY, neither=Party.BUYER)


@pytest.mark.parametrize(
    "fields",
    [
        {"rule_book_id": "bad id!"},
        {"version": 0},
        {"filing_hours": 0},
        {"response_hours": 0},
        {"negotiation_hours": 0},
        {"claimant_evidence_hours": 0},
        {"appeal_hours": -1},
        {"filing_hours": 10**9},
        {"response_hours": 97},
        {"escalation_from_hours": 97},
        {"mediation_hours": 0},
        {"answer_hours": 201},
        {"panel_size": 0},
        {"panel_size": 16},
        {"quorum": 1},
        {"quorum": 4},
        {"appeals_per_party": 2},
        {"appeals_per_party": 0},
        {"caps": (ClaimCap("USD", 1), ClaimCap("USD", 2))},
        {"caps": (ClaimCap("USD", 0),)},
        {"external": ExternalRules(opt_in_hours=0)},
        {"external": ExternalRules(opt_in_hours=1, neither=Party.PLATFORM)},
    ],
)
def test_unusable_books(fields: dict[str, Any]) -> None:
    """A book with a window that never opens, or a quorum that half the panel is not."""
    with pytest.raises(InvalidCommand):
        check_rule_book(rules(**fields))


def test_every_field_counts_for_the_hash() -> None:
    """A rule that is changed in a book and leaves its hash as it was."""
    other = rules(appeal_needs_new_evidence=False)
    assert encode_json(RULES) != encode_json(other)
    assert hash_of(RULES) != hash_of(other)


def test_windows_end_with_time() -> None:
    """A window that overflows the calendar and takes the timer with it."""
    at = datetime(2026, 1, 5, tzinfo=UTC)
    assert later(at, 24) == datetime(2026, 1, 6, tzinfo=UTC)
    assert later(LATEST, 1) == LATEST
