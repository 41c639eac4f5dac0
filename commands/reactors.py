"""
Reactors: pure functions from an event that was recorded to what must be done about it.

A reactor sees the events in log order, and the states of any streams as they were at that event. It
has no other input: no clock, no randomness, no I/O. What it returns is stored in the outbox in the
transaction that moves its checkpoint, so that each event calls for its effects once; reading,
replaying or rebuilding never runs a reactor.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from orderledger.ledger.logged import Logged

from .decision import States
from .effects import Effect


class Happened(Logged, frozen=True, gc=False):
    """An event as a reactor sees it."""


class Reactor(ABC):
    """
    A reactor. ``name`` is part of the keys of its effects: another name is another reactor.

    ``topics`` are the topics it is given, in their current version. Its effects must follow from
    the event and the states alone; a new version of the code may call for other effects of later
    events.
    """

    name: ClassVar[str]
    topics: ClassVar[frozenset[str]]

    @abstractmethod
    def react(self, happened: Happened, states: States) -> Sequence[Effect]:
        """Return what must be done because of an event, in order; often nothing."""
