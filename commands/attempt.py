"""
One attempt at a series of commands: what they read, what they decided, the batch to append.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from orderledger.ledger.ports import Batch, ConstraintSet
from orderledger.ledger.risk_rules import RiskPolicy

from .deciding import Decided, Decider, Deciding, Prepared, Versioned
from .decision import MissingState, decide
from .states import StateCache


class Surroundings(msgspec.Struct, frozen=True):
    """What an attempt needs from the executor."""

    cache: StateCache
    constraints: ConstraintSet
    new_id: Callable[[], UUID]
    now: datetime
    connection: object | None = None
    """The host's connection when joining its transaction: then nothing comes from the cache."""
    risk: RiskPolicy | None = None


class Attempt:
    """
    Decides commands in order, each on the state that the ones before it leave.

    Loads in one query what the commands announce, and what only a decider can name as it asks.
    """

    def __init__(
        self, around: Surroundings, prepared: Sequence[Prepared], *, presume_new: bool = True
    ) -> None:
        self._around: Final = around
        streams, new = _announced(prepared)
        if around.connection is not None:
            loaded = around.cache.load(streams, connection=around.connection)
        else:
            loaded = around.cache.get(streams, new if presume_new else ())
        self._loaded: Final[dict[str, Versioned]] = loaded
        self._deciding: Final = Deciding(loaded, around.constraints, around.new_id, around.risk)

    def extend(self, prepared: Sequence[Prepared]) -> None:
        """Load what further commands announce and is not loaded yet, in one query."""
        streams, new = _announced(prepared)
        self._loaded.update(self._around.cache.get(streams - self._loaded.keys(), new))

    @property
    def changed(self) -> dict[str, Versioned]:
        """The streams that the decisions so far write, with their states after."""
        return self._deciding.changed

    def decide(self, prepared: Prepared, decider: Decider = decide) -> Decided:
        """Decide one command; a refusal by the domain is a result, other errors are raised."""
        while True:
            try:
                return self._deciding.decide(prepared, self._around.now, decider)
            except MissingState as missing:
                self._loaded.update(self._load(missing.streams))

    def decide_or_raise(self, prepared: Prepared) -> Decided:
        """Decide one command and raise a refusal too."""
        decided = self.decide(prepared)
        if decided.refusal is not None:
            raise decided.refusal
        return decided

    def batch(self, decided: Sequence[Decided]) -> Batch:
        """
        Return the batch of these decisions.

        A stream that was read and that none of them writes becomes a check: the decision holds
        only if it has not moved.
        """
        read: set[str] = set()
        written: set[str] = set()
        has_postings = False
        for one in decided:
            read |= one.read
            written.update(one.written)
            has_postings = has_postings or one.has_postings
        return Batch(
            appends=tuple([one.append for one in decided]),
            appended_at=self._around.now,
            checks={stream: self._loaded[stream].version for stream in read - written},
            constraint_generation=self._around.constraints.generation if has_postings else None,
        )

    def _load(self, streams: Sequence[str]) -> dict[str, Versioned]:
        connection = self._around.connection
        if connection is not None:
            return self._around.cache.load(streams, connection=connection)
        return self._around.cache.get(streams, ())


def _announced(prepared: Sequence[Prepared]) -> tuple[set[str], set[str]]:
    """Return the streams that commands will read, and those among them that they start."""
    streams: set[str] = set()
    new: set[str] = set()
    for one in prepared:
        streams.update(one.streams, one.envelope.expected, one.creates)
        new.update(one.creates)
    return streams, new
