"""
Why an event came to be, who is named in it and by which rules it was decided, as the event says.

Events have no common field for these; each says them in the words of its own field. What they are
called is listed here, and a test holds the lists against every registered event.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, cast

import msgspec

from orderledger.ledger.events import Event
from orderledger.ledger.rule_books import RuleBook

REASONS: Final = (
    *("reason", "reasons", "reason_code", "why", "grounds", "cause", "cause_event", "basis"),
    *("detail", "description", "statement", "note", "note_ref", "resolution"),
)
"""Fields that say why, in the order in which they are told."""
PEOPLE: Final = (*("by", "requested_by", "granted_by", "denied_by", "submitted_by", "accepted_by"),)
"""Fields that name who decided, beside the actor of the command."""
RULES: Final = (
    *("policy", "stock_policy", "rule", "rule_id", "rule_ids", "rule_ref", "rule_refs"),
    *("rule_book", "rule_book_hash", "base_version", "order_version", "seller_version"),
)
"""Fields that name a rule, a policy or a version on which it was decided."""


class Said(msgspec.Struct, frozen=True):
    """What a field of an event says."""

    field: str
    text: str


def said(event: Event, fields: Iterable[str]) -> tuple[Said, ...]:
    """Return what those of the fields say that the event has and that are not empty."""
    found = [(name, _text(getattr(event, name, None))) for name in fields]
    return tuple([Said(name, text) for name, text in found if text])


def _text(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, RuleBook):
        return f"{value.rule_book_id}, version {value.version}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ", ".join([_text(item) for item in cast("tuple[object, ...]", value)])
    return str(value)
