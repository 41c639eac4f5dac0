"""
Stream names: one entity's stream is ``kind-id``, and the kind says how it is folded.

No stream is shared by all orders of a seller, buyer or platform: hot accounts are summed by
projections, never updated in place.
"""

import re
from functools import lru_cache
from typing import Final

from .errors import InvalidCommand

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._@/+-]*"
ID_GRAMMAR: Final = re.compile(rf"(?=.{{1,120}}\Z){_PART}(:{_PART})*")
"""Ids are opaque to the engine; the grammar keeps them usable in account names and URLs."""


# One command names its streams several times: what it reads, what it creates, what it changes.
@lru_cache(maxsize=8192)
def _named(kind: str, entity_id: str) -> str:
    try:
        is_id = ID_GRAMMAR.fullmatch(entity_id) is not None
    except TypeError:  # a number, None or bytes
        is_id = False
    if not is_id:
        raise InvalidCommand(
            f"{kind} id {entity_id!r:.130} must be 1 to 120 of A-Z a-z 0-9 . _ @ / + : - and start "
            "with a letter or digit, at its beginning and after each colon",
            kind=kind,
            id=entity_id,
        )
    return f"{kind}-{entity_id}"


def order(order_id: str) -> str:
    return _named("order", order_id)


def payment(payment_id: str) -> str:
    return _named("payment", payment_id)


def fulfilment(fulfilment_id: str) -> str:
    return _named("fulfilment", fulfilment_id)


def return_(return_id: str) -> str:
    return _named("return", return_id)


def stored_value(account_id: str) -> str:
    return _named("storedvalue", account_id)


def account(name: str) -> str:
    """The stream of a constrained account; only constrained accounts have one."""
    return f"account-{name}"


def journal(entry_id: str) -> str:
    """The stream of one manual journal entry: its posting and its reversals."""
    return _named("journal", entry_id)


def inbox(provider: str, notification_id: str) -> str:
    """The stream of one provider notification."""
    return _named("inbox", f"{provider}/{notification_id}")


PERIODS: Final = "periods-main"
"""The stream of the book's accounting periods: one per book, for they close in order."""


def check_period(period: str) -> None:
    """Raise InvalidCommand unless the id of an accounting period is within the grammar."""
    _named("period", period)


def projection(model: str) -> str:
    """The stream of a read model's skips, by the model's name."""
    return _named("projection", model)


def dispute(dispute_id: str) -> str:
    """The stream of one dispute about an order."""
    return _named("dispute", dispute_id)


def work(lane: str) -> str:
    """The stream of what was given up in a lane of work: outbox, queue or timer."""
    return _named("work", lane)


def kind_of(stream: str) -> str:
    """Return the kind of a stream: ``payment`` of ``payment-p1``."""
    return stream.partition("-")[0]


def id_of(stream: str) -> str:
    """Return the entity id of a stream: ``p1`` of ``payment-p1``."""
    return stream.partition("-")[2]
