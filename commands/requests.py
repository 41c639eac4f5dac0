"""
What goes in and out of ``execute``: the envelope around a command, and the receipt.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from orderledger.ledger.errors import LimitExceeded

from .decision import Command

MAX_KEY_LENGTH: Final = 255


class Source(StrEnum):
    """Where a command came from."""

    COMMAND = "command"
    GATEWAY = "gateway"
    SETTLEMENT = "settlement"
    TIMER = "timer"
    IMPORT = "import"
    EVENTSOURCING = "eventsourcing"
    """No command: an application of the ``eventsourcing`` library appended the events itself."""


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who gave the command: a kind (``user``, ``staff``, ``system`` …), an id, and for whom."""

    type: str
    id: str
    on_behalf_of: str | None = None


SYSTEM: Final = Actor("system", "orderledger")


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    A command with what surrounds it.

    ``key`` is the idempotency key, at most 255 characters, unique per book without time limit;
    without one, a fresh key is made and a retry cannot be recognised. ``expected`` gives versions
    that streams must have (0: must not exist); otherwise ConcurrencyConflict.
    """

    command: Command
    key: str | None = None
    actor: Actor = SYSTEM
    expected: Mapping[str, int] = {}
    correlation_id: str | None = None
    causation_id: str | None = None
    source: Source = Source.COMMAND
    provider_event_id: str | None = None

    def __post_init__(self) -> None:
        if self.key is not None and not 0 < len(self.key) <= MAX_KEY_LENGTH:
            raise LimitExceeded(
                f"an idempotency key has 1 to {MAX_KEY_LENGTH} characters, this one has "
                f"{len(self.key)}",
                length=len(self.key),
                limit=MAX_KEY_LENGTH,
            )


class Context(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """The envelope fields that are stored with every event of a command, as JSON."""

    actor: Actor
    key: str
    source: Source = Source.COMMAND
    correlation_id: str | None = None
    causation_id: str | None = None
    provider_event_id: str | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """
    The result of a command that was accepted.

    ``streams`` maps each stream that was written to its version after; ``event_ids`` are in the
    order of the events; ``positions`` and ``recorded_at`` (of the first event) are None while the
    events wait for the sequencer: after a command that joined the host's transaction, and
    sometimes when several processes write. ``replayed`` tells that the key was known and nothing
    was written now.
    """

    book: str
    command_id: UUID
    key: str
    streams: Mapping[str, int]
    event_ids: tuple[UUID, ...]
    positions: tuple[int, ...] | None = None
    recorded_at: datetime | None = None
    replayed: bool = False
